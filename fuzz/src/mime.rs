//! Targets for `postier_core::mime`.

use postier_core::mime::header::{fields, header_bytes, unfold};
use postier_core::mime::header_scanner::{HELD_BYTES_MAX, HeaderScanner};
use postier_core::mime::preview::{PREVIEW_CHARS_MAX, preview};
use postier_core::mime::structure::{Piece, Structure};
use postier_core::mime::structure_parser::{PARTS_MAX, StructureParser};
use postier_core::mime::text::{TextDecoder, write_header};
use postier_core::mime::unbinary::Unbinary;
use postier_core::mime::{address, bodystructure, date, encoded_word, param};

use crate::assert_split_invariant;

/// A message's header: its fields one by one, and as it passes by.
pub fn mime_header(message: &[u8]) {
    let end = header_bytes(message);
    let mut at = 0;
    for field in fields(message) {
        assert_eq!(field.range.start, at, "the fields leave nothing out");
        assert!(field.range.end > at);
        at = field.range.end;
        assert!(!unfold(field.value).contains(&b'\n'));
    }
    assert!(at <= end && end - at <= 2, "all that follows the fields is the empty line");

    assert_split_invariant(message, |pieces| {
        let (mut scanner, mut header, mut body, mut ended) =
            (HeaderScanner::new(), Vec::new(), Vec::new(), false);
        for piece in pieces {
            if ended {
                body.extend_from_slice(piece);
                continue;
            }
            let scan = scanner.feed(piece);
            header.extend_from_slice(scan.released);
            header.extend_from_slice(&piece[..scan.header_bytes]);
            ended = scan.end.is_some();
            let taken = scan.header_bytes;
            if ended {
                body.extend_from_slice(scanner.held());
                body.extend_from_slice(&piece[taken..]);
            }
            assert!(scanner.held().len() <= HELD_BYTES_MAX);
        }
        let end = scanner.finish();
        if !ended {
            body.extend_from_slice(scanner.held());
        }
        assert_eq!([&header[..], &body].concat(), message, "nothing is lost");
        let has = (scanner.has_date(), scanner.has_message_id(), scanner.has_from());
        (header, end, scanner.received_count(), has)
    });
}

/// The value of an address field.
pub fn mime_address(value: &[u8]) {
    let entries = address::parse(value);
    assert!(entries.len() <= address::ADDRESSES_MAX);
    let mut in_group = false;
    for entry in entries {
        match entry {
            address::Entry::Mailbox(mailbox) => {
                let octets =
                    mailbox.name.len() + mailbox.route.len() + mailbox.mailbox.len() + mailbox.host.len();
                assert!(octets <= 2 * value.len(), "it is made of what was there");
            }
            address::Entry::GroupStart(_) => {
                assert!(!in_group, "groups do not nest");
                in_group = true;
            }
            address::Entry::GroupEnd => {
                assert!(in_group, "an end has a start");
                in_group = false;
            }
        }
    }
}

/// Dates, in the three forms there are.
pub fn mime_date(value: &[u8]) {
    let dates = [date::parse_rfc5322(value), date::parse_internaldate(value)];
    for moment in dates.into_iter().flatten() {
        let (seconds, offset) = (moment.unix_seconds, moment.offset_minutes);
        // Another zone may push the edges out of the four-digit years.
        if !(-62_100_000_000..253_300_000_000).contains(&seconds) {
            continue;
        }
        assert_eq!(date::parse_rfc5322(date::format_rfc5322(seconds, offset).as_bytes()), Some(moment));
        assert_eq!(
            date::parse_internaldate(date::format_internaldate(seconds, offset).as_bytes()),
            Some(moment)
        );
    }
    if let Some(day) = date::parse_search_date(value) {
        let (year, month, day_of_month) = date::civil_from_days(day);
        assert_eq!(date::days_from_civil(year, month, day_of_month), day);
    }
}

/// The parts of a message, and what IMAP shows of them.
pub fn mime_structure(message: &[u8]) {
    let structure = assert_split_invariant(message, |pieces| {
        let mut parser = StructureParser::new();
        pieces.iter().for_each(|piece| parser.feed(piece));
        parser.finish()
    });
    assert!(structure.parts().len() <= PARTS_MAX);
    for part in structure.parts() {
        let (header, body) = (part.header.file_range(), part.body.file_range());
        assert!(header.start <= header.end && header.end <= body.start && body.start <= body.end);
        assert!(body.end <= message.len() as u64);
        let octets = part.body.of(message);
        let lines = octets.iter().filter(|&&octet| octet == b'\n').count() as u64;
        assert_eq!(part.body.lines(), lines);
        assert_eq!(part.body.crlf_bytes(), postier_core::wire::eol::crlf_len(octets));
        if let Some(parent) = part.parent {
            let around = structure.parts()[parent].body.file_range();
            assert!(around.start <= header.start && body.end <= around.end, "a part is inside its parent");
        }
    }
    assert_eq!(structure.section(&[], Piece::Full).map(|span| span.of(message)), Some(message));
    show(&structure);

    for part in structure.text_parts() {
        assert_split_invariant(part.body.of(message), |pieces| {
            let (mut decoder, mut text) = (TextDecoder::new(&part.content), String::new());
            let mut sink = |piece: &str| text.push_str(piece);
            pieces.iter().for_each(|piece| decoder.feed(piece, &mut sink));
            decoder.finish(&mut sink);
            text
        });
    }
    let mut header = Vec::new();
    write_header(&mut header, message, |name| name.len() % 2 == 0);
    assert!(header.is_empty() || header.ends_with(b"\r\n"), "whole lines");
}

/// What is written is one line of parentheses that match; literals and strings may hold anything.
fn show(structure: &Structure) {
    let mut out = Vec::new();
    bodystructure::write(&mut out, structure, true);
    structure
        .parts()
        .iter()
        .filter_map(|part| part.envelope.as_ref())
        .for_each(|envelope| envelope.write(&mut out));
    let (mut rest, mut depth) = (&out[..], 0i64);
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        match octet {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'"' => {
                let mut escaped = false;
                let end = tail.iter().position(|&octet| {
                    assert!(!matches!(octet, b'\r' | b'\n' | 0), "not in a quoted string");
                    let closes = octet == b'"' && !escaped;
                    escaped = octet == b'\\' && !escaped;
                    closes
                });
                rest = &tail[end.expect("the string ends") + 1..];
            }
            b'{' => {
                let end = tail.iter().position(|&octet| octet == b'}').expect("a literal's length");
                let len: usize = std::str::from_utf8(&tail[..end]).unwrap().parse().unwrap();
                let literal = tail[end + 1..].strip_prefix(b"\r\n").expect("a literal's line end");
                rest = &literal[len..];
            }
            b'\r' | b'\n' => panic!("a line end outside of a literal"),
            _ => {}
        }
        assert!(depth >= 0);
    }
    assert_eq!(depth, 0, "{}", out.escape_ascii());
}

/// Encoded words, and parameters with their continuations.
pub fn mime_encoded(value: &[u8]) {
    let decoded = encoded_word::decode(value);
    assert!(decoded.len() <= 4 * value.len(), "it is made of what was there");
    if let Some(field) = param::parse(value) {
        for param in &field.params {
            param::decoded(&field.params, &param.name);
        }
        param::decoded(&field.params, b"filename");
    }
}

/// A message's first words: few, and in one line.
pub fn mime_preview(message: &[u8]) {
    let words = preview(message);
    assert!(words.chars().count() <= PREVIEW_CHARS_MAX && words.trim() == words);
    assert!(!words.contains(|character: char| character.is_control()));
}

/// Binary parts made base64: however it comes, and once it is done there is nothing more to do.
pub fn mime_unbinary(message: &[u8]) {
    let text = assert_split_invariant(message, unbinary);
    let lower = message.to_ascii_lowercase();
    if !lower.windows(6).any(|word| word == b"binary") {
        assert_eq!(text, message, "nothing changes but what is binary");
    }
}

fn unbinary(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut unbinary, mut out) = (Unbinary::new(), Vec::new());
    pieces.iter().for_each(|piece| unbinary.feed(piece, &mut out));
    unbinary.finish(&mut out);
    out
}
