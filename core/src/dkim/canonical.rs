//! What is hashed of a message: "relaxed" header fields and bodies (RFC 6376 §3.4.2, §3.4.4).
//!
//! Input is a message as stored or as sent: a line ends with LF or CRLF, and both give the same. A bare CR is data. However
//! the octets of a body are cut into slices, its hash is the same.
//!
//! ```
//! use postier_core::dkim::canonical::{BodyHash, relaxed_field};
//! let hash = |slices: &[&[u8]]| {
//!     let mut hash = BodyHash::new();
//!     slices.iter().for_each(|slice| hash.feed(slice));
//!     hash.finish()
//! };
//! assert_eq!(hash(&[b" C \nD \t E\n\n\n"]), hash(&[b" C\r\nD", b" E\r", b"\n"]));
//!
//! let mut out = Vec::new();
//! relaxed_field(b"SubJect ", b"  Y \t\n\tZ  ", &mut out);
//! assert_eq!(out, b"subject:Y Z");
//! ```

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

/// Octets that are hashed at once.
const BLOCK_BYTES: usize = 1024;

/// The hash of a body that passes by.
#[derive(Clone, Debug)]
pub struct BodyHash(Relaxed<Hashed>);

impl Default for BodyHash {
    fn default() -> Self {
        Self::new()
    }
}

impl BodyHash {
    /// Before the first octet of the body.
    pub fn new() -> Self {
        let hashed = Hashed { block: [0; BLOCK_BYTES], filled: 0, hash: Sha256::new() };
        BodyHash(Relaxed::new(hashed))
    }

    /// The octets that come next.
    pub fn feed(&mut self, octets: &[u8]) {
        self.0.feed(octets);
    }

    /// The body is over; its SHA-256.
    pub fn finish(self) -> [u8; 32] {
        let mut hashed = self.0.finish();
        hashed.flush();
        hashed.hash.finalize().into()
    }
}

/// Where canonical octets go.
trait Sink {
    fn take(&mut self, octets: &[u8]);
}

impl Sink for Vec<u8> {
    fn take(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }
}

/// Gathers small pieces, for a hash costs by the call.
#[derive(Clone, Debug)]
struct Hashed {
    block: [u8; BLOCK_BYTES],
    filled: usize,
    hash: Sha256,
}

impl Hashed {
    fn flush(&mut self) {
        self.hash.update(self.block.get(..self.filled).unwrap_or_default());
        self.filled = 0;
    }
}

impl Sink for Hashed {
    fn take(&mut self, octets: &[u8]) {
        if octets.len() > BLOCK_BYTES - self.filled {
            self.flush();
        }
        match self.block.get_mut(self.filled..self.filled + octets.len()) {
            Some(room) => {
                room.copy_from_slice(octets);
                self.filled += octets.len();
            }
            // More than a block, and nothing waits in it.
            None => self.hash.update(octets),
        }
    }
}

/// A body on its way.
#[derive(Clone, Debug)]
struct Relaxed<S> {
    sink: S,
    /// A CR that may belong to a line end.
    cr: bool,
    /// White space that may be at the end of its line.
    space: bool,
    /// The line has something in it.
    begun: bool,
    /// Empty lines that may be at the end of the body.
    empty_lines: u64,
}

impl<S: Sink> Relaxed<S> {
    fn new(sink: S) -> Self {
        Relaxed { sink, cr: false, space: false, begun: false, empty_lines: 0 }
    }

    fn feed(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some((&first, after)) = rest.split_first() {
            if self.cr && first != b'\n' {
                self.cr = false;
                self.data(b"\r");
            }
            rest = after;
            match first {
                b'\n' => self.end_line(),
                b'\r' => self.cr = true,
                b' ' | b'\t' => self.space = true,
                _ => {
                    let special = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
                    let run = after.iter().position(special).unwrap_or(after.len());
                    self.data(&[first]);
                    if let Some((run, after)) = after.split_at_checked(run) {
                        self.sink.take(run);
                        rest = after;
                    }
                }
            }
        }
    }

    fn data(&mut self, octets: &[u8]) {
        for _ in 0..core::mem::take(&mut self.empty_lines) {
            self.sink.take(b"\r\n");
        }
        if core::mem::take(&mut self.space) {
            self.sink.take(b" ");
        }
        self.begun = true;
        self.sink.take(octets);
    }

    fn end_line(&mut self) {
        (self.cr, self.space) = (false, false);
        match core::mem::take(&mut self.begun) {
            true => self.sink.take(b"\r\n"),
            false => self.empty_lines = self.empty_lines.saturating_add(1),
        }
    }

    fn finish(mut self) -> S {
        if core::mem::take(&mut self.cr) {
            self.data(b"\r");
        }
        if self.begun {
            self.end_line();
        }
        self.sink
    }
}

/// A header field without its line end: the name in lower case, white space as one space, none at the ends.
pub fn relaxed_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend(name.trim_ascii().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let mut space = false;
    let start = out.len();
    let mut octets = value.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b' ' | b'\t' => space = true,
            // RFC 6376 §3.4.2: unfolding takes the line end alone away.
            b'\n' => {}
            b'\r' if octets.peek() == Some(&b'\n') => {}
            _ => {
                if core::mem::take(&mut space) && out.len() > start {
                    out.push(b' ');
                }
                out.push(octet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn relaxed(slices: &[&[u8]]) -> Vec<u8> {
        let mut body = Relaxed::new(Vec::new());
        slices.iter().for_each(|slice| body.feed(slice));
        body.finish()
    }

    #[test]
    fn bodies() {
        let cases: [(&[u8], &[u8]); 13] = [
            (b"", b""),
            (b"\n", b""),
            (b"\r\n\r\n \r\n\t\n", b""),
            (b"x", b"x\r\n"),
            (b"x\n\n\n", b"x\r\n"),
            // RFC 6376 §3.4.5
            (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),
            (b"\n\nx\n \ny", b"\r\n\r\nx\r\n\r\ny\r\n"),
            (b"a\rb\n", b"a\rb\r\n"),
            (b"a\r\r\nb\r", b"a\r\r\nb\r\r\n"),
            (b"\r", b"\r\r\n"),
            (b"a \r b", b"a \r b\r\n"),
            (b"  \t a\t", b" a\r\n"),
            ("é  ü\n".as_bytes(), "é ü\r\n".as_bytes()),
        ];
        for (body, canonical) in cases {
            let shown = (String::from_utf8_lossy(body), relaxed(&[body]));
            assert_eq!(shown.1, canonical, "{:?}", shown.0);
        }
    }

    #[test]
    fn the_hash_of_nothing_is_the_one_everybody_knows() {
        // RFC 6376 §3.4.4
        let hash = crate::wire::base64::encode(&BodyHash::new().finish());
        assert_eq!(hash, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn fields() {
        let cases: [(&[u8], &[u8], &[u8]); 6] = [
            (b"A", b" X", b"a:X"),
            (b"B ", b" Y\t\r\n\tZ  ", b"b:Y Z"),
            (b"C", b"", b"c:"),
            (b"C", b" \n\t\n ", b"c:"),
            (b"D", b"a\r\n b\n  c\rd", b"d:a b c\rd"),
            (b"E", b"\na", b"e:a"),
        ];
        for (name, value, canonical) in cases {
            let mut out = Vec::new();
            relaxed_field(name, value, &mut out);
            assert_eq!(out, canonical);
        }
    }

    /// As the RFC's text has it, of a body that is there at once.
    fn model(body: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        crate::wire::eol::ToCrlf::new().feed(body, &mut sent);
        let mut lines: Vec<Vec<u8>> = Vec::from([Vec::new()]);
        for (at, octet) in sent.iter().enumerate() {
            let line = lines.last_mut().unwrap();
            match octet {
                b'\r' if sent.get(at + 1) == Some(&b'\n') => {}
                b'\n' => lines.push(Vec::new()),
                b' ' | b'\t' if line.last() == Some(&b' ') => {}
                b' ' | b'\t' => line.push(b' '),
                _ => line.push(*octet),
            }
        }
        for line in &mut lines {
            if line.last() == Some(&b' ') {
                line.pop();
            }
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        lines.into_iter().flat_map(|line| [&line[..], b"\r\n"].concat()).collect()
    }

    proptest! {
        #[test]
        fn any_body_in_any_slices(
            parts in proptest::collection::vec(prop::sample::select(&[
                "\r\n", "\n", "\r", " ", "\t", "x", "word", ".", "é",
            ][..]), 0..30),
            cuts in proptest::collection::vec(any::<usize>(), 0..8),
        ) {
            let body = parts.concat().into_bytes();
            prop_assert_eq!(relaxed(&[&body]), model(&body));
            let every: Vec<&[u8]> = body.chunks(1).collect();
            prop_assert_eq!(relaxed(&every), model(&body));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
            cuts.sort_unstable();
            let (mut at, mut hash) = (0, BodyHash::new());
            for cut in cuts.into_iter().chain([body.len()]) {
                hash.feed(&body[at..cut]);
                at = cut;
            }
            prop_assert_eq!(&hash.finish()[..], &Sha256::digest(model(&body))[..]);
        }

        #[test]
        fn long_lines_are_hashed_whole(len in 0..3 * BLOCK_BYTES, cut in any::<usize>()) {
            let body = [&alloc::vec![b'x'; len][..], b" y\n"].concat();
            let (one, two) = body.split_at(cut % body.len());
            let mut hash = BodyHash::new();
            hash.feed(one);
            hash.feed(two);
            prop_assert_eq!(&hash.finish()[..], &Sha256::digest(model(&body))[..]);
        }
    }
}
