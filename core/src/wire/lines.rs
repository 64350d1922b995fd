//! Lines out of octets.
//!
//! [`LineScanner`] finds command lines in a receive buffer which the caller owns and lets grow. It remembers
//! how far it has looked, so that a line arriving one octet at a time costs linear time. States: *scanning*
//! (so many octets of the current line are known to hold no line end) and, when the caller chooses to
//! [skip](LineScanner::skip_line) a line which is too long, *skipping*.
//!
//! [`iter`] gives the lines of a slice which is all there: header sections, MIME bodies.
//!
//! A line ends with CRLF or with a bare LF: clients send both, and for commands the difference is harmless.
//! A bare CR is content. The end of a *message* is another matter and is decided only by
//! [`dot`](super::dot).
//!
//! What it will not do: hold octets, or decide whether NUL or 8-bit octets may be in a line.
//!
//! ```
//! use postier_core::wire::lines::{Found, LineScanner};
//!
//! let mut scanner = LineScanner::new();
//! assert_eq!(scanner.find(b"NOO", 512), Found::Incomplete);
//! assert_eq!(scanner.find(b"NOOP\r\nQUIT\r\n", 512), Found::Line { end: 4, next: 6 });
//! // The caller takes six octets out of its buffer, and asks again.
//! assert_eq!(scanner.find(b"QUIT\r\n", 512), Found::Line { end: 4, next: 6 });
//! ```

use memchr::{Memchr, memchr, memchr_iter};

/// Finds line after line in a buffer that starts with the first octet not yet consumed.
///
/// Between two calls the caller may append to the buffer; after [`Found::Line`] it takes `next` octets off
/// the front. If it takes octets off for another reason (a literal), it calls [`LineScanner::reset`].
#[derive(Clone, Debug, Default)]
pub struct LineScanner {
    /// So many octets at the front of the buffer hold no LF.
    scanned: usize,
}

/// What [`LineScanner::find`] saw at the front of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole line: its content is `..end`, the next line starts at `next`.
    Line {
        /// Length of the content, without the line end.
        end: usize,
        /// Length of the line with its line end; never more than the `max` asked for.
        next: usize,
    },
    /// No line end yet; wait for more octets.
    Incomplete,
    /// The first `max` octets hold no line end. Said again at every call until the line is skipped.
    TooLong,
}

/// What [`LineScanner::skip_line`] passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// So many octets are to be taken off the front of the buffer.
    pub consumed: usize,
    /// The line end was among them; otherwise skip on when there are more octets.
    pub line_ended: bool,
}

impl LineScanner {
    /// A scanner at the start of a line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for the end of the first line of `buf`. `max` is the longest line accepted, in octets,
    /// line end included (as RFC 5321 §4.5.3.1 counts).
    #[inline]
    pub fn find(&mut self, buf: &[u8], max: usize) -> Found {
        let limit = buf.len().min(max);
        let from = self.scanned.min(limit);
        match find_line_feed(&buf[from..limit]) {
            Some(at) => {
                let lf = from + at;
                self.scanned = 0;
                Found::Line { end: content_end(buf, lf), next: lf + 1 }
            }
            None => {
                self.scanned = self.scanned.max(limit);
                if buf.len() >= max { Found::TooLong } else { Found::Incomplete }
            }
        }
    }

    /// Passes over the rest of the current line, whatever its length. Until `line_ended` the caller calls
    /// this, and not [`find`](Self::find), with the octets that follow.
    pub fn skip_line(&mut self, buf: &[u8]) -> Skipped {
        let from = self.scanned.min(buf.len());
        self.scanned = 0;
        match memchr(b'\n', &buf[from..]) {
            Some(at) => Skipped { consumed: from + at + 1, line_ended: true },
            None => Skipped { consumed: buf.len(), line_ended: false },
        }
    }

    /// Forgets how far it has looked: the front of the buffer is now another octet.
    pub fn reset(&mut self) {
        self.scanned = 0;
    }
}

/// The lines of `buf`, without their line ends. What follows the last line end is a line too, unless it is
/// empty.
///
/// ```
/// use postier_core::wire::lines;
///
/// let lines: Vec<&[u8]> = lines::iter(b"a: 1\r\n\nb\rc").collect();
/// assert_eq!(lines, [&b"a: 1"[..], b"", b"b\rc"]);
/// ```
pub fn iter(buf: &[u8]) -> Lines<'_> {
    Lines { buf, offset: 0, line_feeds: memchr_iter(b'\n', buf) }
}

/// See [`iter`].
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    buf: &'a [u8],
    offset: usize,
    line_feeds: Memchr<'a>,
}

impl<'a> Lines<'a> {
    /// Where in the slice the line starts that comes next; the slice's length after the last.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What has not been given out yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.buf[self.offset..]
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.offset;
        if let Some(lf) = self.line_feeds.next() {
            self.offset = lf + 1;
            let line = &self.buf[start..lf];
            return Some(line.strip_suffix(b"\r").unwrap_or(line));
        }
        self.offset = self.buf.len();
        (start < self.offset).then(|| &self.buf[start..])
    }
}

/// Up to here `memchr` is the slower one, in octets.
const SHORT_LINE_BYTES: usize = 64;

/// Where the first LF is, for the lines of commands. Most are short: what `memchr` costs before it begins is
/// more than eight octets at a time cost on the whole line.
#[inline]
pub(crate) fn find_line_feed(octets: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    if octets.len() > SHORT_LINE_BYTES {
        return memchr(b'\n', octets);
    }
    let (words, rest) = octets.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let differs = u64::from_le_bytes(*word) ^ (ONES * b'\n' as u64);
        // The top bit of the first octet that is 0, and of none before it.
        let zero = differs.wrapping_sub(ONES) & !differs & (ONES << 7);
        if zero != 0 {
            return Some(8 * at + zero.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|octet| *octet == b'\n').map(|at| octets.len() - rest.len() + at)
}

/// Where the content of a line ends whose LF is at `lf`.
#[inline]
fn content_end(buf: &[u8], lf: usize) -> usize {
    match lf.checked_sub(1) {
        Some(before) if buf[before] == b'\r' => before,
        _ => lf,
    }
}

#[cfg(test)]
mod tests {
    use super::super::segments::{cut, cuts, octets_of};
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq)]
    enum Seen {
        Line(Vec<u8>),
        TooLong,
    }

    /// Drives a scanner as a session does, the buffer filled segment by segment.
    fn scan(segments: &[&[u8]], max: usize) -> (Vec<Seen>, Vec<u8>) {
        let (mut scanner, mut buf, mut seen, mut skipping) =
            (LineScanner::new(), Vec::new(), Vec::new(), false);
        for segment in segments {
            buf.extend_from_slice(segment);
            loop {
                if skipping {
                    let skipped = scanner.skip_line(&buf);
                    buf.drain(..skipped.consumed);
                    skipping = !skipped.line_ended;
                    if skipping {
                        break;
                    }
                }
                match scanner.find(&buf, max) {
                    Found::Line { end, next } => {
                        seen.push(Seen::Line(buf[..end].to_vec()));
                        buf.drain(..next);
                    }
                    Found::Incomplete => break,
                    Found::TooLong => {
                        seen.push(Seen::TooLong);
                        skipping = true;
                    }
                }
            }
        }
        (seen, buf)
    }

    /// One octet at a time, the obvious way.
    fn scan_naively(input: &[u8], max: usize) -> Vec<Seen> {
        let (mut seen, mut line, mut skipping) = (Vec::new(), Vec::new(), false);
        for &octet in input {
            line.push(octet);
            if octet == b'\n' {
                if !skipping {
                    line.pop();
                    if line.last() == Some(&b'\r') {
                        line.pop();
                    }
                    seen.push(Seen::Line(line.clone()));
                }
                skipping = false;
                line.clear();
            } else if line.len() == max && !skipping {
                seen.push(Seen::TooLong);
                skipping = true;
            }
        }
        seen
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_a_line() {
        let mut scanner = LineScanner::new();
        assert_eq!(scanner.find(b"ab\r\n", 4), Found::Line { end: 2, next: 4 });
        assert_eq!(scanner.find(b"abc\r\n", 4), Found::TooLong);
        assert_eq!(scanner.find(b"abc\r\n", 4), Found::TooLong);
        assert_eq!(scanner.skip_line(b"abc\r\nx"), Skipped { consumed: 5, line_ended: true });
        assert_eq!(scanner.find(b"\n", 4), Found::Line { end: 0, next: 1 });
    }

    #[test]
    fn what_was_scanned_is_not_scanned_again() {
        let mut scanner = LineScanner::new();
        assert_eq!(scanner.find(b"abc", 99), Found::Incomplete);
        // Not a thing a caller does: the octets already seen are changed, which shows they are not read.
        assert_eq!(scanner.find(b"\n\n\nd", 99), Found::Incomplete);
        scanner.reset();
        assert_eq!(scanner.find(b"\n\n\nd", 99), Found::Line { end: 0, next: 1 });
    }

    #[test]
    fn a_smaller_limit_later_is_kept() {
        let mut scanner = LineScanner::new();
        assert_eq!(scanner.find(b"abcdefgh", 99), Found::Incomplete);
        assert_eq!(scanner.find(b"abcdefgh\n", 4), Found::TooLong);
        assert_eq!(scanner.find(b"abcdefgh\n", 99), Found::Line { end: 8, next: 9 });
    }

    #[test]
    fn offsets_of_lines() {
        let mut lines = iter(b"a\r\n\nb");
        let mut seen = Vec::new();
        loop {
            let offset = lines.offset();
            let Some(line) = lines.next() else { break };
            seen.push((offset, line));
        }
        assert_eq!(seen, [(0, &b"a"[..]), (3, b""), (4, b"b")]);
        assert_eq!((lines.offset(), lines.rest()), (5, &b""[..]));
        assert_eq!(lines.next(), None);
    }

    proptest! {
        #[test]
        fn the_first_line_feed_is_found(input in octets_of(b"\n\x0b\t\x8a\x00abcd\xffefghijklmnop", 80)) {
            prop_assert_eq!(find_line_feed(&input), memchr(b'\n', &input));
        }

        #[test]
        fn any_segmentation_gives_the_same_lines(
            input in octets_of(b"\r\n\nab", 300), cuts in cuts(), max in 1usize..12,
        ) {
            let expected = scan_naively(&input, max);
            prop_assert_eq!(scan(&[&input], max).0, &expected[..]);
            prop_assert_eq!(scan(&cut(&input, &cuts), max).0, &expected[..]);
        }

        #[test]
        fn the_iterator_agrees_with_the_scanner(input in octets_of(b"\r\nab", 300)) {
            let (seen, rest) = scan(&[&input], usize::MAX);
            let mut expected: Vec<Vec<u8>> = seen.into_iter().map(|seen| match seen {
                Seen::Line(line) => line,
                Seen::TooLong => unreachable!(),
            }).collect();
            if !rest.is_empty() {
                expected.push(rest);
            }
            prop_assert_eq!(iter(&input).map(<[u8]>::to_vec).collect::<Vec<_>>(), expected);
        }
    }
}
