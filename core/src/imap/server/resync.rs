//! QRESYNC (RFC 7162 §3.2): what has changed and what has gone since a client was here the last time.
//!
//! It is a FETCH of what has changed, before which VANISHED tells what has gone; in SELECT, before its tagged OK.

use super::changes::tell_vanished;
use super::fetch::Fetching;
use super::select::{Mailbox, SelectEnd};
use super::session::{Session, Then};
use super::{Ask, FetchRequest};
use crate::imap::command::Resync;
use crate::imap::fetch::FetchItem;
use crate::imap::sequence::{NumberRange, UidSet};
use crate::send_queue::SendQueue;

impl Session {
    /// The mailbox is selected and is the one the client knows.
    pub(super) fn start_resync(&mut self, resync: &Resync, end: SelectEnd) {
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        let all = || UidSet::from_iter([NumberRange { first: 1, last: u32::MAX }]);
        let asked = resync.known.clone().unwrap_or_else(all);
        let uid = (!self.enabled.uid_only).then_some(FetchItem::Uid);
        let request = FetchRequest {
            items: uid.into_iter().chain([FetchItem::Flags, FetchItem::ModSeq]).collect(),
            recent: mailbox.recent.clone(),
            changed_since: Some(resync.modseq),
            ..FetchRequest::default()
        };
        let fetching = Fetching::new(true, mailbox.known_uids(&asked), request, Some(end));
        let still_there = resync.matches.as_ref().map_or(0, |(numbers, uids)| mailbox.matched(numbers, uids));
        let still_there = (still_there > 0).then_some(NumberRange { first: 1, last: still_there });
        let asked = asked.difference(&still_there.into_iter().collect());
        self.ask_vanished(fetching, resync.modseq, asked);
    }

    /// Asks for what has gone, and goes on with the FETCH after that.
    pub(super) fn ask_vanished(&mut self, fetching: Fetching, since: u64, uids: UidSet) {
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        let selection = mailbox.id;
        self.ask(Then::Vanished(fetching), |ticket| Ask::Vanished { ticket, selection, since, uids });
    }

    pub(super) fn handle_vanished(&mut self, fetching: Fetching, gone: &UidSet, tx: &mut SendQueue) {
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        // What the client still counts among its messages is told when it can be taken out of them.
        let gone = gone.difference(&mailbox.known_uids(gone));
        if !gone.is_empty() {
            tell_vanished(&gone, b"(EARLIER) ", tx);
        }
        self.go_on_fetching(fetching, tx);
    }
}

impl Mailbox {
    /// RFC 7162 §3.2.5.2: the highest of these UIDs that still has the sequence number it had. UIDs only ascend, so of
    /// what the client knew below nothing is gone. 0 if there is none.
    fn matched(&self, numbers: &UidSet, uids: &UidSet) -> u32 {
        let here = numbers.iter().take_while(|number| *number <= self.view.len());
        let same = here.zip(uids.iter()).filter(|(number, uid)| self.view.uid_at(*number) == Some(*uid));
        same.map(|(_, uid)| uid).last().unwrap_or(0)
    }
}
