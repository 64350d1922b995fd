//! The SMTP server session (RFC 5321): the questions it asks and the answers it takes.
//!
//! The session knows the protocol; whether a recipient exists, a password is right or a message has become
//! durable it asks. See [`Ask`] for the questions in the order of a transaction:
//!
//! `Verifier` (SCRAM) → `Authenticate` (submission) → `Sender` → `Recipient`… → `Begin` → octets by
//! [`Action::Body`](crate::machine::Action::Body) → `Commit`. A transaction that ends otherwise after `Begin`
//! is undone by [`Action::Cancel`](crate::machine::Action::Cancel) with the number of its `Begin`.
//!
//! The first `Body` of a message is its trace (Return-Path and Received, lines ending with CRLF), the others
//! are the message as it came, without a Return-Path of others; at submission with the fields it lacked, and without
//! Bcc.
//!
//! | file | what |
//! |---|---|
//! | `session` | what is expected next; the pump; timers, shutdown |
//! | `ask` | asking, answers, lost answers |
//! | `hello` | EHLO, HELO, STARTTLS |
//! | `auth` | AUTH |
//! | `mail` | MAIL, RCPT, RSET |
//! | `data` | DATA, BDAT, the commit |
//! | `message` | what becomes of a message's octets |
//!
//! ```
//! use postier_core::limits::Limits;
//! use postier_core::machine::{Action, CloseReason, Input, Machine, Now};
//! use postier_core::send_queue::{SendQueue, Transmit};
//! use postier_core::smtp::server::{Role, Session, Setup};
//!
//! let setup = Setup {
//!     role: Role::Exchange,
//!     hostname: "mail.example.org".into(),
//!     peer: [192, 0, 2, 7].into(),
//!     starttls: false,
//!     tls: None,
//!     plaintext_login: false,
//!     scram: false,
//!     refuse_bare_newlines: false,
//!     limits: Limits::default(),
//!     session: 1,
//!     seed: 2,
//! };
//! let (now, mut tx) = (Now::default(), SendQueue::default());
//! let mut session = Session::new(setup, now, &mut tx);
//! let mut received = &b"NOOP\r\nQUIT\r\n"[..];
//! while let Some(step) = session.handle_input(now, Input::Bytes(received), &mut tx) {
//!     received = &received[step.consumed..];
//!     if let Some(action) = step.action {
//!         assert!(matches!(action, Action::Close(CloseReason::Goodbye)));
//!     }
//! }
//! let Some(Transmit::Bytes(replies)) = tx.poll_transmit() else { panic!("replies") };
//! assert_eq!(replies, b"220 mail.example.org ESMTP postier\r\n250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n");
//! ```

mod ask;
mod auth;
mod data;
mod hello;
mod mail;
pub(crate) mod message;
mod session;

#[cfg(test)]
mod harness;
#[cfg(test)]
mod invariance;
#[cfg(test)]
mod transcripts;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::auth::scram::ScramOffer;
use crate::auth::{Attempt, AuthVerdict};
use crate::limits::Limits;
use crate::machine::TlsInfo;
use crate::site::Account;
use crate::ticket::{Answered, Ticket};

pub use super::parameter::Notify;
pub use session::Session;

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Port 25: mail from anybody for local recipients.
    Exchange,
    /// Ports 587 and 465: mail from users of this server, after AUTH over TLS.
    Submission,
}

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the listener is for.
    pub role: Role,
    /// The name in the greeting and in Received.
    pub hostname: Arc<str>,
    /// The client's address.
    pub peer: IpAddr,
    /// STARTTLS can be offered.
    pub starttls: bool,
    /// TLS was there from the first octet (port 465).
    pub tls: Option<TlsInfo>,
    /// AUTH is allowed without TLS (`[login] without_tls = "loopback"` and the client is there).
    pub plaintext_login: bool,
    /// SCRAM can be offered ([`Site::offers_scram`](crate::site::Site::offers_scram)).
    pub scram: bool,
    /// Refuse messages with a bare CR or LF after their real end (`[inbound] bare_newline = "refuse"`).
    pub refuse_bare_newlines: bool,
    /// Bounds.
    pub limits: Limits,
    /// A number that no other session of this process has; with [`Setup::seed`] it names transactions.
    pub session: u64,
    /// Randomness.
    pub seed: u64,
}

/// A question of the session.
#[derive(Debug)]
pub enum Ask {
    /// What does SCRAM need for this login? There is an answer for everybody.
    Verifier {
        /// To answer with.
        ticket: Ticket<ScramOffer>,
        /// Who wants to log in.
        login: Vec<u8>,
    },
    /// Is this login right?
    Authenticate {
        /// To answer with.
        ticket: Ticket<AuthVerdict>,
        /// Who, and what shows it.
        attempt: Attempt,
    },
    /// May this account write in the name of this reverse-path? Asked at submission only; never for `<>`.
    Sender {
        /// To answer with.
        ticket: Ticket<SenderVerdict>,
        /// Who is logged in.
        account: Arc<Account>,
        /// Local part, unquoted.
        local: Vec<u8>,
        /// Domain.
        domain: Vec<u8>,
    },
    /// Who gets mail for this forward-path?
    Recipient {
        /// To answer with.
        ticket: Ticket<RecipientVerdict>,
        /// Who is logged in, at submission.
        account: Option<Arc<Account>>,
        /// Local part, unquoted.
        local: Vec<u8>,
        /// Domain; `None` for `<postmaster>`. An address literal comes with its brackets.
        domain: Option<Vec<u8>>,
        /// Announced size of the mail in octets, if any.
        size: Option<u64>,
    },
    /// A message is about to come.
    Begin {
        /// To answer with; its number names the transaction in a later Cancel.
        ticket: Ticket<BeginVerdict>,
        /// The envelope.
        transaction: Transaction,
    },
    /// The message has come whole: make it durable in every mailbox, or in none.
    Commit {
        /// To answer with.
        ticket: Ticket<CommitVerdict>,
    },
}

/// The envelope of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What the client is told and the log names it by.
    pub id: Arc<str>,
    /// Reverse-path without brackets; empty for `<>`.
    pub reverse_path: Vec<u8>,
    /// Recipients, in the order of their RCPT.
    pub recipients: Vec<Recipient>,
    /// Who sent it, at submission.
    pub submitter: Option<Arc<Account>>,
    /// It comes from an address that may send without logging in ([`Sending::is_taken_from`]); whoever answers the ask
    /// knows it.
    ///
    /// [`Sending::is_taken_from`]: crate::site::Sending::is_taken_from
    pub trusted: bool,
    /// Announced size in octets, if any.
    pub size: Option<u64>,
    /// `BODY=8BITMIME` was given.
    pub eight_bit: bool,
    /// `SMTPUTF8` was given.
    pub smtputf8: bool,
    /// `RET=` of RFC 3461 §4.3: `Some(true)` = FULL, `Some(false)` = HDRS.
    pub dsn_return_full: Option<bool>,
    /// `ENVID=` of RFC 3461 §4.4, xtext decoded.
    pub dsn_envelope_id: Option<Vec<u8>>,
}

impl Transaction {
    /// What it holds in memory, in octets: what a client can make grow.
    pub fn octets(&self) -> usize {
        let recipients = self.recipients.iter().map(|recipient| {
            let original =
                recipient.dsn_original.as_ref().map_or(0, |(kind, address)| kind.len() + address.len());
            let accounts = recipient.accounts.len() * size_of::<Arc<Account>>();
            let remote: usize =
                recipient.remote.iter().map(|address| size_of::<Arc<str>>() + address.len()).sum();
            size_of::<Recipient>() + recipient.forward_path.len() + original + accounts + remote
        });
        size_of::<Self>() + self.reverse_path.len() + recipients.sum::<usize>()
    }
}

/// One recipient of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The forward-path as given, without brackets.
    pub forward_path: Vec<u8>,
    /// The accounts whose mailboxes get it.
    pub accounts: Vec<Arc<Account>>,
    /// Addresses elsewhere to which it is sent, without brackets.
    pub remote: Vec<Arc<str>>,
    /// `NOTIFY=` of RFC 3461 §4.1.
    pub dsn_notify: Option<Notify>,
    /// `ORCPT=` of RFC 3461 §4.2: type and address, xtext decoded.
    pub dsn_original: Option<(Vec<u8>, Vec<u8>)>,
}

/// The answer to [`Ask::Sender`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderVerdict {
    /// It is the account's.
    Allowed,
    /// It is not.
    NotYours,
}

/// The answer to [`Ask::Recipient`].
#[derive(Clone, Debug)]
pub enum RecipientVerdict {
    /// Mail for it goes into these mailboxes.
    Local(Vec<Arc<Account>>),
    /// It is sent on to these addresses, and goes into these mailboxes.
    Forward {
        /// May be empty.
        accounts: Vec<Arc<Account>>,
        /// Without brackets.
        remote: Vec<Arc<str>>,
    },
    /// It is sent to the forward-path as it was given.
    Send,
    /// The domain is ours, the mailbox is not there.
    NoSuchUser,
    /// There is no room in the mailbox now.
    Full,
    /// The mailbox may never hold a mail of that size.
    TooBig,
    /// Not for us: on port 25 that would be relaying; at submission there is no way out.
    NotLocal,
    /// Try again later.
    Temporary,
}

impl RecipientVerdict {
    /// Whose mailboxes the mail goes into.
    pub fn accounts(&self) -> &[Arc<Account>] {
        match self {
            Self::Local(accounts) | Self::Forward { accounts, .. } => accounts,
            Self::Send | Self::NoSuchUser | Self::Full | Self::TooBig | Self::NotLocal | Self::Temporary => {
                &[]
            }
        }
    }
}

/// The answer to [`Ask::Begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginVerdict {
    /// Send it.
    Go,
    /// No room now.
    NoSpace,
    /// Try again later.
    Temporary,
}

/// The answer to [`Ask::Commit`]. Whoever gives it reports the delivery, or why there was none; all other
/// reports of a message that was not taken are the session's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitVerdict {
    /// Durable for all recipients.
    Done,
    /// The disk is full; nothing is left of it.
    NoSpace,
    /// The mailbox has no room for it now; nothing is left of it.
    MailboxFull,
    /// The mailbox may never hold it; nothing is left of it.
    MailboxTooSmall,
    /// It did not work now; nothing is left of it.
    Temporary,
}

/// An answer on its way to the session.
#[derive(Debug)]
pub enum Answer {
    /// To [`Ask::Verifier`].
    Verifier(Answered<ScramOffer>),
    /// To [`Ask::Authenticate`].
    Authenticate(Answered<AuthVerdict>),
    /// To [`Ask::Sender`].
    Sender(Answered<SenderVerdict>),
    /// To [`Ask::Recipient`].
    Recipient(Answered<RecipientVerdict>),
    /// To [`Ask::Begin`].
    Begin(Answered<BeginVerdict>),
    /// To [`Ask::Commit`].
    Commit(Answered<CommitVerdict>),
}

/// What a session is told without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Finish what has been accepted for commit, then say 421 and close.
    Shutdown,
}
