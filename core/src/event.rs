//! What is worth a line in the log: one enum, values only. The adapter writes the log and the journal.
//!
//! No variant holds a password or the text of a message.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::machine::CloseReason;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection begins.
    Connected {
        /// The client.
        peer: IpAddr,
        /// `smtp`, `submission`, `submissions`, `imap`, `imaps`
        service: &'static str,
    },
    /// A connection to another server begins.
    Called {
        /// The server.
        peer: IpAddr,
        /// Its name; empty for an address in brackets.
        host: Arc<str>,
    },
    /// A connection is refused before it begins.
    Refused {
        /// The client.
        peer: IpAddr,
        /// Why, for a person.
        why: &'static str,
    },
    /// A connection is over.
    Disconnected {
        /// Why.
        reason: CloseReason,
    },
    /// Somebody logged in.
    LoggedIn {
        /// The account's address.
        account: String,
    },
    /// A login failed.
    LoginFailed {
        /// The name given, shortened and made printable.
        login: String,
        /// The client.
        peer: IpAddr,
    },
    /// An attempt to log in is not looked at.
    LoginHeld {
        /// Why, for a person.
        why: &'static str,
    },
    /// A message is durable in the mailboxes of all its recipients.
    Delivered {
        /// The transaction's name.
        id: Arc<str>,
        /// Reverse-path, empty for `<>`.
        from: Vec<u8>,
        /// The accounts.
        to: Vec<Vec<u8>>,
        /// Octets as stored.
        size: u64,
        /// The first octets of its Subject, raw; empty if there is none.
        subject: Vec<u8>,
        /// Its Message-ID as written, brackets and all; empty if there is none.
        message_id: Vec<u8>,
    },
    /// A mail of a program on this machine has been taken: what has become of it follows.
    PickedUp {
        /// Its name.
        id: Arc<str>,
        /// The number of the user whose program it was.
        user: u32,
        /// Reverse-path, empty for `<>`.
        from: String,
    },
    /// What a program on this machine has handed in is no mail, and has been set aside.
    SetAside {
        /// Its file, made printable.
        name: String,
        /// Why, for a person.
        why: &'static str,
    },
    /// A message for other servers is durable in the queue.
    Queued {
        /// Its name.
        id: Arc<str>,
        /// Reverse-path, empty for `<>`.
        from: String,
        /// The recipients.
        to: Vec<String>,
        /// Octets as stored.
        size: u64,
        /// Its Message-ID as written, brackets and all; empty if there is none.
        message_id: Vec<u8>,
    },
    /// A message that leaves has been signed.
    Signed {
        /// Its name.
        id: Arc<str>,
        /// `d=`
        domain: String,
        /// `s=` of each signature.
        selectors: Vec<String>,
    },
    /// A message that leaves could not be signed, although there is a key for somebody.
    NotSigned {
        /// Its name.
        id: Arc<str>,
        /// Why, for a person.
        why: &'static str,
    },
    /// A recipient has been tried at another server, or it has come to no try.
    Sent {
        /// The message's name.
        id: Arc<str>,
        /// The recipient.
        to: String,
        /// The server, or the destination if no server could be had.
        host: String,
        /// What has become of it.
        fate: Fate,
        /// The server's words, or ours.
        reply: String,
        /// How it was protected on the way: `TLSv1.3 verified`, `TLSv1.2`, `none`; empty if it did not come to that.
        tls: String,
    },
    /// No server of a destination could be had.
    Unreachable {
        /// A domain, or an address in brackets.
        destination: Arc<str>,
        /// Why.
        why: String,
    },
    /// A domain's policy about its mail servers (MTA-STS, RFC 8461) has been fetched.
    PolicyKept {
        /// The domain.
        domain: String,
        /// `enforce`, `testing`, `none`
        mode: &'static str,
        /// For how many seconds it is good.
        max_age: u64,
    },
    /// It could not be fetched.
    PolicyNotFetched {
        /// The domain.
        domain: String,
        /// Why.
        why: String,
        /// The one that is kept goes on counting.
        kept: bool,
    },
    /// Mail goes to a server to which it would not go if the domain did not only test its policy.
    PolicyTested {
        /// The domain.
        domain: String,
        /// The mail server.
        host: String,
        /// Why not.
        why: String,
    },
    /// A notice about a message has gone to its sender.
    Told {
        /// The message's name.
        id: Arc<str>,
        /// The sender.
        to: String,
        /// `failed`, `delayed`, `relayed`
        what: &'static str,
    },
    /// A message has left the queue.
    Dequeued {
        /// Its name.
        id: Arc<str>,
    },
    /// A message was not taken.
    NotDelivered {
        /// The transaction's name.
        id: Arc<str>,
        /// Why, for a person.
        why: String,
    },
    /// A recipient or sender was refused.
    AddressRefused {
        /// The path as given.
        path: Vec<u8>,
        /// The reply that was given.
        why: &'static str,
    },
    /// A file operation failed in a way that somebody has to look at.
    StoreTrouble {
        /// Account and folder, or path.
        place: String,
        /// What failed, and what to do.
        what: String,
    },
    /// A client does what no client of this protocol does.
    Abuse {
        /// What.
        what: &'static str,
    },
}

/// What has become of a recipient at another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server has taken responsibility.
    Sent,
    /// It is tried again.
    Deferred,
    /// It is not.
    Failed,
}
