//! Binary parts of a message made base64, while the message passes by in slices of any size (RFC 3516 §4.4).
//!
//! A client may append a message with parts whose transfer encoding is `binary`: any octets at all, up to the boundary.
//! What is stored and sent is text, so such a part becomes base64, and its header says so; a multipart or a message that
//! called itself binary says `8bit`. Nothing else changes. Line ends may be CRLF or LF.
//!
//! States: in a header, which is gathered up to [`HEADER_BYTES_MAX`]; in a body, which is looked at line by line for the
//! boundaries of the multiparts that are open, of a line no more than the longest boundary being kept; or, after a header
//! that is too long, in a rest that is passed on as it is.
//!
//! ```
//! use postier_core::mime::unbinary::Unbinary;
//! let mut out = Vec::new();
//! let mut unbinary = Unbinary::new();
//! unbinary.feed(b"Content-Transfer-Encoding: binary\r\n\r\nhello\0world", &mut out);
//! unbinary.finish(&mut out);
//! assert_eq!(out, b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8Ad29ybGQ=");
//! ```

use super::content::Content;
use super::header::fields;
use super::param;
use super::structure_parser::{BOUNDARY_BYTES_MAX, DEPTH_MAX};
use crate::wire::base64;
use alloc::vec::Vec;
use memchr::memchr;

/// The longest header of a part that is looked at.
pub const HEADER_BYTES_MAX: usize = 256 * 1024;
/// Octets kept of the beginning of a line of a body.
const LINE_BYTES_MAX: usize = BOUNDARY_BYTES_MAX + 8;
/// Octets that make a line of base64 (RFC 2045 §6.8: 76 characters).
const GROUP_BYTES: usize = 57;

/// Makes binary parts base64.
#[derive(Debug)]
pub struct Unbinary {
    state: State,
    /// The header so far, or the beginning of a line of a body.
    held: Vec<u8>,
    /// The line end before `held`: it belongs to a boundary, if one follows.
    line_end: Vec<u8>,
    /// Of the multiparts that are open, outermost first.
    boundaries: Vec<Vec<u8>>,
    encoder: Option<Encoder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    /// At the beginning of a line; what is there of it is in `held`.
    LineStart,
    /// In a line that is no boundary.
    Line,
    Raw,
}

impl Default for Unbinary {
    fn default() -> Self {
        Self::new()
    }
}

impl Unbinary {
    /// At the top of a message.
    pub fn new() -> Self {
        let (held, line_end, boundaries) = (Vec::new(), Vec::new(), Vec::new());
        Unbinary { state: State::Header, held, line_end, boundaries, encoder: None }
    }

    /// Appends what is certain of the message to `out`.
    pub fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            let end = memchr(b'\n', input).map(|lf| lf + 1);
            let (piece, rest) = input.split_at(end.unwrap_or(input.len()));
            input = rest;
            match self.state {
                State::Raw => out.extend_from_slice(piece),
                State::Header => self.header_piece(piece, end.is_some(), out),
                State::LineStart => {
                    self.held.extend_from_slice(piece);
                    if end.is_some() {
                        self.take_line(out);
                    } else if self.held.len() > LINE_BYTES_MAX {
                        self.pass_held(out);
                        self.state = State::Line;
                    }
                }
                State::Line => match end {
                    None => self.pass(piece, out),
                    Some(_) => {
                        // The CR may have come before; it is data only if no boundary follows.
                        let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                        let text = text.strip_suffix(b"\r").unwrap_or(text);
                        self.pass(text, out);
                        self.line_end.extend_from_slice(piece.get(text.len()..).unwrap_or_default());
                        self.state = State::LineStart;
                    }
                },
            }
        }
    }

    /// The message is over.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        match self.state {
            State::Header => self.end_header(out),
            State::LineStart if self.boundary().is_some() => self.take_line(out),
            State::LineStart | State::Line | State::Raw => {}
        }
        self.pass_held(out);
        self.end_part(out);
    }

    fn header_piece(&mut self, piece: &[u8], whole_line: bool, out: &mut Vec<u8>) {
        self.held.extend_from_slice(piece);
        // A CR that came alone is the beginning of this empty line.
        let line = self.held.strip_suffix(b"\n").map(|text| text.strip_suffix(b"\r").unwrap_or(text));
        let empty = whole_line && line.is_some_and(|text| text.is_empty() || text.ends_with(b"\n"));
        if empty {
            self.end_header(out);
        } else if self.held.len() > HEADER_BYTES_MAX {
            out.append(&mut self.held);
            self.state = State::Raw;
        } else if whole_line
            && self.held.starts_with(b"--")
            && self.is_one_line()
            && self.boundary().is_some()
        {
            // A part without a header and without the empty line.
            self.take_line(out);
        }
    }

    fn is_one_line(&self) -> bool {
        memchr(b'\n', &self.held).is_some_and(|lf| lf + 1 == self.held.len())
    }

    /// The header is whole: it decides what the body is.
    fn end_header(&mut self, out: &mut Vec<u8>) {
        let header = core::mem::take(&mut self.held);
        let mut content = Content::default();
        for field in fields(&header) {
            content.take_field(field.name, field.value);
        }
        let binary = content.encoding.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(b"binary"));
        let boundary = content.content_type.as_ref().filter(|_| content.is_type(b"multipart"));
        let boundary = boundary.and_then(|field| field.param(b"boundary")).filter(|boundary| {
            !boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX && self.boundaries.len() < DEPTH_MAX
        });
        let message = content.is_type(b"message") && content.is_subtype(b"rfc822");
        let composite = boundary.is_some() || message;
        self.state = State::LineStart;
        if let Some(boundary) = boundary {
            self.boundaries.push(boundary.to_vec());
        } else if message {
            self.state = State::Header;
        } else if binary {
            self.encoder = Some(Encoder::default());
        }
        match binary {
            true => write_header(&header, if composite { b"8bit" } else { b"base64" }, out),
            false => out.extend_from_slice(&header),
        }
    }

    /// A whole line of a body is in `held`, or the last one.
    fn take_line(&mut self, out: &mut Vec<u8>) {
        let Some((depth, closes)) = self.boundary() else {
            self.pass_line_end(out);
            let held = core::mem::take(&mut self.held);
            let text = held.strip_suffix(b"\n").unwrap_or(&held);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            self.pass(text, out);
            self.line_end.extend_from_slice(held.get(text.len()..).unwrap_or_default());
            return;
        };
        self.end_part(out);
        out.append(&mut self.line_end);
        out.append(&mut self.held);
        self.boundaries.truncate(if closes { depth } else { depth + 1 });
        self.state = if closes { State::LineStart } else { State::Header };
    }

    /// Which boundary the line in `held` is, and whether it closes its multipart.
    fn boundary(&self) -> Option<(usize, bool)> {
        let line = self.held.trim_ascii_end().strip_prefix(b"--")?;
        let at = |wanted: &[u8]| self.boundaries.iter().rposition(|boundary| boundary == wanted);
        let open = at(line).map(|depth| (depth, false));
        open.or_else(|| at(line.strip_suffix(b"--")?).map(|depth| (depth, true)))
    }

    fn pass_held(&mut self, out: &mut Vec<u8>) {
        self.pass_line_end(out);
        let held = core::mem::take(&mut self.held);
        self.pass(&held, out);
    }

    /// No boundary follows: the line end is data.
    fn pass_line_end(&mut self, out: &mut Vec<u8>) {
        let line_end = core::mem::take(&mut self.line_end);
        self.pass(&line_end, out);
    }

    fn pass(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        match &mut self.encoder {
            Some(encoder) => encoder.feed(octets, out),
            None => out.extend_from_slice(octets),
        }
    }

    fn end_part(&mut self, out: &mut Vec<u8>) {
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(out);
        }
    }
}

/// Writes a header with another transfer encoding.
fn write_header(header: &[u8], encoding: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    for field in fields(header) {
        let named = field.name.eq_ignore_ascii_case(b"content-transfer-encoding");
        let is_binary =
            || param::one_word(field.value).is_some_and(|word| word.eq_ignore_ascii_case(b"binary"));
        if !named || !is_binary() {
            continue;
        }
        let raw = header.get(field.range.clone()).unwrap_or_default();
        out.extend_from_slice(header.get(at..field.range.start).unwrap_or_default());
        out.extend_from_slice(field.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(encoding);
        out.extend_from_slice(if raw.ends_with(b"\r\n") {
            b"\r\n"
        } else if raw.ends_with(b"\n") {
            b"\n"
        } else {
            b""
        });
        at = field.range.end;
    }
    out.extend_from_slice(header.get(at..).unwrap_or_default());
}

/// base64 in lines.
#[derive(Debug, Default)]
struct Encoder {
    group: Vec<u8>,
    /// There is a line before.
    begun: bool,
}

impl Encoder {
    fn feed(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        while !octets.is_empty() {
            let (piece, rest) = octets.split_at(octets.len().min(GROUP_BYTES - self.group.len()));
            self.group.extend_from_slice(piece);
            octets = rest;
            if self.group.len() == GROUP_BYTES {
                self.write_line(out);
            }
        }
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        if !self.group.is_empty() {
            self.write_line(out);
        }
    }

    fn write_line(&mut self, out: &mut Vec<u8>) {
        if core::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(base64::encode(&self.group).as_bytes());
        self.group.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    fn cut(message: &[u8], pieces: &mut dyn FnMut() -> usize) -> Vec<u8> {
        let (mut unbinary, mut out, mut rest) = (Unbinary::new(), Vec::new(), message);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(pieces().clamp(1, rest.len()));
            unbinary.feed(piece, &mut out);
            rest = after;
        }
        unbinary.finish(&mut out);
        out
    }

    fn text(message: &[u8]) -> String {
        let whole = cut(message, &mut || usize::MAX);
        for size in 1..9 {
            assert_eq!(cut(message, &mut || size), whole, "in pieces of {size}");
        }
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn parts_that_are_binary_become_base64_and_nothing_else_changes() {
        let message = b"Content-Type: multipart/mixed; boundary=\"a b\"\r\nContent-Transfer-Encoding: binary\r\n\r\n\
            intro\r\n--a b\r\nContent-Transfer-Encoding: BINARY (yes)\r\nX: y\r\n\r\nhe\0llo\r\nwo\nrld\r\n\r\n--a b\r\n\r\nplain\r\n\
            --a b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Transfer-Encoding: binary\r\n\r\n\r\r\n--a b--\r\nend\r\n";
        assert_eq!(
            text(message),
            "Content-Type: multipart/mixed; boundary=\"a b\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
             intro\r\n--a b\r\nContent-Transfer-Encoding: base64\r\nX: y\r\n\r\naGUAbGxvDQp3bwpybGQNCg==\r\n--a b\r\n\r\nplain\r\n\
             --a b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Transfer-Encoding: base64\r\n\r\nDQ==\r\n--a b--\r\nend\r\n"
        );
    }

    #[test]
    fn a_boundary_right_after_a_boundary_is_none_of_a_header() {
        let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b--\r\nContent-Transfer-Encoding: binary\r\n";
        assert_eq!(text(message).as_bytes(), message);
    }

    #[test]
    fn long_lines_and_many() {
        let octets = [7u8; 120];
        let message = [&b"Content-Transfer-Encoding: binary\n\n"[..], &octets, b"\r\n", &octets].concat();
        let encoded = text(&message);
        let (_, body) = encoded.split_once("\n\n").unwrap();
        assert!(body.lines().all(|line| line.len() <= 76));
        let (mut decoder, mut decoded) = (base64::Decoder::new(), Vec::new());
        decoder.feed(body.as_bytes(), &mut decoded);
        decoder.finish(&mut decoded);
        assert_eq!(decoded, [&octets[..], b"\r\n", &octets].concat());
    }

    #[test]
    fn a_header_that_never_ends_is_passed_on() {
        let message =
            format!("X: {}\r\nContent-Transfer-Encoding: binary\r\n\r\nx", "y".repeat(HEADER_BYTES_MAX));
        assert_eq!(text(message.as_bytes()), message);
        assert_eq!(text(b"Subject: x"), "Subject: x");
        assert_eq!(text(b""), "");
    }

    proptest! {
        #[test]
        fn without_binary_parts_nothing_changes(pieces in proptest::collection::vec(proptest::sample::select(
            &["Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: message/rfc822\r\n", "\r\n", "\n", "\r", "--b",
              "--b--", "x", "\0", "Subject: y\r\n", " z"][..]
        ), 0..40), cuts in proptest::collection::vec(1usize..20, 1..8)) {
            let message = pieces.concat().into_bytes();
            let mut turns = cuts.iter().cycle();
            prop_assert_eq!(cut(&message, &mut || *turns.next().unwrap()), message);
        }

        #[test]
        fn segmentation_changes_nothing(pieces in proptest::collection::vec(proptest::sample::select(
            &["Content-Type: multipart/mixed; boundary=b\r\n", "Content-Transfer-Encoding: binary\r\n", "\r\n", "\n", "\r",
              "--b\r\n", "--b--", "x", "\0", "Subject: y\r\n", "\r\n\r\n"][..]
        ), 0..40), cuts in proptest::collection::vec(1usize..20, 1..8)) {
            let message = pieces.concat().into_bytes();
            let mut turns = cuts.iter().cycle();
            prop_assert_eq!(cut(&message, &mut || *turns.next().unwrap()), cut(&message, &mut || usize::MAX));
        }
    }
}
