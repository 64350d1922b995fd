//! `postier_core::mime`: what a message is made of, and mail-parser beside it.
//!
//! They do not the same work: mail-parser decodes every body while it parses, ours finds the parts (with
//! line counts and places for both line ends, which IMAP wants) and decodes only what is asked for. So there
//! are two figures of ours: the structure alone, and with all text parts decoded.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mail_parser::MessageParser;
use postier_core::mime::envelope::Envelope;
use postier_core::mime::header::header_bytes;
use postier_core::mime::structure_parser::StructureParser;
use postier_core::mime::{bodystructure, text};

/// A mail with text, HTML and an attachment of 200 KiB, as stored.
fn message() -> Vec<u8> {
    let mut mail = String::from(
        "Return-Path: <alice@example.com>\nReceived: from a.example.com (a.example.com [192.0.2.1])\n\
        \tby b.example.org with ESMTPS id 4711 for <bob@example.org>;\n\tTue, 24 Nov 2026 04:19:24 +0000\n\
        DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=x; h=from:to:subject; bh=AAAA;\n\tb=BBBB\n\
        From: =?utf-8?q?Alic=C3=A9?= <alice@example.com>\nTo: Bob <bob@example.org>, carol@example.net\n\
        Subject: =?utf-8?B?w4lsw6ltZW50cw==?= of the trip\nDate: Tue, 24 Nov 2026 05:19:20 +0100\n\
        Message-ID: <4711@a.example.com>\nIn-Reply-To: <4710@b.example.org>\nMIME-Version: 1.0\n\
        Content-Type: multipart/mixed; boundary=\"outer\"\n\n--outer\n\
        Content-Type: multipart/alternative; boundary=\"inner\"\n\n--inner\n\
        Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n",
    );
    for _ in 0..100 {
        mail.push_str("It was the best of times, it was the worst of times, caf=C3=A9 =\nau lait\n");
    }
    mail.push_str("\n--inner\nContent-Type: text/html; charset=iso-8859-1\n\n");
    for _ in 0..300 {
        mail.push_str("<p style=\"margin: 0\">It was the age of wisdom, it was the age of foolishness</p>\n");
    }
    mail.push_str("\n--inner--\n\n--outer\nContent-Type: image/jpeg; name=\"trip.jpg\"\n");
    mail.push_str(
        "Content-Disposition: attachment; filename=\"trip.jpg\"\nContent-Transfer-Encoding: base64\n\n",
    );
    for line in 0..2700 {
        writeln!(mail, "{:04}{}", line, "iVBORw0KGgoAAAANSUhEUgAA".repeat(3)).expect("a String takes it");
    }
    mail.push_str("\n--outer--\n");
    mail.into_bytes()
}

fn bench_message(c: &mut Criterion) {
    let mail = message();
    assert_eq!(MessageParser::default().parse(&mail).expect("a message").attachment_count(), 1);
    let mut group = c.benchmark_group("mime/message");
    group.throughput(Throughput::Bytes(mail.len() as u64));
    let structure = |mail: &[u8]| {
        let mut parser = StructureParser::new();
        mail.chunks(64 * 1024).for_each(|slice| parser.feed(slice));
        parser.finish()
    };
    assert_eq!(structure(&mail).parts().len(), 5);
    group.bench_function("structure", |b| b.iter(|| structure(black_box(&mail))));
    group.bench_function("structure, its BODYSTRUCTURE written", |b| {
        b.iter(|| {
            let mut out = Vec::new();
            bodystructure::write(&mut out, &structure(black_box(&mail)), true);
            out
        })
    });
    group.bench_function("structure, its text decoded", |b| {
        b.iter(|| {
            let (structure, mut octets) = (structure(black_box(&mail)), 0);
            for part in structure.text_parts() {
                text::decode_part(part, &mail, |piece| octets += piece.len());
            }
            octets
        })
    });
    group.bench_function("peer: mail-parser, all decoded", |b| {
        b.iter(|| black_box(MessageParser::default().parse(black_box(&mail))).is_some())
    });
    group.finish();

    let header = &mail[..header_bytes(&mail)];
    let mut group = c.benchmark_group("mime/header");
    group.throughput(Throughput::Bytes(header.len() as u64));
    group.bench_function("envelope", |b| b.iter(|| Envelope::from_header(black_box(header))));
    group.bench_function("peer: mail-parser, all fields parsed", |b| {
        b.iter(|| black_box(MessageParser::default().parse_headers(black_box(header))).is_some())
    });
    group.finish();
}

criterion_group!(mime, bench_message);
criterion_main!(mime);
