//! The SMTP client session (RFC 5321): one connection to another server, for as many mails as there are for it.
//!
//! The session knows the protocol; which mail comes next, what its octets are, and whether the outcome has been noted
//! durably, it asks:
//!
//! [`Ask::Next`] → ([`Ask::Read`]…) → [`Ask::Record`] → [`Ask::Next`] … → QUIT.
//!
//! The outcome of a mail is recorded before anything else is sent, so that a crash can repeat at most the one mail of
//! a connection whose final reply was not noted yet.
//!
//! When the connection ends, [`Session::into_end`] says why, and gives back what became of the mail that was under
//! way; its recipients are as undecided as before.
//!
//! | file | what |
//! |---|---|
//! | `session` | what is expected next; the pump; timers |
//! | `hello` | greeting, EHLO, HELO, STARTTLS, AUTH |
//! | `transaction` | MAIL, RCPT, DATA, BDAT; replies to outcomes |
//! | [`reply`] | one reply out of octets |
//! | [`peer`] | what the server offers |
//!
//! ```
//! use postier_core::machine::{Action, Input, Machine, Now};
//! use postier_core::send_queue::{SendQueue, Transmit};
//! use postier_core::smtp::client::*;
//! let (now, mut tx) = (Now::default(), SendQueue::default());
//! let mut session = Session::new(Setup { hostname: "mail.example.org".into(), ..Setup::default() }, now);
//! let mut talk = |session: &mut Session, octets: &[u8]| {
//!     let step = session.handle_input(now, Input::Bytes(octets), &mut tx).unwrap();
//!     let Some(Transmit::Bytes(sent)) = tx.poll_transmit() else { return (step.action.is_some(), String::new()) };
//!     let sent = String::from_utf8(sent.to_vec()).unwrap();
//!     tx.handle_sent(sent.len());
//!     (step.action.is_some(), sent)
//! };
//! assert_eq!(talk(&mut session, b"220 mx.test ESMTP\r\n"), (false, "EHLO mail.example.org\r\n".into()));
//! let (asks, _) = talk(&mut session, b"250 mx.test\r\n");
//! assert!(asks, "Ask::Next: what is there to send?");
//! ```

mod hello;
pub mod peer;
pub mod reply;
mod session;
mod transaction;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use self::peer::Peer;
use self::reply::Reply;
use crate::auth::Credentials;
use crate::smtp::parameter::Notify;
use crate::ticket::{Answered, Ticket};

pub use session::Session;

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who we say we are.
    pub hostname: Arc<str>,
    /// What to do about STARTTLS.
    pub tls: Tls,
    /// TLS was there from the first octet (port 465 of a smarthost).
    pub implicit_tls: bool,
    /// Log in with these, inside TLS only.
    pub credentials: Option<Credentials>,
    /// How long to wait.
    pub patience: Patience,
    /// Recipients of one mail, unless the server says less.
    pub recipients_max: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            hostname: "localhost".into(),
            tls: Tls::May,
            implicit_tls: false,
            credentials: None,
            patience: Patience::default(),
            recipients_max: 100,
        }
    }
}

/// The policy for a destination, as far as the session decides it. Whose certificate is good, the adapter checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Do not say STARTTLS: a first try inside TLS has failed, or the configuration forbids it.
    Never,
    /// If it is offered.
    May,
    /// Or do not send.
    Must,
}

/// RFC 5321 §4.5.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the greeting, EHLO, MAIL, RCPT and all that is not below.
    pub command: Duration,
    /// For the 354 to DATA.
    pub data: Duration,
    /// For progress in sending a message.
    pub block: Duration,
    /// For the reply to the final dot: the server may be delivering.
    pub end: Duration,
    /// For QUIT: nothing depends on it.
    pub quit: Duration,
    /// For an answer to an ask.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Patience {
            command: minutes(5),
            data: minutes(2),
            block: minutes(3),
            end: minutes(10),
            quit: Duration::from_secs(2),
            answer: minutes(10),
        }
    }
}

/// A mail for this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Without brackets; empty for `<>`.
    pub reverse_path: String,
    /// Whom it is for here. At most as many as [`Ask::Next`] allows.
    pub recipients: Vec<Recipient>,
    /// Octets with CRLF line ends.
    pub size: u64,
    /// It has octets over 127 (RFC 6152).
    pub eight_bit: bool,
    /// Its header, or an address, is UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// `RET=` (RFC 3461 §4.3): `Some(true)` is FULL.
    pub dsn_return_full: Option<bool>,
    /// `ENVID=` (RFC 3461 §4.4), decoded.
    pub dsn_envelope_id: Option<Vec<u8>>,
}

/// One recipient of a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// Without brackets.
    pub forward_path: String,
    /// `NOTIFY=` (RFC 3461 §4.1).
    pub dsn_notify: Option<Notify>,
    /// `ORCPT=` (RFC 3461 §4.2): type and address, decoded.
    pub dsn_original: Option<(String, Vec<u8>)>,
}

/// A question of the session.
#[derive(Debug)]
pub enum Ask {
    /// What is there to send?
    Next {
        /// To answer with.
        ticket: Ticket<NextVerdict>,
        /// What the server offers: a mail that needs what it has not will fail.
        peer: Peer,
        /// At most so many recipients.
        recipients_max: usize,
        /// `TLSv1.3`, say; `None` in the clear.
        tls: Option<&'static str>,
    },
    /// The message's octets (LF line ends) from here on.
    Read {
        /// To answer with.
        ticket: Ticket<ReadVerdict>,
        /// Octets from its start.
        offset: u64,
    },
    /// This became of the recipients, in their order. Answered when it is durable.
    Record {
        /// To answer with.
        ticket: Ticket<()>,
        /// One for each recipient of the mail.
        outcomes: Vec<Outcome>,
    },
}

/// The answer to [`Ask::Next`].
#[derive(Debug, PartialEq, Eq)]
pub enum NextVerdict {
    /// Send this.
    Mail(Box<Mail>),
    /// Nothing.
    Quit,
}

/// The answer to [`Ask::Read`].
#[derive(Debug, PartialEq, Eq)]
pub enum ReadVerdict {
    /// The next octets of the message; none at its end.
    Octets(Vec<u8>),
    /// They cannot be read now. The connection is given up in the middle of the message, so that nobody takes a part
    /// of it for the whole.
    Failed,
}

/// An answer on its way to the session.
#[derive(Debug)]
pub enum Answer {
    /// To [`Ask::Next`].
    Next(Answered<NextVerdict>),
    /// To [`Ask::Read`].
    Read(Answered<ReadVerdict>),
    /// To [`Ask::Record`].
    Record(Answered<()>),
}

/// What a session is told without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Finish the mail under way, then say QUIT.
    Shutdown,
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server has taken responsibility for it.
    Delivered {
        /// To the final dot.
        reply: Reply,
        /// The server notifies the sender itself (RFC 3461 §5.2.2); otherwise "relayed" is ours to say.
        dsn: bool,
    },
    /// The server will not take it, now (4xx) or ever (5xx).
    Refused(Reply),
    /// The server lacks what the mail needs; for good, at this server.
    Unfit(Lack),
}

/// What a server lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It takes no message of this size (RFC 1870 §6.1).
    Size {
        /// What it takes, in octets.
        max: u64,
    },
    /// SMTPUTF8, for an address or a header in UTF-8 (RFC 6531 §3.5).
    SmtpUtf8,
    /// 8BITMIME, for octets over 127 (RFC 6152 §3). Re-encoding would break signatures, so the mail goes back.
    EightBit,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything there was has been sent, and QUIT said.
    Done,
    /// The server refused the session: at its greeting, at EHLO, at AUTH, or with 421.
    Refused(Reply),
    /// The policy wants TLS and the server does not offer it, or says no to STARTTLS.
    NoTls,
    /// The TLS handshake came to nothing: no common version, a certificate the policy does not accept, nonsense.
    TlsFailed,
    /// Our password is for TLS only, or the server offers no way to log in that we know.
    NoAuth,
    /// The server closed, or the connection broke.
    Lost,
    /// The server said nothing for too long.
    TimedOut,
    /// It does not speak SMTP.
    Nonsense,
    /// We ourselves could not go on: the message could not be read, or nobody answered our question.
    Local,
}
