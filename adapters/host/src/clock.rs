//! The time as the core wants it: monotonic microseconds and the wall clock.
//!
//! ```
//! let (earlier, later) = (postier_host::clock::now(), postier_host::clock::now());
//! assert!(later.instant >= earlier.instant);
//! ```

use postier_core::machine::{Instant, Now, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// The time now. The monotonic part counts from the machine's start and goes on while it sleeps, so that a
/// laptop that was closed for a night finds its timeouts run out.
pub fn now() -> Now {
    let since_boot = clock_gettime(ClockId::Boottime);
    let wall = clock_gettime(ClockId::Realtime);
    let boot_secs = u64::try_from(since_boot.tv_sec).unwrap_or(0);
    let boot_micros = u64::try_from(since_boot.tv_nsec / 1000).unwrap_or(0);
    Now {
        instant: Instant::from_micros(boot_secs.saturating_mul(1_000_000).saturating_add(boot_micros)),
        wall: WallTime { secs: wall.tv_sec, micros: u32::try_from(wall.tv_nsec / 1000).unwrap_or(0) },
    }
}
