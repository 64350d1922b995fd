//! A result that the server keeps up (CONTEXT=SEARCH: RFC 5267): after some SELECTs the client asks for one, and takes in
//! how it changes.
//!
//! What is told must make sense: what comes into a result was not in it, what goes out was, and a message leaves it before
//! it is gone. When everything has been told, the result is what the flags of all messages say it is.

use std::collections::BTreeSet;

use super::super::Cx;
use super::{Command, Doing, ImapClient, Selected, Shown};
use crate::imap::response::ESearch;
use crate::ledger::FlagBits;

/// What is searched for, and whether a message with such flags is found.
type Key = (&'static str, fn(FlagBits) -> bool);

const KEYS: [Key; 4] = [
    ("UNSEEN", |flags| !flags.has(0)),
    ("OR FLAGGED KEYWORD work", |flags| flags.has(2) || flags.has(7)),
    ("SEEN NOT DELETED", |flags| flags.has(0) && !flags.has(3)),
    ("UID 1:*", |_| true),
];

/// A result as it was told.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    tag: String,
    key: usize,
    uids: BTreeSet<u32>,
    /// The server has given it up.
    given_up: bool,
}

impl Kept {
    fn take(&mut self, told: ESearch) -> Result<(), String> {
        let Kept { tag, uids, .. } = self;
        if !told.uid {
            return Err(format!("the result {tag} is told in sequence numbers"));
        }
        uids.extend(told.all.unwrap_or_default());
        for (comes, changed) in told.changes {
            for uid in changed {
                match if comes { uids.insert(uid) } else { uids.remove(&uid) } {
                    true => {}
                    false if comes => return Err(format!("UID {uid} comes into the result {tag} twice")),
                    false => return Err(format!("UID {uid} leaves the result {tag}, and is not in it")),
                }
            }
        }
        Ok(())
    }
}

impl Selected {
    /// A message is gone: it has left the result before.
    pub(super) fn is_in_no_result(&self, uid: u32) -> Result<(), String> {
        match self.kept.as_ref().filter(|kept| kept.uids.contains(&uid)) {
            Some(kept) => Err(format!("UID {uid} is gone, and in the result {} still", kept.tag)),
            None => Ok(()),
        }
    }

    /// Everything has been told, and these are all messages.
    pub(super) fn result_is_right(&self, seen: &[Shown]) -> Result<(), String> {
        let Some(Kept { tag, key, uids, .. }) = &self.kept else { return Ok(()) };
        let (name, finds) = KEYS[*key];
        let found: BTreeSet<u32> =
            seen.iter().filter(|shown| finds(shown.flags)).map(|shown| shown.uid).collect();
        match found == *uids {
            true => Ok(()),
            false => Err(format!("the result {tag} of {name} is {uids:?}, and {found:?} match")),
        }
    }
}

impl ImapClient {
    /// After some SELECTs.
    pub(super) fn wants_a_result(&self) -> bool {
        self.selected.as_ref().is_some_and(|selected| selected.wants_a_result)
    }

    pub(super) fn ask_for_a_result(&mut self, cx: &mut Cx<'_>) {
        if let Some(selected) = &mut self.selected {
            selected.wants_a_result = false;
        }
        let key = self.tags as usize / 3 % KEYS.len();
        let tag = self.next_tag();
        let kept = Kept { tag, key, uids: BTreeSet::new(), given_up: false };
        self.say(&format!("UID SEARCH RETURN (UPDATE ALL) {}", KEYS[key].0), Doing::Keep(kept), cx);
    }

    fn kept(&mut self, tag: Option<&str>) -> Option<&mut Kept> {
        let asked = match self.asked.front_mut() {
            Some(Command { doing: Doing::Keep(kept), .. }) => Some(kept),
            Some(_) | None => None,
        };
        let kept = asked.or(self.selected.as_mut().and_then(|selected| selected.kept.as_mut()));
        kept.filter(|kept| tag.is_none_or(|tag| kept.tag == tag))
    }

    /// ESEARCH
    pub(super) fn result_told(&mut self, told: ESearch, cx: &mut Cx<'_>) {
        // Of a mailbox that was left may still be spoken.
        let (tag, left) = (told.tag.clone(), self.selected.is_none());
        let wrong = match self.kept(Some(&tag)) {
            Some(kept) => kept.take(told).err(),
            None => (!left).then(|| format!("ESEARCH of {tag}, which has no result")),
        };
        if let Some(wrong) = wrong {
            self.complain(&wrong, cx);
        }
    }

    /// NOUPDATE
    pub(super) fn result_given_up(&mut self, cx: &mut Cx<'_>) {
        if cx.env.calm {
            self.complain("NOUPDATE in a calm world", cx);
        }
        if let Some(kept) = self.kept(None) {
            kept.given_up = true;
        }
        if let Some(selected) = &mut self.selected {
            selected.kept = selected.kept.take().filter(|kept| !kept.given_up);
        }
    }

    /// The search is answered.
    pub(super) fn keep(&mut self, kept: Kept, good: bool) {
        if let Some(selected) = self.selected.as_mut().filter(|_| good && !kept.given_up) {
            selected.kept = Some(kept);
        }
    }
}
