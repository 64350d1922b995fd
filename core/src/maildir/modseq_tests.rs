//! Mod-sequences over crashes, lost and damaged index files, and clocks that go back: random histories of one
//! mailbox, with clients that remember what they were told.
//!
//! What must hold for every client that knows the mailbox as of some HIGHESTMODSEQ, however long ago: messages that
//! are said not to have changed have the flags it knows, and whatever is gone it is told of.

use super::append::{Append, commit_append, stage_append};
use super::folder::FolderName;
use super::index_file::Saved;
use super::index_tests::{context_of, expunged, flagged, opened, saved};
use super::mailbox::{MailboxState, Message};
use super::memdisk::{MemDisk, root};
use crate::disk::TaskInput;
use crate::imap::flag::{FlagList, FlagSet, SystemFlag};
use crate::imap::sequence::SequenceSet;
use crate::imap::server::StoreAction;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use proptest::prelude::*;
use std::{format, vec};

#[derive(Clone, Debug)]
enum Step {
    Look,
    Store(u8, bool, bool),
    Expunge(u8),
    Append,
    ForeignDelivery,
    ForeignFlag(u8),
    ForeignRemoval(u8),
    /// The uidlist is written anew by a program that does not know our key.
    ForeignRewrite,
    Save,
    /// The process ends, with or without the machine.
    Restart(bool),
    LoseIndex,
    DamageIndex(u16),
    ClockBack,
    /// A client takes in everything.
    Client,
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Look),
        6 => (any::<u8>(), any::<bool>(), any::<bool>()).prop_map(|(pick, add, flag)| Step::Store(pick, add, flag)),
        2 => any::<u8>().prop_map(Step::Expunge),
        2 => Just(Step::Append),
        1 => Just(Step::ForeignDelivery),
        2 => any::<u8>().prop_map(Step::ForeignFlag),
        1 => any::<u8>().prop_map(Step::ForeignRemoval),
        1 => Just(Step::ForeignRewrite),
        4 => Just(Step::Save),
        3 => any::<bool>().prop_map(Step::Restart),
        1 => Just(Step::LoseIndex),
        1 => any::<u16>().prop_map(Step::DamageIndex),
        1 => Just(Step::ClockBack),
        5 => Just(Step::Client),
        4 => (0..4000u16).prop_map(Step::Pass),
    ]
}

struct Client {
    modseq: u64,
    flags: BTreeMap<u32, FlagSet>,
}

struct World {
    disk: MemDisk,
    state: Option<MailboxState>,
    saved: Option<Saved>,
    clients: Vec<Client>,
    foreign: u32,
    validity: u32,
}

impl World {
    fn new() -> World {
        let mut disk = MemDisk::with_maildir();
        for n in 0..4 {
            disk.put_file(&format!("/m/cur/{}.m:2,", 1000 + n), b"text\n");
        }
        disk.settle();
        World { disk, state: None, saved: None, clients: Vec::new(), foreign: 0, validity: 0 }
    }

    fn known(&mut self) -> MailboxState {
        if self.state.is_none() {
            let synced = opened(&mut self.disk, None);
            self.saved = synced.saved;
            self.state = Some(synced.state);
            self.check();
        }
        self.state.clone().unwrap()
    }

    fn pick(state: &MailboxState, pick: u8) -> Option<u32> {
        let count = state.messages.len();
        state.messages.iter().nth(usize::from(pick) % count.max(1)).map(|message| message.uid)
    }

    fn file(&self, pick: u8) -> Option<alloc::string::String> {
        let names = self.disk.names("/m/cur");
        names.get(usize::from(pick) % names.len().max(1)).map(|name| format!("/m/cur/{name}"))
    }

    fn client(&mut self) {
        let state = self.known();
        let Some(modseq) = state.shown_modseq() else { return };
        let flags = state.messages.iter().map(|message| (message.uid, message.flags)).collect();
        assert!(self.clients.iter().all(|client| client.modseq <= modseq), "HIGHESTMODSEQ fell to {modseq}");
        self.clients.push(Client { modseq, flags });
    }

    /// Every client can be brought up to date.
    fn check(&mut self) {
        let Some(state) = &self.state else { return };
        if self.validity != state.uid_validity {
            self.clients.clear();
            self.validity = state.uid_validity;
        }
        let all = SequenceSet::parse(b"1:*").unwrap().resolve(1000);
        for client in &self.clients {
            let vanished = state.vanished_since(client.modseq, &all);
            for (uid, flags) in &client.flags {
                match state.messages.find(*uid) {
                    None => assert!(vanished.contains(*uid), "{uid} is gone since {}", client.modseq),
                    Some(message) if !state.has_changed_since(message, client.modseq) => {
                        assert_eq!(message.flags, *flags, "{uid} has changed since {}", client.modseq);
                    }
                    Some(_) => assert!(!vanished.contains(*uid)),
                }
            }
            let new = state.messages.iter().filter(|message| !client.flags.contains_key(&message.uid));
            for message in new {
                assert!(state.has_changed_since(message, client.modseq), "{} is new", message.uid);
            }
        }
    }

    /// In the end.
    fn see_everything(&mut self) {
        self.disk.settle();
        self.go(&Step::Look);
        self.go(&Step::Client);
        let mut files = [self.disk.names("/m/cur"), self.disk.names("/m/new")].concat();
        files.sort();
        let state = self.known();
        let name = |m: &Message| alloc::string::String::from_utf8_lossy(&m.file).into_owned();
        let mut shown: Vec<_> = state.messages.iter().map(name).collect();
        shown.sort();
        assert_eq!(shown, files);
    }

    fn go(&mut self, step: &Step) {
        match *step {
            Step::Look => {
                let known = self.known();
                self.state = Some(opened(&mut self.disk, Some(&known)).state);
            }
            Step::Store(pick, add, flag) => {
                let known = self.known();
                let Some(uid) = World::pick(&known, pick) else { return };
                let action = if add { StoreAction::Add } else { StoreAction::Remove };
                let flag = if flag { SystemFlag::Flagged } else { SystemFlag::Seen };
                self.state = Some(flagged(&mut self.disk, &known, &uid.to_string(), action, flag));
            }
            Step::Expunge(pick) => {
                let known = self.known();
                let Some(uid) = World::pick(&known, pick) else { return };
                self.state = Some(expunged(&mut self.disk, &known, &uid.to_string()));
            }
            Step::Append => {
                let (known, context) = (self.known(), context_of(&self.disk));
                let inputs = Vec::from([TaskInput::Chunk(b"text\n".to_vec()), TaskInput::Commit]);
                let task = context.clone();
                let run = move |disk| stage_append(disk, task, root(), FolderName::inbox(), None);
                let staged = self.disk.run(inputs, run).unwrap().unwrap();
                let messages = Vec::from([Append { staged, flags: FlagList::default() }]);
                let run =
                    move |disk| commit_append(disk, context, root(), FolderName::inbox(), known, messages);
                self.state = Some(self.disk.run(Vec::new(), run).unwrap().unwrap().state);
            }
            Step::ForeignDelivery => {
                self.foreign += 1;
                self.disk.put_file(&format!("/m/new/{}.f", 5000 + self.foreign), b"text\n");
            }
            Step::ForeignFlag(pick) => {
                let Some(file) = self.file(pick) else { return };
                let other = match file.strip_suffix("R") {
                    Some(without) => without.into(),
                    None => format!("{file}R"),
                };
                self.disk.move_file(&file, &other);
            }
            Step::ForeignRemoval(pick) => {
                let file = self.file(pick);
                file.into_iter().for_each(|file| self.disk.remove_file(&file));
            }
            Step::ForeignRewrite => {
                let Some(list) = self.disk.read("/m/dovecot-uidlist") else { return };
                let list = alloc::string::String::from_utf8(list).unwrap();
                self.disk.replace_unsynced("/m/dovecot-uidlist", list.as_bytes());
            }
            Step::Save => {
                let known = self.known();
                self.saved = saved(&mut self.disk, &known, self.saved.take());
            }
            Step::Restart(power) => {
                if power {
                    self.disk.restart();
                }
                (self.state, self.saved) = (None, None);
            }
            Step::LoseIndex => {
                if self.disk.read("/m/postier.index").is_some() {
                    self.disk.remove_file("/m/postier.index");
                }
            }
            Step::DamageIndex(at) => {
                let Some(mut octets) = self.disk.read("/m/postier.index") else { return };
                let at = usize::from(at) % octets.len().max(1);
                if let Some(octet) = octets.get_mut(at) {
                    *octet ^= 1;
                }
                self.disk.put_file("/m/postier.index", &octets);
            }
            Step::ClockBack => self.disk.clock_behind += 100_000,
            Step::Client => self.client(),
            Step::Pass(millis) => self.disk.advance(u64::from(millis) * 1000),
        }
        self.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn every_client_can_be_brought_up_to_date(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.go(step);
        }
        world.see_everything();
    }
}

/// The clock is set back between a change that was not seen and a look at `new/` alone.
#[test]
fn a_look_at_new_alone_does_not_end_the_wait_for_what_happened_in_cur() {
    use Step::*;
    let mut world = World::new();
    for step in [Look, ForeignDelivery, Store(0, true, false), ForeignFlag(0), ClockBack, Append, Look] {
        world.go(&step);
    }
    world.see_everything();
}

#[test]
fn mod_sequences_begin_above_all_that_were_told_whatever_the_clock_says() {
    let mut world = World::new();
    world.go(&Step::Client);
    let told = world.known().shown_modseq().unwrap();
    assert!(told >= 1_700_000_000 << 20);
    for lose in [false, true] {
        world.disk.clock_behind = 1_000_000_000;
        world.go(&Step::Restart(true));
        if lose {
            world.go(&Step::LoseIndex);
        }
        world.go(&Step::Client);
    }
    assert!(world.known().shown_modseq().unwrap() > told);
    assert!(world.known().shown_modseq().unwrap() < 1 << 53);
}

#[test]
fn where_nothing_can_be_reserved_no_mod_sequence_is_told() {
    let mut world = World::new();
    world.known();
    world.go(&Step::Restart(false));
    world.disk.alive.push(99);
    world.disk.put_file("/m/dovecot-uidlist.lock", b"99:mx");
    world.disk.advance(10_000_000);
    assert_eq!(world.known().shown_modseq(), None);
    world.disk.remove_file("/m/dovecot-uidlist.lock");
    world.go(&Step::Look);
    assert!(world.known().shown_modseq().is_some());
}

/// The way back to Dovecot lets it go on from the reservation; then the mailbox comes to us again.
#[test]
fn mod_sequences_begin_above_those_that_dovecot_has_told_meanwhile() {
    for lose in [false, true] {
        let mut world = World::new();
        let ours = world.known();
        world.go(&Step::Save);
        world.go(&Step::Restart(false));
        let dovecots = ours.modseq_limit + 1_000_000;
        world.go(&Step::ForeignFlag(0));
        if lose {
            world.go(&Step::LoseIndex);
        }
        let now = world.known();
        assert!(now.shown_modseq().unwrap() > dovecots);
        // A client that is up to date with Dovecot is told everything once more.
        assert!(now.messages.iter().all(|message| now.has_changed_since(message, dovecots)));
    }
}
