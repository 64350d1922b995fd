//! Mail of programs on this machine: what `sendmail` writes, and the server picks up.
//!
//! A program hands its mail in as a file, so that it can whether the server runs or not. The place is laid out like a
//! Maildir:
//!
//! ```text
//! drop/tmp/<name>   being written; anybody may make files here and nobody see others' names (mode 1733)
//! drop/new/<name>   whole, and the server's to take; its owner is who sent it (mode 1733)
//! drop/cur/<name>   set aside by the server: no mail of ours, for a person to look at (mode 0700)
//! ```
//!
//! A [`Drop`] is an envelope and a message in one file; its name is 128 random bits ([`name_of`]), and it is the mail's name
//! from here on: in the queue, in the log, in the Maildirs. So a mail that was half taken when the server died is known
//! again, and nobody gets it twice.
//!
//! | file | what |
//! |---|---|
//! | [`arguments`] | the command line of sendmail |
//! | [`compose`] | where a message ends, its recipients, what its header lacks |
//! | [`envelope`] | the drop's envelope |
//! | `reader` | a drop's message, as it is delivered |
//!
//! What is done with a drop is decided in the office ([`crate::server::office`]).

pub mod arguments;
pub mod compose;
pub mod envelope;
pub(crate) mod reader;

use alloc::string::String;

pub use envelope::Drop;

/// Octets of a drop's name.
pub const NAME_BYTES: usize = 26;

/// Five bits each, as in the names of other mails.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The name of a new drop.
///
/// ```
/// let name = postier_core::pickup::name_of([7; 16]);
/// assert!(postier_core::pickup::is_name(name.as_bytes()));
/// ```
pub fn name_of(random: [u8; 16]) -> String {
    let mut bits = u128::from_le_bytes(random);
    let mut name = String::with_capacity(NAME_BYTES);
    for _ in 0..NAME_BYTES {
        name.push(char::from(LETTERS[(bits % 32) as usize]));
        bits /= 32;
    }
    name
}

/// Whether a file of this name can be a drop.
pub fn is_name(name: &[u8]) -> bool {
    name.len() == NAME_BYTES && name.iter().all(|byte| LETTERS.contains(byte))
}
