//! `postier_core::dkim`.

use std::sync::Arc;

use postier_core::dkim::signer::Signer;
use postier_core::dkim::{Algorithm, Key, Keys, Sign, record};
use postier_core::mime::header::fields;
use postier_core::wire::eol::ToCrlf;

/// Signs with what it is asked to sign, or with as much of it as keeps the signature short.
#[derive(Debug)]
struct Echo;

impl Sign for Echo {
    fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        let folded = octets.chunks(64).fold([0_u8; 64], |mut sum, chunk| {
            sum.iter_mut().zip(chunk).for_each(|(sum, octet)| *sum = sum.rotate_left(1) ^ octet);
            sum
        });
        Some(folded.into())
    }
}

/// A message's signature is the same however it comes, stored or sent, and is one header field.
pub fn dkim_signer(message: &[u8]) {
    let mut keys = Keys::default();
    for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
        keys.insert("example.org", Key { selector: "s".into(), algorithm, signer: Arc::new(Echo) });
    }
    let sign = |pieces: &[&[u8]]| {
        let mut signer = Signer::new();
        pieces.iter().for_each(|piece| signer.feed(piece));
        signer.finish(&keys, 1_764_000_000)
    };
    let signed = crate::assert_split_invariant(message, sign);
    let mut sent = Vec::new();
    ToCrlf::new().feed(message, &mut sent);
    assert_eq!(sign(&[&sent]), signed, "stored and sent are one mail");
    if let Ok(signed) = signed {
        let found: Vec<_> = fields(&signed.fields).collect();
        assert!(found.len() == 2 && found.iter().all(|field| field.is(b"DKIM-Signature")));
        assert!(signed.fields.ends_with(b"\n"));
    }
    // Records come from strangers, too.
    assert!(!record::holds(message, Algorithm::Ed25519Sha256, &[7; 32]) || message.len() > 44);
}
