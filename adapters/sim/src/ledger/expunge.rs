//! What may go away: messages that somebody removes, and EXPUNGEs that take whatever is `\Deleted` when they come to
//! it, which may be long after they were sent: they wait for the mailbox's lock, and so does nobody who renames files.

use super::flags::flag_index;
use super::{ChangeId, Entry, Ledger, Place};
use crate::message::Token;

impl Ledger {
    /// Somebody may remove this message from now on.
    pub fn doom(&mut self, place: &Place, uid: u32, token: Token) {
        self.void_journeys(place, token);
        self.folder(place).entries.entry(token).or_default().doomed.insert(uid);
    }

    /// Another program may remove all copies of this message from now on, without anybody hearing of it.
    pub fn free(&mut self, place: &Place, token: Token) {
        self.void_journeys(place, token);
        self.folder(place).entries.entry(token).or_default().free = true;
    }

    /// The power went, and another program had not synced a copy of this message that it had put there: that copy may be
    /// gone. Copies that were acknowledged are there all the same.
    pub fn may_be_lost(&mut self, place: &Place, token: Token) {
        self.folder(place).entries.entry(token).or_default().may_be_lost = true;
    }

    fn void_journeys(&mut self, place: &Place, token: Token) {
        for journey in &mut self.journeys {
            journey.void |= journey.token == token && (journey.from == *place || journey.to == *place);
        }
    }

    /// An EXPUNGE of all that is `\Deleted` may happen from now on: until its answer has come ([`Ledger::end_expunge`])
    /// or, if it never comes, until the process dies.
    pub fn start_expunge(&mut self, place: &Place) -> ChangeId {
        let change = self.change();
        let folder = self.folder(place);
        folder.expunging.insert(change);
        let tokens: Vec<Token> = folder.entries.keys().copied().collect();
        for token in tokens {
            self.flags_may_have_changed(place, token);
        }
        change
    }

    /// The answer to an EXPUNGE is there: it removes nothing more.
    pub fn end_expunge(&mut self, change: ChangeId) {
        // The mailbox may have another name now.
        for folder in self.folders.values_mut() {
            folder.expunging.remove(&change);
        }
    }

    /// Whatever may be `\Deleted` while an EXPUNGE is under way may be gone.
    pub(super) fn flags_may_have_changed(&mut self, place: &Place, token: Token) {
        let deleted =
            |entry: &Entry| flag_index("\\Deleted").is_some_and(|index| entry.flags.may_be(index, true));
        let folder = self.folder(place);
        if !folder.expunging.is_empty() && folder.entries.get(&token).is_some_and(deleted) {
            self.free(place, token);
        }
    }

    /// A client asks for a change of a flag.
    pub fn start_change(
        &mut self,
        place: &Place,
        token: Token,
        index: usize,
        on: bool,
        now: u64,
    ) -> ChangeId {
        let change = self.change();
        self.folder(place).entries.entry(token).or_default().flags.start(change, index, on, now);
        self.flags_may_have_changed(place, token);
        change
    }

    /// Another program changes a flag of a message that is known, and no server has heard of it yet.
    pub fn changed_unheard(&mut self, place: &Place, token: Token, index: usize, on: bool, now: u64) {
        if let Some(entry) = self.folder(place).entries.get_mut(&token) {
            entry.flags.changed_unheard(index, on, now);
            self.flags_may_have_changed(place, token);
        }
    }

    /// A client was told that a UID is gone.
    pub fn was_expunged(&mut self, place: &Place, uid: u32, now: u64) {
        let folder = self.folder(place);
        let first = !folder.gone.contains_key(&uid);
        folder.gone.entry(uid).or_insert(now);
        if first && let Some(token) = folder.uids.get(&uid).copied() {
            let entry = folder.entries.entry(token).or_default();
            let asked = entry.free || entry.may_be_lost || entry.doomed.contains(&uid);
            if !asked {
                self.violation(format!("{place}: UID {uid} was expunged, and nobody had asked for it"));
            }
        }
    }
}
