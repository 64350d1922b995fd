//! The post office, pure: state machines that take bytes and answers, and return actions.
//!
//! This crate cannot open a socket, read a file, look at a clock or draw a random number: it does not link std. What
//! touches the world is an adapter's business; what decides is here.
//!
//! # The contract
//! * [`machine`]: a session is a [`machine::Machine`]. Feed it all unconsumed octets until it returns `None`; it says
//!   what it consumed and what it wants done.
//! * [`ticket`]: what it asks can be answered exactly once, with the right kind of answer.
//! * [`send_queue`]: what it says, in order; octets, and ranges of opened files.
//! * [`disk`]: what touches files is a coroutine that asks for one file operation at a time.
//! * [`limits`]: every bound, in one place. [`event`]: everything worth a line in the log.
//!
//! # The rooms
//! * [`smtp::server`] and [`imap::server`]: the sessions. Use one alone, and answer its questions yourself.
//! * [`maildir`]: the store, as coroutines over file operations; shared with Dovecot and other programs.
//! * [`site`]: what addresses mean here. [`auth`]: logins.
//! * [`server`]: all of it together: a front for each event loop, one office for the process.
//! * [`queue`]: mail for the outside, on disk. [`dns`]: a stub resolver, and the hosts a domain's mail goes to.
//! * [`dkim`]: signatures for mail that leaves.
//! * [`pickup`]: mail of programs on this machine (`sendmail`).
//! * [`wire`], [`mime`]: what the others are built from.
//!
//! The README has an SMTP session in a loop of its own; every module has an example.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod auth;
pub mod disk;
pub mod dkim;
pub mod dns;
pub mod event;
pub mod imap;
pub mod limits;
pub mod machine;
pub mod maildir;
pub mod mime;
pub mod pickup;
pub mod queue;
pub mod send_queue;
pub mod server;
pub mod site;
pub mod smtp;
pub mod ticket;
pub mod wire;

/// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
