//! IMAP as a client sees it, written anew for this crate: a strict reader of responses and a model of the selected
//! mailbox. Nothing here is shared with the server's own writer.

pub mod cursor;
pub mod model;
pub mod response;
