//! A client's model of its selected mailbox, kept from EXISTS, EXPUNGE and FETCH alone.

use std::collections::{BTreeMap, BTreeSet};

use super::response::Fetched;
use crate::ledger::{FlagBits, flag_index};
use crate::message::Token;

/// What a client knows of one message.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its UID.
    pub uid: Option<u32>,
    /// Which message it is.
    pub token: Option<Token>,
    /// Its flags.
    pub flags: Option<FlagBits>,
    /// The last mod-sequence shown.
    pub modseq: u64,
    /// Its identity was asked for.
    pub asked: bool,
    /// Flags were told since the last command began.
    pub told: bool,
    /// So was this mod-sequence.
    pub modseq_told: Option<u64>,
}

/// The messages of the selected mailbox in their order.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// By sequence number, from 1 at index 0.
    pub messages: Vec<Known>,
    /// What the server has told of HIGHESTMODSEQ: what changes after it has a higher mod-sequence.
    pub highest: Option<u64>,
}

impl Model {
    /// EXISTS.
    ///
    /// # Errors
    /// The number fell.
    pub fn exists(&mut self, count: u32) -> Result<(), String> {
        let known = self.messages.len();
        if (count as usize) < known {
            return Err(format!("EXISTS {count} after {known}: only EXPUNGE may lower it"));
        }
        self.messages.resize_with(count as usize, Known::default);
        Ok(())
    }

    /// EXPUNGE; gives back what was known of the message.
    ///
    /// # Errors
    /// There is no such message.
    pub fn expunge(&mut self, number: u32) -> Result<Known, String> {
        let index = number as usize - 1;
        if index >= self.messages.len() {
            return Err(format!("EXPUNGE {number} in a mailbox of {}", self.messages.len()));
        }
        Ok(self.messages.remove(index))
    }

    /// FETCH; gives back the message's UID and token if both are known now.
    ///
    /// # Errors
    /// There is no such message, or it was another one before.
    pub fn fetch(&mut self, number: u32, fetched: &Fetched) -> Result<Option<(u32, Token)>, String> {
        let (count, index) = (self.messages.len(), number as usize - 1);
        let Some(known) = self.messages.get_mut(index) else {
            return Err(format!("FETCH {number} in a mailbox of {count}"));
        };
        if let Some(uid) = fetched.uid {
            if let Some(before) = known.uid.filter(|before| *before != uid) {
                return Err(format!("message {number} had UID {before} and has {uid}"));
            }
            known.uid = Some(uid);
        }
        let before = known.flags;
        if let Some(flags) = &fetched.flags {
            (known.flags, known.told) = (Some(bits(flags)?), true);
        }
        if let Some(modseq) = fetched.modseq {
            known
                .has_modseq(modseq, before, self.highest)
                .map_err(|wrong| format!("message {number} {wrong}"))?;
        }
        let shown = fetched.sections.iter().find_map(|(_, octets)| Token::of(octets.as_deref()?));
        known.token = known.token.or(shown);
        let pair = known.uid.zip(known.token);
        self.ascending(index)?;
        Ok(pair)
    }

    /// UIDs ascend with the sequence numbers.
    fn ascending(&self, index: usize) -> Result<(), String> {
        let uid = |index: usize| self.messages.get(index).and_then(|known| known.uid);
        let wrong = |a: Option<u32>, b: Option<u32>| a.zip(b).is_some_and(|(a, b)| a >= b);
        let before = index.checked_sub(1).and_then(uid);
        if wrong(before, uid(index)) || wrong(uid(index), uid(index + 1)) {
            return Err(format!("UIDs do not ascend at message {}", index + 1));
        }
        Ok(())
    }

    /// A command begins.
    pub fn start_command(&mut self) {
        self.messages.iter_mut().for_each(|known| (known.told, known.modseq_told) = (false, None));
    }

    /// STORE .SILENT is answered: a client believes what it has asked for. If the flags were told meanwhile, with
    /// what others have done, nobody can say which change was the later one.
    pub fn believe(&mut self, uid: u32, index: usize, on: bool, good: bool) {
        for known in self.messages.iter_mut().filter(|known| known.uid == Some(uid)) {
            known.flags = known
                .flags
                .filter(|_| good && !known.told)
                .map(|FlagBits(bits)| FlagBits(if on { bits | 1 << index } else { bits & !(1 << index) }));
        }
    }

    /// Whether the server has told that a flag of a message is so.
    pub fn was_told(&self, uid: u32, index: usize, on: bool) -> bool {
        let flags = self.messages.iter().find(|known| known.uid == Some(uid)).and_then(|known| known.flags);
        flags.is_some_and(|FlagBits(bits)| (bits >> index & 1 == 1) == on)
    }

    /// A message is named by its UID alone, where there are no sequence numbers: gives back its place, as a number.
    ///
    /// # Errors
    /// There is no such message.
    pub fn place(&mut self, uid: u32) -> Result<u32, String> {
        if let Some(index) = self.find(uid) {
            return Ok(index as u32 + 1);
        }
        let Some(unknown) = self.messages.iter().rposition(|known| known.uid.is_none()) else {
            return Err(format!(
                "UID {uid} is one more than the {} messages that are there",
                self.messages.len()
            ));
        };
        let known = self.messages.remove(unknown);
        // What has no UID yet stands at the end.
        let above = |known: &Known| known.uid.is_none_or(|other| other > uid);
        let index = self.messages.iter().position(above).unwrap_or(self.messages.len());
        self.messages.insert(index, Known { uid: Some(uid), ..known });
        Ok(index as u32 + 1)
    }

    /// VANISHED: a message goes that the client counts, whether it knows its UID or not; `numbered` if there are sequence
    /// numbers.
    ///
    /// # Errors
    /// There is no such message.
    pub fn vanish(&mut self, uid: u32, numbered: bool) -> Result<(), String> {
        let unknown = |known: &Known| known.uid.is_none();
        let index = self.find(uid).or_else(|| {
            let end = match numbered {
                true => self.messages.iter().position(|known| known.uid.is_some_and(|other| other > uid)),
                false => None,
            };
            let end = end.unwrap_or(self.messages.len());
            let start = self.messages[..end].iter().rposition(|known| known.uid.is_some() && numbered);
            let start = start.map_or(0, |index| index + 1);
            // Those whose UID was asked for in vain go first.
            let here = &self.messages[start..end];
            let asked = here.iter().position(|known| unknown(known) && known.asked);
            asked.or_else(|| here.iter().rposition(unknown)).map(|index| start + index)
        });
        let index = index.ok_or_else(|| format!("VANISHED {uid}, which is not there"))?;
        self.messages.remove(index);
        Ok(())
    }

    /// What was remembered and is neither gone nor told anew is among the messages whose UIDs are not known; `grown` of
    /// these may be new.
    ///
    /// # Errors
    /// They do not fit.
    pub fn resume(
        &mut self,
        remembered: &BTreeMap<u32, Known>,
        numbered: bool,
        grown: usize,
    ) -> Result<(), String> {
        let told: BTreeSet<u32> = self.messages.iter().filter_map(|known| known.uid).collect();
        let mut rest = remembered.values().filter(|known| known.uid.is_some_and(|uid| !told.contains(&uid)));
        let mut unknown = 0;
        for known in &mut self.messages {
            match known.uid.and_then(|uid| remembered.get(&uid)) {
                Some(before) => (known.token, known.asked) = (before.token, before.token.is_some()),
                None if known.uid.is_some() => {}
                None => match rest.next() {
                    Some(before) => *known = Known { asked: before.token.is_some(), ..before.clone() },
                    None => unknown += 1,
                },
            }
        }
        let left: Vec<u32> = rest.filter_map(|known| known.uid).collect();
        if unknown > grown || !left.is_empty() {
            let count = self.messages.len();
            return Err(format!(
                "{count} messages, of {unknown} of which nothing is known, and no room for {left:?}"
            ));
        }
        if !numbered {
            // There was no other order than that of being told.
            self.messages.sort_by_key(|known| (known.uid.is_none(), known.uid));
        }
        (0..self.messages.len()).try_for_each(|index| self.ascending(index))
    }

    /// The mod-sequence of a message is at least this.
    pub fn raise(&mut self, uid: u32, modseq: u64) {
        for known in self.messages.iter_mut().filter(|known| known.uid == Some(uid)) {
            known.modseq = known.modseq.max(modseq);
        }
    }

    /// The index of a UID.
    pub fn find(&self, uid: u32) -> Option<usize> {
        self.messages.iter().position(|known| known.uid == Some(uid))
    }
}

impl Known {
    /// The message has this mod-sequence, and `before` were its flags; what has changed since HIGHESTMODSEQ was told is above
    /// it.
    ///
    /// # Errors
    /// It has fallen, or not risen.
    pub fn has_modseq(
        &mut self,
        modseq: u64,
        before: Option<FlagBits>,
        highest: Option<u64>,
    ) -> Result<(), String> {
        if modseq < self.modseq {
            return Err(format!("had MODSEQ {} and has {modseq}", self.modseq));
        }
        (self.modseq, self.modseq_told) = (modseq, Some(modseq));
        match before.zip(self.flags).zip(highest) {
            Some(((before, flags), highest)) if before != flags && modseq <= highest => {
                let (was, is) = (before.names(), flags.names());
                Err(format!(
                    "had ({was}) and has ({is}), and its MODSEQ {modseq} is not above HIGHESTMODSEQ {highest}"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Flags as this world knows them; `\Recent` is nobody's.
///
/// # Errors
/// A flag that nobody in this world sets.
pub fn bits(flags: &[String]) -> Result<FlagBits, String> {
    let others = flags.iter().filter(|flag| !flag.eq_ignore_ascii_case("\\Recent"));
    others.into_iter().try_fold(FlagBits::default(), |bits, flag| match flag_index(flag) {
        Some(index) => Ok(bits.with(index)),
        None => Err(format!("the flag {flag}, which nobody has set")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_expunges_and_a_wrong_one_shows() {
        let mut model = Model::default();
        model.exists(3).unwrap();
        for (number, uid) in [(1, 4), (3, 9)] {
            model.fetch(number, &Fetched { uid: Some(uid), ..Fetched::default() }).unwrap();
        }
        assert_eq!(model.expunge(1).unwrap().uid, Some(4));
        assert_eq!(model.find(9), Some(1));
        assert!(model.exists(1).is_err() && model.expunge(3).is_err());
        assert!(model.fetch(2, &Fetched { uid: Some(8), ..Fetched::default() }).is_err());
        assert!(model.fetch(1, &Fetched { uid: Some(9), ..Fetched::default() }).is_err());
    }
    fn with_uids(uids: &[Option<u32>]) -> Model {
        let known = |uid: &Option<u32>| Known { uid: *uid, ..Known::default() };
        Model { messages: uids.iter().map(known).collect(), ..Model::default() }
    }

    fn uids(model: &Model) -> Vec<Option<u32>> {
        model.messages.iter().map(|known| known.uid).collect()
    }

    #[test]
    fn what_vanishes_may_be_one_whose_uid_nobody_has_heard() {
        let mut model = with_uids(&[Some(2), None, Some(5), None]);
        assert!(model.vanish(1, true).is_err());
        model.vanish(3, true).unwrap();
        assert!(model.vanish(4, true).is_err());
        model.vanish(5, true).unwrap();
        assert_eq!(uids(&model), [Some(2), None]);
        model.vanish(1, false).unwrap();
        assert_eq!(uids(&model), [Some(2)]);
        assert!(model.vanish(1, false).is_err());
    }

    #[test]
    fn without_numbers_the_uids_give_the_order() {
        let mut model = with_uids(&[None, None]);
        assert_eq!((model.place(7), model.place(3), model.place(7)), (Ok(1), Ok(1), Ok(2)));
        assert!(model.place(4).is_err());
    }

    #[test]
    fn what_was_remembered_fills_what_was_not_told() {
        let known = |uid| (uid, Known { uid: Some(uid), token: Some(Token(uid.into())), ..Known::default() });
        let remembered = BTreeMap::from([known(2), known(4), known(6)]);
        let mut model = with_uids(&[None, Some(4), None, None]);
        assert!(model.clone().resume(&remembered, true, 0).is_err(), "one of the messages is nobody's");
        model.resume(&remembered, true, 1).unwrap();
        assert_eq!(uids(&model), [Some(2), Some(4), Some(6), None]);
        assert_eq!(model.messages[1].token, Some(Token(4)));
        assert!(with_uids(&[None, None]).resume(&remembered, true, 9).is_err(), "VANISHED has forgotten one");
        let numbers = with_uids(&[None, Some(1), None, None]);
        assert!(numbers.clone().resume(&remembered, true, 1).is_err(), "the order");
        assert!(numbers.clone().resume(&remembered, false, 1).is_ok(), "there is none");
    }

    #[test]
    fn a_flag_that_changes_takes_the_message_above_what_was_told() {
        let fetched = |flag: &str, modseq| Fetched {
            flags: Some(vec![flag.to_owned()]),
            modseq: Some(modseq),
            ..Fetched::default()
        };
        let mut model = Model { highest: Some(9), ..with_uids(&[Some(1)]) };
        model.fetch(1, &fetched("\\Seen", 8)).unwrap();
        model.fetch(1, &fetched("\\Seen", 9)).unwrap();
        assert!(model.clone().fetch(1, &fetched("\\Draft", 9)).is_err());
        model.fetch(1, &fetched("\\Draft", 10)).unwrap();
        assert!(model.fetch(1, &fetched("\\Draft", 9)).is_err());
    }
}
