//! SORT of a small mailbox, by every key.

use super::*;
use crate::imap::command::{CommandBody, parse};
use crate::imap::flag::FlagSet;
use crate::maildir::mailbox::{Message, Messages};
use crate::maildir::memdisk::{MemDisk, root};
use proptest::prelude::*;
use std::format;

/// 2026-11-24 00:00:00 UTC
const DAY: i64 = 1_795_478_400;

const MAILS: [&str; 5] = [
    "From: zoe@a.test\nTo: b@x.test\nSubject: Re: [list] \u{e4}pfel\nDate: Tue, 24 Nov 2026 12:00:00 +0200\n\nlong long\n",
    "From: \"Adam\" <Yan@a.test>\nTo: a@x.test\nCc: c@x.test\nSubject: =?utf-8?q?=C3=84PFEL?=\n\
        Date: Tue, 24 Nov 2026 11:00:00 +0000\n\nx\n",
    "From: =?utf-8?q?=C3=A4dam?= <xaver@a.test>\nTo: Friends: q@x.test;\nSubject: birnen\nDate: nonsense\n\nxx\n",
    "To: =?utf-8?q?=41?= <z@x.test>\n\nxxx\n",
    "gone",
];

/// The mails have the UIDs 10, 20, 30, 40 and 50; the last one's file is gone. They arrived in the reverse order.
fn world() -> (MemDisk, Scope) {
    let mut disk = MemDisk::with_maildir();
    let mut messages = Messages::default();
    for (index, text) in MAILS.iter().enumerate() {
        let name = format!("{index}.a:2,");
        if *text != "gone" {
            let path = format!("/m/cur/{name}");
            disk.put_file(&path, text.as_bytes());
            disk.set_mtime(&path, (DAY - index as i64 * 3600) * 1_000_000_000);
        }
        let uid = 10 * (index as u32 + 1);
        messages.push(Message::new(uid, name.as_bytes().into(), false, FlagSet::EMPTY, 1));
    }
    let within = [10, 20, 30, 40, 50].into_iter().collect();
    (disk, Scope { messages, within, ..Scope::default() })
}

fn run(criteria: &str, keys: &str) -> Vec<u32> {
    let line = format!("a UID SORT ({criteria}) UTF-8 {keys}\r\n");
    let CommandBody::Sort(asked) = parse(line.as_bytes()).expect(criteria).body else { panic!("{line}") };
    let query = SearchQuery { key: asked.search.key, recent: Default::default(), saved: Default::default() };
    let (mut disk, scope) = world();
    let query = Arc::new(query);
    let mut sorted = |cache| {
        let (scope, query, criteria) =
            (Scope { cache, ..scope.clone() }, query.clone(), asked.criteria.clone());
        let folder = FolderName::inbox();
        disk.run(alloc::vec![], |disk| sort(disk, root(), folder, scope, query, criteria)).unwrap().unwrap()
    };
    let plain = sorted(None);
    // The same when the cache file begins, and when it has the headers.
    assert!([(); 2].iter().all(|()| sorted(Some(Arc::default())) == plain));
    plain
}

#[test]
fn every_key_forwards_and_backwards() {
    for (key, ascending) in [
        ("ARRIVAL", [40, 30, 20, 10]),
        // 40 is a message without a date, which arrived at 21:00; 30 has one that says nothing.
        ("DATE", [40, 30, 10, 20]),
        ("SIZE", [40, 30, 10, 20]),
        ("FROM", [40, 30, 20, 10]),
        ("TO", [20, 10, 30, 40]),
        // Without a Cc it is empty, and so are those of three.
        ("CC", [10, 30, 40, 20]),
        ("SUBJECT", [40, 10, 20, 30]),
        ("DISPLAYFROM", [40, 20, 30, 10]),
        ("DISPLAYTO", [40, 20, 10, 30]),
    ] {
        assert_eq!(run(key, "NOT 50"), ascending, "{key}");
    }
    // What is equal keeps its order; only the criterion is reversed.
    assert_eq!(run("REVERSE CC", "NOT 50"), [20, 10, 30, 40]);
    assert_eq!(run("REVERSE SUBJECT", "NOT 50"), [30, 10, 20, 40]);
    assert_eq!(run("SUBJECT REVERSE DATE", "NOT 50"), [40, 20, 10, 30]);
    assert_eq!(run("REVERSE ARRIVAL", "SUBJECT pfel"), [10, 20]);
}

#[test]
fn a_message_that_is_gone_is_not_told_of() {
    assert_eq!(run("SIZE", "ALL"), [40, 30, 10, 20]);
    assert_eq!(run("ARRIVAL", "50"), []);
}

proptest! {
    #[test]
    fn runs_are_merged_as_by_one_sort(keys in proptest::collection::vec(0u8..9, 0..6000)) {
        let mut disk = MemDisk::with_maildir();
        let rows: Vec<(u8, usize)> = keys.iter().copied().zip(0..).collect();
        let mut expected = rows.clone();
        expected.sort_by_key(|(key, _)| *key);
        let merged = disk.run(alloc::vec![], |disk| async move {
            let mut reader = Reader::new(disk, root(), FolderName::inbox());
            let merged = sorted(&mut reader, rows, |a, b| a.0.cmp(&b.0)).await;
            reader.finish().await;
            merged
        });
        prop_assert_eq!(merged.unwrap(), expected);
    }
}
