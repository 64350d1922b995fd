//! `postier_core::imap`: finding a command in the receive buffer and parsing it, with imap-codec side by side.
//!
//! imap-codec parses without looking for the end first. So that the comparison is fair, ours is found and
//! parsed.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use postier_core::imap::command::parse;
use postier_core::imap::list::ListPattern;
use postier_core::imap::scanner::{CommandScanner, Scan, ScanLimits};

const LIMITS: ScanLimits = ScanLimits { command_bytes: 65_536, literal_bytes: 65_536 };

const COMMANDS: &[(&str, &[u8])] = &[
    ("NOOP", b"A001 NOOP\r\n"),
    ("SELECT", b"A002 SELECT INBOX\r\n"),
    ("LOGIN", b"A003 LOGIN \"somebody@example.org\" {16+}\r\ncorrect horse 12\r\n"),
    ("STORE", b"A004 UID STORE 1234:1240,1300 +FLAGS.SILENT (\\Seen \\Deleted)\r\n"),
    (
        "UID FETCH",
        b"A005 UID FETCH 1:*,17,19:23 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject \
          Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])\r\n",
    ),
    ("FETCH flags", b"A006 UID FETCH 1:* (FLAGS)\r\n"),
    ("SEARCH", b"A007 UID SEARCH UNDELETED SINCE 1-Feb-1994 OR FROM \"smith\" SUBJECT \"the fair\"\r\n"),
    ("LIST", b"A008 LIST \"\" \"*\"\r\n"),
];

fn bench_commands(c: &mut Criterion) {
    for (name, command) in COMMANDS {
        let mut group = c.benchmark_group(format!("imap/command/{name}"));
        group.bench_function("peer: imap-codec", |b| {
            let codec = CommandCodec::default();
            b.iter(|| codec.decode(black_box(command)).expect("a command"))
        });
        group.bench_function("scan and parse", |b| {
            let mut scanner = CommandScanner::new();
            b.iter(|| {
                let Scan::Complete { len } = scanner.scan(black_box(command), &LIMITS) else {
                    panic!("{name}")
                };
                parse(&command[..len]).expect("a command")
            })
        });
        group.finish();
    }
}

fn bench_list(c: &mut Criterion) {
    let pattern = ListPattern::new(b"", b"Archive.*.invoices%", b'.').expect("short");
    c.bench_function("imap/list/one name", |b| {
        b.iter(|| pattern.matches(black_box(b"Archive.2026.November.invoices")))
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = bench_commands, bench_list
}
criterion_main!(benches);
