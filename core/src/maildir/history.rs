//! What is known of a mailbox's past: which UIDs went at which mod-sequence, and where the record has gaps
//! (RFC 7162).
//!
//! Mod-sequences grow by one with each operation that changes something, and every message carries the one of
//! its last change. So what has changed *since* a mod-sequence needs no log, except for what is gone: the
//! [`History`] keeps the last [`EXPUNGES_MAX`] stretches of expunged UIDs.
//!
//! After a crash the process knows the mailbox as the index file has it, and the directory as it is; but a client
//! may have been told of changes in between that were undone again and left no trace. A client that knows the
//! mailbox as of a mod-sequence in such a gap is told that everything has changed. Gaps are bounded too: when
//! there are more than [`GAPS_MAX`], the two oldest become one, which only tells a client more than it needs.
//!
//! ```
//! use postier_core::imap::sequence::UidSet;
//! use postier_core::maildir::history::History;
//!
//! let mut history = History::starting_at(100);
//! history.expunge(101, 7);
//! assert_eq!(history.expunged_since(100), Some(UidSet::from_iter([7])));
//! assert_eq!(history.expunged_since(101), Some(UidSet::new()));
//! assert_eq!(history.expunged_since(99), None);
//! ```

use crate::imap::sequence::{NumberRange, UidSet};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Stretches of expunged UIDs that are remembered; about 16 octets each.
pub const EXPUNGES_MAX: usize = 4096;
/// Gaps that are kept apart.
pub const GAPS_MAX: usize = 16;

/// Mod-sequences between which changes may have happened that nobody remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The last one of which everything is known.
    pub after: u64,
    /// The first one of which everything is known again.
    pub before: u64,
}

/// UIDs that went together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expunge {
    /// When.
    pub modseq: u64,
    /// Which: ascending, all of them.
    pub uids: NumberRange,
}

/// The past of one mailbox. See the module's manual.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Ascending, none overlaps another.
    gaps: Vec<Gap>,
    /// In ascending order of their mod-sequences.
    expunges: VecDeque<Expunge>,
    /// Expunges up to this mod-sequence are forgotten.
    forgotten: u64,
}

impl History {
    /// Of a mailbox of which nothing is known before `modseq`.
    pub fn starting_at(modseq: u64) -> History {
        let mut history = History { forgotten: modseq, ..History::default() };
        history.lose(0, modseq);
        history
    }

    /// The parts, as the index file keeps them; `None` if they cannot be those of a history.
    pub(super) fn from_parts(gaps: Vec<Gap>, expunges: VecDeque<Expunge>, forgotten: u64) -> Option<History> {
        let gaps_fit = gaps.len() <= GAPS_MAX
            && gaps.iter().all(|gap| gap.after < gap.before)
            && gaps.iter().zip(gaps.iter().skip(1)).all(|(a, b)| a.before <= b.after);
        let mut next = expunges.iter().skip(1);
        let ascending = expunges.iter().all(|a| next.next().is_none_or(|b| a.modseq <= b.modseq));
        let fits = gaps_fit && ascending && expunges.len() <= EXPUNGES_MAX;
        fits.then_some(History { gaps, expunges, forgotten })
    }

    /// The gaps, ascending.
    pub(super) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The expunges after a mod-sequence, ascending.
    pub(super) fn expunges_after(&self, modseq: u64) -> impl Iterator<Item = &Expunge> {
        let start = self.expunges.partition_point(|expunge| expunge.modseq <= modseq);
        self.expunges.range(start..)
    }

    /// Expunges up to this mod-sequence are forgotten.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// What happened after `after` and before `before` may never be known.
    pub fn lose(&mut self, after: u64, before: u64) {
        if after.saturating_add(1) >= before {
            return;
        }
        match self.gaps.last_mut() {
            Some(last) if after <= last.before => last.before = last.before.max(before),
            Some(_) | None => self.gaps.push(Gap { after, before }),
        }
        if self.gaps.len() > GAPS_MAX {
            let oldest = self.gaps.remove(0);
            if let Some(first) = self.gaps.first_mut() {
                first.after = oldest.after;
            }
        }
    }

    /// A message is gone. Mod-sequences of calls never descend.
    pub fn expunge(&mut self, modseq: u64, uid: u32) {
        if let Some(last) = self.expunges.back_mut()
            && last.modseq == modseq
            && last.uids.last.checked_add(1) == Some(uid)
        {
            last.uids.last = uid;
            return;
        }
        self.push(Expunge { modseq, uids: NumberRange::between(uid, uid) });
    }

    pub(super) fn push(&mut self, expunge: Expunge) {
        self.expunges.push_back(expunge);
        if self.expunges.len() > EXPUNGES_MAX
            && let Some(oldest) = self.expunges.pop_front()
        {
            self.forgotten = oldest.modseq;
        }
    }

    /// Whether all that changed after `modseq` is known, but for what is gone.
    pub fn knows(&self, modseq: u64) -> bool {
        !self.gaps.iter().any(|gap| gap.after < modseq && modseq < gap.before)
    }

    /// The UIDs that went after `modseq`; `None` if that is not known: in a gap since then messages may have come, been told of
    /// and gone.
    pub fn expunged_since(&self, modseq: u64) -> Option<UidSet> {
        if modseq < self.forgotten || self.gaps.last().is_some_and(|gap| modseq < gap.before) {
            return None;
        }
        let mut ranges: Vec<NumberRange> = self.expunges_after(modseq).map(|expunge| expunge.uids).collect();
        ranges.sort_unstable_by_key(|range| range.first);
        let mut uids = UidSet::new();
        ranges.into_iter().for_each(|range| uids.push_range(range));
        Some(uids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn of_what_lies_in_a_gap_nothing_is_known() {
        let mut history = History::starting_at(100);
        history.lose(120, 200);
        let known = [0, 1, 99, 100, 119, 120, 121, 199, 200, 300].map(|modseq| history.knows(modseq));
        assert_eq!(known, [true, false, false, true, true, true, false, false, true, true]);
        // What came and went in the gap is known to nobody, but maybe to a client that knows the rest as of long before.
        let expunged = [110, 150, 199, 200].map(|modseq| history.expunged_since(modseq));
        assert_eq!(expunged, [None, None, None, Some(UidSet::new())]);
        history.lose(130, 131);
        assert_eq!(history.gaps().len(), 2);
    }

    #[test]
    fn many_gaps_become_one_and_old_expunges_are_forgotten() {
        let mut history = History::default();
        for n in 1..=20 {
            history.lose(n * 10, n * 10 + 5);
        }
        assert_eq!(history.gaps().len(), GAPS_MAX);
        assert!(!history.knows(12) && !history.knows(17) && history.knows(197));
        for n in 0..EXPUNGES_MAX as u32 + 2 {
            history.expunge(1000 + u64::from(n), n * 2 + 1);
        }
        assert_eq!(history.expunged_since(1000), None);
        assert!(history.expunged_since(1001).is_some_and(|uids| uids.contains(5) && !uids.contains(3)));
        assert_eq!(history.expunged_since(5000).unwrap().count(), EXPUNGES_MAX as u64 + 2 - 4001);
    }

    #[test]
    fn uids_that_go_together_are_one_stretch() {
        let mut history = History::default();
        [3, 4, 5, 9].into_iter().for_each(|uid| history.expunge(7, uid));
        history.expunge(8, 1);
        assert_eq!(history.expunges_after(0).count(), 3);
        assert_eq!(history.expunged_since(6).unwrap().to_string(), "1,3:5,9");
        assert_eq!(history.expunged_since(7).unwrap().to_string(), "1");
    }
}
