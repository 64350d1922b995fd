//! What a client says to log in, and what comes back. Shared by SMTP and IMAP.
//!
//! The core does not check passwords: hashing is slow and wants a thread of its own, so it is an ask. A proof of
//! SCRAM is an HMAC or two and is checked where it comes in.

pub mod sasl;
pub mod scram;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::site::{Account, ScramVerifier};

/// A name and a password, as SASL PLAIN (RFC 4616), SASL LOGIN or IMAP LOGIN bring them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Whose rights are wanted; empty, or the same as `login`.
    pub authorization: Vec<u8>,
    /// Who logs in.
    pub login: Vec<u8>,
    /// The password, in the clear.
    pub password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?})", alloc::string::String::from_utf8_lossy(&self.login))
    }
}

impl Credentials {
    /// The message of SASL PLAIN, `authzid NUL authcid NUL passwd` (RFC 4616 §2); `None` if it is not one.
    pub fn from_plain(message: &[u8]) -> Option<Self> {
        let mut parts = message.split(|&b| b == 0);
        let (authorization, login, password) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && !login.is_empty() && !password.is_empty();
        whole.then(|| Credentials {
            authorization: authorization.into(),
            login: login.into(),
            password: password.into(),
        })
    }
}

/// A password, in the clear. Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What a login is to be decided by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whose rights are wanted; empty, or the same as `login`.
    pub authorization: Vec<u8>,
    /// Who logs in.
    pub login: Vec<u8>,
    /// What shows it.
    pub proof: Proof,
}

/// What shows that somebody is who they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The password.
    Password(Password),
    /// SCRAM: the client knows the password this verifier was made from; `None`: it knows none.
    Scram(Option<ScramVerifier>),
}

impl From<Credentials> for Attempt {
    fn from(Credentials { authorization, login, password }: Credentials) -> Self {
        Attempt { authorization, login, proof: Proof::Password(Password(password)) }
    }
}

/// The answer to a login.
#[derive(Clone, Debug)]
pub enum AuthVerdict {
    /// Welcome.
    Granted(Arc<Account>),
    /// Wrong name or password: nobody learns which.
    Denied,
    /// Try again later.
    Temporary,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_has_exactly_three_parts() {
        let found = Credentials::from_plain(b"\0you\0secret").unwrap();
        assert_eq!((&found.login[..], &found.password[..]), (&b"you"[..], &b"secret"[..]));
        assert_eq!(alloc::format!("{found:?}"), "Credentials(\"you\")");
        for bad in [&b""[..], b"you\0secret", b"\0you\0secret\0", b"\0\0secret", b"\0you\0"] {
            assert!(Credentials::from_plain(bad).is_none(), "{bad:?}");
        }
    }
}
