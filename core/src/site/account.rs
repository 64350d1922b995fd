//! Accounts: who has a mailbox here, where it is, and what proves a login.
//!
//! An account is a full address. Its secret is an opaque string of the users file
//! (`{SCHEME}hash`): only the host can check it, because hashing is slow and needs memory.
//! Nothing here prints a secret.

use alloc::vec::Vec;
use core::fmt;

use super::Quota;

/// The place of an [`Account`] in its [`Site`](super::Site); meaningless in another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountId(pub u32);

/// One mailbox owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// `user@domain`, in lower case; the name by which the account is known everywhere.
    pub address: Vec<u8>,
    /// The part of the address before the last `@`, in lower case.
    pub user: Vec<u8>,
    /// The part of the address after the last `@`, in lower case.
    pub domain: Vec<u8>,
    /// Path of the account's Maildir, as the file system has it.
    pub maildir: Vec<u8>,
    /// `{SCHEME}hash` as the users file has it.
    pub secret: Secret,
    /// What SCRAM-SHA-256 needs, where the users file has it.
    pub scram: Option<ScramVerifier>,
    /// How much mail it may have.
    pub quota: Option<Quota>,
}

impl Account {
    /// An account for `user@domain` whose names are brought to lower case.
    ///
    /// # Errors
    /// [`BadName`] when the user cannot be a name: it would be unsafe in a path or unusable in an address.
    pub fn new(user: &[u8], domain: &[u8], maildir: Vec<u8>, secret: Secret) -> Result<Self, BadName> {
        check_user(user)?;
        let (user, domain) = (super::fold(user), super::fold(domain));
        let address = super::join(&user, &domain);
        Ok(Self { address, user, domain, maildir, secret, scram: None, quota: None })
    }
}

/// Why a user part cannot name an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadName {
    /// Nothing before the `@`.
    Empty,
    /// Longer than the 64 octets of RFC 5321 §4.5.3.1.1.
    TooLong,
    /// Begins with a dot: it would name a hidden or a parent directory.
    LeadingDot,
    /// Holds `/`, a space, a control character, or one of `: " \ @ + % ! , ; < > ( ) [ ] |`,
    /// which mean something else in a path, an address or a file of names.
    Octet(u8),
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the user part is empty"),
            Self::TooLong => f.write_str("the user part is longer than 64 octets"),
            Self::LeadingDot => f.write_str("the user part begins with a dot"),
            Self::Octet(b) if b.is_ascii_graphic() => {
                write!(f, "the user part may not hold {:?}", char::from(*b))
            }
            Self::Octet(b' ') => f.write_str("the user part may not hold a space"),
            Self::Octet(b) => write!(f, "the user part may not hold the octet {b:#04x}"),
        }
    }
}

/// Whether `user` can be the user part of an account's address.
///
/// # Errors
/// [`BadName`] with the reason.
pub fn check_user(user: &[u8]) -> Result<(), BadName> {
    match user {
        [] => return Err(BadName::Empty),
        [b'.', ..] => return Err(BadName::LeadingDot),
        _ if user.len() > 64 => return Err(BadName::TooLong),
        _ => {}
    }
    let bad = |b: &&u8| b.is_ascii_control() || br#"/ :"\@+%!,;<>()[]|"#.contains(b);
    match user.iter().find(bad) {
        Some(b) => Err(BadName::Octet(*b)),
        None => Ok(()),
    }
}

/// A stored password hash: `{SCHEME}hash`. Its `Debug` shows only the scheme.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Keeps the string as the users file has it.
    pub fn new(stored: impl Into<Vec<u8>>) -> Self {
        Self(stored.into())
    }

    /// Nobody logs in: the field is empty or `*`, or begins with `!`.
    pub fn is_locked(&self) -> bool {
        matches!(*self.0, [] | [b'*'] | [b'!', ..])
    }

    /// The whole stored string, for the code that checks passwords.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.0.iter().position(|&b| b == b'}') {
            Some(end) if self.0.first() == Some(&b'{') => self.0.get(..=end).unwrap_or_default(),
            Some(_) | None => b"",
        };
        write!(f, "Secret({}…)", alloc::string::String::from_utf8_lossy(scheme))
    }
}

/// What a server keeps to take part in SCRAM-SHA-256 (RFC 5802 §3, RFC 7677): enough to verify a
/// client and to prove itself to it, not enough to log in elsewhere. Its `Debug` shows only the cost.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// PBKDF2 iterations; RFC 7677 §4 wants 4096 at least.
    pub iterations: u32,
    /// The salt, decoded.
    pub salt: Vec<u8>,
    /// `H(HMAC(SaltedPassword, "Client Key"))`.
    pub stored_key: [u8; 32],
    /// `HMAC(SaltedPassword, "Server Key")`.
    pub server_key: [u8; 32],
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramVerifier({} iterations)", self.iterations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "a:b", "a@b", "a+b", "a%b", "a!b", "a\0b"] {
            assert!(check_user(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for good in ["you", "first.last", "o'neil", "a_b-c=d", "jürgen", "7"] {
            assert_eq!(check_user(good.as_bytes()), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = Secret::new("{PLAIN}hunter2");
        assert_eq!(format!("{secret:?}"), "Secret({PLAIN}…)");
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
        let scram = ScramVerifier {
            iterations: 4096,
            salt: b"salt".to_vec(),
            stored_key: [7; 32],
            server_key: [9; 32],
        };
        assert_eq!(format!("{scram:?}"), "ScramVerifier(4096 iterations)");
    }
}
