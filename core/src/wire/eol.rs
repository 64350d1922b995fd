//! Line ends: CRLF on the wire, LF in the Maildir.
//!
//! [`ToLf`] takes the CR out of every CRLF; [`ToCrlf`] puts one before every LF that has none, and so never
//! makes CR CR LF out of CRLF; [`CrlfLen`] tells how many octets [`ToCrlf`] would write. A bare CR is data
//! to all three and stays. Their only state is whether the octet before was a CR.
//!
//! What they will not do: judge. Whether a bare CR or LF is welcome is for
//! [`NewlineWatch`](super::dot::NewlineWatch) to see and for a policy to say.
//!
//! ```
//! use postier_core::wire::eol::{ToCrlf, ToLf, crlf_len};
//!
//! let (mut to_lf, mut stored) = (ToLf::new(), Vec::new());
//! to_lf.feed(b"one\r", &mut stored);
//! to_lf.feed(b"\ntwo\r\n", &mut stored);
//! to_lf.finish(&mut stored);
//! assert_eq!(stored, b"one\ntwo\n");
//!
//! let mut sent = Vec::new();
//! ToCrlf::new().feed(&stored, &mut sent);
//! assert_eq!(sent, b"one\r\ntwo\r\n");
//! assert_eq!(crlf_len(&stored), 10);
//! ```

use alloc::vec::Vec;
use memchr::{memchr, memchr_iter};

/// CRLF to LF.
#[derive(Clone, Debug, Default)]
pub struct ToLf {
    /// The last octet was a CR; it is not written yet.
    pending_cr: bool,
}

impl ToLf {
    /// Before the first octet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `input` to `out` with the CRs of its CRLFs left out; a CR at the very end waits.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let Some(&first) = input.first() else { return };
        out.reserve(input.len() + 1);
        if self.pending_cr && first != b'\n' {
            out.push(b'\r');
        }
        self.pending_cr = false;
        let mut copied = 0;
        for cr in memchr_iter(b'\r', input) {
            match input.get(cr + 1) {
                Some(b'\n') => {
                    out.extend_from_slice(&input[copied..cr]);
                    copied = cr + 1;
                }
                Some(_) => {}
                None => {
                    out.extend_from_slice(&input[copied..cr]);
                    copied = cr + 1;
                    self.pending_cr = true;
                }
            }
        }
        out.extend_from_slice(&input[copied..]);
    }

    /// No more octets: a CR that waits for its LF is data.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.pending_cr {
            out.push(b'\r');
        }
    }
}

/// LF to CRLF.
#[derive(Clone, Debug, Default)]
pub struct ToCrlf {
    after_cr: bool,
}

impl ToCrlf {
    /// Before the first octet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `input` to `out` with a CR before each LF that has none: at most twice its length.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let Some(&last) = input.last() else { return };
        out.reserve(input.len() + input.len() / 32);
        let mut copied = 0;
        for lf in memchr_iter(b'\n', input) {
            if !follows_cr(input, lf, self.after_cr) {
                out.extend_from_slice(&input[copied..lf]);
                out.push(b'\r');
                copied = lf;
            }
        }
        out.extend_from_slice(&input[copied..]);
        self.after_cr = last == b'\r';
    }
}

/// Counts what [`ToCrlf`] would write, without writing it.
#[derive(Clone, Debug, Default)]
pub struct CrlfLen {
    after_cr: bool,
    len: u64,
}

impl CrlfLen {
    /// Before the first octet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The octets that come next.
    pub fn feed(&mut self, input: &[u8]) {
        let Some(&last) = input.last() else { return };
        let added = if !self.after_cr && memchr(b'\r', input).is_none() {
            memchr_iter(b'\n', input).count()
        } else {
            memchr_iter(b'\n', input).filter(|&lf| !follows_cr(input, lf, self.after_cr)).count()
        };
        self.len = self.len.saturating_add(input.len() as u64).saturating_add(added as u64);
        self.after_cr = last == b'\r';
    }

    /// The size so far, in octets, with every line end as CRLF.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there was no octet at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// How many octets `input` has once each of its line ends is CRLF.
pub fn crlf_len(input: &[u8]) -> u64 {
    let mut count = CrlfLen::new();
    count.feed(input);
    count.len()
}

/// The longest beginning of `input` that has at most `most` octets once each of its line ends is CRLF: how many
/// octets it has as it is, and how many then.
pub fn crlf_prefix(input: &[u8], most: u64) -> (usize, u64) {
    let (mut added, mut end) = (0u64, input.len());
    for lf in memchr_iter(b'\n', input).filter(|&lf| !follows_cr(input, lf, false)) {
        if (lf as u64).saturating_add(added).saturating_add(2) > most {
            end = lf;
            break;
        }
        added += 1;
    }
    let stored = usize::try_from(most - added).unwrap_or(usize::MAX).min(end);
    (stored, stored as u64 + added)
}

/// Whether the octet before the one at `at` is a CR; `after_cr` tells of the octet before the slice.
#[inline]
fn follows_cr(input: &[u8], at: usize, after_cr: bool) -> bool {
    at.checked_sub(1).map_or(after_cr, |before| input[before] == b'\r')
}

#[cfg(test)]
mod tests {
    use super::super::segments::{cut, cuts, octets_of};
    use super::*;
    use proptest::prelude::*;

    fn to_lf(segments: &[&[u8]]) -> Vec<u8> {
        let (mut machine, mut out) = (ToLf::new(), Vec::new());
        segments.iter().for_each(|segment| machine.feed(segment, &mut out));
        machine.finish(&mut out);
        out
    }

    fn to_crlf(segments: &[&[u8]]) -> Vec<u8> {
        let (mut machine, mut count, mut out) = (ToCrlf::new(), CrlfLen::new(), Vec::new());
        for segment in segments {
            machine.feed(segment, &mut out);
            count.feed(segment);
        }
        assert_eq!(count.len(), out.len() as u64);
        assert_eq!(count.is_empty(), out.is_empty());
        out
    }

    fn to_lf_naively(input: &[u8]) -> Vec<u8> {
        let kept = |&(at, octet): &(usize, &u8)| !(*octet == b'\r' && input.get(at + 1) == Some(&b'\n'));
        input.iter().enumerate().filter(kept).map(|(_, octet)| *octet).collect()
    }

    fn to_crlf_naively(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for &octet in input {
            if octet == b'\n' && out.last() != Some(&b'\r') {
                out.push(b'\r');
            }
            out.push(octet);
        }
        out
    }

    #[test]
    fn bare_ones_stay() {
        assert_eq!(to_lf(&[b"a\rb\nc\r\r\nd\r"]), b"a\rb\nc\r\nd\r");
        assert_eq!(to_crlf(&[b"a\rb\nc\r\nd\r"]), b"a\rb\r\nc\r\nd\r");
    }

    #[test]
    fn never_cr_cr_lf_across_slices() {
        assert_eq!(to_crlf(&[b"a\r", b"", b"\nb"]), b"a\r\nb");
        assert_eq!(to_lf(&[b"a\r", b"", b"\nb"]), b"a\nb");
    }

    proptest! {
        #[test]
        fn any_segmentation_gives_the_same_octets(
            input in octets_of(b"\r\r\n\nab", 200), cuts in cuts(),
        ) {
            prop_assert_eq!(to_lf(&[&input]), to_lf_naively(&input));
            prop_assert_eq!(to_lf(&cut(&input, &cuts)), to_lf_naively(&input));
            prop_assert_eq!(to_crlf(&[&input]), to_crlf_naively(&input));
            prop_assert_eq!(to_crlf(&cut(&input, &cuts)), to_crlf_naively(&input));
            prop_assert_eq!(crlf_len(&input), to_crlf_naively(&input).len() as u64);
        }

        #[test]
        fn a_prefix_is_the_longest_that_fits(input in octets_of(b"\r\n\nab", 50), most in 0u64..120) {
            let fits = |stored: &usize| crlf_len(&input[..*stored]) <= most;
            let longest = (0..=input.len()).rev().find(fits).unwrap();
            prop_assert_eq!(crlf_prefix(&input, most), (longest, crlf_len(&input[..longest])));
        }

        #[test]
        fn there_and_back(text in octets_of(b"\n\nab", 200)) {
            prop_assert_eq!(to_lf(&[&to_crlf(&[&text])]), text);
        }
    }
}
