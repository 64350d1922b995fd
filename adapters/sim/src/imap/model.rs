//! A client's model of its selected mailbox, kept from EXISTS, EXPUNGE and FETCH alone.

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
}

/// The messages of the selected mailbox in their order.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// By sequence number, from 1 at index 0.
    pub messages: Vec<Known>,
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
        if let Some(flags) = &fetched.flags {
            (known.flags, known.told) = (Some(bits(flags)?), true);
        }
        if let Some(modseq) = fetched.modseq {
            if modseq < known.modseq {
                return Err(format!("message {number} had MODSEQ {} and has {modseq}", known.modseq));
            }
            known.modseq = modseq;
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
        self.messages.iter_mut().for_each(|known| known.told = false);
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

    /// The index of a UID.
    pub fn find(&self, uid: u32) -> Option<usize> {
        self.messages.iter().position(|known| known.uid == Some(uid))
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
}
