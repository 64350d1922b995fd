//! Certificates and keys, and the TLS configurations made of them.
//!
//! [`provider`] is the one place that chooses the cryptography. [`TlsIdentity::load`] checks what can be checked
//! before a client does: that there is a certificate, that the key is its key, which names it has and until when.
//!
//! ```
//! use postier_host::tls::{Tickets, TlsIdentity, self_signed, server_config};
//! let made = self_signed(&["mail.example.org"]).unwrap();
//! let identity = TlsIdentity::load(made.certificate.as_bytes(), made.key.as_bytes()).unwrap();
//! assert!(identity.covers("mail.example.org") && !identity.covers("example.org"));
//! let for_port_25 = server_config(&[identity], Tickets::Off);
//! assert_eq!(for_port_25.config().send_tls13_tickets, 0);
//! ```

mod binding;
mod client;
mod dane;
mod validity;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use postier_core::machine::TlsInfo;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{Connection, ProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

pub use client::{Judge, client_config, explain};
pub use validity::Validity;

/// The cryptography used everywhere: aws-lc-rs, post-quantum key exchange included.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A certificate chain with its key, checked against each other.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    certified: Arc<CertifiedKey>,
    /// The DNS names of the certificate, in lower case, wildcards as they are.
    names: Vec<String>,
    validity: Validity,
}

/// What is wrong with a certificate or a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlsProblem {
    /// No `-----BEGIN CERTIFICATE-----`.
    NoCertificate,
    /// Not a certificate; the reader's words.
    BadCertificate(String),
    /// No private key.
    NoKey,
    /// A key that wants a passphrase.
    EncryptedKey,
    /// Not a key; the reader's words.
    BadKey(String),
    /// The key belongs to another certificate.
    Mismatch,
}

impl TlsProblem {
    /// Whether the key's file is to blame, not the certificate's.
    pub fn is_about_key(&self) -> bool {
        match self {
            Self::NoCertificate | Self::BadCertificate(_) => false,
            Self::NoKey | Self::EncryptedKey | Self::BadKey(_) | Self::Mismatch => true,
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoCertificate => {
                "the file must hold the certificate and its chain in PEM form, the server's own first"
            }
            Self::BadCertificate(_) => "give the certificate in PEM form, as the authority delivered it",
            Self::NoKey => {
                "the file must hold the private key in PEM form; perhaps certificate and key are exchanged"
            }
            Self::EncryptedKey => "take the passphrase away: `openssl pkey -in KEY -out NEWKEY`",
            Self::BadKey(_) => "give an ECDSA, RSA or Ed25519 key in PEM form",
            Self::Mismatch => {
                "name the key this certificate was made for, or renew the certificate with this key"
            }
        }
    }
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("there is no certificate in this file"),
            Self::BadCertificate(why) => write!(f, "the certificate cannot be read: {why}"),
            Self::NoKey => f.write_str("there is no private key in this file"),
            Self::EncryptedKey => f.write_str("the private key is protected by a passphrase"),
            Self::BadKey(why) => write!(f, "the private key cannot be read: {why}"),
            Self::Mismatch => f.write_str("the private key does not belong to the certificate"),
        }
    }
}

impl std::error::Error for TlsProblem {}

impl TlsIdentity {
    /// Reads a certificate chain and its key, both in PEM form.
    ///
    /// # Errors
    /// [`TlsProblem`].
    pub fn load(certificate: &[u8], key: &[u8]) -> Result<Self, TlsProblem> {
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|error| TlsProblem::BadCertificate(error.to_string()))?;
        let first = chain.first().ok_or(TlsProblem::NoCertificate)?;
        let parsed = webpki::EndEntityCert::try_from(first);
        let parsed = parsed.map_err(|error| TlsProblem::BadCertificate(error.to_string()))?;
        let names = parsed.valid_dns_names().map(str::to_lowercase).collect();
        let validity =
            Validity::of(first).ok_or_else(|| TlsProblem::BadCertificate("its dates are damaged".into()))?;

        // PKCS #8 says so in its first line, the older form in a header (RFC 1421 §4.6.1.1).
        let key_text = String::from_utf8_lossy(key);
        if key_text.contains("-BEGIN ENCRYPTED PRIVATE KEY-") || key_text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(TlsProblem::EncryptedKey);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls_pki_types::pem::Error::NoItemsFound => TlsProblem::NoKey,
            error => TlsProblem::BadKey(error.to_string()),
        })?;
        let key = provider().key_provider.load_private_key(key);
        let key = key.map_err(|error| TlsProblem::BadKey(error.to_string()))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| TlsProblem::Mismatch)?;
        Ok(Self { certified: Arc::new(certified), names, validity })
    }

    /// Whether a client that connects to `hostname` accepts the certificate's names.
    pub fn covers(&self, hostname: &str) -> bool {
        let certificate = self.certified.end_entity_cert().ok();
        let parsed = certificate.and_then(|certificate| webpki::EndEntityCert::try_from(certificate).ok());
        let (Some(parsed), Ok(name)) = (parsed, ServerName::try_from(hostname)) else { return false };
        parsed.verify_is_valid_for_subject_name(&name).is_ok()
    }

    /// The names in the certificate.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// From when until when the certificate is good.
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

/// Whether a client may resume a session with a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tickets {
    /// No tickets and no session cache: for port 25, whose clients rarely come back and never wait for a person.
    Off,
    /// Stateless tickets, good in every event loop, until the next reload.
    On,
}

/// What a listener offers of TLS: 1.2 and 1.3, and a certificate by the name the client asks for.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    names: Arc<ByName>,
}

impl ServerTls {
    /// For a connection of rustls.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}

/// What a finished handshake agreed on; `None` while it is under way. `served` is what a server's connection was begun
/// with.
pub fn info(connection: &Connection, served: Option<&ServerTls>) -> Option<TlsInfo> {
    if connection.is_handshaking() {
        return None;
    }
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let cipher = cipher_name(suite.unwrap_or("unknown"));
    let info = TlsInfo { version, cipher, ..TlsInfo::default() };
    let (Connection::Server(connection), Some(served)) = (connection, served) else { return Some(info) };
    let certificate = served.names.find(connection.server_name()).end_entity_cert().ok();
    Some(TlsInfo {
        server_name: connection.server_name().map(str::to_owned),
        exporter: binding::exporter(connection),
        server_end_point: certificate.and_then(|der| binding::server_end_point(der)),
        ..info
    })
}

/// The IANA name of a suite: rustls writes `TLS13_AES_…` where the registry has `TLS_AES_…`.
fn cipher_name(rustls_name: &'static str) -> &'static str {
    match rustls_name {
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

/// A server's TLS configuration. The first identity answers clients that name no host, or one no certificate has.
///
/// # Panics
/// Without an identity.
pub fn server_config(identities: &[TlsIdentity], tickets: Tickets) -> ServerTls {
    let names = Arc::new(ByName::new(identities));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(names.clone());
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match tickets {
        Tickets::Off => config.send_tls13_tickets = 0,
        // Without a ticketer clients handshake in full, which is slower and not wrong.
        Tickets::On => config.ticketer = aws_lc_rs::Ticketer::new().unwrap_or(config.ticketer),
    }
    ServerTls { config: Arc::new(config), names }
}

/// Chooses the certificate by the name the client asks for (RFC 6066 §3).
#[derive(Debug)]
struct ByName {
    default: Arc<CertifiedKey>,
    /// By name; `*.domain` for the children of a domain.
    names: BTreeMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    fn new(identities: &[TlsIdentity]) -> Self {
        let first = identities.first().expect("a server has a certificate");
        let mut names = BTreeMap::new();
        for identity in identities {
            for name in &identity.names {
                names.entry(name.clone()).or_insert_with(|| Arc::clone(&identity.certified));
            }
        }
        Self { default: Arc::clone(&first.certified), names }
    }

    fn find(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let found = name.and_then(|name| {
            // Some clients write the root's dot.
            let name = name.trim_end_matches('.').to_lowercase();
            let wildcard = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
            self.names.get(&name).or_else(wildcard)
        });
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.find(hello.server_name())))
    }
}

/// A certificate in PEM form and its key.
pub struct SelfSigned {
    /// `-----BEGIN CERTIFICATE-----`
    pub certificate: String,
    /// `-----BEGIN PRIVATE KEY-----`
    pub key: String,
}

/// Makes a key (ECDSA P-256) and a certificate for these DNS names and IP addresses that nobody but itself vouches for.
/// It is good from 2020 to 2049.
///
/// # Errors
/// The reason in words, such as a name that is none.
pub fn self_signed(names: &[&str]) -> Result<SelfSigned, String> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names.clone()).map_err(|error| error.to_string())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let common_name = names.first().map_or("postier", String::as_str);
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    Ok(SelfSigned { certificate: certificate.pem(), key: key.serialize_pem() })
}

#[cfg(test)]
mod tests;
