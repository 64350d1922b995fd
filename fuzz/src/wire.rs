//! Targets for `postier_core::wire`.

use postier_core::wire::dot::{NewlineWatch, Piece, Stuffer, Unstuffer};
use postier_core::wire::eol::{CrlfLen, ToCrlf, ToLf};
use postier_core::wire::lines::{self, Found, LineScanner};
use postier_core::wire::{base64, mutf7, quoted_printable, xtext};

use crate::assert_split_invariant;

/// Lines, with a limit that they often exceed and one that they do not.
pub fn wire_lines(data: &[u8]) {
    for max in [1, 5, 64] {
        assert_split_invariant(data, |pieces| scan(pieces, max));
    }
    let (scanned, rest) = scan(&[data], usize::MAX);
    let mut scanned: Vec<_> = scanned.into_iter().flatten().collect();
    if !rest.is_empty() {
        scanned.push(rest);
    }
    assert!(lines::iter(data).eq(scanned.iter().map(Vec::as_slice)));
}

/// The lines, `None` for each that is too long, and what is left of the buffer.
fn scan(pieces: &[&[u8]], max: usize) -> (Vec<Option<Vec<u8>>>, Vec<u8>) {
    let (mut scanner, mut buf, mut seen, mut skipping) = (LineScanner::new(), Vec::new(), Vec::new(), false);
    for piece in pieces {
        buf.extend_from_slice(piece);
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
                    assert!(end < next && next <= max);
                    seen.push(Some(buf[..end].to_vec()));
                    buf.drain(..next);
                }
                Found::Incomplete => break,
                Found::TooLong => {
                    seen.push(None);
                    skipping = true;
                }
            }
        }
        assert!(buf.len() < max);
    }
    (seen, buf)
}

/// The end of a message, its dots, its newlines; and the way back.
pub fn wire_dot(data: &[u8]) {
    let (_, ended, consumed) = assert_split_invariant(data, unstuff);
    let end = if data.starts_with(b".\r\n") {
        Some(3)
    } else {
        data.windows(5).position(|octets| octets == b"\r\n.\r\n").map(|at| at + 5)
    };
    assert_eq!(end, ended.then_some(consumed));

    assert_split_invariant(data, |pieces| {
        let mut watch = NewlineWatch::new();
        pieces.iter().for_each(|piece| watch.observe(piece));
        watch.bare_seen()
    });
    let stuffed = assert_split_invariant(data, |pieces| {
        let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
        pieces.iter().for_each(|piece| stuffer.feed(piece, &mut out));
        stuffer.finish(&mut out);
        out
    });
    let (body, ended, consumed) = unstuff(&[&stuffed]);
    assert!(ended && consumed == stuffed.len());
    let added = body.strip_prefix(data).expect("the message comes out again");
    let whole_lines = data.is_empty() || data.ends_with(b"\r\n");
    assert_eq!(added, if whole_lines { &b""[..] } else { b"\r\n" });
}

/// The message, whether it ended, how many octets were consumed.
fn unstuff(pieces: &[&[u8]]) -> (Vec<u8>, bool, usize) {
    let (mut unstuffer, mut body, mut total) = (Unstuffer::watching_newlines(), Vec::new(), 0);
    for piece in pieces {
        let mut input = *piece;
        loop {
            let (consumed, piece) = unstuffer.feed(input);
            input = &input[consumed..];
            total += consumed;
            match piece {
                Piece::Data(octets) => {
                    assert!(!octets.is_empty());
                    body.extend_from_slice(octets);
                }
                Piece::End => return (body, true, total),
                Piece::NeedMore => break,
            }
        }
        assert!(input.is_empty());
    }
    (body, false, total)
}

/// Line ends, there and back, and their size.
pub fn wire_eol(data: &[u8]) {
    let to_lf = |pieces: &[&[u8]]| {
        let (mut machine, mut out) = (ToLf::new(), Vec::new());
        pieces.iter().for_each(|piece| machine.feed(piece, &mut out));
        machine.finish(&mut out);
        out
    };
    let to_crlf = |pieces: &[&[u8]]| {
        let (mut machine, mut count, mut out) = (ToCrlf::new(), CrlfLen::new(), Vec::new());
        for piece in pieces {
            machine.feed(piece, &mut out);
            count.feed(piece);
        }
        assert_eq!(count.len(), out.len() as u64);
        out
    };
    let lf = assert_split_invariant(data, to_lf);
    let crlf = assert_split_invariant(data, to_crlf);
    assert_eq!(data.len() - lf.len(), data.windows(2).filter(|pair| pair == b"\r\n").count());
    assert_eq!(to_crlf(&[&crlf]), crlf, "nothing left to do");
    if !data.contains(&b'\r') {
        assert_eq!(to_lf(&[&crlf]), data);
    }
}

/// base64, strict and lenient.
pub fn wire_base64(data: &[u8]) {
    let decode_leniently = |pieces: &[&[u8]]| {
        let (mut decoder, mut out) = (base64::Decoder::new(), Vec::new());
        pieces.iter().for_each(|piece| decoder.feed(piece, &mut out));
        decoder.finish(&mut out);
        out
    };
    let lenient = assert_split_invariant(data, decode_leniently);
    assert!(lenient.len() <= data.len() / 4 * 3 + 2);
    if let Ok(strict) = base64::decode(data, data.len()) {
        assert_eq!(strict, lenient);
        assert_eq!(base64::encode(&strict).as_bytes(), data);
        if let Some(less) = strict.len().checked_sub(1) {
            assert_eq!(base64::decode(data, less), Err(base64::Error::TooLong));
        }
    }
    let spelling = base64::encode(data);
    assert_eq!(base64::decode(spelling.as_bytes(), data.len()).as_deref(), Ok(data));
    assert_eq!(decode_leniently(&[spelling.as_bytes()]), data);
}

/// Quoted-printable bodies.
pub fn wire_quoted_printable(data: &[u8]) {
    let decoded = assert_split_invariant(data, |pieces| {
        let (mut decoder, mut out) = (quoted_printable::Decoder::new(), Vec::new());
        pieces.iter().for_each(|piece| decoder.feed(piece, &mut out));
        decoder.finish(&mut out);
        out
    });
    assert!(decoded.len() <= data.len());
}

/// Mailbox names.
pub fn wire_mutf7(data: &[u8]) {
    if let Ok(name) = mutf7::decode(data) {
        assert_eq!(mutf7::encode(&name).as_bytes(), data);
        assert!(name.len() <= data.len() * 2);
    }
    if let Ok(name) = std::str::from_utf8(data) {
        let spelling = mutf7::encode(name);
        assert!(spelling.len() <= name.len() * 5);
        assert_eq!(mutf7::decode(spelling.as_bytes()).as_deref(), Ok(name));
    }
}

/// ENVID and ORCPT values.
pub fn wire_xtext(data: &[u8]) {
    if let Some(value) = xtext::decode(data) {
        let shortest = xtext::encode(&value);
        assert!(shortest.len() <= data.len());
        assert_eq!(xtext::decode(shortest.as_bytes()), Some(value));
    }
    assert_eq!(xtext::decode(xtext::encode(data).as_bytes()).as_deref(), Some(data));
}
