//! CONDSTORE (RFC 7162 §3.1): who is told mod-sequences, and from when on.
//!
//! Whatever mentions mod-sequences switches them on for the rest of the connection: changes are told with theirs
//! then. A mailbox whose mod-sequences would not outlive a crash has none: what needs them is BAD there.

use super::enable::Enabled;
use super::select::Mailbox;
use super::session::Session;
use crate::imap::response::{Code, Status, write_untagged};
use crate::send_queue::SendQueue;

/// What needs mod-sequences where none are kept is told so.
const NO_MODSEQ: &str = "No mod-sequences are kept of this mailbox";

impl Session {
    /// A command about the selected mailbox that mentions mod-sequences; false, and the command is ended, where there
    /// are none.
    pub(super) fn use_modseqs(&mut self, tx: &mut SendQueue) -> bool {
        if self.mailbox.as_ref().is_some_and(|mailbox| mailbox.modseq.is_none()) {
            // RFC 7162 §3.1.2.2
            self.end(Status::Bad, None, NO_MODSEQ, tx);
            return false;
        }
        self.enable_condstore(tx);
        true
    }

    pub(super) fn enable_condstore(&mut self, tx: &mut SendQueue) {
        let before = self.enabled;
        self.enabled.condstore = true;
        self.adopt_enabled(before, tx);
    }

    /// More is switched on than `before`: the selected mailbox follows.
    pub(super) fn adopt_enabled(&mut self, before: Enabled, tx: &mut SendQueue) {
        let Some(mailbox) = self.mailbox.as_mut() else { return };
        mailbox.enable(self.enabled);
        if self.enabled.condstore && !before.condstore {
            mailbox.tell_highest_modseq(tx);
        }
    }
}

impl Mailbox {
    /// RFC 7162 §3.1.2: HIGHESTMODSEQ or NOMODSEQ.
    pub(super) fn tell_highest_modseq(&self, tx: &mut SendQueue) {
        tx.write_with(|out| match self.modseq {
            Some(modseq) => write_untagged(out, Status::Ok, Some(&Code::HighestModSeq(modseq)), "Highest"),
            None => write_untagged(out, Status::Ok, Some(&Code::NoModSeq), NO_MODSEQ),
        });
    }

    /// Changes are told with their mod-sequences.
    pub(super) fn tells_modseq(&self) -> bool {
        self.enabled.condstore && self.modseq.is_some()
    }
}
