//! The index file: what it saves, and that no damage to it does any.

use super::context::{HostFacts, StoreContext};
use super::expunge::{Victims, expunge};
use super::flags::{FlagRequest, store_flags};
use super::folder::FolderName;
use super::index_file::{Saved, save_index};
use super::mailbox::MailboxState;
use super::memdisk::{MemDisk, root};
use super::sync::{SyncMode, Synced, sync};
use super::write_tests::{shown, uids};
use crate::imap::flag::{FlagList, FlagSet, SystemFlag};
use crate::imap::server::StoreAction;
use crate::machine::WallTime;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::format;

const INDEX: &str = "/m/postier.index";

/// The process of this life of the machine.
pub(super) fn context_of(disk: &MemDisk) -> Arc<StoreContext> {
    let (started, seed) = (disk.now().wall, u64::from(disk.lives));
    let booted = Some(WallTime { secs: 1_600_000_000, micros: 0 });
    let facts = HostFacts { host: b"mx".to_vec(), pid: 1000 + disk.lives, started, booted, seed };
    Arc::new(StoreContext::new(facts))
}

pub(super) fn opened(disk: &mut MemDisk, known: Option<&MailboxState>) -> Synced {
    opened_by(disk, known, None)
}

/// Opened by the process that has saved a mailbox with this HIGHESTMODSEQ and has told nobody of a later one.
fn opened_by(disk: &mut MemDisk, known: Option<&MailboxState>, saved_modseq: Option<u64>) -> Synced {
    let (context, known) = (context_of(disk), known.cloned());
    let mode = SyncMode { move_new: false, saved_modseq };
    let run = move |disk| sync(disk, context, root(), FolderName::inbox(), known, mode);
    disk.run(Vec::new(), run).expect("no crash here").expect("no error here")
}

pub(super) fn flagged(
    disk: &mut MemDisk,
    known: &MailboxState,
    set: &str,
    action: StoreAction,
    flag: SystemFlag,
) -> MailboxState {
    let (context, known) = (context_of(disk), known.clone());
    let flags = FlagList { system: FlagSet::EMPTY.with(flag), keywords: Vec::new() };
    let request = FlagRequest { uids: uids(set), action, flags, patient: true, unchanged_since: None };
    let run = move |disk| store_flags(disk, context, root(), FolderName::inbox(), known, request);
    disk.run(Vec::new(), run).unwrap().unwrap().state
}

pub(super) fn expunged(disk: &mut MemDisk, known: &MailboxState, set: &str) -> MailboxState {
    let (context, known, victims) = (context_of(disk), known.clone(), Victims::These(uids(set)));
    let run = move |disk| expunge(disk, context, root(), FolderName::inbox(), known, victims);
    disk.run(Vec::new(), run).unwrap().unwrap().state
}

pub(super) fn saved(disk: &mut MemDisk, known: &MailboxState, before: Option<Saved>) -> Option<Saved> {
    let known = known.clone();
    disk.run(Vec::new(), move |disk| save_index(disk, root(), FolderName::inbox(), known, before)).unwrap()
}

fn mailbox(messages: usize) -> MemDisk {
    let mut disk = MemDisk::with_maildir();
    disk.put_file("/m/dovecot-keywords", b"0 work\n");
    for n in 0..messages {
        disk.put_file(&format!("/m/cur/{}.m,S=9,W=11:2,Sa", 1000 + n), b"text");
    }
    disk.advance(10_000_000);
    disk
}

fn lists_or_reads(disk: &MemDisk) -> Vec<&str> {
    let costs = |op: &&str| ["List", "ReadFile", "Read", "OpenFile"].contains(op);
    disk.counted_log().into_iter().filter(costs).collect()
}

/// The mailbox, its state, and an index file of two saves.
fn saved_twice() -> (MemDisk, MailboxState) {
    let mut disk = mailbox(5);
    let first = opened(&mut disk, None).state;
    let first = flagged(&mut disk, &first, "1:2", StoreAction::Add, SystemFlag::Flagged);
    disk.advance(10_000_000);
    let first = opened(&mut disk, Some(&first)).state;
    let file = saved(&mut disk, &first, None);
    let whole = disk.read(INDEX).unwrap().len();
    let second = flagged(&mut disk, &first, "3", StoreAction::Add, SystemFlag::Answered);
    let second = expunged(&mut disk, &second, "4");
    disk.advance(10_000_000);
    let second = opened(&mut disk, Some(&second)).state;
    assert!(saved(&mut disk, &second, file).is_some_and(|saved| saved.is_of(&second)));
    assert!(disk.read(INDEX).unwrap().len() < whole * 2, "appended, not written anew");
    disk.settle();
    (disk, second)
}

#[test]
fn opening_again_costs_four_looks_and_the_index() {
    let (mut disk, state) = saved_twice();
    let again = opened(&mut disk, None);
    assert_eq!(lists_or_reads(&disk), ["ReadFile"]);
    assert_eq!(shown(&again.state), shown(&state));
    assert!(again.saved.is_some_and(|saved| saved.is_of(&again.state)));
    let facts = |state: &MailboxState| {
        (state.uid_validity, state.uid_next, state.guid, state.shown_modseq(), state.history.clone())
    };
    assert_eq!(facts(&again.state), facts(&state));
    assert!(again.state.messages.iter().eq(state.messages.iter()));
    assert!(!again.state.unverified && *again.state.keywords == ["work"]);
}

#[test]
fn what_has_changed_since_is_found_and_only_that() {
    let (mut disk, state) = saved_twice();
    disk.put_file("/m/new/2000.new", b"text");
    disk.settle();
    let mut same_process = disk.clone();
    let again = opened(&mut disk, None);
    // `cur/` and the uidlist are as they were, but mod-sequences are reserved anew.
    assert_eq!(lists_or_reads(&disk), ["ReadFile", "List", "ReadFile"]);
    assert_eq!(shown(&again.state).last().unwrap(), "6 2000.new  new");
    let told = state.shown_modseq().unwrap();
    assert!(again.state.shown_modseq().unwrap() > told);
    let changed = |state: &MailboxState, modseq| {
        state.messages.iter().filter(|message| state.has_changed_since(message, modseq)).count()
    };
    // A client that knows what was saved needs the new message only; one that may have been told more, all.
    assert_eq!((changed(&again.state, told), changed(&again.state, told + 1)), (1, 5));
    let again = opened_by(&mut same_process, None, Some(told));
    assert_eq!(lists_or_reads(&same_process), ["ReadFile", "List"]);
    assert_eq!((again.state.shown_modseq(), changed(&again.state, told)), (Some(told + 1), 1));
}

#[test]
fn our_own_changes_are_not_looked_for_but_a_scan_is_due() {
    let mut disk = mailbox(5);
    let state = opened(&mut disk, None).state;
    let state = flagged(&mut disk, &state, "2", StoreAction::Add, SystemFlag::Flagged);
    disk.advance(500_000);
    let state = opened(&mut disk, Some(&state)).state;
    assert!(lists_or_reads(&disk).is_empty());
    // Another program does something in the same moment, so that the time of the directory does not tell.
    let stat = disk.stat("/m/cur").unwrap();
    disk.move_file("/m/cur/1003.m,S=9,W=11:2,Sa", "/m/cur/1003.m,S=9,W=11:2,DSa");
    disk.set_mtime("/m/cur", stat.mtime_ns);
    disk.advance(2_000_000);
    let state = opened(&mut disk, Some(&state)).state;
    assert!(lists_or_reads(&disk).contains(&"List") && shown(&state)[3] == "4 1003.m,S=9,W=11 DSa");
    opened(&mut disk, Some(&state));
    assert!(lists_or_reads(&disk).is_empty());
}

#[test]
fn another_program_between_our_own_changes_is_noticed_at_once() {
    let mut disk = mailbox(5);
    let state = opened(&mut disk, None).state;
    disk.move_file("/m/cur/1003.m,S=9,W=11:2,Sa", "/m/cur/1003.m,S=9,W=11:2,DSa");
    disk.advance(100_000);
    let state = flagged(&mut disk, &state, "2", StoreAction::Add, SystemFlag::Flagged);
    let state = opened(&mut disk, Some(&state)).state;
    assert_eq!(shown(&state)[3], "4 1003.m,S=9,W=11 DSa");
}

fn damaged(check: impl Fn(&mut MemDisk, &str)) {
    let (disk, state) = saved_twice();
    let octets = disk.read(INDEX).unwrap();
    let told = state.shown_modseq().unwrap();
    let try_with = |octets: &[u8], what: &str| {
        let mut disk = disk.clone();
        disk.put_file(INDEX, octets);
        disk.settle();
        let again = opened(&mut disk, None).state;
        assert_eq!(shown(&again), shown(&state), "{what}");
        assert!(again.shown_modseq().unwrap() >= told, "{what}");
        assert!(again.vanished_since(told - 1, &uids("1:9")).contains(4), "{what}");
        check(&mut disk, what);
    };
    for index in 0..octets.len() {
        for change in [1, 0x80, 0xff] {
            let mut octets = octets.clone();
            octets[index] ^= change;
            try_with(&octets, &format!("octet {index} changed by {change}"));
        }
        try_with(&octets[..index], &format!("cut to {index} octets"));
    }
    try_with(&[&octets[..], b"more"].concat(), "longer");
    try_with(&[0; 4096], "only zeros");
}

#[test]
fn whatever_octet_is_wrong_or_missing_the_mailbox_is_as_it_is() {
    damaged(|disk, what| {
        // What is known now can be saved, and opened again.
        let state = opened(disk, None);
        let file = saved(disk, &state.state, state.saved);
        assert!(file.is_some(), "{what}");
        assert!(opened(disk, None).state.messages.iter().eq(state.state.messages.iter()), "{what}");
    });
}

#[test]
fn a_file_that_another_process_has_written_is_not_appended_to() {
    let (mut disk, state) = saved_twice();
    let file = opened(&mut disk, None).saved;
    disk.replace_unsynced(INDEX, b"something else");
    let file = saved(&mut disk, &state, file);
    assert!(file.is_some() && disk.read(INDEX).unwrap().starts_with(b"postier.index 2\n"));
    assert_eq!(shown(&opened(&mut disk, None).state), shown(&state));
}

#[test]
fn saves_are_appended_until_the_file_is_twice_as_long() {
    let mut disk = mailbox(700);
    let mut state = opened(&mut disk, None).state;
    let mut file = saved(&mut disk, &state, None);
    let whole = disk.read(INDEX).unwrap().len();
    let (mut longest, mut last) = (0, whole);
    for turn in 0..40 {
        let action = if turn % 2 == 0 { StoreAction::Add } else { StoreAction::Remove };
        state = flagged(&mut disk, &state, "1:200", action, SystemFlag::Flagged);
        file = saved(&mut disk, &state, file);
        last = disk.read(INDEX).unwrap().len();
        longest = longest.max(last);
        disk.advance(10_000_000);
        let again = opened(&mut disk, None).state;
        assert!(again.messages.len() == 700 && shown(&again) == shown(&state), "turn {turn}");
    }
    assert!(longest < whole * 3 && last > whole / 2, "{whole} {longest} {last}");
}

#[test]
fn whatever_fails_in_a_save_the_mailbox_is_none_the_worse() {
    let (disk, state) = saved_twice();
    let mut whole = disk.clone();
    saved(&mut whole, &state, None);
    for at in 0..whole.ops {
        for crash in [false, true] {
            let mut disk = disk.clone();
            (disk.fail_at, disk.crash_at) = match crash {
                true => (None, Some(at)),
                false => (Some((at, crate::disk::Errno::NoSpace)), None),
            };
            let known = state.clone();
            let run = move |disk| save_index(disk, root(), FolderName::inbox(), known, None);
            let _ = disk.run(Vec::new(), run);
            if crash {
                disk.restart();
            }
            disk.fail_at = None;
            assert_eq!(shown(&opened(&mut disk, None).state), shown(&state), "operation {at}");
            let names: Vec<String> = disk.names("/m");
            assert!(
                crash || !names.contains(&"postier.index.tmp".into()) || at + 1 == whole.ops,
                "{at} {names:?}"
            );
        }
    }
}

#[test]
fn an_expunge_that_was_not_synced_is_told_only_when_it_is() {
    let (disk, state) = saved_twice();
    for errno in [None, Some(crate::disk::Errno::Io)] {
        let mut disk = disk.clone();
        // Another program, or an operation of ours whose sync failed.
        disk.remove_file("/m/cur/1001.m,S=9,W=11:2,FSa");
        disk.advance(10_000_000);
        let mut whole = disk.clone();
        opened(&mut whole, Some(&state));
        let sync = whole.counted_log().iter().rposition(|op| *op == "SyncDir").unwrap();
        disk.fail_at = errno.map(|errno| (sync - 1, errno));
        let told = opened(&mut disk, Some(&state)).state;
        disk.restart();
        let after = opened(&mut disk, None).state;
        assert!(told.messages.find(2).is_some() || after.messages.find(2).is_none(), "{errno:?}");
        assert_eq!(told.messages.find(2).is_some(), errno.is_some());
    }
}

/// A process that was killed in the middle of an EXPUNGE; the next one knows nothing of it.
#[test]
fn a_record_is_forgotten_only_when_its_file_cannot_come_back() {
    let (mut disk, state) = saved_twice();
    disk.remove_file(INDEX);
    let mut whole = disk.clone();
    expunged(&mut whole, &state, "2");
    let unlinked = whole.counted_log().iter().position(|op| *op == "Unlink");
    (disk.crash_at, disk.handed_out) = (unlinked, None);
    let (context, known, victims) = (context_of(&disk), state, Victims::These(uids("2")));
    let run = move |disk| expunge(disk, context, root(), FolderName::inbox(), known, victims);
    assert!(disk.run(Vec::new(), run).is_none());
    disk.crash_at = None;
    // What the dead process held is taken over.
    disk.advance(300_000_000);
    for errno in [None, Some(crate::disk::Errno::Io)] {
        let mut disk = disk.clone();
        disk.always = errno.map(|_| -> fn(&mut MemDisk) {
            |disk| {
                let syncs = disk.log.last().is_some_and(|op| op == "SyncDir");
                let looked = disk.log.iter().any(|op| op == "List");
                disk.fail_at = (syncs && looked).then(|| (disk.ops - 1, crate::disk::Errno::Io));
            }
        });
        let (context, mode) = (context_of(&disk), SyncMode::default());
        let run = move |disk| sync(disk, context, root(), FolderName::inbox(), None, mode);
        let seen = disk.run(Vec::new(), run).unwrap();
        assert_eq!(seen.is_err(), errno.is_some());
        disk.always = None;
        disk.restart();
        let after = opened(&mut disk, None).state;
        assert_eq!(after.messages.find(2).is_some(), errno.is_some(), "the file is back, under its own UID");
        assert_eq!(after.uid_next, 6);
    }
}

/// Two changes of a directory within one tick of its clock, of which a power cut keeps the first.
#[test]
fn after_a_power_cut_the_directories_are_looked_at_whatever_their_times() {
    let (mut disk, state) = saved_twice();
    disk.put_file("/m/cur/2000.b:2,", b"text");
    disk.set_mtime("/m/cur", state.cur_stamp.mtime_ns);
    let shown_by = |disk: &mut MemDisk, booted: Option<WallTime>| {
        let facts = HostFacts { host: b"mx".to_vec(), pid: 7, started: disk.now().wall, booted, seed: 1 };
        let (context, mode) = (Arc::new(StoreContext::new(facts)), SyncMode::default());
        let run = move |disk| sync(disk, context, root(), FolderName::inbox(), None, mode);
        disk.run(Vec::new(), run).unwrap().unwrap().state.messages.iter().count()
    };
    let long_ago = Some(WallTime { secs: 1_600_000_000, micros: 0 });
    assert_eq!(shown_by(&mut disk.clone(), long_ago), 4, "the times are believed while the machine runs");
    let just_now = Some(disk.now().wall);
    assert_eq!(shown_by(&mut disk.clone(), just_now), 5);
    assert_eq!(shown_by(&mut disk, None), 5);
}
