//! `dovecot-uidlist.lock`: what stands in it, and when it is stale.
//!
//! The lock is a file that only one program can create. It says `<pid>:<hostname>`. Its holder touches it
//! every [`TOUCH_SECONDS`] at least and removes it when done, never anybody else's. A program that dies
//! leaves it behind: so the one who waits must know when nobody holds it any more. [`verdict`] decides that
//! from facts alone, and asks for a second look where a fact is missing.
//!
//! A lock is removed only after the same content was seen twice, for between the look and the removal another
//! program may have replaced a stale lock with its own: the caller does that.

use super::{decimal, push_decimal};
use alloc::vec::Vec;
use core::time::Duration;

/// A holder touches its lock at least this often, in seconds.
pub const TOUCH_SECONDS: u64 = 10;
/// A lock untouched for this long is stale, whoever holds it, unless the list itself has changed since.
pub const STALE_AFTER: Duration = Duration::from_secs(120);
/// A lock younger than this is held: its content may not be written yet.
pub const PID_CHECK_AFTER: Duration = Duration::from_secs(2);
/// A lock that is empty for longer than this is stale: whoever creates one writes its name into it at once, so
/// its creator died in between. Well below the time that a writer waits.
pub const EMPTY_STALE_AFTER: Duration = Duration::from_secs(5);
/// The most bytes of a lock file that say something; what is longer names nobody.
pub const CONTENT_BYTES_MAX: usize = 512;

/// Who holds a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder<'a> {
    /// The process number, not 0.
    pub pid: u32,
    /// The host name, not empty.
    pub host: &'a [u8],
}

impl<'a> Holder<'a> {
    /// Reads the content of a lock file; `None` if it names nobody (empty, half written, another format).
    pub fn parse(content: &'a [u8]) -> Option<Holder<'a>> {
        if content.len() > CONTENT_BYTES_MAX {
            return None;
        }
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let (pid, host) = content.split_at_checked(memchr::memchr(b':', content)?)?;
        let pid = u32::try_from(decimal(pid)?).ok().filter(|&pid| pid != 0)?;
        let host = host.get(1..).filter(|host| !host.is_empty() && !host.contains(&0))?;
        Some(Holder { pid, host })
    }

    /// The content of a lock file that this holder writes.
    pub fn to_content(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.host.len() + 12);
        push_decimal(&mut out, u64::from(self.pid));
        out.push(b':');
        out.extend_from_slice(self.host);
        out
    }
}

/// What is known about a lock that somebody else created. Ages are by the clock of the file system as far as
/// possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts<'a> {
    /// The content of the lock file.
    pub content: &'a [u8],
    /// Time since the last change of the lock file (the younger of its modification and status times).
    pub lock_age: Duration,
    /// The same for the file that it protects; `None` if there is no such file.
    pub protected_age: Option<Duration>,
    /// Who we are.
    pub us: Holder<'a>,
    /// Time since our process started.
    pub process_age: Duration,
    /// Time since the machine booted; `None` if unknown.
    pub boot_age: Option<Duration>,
    /// Whether the process that the content names exists on this machine; `None` if nobody has looked. Only
    /// asked for holders on our host.
    pub holder_alive: Option<bool>,
}

/// What to do about a lock.
///
/// ```
/// use core::time::Duration;
/// use postier_core::maildir::lock::{verdict, Facts, Holder, Verdict};
/// let us = Holder { pid: 7, host: b"mx" };
/// let facts = Facts {
///     content: b"99:mx", lock_age: Duration::from_secs(3), protected_age: None, us,
///     process_age: Duration::from_secs(60), boot_age: None, holder_alive: Some(false),
/// };
/// assert_eq!(verdict(&facts), Verdict::Stale);
/// assert!(matches!(verdict(&Facts { holder_alive: Some(true), ..facts }), Verdict::Held { .. }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Somebody holds it: look again after this time at the latest.
    Held {
        /// When the verdict can change without a change of the file.
        recheck: Duration,
    },
    /// Ask whether this process exists on this machine, then ask for a verdict again.
    CheckPid(u32),
    /// Nobody holds it: it may be removed.
    Stale,
}

/// The longest time between two looks at a held lock.
const RECHECK_MAX: Duration = Duration::from_secs(3);

/// Decides whether a lock is stale.
///
/// - Older than the boot, by a process of this machine or by nobody: stale, whatever its process number,
///   which another process may
///   have today.
/// - By our own process number but older than our process: the process before us left it. (A container has
///   the same
///   number and host name in each life.)
/// - Empty, or zeros as a power cut leaves them, and older than [`EMPTY_STALE_AFTER`]: stale.
/// - By a process of this machine that does not exist, and older than [`PID_CHECK_AFTER`]: stale.
/// - Neither it nor the protected file changed for [`STALE_AFTER`]: stale.
pub fn verdict(facts: &Facts<'_>) -> Verdict {
    let holder = Holder::parse(facts.content);
    let ours = holder.is_some_and(|holder| holder.host == facts.us.host);
    let before_boot = facts.boot_age.is_some_and(|boot| facts.lock_age > boot);
    if before_boot && (ours || holder.is_none()) {
        return Verdict::Stale;
    }
    if facts.content.iter().all(|byte| *byte == 0) {
        return match EMPTY_STALE_AFTER.checked_sub(facts.lock_age) {
            Some(left) => Verdict::Held { recheck: (left + Duration::from_millis(1)).min(RECHECK_MAX) },
            None => Verdict::Stale,
        };
    }
    let unchanged = facts.protected_age.map_or(facts.lock_age, |age| age.min(facts.lock_age));
    if unchanged > STALE_AFTER {
        return Verdict::Stale;
    }
    let stale_in = STALE_AFTER.saturating_sub(unchanged) + Duration::from_millis(1);
    let held = Verdict::Held { recheck: stale_in.min(RECHECK_MAX) };
    let Some(holder) = holder.filter(|_| ours) else { return held };
    if facts.lock_age <= PID_CHECK_AFTER {
        let checkable_in = PID_CHECK_AFTER.saturating_sub(facts.lock_age) + Duration::from_millis(1);
        return Verdict::Held { recheck: checkable_in };
    }
    if holder.pid == facts.us.pid {
        return if facts.lock_age > facts.process_age { Verdict::Stale } else { held };
    }
    match facts.holder_alive {
        Some(true) => held,
        Some(false) => Verdict::Stale,
        None => Verdict::CheckPid(holder.pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const FACTS: Facts<'static> = Facts {
        content: b"99:mx",
        lock_age: seconds(5),
        protected_age: Some(seconds(500)),
        us: Holder { pid: 7, host: b"mx" },
        process_age: seconds(600),
        boot_age: Some(seconds(1000)),
        holder_alive: None,
    };
    const HELD: Verdict = Verdict::Held { recheck: RECHECK_MAX };

    #[test]
    fn a_holder_on_our_host_is_looked_up() {
        assert_eq!(verdict(&FACTS), Verdict::CheckPid(99));
        assert_eq!(verdict(&Facts { holder_alive: Some(true), ..FACTS }), HELD);
        assert_eq!(verdict(&Facts { holder_alive: Some(false), ..FACTS }), Verdict::Stale);
    }

    #[test]
    fn a_young_lock_is_held_until_its_holder_can_be_looked_up() {
        let young = Facts { lock_age: Duration::from_millis(1500), holder_alive: Some(false), ..FACTS };
        assert_eq!(verdict(&young), Verdict::Held { recheck: Duration::from_millis(501) });
        assert_eq!(verdict(&Facts { lock_age: Duration::from_millis(2001), ..young }), Verdict::Stale);
    }

    #[test]
    fn a_foreign_holder_or_none_is_judged_by_time_alone() {
        for content in [&b"99:other"[..], b"garbage", b"0:mx"] {
            let facts = Facts { content, holder_alive: Some(false), ..FACTS };
            assert_eq!(verdict(&facts), HELD);
            assert_eq!(verdict(&Facts { lock_age: seconds(121), ..facts }), Verdict::Stale);
            let changing = Facts { lock_age: seconds(121), protected_age: Some(seconds(1)), ..facts };
            assert_eq!(verdict(&changing), HELD);
            let soon = Facts { lock_age: seconds(119), ..facts };
            assert_eq!(verdict(&soon), Verdict::Held { recheck: Duration::from_millis(1001) });
        }
    }

    #[test]
    fn a_lock_older_than_the_boot_is_stale_whatever_its_process() {
        let before = Facts { boot_age: Some(seconds(4)), holder_alive: Some(true), ..FACTS };
        assert_eq!(verdict(&before), Verdict::Stale);
        assert_eq!(verdict(&Facts { content: b"", ..before }), Verdict::Stale);
        assert_eq!(verdict(&Facts { content: b"99:other", ..before }), HELD);
    }

    #[test]
    fn an_empty_lock_is_held_for_as_long_as_its_creator_may_take_to_write() {
        let empty = Facts { content: b"", ..FACTS };
        assert_eq!(verdict(&Facts { lock_age: seconds(1), ..empty }), HELD);
        let soon = Facts { lock_age: seconds(4), protected_age: Some(seconds(0)), ..empty };
        assert_eq!(verdict(&soon), Verdict::Held { recheck: Duration::from_millis(1001) });
        assert_eq!(verdict(&Facts { lock_age: Duration::from_millis(5001), ..soon }), Verdict::Stale);
        let zeros = Facts { content: b"\0\0\0\0", lock_age: Duration::from_millis(5001), ..soon };
        assert_eq!(verdict(&zeros), Verdict::Stale);
    }

    #[test]
    fn our_own_number_from_a_former_life_is_stale() {
        let former = Facts { content: b"7:mx", process_age: seconds(4), ..FACTS };
        assert_eq!(verdict(&former), Verdict::Stale);
        assert_eq!(verdict(&Facts { process_age: seconds(6), ..former }), HELD);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(pid in 1u32.., host in "[!-~]{1,80}") {
            let holder = Holder { pid, host: host.as_bytes() };
            let content = holder.to_content();
            prop_assert_eq!(Holder::parse(&content), Some(holder));
        }

        #[test]
        fn a_verdict_never_asks_twice_nor_waits_for_nothing(content in "[0-9]{0,3}:?[a-z]{0,2}", lock: u16, list: u16, life: u16, boot: u16, alive: bool) {
            let facts = Facts {
                content: content.as_bytes(), lock_age: Duration::from_millis(lock.into()), protected_age: Some(seconds(list.into())),
                us: Holder { pid: 7, host: b"mx" }, process_age: seconds(life.into()), boot_age: Some(seconds(boot.into())),
                holder_alive: Some(alive),
            };
            match verdict(&facts) {
                Verdict::Held { recheck } => prop_assert!(recheck > Duration::ZERO && recheck <= RECHECK_MAX),
                Verdict::CheckPid(_) => prop_assert!(false, "asked again"),
                Verdict::Stale => {}
            }
        }
    }
}
