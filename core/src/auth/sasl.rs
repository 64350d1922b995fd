//! One SASL exchange (RFC 4422), the server's side, without its encoding: PLAIN (RFC 4616), LOGIN
//! (draft-murchison-sasl-login), SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677).
//!
//! IMAP and SMTP put the same messages into different lines; what the messages are is here. An exchange is moved
//! from message to message: [`Exchange::begin`] gives the first [`Turn`], [`Exchange::message`] each further one.
//!
//! ```
//! use postier_core::auth::sasl::{Exchange, Mechanism, Turn};
//! let Turn::Challenge(exchange, prompt) = Exchange::begin(Mechanism::Login, None, None) else { panic!() };
//! assert_eq!(prompt, b"Username:");
//! let Turn::Challenge(exchange, _) = exchange.message(b"you".to_vec(), None) else { panic!() };
//! let Turn::Attempt(attempt, None) = exchange.message(b"secret".to_vec(), None) else { panic!() };
//! assert_eq!(attempt.login, b"you");
//! ```

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::scram::{ClientFirst, Finished, Scram, ScramOffer};
use super::{Attempt, Credentials, Proof};
use crate::machine::TlsInfo;
use crate::site::Account;

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM-SHA-256-PLUS: bound to the TLS connection.
    ScramSha256Plus,
    /// SCRAM-SHA-256
    ScramSha256,
    /// PLAIN
    Plain,
    /// LOGIN
    Login,
}

/// What decides which mechanisms are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// A login is possible here and now.
    pub login: bool,
    /// Everybody who may log in has a verifier for SCRAM: a client takes the strongest mechanism it is shown, and
    /// who has none could not get in.
    pub scram: bool,
    /// The TLS connection has a binding.
    pub binding: bool,
}

impl Mechanism {
    /// All of them, the strongest first: some clients take the first they know.
    pub const ALL: [Mechanism; 4] =
        [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    /// Its name (IANA SASL mechanisms).
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }

    /// The one of that name, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| name.eq_ignore_ascii_case(mechanism.name().as_bytes()))
    }

    /// Whether it is offered.
    pub const fn is_offered(self, offered: Offered) -> bool {
        match self {
            Mechanism::ScramSha256Plus => offered.login && offered.scram && offered.binding,
            Mechanism::ScramSha256 => offered.login && offered.scram,
            Mechanism::Plain | Mechanism::Login => offered.login,
        }
    }
}

/// An exchange that waits for the client's next message.
#[derive(Debug)]
pub enum Exchange {
    /// PLAIN: all of it.
    Plain,
    /// LOGIN: the name.
    LoginName,
    /// LOGIN: the password of this name.
    LoginPassword(Vec<u8>),
    /// SCRAM: who it is; bound to the connection or not.
    ScramFirst {
        /// It is SCRAM-SHA-256-PLUS.
        bound: bool,
    },
    /// SCRAM: the proof.
    ScramFinal(Box<Scram>),
    /// SCRAM: the server has proven itself, too, to a client that is let in.
    Acknowledge(Arc<Account>),
}

/// What follows from a message.
#[derive(Debug)]
pub enum Turn {
    /// Say this, and wait.
    Challenge(Exchange, Vec<u8>),
    /// Ask for the verifier of this login, and go on with [`Exchange::offer`].
    Verifier(Box<ClientFirst>),
    /// Ask whether this is right. Who is let in is told the second part, if there is one, and goes on with
    /// [`Exchange::Acknowledge`].
    Attempt(Attempt, Option<Vec<u8>>),
    /// The client is content with the server: it is in.
    LoggedIn(Arc<Account>),
    /// That was no message of the mechanism.
    Malformed,
}

impl Exchange {
    /// The first turn: with the client's initial response, if there was one. `tls` is the connection, where
    /// [`Offered::binding`] was true.
    pub fn begin(mechanism: Mechanism, initial: Option<Vec<u8>>, tls: Option<&TlsInfo>) -> Turn {
        let exchange = match mechanism {
            Mechanism::Plain => Exchange::Plain,
            Mechanism::Login => Exchange::LoginName,
            Mechanism::ScramSha256 => Exchange::ScramFirst { bound: false },
            Mechanism::ScramSha256Plus => Exchange::ScramFirst { bound: true },
        };
        match (initial, mechanism) {
            // LOGIN is the server's to begin: an empty response says nothing.
            (Some(initial), Mechanism::Login) if initial.is_empty() => exchange.prompt(),
            (Some(initial), _) => exchange.message(initial, tls),
            (None, _) => exchange.prompt(),
        }
    }

    /// The client's next message.
    pub fn message(self, message: Vec<u8>, tls: Option<&TlsInfo>) -> Turn {
        match self {
            Exchange::Plain => match Credentials::from_plain(&message) {
                Some(credentials) => Turn::Attempt(credentials.into(), None),
                None => Turn::Malformed,
            },
            Exchange::LoginName if message.is_empty() => Turn::Malformed,
            Exchange::LoginName => Exchange::LoginPassword(message).prompt(),
            Exchange::LoginPassword(_) if message.is_empty() => Turn::Malformed,
            Exchange::LoginPassword(login) => Turn::Attempt(
                Credentials { authorization: Vec::new(), login, password: message }.into(),
                None,
            ),
            Exchange::ScramFirst { bound } => match ClientFirst::parse(&message, tls.filter(|_| bound)) {
                // RFC 5802 §6: the binding was offered, and somebody has taken it out of the list on its way.
                Some(first) if first.misses_binding() && tls.is_some_and(TlsInfo::has_binding) => {
                    Turn::Malformed
                }
                // Without a connection to bind to, a message that binds nothing must not pass for one that does.
                Some(_) if bound && tls.is_none() => Turn::Malformed,
                Some(first) => Turn::Verifier(Box::new(first)),
                None => Turn::Malformed,
            },
            Exchange::ScramFinal(scram) => match scram.finish(&message) {
                Some(Finished { authorization, login, proven, server_final }) => {
                    let proof = Proof::Scram(proven);
                    Turn::Attempt(Attempt { authorization, login, proof }, Some(server_final))
                }
                None => Turn::Malformed,
            },
            Exchange::Acknowledge(account) if message.is_empty() => Turn::LoggedIn(account),
            Exchange::Acknowledge(_) => Turn::Malformed,
        }
    }

    /// The verifier is there: the server's first message of SCRAM.
    pub fn offer(first: ClientFirst, offer: ScramOffer) -> (Exchange, Vec<u8>) {
        let (scram, server_first) = first.challenge(offer);
        (Exchange::ScramFinal(Box::new(scram)), server_first)
    }

    fn prompt(self) -> Turn {
        let prompt: &[u8] = match &self {
            // Some clients look at the letters.
            Exchange::LoginName => b"Username:",
            Exchange::LoginPassword(_) => b"Password:",
            Exchange::Plain
            | Exchange::ScramFirst { .. }
            | Exchange::ScramFinal(_)
            | Exchange::Acknowledge(_) => b"",
        };
        Turn::Challenge(self, prompt.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls() -> TlsInfo {
        TlsInfo { exporter: Some([5; 32]), ..TlsInfo::default() }
    }

    #[test]
    fn names() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::named(mechanism.name().to_lowercase().as_bytes()), Some(mechanism));
        }
        assert_eq!(Mechanism::named(b"CRAM-MD5"), None);
        let offered = |offered| Mechanism::ALL.into_iter().filter(move |m| m.is_offered(offered)).count();
        let all = Offered { login: true, scram: true, binding: true };
        assert_eq!(offered(all), 4);
        assert_eq!(offered(Offered { binding: false, ..all }), 3);
        assert_eq!(offered(Offered { scram: false, ..all }), 2);
        assert_eq!(offered(Offered { login: false, ..all }), 0);
    }

    #[test]
    fn a_binding_cannot_be_talked_away() {
        let begin = |mechanism, text: &str, tls: Option<&TlsInfo>| {
            matches!(Exchange::begin(mechanism, Some(text.into()), tls), Turn::Verifier(_))
        };
        let (plus, unbound) = (Mechanism::ScramSha256Plus, Mechanism::ScramSha256);
        assert!(begin(plus, "p=tls-exporter,,n=you,r=x", Some(&tls())));
        assert!(begin(unbound, "n,,n=you,r=x", Some(&tls())));
        // Had the client seen SCRAM-SHA-256-PLUS, it would have bound.
        assert!(!begin(unbound, "y,,n=you,r=x", Some(&tls())));
        assert!(begin(unbound, "y,,n=you,r=x", Some(&TlsInfo::default())));
        assert!(begin(unbound, "y,,n=you,r=x", None));
        assert!(!begin(plus, "n,,n=you,r=x", Some(&tls())));
        assert!(!begin(plus, "n,,n=you,r=x", None));
        assert!(!begin(unbound, "p=tls-exporter,,n=you,r=x", Some(&tls())));
    }
}
