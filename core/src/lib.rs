//! The post office, pure: state machines that take bytes and answers and return actions.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod auth;
pub mod disk;
pub mod event;
pub mod imap;
pub mod limits;
pub mod machine;
pub mod maildir;
pub mod mime;
pub mod send_queue;
pub mod server;
pub mod site;
pub mod smtp;
pub mod ticket;
pub mod wire;
