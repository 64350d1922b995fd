//! `postier.properties`: what a mailbox has that a Maildir cannot say, and that nothing else knows. Both ways.
//!
//! ```text
//! postier.properties 1
//! 0123456789abcdef mailbox /private/comment the boat, and%0Awhat it costs
//! fedcba9876543210 mailbox /private/specialuse \Archive
//! 00112233deadbeef server /private/vendor/x/theme dark
//! ```
//!
//! A line is a checksum of what follows it (16 hexadecimal digits), a kind, the name of an annotation (RFC 5464) and its
//! value. `mailbox` is about this mailbox, `server` about the account; the latter stand in INBOX. A control character and
//! `%`, and in a name a space, are written as `%` and two hexadecimal digits.
//!
//! Unlike `postier.index` this file cannot be made anew: whoever deletes it deletes what is in it, and nothing else. It lies in
//! the mailbox's directory, so RENAME carries it along and DELETE removes it; other programs pass it over. It is replaced
//! as a whole, under the lock of the uidlist ([`metadata`](super::metadata)), so a crash leaves the old one or the new
//! one. Of one that is damaged all the same only the lines are lost whose checksum is wrong. Lines of a kind that is
//! not known are kept. A file of another version is not touched.

use super::octets::{SEED, sum};
use super::{decimal, hex, push_hex};
use crate::imap::metadata::Entry;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The name of the file.
pub(super) const FILE_NAME: &[u8] = b"postier.properties";
/// The name under which it is written.
pub(super) const TEMPORARY: &[u8] = b"postier.properties.tmp";
/// The largest file that is read, in octets: all that limits allow, escaped.
pub(super) const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

const TITLE: &[u8] = b"postier.properties ";
const VERSION: &[u8] = b"1";

/// Whose annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The mailbox's own.
    Mailbox,
    /// The account's; they stand in INBOX.
    Server,
}

/// Annotations with their values.
pub(super) type Entries = BTreeMap<Entry, Vec<u8>>;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    mailbox: Entries,
    server: Entries,
    /// Lines of kinds that are not known, without their checksums.
    others: Vec<Vec<u8>>,
    /// How many lines are lost.
    pub(super) damaged: usize,
}

/// The file is of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OtherVersion;

impl Properties {
    pub(super) fn parse(file: &[u8]) -> Result<Properties, OtherVersion> {
        let mut properties = Properties::default();
        let mut lines = file.split(|octet| *octet == b'\n').peekable();
        match lines.peek().and_then(|first| first.strip_prefix(TITLE)) {
            Some(version) if version == VERSION => _ = lines.next(),
            Some(version) if decimal(version).is_some() => return Err(OtherVersion),
            // Damaged; each line has a checksum of its own.
            Some(_) | None => {}
        }
        for line in lines.filter(|line| !line.is_empty()) {
            match checked(line) {
                Some(line) => properties.take(line),
                None => properties.damaged += 1,
            }
        }
        Ok(properties)
    }

    fn take(&mut self, line: &[u8]) {
        let mut words = line.splitn(3, |octet| *octet == b' ');
        let entries = match words.next() {
            Some(b"mailbox") => &mut self.mailbox,
            Some(b"server") => &mut self.server,
            Some(_) | None => return self.others.push(line.to_vec()),
        };
        match (words.next().and_then(|name| Entry::new(&unescaped(name))), words.next()) {
            (Some(entry), Some(value)) => _ = entries.insert(entry, unescaped(value)),
            (Some(_) | None, _) => self.others.push(line.to_vec()),
        }
    }

    /// Appends the whole file.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[TITLE, VERSION, b"\n"].concat());
        let mut line = Vec::new();
        let annotations = |word: &'static [u8], entries| (word, entries);
        for (word, entries) in
            [annotations(b"mailbox ", &self.mailbox), annotations(b"server ", &self.server)]
        {
            for (entry, value) in entries {
                line.clear();
                line.extend_from_slice(word);
                escape(entry.as_bytes(), true, &mut line);
                line.push(b' ');
                escape(value, false, &mut line);
                push_line(&line, out);
            }
        }
        self.others.iter().for_each(|line| push_line(line, out));
    }

    pub(super) fn entries(&self, of: Of) -> &Entries {
        match of {
            Of::Mailbox => &self.mailbox,
            Of::Server => &self.server,
        }
    }

    pub(super) fn entries_mut(&mut self, of: Of) -> &mut Entries {
        match of {
            Of::Mailbox => &mut self.mailbox,
            Of::Server => &mut self.server,
        }
    }
}

/// A line without its checksum, if that is right.
fn checked(line: &[u8]) -> Option<&[u8]> {
    let (digits, rest) = line.split_at_checked(16)?;
    let rest = rest.strip_prefix(b" ")?;
    (hex(digits, 16)? == u128::from(sum(SEED, rest))).then_some(rest)
}

fn push_line(line: &[u8], out: &mut Vec<u8>) {
    push_hex(out, sum(SEED, line), 16);
    out.push(b' ');
    out.extend_from_slice(line);
    out.push(b'\n');
}

fn escape(text: &[u8], spaces: bool, out: &mut Vec<u8>) {
    for &octet in text {
        if octet.is_ascii_control() || octet == b'%' || (spaces && octet == b' ') {
            out.push(b'%');
            push_hex(out, u64::from(octet), 2);
        } else {
            out.push(octet);
        }
    }
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        let escaped = after.get(..2).filter(|_| octet == b'%').and_then(|digits| hex(digits, 2));
        match escaped {
            Some(value) => {
                out.push(value as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            None => out.push(octet),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(name: &str) -> Entry {
        Entry::new(name.as_bytes()).unwrap()
    }

    fn written(properties: &Properties) -> Vec<u8> {
        let mut file = Vec::new();
        properties.push(&mut file);
        file
    }

    fn three() -> Properties {
        let mut properties = Properties::default();
        let own = properties.entries_mut(Of::Mailbox);
        own.insert(entry("/private/comment"), b"100 %\nof it\0 ".to_vec());
        own.insert(entry("/shared/vendor/a b"), Vec::new());
        properties.entries_mut(Of::Server).insert(entry("/private/x"), "é".as_bytes().to_vec());
        properties
    }

    #[test]
    fn it_is_a_text_that_reads_back() {
        let file = written(&three());
        let text = std::str::from_utf8(&file).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.get(17..).unwrap_or_default()).collect();
        let expected = [
            "1",
            "mailbox /private/comment 100 %25%0aof it%00 ",
            "mailbox /shared/vendor/a%20b ",
            "server /private/x é",
        ];
        assert_eq!(lines[1..], expected[1..]);
        assert!(text.starts_with("postier.properties 1\n"));
        assert_eq!(Properties::parse(&file), Ok(three()));
        assert_eq!(Properties::parse(b""), Ok(Properties::default()));
    }

    #[test]
    fn only_the_lines_are_lost_that_are_damaged() {
        let file = written(&three());
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x40;
            let Ok(read) = Properties::parse(&damaged) else { continue };
            let left = read.mailbox.len() + read.server.len();
            // A line end that is none any more takes two lines along.
            assert!(left >= 1 && read.others.is_empty(), "octet {at}");
            assert!(left == 3 || read.damaged > 0, "octet {at}");
            let cut = Properties::parse(&file[..at]).unwrap_or_default();
            assert!(cut.mailbox.iter().all(|(entry, value)| three().mailbox.get(entry) == Some(value)));
        }
    }

    #[test]
    fn what_is_not_known_is_kept_and_another_version_is_left_alone() {
        let mut file = written(&three());
        push_line(b"keyword 26 later", &mut file);
        push_line(b"mailbox no-entry x", &mut file);
        let read = Properties::parse(&file).unwrap();
        assert_eq!((read.others.len(), read.damaged), (2, 0));
        assert_eq!(Properties::parse(&written(&read)), Ok(read));
        assert_eq!(Properties::parse(b"postier.properties 2\nwhatever\n"), Err(OtherVersion));
    }

    proptest! {
        #[test]
        fn any_octets_are_readable_and_any_value_reads_back(octets: Vec<u8>, value: Vec<u8>) {
            let _ = Properties::parse(&octets);
            let mut properties = three();
            properties.entries_mut(Of::Mailbox).insert(entry("/private/v"), value);
            prop_assert_eq!(Properties::parse(&written(&properties)), Ok(properties));
        }
    }
}
