//! Mail for the outside: what to send where, when to try again, what to tell the sender.
//!
//! * [`envelope`]: what is known of a queued message, as a file that a person can read.
//! * [`spool`]: the queue on disk, with every state it may be in.
//! * [`law`]: when to try again and when to give up.
//! * [`machine`]: what goes out when, and over how many connections.
//! * [`notice`]: what the sender is told.

pub mod envelope;
pub mod law;
pub mod machine;
pub mod notice;
pub mod spool;
