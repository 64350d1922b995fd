//! imap.

pub mod command;
pub mod fetch;
pub mod flag;
pub mod response;
pub mod search;
pub mod sequence;
