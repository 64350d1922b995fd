//! Tests of the operations that change a mailbox, on the disk in memory: success, every operation failing in
//! turn, the power going after every operation.

use super::append::{Append, Appended, Staged, commit_append, discard_staged, stage_append};
use super::context::{StoreError, StoreErrorKind};
use super::copy::{Copied, CopySource, copy};
use super::expunge::{Expunged, Victims, expunge};
use super::fetch::Splice;
use super::flags::{FlagRequest, Flagged, store_flags};
use super::folder::FolderName;
use super::folders;
use super::mailbox::{Change, MailboxState, Message};
use super::memdisk::{MemDisk, context, root};
use super::name::letters_of;
use super::sync::{SyncMode, sync};
use crate::disk::{Errno, TaskInput};
use crate::imap::flag::{FlagList, FlagSet, SystemFlag};
use crate::imap::sequence::UidSet;
use crate::imap::server::StoreAction;
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::format;

type Run<T> = Option<Result<T, StoreError>>;

fn folder() -> FolderName {
    FolderName::inbox()
}

/// The state as a process without any knowledge finds it.
pub(super) fn state_of(disk: &mut MemDisk, folder: FolderName) -> MailboxState {
    let context = Arc::new(context());
    let mode = SyncMode { move_new: false, saved_modseq: None };
    disk.run(Vec::new(), move |disk| sync(disk, context, root(), folder, None, mode)).unwrap().unwrap().state
}

/// `uid base flags`, `new` for those in `new/`.
pub(super) fn shown(state: &MailboxState) -> Vec<String> {
    let letters = |flags| letters_of(flags).map(char::from).collect::<String>();
    let line = |message: &Message| {
        let place = if message.in_new { " new" } else { "" };
        format!(
            "{} {} {}{place}",
            message.uid,
            String::from_utf8_lossy(message.base()),
            letters(message.flags)
        )
    };
    state.messages.iter().map(line).collect()
}

pub(super) fn uids(text: &str) -> UidSet {
    crate::imap::sequence::SequenceSet::parse(text.as_bytes()).unwrap().resolve(u32::MAX)
}

fn flags(system: FlagSet, keywords: &[&str]) -> FlagList<'static> {
    let keywords = keywords.iter().map(|word| Cow::Owned(word.to_string())).collect();
    FlagList { system, keywords }
}

fn seen() -> FlagSet {
    FlagSet::EMPTY.with(SystemFlag::Seen)
}

/// A mailbox with messages 1 to 4: plain, seen, deleted with keyword, in `new/`.
pub(super) fn disk_with_four() -> (MemDisk, MailboxState) {
    let mut disk = MemDisk::with_maildir();
    disk.put_file("/m/dovecot-keywords", b"0 work\n");
    disk.put_file("/m/cur/1.a:2,", b"one\n");
    disk.put_file("/m/cur/2.b:2,Sx", b"two\n");
    disk.put_file("/m/cur/3.c:2,PTa", b"three\n");
    disk.put_file("/m/new/4.d", b"four\n");
    disk.advance(10_000_000);
    let state = state_of(&mut disk, folder());
    disk.settle();
    (disk, state)
}

fn stage(disk: &mut MemDisk, text: &[u8], date: Option<i64>) -> Run<Staged> {
    let inputs = Vec::from([TaskInput::Chunk(text.to_vec()), TaskInput::Commit]);
    let context = Arc::new(context());
    disk.run(inputs, move |disk| stage_append(disk, context, root(), folder(), date))
}

fn commit(
    disk: &mut MemDisk,
    state: &MailboxState,
    messages: Vec<(Staged, FlagList<'static>)>,
) -> Run<Appended> {
    let (context, state) = (Arc::new(context()), state.clone());
    let messages = messages.into_iter().map(|(staged, flags)| Append { staged, flags }).collect();
    disk.run(Vec::new(), move |disk| commit_append(disk, context, root(), folder(), Some(state), messages))
}

fn store(
    disk: &mut MemDisk,
    state: &MailboxState,
    set: &str,
    action: StoreAction,
    flags: FlagList<'static>,
) -> Run<Flagged> {
    let (context, state) = (Arc::new(context()), state.clone());
    let request = FlagRequest { uids: uids(set), action, flags, patient: true, unchanged_since: None };
    disk.run(Vec::new(), move |disk| store_flags(disk, context, root(), folder(), state, request))
}

fn remove(disk: &mut MemDisk, state: &MailboxState, victims: Victims) -> Run<Expunged> {
    let (context, state) = (Arc::new(context()), state.clone());
    disk.run(Vec::new(), move |disk| expunge(disk, context, root(), folder(), state, victims))
}

#[test]
fn staged_messages_are_committed_together() {
    let (mut disk, state) = disk_with_four();
    let first = stage(&mut disk, b"five\n", Some(1_000_000_000)).unwrap().unwrap();
    let second = stage(&mut disk, b"six\n", None).unwrap().unwrap();
    assert_eq!((disk.names("/m/tmp").len(), second.wire_size), (2, 5));
    let messages =
        Vec::from([(first, flags(seen(), &["$Junk", "WORK"])), (second, flags(FlagSet::EMPTY, &[]))]);
    let appended = commit(&mut disk, &state, messages).unwrap().unwrap();
    let count = |wanted: &str| disk.counted_log().iter().filter(|op| **op == wanted).count();
    assert_eq!((count("Order"), count("Sync")), (1, 1), "keywords and uidlist");
    assert_eq!(appended.uids, [5, 6]);
    assert_eq!(appended.changes, [Change::Keywords, Change::Appended(5), Change::Appended(6)]);
    let message = appended.state.messages.find(5).unwrap();
    assert_eq!(
        (message.size, message.wire_size, message.internal_date),
        (Some(5), Some(6), Some(1_000_000_000))
    );
    assert_eq!(letters_of(message.flags).collect::<Vec<_>>(), b"Sab");
    assert!(message.modseq > state.highest_modseq && appended.state.highest_modseq >= message.modseq);
    disk.restart();
    assert_eq!(shown(&state_of(&mut disk, folder())), shown(&appended.state));
    assert_eq!(disk.read("/m/dovecot-keywords").unwrap(), b"0 work\n1 $Junk\n");
    let file = format!("/m/cur/{}", String::from_utf8_lossy(&message.file));
    assert_eq!(disk.stat(&file).unwrap().mtime_ns, 1_000_000_000_000_000_000);
    assert!(disk.names("/m/new").iter().any(|name| name.contains(",S=4,W=5")));
}

#[test]
fn a_staged_message_can_be_discarded_and_an_aborted_one_leaves_nothing() {
    let (mut disk, _) = disk_with_four();
    let staged = stage(&mut disk, b"five\n", None).unwrap().unwrap();
    disk.run(Vec::new(), move |disk| {
        discard_staged(disk, Arc::new(context()), root(), folder(), Vec::from([staged]))
    });
    assert!(disk.names("/m/tmp").is_empty());
    let context = Arc::new(context());
    let abort = Vec::from([TaskInput::Chunk(Vec::from([b'x'; 200_000])), TaskInput::Abort]);
    let aborted = disk.run(abort, move |disk| stage_append(disk, context, root(), folder(), None));
    assert_eq!(aborted.unwrap().unwrap_err().kind, StoreErrorKind::Aborted);
    assert!(disk.names("/m/tmp").is_empty());
}

type Messages = Vec<(Staged, FlagList<'static>)>;

fn two_staged(keeps_order: bool) -> (MemDisk, MailboxState, impl Fn() -> Messages) {
    let (disk, state) = disk_with_four();
    let mut disk = disk.with_order(keeps_order);
    let first = stage(&mut disk, b"five\n", None).unwrap().unwrap();
    let second = stage(&mut disk, b"six\n", None).unwrap().unwrap();
    let messages = move || {
        Vec::from([(first.clone(), flags(seen(), &["new"])), (second.clone(), flags(FlagSet::EMPTY, &[]))])
    };
    (disk, state, messages)
}

#[test]
fn of_a_commit_that_fails_nothing_stays() {
    let (disk, state, messages) = two_staged(true);
    let mut whole = disk.clone();
    commit(&mut whole, &state, messages()).unwrap().unwrap();
    for at in 0..whole.ops {
        let mut failing = disk.clone();
        failing.fail_at = Some((at, Errno::NoSpace));
        let result = commit(&mut failing, &state, messages()).unwrap();
        if result.is_ok() {
            continue;
        }
        failing.fail_at = None;
        // Where the mailbox could not even be opened, the owner discards what it staged.
        let opened = failing.counted_log().len() > 2;
        assert_eq!(failing.names("/m/tmp").is_empty(), opened, "operation {at}");
        let after = state_of(&mut failing, folder());
        assert_eq!(shown(&after), shown(&state), "operation {at}");
        assert_eq!(after.uid_validity, state.uid_validity);
    }
}

#[test]
fn what_was_committed_is_there_after_a_crash_with_its_uid() {
    for keeps_order in [true, false] {
        let (disk, state, messages) = two_staged(keeps_order);
        let mut whole = disk.clone();
        commit(&mut whole, &state, messages()).unwrap().unwrap();
        for at in 0..=whole.ops {
            commit_with_crash_at(at, &disk, &state, &messages);
        }
    }
}

fn commit_with_crash_at(at: usize, disk: &MemDisk, state: &MailboxState, messages: &impl Fn() -> Messages) {
    let base = |index: usize| messages()[index].0.base.clone();
    let mut crashing = disk.clone();
    crashing.crash_at = Some(at);
    let acknowledged = commit(&mut crashing, state, messages());
    crashing.restart();
    let after = state_of(&mut crashing, folder());
    let find = |base: &[u8]| after.messages.iter().find(|message| message.base() == base).map(|m| m.uid);
    for (uid, message) in (1..).zip(state.messages.iter()) {
        assert_eq!(find(message.base()), Some(uid), "operation {at}");
    }
    if acknowledged.is_some() {
        assert_eq!((find(&base(0)), find(&base(1))), (Some(5), Some(6)));
        assert_eq!(after.messages.find(5).unwrap().flags.keywords().count(), 1);
        assert!(["five\n", "six\n"].iter().all(|octets| holds(&crashing, octets)));
    }
}

/// Whether some message in `cur/` or `new/` is this.
fn holds(disk: &MemDisk, octets: &str) -> bool {
    ["/m/cur", "/m/new"]
        .iter()
        .any(|dir| disk.contents(dir).iter().any(|content| content == octets.as_bytes()))
}

#[test]
fn flags_are_replaced_added_and_removed() {
    let (mut disk, state) = disk_with_four();
    let added =
        store(&mut disk, &state, "1:4,9", StoreAction::Add, flags(seen(), &["work"])).unwrap().unwrap();
    assert_eq!(shown(&added.state), ["1 1.a Sa", "2 2.b Sa", "3 3.c STa", "4 4.d Sa"]);
    assert_eq!(added.changes, [1, 2, 3, 4].map(Change::Flags));
    assert_eq!(added.missing, uids("9"));
    assert_eq!(disk.names("/m/cur"), ["1.a:2,Sa", "2.b:2,Sax", "3.c:2,PSTa", "4.d:2,Sa"]);
    // Of `cur/`; and of the root, as nothing is known of it in a new process.
    assert_eq!(disk.counted_log().iter().filter(|op| **op == "SyncDir").count(), 2);
    let removed = store(&mut disk, &added.state, "3", StoreAction::Remove, flags(seen(), &["work", "none"]));
    let removed = removed.unwrap().unwrap();
    let replaced =
        store(&mut disk, &removed.state, "1", StoreAction::Replace, flags(FlagSet::EMPTY, &["new"]));
    let replaced = replaced.unwrap().unwrap();
    // x is a letter in use without a name: it is neither shown, nor lost, nor given to another keyword.
    assert_eq!(shown(&replaced.state), ["1 1.a b", "2 2.b Sa", "3 3.c T", "4 4.d Sa"]);
    disk.restart();
    assert_eq!(shown(&state_of(&mut disk, folder())), shown(&replaced.state));
    assert_eq!(disk.names("/m/cur"), ["1.a:2,b", "2.b:2,Sax", "3.c:2,PT", "4.d:2,Sa"]);
}

#[test]
fn a_change_that_changes_nothing_touches_no_message() {
    let (mut disk, state) = disk_with_four();
    let flagged = store(&mut disk, &state, "2", StoreAction::Add, flags(seen(), &[])).unwrap().unwrap();
    assert!(flagged.changes.is_empty() && !disk.log.iter().any(|op| op == "Rename"));
    // Of the root, in a new process; and of cur/: another program may have set the flag, and not have synced, and it is
    // acknowledged now.
    assert_eq!(disk.log.iter().filter(|op| *op == "SyncDir").count(), 2);
}

#[test]
fn flags_are_changed_on_top_of_what_another_program_did() {
    let (mut disk, state) = disk_with_four();
    disk.move_file("/m/cur/1.a:2,", "/m/cur/1.a:2,F");
    disk.remove_file("/m/cur/2.b:2,Sx");
    disk.advance(10_000_000);
    let flagged = store(&mut disk, &state, "1:3", StoreAction::Add, flags(FlagSet::EMPTY, &["work"]));
    let flagged = flagged.unwrap().unwrap();
    assert_eq!(shown(&flagged.state), ["1 1.a Fa", "3 3.c Ta", "4 4.d  new"]);
    assert_eq!(flagged.missing, uids("2"));
}

/// Another program adds a file before each operation, 5 ms apart.
fn never_rests(disk: &mut MemDisk) {
    disk.advance(5000);
    disk.put_file("/m/cur/.busy", b"");
}

/// Another program reads and unreads message 2 before each operation.
fn flickers(disk: &mut MemDisk) {
    disk.advance(5000);
    let Some(name) = disk.names("/m/cur").into_iter().find(|name| name.starts_with("2.b")) else { return };
    let other = if name.contains('S') { name.replace('S', "") } else { name.replace("x", "Sx") };
    disk.move_file(&format!("/m/cur/{name}"), &format!("/m/cur/{other}"));
}

fn answered(disk: &mut MemDisk, state: &MailboxState) -> Flagged {
    let flag = FlagSet::EMPTY.with(SystemFlag::Answered);
    store(disk, state, "1:3", StoreAction::Add, flags(flag, &[])).unwrap().unwrap()
}

#[test]
fn in_a_directory_that_never_rests_the_messages_that_are_there_are_changed_at_once() {
    let (mut disk, state) = disk_with_four();
    disk.remove_file("/m/cur/2.b:2,Sx");
    disk.always = Some(never_rests);
    let flagged = answered(&mut disk, &state);
    assert_eq!(flagged.missing, uids("2"));
    assert_eq!(flagged.changes, [Change::Flags(1), Change::Flags(3)]);
    assert!(flagged.state.messages.find(2).is_some(), "believed gone without proof");
    assert!(!disk.log.iter().any(|op| op == "Wait"), "{:?}", disk.log);
    let removed = remove(&mut disk, &flagged.state, Victims::These(uids("1:2"))).unwrap().unwrap();
    assert_eq!(removed.changes, [Change::Expunged(1)]);
    assert!(removed.state.messages.find(2).is_some());
    assert!(!disk.log.iter().any(|op| op == "Wait"), "{:?}", disk.log);
}

#[test]
fn a_message_that_is_renamed_all_the_time_ends_no_command() {
    for phase in 0..4 {
        let (mut disk, state) = disk_with_four();
        disk.always = Some(flickers);
        (0..phase).for_each(|_| flickers(&mut disk));
        let flagged = answered(&mut disk, &state);
        let has = |changes: &[Change], change| assert!(changes.contains(&change), "{changes:?}");
        has(&flagged.changes, Change::Flags(1));
        has(&flagged.changes, Change::Flags(3));
        assert!(flagged.state.messages.find(2).is_some());
        let removed = remove(&mut disk, &flagged.state, Victims::These(uids("1:3"))).unwrap().unwrap();
        has(&removed.changes, Change::Expunged(1));
        has(&removed.changes, Change::Expunged(3));
    }
}

/// So many keywords.
fn many(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("k{index}")).collect()
}

#[test]
fn store_refuses_a_keyword_that_no_letter_is_left_for_and_changes_nothing() {
    let (mut disk, state) = disk_with_four();
    let add = |disk: &mut MemDisk, state: &MailboxState, words: &[&str]| {
        let wanted = flags(FlagSet::EMPTY.with(SystemFlag::Flagged), words);
        store(disk, state, "1", StoreAction::Add, wanted).unwrap()
    };
    // `a` means work, and `x` is in use: there are 24.
    let words = many(25);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let before = disk.read("/m/dovecot-keywords").unwrap();
    let kind = |result: Result<Flagged, StoreError>| result.unwrap_err().kind;
    assert_eq!(kind(add(&mut disk, &state, &words)), StoreErrorKind::KeywordsFull);
    assert_eq!(kind(add(&mut disk, &state, &[&"x".repeat(251)])), StoreErrorKind::KeywordsFull);
    assert_eq!(disk.read("/m/dovecot-keywords").unwrap(), before);
    assert_eq!(shown(&state_of(&mut disk, folder())), shown(&state));
    let flagged = add(&mut disk, &state, &words[..24]).unwrap();
    assert_eq!(flagged.state.messages.find(1).unwrap().flags.keywords().count(), 24);
    let state = flagged.state;
    assert_eq!(kind(add(&mut disk, &state, &["K0", "one-more"])), StoreErrorKind::KeywordsFull);
    // Those that there are can be set, and one that there is not can be taken away.
    assert!(add(&mut disk, &state, &["K0"]).is_ok());
    let absent = flags(FlagSet::EMPTY, &["one-more", "k1"]);
    let taken = store(&mut disk, &state, "1", StoreAction::Remove, absent).unwrap().unwrap();
    assert_eq!(taken.state.messages.find(1).unwrap().flags.keywords().count(), 23);
}

#[test]
fn appends_tell_which_messages_lack_keywords() {
    let (mut disk, state) = disk_with_four();
    let words = many(24);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut messages = Vec::new();
    for words in [&words[..], &["k0", "one-more"], &["work"]] {
        let staged = stage(&mut disk, b"new\n", None).unwrap().unwrap();
        messages.push((staged, flags(seen(), words)));
    }
    let appended = commit(&mut disk, &state, messages).unwrap().unwrap();
    assert_eq!((appended.uids.len(), appended.lacking.to_string()), (3, "6".into()));
    let count = |uid| appended.state.messages.find(uid).unwrap().flags.keywords().count();
    assert_eq!([count(5), count(6), count(7)], [24, 1, 1]);
}

#[test]
fn copies_tell_that_they_lack_keywords() {
    let (mut disk, state, mut target) = disk_with_archive();
    let junk = |disk: &mut MemDisk, state: &MailboxState, set| {
        let added = flags(FlagSet::EMPTY, &["$Junk"]);
        store(disk, state, set, StoreAction::Add, added).unwrap().unwrap().state
    };
    let state = junk(&mut disk, &state, "2");
    let mut file = String::new();
    (0..26).for_each(|index| file.push_str(&format!("{index} k{index}\n")));
    disk.put_file("/m/.Archive/dovecot-keywords", file.as_bytes());
    for (set, lacks) in [("1", false), ("2", true), ("1:2", true), ("3", true), ("4", false)] {
        let copied = copy_to(&mut disk, &state, set, archive(), &target).unwrap().unwrap();
        assert_eq!((copied.pairs.is_empty(), copied.lacks_keywords), (false, lacks), "{set}");
        target = copied.state;
    }
}

#[test]
fn the_time_of_the_keyword_table_grows_by_a_second_at_least() {
    let (mut disk, mut state) = disk_with_four();
    let seconds = |disk: &MemDisk| disk.stat("/m/dovecot-keywords").unwrap().mtime_ns / 1_000_000_000;
    let mut last = seconds(&disk);
    for word in ["one", "two", "three"] {
        let flagged = store(&mut disk, &state, "1", StoreAction::Add, flags(FlagSet::EMPTY, &[word]));
        state = flagged.unwrap().unwrap().state;
        assert!(seconds(&disk) > last);
        last = seconds(&disk);
    }
}

#[test]
fn flags_survive_failures_and_crashes() {
    let (disk, state) = disk_with_four();
    let change = |disk: &mut MemDisk| store(disk, &state, "1:4", StoreAction::Add, flags(seen(), &["new"]));
    let mut whole = disk.clone();
    let done = shown(&change(&mut whole).unwrap().unwrap().state);
    for at in 0..=whole.ops {
        let mut failing = disk.clone();
        failing.fail_at = Some((at, Errno::Io));
        let refused = change(&mut failing).unwrap().is_err();
        failing.fail_at = None;
        failing.advance(200_000_000);
        if refused {
            assert_eq!(shown(&state_of(&mut failing.clone(), folder())), shown(&state), "operation {at}");
        }
        // The state from before is good enough to go on with.
        assert_eq!(shown(&change(&mut failing).unwrap().unwrap().state), done, "operation {at}");
        let mut crashing = disk.clone();
        crashing.crash_at = Some(at);
        let acknowledged = change(&mut crashing).is_some();
        crashing.restart();
        let after = state_of(&mut crashing, folder());
        assert_eq!(after.messages.iter().map(|m| m.uid).collect::<Vec<_>>(), [1, 2, 3, 4], "operation {at}");
        if acknowledged {
            assert_eq!(shown(&after), done);
        }
    }
}

#[test]
fn expunge_removes_what_is_deleted() {
    let (mut disk, state) = disk_with_four();
    let none = remove(&mut disk, &state, Victims::DeletedOf(uids("1:2"))).unwrap().unwrap();
    assert!(none.changes.is_empty());
    let one = remove(&mut disk, &none.state, Victims::Deleted).unwrap().unwrap();
    assert_eq!(one.changes, [Change::Expunged(3)]);
    let moved = remove(&mut disk, &one.state, Victims::These(uids("1,4"))).unwrap().unwrap();
    assert_eq!(moved.changes, [Change::Expunged(1), Change::Expunged(4)]);
    disk.restart();
    assert_eq!(shown(&state_of(&mut disk, folder())), ["2 2.b S"]);
    assert_eq!(state_of(&mut disk, folder()).uid_next, 5);
}

#[test]
fn what_another_program_undeleted_is_not_expunged() {
    let (mut disk, state) = disk_with_four();
    disk.move_file("/m/cur/3.c:2,PTa", "/m/cur/3.c:2,Pa");
    disk.advance(10_000_000);
    let expunged = remove(&mut disk, &state, Victims::Deleted).unwrap().unwrap();
    assert_eq!(expunged.changes, [Change::Flags(3)]);
}

#[test]
fn an_expunge_that_many_messages_leave_rewrites_the_list() {
    let mut disk = MemDisk::with_maildir();
    for index in 1..=40 {
        disk.put_file(&format!("/m/cur/{}.a:2,T", 1000 + index), b"");
    }
    disk.advance(10_000_000);
    let state = state_of(&mut disk, folder());
    let expunged = remove(&mut disk, &state, Victims::DeletedOf(uids("1:30"))).unwrap().unwrap();
    assert_eq!(expunged.state.uidlist_records, 10);
    disk.restart();
    let after = state_of(&mut disk, folder());
    assert_eq!((after.uid_next, after.messages.len()), (41, 10));
}

#[test]
fn an_expunge_takes_nothing_else_along_whatever_happens() {
    let (disk, state) = disk_with_four();
    let mut whole = disk.clone();
    remove(&mut whole, &state, Victims::Deleted).unwrap().unwrap();
    for at in 0..=whole.ops {
        for crash in [false, true] {
            let mut bad = disk.clone();
            if crash {
                bad.crash_at = Some(at);
            } else {
                bad.fail_at = Some((at, Errno::Io));
            }
            let acknowledged =
                remove(&mut bad, &state, Victims::Deleted).is_some_and(|result| result.is_ok());
            if crash {
                bad.restart();
            }
            (bad.fail_at, bad.crash_at) = (None, None);
            let after: Vec<u32> = state_of(&mut bad, folder()).messages.iter().map(|m| m.uid).collect();
            assert!(
                after == [1, 2, 4] || !acknowledged && after == [1, 2, 3, 4],
                "operation {at}: {after:?}"
            );
        }
    }
}

#[test]
fn writers_wait_for_the_lock_and_then_give_up() {
    let (mut disk, state) = disk_with_four();
    disk.alive.push(99);
    disk.put_file("/m/dovecot-uidlist.lock", b"99:mx");
    let busy = store(&mut disk, &state, "1", StoreAction::Add, flags(seen(), &[])).unwrap().unwrap_err();
    assert_eq!(busy.kind, StoreErrorKind::Busy);
    assert_eq!(disk.names("/m/cur")[0], "1.a:2,");
}

fn archive() -> FolderName {
    FolderName::new(b"Archive").unwrap()
}

/// [`disk_with_four`] and a mailbox Archive, where the keyword work has another letter, with one message.
fn disk_with_archive() -> (MemDisk, MailboxState, MailboxState) {
    let (mut disk, state) = disk_with_four();
    let context = Arc::new(context());
    disk.run(Vec::new(), move |disk| folders::create(disk, context, root(), archive(), None))
        .unwrap()
        .unwrap();
    disk.put_file("/m/.Archive/dovecot-keywords", b"0 other\n1 work\n");
    disk.put_file("/m/.Archive/cur/1.a:2,F", b"another one\n");
    disk.advance(10_000_000);
    let target = state_of(&mut disk, archive());
    disk.settle();
    (disk, state, target)
}

#[test]
fn mail_does_not_go_with_a_mailbox_whose_making_a_kill_cut_short() {
    let name = || FolderName::new(b"X").unwrap();
    let create = |disk: &mut MemDisk| {
        let context = Arc::new(context());
        disk.run(Vec::new(), move |disk| folders::create(disk, context, root(), name(), None))
    };
    let mut whole = MemDisk::with_maildir();
    create(&mut whole).unwrap().unwrap();
    let mut kept = 0;
    for at in 0..whole.ops {
        let mut disk = MemDisk::with_maildir();
        (disk.crash_at, disk.handed_out) = (Some(at), None);
        assert_eq!(create(&mut disk), None);
        disk.crash_at = None;
        // What the dead process held is taken over.
        disk.advance(300_000_000);
        let context = Arc::new(context());
        let staging = context.clone();
        let input = Vec::from([TaskInput::Chunk(b"mail\n".to_vec()), TaskInput::Commit]);
        let staged = disk.run(input, move |disk| stage_append(disk, staging, root(), name(), None));
        let Ok(staged) = staged.unwrap() else { continue };
        let messages = Vec::from([Append { staged, flags: flags(FlagSet::EMPTY, &[]) }]);
        let done =
            disk.run(Vec::new(), move |disk| commit_append(disk, context, root(), name(), None, messages));
        done.unwrap().unwrap();
        disk.restart();
        assert_eq!(disk.contents("/m/.X/new"), [b"mail\n"], "killed after operation {at}");
        kept += 1;
    }
    assert!(kept > 3);
}

#[test]
fn a_message_whose_flags_change_during_the_copy_is_copied() {
    let (mut disk, state) = disk_with_four();
    let create = |disk| folders::create(disk, Arc::new(context()), root(), archive(), None);
    disk.run(Vec::new(), create).unwrap().unwrap();
    let target = state_of(&mut disk, archive());
    // Before each of the first three attempts somebody renames it.
    disk.always = Some(|disk| {
        let links = disk.log.iter().filter(|op| *op == "Link").count();
        if disk.log.last().is_some_and(|op| op == "Link") && links <= 3 {
            let (from, to) = if links % 2 == 1 { ("", "F") } else { ("F", "") };
            disk.move_file(&format!("/m/cur/1.a:2,{from}"), &format!("/m/cur/1.a:2,{to}"));
        }
    });
    let copied = copy_to(&mut disk, &state, "1", archive(), &target).unwrap().unwrap();
    assert_eq!(copied.pairs, [(1, 1)]);
    assert!(copied.gone.is_empty());
}

fn copy_to(
    disk: &mut MemDisk,
    state: &MailboxState,
    set: &str,
    to: FolderName,
    target: &MailboxState,
) -> Run<Copied> {
    let wanted = uids(set);
    let messages = state.messages.iter().filter(|message| wanted.contains(message.uid)).cloned().collect();
    let source = CopySource { folder: folder(), messages, keywords: state.keywords.clone() };
    let (context, target) = (Arc::new(context()), target.clone());
    disk.run(Vec::new(), move |disk| copy(disk, context, root(), source, to, Some(target)))
}

#[test]
fn copies_are_links_with_the_keywords_of_the_target() {
    let (mut disk, state, target) = disk_with_archive();
    let copied = copy_to(&mut disk, &state, "1:4", archive(), &target).unwrap().unwrap();
    assert_eq!(copied.pairs, [(1, 2), (2, 3), (3, 4), (4, 5)]);
    assert!(copied.gone.is_empty());
    let lines = shown(&copied.state);
    assert_eq!(
        [&lines[0], &lines[2], &lines[3], &lines[4]],
        ["1 1.a F", "3 2.b S", "4 3.c Tb", "5 4.d  new"]
    );
    assert!(!lines[1].contains("1.a") && lines[1].ends_with(" new"), "its name was taken: {}", lines[1]);
    let inode = |path: &str| disk.stat(path).unwrap().inode;
    assert_eq!(inode("/m/cur/2.b:2,Sx"), inode("/m/.Archive/cur/2.b:2,S"));
    disk.restart();
    assert_eq!(shown(&state_of(&mut disk, archive())), lines);
    assert_eq!(shown(&state_of(&mut disk, folder())), shown(&state));
}

#[test]
fn a_save_date_never_changes_and_that_of_a_copy_is_its_own() {
    let mut disk = MemDisk::with_maildir();
    disk.put_dir("/m/.Archive");
    for part in ["cur", "new", "tmp"] {
        disk.put_dir(&format!("/m/.Archive/{part}"));
    }
    disk.put_file("/m/cur/1600000000.M1P2.mx:2,", b"one\n");
    // What Dovecot, or we, have noted; and a name that tells no time.
    disk.put_file("/m/cur/1600000001.M1P2.mx:2,", b"two\n");
    disk.put_file("/m/cur/3.c:2,", b"three\n");
    let records = "1 :1600000000.M1P2.mx\n2 T1650000000 :1600000001.M1P2.mx\n3 :3.c\n";
    let list = format!("3 V77 N4 G00112233445566778899aabbccddeeff\n{records}");
    disk.put_file("/m/dovecot-uidlist", list.as_bytes());
    disk.advance(10_000_000);
    let state = state_of(&mut disk, folder());
    let dates = |state: &MailboxState| state.messages.iter().map(Message::save_date).collect::<Vec<_>>();
    let before = [Some(1_600_000_000), Some(1_650_000_000), None];
    assert_eq!(dates(&state), before);
    let target = state_of(&mut disk, archive());
    let now = disk.now().wall.secs;
    let copied = copy_to(&mut disk, &state, "1:3", archive(), &target).unwrap().unwrap();
    assert!(dates(&copied.state).iter().all(|date| date.is_some_and(|date| (now..now + 2).contains(&date))));
    let archived = dates(&copied.state);
    disk.advance(3_600_000_000);
    let stored = store(&mut disk, &state, "1:3", StoreAction::Add, flags(seen(), &[])).unwrap().unwrap();
    assert_eq!(dates(&stored.state), before);
    // The next process reads them; so it does when the list was written anew.
    disk.restart();
    let mut list = disk.read("/m/.Archive/dovecot-uidlist").unwrap();
    list.extend_from_slice(b"9 :half");
    disk.put_file("/m/.Archive/dovecot-uidlist", &list);
    disk.put_file("/m/.Archive/new/1600000009.M1P2.mx", b"four\n");
    disk.advance(10_000_000);
    assert_eq!(dates(&state_of(&mut disk, folder())), before);
    assert_eq!(dates(&state_of(&mut disk, archive()))[..3], archived);
    let list = String::from_utf8(disk.read("/m/.Archive/dovecot-uidlist").unwrap()).unwrap();
    assert_eq!(list.matches(" T17").count(), 3, "{list}");
}

#[test]
fn a_mailbox_can_be_copied_into_itself() {
    let (mut disk, state) = disk_with_four();
    let copied = copy_to(&mut disk, &state, "2:3", folder(), &state).unwrap().unwrap();
    assert_eq!((copied.pairs, copied.state.messages.len()), (Vec::from([(2, 5), (3, 6)]), 6));
    disk.restart();
    assert_eq!(disk.contents("/m/cur").len(), 5);
}

#[test]
fn what_another_program_renamed_is_copied_and_what_it_removed_is_left_out() {
    let (mut disk, state, target) = disk_with_archive();
    disk.move_file("/m/new/4.d", "/m/cur/4.d:2,S");
    disk.remove_file("/m/cur/2.b:2,Sx");
    disk.advance(10_000_000);
    let copied = copy_to(&mut disk, &state, "2:4", archive(), &target).unwrap().unwrap();
    assert_eq!((copied.pairs, copied.gone), (Vec::from([(3, 3), (4, 4)]), uids("2")));
}

#[test]
fn a_copy_is_whole_or_not_there() {
    let (disk, state, target) = disk_with_archive();
    let mut whole = disk.clone();
    let done = shown(&copy_to(&mut whole, &state, "1:3", archive(), &target).unwrap().unwrap().state);
    for at in 0..=whole.ops {
        for errno in [Errno::NoSpace, Errno::Io] {
            let mut failing = disk.clone();
            failing.fail_at = Some((at, errno));
            let result = copy_to(&mut failing, &state, "1:3", archive(), &target).unwrap();
            failing.fail_at = None;
            assert!(failing.names("/m/.Archive/tmp").is_empty());
            let after = state_of(&mut failing, archive()).messages.len();
            assert_eq!(after, if result.is_ok() { 4 } else { 1 }, "operation {at}");
        }
        let mut crashing = disk.clone();
        crashing.crash_at = Some(at);
        let acknowledged = copy_to(&mut crashing, &state, "1:3", archive(), &target).is_some();
        crashing.restart();
        let after = shown(&state_of(&mut crashing, archive()));
        assert!(!acknowledged || after == done, "operation {at}");
        assert_eq!(shown(&state_of(&mut crashing, folder())), shown(&state), "operation {at}");
    }
}

#[test]
fn where_no_link_can_be_the_octets_are_copied() {
    let (mut disk, state, target) = disk_with_archive();
    let mut whole = disk.clone();
    copy_to(&mut whole, &state, "2", archive(), &target).unwrap().unwrap();
    let link = whole.counted_log().iter().position(|op| *op == "Link").unwrap();
    disk.fail_at = Some((link, Errno::CrossDevice));
    disk.before = Some((link + 1, |disk| disk.fail_at = Some((disk.ops, Errno::CrossDevice))));
    let before = disk.stat("/m/cur/2.b:2,Sx").unwrap();
    copy_to(&mut disk, &state, "2", archive(), &target).unwrap().unwrap();
    disk.restart();
    let after = disk.stat("/m/.Archive/cur/2.b:2,S").unwrap();
    assert!(after.inode != before.inode && after.mtime_ns == before.mtime_ns);
    assert_eq!(disk.read("/m/.Archive/cur/2.b:2,S").unwrap(), b"two\n");
    assert!(disk.names("/m/.Archive/tmp").is_empty());
}

/// A message put together of texts and octets of other messages: `text` as it is, `=url` a URL of a message.
fn joined(disk: &mut MemDisk, state: &MailboxState, pieces: &[&str], wire_bytes_max: u64) -> Run<Staged> {
    let input = |(place, piece): (usize, &&str)| match piece.strip_prefix('=') {
        None => TaskInput::Chunk(piece.as_bytes().to_vec()),
        Some(url) => {
            let url = crate::imap::url::parse(url.as_bytes()).unwrap();
            let message = state.messages.find(url.uid).unwrap().clone();
            let (root, folder) = (root(), folder());
            TaskInput::Splice(alloc::boxed::Box::new(Splice {
                root,
                folder,
                message,
                url,
                wire_bytes_max,
                place,
            }))
        }
    };
    let inputs = pieces.iter().enumerate().map(input).chain([TaskInput::Commit]).collect();
    let context = Arc::new(context());
    disk.run(inputs, move |disk| stage_append(disk, context, root(), folder(), None))
}

fn disk_with_letters() -> (MemDisk, MailboxState) {
    let mut disk = MemDisk::with_maildir();
    disk.put_file("/m/cur/1.a:2,", b"Subject: one\nX: y\n\nHello\nyou\n");
    // As some programs store it, and too large to be in memory at once.
    disk.put_file("/m/cur/2.b:2,", "Subject: two\r\n\r\n0123456789\r\n".repeat(40_000).as_bytes());
    disk.advance(10_000_000);
    let state = state_of(&mut disk, folder());
    (disk, state)
}

#[test]
fn a_message_is_put_together_of_others() {
    let (mut disk, state) = disk_with_letters();
    let big = "Subject: two\n\n0123456789\n".repeat(40_000);
    for (pieces, text) in [
        (&["=/INBOX/;UID=1/;SECTION=HEADER", "body\n"][..], "Subject: one\nX: y\n\nbody\n"),
        (&["A: b\n\n", "=;UID=1/;SECTION=TEXT", "end\n"], "A: b\n\nHello\nyou\nend\n"),
        (&["=;UID=1/;SECTION=1/;PARTIAL=4.4"], "o\ny"),
        (&["=;UID=1/;SECTION=1/;PARTIAL=100000.1", "x\n"], "x\n"),
        (&["=;UID=1/;SECTION=HEADER.FIELDS%20(X)"], "X: y\n\n"),
        (&["=;UID=1", "=;UID=1/;SECTION=TEXT"], "Subject: one\nX: y\n\nHello\nyou\nHello\nyou\n"),
        (&["=;UID=2"], &big),
        // 28 octets a time with CRLF: 280,000 is where one begins.
        (&["=;UID=2/;PARTIAL=280016.4"], "0123"),
        (&["=;UID=2/;PARTIAL=280025.5"], "9\nSu"),
    ] {
        let staged = joined(&mut disk, &state, pieces, u64::MAX).unwrap().unwrap();
        let name = format!("/m/tmp/{}", String::from_utf8_lossy(&staged.temporary));
        let found = disk.read(&name).unwrap();
        assert!(found == text.as_bytes(), "{pieces:?}: {}", String::from_utf8_lossy(&found));
        assert_eq!(staged.size, found.len() as u64, "{pieces:?}");
        assert_eq!(staged.wire_size, crate::wire::eol::crlf_len(&found), "{pieces:?}");
    }
}

#[test]
fn what_cannot_be_put_together_leaves_nothing() {
    let (mut disk, state) = disk_with_letters();
    disk.remove_file("/m/cur/1.a:2,");
    for (pieces, max, kind) in [
        (&["x", "=;UID=1"][..], u64::MAX, StoreErrorKind::BadUrl(1)),
        (&["=;UID=2/;SECTION=7"], u64::MAX, StoreErrorKind::BadUrl(0)),
        (&["=;UID=2"], 1000, StoreErrorKind::TooBig),
        (&["=;UID=2/;PARTIAL=0.999", "xx"], 1000, StoreErrorKind::TooBig),
    ] {
        let error = joined(&mut disk, &state, pieces, max).unwrap().unwrap_err();
        assert_eq!(error.kind, kind, "{pieces:?}");
        assert!(disk.names("/m/tmp").is_empty(), "{pieces:?}");
    }
}

#[test]
fn a_quota_file_is_kept_true_and_none_is_made() {
    let (mut disk, state) = disk_with_four();
    let appended = |disk: &mut MemDisk, state: &MailboxState| {
        let staged = stage(disk, b"five\n", None).unwrap().unwrap();
        commit(disk, state, Vec::from([(staged, flags(seen(), &[]))])).unwrap().unwrap().state
    };
    let state = appended(&mut disk, &state);
    assert_eq!(disk.read("/m/maildirsize"), None);
    disk.put_file("/m/maildirsize", b"1000S\n100 5\n");
    let state = appended(&mut disk, &state);
    let copied = copy_to(&mut disk, &state, "6", folder(), &state).unwrap().unwrap();
    let state = remove(&mut disk, &copied.state, Victims::These(uids("5,6"))).unwrap().unwrap().state;
    assert_eq!(disk.read("/m/maildirsize").unwrap(), b"1000S\n100 5\n5 1\n5 1\n-10 -2\n");
    // The size of message 2 is not known: the file goes, and whoever enforces the quota counts anew.
    remove(&mut disk, &state, Victims::These(uids("2"))).unwrap().unwrap();
    assert_eq!(disk.read("/m/maildirsize"), None);
}

/// The disk loses what was written to a file whose sync failed, whatever it says later.
#[test]
fn a_list_whose_sync_has_failed_is_written_anew_before_its_uids_are_told() {
    let (mut disk, state) = disk_with_four();
    let staged = |disk: &mut MemDisk| stage(disk, b"five\n", None).unwrap().unwrap();
    let context = Arc::new(context());
    let commit_with = |disk: &mut MemDisk, staged: Staged| {
        let (context, state) = (context.clone(), state.clone());
        let messages = Vec::from([Append { staged, flags: flags(seen(), &[]) }]);
        disk.run(Vec::new(), move |disk| {
            commit_append(disk, context, root(), folder(), Some(state), messages)
        })
    };
    // The sync fails, and so does that of the file that is to take its place.
    disk.always = Some(|disk| {
        let syncs = disk.log.last().is_some_and(|op| op == "Sync" || op == "Order");
        disk.fail_at = syncs.then(|| (disk.ops - 1, Errno::Io));
    });
    let first = staged_without_faults(&mut disk, &staged);
    assert!(commit_with(&mut disk, first).unwrap().is_err());
    (disk.always, disk.fail_at) = (None, None);
    let inode = disk.stat("/m/dovecot-uidlist").unwrap().inode;
    let second = staged(&mut disk);
    assert!(commit_with(&mut disk, second).unwrap().is_ok());
    assert_ne!(disk.stat("/m/dovecot-uidlist").unwrap().inode, inode);
}

fn staged_without_faults(disk: &mut MemDisk, stage: &impl Fn(&mut MemDisk) -> Staged) -> Staged {
    let faults = disk.always.take();
    let staged = stage(disk);
    disk.always = faults;
    staged
}
