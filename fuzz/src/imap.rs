//! Targets for `postier_core::imap`.

use postier_core::imap::command::{CommandBody, Secret, parse, parse_append_rest, tag_of};
use postier_core::imap::list::ListPattern;
use postier_core::imap::scanner::{CommandScanner, Scan, ScanLimits};
use postier_core::imap::sequence::SequenceSet;
use postier_core::imap::url;
use postier_core::wire::mutf7;

use crate::assert_split_invariant;

/// One command with its literals.
pub fn imap_command(command: &[u8]) {
    match parse(command) {
        Ok(parsed) => {
            assert_eq!(tag_of(command), Some(parsed.tag));
            if let CommandBody::Login { password, .. } = &parsed.body {
                let nothing = Secret(Default::default());
                assert_eq!(format!("{password:?}"), format!("{nothing:?}"), "a password is shown");
            }
        }
        Err(error) => {
            assert!(error.tag.is_none() || error.tag == tag_of(command));
            let said = error.to_string();
            assert!(said.chars().all(|character| matches!(character, ' '..='~')), "it goes into a reply");
            assert!(said.len() < 200);
        }
    }
}

/// The URL of octets of a message; and the same octets as what follows a literal of APPEND.
pub fn imap_url(text: &[u8]) {
    if let Some(url) = url::parse(text) {
        assert!(url.uid > 0 && url.uid_validity != Some(0) && text.len() <= url::URL_BYTES_MAX);
        let name = url.mailbox.as_deref().unwrap_or(b"INBOX");
        assert!(mutf7::decode(name).is_ok(), "the store can look for it");
    }
    for joined in [false, true] {
        if let Err(error) = parse_append_rest(text, joined) {
            assert!(error.to_string().len() < 200);
        }
    }
}

/// Sequence sets, and what they are once the largest number is known.
pub fn imap_sequence(text: &[u8]) {
    let Some(set) = SequenceSet::parse(text) else { return };
    assert_eq!(SequenceSet::parse(set.to_string().as_bytes()), Some(set.clone()));
    for max in [0, 1, 7, 4096, u32::MAX] {
        let resolved = set.resolve(max);
        for pair in resolved.ranges().windows(2) {
            assert!(u64::from(pair[0].last) + 1 < u64::from(pair[1].first), "apart and in order");
        }
        let edges = resolved.ranges().iter().flat_map(|range| [range.first, range.last]).take(64);
        for edge in edges {
            for number in [edge.saturating_sub(1).max(1), edge, edge.saturating_add(1)] {
                assert_eq!(set.contains(number, max), resolved.contains(number), "{number} of {max}");
            }
        }
    }
}

/// Commands and literals found in a stream. What is refused is never taken for a command, however it comes.
pub fn imap_scanner(stream: &[u8]) {
    assert_split_invariant(stream, scan);
}

const LIMITS: ScanLimits = ScanLimits { command_bytes: 64, literal_bytes: 20 };
/// Octets of the longest message that is not refused.
const MESSAGE_BYTES_MAX: u64 = 30;

/// Plays a session, and writes down what it saw.
fn scan(pieces: &[&[u8]]) -> Vec<String> {
    let (mut scanner, mut buf, mut log) = (CommandScanner::new(), Vec::<u8>::new(), Vec::new());
    // Octets of a message that are still to come, until its command has ended.
    let mut message: Option<u64> = None;
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            let found = match &mut message {
                Some(left) => {
                    let taken = buf.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    buf.drain(..taken);
                    *left -= taken as u64;
                    if *left > 0 {
                        break;
                    }
                    scanner.scan_append_tail(&buf, &LIMITS)
                }
                None => scanner.scan(&buf, &LIMITS),
            };
            match found {
                Scan::Incomplete => {
                    assert!(buf.len() < LIMITS.command_bytes, "a full buffer is never waited with");
                    break;
                }
                Scan::Continue => log.push("+".to_string()),
                Scan::Complete { len } => {
                    message = None;
                    log.push(format!("command {}", buf[..len].escape_ascii()));
                    buf.drain(..len);
                }
                Scan::Append { head_len, size, sync } => {
                    log.push(format!("append {size} {sync} {}", buf[..head_len].escape_ascii()));
                    buf.drain(..head_len);
                    message = Some(size).filter(|size| *size <= MESSAGE_BYTES_MAX);
                    if message.is_none() && !sync {
                        scanner.start_skip(size);
                    }
                }
                Scan::Refused { len, why } => {
                    message = None;
                    log.push(format!("refused {why:?} {:?}", tag_of(&buf[..len])));
                    buf.drain(..len);
                }
                Scan::Skipped { len } => {
                    assert!(len > 0);
                    buf.drain(..len);
                }
            }
        }
    }
    log
}

/// A LIST pattern and, on the next line, a name; against a table of all starts of both.
pub fn imap_list(data: &[u8]) {
    let at = data.iter().position(|&octet| octet == b'\n').unwrap_or(data.len());
    let (text, name) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let Some(pattern) = ListPattern::new(b"", text, b'/') else { return };
    let matched = pattern.matches(name);
    // INBOX is another rule.
    if text.len() * name.len() > 10_000
        || data.first().is_none_or(|first| matches!(first, b'i' | b'I' | b'%' | b'*'))
    {
        return;
    }
    let mut starts = vec![false; name.len() + 1];
    starts[0] = true;
    for element in text {
        let before = std::mem::replace(&mut starts, vec![false; name.len() + 1]);
        for end in 0..=name.len() {
            starts[end] = match element {
                b'*' => before[end] || end > 0 && starts[end - 1],
                b'%' => before[end] || end > 0 && starts[end - 1] && name[end - 1] != b'/',
                octet => end > 0 && before[end - 1] && name[end - 1] == *octet,
            };
        }
    }
    assert_eq!(matched, starts[name.len()]);
}
