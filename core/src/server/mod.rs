//! The composition: sessions in the front, mailboxes in the office.
//!
//! * [`front::Front`]: connections and their sessions; one per event loop. A connection never changes its front.
//! * [`office::Office`]: store, logins, selections; exactly one per process, so there is one writer per mailbox
//!   and no lock between threads.
//! * [`gate::Gate`]: who may connect at all.
//! * [`throttle::Throttle`]: who may try a password, and when.
//!
//! Connections to other servers live in fronts, too: the office wants one ([`Call`]), an adapter makes it.
//!
//! Front and office exchange [`ToOffice`] and [`FromOffice`]: plain values that can travel between threads.
//! What a session asks and the [`Site`](crate::site::Site) can answer, the front answers on the spot.

pub mod front;
pub mod gate;
pub mod office;
pub mod throttle;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::auth::{AuthVerdict, Proof};
use crate::dns::dane::Dane;
use crate::imap;
use crate::limits::LoginLimits;
use crate::queue::machine::LinkId;
use crate::site::Account;
use crate::smtp;
use crate::ticket::{Answered, Ticket};

use throttle::Who;

/// Numbers a connection; the adapter never uses a number twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// Numbers the fronts of a process, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrontIndex(pub usize);

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    /// The front.
    pub front: FrontIndex,
    /// Its connection.
    pub conn: ConnId,
}

/// What a listener offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Port 25: mail from anybody for local recipients.
    Smtp,
    /// Port 587: mail from users, STARTTLS.
    Submission,
    /// Port 465: mail from users, TLS from the first octet (RFC 8314).
    Submissions,
    /// Port 143: IMAP, STARTTLS.
    Imap,
    /// Port 993: IMAP, TLS from the first octet.
    Imaps,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 5] =
        [Service::Smtp, Service::Submission, Service::Submissions, Service::Imap, Service::Imaps];

    /// TLS is there from the first octet.
    pub const fn implicit_tls(self) -> bool {
        match self {
            Service::Submissions | Service::Imaps => true,
            Service::Smtp | Service::Submission | Service::Imap => false,
        }
    }

    /// Its name in the configuration and in the log (IANA service names, but for port 25).
    pub const fn name(self) -> &'static str {
        match self {
            Service::Smtp => "smtp",
            Service::Submission => "submission",
            Service::Submissions => "submissions",
            Service::Imap => "imap",
            Service::Imaps => "imaps",
        }
    }
}

/// From a front to the office.
#[derive(Debug)]
pub enum ToOffice {
    /// Is this the account's owner? Without an account: take as long, then say no.
    Authenticate {
        /// Who asks.
        caller: Caller,
        /// To answer with.
        ticket: Ticket<AuthVerdict>,
        /// Who it should be.
        account: Option<Arc<Account>>,
        /// Who asks from where, whether that is an account or not.
        who: Who,
        /// How failures are dealt with.
        limits: LoginLimits,
        /// What shows that it is.
        proof: Proof,
    },
    /// Is there room for a mail of `size` octets, if that is known, where this verdict brings it?
    Room {
        /// Who asks.
        caller: Caller,
        /// To answer with.
        ticket: Ticket<smtp::server::RecipientVerdict>,
        /// The answer if there is.
        verdict: smtp::server::RecipientVerdict,
        /// Octets, as announced.
        size: Option<u64>,
    },
    /// A message begins; its octets (LF line ends) follow as chunks, unless they are all here.
    Deliver {
        /// Who asks.
        caller: Caller,
        /// The envelope.
        transaction: Box<smtp::server::Transaction>,
        /// The first octets as they will be stored.
        body: Vec<u8>,
        /// The message is whole.
        commit: Option<Ticket<smtp::server::CommitVerdict>>,
    },
    /// More of the message that this connection delivers or appends.
    Chunk {
        /// Who sends.
        caller: Caller,
        /// Octets as they will be stored.
        body: Vec<u8>,
    },
    /// The message that this connection delivers is whole.
    Commit {
        /// Who asks.
        caller: Caller,
        /// To answer with.
        ticket: Ticket<smtp::server::CommitVerdict>,
    },
    /// The message that this connection delivers or appends is not wanted any more.
    Abort {
        /// Who says so.
        caller: Caller,
    },
    /// A question of an IMAP session.
    Imap {
        /// Who asks.
        caller: Caller,
        /// Who is logged in.
        account: Arc<Account>,
        /// The question.
        ask: Box<imap::server::Ask>,
    },
    /// News of a connection that the office wanted.
    Link {
        /// Who tells it; nobody yet if there was no connection.
        caller: Option<Caller>,
        /// Which.
        link: LinkId,
        /// What.
        news: LinkNews,
    },
    /// The connection is gone with all it had.
    Gone {
        /// Which.
        caller: Caller,
    },
}

/// A connection to another server that the office wants.
#[derive(Clone, Debug)]
pub struct Call {
    /// To name it by.
    pub link: LinkId,
    /// Where to connect.
    pub address: SocketAddr,
    /// The server's name, for SNI and its certificate; empty for an address in brackets.
    pub host: Arc<str>,
    /// What its certificate must be.
    pub trust: Trust,
    /// How long to wait for the connection.
    pub patience: Duration,
    /// For the session.
    pub setup: smtp::client::Setup,
}

/// What another server's certificate must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Anything.
    Anybody,
    /// Anything, and where it would not do for [`Trust::Roots`] that is told ([`LinkNews::TlsDoubt`]).
    Watched,
    /// Good for the server's name, by a root that the machine trusts.
    Roots,
    /// What DNS says (RFC 7672).
    Dane(Arc<Dane>),
}

/// What happens to a connection that the office wanted.
#[derive(Debug)]
pub enum LinkNews {
    /// There is none; why, in words.
    Unconnected(String),
    /// Its TLS has come to nothing; why, in words. Its end follows.
    TlsTrouble(String),
    /// It has TLS, with a certificate that is not good; why, in words.
    TlsDoubt(String),
    /// Its session asks.
    Ask(smtp::client::Ask),
    /// It is over.
    Ended(smtp::client::End),
}

/// From the office to a front.
#[derive(Debug)]
pub enum FromOffice {
    /// A login is decided.
    Authenticated {
        /// For whom.
        conn: ConnId,
        /// The answer.
        answer: Answered<AuthVerdict>,
    },
    /// It is known whether there is room for a mail.
    Recipient {
        /// For whom.
        conn: ConnId,
        /// The answer.
        answer: Answered<smtp::server::RecipientVerdict>,
    },
    /// A delivery is decided.
    Delivered {
        /// For whom.
        conn: ConnId,
        /// The answer.
        answer: Answered<smtp::server::CommitVerdict>,
    },
    /// A chunk is on its way to the disk: there is room for another.
    ChunkTaken {
        /// For whom.
        conn: ConnId,
    },
    /// An answer to an IMAP session.
    Imap {
        /// For whom.
        conn: ConnId,
        /// The answer.
        answer: Box<imap::server::Answer>,
    },
    /// An answer to an SMTP client session.
    Link {
        /// For whom.
        conn: ConnId,
        /// The answer.
        answer: smtp::client::Answer,
    },
    /// A notice to an IMAP session.
    ImapNotice {
        /// For whom.
        conn: ConnId,
        /// The notice.
        notice: imap::server::Notice,
    },
}

impl FromOffice {
    /// The connection it is for.
    pub fn conn(&self) -> ConnId {
        match self {
            FromOffice::Authenticated { conn, .. }
            | FromOffice::Recipient { conn, .. }
            | FromOffice::Delivered { conn, .. }
            | FromOffice::ChunkTaken { conn }
            | FromOffice::Imap { conn, .. }
            | FromOffice::Link { conn, .. }
            | FromOffice::ImapNotice { conn, .. } => *conn,
        }
    }
}
