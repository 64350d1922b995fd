//! What the other server says: RFC 5321 §4.2, with the enhanced code of RFC 2034 if there is one.
//!
//! Lenient where servers in the street are wrong (a code alone on its line, other codes in the middle of a reply: the
//! last line's counts) and bounded: of a long reply the beginning is kept, of an endless one nothing is waited for.
//!
//! ```
//! use postier_core::smtp::client::reply::{ReplyReader, Progress};
//! let mut reader = ReplyReader::default();
//! let octets = b"550-5.1.1 No such user\r\n550 5.1.1 here\r\n250 next";
//! let (consumed, progress) = reader.read(octets);
//! assert_eq!((consumed, progress), (24, Progress::Line("No such user".into())));
//! let (consumed, progress) = reader.read(&octets[24..]);
//! let Progress::Reply { reply, .. } = progress else { panic!() };
//! assert_eq!((consumed, reply.code, reply.enhanced), (16, 550, Some([5, 1, 1])));
//! assert_eq!(reply.text, "No such user here");
//! ```

use alloc::string::String;
use core::fmt;

use crate::wire::lines::{Found, LineScanner};

/// Octets of one line. RFC 5321 §4.5.3.1.5 says 512; servers with a long story to tell exceed it.
const LINE_BYTES_MAX: usize = 4096;
/// Lines of one reply.
const LINES_MAX: usize = 256;
/// Octets of text that are kept for the person who reads the bounce.
const TEXT_BYTES_MAX: usize = 1024;

/// One reply, however many lines it had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// Class, subject, detail (RFC 3463), where its class is that of the code.
    pub enhanced: Option<[u16; 3]>,
    /// Its lines joined by blanks, printable, cut at a kilobyte.
    pub text: String,
}

impl Reply {
    /// 2xx
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 5xx: trying again will not help.
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// 421: whatever was asked, the server is about to close (RFC 5321 §3.8).
    pub const fn closes(&self) -> bool {
        self.code == 421
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some([class, subject, detail]) = self.enhanced {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        if !self.text.is_empty() {
            write!(f, " {}", self.text)?;
        }
        Ok(())
    }
}

/// What [`ReplyReader::read`] has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Wait for more octets.
    Incomplete,
    /// A line of a reply that has more, its codes taken off.
    Line(String),
    /// The reply is whole.
    Reply {
        /// All of it.
        reply: Reply,
        /// Its last line, its codes taken off.
        last: String,
    },
    /// This is no SMTP server.
    Nonsense,
}

/// Reads replies line by line.
#[derive(Debug, Default)]
pub struct ReplyReader {
    scanner: LineScanner,
    lines: usize,
    text: String,
    enhanced: Option<[u16; 3]>,
}

impl ReplyReader {
    /// Reads one line from the front of `octets`; says how many octets it took.
    pub fn read(&mut self, octets: &[u8]) -> (usize, Progress) {
        let (end, next) = match self.scanner.find(octets, LINE_BYTES_MAX) {
            Found::Line { end, next } => (end, next),
            Found::Incomplete => return (0, Progress::Incomplete),
            Found::TooLong => return (0, Progress::Nonsense),
        };
        let line = octets.get(..end).unwrap_or_default();
        let Some((code, last, text)) = split(line) else { return (next, Progress::Nonsense) };
        self.lines += 1;
        if self.lines > LINES_MAX {
            return (next, Progress::Nonsense);
        }
        let (enhanced, text) = enhanced(code, text);
        self.enhanced = self.enhanced.or(enhanced);
        let text = printable(text);
        let blank = if self.text.is_empty() || text.is_empty() { "" } else { " " };
        for character in blank.chars().chain(text.chars()) {
            if self.text.len() + character.len_utf8() > TEXT_BYTES_MAX {
                break;
            }
            self.text.push(character);
        }
        if !last {
            return (next, Progress::Line(text));
        }
        self.lines = 0;
        let reply = Reply { code, enhanced: self.enhanced.take(), text: core::mem::take(&mut self.text) };
        (next, Progress::Reply { reply, last: text })
    }
}

/// Code, whether it is the last line, and the rest.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    let code = core::str::from_utf8(code).ok()?;
    if !code.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let code = code.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest {
        [] => Some((code, true, rest)),
        [b' ', text @ ..] => Some((code, true, text)),
        [b'-', text @ ..] => Some((code, false, text)),
        _ => None,
    }
}

/// The enhanced code at the front of a text, if its class fits (RFC 2034 §4).
fn enhanced(code: u16, text: &[u8]) -> (Option<[u16; 3]>, &[u8]) {
    let word = text.split(|octet| *octet == b' ').next().unwrap_or_default();
    let parse = || {
        let mut numbers = core::str::from_utf8(word).ok()?.split('.').map(|part| {
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit());
            if digits { part.parse::<u16>().ok() } else { None }
        });
        let found = [numbers.next()??, numbers.next()??, numbers.next()??];
        (numbers.next().is_none() && found[0] == code / 100).then_some(found)
    };
    match parse() {
        Some(found) => (Some(found), text.get(word.len()..).unwrap_or_default().trim_ascii_start()),
        None => (None, text),
    }
}

/// Text for a log and a bounce: no control characters, no broken UTF-8.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text.trim_ascii()).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn read(octets: &[u8]) -> Progress {
        let mut reader = ReplyReader::default();
        let mut rest = octets;
        loop {
            let (consumed, progress) = reader.read(rest);
            rest = &rest[consumed..];
            match progress {
                Progress::Line(_) => {}
                progress => return progress,
            }
        }
    }

    fn reply(octets: &[u8]) -> Reply {
        match read(octets) {
            Progress::Reply { reply, .. } => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn odd_replies_are_understood() {
        for (octets, shown) in [
            (&b"250\r\n"[..], "250"),
            (b"250 \r\n", "250"),
            (b"250 Ok\n", "250 Ok"),
            (b"250-\r\n250 Ok\r\n", "250 Ok"),
            (b"250 2.1.5 Ok\r\n", "250 2.1.5 Ok"),
            (b"250 5.1.5 Ok\r\n", "250 5.1.5 Ok"),
            (b"550 5.7.1\r\n", "550 5.7.1"),
            (b"550 5.7.1.2 x\r\n", "550 5.7.1.2 x"),
            (b"450 4.7.1000 x\r\n", "450 4.7.1000 x"),
            (b"550 caf\xe9 \x07\r\n", "550 caf\u{fffd} ?"),
            (b"250-first\r\n550 last\r\n", "550 first last"),
        ] {
            assert_eq!(reply(octets).to_string(), shown, "{}", octets.escape_ascii());
        }
        assert_eq!(reply(b"250 5.1.5 Ok\r\n").enhanced, None);
    }

    #[test]
    fn nonsense_is_called_so() {
        for octets in [
            &b"HTTP/1.1 400 Bad\r\n"[..],
            b"\r\n",
            b"25\r\n",
            b"250_Ok\r\n",
            b"199 x\r\n",
            b"600 x\r\n",
            b"+50 x\r\n",
        ] {
            assert_eq!(read(octets), Progress::Nonsense, "{}", octets.escape_ascii());
        }
        assert_eq!(read(&[b'2'; LINE_BYTES_MAX]), Progress::Nonsense);
        assert_eq!(read(&b"250-x\r\n".repeat(LINES_MAX + 1)), Progress::Nonsense);
    }

    #[test]
    fn of_a_long_reply_the_beginning_is_kept() {
        let line = [&b"550-"[..], &[b'x'; 300], b"\r\n"].concat();
        let text = reply(&[line.repeat(20), b"550 end\r\n".to_vec()].concat()).text;
        assert_eq!(text.len(), TEXT_BYTES_MAX);
    }
}
