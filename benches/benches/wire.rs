//! `postier_core::wire`, with memchr alone and smtp-proto measured side by side.
//!
//! The text is lines of 60 octets with their CRLF, and one line in fifty starts with a dot (not the first:
//! there smtp-proto 0.2.5 would leave it). Everything is in octets of input per second.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postier_core::wire::base64;
use postier_core::wire::dot::{Piece, Stuffer, Unstuffer};
use postier_core::wire::eol::{ToCrlf, ToLf, crlf_len};
use postier_core::wire::lines::{self, Found, LineScanner};
use postier_core::wire::quoted_printable;
use smtp_proto::request::receiver::DataReceiver;

const LINES: usize = 17_000;

fn text_of_lines() -> Vec<u8> {
    let mut text = Vec::new();
    for line in 0..LINES {
        text.extend_from_slice(if line % 50 == 49 { b".." } else { b"It" });
        text.extend_from_slice(b" was the best of times, it was the worst of times. The ,\r\n");
    }
    text
}

fn bench_lines(c: &mut Criterion) {
    let text = text_of_lines();
    let mut group = c.benchmark_group("wire/lines");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("peer: memchr_iter alone", |b| {
        b.iter(|| memchr::memchr_iter(b'\n', black_box(&text)).fold(0, |sum, at| sum ^ at))
    });
    group.bench_function("lines::iter", |b| {
        b.iter(|| lines::iter(black_box(&text)).fold(0, |sum, line| sum ^ line.len()))
    });
    group.bench_function("LineScanner", |b| {
        b.iter(|| {
            let (mut scanner, mut rest, mut sum) = (LineScanner::new(), black_box(&text[..]), 0);
            while let Found::Line { end, next } = scanner.find(rest, 1000) {
                sum ^= end;
                rest = &rest[next..];
            }
            sum
        })
    });
    group.finish();
}

/// Lends each piece of the message to `take`, as a session does.
fn unstuff(mut unstuffer: Unstuffer, input: &[u8], segment: usize, mut take: impl FnMut(&[u8])) -> bool {
    for mut input in input.chunks(segment) {
        loop {
            let (consumed, piece) = unstuffer.feed(input);
            input = &input[consumed..];
            match piece {
                Piece::Data(octets) => take(octets),
                Piece::End => return true,
                Piece::NeedMore => break,
            }
        }
    }
    false
}

fn bench_dot(c: &mut Criterion) {
    let mut text = text_of_lines();
    text.extend_from_slice(b".\r\n");
    let mut group = c.benchmark_group("wire/dot");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("peer: memchr_iter alone", |b| {
        b.iter(|| memchr::memchr_iter(b'\n', black_box(&text)).fold(0, |sum, at| sum ^ at))
    });
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    assert!(unstuff(Unstuffer::new(), &text, text.len(), |piece| ours.extend_from_slice(piece)));
    assert!(DataReceiver::new().ingest(&mut text.iter(), &mut theirs));
    assert!(ours == theirs, "both do the same work");
    group.bench_function("peer: smtp-proto, which copies", |b| {
        let mut message = Vec::with_capacity(text.len());
        b.iter(|| {
            message.clear();
            let mut receiver = DataReceiver::new();
            receiver.ingest(&mut black_box(&text[..]).iter(), &mut message)
        })
    });
    group.bench_function("Unstuffer and a copy", |b| {
        let mut message = Vec::with_capacity(text.len());
        b.iter(|| {
            message.clear();
            unstuff(Unstuffer::new(), black_box(&text), text.len(), |piece| message.extend_from_slice(piece))
        })
    });
    for (name, unstuffer) in
        [("Unstuffer", Unstuffer::new()), ("Unstuffer::watching_newlines", Unstuffer::watching_newlines())]
    {
        group.bench_function(format!("{name}, segments of 16 KiB"), |b| {
            b.iter(|| {
                let mut sum = 0;
                let ended =
                    unstuff(unstuffer.clone(), black_box(&text), 16 * 1024, |piece| sum += piece.len());
                (ended, sum)
            })
        });
    }
    group.bench_function("Stuffer", |b| {
        let mut out = Vec::with_capacity(2 * text.len());
        b.iter(|| {
            out.clear();
            Stuffer::new().feed(black_box(&text), &mut out);
            out.len()
        })
    });
    group.finish();
}

fn bench_eol(c: &mut Criterion) {
    let crlf = text_of_lines();
    let mut lf = Vec::new();
    ToLf::new().feed(&crlf, &mut lf);
    let mut out = Vec::with_capacity(2 * crlf.len());
    let mut group = c.benchmark_group("wire/eol");
    group.throughput(Throughput::Bytes(crlf.len() as u64));
    group.bench_function("ToLf", |b| {
        b.iter(|| {
            out.clear();
            ToLf::new().feed(black_box(&crlf), &mut out);
            out.len()
        })
    });
    group.throughput(Throughput::Bytes(lf.len() as u64));
    group.bench_function("ToCrlf", |b| {
        b.iter(|| {
            out.clear();
            ToCrlf::new().feed(black_box(&lf), &mut out);
            out.len()
        })
    });
    group.bench_function("crlf_len", |b| b.iter(|| crlf_len(black_box(&lf))));
    group.finish();
}

fn bench_bodies(c: &mut Criterion) {
    let text = text_of_lines();
    let mut base64_body = Vec::new();
    for line in text.chunks(57) {
        base64_body.extend_from_slice(base64::encode(line).as_bytes());
        base64_body.extend_from_slice(b"\r\n");
    }
    let quoted_body = String::from_utf8_lossy(&text).replace("times", "t=C3=AFmes=\r\n");
    let mut out = Vec::with_capacity(2 * text.len());
    let mut group = c.benchmark_group("wire/bodies");
    group.throughput(Throughput::Bytes(base64_body.len() as u64));
    group.bench_function("base64::Decoder", |b| {
        b.iter(|| {
            out.clear();
            base64::Decoder::new().feed(black_box(&base64_body), &mut out);
            out.len()
        })
    });
    group.throughput(Throughput::Bytes(quoted_body.len() as u64));
    group.bench_function("quoted_printable::Decoder", |b| {
        b.iter(|| {
            out.clear();
            quoted_printable::Decoder::new().feed(black_box(quoted_body.as_bytes()), &mut out);
            out.len()
        })
    });
    group.finish();
}

criterion_group!(wire, bench_lines, bench_dot, bench_eol, bench_bodies);
criterion_main!(wire);
