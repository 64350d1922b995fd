//! ENVELOPE (RFC 9051 §7.5.2, RFC 3501 §7.4.2): the ten header fields a client lists messages by.
//!
//! Values are kept unfolded and undecoded; address lists are read when the envelope is written. As Dovecot does: of
//! several `Date`, `Subject`, `In-Reply-To` or `Message-ID` fields the last counts, several address fields of one
//! name are one list, and a mailbox or host that is missing is spelt out, since `NIL` would mean a group.

use alloc::vec::Vec;

use super::address::{self, Address, Entry};
use super::header;
use crate::imap::response::{write_nstring, write_string};

/// Most bytes kept of one field; what is longer is cut.
pub const ENVELOPE_FIELD_BYTES_MAX: usize = 64 * 1024;

/// The fields of an envelope, unfolded; `None` is an absent field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `Date`, as written.
    pub date: Option<Vec<u8>>,
    /// `Subject`, encoded words kept.
    pub subject: Option<Vec<u8>>,
    /// `From`.
    pub from: Option<Vec<u8>>,
    /// `Sender`.
    pub sender: Option<Vec<u8>>,
    /// `Reply-To`.
    pub reply_to: Option<Vec<u8>>,
    /// `To`.
    pub to: Option<Vec<u8>>,
    /// `Cc`.
    pub cc: Option<Vec<u8>>,
    /// `Bcc`.
    pub bcc: Option<Vec<u8>>,
    /// `In-Reply-To`.
    pub in_reply_to: Option<Vec<u8>>,
    /// `Message-ID`.
    pub message_id: Option<Vec<u8>>,
}

impl Envelope {
    /// The envelope of a message, or of its header block.
    pub fn from_header(block: &[u8]) -> Envelope {
        let mut envelope = Envelope::default();
        for field in header::fields(block) {
            if Envelope::wants(field.name) {
                envelope.take_field(field.name, &header::unfold(field.value));
            }
        }
        envelope
    }

    /// Whether a field of this name belongs to an envelope.
    pub fn wants(name: &[u8]) -> bool {
        Envelope::default().slot(name).is_some()
    }

    /// Takes one field, its value unfolded; returns how many bytes were kept.
    pub fn take_field(&mut self, name: &[u8], value: &[u8]) -> usize {
        let Some((slot, list)) = self.slot(name) else { return 0 };
        let kept = slot.get_or_insert_default();
        if list && !kept.is_empty() {
            kept.extend_from_slice(b", ");
        } else if !list {
            kept.clear();
        }
        let room = ENVELOPE_FIELD_BYTES_MAX.saturating_sub(kept.len());
        let value = value.get(..room).unwrap_or(value);
        kept.extend_from_slice(value);
        value.len()
    }

    /// Writes the parenthesized list of ten.
    ///
    /// ```
    /// use postier_core::mime::envelope::Envelope;
    /// let mut out = Vec::new();
    /// Envelope::from_header(b"From: Joe <joe@x.test>\nSubject: Hi\n\n").write(&mut out);
    /// let joe = r#"(("Joe" NIL "joe" "x.test"))"#;
    /// assert_eq!(out, format!(r#"(NIL "Hi" {joe} {joe} {joe} NIL NIL NIL NIL NIL)"#).as_bytes());
    /// ```
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'(');
        write_nstring(out, self.date.as_deref());
        out.push(b' ');
        write_human(out, self.subject.as_deref());
        out.push(b' ');
        let from_at = out.len();
        write_addresses(out, self.from.as_deref());
        let from = from_at..out.len();
        // RFC 9051 §7.5.2: an absent or empty Sender or Reply-To is the From.
        for list in [&self.sender, &self.reply_to] {
            out.push(b' ');
            let start = out.len();
            write_addresses(out, list.as_deref());
            if out.get(start..) == Some(b"NIL") {
                out.truncate(start);
                out.extend_from_within(from.clone());
            }
        }
        for list in [&self.to, &self.cc, &self.bcc] {
            out.push(b' ');
            write_addresses(out, list.as_deref());
        }
        for value in [&self.in_reply_to, &self.message_id] {
            out.push(b' ');
            write_nstring(out, value.as_deref());
        }
        out.push(b')');
    }

    /// Where the field goes, and whether it is an address list.
    fn slot(&mut self, name: &[u8]) -> Option<(&mut Option<Vec<u8>>, bool)> {
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        Some(match name.first()?.to_ascii_lowercase() {
            b'b' if is(b"bcc") => (&mut self.bcc, true),
            b'c' if is(b"cc") => (&mut self.cc, true),
            b'd' if is(b"date") => (&mut self.date, false),
            b'f' if is(b"from") => (&mut self.from, true),
            b'i' if is(b"in-reply-to") => (&mut self.in_reply_to, false),
            b'm' if is(b"message-id") => (&mut self.message_id, false),
            b'r' if is(b"reply-to") => (&mut self.reply_to, true),
            b's' if is(b"sender") => (&mut self.sender, true),
            b's' if is(b"subject") => (&mut self.subject, false),
            b't' if is(b"to") => (&mut self.to, true),
            _ => return None,
        })
    }
}

fn write_addresses(out: &mut Vec<u8>, value: Option<&[u8]>) {
    let entries = value.map(address::parse).unwrap_or_default();
    if entries.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for entry in &entries {
        match entry {
            Entry::Mailbox(address) => write_address(out, address),
            Entry::GroupStart(name) => {
                out.extend_from_slice(b"(NIL NIL ");
                write_string(out, name);
                out.extend_from_slice(b" NIL)");
            }
            Entry::GroupEnd => out.extend_from_slice(b"(NIL NIL NIL NIL)"),
        }
    }
    out.push(b')');
}

fn write_address(out: &mut Vec<u8>, address: &Address) {
    let or = |value: &[u8], missing: &'static [u8], out: &mut Vec<u8>| {
        out.push(b' ');
        write_string(out, if value.is_empty() { missing } else { value });
    };
    out.push(b'(');
    write_human(out, present(&address.name));
    out.push(b' ');
    write_nstring(out, present(&address.route));
    or(&address.mailbox, b"MISSING_MAILBOX", out);
    or(&address.host, b"MISSING_DOMAIN", out);
    out.push(b')');
}

fn present(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}

/// Writes text meant for people: runs of white space are one space, none is at the ends. What cannot be printed counts as
/// white space, but for DEL, which Dovecot shows.
fn write_human(out: &mut Vec<u8>, text: Option<&[u8]>) {
    let Some(text) = text else { return write_nstring(out, None) };
    let blank = |byte: u8| byte <= b' ';
    let clean = !text.iter().any(|&byte| byte < b' ')
        && !text.windows(2).any(|pair| pair == b"  ")
        && !text.starts_with(b" ")
        && !text.ends_with(b" ");
    if clean {
        return write_string(out, text);
    }
    let mut tidy = Vec::with_capacity(text.len());
    for word in text.split(|&byte| blank(byte)).filter(|word| !word.is_empty()) {
        if !tidy.is_empty() {
            tidy.push(b' ');
        }
        tidy.extend_from_slice(word);
    }
    write_string(out, &tidy);
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    fn write(header: &[u8]) -> String {
        let mut out = Vec::new();
        Envelope::from_header(header).write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The sample of RFC 3501 §8.
    #[test]
    fn rfc3501_sample() {
        let header =
            b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
            Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
            Message-Id: <B27397-0100000@cac.washington.edu>\r\nMIME-Version: 1.0\r\n\r\n";
        let expected = concat!(
            "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" ",
            "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ",
            "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ",
            "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ",
            "((NIL NIL \"imap\" \"cac.washington.edu\")) ",
            "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL ",
            "\"<B27397-0100000@cac.washington.edu>\")"
        );
        assert_eq!(write(header), expected);
    }

    #[test]
    fn odd_messages() {
        assert_eq!(write(b"no header"), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        assert_eq!(
            write(b"Subject:\nSender: , \nFrom: joe\nTo: A:;\nTO: <>\nbcc:\nIn-Reply-To: a\n\tb\n"),
            concat!(
                "(NIL \"\" ((NIL NIL \"joe\" \"MISSING_DOMAIN\")) ((NIL NIL \"joe\" \"MISSING_DOMAIN\")) ",
                "((NIL NIL \"joe\" \"MISSING_DOMAIN\")) ((NIL NIL \"A\" NIL)(NIL NIL NIL NIL)",
                "(NIL NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\")) NIL NIL \"a b\" NIL)"
            )
        );
        assert_eq!(
            write("Subject: a\nSubject:  \"caf\u{e9}\"\n \t\tb\x00\rc\x7f\n".as_bytes()),
            "(NIL {12}\r\n\"caf\u{e9}\" b c\x7f NIL NIL NIL NIL NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn fields_are_cut_at_the_limit() {
        let mut envelope = Envelope::default();
        let long = [b'a'; ENVELOPE_FIELD_BYTES_MAX - 1];
        assert_eq!(envelope.take_field(b"To", &long), long.len());
        assert_eq!(envelope.take_field(b"To", &long), 0);
        assert_eq!(envelope.take_field(b"X-To", &long), 0);
    }
}
