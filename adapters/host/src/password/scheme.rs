//! Stored password hashes as a Dovecot passwd-file writes them: `{SCHEME}hash`, `{SCHEME.b64}`, `{SCHEME.hex}`.
//!
//! Without a scheme a string that begins with `$` is one of crypt(3)'s. An empty field, `*` and everything that
//! begins with `!` is a locked account: it gets mail, nobody logs in. Schemes that were broken long ago (DES and MD5
//! crypt, CRAM-MD5, LANMAN …) are not known here.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{self, Algorithm};
use base64ct::{Base64, Base64Unpadded, Encoding};
use postier_core::site::ScramVerifier;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use yescrypt::Yescrypt;

use super::argon::ArgonHash;
use super::scram;

/// The schemes accepted, for messages.
const KNOWN: &str = "ARGON2ID, ARGON2I, BLF-CRYPT, SHA512-CRYPT, SHA256-CRYPT, CRYPT, SCRAM-SHA-256, SSHA512, SSHA256, \
                     SSHA, SHA512, SHA256, SHA, PLAIN";

/// A stored password, read. It has no `Debug`: it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Argon(ArgonHash),
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt(String),
    /// `$5$`, `$6$`.
    ShaCrypt(String),
    /// `$y$`.
    Yescrypt(String),
    Digest {
        digest: Digest,
        sum: Vec<u8>,
        salt: Vec<u8>,
    },
    Scram(ScramVerifier),
    Plain(Vec<u8>),
    Locked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// Why a stored password cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SchemeError {
    /// Neither `{SCHEME}` nor `$`.
    NoScheme,
    /// A scheme that is not supported; its name.
    Unknown(String),
    /// A hash that is not of its scheme's form.
    Malformed {
        /// The scheme's name.
        scheme: String,
        /// What is wrong, to be read after "the hash is malformed:".
        why: &'static str,
    },
}

impl SchemeError {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::NoScheme => {
                "write `{SCHEME}` before the hash, or set a new password with `postier user passwd`".into()
            }
            Self::Unknown(_) => {
                format!("set a new password with `postier user passwd`; schemes known here: {KNOWN}")
            }
            Self::Malformed { .. } => {
                "restore the line, or set a new password with `postier user passwd`".into()
            }
        }
    }
}

impl fmt::Display for SchemeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme => f.write_str("the password has no scheme"),
            Self::Unknown(scheme) => write!(f, "the password scheme {{{scheme}}} is not supported"),
            Self::Malformed { scheme, why } => write!(f, "the {{{scheme}}} hash is malformed: {why}"),
        }
    }
}

impl std::error::Error for SchemeError {}

impl StoredHash {
    /// Hashes with the same word take the same time to compare; `None` for one that nothing matches.
    pub(super) fn cost(&self) -> Option<String> {
        // `$scheme$parameters` without salt and hash.
        let parameters = |text: &str| text.rsplitn(3, '$').nth(2).unwrap_or_default().to_owned();
        match &self.0 {
            Kind::Argon(hash) => Some(hash.cost()),
            // The salt and the hash are one word: `$2y$10$…`.
            Kind::Bcrypt(text) => Some(text.get(..7).unwrap_or_default().to_owned()),
            Kind::ShaCrypt(text) | Kind::Yescrypt(text) => Some(parameters(text)),
            Kind::Digest { digest, .. } => {
                Some(format!("digest of {} octets", digest.algorithm().output_len()))
            }
            Kind::Scram(verifier) => Some(format!("SCRAM {}", verifier.iterations)),
            Kind::Plain(_) => Some("plain".to_owned()),
            Kind::Locked => None,
        }
    }

    /// Reads the password field of a users file.
    ///
    /// # Errors
    /// [`SchemeError`] when no password could ever match it.
    pub fn parse(field: &[u8]) -> Result<Self, SchemeError> {
        if field.is_empty() || field == b"*" || field.starts_with(b"!") {
            return Ok(Self(Kind::Locked));
        }
        if field.starts_with(b"$") {
            return crypt("CRYPT", text("CRYPT", field)?).map(Self);
        }
        let rest = field.strip_prefix(b"{").ok_or(SchemeError::NoScheme)?;
        let end = rest.iter().position(|&b| b == b'}').ok_or(SchemeError::NoScheme)?;
        let name = String::from_utf8_lossy(&rest[..end]).to_ascii_uppercase();
        let data = &rest[end + 1..];
        let (scheme, encoding) = match name.split_once('.') {
            None => (name.as_str(), None),
            Some((scheme, encoding)) => (scheme, Some(encoding)),
        };
        let hash = |digest: Digest, salted: bool| {
            let raw_length = digest.algorithm().output_len();
            let guess = if !salted && data.len() == raw_length * 2 { "HEX" } else { "B64" };
            let mut sum = decode(scheme, encoding.unwrap_or(guess), data)?;
            if sum.len() < raw_length || (!salted && sum.len() > raw_length) {
                return Err(malformed(scheme, "it has the wrong length"));
            }
            let salt = sum.split_off(raw_length);
            Ok(Kind::Digest { digest, sum, salt })
        };
        match scheme {
            "SSHA" => return hash(Digest::Sha1, true).map(Self),
            "SSHA256" => return hash(Digest::Sha256, true).map(Self),
            "SSHA512" => return hash(Digest::Sha512, true).map(Self),
            "SHA" | "SHA1" => return hash(Digest::Sha1, false).map(Self),
            "SHA256" => return hash(Digest::Sha256, false).map(Self),
            "SHA512" => return hash(Digest::Sha512, false).map(Self),
            _ => {}
        }
        let data = encoding.map_or_else(|| Ok(data.to_vec()), |encoding| decode(scheme, encoding, data))?;
        match scheme {
            "PLAIN" | "CLEAR" | "CLEARTEXT" => Ok(Self(Kind::Plain(data))),
            "SCRAM-SHA-256" => match scram::parse_fields(text(scheme, &data)?) {
                Ok(verifier) => Ok(Self(Kind::Scram(verifier))),
                Err(_) => Err(malformed(scheme, "it is not `iterations,salt,stored key,server key`")),
            },
            "ARGON2ID" | "ARGON2I" | "BLF-CRYPT" | "SHA512-CRYPT" | "SHA256-CRYPT" | "CRYPT" => {
                crypt(scheme, text(scheme, &data)?).map(Self)
            }
            _ => Err(SchemeError::Unknown(name)),
        }
    }

    /// Whether nobody can log in with it.
    pub fn is_locked(&self) -> bool {
        self.0 == Kind::Locked
    }

    /// Whether the file holds the password itself.
    pub fn is_plain(&self) -> bool {
        matches!(self.0, Kind::Plain(_))
    }

    /// Whether `password` is the one; takes as long as the scheme takes.
    pub fn verify(&self, password: &[u8]) -> bool {
        match &self.0 {
            Kind::Argon(hash) => hash.verify(password),
            // Beyond 72 octets bcrypt never looked.
            Kind::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Kind::ShaCrypt(hash) => ShaCrypt::default().verify_password(password, hash.as_str()).is_ok(),
            Kind::Yescrypt(hash) => Yescrypt::default().verify_password(password, hash.as_str()).is_ok(),
            Kind::Digest { digest: kind, sum, salt } => {
                let mut context = digest::Context::new(kind.algorithm());
                context.update(password);
                context.update(salt);
                verify_slices_are_equal(context.finish().as_ref(), sum).is_ok()
            }
            Kind::Scram(verifier) => scram::verify(verifier, password),
            Kind::Plain(plain) => {
                let sum = |octets| digest::digest(&digest::SHA256, octets);
                verify_slices_are_equal(sum(plain).as_ref(), sum(password).as_ref()).is_ok()
            }
            Kind::Locked => false,
        }
    }
}

impl From<ArgonHash> for StoredHash {
    fn from(hash: ArgonHash) -> Self {
        Self(Kind::Argon(hash))
    }
}

/// The `$id$…` family; `{CRYPT}` takes any of them, the other names take their own.
fn crypt(scheme: &str, hash: &str) -> Result<Kind, SchemeError> {
    let is = |name: &str| scheme == name || scheme == "CRYPT";
    if hash.starts_with("$argon2") {
        let hash = ArgonHash::parse(hash).map_err(|why| malformed(scheme, why))?;
        return match scheme {
            "CRYPT" => Ok(Kind::Argon(hash)),
            "ARGON2ID" if hash.is_argon2id() => Ok(Kind::Argon(hash)),
            "ARGON2I" if hash.is_argon2i() => Ok(Kind::Argon(hash)),
            _ => Err(malformed(scheme, "it is of another scheme")),
        };
    }
    let id = hash.split('$').nth(1).unwrap_or_default();
    let sum = hash.rsplit('$').next().unwrap_or_default();
    let right_length = |length| {
        if sum.len() == length {
            Ok(hash.to_owned())
        } else {
            Err(malformed(scheme, "it has the wrong length"))
        }
    };
    match id {
        "2a" | "2b" | "2y" if is("BLF-CRYPT") => match hash.parse::<bcrypt::HashParts>() {
            Ok(_) => Ok(Kind::Bcrypt(hash.into())),
            Err(_) => Err(malformed(scheme, "it is not a bcrypt hash")),
        },
        "5" if is("SHA256-CRYPT") => right_length(43).map(Kind::ShaCrypt),
        "6" if is("SHA512-CRYPT") => right_length(86).map(Kind::ShaCrypt),
        "y" if is("CRYPT") => right_length(43).map(Kind::Yescrypt),
        "1" => Err(SchemeError::Unknown("MD5-CRYPT".into())),
        "" if scheme == "CRYPT" => Err(SchemeError::Unknown("DES-CRYPT".into())),
        _ => Err(malformed(scheme, "it is of another scheme")),
    }
}

fn decode(scheme: &str, encoding: &str, data: &[u8]) -> Result<Vec<u8>, SchemeError> {
    let data = text(scheme, data)?;
    match encoding {
        "B64" | "BASE64" => {
            let decoded =
                if data.ends_with('=') { Base64::decode_vec(data) } else { Base64Unpadded::decode_vec(data) };
            decoded.map_err(|_| malformed(scheme, "it is not base64"))
        }
        "HEX" => {
            let pairs = data.as_bytes().chunks(2);
            let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let octets: Option<Vec<u8>> = pairs.map(octet).collect();
            octets
                .filter(|octets| octets.len() * 2 == data.len())
                .ok_or(malformed(scheme, "it is not hexadecimal"))
        }
        _ => Err(SchemeError::Unknown(format!("{scheme}.{encoding}"))),
    }
}

fn text<'d>(scheme: &str, data: &'d [u8]) -> Result<&'d str, SchemeError> {
    std::str::from_utf8(data).map_err(|_| malformed(scheme, "it is not text"))
}

fn malformed(scheme: &str, why: &'static str) -> SchemeError {
    SchemeError::Malformed { scheme: scheme.into(), why }
}

#[cfg(test)]
mod tests;
