use alloc::format;
use alloc::string::String;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::mime::bodystructure;
use crate::mime::structure::Piece;

fn parse(message: &[u8]) -> Structure {
    parse_slices(&[message])
}

fn parse_slices(slices: &[&[u8]]) -> Structure {
    let mut parser = StructureParser::new();
    slices.iter().for_each(|slice| parser.feed(slice));
    parser.finish()
}

fn show(structure: &Structure) -> String {
    let mut out = Vec::new();
    bodystructure::write(&mut out, structure, true);
    String::from_utf8_lossy(&out).into_owned()
}

/// Each part as `depth kind type [body]`, with its body when it is a leaf.
fn tree(message: &str) -> Vec<String> {
    let structure = parse(message.as_bytes());
    let parts = structure.parts();
    let line = |part: &Part| {
        let mut depth = 0;
        let mut up = part.parent;
        while let Some(parent) = up {
            (depth, up) = (depth + 1, parts[parent].parent);
        }
        let kind = part.content.content_type.as_ref().map_or(&b"-"[..], |field| &field.value);
        let body = String::from_utf8_lossy(part.body.of(message.as_bytes())).into_owned();
        let body = if part.kind == Kind::Leaf { format!(" {body:?}") } else { String::new() };
        format!("{depth} {}{body}", String::from_utf8_lossy(kind))
    };
    parts.iter().map(line).collect()
}

/// RFC 2046 §5.1.1.
const SIMPLE: &str = "\
From: Nathaniel Borenstein <nsb@bellcore.com>
To: Ned Freed <ned@innosoft.com>
Date: Sun, 21 Mar 1993 23:56:48 -0800 (PST)
Subject: Sample message
MIME-Version: 1.0
Content-type: multipart/mixed; boundary=\"simple boundary\"

This is the preamble.  It is to be ignored.

--simple boundary

This is implicitly typed plain US-ASCII text.
It does NOT end with a linebreak.
--simple boundary
Content-type: text/plain; charset=us-ascii

This is explicitly typed plain US-ASCII text.
It DOES end with a linebreak.

--simple boundary--

This is the epilogue.  It is also to be ignored.
";

#[test]
fn rfc2046_sample() {
    let expected = [
        "0 multipart/mixed",
        "1 - \"This is implicitly typed plain US-ASCII text.\\nIt does NOT end with a linebreak.\"",
        "1 text/plain \"This is explicitly typed plain US-ASCII text.\\nIt DOES end with a linebreak.\\n\"",
    ];
    assert_eq!(tree(SIMPLE), expected);
    let structure = parse(SIMPLE.as_bytes());
    let second = structure.section(&[2], Piece::Full).unwrap();
    assert_eq!((second.crlf_bytes(), second.lines()), (78, 2));
    let mime = structure.section(&[2], Piece::Mime).unwrap();
    assert_eq!(mime.of(SIMPLE.as_bytes()), b"Content-type: text/plain; charset=us-ascii\n\n");
}

/// The numbering example of RFC 9051 §6.4.5.1.
const NUMBERED: &str = "\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=A
Subject: root

--A
Content-Type: text/plain

one
--A
Content-Type: application/octet-stream

two
--A
Content-Type: message/rfc822

Subject: three
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=B

--B

three.one
--B
Content-Type: application/octet-stream

three.two
--B--
--A
Content-Type: multipart/mixed; boundary=C

--C
Content-Type: image/gif

four.one
--C
Content-Type: message/rfc822

Subject: four.two
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=D

--D

four.two.one
--D
Content-Type: multipart/alternative; boundary=E

--E

four.two.two.one
--E
Content-Type: text/richtext

four.two.two.two
--E--
--D--
--C--
--A--
";

#[test]
fn section_numbers() {
    let structure = parse(NUMBERED.as_bytes());
    let text = |numbers: &[u32], piece| {
        let span = structure.section(numbers, piece)?;
        Some(core::str::from_utf8(span.of(NUMBERED.as_bytes())).unwrap())
    };
    for (numbers, body) in [
        (&[1][..], "one"),
        (&[2], "two"),
        (&[3, 1], "three.one"),
        (&[3, 2], "three.two"),
        (&[4, 1], "four.one"),
        (&[4, 2, 1], "four.two.one"),
        (&[4, 2, 2, 1], "four.two.two.one"),
        (&[4, 2, 2, 2], "four.two.two.two"),
    ] {
        assert_eq!(text(numbers, Piece::Full), Some(body), "{numbers:?}");
        assert_eq!(text(numbers, Piece::Text), None, "{numbers:?}");
        assert_eq!(text(numbers, Piece::Header), None, "{numbers:?}");
    }
    assert_eq!(text(&[], Piece::Full), Some(NUMBERED));
    assert!(text(&[], Piece::Header).unwrap().ends_with("Subject: root\n\n"));
    assert!(text(&[], Piece::Text).unwrap().starts_with("--A\n"));
    assert_eq!(text(&[], Piece::Mime), None);
    let header = text(&[3], Piece::Header).unwrap();
    assert!(header.starts_with("Subject: three\n") && header.ends_with("boundary=B\n\n"));
    assert!(text(&[4, 2], Piece::Text).unwrap().starts_with("--D\n"));
    assert!(text(&[4, 2], Piece::Full).unwrap().starts_with("Subject: four.two\n"));
    assert_eq!(text(&[4, 2, 2, 2], Piece::Mime), Some("Content-Type: text/richtext\n\n"));
    for none in [&[0][..], &[5], &[1, 1], &[3, 3], &[3, 0], &[4, 2, 3], &[u32::MAX], &[3, 1, 1]] {
        assert_eq!(text(none, Piece::Full), None, "{none:?}");
    }
}

#[test]
fn a_message_that_is_no_multipart_has_part_1() {
    let plain = parse(b"Subject: x\n\nbody\n");
    assert_eq!(plain.section(&[1], Piece::Full), plain.section(&[], Piece::Text));
    assert_eq!(plain.section(&[1], Piece::Mime), plain.section(&[], Piece::Header));
    assert_eq!(plain.section(&[1, 1], Piece::Full), None);
    assert_eq!(plain.section(&[2], Piece::Full), None);
    let forwarded = b"Content-Type: message/rfc822\n\nSubject: in\n\nbody\n";
    let structure = parse(forwarded);
    let text = |numbers: &[u32], piece| structure.section(numbers, piece).map(|span| span.of(forwarded));
    assert_eq!(text(&[1], Piece::Header), Some(&b"Subject: in\n\n"[..]));
    assert_eq!(text(&[1, 1], Piece::Full), Some(&b"body\n"[..]));
    assert_eq!(text(&[1, 1, 1], Piece::Full), None);
}

#[test]
fn broken_multiparts() {
    let cases: [(&str, &[&str]); 16] = [
        ("", &["0 - \"\""]),
        ("Content-Type: multipart/mixed; boundary=a\n", &["0 multipart/mixed"]),
        ("Content-Type: multipart/mixed\n\n--\nx\n", &["0 multipart/mixed \"--\\nx\\n\""]),
        ("Content-Type: multipart/mixed; boundary=\"\"\n\n--\nx\n", &["0 multipart/mixed \"--\\nx\\n\""]),
        (
            "Content-Type: multipart/mixed; boundary*0*=us-ascii''%61; boundary*1=b\n\n--ab\n\nx\n--ab--\n",
            &["0 multipart/mixed", "1 - \"x\""],
        ),
        // The inner multipart of the same boundary wins.
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/x; boundary=a\n\n--a\n\nx\n--a--\n",
            &["0 multipart/mixed", "1 multipart/x", "2 - \"x\""],
        ),
        // No end boundary.
        ("Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n", &["0 multipart/mixed", "1 - \"x\\n\""]),
        // The boundary of one is the beginning of another's, both ways round.
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=ab\n\n\
                --ab\n\nx\n--abc\n\ny\n--ab--\n--a b\n\nz\n--a--\n",
            &["0 multipart/mixed", "1 multipart/mixed", "2 - \"x\"", "2 - \"y\"", "1 - \"z\""],
        ),
        (
            "Content-Type: multipart/mixed; boundary=a--\n\n--a--\nContent-Type: multipart/mixed; boundary=a\n\n\
                --a\n\nx\n--a--\n\ny\n--a----\n",
            &["0 multipart/mixed", "1 multipart/mixed", "2 - \"x\"", "1 - \"y\""],
        ),
        // The inner one never ends; the outer boundary ends it.
        (
            "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/x; boundary=i\n\n--i\n\nx\n--o\n\ny\n--o--\n",
            &["0 multipart/mixed", "1 multipart/x", "2 - \"x\"", "1 - \"y\""],
        ),
        // A boundary inside of a header, and one right after another.
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/x\n--a\n--a  \t\n\n--a--",
            &["0 multipart/mixed", "1 text/x \"\"", "1 - \"\"", "1 - \"\""],
        ),
        // A message without anything in it.
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\n--a--\n",
            &["0 multipart/mixed", "1 message/rfc822", "2 - \"\""],
        ),
        (
            "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: x\n\ny\n--a\nContent-Type: text/x\n\nz\n--a--\n",
            &["0 multipart/digest", "1 message/rfc822", "2 - \"y\"", "1 text/x \"z\""],
        ),
        // Not in place, so not looked into.
        (
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDog\n",
            &["0 message/rfc822 \"U3ViamVjdDog\\n\""],
        ),
        ("Content-Transfer-Encoding: base64\nContent-ID: x\n\nx", &["0 - \"x\""]),
        // The end boundary of one that has ended is text of the one around it.
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a--\n--a\n\ny\n",
            &["0 multipart/mixed", "1 - \"x\""],
        ),
    ];
    for (message, expected) in cases {
        assert_eq!(tree(message), expected, "{message}");
        let crlf = message.replace('\n', "\r\n");
        assert_eq!(show(&parse(crlf.as_bytes())), show(&parse(message.as_bytes())), "{message}");
    }
}

/// RFC 2046 §5.1.1: the line end before a boundary is the boundary's, even if a header wants it for its empty line.
#[test]
fn a_header_right_before_a_boundary_has_no_empty_line() {
    for (part, header, body_bytes) in [
        ("X: y\n\nz", "X: y\n\n", 1),
        ("X: y\n\n", "X: y\n\n", 0),
        ("X: y\n", "X: y\n", 0),
        ("X: y", "X: y", 0),
        ("", "", 0),
        ("\n", "\n", 0),
        ("Content-Type: message/rfc822\n", "Content-Type: message/rfc822\n", 0),
        ("Content-Type: message/rfc822\n\nS: x", "Content-Type: message/rfc822\n\n", 4),
        ("Content-Type: multipart/x; boundary=c\n", "Content-Type: multipart/x; boundary=c\n", 0),
    ] {
        let message = format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n{part}\n--b--\n");
        let structure = parse(message.as_bytes());
        let mime = structure.section(&[1], Piece::Mime).unwrap();
        let full = structure.section(&[1], Piece::Full).unwrap();
        let seen = String::from_utf8_lossy(mime.of(message.as_bytes())).into_owned();
        assert_eq!((&*seen, full.crlf_bytes()), (header, body_bytes), "{part:?}");
        assert_eq!(mime.end, full.start, "{part:?}");
    }
    // A message is never before the part it is in.
    let digest = parse(b"Content-Type: multipart/digest; boundary=b\n\n--b\n--b\n");
    assert_eq!(digest.parts()[2].header.start, digest.parts()[1].header.start);
}

/// What BODYSTRUCTURE shows can be fetched.
#[test]
fn a_multipart_without_parts_has_an_empty_part_1() {
    let empty = "Content-Type: multipart/x; boundary=c\n\n";
    for (message, numbers) in [
        (format!("{empty}x\n"), &[1][..]),
        (format!("Content-Type: multipart/y; boundary=b\n\n--b\n{empty}\n--b--\n"), &[1, 1]),
        (
            format!("Content-Type: multipart/y; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n{empty}"),
            &[1, 1],
        ),
    ] {
        let structure = parse(message.as_bytes());
        for (piece, bytes) in
            [(Piece::Full, Some(0)), (Piece::Mime, Some(0)), (Piece::Header, None), (Piece::Text, None)]
        {
            let span = structure.section(numbers, piece);
            assert_eq!(span.map(|span| span.crlf_bytes()), bytes, "{message:?} {piece:?}");
        }
        let (mut second, mut below) = (numbers.to_vec(), numbers.to_vec());
        *second.last_mut().unwrap() = 2;
        below.push(1);
        assert_eq!(structure.section(&second, Piece::Full), None);
        assert_eq!(structure.section(&below, Piece::Full), None);
    }
}

#[test]
fn nesting_has_a_limit() {
    let mut message = String::new();
    for depth in 0..DEPTH_MAX + 10 {
        message += &format!("Content-Type: multipart/mixed; boundary=b{depth:03}\n\n--b{depth:03}\n");
    }
    let structure = parse(message.as_bytes());
    assert_eq!(structure.parts().len(), DEPTH_MAX);
    assert!(show(&structure).starts_with(&"(".repeat(DEPTH_MAX)));
    let forwards = "Content-Type: message/rfc822\n\n".repeat(DEPTH_MAX + 10);
    let structure = parse(forwards.as_bytes());
    assert_eq!(structure.parts().len(), DEPTH_MAX);
    assert!(show(&structure).contains(r#"("application" "octet-stream" NIL"#));
}

#[test]
fn parts_have_a_limit() {
    let mut message = String::from("Content-Type: multipart/mixed; boundary=b\n\n");
    message += &"--b\n\nx\n".repeat(PARTS_MAX + 10);
    let structure = parse(message.as_bytes());
    assert_eq!(structure.parts().len(), PARTS_MAX);
    assert_eq!(structure.root().body.end.offset, message.len() as u64);
    assert_eq!(structure.parts().last().unwrap().body.end, structure.root().body.end);
}

#[test]
fn messages_inside_count_as_parts() {
    let mut message = String::from("Content-Type: multipart/digest; boundary=b\n\n");
    message += &"--b\n\n\nx\n".repeat(PARTS_MAX);
    assert_eq!(parse(message.as_bytes()).parts().len(), PARTS_MAX);
}

#[test]
fn the_longest_boundary_is_found_in_any_segmentation() {
    let long = "b".repeat(BOUNDARY_BYTES_MAX);
    let part = format!("--{long}\n\nx\n--{long}--{}\n--{long}\n\ny\n", " junk".repeat(100));
    for (boundary, count) in [(long.clone(), 2), (format!("{long}b"), 1)] {
        let message = format!("Content-Type: multipart/mixed; boundary={boundary}\n\n{part}");
        let bytes: Vec<_> = message.as_bytes().chunks(1).collect();
        assert_eq!(parse_slices(&bytes).parts().len(), count);
        assert_eq!(parse(message.as_bytes()).parts().len(), count);
    }
}

#[test]
fn header_values_have_a_limit() {
    let mut parser = StructureParser::new();
    parser.feed(b"Content-Type: multipart/mixed; boundary=b\nSubject: ");
    // Longer than one field may be; then many fields.
    parser.feed(&vec![b's'; 3 * FIELD_BYTES_MAX]);
    parser.feed(b"\n");
    for _ in 0..1000 {
        parser.feed(b"\n--b\nContent-Description: ");
        parser.feed(&[b'd'; 4000]);
        assert!(parser.field.capacity() + parser.line.kept.capacity() <= 5 * FIELD_BYTES_MAX);
    }
    // Line ends of a folded one count, too.
    parser.feed(&b"\n ".repeat(10 * FIELD_BYTES_MAX));
    assert!(parser.field.len() <= FIELD_BYTES_MAX);
    parser.feed(b"\n\n");
    parser.feed(&vec![b'x'; 10 * FIELD_BYTES_MAX]);
    assert!(parser.line.kept.len() <= BODY_LINE_BYTES_MAX);
    let structure = parser.finish();
    let subject = structure.root().envelope.as_ref().unwrap().subject.as_ref().unwrap();
    assert_eq!(subject.len(), FIELD_BYTES_MAX - "Subject: ".len());
    let kept = |part: &Part| part.content.description.as_ref().map_or(0, Vec::len);
    let total: usize = structure.parts().iter().map(kept).sum();
    assert!(total <= KEPT_BYTES_MAX && total > KEPT_BYTES_MAX / 2);
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(
        &[
            "Content-Type: multipart/mixed; boundary=a\n",
            "Content-Type: multipart/digest;\n boundary=\"ab\"\n",
            "Content-Type: message/rfc822\n",
            "MIME-Version: 1.0\n",
            "Subject: x\r\n",
            "--a\n",
            "--ab\r\n",
            "--a--\n",
            "--ab--\n",
            "--a",
            "-",
            "\n",
            "\r\n",
            "\r",
            "text",
            " folded\n",
            "junk\n",
            "\u{e9}\0",
            "Content-Type: multipart/mixed; boundary=a\n\n--a\n",
        ][..],
    );
    proptest::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_segmentation(message in pieces(), cuts in proptest::collection::vec(any::<usize>(), 0..10)) {
        let whole = parse(&message);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (message.len() + 1)).collect();
        cuts.extend([0, message.len()]);
        cuts.sort_unstable();
        let slices: Vec<_> = cuts.windows(2).map(|pair| &message[pair[0]..pair[1]]).collect();
        prop_assert_eq!(&parse_slices(&slices), &whole);
        let bytes: Vec<_> = message.chunks(1).collect();
        prop_assert_eq!(&parse_slices(&bytes), &whole);
    }

    /// The same message with other line ends is the same to IMAP.
    #[test]
    fn line_ends_do_not_matter(message in pieces()) {
        let text = String::from_utf8(message).unwrap().replace('\r', "");
        let (lf, crlf) = (parse(text.as_bytes()), parse(text.replace('\n', "\r\n").as_bytes()));
        prop_assert_eq!(show(&lf), show(&crlf));
        for (lf, crlf) in lf.parts().iter().zip(crlf.parts()) {
            prop_assert_eq!(lf.body.start.crlf_offset(), crlf.body.start.offset);
            prop_assert_eq!(lf.body.crlf_bytes(), crlf.body.crlf_bytes());
            prop_assert_eq!(crlf.body.end.bare_lf, 0);
        }
    }

    /// Spans lie inside of each other and in order, their counts are true, and the tree is a tree.
    #[test]
    fn spans_are_true(message in pieces()) {
        let structure = parse(&message);
        let parts = structure.parts();
        prop_assert_eq!(parts[0].header.start.offset, 0);
        prop_assert_eq!(parts[0].body.end.offset, message.len() as u64);
        for (index, part) in parts.iter().enumerate() {
            prop_assert_eq!(part.header.end, part.body.start);
            for span in [part.header, part.body] {
                let bytes = span.of(&message);
                prop_assert_eq!(bytes.len() as u64, span.end.offset - span.start.offset);
                prop_assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count() as u64, span.lines());
                let crlf = bytes.windows(2).filter(|pair| pair == b"\r\n").count() as u64;
                prop_assert_eq!(span.crlf_bytes(), bytes.len() as u64 + span.lines() - crlf);
            }
            if let Some(parent) = part.parent {
                let around = parts[parent].body;
                prop_assert!(parent < index);
                prop_assert!(around.start.offset <= part.header.start.offset);
                prop_assert!(part.body.end.offset <= around.end.offset);
            }
            if let Some(next) = part.next_sibling {
                prop_assert_eq!(parts[next].parent, part.parent);
                prop_assert!(part.body.end.offset <= parts[next].header.start.offset);
            }
            prop_assert_eq!(part.kind == Kind::Leaf, part.first_child.is_none() && part.kind != Kind::Multipart);
        }
        show(&structure);
    }
}
