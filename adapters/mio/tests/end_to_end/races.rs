//! Other programs that do not take the lock, or take it and keep it, and a system that has no watches left: what has
//! a UID keeps it, nothing that is there is told to be gone, nobody is blocked.
//!
//! `POSTIER_SECONDS=60` does it for longer than the little that every change is proved with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Dice, Imap, Server, Site, eventually, seconds};
use crate::ledger::number_after;

/// More than one directory page, so that a listing and a rename can pass each other.
const MAILS: usize = 3000;

fn fill(maildir: &Path, count: usize) {
    for number in 0..count {
        let name = format!("{}.{number}.filler:2,", 1_600_000_000 + number);
        fs::write(maildir.join("cur").join(name), format!("Subject: mail-{number}\n\nx\n")).unwrap();
    }
}

/// UIDs and subjects of the selected mailbox.
fn subjects(imap: &mut Imap) -> BTreeMap<u32, String> {
    let rows = imap.ok("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
    let row = |row: &String| {
        let subject = row.lines().find_map(|line| line.strip_prefix("Subject: "))?;
        Some((number_after(row, "UID ")?, subject.to_owned()))
    };
    rows.iter().filter_map(row).collect()
}

/// Sets and takes away flags by renaming, as mutt does it, without any lock.
fn rename_without_end(cur: &Path, seed: u64, over: &AtomicBool) -> usize {
    let mut dice = Dice(seed);
    let mut renamed = 0;
    while !over.load(Ordering::SeqCst) {
        let entries: Vec<_> = fs::read_dir(cur).unwrap().map(|entry| entry.unwrap().path()).collect();
        for _ in 0..1000 {
            let path = &entries[dice.roll(entries.len())];
            let name = path.file_name().unwrap().to_string_lossy();
            let (base, flags) = name.split_once(":2,").unwrap();
            let other = ["", "S", "F", "FS", "RS"][dice.roll(5)];
            // The other renamer, or we ourselves, may have been there already.
            if other != flags && fs::rename(path, cur.join(format!("{base}:2,{other}"))).is_ok() {
                renamed += 1;
            }
        }
    }
    renamed
}

#[test]
#[ignore = "takes twenty seconds: others rename all the time"]
fn a_mailbox_that_is_renamed_all_the_time_loses_nothing_and_numbers_nothing_twice() {
    let site = Site::new();
    let server = Server::start(&site);
    server.imap("ann").ok("SELECT INBOX");
    fill(&site.maildir("ann"), MAILS);
    let mut imap = server.imap("ann");
    imap.ok("SELECT INBOX");
    let before = subjects(&mut imap);
    assert_eq!(before.len(), MAILS);
    let (cur, over) = (site.maildir("ann").join("cur"), AtomicBool::new(false));
    let end = Instant::now() + seconds(20);
    let whole = |responses: &[String]| {
        let gone = responses.iter().find(|line| line.ends_with("EXPUNGE") || line.starts_with("VANISHED"));
        assert_eq!(gone, None, "nothing is gone");
        let exists = responses.iter().find(|line| line.ends_with("EXISTS"));
        assert!(exists.is_none_or(|line| *line == format!("{MAILS} EXISTS")), "{exists:?}");
    };
    let renamed = std::thread::scope(|scope| {
        let renamers: Vec<_> = (1..3)
            .map(|seed| {
                scope.spawn({
                    let (cur, over) = (&cur, &over);
                    move || rename_without_end(cur, seed, over)
                })
            })
            .collect();
        let selecting = scope.spawn(|| {
            while Instant::now() < end {
                let mut imap = server.imap("ann");
                whole(&imap.ok("SELECT INBOX"));
                whole(&imap.ok("NOOP"));
            }
        });
        let idling = scope.spawn(|| {
            while Instant::now() < end {
                let tag = imap.idle();
                std::thread::sleep(Duration::from_millis(300));
                imap.wire().write(b"DONE\r\n");
                whole(&imap.finish(&tag).0);
            }
        });
        let ends = [selecting.join(), idling.join()];
        over.store(true, Ordering::SeqCst);
        ends.into_iter().for_each(|end| end.unwrap());
        renamers.into_iter().map(|renamer| renamer.join().unwrap()).sum::<usize>()
    });
    whole(&imap.ok("NOOP"));
    assert_eq!(subjects(&mut imap), before, "after {renamed} renames");
    // What is on disk is what is shown, flags too.
    let flagged = fs::read_dir(&cur).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().split_once(":2,").unwrap().1.contains('F')
    });
    let flagged = flagged.count();
    eventually("the flags of the last renames", || {
        imap.ok("NOOP");
        let found = imap.one("UID SEARCH FLAGGED", "SEARCH");
        (found.split(' ').count() == flagged + 1).then_some(())
    });
    println!("{renamed} renames");
}

/// Makes a lock of a process on this host.
fn lock(maildir: &Path, process: u32) -> PathBuf {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let path = maildir.join("dovecot-uidlist.lock");
    fs::write(&path, format!("{process}:{}", host.trim())).unwrap();
    path
}

#[test]
#[ignore = "takes twenty seconds: another program keeps the lock"]
fn a_lock_that_is_kept_stops_writers_only_and_only_so_long() {
    let site = Site::new();
    let server = Server::start(&site);
    let (mut imap, mut smtp) = (server.imap("ann"), server.exchange());
    imap.append("INBOX", "", "Subject: one\r\n\r\nx\r\n");
    imap.ok("SELECT INBOX");
    let path = lock(&site.maildir("ann"), std::process::id());
    // Delivery needs no lock.
    smtp.expect("EHLO other.example", 250);
    smtp.deliver("a@other.example", &["ann@example.test"], "Subject: two\n\nx\n");
    // Neither does reading; only the new mail has to wait for its UID.
    let mut other = server.imap("ann");
    assert!(other.ok("SELECT INBOX").contains(&"1 EXISTS".to_owned()));
    assert_eq!(subjects(&mut other), BTreeMap::from([(1, "one".to_owned())]));
    let refusal = imap.refused("STORE 1 +FLAGS (\\Seen)");
    assert!(refusal.starts_with("NO [INUSE]"), "{refusal}");
    fs::remove_file(&path).unwrap();
    imap.ok("STORE 1 +FLAGS (\\Seen)");
    eventually("the new mail", || {
        other.ok("NOOP");
        (other.ok("UID SEARCH ALL") == ["SEARCH 1 2"]).then_some(())
    });
    // Its holder is dead: nobody has this number, which is above what Linux gives out.
    let path = lock(&site.maildir("ann"), 1 << 23);
    imap.ok("STORE 1 +FLAGS (\\Flagged)");
    assert!(!path.exists());
}

#[test]
fn a_torn_or_zeroed_end_of_the_uidlist_costs_no_uid_that_was_shown() {
    let site = Site::new();
    let mut server = Server::start(&site);
    let list = site.maildir("ann").join("dovecot-uidlist");
    let ends = [&b"1 :1700"[..], &[0; 4096], b"\0\0\0\x009 :late\n", b"9 :", b"100", b"4"];
    for (number, end) in ends.into_iter().enumerate() {
        let mut imap = server.imap("ann");
        imap.ok("SELECT INBOX");
        imap.append("INBOX", "(\\Seen) ", &format!("Subject: mail-{number}\r\n\r\nx\r\n"));
        let before = subjects(&mut imap);
        assert_eq!(before.len(), number + 1);
        let mut torn = fs::read(&list).unwrap();
        torn.extend_from_slice(end);
        fs::write(&list, &torn).unwrap();
        // Under the running server, and under one that starts.
        if number % 2 == 0 {
            server.stop();
            server = Server::start(&site);
            imap = server.imap("ann");
            imap.ok("SELECT INBOX");
        }
        imap.ok("STORE 1 +FLAGS (\\Flagged)");
        assert_eq!(subjects(&mut imap), before, "{end:?}");
        let (_, end) = imap.run("COPY 1 INBOX");
        assert!(end.starts_with("OK"), "{end}");
        imap.ok("NOOP");
        let copied = subjects(&mut imap);
        assert_eq!(copied.len(), number + 2);
        assert!(copied.keys().last() > before.keys().last());
        imap.ok("STORE * +FLAGS (\\Deleted)");
        imap.ok("EXPUNGE");
        let text = fs::read(&list).unwrap();
        assert!(!text.contains(&0) && text.ends_with(b"\n"), "{}", String::from_utf8_lossy(&text));
    }
}

/// A server in a user namespace of its own, where there are few watches.
fn start_with_few_watches(site: &Site, limits: &str) -> Server {
    let mut command = Command::new("unshare");
    command.args(["-Ur", "/bin/sh", "-c"]);
    command.arg(format!("{limits} && exec \"$0\" serve --config \"$1\""));
    command.arg(assert_cmd::cargo::cargo_bin("postier")).arg(site.config());
    Server::spawn(site, command)
}

#[test]
#[ignore = "needs unshare and the right to make a user namespace; waits for polls"]
fn without_watches_changes_are_seen_a_little_later() {
    for limits in [
        "echo 2 > /proc/sys/user/max_inotify_watches",
        "echo 0 > /proc/sys/user/max_inotify_watches",
        "echo 0 > /proc/sys/user/max_inotify_instances",
    ] {
        let site = Site::new();
        let server = start_with_few_watches(&site, limits);
        let mut idlers: Vec<Imap> = ["ann", "bob"].map(|user| server.imap(user)).into();
        for (imap, user) in idlers.iter_mut().zip(["ann", "bob"]) {
            imap.ok("SELECT INBOX");
            let tag = imap.idle();
            let maildir = site.maildir(user);
            fs::write(maildir.join("tmp/1700000000.1.other"), "Subject: by hand\n\nx\n").unwrap();
            fs::rename(maildir.join("tmp/1700000000.1.other"), maildir.join("new/1700000000.1.other"))
                .unwrap();
            imap.hear("* 1 EXISTS");
            imap.done(&tag);
        }
        server.stop();
    }
}
