//! When to try again, when to say that it takes long, when to give up.
//!
//! The first pauses are short, for greylisting servers open up after minutes; later ones grow, for what is down for a
//! day does not come back within minutes. Each pause is spread by up to an eighth, so that the mails of one morning do not
//! knock at the same second for four days.
//!
//! ```
//! use postier_core::queue::law::Law;
//! let law = Law::default();
//! let pauses: Vec<u64> = (1..=8).map(|attempts| law.pause(attempts, 0).as_secs() / 60).collect();
//! assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 240, 240]);
//! ```

use core::time::Duration;

/// How patient the queue is (RFC 5321 §4.5.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Law {
    /// Before the second try.
    pub first_pause: Duration,
    /// The pause doubles up to this.
    pub longest_pause: Duration,
    /// A message older than this that still waits is given up.
    pub lifetime: Duration,
    /// A notice to `<>`, a bounce, is given up earlier: nobody waits for it.
    pub bounce_lifetime: Duration,
    /// After this long the sender is told that it takes long; once.
    pub delay_notice: Duration,
}

impl Default for Law {
    fn default() -> Self {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        Law {
            first_pause: Duration::from_secs(300),
            longest_pause: hours(4),
            lifetime: hours(4 * 24),
            bounce_lifetime: hours(24),
            delay_notice: hours(4),
        }
    }
}

impl Law {
    /// The pause after so many tries (from 1). `spread` is any number; it decides the last eighth.
    pub fn pause(&self, attempts: u32, spread: u64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let pause = self.first_pause.saturating_mul(1 << doublings).min(self.longest_pause);
        let eighth = u64::try_from(pause.as_micros() / 8).unwrap_or(u64::MAX);
        pause.saturating_add(Duration::from_micros(match eighth {
            0 => 0,
            eighth => spread % eighth,
        }))
    }

    /// Whether a message that arrived then is too old to be tried again. Times in seconds since 1970.
    pub fn is_over(&self, arrived: i64, now: i64, bounce: bool) -> bool {
        let lifetime = if bounce { self.bounce_lifetime.min(self.lifetime) } else { self.lifetime };
        age(arrived, now) >= lifetime
    }

    /// Whether the sender is to be told that it takes long.
    pub fn is_late(&self, arrived: i64, now: i64) -> bool {
        age(arrived, now) >= self.delay_notice
    }
}

/// A clock that was set back makes nothing older or younger than new.
fn age(arrived: i64, now: i64) -> Duration {
    Duration::from_secs(u64::try_from(now.saturating_sub(arrived)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_and_bounded() {
        let law = Law::default();
        for attempts in [1, 2, 7, 50, u32::MAX] {
            let least = law.pause(attempts, 0);
            for spread in [1, 999_999_937, u64::MAX] {
                let pause = law.pause(attempts, spread);
                assert!(pause >= least && pause <= least + least / 8, "{attempts} {spread}");
            }
        }
        let impatient = Law { first_pause: Duration::ZERO, ..law };
        assert_eq!(impatient.pause(3, 7), Duration::ZERO);
    }

    #[test]
    fn ages_count_from_the_arrival() {
        let law = Law::default();
        let day = 24 * 3600;
        assert!(!law.is_over(1000, 1000 + 4 * day - 1, false) && law.is_over(1000, 1000 + 4 * day, false));
        assert!(law.is_over(1000, 1000 + day, true));
        assert!(!law.is_late(1000, 0), "the clock was set back");
        assert!(law.is_late(0, 4 * 3600));
    }
}
