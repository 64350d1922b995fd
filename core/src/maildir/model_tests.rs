//! Random histories of one mailbox: two processes of ours, other programs that know no lock, power cuts,
//! failing disks.
//!
//! What must hold whatever happens: a UID never means two messages, in any process, before or after any
//! crash; what was acknowledged is there; and when everything is quiet, both processes see exactly the files
//! that exist.

use super::append::{Append, commit_append, stage_append};
use super::context::{HostFacts, StoreContext};
use super::copy::{CopySource, copy};
use super::deliver::{DeliveryTarget, deliver};
use super::expunge::{Victims, expunge};
use super::flags::{FlagRequest, store_flags};
use super::folder::FolderName;
use super::mailbox::{Change, MailboxState, Message};
use super::memdisk::{MemDisk, root};
use super::name::FileName;
use super::sync::{SyncMode, sync};
use crate::disk::{Errno, TaskInput};
use crate::imap::flag::{FlagList, FlagSet, SystemFlag};
use crate::imap::sequence::UidSet;
use crate::imap::server::StoreAction;
use crate::machine::WallTime;
use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use proptest::prelude::*;
use std::{format, vec};

#[derive(Clone, Debug)]
enum Step {
    /// Our own delivery.
    Deliver,
    /// Another delivery agent's.
    ForeignDelivery,
    /// Another program changes flags, moving from `new/` to `cur/`.
    ForeignFlag(u8, u8),
    ForeignRemoval(u8),
    Look {
        process: usize,
        select: bool,
    },
    Append {
        process: usize,
        seen: bool,
    },
    Store {
        process: usize,
        pick: u8,
        add: bool,
        flag: u8,
    },
    Expunge {
        process: usize,
        pick: u8,
    },
    /// Into the same mailbox.
    Copy {
        process: usize,
        pick: u8,
    },
    /// Seconds.
    Pass(u8),
    /// The power goes during the next step, after this many operations.
    Crash(u8),
    /// The disk fails this operation of the next step.
    Fail(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let process = 0..2usize;
    prop_oneof![
        2 => Just(Step::Deliver),
        2 => Just(Step::ForeignDelivery),
        2 => (any::<u8>(), 0..3u8).prop_map(|(pick, flag)| Step::ForeignFlag(pick, flag)),
        1 => any::<u8>().prop_map(Step::ForeignRemoval),
        5 => (process.clone(), any::<bool>()).prop_map(|(process, select)| Step::Look { process, select }),
        2 => (process.clone(), any::<bool>()).prop_map(|(process, seen)| Step::Append { process, seen }),
        3 => (process.clone(), any::<u8>(), any::<bool>(), 0..4u8)
            .prop_map(|(process, pick, add, flag)| Step::Store { process, pick, add, flag }),
        2 => (process.clone(), any::<u8>()).prop_map(|(process, pick)| Step::Expunge { process, pick }),
        1 => (process, any::<u8>()).prop_map(|(process, pick)| Step::Copy { process, pick }),
        2 => (0..5u8).prop_map(Step::Pass),
        1 => (0..40u8).prop_map(Step::Crash),
        1 => (0..40u8).prop_map(Step::Fail),
    ]
}

struct World {
    disk: MemDisk,
    context: Arc<StoreContext>,
    lives: u32,
    states: [Option<MailboxState>; 2],
    /// What each UID means, and whether it was told to be gone.
    meaning: BTreeMap<(u32, u32), String>,
    /// Base names of messages that must be there.
    acknowledged: BTreeSet<String>,
    foreign: u32,
}

fn context_of_life(lives: u32, started: WallTime) -> Arc<StoreContext> {
    let facts =
        HostFacts { host: b"mx".to_vec(), pid: 7, started, booted: Some(started), seed: u64::from(lives) };
    Arc::new(StoreContext::new(facts))
}

impl World {
    fn new(keeps_order: bool) -> World {
        let disk = MemDisk::with_maildir().with_order(keeps_order);
        let context = context_of_life(0, disk.now().wall);
        let (states, meaning, acknowledged) = ([None, None], BTreeMap::new(), BTreeSet::new());
        World { disk, context, lives: 0, states, meaning, acknowledged, foreign: 0 }
    }

    /// After a power cut: nobody knows anything.
    fn restart(&mut self) {
        self.disk.restart();
        self.lives += 1;
        self.context = context_of_life(self.lives, self.disk.now().wall);
        self.states = [None, None];
    }

    /// Takes over what an operation returned; `None` means that the power went.
    fn adopt(&mut self, process: usize, state: Option<Option<(MailboxState, Vec<Change>)>>) {
        match state {
            None => self.restart(),
            Some(None) => {}
            Some(Some((state, changes))) => {
                self.check_changes(process, &state, &changes);
                self.check(&state);
                self.states[process] = Some(state);
            }
        }
    }

    /// The changes must lead from the old state to the new one.
    fn check_changes(&self, process: usize, state: &MailboxState, changes: &[Change]) {
        let Some(before) = &self.states[process] else { return };
        assert!(!changes.contains(&Change::Reset), "UIDVALIDITY changed");
        let silent = changes.iter().all(|change| *change == Change::Keywords);
        assert!(silent || state.highest_modseq > before.highest_modseq);
        let mut uids: Vec<u32> = before.messages.iter().map(|message| message.uid).collect();
        for change in changes {
            match change {
                Change::Expunged(uid) => uids.retain(|other| other != uid),
                Change::Appended(uid) => uids.push(*uid),
                Change::Flags(_) | Change::Keywords | Change::Reset => {}
            }
        }
        assert_eq!(uids, state.messages.iter().map(|message| message.uid).collect::<Vec<_>>());
        for message in state.messages.iter() {
            let old = before.messages.find(message.uid);
            let same = old.is_some_and(|old| old.flags == message.flags);
            assert!(message.modseq <= state.highest_modseq);
            assert!(same || message.modseq > before.highest_modseq);
            assert!(same || old.is_none() || changes.contains(&Change::Flags(message.uid)));
        }
    }

    fn check(&mut self, state: &MailboxState) {
        let mut last = 0;
        for message in state.messages.iter() {
            assert!(message.uid > last && message.uid < state.uid_next);
            last = message.uid;
            let base = String::from_utf8_lossy(message.base()).into_owned();
            let before = self.meaning.insert((state.uid_validity, message.uid), base.clone());
            assert!(before.is_none_or(|before| before == base), "UID {} is two messages", message.uid);
        }
    }

    fn pick(&self, process: usize, pick: u8) -> UidSet {
        let mut set = UidSet::new();
        if let Some(state) = &self.states[process] {
            let messages = state.messages.iter().enumerate();
            messages
                .filter(|(index, _)| pick >> (index % 8) & 1 == 1)
                .for_each(|(_, message)| set.push(message.uid));
        }
        set
    }

    fn foreign_file(&self, pick: u8) -> Option<String> {
        let files = ["cur", "new"].map(|part| {
            self.disk.names(&format!("/m/{part}")).into_iter().map(move |name| format!("/m/{part}/{name}"))
        });
        let files: Vec<String> = files.into_iter().flatten().collect();
        let index = usize::from(pick).checked_rem(files.len())?;
        files.get(index).cloned()
    }

    fn look(&mut self, process: usize, select: bool) {
        let (context, previous) = (self.context.clone(), self.states[process].clone());
        let mode = SyncMode { move_new: select, saved_modseq: None };
        let done = self
            .disk
            .run(Vec::new(), move |disk| sync(disk, context, root(), FolderName::inbox(), previous, mode));
        self.adopt(process, done.map(|result| result.ok().map(|synced| (synced.state, synced.changes))));
    }

    fn deliver(&mut self) {
        let inputs = Vec::from([TaskInput::Chunk(b"mail\n".to_vec()), TaskInput::Commit]);
        let target = DeliveryTarget { root: root(), folder: FolderName::inbox(), quota: None };
        let context = self.context.clone();
        match self.disk.run(inputs, move |disk| deliver(disk, context, Vec::from([target]))) {
            None => self.restart(),
            Some(Ok(delivered)) => {
                self.acknowledged.insert(String::from_utf8_lossy(&delivered.base).into_owned());
            }
            Some(Err(_)) => {}
        }
    }

    fn append(&mut self, process: usize, seen: bool) {
        let inputs = Vec::from([TaskInput::Chunk(b"mail\n".to_vec()), TaskInput::Commit]);
        let context = self.context.clone();
        let staged =
            self.disk.run(inputs, move |disk| stage_append(disk, context, root(), FolderName::inbox(), None));
        let staged = match staged {
            None => return self.restart(),
            Some(Err(_)) => return,
            Some(Ok(staged)) => staged,
        };
        let base = String::from_utf8_lossy(&staged.base).into_owned();
        let system = if seen { FlagSet::EMPTY.with(SystemFlag::Seen) } else { FlagSet::EMPTY };
        let flags = FlagList { system, keywords: Vec::new() };
        let (context, previous) = (self.context.clone(), self.states[process].clone());
        let done = self.disk.run(Vec::new(), move |disk| {
            commit_append(
                disk,
                context,
                root(),
                FolderName::inbox(),
                previous,
                Vec::from([Append { staged, flags }]),
            )
        });
        if let Some(Ok(appended)) = &done {
            self.meaning.insert((appended.state.uid_validity, appended.uids[0]), base.clone());
            self.acknowledged.insert(base);
        }
        self.adopt(
            process,
            done.map(|result| result.ok().map(|appended| (appended.state, appended.changes))),
        );
    }

    fn store(&mut self, process: usize, pick: u8, add: bool, flag: u8) {
        let Some(previous) = self.states[process].clone() else { return };
        let uids = self.pick(process, pick);
        let system = [SystemFlag::Seen, SystemFlag::Deleted].map(|flag| FlagSet::EMPTY.with(flag));
        let system = system.get(usize::from(flag)).copied().unwrap_or_default();
        let keyword = ["", "", "one", "two"].get(usize::from(flag)).copied().unwrap_or_default();
        let keywords = Some(keyword).filter(|word| !word.is_empty()).map(|word| Cow::Owned(word.to_string()));
        let flags = FlagList { system, keywords: keywords.into_iter().collect() };
        let action = if add { StoreAction::Add } else { StoreAction::Replace };
        let context = self.context.clone();
        let request = FlagRequest { uids, action, flags, patient: true, unchanged_since: None };
        let done = self.disk.run(Vec::new(), move |disk| {
            store_flags(disk, context, root(), FolderName::inbox(), previous, request)
        });
        self.adopt(process, done.map(|result| result.ok().map(|flagged| (flagged.state, flagged.changes))));
    }

    fn expunge(&mut self, process: usize, pick: u8) {
        let Some(previous) = self.states[process].clone() else { return };
        let uids = self.pick(process, pick);
        for uid in uids.iter() {
            let base = previous
                .messages
                .find(uid)
                .map(|message| String::from_utf8_lossy(message.base()).into_owned());
            base.map(|base| self.acknowledged.remove(&base));
        }
        let context = self.context.clone();
        let done = self.disk.run(Vec::new(), move |disk| {
            expunge(disk, context, root(), FolderName::inbox(), previous, Victims::These(uids))
        });
        self.adopt(process, done.map(|result| result.ok().map(|gone| (gone.state, gone.changes))));
    }

    fn copy(&mut self, process: usize, pick: u8) {
        let Some(previous) = self.states[process].clone() else { return };
        let uids = self.pick(process, pick);
        let messages =
            previous.messages.iter().filter(|message| uids.contains(message.uid)).cloned().collect();
        let source =
            CopySource { folder: FolderName::inbox(), messages, keywords: previous.keywords.clone() };
        let context = self.context.clone();
        let done = self.disk.run(Vec::new(), move |disk| {
            copy(disk, context, root(), source, FolderName::inbox(), Some(previous))
        });
        if let Some(Ok(copied)) = &done {
            for (_, uid) in &copied.pairs {
                let base = copied.state.messages.find(*uid).map(|message| message.base().to_vec());
                self.acknowledged.insert(String::from_utf8_lossy(&base.expect("it was copied")).into_owned());
            }
        }
        self.adopt(process, done.map(|result| result.ok().map(|copied| (copied.state, copied.changes))));
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Deliver => self.deliver(),
            Step::ForeignDelivery => {
                self.foreign += 1;
                let number = self.foreign;
                self.disk.put_file(&format!("/m/new/{}.f{number}", 1_700_000_000 + number % 3), b"mail\n");
                self.acknowledged.insert(format!("{}.f{number}", 1_700_000_000 + number % 3));
            }
            Step::ForeignFlag(pick, flag) => {
                if let Some(file) = self.foreign_file(pick) {
                    let name = FileName::parse(&file.as_bytes()[7..]);
                    let letters = ["", "S", "Fz"].get(usize::from(flag)).copied().unwrap_or_default();
                    let to = format!("/m/cur/{}:2,{letters}", String::from_utf8_lossy(name.base()));
                    self.disk.move_file(&file, &to);
                }
            }
            Step::ForeignRemoval(pick) => {
                if let Some(file) = self.foreign_file(pick) {
                    self.disk.remove_file(&file);
                    let base = FileName::parse(&file.as_bytes()[7..]).base();
                    self.acknowledged.remove(&String::from_utf8_lossy(base).into_owned());
                }
            }
            Step::Look { process, select } => self.look(process, select),
            Step::Append { process, seen } => self.append(process, seen),
            Step::Store { process, pick, add, flag } => self.store(process, pick, add, flag),
            Step::Expunge { process, pick } => self.expunge(process, pick),
            Step::Copy { process, pick } => self.copy(process, pick),
            Step::Pass(seconds) => self.disk.advance(u64::from(seconds) * 1_000_000),
            Step::Crash(at) => self.disk.crash_at = Some(at.into()),
            Step::Fail(at) => {
                self.disk.fail_at = Some((at.into(), if at % 2 == 0 { Errno::Io } else { Errno::NoSpace }))
            }
        }
    }

    fn live(&mut self, steps: Vec<Step>) {
        for step in steps {
            let armed = !matches!(step, Step::Crash(_) | Step::Fail(_));
            self.carry_out(step);
            if armed {
                (self.disk.crash_at, self.disk.fail_at) = (None, None);
            }
        }
    }

    /// The base names that exist.
    fn bases(&self) -> BTreeSet<String> {
        let names = ["/m/cur", "/m/new"].map(|dir| self.disk.names(dir));
        let base =
            |name: &String| String::from_utf8_lossy(FileName::parse(name.as_bytes()).base()).into_owned();
        names.iter().flatten().map(base).collect()
    }

    fn check_when_quiet(&mut self) {
        (self.disk.crash_at, self.disk.fail_at) = (None, None);
        // Whoever held a lock is dead by now.
        self.disk.advance(200_000_000);
        for process in [0, 1, 0] {
            self.look(process, false);
            self.disk.advance(10_000_000);
        }
        let there = self.bases();
        assert!(self.acknowledged.is_subset(&there), "lost: {:?}", self.acknowledged.difference(&there));
        for state in self.states.iter().flatten() {
            let shown: Vec<String> = state
                .messages
                .iter()
                .map(|message| String::from_utf8_lossy(message.base()).into_owned())
                .collect();
            assert_eq!(shown.len(), there.len());
            assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), there);
        }
        let [Some(one), Some(other)] = &self.states else { panic!("both have looked") };
        let line = |message: &Message| {
            format!("{} {} {:?}", message.uid, String::from_utf8_lossy(&message.file), message.flags)
        };
        let known = |state: &MailboxState| -> Vec<_> { state.messages.iter().map(line).collect() };
        assert_eq!(known(one), known(other));
    }
}

#[test]
fn a_rename_that_is_not_synced_survives_what_another_program_syncs_at_its_source() {
    for fail in 0..50 {
        let mut world = World::new(true);
        world.live(Vec::from([
            Step::Deliver,
            Step::Fail(fail),
            Step::Look { process: 0, select: true },
            Step::ForeignDelivery,
            Step::Crash(0),
            Step::Look { process: 0, select: false },
        ]));
        world.check_when_quiet();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_history_keeps_its_promises(
        keeps_order in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(keeps_order);
        world.live(steps);
        world.check_when_quiet();
    }
}
