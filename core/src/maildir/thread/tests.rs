//! What of a message goes into its thread; the algorithms have tests of their own.

use super::*;
use crate::imap::flag::FlagSet;
use crate::imap::search::SearchKey;
use crate::maildir::mailbox::{Message, Messages};
use crate::maildir::memdisk::{MemDisk, root};
use alloc::string::String;
use std::format;

fn run(mails: &[&str], algorithm: Algorithm) -> String {
    let mut disk = MemDisk::with_maildir();
    let mut messages = Messages::default();
    for (index, text) in mails.iter().enumerate() {
        let (name, uid) = (format!("{index}.a:2,"), index as u32 + 1);
        let path = format!("/m/cur/{name}");
        if *text != "gone" {
            disk.put_file(&path, text.as_bytes());
            disk.set_mtime(&path, i64::from(uid) * 1_000_000_000);
        }
        messages.push(Message::new(uid, name.as_bytes().into(), false, FlagSet::EMPTY, 1));
    }
    let within = (1..=mails.len() as u32).collect();
    let scope = Scope { messages, within, ..Scope::default() };
    let query = SearchQuery { key: SearchKey::All, recent: Default::default(), saved: Default::default() };
    let query = Arc::new(query);
    let mut threads = |cache| {
        let (scope, query, folder) = (Scope { cache, ..scope.clone() }, query.clone(), FolderName::inbox());
        let threads = disk.run(alloc::vec![], |disk| thread(disk, root(), folder, scope, query, algorithm));
        let mut out = Vec::new();
        threads.unwrap().unwrap().write(&mut out, Some);
        String::from_utf8(out).unwrap()
    };
    let plain = threads(None);
    // The same when the cache file begins, and when it has the headers.
    assert!([(); 2].iter().all(|()| threads(Some(Arc::default())) == plain));
    plain
}

#[test]
fn by_references() {
    let first = "Message-ID: <\"a\"@x.test>\nSubject: one\n\n";
    for (mails, expected) in [
        (
            &[first, "Message-ID: <b@x.test>\nReferences: <z@x.test>\n\t<a@x.test>\nSubject: two\n\n"][..],
            " (1 2)",
        ),
        // References first, and of In-Reply-To only the first identifier.
        (&[first, "In-Reply-To: your mail <a@x.test> of <joe@x.test>\nSubject: two\n\n"], " (1 2)"),
        (&[first, "References: none\nIn-Reply-To: <a@x.test>\nSubject: two\n\n"], " (1 2)"),
        (&[first, "References: <z@x.test>\nIn-Reply-To: <a@x.test>\nSubject: two\n\n"], " (1)(2)"),
        // By subject, in any case and however it is encoded.
        (&[first, "Subject: Re: =?utf-8?q?=4fNE?=\n\n"], " (1 2)"),
        (&[first, "gone", "Subject: three\n\n"], " (1)(3)"),
        (
            &["Date: Thu, 1 Jan 1970 00:01:00 +0000\n\n", "Date: Thu, 1 Jan 1970 01:00:30 +0100\n\n"],
            " (2)(1)",
        ),
    ] {
        assert_eq!(run(mails, Algorithm::References), expected, "{mails:?}");
    }
}

#[test]
fn by_subject() {
    let mails = ["Subject: a\n\n", "Subject: b\nReferences: <a@x.test>\n\n", "Subject: fwd: A (fwd)\n\n"];
    assert_eq!(run(&mails, Algorithm::OrderedSubject), " (1 3)(2)");
}
