//! Holding `dovecot-uidlist.lock`: taken, kept fresh, given back; no other program renames or numbers
//! messages meanwhile.
//!
//! What is in the file and when one of somebody else is stale is said by [`super::lock`]; here are the moves:
//! create it exclusively, or look who has it; wait in small steps, never longer than allowed; remove a stale
//! one after a second look has found it unchanged.

use super::context::{At, StoreContext, StoreError, StoreErrorKind, wall_ns};
use super::listing::FUTURE_NS;
use super::lock::{self, Facts, Verdict};
use super::mailbox::Stamp;
use crate::disk::{Disk, Errno, Handle, Stat};
use crate::machine::{Instant, Now, WallTime};
use alloc::vec::Vec;
use core::time::Duration;

const LOCK_NAME: &[u8] = b"dovecot-uidlist.lock";
const LIST_NAME: &[u8] = b"dovecot-uidlist";

/// The longest sleep between two attempts.
const STEP: Duration = Duration::from_millis(50);
/// A lock older than this is touched when its holder says that it still works; half of what others rely on.
const TOUCH_AFTER: Duration = Duration::from_secs(lock::TOUCH_SECONDS / 2);

/// The lock of one mailbox, held. [`UidlistLock::release`] must be called on every way out.
#[derive(Debug)]
pub(super) struct UidlistLock {
    mailbox: Handle,
    touched: Instant,
}

impl UidlistLock {
    /// Takes the lock of a mailbox, waiting for `wait` at most.
    ///
    /// # Errors
    /// Busy when somebody else keeps it; Access, ReadOnly and the like when it cannot be created.
    pub(super) async fn take(
        disk: &Disk,
        context: &StoreContext,
        mailbox: Handle,
        wait: Duration,
    ) -> Result<UidlistLock, StoreError> {
        let start = disk.now().await.instant;
        loop {
            match disk.create(mailbox, LOCK_NAME).await {
                Ok(file) => return UidlistLock::created(disk, context, mailbox, file).await,
                Err(Errno::Exists) => {}
                Err(errno) => return Err(errno).at(LOCK_NAME),
            }
            let pause = match inspect(disk, context, mailbox).await? {
                Some(pause) => pause.min(STEP),
                None => continue,
            };
            if disk.now().await.instant.since(start) >= wait {
                return Err(StoreError::new(StoreErrorKind::Busy, LOCK_NAME));
            }
            disk.wait(pause).await;
        }
    }

    async fn created(
        disk: &Disk,
        context: &StoreContext,
        mailbox: Handle,
        file: Handle,
    ) -> Result<UidlistLock, StoreError> {
        let written = disk.write(file, context.holder().to_content()).await;
        disk.close(file).await;
        if let Err(errno) = written {
            let _ = disk.unlink(mailbox, LOCK_NAME).await;
            return Err(errno).at(LOCK_NAME);
        }
        Ok(UidlistLock { mailbox, touched: disk.now().await.instant })
    }

    /// Tells others that we still work, if it is time to. Long operations call it every few dozen files.
    pub(super) async fn refresh(&mut self, disk: &Disk) {
        let now = disk.now().await;
        if now.instant.since(self.touched) >= TOUCH_AFTER {
            let _ = disk.set_time(self.mailbox, LOCK_NAME, wall_ns(now.wall)).await;
            self.touched = now.instant;
        }
    }

    /// Gives the lock back. If we have been stuck for so long that others may have thought us dead, only our
    /// own file is removed. One that cannot be removed is remembered: our next operation tries again, and does not
    /// wait for a holder who lives, but holds nothing.
    pub(super) async fn release(self, disk: &Disk, context: &StoreContext) {
        let now = disk.now().await.instant;
        if now.since(self.touched) > lock::STALE_AFTER {
            let content = disk.read_file(self.mailbox, LOCK_NAME, lock::CONTENT_BYTES_MAX).await;
            if content.map(|(content, _)| content) != Ok(context.holder().to_content()) {
                return;
            }
        }
        if !matches!(disk.unlink(self.mailbox, LOCK_NAME).await, Ok(()) | Err(Errno::NotFound))
            && let Ok(lock) = disk.stat(self.mailbox, LOCK_NAME).await
        {
            context.leave_lock(&lock);
        }
    }
}

/// Looks at a lock that somebody else created: how long to wait before the next attempt, `None` for at once.
async fn inspect(
    disk: &Disk,
    context: &StoreContext,
    mailbox: Handle,
) -> Result<Option<Duration>, StoreError> {
    let Some(seen) = read(disk, mailbox).await? else { return Ok(None) };
    let protected = match disk.stat(mailbox, LIST_NAME).await {
        Ok(stat) => Some(stat),
        Err(Errno::NotFound) => None,
        Err(errno) => return Err(errno).at(LIST_NAME),
    };
    let now = disk.now().await;
    let mut holder_alive = None;
    let mut dead = seen.0 == context.holder().to_content() && context.has_left_lock(&seen.1);
    while !dead {
        let facts = facts(context, now, &seen, protected.as_ref(), holder_alive);
        match lock::verdict(&facts) {
            Verdict::Held { recheck } => return Ok(Some(recheck)),
            Verdict::CheckPid(pid) => holder_alive = Some(disk.process_alive(pid).await),
            Verdict::Stale => dead = true,
        }
    }
    // The second look: somebody may have removed the stale lock and taken it since.
    match read(disk, mailbox).await? {
        Some(again) if again.0 == seen.0 && Stamp::of(&again.1) == Stamp::of(&seen.1) => {}
        Some(_) | None => return Ok(None),
    }
    match disk.unlink(mailbox, LOCK_NAME).await {
        Ok(()) | Err(Errno::NotFound) => {
            context.forget_lock(&seen.1);
            Ok(None)
        }
        Err(errno) => Err(errno).at(LOCK_NAME),
    }
}

async fn read(disk: &Disk, mailbox: Handle) -> Result<Option<(Vec<u8>, Stat)>, StoreError> {
    match disk.read_file(mailbox, LOCK_NAME, lock::CONTENT_BYTES_MAX + 1).await {
        Ok(read) => Ok(Some(read)),
        Err(Errno::NotFound) => Ok(None),
        Err(errno) => Err(errno).at(LOCK_NAME),
    }
}

fn facts<'a>(
    context: &'a StoreContext,
    now: Now,
    seen: &'a (Vec<u8>, Stat),
    protected: Option<&Stat>,
    holder_alive: Option<bool>,
) -> Facts<'a> {
    let age = |changed_ns: i64| {
        let age = wall_ns(now.wall).saturating_sub(changed_ns);
        Duration::from_nanos(u64::try_from(age).unwrap_or(0))
    };
    let changed = |stat: &Stat| age(stat.mtime_ns.max(stat.ctime_ns));
    let since = |time: WallTime| age(wall_ns(time));
    let process_age = since(context.facts().started);
    // Of a lock from the time before the clock was set back nothing is known but that it is not young. So its holder is
    // looked up, and one with our own number is from a former life.
    let lock_changed = seen.1.mtime_ns.max(seen.1.ctime_ns);
    let from_the_future = lock_changed.saturating_sub(wall_ns(now.wall)) > FUTURE_NS;
    let not_young = lock::EMPTY_STALE_AFTER.max(process_age) + Duration::from_millis(1);
    Facts {
        content: &seen.0,
        lock_age: if from_the_future { not_young } else { age(lock_changed) },
        protected_age: protected.map(changed),
        us: context.holder(),
        process_age,
        boot_age: context.facts().booted.map(since),
        holder_alive,
    }
}

#[cfg(test)]
mod tests {
    use super::super::memdisk::{MemDisk, context, root};
    use super::super::scope::Scope;
    use super::*;
    use alloc::sync::Arc;

    fn take_and_release(disk: &mut MemDisk) -> Result<(), StoreError> {
        take_and_release_in(disk, Arc::new(context()))
    }

    fn take_and_release_in(disk: &mut MemDisk, context: Arc<StoreContext>) -> Result<(), StoreError> {
        let run = disk.run(Vec::new(), move |disk| async move {
            let mut scope = Scope::new(disk.clone());
            let mailbox = scope.open_root(&root()).await?;
            let taken = UidlistLock::take(&disk, &context, mailbox, context.lock_wait).await;
            let result = match taken {
                Ok(lock) => {
                    lock.release(&disk, &context).await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            scope.finish().await;
            result
        });
        run.expect("no crash here")
    }

    #[test]
    fn a_free_lock_is_taken_and_given_back() {
        let mut disk = MemDisk::with_maildir();
        disk.before = Some((2, |disk| assert_eq!(disk.read("/m/dovecot-uidlist.lock").unwrap(), b"")));
        assert_eq!(take_and_release(&mut disk), Ok(()));
        assert!(disk.read("/m/dovecot-uidlist.lock").is_none());
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over_after_two_seconds() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/dovecot-uidlist.lock", b"99:mx");
        let start = disk.now().instant;
        assert_eq!(take_and_release(&mut disk), Ok(()));
        let waited = disk.now().instant.since(start);
        assert!((2000..2200).contains(&waited.as_millis()), "{waited:?}");
    }

    #[test]
    fn a_lock_whose_creator_died_before_it_wrote_its_name_is_taken_over() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/dovecot-uidlist.lock", b"");
        let start = disk.now().instant;
        assert_eq!(take_and_release(&mut disk), Ok(()));
        let waited = disk.now().instant.since(start);
        assert!((5000..5200).contains(&waited.as_millis()), "{waited:?}");
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over_although_the_clock_was_set_back() {
        // To before our process began, or to some time after that.
        for seconds in [100_000, 900] {
            for content in [&b"99:mx"[..], b"7:mx", b"\0\0\0\0\0"] {
                let mut disk = MemDisk::with_maildir();
                disk.put_file("/m/dovecot-uidlist.lock", content);
                disk.clock_behind = seconds;
                assert_eq!(take_and_release(&mut disk), Ok(()), "{content:?}");
            }
        }
    }

    #[test]
    fn a_lock_of_ours_that_could_not_be_removed_holds_nobody_up() {
        let mut disk = MemDisk::with_maildir();
        disk.alive.push(7);
        let context = Arc::new(context());
        let take = |disk: &mut MemDisk| take_and_release_in(disk, context.clone());
        // Operations: open, create, write, unlink.
        disk.fail_at = Some((3, Errno::Io));
        assert_eq!(take(&mut disk), Ok(()));
        disk.fail_at = None;
        assert_eq!(disk.read("/m/dovecot-uidlist.lock").unwrap(), b"7:mx");
        let start = disk.now().instant;
        assert_eq!(take(&mut disk), Ok(()));
        assert!(disk.now().instant.since(start).as_millis() < 10);
        assert!(disk.read("/m/dovecot-uidlist.lock").is_none());
        // One that was taken since is held, whoever has it.
        disk.fail_at = Some((3, Errno::Io));
        assert_eq!(take(&mut disk), Ok(()));
        disk.fail_at = None;
        disk.advance(1_000_000);
        disk.put_file("/m/dovecot-uidlist.lock", b"7:mx");
        assert_eq!(take(&mut disk).unwrap_err().kind, StoreErrorKind::Busy);
    }

    #[test]
    fn a_living_holder_is_waited_for_but_not_for_ever() {
        let mut disk = MemDisk::with_maildir();
        disk.alive.push(99);
        disk.put_file("/m/dovecot-uidlist.lock", b"99:mx");
        let start = disk.now().instant;
        assert_eq!(take_and_release(&mut disk).unwrap_err().kind, StoreErrorKind::Busy);
        assert_eq!(disk.now().instant.since(start).as_secs(), 15);
        assert_eq!(disk.read("/m/dovecot-uidlist.lock").unwrap(), b"99:mx");
        disk.before = Some((disk.ops / 2, |disk| disk.remove_file("/m/dovecot-uidlist.lock")));
        assert_eq!(take_and_release(&mut disk), Ok(()));
    }

    #[test]
    fn a_lock_from_our_former_life_with_the_same_number_is_stale() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/dovecot-uidlist.lock", b"7:mx");
        disk.set_mtime("/m/dovecot-uidlist.lock", 1_699_990_000_000_000_000);
        let start = disk.now().instant;
        assert_eq!(take_and_release(&mut disk), Ok(()));
        assert!(disk.now().instant.since(start).as_millis() < 100);
    }

    #[test]
    fn a_stale_lock_that_somebody_renews_between_the_looks_is_theirs() {
        let mut disk = MemDisk::with_maildir();
        disk.alive.push(98);
        disk.put_file("/m/dovecot-uidlist.lock", b"99:mx");
        disk.advance(3_000_000);
        // Operations: open, create, read, stat, read again.
        disk.before = Some((4, |disk| disk.put_file("/m/dovecot-uidlist.lock", b"98:mx")));
        assert_eq!(take_and_release(&mut disk).unwrap_err().kind, StoreErrorKind::Busy);
        assert_eq!(disk.read("/m/dovecot-uidlist.lock").unwrap(), b"98:mx");
    }
}
