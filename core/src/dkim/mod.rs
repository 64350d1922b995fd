//! DKIM (RFC 6376, RFC 8463): signing mail that leaves, and the record in the DNS that others check it by.
//!
//! A [`signer::Signer`] watches a message pass by as it is stored, keeps its header up to a bound and a hash of its body, and
//! then writes one DKIM-Signature field for each [`Key`] of the author's domain. What it signs is what leaves: the
//! message with CRLF line ends, "relaxed" in header and body, without `l=`.
//!
//! It will not verify signatures of others, and touches no private key: whoever holds one implements [`Sign`].
//!
//! | file | what |
//! |---|---|
//! | [`canonical`] | "relaxed" header fields and bodies (RFC 6376 §3.4.2, §3.4.4) |
//! | [`signer`] | which fields are signed, and the field that says so (§3.5, §5) |
//! | [`record`] | the public key in the DNS (§3.6.1) |

pub mod canonical;
pub mod record;
pub mod signer;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::site::fold_domain;

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `rsa-sha256` (RFC 6376 §3.3.1).
    RsaSha256,
    /// `ed25519-sha256` (RFC 8463).
    Ed25519Sha256,
}

impl Algorithm {
    /// Its name in a signature's `a=`.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "rsa-sha256",
            Algorithm::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// The name of its keys in a record's `k=`.
    pub const fn key_type(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "rsa",
            Algorithm::Ed25519Sha256 => "ed25519",
        }
    }
}

/// Who holds a private key. The same octets get the same signature: PKCS #1 v1.5 (RFC 8017 §8.2) and Ed25519 draw no
/// random numbers.
pub trait Sign: Send + Sync + fmt::Debug {
    /// The signature of `octets`, the input of RSA's SHA-256 or, for Ed25519, the SHA-256 hash itself (RFC 8463 §3);
    /// `None` if the key does not work.
    fn sign(&self, octets: &[u8]) -> Option<Vec<u8>>;
}

/// A key that signs.
#[derive(Clone, Debug)]
pub struct Key {
    /// `s=`, the name of its record below `_domainkey`.
    pub selector: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// Who holds it.
    pub signer: Arc<dyn Sign>,
}

/// The keys of our domains.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeMap<Vec<u8>, Vec<Key>>);

impl Keys {
    /// One more key, for a domain in any form.
    pub fn insert(&mut self, domain: &str, key: Key) {
        self.0.entry(fold_domain(domain.as_bytes())).or_default().push(key);
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The domain that signs for an author in `domain`, and its keys: the domain itself or the nearest above it, which
    /// DMARC takes for the same owner (RFC 7489 §3.1.1).
    pub fn of(&self, domain: &[u8]) -> Option<(&[u8], &[Key])> {
        let domain = fold_domain(domain);
        let mut rest = &domain[..];
        loop {
            if let Some((name, keys)) = self.0.get_key_value(rest) {
                return Some((name, keys));
            }
            let dot = memchr::memchr(b'.', rest)?;
            rest = rest.get(dot + 1..)?;
        }
    }
}
