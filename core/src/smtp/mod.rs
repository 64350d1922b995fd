//! SMTP (RFC 5321) and its extensions.
//!
//! | module | what | section |
//! |---|---|---|
//! | [`address`] | reverse and forward paths, mailboxes | RFC 5321 §4.1.2, RFC 6531 §3.3 |
//! | [`command`] | one line to one command | RFC 5321 §4.1.1 |
//! | [`parameter`] | SIZE, BODY, NOTIFY … | RFC 5321 §4.1.1.11 |
//! | [`reply`] | the one table of replies | RFC 5321 §4.2, RFC 3463 |
//! | [`client`] | the session with a server | RFC 5321 §3, §4 |
//! | [`server`] | the session with a client | RFC 5321 §3, §4 |
//! | [`trace`] | Received, Return-Path | RFC 5321 §4.4 |
//!
//! ```
//! use postier_core::smtp::{command::{Command, parse}, reply::Reply};
//!
//! let reply = match parse(b"RCPT TO:<you@example.org") {
//!     Ok(Command::Rcpt(_)) => Reply::RecipientOk,
//!     Ok(_) => Reply::GreetFirst,
//!     Err(mistake) => mistake.reply(),
//! };
//! assert_eq!((reply.code(), reply.enhanced()), (501, "5.1.3"));
//! ```

pub mod address;
pub mod client;
pub mod command;
pub mod parameter;
pub mod reply;
pub mod server;
pub mod trace;
