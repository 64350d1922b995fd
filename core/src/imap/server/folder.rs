//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 9051 §6.3.4–§6.3.8).

use super::session::{Session, Then};
use super::{Ask, DELIMITER, FolderChange, Refusal, SpecialUse};
use crate::imap::command::MailboxName;
use crate::imap::response::{Code, Status};
use crate::send_queue::SendQueue;
use alloc::vec::Vec;

/// A change to the tree while its answer is on its way.
#[derive(Debug)]
pub(super) struct FolderDone {
    text: &'static str,
    /// The name a mailbox gets: as the client has written it, and as it is stored.
    named: Option<(Vec<u8>, Vec<u8>)>,
}

impl Session {
    pub(super) fn handle_folder(
        &mut self,
        done: &FolderDone,
        answer: Result<(), Refusal>,
        tx: &mut SendQueue,
    ) {
        if let Err(refusal) = answer {
            return self.end_refused(&refusal, tx);
        }
        if let Some((sent, stored)) = &done.named {
            self.tell_name(sent, stored, false, tx);
        }
        self.end(Status::Ok, None, done.text, tx);
    }

    pub(super) fn start_create(
        &mut self,
        mailbox: &MailboxName,
        uses: &[SpecialUse],
        unknown_use: bool,
        tx: &mut SendQueue,
    ) {
        // RFC 6154 §3: the mailbox is not made then.
        let special_use = match uses {
            _ if unknown_use => Err("This use is not known here"),
            [] => Ok(None),
            [only] => Ok(Some(*only)),
            [_, ..] => Err("A mailbox has one use here"),
        };
        let special_use = match special_use {
            Ok(special_use) => special_use,
            Err(text) => return self.end(Status::No, Some(&Code::UseAttr), text, tx),
        };
        // RFC 9051 §6.3.4: a delimiter at the end only says that there will be mailboxes below.
        let name = mailbox.as_sent();
        let name = MailboxName::new(name.strip_suffix(&[DELIMITER]).unwrap_or(name));
        if name.is_inbox() {
            return self.end(Status::No, Some(&Code::AlreadyExists), "INBOX is always there", tx);
        }
        let Some(mailbox) = self.checked_name(&name, tx) else { return };
        let named = (name.as_sent().to_vec(), mailbox.clone());
        self.ask(Then::Create(named), |ticket| Ask::Create { ticket, mailbox, special_use });
    }

    /// RFC 8474 §4.2: the new mailbox's name that stays.
    pub(super) fn handle_created(
        &mut self,
        (sent, stored): &(Vec<u8>, Vec<u8>),
        answer: Result<[u8; 16], Refusal>,
        tx: &mut SendQueue,
    ) {
        match answer {
            Ok(guid) => {
                self.tell_name(sent, stored, false, tx);
                self.end(Status::Ok, Some(&Code::MailboxId(&guid)), "Create completed", tx);
            }
            Err(refusal) => self.end_refused(&refusal, tx),
        }
    }

    pub(super) fn start_delete(&mut self, mailbox: &MailboxName, tx: &mut SendQueue) {
        if mailbox.is_inbox() {
            return self.end(Status::No, Some(&Code::Cannot), "INBOX cannot be deleted", tx);
        }
        let Some(mailbox) = self.checked_name(mailbox, tx) else { return };
        // Clients delete what they have selected; without this they would be thrown out for it.
        if self.mailbox.as_ref().is_some_and(|selected| selected.name == mailbox) {
            self.leave_mailbox();
        }
        let done = FolderDone { text: "Delete completed", named: None };
        self.change_folder(FolderChange::Delete { mailbox }, done);
    }

    pub(super) fn start_rename(&mut self, from: &MailboxName, to: &MailboxName, tx: &mut SendQueue) {
        if to.is_inbox() {
            return self.end(Status::No, Some(&Code::AlreadyExists), "INBOX is always there", tx);
        }
        let Some(mailbox) = self.checked_name(from, tx) else { return };
        let Some(new) = self.checked_name(to, tx) else { return };
        let named = Some((to.as_sent().to_vec(), new.clone()));
        let done = FolderDone { text: "Rename completed", named };
        self.change_folder(FolderChange::Rename { mailbox, to: new }, done);
    }

    pub(super) fn start_subscribe(&mut self, mailbox: &MailboxName, subscribe: bool, tx: &mut SendQueue) {
        let Some(mailbox) = self.checked_name(mailbox, tx) else { return };
        let text = if subscribe { "Subscribe completed" } else { "Unsubscribe completed" };
        let done = FolderDone { text, named: None };
        self.change_folder(FolderChange::Subscribe { mailbox, subscribe }, done);
    }

    fn change_folder(&mut self, change: FolderChange, done: FolderDone) {
        self.ask(Then::Folder(done), |ticket| Ask::Folder { ticket, change });
    }
}
