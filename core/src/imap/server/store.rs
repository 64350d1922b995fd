//! STORE and UID STORE (RFC 9051 §6.4.6).

use super::reply::NOT_WRITABLE;
use super::session::{Session, Then};
use super::{Ask, Refusal, StoreAction, Stored};
use crate::imap::command::{Store, StoreMode};
use crate::imap::response::{Code, Status};
use crate::send_queue::SendQueue;

/// STORE while its answer is on its way.
#[derive(Debug)]
pub(super) struct Storing {
    uid: bool,
    silent: bool,
}

impl Session {
    pub(super) fn start_store(&mut self, store: Store<'_>, tx: &mut SendQueue) {
        let Store { uid, set, mode, silent, flags } = store;
        self.command.hides_expunges = !uid;
        let Some(uids) = self.named_uids(&set, uid, tx) else { return };
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        if mailbox.read_only {
            return self.end(Status::No, Some(&Code::NoPerm), NOT_WRITABLE, tx);
        }
        if uids.is_empty() {
            return self.end(Status::Ok, None, "Store completed", tx);
        }
        let action = match mode {
            StoreMode::Replace => StoreAction::Replace,
            StoreMode::Add => StoreAction::Add,
            StoreMode::Remove => StoreAction::Remove,
        };
        let (selection, flags) = (mailbox.id, flags.into_owned());
        let storing = Storing { uid, silent };
        self.ask(Then::Store(storing), |ticket| Ask::Store { ticket, selection, uids, action, flags });
    }

    pub(super) fn handle_stored(
        &mut self,
        storing: Storing,
        answer: Result<Stored, Refusal>,
        tx: &mut SendQueue,
    ) {
        let stored = match answer {
            Ok(stored) => stored,
            Err(refusal) => return self.end_refused(&refusal, tx),
        };
        if let Some(mailbox) = self.mailbox.as_mut() {
            mailbox.tell_keywords(stored.keywords, tx);
            if !storing.silent {
                for (uid, flags) in stored.flags {
                    mailbox.tell_flags(uid, flags, storing.uid, tx);
                }
            }
        }
        // RFC 2180 §4.2: the others are stored; of those that are gone the client learns by EXPUNGE.
        if stored.gone && !storing.uid {
            let text = "Some of the messages are gone, the others are changed";
            return self.end(Status::No, Some(&Code::ExpungeIssued), text, tx);
        }
        self.end(Status::Ok, None, "Store completed", tx);
    }
}
