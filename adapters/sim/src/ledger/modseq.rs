//! Mod-sequences of messages, as anybody was told them (RFC 7162).
//!
//! At one mod-sequence a message has one set of flags, whoever asks and however often the server died in between. In one
//! life of the server it never falls; over a crash it may, for a change that was not durable, and not told as
//! acknowledged, is undone: who knows the mailbox as of then is told everything.

use std::collections::BTreeMap;

use super::{FlagBits, Ledger, Place};

/// When something was told.
#[derive(Clone, Copy, Debug)]
pub struct When {
    /// It answers what was asked then, in microseconds.
    pub asked: u64,
    /// When it was heard, in microseconds.
    pub heard: u64,
    /// In which life of the server.
    pub life: u32,
}

/// What was told of one UID.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The flags at each mod-sequence.
    flags: BTreeMap<u64, FlagBits>,
    /// The highest so far in this life, each time it rose, and when.
    highest: Vec<(u64, u64)>,
    life: u32,
}

impl Told {
    /// The highest that was heard before a moment.
    fn before(&self, moment: u64, life: u32) -> u64 {
        let heard = self.highest.iter().rev().find(|(heard, _)| *heard < moment && self.life == life);
        heard.map_or(0, |(_, modseq)| *modseq)
    }
}

impl Ledger {
    /// The mod-sequence of a message was told, and maybe its flags at it.
    pub fn saw_message_modseq(
        &mut self,
        place: &Place,
        uid: u32,
        modseq: u64,
        flags: Option<FlagBits>,
        when: When,
    ) {
        let told = self.folder(place).told.entry(uid).or_default();
        let mut wrong = None;
        if let Some(flags) = flags {
            let known = *told.flags.entry(modseq).or_insert(flags);
            if known != flags {
                let (was, is) = (known.names(), flags.names());
                wrong = Some(format!("UID {uid} had ({was}) at MODSEQ {modseq} and has ({is}) at the same"));
            }
        }
        let before = told.before(when.asked, when.life);
        if modseq < before {
            wrong = Some(format!("UID {uid} had MODSEQ {before} and has {modseq}"));
        }
        if told.life < when.life {
            (told.life, told.highest) = (when.life, Vec::new());
        }
        if told.life == when.life && told.highest.last().is_none_or(|(_, last)| *last < modseq) {
            told.highest.push((when.heard, modseq));
        }
        if let Some(what) = wrong {
            self.violation(format!("{place}: {what}"));
        }
    }

    /// The highest mod-sequence of a message that this life of the server had told anybody when something was asked; 0
    /// if none.
    pub fn modseq_told(&self, place: &Place, uid: u32, when: When) -> u64 {
        let told = self.folders.get(place).and_then(|folder| folder.told.get(&uid));
        told.map_or(0, |told| told.before(when.asked, when.life))
    }
}
