//! Telling the client what others changed: EXISTS, RECENT, EXPUNGE, FETCH of flags (RFC 9051 §7.4, §7.5).
//!
//! [`Notice::Changed`](super::Notice::Changed) only says that there is something. At the end of the command in
//! progress, before its tagged reply, [`Ask::Changes`] brings it; IDLE asks at once. An EXPUNGE must not be told
//! during FETCH, STORE and SEARCH (RFC 9051 §7.5.1), so those that come then are kept in
//! [`Mailbox::untold`](super::select::Mailbox): until they are told the messages keep their sequence numbers.

use super::fetch::write_fetch_head;
use super::notify::Rest;
use super::select::Mailbox;
use super::session::{Session, Then};
use super::{Ask, Changes, MessageFlags};
use crate::imap::response::{Code, Status, write_message_data, write_number, write_tagged};
use crate::imap::sequence::UidSet;
use crate::machine::CloseReason;
use crate::send_queue::SendQueue;
use alloc::vec::Vec;

/// What comes when the changes have been told.
#[derive(Debug)]
pub(super) enum After {
    /// The tagged reply of the command, written already.
    Reply(Vec<u8>),
    /// The tagged reply of a command that has taken messages away: with the highest mod-sequence (RFC 7162 §3.2.7).
    Expunged(&'static str),
    /// The session waits for its client again.
    Rest(Rest),
}

impl After {
    /// Whether no command is in progress.
    pub(super) fn rests(&self) -> bool {
        matches!(self, After::Rest(_))
    }
}

/// Writes a VANISHED response, with what it says beside the UIDs.
pub(super) fn tell_vanished(uids: &UidSet, tag: &[u8], tx: &mut SendQueue) {
    tx.write_with(|out| {
        out.extend_from_slice(b"* VANISHED ");
        out.extend_from_slice(tag);
        uids.write(out);
        out.extend_from_slice(b"\r\n");
    });
}

/// How the flags of a message are told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// The command names messages by UID.
    pub(super) with_uid: bool,
    /// The client does not want to know the flags, but from what mod-sequence on it knows them (RFC 7162 §3.1.3).
    pub(super) silent: bool,
}

impl Session {
    /// NOOP and CHECK look at the directories.
    pub(super) fn start_noop(&mut self, text: &str, tx: &mut SendQueue) {
        self.command.rescan = true;
        self.end(Status::Ok, None, text, tx);
    }

    /// Whether something is to be asked for before the command in progress may end.
    pub(super) fn wants_changes(&self) -> bool {
        self.mailbox.as_ref().is_some_and(|mailbox| mailbox.changed || self.command.rescan)
            && self.hears_changes()
    }

    pub(super) fn ask_changes(&mut self, after: After) {
        let Some(mailbox) = self.mailbox.as_mut() else { return };
        mailbox.changed = false;
        let (selection, rescan) = (mailbox.id, self.command.rescan);
        self.ask(Then::Changes(after), |ticket| Ask::Changes { ticket, selection, rescan });
    }

    pub(super) fn handle_changes(&mut self, changes: Changes, after: After, tx: &mut SendQueue) {
        if changes.reset {
            // The command itself is done, and its client should know.
            match &after {
                After::Reply(line) => tx.push(line),
                After::Expunged(text) => {
                    tx.write_with(|out| write_tagged(out, &self.command.tag, Status::Ok, None, text));
                }
                After::Rest(_) => {}
            }
            return self.bye("The mailbox was replaced or deleted", CloseReason::Goodbye, tx);
        }
        let told = (self.hides_expunges(&after), self.hides_flags());
        self.note_new_messages(&changes.appended);
        if let Some(mailbox) = self.mailbox.as_mut() {
            mailbox.take_changes(changes, told, tx);
        }
        self.resume_after(after, tx);
    }

    /// Ends a command that has taken messages away, if there were any.
    pub(super) fn end_expunge(&mut self, text: &'static str, tx: &mut SendQueue) {
        self.command.removes = true;
        match self.enabled.qresync && self.wants_changes() {
            true => self.ask_changes(After::Expunged(text)),
            false => self.end(Status::Ok, None, text, tx),
        }
    }

    /// Writes what was held back and goes on.
    pub(super) fn resume_after(&mut self, after: After, tx: &mut SendQueue) {
        match after {
            After::Reply(_) if self.wants_updates() => self.ask_update(after),
            After::Reply(line) => {
                tx.push(&line);
                self.between_commands(tx);
            }
            After::Expunged(text) => {
                let modseq = self.mailbox.as_ref().and_then(|mailbox| mailbox.modseq);
                self.end(Status::Ok, modseq.map(Code::HighestModSeq).as_ref(), text, tx);
            }
            After::Rest(rest) => self.rest(rest, tx),
        }
    }

    /// Tells what a command before this one had to keep to itself.
    pub(super) fn tell_untold(&mut self, tx: &mut SendQueue) {
        if let Some(mailbox) = self.mailbox.as_mut().filter(|_| !self.command.hides_expunges) {
            mailbox.tell_expunged(tx);
        }
    }
}

impl Mailbox {
    fn take_changes(
        &mut self,
        changes: Changes,
        (hides_expunges, hides_flags): (bool, bool),
        tx: &mut SendQueue,
    ) {
        let known = self.known_uids(&changes.expunged);
        self.untold = self.untold.union(&known);
        if !hides_expunges {
            self.tell_expunged(tx);
        }
        if let Some(keywords) = changes.keywords {
            self.tell_keywords(keywords, tx);
        }
        let before = self.view.len();
        self.doubt_new(&changes.appended);
        for uid in changes.appended {
            self.view.push(uid);
        }
        let recent_before = self.recent.count();
        if !self.enabled.rev2 {
            self.recent = self.recent.union(&changes.recent);
        }
        if self.view.len() != before {
            tx.write_with(|out| write_message_data(out, self.view.len(), "EXISTS"));
        }
        if self.view.len() != before || self.recent.count() != recent_before {
            self.tell_recent(tx);
        }
        // Where mod-sequences are kept they were kept all along.
        self.modseq = self.modseq.and(changes.modseq.or(self.modseq));
        for message in changes.flags.iter().filter(|_| !hides_flags) {
            self.tell_flags(message, Told::default(), tx);
        }
        self.doubt_flags(changes.flags.iter().map(|message| message.uid));
    }

    /// Writes the EXPUNGE responses that are due. From the highest number down, so that none changes another. To a client
    /// that knows UIDs it is one VANISHED (RFC 7162 §3.2.10).
    fn tell_expunged(&mut self, tx: &mut SendQueue) {
        let gone = core::mem::take(&mut self.untold);
        let by_uid = self.enabled.tells_vanished();
        self.leave_results(&gone, tx);
        if by_uid && !gone.is_empty() {
            tell_vanished(&gone, b"", tx);
        }
        for range in gone.ranges().iter().rev() {
            for uid in (range.first..=range.last).rev() {
                if let Some(number) = self.view.remove(uid)
                    && !by_uid
                {
                    tx.write_with(|out| write_message_data(out, number, "EXPUNGE"));
                }
            }
        }
        self.recent = self.recent.difference(&gone);
    }

    /// Writes a FETCH response about one message that has changed.
    pub(super) fn tell_flags(&self, message: &MessageFlags, told: Told, tx: &mut SendQueue) {
        let MessageFlags { uid, flags, modseq } = *message;
        let tells_modseq = self.tells_modseq();
        let uid_only = self.enabled.uid_only;
        // RFC 9586 §3.2: there the UID stands at the beginning.
        let with_uid = (told.with_uid || self.enabled.qresync) && !uid_only;
        let Some(number) = self.view.sequence_of(uid).filter(|_| tells_modseq || !told.silent) else {
            return;
        };
        tx.write_with(|out| {
            write_fetch_head(out, number, uid, uid_only);
            let mut before: &[u8] = b"";
            if !told.silent {
                out.extend_from_slice(before);
                out.extend_from_slice(b"FLAGS ");
                flags.write(out, &self.keywords, self.recent.contains(uid));
                before = b" ";
            }
            if with_uid {
                out.extend_from_slice(before);
                out.extend_from_slice(b"UID ");
                write_number(out, u64::from(uid));
                before = b" ";
            }
            if tells_modseq {
                out.extend_from_slice(before);
                out.extend_from_slice(b"MODSEQ (");
                write_number(out, modseq);
                out.push(b')');
            }
            out.extend_from_slice(b")\r\n");
        });
    }
}
