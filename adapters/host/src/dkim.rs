//! Private keys for DKIM: made, kept as PEM, and put to use for [`postier_core::dkim`].
//!
//! A key is RSA with 2048 bits (RFC 8301 §3.2) or Ed25519 (RFC 8463), as PKCS #8. Which of them it is the file itself says.
//! [`keyring`] has the files. It is read once; what signs is in memory. `Debug` shows nothing of it.

pub mod keyring;

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use postier_core::dkim::{Algorithm, Sign};
use postier_core::wire::base64;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

/// Bits of an RSA key that verifiers take (RFC 8301 §3.2).
const RSA_BITS: std::ops::RangeInclusive<usize> = 1024..=4096;

/// A private key.
pub struct PrivateKey(Pair);

enum Pair {
    Rsa(rsa::KeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Makes one; its PEM comes with it, to be kept.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate(algorithm: Algorithm) -> Result<(Self, String), Unspecified> {
        let (key, der) = match algorithm {
            Algorithm::RsaSha256 => {
                let pair = rsa::KeyPair::generate(KeySize::Rsa2048)?;
                let der: Pkcs8V1Der<'_> = pair.as_der()?;
                let der = der.as_ref().to_vec();
                (Pair::Rsa(pair), der)
            }
            Algorithm::Ed25519Sha256 => {
                // The form of OpenSSL, without the public key.
                let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())?;
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(document.as_ref());
                (Pair::Ed25519(pair.map_err(|_| Unspecified)?), document.as_ref().to_vec())
            }
        };
        Ok((PrivateKey(key), pem(&der)))
    }

    /// Reads the PEM of a PKCS #8 key; `None` if it is none of a kind that signs mail.
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
        let der = der.secret_pkcs8_der();
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Some(PrivateKey(Pair::Ed25519(pair)));
        }
        let pair = rsa::KeyPair::from_pkcs8(der).ok()?;
        RSA_BITS.contains(&(pair.public_modulus_len() * 8)).then_some(PrivateKey(Pair::Rsa(pair)))
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Pair::Rsa(_) => Algorithm::RsaSha256,
            Pair::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// Its public key as a record in the DNS has it: a SubjectPublicKeyInfo for RSA, 32 octets for Ed25519.
    pub fn public_key(&self) -> Vec<u8> {
        match &self.0 {
            Pair::Rsa(pair) => {
                let der: Result<PublicKeyX509Der<'_>, _> = pair.public_key().as_der();
                // Without it no record is right, and so the key is not used.
                der.map_or(Vec::new(), |der| der.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}

impl Sign for PrivateKey {
    fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), octets, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ed25519(pair) => Some(pair.sign(octets).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm().name())
    }
}

fn pem(der: &[u8]) -> String {
    let text = base64::encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END PRIVATE KEY-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_its_file_says() {
        for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
            let (made, pem) = PrivateKey::generate(algorithm).unwrap();
            let read = PrivateKey::from_pem(pem.as_bytes()).unwrap();
            assert_eq!((read.algorithm(), read.public_key()), (algorithm, made.public_key()));
            let signature = read.sign(b"some octets").unwrap();
            assert_eq!(Some(&signature), made.sign(b"some octets").as_ref(), "no chance in it");
            assert!(!format!("{read:?}").contains(pem.lines().nth(1).unwrap()));
            assert!(PrivateKey::from_pem(&pem.as_bytes()[..pem.len() / 2]).is_none());
        }
        assert!(PrivateKey::from_pem(b"").is_none());
    }
}
