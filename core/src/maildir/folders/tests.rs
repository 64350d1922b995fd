//! Folders made, renamed and removed, on the disk in memory.

use super::super::memdisk::{MemDisk, context, root};
use super::super::write_tests::{disk_with_four, shown, state_of};
use super::*;
use alloc::string::String;
use std::format;

type Run = Option<Result<(), StoreError>>;

fn name(stored: &str) -> FolderName {
    FolderName::new(stored.as_bytes()).unwrap()
}

fn create_on(disk: &mut MemDisk, folder: &str) -> Run {
    let (context, folder) = (Arc::new(context()), name(folder));
    disk.run(Vec::new(), move |disk| create(disk, context, root(), folder, None)).map(|made| made.map(drop))
}

fn delete_on(disk: &mut MemDisk, folder: &str) -> Run {
    let (context, folder) = (Arc::new(context()), name(folder));
    disk.run(Vec::new(), move |disk| delete(disk, context, root(), folder))
}

fn rename_on(disk: &mut MemDisk, folder: &str, to: &str) -> Run {
    let (context, folder, to) = (Arc::new(context()), name(folder), name(to));
    disk.run(Vec::new(), move |disk| rename(disk, context, root(), folder, to))
}

fn subscribe_on(disk: &mut MemDisk, folder: &str, on: bool) -> Run {
    let (context, folder) = (Arc::new(context()), name(folder));
    disk.run(Vec::new(), move |disk| subscribe(disk, context, root(), folder, on))
}

/// `name presence`, `+` for subscribed.
fn listed(disk: &mut MemDisk) -> Vec<String> {
    let folders = disk.run(Vec::new(), move |disk| list(disk, Arc::new(context()), root())).unwrap().unwrap();
    let line = |folder: ListedFolder| {
        let mark = if folder.subscribed { "+" } else { "" };
        format!("{mark}{} {:?}", String::from_utf8_lossy(folder.name.as_bytes()), folder.presence)
    };
    folders.into_iter().map(line).collect()
}

fn kind(run: Run) -> StoreErrorKind {
    run.unwrap().unwrap_err().kind
}

fn disk_with(folders: &[&str]) -> MemDisk {
    let (mut disk, _) = disk_with_four();
    for folder in folders {
        create_on(&mut disk, folder).unwrap().unwrap();
    }
    disk.settle();
    disk
}

#[test]
fn the_list_has_parents_and_subscriptions() {
    let mut disk = disk_with(&["b.c.d", "a"]);
    disk.put_dir("/m/.config");
    disk.put_file("/m/.dovecot.sieve", b"");
    subscribe_on(&mut disk, "b.c.d", true).unwrap().unwrap();
    subscribe_on(&mut disk, "lost", true).unwrap().unwrap();
    let expected = [
        "INBOX Exists",
        "a Exists",
        "b ParentOnly",
        "b.c ParentOnly",
        "+b.c.d Exists",
        "+lost SubscribedOnly",
    ];
    assert_eq!(listed(&mut disk), expected);
    let mut nobody = MemDisk::empty();
    assert_eq!(listed(&mut nobody).len(), 6);
    let folders =
        nobody.run(Vec::new(), move |disk| list(disk, Arc::new(context()), root())).unwrap().unwrap();
    assert_eq!(folders.iter().filter(|folder| folder.special_use.is_some()).count(), 5);
}

#[test]
fn each_new_mailbox_has_a_uidvalidity_of_its_own() {
    let mut disk = disk_with(&["a"]);
    let first = state_of(&mut disk, name("a")).uid_validity;
    delete_on(&mut disk, "a").unwrap().unwrap();
    create_on(&mut disk, "a").unwrap().unwrap();
    disk.restart();
    assert!(state_of(&mut disk, name("a")).uid_validity > first);
    assert!(disk.names("/m/.a").iter().any(|name| name == "maildirfolder"));
}

#[test]
fn what_exists_is_not_made_again_and_what_is_foreign_is_left_alone() {
    let mut disk = disk_with(&["a"]);
    disk.put_dir("/m/.ssh");
    disk.put_file("/m/.ssh/id", b"secret");
    for folder in ["a", "INBOX", "ssh"] {
        assert_eq!(kind(create_on(&mut disk, folder)), StoreErrorKind::AlreadyExists);
    }
    assert_eq!(kind(delete_on(&mut disk, "ssh")), StoreErrorKind::NotFound);
    assert_eq!(disk.names("/m/.ssh"), ["id"]);
}

#[test]
fn a_creation_is_whole_or_can_be_repeated() {
    let disk = disk_with(&[]);
    let mut whole = disk.clone();
    create_on(&mut whole, "a").unwrap().unwrap();
    for at in 0..=whole.ops {
        for crash in [false, true] {
            let mut bad = disk.clone();
            (bad.fail_at, bad.crash_at) =
                if crash { (None, Some(at)) } else { (Some((at, Errno::NoSpace)), None) };
            let done = create_on(&mut bad, "a").is_some_and(|result| result.is_ok());
            if crash {
                bad.restart();
            }
            (bad.fail_at, bad.crash_at) = (None, None);
            bad.advance(200_000_000);
            let again = create_on(&mut bad, "a").unwrap().map_err(|error| error.kind);
            assert!(
                again == Ok(()) || again == Err(StoreErrorKind::AlreadyExists),
                "operation {at}: {again:?}"
            );
            assert!(!done || again.is_err(), "operation {at}");
            assert_eq!(state_of(&mut bad, name("a")).messages.len(), 0);
        }
    }
}

#[test]
fn a_creation_that_fails_leaves_nothing_even_where_nothing_can_be_listed() {
    let mut disk = disk_with(&[]);
    let before = disk.names("/m");
    disk.always = Some(|disk| {
        let lists = disk.log.last().is_some_and(|op| op == "List");
        disk.fail_at = lists.then(|| (disk.ops - 1, Errno::Io));
    });
    assert_eq!(kind(create_on(&mut disk, "a")), StoreErrorKind::Temporary(Errno::Io));
    assert_eq!(disk.names("/m"), before);
}

#[test]
fn deleting_removes_the_messages_and_not_what_is_below() {
    let mut disk = disk_with(&["a", "a.b"]);
    disk.put_file("/m/.a/cur/1.x:2,S", b"x\n");
    delete_on(&mut disk, "a").unwrap().unwrap();
    disk.restart();
    assert_eq!(listed(&mut disk), ["INBOX Exists", "a ParentOnly", "a.b Exists"]);
    assert_eq!(kind(delete_on(&mut disk, "a")), StoreErrorKind::NotFound);
    assert_eq!(kind(delete_on(&mut disk, "INBOX")), StoreErrorKind::Cannot);
    let left = disk.names("/m/..DOVECOT-TRASHED");
    create_on(&mut disk, "a").unwrap().unwrap();
    delete_on(&mut disk, "a").unwrap().unwrap();
    assert!(disk.names("/m").iter().all(|name| name != "..DOVECOT-TRASHED"), "{left:?}");
}

#[test]
fn a_deletion_that_fails_keeps_everything() {
    let mut disk = disk_with(&["a"]);
    disk.put_file("/m/.a/cur/1.x:2,S", b"x\n");
    let mut whole = disk.clone();
    delete_on(&mut whole, "a").unwrap().unwrap();
    for at in 0..whole.ops {
        let mut failing = disk.clone();
        failing.fail_at = Some((at, Errno::Io));
        let result = delete_on(&mut failing, "a").unwrap();
        let there = !failing.names("/m/.a").is_empty();
        assert_eq!(there, result.is_err(), "operation {at}");
        assert!(!there || failing.contents("/m/.a/cur") == [b"x\n"], "operation {at}");
    }
}

#[test]
fn renaming_takes_along_what_is_below() {
    let mut disk = disk_with(&["a", "a.b", "ab"]);
    let validity = state_of(&mut disk, name("a.b")).uid_validity;
    rename_on(&mut disk, "a", "z.y").unwrap().unwrap();
    disk.restart();
    let expected = ["INBOX Exists", "ab Exists", "z ParentOnly", "z.y Exists", "z.y.b Exists"];
    assert_eq!(listed(&mut disk), expected);
    assert_eq!(state_of(&mut disk, name("z.y.b")).uid_validity, validity);
    assert_eq!(kind(rename_on(&mut disk, "a", "c")), StoreErrorKind::NotFound);
    assert_eq!(kind(rename_on(&mut disk, "z.y", "ab")), StoreErrorKind::AlreadyExists);
    assert_eq!(kind(rename_on(&mut disk, "z", "z.y")), StoreErrorKind::Cannot);
    // A parent that does not exist can be renamed: what is below it moves.
    rename_on(&mut disk, "z", "q").unwrap().unwrap();
    assert_eq!(listed(&mut disk)[2..], ["q ParentOnly", "q.y Exists", "q.y.b Exists"]);
}

#[test]
fn a_rename_that_fails_is_taken_back() {
    let disk = disk_with(&["a", "a.b"]);
    let mut whole = disk.clone();
    rename_on(&mut whole, "a", "z").unwrap().unwrap();
    let changes = |at: &usize| ["Rename", "SyncDir"].contains(&whole.counted_log()[*at]);
    for at in (0..whole.ops).filter(changes) {
        let mut failing = disk.clone();
        failing.fail_at = Some((at, Errno::NoSpace));
        assert_eq!(kind(rename_on(&mut failing, "a", "z")), StoreErrorKind::NoSpace);
        failing.fail_at = None;
        assert_eq!(listed(&mut failing), ["INBOX Exists", "a Exists", "a.b Exists"]);
    }
}

#[test]
fn renaming_inbox_moves_its_messages() {
    let (mut disk, inbox) = disk_with_four();
    rename_on(&mut disk, "INBOX", "old.mail").unwrap().unwrap();
    disk.restart();
    // What has no flags is \Recent after the move, as after any copy.
    let moved = shown(&state_of(&mut disk, name("old.mail")));
    assert_eq!(moved, ["1 1.a  new", "2 2.b S", "3 3.c Ta", "4 4.d  new"]);
    let after = state_of(&mut disk, FolderName::inbox());
    assert!(after.messages.is_empty() && after.uid_validity == inbox.uid_validity && after.uid_next == 5);
}

#[test]
fn subscriptions_are_durable_and_keep_their_version() {
    let (mut disk, _) = disk_with_four();
    subscribe_on(&mut disk, "a.b", true).unwrap().unwrap();
    subscribe_on(&mut disk, "a.b", true).unwrap().unwrap();
    subscribe_on(&mut disk, "none", false).unwrap().unwrap();
    assert!(disk.names("/m").iter().all(|name| name != "subscriptions.lock"));
    disk.restart();
    assert_eq!(disk.read("/m/subscriptions").unwrap(), b"V\t2\n\na\tb\n");
    disk.put_file("/m/subscriptions", b"x\n");
    subscribe_on(&mut disk, "a.b", true).unwrap().unwrap();
    subscribe_on(&mut disk, "x", false).unwrap().unwrap();
    assert_eq!(disk.read("/m/subscriptions").unwrap(), b"a.b\n");
    disk.put_file("/m/subscriptions", b"V\t3\n\nx\n");
    assert_eq!(kind(subscribe_on(&mut disk, "a.b", true)), StoreErrorKind::Cannot);
    assert_eq!(disk.read("/m/subscriptions").unwrap(), b"V\t3\n\nx\n");
}

#[test]
fn a_lock_of_the_subscriptions_is_waited_for_until_it_is_stale() {
    let (mut disk, _) = disk_with_four();
    disk.put_file("/m/subscriptions.lock", b"");
    assert_eq!(kind(subscribe_on(&mut disk, "a", true)), StoreErrorKind::Busy);
    disk.advance(20_000_000);
    subscribe_on(&mut disk, "a", true).unwrap().unwrap();
    assert_eq!(disk.read("/m/subscriptions").unwrap(), b"V\t2\n\na\n");
}
