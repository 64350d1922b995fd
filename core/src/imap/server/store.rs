//! STORE and UID STORE (RFC 9051 §6.4.6).

use super::changes::Told;
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
        let Store { uid, set, unchanged_since, mode, silent, flags } = store;
        self.command.hides_expunges = !uid;
        if unchanged_since.is_some() && !self.use_modseqs(tx) {
            return;
        }
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
        self.ask(Then::Store(storing), |ticket| Ask::Store {
            ticket,
            selection,
            uids,
            unchanged_since,
            action,
            flags,
        });
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
            let told = Told { with_uid: storing.uid, silent: storing.silent };
            for message in &stored.flags {
                mailbox.tell_flags(message, told, tx);
            }
            mailbox.doubt_flags(stored.flags.iter().map(|message| message.uid));
        }
        let modified = match self.mailbox.as_ref() {
            Some(mailbox) if !storing.uid => mailbox.numbers_of(&stored.modified),
            Some(_) | None => stored.modified,
        };
        let code = Some(Code::Modified(&modified)).filter(|_| !modified.is_empty());
        // RFC 2180 §4.2: the others are stored; of those that are gone the client learns by EXPUNGE.
        if stored.gone && !storing.uid {
            let text = "Some of the messages are gone, the others are changed";
            return self.end(Status::No, Some(&code.unwrap_or(Code::ExpungeIssued)), text, tx);
        }
        let text =
            if code.is_some() { "Some of the messages have changed before" } else { "Store completed" };
        self.end(Status::Ok, code.as_ref(), text, tx);
    }
}
