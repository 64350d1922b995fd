//! Names of mailboxes between client and office.
//!
//! The office knows a mailbox by its name in modified UTF-7 (RFC 3501 §5.1.3). A client spells it so too, until it
//! enables IMAP4rev2 or UTF8=ACCEPT; from then on its names are UTF-8 in Unicode's composed form (Net-Unicode, RFC 9051
//! §5.1). A name that comes in another form is the composed one, so that nobody can make two mailboxes which look alike.
//!
//! Whether a name can be a mailbox is for the office to say; only what is no name in that spelling is refused here.

use super::session::Session;
use super::{DELIMITER, Folder};
use crate::imap::command::MailboxName;
use crate::imap::response::{Code, Status, write_astring, write_utf8_astring};
use crate::send_queue::SendQueue;
use crate::wire::mutf7;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use unicode_normalization::{UnicodeNormalization, is_nfc};

const EMPTY: &str = "A mailbox name cannot be empty";
const NOT_MODIFIED_UTF7: &str = "The mailbox name is not modified UTF-7 (& is written &-)";
const NOT_UTF8: &str = "The mailbox name is not UTF-8";

/// How the client spells names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    ModifiedUtf7,
    Utf8,
}

impl Spelling {
    /// A name of the client as the office knows it, or why it is none.
    fn stored(self, name: &[u8]) -> Result<Vec<u8>, &'static str> {
        match (self, name) {
            (_, []) => Err(EMPTY),
            (Spelling::ModifiedUtf7, name) => match mutf7::decode(name) {
                Ok(_) => Ok(name.to_vec()),
                Err(_) => Err(NOT_MODIFIED_UTF7),
            },
            (Spelling::Utf8, name) => match core::str::from_utf8(name) {
                Ok(name) => Ok(mutf7::encode(&composed(name)).into_bytes()),
                Err(_) => Err(NOT_UTF8),
            },
        }
    }

    /// A name of the office as the client spells it. The office has none that is not modified UTF-7.
    pub(super) fn shown(self, stored: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Spelling::ModifiedUtf7 => Cow::Borrowed(stored),
            Spelling::Utf8 => match mutf7::decode(stored) {
                Ok(name) => Cow::Owned(name.into_bytes()),
                Err(_) => Cow::Borrowed(stored),
            },
        }
    }

    /// The other way: a name that [`Spelling::shown`] gave.
    pub(super) fn of_shown(self, shown: &[u8]) -> Vec<u8> {
        match (self, core::str::from_utf8(shown)) {
            (Spelling::Utf8, Ok(name)) => mutf7::encode(name).into_bytes(),
            (Spelling::ModifiedUtf7 | Spelling::Utf8, _) => shown.to_vec(),
        }
    }

    /// A LIST pattern (or a reference) that shown names are compared with.
    pub(super) fn pattern(self, pattern: &[u8]) -> Cow<'_, [u8]> {
        match (self, core::str::from_utf8(pattern)) {
            (Spelling::Utf8, Ok(text)) => Cow::Owned(composed(text).into_owned().into_bytes()),
            (Spelling::ModifiedUtf7 | Spelling::Utf8, _) => Cow::Borrowed(pattern),
        }
    }

    /// Writes a shown name.
    pub(super) fn write(self, out: &mut Vec<u8>, shown: &[u8]) {
        match self {
            Spelling::ModifiedUtf7 => write_astring(out, shown),
            Spelling::Utf8 => write_utf8_astring(out, shown),
        }
    }
}

/// What LIST says of the name that a mailbox had before (RFC 9051 §6.3.9.7); as the client spells it.
pub(super) fn write_old_name(out: &mut Vec<u8>, spelling: Spelling, shown: &[u8]) {
    out.extend_from_slice(b" (\"OLDNAME\" (");
    spelling.write(out, shown);
    out.extend_from_slice(b"))");
}

fn composed(name: &str) -> Cow<'_, str> {
    if is_nfc(name) { Cow::Borrowed(name) } else { Cow::Owned(name.nfc().collect::<String>()) }
}

impl Session {
    pub(super) fn spelling(&self) -> Spelling {
        if self.enabled.utf8_names() { Spelling::Utf8 } else { Spelling::ModifiedUtf7 }
    }

    /// The name as the office knows it, or the end of the command with a NO.
    pub(super) fn checked_name(&mut self, mailbox: &MailboxName, tx: &mut SendQueue) -> Option<Vec<u8>> {
        match self.spelling().stored(mailbox.as_bytes()) {
            Ok(name) => Some(name),
            Err(text) => {
                self.end(Status::No, Some(&Code::Cannot), text, tx);
                None
            }
        }
    }

    /// RFC 9051 §6.3.2, §6.3.9.7: a client of IMAP4rev2 is told what name it has used in truth; `always`, or if it is
    /// another one than it has written.
    pub(super) fn tell_name(&self, sent: &[u8], stored: &[u8], always: bool, tx: &mut SendQueue) {
        let shown = self.spelling().shown(stored);
        let differs = *shown != *sent;
        if !self.enabled.rev2 || !(always || differs) {
            return;
        }
        tx.write_with(|out| {
            out.extend_from_slice(b"* LIST () \"");
            out.push(DELIMITER);
            out.extend_from_slice(b"\" ");
            self.spelling().write(out, &shown);
            if differs {
                write_old_name(out, self.spelling(), sent);
            }
            out.extend_from_slice(b"\r\n");
        });
    }

    /// The folders with their names as the client spells them.
    pub(super) fn with_shown_names(&self, folders: Vec<Folder>) -> Vec<Folder> {
        let spelling = self.spelling();
        let shown = |folder: Folder| Folder { name: spelling.shown(&folder.name).into_owned(), ..folder };
        folders.into_iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_spellings_of_one_name_are_one() {
        for (sent, stored) in [
            ("Entwürfe", "Entw&APw-rfe"),
            ("Entwu\u{308}rfe", "Entw&APw-rfe"),
            ("R&D", "R&-D"),
            ("&AOk-", "&-AOk-"),
            ("台北.📬", "&U,BTFw-.&2D3c7A-"),
        ] {
            assert_eq!(Spelling::Utf8.stored(sent.as_bytes()).as_deref(), Ok(stored.as_bytes()));
        }
        assert_eq!(Spelling::Utf8.stored(b"\xff"), Err(NOT_UTF8));
        assert_eq!(Spelling::ModifiedUtf7.stored("Entwürfe".as_bytes()), Err(NOT_MODIFIED_UTF7));
        assert_eq!(Spelling::ModifiedUtf7.stored(b""), Err(EMPTY));
    }

    proptest! {
        #[test]
        fn what_is_shown_leads_back(name in "\\PC{1,12}") {
            for stored in [mutf7::encode(&name), mutf7::encode(&composed(&name))] {
                for spelling in [Spelling::ModifiedUtf7, Spelling::Utf8] {
                    let shown = spelling.shown(stored.as_bytes()).into_owned();
                    prop_assert_eq!(spelling.of_shown(&shown), stored.as_bytes());
                }
            }
            let stored = Spelling::Utf8.stored(name.as_bytes()).unwrap();
            let shown = Spelling::Utf8.shown(&stored).into_owned();
            prop_assert_eq!(Spelling::Utf8.stored(&shown), Ok(stored));
        }
    }
}
