//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 7677), with the channel bindings
//! `tls-exporter` (RFC 9266) and `tls-server-end-point` (RFC 5929 §4).
//!
//! ```text
//! client-first ─▶ ClientFirst ─ ScramOffer ─▶ (Scram, server-first) ─ client-final ─▶ Finished
//! ```
//!
//! The password never crosses the wire, and what is kept of it ([`ScramVerifier`]) is no use for logging in
//! elsewhere. For a name that is nobody's a verifier is made up from [`ScramKey`], always the same one, so that the
//! salt does not tell who exists. Whoever has the verifier decides nothing here: what the client has proven
//! is the verifier itself, and whether that is the account's is seen when the login is granted.
//!
//! ```
//! use postier_core::auth::scram::{ClientFirst, ScramKey, ScramOffer};
//! let key = ScramKey::new([7; 32]);
//! let first = ClientFirst::parse(b"n,,n=nobody,r=abc", None).unwrap();
//! let verifier = key.made_up(b"nobody@example.org", 4096, 16);
//! let (_scram, server_first) = first.challenge(ScramOffer { verifier, nonce: key.nonce(1, 2, 3) });
//! assert!(server_first.starts_with(b"r=abc"));
//! ```

use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::machine::TlsInfo;
use crate::site::ScramVerifier;
use crate::wire::base64;

/// Octets of a client's nonce; what is usual is 24.
const CLIENT_NONCE_BYTES_MAX: usize = 256;
/// Octets of a server's nonce before base64.
const NONCE_BYTES: usize = 18;
/// A proof, and a channel binding with its header, fit into this many octets.
const BINDING_BYTES_MAX: usize = 2048;

/// What a login by SCRAM needs of the accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramOffer {
    /// The account's, or one made up.
    pub verifier: ScramVerifier,
    /// Never the same twice, printable, without a comma.
    pub nonce: Vec<u8>,
}

/// A secret of the post office from which verifiers of nobody and nonces are made. Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKey([u8; 32]);

impl fmt::Debug for ScramKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKey(…)")
    }
}

impl ScramKey {
    /// A key of random octets. It has to outlive the process: a salt that changes is nobody's.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The verifier of a name that is nobody's: the same each time, and no password fits.
    pub fn made_up(&self, name: &[u8], iterations: u32, salt_bytes: usize) -> ScramVerifier {
        let part = |what: &[u8]| hmac(&self.0, &[what, b"\0", name]);
        let salt = part(b"salt").into_iter().cycle().take(salt_bytes).collect();
        ScramVerifier { iterations, salt, stored_key: part(b"stored"), server_key: part(b"server") }
    }

    /// The nonce of the `count`th exchange of a connection. `seed` differs between processes.
    pub fn nonce(&self, seed: u64, connection: u64, count: u64) -> Vec<u8> {
        let numbers = [seed, connection, count].map(u64::to_be_bytes);
        let octets = hmac(&self.0, &[b"nonce\0", &numbers[0], &numbers[1], &numbers[2]]);
        base64::encode(&octets[..NONCE_BYTES]).into_bytes()
    }
}

/// The client's first message: who it is, and whether it binds the login to the TLS connection.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientFirst {
    /// Whose rights are wanted; empty, or the same as `login`.
    pub authorization: Vec<u8>,
    /// Who logs in.
    pub login: Vec<u8>,
    nonce: Vec<u8>,
    /// The message without its GS2 header: the first part of what is signed.
    bare: Vec<u8>,
    /// What `c=` has to be, decoded: the GS2 header, and the binding's octets behind it.
    binding: Vec<u8>,
}

impl fmt::Debug for ClientFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientFirst({:?})", alloc::string::String::from_utf8_lossy(&self.login))
    }
}

impl ClientFirst {
    /// Reads it. `bound` is the connection whose binding the client has to name, for SCRAM-SHA-256-PLUS.
    /// `None` if it is not one, or binds otherwise than it may.
    pub fn parse(message: &[u8], bound: Option<&TlsInfo>) -> Option<Self> {
        let mut parts = message.splitn(3, |&b| b == b',');
        let (flag, authzid, bare) = (parts.next()?, parts.next()?, parts.next()?);
        let header = message.get(..message.len() - bare.len())?;
        let data = match (flag, bound) {
            // RFC 5802 §6: `y` is "I could, but you did not offer it", which is for a server that did not.
            (b"n" | b"y", None) => Vec::new(),
            (_, Some(tls)) => binding_data(flag.strip_prefix(b"p=")?, tls)?,
            (_, None) => return None,
        };
        let authorization = match authzid {
            b"" => Vec::new(),
            name => unescape(name.strip_prefix(b"a=")?)?,
        };
        // RFC 5802 §5.1: what begins with `m=` is an extension that must be understood.
        let mut attributes = bare.split(|&b| b == b',');
        let login = unescape(attributes.next()?.strip_prefix(b"n=")?)?;
        let nonce = attributes.next()?.strip_prefix(b"r=")?;
        let printable = nonce.iter().all(u8::is_ascii_graphic);
        if nonce.is_empty() || nonce.len() > CLIENT_NONCE_BYTES_MAX || !printable {
            return None;
        }
        let binding = [header, &data].concat();
        Some(Self { authorization, login, nonce: nonce.to_vec(), bare: bare.to_vec(), binding })
    }

    /// Whether the client says that it would have bound the login, had it been offered.
    pub fn misses_binding(&self) -> bool {
        self.binding.first() == Some(&b'y')
    }

    /// The server's first message, and what has to be known to read the client's last.
    pub fn challenge(self, offer: ScramOffer) -> (Scram, Vec<u8>) {
        let nonce = [self.nonce.as_slice(), &offer.nonce].concat();
        let salt = base64::encode(&offer.verifier.salt);
        let rest = alloc::format!(",s={salt},i={}", offer.verifier.iterations);
        let server_first = [b"r=", nonce.as_slice(), rest.as_bytes()].concat();
        let signed = [self.bare.as_slice(), b",", &server_first].concat();
        let Self { authorization, login, binding, .. } = self;
        (Scram { authorization, login, binding, nonce, signed, verifier: offer.verifier }, server_first)
    }
}

/// An exchange that waits for the client's last message.
#[derive(Clone)]
pub struct Scram {
    authorization: Vec<u8>,
    login: Vec<u8>,
    binding: Vec<u8>,
    nonce: Vec<u8>,
    signed: Vec<u8>,
    verifier: ScramVerifier,
}

impl fmt::Debug for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scram({:?})", alloc::string::String::from_utf8_lossy(&self.login))
    }
}

/// What the client's last message comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Whose rights are wanted; empty, or the same as `login`.
    pub authorization: Vec<u8>,
    /// Who logs in.
    pub login: Vec<u8>,
    /// The verifier whose password the client knows; `None`: it does not know it.
    pub proven: Option<ScramVerifier>,
    /// The server's last message, by which it proves itself; only for a client that is let in.
    pub server_final: Vec<u8>,
}

impl Scram {
    /// Reads the client's last message; `None` if it is not one.
    pub fn finish(self, message: &[u8]) -> Option<Finished> {
        let before_proof = message.windows(3).rposition(|window| window == b",p=")?;
        let (without_proof, proof) = (message.get(..before_proof)?, message.get(before_proof + 3..)?);
        let mut attributes = without_proof.split(|&b| b == b',');
        let binding = base64::decode(attributes.next()?.strip_prefix(b"c=")?, BINDING_BYTES_MAX).ok()?;
        let nonce = attributes.next()?.strip_prefix(b"r=")?;
        let proof: [u8; 32] = base64::decode(proof, BINDING_BYTES_MAX).ok()?.try_into().ok()?;

        let signed: [&[u8]; 3] = [&self.signed, b",", without_proof];
        let signature = hmac(&self.verifier.stored_key, &signed);
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(octet, other)| *octet ^= other);
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        let knows = same(&stored_key, &self.verifier.stored_key);
        // Another binding is another TLS connection: somebody stands in between.
        let right = knows & same(&binding, &self.binding) & same(nonce, &self.nonce);
        let server = base64::encode(&hmac(&self.verifier.server_key, &signed));
        Some(Finished {
            authorization: self.authorization,
            login: self.login,
            proven: right.then_some(self.verifier),
            server_final: [b"v=", server.as_bytes()].concat(),
        })
    }
}

/// The octets a binding is made of (RFC 9266 §2, RFC 5929 §4.1).
fn binding_data(name: &[u8], tls: &TlsInfo) -> Option<Vec<u8>> {
    match name {
        b"tls-exporter" => tls.exporter.map(Vec::from),
        b"tls-server-end-point" => tls.server_end_point.clone(),
        _ => None,
    }
}

/// A name in which `=2C` and `=3D` stand for comma and equals sign (RFC 5802 §5.1).
fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((octet, after)) = rest.split_first() {
        let (octet, after) = match octet {
            0 => return None,
            b'=' => match after.split_at_checked(2)? {
                (b"2C", after) => (b',', after),
                (b"3D", after) => (b'=', after),
                _ => return None,
            },
            octet => (*octet, after),
        };
        out.push(octet);
        rest = after;
    }
    (!out.is_empty()).then_some(out)
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Compares in a time that does not tell where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differs = one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b));
    one.len() == other.len() && core::hint::black_box(differs) == 0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn key_of(text: &str) -> [u8; 32] {
        base64::decode(text.as_bytes(), 32).unwrap().try_into().unwrap()
    }

    /// What the users file has of the password of RFC 7677 §3, `pencil`; made with Python's hashlib.
    pub(crate) fn pencil() -> ScramOffer {
        let verifier = ScramVerifier {
            iterations: 4096,
            salt: base64::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==", 16).unwrap(),
            stored_key: key_of("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="),
            server_key: key_of("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="),
        };
        ScramOffer { verifier, nonce: b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_vec() }
    }

    #[test]
    fn rfc_7677_example() {
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", None).unwrap();
        assert_eq!((&first.login[..], &first.authorization[..]), (&b"user"[..], &b""[..]));
        let (scram, server_first) = first.challenge(pencil());
        assert_eq!(
            server_first,
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let finished = scram.clone().finish(CLIENT_FINAL.as_bytes()).unwrap();
        assert_eq!(finished.proven, Some(pencil().verifier));
        assert_eq!(finished.server_final, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        for (from, to) in [("p=dH", "p=dG"), ("biws", "eSws"), ("$k0,", "$k1,")] {
            let finished = scram.clone().finish(CLIENT_FINAL.replace(from, to).as_bytes()).unwrap();
            assert_eq!(finished.proven, None, "{from}");
        }
        for (from, to) in [("c=", "d="), ("r=", "s="), (",p=", ",q="), ("VQ=", ""), ("biws", "b iw")] {
            assert!(scram.clone().finish(CLIENT_FINAL.replace(from, to).as_bytes()).is_none(), "{from}");
        }
    }

    #[test]
    fn binding_has_to_be_that_of_the_connection() {
        let server_end_point = Some(b"certificate".to_vec());
        let tls = TlsInfo { exporter: Some([5; 32]), server_end_point, ..TlsInfo::default() };
        let parse = |text: &str| ClientFirst::parse(text.as_bytes(), Some(&tls)).map(|first| first.binding);
        let bound = parse("p=tls-exporter,a=you,n=you,r=x").unwrap();
        assert_eq!(bound, [&b"p=tls-exporter,a=you,"[..], &[5; 32]].concat());
        assert_eq!(
            parse("p=tls-server-end-point,,n=you,r=x").unwrap(),
            b"p=tls-server-end-point,,certificate"
        );
        for refused in ["n,,n=you,r=x", "y,,n=you,r=x", "p=tls-unique,,n=you,r=x", "p=,,n=you,r=x"] {
            assert_eq!(parse(refused), None, "{refused}");
        }
        assert!(ClientFirst::parse(b"p=tls-exporter,,n=you,r=x", None).is_none());
        let bare = TlsInfo::default();
        assert!(ClientFirst::parse(b"p=tls-exporter,,n=you,r=x", Some(&bare)).is_none());
        assert!(ClientFirst::parse(b"y,,n=you,r=x", None).unwrap().misses_binding());
    }

    #[test]
    fn first_messages() {
        let login = |text: &str| ClientFirst::parse(text.as_bytes(), None).map(|first| first.login);
        assert_eq!(login("n,,n=a=2Cb=3Dc,r=x"), Some(b"a,b=c".to_vec()));
        assert_eq!(login("n,,n=you,r=x,ext=1"), Some(b"you".to_vec()));
        let long = alloc::format!("n,,n=you,r={}", "x".repeat(CLIENT_NONCE_BYTES_MAX + 1));
        for bad in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=,r=x",
            "n,,n=you",
            "n,,n=you,r=",
            "n,,n=you,r=\u{1}",
            "n,,m=x,n=you,r=x",
            "n,,n=y=2c,r=x",
            "n,,n=y=,r=x",
            "n,b=x,n=you,r=x",
            "n,a=,n=you,r=x",
            "x,,n=you,r=x",
            "n,,n=y\0u,r=x",
            &long,
        ] {
            assert_eq!(login(bad), None, "{bad}");
        }
    }

    #[test]
    fn nobody_has_the_same_salt_each_time() {
        let key = ScramKey::new([1; 32]);
        let nobody = key.made_up(b"nobody@x", 4096, 16);
        assert_eq!(nobody, key.made_up(b"nobody@x", 4096, 16));
        assert_eq!(nobody.salt.len(), 16);
        assert_ne!(nobody.salt, key.made_up(b"other@x", 4096, 16).salt);
        assert_ne!(nobody.salt, ScramKey::new([2; 32]).made_up(b"nobody@x", 4096, 16).salt);
        assert_ne!(key.nonce(1, 2, 3), key.nonce(1, 3, 2));
        assert_eq!(key.nonce(1, 2, 3).len(), 24);
        assert_eq!(alloc::format!("{key:?}"), "ScramKey(…)");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_no_proof(first in ".{0,60}", last in ".{0,60}", octets: Vec<u8>) {
            let _ = ClientFirst::parse(&octets, None);
            let _ = ClientFirst::parse(first.as_bytes(), None);
            let (scram, _) = ClientFirst::parse(b"n,,n=you,r=x", None).unwrap().challenge(pencil());
            prop_assert!(scram.clone().finish(last.as_bytes()).is_none_or(|done| done.proven.is_none()));
            prop_assert!(scram.finish(&octets).is_none_or(|done| done.proven.is_none()));
        }
    }
}
