//! Who has which mailbox selected, and how far they have been told.

use alloc::vec::Vec;

use super::mailboxes::MailboxKey;
use super::{Caller, Desk, Office};
use crate::imap::server::{Answer, Changes, Notice, Selected, SelectionId};
use crate::maildir::fetch::Memo;
use crate::server::FromOffice;
use crate::ticket::Ticket;

/// One session's selection of a mailbox.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) caller: Caller,
    pub(super) mailbox: MailboxKey,
    /// EXAMINE, or a mailbox that cannot be changed.
    pub(super) read_only: bool,
    /// How far into the change log it has been told.
    cursor: u64,
    /// It has been noticed and has not asked since.
    noticed: bool,
    /// Of the last large message it has read a part of.
    pub(super) memo: Option<Memo>,
}

impl Office {
    /// Selects an opened mailbox.
    pub(super) fn select(&mut self, caller: Caller, key: &MailboxKey, examine: bool) -> Option<Selected> {
        let selection = SelectionId(self.id());
        let mailbox = self.mailboxes.get_mut(key)?;
        let recent = if examine { mailbox.recent.clone() } else { mailbox.claim_recent() };
        let state = mailbox.state.as_ref()?;
        let read_only = examine || state.read_only;
        let cursor = mailbox.log.end();
        mailbox.selected.insert(selection);
        let mailbox_key = key.clone();
        let entry = Selection { caller, mailbox: mailbox_key, read_only, cursor, noticed: false, memo: None };
        self.selections.insert(selection, entry);
        Some(Selected {
            selection,
            uid_validity: state.uid_validity,
            uid_next: state.uid_next,
            modseq: state.shown_modseq(),
            guid: state.durable_guid(),
            view: mailbox.view.clone(),
            recent,
            first_unseen: state
                .messages
                .iter()
                .find(|message| !message.flags.contains(crate::imap::flag::SystemFlag::Seen))
                .map(|message| message.uid),
            keywords: state.keywords.clone(),
            read_only,
        })
    }

    /// The session leaves its mailbox.
    pub(super) fn leave(&mut self, selection: SelectionId, desk: &mut Desk<'_>) {
        let Some(entry) = self.selections.remove(&selection) else { return };
        if let Some(mailbox) = self.mailboxes.get_mut(&entry.mailbox) {
            mailbox.selected.remove(&selection);
        }
        self.trim_log(&entry.mailbox);
        self.watch_if_wanted(&entry.mailbox, desk);
    }

    /// The connection is gone.
    pub(super) fn leave_all(&mut self, caller: Caller, desk: &mut Desk<'_>) {
        let theirs: Vec<SelectionId> =
            self.selections.iter().filter(|(_, s)| s.caller == caller).map(|(id, _)| *id).collect();
        for selection in theirs {
            self.leave(selection, desk);
        }
    }

    /// Tells those who have the mailbox selected that there is something to ask for.
    pub(super) fn notify(&mut self, key: &MailboxKey, desk: &mut Desk<'_>) {
        let Some(mailbox) = self.mailboxes.get(key) else { return };
        for id in &mailbox.selected {
            let Some(selection) = self.selections.get_mut(id) else { continue };
            if !selection.noticed && mailbox.log.has_news(selection.cursor, *id) {
                selection.noticed = true;
                let caller = selection.caller;
                desk.answer(caller, FromOffice::ImapNotice { conn: caller.conn, notice: Notice::Changed });
            }
        }
    }

    /// Answers [`Ask::Changes`](crate::imap::server::Ask::Changes) with what is known now.
    pub(super) fn tell_changes(
        &mut self,
        caller: Caller,
        ticket: Ticket<Changes>,
        id: SelectionId,
        desk: &mut Desk<'_>,
    ) {
        let told = self.changes_for(id).unwrap_or(Changes { reset: true, ..Changes::default() });
        desk.imap(caller, Answer::Changes(ticket.answer(told)));
    }

    fn changes_for(&mut self, id: SelectionId) -> Option<Changes> {
        let selection = self.selections.get_mut(&id)?;
        let key = selection.mailbox.clone();
        let mailbox = self.mailboxes.get_mut(&key)?;
        let mut told = mailbox.log.changes(selection.cursor, id, mailbox.state.as_ref()?);
        selection.noticed = false;
        selection.cursor = mailbox.log.end();
        if !told.appended.is_empty() {
            let recent = if selection.read_only { mailbox.recent.clone() } else { mailbox.claim_recent() };
            let new = told.appended.iter().copied().filter(|uid| recent.contains(*uid));
            told.recent = new.collect();
        }
        self.trim_log(&key);
        Some(told)
    }

    fn trim_log(&mut self, key: &MailboxKey) {
        let Some(mailbox) = self.mailboxes.get_mut(key) else { return };
        let cursors = mailbox.selected.iter().filter_map(|id| self.selections.get(id));
        let slowest = cursors.map(|selection| selection.cursor).min();
        mailbox.log.trim(slowest);
    }
}
