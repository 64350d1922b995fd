//! imap.

pub mod command;
pub mod fetch;
pub mod flag;
mod parse;
pub mod response;
pub mod scanner;
pub mod search;
pub mod sequence;
pub mod server;
pub mod view;
