//! A message passes by, and what comes of it are DKIM-Signature fields, one for each key (RFC 6376 §5, RFC 8463 §3).
//!
//! In memory are its header, up to [`HEADER_BYTES_MAX`], and the state of a hash. Who the author is the From field says; a
//! mail without exactly one is not signed, nor is one whose header has lines that are no fields, for readers disagree about
//! what it says.
//!
//! A field that a reader acts on is named in `h=` once more than it is there ("oversigned", §8.15), so that nobody can add
//! another one.
//!
//! ```
//! use postier_core::dkim::signer::{Signer, Unsigned};
//! let mut signer = Signer::new();
//! signer.feed(b"From: me@example.org\n\nHello\n");
//! assert_eq!(signer.finish(&Default::default(), 1_764_000_000), Err(Unsigned::NoKey));
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use sha2::{Digest, Sha256};

use super::canonical::{BodyHash, relaxed_field};
use super::{Algorithm, Key, Keys};
use crate::mime::address::{self, Entry};
use crate::mime::header::{Field, fields};
use crate::wire::base64;

/// Octets of a header; a mail with a longer one is not signed.
pub const HEADER_BYTES_MAX: usize = 256 * 1024;
/// Names in `h=`; a mail with more fields to sign is not signed.
pub const NAMES_MAX: usize = 100;
/// A line of the signature is folded before it is longer than this, in octets.
const LINE_BYTES: usize = 76;

/// Signed as often as it is there, and once more.
const OVERSIGNED: [&str; 12] = [
    "From",
    "To",
    "Cc",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Signed as often as it is there: a mailing list may add its own (RFC 6376 §5.4.1, RFC 8058 §4).
const SIGNED: [&str; 10] = [
    "Sender",
    "Content-ID",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];

/// Why a mail is not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// No key is there for the author's domain.
    NoKey,
    /// There is not exactly one From field with an address in it.
    NoAuthor,
    /// The header is too long, has too many fields, or lines that are none.
    OddHeader,
    /// A key does not work.
    BrokenKey,
}

impl Unsigned {
    /// For a person.
    pub const fn text(self) -> &'static str {
        match self {
            Unsigned::NoKey => "there is no key for the domain of its author",
            Unsigned::NoAuthor => "it has not exactly one From field with an address",
            Unsigned::OddHeader => "its header is too long, or has lines that are no fields",
            Unsigned::BrokenKey => "the key does not work; `postier dkim new` makes another",
        }
    }
}

/// What has been signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The fields, each with its last line end, LF: to stand in front of the message.
    pub fields: Vec<u8>,
    /// `d=`
    pub domain: String,
    /// `s=` of each.
    pub selectors: Vec<String>,
}

/// A message that passes by.
#[derive(Clone, Debug, Default)]
pub struct Signer {
    header: Vec<u8>,
    /// Where the line begins that is not over.
    line: usize,
    place: Place,
    body: BodyHash,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Header,
    Body,
    /// The header is too long.
    Beyond,
}

impl Signer {
    /// Before the first octet of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// The octets that come next, with LF or CRLF line ends.
    pub fn feed(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while self.place == Place::Header && !rest.is_empty() {
            let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let Some((line, after)) = rest.split_at_checked(line) else { return };
            self.header.extend_from_slice(line);
            rest = after;
            if self.header.len() > HEADER_BYTES_MAX {
                (self.place, self.header) = (Place::Beyond, Vec::new());
            } else if self.header.ends_with(b"\n") {
                if matches!(self.header.get(self.line..), Some(b"\n" | b"\r\n")) {
                    self.place = Place::Body;
                }
                self.line = self.header.len();
            }
        }
        if self.place == Place::Body {
            self.body.feed(rest);
        }
    }

    /// The message is over; `now` is in seconds since 1970 (UTC).
    ///
    /// # Errors
    /// [`Unsigned`]
    pub fn finish(self, keys: &Keys, now: i64) -> Result<Signed, Unsigned> {
        if self.place == Place::Beyond {
            return Err(Unsigned::OddHeader);
        }
        let fields: Vec<Field<'_>> = fields(&self.header).collect();
        let author = author(&fields)?;
        let (domain, keys) = keys.of(&author).ok_or(Unsigned::NoKey)?;
        if fields.iter().any(|field| field.name.is_empty()) {
            return Err(Unsigned::OddHeader);
        }
        let (names, mut input) = choose(&fields);
        if names.len() > NAMES_MAX {
            return Err(Unsigned::OddHeader);
        }
        let domain = String::from_utf8_lossy(domain).into_owned();
        let hash = base64::encode(&self.body.finish());
        let header_bytes = input.len();
        let mut signed = Signed { fields: Vec::new(), domain, selectors: Vec::new() };
        for key in keys {
            let mut field = unsigned_field(key, &signed.domain, now, &names, &hash);
            input.truncate(header_bytes);
            // Without a line end (RFC 6376 §3.7).
            if let Some(own) = crate::mime::header::fields(field.as_bytes()).next() {
                relaxed_field(own.name, own.value, &mut input);
            }
            let signature = match key.algorithm {
                Algorithm::RsaSha256 => key.signer.sign(&input),
                Algorithm::Ed25519Sha256 => key.signer.sign(&Sha256::digest(&input)),
            };
            fold_in(&mut field, &base64::encode(&signature.ok_or(Unsigned::BrokenKey)?));
            field.push('\n');
            signed.fields.extend_from_slice(field.as_bytes());
            signed.selectors.push(key.selector.clone());
        }
        Ok(signed)
    }
}

/// The domain of whom the mail is from.
fn author(fields: &[Field<'_>]) -> Result<Vec<u8>, Unsigned> {
    let mut from = fields.iter().filter(|field| field.is(b"From"));
    let (Some(field), None) = (from.next(), from.next()) else { return Err(Unsigned::NoAuthor) };
    let mailbox = address::parse(field.value).into_iter().find_map(|entry| match entry {
        Entry::Mailbox(mailbox) => Some(mailbox.host),
        Entry::GroupStart(_) | Entry::GroupEnd => None,
    });
    mailbox.filter(|host| !host.is_empty()).ok_or(Unsigned::NoAuthor)
}

/// The names for `h=`, and what is hashed of their fields: of those of one name the last is taken first (§5.4.2).
fn choose(fields: &[Field<'_>]) -> (Vec<&'static str>, Vec<u8>) {
    let (mut names, mut input) = (Vec::new(), Vec::new());
    let oversigned = OVERSIGNED.iter().map(|name| (*name, true));
    for (name, once_more) in oversigned.chain(SIGNED.iter().map(|name| (*name, false))) {
        for field in fields.iter().rev().filter(|field| field.is(name.as_bytes())) {
            names.push(name);
            relaxed_field(field.name, field.value, &mut input);
            input.extend_from_slice(b"\r\n");
        }
        if once_more {
            names.push(name);
        }
    }
    (names, input)
}

/// The field up to its `b=`.
fn unsigned_field(key: &Key, domain: &str, now: i64, names: &[&str], body_hash: &str) -> String {
    let mut field = String::new();
    let algorithm = key.algorithm.name();
    // Writing into a String cannot fail.
    let _ = write!(
        field,
        "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed;\n\td={domain}; s={}; t={now};\n\th=",
        key.selector
    );
    let mut column = 10;
    for (n, name) in names.iter().enumerate() {
        let colon = if n == 0 { "" } else { ":" };
        if column + name.len() + 2 > LINE_BYTES {
            field.push_str(colon);
            field.push_str("\n\t");
            column = 8;
        } else {
            field.push_str(colon);
        }
        field.push_str(name);
        column += name.len() + 1;
    }
    let _ = write!(field, ";\n\tbh={body_hash};\n\tb=");
    field
}

/// Appends base64 in lines; white space inside means nothing (§3.5).
fn fold_in(field: &mut String, base64: &str) {
    // The first line has the `b=`.
    for (n, octet) in base64.chars().enumerate() {
        if n > 0 && n.is_multiple_of(64) {
            field.push_str("\n\t");
        }
        field.push(octet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::sync::Arc;
    use proptest::prelude::*;
    use std::sync::Mutex;

    /// Signs with what it is asked to sign.
    #[derive(Debug, Default)]
    struct Spy(Mutex<Vec<Vec<u8>>>);

    impl super::super::Sign for Spy {
        fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
            self.0.lock().unwrap().push(octets.to_vec());
            Some([0xab; 64].into())
        }
    }

    fn keys() -> (Keys, Arc<Spy>) {
        let spy = Arc::new(Spy::default());
        let mut keys = Keys::default();
        for (selector, algorithm) in [("1r", Algorithm::RsaSha256), ("1e", Algorithm::Ed25519Sha256)] {
            let key = Key { selector: selector.into(), algorithm, signer: spy.clone() };
            keys.insert("Example.ORG", key);
        }
        (keys, spy)
    }

    fn sign(message: &[u8]) -> Result<(Signed, Vec<Vec<u8>>), Unsigned> {
        let (keys, spy) = keys();
        let mut signer = Signer::new();
        signer.feed(message);
        let signed = signer.finish(&keys, 1_764_000_000)?;
        let asked = spy.0.lock().unwrap().clone();
        Ok((signed, asked))
    }

    #[test]
    fn a_signature_names_what_it_covers_and_hashes_itself() {
        let message =
            b"Received: x\nFrom: Me <me@example.org>\nSubject: a\n  b\nSubject: c\nX-Y: z\n\nhello\n";
        let (signed, asked) = sign(message).unwrap();
        let text = String::from_utf8(signed.fields).unwrap();
        let expected = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\n\
            \td=example.org; s=1r; t=1764000000;\n\
            \th=From:From:To:Cc:Reply-To:Subject:Subject:Subject:Date:Message-ID:\n\
            \tIn-Reply-To:References:MIME-Version:Content-Type:\n\
            \tContent-Transfer-Encoding;\n\
            \tbh=";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(signed.selectors, ["1r", "1e"]);
        let hashed = String::from_utf8(asked[0].clone()).unwrap();
        let (fields, own) = hashed.split_at(hashed.find("dkim-signature").unwrap());
        assert_eq!(fields, "from:Me <me@example.org>\r\nsubject:c\r\nsubject:a b\r\n");
        assert!(own.starts_with("dkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=1r;"));
        assert!(own.ends_with("; b=") && !own.contains(['\r', '\n']));
        assert_eq!(asked[1].len(), 32, "Ed25519 signs a hash (RFC 8463 §3)");
        assert!(text.lines().all(|line| line.len() < 78), "{text}");
        assert_eq!(text.matches("DKIM-Signature:").count(), 2);
        assert!(text.ends_with("q6s=\n") || text.ends_with("qw==\n"), "{text}");
    }

    #[test]
    fn what_cannot_be_signed_well_is_not() {
        let cases: [(&[u8], Unsigned); 9] = [
            (b"", Unsigned::NoAuthor),
            (b"\nFrom: me@example.org\n", Unsigned::NoAuthor),
            (b"From:\n\n", Unsigned::NoAuthor),
            (b"From: me\n\n", Unsigned::NoAuthor),
            (b"From: me@example.org\nFrom: me@example.org\n\n", Unsigned::NoAuthor),
            (b"From: me@other.test\n\n", Unsigned::NoKey),
            (b"From: me@notexample.org\n\n", Unsigned::NoKey),
            (b"From: me@[192.0.2.1]\n\n", Unsigned::NoKey),
            (b"From: me@example.org\nno field\n\n", Unsigned::OddHeader),
        ];
        for (message, why) in cases {
            assert_eq!(sign(message).unwrap_err(), why, "{}", String::from_utf8_lossy(message));
        }
        let many = ["From: me@example.org\n", &"To: a@b\n".repeat(NAMES_MAX)].concat();
        assert_eq!(sign(many.as_bytes()).unwrap_err(), Unsigned::OddHeader);
        let long = format!("From: me@example.org\nX: {}\n\n", "x".repeat(HEADER_BYTES_MAX));
        assert_eq!(sign(long.as_bytes()).unwrap_err(), Unsigned::OddHeader);
    }

    #[test]
    fn a_domain_signs_for_those_below_it() {
        let (signed, _) = sign(b"From: MAILER-DAEMON@Mail.Example.Org\n").unwrap();
        assert_eq!(signed.domain.to_string(), "example.org");
    }

    #[test]
    fn a_broken_key_signs_nothing() {
        #[derive(Debug)]
        struct Broken;
        impl super::super::Sign for Broken {
            fn sign(&self, _: &[u8]) -> Option<Vec<u8>> {
                None
            }
        }
        let mut keys = Keys::default();
        let key = Key { selector: "x".into(), algorithm: Algorithm::Ed25519Sha256, signer: Arc::new(Broken) };
        keys.insert("a.test", key);
        let mut signer = Signer::new();
        signer.feed(b"From: a@a.test\n\n");
        assert_eq!(signer.finish(&keys, 0), Err(Unsigned::BrokenKey));
    }

    proptest! {
        #[test]
        fn any_message_in_any_slices(
            parts in proptest::collection::vec(prop::sample::select(&[
                "From: me@example.org\r\n", "Subject: x\n", " more\r\n", "\r\n", "\n", "\r", "text", "To:", " ",
            ][..]), 0..16),
            cuts in proptest::collection::vec(any::<usize>(), 0..8),
        ) {
            let message = parts.concat().into_bytes();
            let whole = sign(&message);
            // Stored with LF and sent with CRLF, it is the same mail.
            let mut sent = Vec::new();
            crate::wire::eol::ToCrlf::new().feed(&message, &mut sent);
            prop_assert_eq!(&sign(&sent), &whole);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (message.len() + 1)).collect();
            cuts.sort_unstable();
            let (keys, spy) = keys();
            let (mut at, mut signer) = (0, Signer::new());
            for cut in cuts.into_iter().chain([message.len()]) {
                signer.feed(&message[at..cut]);
                at = cut;
            }
            let cut = signer.finish(&keys, 1_764_000_000);
            let asked = spy.0.lock().unwrap().clone();
            prop_assert_eq!(cut.map(|signed| (signed, asked)), whole);
        }
    }
}
