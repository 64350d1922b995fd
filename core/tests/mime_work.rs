//! What mail can make the MIME parsers do: hostile messages cost memory within the limits, no stack, and work that grows
//! no faster than they do. Work is counted in instructions by valgrind, so that a busy machine changes nothing.

use std::env;
use std::process::Command;

use postier_core::mime::base_subject::BaseSubject;
use postier_core::mime::message_id::message_ids;
use postier_core::mime::preview::preview;
use postier_core::mime::structure::{Piece, Structure};
use postier_core::mime::structure_parser::{DEPTH_MAX, PARTS_MAX, StructureParser};
use postier_core::mime::unbinary::Unbinary;
use postier_core::mime::{bodystructure, encoded_word, envelope, header, param, text};

const MULTIPART: &str = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n";

/// Multiparts or messages inside each other.
fn deep_multiparts(depth: usize) -> String {
    (0..depth).map(|at| format!("Content-Type: multipart/mixed; boundary=b{at}x\n\n--b{at}x\n")).collect()
}

fn deep_messages(depth: usize) -> String {
    "Content-Type: message/rfc822\n\n".repeat(depth)
}

/// A field of `unit` over and over.
fn field(name: &str, unit: &str, octets: usize) -> String {
    format!("MIME-Version: 1.0\n{name}: {}\nX: y\n\nbody\n", unit.repeat(octets / unit.len()))
}

/// A part of `unit` over and over.
fn parts(unit: &str, octets: usize) -> String {
    format!("{MULTIPART}{}", unit.repeat(octets / unit.len()))
}

/// Makes a message of about so many octets.
type Maker = fn(usize) -> String;

/// Hostile messages by name.
const CASES: &[(&str, Maker)] = &[
    ("deep multiparts", |octets| deep_multiparts(octets / 60)),
    ("deep messages", |octets| deep_messages(octets / 30)),
    ("deep multiparts, then lines", |octets| {
        format!("{}{}", deep_multiparts(DEPTH_MAX), "--b\n".repeat(octets / 4))
    }),
    ("tiny parts", |octets| parts("--b\n", octets)),
    ("tiny parts with fields", |octets| parts("--b\nContent-Type: a/b; c=d\n\nx\n", octets)),
    ("parts that are messages", |octets| parts("--b\nContent-Type: message/rfc822\n\n\n", octets)),
    ("dashes", |octets| parts("--", octets)),
    ("long subject", |octets| field("Subject", "word ", octets)),
    ("folded subject", |octets| field("Subject", "word\n ", octets)),
    ("empty continuations", |octets| field("Subject", "\n ", octets)),
    ("many subjects", |octets| "Subject: [a] Re: x\n".repeat(octets / 19)),
    ("many fields", |octets| "A: b\n".repeat(octets / 5)),
    ("lines that are no fields", |octets| "a\n".repeat(octets / 2)),
    ("many recipients", |octets| "To: a@b,\n".repeat(octets / 9)),
    ("recipients", |octets| field("To", "A <a@b>, ", octets)),
    ("commas", |octets| field("To", ",", octets)),
    ("open comments", |octets| field("To", "(", octets)),
    ("quotes and comments", |octets| field("To", "\"(", octets)),
    ("angles", |octets| field("To", "<", octets)),
    ("routes", |octets| field("To", "@,", octets)),
    ("brackets", |octets| field("To", "[", octets)),
    ("backslashes", |octets| field("To", "\\", octets)),
    ("groups", |octets| field("To", "a:", octets)),
    ("encoded words", |octets| field("Subject", "=?utf-8?q?a?= ", octets)),
    ("encoded words that never end", |octets| field("Subject", "=?utf-8?q?", octets)),
    ("begins of encoded words", |octets| field("Subject", "=?", octets)),
    ("replies", |octets| field("Subject", "Re: [a] ", octets)),
    ("ids", |octets| field("References", "<a@b> ", octets)),
    ("open ids", |octets| field("References", "<a@", octets)),
    ("parameters", |octets| field("Content-Type", "; a=b", octets)),
    ("continued parameters", |octets| field("Content-Type", "; a*0*=b", octets)),
    ("semicolons", |octets| field("Content-Type", ";", octets)),
    ("words for a value", |octets| field("Content-Disposition", "a; b=c d e f g h i j k", octets)),
    ("white space in a value", |octets| {
        format!("{MULTIPART}--b\nContent-Type: a/b; c=d{}e\n\n", " ".repeat(octets))
    }),
    ("comments in a type", |octets| field("Content-Type", "(", octets)),
    ("languages", |octets| field("Content-Language", "de,", octets)),
    ("many dispositions", |octets| "Content-Disposition: a; b=c\n".repeat(octets / 28)),
    ("markup", |octets| {
        format!("MIME-Version: 1.0\nContent-Type: text/html\n\n{}", "<a ".repeat(octets / 3))
    }),
    ("quotations", |octets| format!("A: b\n\n{}", "> a\n".repeat(octets / 4))),
];

fn structure(message: &[u8]) -> Structure {
    let mut parser = StructureParser::new();
    message.chunks(4096).for_each(|slice| parser.feed(slice));
    parser.finish()
}

/// Everything that FETCH, SEARCH, SORT, THREAD and APPEND do with a message.
fn work(message: &[u8]) -> usize {
    let structure = structure(message);
    let mut out = Vec::new();
    bodystructure::write(&mut out, &structure, true);
    envelope::Envelope::from_header(message).write(&mut out);
    text::write_header(&mut out, message, |name| name.len().is_multiple_of(2));
    let mut octets = out.len();
    for part in structure.parts() {
        let content = &part.content;
        for field in content.content_type.iter().chain(&content.disposition) {
            octets += param::decoded(&field.params, b"name").map_or(0, |text| text.len());
        }
    }
    for part in structure.text_parts() {
        text::decode_part(part, message, |piece| octets += piece.len());
    }
    for field in header::fields(message) {
        octets += encoded_word::decode(field.value).len() + message_ids(field.value).count();
        BaseSubject::of(field.value);
    }
    octets += preview(message).len();
    let (mut unbinary, mut stored) = (Unbinary::new(), Vec::new());
    message.chunks(4096).for_each(|slice| unbinary.feed(slice, &mut stored));
    unbinary.finish(&mut stored);
    octets + stored.len()
}

/// Ten thousand deep, a million parts, 10 MB of header: on a stack for almost nothing.
#[test]
fn huge_messages_need_no_stack_and_keep_the_limits() {
    let test = || {
        for message in [deep_multiparts(10_000), deep_messages(10_000)] {
            assert_eq!(structure(message.as_bytes()).parts().len(), DEPTH_MAX);
            work(message.as_bytes());
        }
        let million = structure(parts("--b\n\n", 5_000_000).as_bytes());
        assert_eq!(million.parts().len(), PARTS_MAX);
        let last = u32::try_from(PARTS_MAX - 1).unwrap();
        assert!(million.section(&[last], Piece::Full).is_some());
        assert!(million.section(&[last + 1], Piece::Full).is_none());
        for unit in ["word ", "word\n ", "\n "] {
            let header = field("Subject", unit, 10_000_000);
            let structure = structure(header.as_bytes());
            let subject = structure.root().envelope.as_ref().unwrap().subject.as_ref().unwrap();
            assert!(subject.len() <= envelope::ENVELOPE_FIELD_BYTES_MAX);
            // The field after it is still seen, and the body.
            assert!(structure.root().body.of(header.as_bytes()) == b"body\n");
        }
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(test).unwrap().join().unwrap();
}

/// Not a test of its own: what valgrind counts, told by the environment.
#[test]
#[ignore = "run under valgrind by work_grows_no_faster_than_the_message"]
fn worker() {
    let (Ok(case), Ok(octets)) = (env::var("POSTIER_WORK_CASE"), env::var("POSTIER_WORK_OCTETS")) else {
        return;
    };
    let (_, make) = CASES.iter().find(|(name, _)| *name == case).unwrap();
    work(make(octets.parse().unwrap()).as_bytes());
}

/// Instructions of one worker.
fn instructions(case: &str, octets: usize) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(env::current_exe().unwrap());
    valgrind.args(["--exact", "worker", "--ignored", "--test-threads=1"]);
    let output = valgrind
        .env("POSTIER_WORK_CASE", case)
        .env("POSTIER_WORK_OCTETS", octets.to_string())
        .output()
        .expect("valgrind");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {said}");
    let (_, count) = said.split_once("Collected : ").unwrap_or_else(|| panic!("{case}: {said}"));
    count.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs valgrind; takes three minutes"]
fn work_grows_no_faster_than_the_message() {
    // Below and above what is kept of a field.
    const SIZES: [usize; 3] = [8_000, 32_000, 128_000];
    let mut bad = String::new();
    for (case, _) in CASES {
        let start = instructions(case, 0);
        let counts = SIZES.map(|octets| instructions(case, octets).saturating_sub(start));
        println!("{case}: {counts:?}");
        // Four times the octets: four times the work and a little for what grows in powers of two.
        if counts[1] > 5 * counts[0] + 2_000_000 || counts[2] > 5 * counts[1] + 2_000_000 {
            bad += &format!("{case}: {counts:?} instructions for {SIZES:?} octets\n");
        }
    }
    assert!(bad.is_empty(), "{bad}");
}
