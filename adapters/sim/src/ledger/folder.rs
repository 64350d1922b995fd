//! What is known of one mailbox.

use std::collections::{BTreeMap, BTreeSet};

use super::flags::{FLAGS, FlagStates, flag_name};
use super::modseq::Told;
use super::{ChangeId, Seen};
use crate::message::Token;

/// Whether something is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It must be.
    Must,
    /// It may be or not.
    #[default]
    May,
    /// It must not be.
    MustNot,
}

/// One mailbox; see [`super::Ledger`].
#[derive(Debug, Default)]
pub struct Folder {
    /// Copies of each message.
    pub entries: BTreeMap<Token, Entry>,
    /// Which message each UID was shown to be.
    pub uids: BTreeMap<u32, Token>,
    /// UIDs that somebody was told to be gone, and when first.
    pub gone: BTreeMap<u32, u64>,
    /// As shown.
    pub uid_validity: Option<u32>,
    /// The largest shown.
    pub uid_next_shown: u32,
    /// The largest shown.
    pub modseq_shown: u64,
    /// Of mailboxes that had this name before.
    pub former_validities: BTreeSet<u32>,
    /// Whether the mailbox is there.
    pub presence: Presence,
    /// A DELETE or RENAME without an answer: nothing in it is judged.
    pub given_up: bool,
    /// Mod-sequences of each UID, as told.
    pub(super) told: BTreeMap<u32, Told>,
    /// EXPUNGEs of all that is `\Deleted` that may be under way.
    pub(super) expunging: BTreeSet<ChangeId>,
}

/// The copies of one message in one mailbox.
#[derive(Debug, Default)]
pub struct Entry {
    /// Copies whose arrival was acknowledged.
    pub acked: u32,
    /// Copies whose arrival somebody has asked for.
    pub possible: u32,
    /// UIDs whose removal somebody has asked for.
    pub doomed: BTreeSet<u32>,
    /// Any copy may be gone.
    pub free: bool,
    /// A copy that another program had not synced may be gone with a power cut.
    pub may_be_lost: bool,
    /// The flags that a copy may have.
    pub flags: FlagStates,
    /// The first copy came after this UIDNEXT was shown.
    pub floor: u32,
}

impl Entry {
    /// How many copies there must be.
    pub fn must(&self) -> usize {
        if self.free { 0 } else { (self.acked as usize).saturating_sub(self.doomed.len()) }
    }

    /// There is at most one copy.
    pub fn is_alone(&self) -> bool {
        self.possible <= 1
    }

    pub(super) fn judge(&self, token: Token, found: &[&Seen], wrong: &mut Vec<String>) {
        let token = token.0;
        let (count, must, may) = (found.len(), self.must(), self.possible as usize);
        if count < must {
            wrong.push(format!(
                "message {token:016x} was acknowledged and is there {count} times, not {must}"
            ));
        }
        if count > may {
            wrong.push(format!("message {token:016x} was sent {may} times and is there {count} times"));
        }
        if !self.is_alone() {
            return;
        }
        for seen in found {
            for index in 0..FLAGS.len() {
                let on = seen.flags.has(index);
                if !self.flags.may_be(index, on) {
                    let (name, uid) = (flag_name(index), seen.uid);
                    let is = if on { "is set and must not be" } else { "is not set and must be" };
                    wrong.push(format!("UID {uid} ({token:016x}): {name} {is}"));
                }
            }
        }
    }
}
