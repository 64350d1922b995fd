//! Another program has the lock of a mailbox: who reads does not wait, who writes does, and not for ever. And what a
//! session is told when half of what it asked for has failed.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Ended, Office, OfficeAction, OfficeInput};
use crate::disk::Errno;
use crate::imap::fetch::{FetchItem, FetchSection, Section, SectionKind};
use crate::imap::flag::{FlagList, FlagSet, SystemFlag};
use crate::imap::sequence::UidSet;
use crate::imap::server::{
    Answer, Ask, FetchPage, FetchRequest, MessageFlags, Refusal, SelectionId, StoreAction,
};
use crate::machine::Instant;
use crate::maildir::memdisk::{MemDisk, context};
use crate::server::{Caller, ConnId, FromOffice, FrontIndex, ToOffice};
use crate::site::{Account, Secret};
use crate::ticket::{Ticket, TicketSource};

const LIST: &str = "/m/dovecot-uidlist";
pub(super) const LOCK: &str = "/m/dovecot-uidlist.lock";

/// An office with its disk; a task runs to where it waits as soon as it is given out.
pub(super) struct Bench {
    pub(super) office: Office,
    pub(super) disk: MemDisk,
    account: Arc<Account>,
    tickets: TicketSource,
    pub(super) answers: Vec<(u64, Answer)>,
    /// How often each connection was told that there is something to ask for.
    pub(super) notices: BTreeMap<u64, usize>,
    /// Something happens before each task.
    before_task: Option<fn(&mut MemDisk)>,
}

impl Bench {
    /// Messages 3, `\Seen`, and 4 without flags; Dovecot, which lives, has the lock; one more file has no UID.
    pub(super) fn locked() -> Bench {
        let mut disk = MemDisk::with_maildir();
        disk.alive.push(99);
        let list = b"3 V77 N10 G00112233445566778899aabbccddeeff\n3 :1.a\n4 :2.b\n";
        disk.put_file(LIST, list);
        disk.put_file("/m/cur/1.a:2,S", b"Subject: one\n\none\n");
        disk.put_file("/m/cur/2.b:2,", b"Subject: two\n\ntwo\n");
        disk.put_file("/m/cur/3.c:2,", b"Subject: three\n\nthree\n");
        disk.put_file(LOCK, b"99:mx");
        disk.advance(10_000_000);
        let account = Account::new(b"ann", b"example.org", b"/m".to_vec(), Secret::new(*b"x")).unwrap();
        Bench {
            office: Office::new(Arc::new(context())),
            disk,
            account: Arc::new(account),
            tickets: TicketSource::default(),
            answers: Vec::new(),
            notices: BTreeMap::new(),
            before_task: None,
        }
    }

    pub(super) fn ask<V>(&mut self, conn: u64, ask: impl FnOnce(Ticket<V>) -> Ask) {
        let ask = Box::new(ask(self.tickets.issue()));
        let caller = Caller { front: FrontIndex(0), conn: ConnId(conn) };
        self.hand_in(OfficeInput::Front(ToOffice::Imap { caller, account: self.account.clone(), ask }));
    }

    pub(super) fn hand_in(&mut self, input: OfficeInput) {
        let mut inputs = Vec::from([input]);
        while let Some(input) = inputs.pop() {
            let mut out = Vec::new();
            self.office.handle(self.disk.now(), input, &mut out);
            for action in out {
                match action {
                    OfficeAction::Run(job, mut task) => {
                        if let Some(act) = self.before_task {
                            act(&mut self.disk);
                        }
                        let ended = match self.disk.drive(&mut task) {
                            Ok(done) => Ended::Done(done),
                            Err(duration) => Ended::Waits(task, duration),
                        };
                        inputs.push(OfficeInput::Ran { job, ended });
                    }
                    OfficeAction::Answer(_, FromOffice::Imap { conn, answer }) => {
                        self.answers.push((conn.0, *answer));
                    }
                    OfficeAction::Answer(_, FromOffice::ImapNotice { conn, .. }) => {
                        *self.notices.entry(conn.0).or_default() += 1;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Lets time pass, and the office do what is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.disk.now().instant.plus(time);
        while let Some(due) = self.office.poll_timeout().filter(|due| *due <= end) {
            self.disk.advance(due.since(self.disk.now().instant).as_micros() as u64);
            self.hand_in(OfficeInput::Timeout);
        }
        self.disk.advance(end.since(self.disk.now().instant).as_micros() as u64);
    }

    pub(super) fn select(&mut self, conn: u64) -> (SelectionId, Vec<u32>) {
        self.ask(conn, |ticket| Ask::Select { ticket, mailbox: b"INBOX".to_vec(), read_only: false });
        match self.answers.pop() {
            Some((to, Answer::Select(answered))) if to == conn => {
                let selected = answered.verdict().as_ref().unwrap();
                (selected.selection, selected.view.iter().collect())
            }
            other => panic!("no answer to SELECT but {other:?}"),
        }
    }

    pub(super) fn flag(&mut self, conn: u64, selection: SelectionId, uid: u32) {
        self.flag_unchanged(conn, selection, uid, None);
    }

    fn flag_unchanged(&mut self, conn: u64, selection: SelectionId, uid: u32, unchanged_since: Option<u64>) {
        let flags = FlagList { system: FlagSet::EMPTY.with(SystemFlag::Flagged), keywords: Vec::new() };
        let (uids, action) = (UidSet::from_iter([uid]), StoreAction::Add);
        self.ask(conn, |ticket| Ask::Store { ticket, selection, uids, unchanged_since, action, flags });
    }

    fn fetch_texts(&mut self, conn: u64, selection: SelectionId) -> Result<FetchPage, Refusal> {
        let section = Section { part: Vec::new(), kind: SectionKind::Text };
        let items = Vec::from([FetchItem::Section(FetchSection { section, partial: None, peek: false })]);
        let request = Arc::new(FetchRequest { items, set_seen: true, ..FetchRequest::default() });
        let uids = UidSet::from_iter([3, 4]);
        self.ask(conn, |ticket| Ask::Fetch { ticket, selection, uids, request });
        match self.answers.pop() {
            Some((_, Answer::Fetch(answered))) => {
                let id = answered.id();
                answered.into_verdict(id).unwrap()
            }
            other => panic!("no answer to FETCH but {other:?}"),
        }
    }

    /// The messages whose flags the session is told.
    fn told(&mut self, conn: u64, selection: SelectionId) -> Vec<u32> {
        self.ask(conn, |ticket| Ask::Changes { ticket, selection, rescan: false });
        match self.answers.pop() {
            Some((_, Answer::Changes(answered))) => {
                let id = answered.id();
                let changes = answered.into_verdict(id).unwrap();
                changes.flags.iter().map(|message| message.uid).collect()
            }
            other => panic!("no answer about changes but {other:?}"),
        }
    }

    /// What a STORE has been answered: the UIDs with their flags.
    fn stored(&mut self) -> Result<Vec<(u32, FlagSet)>, Refusal> {
        match self.answers.remove(0) {
            (_, Answer::Store(answered)) => {
                let id = answered.id();
                let flags = |message: MessageFlags| (message.uid, message.flags);
                answered.into_verdict(id).unwrap().map(|stored| stored.flags.into_iter().map(flags).collect())
            }
            (_, other) => panic!("no answer to STORE but {other:?}"),
        }
    }
}

#[test]
fn readers_do_not_wait_for_the_lock_not_even_behind_a_writer() {
    let mut bench = Bench::locked();
    let start = bench.disk.now().instant;
    let (one, seen) = bench.select(1);
    assert_eq!(seen, [3, 4]);
    bench.flag(1, one, 3);
    assert!(bench.answers.is_empty(), "the writer waits");
    let (two, seen) = bench.select(2);
    assert_eq!(seen, [3, 4]);
    let page = bench.fetch_texts(2, two).unwrap();
    assert_eq!(page.rows.len(), 2);
    assert!(bench.disk.now().instant.since(start) < Duration::from_millis(50));
    assert_eq!(bench.disk.names("/m/cur"), ["1.a:2,S", "2.b:2,", "3.c:2,"]);
    // Another program delivers with a UID, appended without the lock, while the writer waits: it is not lost.
    bench.disk.put_file("/m/new/5.e", b"Subject: five\n\nfive\n");
    bench.disk.append_unsynced(LIST, b"12 :5.e\n");
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.select(3).1, [3, 4, 12]);
    bench.disk.remove_file(LOCK);
    bench.pass(Duration::from_secs(1));
    let flagged = FlagSet::EMPTY.with(SystemFlag::Seen).with(SystemFlag::Flagged);
    assert_eq!(bench.stored(), Ok(Vec::from([(3, flagged)])));
    // The FETCH has set \Seen after all, and what had no UID has one.
    assert_eq!(bench.disk.names("/m/cur"), ["1.a:2,FS", "2.b:2,S", "3.c:2,"]);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.select(4).1, [3, 4, 12, 13]);
    assert!(bench.notices.get(&2).is_some_and(|count| *count > 0), "a session is told: {:?}", bench.notices);
}

#[test]
fn every_writer_gives_up_after_its_own_fifteen_seconds() {
    let mut bench = Bench::locked();
    let (one, _) = bench.select(1);
    bench.flag(1, one, 3);
    bench.pass(Duration::from_secs(1));
    bench.flag(2, one, 4);
    let start: Instant = bench.disk.now().instant;
    bench.pass(Duration::from_millis(13_900));
    assert!(bench.answers.is_empty());
    bench.pass(Duration::from_millis(200));
    assert_eq!(bench.stored(), Err(Refusal::InUse));
    bench.pass(Duration::from_secs(15));
    assert_eq!(bench.stored(), Err(Refusal::InUse));
    assert!(bench.disk.now().instant.since(start) < Duration::from_secs(30));
    assert_eq!(bench.disk.read(LOCK).unwrap(), b"99:mx", "it is not ours to remove");
}

#[test]
fn what_a_fetch_has_marked_as_read_before_it_failed_is_told_later() {
    let mut bench = Bench::locked();
    bench.disk.remove_file(LOCK);
    let (one, _) = bench.select(1);
    assert_eq!(bench.told(1, one), []);
    bench.before_task = Some(|disk| {
        let marked = disk.names("/m/cur").iter().any(|name| name == "2.b:2,S");
        disk.broken = marked.then_some(Errno::Io);
    });
    assert_eq!(bench.fetch_texts(1, one).unwrap_err(), Refusal::Unavailable);
    assert_eq!(bench.told(1, one), [4]);
}

#[test]
fn what_a_fetch_has_marked_as_read_beyond_the_end_of_its_page_is_told_later() {
    let mut bench = Bench::locked();
    bench.disk.remove_file(LOCK);
    let (one, _) = bench.select(1);
    assert_eq!(bench.told(1, one), []);
    bench.disk.always = Some(|disk| {
        let is_second = disk.log.ends_with(&["ReadFile".into(), "ReadFile".into()]);
        disk.fail_at = is_second.then(|| (disk.ops - 1, Errno::Stale));
    });
    let page = bench.fetch_texts(1, one).unwrap();
    assert_eq!((page.rows.len(), page.next), (1, Some(4)));
    assert_eq!(bench.told(1, one), [4]);
}

#[test]
fn what_a_silent_store_could_not_change_is_told() {
    let mut bench = Bench::locked();
    bench.disk.remove_file(LOCK);
    let (one, _) = bench.select(1);
    // So lately that one look proves nothing.
    bench.disk.remove_file("/m/cur/2.b:2,");
    bench.flag(1, one, 4);
    bench.answers.clear();
    assert_eq!(bench.told(1, one), [4]);
}

/// Seed 202634 of the simulator: the client of a silent STORE never heard of the flag that had kept it from changing any.
#[test]
fn what_a_conditional_store_found_changed_is_told() {
    let mut bench = Bench::locked();
    bench.disk.remove_file(LOCK);
    let (one, _) = bench.select(1);
    assert_eq!(bench.told(1, one), []);
    bench.disk.advance(10_000_000);
    bench.disk.move_file("/m/cur/2.b:2,", "/m/cur/2.b:2,R");
    let key = bench.office.mailboxes.keys().next().cloned().unwrap();
    let known = bench.office.state(&key).unwrap().highest_modseq;
    bench.flag_unchanged(1, one, 4, Some(known));
    assert_eq!(bench.disk.names("/m/cur"), ["1.a:2,S", "2.b:2,R", "3.c:2,"]);
    bench.answers.clear();
    assert_eq!(bench.told(1, one), [4]);
}
