//! The post office, pure: state machines that take bytes and answers and return actions.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod imap;
pub mod maildir;
pub mod mime;
pub mod site;
pub mod smtp;
pub mod wire;
