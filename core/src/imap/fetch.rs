//! What a FETCH command asks for, RFC 9051 §6.4.5, and how its response names what it gives.
//!
//! The request is owned and `Send`: it goes to whoever reads the messages. The macros ALL, FAST and FULL
//! are gone by now: the parser writes out their items.
//!
//! ```
//! use postier_core::imap::command::{CommandBody, parse};
//!
//! let command = parse(b"a UID FETCH 1:* (FLAGS BODY.PEEK[1.2.MIME]<0.100>)\r\n").unwrap();
//! let CommandBody::Fetch(fetch) = command.body else { panic!() };
//! let mut name = Vec::new();
//! fetch.items[1].write_name(&mut name);
//! assert_eq!(name, b"BODY[1.2.MIME]<0>");
//! assert!(!fetch.items[1].wants_seen());
//! ```

use super::response::{is_astring_char, write_astring, write_number};
use super::search::PartialRange;
use super::sequence::SequenceSet;
use alloc::string::String;
use alloc::vec::Vec;

/// A FETCH or UID FETCH command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Whether the set names UIDs; then every response contains UID whether asked for or not
    /// (RFC 9051 §6.4.9).
    pub uid: bool,
    /// The messages.
    pub set: SequenceSet,
    /// What to say of each, in the order asked; at least one.
    pub items: Vec<FetchItem>,
    /// Only a part of the messages: those at these places among the named ones that are there (RFC 9394 §3.3).
    /// Only with `uid`.
    pub partial: Option<PartialRange>,
    /// Only messages that have changed since this mod-sequence (RFC 7162 §3.1.4.1).
    pub changed_since: Option<u64>,
    /// Tell what has gone since then, too (RFC 7162 §3.2.6). Only with `uid` and `changed_since`.
    pub vanished: bool,
}

/// One thing to say of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    /// The flags.
    Flags,
    /// The UID.
    Uid,
    /// When the message arrived here.
    InternalDate,
    /// The size in octets, with CRLF line ends.
    Rfc822Size,
    /// The parsed header fields a list of messages shows.
    Envelope,
    /// The MIME structure without extension data.
    Body,
    /// The MIME structure with extension data.
    BodyStructure,
    /// The whole message under its old name (RFC 3501); marks it `\Seen`.
    Rfc822,
    /// The header under its old name; marks nothing.
    Rfc822Header,
    /// The text under its old name; marks the message `\Seen`.
    Rfc822Text,
    /// `BODY[…]` or `BODY.PEEK[…]`.
    Section(FetchSection),
    /// `BINARY[…]` or `BINARY.PEEK[…]`: as `BODY[…]`, but the transfer encoding of a part is undone (RFC 3516).
    Binary(FetchSection),
    /// `BINARY.SIZE[…]`: how many octets `BINARY[…]` has.
    BinarySize(FetchSection),
    /// The first words of the text (RFC 8970).
    Preview,
    /// When the message came into this mailbox (RFC 8514).
    SaveDate,
    /// What stays the same of a message when it is moved (RFC 8474).
    EmailId,
    /// The thread the message is in (RFC 8474): none is kept.
    ThreadId,
    /// The mod-sequence of the message's last change (RFC 7162).
    ModSeq,
}

/// `BODY[section]<partial>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSection {
    /// Whether `.PEEK` was said: the message is not marked `\Seen`.
    pub peek: bool,
    /// Which part of the message.
    pub section: Section,
    /// Which octets of it; all when `None`.
    pub partial: Option<Partial>,
}

/// A section of a message, RFC 9051 §6.4.5.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The part numbers, `[4, 2]` for `4.2`; none is the message itself.
    pub part: Vec<u32>,
    /// What of that part.
    pub kind: SectionKind,
}

/// What of a part is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// All of it: the whole message, or the body of the part.
    Full,
    /// The header of the message (or of the message/rfc822 part).
    Header,
    /// Some fields of that header.
    HeaderFields {
        /// `HEADER.FIELDS.NOT`: all fields but those named.
        not: bool,
        /// The fields named.
        names: FieldNames,
    },
    /// The text after the header.
    Text,
    /// The MIME header of the part; only with a part number.
    Mime,
}

/// The field names of a `HEADER.FIELDS` list, as the client spelt them; at least one.
///
/// They are kept in one string: a field name has no space in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldNames {
    joined: String,
}

impl FieldNames {
    /// Adds a name. False, and nothing added, when it is empty or holds anything but printable US-ASCII
    /// without space: no header field is called so (RFC 5322 §2.2).
    pub fn push(&mut self, name: &[u8]) -> bool {
        let Some(name) = core::str::from_utf8(name).ok().filter(|name| !name.is_empty()) else {
            return false;
        };
        if !name.bytes().all(|octet| octet.is_ascii_graphic()) {
            return false;
        }
        if !self.joined.is_empty() {
            self.joined.push(' ');
        }
        self.joined.push_str(name);
        true
    }

    /// The names of a list that is nothing but atoms with one space between them, as nearly all are.
    pub(super) fn from_atoms(list: &[u8]) -> Option<FieldNames> {
        let mut after_space = true;
        for octet in list {
            let space = *octet == b' ';
            if (space && after_space) || !(space || is_astring_char(*octet)) {
                return None;
            }
            after_space = space;
        }
        let joined = core::str::from_utf8(list).ok().filter(|_| !after_space)?;
        Some(FieldNames { joined: String::from(joined) })
    }

    /// The names in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.joined.split(' ').filter(|name| !name.is_empty())
    }

    /// Whether a field of that name is meant, in any ASCII case.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// A range of octets, `<offset.length>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The first octet, counted from 0. Beyond the end of the section the answer is an empty string.
    pub offset: u64,
    /// How many octets at most; never 0.
    pub length: u64,
}

impl FetchItem {
    /// Whether fetching this marks the message `\Seen` (in a mailbox opened for writing).
    pub fn wants_seen(&self) -> bool {
        match self {
            FetchItem::Rfc822 | FetchItem::Rfc822Text => true,
            FetchItem::Section(section) | FetchItem::Binary(section) => !section.peek,
            FetchItem::Flags
            | FetchItem::Uid
            | FetchItem::InternalDate
            | FetchItem::Rfc822Size
            | FetchItem::Envelope
            | FetchItem::Body
            | FetchItem::BodyStructure
            | FetchItem::Rfc822Header
            | FetchItem::BinarySize(_)
            | FetchItem::Preview
            | FetchItem::SaveDate
            | FetchItem::EmailId
            | FetchItem::ThreadId
            | FetchItem::ModSeq => false,
        }
    }

    /// Writes the name of the item as its response has it: without `.PEEK`, and of a partial only the offset
    /// (RFC 9051 §7.5.2), `BODY[HEADER.FIELDS (DATE FROM)]<0>`.
    pub fn write_name(&self, out: &mut Vec<u8>) {
        let name: &[u8] = match self {
            FetchItem::Flags => b"FLAGS",
            FetchItem::Uid => b"UID",
            FetchItem::InternalDate => b"INTERNALDATE",
            FetchItem::Rfc822Size => b"RFC822.SIZE",
            FetchItem::Envelope => b"ENVELOPE",
            FetchItem::Body => b"BODY",
            FetchItem::BodyStructure => b"BODYSTRUCTURE",
            FetchItem::Rfc822 => b"RFC822",
            FetchItem::Rfc822Header => b"RFC822.HEADER",
            FetchItem::Rfc822Text => b"RFC822.TEXT",
            FetchItem::Preview => b"PREVIEW",
            FetchItem::SaveDate => b"SAVEDATE",
            FetchItem::EmailId => b"EMAILID",
            FetchItem::ThreadId => b"THREADID",
            FetchItem::ModSeq => b"MODSEQ",
            FetchItem::Section(section) => return section.write_name(b"BODY[", out),
            FetchItem::Binary(section) => return section.write_name(b"BINARY[", out),
            FetchItem::BinarySize(section) => return section.write_name(b"BINARY.SIZE[", out),
        };
        out.extend_from_slice(name);
    }
}

impl FetchSection {
    fn write_name(&self, name: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(name);
        self.section.write(out);
        out.push(b']');
        if let Some(partial) = self.partial {
            out.push(b'<');
            write_number(out, partial.offset);
            out.push(b'>');
        }
    }
}

impl Section {
    /// Writes what stands between the brackets, `1.2.HEADER.FIELDS (DATE)`.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (index, number) in self.part.iter().enumerate() {
            if index > 0 {
                out.push(b'.');
            }
            write_number(out, u64::from(*number));
        }
        let kind: &[u8] = match &self.kind {
            SectionKind::Full => return,
            SectionKind::Header => b"HEADER",
            SectionKind::HeaderFields { not: false, .. } => b"HEADER.FIELDS (",
            SectionKind::HeaderFields { not: true, .. } => b"HEADER.FIELDS.NOT (",
            SectionKind::Text => b"TEXT",
            SectionKind::Mime => b"MIME",
        };
        if !self.part.is_empty() {
            out.push(b'.');
        }
        out.extend_from_slice(kind);
        if let SectionKind::HeaderFields { names, .. } = &self.kind {
            for (index, name) in names.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                write_astring(out, name.as_bytes());
            }
            out.push(b')');
        }
    }
}
