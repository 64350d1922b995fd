//! Sessions that are told what happens in mailboxes they have not selected (NOTIFY).

use super::OfficeInput;
use super::lock_tests::{Bench, LOCK};
use crate::imap::metadata::Entry;
use crate::imap::notify::{Events, MailboxFilter};
use crate::imap::server::{Answer, Ask, FolderChange, News, Refusal};
use crate::limits::MetadataLimits;
use crate::server::{Caller, ConnId, FrontIndex, ToOffice};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

const ALL: Events = Events {
    messages: true,
    flags: true,
    names: true,
    subscriptions: true,
    metadata: true,
    server_metadata: true,
};
/// More than lies between two notices.
const GAP: Duration = Duration::from_millis(250);

fn bench() -> Bench {
    let mut bench = Bench::locked();
    bench.disk.remove_file(LOCK);
    bench
}

/// NOTIFY SET (personal …): the mailboxes whose messages are followed.
fn follow(
    bench: &mut Bench,
    conn: u64,
    events: Events,
    mailboxes_max: usize,
) -> Result<Vec<String>, Refusal> {
    let groups = Vec::from([(MailboxFilter::Personal, events)]);
    bench.ask(conn, |ticket| Ask::Follow { ticket, groups, mailboxes_max });
    let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    match bench.answers.pop() {
        Some((to, Answer::Followed(answered))) if to == conn => {
            answered.verdict().as_ref().map(|names| names.iter().map(text).collect()).map_err(Clone::clone)
        }
        other => panic!("no answer to NOTIFY but {other:?}"),
    }
}

/// Whether the connection was told that there is something to ask for, since the last time.
fn is_noticed(bench: &mut Bench, conn: u64) -> bool {
    bench.notices.remove(&conn).is_some_and(|count| {
        assert_eq!(count, 1, "it is told once until it asks");
        true
    })
}

fn news(bench: &mut Bench, conn: u64) -> News {
    bench.ask(conn, |ticket| Ask::News { ticket });
    match bench.answers.pop() {
        Some((to, Answer::News(answered))) if to == conn => answered.verdict().clone(),
        other => panic!("no answer about news but {other:?}"),
    }
}

/// `name(messages)`, those with other messages or flags than before; the folders with their old names.
fn told(bench: &mut Bench, conn: u64) -> Vec<String> {
    let news = news(bench, conn);
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let folder = |news: &crate::imap::server::FolderNews| {
        let gone = if news.folder.non_existent { " gone" } else { "" };
        let old = news.old_name.as_ref().map(|old| format!(" was {}", text(old))).unwrap_or_default();
        format!("{}{gone}{old}", text(&news.folder.name))
    };
    let status = |(name, status): &(Vec<u8>, crate::imap::server::Status)| {
        format!("{}({} {})", text(name), status.messages, status.unseen)
    };
    let annotation = |(name, entries): &(Option<Vec<u8>>, Vec<Entry>)| {
        format!("{} {}", name.as_deref().map(text).unwrap_or_default(), entries.len())
    };
    let folders = news.folders.iter().map(folder);
    folders.chain(news.statuses.iter().map(status)).chain(news.annotations.iter().map(annotation)).collect()
}

fn change(bench: &mut Bench, change: FolderChange) {
    bench.ask(2, |ticket| Ask::Folder { ticket, change });
    assert!(matches!(bench.answers.pop(), Some((2, Answer::Done(done))) if done.verdict().is_ok()));
}

fn create(bench: &mut Bench, name: &str) {
    let mailbox = name.as_bytes().to_vec();
    bench.ask(2, |ticket| Ask::Create { ticket, mailbox, special_use: None });
    assert!(matches!(bench.answers.pop(), Some((2, Answer::Created(made))) if made.verdict().is_ok()));
}

#[test]
fn what_happens_to_messages_is_told_once_however_often() {
    let mut bench = bench();
    assert_eq!(follow(&mut bench, 1, ALL, 9).unwrap(), ["INBOX"]);
    let messages = Events { messages: true, ..Events::NONE };
    assert_eq!(follow(&mut bench, 3, messages, 9).unwrap(), ["INBOX"]);
    assert_eq!(bench.office.watches.len(), 1);
    let (selection, uids) = bench.select(2);
    assert_eq!(uids.len(), 3);
    bench.flag(2, selection, 3);
    bench.flag(2, selection, 4);
    assert!(is_noticed(&mut bench, 1) && !is_noticed(&mut bench, 3));
    assert_eq!(told(&mut bench, 1), ["INBOX(3 2)"]);
    // The next one waits a moment, and then is of all that happened.
    bench.flag(2, selection, uids[2]);
    let deliver = |bench: &mut Bench, name: &str| {
        bench.disk.put_file(&format!("/m/new/{name}"), b"Subject: new\n\nnew\n");
        let watch = *bench.office.watches.keys().next().unwrap();
        bench.hand_in(OfficeInput::DirectoryChanged { watch });
        bench.pass(GAP);
    };
    assert!(!is_noticed(&mut bench, 1));
    deliver(&mut bench, "7.d");
    assert!(is_noticed(&mut bench, 1) && is_noticed(&mut bench, 3));
    assert_eq!(told(&mut bench, 1), ["INBOX(4 3)"]);
    assert_eq!(told(&mut bench, 3), ["INBOX(4 3)"]);
    assert!(told(&mut bench, 1).is_empty());
    // Who has selected it is told in the other way.
    bench.notices.clear();
    bench.select(1);
    bench.pass(GAP);
    deliver(&mut bench, "8.e");
    assert!(is_noticed(&mut bench, 1) && is_noticed(&mut bench, 3));
    assert!(told(&mut bench, 1).is_empty());
}

#[test]
fn what_happens_to_mailboxes_is_told_and_new_ones_are_followed() {
    let mut bench = bench();
    follow(&mut bench, 1, ALL, 9).unwrap();
    create(&mut bench, "Boat");
    bench.pass(GAP);
    assert!(is_noticed(&mut bench, 1));
    assert_eq!(told(&mut bench, 1), ["Boat"]);
    assert_eq!(bench.office.watches.len(), 2);
    change(&mut bench, FolderChange::Rename { mailbox: b"Boat".to_vec(), to: b"Ship".to_vec() });
    change(&mut bench, FolderChange::Subscribe { mailbox: b"Ship".to_vec(), subscribe: true });
    bench.pass(GAP);
    assert_eq!(told(&mut bench, 1), ["Ship was Boat"]);
    assert_eq!(bench.office.watches.len(), 2);
    // Mail in it is told under its new name.
    bench.disk.put_file("/m/.Ship/new/1.x", b"Subject: x\n\nx\n");
    let ship = bench.office.watches.iter().find(|(_, key)| !key.folder.is_inbox()).map(|(watch, _)| *watch);
    bench.hand_in(OfficeInput::DirectoryChanged { watch: ship.unwrap() });
    bench.pass(GAP);
    assert_eq!(told(&mut bench, 1), ["Ship(1 1)"]);
    change(&mut bench, FolderChange::Delete { mailbox: b"Ship".to_vec() });
    bench.pass(GAP);
    assert_eq!(told(&mut bench, 1), ["Ship gone"]);
    assert_eq!(bench.office.watches.len(), 1);
    // Another program makes one.
    for directory in ["/m/.Else", "/m/.Else/cur", "/m/.Else/new", "/m/.Else/tmp"] {
        bench.disk.put_dir(directory);
    }
    bench.disk.put_file("/m/.Else/new/1.x", b"Subject: x\n\nx\n");
    bench.notices.clear();
    bench.pass(Duration::from_secs(31));
    assert!(is_noticed(&mut bench, 1));
    assert_eq!(told(&mut bench, 1), ["Else", "Else(1 1)"]);
}

#[test]
fn one_that_takes_the_place_of_another_is_followed() {
    let mut bench = bench();
    create(&mut bench, "Boat");
    follow(&mut bench, 1, ALL, 9).unwrap();
    bench.disk.move_file("/m/.Boat", "/m/elsewhere");
    let boat = bench.office.watches.iter().find(|(_, key)| !key.folder.is_inbox()).map(|(watch, _)| *watch);
    bench.hand_in(OfficeInput::DirectoryChanged { watch: boat.unwrap() });
    bench.pass(GAP);
    assert_eq!(bench.office.watches.len(), 1);
    for directory in ["/m/.Boat", "/m/.Boat/cur", "/m/.Boat/new", "/m/.Boat/tmp"] {
        bench.disk.put_dir(directory);
    }
    bench.disk.put_file("/m/.Boat/new/1.x", b"Subject: x\n\nx\n");
    bench.pass(Duration::from_secs(31));
    assert_eq!(told(&mut bench, 1), ["Boat(1 1)"]);
    assert_eq!(bench.office.watches.len(), 2);
}

#[test]
fn annotations_that_others_change_are_told() {
    let mut bench = bench();
    follow(&mut bench, 1, ALL, 9).unwrap();
    let annotate = |bench: &mut Bench, conn, mailbox: Option<&[u8]>| {
        let entry = Entry::new(b"/private/comment").unwrap();
        let (changes, limits) = (Vec::from([(entry, Some(b"x".to_vec()))]), MetadataLimits::default());
        let mailbox = mailbox.map(<[u8]>::to_vec);
        bench.ask(conn, |ticket| Ask::SetMetadata { ticket, mailbox, changes, limits });
        assert!(matches!(bench.answers.pop(), Some((_, Answer::Done(done))) if done.verdict().is_ok()));
    };
    annotate(&mut bench, 1, Some(b"INBOX"));
    bench.pass(GAP);
    assert!(!is_noticed(&mut bench, 1));
    annotate(&mut bench, 2, Some(b"INBOX"));
    annotate(&mut bench, 2, None);
    assert!(is_noticed(&mut bench, 1));
    assert_eq!(told(&mut bench, 1), [" 1", "INBOX 1"]);
}

#[test]
fn more_than_may_be_followed_is_refused_or_ends_it() {
    let mut bench = bench();
    create(&mut bench, "Boat");
    assert_eq!(follow(&mut bench, 1, ALL, 1), Err(Refusal::TooManyFollowed));
    assert!(bench.office.trees.is_empty() && bench.office.followers.is_empty());
    follow(&mut bench, 1, ALL, 2).unwrap();
    create(&mut bench, "Ship");
    bench.pass(GAP);
    assert!(is_noticed(&mut bench, 1) && news(&mut bench, 1).overflow);
    create(&mut bench, "Third");
    bench.pass(GAP);
    assert!(!is_noticed(&mut bench, 1));
    assert!(bench.office.watches.is_empty() && bench.office.trees.is_empty());
}

#[test]
fn who_is_gone_leaves_nothing_behind() {
    let mut bench = bench();
    for conn in [1, 2] {
        follow(&mut bench, conn, ALL, 9).unwrap();
    }
    bench.ask::<News>(2, |_| Ask::Unfollow);
    assert_eq!((bench.office.watches.len(), bench.office.trees.len()), (1, 1));
    let caller = Caller { front: FrontIndex(0), conn: ConnId(1) };
    bench.hand_in(OfficeInput::Front(ToOffice::Gone { caller }));
    assert!(bench.office.watches.is_empty() && bench.office.trees.is_empty());
    bench.pass(Duration::from_secs(200));
    assert_eq!(bench.office.mailboxes.keys().count(), 0);
    assert_eq!(bench.office.poll_timeout(), None);
}
