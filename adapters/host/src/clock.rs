//! The time as the core wants it: monotonic microseconds and the wall clock.
//!
//! ```
//! let (earlier, later) = (postier_host::clock::now(), postier_host::clock::now());
//! assert!(later.instant >= earlier.instant);
//! ```

use postier_core::machine::{Instant, Now, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// The time as the file system has it: as [`now`], but the wall clock is the one by which the kernel stamps files and
/// directories, which goes on only with its ticks and may stand still for a while on a busy virtual machine. A directory
/// that is changed after this never bears an earlier time, which is what makes a scan a proof.
pub fn file_time() -> Now {
    Now { wall: wall(ClockId::RealtimeCoarse), ..now() }
}

/// The time now. The monotonic part counts from the machine's start and goes on while it sleeps, so that a
/// laptop that was closed for a night finds its timeouts run out.
pub fn now() -> Now {
    let since_boot = clock_gettime(ClockId::Boottime);
    let boot_secs = u64::try_from(since_boot.tv_sec).unwrap_or(0);
    let boot_micros = u64::try_from(since_boot.tv_nsec / 1000).unwrap_or(0);
    Now {
        instant: Instant::from_micros(boot_secs.saturating_mul(1_000_000).saturating_add(boot_micros)),
        wall: wall(ClockId::Realtime),
    }
}

fn wall(clock: ClockId) -> WallTime {
    let wall = clock_gettime(clock);
    WallTime { secs: wall.tv_sec, micros: u32::try_from(wall.tv_nsec / 1000).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_changes_after_a_file_time_bears_no_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..300 {
            let before = file_time().wall;
            fs::write(dir.path().join(number.to_string()), "").unwrap();
            let changed = fs::metadata(dir.path()).unwrap();
            let changed = WallTime {
                secs: changed.mtime(),
                micros: u32::try_from(changed.mtime_nsec() / 1000).unwrap(),
            };
            assert!(changed >= before, "{changed:?} is before {before:?}");
        }
    }
}
