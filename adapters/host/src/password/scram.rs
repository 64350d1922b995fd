//! SCRAM-SHA-256 verifiers (RFC 5802 §3, RFC 7677): made from a password, written as Dovecot writes them,
//! `{SCRAM-SHA-256}iterations,salt,stored key,server key`, the last three in base64.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64ct::{Base64, Encoding};
use postier_core::auth::scram::ScramKey;
use postier_core::site::ScramVerifier;

/// PBKDF2 iterations of new verifiers, as RFC 7677 §4 advises: 15,000 is the time a phone can afford.
pub const SCRAM_ITERATIONS: u32 = 15_000;

/// Where the state directory has the key for verifiers of nobody.
const KEY_FILE: &str = "scram-key";

/// Most iterations read from a file.
const ITERATIONS_MAX: u32 = 10_000_000;

/// The string is not `{SCRAM-SHA-256}iterations,salt,stored key,server key`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScramFormatError;

impl std::fmt::Display for ScramFormatError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not `{SCRAM-SHA-256}iterations,salt,stored key,server key`")
    }
}

impl std::error::Error for ScramFormatError {}

/// A new verifier for `password`, with a random salt. `None` for a password that SASLprep (RFC 4013)
/// forbids: clients could not use it with SCRAM.
pub fn make_scram(password: &[u8]) -> Option<ScramVerifier> {
    let mut salt = [0; 16];
    rand::fill(&mut salt).expect("the kernel's random source has no failure once the system is up");
    derive(&prepare(password)?, &salt, SCRAM_ITERATIONS)
}

/// The key that verifiers of nobody are made from; made when it is not there. It is kept in the state directory, for
/// a salt that changes with each start would tell that its user is nobody.
///
/// # Errors
/// The file cannot be read, or be made.
pub fn load_scram_key(state: &Path) -> io::Result<ScramKey> {
    let path = state.join(KEY_FILE);
    match fs::read(&path) {
        Ok(octets) => {
            if let Ok(octets) = octets.try_into() {
                return Ok(ScramKey::new(octets));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut octets = [0; 32];
    rand::fill(&mut octets).map_err(|_| io::Error::other("the system has no randomness"))?;
    let temporary = state.join(format!("{KEY_FILE}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&octets)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    Ok(ScramKey::new(octets))
}

/// The verifier as the users file has it.
pub fn format_scram(verifier: &ScramVerifier) -> String {
    let [salt, stored, server] =
        [verifier.salt.as_slice(), &verifier.stored_key, &verifier.server_key].map(Base64::encode_string);
    format!("{{SCRAM-SHA-256}}{},{salt},{stored},{server}", verifier.iterations)
}

/// Reads what [`format_scram`] writes.
///
/// # Errors
/// [`ScramFormatError`].
pub fn parse_scram(text: &str) -> Result<ScramVerifier, ScramFormatError> {
    parse_fields(text.strip_prefix("{SCRAM-SHA-256}").ok_or(ScramFormatError)?)
}

pub(super) fn parse_fields(text: &str) -> Result<ScramVerifier, ScramFormatError> {
    let mut fields = text.split(',');
    let mut next = || fields.next().ok_or(ScramFormatError);
    let iterations = next()?.parse().map_err(|_| ScramFormatError)?;
    let mut octets = || Base64::decode_vec(next()?).map_err(|_| ScramFormatError);
    let (salt, stored, server) = (octets()?, octets()?, octets()?);
    let key = |octets: Vec<u8>| octets.try_into().map_err(|_| ScramFormatError);
    let (stored_key, server_key) = (key(stored)?, key(server)?);
    if fields.next().is_some() || salt.is_empty() || !(1..=ITERATIONS_MAX).contains(&iterations) {
        return Err(ScramFormatError);
    }
    Ok(ScramVerifier { iterations, salt, stored_key, server_key })
}

/// Whether `password` is the one the verifier was made from.
pub(super) fn verify(verifier: &ScramVerifier, password: &[u8]) -> bool {
    let Some(password) = prepare(password) else { return false };
    derive(&password, &verifier.salt, verifier.iterations)
        .is_some_and(|made| verify_slices_are_equal(&made.stored_key, &verifier.stored_key).is_ok())
}

fn prepare(password: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(password).ok()?;
    Some(stringprep::saslprep(text).ok()?.as_bytes().to_vec())
}

fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Option<ScramVerifier> {
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, NonZeroU32::new(iterations)?, salt, password, &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let octets = |tag: &[u8]| -> [u8; 32] { tag.try_into().expect("SHA-256 gives 32 octets") };
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = octets(digest::digest(&digest::SHA256, client_key.as_ref()).as_ref());
    let server_key = octets(hmac::sign(&key, b"Server Key").as_ref());
    Some(ScramVerifier { iterations, salt: salt.to_vec(), stored_key, server_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifiers_survive_the_file() {
        let made = make_scram("pässword".as_bytes()).unwrap();
        assert_eq!(parse_scram(&format_scram(&made)), Ok(made.clone()));
        // SASLprep makes the decomposed spelling the same password.
        assert!(verify(&made, "pa\u{308}ssword".as_bytes()));
        assert!(!verify(&made, b"password"));
        for bad in ["", "{SCRAM-SHA-256}", "{SCRAM-SHA-256}0,YQ==,,", "{SCRAM-SHA-256}4096,YQ==,YQ==,YQ=="] {
            assert_eq!(parse_scram(bad), Err(ScramFormatError), "{bad}");
        }
    }

    #[test]
    fn the_key_is_kept_and_a_damaged_one_is_made_anew() {
        let state = tempfile::tempdir().unwrap();
        let key = load_scram_key(state.path()).unwrap();
        assert_eq!(load_scram_key(state.path()).unwrap(), key);
        fs::write(state.path().join(KEY_FILE), b"short").unwrap();
        let other = load_scram_key(state.path()).unwrap();
        assert_ne!(other, key);
        assert_eq!(load_scram_key(state.path()).unwrap(), other);
        assert!(load_scram_key(&state.path().join("absent")).is_err());
    }

    /// The exchange of RFC 7677 §3: the client's proof must recover the stored key, and the server's
    /// signature must be the one printed there.
    #[test]
    fn rfc_7677_example() {
        let salt = Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = derive(b"pencil", &salt, 4096).unwrap();
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                       r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                       c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
        let server = Base64::encode_string(sign(&verifier.server_key).as_ref());
        assert_eq!(server, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let proof = Base64::decode_vec("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let signature = sign(&verifier.stored_key);
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), verifier.stored_key);
    }
}
