//! A client that follows its mailboxes by mod-sequences (CONDSTORE, QRESYNC: RFC 7162) or by UID alone (UIDONLY: RFC
//! 9586): what it says besides, what it remembers of a mailbox that it leaves, and what must be true of the answers.
//!
//! ```text
//! selected, all UIDs known ─left or lost─▶ remembered: UIDVALIDITY, HIGHESTMODSEQ, the messages
//!      ▲                                        │ SELECT (QRESYNC (…))
//!      └── compared with a fresh FETCH ◀── VANISHED (EARLIER) and FETCH are taken in, and all must fit
//! ```
//! HIGHESTMODSEQ is taken from where the server has told it: at SELECT, and at the end of an EXPUNGE. What the model
//! had before is then as of that mod-sequence, so that each later change has to be above it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Cx;
use super::{Changing, Command, Doing, ImapClient, Selected, set};
use crate::imap::model::Known;
use crate::ledger::{Place, When};
use crate::rng::Rng;
use crate::scenario::{Habit, ImapStep, Step};

/// The chances of what is said because of a habit: the others stay as they are.
const HABIT_DICE: u64 = 0x5eed_0f4a_b175;

/// What the server has said that it has switched on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Enabled {
    pub(super) condstore: bool,
    pub(super) qresync: bool,
    pub(super) uid_only: bool,
}

impl Enabled {
    pub(super) fn tells_vanished(self) -> bool {
        self.qresync || self.uid_only
    }
}

/// A mailbox as it was left.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    validity: u32,
    highest: u64,
    life: u32,
    messages: BTreeMap<u32, Known>,
}

/// A SELECT (QRESYNC …) that is being answered.
#[derive(Clone, Debug)]
pub(super) struct Resync {
    remembered: Remembered,
    /// So many messages may be new and not told: those that came after the first EXISTS.
    grown: usize,
    counted: bool,
}

impl Command {
    pub(super) fn when(&self, now: u64) -> When {
        When { asked: self.sent_at, heard: now, life: self.life }
    }
}

impl ImapClient {
    /// What it says after LOGIN.
    pub(super) fn enable(&mut self, cx: &mut Cx<'_>) -> bool {
        let text = match self.habit {
            Habit::Plain | Habit::CondStore { enables: false } => return false,
            Habit::CondStore { enables: true } => "ENABLE CONDSTORE",
            Habit::QResync => "ENABLE QRESYNC",
            Habit::UidOnly { resyncs: false } => "ENABLE UIDONLY",
            Habit::UidOnly { resyncs: true } => "ENABLE QRESYNC UIDONLY",
        };
        self.say(text, Doing::Enable, cx);
        true
    }

    pub(super) fn enabled(&mut self, names: &[String], cx: &mut Cx<'_>) {
        for name in names {
            match name.as_str() {
                "CONDSTORE" => self.enabled.condstore = true,
                "QRESYNC" => (self.enabled.condstore, self.enabled.qresync) = (true, true),
                "UIDONLY" => self.enabled.uid_only = true,
                other => self.complain(&format!("{other} is enabled, and nobody has asked for it"), cx),
            }
        }
    }

    /// What follows the name in SELECT, and what is to be done with the answer.
    pub(super) fn select_parameters(&self, place: &Place, rng: &mut Rng) -> (String, Option<Resync>) {
        let remembered = self.remembered.get(place).filter(|_| self.enabled.qresync);
        let Some(remembered) = remembered else {
            let asks = self.habit == (Habit::CondStore { enables: false });
            return (if asks { " (CONDSTORE)".into() } else { String::new() }, None);
        };
        let Remembered { validity, highest, ref messages, .. } = *remembered;
        let uids: Vec<u32> = messages.keys().copied().collect();
        let known = match uids.last() {
            Some(last) if rng.chance(60) => format!(" 1:{last}"),
            Some(_) | None => String::new(),
        };
        // RFC 7162 §3.2.5.2: some sequence numbers with the UIDs that they had.
        let matches = match known.is_empty() || self.enabled.uid_only || rng.chance(50) {
            true => String::new(),
            false => {
                let (half, all) = (uids.len().div_ceil(2), uids.len());
                let numbers = if half < all { format!("{half},{all}") } else { format!("{all}") };
                let of = |number: usize| uids[number - 1];
                let uids =
                    if half < all { format!("{},{}", of(half), of(all)) } else { format!("{}", of(all)) };
                format!(" ({numbers} {uids})")
            }
        };
        let text = format!(" (QRESYNC ({validity} {highest}{known}{matches}))");
        // RFC 7162 §3.2.5.1: then nothing is told of those that are not among the known.
        let grown = if known.is_empty() { 0 } else { usize::MAX };
        let remembered = remembered.clone();
        (text, Some(Resync { remembered, grown, counted: false }))
    }

    /// The selected mailbox is left: what is known of it is kept, if it is all of it.
    pub(super) fn leave_selected(&mut self, cx: &Cx<'_>) {
        let Some(selected) = self.selected.take().filter(|_| self.habit.resyncs()) else { return };
        let Selected { place, model, validity: Some(validity), learned: true, .. } = selected else { return };
        let Some(highest) = model.highest else { return };
        if model.messages.iter().any(|known| known.asked && known.uid.is_none()) {
            return;
        }
        let known = model.messages.into_iter().filter_map(|known| Some((known.uid?, known)));
        let remembered = Remembered { validity, highest, life: cx.env.life, messages: known.collect() };
        self.remembered.insert(place, remembered);
    }

    /// A step that a client of this habit takes in its own way; false: it is not one.
    pub(super) fn habitual_step(&mut self, step: Step, cx: &mut Cx<'_>) -> bool {
        let mut rng = Rng::new(step.dice ^ HABIT_DICE);
        let highest = self.selected.as_ref().and_then(|selected| selected.model.highest);
        let modseqs = highest.filter(|_| self.habit.uses_modseqs());
        let idle = self.asked.is_empty();
        match (step.imap, modseqs) {
            (ImapStep::Fetch, Some(highest)) if idle && rng.chance(50) => {
                self.fetch_since(highest, &mut rng, cx)
            }
            (ImapStep::Search, Some(highest)) if idle && rng.chance(60) => {
                self.search_since(highest, &mut rng, cx)
            }
            (ImapStep::Store, Some(highest)) if rng.chance(40) => self.store_unchanged(highest, &mut rng, cx),
            (ImapStep::Noop | ImapStep::Misc | ImapStep::List | ImapStep::Check, Some(_))
                if idle && self.habit.resyncs() && rng.chance(50) =>
            {
                let Some(place) = self.selected.as_ref().map(|selected| selected.place.clone()) else {
                    return false;
                };
                self.select_place(place, rng.chance(20), &mut rng, cx);
                true
            }
            _ => false,
        }
    }

    /// FETCH CHANGEDSINCE, with what has gone if it may be asked for.
    fn fetch_since(&mut self, highest: u64, rng: &mut Rng, cx: &mut Cx<'_>) -> bool {
        let Some(selected) = &self.selected else { return false };
        let since = if rng.chance(70) { highest } else { selected.first_highest };
        if selected.model.messages.is_empty() || since == 0 {
            return false;
        }
        let vanished = self.enabled.qresync && rng.chance(50);
        let doing = Doing::Since { since, told: BTreeSet::new(), vanished };
        let text = match (vanished, self.enabled.uid_only || rng.chance(50)) {
            (true, _) => format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since} VANISHED)"),
            (false, true) => format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since})"),
            (false, false) => format!("FETCH 1:* (UID FLAGS) (CHANGEDSINCE {since})"),
        };
        self.say(&text, doing, cx);
        true
    }

    fn search_since(&mut self, highest: u64, rng: &mut Rng, cx: &mut Cx<'_>) -> bool {
        let Some(selected) = &self.selected else { return false };
        let of_one = selected.model.messages.iter().map(|known| known.modseq).max().unwrap_or(0);
        let since = if rng.chance(50) { highest } else { of_one.max(1) };
        self.say(&format!("UID SEARCH MODSEQ {since}"), Doing::SearchSince { since, found: None }, cx);
        true
    }

    /// STORE UNCHANGEDSINCE what it knows, or what it knew long ago.
    fn store_unchanged(&mut self, highest: u64, rng: &mut Rng, cx: &mut Cx<'_>) -> bool {
        let uids = self.some(rng);
        let Some(selected) = self.selected.as_ref().filter(|selected| !selected.read_only) else {
            return false;
        };
        if uids.is_empty() {
            return false;
        }
        let known = |(uid, _): &(u32, _)| {
            selected.model.find(*uid).map(|index| selected.model.messages[index].modseq)
        };
        let of_these = uids.iter().filter_map(known).max().unwrap_or(0);
        let since = match rng.below(4) {
            0 => selected.first_highest,
            1 => of_these,
            _ => highest,
        };
        let (text, changed) = self.some_flags(rng);
        let alone = self.asked.is_empty();
        let changes = self.start_changes(&uids, &changed, cx);
        let text = format!("UID STORE {} (UNCHANGEDSINCE {since}) {text}", set(&uids));
        self.say(&text, Doing::Unchanged { changes, since, alone }, cx);
        true
    }

    /// VANISHED.
    pub(super) fn vanished(&mut self, earlier: bool, uids: &[u32], cx: &mut Cx<'_>) {
        if !self.enabled.tells_vanished() {
            return self.complain("VANISHED, and nobody has enabled it", cx);
        }
        match self.asked.front() {
            None => return self.complain("VANISHED while no command runs", cx),
            Some(command) if !earlier && command.hides_expunges => {
                let verb = command.verb;
                return self.complain(&format!("VANISHED during {verb}"), cx);
            }
            Some(Command { doing: Doing::Select(_) | Doing::Since { vanished: true, .. }, .. }) => {}
            Some(_) if earlier => {
                return self.complain("VANISHED (EARLIER), and nobody has asked for it", cx);
            }
            Some(_) => {}
        }
        let numbered = !self.enabled.uid_only;
        self.on_model(cx, |selected, cx| {
            for uid in uids {
                if let Some(resync) = &mut selected.resync {
                    resync.remembered.messages.remove(uid);
                }
                selected.vanished.extend(earlier.then_some(*uid));
                match earlier {
                    true if selected.model.find(*uid).is_some() => {
                        return Err(format!("VANISHED (EARLIER) names UID {uid}, which is there"));
                    }
                    true => {}
                    false => {
                        selected.is_in_no_result(*uid)?;
                        selected.model.vanish(*uid, numbered)?;
                    }
                }
                cx.env.ledger.was_expunged(&selected.place, *uid, cx.env.now);
            }
            Ok(())
        });
    }

    /// The mailbox is selected: what was remembered is taken in.
    pub(super) fn selected(&mut self, mut selected: Selected, when: When, cx: &mut Cx<'_>) {
        selected.first_highest = selected.model.highest.unwrap_or(0);
        selected.learned = selected.model.messages.is_empty();
        let resync = selected.resync.take();
        // RFC 7162 §3.2.5.1: of another mailbox under the same name nothing is known.
        let known = resync.filter(|resync| selected.validity == Some(resync.remembered.validity));
        if let Some(resync) = known.filter(|_| selected.model.highest.is_some()) {
            match selected.resume(resync, !self.enabled.uid_only, when, cx) {
                Ok(()) => (selected.learned, self.resynced) = (true, true),
                Err(wrong) => self.complain(&format!("after QRESYNC: {wrong}"), cx),
            }
        }
        self.selected = Some(selected);
    }

    /// FETCH CHANGEDSINCE is answered: nothing may be left out that had changed when it was asked for.
    pub(super) fn changes_told(&mut self, since: u64, told: &BTreeSet<u32>, when: When, cx: &mut Cx<'_>) {
        let Some(selected) = &self.selected else { return };
        let wrong = selected.left_out(|uid| !told.contains(&uid), |_| since, when, cx);
        wrong.iter().for_each(|what| self.complain(&format!("CHANGEDSINCE {what}"), cx));
    }

    /// SEARCH MODSEQ finds what was told to have such a mod-sequence.
    pub(super) fn searched_since(
        &mut self,
        since: u64,
        found: (&[u32], Option<u64>),
        when: When,
        cx: &mut Cx<'_>,
    ) {
        let Some(selected) = &self.selected else { return };
        let (found, modseq) = found;
        let mut wrong = selected.left_out(|uid| !found.contains(&uid), |_| since.saturating_sub(1), when, cx);
        // More may be found, with a lower one, where the past is not known; what is gone meanwhile has none.
        if (found.is_empty() && modseq.is_some()) || modseq == Some(0) {
            wrong.push(format!("{since} finds {} messages, and tells MODSEQ {modseq:?}", found.len()));
        }
        wrong.iter().for_each(|what| self.complain(&format!("SEARCH MODSEQ {what}"), cx));
    }

    /// STORE UNCHANGEDSINCE is answered: these are left that must still be settled as with any STORE.
    pub(super) fn settle_modified(
        &mut self,
        changes: Vec<Changing>,
        (since, alone): (u64, bool),
        modified: &[u32],
        when: When,
        cx: &mut Cx<'_>,
    ) -> Vec<Changing> {
        let Some(selected) = &mut self.selected else { return changes };
        let mut wrong = Vec::new();
        let (refused, left): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| modified.contains(&change.uid));
        let asked: BTreeSet<u32> = refused.iter().map(|change| change.uid).collect();
        if modified.iter().any(|uid| !asked.contains(uid)) {
            wrong.push(format!("MODIFIED {modified:?} names what nobody wanted to change"));
        }
        for Changing { change, uid, token, .. } in refused {
            if let Some(entry) = cx.env.ledger.folder(&selected.place).entries.get_mut(&token) {
                entry.flags.refuse(change);
            }
            selected.model.raise(uid, since + 1);
        }
        let changed: BTreeSet<u32> = left.iter().map(|change| change.uid).collect();
        for uid in changed.into_iter().filter(|_| alone) {
            let before = cx.env.ledger.modseq_told(&selected.place, uid, when);
            let known = selected.model.find(uid).map(|index| &selected.model.messages[index]);
            // What is told of it in the answer says that it was done; what is gone is in neither list.
            if before > since && known.is_some_and(|known| known.modseq_told.is_some_and(|now| now > before))
            {
                wrong
                    .push(format!("UNCHANGEDSINCE {since} has changed UID {uid}, whose MODSEQ was {before}"));
            }
        }
        wrong.iter().for_each(|what| self.complain(what, cx));
        left
    }

    /// The end of an EXPUNGE tells the mod-sequence up to which all is told.
    pub(super) fn expunge_told(&mut self, highest: u64, cx: &mut Cx<'_>) {
        let Some(selected) = &mut self.selected else { return };
        cx.env.ledger.saw_modseq(&selected.place, highest, selected.modseq);
        let messages = &selected.model.messages;
        if selected.learned && messages.iter().all(|known| known.uid.is_some() && known.flags.is_some()) {
            selected.model.highest = selected.model.highest.max(Some(highest));
        }
    }
}

impl Selected {
    /// EXISTS.
    pub(super) fn exists(&mut self, count: u32) -> Result<(), String> {
        let before = self.model.messages.len();
        self.model.exists(count)?;
        if let Some(resync) = &mut self.resync {
            if resync.counted {
                resync.grown = resync.grown.saturating_add(self.model.messages.len() - before);
            }
            resync.counted = true;
        }
        Ok(())
    }

    fn resume(&mut self, resync: Resync, numbered: bool, when: When, cx: &mut Cx<'_>) -> Result<(), String> {
        let Resync { remembered: Remembered { highest, life, mut messages, .. }, grown, .. } = resync;
        let told: BTreeSet<u32> = self.model.messages.iter().filter_map(|known| known.uid).collect();
        for known in messages.values_mut() {
            (known.told, known.modseq_told) = (false, None);
            if life != when.life {
                known.modseq = 0;
            }
        }
        self.model.resume(&messages, numbered, grown)?;
        let wrong =
            self.left_out(|uid| messages.contains_key(&uid) && !told.contains(&uid), |_| highest, when, cx);
        wrong.into_iter().next().map_or(Ok(()), Err)
    }

    /// Messages that must be there and have changed since, as somebody was told before the question, and are among these.
    fn left_out(
        &self,
        among: impl Fn(u32) -> bool,
        since: impl Fn(u32) -> u64,
        when: When,
        cx: &mut Cx<'_>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for known in &self.model.messages {
            let Some((uid, token)) = known.uid.zip(known.token).filter(|(uid, _)| among(*uid)) else {
                continue;
            };
            let (modseq, since) = (cx.env.ledger.modseq_told(&self.place, uid, when), since(uid));
            let entry = cx.env.ledger.folder(&self.place).entries.entry(token).or_default();
            if modseq > since && entry.must() > 0 && entry.is_alone() {
                wrong.push(format!("{since} leaves out UID {uid}, whose MODSEQ was told to be {modseq}"));
            }
        }
        wrong
    }
}
