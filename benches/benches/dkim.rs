//! `postier_core::dkim`: what signing costs for each octet, and what the fields themselves cost.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postier_core::dkim::canonical::BodyHash;
use postier_core::dkim::signer::Signer;
use postier_core::dkim::{Algorithm, Key, Keys, Sign};

/// The arithmetic of a private key is not ours to measure.
#[derive(Debug)]
struct Free;

impl Sign for Free {
    fn sign(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some([0; 256].into())
    }
}

fn bench_body(c: &mut Criterion) {
    let prose =
        "It was the best of times, it was the worst of times, it was the age of wisdom\n".repeat(4096);
    let base64 = ("iVBORw0KGgoAAAANSUhEUgAA".repeat(3) + "\n").repeat(4096);
    let mut group = c.benchmark_group("dkim/body hash");
    for (name, body) in [("prose", &prose), ("base64", &base64)] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut hash = BodyHash::new();
                black_box(body.as_bytes()).chunks(64 * 1024).for_each(|slice| hash.feed(slice));
                hash.finish()
            })
        });
    }
    group.finish();
}

fn bench_signature(c: &mut Criterion) {
    let mut keys = Keys::default();
    for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
        keys.insert("example.org", Key { selector: "202611".into(), algorithm, signer: Arc::new(Free) });
    }
    let message = b"Received: from a.example.org (a.example.org [192.0.2.1])\n\tby b.example.org with ESMTPSA id 4711;\n\
        \tTue, 24 Nov 2026 04:19:24 +0000\nFrom: Ann <ann@example.org>\nTo: Bob <bob@example.net>\n\
        Subject: a trip\nDate: Tue, 24 Nov 2026 05:19:20 +0100\nMessage-ID: <4711@example.org>\n\
        MIME-Version: 1.0\nContent-Type: text/plain\n\nAt five.\n";
    c.bench_function("dkim/two signatures of a small mail, without the keys", |b| {
        b.iter(|| {
            let mut signer = Signer::new();
            signer.feed(black_box(message));
            signer.finish(&keys, 1_764_000_000).expect("it is ours")
        })
    });
}

criterion_group!(benches, bench_body, bench_signature);
criterion_main!(benches);
