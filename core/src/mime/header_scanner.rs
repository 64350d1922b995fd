//! Watches the header of a message that is passing by, for the SMTP session: counts `Received` fields (loops), notes
//! which fields are there, and says exactly where the header ends, so that missing fields can be put in at that place.
//!
//! It keeps no line: at most the [`HELD_BYTES_MAX`] first bytes of the line being looked at, as long as these do not
//! tell whether the line still belongs to the header. The header ends before an empty line, or before the first line
//! that cannot be a field (the writer then puts the missing empty line). A "From " line at the very top is let pass.
//!
//! Fields that are not to be passed on ([`HeaderScanner::leaving_out`]) it points out, a line at a time.

use super::header::{FIELD_NAME_BYTES_MAX, is_name_byte};

/// Most bytes the scanner holds back: a field name, white space and the colon.
pub const HELD_BYTES_MAX: usize = FIELD_NAME_BYTES_MAX + 4;

/// Why the header ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEnd {
    /// An empty line follows: the body is after it.
    EmptyLine,
    /// A line follows that is no field: it is the body already, and an empty line is missing before it.
    NotAField,
    /// The message ended inside the header (or was empty): there is no body.
    EndOfMessage,
}

/// What one slice told.
#[derive(Debug, PartialEq, Eq)]
pub struct Scan<'s> {
    /// Bytes held back earlier that are now known to be header. To be passed on first.
    pub released: &'s [u8],
    /// How many bytes of the slice are known to be header. To be passed on second. While `end` is `None` the rest of
    /// the slice is held back by the scanner itself: the caller drops it.
    pub header_bytes: usize,
    /// How many bytes after these belong to a field that is left out. Where there are any, the scanner has looked no
    /// further: feed it what follows them.
    pub left_out: usize,
    /// The header has ended. The caller now writes its own fields, then [`HeaderScanner::held`], then the rest of
    /// the slice, and feeds no more.
    pub end: Option<HeaderEnd>,
}

/// The scanner. Feed it the message in wire or stored form, in slices of any size.
///
/// ```
/// use postier_core::mime::header_scanner::{HeaderEnd, HeaderScanner};
///
/// let (mut scanner, mut stored) = (HeaderScanner::new(), Vec::new());
/// for slice in [&b"Received: a\r\nSubj"[..], b"ect: b\r\n\r", b"\nHello\r\n"] {
///     let scan = scanner.feed(slice);
///     stored.extend_from_slice(scan.released);
///     stored.extend_from_slice(&slice[..scan.header_bytes]);
///     if let (Some(HeaderEnd::EmptyLine), rest) = (scan.end, scan.header_bytes) {
///         stored.extend_from_slice(b"Date: now\r\n");
///         stored.extend_from_slice(scanner.held());
///         stored.extend_from_slice(&slice[rest..]);
///     }
/// }
/// assert_eq!(stored, b"Received: a\r\nSubject: b\r\nDate: now\r\n\r\nHello\r\n");
/// assert_eq!((scanner.received_count(), scanner.has_date()), (1, false));
/// ```
#[derive(Debug)]
pub struct HeaderScanner {
    state: State,
    /// Beginning of the line in doubt, from earlier slices.
    held: [u8; HELD_BYTES_MAX],
    held_bytes: usize,
    released: [u8; HELD_BYTES_MAX],
    received: u32,
    date: bool,
    message_id: bool,
    from: bool,
    /// No line has been passed yet.
    at_top: bool,
    /// Names of fields to leave out, in lower case.
    unwanted: &'static [&'static [u8]],
    /// The field that is passing by is one of them.
    leaving_out: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a line, or inside the name of a field; what is in doubt begins at the line start.
    Name,
    /// In a line that is known to be header, up to its LF.
    Line,
    Ended(HeaderEnd),
}

/// What the first bytes of a line say.
enum Verdict {
    /// `used` bytes decide that the line is header.
    Header {
        used: usize,
    },
    End(HeaderEnd),
    Undecided,
}

impl Default for HeaderScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl HeaderScanner {
    /// A scanner at the top of a message.
    pub fn new() -> Self {
        HeaderScanner {
            state: State::Name,
            held: [0; HELD_BYTES_MAX],
            held_bytes: 0,
            released: [0; HELD_BYTES_MAX],
            received: 0,
            date: false,
            message_id: false,
            from: false,
            at_top: true,
            unwanted: &[],
            leaving_out: false,
        }
    }

    /// A scanner that points out the fields of these names, in lower case, with all their lines.
    pub fn leaving_out(unwanted: &'static [&'static [u8]]) -> Self {
        HeaderScanner { unwanted, ..Self::new() }
    }

    /// Looks at the next slice. After the end it says the same end again, and takes nothing.
    pub fn feed(&mut self, bytes: &[u8]) -> Scan<'_> {
        let (mut at, mut released) = (0, 0);
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            match self.state {
                State::Ended(end) => return self.scan(released, at, 0, Some(end)),
                State::Line => {
                    let line_end = memchr::memchr(b'\n', rest);
                    let line = line_end.map_or(rest.len(), |lf| lf + 1);
                    if line_end.is_some() {
                        self.state = State::Name;
                        self.at_top = false;
                    }
                    if self.leaving_out && line > 0 {
                        return self.scan(released, at, line, None);
                    }
                    at += line;
                    if line_end.is_none() {
                        return self.scan(released, at, 0, None);
                    }
                }
                State::Name => {
                    let before = self.held_bytes;
                    let room = HELD_BYTES_MAX.saturating_sub(before);
                    for (to, from) in self.held.iter_mut().skip(before).zip(rest.iter().take(room)) {
                        *to = *from;
                    }
                    self.held_bytes = before + room.min(rest.len());
                    match self.judge() {
                        Verdict::Header { used } => {
                            self.held_bytes = 0;
                            self.state = State::Line;
                            let used = used.saturating_sub(before);
                            if self.leaving_out {
                                // What was held back of it is forgotten.
                                if used > 0 {
                                    return self.scan(released, at, used, None);
                                }
                            } else if before > 0 {
                                (self.released, released) = (self.held, before);
                            }
                            at += used;
                        }
                        Verdict::End(end) => {
                            self.held_bytes = before;
                            self.state = State::Ended(end);
                        }
                        Verdict::Undecided => return self.scan(released, at, 0, None),
                    }
                }
            }
        }
    }

    /// The message is over. When the header had not ended it ends here, and [`HeaderScanner::held`] is a last line
    /// without a line end: a blank one, or one that is no field.
    pub fn finish(&mut self) -> HeaderEnd {
        let end = match self.state {
            State::Ended(end) => end,
            State::Name if matches!(self.held.get(..self.held_bytes), Some([_, ..])) => match self.held() {
                b"\r" => HeaderEnd::EmptyLine,
                _ => HeaderEnd::NotAField,
            },
            State::Name | State::Line => HeaderEnd::EndOfMessage,
        };
        self.state = State::Ended(end);
        end
    }

    /// Bytes held back: the beginning of the line in doubt, or after the end the beginning of what follows the header.
    pub fn held(&self) -> &[u8] {
        self.held.get(..self.held_bytes).unwrap_or_default()
    }

    /// Whether the message ended in the middle of a header line, so that a field put after it needs a line end first.
    pub fn is_mid_line(&self) -> bool {
        self.state == State::Line && !self.leaving_out
    }

    /// How many `Received` fields the header has so far (RFC 5321 §6.3 counts them to find loops).
    pub fn received_count(&self) -> u32 {
        self.received
    }

    /// Whether there is a `Date` field.
    pub fn has_date(&self) -> bool {
        self.date
    }

    /// Whether there is a `Message-ID` field.
    pub fn has_message_id(&self) -> bool {
        self.message_id
    }

    /// Whether there is a `From` field.
    pub fn has_from(&self) -> bool {
        self.from
    }

    fn scan(
        &self,
        released: usize,
        header_bytes: usize,
        left_out: usize,
        end: Option<HeaderEnd>,
    ) -> Scan<'_> {
        let released = self.released.get(..released).unwrap_or_default();
        Scan { released, header_bytes, left_out, end }
    }

    /// Reads the line start in `held`.
    fn judge(&mut self) -> Verdict {
        let held = self.held.get(..self.held_bytes).unwrap_or_default();
        match held {
            [] | b"\r" => return Verdict::Undecided,
            [b'\n', ..] | [b'\r', b'\n', ..] => return Verdict::End(HeaderEnd::EmptyLine),
            // A continuation; at the very top there is nothing to continue.
            [b' ' | b'\t', ..] if !self.at_top => return Verdict::Header { used: 1 },
            _ => {}
        }
        let name_bytes = held.iter().take_while(|&&byte| is_name_byte(byte)).count();
        let (name, after) = held.split_at(name_bytes);
        let blanks = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match after.get(blanks) {
            Some(b':') if !name.is_empty() && name_bytes <= FIELD_NAME_BYTES_MAX => {
                let used = name_bytes + blanks + 1;
                let (received, date) =
                    (name.eq_ignore_ascii_case(b"received"), name.eq_ignore_ascii_case(b"date"));
                let (id, from) =
                    (name.eq_ignore_ascii_case(b"message-id"), name.eq_ignore_ascii_case(b"from"));
                self.received = self.received.saturating_add(u32::from(received));
                self.date |= date;
                self.message_id |= id;
                self.from |= from;
                self.leaving_out = self.unwanted.iter().any(|unwanted| name.eq_ignore_ascii_case(unwanted));
                Verdict::Header { used }
            }
            None if held.len() < HELD_BYTES_MAX => Verdict::Undecided,
            _ if self.at_top && (held.starts_with(b"From ") || held.starts_with(b">From ")) => {
                Verdict::Header { used: b"From ".len() }
            }
            _ => Verdict::End(HeaderEnd::NotAField),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// The header, the reason, and the rest, of a message cut at `cuts`.
    fn scan(message: &[u8], cuts: &[usize]) -> (Vec<u8>, HeaderEnd, Vec<u8>, u32) {
        scan_with(HeaderScanner::new(), message, cuts)
    }

    fn scan_with(
        mut scanner: HeaderScanner,
        message: &[u8],
        cuts: &[usize],
    ) -> (Vec<u8>, HeaderEnd, Vec<u8>, u32) {
        let (mut header, mut body, mut ended, mut at) = (Vec::new(), Vec::new(), false, 0);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (message.len() + 1)).collect();
        cuts.push(message.len());
        cuts.sort_unstable();
        for cut in cuts {
            let slice = &message[at..cut];
            at = cut;
            if ended {
                body.extend_from_slice(slice);
                continue;
            }
            let mut slice = slice;
            loop {
                let scan = scanner.feed(slice);
                header.extend_from_slice(scan.released);
                header.extend_from_slice(&slice[..scan.header_bytes]);
                slice = &slice[scan.header_bytes + scan.left_out..];
                ended = scan.end.is_some();
                if ended || scan.left_out == 0 {
                    break;
                }
            }
            if ended {
                body.extend_from_slice(scanner.held());
                body.extend_from_slice(slice);
            }
        }
        if !ended {
            body.extend_from_slice(scanner.held());
        }
        (header, scanner.finish(), body, scanner.received_count())
    }

    #[test]
    fn ends() {
        let cases: [(&[u8], &[u8], HeaderEnd); 10] = [
            (b"", b"", HeaderEnd::EndOfMessage),
            (b"\r\nbody", b"", HeaderEnd::EmptyLine),
            (b"Hello\r\nA: b\r\n", b"", HeaderEnd::NotAField),
            (b" A: b\r\n", b"", HeaderEnd::NotAField),
            (b"A: b\r\n c\r\nmore: d\r\n\r\nx: y\r\n", b"A: b\r\n c\r\nmore: d\r\n", HeaderEnd::EmptyLine),
            (b"A: b\nHello joe\n", b"A: b\n", HeaderEnd::NotAField),
            (b"From joe Mon\r\nA: b\r\n\n", b"From joe Mon\r\nA: b\r\n", HeaderEnd::EmptyLine),
            (b"A: b\r\nFrom joe Mon\r\n", b"A: b\r\n", HeaderEnd::NotAField),
            (b"A: b", b"A: b", HeaderEnd::EndOfMessage),
            (b"A: b\r\n\rx: y\r\n", b"A: b\r\n", HeaderEnd::NotAField),
        ];
        for (message, header, end) in cases {
            let got = scan(message, &[]);
            assert_eq!((&got.0[..], got.1), (header, end), "{message:?}");
            assert_eq!(got.2, message[header.len()..]);
        }
    }

    #[test]
    fn a_name_too_long_is_no_field() {
        let mut long = Vec::from([b'n'; FIELD_NAME_BYTES_MAX]);
        long.extend_from_slice(b": v\r\n\r\n");
        assert_eq!(scan(&long, &[]).1, HeaderEnd::EmptyLine);
        long.insert(0, b'n');
        assert_eq!(scan(&long, &[]), (Vec::new(), HeaderEnd::NotAField, long.clone(), 0));
    }

    #[test]
    fn notes_fields() {
        let mut scanner = HeaderScanner::new();
        scanner.feed(
            b"RECEIVED: a\r\nreceived : b\r\nReceived-SPF: c\r\nmessage-id:x\r\nFrom:\r\n\r\nDate: x\r\n",
        );
        assert_eq!(scanner.received_count(), 2);
        assert!(scanner.has_message_id() && scanner.has_from() && !scanner.has_date());
    }

    #[test]
    fn unwanted_fields_are_left_out_with_all_their_lines() {
        const UNWANTED: &[&[u8]] = &[b"bcc", b"return-path"];
        let cases: [(&[u8], &[u8], &[u8]); 6] = [
            (b"Bcc: a\r\n b\r\n\tc\r\nA: b\r\n c\r\n\r\nBcc: x", b"A: b\r\n c\r\n", b"\r\nBcc: x"),
            (b"A: b\r\nBCC : a\r\nRETURN-PATH:<x>\r\nBccc: d\r\n\n", b"A: b\r\nBccc: d\r\n", b"\n"),
            (b"A: b\nReturn-Path:\n <x>\nHello\n", b"A: b\n", b"Hello\n"),
            (b"A: b\r\nBcc: a", b"A: b\r\n", b""),
            (b"Bcc:", b"", b""),
            (b"Bcc", b"", b"Bcc"),
        ];
        for (message, header, body) in cases {
            let every: Vec<_> = (0..message.len()).collect();
            for cuts in [&[][..], &[3], &[4, 5], &every] {
                let got = scan_with(HeaderScanner::leaving_out(UNWANTED), message, cuts);
                assert_eq!((&got.0[..], &got.2[..]), (header, body), "{message:?} {cuts:?}");
            }
        }
        let mut scanner = HeaderScanner::leaving_out(UNWANTED);
        scanner.feed(b"Bcc: a");
        assert!(!scanner.is_mid_line(), "nothing of that line is passed on");
    }

    proptest! {
        #[test]
        fn leaving_out_is_what_remains_without(parts in proptest::collection::vec(prop::sample::select(&[
            "A: b\r\n", "Bcc: c\r\n", " d\r\n", "Received: e\n", "bcc:f\n",
        ][..]), 0..12), cuts in proptest::collection::vec(any::<usize>(), 0..20)) {
            let parts = [&["A: b\r\n"], &parts[..]].concat();
            let (mut keep, mut kept) = (true, Vec::new());
            for part in &parts {
                keep = if part.starts_with(' ') { keep } else { !part.to_ascii_lowercase().starts_with("bcc") };
                kept.extend_from_slice(if keep { part.as_bytes() } else { b"" });
            }
            let message = parts.concat().into_bytes();
            let got = scan_with(HeaderScanner::leaving_out(&[b"bcc"]), &message, &cuts);
            prop_assert_eq!(&got, &scan(&kept, &[]));
        }

        #[test]
        fn any_segmentation(parts in proptest::collection::vec(prop::sample::select(&[
            "A: b\r\n", " c\r\n", "\r\n", "\n", "\r", "Received:", "From ", "x", " ", "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
        ][..]), 0..12), cuts in proptest::collection::vec(any::<usize>(), 0..20)) {
            let message = parts.concat().into_bytes();
            let whole = scan(&message, &[]);
            prop_assert_eq!(&scan(&message, &cuts), &whole);
            let every: Vec<_> = (0..message.len()).collect();
            prop_assert_eq!(&scan(&message, &every), &whole);
            let mut joined = whole.0.clone();
            joined.extend_from_slice(&whole.2);
            prop_assert_eq!(joined, message);
        }
    }
}
