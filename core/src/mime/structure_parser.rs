//! Finds the parts of a message while its bytes pass by, in slices of any size (RFC 2045, RFC 2046).
//!
//! States: in the header of the innermost open part, or in its body. Bodies are looked at line by line for the
//! boundaries of the multiparts that are open, the longest that fits winning; nothing of a body is kept. Memory is
//! bounded: [`PARTS_MAX`], [`DEPTH_MAX`], [`FIELD_BYTES_MAX`] for the field being read, [`KEPT_BYTES_MAX`] for all
//! values kept. What is beyond is left out, or is a leaf.
//!
//! A header ends at an empty line, at a boundary of an open multipart, or with the message; other lines that are no
//! field are passed over. Without `MIME-Version` and `Content-Type` the `Content-` fields of a message mean nothing
//! (as Dovecot has it). A multipart without a usable boundary is a leaf. Mail inside a transfer encoding is a leaf.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use memchr::memchr;

use super::content::{Content, Transfer};
use super::envelope::Envelope;
use super::header::{split_name, unfold};
use super::param::{self, Parameterized};
use super::structure::{Kind, Part, Position, Span, Structure};

/// Most parts; boundaries that would begin another are text.
pub const PARTS_MAX: usize = 10_000;
/// Most parts inside each other; a deeper multipart or message is a leaf.
pub const DEPTH_MAX: usize = 100;
/// Longest boundary used (RFC 2046 §5.1.1 allows 70).
pub const BOUNDARY_BYTES_MAX: usize = 200;
/// Most bytes read of one field with its continuations.
pub const FIELD_BYTES_MAX: usize = 64 * 1024;
/// About how many bytes of header values are kept for one message.
pub const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes kept of the beginning of a body line: two dashes, a boundary, two dashes.
const BODY_LINE_BYTES_MAX: usize = BOUNDARY_BYTES_MAX + 4;

/// The parser.
#[derive(Debug)]
pub struct StructureParser {
    parts: Vec<Part>,
    /// The parts whose end is not reached, outermost first. Lines belong to the last. Never empty.
    open: Vec<Open>,
    state: State,
    /// Where the current line begins.
    at: Position,
    /// Where the text of the line before ends, without its line end.
    text_end: Position,
    line: PartialLine,
    /// The field being read, with its folding, cut at the limit.
    field: Vec<u8>,
    /// The header being read has a `MIME-Version` or `Content-Type`, or the part is in a multipart.
    is_mime: bool,
    kept_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Body,
}

#[derive(Debug)]
struct Open {
    part: usize,
    last_child: Option<usize>,
    /// Of a multipart whose end boundary has not been seen.
    boundary: Option<Vec<u8>>,
}

/// A line that began in an earlier slice.
#[derive(Debug, Default)]
struct PartialLine {
    kept: Vec<u8>,
    bytes: u64,
    last: u8,
}

/// A whole line.
struct Line<'a> {
    /// Its first bytes, without LF; all of them unless it is longer than what is kept.
    text: &'a [u8],
    /// How many bytes it has, without LF.
    bytes: u64,
    /// Whether a CR is the last of these.
    ends_in_cr: bool,
    /// Whether a LF follows: all lines but the last.
    terminated: bool,
}

impl Default for StructureParser {
    fn default() -> Self {
        Self::new()
    }
}

impl StructureParser {
    /// A parser at the top of a message.
    pub fn new() -> Self {
        let mut parser = StructureParser {
            parts: Vec::new(),
            open: Vec::new(),
            state: State::Header,
            at: Position::default(),
            text_end: Position::default(),
            line: PartialLine::default(),
            field: Vec::new(),
            is_mime: false,
            kept_bytes: 0,
        };
        parser.start_part(None, Position::default());
        parser
    }

    /// Looks at the next bytes of the message.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(lf) = memchr(b'\n', bytes) {
            let (text, rest) = bytes.split_at_checked(lf).unwrap_or((bytes, &[]));
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.bytes > 0 {
                self.keep(text);
                self.end_partial_line(true);
            } else {
                let (bytes, ends_in_cr) = (text.len() as u64, text.ends_with(b"\r"));
                self.take_line(&Line { text, bytes, ends_in_cr, terminated: true });
            }
        }
        self.keep(bytes);
    }

    /// The message is over.
    pub fn finish(mut self) -> Structure {
        if self.line.bytes > 0 {
            self.end_partial_line(false);
        }
        while self.state == State::Header {
            self.end_header(self.at);
        }
        self.close_down_to(0, self.at);
        Structure { parts: self.parts }
    }

    /// Remembers a piece of a line that goes on.
    fn keep(&mut self, piece: &[u8]) {
        let max = match self.state {
            State::Header => FIELD_BYTES_MAX,
            State::Body => BODY_LINE_BYTES_MAX,
        };
        let room = max.saturating_sub(self.line.kept.len());
        self.line.kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
        self.line.bytes += piece.len() as u64;
        if let Some(last) = piece.last() {
            self.line.last = *last;
        }
    }

    fn end_partial_line(&mut self, terminated: bool) {
        let mut line = mem::take(&mut self.line);
        let (bytes, ends_in_cr) = (line.bytes, line.last == b'\r');
        self.take_line(&Line { text: &line.kept, bytes, ends_in_cr, terminated });
        // Its memory serves the next one.
        line.kept.clear();
        self.line.kept = line.kept;
    }

    fn take_line(&mut self, line: &Line<'_>) {
        let start = self.at;
        let cr = u64::from(line.ends_in_cr && line.terminated);
        let text_end = Position { offset: start.offset + line.bytes - cr, ..start };
        let lf = u64::from(line.terminated);
        self.at = Position {
            offset: start.offset + line.bytes + lf,
            lines: start.lines + lf,
            bare_lf: start.bare_lf + (lf - cr),
        };
        if line.text.starts_with(b"--")
            && let Some((depth, is_end)) = self.find_boundary(line)
        {
            self.take_boundary(depth, is_end);
        } else if self.state == State::Header {
            if text_end.offset == start.offset {
                self.end_header(self.at);
            } else {
                self.take_header_line(line.text);
            }
        }
        self.text_end = text_end;
    }

    /// Whose boundary the line is, as an index into `open`, and whether it is the end boundary.
    fn find_boundary(&self, line: &Line<'_>) -> Option<(usize, bool)> {
        let text = line.text.strip_prefix(b"--")?;
        let mut best: Option<(usize, bool, usize)> = None;
        // Innermost first, so that it wins over an equal one further out.
        for (depth, open) in self.open.iter().enumerate().rev() {
            let Some(boundary) = &open.boundary else { continue };
            // RFC 2046 §5.1.1: the boundary is compared with the beginning of the line, whatever follows it.
            let Some(after) = text.strip_prefix(&boundary[..]) else { continue };
            let is_end = after.starts_with(b"--");
            if best.is_none_or(|(_, _, longest)| boundary.len() > longest) {
                best = Some((depth, is_end, boundary.len()));
            }
        }
        best.map(|(depth, is_end, _)| (depth, is_end))
    }

    /// A boundary of the multipart at `depth`, the line before it having ended at `text_end` and `at` being after it.
    fn take_boundary(&mut self, depth: usize, is_end: bool) {
        if !is_end && self.parts.len() >= PARTS_MAX {
            return;
        }
        let end = self.text_end;
        while self.state == State::Header {
            self.end_header(end);
        }
        self.close_down_to(depth + 1, end);
        let Some(open) = self.open.last_mut() else { return };
        if is_end {
            open.boundary = None;
            self.state = State::Body;
        } else {
            let part = open.part;
            self.start_part(Some(part), self.at);
        }
    }

    /// Closes all parts but the `keep` outermost at `end`. Where that is within the empty line after a header, the line
    /// end belongs to the boundary, and the header has no empty line (RFC 2046 §5.1.1: the grammar of body-part).
    fn close_down_to(&mut self, keep: usize, mut end: Position) {
        for open in self.open.drain(keep.min(self.open.len())..).rev() {
            let parent = self.parts.get(open.part).and_then(|part| self.parts.get(part.parent?));
            let outside = parent.map_or(Position::default(), |parent| parent.header.start);
            if let Some(part) = self.parts.get_mut(open.part) {
                if part.envelope.is_some() && end.offset < part.header.start.offset {
                    // A message inside, of which not one line has come: it begins where the header outside ends.
                    part.header.start = later(end, outside);
                }
                if end.offset < part.body.start.offset {
                    end = later(end, part.header.start);
                    (part.header.end, part.body.start) = (end, end);
                }
                part.body.end = end;
            }
        }
    }

    /// A part begins with its header, inside of the last open one.
    fn start_part(&mut self, parent: Option<usize>, start: Position) {
        let index = self.parts.len();
        let mut in_multipart = false;
        if let (Some(open), Some(parent)) = (self.open.last_mut(), parent) {
            let before = open.last_child.replace(index);
            if let Some(sibling) = before.and_then(|before| self.parts.get_mut(before)) {
                sibling.next_sibling = Some(index);
            } else if let Some(parent) = self.parts.get_mut(parent) {
                parent.first_child = Some(index);
            }
            in_multipart = self.parts.get(parent).is_some_and(|part| part.kind == Kind::Multipart);
        }
        self.parts.push(Part {
            kind: Kind::Leaf,
            parent,
            first_child: None,
            next_sibling: None,
            header: Span { start, end: start },
            body: Span { start, end: start },
            content: Content::default(),
            envelope: (!in_multipart).then(Box::default),
        });
        self.open.push(Open { part: index, last_child: None, boundary: None });
        self.is_mime = in_multipart;
        self.state = State::Header;
    }

    fn take_header_line(&mut self, text: &[u8]) {
        if !matches!(text.first(), Some(b' ' | b'\t')) {
            self.end_field();
        } else if (1..FIELD_BYTES_MAX).contains(&self.field.len()) {
            self.field.push(b'\n');
        }
        let room = FIELD_BYTES_MAX.saturating_sub(self.field.len());
        self.field.extend_from_slice(text.get(..room).unwrap_or(text));
    }

    /// The field in `field` is complete.
    fn end_field(&mut self) {
        let field = mem::take(&mut self.field);
        if let Some((name, value)) = split_name(&field) {
            self.take_field(name, value);
        }
        self.field = field;
        self.field.clear();
    }

    fn take_field(&mut self, name: &[u8], value: &[u8]) {
        let is_content = name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"content-"));
        let is_version = name.eq_ignore_ascii_case(b"mime-version");
        self.is_mime |= is_version || name.eq_ignore_ascii_case(b"content-type");
        let Some(part) = self.open.last().and_then(|open| self.parts.get_mut(open.part)) else { return };
        let envelope = part.envelope.as_deref_mut().filter(|_| Envelope::wants(name));
        if !is_content && envelope.is_none() {
            return;
        }
        if self.kept_bytes.saturating_add(value.len()) > KEPT_BYTES_MAX {
            return;
        }
        self.kept_bytes += match envelope {
            Some(envelope) => envelope.take_field(name, &unfold(value)),
            None => part.content.take_field(name, value),
        };
    }

    /// The header of the innermost part is over; its body begins at `end`, or where the header began if that is later.
    fn end_header(&mut self, end: Position) {
        self.end_field();
        self.state = State::Body;
        let (may_nest, may_grow) = (self.open.len() < DEPTH_MAX, self.parts.len() < PARTS_MAX);
        let Some(open) = self.open.last_mut() else { return };
        let index = open.part;
        let in_digest = self.parts.get(index).and_then(|part| self.parts.get(part.parent?)).is_some_and(
            // RFC 2046 §5.1.5: what says nothing in a digest is a message.
            |parent| parent.kind == Kind::Multipart && parent.content.is_subtype(b"digest"),
        );
        let Some(part) = self.parts.get_mut(index) else { return };
        if !self.is_mime {
            part.content = Content::default();
        }
        if in_digest && part.content.content_type.is_none() {
            part.content.content_type =
                Some(Parameterized { value: b"message/rfc822".to_vec(), params: Vec::new() });
        }
        let end = later(end, part.header.start);
        (part.header.end, part.body) = (end, Span { start: end, end });
        if !may_nest {
            return;
        }
        if part.content.is_type(b"multipart") {
            open.boundary = boundary(&part.content);
            if open.boundary.is_some() {
                part.kind = Kind::Multipart;
            }
        } else if is_message(&part.content) && may_grow {
            part.kind = Kind::Message;
            self.start_part(Some(index), end);
        }
    }
}

fn later(a: Position, b: Position) -> Position {
    if a.offset < b.offset { b } else { a }
}

/// The boundary parameter, if it can be used: as it stands, else as RFC 2231 writes it. RFC 2046 §5.1.1: white space
/// at its end is not part of it.
fn boundary(content: &Content) -> Option<Vec<u8>> {
    let field = content.content_type.as_ref()?;
    let extended = || param::decoded(&field.params, b"boundary").map(String::into_bytes);
    let boundary = field.param(b"boundary").map(<[u8]>::to_vec).or_else(extended)?;
    let boundary = boundary.trim_ascii_end();
    (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()).then(|| boundary.to_vec())
}

/// Whether a message inside can be read in place: RFC 2046 §5.2.1, RFC 6532 §3.7.
fn is_message(content: &Content) -> bool {
    content.is_type(b"message")
        && (content.is_subtype(b"rfc822") || content.is_subtype(b"global"))
        && matches!(content.transfer(), Transfer::Identity | Transfer::Unknown)
}

#[cfg(test)]
#[path = "structure_tests.rs"]
mod tests;
