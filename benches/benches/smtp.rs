//! `postier_core::smtp`: the commands of a session, from octets to values, and smtp-proto beside it.
//!
//! Ours includes finding the lines; smtp-proto finds the line end while it reads.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postier_core::smtp::command::parse;
use postier_core::wire::lines::{Found, LineScanner};
use smtp_proto::Request;

const COMMANDS: &[(&str, &[u8])] = &[
    ("EHLO", b"EHLO mail.example.com\r\n"),
    ("MAIL", b"MAIL FROM:<someone@example.com> SIZE=34567 BODY=8BITMIME\r\n"),
    ("RCPT", b"RCPT TO:<somebody.else+tag@mail.example.org>\r\n"),
    ("RCPT with DSN", b"RCPT TO:<b@example.org> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+2Btag@example.org\r\n"),
    ("DATA", b"DATA\r\n"),
];

fn bench_commands(c: &mut Criterion) {
    let session: Vec<u8> = COMMANDS.iter().flat_map(|(_, line)| line.to_vec()).collect();
    for (name, octets) in COMMANDS.iter().copied().chain([("session of five", &session[..])]) {
        let mut group = c.benchmark_group(format!("smtp/command/{name}"));
        group.throughput(Throughput::Bytes(octets.len() as u64));
        group.bench_function("postier", |b| {
            b.iter(|| {
                let (mut scanner, mut rest) = (LineScanner::new(), black_box(octets));
                while let Found::Line { end, next } = scanner.find(rest, 4096) {
                    black_box(parse(&rest[..end]).expect("a command"));
                    rest = &rest[next..];
                }
            })
        });
        group.bench_function("peer: smtp-proto", |b| {
            b.iter(|| {
                let mut rest = black_box(octets).iter();
                while !rest.as_slice().is_empty() {
                    black_box(Request::parse(&mut rest).expect("a command"));
                }
            })
        });
        group.finish();
    }
}

criterion_group!(smtp, bench_commands);
criterion_main!(smtp);
