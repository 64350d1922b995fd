//! What becomes of a local program's message: where it ends, to whom it goes, and what its header lacks.
//!
//! Programs write to sendmail as people wrote: `To: root`, no date, no sender. The program sendmail looks for the end
//! ([`Ending`]) and for the recipients ([`recipients`]); the server, which knows the domain, completes the header
//! ([`complete`]): addresses without a domain get the first of ours, and a message without From gets one. Date and
//! Message-ID, and the end of Bcc, are those of every submission.
//!
//! ```
//! use postier_core::pickup::compose::recipients;
//! let message = b"To: Ann <ann@example.org>, root\nBcc: bob@example.net\nSubject: x\n\nCc: nobody@here\n";
//! assert_eq!(recipients(message), ["ann@example.org", "root", "bob@example.net"]);
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::mime::address::{self, Address, Entry};
use crate::mime::header;
use crate::mime::header_scanner::HeaderScanner;
use crate::wire::base64;

/// The fields whose addresses get a domain (RFC 5322 §3.6).
const QUALIFIED: [&[u8]; 10] = [
    b"from",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"resent-from",
    b"resent-sender",
    b"resent-reply-to",
    b"resent-to",
    b"resent-cc",
];

/// Finds the end of a message that a line with a dot alone ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// What of the end has been seen, behind a line end.
    held: Vec<u8>,
    /// The last octet was none of a line end.
    in_line: bool,
    ended: bool,
}

impl Ending {
    /// Before the first octet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the octets of the message to `out`; true when it is over. What comes after is not looked at.
    pub fn feed(&mut self, octets: &[u8], out: &mut Vec<u8>) -> bool {
        for &octet in octets {
            if self.ended {
                break;
            }
            match (octet, self.held.as_slice()) {
                (b'\n', b"." | b".\r") => self.ended = true,
                (b'.', b"") if !self.in_line => self.held.push(octet),
                (b'\r', b".") => self.held.push(octet),
                _ => {
                    out.append(&mut self.held);
                    out.push(octet);
                    self.in_line = octet != b'\n';
                }
            }
        }
        self.ended
    }

    /// The input is over without an end: what was held back is the message's.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if !self.ended && self.held.first() == Some(&b'.') && self.held.len() > 1 {
            out.append(&mut self.held);
        }
    }
}

/// Where the header ends, without the empty line; `None` if it goes on beyond these octets.
pub fn header_end(message: &[u8]) -> Option<usize> {
    let mut scanner = HeaderScanner::new();
    let scan = scanner.feed(message);
    scan.end.map(|_| scan.header_bytes)
}

/// The recipients in the header of a message: those of its Resent fields if there are any (RFC 5322 §3.6.6), else those of
/// To, Cc and Bcc.
pub fn recipients(message: &[u8]) -> Vec<String> {
    let head = message.get(..header_end(message).unwrap_or(message.len())).unwrap_or_default();
    let of = |names: [&[u8]; 3]| {
        let fields = header::fields(head).filter(|field| names.iter().any(|name| field.is(name)));
        fields.flat_map(|field| addresses(field.value)).collect::<Vec<_>>()
    };
    let resent = of([b"resent-to", b"resent-cc", b"resent-bcc"]);
    if resent.is_empty() { of([b"to", b"cc", b"bcc"]) } else { resent }
}

/// The addresses of a list, as envelopes have them; one may lack its domain.
pub fn addresses(list: &[u8]) -> Vec<String> {
    let mailboxes = address::parse(list).into_iter().filter_map(|entry| match entry {
        Entry::Mailbox(mailbox) => Some(mailbox),
        Entry::GroupStart(_) | Entry::GroupEnd => None,
    });
    mailboxes.filter(|address| !address.mailbox.is_empty()).map(|address| path(&address)).collect()
}

/// An address without brackets, its local part quoted where it must be (RFC 5321 §4.1.2).
fn path(address: &Address) -> String {
    let local = String::from_utf8_lossy(&address.mailbox);
    let atoms = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let plain =
        local.chars().all(atoms) && !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    let mut out = if plain { local.into_owned() } else { quoted(&local) };
    if !address.host.is_empty() {
        out.push('@');
        out.push_str(&String::from_utf8_lossy(&address.host));
    }
    out
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// What completes a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author<'a> {
    /// Their address.
    pub address: &'a str,
    /// What they are called; may be empty.
    pub name: &'a str,
    /// For addresses that have none.
    pub domain: &'a str,
}

/// The first octets of a message, its whole header among them, completed: without the "From " line of a mailbox file, with
/// From, and with a domain in every address. Octets whose header goes on beyond them stay as they are.
pub fn complete(beginning: &[u8], author: Author<'_>) -> Vec<u8> {
    let Some(end) = header_end(beginning) else { return beginning.to_vec() };
    let (head, rest) = beginning.split_at_checked(end).unwrap_or((beginning, &[]));
    let mut out = Vec::with_capacity(beginning.len() + 256);
    let mut from_seen = false;
    for field in header::fields(head) {
        let raw = head.get(field.range.clone()).unwrap_or_default();
        if field.range.start == 0 && raw.starts_with(b"From ") {
            continue;
        }
        from_seen |= field.is(b"from");
        let qualified = QUALIFIED.iter().any(|name| field.is(name));
        match qualified.then(|| address::qualify(field.value, author.domain.as_bytes())).flatten() {
            Some(value) => {
                // The value stands at the field's end, before its line end.
                let line = raw.strip_suffix(b"\n").unwrap_or(raw);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let name = line.strip_suffix(field.value).unwrap_or_default();
                out.extend_from_slice(name);
                out.extend_from_slice(&value);
                out.extend_from_slice(raw.get(line.len()..).unwrap_or_default());
            }
            None => out.extend_from_slice(raw),
        }
    }
    if !from_seen {
        if !out.is_empty() && !out.ends_with(b"\n") {
            out.push(b'\n');
        }
        out.extend_from_slice(from_field(author).as_bytes());
    }
    // A line that is no field ends the header. Without an empty line, one that begins with a blank would go on with the
    // last field.
    if !(rest.is_empty() || rest.starts_with(b"\n") || rest.starts_with(b"\r\n")) {
        out.push(b'\n');
    }
    out.extend_from_slice(rest);
    out
}

fn from_field(author: Author<'_>) -> String {
    let name: String = author.name.chars().filter(|c| !c.is_control()).collect();
    match name.trim() {
        "" => format!("From: {}\n", author.address),
        name if name.is_ascii() => format!("From: {} <{}>\n", quoted(name), author.address),
        name => format!("From: {} <{}>\n", encoded(name), author.address),
    }
}

/// Octets of text in one encoded word: with its frame it stays under 75 (RFC 2047 §2).
const ENCODED_BYTES_MAX: usize = 42;

/// Encoded words (RFC 2047), a line for each.
fn encoded(text: &str) -> String {
    let (mut words, mut word) = (Vec::new(), String::new());
    for c in text.chars() {
        if word.len() + c.len_utf8() > ENCODED_BYTES_MAX {
            words.push(core::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encode = |word: &String| format!("=?utf-8?B?{}?=", base64::encode(word.as_bytes()));
    words.iter().map(encode).collect::<Vec<_>>().join("\n ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn ended(message: &[u8], cut: usize) -> (Vec<u8>, bool) {
        let (mut ending, mut out) = (Ending::new(), Vec::new());
        let (first, second) = message.split_at(cut.min(message.len()));
        let over = ending.feed(first, &mut out) || ending.feed(second, &mut out);
        ending.finish(&mut out);
        (out, over)
    }

    #[test]
    fn a_dot_alone_ends_and_no_other() {
        for cut in 0..20 {
            assert_eq!(ended(b"a\n.\nb\n", cut), (b"a\n".to_vec(), true));
            assert_eq!(ended(b"a\r\n.\r\nb\r\n", cut), (b"a\r\n".to_vec(), true));
            assert_eq!(ended(b".\nb\n", cut), (Vec::new(), true));
            for whole in [&b"a.\nb\n"[..], b"..\nb\n", b".a\n.\rb\n", b"a\n. \n"] {
                assert_eq!(ended(whole, cut), (whole.to_vec(), false));
            }
        }
        assert_eq!(ended(b"a\n.", 9), (b"a\n".to_vec(), false), "the end of the input ends the line, too");
    }

    #[test]
    fn recipients_of_a_header() {
        let of = |text: &str| recipients(text.as_bytes());
        assert_eq!(
            of("To: a@x, B <b@x>,\n  c\nCC: undisclosed-recipients:;\nbcc: d@x\n\nTo: no@x\n"),
            ["a@x", "b@x", "c", "d@x"]
        );
        assert_eq!(of("To: a@x\nno field\nTo: no@x\n"), ["a@x"], "a line that is no field ends the header");
        assert_eq!(of("Resent-To: r@x\nTo: a@x\nResent-Bcc: s@x\n\n"), ["r@x", "s@x"]);
        assert_eq!(of("To: \"a b\"@x, \"c\"@x"), ["\"a b\"@x", "c@x"]);
        assert!(of("Subject: x\n\n").is_empty());
        assert_eq!(of("From cron Tue Nov 24\nTo: a@x\n\n"), ["a@x"]);
    }

    const AUTHOR: Author<'_> =
        Author { address: "ann@example.org", name: "Ann O'Nym", domain: "example.org" };

    fn completed(text: &str) -> String {
        String::from_utf8(complete(text.as_bytes(), AUTHOR)).unwrap()
    }

    #[test]
    fn a_header_is_completed() {
        assert_eq!(
            completed("From root Tue\nFrom: root (Cron Daemon)\r\nTo: root,\n\t<bob>\nX: root\n\nFrom: me\n"),
            "From: root@example.org (Cron Daemon)\r\nTo: root@example.org,\n\t<bob@example.org>\nX: root\n\nFrom: me\n"
        );
        assert_eq!(completed("To: a@x\n\nhi\n"), "To: a@x\nFrom: \"Ann O'Nym\" <ann@example.org>\n\nhi\n");
        assert_eq!(completed("hi there\n"), "From: \"Ann O'Nym\" <ann@example.org>\n\nhi there\n");
        assert_eq!(completed(" :x\n\nhi\n"), "From: \"Ann O'Nym\" <ann@example.org>\n\n :x\n\nhi\n");
        assert_eq!(completed("From: b@x\nhi\n"), "From: b@x\n\nhi\n");
        assert_eq!(completed("\nhi\n"), "From: \"Ann O'Nym\" <ann@example.org>\n\nhi\n");
        assert_eq!(completed("To: a@x"), "To: a@x", "the header goes on");
    }

    #[test]
    fn names_of_all_kinds() {
        let named = |name| from_field(Author { name, ..AUTHOR });
        assert_eq!(named(""), "From: ann@example.org\n");
        assert_eq!(named("A \"B\"\n"), "From: \"A \\\"B\\\"\" <ann@example.org>\n");
        assert_eq!(named("Jürgen"), "From: =?utf-8?B?SsO8cmdlbg==?= <ann@example.org>\n");
        assert!(named(&"ü".repeat(100)).lines().all(|line| line.len() < 76 + 18));
    }

    proptest! {
        #[test]
        fn any_message_is_survived_and_its_body_kept(head in "(([A-Z][a-z]{1,4}: )?\\PC{0,12}\n){0,4}", body in "\\PC{0,20}") {
            let message = [head.as_bytes(), b"\n", body.as_bytes()].concat();
            let _ = recipients(&message);
            let completed = complete(&message, AUTHOR);
            prop_assert!(completed.ends_with(body.as_bytes()));
            // What is complete stays.
            let again = complete(&completed, AUTHOR);
            if !head.starts_with("From ") {
                prop_assert_eq!(completed, again);
            }
        }

        #[test]
        fn the_end_is_found_however_the_octets_come(message in "[.\r\na]{0,12}", cut in 0_usize..12) {
            let whole = ended(message.as_bytes(), usize::MAX);
            prop_assert_eq!(ended(message.as_bytes(), cut), whole);
        }

        #[test]
        fn what_is_written_for_an_envelope_is_read_as_the_same_address(local in "[a-z\" .\\\\@]{1,8}") {
            let address = Address { mailbox: local.as_bytes().to_vec(), host: b"x.test".to_vec(), ..Address::default() };
            let text = path(&address);
            let mailbox = crate::smtp::address::Mailbox::parse(&text).unwrap();
            prop_assert_eq!(mailbox.local.unquoted().to_string(), local);
        }
    }
}
