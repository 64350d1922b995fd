//! The mailboxes that are open, and which of them wants something first.
//!
//! A mailbox that was handed out to be changed may want something at another instant afterwards. It is planned anew
//! when the input is over ([`Mailboxes::plan`]); so asking for the first instant costs as much with a thousand open
//! mailboxes as with one.

use super::mailboxes::{Mailbox, MailboxKey};
use crate::machine::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// The open mailboxes.
#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    open: BTreeMap<MailboxKey, Slot>,
    /// When those that are planned want something.
    due: BTreeSet<(Instant, MailboxKey)>,
    /// Those that were handed out since the last planning.
    touched: BTreeSet<MailboxKey>,
}

#[derive(Debug, Default)]
struct Slot {
    mailbox: Mailbox,
    /// Where it stands in `due`.
    due: Option<Instant>,
}

impl Mailboxes {
    pub(super) fn get(&self, key: &MailboxKey) -> Option<&Mailbox> {
        self.open.get(key).map(|slot| &slot.mailbox)
    }

    pub(super) fn get_mut(&mut self, key: &MailboxKey) -> Option<&mut Mailbox> {
        let slot = self.open.get_mut(key)?;
        if let Some(due) = slot.due.take() {
            self.due.remove(&(due, key.clone()));
        }
        if !self.touched.contains(key) {
            self.touched.insert(key.clone());
        }
        Some(&mut slot.mailbox)
    }

    /// The mailbox of this name, opened if it is not.
    pub(super) fn open(&mut self, key: &MailboxKey) -> &mut Mailbox {
        if !self.touched.contains(key) {
            self.touched.insert(key.clone());
        }
        let slot = self.open.entry(key.clone()).or_default();
        if let Some(due) = slot.due.take() {
            self.due.remove(&(due, key.clone()));
        }
        &mut slot.mailbox
    }

    pub(super) fn remove(&mut self, key: &MailboxKey) -> Option<Mailbox> {
        let slot = self.open.remove(key)?;
        if let Some(due) = slot.due {
            self.due.remove(&(due, key.clone()));
        }
        self.touched.remove(key);
        Some(slot.mailbox)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &MailboxKey> {
        self.open.keys()
    }

    /// Nothing runs in any of them, and nothing waits.
    pub(super) fn are_idle(&self) -> bool {
        self.open.values().all(|slot| slot.mailbox.is_idle())
    }

    /// Notes when the mailboxes that were handed out want something.
    pub(super) fn plan(&mut self) {
        while let Some(key) = self.touched.pop_first() {
            let Some(slot) = self.open.get_mut(&key) else { continue };
            slot.due = slot.mailbox.poll_timeout();
            if let Some(due) = slot.due {
                self.due.insert((due, key));
            }
        }
    }

    /// When the first of them wants something.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let planned = self.due.first().map(|(due, _)| *due);
        let touched = self.touched.iter().filter_map(|key| self.get(key)?.poll_timeout());
        touched.chain(planned).min()
    }

    /// Those that want something by now, the first one first.
    pub(super) fn due(&mut self, now: Instant) -> Vec<MailboxKey> {
        self.plan();
        self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, key)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::context::Root;
    use crate::maildir::folder::FolderName;
    use alloc::format;

    fn key(number: u64) -> MailboxKey {
        MailboxKey { root: Root::new(format!("/m{number}").as_bytes()), folder: FolderName::inbox() }
    }

    fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    #[test]
    fn the_first_instant_is_that_of_all_mailboxes_whatever_happens_to_them() {
        let mut mailboxes = Mailboxes::default();
        let mut state = 7u64;
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (number, secs) = (state >> 33 & 7, state >> 40 & 0xff);
            match state >> 60 {
                0..8 => mailboxes.open(&key(number)).look_by(at(secs)),
                8..11 => {
                    mailboxes.get_mut(&key(number)).into_iter().for_each(|found| *found = Mailbox::default())
                }
                11..13 => drop(mailboxes.remove(&key(number))),
                13 => {
                    let due = mailboxes.due(at(secs));
                    let walked = mailboxes
                        .open
                        .iter()
                        .filter(|(_, slot)| slot.mailbox.poll_timeout().is_some_and(|due| due <= at(secs)));
                    let mut sorted = due.clone();
                    sorted.sort();
                    assert!(sorted.iter().eq(walked.map(|(key, _)| key)));
                }
                _ => mailboxes.plan(),
            }
            let walked = mailboxes.open.values().filter_map(|slot| slot.mailbox.poll_timeout()).min();
            assert_eq!(mailboxes.poll_timeout(), walked);
        }
        mailboxes.plan();
        assert!(mailboxes.touched.is_empty() && mailboxes.due.len() <= mailboxes.open.len());
    }
}
