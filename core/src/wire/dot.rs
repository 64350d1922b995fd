//! Transparency: where a message ends, and the dots that are not part of it (RFC 5321 §4.5.2).
//!
//! [`Unstuffer`] is the receiving side. Its states are what stands before the next octet:
//!
//! ```text
//! LineStart ──"."──▶ Dot ──CR──▶ DotCr ──LF──▶ Ended
//!     ▲               │            │
//!     └─LF─ Cr ◀─CR─ Text ◀─other──┘   (the dot is dropped, the rest is text)
//! ```
//!
//! It starts in `LineStart`, as if after CRLF: the CRLF that ends the DATA command is the one before a body
//! which is nothing but a dot. Only CRLF "." CRLF ends a message. `LF . CRLF`, `CR . CRLF`, `LF . LF`,
//! `CRLF . LF` and `CRLF . CR` never do: a server that took one of them for the end would let a stranger
//! smuggle a second message inside the first.
//!
//! [`NewlineWatch`] notes whether a stream holds a bare CR or a bare LF, for a site that refuses such mail.
//!
//! [`Stuffer`] is the sending side. It takes text whose lines end with CRLF; making them so is the work of
//! [`eol::ToCrlf`](super::eol::ToCrlf).
//!
//! What it will not do: copy received octets, change line ends, count sizes.
//!
//! ```
//! use postier_core::wire::dot::{Piece, Unstuffer};
//!
//! let mut unstuffer = Unstuffer::new();
//! let mut input = &b"one\r\n..two\r\n.\r\nQUIT\r\n"[..];
//! let mut body = Vec::new();
//! loop {
//!     let (consumed, piece) = unstuffer.feed(input);
//!     input = &input[consumed..];
//!     match piece {
//!         Piece::Data(octets) => body.extend_from_slice(octets),
//!         Piece::End => break,
//!         Piece::NeedMore => panic!("it is all there"),
//!     }
//! }
//! assert_eq!(body, b"one\r\n.two\r\n");
//! assert_eq!(input, b"QUIT\r\n");
//! ```

use alloc::vec::Vec;
use memchr::memchr_iter;
use memchr::memmem::Finder;

/// Finds the end of one message and takes the stuffed dots out, lending slices of the input.
#[derive(Clone, Debug)]
pub struct Unstuffer {
    state: State,
    line_start_dot: Finder<'static>,
    newlines: Option<NewlineWatch>,
}

/// What [`Unstuffer::feed`] made of the octets it consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'i> {
    /// A piece of the message, never empty.
    Data(&'i [u8]),
    /// The message has ended; what was not consumed belongs to the next command.
    End,
    /// All of the input is consumed and the message has not ended.
    NeedMore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// After CRLF, or before the first octet.
    LineStart,
    /// After anything else but a CR.
    Text,
    /// After a CR which was given out.
    Cr,
    /// After a dot at the start of a line; it is part of no piece.
    Dot,
    /// After such a dot and a CR which is not given out yet.
    DotCr,
    Ended,
}

impl Default for Unstuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Unstuffer {
    /// Before the first octet of a message.
    pub fn new() -> Self {
        Self { state: State::LineStart, line_start_dot: Finder::new(b"\r\n."), newlines: None }
    }

    /// The same, and it watches for bare newlines, which costs a second look at every octet.
    pub fn watching_newlines() -> Self {
        Self { newlines: Some(NewlineWatch::new()), ..Self::new() }
    }

    /// Whether a bare CR or a bare LF has been seen; always false unless made by
    /// [`Unstuffer::watching_newlines`].
    pub fn bare_newlines(&self) -> bool {
        self.newlines.as_ref().is_some_and(NewlineWatch::bare_seen)
    }

    /// Whether the end of the message has been consumed.
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Consumes octets up to the next stuffed dot, the end of the message or the end of the input. Call
    /// again with what was not consumed until [`Piece::End`] or [`Piece::NeedMore`]. A piece may come with
    /// nothing consumed: a CR withheld from an earlier input. After the end nothing is consumed any more.
    #[inline]
    pub fn feed<'i>(&mut self, input: &'i [u8]) -> (usize, Piece<'i>) {
        let (consumed, piece) = self.step(input);
        if let Some(newlines) = &mut self.newlines {
            newlines.observe(&input[..consumed]);
        }
        (consumed, piece)
    }

    fn step<'i>(&mut self, input: &'i [u8]) -> (usize, Piece<'i>) {
        if self.state == State::Ended {
            return (0, Piece::End);
        }
        let Some(&first) = input.first() else { return (0, Piece::NeedMore) };
        match (self.state, first) {
            (State::LineStart, b'.') => {
                self.state = State::Dot;
                let (consumed, piece) = self.after_dot(&input[1..]);
                (1 + consumed, piece)
            }
            (State::Dot, _) => self.after_dot(input),
            (State::DotCr, b'\n') => {
                self.state = State::Ended;
                (1, Piece::End)
            }
            (State::DotCr, _) => {
                self.state = State::Cr;
                (0, Piece::Data(b"\r"))
            }
            (State::Cr, b'\n') if input.get(1) == Some(&b'.') => {
                self.state = State::Dot;
                (2, Piece::Data(&input[..1]))
            }
            (State::LineStart | State::Text | State::Cr | State::Ended, _) => self.text(input),
        }
    }

    /// In state `Dot`: the end, or a line whose dot is dropped.
    fn after_dot<'i>(&mut self, input: &'i [u8]) -> (usize, Piece<'i>) {
        match input {
            [] => (0, Piece::NeedMore),
            [b'\r'] => {
                self.state = State::DotCr;
                (1, Piece::NeedMore)
            }
            [b'\r', b'\n', ..] => {
                self.state = State::Ended;
                (2, Piece::End)
            }
            _ => self.text(input),
        }
    }

    /// `input`, not empty, does not start with a dot to drop: all up to the next line that does is data.
    fn text<'i>(&mut self, input: &'i [u8]) -> (usize, Piece<'i>) {
        if let Some(at) = self.line_start_dot.find(input) {
            self.state = State::Dot;
            return (at + 3, Piece::Data(&input[..at + 2]));
        }
        self.state = match (self.state, input) {
            (_, [.., b'\r', b'\n']) | (State::Cr, [b'\n']) => State::LineStart,
            (_, [.., b'\r']) => State::Cr,
            (_, _) => State::Text,
        };
        (input.len(), Piece::Data(input))
    }
}

/// Whether a stream holds a CR without a LF after it, or a LF without a CR before it (RFC 5321 §2.3.8
/// forbids both).
///
/// A CR that is the last octet so far is not bare yet.
///
/// ```
/// use postier_core::wire::dot::NewlineWatch;
///
/// let mut watch = NewlineWatch::new();
/// watch.observe(b"one\r");
/// watch.observe(b"\n");
/// assert!(!watch.bare_seen());
/// watch.observe(b"two\n");
/// assert!(watch.bare_seen());
/// ```
#[derive(Clone, Debug, Default)]
pub struct NewlineWatch {
    after_cr: bool,
    bare: bool,
}

impl NewlineWatch {
    /// Before the first octet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there was one.
    pub fn bare_seen(&self) -> bool {
        self.bare
    }

    /// The octets that come next. Once there was a bare newline nothing is looked at any more.
    pub fn observe(&mut self, input: &[u8]) {
        let Some(last) = input.last().filter(|_| !self.bare) else { return };
        // Each LF has its CR before it, and there are as many CRs as LFs: then no CR is bare either.
        let mut wanted = usize::from(*last == b'\r');
        for lf in memchr_iter(b'\n', input) {
            let after_cr = lf.checked_sub(1).map_or(self.after_cr, |before| input[before] == b'\r');
            if !after_cr {
                self.bare = true;
                return;
            }
            wanted += 1;
        }
        let carriage_returns = memchr_iter(b'\r', input).count() + usize::from(self.after_cr);
        self.bare = carriage_returns != wanted;
        self.after_cr = *last == b'\r';
    }
}

/// Puts the dots in: a line that starts with a dot gets one more.
///
/// ```
/// use postier_core::wire::dot::Stuffer;
///
/// let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
/// stuffer.feed(b".profile\r\nis ", &mut out);
/// stuffer.feed(b"mine", &mut out);
/// stuffer.finish(&mut out);
/// assert_eq!(out, b"..profile\r\nis mine\r\n.\r\n");
/// ```
#[derive(Clone, Debug)]
pub struct Stuffer {
    before: Before,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    LineStart,
    Cr,
    Text,
}

impl Default for Stuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Stuffer {
    /// Before the first octet of a message.
    pub fn new() -> Self {
        Self { before: Before::LineStart }
    }

    /// Appends `input` to `out`, with the dots it needs: at most twice its length.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let Some(&first) = input.first() else { return };
        let mut copied = 0;
        if self.before == Before::LineStart && first == b'.' {
            out.push(b'.');
        } else if self.before == Before::Cr && input.starts_with(b"\n.") {
            out.extend_from_slice(b"\n.");
            copied = 1;
        }
        for at in memchr::memmem::find_iter(input, b"\r\n.") {
            out.extend_from_slice(&input[copied..at + 3]);
            copied = at + 2;
        }
        out.extend_from_slice(&input[copied..]);
        self.before = match (self.before, input) {
            (_, [.., b'\r', b'\n']) | (Before::Cr, [b'\n']) => Before::LineStart,
            (_, [.., b'\r']) => Before::Cr,
            (_, _) => Before::Text,
        };
    }

    /// Appends the end of the message, after a line end if the last line has none.
    pub fn finish(self, out: &mut Vec<u8>) {
        match self.before {
            Before::LineStart => {}
            Before::Cr | Before::Text => out.extend_from_slice(b"\r\n"),
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::super::segments::{cut, cuts, octets_of};
    use super::*;
    use proptest::prelude::*;

    /// What was unstuffed, whether it ended, how many octets were consumed, whether newlines were bare.
    type Outcome = (Vec<u8>, bool, usize, bool);

    fn unstuff(segments: &[&[u8]]) -> Outcome {
        let mut unstuffer = Unstuffer::watching_newlines();
        let (mut body, mut total) = (Vec::new(), 0);
        'segments: for segment in segments {
            let mut input = *segment;
            loop {
                let (consumed, piece) = unstuffer.feed(input);
                input = &input[consumed..];
                total += consumed;
                match piece {
                    Piece::Data(octets) => {
                        assert!(!octets.is_empty());
                        body.extend_from_slice(octets);
                    }
                    Piece::End => break 'segments,
                    Piece::NeedMore => break,
                }
            }
            assert!(input.is_empty());
        }
        (body, unstuffer.ended(), total, unstuffer.bare_newlines())
    }

    /// Whole lines only, as the RFC words it: split at CRLF, look at each line.
    fn unstuff_naively(input: &[u8]) -> Outcome {
        let (mut body, mut at) = (Vec::new(), 0);
        while at < input.len() {
            let rest = &input[at..];
            let line_len = rest.windows(2).position(|pair| pair == b"\r\n").map(|crlf| crlf + 2);
            let line = &rest[..line_len.unwrap_or(rest.len())];
            if line == b".\r\n" {
                return (body, true, at + 3, bare_naively(&input[..at + 3]));
            }
            // Until the octet after it is known, the CR may belong to the end.
            let data = if line == b".\r" { &[][..] } else { line.strip_prefix(b".").unwrap_or(line) };
            body.extend_from_slice(data);
            at += line.len();
        }
        (body, false, at, bare_naively(input))
    }

    fn bare_naively(input: &[u8]) -> bool {
        (0..input.len()).any(|at| match input[at] {
            b'\n' => at == 0 || input[at - 1] != b'\r',
            b'\r' => at + 1 < input.len() && input[at + 1] != b'\n',
            _ => false,
        })
    }

    #[test]
    fn a_body_that_is_just_a_dot_ends_at_once() {
        assert_eq!(unstuff(&[b".\r\nQUIT\r\n"]), (b"".to_vec(), true, 3, false));
        assert_eq!(unstuff(&[b".", b"\r", b"\n"]), (b"".to_vec(), true, 3, false));
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_a_message() {
        for end in
            ["\n.\r\n", "\r.\r\n", "\n.\n", "\r\n.\n", "\r\n.\r", "\r\n.\r\r", "\r\n.\r.\r", "\n\r.\r\n"]
        {
            let input = [b"a", end.as_bytes(), b"MAIL FROM:<x@example.com>\r\n"].concat();
            for cut in 0..input.len() {
                let (body, ended, consumed, bare) = unstuff(&[&input[..cut], &input[cut..]]);
                assert!(!ended && bare, "{end:?} cut at {cut}");
                assert_eq!(consumed, input.len());
                assert!(body.ends_with(b"MAIL FROM:<x@example.com>\r\n"));
            }
        }
    }

    #[test]
    fn the_dot_goes_and_the_cr_after_it_stays() {
        assert_eq!(unstuff(&[b"\r\n.\rx\r\n.\r\n"]).0, b"\r\n\rx\r\n");
        assert_eq!(unstuff(&[b"\r\n.\r", b"x\r\n.\r\n"]).0, b"\r\n\rx\r\n");
        assert_eq!(unstuff(&[b"\r\n.\r", b"\r\n.\r\n"]).0, b"\r\n\r\r\n");
    }

    #[test]
    fn after_the_end_nothing_is_consumed() {
        let mut unstuffer = Unstuffer::new();
        assert_eq!(unstuffer.feed(b".\r\n.\r\n"), (3, Piece::End));
        assert_eq!(unstuffer.feed(b".\r\n"), (0, Piece::End));
    }

    proptest! {
        #[test]
        fn any_segmentation_gives_the_same_message(
            input in octets_of(b"\r\r\n\n..a", 120), cuts in cuts(),
        ) {
            let expected = unstuff_naively(&input);
            prop_assert_eq!(&unstuff(&[&input]), &expected);
            prop_assert_eq!(&unstuff(&cut(&input, &cuts)), &expected);
        }

        #[test]
        fn what_was_stuffed_comes_out_again(
            message in octets_of(b"\r\r\n\n..a", 120), cuts in cuts(), more_cuts in cuts(),
        ) {
            let (mut stuffer, mut stuffed) = (Stuffer::new(), Vec::new());
            for segment in cut(&message, &cuts) {
                stuffer.feed(segment, &mut stuffed);
            }
            stuffer.finish(&mut stuffed);
            let mut expected = message.clone();
            if !message.is_empty() && !message.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            let (body, ended, consumed, _) = unstuff(&cut(&stuffed, &more_cuts));
            prop_assert!(ended);
            prop_assert_eq!(consumed, stuffed.len());
            prop_assert_eq!(body, expected);
        }
    }
}
