//! The channel bindings of a TLS connection, to which SCRAM-SHA-256-PLUS binds a login.

use aws_lc_rs::digest::{self, Algorithm};
use rustls::{ProtocolVersion, ServerConnection};

use super::validity::element;

/// `tls-exporter` (RFC 9266 §2). Only with TLS 1.3: an older connection would need to know that its master secret
/// is its own (§4.2).
pub(super) fn exporter(connection: &ServerConnection) -> Option<[u8; 32]> {
    connection.protocol_version().filter(|version| *version == ProtocolVersion::TLSv1_3)?;
    connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).ok()
}

/// `tls-server-end-point` (RFC 5929 §4.1): the certificate's hash, by the function of its signature; `None` where
/// the signature has none, or more than one.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { algorithm OID, … }, … }
    let (_, fields, _) = element(certificate)?;
    let (_, _, fields) = element(fields)?;
    let (_, algorithm, _) = element(fields)?;
    let (_, oid, _) = element(algorithm)?;
    Some(digest::digest(hash_of(oid)?, certificate).as_ref().to_vec())
}

fn hash_of(signature: &[u8]) -> Option<&'static Algorithm> {
    /// 1.2.840.113549.1.1: RSA with PKCS #1 v1.5 (RFC 8017 appendix A.2.4).
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    /// 1.2.840.10045.4.3: ECDSA with SHA-2 (RFC 5758 §3.2).
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    let (last, family) = signature.split_last()?;
    match (family, last) {
        // MD5 and SHA-1 count as SHA-256 here.
        (RSA, 4 | 5 | 11) | (ECDSA, 2) => Some(&digest::SHA256),
        (RSA, 12) | (ECDSA, 3) => Some(&digest::SHA384),
        (RSA, 13) | (ECDSA, 4) => Some(&digest::SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_of_the_signature() {
        let rsa = |last| [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last];
        let ecdsa = |last| [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last];
        let length = |oid: &[u8]| hash_of(oid).map(Algorithm::output_len);
        assert_eq!([5, 11, 12, 13, 10].map(|last| length(&rsa(last))), [32, 32, 48, 64, 0].map(some));
        assert_eq!([2, 3, 4, 1].map(|last| length(&ecdsa(last))), [32, 48, 64, 0].map(some));
        // Ed25519 has no hash of its own.
        assert_eq!(length(&[0x2b, 0x65, 0x70]), None);
        assert_eq!(server_end_point(b""), None);
    }

    fn some(length: usize) -> Option<usize> {
        (length > 0).then_some(length)
    }
}
