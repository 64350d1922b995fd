//! What octets of a stored file become on their way to a client, in any segmentation.
//!
//! ```
//! use postier_core::wire::outgoing::{Transform, Transformer};
//!
//! let (mut decoder, mut sent) = (Transformer::new(Transform::Base64), Vec::new());
//! for piece in [&b"SGVs\nb"[..], b"G8=\n"] {
//!     decoder.feed(piece, &mut sent);
//! }
//! decoder.finish(&mut sent);
//! assert_eq!(sent, b"Hello");
//! ```

use super::eol::ToCrlf;
use super::{base64, quoted_printable};
use alloc::vec::Vec;
use memchr::memchr;

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transform {
    /// Line ends become CRLF, NULs `\x80`: RFC 9051 §4.3 has no NUL in a literal, and `\x80` is no valid text in any
    /// encoding IMAP uses.
    #[default]
    Text,
    /// Line ends become CRLF; NULs stay: for a literal8.
    Octets,
    /// base64 is decoded (RFC 2045 §6.8).
    Base64,
    /// Line ends become CRLF, and quoted-printable is decoded (RFC 2045 §6.7).
    QuotedPrintable,
}

/// Does it.
#[derive(Clone, Debug)]
pub struct Transformer(State);

#[derive(Clone, Debug)]
enum State {
    Text(ToCrlf),
    Octets(ToCrlf),
    Base64(base64::Decoder),
    QuotedPrintable { crlf: ToCrlf, decoder: quoted_printable::Decoder, lines: Vec<u8> },
    Finished,
}

impl Transformer {
    /// Before the first octet.
    pub fn new(transform: Transform) -> Self {
        Transformer(match transform {
            Transform::Text => State::Text(ToCrlf::new()),
            Transform::Octets => State::Octets(ToCrlf::new()),
            Transform::Base64 => State::Base64(base64::Decoder::new()),
            Transform::QuotedPrintable => State::QuotedPrintable {
                crlf: ToCrlf::new(),
                decoder: quoted_printable::Decoder::new(),
                lines: Vec::new(),
            },
        })
    }

    /// Appends what `stored` becomes to `out`: at most twice as much, and what was held back before.
    pub fn feed(&mut self, stored: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            State::Text(crlf) => {
                let start = out.len();
                crlf.feed(stored, out);
                hide_nuls(out.get_mut(start..).unwrap_or_default());
            }
            State::Octets(crlf) => crlf.feed(stored, out),
            State::Base64(decoder) => decoder.feed(stored, out),
            State::QuotedPrintable { crlf, decoder, lines } => {
                lines.clear();
                crlf.feed(stored, lines);
                decoder.feed(lines, out);
            }
            State::Finished => {}
        }
    }

    /// No more octets; a second time nothing happens.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match core::mem::replace(&mut self.0, State::Finished) {
            State::Base64(decoder) => decoder.finish(out),
            State::QuotedPrintable { decoder, .. } => decoder.finish(out),
            State::Text(_) | State::Octets(_) | State::Finished => {}
        }
    }
}

/// Makes every NUL `\x80`.
pub(crate) fn hide_nuls(mut octets: &mut [u8]) {
    while let Some((_, rest)) = memchr(0, octets).and_then(|at| octets.split_at_mut_checked(at)) {
        let Some((nul, rest)) = rest.split_first_mut() else { return };
        *nul = 0x80;
        octets = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn transformed(transform: Transform, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut transformer, mut out) = (Transformer::new(transform), Vec::new());
        pieces.iter().for_each(|piece| transformer.feed(piece, &mut out));
        transformer.finish(&mut out);
        transformer.finish(&mut out);
        out
    }

    #[test]
    fn each_kind() {
        for (transform, stored, sent) in [
            (Transform::Text, &b"a\nb\0\r\n"[..], &b"a\r\nb\x80\r\n"[..]),
            (Transform::Octets, b"a\nb\0\r\n", b"a\r\nb\0\r\n"),
            (Transform::Base64, b"aGVsbG8gd29y\nbGQ=\n", b"hello world"),
            // A group that is not complete: what of it is certain.
            (Transform::Base64, b"aGVsbG8", b"hello"),
            (Transform::QuotedPrintable, b"caf=E9 \nand=\n more=0A", b"caf\xe9\r\nand more\n"),
        ] {
            assert_eq!(transformed(transform, &[stored]), sent, "{transform:?}");
        }
    }

    proptest! {
        #[test]
        fn segmentation_changes_nothing(
            stored in proptest::collection::vec(proptest::sample::select(&b"aQ=E9 \t\r\n\0+/"[..]), 0..60),
            cuts in proptest::collection::vec(0usize..20, 0..8),
        ) {
            for transform in [Transform::Text, Transform::Octets, Transform::Base64, Transform::QuotedPrintable] {
                let mut pieces = Vec::new();
                let mut rest = &stored[..];
                for cut in &cuts {
                    let (piece, after) = rest.split_at((*cut).min(rest.len()));
                    pieces.push(piece);
                    rest = after;
                }
                pieces.push(rest);
                prop_assert_eq!(transformed(transform, &pieces), transformed(transform, &[&stored]));
            }
        }
    }
}
