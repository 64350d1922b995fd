//! The certificate that a mail server shows, against what DANE says of it (RFC 7672 §3). What is bound to what, the core
//! says; here certificates are taken apart and signatures checked.

use postier_core::dns::dane::{DANE_EE, DANE_TA, Dane};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::validity::element;

/// The server's certificate is named by one of the records, or was issued by an authority that is.
pub(super) fn vouches(
    dane: &Dane,
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
    provider: &CryptoProvider,
) -> bool {
    names(dane, DANE_EE, certificate) || is_issued(dane, certificate, chain, now, provider).is_some()
}

/// One of the records of this usage names the certificate.
fn names(dane: &Dane, usage: u8, certificate: &[u8]) -> bool {
    public_key(certificate).is_some_and(|key| {
        dane.records.iter().any(|record| record.usage == usage && record.names(certificate, key))
    })
}

/// By an authority of the chain that a record names, or that stands whole in a record; in time, and for one of our names.
fn is_issued(
    dane: &Dane,
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
    provider: &CryptoProvider,
) -> Option<()> {
    let whole = dane
        .records
        .iter()
        .filter(|record| (record.usage, record.selector, record.matching) == (DANE_TA, 0, 0));
    let whole: Vec<CertificateDer<'_>> = whole.map(|record| record.data.as_slice().into()).collect();
    let authorities = chain.iter().filter(|authority| names(dane, DANE_TA, authority)).chain(&whole);
    let anchors: Vec<_> =
        authorities.filter_map(|authority| webpki::anchor_from_trusted_cert(authority).ok()).collect();
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let algorithms = provider.signature_verification_algorithms.all;
    let usage = webpki::KeyUsage::server_auth();
    parsed.verify_for_usage(algorithms, &anchors, chain, now, usage, None, None).ok()?;
    let is_for = |name: &str| {
        ServerName::try_from(name).is_ok_and(|name| parsed.verify_is_valid_for_subject_name(&name).is_ok())
    };
    dane.names.iter().any(|name| is_for(name.as_str())).then_some(())
}

/// The `SubjectPublicKeyInfo` of a certificate, with its own tag and length (RFC 5280 §4.1).
fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    let (tag, _, rest) = element(fields)?;
    if tag == 0xa0 {
        fields = rest;
    }
    for _ in ["serialNumber", "signature", "issuer", "validity", "subject"] {
        (_, _, fields) = element(fields)?;
    }
    let (_, _, rest) = element(fields)?;
    fields.get(..fields.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;
    use postier_core::dns::Tlsa;
    use postier_core::dns::name::DomainName;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    /// An authority's certificate, and a server's that it has issued.
    fn issued(name: &str, until: i32) -> (CertificateDer<'static>, CertificateDer<'static>) {
        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let mut server = CertificateParams::new(vec![name.to_owned()]).unwrap();
        server.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
        (authority_certificate.der().clone(), certificate.der().clone())
    }

    fn dane(usage: u8, selector: u8, matching: u8, data: Vec<u8>) -> Dane {
        let name = DomainName::parse("mx.test").unwrap();
        let records = vec![Tlsa { usage, selector, matching, data }];
        Dane { base: name.clone(), names: vec![name], records }
    }

    fn good(dane: &Dane, certificate: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> bool {
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_795_000_000));
        vouches(dane, certificate, chain, now, &provider())
    }

    #[test]
    fn the_key_of_a_certificate_is_found() {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(public_key(made.der()).unwrap(), rcgen::PublicKeyData::subject_public_key_info(&key));
        for cut in 0..made.der().len() {
            // Whatever it is, it is no panic.
            let _ = public_key(&made.der()[..cut]);
        }
    }

    #[test]
    fn a_certificate_that_is_named_needs_neither_name_nor_date() {
        let (authority, certificate) = issued("elsewhere.test", 2001);
        let key = public_key(&certificate).unwrap().to_vec();
        for (selector, data) in [(0, certificate.to_vec()), (1, key)] {
            assert!(good(&dane(DANE_EE, selector, 0, data.clone()), &certificate, &[]));
            assert!(!good(&dane(DANE_EE, selector, 0, data), &authority, &[]));
        }
    }

    #[test]
    fn what_an_authority_that_is_named_has_issued_must_be_in_time_and_for_the_name() {
        let (authority, certificate) = issued("mx.test", 2040);
        let key = public_key(&authority).unwrap().to_vec();
        let (_, other) = issued("mx.test", 2040);
        for (selector, data) in [(0, authority.to_vec()), (1, key)] {
            let dane = dane(DANE_TA, selector, 0, data);
            assert!(good(&dane, &certificate, std::slice::from_ref(&authority)));
            assert!(!good(&dane, &other, std::slice::from_ref(&authority)), "somebody else has issued it");
            // A key alone is no authority: the certificate must be there.
            assert_eq!(good(&dane, &certificate, &[]), selector == 0);
        }
        for (name, until) in [("elsewhere.test", 2040), ("mx.test", 2001)] {
            let (authority, certificate) = issued(name, until);
            let dane = dane(DANE_TA, 0, 0, authority.to_vec());
            assert!(!good(&dane, &certificate, &[authority]), "{name} {until}");
        }
    }
}
