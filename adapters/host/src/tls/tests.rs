use std::io::{Read, Write};

use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use super::*;

fn identity(names: &[&str]) -> (TlsIdentity, SelfSigned) {
    let made = self_signed(names).unwrap();
    (TlsIdentity::load(made.certificate.as_bytes(), made.key.as_bytes()).unwrap(), made)
}

#[test]
fn a_certificate_of_our_own_is_whole() {
    let (identity, _) = identity(&["mail.example.org", "*.example.net", "127.0.0.1"]);
    assert_eq!(identity.names(), ["mail.example.org", "*.example.net"]);
    for covered in ["mail.example.org", "MAIL.example.org", "a.example.net", "127.0.0.1"] {
        assert!(identity.covers(covered), "{covered}");
    }
    for other in ["example.org", "a.b.example.net", "127.0.0.2", "", "not a name"] {
        assert!(!identity.covers(other), "{other}");
    }
    assert_eq!(identity.validity().last_day(), "2049-12-31");
}

#[test]
fn mistakes_are_told_apart() {
    let (one, two) = (self_signed(&["a.example"]).unwrap(), self_signed(&["a.example"]).unwrap());
    let load =
        |certificate: &str, key: &str| TlsIdentity::load(certificate.as_bytes(), key.as_bytes()).unwrap_err();
    assert_eq!(load(&one.certificate, &two.key), TlsProblem::Mismatch);
    assert_eq!(load("", &one.key), TlsProblem::NoCertificate);
    assert_eq!(load(&one.key, &one.certificate), TlsProblem::NoCertificate);
    assert_eq!(load(&one.certificate, &one.certificate), TlsProblem::NoKey);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(load(&one.certificate, encrypted), TlsProblem::EncryptedKey);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(load(garbage, &one.key), TlsProblem::BadCertificate(_)));
    let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(matches!(load(&one.certificate, garbage), TlsProblem::BadKey(_)));
}

/// Handshakes in memory; what the client sees of the server's certificate, and whether it was resumed.
fn handshake(server: &ServerTls, client: &Arc<ClientConfig>, name: &str) -> (Vec<u8>, bool) {
    let mut server = ServerConnection::new(Arc::clone(server.config())).unwrap();
    let mut client =
        ClientConnection::new(Arc::clone(client), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    server.writer().write_all(b"hello").unwrap();
    let mut wire = Vec::new();
    for _ in 0..6 {
        client.write_tls(&mut wire).unwrap();
        while !wire.is_empty() {
            let read = server.read_tls(&mut wire.as_slice()).unwrap();
            wire.drain(..read);
        }
        server.process_new_packets().unwrap();
        server.write_tls(&mut wire).unwrap();
        while !wire.is_empty() {
            let read = client.read_tls(&mut wire.as_slice()).unwrap();
            wire.drain(..read);
            client.process_new_packets().unwrap();
        }
    }
    let mut greeting = [0; 5];
    client.reader().read_exact(&mut greeting).unwrap();
    let certificate = client.peer_certificates().unwrap()[0].to_vec();
    (certificate, client.handshake_kind() == Some(rustls::HandshakeKind::Resumed))
}

#[test]
fn the_name_chooses_the_certificate_and_tickets_resume() {
    let (first, one) = identity(&["one.example", "three.example"]);
    let (second, two) = identity(&["two.example"]);
    let mut roots = RootCertStore::empty();
    for made in [&one, &two] {
        roots.add(CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()).unwrap();
    }
    let client =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
    let identities = [first.clone(), second.clone()];
    let (with, without) = (server_config(&identities, Tickets::On), server_config(&identities, Tickets::Off));
    let der = |identity: &TlsIdentity| identity.certified.cert[0].to_vec();
    assert_eq!(handshake(&without, &client, "one.example"), (der(&first), false));
    assert_eq!(handshake(&without, &client, "one.example"), (der(&first), false));
    assert_eq!(handshake(&with, &client, "two.example"), (der(&second), false));
    assert_eq!(handshake(&with, &client, "two.example"), (der(&second), true));
    assert_eq!(handshake(&with, &client, "three.example"), (der(&first), false));
}
