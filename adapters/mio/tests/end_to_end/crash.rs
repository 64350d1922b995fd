//! The server is killed in the middle of everything it can do, and the power of its disk is cut, again and again: what
//! it has acknowledged is there, once and whole; what it has not is there whole or not at all; what a client was shown
//! is never taken back; and what is for others reaches them.
//!
//! kill -9 does not test whether anything was synced, for the kernel keeps what was written. A power cut does: the file
//! system is a loop-mounted image that is shut down, which drops what was not synced (or, the other way, keeps the
//! journal without the data). That needs root: mounts live in a mount namespace of their own, in which the test runs
//! once more.
//!
//! `POSTIER_ROUNDS=50` makes more rounds than the few that every change is proved with.

use crate::harness::{Dice, Disk, Server, Site, in_own_mounts, mail_in};
use crate::ledger::Ledger;
use crate::load::load_until_cut;
use crate::sending::{Manner, Sink, lose_nothing, route};

fn rounds(usually: usize) -> usize {
    std::env::var("POSTIER_ROUNDS").map_or(usually, |rounds| rounds.parse().unwrap())
}

/// Every file that a reader sees is a whole mail.
fn whole(site: &Site) {
    for folder in ["ann", "bob", "ann/.Archive", "ann/.Sent"] {
        for mail in mail_in(&site.maildir(folder)) {
            let subject =
                mail.text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default();
            assert!(mail.text.ends_with(&format!("end of {subject}\n")), "{:?}: {}", mail.path, mail.text);
        }
    }
}

fn audit(ledger: &Ledger, server: &Server) {
    let mut ann = server.imap("ann");
    ledger.audit(&mut ann, &mut server.imap("bob"));
    ledger.tidy(&mut ann);
}

#[test]
#[ignore = "takes some ten seconds: the server is killed five times"]
fn kills_lose_no_acknowledged_change_and_double_none() {
    let (site, ledger, mut dice) = (Site::new(), Ledger::default(), Dice(7));
    let rounds = rounds(5);
    for round in 0..rounds {
        let server = Server::start(&site);
        audit(&ledger, &server);
        load_until_cut(server, &ledger, &format!("r{round}"), 40 + dice.roll(200), Server::kill);
        whole(&site);
    }
    audit(&ledger, &Server::start(&site));
    println!("{rounds} kills, {} acknowledged changes", ledger.acknowledged());
}

/// With `freeze`, the server stands still before the power is cut. Otherwise it runs on for a moment on a disk that is
/// gone: then also what the kernel is doing is cut short, but the file system must know how to fail.
fn power_cuts(make: &[&str], usually: usize, freeze: bool) {
    let (site, ledger, mut dice) = (Site::new(), Ledger::default(), Dice(11));
    let disk = Disk::new(&site, make, 512 << 20);
    // Everything that must survive lies on that disk.
    site.edit("postier.toml", "state = \"state\"", "state = \"mail/state\"");
    let rounds = rounds(usually);
    for round in 0..rounds {
        let server = Server::start(&site);
        audit(&ledger, &server);
        let acknowledged = 20 + dice.roll(200);
        load_until_cut(server, &ledger, &format!("r{round}"), acknowledged, |server| {
            if freeze {
                server.freeze();
            }
            disk.cut(2 - round % 2);
            server.kill();
        });
        disk.remount();
        whole(&site);
    }
    audit(&ledger, &Server::start(&site));
    println!("{rounds} power cuts, {} acknowledged changes", ledger.acknowledged());
}

#[test]
#[ignore = "needs root, a loop device and mkfs.ext4; cuts the power of its disk six times"]
fn power_cuts_of_ext4_take_nothing_back() {
    if in_own_mounts("crash::power_cuts_of_ext4_take_nothing_back") {
        power_cuts(&["mkfs.ext4", "-q", "-F"], 6, false);
    }
}

#[test]
#[ignore = "needs root, a loop device and mkfs.xfs; cuts the power of its disk twice"]
fn power_cuts_of_xfs_take_nothing_back() {
    if in_own_mounts("crash::power_cuts_of_xfs_take_nothing_back") {
        // After a shutdown XFS says that a directory is synced although what was to be synced is dropped.
        power_cuts(&["mkfs.xfs", "-q", "-f"], 2, true);
    }
}

#[test]
#[ignore = "needs root, a loop device and mkfs.ext4; cuts the power of its disk six times"]
fn power_cuts_of_ext4_lose_no_mail_for_others() {
    if !in_own_mounts("crash::power_cuts_of_ext4_lose_no_mail_for_others") {
        return;
    }
    let sink = Sink::start(Manner::Good);
    let site = Site::with(&format!("[queue]\nretry_seconds = 1\n{}", route("there.test", sink.port)));
    let disk = Disk::new(&site, &["mkfs.ext4", "-q", "-F"], 512 << 20);
    site.edit("postier.toml", "state = \"state\"", "state = \"mail/state\"");
    lose_nothing(&site, "mail/state", &sink, rounds(6), |round, server| {
        disk.cut(2 - round % 2);
        server.kill();
        disk.remount();
    });
}
