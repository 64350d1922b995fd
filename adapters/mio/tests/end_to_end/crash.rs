//! The server is killed in the middle of everything it can do, and the power of its disk is cut, again and again: what
//! it has acknowledged is there, once and whole; what it has not is there whole or not at all; what a client was shown
//! is never taken back.
//!
//! kill -9 does not test whether anything was synced, for the kernel keeps what was written. A power cut does: the file
//! system is a loop-mounted image that is shut down, which drops what was not synced (or, the other way, keeps the
//! journal without the data). That needs root: mounts live in a mount namespace of their own, in which the test runs
//! once more.
//!
//! `POSTIER_ROUNDS=50` makes more rounds than the few that every change is proved with.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Dice, Server, Site, eventually, good, in_own_mounts, mail_in};
use crate::ledger::Ledger;
use crate::load::load_until_cut;

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

#[test]
#[ignore = "takes some ten seconds: the server is killed five times"]
fn kills_lose_no_acknowledged_change_and_double_none() {
    let (site, ledger, mut dice) = (Site::new(), Ledger::default(), Dice(7));
    let rounds = rounds(5);
    for round in 0..rounds {
        let server = Server::start(&site);
        ledger.audit(&server);
        load_until_cut(server, &ledger, &format!("r{round}"), 40 + dice.roll(200), Server::kill);
        whole(&site);
    }
    ledger.audit(&Server::start(&site));
    println!("{rounds} kills, {} acknowledged changes", ledger.acknowledged());
}

/// An image of a file system, mounted where a site has its mail.
struct Disk {
    device: String,
    mount: PathBuf,
}

impl Disk {
    fn new(site: &Site, make: &[&str]) -> Self {
        let image = site.path("image");
        fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
        good(Command::new(make[0]).args(&make[1..]).arg(&image), "");
        let device = good(Command::new("losetup").args(["--find", "--show"]).arg(&image), "");
        let disk = Disk { device: device.trim().to_owned(), mount: site.path("mail") };
        fs::create_dir(&disk.mount).unwrap();
        disk.mount();
        disk
    }

    fn mount(&self) {
        good(Command::new("mount").arg(&self.device).arg(&self.mount), "");
    }

    /// FS_IOC_SHUTDOWN: with 2 what is not synced is lost; with 1 the journal is written, and data is lost.
    fn cut(&self, how: usize) {
        let program = "import fcntl, os, struct, sys\n\
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', int(sys.argv[2])))";
        good(Command::new("python3").args(["-c", program]).arg(&self.mount).arg(how.to_string()), "");
    }

    /// The machine is back.
    fn remount(&self) {
        eventually("nobody uses the disk", || {
            Command::new("umount").arg(&self.mount).status().unwrap().success().then_some(())
        });
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The mount goes with its namespace, the device does not.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).status();
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

fn power_cuts(make: &[&str], usually: usize) {
    let (site, ledger, mut dice) = (Site::new(), Ledger::default(), Dice(11));
    let disk = Disk::new(&site, make);
    // Everything that must survive lies on that disk.
    site.edit("postier.toml", "state = \"state\"", "state = \"mail/state\"");
    let rounds = rounds(usually);
    for round in 0..rounds {
        let server = Server::start(&site);
        ledger.audit(&server);
        let acknowledged = 20 + dice.roll(200);
        load_until_cut(server, &ledger, &format!("r{round}"), acknowledged, |server| {
            disk.cut(2 - round % 2);
            server.kill();
        });
        disk.remount();
        whole(&site);
    }
    ledger.audit(&Server::start(&site));
    println!("{rounds} power cuts, {} acknowledged changes", ledger.acknowledged());
}

#[test]
#[ignore = "needs root, a loop device and mkfs.ext4; cuts the power of its disk six times"]
fn power_cuts_of_ext4_take_nothing_back() {
    if in_own_mounts("crash::power_cuts_of_ext4_take_nothing_back") {
        power_cuts(&["mkfs.ext4", "-q", "-F"], 6);
    }
}

#[test]
#[ignore = "needs root, a loop device and mkfs.xfs; cuts the power of its disk twice"]
fn power_cuts_of_xfs_take_nothing_back() {
    if in_own_mounts("crash::power_cuts_of_xfs_take_nothing_back") {
        power_cuts(&["mkfs.xfs", "-q", "-f"], 2);
    }
}
