//! A mailbox's change log, and what a session is told of it.
//!
//! The log is a queue of [`Change`]s numbered without a gap. A selection holds a cursor into it; what it is
//! told is what lies between the cursor and the end, put together: a message that came and went in between is
//! not mentioned. Entries that every cursor has passed are dropped.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::imap::sequence::UidSet;
use crate::imap::server::{Changes, MessageFlags, SelectionId};
use crate::maildir::mailbox::{Change, MailboxState, Message};

/// Entries kept for the slowest session; one that lags further behind has to leave.
const ENTRIES_MAX: usize = 1 << 20;

/// A session whose answer tells it the flags of these messages. What an operation of its finds out about others, it
/// is told like everybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'u> {
    pub(super) session: SelectionId,
    pub(super) uids: &'u UidSet,
}

#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    entries: VecDeque<(Change, Option<SelectionId>)>,
    /// Number of the first entry.
    first: u64,
}

impl ChangeLog {
    /// The cursor of somebody who knows everything.
    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Adds what an operation did or found out. Flags that it names twice were changed by others before it changed
    /// them: its session is told, for its answer may be silent (RFC 9051 §6.4.6).
    pub(super) fn extend(&mut self, changes: &[Change], origin: Option<Origin<'_>>) {
        let twice = if origin.is_some() { named_twice(changes) } else { BTreeSet::new() };
        let teller = |change: &Change| match *change {
            Change::Flags(uid) => {
                let own = |origin: &Origin<'_>| origin.uids.contains(uid) && !twice.contains(&uid);
                origin.filter(own).map(|origin| origin.session)
            }
            Change::Appended(_) | Change::Expunged(_) | Change::Keywords | Change::Reset => None,
        };
        self.entries.extend(changes.iter().map(|change| (*change, teller(change))));
        let excess = self.entries.len().saturating_sub(ENTRIES_MAX);
        self.entries.drain(..excess);
        self.first += excess as u64;
    }

    /// Drops what lies before all cursors.
    pub(super) fn trim(&mut self, slowest: Option<u64>) {
        let keep_from = slowest.unwrap_or_else(|| self.end());
        let passed = keep_from.saturating_sub(self.first).min(self.entries.len() as u64);
        self.entries.drain(..passed as usize);
        self.first += passed;
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }

    /// Whether a session at `cursor` has something to be told.
    pub(super) fn has_news(&self, cursor: u64, session: SelectionId) -> bool {
        if cursor < self.first {
            return true;
        }
        self.since(cursor).any(|(change, origin)| is_news(*change, *origin, session))
    }

    /// What a session at `cursor` is told; `\Recent` is decided by the caller.
    pub(super) fn changes(&self, cursor: u64, session: SelectionId, state: &MailboxState) -> Changes {
        let mut told = Changes { reset: cursor < self.first, ..Changes::default() };
        let mut flags = BTreeSet::new();
        let mut appended = BTreeSet::new();
        let mut expunged = Vec::new();
        for (change, origin) in self.since(cursor) {
            if !is_news(*change, *origin, session) {
                continue;
            }
            match *change {
                Change::Appended(uid) => {
                    appended.insert(uid);
                }
                Change::Expunged(uid) => {
                    if !appended.remove(&uid) {
                        expunged.push(uid);
                    }
                }
                Change::Flags(uid) => {
                    flags.insert(uid);
                }
                Change::Keywords => told.keywords = Some(state.keywords.clone()),
                Change::Reset => told.reset = true,
            }
        }
        expunged.sort_unstable();
        told.expunged = UidSet::from_iter(expunged);
        let flags = flags.into_iter().filter(|uid| !appended.contains(uid));
        let there = flags.filter_map(|uid| state.messages.find(uid));
        told.flags = there.map(|message| message_flags(state, message)).collect();
        told.modseq = state.shown_modseq();
        told.appended = appended.into_iter().collect();
        told
    }

    fn since(&self, cursor: u64) -> impl Iterator<Item = &(Change, Option<SelectionId>)> {
        let skip = usize::try_from(cursor.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.range(skip.min(self.entries.len())..)
    }
}

/// What a session is told of a message whose flags have changed.
pub(super) fn message_flags(state: &MailboxState, message: &Message) -> MessageFlags {
    MessageFlags { uid: message.uid, flags: message.flags, modseq: state.told_modseq(message) }
}

/// Messages whose flags have changed more than once.
fn named_twice(changes: &[Change]) -> BTreeSet<u32> {
    let mut once = BTreeSet::new();
    let flags = changes.iter().filter_map(|change| match *change {
        Change::Flags(uid) => Some(uid),
        Change::Appended(_) | Change::Expunged(_) | Change::Keywords | Change::Reset => None,
    });
    flags.filter(|uid| !once.insert(*uid)).collect()
}

/// A session knows the flags it has set itself, and is told everything else.
fn is_news(change: Change, origin: Option<SelectionId>, session: SelectionId) -> bool {
    match change {
        Change::Flags(_) => origin != Some(session),
        Change::Appended(_) | Change::Expunged(_) | Change::Keywords | Change::Reset => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_is_not_told_and_own_flags_are_not_told_again() {
        let (me, other) = (SelectionId(1), SelectionId(2));
        let mut log = ChangeLog::default();
        let start = log.end();
        let uids = UidSet::from_iter([4]);
        let mine = Origin { session: me, uids: &uids };
        log.extend(&[Change::Appended(7), Change::Expunged(3), Change::Flags(4)], Some(mine));
        log.extend(&[Change::Expunged(7)], None);
        let state = MailboxState::default();
        let told = log.changes(start, me, &state);
        assert_eq!((told.appended.len(), told.reset), (0, false));
        assert!(told.expunged.contains(3) && !told.expunged.contains(7));
        assert!(log.has_news(start, other) && !log.has_news(log.end(), other));
        log.trim(Some(start + 2));
        assert!(log.changes(start, me, &state).reset);
        log.trim(None);
        assert_eq!(log.end(), start + 4);
    }
    #[test]
    fn flags_that_an_operation_found_changed_are_news_to_its_session_too() {
        let (me, uids) = (SelectionId(1), UidSet::from_iter([4]));
        let mut log = ChangeLog::default();
        let mine = Origin { session: me, uids: &uids };
        log.extend(&[Change::Flags(4)], Some(mine));
        assert!(!log.has_news(0, me));
        // Another program has flagged 9 meanwhile.
        log.extend(&[Change::Flags(9), Change::Flags(4)], Some(mine));
        assert!(log.has_news(0, me) && !log.has_news(2, me));
        // And then 4, on top of which this one's own change was made.
        log.extend(&[Change::Flags(4), Change::Flags(4)], Some(mine));
        assert!(log.has_news(3, me));
    }
}
