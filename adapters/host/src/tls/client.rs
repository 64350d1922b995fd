//! TLS as the client of other mail servers.
//!
//! Most mail servers show certificates that nobody vouches for, and mail to them is encrypted all the same: that keeps it
//! from everybody who only listens (RFC 7435). Where a server must be who it says it is, its certificate is checked with
//! the roots that the machine trusts, or with what signed DNS says of it (RFC 7672).

use std::fmt;
use std::sync::{Arc, OnceLock};

use postier_core::dns::dane::Dane;
use postier_core::server::Trust;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};

use super::{dane, provider};

/// The configuration for connections to other mail servers: TLS 1.2 and 1.3. With [`Trust::Roots`] on a machine without
/// roots no server is trusted.
///
/// ```
/// use postier_core::server::Trust;
/// use postier_host::tls::client_config;
/// assert!(client_config(&Trust::Anybody).enable_sni);
/// ```
pub fn client_config(trust: &Trust) -> Arc<ClientConfig> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3");
    Arc::new(match trust {
        Trust::Anybody | Trust::Watched | Trust::Dane(_) => {
            let dane = if let Trust::Dane(dane) = trust { Some(dane.clone()) } else { None };
            let verifier = Arc::new(Rootless { provider, dane });
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        Trust::Roots => builder.with_root_certificates(roots()).with_no_client_auth(),
    })
}

/// What the machine trusts. What cannot be read vouches for nobody.
fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Tells whether a server's certificate is good by the roots that the machine trusts, where nothing depends on it
/// ([`Trust::Watched`]). The roots are read when it is first asked.
#[derive(Clone, Debug, Default)]
pub struct Judge(Arc<OnceLock<Option<Arc<WebPkiServerVerifier>>>>);

impl Judge {
    /// Why this chain, the server's own certificate first, is not good for this name; nothing where it is.
    ///
    /// ```
    /// use postier_host::tls::Judge;
    /// let why = Judge::default().why_not(&[], "mx.example.org".try_into().unwrap());
    /// assert_eq!(why.unwrap(), "it has shown no certificate");
    /// ```
    pub fn why_not(&self, chain: &[CertificateDer<'_>], name: ServerName<'_>) -> Option<String> {
        let Some((certificate, others)) = chain.split_first() else {
            return Some("it has shown no certificate".into());
        };
        let make = || WebPkiServerVerifier::builder_with_provider(roots().into(), provider()).build().ok();
        let verdict = match self.0.get_or_init(make) {
            Some(verifier) => verifier.verify_server_cert(certificate, others, &name, &[], UnixTime::now()),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        verdict.err().map(|error| explain(&error))
    }
}

/// Why TLS has failed, for a person.
///
/// ```
/// use postier_host::tls::explain;
/// use rustls::CertificateError::UnknownIssuer;
/// assert_eq!(explain(&UnknownIssuer.into()), "no authority that this machine trusts has issued its certificate");
/// ```
pub fn explain(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(about) = error else { return error.to_string() };
    match about {
        // Our own words.
        CertificateError::Other(words) => words.to_string(),
        // The others come of authorities that only have the name of the issuer.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "no authority that this machine trusts has issued its certificate".into()
        }
        _ => error.to_string(),
    }
}

/// Asks no root: takes what DANE vouches for, or else every certificate. The handshake must be signed with its key.
#[derive(Debug)]
struct Rootless {
    provider: Arc<CryptoProvider>,
    dane: Option<Arc<Dane>>,
}

/// Why a certificate is not taken.
#[derive(Debug)]
struct NotNamed(String);

impl fmt::Display for NotNamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate is none of those that the TLSA records of {} name (DANE)", self.0)
    }
}

impl std::error::Error for NotNamed {}

impl ServerCertVerifier for Rootless {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(dane) = &self.dane
            && !dane::vouches(dane, certificate, chain, now, &self.provider)
        {
            let words = OtherError(Arc::new(NotNamed(dane.base.to_string())));
            return Err(CertificateError::Other(words).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
