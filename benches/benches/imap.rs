//! `postier_core::imap`: finding a command in the receive buffer and parsing it, with imap-codec side by side.
//!
//! imap-codec parses without looking for the end first. So that the comparison is fair, ours is found and
//! parsed.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use imap_codec::decode::Decoder;
use imap_codec::{CommandCodec, IdleDoneCodec};
use postier_core::imap::command::{is_done, parse};
use postier_core::imap::list::ListPattern;
use postier_core::imap::scanner::{CommandScanner, Scan, ScanLimits};

const LIMITS: ScanLimits = ScanLimits { command_bytes: 65_536, literal_bytes: 65_536 };

const COMMANDS: &[(&str, &[u8])] = &[
    ("NOOP", b"A001 NOOP\r\n"),
    ("LOGOUT", b"A009 LOGOUT\r\n"),
    ("CAPABILITY", b"A010 CAPABILITY\r\n"),
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
    ("STATUS", b"A011 STATUS \"Archive.2026\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)\r\n"),
    ("COPY", b"A012 UID COPY 4827,4830:4833 \"Archive.2026\"\r\n"),
];

/// What a mail client says from login to logout: it looks at its mailboxes, fetches what is new, reads two mails,
/// files one, searches, and waits in between. IDLE is ended by a line of its own.
const SESSION: &[&[u8]] = &[
    b"1 CAPABILITY\r\n",
    b"2 LOGIN \"somebody@example.org\" \"correct horse 12\"\r\n",
    b"3 LIST \"\" \"*\"\r\n",
    b"4 SELECT INBOX\r\n",
    b"5 UID FETCH 1:* (FLAGS)\r\n",
    b"6 UID FETCH 4827:4833 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date \
      Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])\r\n",
    b"7 IDLE\r\n",
    b"DONE\r\n",
    b"8 UID FETCH 4833 (UID RFC822.SIZE BODY.PEEK[])\r\n",
    b"9 UID STORE 4833 +FLAGS (\\Seen)\r\n",
    b"10 UID FETCH 4831 (UID RFC822.SIZE BODY.PEEK[])\r\n",
    b"11 UID STORE 4831 +FLAGS (\\Seen)\r\n",
    b"12 UID COPY 4831 \"Archive.2026\"\r\n",
    b"13 UID STORE 4831 +FLAGS.SILENT (\\Deleted)\r\n",
    b"14 UID SEARCH UNDELETED SINCE 1-Feb-1994 OR FROM \"smith\" SUBJECT \"the fair\"\r\n",
    b"15 STATUS \"Archive.2026\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)\r\n",
    b"16 NOOP\r\n",
    b"17 IDLE\r\n",
    b"DONE\r\n",
    b"18 LOGOUT\r\n",
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

fn bench_session(c: &mut Criterion) {
    let mut group = c.benchmark_group("imap/command/a client's session");
    let is_done_line = |line: &&[u8]| *line == b"DONE\r\n";
    group.bench_function("peer: imap-codec", |b| {
        let (codec, idle) = (CommandCodec::default(), IdleDoneCodec::default());
        b.iter(|| {
            for line in black_box(SESSION) {
                match is_done_line(line) {
                    true => drop(black_box(idle.decode(line).expect("DONE"))),
                    false => drop(black_box(codec.decode(line).expect("a command"))),
                }
            }
        })
    });
    group.bench_function("scan and parse", |b| {
        let mut scanner = CommandScanner::new();
        b.iter(|| {
            for line in black_box(SESSION) {
                let scan = match is_done_line(line) {
                    true => scanner.scan_line(line, LIMITS.command_bytes),
                    false => scanner.scan(line, &LIMITS),
                };
                let Scan::Complete { len } = scan else { panic!("{line:?}") };
                match is_done_line(line) {
                    true => assert!(black_box(is_done(&line[..len]))),
                    false => drop(black_box(parse(&line[..len]).expect("a command"))),
                }
            }
        })
    });
    group.finish();
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
    targets = bench_commands, bench_session, bench_list
}
criterion_main!(benches);
