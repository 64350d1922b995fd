//! The parts of a message: where each begins and ends, what its header says, which is inside which.
//!
//! Parts lie in one vector in the order of the message, part 0 being the message itself; relations are indexes. All
//! positions are kept for both views of a message: the file as stored (LF or CRLF) and the octets IMAP sees (CRLF).
//! [`super::structure_parser::StructureParser`] makes one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use super::content::Content;
use super::envelope::Envelope;

/// A place in a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it in the file.
    pub offset: u64,
    /// Line ends before it.
    pub lines: u64,
    /// Of these, how many are a LF without a CR: IMAP sees one octet more for each.
    pub bare_lf: u64,
}

impl Position {
    /// Octets before it as IMAP counts them, every line end being CRLF.
    pub fn crlf_offset(&self) -> u64 {
        self.offset + self.bare_lf
    }
}

/// A stretch of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    pub start: Position,
    /// After its last byte; never before `start`.
    pub end: Position,
}

impl Span {
    /// The bytes in the file.
    pub fn file_range(&self) -> Range<u64> {
        self.start.offset..self.end.offset
    }

    /// The bytes of `file`, the whole message as stored; empty when the file is shorter than it was.
    pub fn of<'f>(&self, file: &'f [u8]) -> &'f [u8] {
        let range = (usize::try_from(self.start.offset), usize::try_from(self.end.offset));
        let (Ok(start), Ok(end)) = range else { return &[] };
        file.get(start..end).unwrap_or_default()
    }

    /// Size in octets as IMAP counts them.
    pub fn crlf_bytes(&self) -> u64 {
        self.end.crlf_offset() - self.start.crlf_offset()
    }

    /// How many line ends it has.
    pub fn lines(&self) -> u64 {
        self.end.lines - self.start.lines
    }
}

/// What a part is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A body that is not looked into.
    Leaf,
    /// multipart/*: its children are its parts, maybe none.
    Multipart,
    /// message/rfc822 or message/global: its one child is the message inside.
    Message,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is made of.
    pub kind: Kind,
    /// The part it is in; `None` for the message itself.
    pub parent: Option<usize>,
    /// The first part in it.
    pub first_child: Option<usize>,
    /// The part after it in the same parent.
    pub next_sibling: Option<usize>,
    /// Its header, with the empty line that ends it.
    pub header: Span,
    /// Its body, without the line end that belongs to the boundary after it.
    pub body: Span,
    /// Its `Content-` fields.
    pub content: Content,
    /// For a whole message (part 0, or the child of a [`Kind::Message`]): its envelope.
    pub envelope: Option<Box<Envelope>>,
}

/// What of a part is asked for (RFC 9051 §6.4.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// `BODY[]` or `BODY[1]`: the whole message, or the body of a part.
    Full,
    /// `HEADER`, of the message or of a message part.
    Header,
    /// `TEXT`, of the message or of a message part.
    Text,
    /// `1.MIME`.
    Mime,
}

/// The parts of one message. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    pub(super) parts: Vec<Part>,
}

impl Structure {
    /// All parts, in the order of the message; the message itself first.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The message itself.
    pub fn root(&self) -> &Part {
        self.parts.first().expect("the parser makes part 0 before anything else")
    }

    /// The leaves that are text.
    pub fn text_parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.kind == Kind::Leaf && part.content.is_text())
    }

    /// The part with a section number, `[2, 1]` for `2.1`; the message itself for an empty one.
    pub fn part(&self, numbers: &[u32]) -> Option<&Part> {
        self.parts.get(self.part_index(numbers)?)
    }

    /// Where `BODY[numbers.piece]` is. `None` when there is no such part, or it has no such piece.
    pub fn section(&self, numbers: &[u32], piece: Piece) -> Option<Span> {
        let Some(part) = self.part(numbers) else { return self.shown_part(numbers, piece) };
        if numbers.is_empty() {
            return match piece {
                Piece::Full => Some(Span { start: part.header.start, end: part.body.end }),
                Piece::Header => Some(part.header),
                Piece::Text => Some(part.body),
                Piece::Mime => None,
            };
        }
        let inside = || (part.kind == Kind::Message).then(|| self.parts.get(part.first_child?)).flatten();
        match piece {
            Piece::Full => Some(part.body),
            Piece::Mime => Some(part.header),
            Piece::Header => inside().map(|message| message.header),
            Piece::Text => inside().map(|message| message.body),
        }
    }

    /// The empty part 1 that BODYSTRUCTURE shows in a multipart without parts.
    fn shown_part(&self, numbers: &[u32], piece: Piece) -> Option<Span> {
        let (&1, outside) = numbers.split_last()? else { return None };
        let mut parent = self.part(outside)?;
        if !outside.is_empty() && parent.kind == Kind::Message {
            parent = self.parts.get(parent.first_child?)?;
        }
        let shown = parent.kind == Kind::Multipart && parent.first_child.is_none();
        let end = parent.body.end;
        (shown && matches!(piece, Piece::Full | Piece::Mime)).then_some(Span { start: end, end })
    }

    fn part_index(&self, numbers: &[u32]) -> Option<usize> {
        let mut at = 0;
        // Whether `at` is a whole message whose parts are counted, or one of those parts.
        let mut is_message = true;
        for &number in numbers {
            let mut part = self.parts.get(at)?;
            if !is_message && part.kind == Kind::Message {
                at = part.first_child?;
                part = self.parts.get(at)?;
                is_message = true;
            }
            at = match part.kind {
                Kind::Multipart => self.nth_child(part, number)?,
                // A message that is no multipart has one part: its body.
                Kind::Leaf | Kind::Message if is_message && number == 1 => at,
                Kind::Leaf | Kind::Message => return None,
            };
            is_message = false;
        }
        Some(at)
    }

    fn nth_child(&self, parent: &Part, number: u32) -> Option<usize> {
        let mut child = parent.first_child?;
        for _ in 1..number {
            child = self.parts.get(child)?.next_sibling?;
        }
        (number > 0).then_some(child)
    }
}
