//! Finds where a command ends in the receive buffer, literals included, before anything is parsed.
//!
//! The caller owns one contiguous buffer and calls [`CommandScanner::scan`] with all that it holds. The
//! scanner remembers how far it has looked, so each octet is looked at once however the input is cut. Inline
//! literals stay in the buffer, `{5}\r\nhello`, and [`parse`](super::command::parse) finds them there. The
//! message of an APPEND does not: the scanner stops at its announcement ([`Scan::Append`]), so the limit on a
//! command is not the limit on a message.
//!
//! States: a line (from the beginning of a command or of what follows a literal), an inline literal, and two
//! in which a refused command is swallowed: the octets of a literal the client sends without waiting, and
//! the line after it. What is swallowed is never taken for a command. A literal the client waits for is
//! refused by not asking for it: its next line is a new command (RFC 9051 §4.3).
//!
//! A line ends with LF; a CR before it is part of the line end. The scanner does not judge: what is in the
//! line, and whether a NUL is, is for the parser.
//!
//! ```
//! use postier_core::imap::scanner::{CommandScanner, Scan, ScanLimits};
//!
//! let limits = ScanLimits { command_bytes: 65_536, literal_bytes: 4_096 };
//! let mut scanner = CommandScanner::new();
//! assert_eq!(scanner.scan(b"a LOGIN fred {5}\r\n", &limits), Scan::Continue);
//! assert_eq!(scanner.scan(b"a LOGIN fred {5}\r\n12345\r", &limits), Scan::Incomplete);
//! assert_eq!(scanner.scan(b"a LOGIN fred {5}\r\n12345\r\nb NOOP\r\n", &limits), Scan::Complete { len: 25 });
//! assert_eq!(scanner.scan(b"b NOOP\r\n", &limits), Scan::Complete { len: 8 });
//! ```

use crate::wire::lines::find_line_feed;
use memchr::{memchr, memchr2, memrchr};

/// How much of one command is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// Octets of a whole command with its inline literals and line ends. The receive buffer must hold as
    /// many.
    pub command_bytes: usize,
    /// Octets of one inline literal.
    pub literal_bytes: u64,
}

/// What the scanner found at the beginning of the buffer.
///
/// After every variant that has a length the caller removes exactly that many octets from the front of the
/// buffer before it calls again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// More octets are needed.
    Incomplete,
    /// The client waits for leave to send a literal: write one continuation, then call again.
    Continue,
    /// A whole command (or line): parse the first `len` octets.
    Complete {
        /// Octets up to and including the line end.
        len: usize,
    },
    /// The head of an APPEND or REPLACE: parse the first `head_len` octets. Then either take exactly `size` octets of
    /// message (after a continuation if `sync`) and call [`CommandScanner::scan_append_tail`]; or refuse, and
    /// if not `sync` call [`CommandScanner::start_skip`] with `size`.
    Append {
        /// Octets up to and including the line end of the announcement.
        head_len: usize,
        /// Octets of the message; `u64::MAX` also stands for a number too large to be read.
        size: u64,
        /// Whether the client waits.
        sync: bool,
    },
    /// The command is refused: answer its tag (`tag_of` the first `len` octets) and remove them. The rest of
    /// it is then swallowed by calling [`CommandScanner::scan`] as always.
    Refused {
        /// Octets to remove.
        len: usize,
        /// What is wrong.
        why: Refusal,
    },
    /// Octets of a refused command: remove them, answer nothing.
    Skipped {
        /// Octets to remove; at least one.
        len: usize,
    },
}

/// Why the scanner refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Longer than [`ScanLimits::command_bytes`].
    CommandTooLong,
    /// A literal longer than [`ScanLimits::literal_bytes`], or too long for what is left of the command.
    LiteralTooLarge {
        /// Octets announced; `u64::MAX` also stands for a number too large to be read. If the client does not
        /// wait, closing is kinder than swallowing that much.
        size: u64,
        /// Whether the client waits.
        sync: bool,
    },
}

/// Finds commands in a receive buffer.
#[derive(Clone, Debug)]
pub struct CommandScanner {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A line is looked for from `at`; it began at `start` (0, or the end of a literal).
    Line { at: usize, start: usize },
    /// An inline literal reaches to `until`.
    Literal { until: usize },
    /// So many octets of a literal are to be swallowed, then a line.
    SkipLiteral { left: u64 },
    /// The rest of a line is to be swallowed, and what it announces.
    SkipLine { announcement: Announcement },
}

const COMMAND_START: State = State::Line { at: 0, start: 0 };

impl Default for CommandScanner {
    fn default() -> Self {
        CommandScanner::new()
    }
}

impl CommandScanner {
    /// A scanner at the beginning of a command.
    pub const fn new() -> Self {
        CommandScanner { state: COMMAND_START }
    }

    /// Looks at the whole content of the buffer and says what is at its beginning.
    #[inline]
    pub fn scan(&mut self, buf: &[u8], limits: &ScanLimits) -> Scan {
        // Nearly every command is one line, and has come whole.
        if !self.is_inside_command()
            && let LineEnd::At(len) = find_line_end(buf, 0, limits.command_bytes)
            && !may_announce(buf.get(..len).unwrap_or_default())
        {
            return Scan::Complete { len };
        }
        self.scan_states(buf, limits)
    }

    fn scan_states(&mut self, buf: &[u8], limits: &ScanLimits) -> Scan {
        loop {
            match self.state {
                State::Line { at, start } => match find_line_end(buf, at, limits.command_bytes) {
                    LineEnd::At(end) => match self.line(buf, start, end, limits) {
                        Some(found) => return found,
                        None => continue,
                    },
                    LineEnd::NotYet => return self.wait(buf, start),
                    LineEnd::TooFar => return self.refuse_long(buf, start, limits.command_bytes),
                },
                State::Literal { until } if buf.len() < until => return Scan::Incomplete,
                State::Literal { until } => self.state = State::Line { at: until, start: until },
                State::SkipLiteral { left: 0 } => {
                    self.state = State::SkipLine { announcement: Announcement::None };
                }
                State::SkipLiteral { left } => return self.skip_literal(buf, left),
                State::SkipLine { announcement } => return self.skip_line(buf, announcement),
            }
        }
    }

    /// Looks for one line without literals, at most `line_bytes` long: a SASL response, or DONE.
    pub fn scan_line(&mut self, buf: &[u8], line_bytes: usize) -> Scan {
        let State::Line { at, start } = self.state else {
            // Inside a refused command; limits do not matter there.
            return self.scan(buf, &ScanLimits { command_bytes: line_bytes, literal_bytes: 0 });
        };
        match find_line_end(buf, at, line_bytes) {
            LineEnd::At(len) => {
                self.state = COMMAND_START;
                Scan::Complete { len }
            }
            LineEnd::NotYet => self.wait(buf, start),
            LineEnd::TooFar => {
                self.state = State::SkipLine { announcement: Announcement::None };
                Scan::Refused { len: line_bytes, why: Refusal::CommandTooLong }
            }
        }
    }

    /// Looks for the line behind the message of an APPEND, which the caller has taken: [`Scan::Complete`], or
    /// [`Scan::Append`] when it announces another literal. What is in the line is for the parser
    /// ([`parse_append_rest`](super::command::parse_append_rest)).
    pub fn scan_append_tail(&mut self, buf: &[u8], limits: &ScanLimits) -> Scan {
        let State::Line { at, start } = self.state else { return self.scan(buf, limits) };
        match find_line_end(buf, at, limits.command_bytes) {
            LineEnd::At(len) => {
                self.state = COMMAND_START;
                match announcement_of(buf.get(..len).unwrap_or_default()) {
                    Some(Literal { size, sync, .. }) => Scan::Append { head_len: len, size, sync },
                    None => Scan::Complete { len },
                }
            }
            LineEnd::NotYet => self.wait(buf, start),
            LineEnd::TooFar => self.refuse_long(buf, start, limits.command_bytes),
        }
    }

    /// Swallows `size` octets of a message that was refused while the client sends it, and the rest of its
    /// command.
    pub fn start_skip(&mut self, size: u64) {
        self.state = State::SkipLiteral { left: size };
    }

    /// Whether a command has begun that is not complete: a client that is silent now is slow, not idle.
    pub fn is_inside_command(&self) -> bool {
        !matches!(self.state, State::Line { at: 0, start: 0 })
    }

    fn wait(&mut self, buf: &[u8], start: usize) -> Scan {
        self.state = State::Line { at: buf.len(), start };
        Scan::Incomplete
    }

    /// A line that ends before `end` and began at `start`. `None` when it goes on in a literal that the client
    /// sends without waiting.
    fn line(&mut self, buf: &[u8], start: usize, end: usize, limits: &ScanLimits) -> Option<Scan> {
        let line = buf.get(start..end).unwrap_or_default();
        let Some(Literal { size, sync, brace }) = announcement_of(line) else {
            self.state = COMMAND_START;
            return Some(Scan::Complete { len: end });
        };
        let is_message = append_arguments(buf).is_some_and(|arguments| start > 0 || brace > arguments);
        if is_message {
            self.state = COMMAND_START;
            return Some(Scan::Append { head_len: end, size, sync });
        }
        let until = usize::try_from(size).ok().and_then(|size| end.checked_add(size));
        match until.filter(|until| size <= limits.literal_bytes && *until < limits.command_bytes) {
            Some(until) => {
                self.state = State::Literal { until };
                sync.then_some(Scan::Continue)
            }
            None => {
                self.state = if sync { COMMAND_START } else { State::SkipLiteral { left: size } };
                Some(Scan::Refused { len: end, why: Refusal::LiteralTooLarge { size, sync } })
            }
        }
    }

    /// The command is longer than it may be: drops what is allowed, so that the outcome does not depend on
    /// how much more has arrived, and swallows the rest.
    fn refuse_long(&mut self, buf: &[u8], start: usize, command_bytes: usize) -> Scan {
        let mut announcement = Announcement::None;
        announcement.read(buf.get(start..command_bytes).unwrap_or_default());
        self.state = State::SkipLine { announcement };
        Scan::Refused { len: command_bytes, why: Refusal::CommandTooLong }
    }

    fn skip_literal(&mut self, buf: &[u8], left: u64) -> Scan {
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        if len == 0 {
            return Scan::Incomplete;
        }
        self.state = State::SkipLiteral { left: left.saturating_sub(len as u64) };
        Scan::Skipped { len }
    }

    fn skip_line(&mut self, buf: &[u8], mut announcement: Announcement) -> Scan {
        let len = memchr(b'\n', buf).map_or(buf.len(), |lf| lf + 1);
        let piece = buf.get(..len).unwrap_or_default();
        announcement.read(piece);
        match piece.last() {
            None => return Scan::Incomplete,
            Some(b'\n') => self.state = after_refused_line(announcement.literal()),
            Some(_) => self.state = State::SkipLine { announcement },
        }
        Scan::Skipped { len }
    }
}

/// After the line of a refused command: a literal the client sends anyway belongs to the command, one it
/// waits for is never sent.
fn after_refused_line(literal: Option<Literal>) -> State {
    match literal {
        Some(Literal { size, sync: false, .. }) => State::SkipLiteral { left: size },
        Some(Literal { sync: true, .. }) | None => COMMAND_START,
    }
}

enum LineEnd {
    /// The line ends before this place.
    At(usize),
    NotYet,
    /// There is no line end where one must be.
    TooFar,
}

#[inline]
fn find_line_end(buf: &[u8], at: usize, bytes_max: usize) -> LineEnd {
    let allowed = buf.get(..bytes_max).unwrap_or(buf);
    match find_line_feed(allowed.get(at..).unwrap_or_default()) {
        Some(lf) => LineEnd::At(at + lf + 1),
        None if allowed.len() == bytes_max => LineEnd::TooFar,
        None => LineEnd::NotYet,
    }
}

/// Where the mailbox of an APPEND or REPLACE stands; `None` for any other command.
fn append_arguments(buf: &[u8]) -> Option<usize> {
    // A tag has no line end in it: beyond the first line nothing is looked at.
    let verb = memchr2(b' ', b'\n', buf).filter(|at| buf.get(*at) == Some(&b' '))? + 1;
    let arguments = after_word(buf, verb, b"APPEND ");
    if arguments.is_some() {
        return arguments;
    }
    // RFC 8508 §3: the number of a message stands before the mailbox.
    let verb = after_word(buf, verb, b"UID ").unwrap_or(verb);
    let number = after_word(buf, verb, b"REPLACE ")?;
    let digits =
        buf.get(number..)?.iter().take_while(|octet| octet.is_ascii_digit() || **octet == b'*').count();
    after_word(buf, number + digits, b" ")
}

fn after_word(buf: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let end = at + word.len();
    buf.get(at..end).filter(|found| found.eq_ignore_ascii_case(word)).map(|_| end)
}

struct Literal {
    size: u64,
    sync: bool,
    /// Where in the line the brace opens.
    brace: usize,
}

/// Whether a whole line ends as one that announces a literal.
fn may_announce(line: &[u8]) -> bool {
    matches!(line, [.., b'}', b'\r', b'\n'] | [.., b'}', b'\n'])
}

/// The literal a whole line announces at its end.
fn announcement_of(line: &[u8]) -> Option<Literal> {
    if !may_announce(line) {
        return None;
    }
    let brace = memrchr(b'{', line)?;
    let mut announcement = Announcement::None;
    announcement.read_from_brace(line.get(brace..)?);
    announcement.literal().map(|literal| Literal { brace, ..literal })
}

/// How much of `{n}`, `{n+}` or `{n-}` with its line end has been seen (RFC 9051 §4.3, RFC 7888). A number
/// too large to be read is `u64::MAX`.
#[derive(Clone, Copy, Debug)]
enum Announcement {
    None,
    Open,
    Size(u64),
    Marked(u64),
    Closed { size: u64, sync: bool },
    ClosedCr { size: u64, sync: bool },
    Complete { size: u64, sync: bool },
}

impl Announcement {
    /// Goes on over the next piece of a line; only what follows its last brace matters.
    fn read(&mut self, piece: &[u8]) {
        self.read_from_brace(memrchr(b'{', piece).and_then(|brace| piece.get(brace..)).unwrap_or(piece));
    }

    /// As [`read`](Self::read), when there is no brace in the piece but perhaps its first octet.
    fn read_from_brace(&mut self, piece: &[u8]) {
        for octet in piece {
            if matches!(self, Announcement::None) && *octet != b'{' {
                return;
            }
            self.step(*octet);
        }
    }

    fn step(&mut self, octet: u8) {
        use Announcement::{Closed, ClosedCr, Complete, Marked, None, Open, Size};
        *self = match (*self, octet) {
            (_, b'{') => Open,
            (Open, b'0'..=b'9') => Size(u64::from(octet - b'0')),
            (Size(size), b'0'..=b'9') => {
                Size(size.saturating_mul(10).saturating_add(u64::from(octet - b'0')))
            }
            (Size(size), b'+' | b'-') => Marked(size),
            (Size(size), b'}') => Closed { size, sync: true },
            (Marked(size), b'}') => Closed { size, sync: false },
            (Closed { size, sync }, b'\r') => ClosedCr { size, sync },
            (Closed { size, sync } | ClosedCr { size, sync }, b'\n') => Complete { size, sync },
            (None | Open | Size(_) | Marked(_) | Closed { .. } | ClosedCr { .. } | Complete { .. }, _) => {
                None
            }
        };
    }

    fn literal(self) -> Option<Literal> {
        match self {
            Announcement::Complete { size, sync } => Some(Literal { size, sync, brace: 0 }),
            Announcement::None
            | Announcement::Open
            | Announcement::Size(_)
            | Announcement::Marked(_)
            | Announcement::Closed { .. }
            | Announcement::ClosedCr { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tag_of;
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const LIMITS: ScanLimits = ScanLimits { command_bytes: 64, literal_bytes: 20 };

    fn text(octets: &[u8]) -> String {
        octets.escape_ascii().to_string()
    }

    /// Plays a session that takes messages of up to 30 octets, and writes down what happens.
    struct Player {
        scanner: CommandScanner,
        buf: Vec<u8>,
        /// Octets of a message still to be taken.
        message: Option<u64>,
        after_message: bool,
        log: Vec<String>,
    }

    impl Player {
        fn new() -> Self {
            Player {
                scanner: CommandScanner::new(),
                buf: Vec::new(),
                message: None,
                after_message: false,
                log: Vec::new(),
            }
        }

        fn take(&mut self, len: usize) -> Vec<u8> {
            self.buf.drain(..len).collect()
        }

        fn feed(&mut self, input: &[u8]) {
            self.buf.extend_from_slice(input);
            loop {
                if let Some(left) = self.message {
                    let len = self.buf.len().min(left as usize);
                    self.take(len);
                    self.message = Some(left - len as u64).filter(|left| *left > 0);
                    if self.message.is_some() {
                        return;
                    }
                    self.after_message = true;
                }
                let found = match self.after_message {
                    true => self.scanner.scan_append_tail(&self.buf, &LIMITS),
                    false => self.scanner.scan(&self.buf, &LIMITS),
                };
                match found {
                    Scan::Incomplete => return assert!(self.buf.len() < LIMITS.command_bytes),
                    Scan::Continue => self.log.push("+".into()),
                    Scan::Complete { len } => {
                        self.after_message = false;
                        let command = self.take(len);
                        self.log.push(text(&command));
                    }
                    Scan::Append { head_len, size, sync } => {
                        self.after_message = false;
                        let head = self.take(head_len);
                        self.log.push(format!("APPEND {} {size} {sync}", text(&head)));
                        match (size <= 30, sync) {
                            (true, _) => self.message = Some(size),
                            (false, true) => {}
                            (false, false) => self.scanner.start_skip(size),
                        }
                    }
                    Scan::Refused { len, why } => {
                        self.after_message = false;
                        let refused = self.take(len);
                        self.log.push(format!("refused {:?} {why:?}", tag_of(&refused).map(text)));
                    }
                    Scan::Skipped { len } => {
                        assert!(len > 0);
                        self.take(len);
                    }
                }
            }
        }
    }

    fn play(input: &[u8]) -> Vec<String> {
        let mut whole = Player::new();
        whole.feed(input);
        let mut octets = Player::new();
        input.iter().for_each(|octet| octets.feed(&[*octet]));
        assert_eq!(whole.log, octets.log);
        whole.log
    }

    #[test]
    fn lines_and_literals() {
        assert_eq!(play(b"a NOOP\r\nb IDLE\n\r\n"), ["a NOOP\\r\\n", "b IDLE\\n", "\\r\\n"]);
        assert_eq!(play(b"a LOGIN {3+}\r\na\nb {2}\r\n{}\r\nb X\r\n").len(), 3);
        assert_eq!(play(b"a LOGIN x {0}\r\n\r\n"), ["+", "a LOGIN x {0}\\r\\n\\r\\n"]);
        // The brace belongs to the literal, not to an announcement.
        assert_eq!(play(b"a X {2+}\r\n{55}\r\n"), ["a X {2+}\\r\\n{55}\\r\\n"]);
        for no_literal in
            ["a X {}\r\n", "a X {a}\r\n", "a X {1++}\r\n", "a X {+}\r\n", "a X {1} \r\n", "a X 1}\r\n"]
        {
            assert_eq!(play(no_literal.as_bytes()), [text(no_literal.as_bytes())]);
        }
    }

    #[test]
    fn append_stops_at_its_message() {
        let log = play(b"a append m (x) {5}\r\nhello\r\nb NOOP\r\n");
        assert_eq!(log, ["APPEND a append m (x) {5}\\r\\n 5 true", "\\r\\n", "b NOOP\\r\\n"]);
        let log = play(b"a APPEND {3}\r\nbox ~{5+}\r\nhello\r\n");
        assert_eq!(log, ["+", "APPEND a APPEND {3}\\r\\nbox ~{5+}\\r\\n 5 false", "\\r\\n"]);
        // A refused message, and what follows a message, are not commands.
        let log = play(b"a APPEND m {40+}\r\n0123456789 NOOP\r\n01234567890123456789012\r\nb NOOP\r\n");
        assert_eq!(log[1..], ["b NOOP\\r\\n"]);
        let log = play(b"a APPEND m {2+}\r\nhi {9+}\r\nx NOOP\r\nx\r\nb NOOP\r\n");
        assert_eq!(log[1..], ["APPEND  {9+}\\r\\n 9 false", "\\r\\n", "b NOOP\\r\\n"]);
        for verb in ["REPLACE 3", "uid replace 3", "REPLACE *"] {
            let log = play(format!("a {verb} m {{2}}\r\nhi\r\n").as_bytes());
            assert_eq!(log, [format!("APPEND a {verb} m {{2}}\\r\\n 2 true"), "\\r\\n".into()]);
            let log = play(format!("a {verb} {{1}}\r\nm {{2}}\r\nhi\r\n").as_bytes());
            assert_eq!(log[..2], ["+".into(), format!("APPEND a {verb} {{1}}\\r\\nm {{2}}\\r\\n 2 true")]);
        }
        let log = play(b"a APPEND m {40}\r\nb NOOP\r\n");
        assert_eq!(log[1..], ["b NOOP\\r\\n"]);
    }

    #[test]
    fn refused_literals_are_swallowed() {
        let too_large =
            |sync| format!("refused Some(\"a\") {:?}", Refusal::LiteralTooLarge { size: 21, sync });
        let log = play(b"a LOGIN {21+}\r\nx NOOP\r\nx NOOP\r\n12345 {8+}\r\nx NOOP\r\n {3}\r\nb NOOP\r\n");
        assert_eq!(log, [too_large(false), "b NOOP\\r\\n".into()]);
        assert_eq!(play(b"a LOGIN {21}\r\nb NOOP\r\n"), [too_large(true), "b NOOP\\r\\n".into()]);
        let log = play(b"a LOGIN {99999999999999999999999+}\r\nx NOOP\r\nx NOOP\r\n");
        assert_eq!(log, ["refused Some(\"a\") LiteralTooLarge { size: 18446744073709551615, sync: false }"]);
        // Several literals, each small enough, and a command that is too long for all that.
        let log =
            play(b"a XXXXXXXX {20+}\r\n01234567890123456789 {20+}\r\n01234567890123456789\r\nb NOOP\r\n");
        assert_eq!(log.len(), 2, "{log:?}");
        assert!(log[0].contains("LiteralTooLarge"));
    }

    #[test]
    fn long_lines_are_swallowed_with_their_literals() {
        let line = |length: usize, end: &str| format!("a {}{end}\r\nb NOOP\r\n", "x".repeat(length));
        assert_eq!(play(line(60, "").as_bytes()).len(), 2);
        assert!(!play(line(60, "").as_bytes())[0].contains("refused"));
        for length in 61..200 {
            let log = play(line(length, "").as_bytes());
            assert_eq!(log, ["refused Some(\"a\") CommandTooLong", "b NOOP\\r\\n"]);
            assert_eq!(play(line(length, "{8+}\r\nx NOOP\r\n").as_bytes()), log);
            assert_eq!(play(line(length, "{8}").as_bytes()), log);
        }
    }

    #[test]
    fn lines_alone() {
        let mut scanner = CommandScanner::new();
        assert_eq!(scanner.scan_line(b"DO", 10), Scan::Incomplete);
        assert!(scanner.is_inside_command());
        assert_eq!(scanner.scan_line(b"DONE {9}\n", 10), Scan::Complete { len: 9 });
        assert!(!scanner.is_inside_command());
        assert_eq!(
            scanner.scan_line(b"01234567890", 10),
            Scan::Refused { len: 10, why: Refusal::CommandTooLong }
        );
        assert_eq!(scanner.scan_line(b"0\r\nb", 10), Scan::Skipped { len: 3 });
        assert_eq!(scanner.scan_line(b"b\r\n", 10), Scan::Complete { len: 3 });
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: &[&str] = &[
            "a NOOP",
            "\r\n",
            "\r\n",
            "\n",
            "\r",
            " ",
            "a APPEND m ",
            "a APPEND ",
            "{3}\r\n",
            "{3+}\r\n",
            "{0+}\r\n",
            "{25+}\r\n",
            "{25}\r\n",
            "{00000000000000000000000000000000000002+}\r\n",
            "abc",
            "{",
            "5",
            "+",
            "}",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "~",
        ];
        proptest::collection::vec(proptest::sample::select(PIECES), 0..40)
            .prop_map(|pieces| pieces.concat().into_bytes())
    }

    fn cut(input: &[u8], cuts: &[usize]) -> Vec<String> {
        let mut player = Player::new();
        let mut rest = input;
        for size in cuts {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            player.feed(piece);
            rest = after;
        }
        player.feed(rest);
        player.log
    }

    proptest! {
        #[test]
        fn segmentation_changes_nothing(input in stream(), cuts in proptest::collection::vec(0usize..30, 0..20)) {
            prop_assert_eq!(cut(&input, &cuts), play(&input));
        }

        #[test]
        fn any_octets(input in proptest::collection::vec(any::<u8>(), 0..300), cuts in proptest::collection::vec(0usize..30, 0..20)) {
            prop_assert_eq!(cut(&input, &cuts), play(&input));
        }
    }
}
