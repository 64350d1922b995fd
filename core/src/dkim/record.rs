//! The record in the DNS that holds a public key (RFC 6376 §3.6.1, RFC 8463 §4).
//!
//! ```
//! use postier_core::dkim::{Algorithm, record};
//! let text = record::text(Algorithm::Ed25519Sha256, &[7; 32]);
//! assert!(text.starts_with("v=DKIM1; k=ed25519; p=BwcHBwcH"));
//! assert!(record::holds(text.as_bytes(), Algorithm::Ed25519Sha256, &[7; 32]));
//! assert!(record::holds(b"k = ed25519; t=s; p=BwcHBwcHBwcHBwcHBwcH BwcHBwcHBwcHBwcHBwcHBwc=", Algorithm::Ed25519Sha256, &[7; 32]));
//! assert!(!record::holds(b"v=DKIM1; k=ed25519; p=", Algorithm::Ed25519Sha256, &[7; 32]), "revoked");
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Algorithm;
use crate::wire::base64;

/// Octets of a public key in a record; that of RSA with 4096 bits has 550.
const KEY_BYTES_MAX: usize = 4096;
/// Octets of one of the strings a TXT record is made of (RFC 1035 §3.3).
const STRING_BYTES_MAX: usize = 255;

/// The whole text. `public_key` is the SubjectPublicKeyInfo of an RSA key, the 32 octets of an Ed25519 key.
pub fn text(algorithm: Algorithm, public_key: &[u8]) -> String {
    format!("v=DKIM1; k={}; p={}", algorithm.key_type(), base64::encode(public_key))
}

/// The name of a record.
pub fn name(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

/// A line for a zone file: the text in strings of 255 octets.
pub fn zone_line(name: &str, text: &str) -> String {
    let strings = text.as_bytes().chunks(STRING_BYTES_MAX);
    let strings: Vec<String> =
        strings.map(|string| format!("\"{}\"", String::from_utf8_lossy(string))).collect();
    format!("{name}. IN TXT ( {} )", strings.join(" "))
}

/// Whether a TXT record, its strings joined, lets a verifier check signatures by this key.
pub fn holds(record: &[u8], algorithm: Algorithm, public_key: &[u8]) -> bool {
    let (mut kind, mut key) = (&b"rsa"[..], None);
    for (n, tag) in record.split(|octet| *octet == b';').enumerate() {
        let Some(equals) = memchr::memchr(b'=', tag) else { continue };
        let (name, value) = (tag[..equals].trim_ascii(), tag[equals + 1..].trim_ascii());
        match name {
            // RFC 6376 §3.6.1: the first tag, if it is there.
            b"v" if n > 0 || value != b"DKIM1" => return false,
            b"k" => kind = value,
            b"h" if !value.split(|octet| *octet == b':').any(|hash| hash.trim_ascii() == b"sha256") => {
                return false;
            }
            b"p" => key = Some(value),
            _ => {}
        }
    }
    let Some(key) = key.filter(|_| kind == algorithm.key_type().as_bytes()) else { return false };
    let key: Vec<u8> = key.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    base64::decode(&key, KEY_BYTES_MAX).is_ok_and(|key| key == public_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_others_do_not_hold_our_key() {
        let key = [1; 400];
        let ours = text(Algorithm::RsaSha256, &key);
        let holds = |record: &str| holds(record.as_bytes(), Algorithm::RsaSha256, &key);
        assert!(holds(&ours));
        assert!(holds(&ours.replace("k=rsa; ", "")), "rsa is what is meant without k=");
        assert!(holds(&ours.replace("k=rsa", "h=sha1 : sha256; k=rsa")));
        assert!(!holds(&ours.replace("k=rsa", "h=sha1; k=rsa")));
        assert!(!holds(&ours.replace("k=rsa", "k=ed25519")));
        assert!(!holds(&ours.replace("DKIM1", "DKIM2")));
        assert!(!holds(&ours.replace("v=DKIM1; k=rsa", "k=rsa; v=DKIM1")));
        assert!(!holds(&ours[..ours.len() - 4]), "cut off, as some panels do");
        assert!(!holds("v=spf1 -all") && !holds("") && !holds("=;=;p"));
    }

    #[test]
    fn a_zone_line_has_strings_that_fit() {
        let line = zone_line("a._domainkey.b.test", &text(Algorithm::RsaSha256, &[1; 294]));
        let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings.iter().map(|string| string.len()).collect::<Vec<_>>(), [255, 155]);
        assert!(line.starts_with("a._domainkey.b.test. IN TXT ( \"v=DKIM1; k=rsa; p="));
    }
}
