//! What was promised, to whom; and the judgement of what is seen.
//!
//! The ledger knows for each mailbox and message how many copies there must be and may be: a change raises what may
//! be when its command is sent, and what must be when its success is acknowledged. A change whose answer never came
//! may have happened or not, and may still happen until the process dies. So the ledger holds ranges, not states;
//! what lies outside of them is a violation.
//!
//! It knows for each UID which message it is, which UIDs are gone for good, and what was ever shown of UIDNEXT,
//! UIDVALIDITY and HIGHESTMODSEQ.
//!
//! Two changes that overlap in time may have happened in either order: the outcome of neither is certain then.

mod dsn;
mod expunge;
mod flags;
mod folder;
mod modseq;
mod post;

use std::collections::{BTreeMap, BTreeSet};

pub use self::dsn::Options;
pub use self::flags::{FLAGS, FlagBits, flag_index, flag_name};
pub use self::folder::{Entry, Folder, Presence};
pub use self::modseq::When;
pub use self::post::{Addressed, Circumstances, Post};
use crate::message::Token;

/// A mailbox of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of the account.
    pub account: usize,
    /// Name of the mailbox.
    pub folder: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", crate::scenario::ACCOUNTS[self.account], self.folder)
    }
}

/// Numbers a change that a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeId(pub u64);

/// A message that was on its way from one mailbox to another: it must be in one of them.
#[derive(Clone, Debug)]
struct Journey {
    token: Token,
    from: Place,
    to: Place,
    void: bool,
}

/// A message as a judge has seen it in a mailbox.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its UID.
    pub uid: u32,
    /// Its flags.
    pub flags: FlagBits,
    /// Which message it is.
    pub token: Option<Token>,
    /// Its octets are what they must be.
    pub whole: bool,
}

/// See the module's manual.
#[derive(Debug, Default)]
pub struct Ledger {
    folders: BTreeMap<Place, Folder>,
    journeys: Vec<Journey>,
    subscriptions: BTreeMap<Place, Presence>,
    last_change: u64,
    /// Mail for elsewhere.
    pub post: Post,
    /// What was seen that may not be.
    pub violations: Vec<String>,
}

impl Ledger {
    /// Something that may not be.
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// A number for a change.
    pub fn change(&mut self) -> ChangeId {
        self.last_change += 1;
        ChangeId(self.last_change)
    }

    /// A mailbox, which is known from now on.
    pub fn folder(&mut self, place: &Place) -> &mut Folder {
        if !self.folders.contains_key(place) {
            self.folders.insert(place.clone(), Folder::default());
        }
        self.folders.get_mut(place).expect("it was just put there")
    }

    /// The message a UID means, if anybody has seen it.
    pub fn token_of(&self, place: &Place, uid: u32) -> Option<Token> {
        self.folders.get(place)?.uids.get(&uid).copied()
    }

    /// The process died: what was under way ends.
    pub fn process_died(&mut self) {
        for folder in self.folders.values_mut() {
            folder.expunging.clear();
            for entry in folder.entries.values_mut() {
                entry.flags.process_died();
            }
        }
    }

    /// A copy may come into a mailbox from now on.
    pub fn may_arrive(&mut self, place: &Place, token: Token, flags: FlagBits) {
        let folder = self.folder(place);
        let floor = folder.uid_next_shown;
        let entry = folder.entries.entry(token).or_default();
        if entry.possible == 0 {
            entry.flags = flags::FlagStates::known(flags);
            entry.floor = floor;
        } else {
            entry.flags.forget();
        }
        entry.possible += 1;
        self.flags_may_have_changed(place, token);
    }

    /// A copy must be in the mailbox from now on.
    pub fn has_arrived(&mut self, place: &Place, token: Token) {
        self.folder(place).entries.entry(token).or_default().acked += 1;
    }

    /// A copy of a message in `from` may come into `to`; with `moving` it may leave.
    pub fn may_copy(&mut self, from: &Place, uid: u32, token: Token, to: &Place, moving: bool) {
        let flags = self.folder(from).entries.entry(token).or_default().flags.clone();
        let known = self.folder(to).entries.get(&token).is_some_and(|entry| entry.possible > 0);
        self.may_arrive(to, token, FlagBits::default());
        if !known && let Some(entry) = self.folder(to).entries.get_mut(&token) {
            entry.flags = flags.without_pending();
            self.flags_may_have_changed(to, token);
        }
        if moving {
            let safe = self.folder(from).entries.get(&token).is_some_and(|entry| entry.must() == 1);
            self.doom(from, uid, token);
            if safe && from != to {
                let (from, to) = (from.clone(), to.clone());
                self.journeys.push(Journey { token, from, to, void: false });
            }
        }
    }

    /// The copy is there.
    pub fn has_copied(&mut self, from: &Place, token: Token, to: &Place) {
        let flags = self.folder(from).entries.entry(token).or_default().flags.clone();
        self.has_arrived(to, token);
        if let Some(entry) = self.folder(to).entries.get_mut(&token) {
            entry.flags.also(&flags);
            self.flags_may_have_changed(to, token);
        }
    }

    /// The copy of a message may have flags that its source had meanwhile: nothing is certain.
    pub fn copy_uncertain(&mut self, token: Token, to: &Place) {
        if let Some(entry) = self.folder(to).entries.get_mut(&token) {
            entry.flags.forget();
            self.flags_may_have_changed(to, token);
        }
    }

    /// A UID was shown to be this message, to somebody whose view of the mailbox began at `since`.
    pub fn saw_uid(&mut self, place: &Place, uid: u32, token: Token, since: u64) {
        let mut wrong = Vec::new();
        let folder = self.folder(place);
        let known = folder.uids.insert(uid, token);
        if let Some(known) = known.filter(|known| *known != token) {
            wrong.push(format!("UID {uid} was message {:016x} and is {:016x}", known.0, token.0));
        }
        let uids_of_it =
            if known.is_none() { folder.uids.values().filter(|of| **of == token).count() } else { 0 };
        let returned = folder.gone.get(&uid).is_some_and(|gone| *gone < since);
        match folder.entries.get(&token) {
            None => wrong.push(format!("UID {uid} is message {:016x}, which nobody has put there", token.0)),
            Some(entry) => {
                if entry.possible == 1 && uid < entry.floor {
                    let floor = entry.floor;
                    wrong.push(format!("UID {uid} was given after UIDNEXT {floor} was shown"));
                }
                // A file that another program has removed without a sync comes back with a power cut.
                if returned && !entry.free {
                    wrong.push(format!("UID {uid} was told to be gone and is there"));
                }
                // Gone is gone: what comes back does so under another UID, and so does what is there twice.
                if uids_of_it > entry.possible as usize {
                    let (token, sent) = (token.0, entry.possible);
                    wrong.push(format!("UID {uid} is one more of message {token:016x}, sent {sent} times"));
                }
            }
        }
        for what in wrong {
            self.violation(format!("{place}: {what}"));
        }
    }

    /// A UIDVALIDITY was shown.
    pub fn saw_uid_validity(&mut self, place: &Place, uid_validity: u32) {
        let folder = self.folder(place);
        let wrong = match folder.uid_validity {
            Some(known) if known != uid_validity => {
                Some(format!("UIDVALIDITY was {known} and is {uid_validity}"))
            }
            None if folder.former_validities.contains(&uid_validity) => {
                Some(format!("UIDVALIDITY {uid_validity} was that of a mailbox deleted before"))
            }
            Some(_) | None => None,
        };
        folder.uid_validity = Some(uid_validity);
        if let Some(what) = wrong {
            self.violation(format!("{place}: {what}"));
        }
    }

    /// A UIDNEXT was shown, and `asked` is what had been shown before the question.
    pub fn saw_uid_next(&mut self, place: &Place, uid_next: u32, asked: u32) {
        if uid_next < asked {
            self.violation(format!("{place}: UIDNEXT was {asked} and is {uid_next}"));
        }
        let folder = self.folder(place);
        folder.uid_next_shown = folder.uid_next_shown.max(uid_next);
    }

    /// A HIGHESTMODSEQ was shown, and `asked` is what had been shown before the question; 0 says that there is none just
    /// now (RFC 7162 §3.1.2.2).
    pub fn saw_modseq(&mut self, place: &Place, modseq: u64, asked: u64) {
        if modseq != 0 && modseq < asked {
            self.violation(format!("{place}: HIGHESTMODSEQ was {asked} and is {modseq}"));
        }
        let folder = self.folder(place);
        folder.modseq_shown = folder.modseq_shown.max(modseq);
    }

    /// A subscription may or must be there or not.
    pub fn subscription(&mut self, place: &Place, presence: Presence) {
        self.subscriptions.insert(place.clone(), presence);
    }

    /// A mailbox moves to another name, with all that is in it.
    pub fn has_renamed(&mut self, from: &Place, to: &Place) {
        let mut folder = std::mem::take(self.folder(from));
        folder.presence = Presence::Must;
        let left = self.folder(from);
        left.presence = Presence::MustNot;
        left.former_validities.extend(folder.uid_validity);
        for journey in &mut self.journeys {
            for end in [&mut journey.from, &mut journey.to] {
                if end == from {
                    end.clone_from(to);
                }
            }
        }
        self.folders.insert(to.clone(), folder);
    }

    /// The mailbox or its messages may be anywhere: nothing is certain of it any more.
    pub fn give_up(&mut self, place: &Place) {
        let tokens: Vec<Token> = self.folder(place).entries.keys().copied().collect();
        for token in tokens {
            self.free(place, token);
        }
        let folder = self.folder(place);
        folder.presence = Presence::May;
        folder.given_up = true;
    }

    /// What a judge has seen in a mailbox, after everything has become quiet.
    pub fn judge(&mut self, place: &Place, seen: &[Seen], now: u64) {
        let mut counts: BTreeMap<Token, Vec<&Seen>> = BTreeMap::new();
        let mut last = 0;
        for message in seen {
            if message.uid <= last {
                self.violation(format!("{place}: UID {} comes after {last}", message.uid));
            }
            last = message.uid;
            match message.token {
                None => self
                    .violation(format!("{place}: UID {} is no message that anybody has sent", message.uid)),
                Some(token) => {
                    counts.entry(token).or_default().push(message);
                    if !message.whole {
                        self.violation(format!(
                            "{place}: UID {} ({:016x}) is not whole",
                            message.uid, token.0
                        ));
                    }
                }
            }
        }
        if self.folder(place).given_up {
            return;
        }
        for message in seen {
            if let Some(token) = message.token {
                self.saw_uid(place, message.uid, token, now);
            }
        }
        let mut wrong = Vec::new();
        for (token, entry) in &self.folder(place).entries {
            let found = counts.get(token).map_or(&[][..], Vec::as_slice);
            entry.judge(*token, found, &mut wrong);
        }
        for what in wrong {
            self.violation(format!("{place}: {what}"));
        }
        self.judge_journeys(place, &counts);
    }

    /// Remembers where the travellers were found; [`Ledger::judge_account`] has the last word.
    fn judge_journeys(&mut self, place: &Place, counts: &BTreeMap<Token, Vec<&Seen>>) {
        for journey in &mut self.journeys {
            let end = journey.from == *place || journey.to == *place;
            journey.void |= end && counts.contains_key(&journey.token);
        }
    }

    /// The mailboxes and subscriptions of an account, after each mailbox was judged.
    pub fn judge_account(
        &mut self,
        account: usize,
        listed: &BTreeSet<String>,
        subscribed: &BTreeSet<String>,
    ) {
        let mut wrong = Vec::new();
        for (place, folder) in self.folders.iter().filter(|(place, _)| place.account == account) {
            match (folder.presence, listed.contains(&place.folder)) {
                (Presence::Must, false) => wrong.push(format!("{place} is not there")),
                (Presence::MustNot, true) => {
                    wrong.push(format!("{place} was deleted or renamed and is there"))
                }
                (Presence::Must | Presence::May, true) | (Presence::May | Presence::MustNot, false) => {}
            }
        }
        for (place, presence) in self.subscriptions.iter().filter(|(place, _)| place.account == account) {
            match (presence, subscribed.contains(&place.folder)) {
                (Presence::Must, false) => wrong.push(format!("the subscription of {place} is lost")),
                (Presence::MustNot, true) => wrong.push(format!("the subscription of {place} is back")),
                (Presence::Must | Presence::May, true) | (Presence::May | Presence::MustNot, false) => {}
            }
        }
        for journey in self.journeys.iter().filter(|journey| !journey.void && journey.from.account == account)
        {
            let Journey { token, from, to, .. } = journey;
            wrong.push(format!("message {:016x} was moved from {from} to {to} and is in neither", token.0));
        }
        self.violations.extend(wrong);
    }
}

#[cfg(test)]
mod tests;
