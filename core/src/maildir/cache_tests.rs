//! The cache file: it says what the messages say, and no damage to it does any.

use super::cache::Directory;
use super::cache_file::compact;
use super::fetch::{Fetched, Wanted, fetch};
use super::folder::FolderName;
use super::mailbox::{Message, Messages};
use super::memdisk::{MemDisk, root};
use crate::disk::Errno;
use crate::imap::command::{CommandBody, parse};
use crate::imap::flag::FlagSet;
use crate::imap::sequence::UidSet;
use crate::imap::server::FetchRequest;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;
use std::format;
use std::string::String;

const CACHE: &str = "/m/postier.cache";
/// All that is kept, and what is not.
const ITEMS: &str = "UID FLAGS ENVELOPE BODY BODYSTRUCTURE PREVIEW RFC822.SIZE \
    BODY.PEEK[HEADER.FIELDS (To X-Odd)]<1.9> BODY.PEEK[HEADER.FIELDS (DATE from x-odd)]";

fn mail(n: u32) -> Vec<u8> {
    format!(
        "From: Joe <joe{n}@x.test>\nX-Odd: odd {n}\nTo: a@x.test,\n\tb@x.test\nX-Other: 1\nSubject: Hi {n}\nDate: Tue, 24 Nov 2026 04:19:24 +0000\n\nHello {n}\nyou\n"
    )
    .into_bytes()
}

fn name(uid: u32) -> String {
    format!("{uid}.a:2,S")
}

fn message(uid: u32) -> Message {
    Message::new(uid, name(uid).as_bytes().into(), false, FlagSet::from_bits(u32::MAX), 1)
}

fn path(uid: u32) -> String {
    format!("/m/cur/{}", name(uid))
}

fn messages(uids: impl IntoIterator<Item = u32>) -> Vec<Message> {
    uids.into_iter().map(message).collect()
}

fn disk_with(uids: impl IntoIterator<Item = u32>) -> MemDisk {
    let mut disk = MemDisk::with_maildir();
    disk.handed_out = Some(0);
    for uid in uids {
        disk.put_file(&path(uid), &mail(uid));
    }
    disk
}

/// A page, and what is known of the cache after it.
fn fetched(disk: &mut MemDisk, messages: &[Message], items: &str, cache: Option<&Arc<Directory>>) -> Fetched {
    try_fetched(disk, messages, items, cache).expect("no error here")
}

fn try_fetched(
    disk: &mut MemDisk,
    messages: &[Message],
    items: &str,
    cache: Option<&Arc<Directory>>,
) -> Result<Fetched, super::context::StoreError> {
    let line = format!("a FETCH 1 ({items})\r\n");
    let CommandBody::Fetch(command) = parse(line.as_bytes()).unwrap().body else { panic!("{items}") };
    let request = FetchRequest { items: command.items, ..FetchRequest::default() };
    let wanted = Wanted {
        messages: messages.to_vec(),
        keywords: Arc::default(),
        request: request.into(),
        changed: UidSet::default(),
        memo: None,
        cache: cache.cloned(),
    };
    disk.run(vec![], |disk| fetch(disk, root(), FolderName::inbox(), wanted)).expect("no crash here")
}

fn compacted(disk: &mut MemDisk, live: &[Message]) {
    let mut messages = Messages::default();
    live.iter().for_each(|message| assert!(messages.push(message.clone())));
    let known = fetched(disk, live, "ENVELOPE", Some(&Arc::default())).cache.unwrap();
    disk.run(vec![], |disk| compact(disk, root(), FolderName::inbox(), messages, known)).unwrap();
}

/// Whether pages about these messages are made without their files.
fn is_cached(disk: &MemDisk, messages: &[Message], items: &str) -> bool {
    let mut without = disk.clone();
    messages.iter().for_each(|message| without.remove_file(&path(message.uid)));
    messages.chunks(100).all(|messages| {
        let page = fetched(&mut without, messages, items, Some(&Arc::default())).page;
        assert!(page.gone || page.bytes == fetched(&mut disk.clone(), messages, items, None).page.bytes);
        !page.gone
    })
}

#[test]
fn what_was_read_once_is_not_read_again() {
    let all = messages(1..=5);
    let mut disk = disk_with(1..=5);
    let plain = fetched(&mut disk, &all, ITEMS, None);
    assert!(disk.read(CACHE).is_none() && plain.cache.is_none());
    let first = fetched(&mut disk, &all, ITEMS, Some(&Arc::default()));
    assert_eq!(first.page.bytes, plain.page.bytes);
    // Sizes are what the index keeps.
    let items = ITEMS.replace(" RFC822.SIZE", "");
    assert!(is_cached(&disk, &all, &items));
    for (items, known) in [
        ("ENVELOPE FLAGS", true),
        ("BODY.PEEK[HEADER.FIELDS (Subject Message-Id X-Priority)]", true),
        ("BODY.PEEK[HEADER.FIELDS (X-ODD)] PREVIEW", true),
        ("BODY.PEEK[HEADER.FIELDS (X-Other)]", false),
        ("BODY.PEEK[HEADER.FIELDS.NOT (To)]", false),
        ("BODY.PEEK[HEADER]", false),
    ] {
        assert_eq!(is_cached(&disk, &all, items), known, "{items}");
    }
    // What is missing is added, and what was there stays.
    fetched(&mut disk, &all[1..3], "BODY.PEEK[HEADER.FIELDS (X-Other)]", Some(&Arc::default()));
    assert!(is_cached(&disk, &all[1..3], "BODY.PEEK[HEADER.FIELDS (X-Other)] ENVELOPE"));
    assert!(is_cached(&disk, &all, &items));
    assert!(!is_cached(&disk, &all, "BODY.PEEK[HEADER.FIELDS (X-Other)]"));
}

#[test]
fn another_message_under_the_same_uid_is_another_message() {
    let mut disk = disk_with(1..=3);
    fetched(&mut disk, &messages(1..=3), "ENVELOPE", Some(&Arc::default()));
    let mut other = messages(1..=3);
    other[1].file = name(9).as_bytes().into();
    disk.put_file(&path(9), &mail(9));
    let bytes = fetched(&mut disk, &other, "ENVELOPE", Some(&Arc::default())).page.bytes;
    assert_eq!(bytes, fetched(&mut disk, &other, "ENVELOPE", None).page.bytes);
    assert!(bytes.windows(4).any(|four| four == b"Hi 9"));
}

/// Whatever the file holds, the answer is the one without it, and after the file was written anew all is in it again.
#[test]
fn no_damage_to_any_octet_does_any() {
    let (all, items) = (messages(1..=3), "UID ENVELOPE BODY.PEEK[HEADER.FIELDS (Date)]");
    let mut disk = disk_with(1..=3);
    let right = fetched(&mut disk, &all, items, None).page.bytes;
    fetched(&mut disk, &all[..1], items, Some(&Arc::default()));
    fetched(&mut disk, &all, items, Some(&Arc::default()));
    let good = disk.read(CACHE).unwrap();
    let check = |octets: &[u8], what: &str| {
        let mut disk = disk.clone();
        disk.put_file(CACHE, octets);
        let page = fetched(&mut disk, &all, items, Some(&Arc::default()));
        assert_eq!(page.page.bytes, right, "{what}");
        let known = page.cache.unwrap();
        let mut messages = Messages::default();
        all.iter().for_each(|message| assert!(messages.push(message.clone())));
        if known.wants_rewrite(&messages) {
            disk.run(vec![], |disk| compact(disk, root(), FolderName::inbox(), messages, known)).unwrap();
            fetched(&mut disk, &all, items, Some(&Arc::default()));
        }
        assert!(is_cached(&disk, &all, items), "{what}");
        assert!(!disk.names("/m").contains(&String::from("postier.cache.tmp")));
    };
    for at in 0..good.len() {
        for bit in [0, 3, 7] {
            let mut octets = good.clone();
            octets[at] ^= 1 << bit;
            check(&octets, &format!("bit {bit} of octet {at}"));
        }
        check(&good[..at], &format!("cut at {at}"));
        let mut zeros = good.clone();
        zeros[at..].fill(0);
        check(&zeros, &format!("zeros from {at}"));
    }
    let mut more = good.clone();
    more.extend_from_slice(b"half a block");
    check(&more, "more at its end");
}

#[test]
fn a_file_written_anew_has_what_is_of_use() {
    let mut disk = disk_with(1..=1200);
    let mut known = Arc::default();
    for page in messages(1..=1200).chunks(100) {
        known = fetched(&mut disk, page, "ENVELOPE", Some(&known)).cache.unwrap();
    }
    // The last page has not seen its own block.
    known = fetched(&mut disk, &messages([1]), "ENVELOPE", Some(&known)).cache.unwrap();
    let count = |uids: core::ops::RangeInclusive<u32>| {
        let mut live = Messages::default();
        uids.for_each(|uid| assert!(live.push(message(uid))));
        live
    };
    assert!(!known.wants_rewrite(&count(1..=1200)) && !known.wants_rewrite(&count(1..=600)));
    assert!(known.wants_rewrite(&count(1..=590)) && known.wants_rewrite(&count(700..=1200)));
    let before = disk.read(CACHE).unwrap().len();
    let live = messages(700..=800);
    compacted(&mut disk, &live);
    assert!(disk.read(CACHE).unwrap().len() * 10 < before);
    assert!(is_cached(&disk, &live, "ENVELOPE") && !is_cached(&disk, &messages([699]), "ENVELOPE"));
    // Blocks of one message each become one.
    for uid in 1..=600 {
        known = fetched(&mut disk, &messages([uid]), "ENVELOPE", Some(&known)).cache.unwrap();
    }
    known = fetched(&mut disk, &messages([1]), "ENVELOPE", Some(&known)).cache.unwrap();
    assert!(known.wants_rewrite(&count(1..=800)));
    compacted(&mut disk, &messages(1..=800));
    known = fetched(&mut disk, &messages([1]), "ENVELOPE", Some(&known)).cache.unwrap();
    assert!(!known.wants_rewrite(&count(1..=800)));
    assert!(is_cached(&disk, &messages((1..=600).chain(700..=800)), "ENVELOPE"));
}

#[test]
fn what_somebody_appends_while_the_file_is_written_anew_is_not_lost() {
    let mut disk = disk_with(1..=2);
    fetched(&mut disk, &messages([1]), "ENVELOPE", Some(&Arc::default()));
    let known = fetched(&mut disk, &messages([1]), "ENVELOPE", Some(&Arc::default())).cache.unwrap();
    let (mut messages_, good) = (Messages::default(), disk.read(CACHE).unwrap());
    assert!(messages_.push(message(1)));
    disk.ops = 0;
    disk.before = Some((6, |disk: &mut MemDisk| {
        let (ops, handles) = (disk.ops, disk.handed_out.take());
        disk.before = None;
        fetched(disk, &messages([2]), "ENVELOPE", Some(&Arc::default()));
        (disk.ops, disk.handed_out) = (ops, handles);
    }));
    disk.run(vec![], |disk| compact(disk, root(), FolderName::inbox(), messages_, known)).unwrap();
    let now = disk.read(CACHE).unwrap();
    assert!(now.starts_with(&good) && now.len() > good.len());
    assert!(is_cached(&disk, &messages([1, 2]), "ENVELOPE"));
}

/// No failure of the cache is one of the mailbox.
#[test]
fn any_operation_may_fail() {
    let (all, items) = (messages(1..=2), "ENVELOPE");
    let empty = disk_with(1..=2);
    let mut filled = empty.clone();
    fetched(&mut filled, &all[..1], items, Some(&Arc::default()));
    let right = fetched(&mut filled.clone(), &all, items, None).page.bytes;
    for start in [empty, filled] {
        for errno in [Errno::NoSpace, Errno::Io, Errno::Access, Errno::TooManyFiles] {
            for at in 0..40 {
                let mut disk = start.clone();
                disk.ops = 0;
                disk.fail_at = Some((at, errno));
                if let Ok(done) = try_fetched(&mut disk, &all, items, Some(&Arc::default()))
                    && done.page.next.is_none()
                    && done.page.unreadable.is_empty()
                {
                    assert_eq!(done.page.bytes, right, "operation {at}");
                }
                disk.fail_at = None;
                assert_eq!(fetched(&mut disk, &all, items, Some(&Arc::default())).page.bytes, right);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Of any message, fields that were kept are the fields of the message.
    #[test]
    fn the_cache_says_what_the_message_says(
        lines in proptest::collection::vec("(to|From|Subject|X-A|cc|)(: ?| )[a \t\r\0é:]{0,6}(\n|\r\n|\r\r\n)", 0..8),
        ends in any::<bool>(), body in "[a\r\n]{0,9}", other in any::<bool>(),
    ) {
        let mut disk = MemDisk::with_maildir();
        let end = if ends { "\n" } else { "" };
        disk.put_file(&path(1), format!("{}{end}{body}", lines.concat()).as_bytes());
        let one = messages([1]);
        let known = Arc::default();
        let (first, then) = ("BODY.PEEK[HEADER.FIELDS (X-A SUBJECT)] ENVELOPE BODY", "BODY.PEEK[HEADER.FIELDS (To X-A)]<1.20> BODY \
            BODY.PEEK[HEADER.FIELDS (cc from)] ENVELOPE");
        let right = fetched(&mut disk, &one, then, None).page.bytes;
        fetched(&mut disk, &one, if other { first } else { then }, Some(&known));
        disk.remove_file(&path(1));
        prop_assert_eq!(fetched(&mut disk, &one, then, Some(&known)).page.bytes, right);
    }
}
