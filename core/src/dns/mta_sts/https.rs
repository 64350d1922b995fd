//! The one HTTPS request that mail needs: `GET /.well-known/mta-sts.txt` (RFC 8461 §3.3).
//!
//! An adapter connects, sends [`request`], and hands what comes to a [`Response`] until that is whole. Only `200` with
//! `text/plain` is a policy: no redirect is followed, and nobody is asked for a password. Which certificate the server
//! must show (that of `mta-sts.DOMAIN`) and how long all may take is [`Fetch`]'s to say.
//!
//! ```
//! use postier_core::dns::mta_sts::https::*;
//! assert!(request("mta-sts.example.org").starts_with(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n"));
//! let mut response = Response::default();
//! assert_eq!(response.push(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"), None);
//! assert_eq!(response.push(b"Content-Length: 5\r\n\r\nversion"), Some(Ok(b"versi".to_vec())));
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::POLICY_BYTES_MAX;

/// Octets of status line and header, and of the lines between chunks.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The port of HTTPS.
pub const PORT: u16 = 443;

/// Numbers a request; never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchId(pub u64);

/// A policy that the office wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// To name it by.
    pub id: FetchId,
    /// The server's name: for SNI, its certificate and [`request`].
    pub host: Arc<str>,
    /// Where it is, to be tried in this order until one takes the connection.
    pub addresses: Vec<IpAddr>,
    /// For one connection.
    pub connect: Duration,
    /// For everything.
    pub patience: Duration,
}

/// What to send to this host.
pub fn request(host: &str) -> Vec<u8> {
    format!(
        "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\nUser-Agent: postier\r\nAccept: text/plain\r\n\
         Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// A policy's text, or why there is none, for a person.
pub type Outcome = Result<Vec<u8>, String>;

/// Reads a response (RFC 9112), octet by octet and once each, whatever the slices it comes in.
#[derive(Debug, Default)]
pub struct Response {
    state: State,
    /// Of the line that is coming.
    line: Vec<u8>,
    /// Octets of lines so far.
    head_bytes: usize,
    /// An interim response: another follows.
    interim: bool,
    is_text: bool,
    chunked: bool,
    length: Option<usize>,
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Status,
    Fields,
    /// So many octets are to come.
    Counted(usize),
    /// The length of a chunk (RFC 9112 §7.1),
    ChunkSize,
    /// its octets,
    Chunk(usize),
    /// and its line end.
    ChunkEnd,
    Trailer,
    /// Until the connection ends.
    Rest,
    Whole,
}

impl Response {
    /// More octets; the outcome as soon as there is one.
    pub fn push(&mut self, octets: &[u8]) -> Option<Outcome> {
        for &octet in octets {
            if let Err(why) = self.step(octet) {
                return Some(Err(why.to_string()));
            }
            if self.state == State::Whole {
                return Some(Ok(core::mem::take(&mut self.body)));
            }
        }
        None
    }

    /// The server has ended the connection, as TLS wants it ended.
    pub fn end(self) -> Outcome {
        match self.state {
            State::Rest => Ok(self.body),
            _ => Err("the answer was cut off".into()),
        }
    }

    fn step(&mut self, octet: u8) -> Result<(), String> {
        match self.state {
            State::Counted(left) => {
                self.take(octet)?;
                self.state = if left > 1 { State::Counted(left - 1) } else { State::Whole };
            }
            State::Chunk(left) => {
                self.take(octet)?;
                self.state = if left > 1 { State::Chunk(left - 1) } else { State::ChunkEnd };
            }
            State::Rest => self.take(octet)?,
            State::Whole => {}
            State::Status | State::Fields | State::ChunkSize | State::ChunkEnd | State::Trailer => {
                self.head_bytes += 1;
                if self.head_bytes > HEAD_BYTES_MAX {
                    return Err("the header of the answer is too long".into());
                }
                if octet != b'\n' {
                    self.line.push(octet);
                    return Ok(());
                }
                let line = core::mem::take(&mut self.line);
                let line = core::str::from_utf8(&line).map_err(|_| nonsense())?;
                self.take_line(line.strip_suffix('\r').unwrap_or(line))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, octet: u8) -> Result<(), String> {
        if self.body.len() >= POLICY_BYTES_MAX {
            return Err(too_long());
        }
        self.body.push(octet);
        Ok(())
    }

    fn take_line(&mut self, line: &str) -> Result<(), String> {
        self.state = match self.state {
            State::Status => {
                self.take_status(line)?;
                State::Fields
            }
            State::Fields if line.is_empty() => self.begin_body()?,
            State::Fields => {
                if !self.interim {
                    self.take_field(line)?;
                }
                State::Fields
            }
            State::ChunkSize => match chunk_size(line)? {
                0 => State::Trailer,
                size => State::Chunk(size),
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err(nonsense()),
            State::Trailer if line.is_empty() => State::Whole,
            State::Trailer => State::Trailer,
            state @ (State::Counted(_) | State::Chunk(_) | State::Rest | State::Whole) => state,
        };
        Ok(())
    }

    fn take_status(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.splitn(3, ' ');
        let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !version.starts_with("HTTP/1.") || status.len() != 3 {
            return Err(nonsense());
        }
        self.interim = status.starts_with('1') && status != "101";
        match status {
            "200" => Ok(()),
            _ if self.interim => Ok(()),
            _ if status.bytes().all(|octet| octet.is_ascii_digit()) => {
                Err(format!("the server answers {status}"))
            }
            _ => Err(nonsense()),
        }
    }

    fn take_field(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line.split_once(':').ok_or_else(nonsense)?;
        let value = value.trim();
        let is = |known| name.eq_ignore_ascii_case(known);
        if is("Content-Type") {
            let kind = value.split(';').next().unwrap_or_default().trim();
            self.is_text = kind.eq_ignore_ascii_case("text/plain");
        } else if is("Content-Length") {
            let digits = value.len() <= 10 && value.bytes().all(|octet| octet.is_ascii_digit());
            let length = value.parse().ok().filter(|_| digits).ok_or_else(nonsense)?;
            if self.length.is_some_and(|before| before != length) {
                return Err(nonsense());
            }
            self.length = Some(length);
        } else if is("Transfer-Encoding") {
            if !value.eq_ignore_ascii_case("chunked") || self.chunked {
                return Err(nonsense());
            }
            self.chunked = true;
        } else if is("Content-Encoding") && !value.eq_ignore_ascii_case("identity") {
            return Err(format!("the answer is encoded ({value})"));
        }
        Ok(())
    }

    fn begin_body(&mut self) -> Result<State, String> {
        if core::mem::take(&mut self.interim) {
            return Ok(State::Status);
        }
        if !self.is_text {
            return Err("the answer is not of the type text/plain".into());
        }
        match (self.chunked, self.length) {
            // RFC 9112 §6.3: what has both may be an attempt to have it read in two ways.
            (true, Some(_)) => Err(nonsense()),
            (true, None) => Ok(State::ChunkSize),
            (false, Some(length)) if length > POLICY_BYTES_MAX => Err(too_long()),
            (false, Some(0)) => Ok(State::Whole),
            (false, Some(length)) => Ok(State::Counted(length)),
            (false, None) => Ok(State::Rest),
        }
    }
}

fn chunk_size(line: &str) -> Result<usize, String> {
    let digits = line.split(';').next().unwrap_or_default().trim();
    let good = (1..=8).contains(&digits.len()) && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    let size = usize::from_str_radix(digits, 16).ok().filter(|_| good).ok_or_else(nonsense)?;
    if size > POLICY_BYTES_MAX { Err(too_long()) } else { Ok(size) }
}

fn nonsense() -> String {
    "the answer is not HTTP as we know it".into()
}

fn too_long() -> String {
    format!("the answer is longer than {POLICY_BYTES_MAX} octets")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Whole, octet by octet, and the end: all the same.
    fn read(octets: &[u8]) -> Outcome {
        let mut outcomes = vec![];
        for size in [octets.len().max(1), 1, 3] {
            let mut response = Response::default();
            let whole = octets.chunks(size).find_map(|chunk| response.push(chunk));
            outcomes.push(whole.unwrap_or_else(|| response.end()));
        }
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:?}");
        outcomes.swap_remove(0)
    }

    fn with(fields: &str, body: &str) -> Outcome {
        read(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}\r\n{body}").as_bytes())
    }

    #[test]
    fn a_body_ends_by_count_by_chunks_or_with_the_connection() {
        let abc = || Ok(b"abc".to_vec());
        assert_eq!(with("content-length: 3\r\n", "abcdef"), abc());
        assert_eq!(with("", "abc"), abc());
        assert_eq!(
            with("Transfer-Encoding: chunked\r\n", "2;x=y\r\nab\r\n01\r\nc\r\n0\r\nT: x\r\n\r\nd"),
            abc()
        );
        assert_eq!(with("Content-Length: 0\r\n", ""), Ok(vec![]));
        assert_eq!(read(b"HTTP/1.0 200\nContent-Type: Text/Plain; charset=utf-8\n\nabc"), abc());
        let interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nabc";
        assert_eq!(read(interim), abc());
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        for (fields, body) in [
            ("Content-Length: 4\r\n", "abc"),
            ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"),
            ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n"),
        ] {
            assert!(with(fields, body).is_err(), "{fields} {body}");
        }
        assert!(read(b"").is_err() && read(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n").is_err());
    }

    #[test]
    fn only_200_and_text_are_a_policy() {
        let why = |octets: &[u8]| read(octets).unwrap_err();
        assert_eq!(why(b"HTTP/1.1 404 Not Found\r\n"), "the server answers 404");
        assert_eq!(why(b"HTTP/1.1 301 Moved\r\nLocation: https://a.test/\r\n\r\n"), "the server answers 301");
        let html = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>";
        assert!(why(html).contains("text/plain") && why(b"HTTP/1.1 200 OK\r\n\r\n").contains("text/plain"));
        assert!(with("Content-Encoding: gzip\r\n", "abc").unwrap_err().contains("gzip"));
        for octets in ["SSH-2.0-x\r\n", "HTTP/2 200\r\n", "HTTP/1.1 2xx\r\n", "HTTP/1.1 20\r\n", "\u{ff}\n"] {
            assert!(why(octets.as_bytes()).contains("not HTTP"), "{octets}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for fields in [
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: \r\n",
            "nonsense\r\n",
        ] {
            assert!(with(fields, "abc").unwrap_err().contains("not HTTP"), "{fields}");
        }
        for chunks in ["x\r\n", "-1\r\n", "\r\n", "111111111\r\n", "1\r\nab\r\n"] {
            assert!(with("Transfer-Encoding: chunked\r\n", chunks).is_err(), "{chunks}");
        }
    }

    #[test]
    fn nothing_is_read_for_ever() {
        let long = "x".repeat(POLICY_BYTES_MAX + 1);
        assert!(with("", &long).unwrap_err().contains("longer"));
        assert!(with(&format!("Content-Length: {}\r\n", long.len()), "").unwrap_err().contains("longer"));
        let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(3);
        assert!(with("Transfer-Encoding: chunked\r\n", &chunk).unwrap_err().contains("longer"));
        let mut response = Response::default();
        let endless = core::iter::repeat_n(b"X: y\r\n", 10_000).find_map(|line| response.push(line));
        assert!(endless.is_some(), "a status line first");
        assert!(with(&"X: y\r\n".repeat(10_000), "abc").unwrap_err().contains("too long"));
        assert!(read(&vec![b'x'; HEAD_BYTES_MAX + 1]).unwrap_err().contains("too long"));
    }
}
