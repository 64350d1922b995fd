//! A site in a directory of its own, the server that serves it, and clients that say exactly what a test says.

mod disk;
mod dovecot;
mod imap;
mod maildir;
mod run;
mod server;
mod site;
mod smtp;
mod wire;

use std::time::{Duration, Instant};

pub(crate) use disk::Disk;
pub(crate) use dovecot::Dovecot;
pub(crate) use imap::Imap;
pub(crate) use maildir::mail_in;
pub(crate) use run::{client, good, in_own_mounts, in_own_network, run_with, write_private};
pub(crate) use server::{Server, postier};
pub(crate) use site::{PASSWORD, Site};
pub(crate) use smtp::Smtp;
pub(crate) use wire::Wire;

/// What a working server never reaches, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Looks again until nothing is there.
pub(crate) fn none_left<T: std::fmt::Debug>(what: &str, mut look: impl FnMut() -> Vec<T>) {
    let begun = Instant::now();
    loop {
        let left = look();
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: after {PATIENCE:?} still {left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How long a test of endurance lasts: `POSTIER_SECONDS`, or what is usual.
pub(crate) fn seconds(usually: u64) -> Duration {
    let seconds = std::env::var("POSTIER_SECONDS").map_or(usually, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Numbers that look random and are the same each time (a linear congruence, its high bits).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}
