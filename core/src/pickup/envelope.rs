//! What stands in front of the message in a drop: who sent it, to whom. Lines of text, as the queue's envelopes are.
//!
//! ```text
//! postier-drop 1
//! user cron
//! name Cron+20Daemon
//! from root@example.org
//! ret hdrs
//! envid 42
//! notify failure,delay
//! to root
//! to bob@example.net
//! end
//! Subject: …
//! ```
//!
//! Values are in xtext (RFC 3461 §4). What is not known is refused: the program and the server are of one version, or
//! close. The file is written by anybody on this machine, so nothing in it is believed: the sender's number is that of the
//! file's owner.
//!
//! ```
//! use postier_core::pickup::Drop;
//! let drop = Drop { user: "ann".into(), recipients: vec!["root".into()], ..Drop::default() };
//! let file = [drop.to_file(), b"Subject: x\n\nhello\n".to_vec()].concat();
//! let (read, at) = Drop::from_file(&file, 100).unwrap();
//! assert_eq!((read, &file[at..]), (drop, &b"Subject: x\n\nhello\n"[..]));
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::queue::envelope::{decode, encode, notify_of, notify_words, text_of};
use crate::smtp::parameter::Notify;

/// The first line.
const MAGIC: &str = "postier-drop 1\n";
/// The last one.
const END: &[u8] = b"\nend\n";

/// The envelope of a drop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drop {
    /// The login name of who wrote it.
    pub user: String,
    /// What this user is called, if known.
    pub name: String,
    /// The envelope sender, if one is given: `Some("")` for `<>`. It may lack its domain.
    pub from: Option<String>,
    /// `RET=` (RFC 3461 §4.3): `Some(true)` is FULL.
    pub return_full: Option<bool>,
    /// `ENVID=` (RFC 3461 §4.4), decoded.
    pub envelope_id: Option<Vec<u8>>,
    /// `NOTIFY=` (RFC 3461 §4.1), of all recipients.
    pub notify: Option<Notify>,
    /// Addresses, which may lack their domain.
    pub recipients: Vec<String>,
}

impl Drop {
    /// The envelope as it stands in front of the message.
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = format!("{MAGIC}user {}", encode(self.user.as_bytes()));
        let mut line = |keyword: &str, value: &str| out.push_str(&format!("\n{keyword} {value}"));
        if !self.name.is_empty() {
            line("name", &encode(self.name.as_bytes()));
        }
        if let Some(from) = &self.from {
            line("from", &encode(from.as_bytes()));
        }
        if let Some(full) = self.return_full {
            line("ret", if full { "full" } else { "hdrs" });
        }
        if let Some(id) = &self.envelope_id {
            line("envid", &encode(id));
        }
        if let Some(notify) = self.notify {
            line("notify", &notify_words(notify));
        }
        for recipient in &self.recipients {
            line("to", &encode(recipient.as_bytes()));
        }
        let mut out = out.into_bytes();
        out.extend_from_slice(END);
        out
    }

    /// Reads the envelope at the beginning of a file, and says where the message begins; `None` if there is none, if it
    /// has no recipient, or more of them than may be.
    pub fn from_file(file: &[u8], recipients_max: usize) -> Option<(Self, usize)> {
        let end = memchr::memmem::find(file, END)?;
        let text = core::str::from_utf8(file.get(..end)?).ok()?;
        let mut envelope = Drop::default();
        for line in text.strip_prefix(MAGIC)?.split('\n') {
            let (keyword, value) = line.split_once(' ')?;
            match keyword {
                "user" => envelope.user = text_of(value)?,
                "name" => envelope.name = text_of(value)?,
                "from" => envelope.from = Some(text_of(value)?),
                "ret" => {
                    envelope.return_full = match value {
                        "full" => Some(true),
                        "hdrs" => Some(false),
                        _ => return None,
                    }
                }
                "envid" => envelope.envelope_id = Some(decode(value)?),
                "notify" => envelope.notify = Some(notify_of(value)?),
                "to" if envelope.recipients.len() < recipients_max => {
                    envelope.recipients.push(text_of(value)?);
                }
                _ => return None,
            }
        }
        (!envelope.recipients.is_empty()).then_some((envelope, end + END.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn envelope()(
            user in "\\PC{0,20}",
            name in "\\PC{0,20}",
            from in proptest::option::of("\\PC{0,20}"),
            return_full in any::<Option<bool>>(),
            envelope_id in any::<Option<Vec<u8>>>(),
            notify in proptest::option::of(any::<[bool; 3]>()),
            recipients in proptest::collection::vec("\\PC{0,20}", 1..4),
        ) -> Drop {
            let notify = notify.map(|[success, failure, delay]| Notify { success, failure, delay });
            Drop { user, name, from, return_full, envelope_id, notify, recipients }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(envelope in envelope(), message in any::<Vec<u8>>()) {
            let head = envelope.to_file();
            let file = [&head[..], &message].concat();
            prop_assert_eq!(Drop::from_file(&file, 4), Some((envelope, head.len())));
            for end in 0..head.len() {
                prop_assert_eq!(Drop::from_file(&head[..end], 4), None);
            }
        }

        #[test]
        fn any_octets_are_survived(octets in any::<Vec<u8>>()) {
            let _ = Drop::from_file(&octets, 4);
            let _ = Drop::from_file(&[MAGIC.as_bytes(), &octets, END].concat(), 4);
        }
    }

    #[test]
    fn what_is_not_known_too_much_or_too_little_is_refused() {
        let read = |lines: &str| Drop::from_file(format!("{MAGIC}{lines}\nend\n").as_bytes(), 2).is_some();
        assert!(read("user a\nto b\nto c"));
        for bad in [
            "user a",
            "user a\nto b\nto c\nto d",
            "user a\nto b\nwhatever c",
            "user a\nto",
            "user a\nto b\nret x",
        ] {
            assert!(!read(bad), "{bad:?}");
        }
    }
}
