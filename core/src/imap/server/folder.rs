//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 9051 §6.3.4–§6.3.8), and which names are looked at at all.
//!
//! A name goes on as the client spelt it, in modified UTF-7. Whether it can be a mailbox is for the office to say;
//! only what is not modified UTF-7 is refused here.

use super::session::{Session, Then};
use super::{Ask, DELIMITER, FolderChange, Refusal};
use crate::imap::command::MailboxName;
use crate::imap::response::{Code, Status};
use crate::send_queue::SendQueue;
use crate::wire::mutf7;
use alloc::vec::Vec;

const BAD_NAME: &str = "The mailbox name is not modified UTF-7 (& is written &-)";

impl Session {
    /// The octets of a name, or the end of the command with a NO.
    pub(super) fn checked_name(&mut self, mailbox: &MailboxName, tx: &mut SendQueue) -> Option<Vec<u8>> {
        // RFC 3501 §5.1.3. A client that has enabled UTF8=ACCEPT elsewhere sends a bare `&`, too.
        if mutf7::decode(mailbox.as_bytes()).is_err() {
            self.end(Status::No, Some(&Code::Cannot), BAD_NAME, tx);
            return None;
        }
        if mailbox.as_bytes().is_empty() {
            self.end(Status::No, Some(&Code::Cannot), "A mailbox name cannot be empty", tx);
            return None;
        }
        Some(mailbox.as_bytes().to_vec())
    }

    pub(super) fn start_create(&mut self, mailbox: &MailboxName, with_use: bool, tx: &mut SendQueue) {
        if with_use {
            let text = "Special uses are given by name here, not by CREATE";
            return self.end(Status::No, Some(&Code::UseAttr), text, tx);
        }
        // RFC 9051 §6.3.4: a delimiter at the end only says that there will be mailboxes below.
        let name = mailbox.as_bytes();
        let name = MailboxName::new(name.strip_suffix(&[DELIMITER]).unwrap_or(name));
        if name.is_inbox() {
            return self.end(Status::No, Some(&Code::AlreadyExists), "INBOX is always there", tx);
        }
        let Some(mailbox) = self.checked_name(&name, tx) else { return };
        self.ask(Then::Create, |ticket| Ask::Create { ticket, mailbox });
    }

    /// RFC 8474 §4.2: the new mailbox's name that stays.
    pub(super) fn handle_created(&mut self, answer: Result<[u8; 16], Refusal>, tx: &mut SendQueue) {
        match answer {
            Ok(guid) => self.end(Status::Ok, Some(&Code::MailboxId(&guid)), "Create completed", tx),
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
        self.change_folder(FolderChange::Delete { mailbox }, "Delete completed");
    }

    pub(super) fn start_rename(&mut self, from: &MailboxName, to: &MailboxName, tx: &mut SendQueue) {
        if to.is_inbox() {
            return self.end(Status::No, Some(&Code::AlreadyExists), "INBOX is always there", tx);
        }
        let Some(mailbox) = self.checked_name(from, tx) else { return };
        let Some(to) = self.checked_name(to, tx) else { return };
        self.change_folder(FolderChange::Rename { mailbox, to }, "Rename completed");
    }

    pub(super) fn start_subscribe(&mut self, mailbox: &MailboxName, subscribe: bool, tx: &mut SendQueue) {
        let Some(mailbox) = self.checked_name(mailbox, tx) else { return };
        let done = if subscribe { "Subscribe completed" } else { "Unsubscribe completed" };
        self.change_folder(FolderChange::Subscribe { mailbox, subscribe }, done);
    }

    fn change_folder(&mut self, change: FolderChange, done: &'static str) {
        self.ask(Then::Folder(done), |ticket| Ask::Folder { ticket, change });
    }
}
