//! Quoted-printable bodies, decoded leniently (RFC 2045 §6.7).
//!
//! `=` and two hex digits of either case are an octet; `=` at the end of a line, with or without white
//! space after it, joins the line with the next; white space at the end of a line was added on the way and
//! goes. An `=` that is none of this stays as it is. Line ends are kept as they are, CRLF or LF.
//!
//! States: *text*, where white space (and a CR) at the end of what was fed waits for what follows; *escape*,
//! after an `=` whose meaning is open. Both hold back at most [`SPACES_MAX`] octets and two more; of a longer
//! run of white space only the last that many can be taken away.
//!
//! What it will not do: encode, or convert characters.
//!
//! ```
//! use postier_core::wire::quoted_printable::Decoder;
//!
//! let (mut decoder, mut body) = (Decoder::new(), Vec::new());
//! decoder.feed(b"caf=C3", &mut body);
//! decoder.feed(b"=A9 =\r\nau lait  \r\n", &mut body);
//! decoder.finish(&mut body);
//! assert_eq!(body, "café au lait\r\n".as_bytes());
//! ```

use alloc::vec::Vec;
use memchr::memchr2;

/// So many octets of white space are held back at most, for a line end which may follow. A line has 78
/// octets at most (RFC 2045 §6.7 rule 5).
pub const SPACES_MAX: usize = 128;

/// Decodes a body in any segmentation.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
    /// In text: white space and perhaps a CR, not written yet. In an escape: what stands after its `=`.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
}

impl Decoder {
    /// Before the first octet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what `input` makes certain to `out`: at most what was fed so far and not written yet.
    pub fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        out.reserve(input.len());
        // White space is taken off the end of `out` when its line ends, but never what was there before,
        // nor what an escape protects by coming after it or by spelling it.
        let mut floor = out.len();
        if self.state == State::Text {
            out.append(&mut self.held);
        }
        while let Some((&octet, rest)) = input.split_first() {
            match self.state {
                State::Text => input = self.text(input, floor, out),
                State::Escape => match self.escape(octet) {
                    Escape::Open => input = rest,
                    Escape::SoftLineEnd => {
                        floor = out.len();
                        input = rest;
                    }
                    Escape::Octet(octet) => {
                        out.push(octet);
                        floor = out.len();
                        input = rest;
                    }
                    Escape::NotOne => {
                        out.push(b'=');
                        out.append(&mut self.held);
                    }
                },
            }
        }
        if self.state == State::Text {
            let undecided = trailing(&out[floor..]);
            self.held.extend(out.drain(out.len() - undecided.total()..));
        }
    }

    /// No more octets, which is the end of a line.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        match (self.state, self.held.as_slice()) {
            (State::Text, [.., b'\r']) => out.append(&mut self.held),
            (State::Escape, [digit]) if digit.is_ascii_hexdigit() => out.extend_from_slice(&[b'=', *digit]),
            (State::Text | State::Escape, _) => {}
        }
    }

    /// Up to the next `=` or LF; returns what follows it.
    fn text<'i>(&mut self, input: &'i [u8], floor: usize, out: &mut Vec<u8>) -> &'i [u8] {
        let Some(at) = memchr2(b'=', b'\n', input) else {
            out.extend_from_slice(input);
            return &[];
        };
        out.extend_from_slice(&input[..at]);
        if input[at] == b'=' {
            self.state = State::Escape;
        } else {
            let line_end = trailing(&out[floor..]);
            out.truncate(out.len() - line_end.total());
            out.extend_from_slice(if line_end.cr { b"\r\n" } else { b"\n" });
        }
        &input[at + 1..]
    }

    /// One more octet after an `=`.
    fn escape(&mut self, octet: u8) -> Escape {
        let outcome = match (self.held.as_slice(), octet) {
            ([] | [.., b' ' | b'\t' | b'\r'], b'\n') => Escape::SoftLineEnd,
            ([] | [.., b' ' | b'\t'], b' ' | b'\t' | b'\r') if self.held.len() < SPACES_MAX => Escape::Open,
            ([], b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => Escape::Open,
            ([high], _) => match (hex_value(*high), hex_value(octet)) {
                (Some(high), Some(low)) => Escape::Octet(high << 4 | low),
                (_, _) => Escape::NotOne,
            },
            (_, _) => Escape::NotOne,
        };
        match outcome {
            Escape::Open => self.held.push(octet),
            Escape::SoftLineEnd | Escape::Octet(_) => {
                self.held.clear();
                self.state = State::Text;
            }
            Escape::NotOne => self.state = State::Text,
        }
        outcome
    }
}

enum Escape {
    Open,
    SoftLineEnd,
    Octet(u8),
    /// The `=`, what is held and the octet itself are text.
    NotOne,
}

/// What stands at the end of `octets` that a line end would take away or take in.
fn trailing(octets: &[u8]) -> Trailing {
    let line = octets.strip_suffix(b"\r").unwrap_or(octets);
    let spaces = line.iter().rev().take(SPACES_MAX).take_while(|octet| matches!(octet, b' ' | b'\t')).count();
    Trailing { spaces, cr: line.len() < octets.len() }
}

struct Trailing {
    spaces: usize,
    cr: bool,
}

impl Trailing {
    fn total(&self) -> usize {
        self.spaces + usize::from(self.cr)
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::super::segments::{cut, cuts, octets_of};
    use super::*;
    use proptest::prelude::*;

    fn decode(segments: &[&[u8]]) -> Vec<u8> {
        let (mut decoder, mut out) = (Decoder::new(), Vec::new());
        for segment in segments {
            decoder.feed(segment, &mut out);
            assert!(decoder.held.len() <= SPACES_MAX + 1);
        }
        decoder.finish(&mut out);
        out
    }

    /// All of the input in view, so no state.
    fn decode_naively(input: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < input.len() {
            let rest = &input[at..];
            let digits = rest.get(1..3).and_then(|digits| core::str::from_utf8(digits).ok());
            let octet = digits
                .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .and_then(|digits| u8::from_str_radix(digits, 16).ok());
            let blank = |from: usize| {
                let spaces =
                    rest[from..].iter().take_while(|&&octet| octet == b' ' || octet == b'\t').count();
                (from + spaces, &rest[from + spaces..])
            };
            match (rest[0], octet) {
                (b'=', Some(octet)) => {
                    out.push(octet);
                    at += 3;
                    continue;
                }
                (b'=', None) => match blank(1) {
                    (len, [b'\r', b'\n', ..]) => at += len + 2,
                    (len, [b'\n', ..] | [b'\r']) => at += len + 1,
                    (len, []) => at += len,
                    _ => {
                        out.push(b'=');
                        at += 1;
                    }
                },
                (b' ' | b'\t', _) => match blank(0) {
                    (len, [] | [b'\n', ..] | [b'\r', b'\n', ..]) => at += len,
                    _ => {
                        out.push(rest[0]);
                        at += 1;
                    }
                },
                (octet, _) => {
                    out.push(octet);
                    at += 1;
                }
            }
        }
        out
    }

    #[test]
    fn the_rules_of_the_rfc() {
        for (encoded, decoded) in [
            (&b"=3D=3d"[..], &b"=="[..]),
            (b"a=\r\nb=\nc= \t\r\nd", b"abcd"),
            (b"a \t\r\nb \nc ", b"a\r\nb\nc"),
            (b"a=20\r\nb=09 \r\n", b"a \r\nb\t\r\n"),
            (b"1=1=2 =zz =", b"1=1=2 =zz "),
            (b"=", b""),
            (b"=A", b"=A"),
            (b"a\rb\r", b"a\rb\r"),
        ] {
            assert_eq!(decode(&[encoded]), decoded, "{encoded:?}");
            let octets: Vec<&[u8]> = encoded.chunks(1).collect();
            assert_eq!(decode(&octets), decoded, "{encoded:?} octet by octet");
        }
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        let spaces = [b' '; SPACES_MAX + 10];
        for eol in [&b"\n"[..], b"\r\n"] {
            let input = [b"a", &spaces[..], eol].concat();
            let expected = [b"a", &spaces[..10], eol].concat();
            assert_eq!(decode(&[&input]), expected);
            assert_eq!(decode(&input.chunks(1).collect::<Vec<_>>()), expected);
            let input = [b"=", &spaces[..], eol].concat();
            let expected = [b"=", &spaces[..10], eol].concat();
            assert_eq!(decode(&[&input]), expected);
            assert_eq!(decode(&input.chunks(1).collect::<Vec<_>>()), expected);
        }
    }

    #[test]
    fn what_was_in_out_stays() {
        let mut out = b"before ".to_vec();
        let mut decoder = Decoder::new();
        decoder.feed(b" ", &mut out);
        decoder.feed(b"\n", &mut out);
        assert_eq!(out, b"before \n");
    }

    proptest! {
        #[test]
        fn any_segmentation_gives_the_same_octets(
            input in octets_of(b"===4AfF  \t\r\r\n\nx", 120), cuts in cuts(),
        ) {
            let expected = decode_naively(&input);
            prop_assert_eq!(&decode(&[&input]), &expected);
            prop_assert_eq!(&decode(&cut(&input, &cuts)), &expected);
        }
    }
}
