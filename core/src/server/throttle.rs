//! Who may try a password, and when: failed logins slow down what comes from the same address and what is meant for
//! the same account.
//!
//! * An address (an IPv6 /64) that has failed a few times waits before its next attempt is looked at: a second, then
//!   two, four and so on up to [`LoginLimits::delay_max`]. Its attempts are looked at one after the other, so that many
//!   connections gain nothing; who would wait longer than [`LoginLimits::wait_max`] is refused at once.
//! * An account that others fail to get into costs everybody who comes from somewhere else a delay, too, but never more
//!   than [`LoginLimits::account_delay_max`]: whoever attacks an account cannot lock its owner out.
//! * Where an account has logged in before, only failures of that account at that address count. So somebody's old
//!   telephone does not slow down the rest of the house, nor an attack on the account its owner at home.
//!
//! Whether a name is an account's makes no difference. A success forgives nothing but itself: else an attacker with an
//! account would log into it between two guesses.
//!
//! ```
//! use postier_core::limits::LoginLimits;
//! use postier_core::machine::Instant;
//! use postier_core::server::throttle::{Throttle, Who};
//! let (mut throttle, limits, now) = (Throttle::default(), LoginLimits::default(), Instant::default());
//! let who = Who::new([192, 0, 2, 1].into(), b"ann@example.org");
//! for _ in 0..limits.free {
//!     assert_eq!(throttle.admit(now, &who, &limits), Some(now));
//!     throttle.failed(now, &who, &limits);
//! }
//! assert!(throttle.admit(now, &who, &limits) > Some(now));
//! ```

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::net::IpAddr;
use core::time::Duration;

use super::gate::network;
use crate::limits::LoginLimits;
use crate::machine::Instant;

/// Addresses and accounts that have failed, and as many places where somebody has logged in: 100 octets each, and the
/// name.
pub const RECORDS_MAX: usize = 16_384;
/// A longer name is no account's; it is not worth being remembered.
const NAME_BYTES_MAX: usize = 320;
/// Attempts of one address that may be looked at at the same time before they count as failed.
const AT_ONCE: u32 = 8;
/// Failures after which a place where somebody has logged in is one like any other.
const KNOWN_FAILURES_MAX: u32 = 16;
/// The first delay; each failure doubles it.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Who tries to log in as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    network: IpAddr,
    name: Arc<[u8]>,
}

impl Who {
    /// `name` is the address the login means ([`Site::address_of_login`](crate::site::Site::address_of_login)).
    pub fn new(peer: IpAddr, name: &[u8]) -> Self {
        let name = if name.len() > NAME_BYTES_MAX { b"" } else { name };
        Who { network: network(peer), name: name.into() }
    }

    /// The address that the login means; empty for one that is longer than any.
    pub fn name(&self) -> Arc<[u8]> {
        self.name.clone()
    }
}

/// What failed logins have cost so far.
#[derive(Debug, Default)]
pub struct Throttle {
    failed: Table<Source>,
    known: Table<(IpAddr, Arc<[u8]>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Network(IpAddr),
    Account(Arc<[u8]>),
}

impl Throttle {
    /// When this attempt is to be looked at, `now` at the earliest; `None`: not at all. Every attempt that is admitted
    /// ends with one of the other three.
    pub fn admit(&mut self, now: Instant, who: &Who, limits: &LoginLimits) -> Option<Instant> {
        let Who { network, name } = who;
        if let Some(known) = self.known.find(&(*network, name.clone()), now, limits) {
            return known.reserve(now, now, limits);
        }
        let account = self.failed.find(&Source::Account(name.clone()), now, limits);
        let failures = account.map_or(0, |account| account.failures);
        let delay = delay(failures, limits).min(limits.account_delay_max);
        self.failed.entry(Source::Network(*network), now, limits).reserve(now, now.plus(delay), limits)
    }

    /// The attempt was wrong.
    pub fn failed(&mut self, now: Instant, who: &Who, limits: &LoginLimits) {
        let Who { network, name } = who;
        let pair = (*network, name.clone());
        if let Some(known) = self.known.find(&pair, now, limits) {
            known.fail();
            if known.failures >= KNOWN_FAILURES_MAX {
                self.known.remove(&pair);
            }
            return;
        }
        self.failed.entry(Source::Network(*network), now, limits).fail();
        if !name.is_empty() {
            self.failed.entry(Source::Account(name.clone()), now, limits).failures += 1;
        }
    }

    /// The attempt was right.
    pub fn succeeded(&mut self, now: Instant, who: &Who, limits: &LoginLimits) {
        self.abandoned(who);
        let known = self.known.entry((who.network, who.name.clone()), now, limits);
        known.failures = 0;
    }

    /// Nobody waits for the attempt any more, or it could not be looked at.
    pub fn abandoned(&mut self, who: &Who) {
        if let Some(record) = self.known.records.get_mut(&(who.network, who.name.clone())) {
            record.pending = record.pending.saturating_sub(1);
        } else if let Some(record) = self.failed.records.get_mut(&Source::Network(who.network)) {
            record.pending = record.pending.saturating_sub(1);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    /// Attempts under way.
    pending: u32,
    /// When the next one may be looked at.
    next: Instant,
    /// When there was anything last.
    touched: Instant,
}

impl Record {
    fn reserve(&mut self, now: Instant, earliest: Instant, limits: &LoginLimits) -> Option<Instant> {
        let turn = self.next.max(earliest);
        if turn > now.plus(limits.wait_max) {
            return None;
        }
        let failures = self.failures.saturating_add(self.pending.saturating_sub(AT_ONCE));
        self.next = turn.plus(delay(failures, limits));
        self.pending += 1;
        Some(turn)
    }

    fn fail(&mut self) {
        self.pending = self.pending.saturating_sub(1);
        self.failures = self.failures.saturating_add(1);
    }
}

/// The pause after this many failures.
fn delay(failures: u32, limits: &LoginLimits) -> Duration {
    match failures.checked_sub(limits.free) {
        None => Duration::ZERO,
        Some(more) => (FIRST_DELAY * (1 << more.min(16))).min(limits.delay_max),
    }
}

/// Records, of which the ones touched longest ago make room.
#[derive(Debug)]
struct Table<K> {
    records: BTreeMap<K, Record>,
    by_age: BTreeSet<(Instant, K)>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Table { records: BTreeMap::new(), by_age: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Table<K> {
    /// The record, if it is there and not too old to matter.
    fn find(&mut self, key: &K, now: Instant, limits: &LoginLimits) -> Option<&mut Record> {
        let record = self.records.get_mut(key)?;
        self.by_age.remove(&(record.touched, key.clone()));
        if record.touched.plus(limits.remembered) < now {
            self.records.remove(key);
            return None;
        }
        record.touched = now;
        self.by_age.insert((now, key.clone()));
        self.records.get_mut(key)
    }

    fn entry(&mut self, key: K, now: Instant, limits: &LoginLimits) -> &mut Record {
        if self.find(&key, now, limits).is_none() {
            if self.records.len() >= RECORDS_MAX
                && let Some((_, oldest)) = self.by_age.pop_first()
            {
                self.records.remove(&oldest);
            }
            self.by_age.insert((now, key.clone()));
        }
        let new = Record { failures: 0, pending: 0, next: now, touched: now };
        self.records.entry(key).or_insert(new)
    }

    fn remove(&mut self, key: &K) {
        if let Some(record) = self.records.remove(key) {
            self.by_age.remove(&(record.touched, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const LIMITS: LoginLimits = LoginLimits {
        free: 3,
        delay_max: Duration::from_secs(15),
        account_delay_max: Duration::from_secs(2),
        wait_max: Duration::from_secs(30),
        remembered: Duration::from_secs(3600),
    };

    fn who(last: u8, name: &str) -> Who {
        Who::new([192, 0, 2, last].into(), name.as_bytes())
    }

    fn at(seconds: u64) -> Instant {
        Instant::default().plus(Duration::from_secs(seconds))
    }

    /// Guesses one after the other, each as soon as it may be; the seconds each began at.
    fn guess(throttle: &mut Throttle, from: u64, who: &Who, times: usize) -> Vec<u64> {
        let mut now = at(from);
        let mut begun = Vec::new();
        for _ in 0..times {
            now = throttle.admit(now, who, &LIMITS).unwrap();
            throttle.failed(now, who, &LIMITS);
            begun.push(now.since(at(0)).as_secs());
        }
        begun
    }

    #[test]
    fn delays_grow_to_a_bound_and_end() {
        let mut throttle = Throttle::default();
        let eve = who(1, "ann@x");
        assert_eq!(guess(&mut throttle, 0, &eve, 9), [0, 0, 0, 1, 3, 5, 9, 17, 32]);
        // Nobody is slowed down by what was long ago.
        assert_eq!(guess(&mut throttle, 4000, &eve, 3), [4000, 4000, 4000]);
    }

    #[test]
    fn names_make_no_difference_to_an_address_and_none_is_better_than_another() {
        let mut throttle = Throttle::default();
        let mut now = at(0);
        for number in 0..6 {
            let eve = who(1, &alloc::format!("name{number}@x"));
            now = throttle.admit(now, &eve, &LIMITS).unwrap();
            throttle.failed(now, &eve, &LIMITS);
        }
        assert_eq!(now, at(3));
        // Logging in with an account of one's own in between does not help.
        let own = who(1, "eve@x");
        now = throttle.admit(now, &own, &LIMITS).unwrap();
        throttle.succeeded(now, &own, &LIMITS);
        assert!(throttle.admit(now, &who(1, "name9@x"), &LIMITS).unwrap() > now);
    }

    #[test]
    fn many_connections_gain_nothing() {
        let mut throttle = Throttle::default();
        let eve = who(1, "ann@x");
        guess(&mut throttle, 0, &eve, 9);
        let mut turns = Vec::new();
        while let Some(turn) = throttle.admit(at(100), &eve, &LIMITS) {
            turns.push(turn.since(at(100)).as_secs());
        }
        assert_eq!(turns, [2, 17]);
        // Nor does it before the first failure is known: who begins with a thousand at once.
        let mallory = who(2, "ann@x");
        let begun = (0..1000).filter_map(|_| throttle.admit(at(200), &mallory, &LIMITS)).count();
        assert!(begun < 20, "{begun}");
    }

    #[test]
    fn the_right_user_is_never_locked_out() {
        let mut throttle = Throttle::default();
        let home = who(7, "ann@x");
        assert_eq!(throttle.admit(at(0), &home, &LIMITS), Some(at(0)));
        throttle.succeeded(at(0), &home, &LIMITS);
        for address in 20..200 {
            for _ in 0..3 {
                let turn = throttle.admit(at(1), &who(address, "ann@x"), &LIMITS).unwrap();
                throttle.failed(turn, &who(address, "ann@x"), &LIMITS);
            }
        }
        // At home she does not notice it, abroad a little.
        assert_eq!(throttle.admit(at(2), &home, &LIMITS), Some(at(2)));
        assert_eq!(throttle.admit(at(2), &who(8, "ann@x"), &LIMITS), Some(at(4)));
        // Others do not notice it at all.
        assert_eq!(throttle.admit(at(2), &who(9, "bob@x"), &LIMITS), Some(at(2)));
    }

    #[test]
    fn an_old_telephone_slows_down_itself() {
        let mut throttle = Throttle::default();
        let (ann, bob) = (who(7, "ann@x"), who(7, "bob@x"));
        for who in [&ann, &bob] {
            throttle.admit(at(0), who, &LIMITS).unwrap();
            throttle.succeeded(at(0), who, &LIMITS);
        }
        let begun = guess(&mut throttle, 1, &ann, 12);
        assert!(begun[11] > 60, "{begun:?}");
        assert_eq!(throttle.admit(at(61), &bob, &LIMITS), Some(at(61)));
        // A guest at that address is not known, but nothing has failed there otherwise.
        assert_eq!(throttle.admit(at(61), &who(7, "guest@x"), &LIMITS), Some(at(61)));
    }

    #[test]
    fn memory_is_bounded_and_a_slash_64_is_one() {
        let mut throttle = Throttle::default();
        for number in 0..RECORDS_MAX as u32 + 100 {
            let peer = IpAddr::from((number << 8).to_be_bytes());
            let eve = Who::new(peer, &number.to_be_bytes());
            throttle.admit(at(number.into()), &eve, &LIMITS);
            throttle.failed(at(number.into()), &eve, &LIMITS);
            throttle.succeeded(at(number.into()), &eve, &LIMITS);
        }
        assert_eq!((throttle.failed.records.len(), throttle.failed.by_age.len()), (RECORDS_MAX, RECORDS_MAX));
        assert_eq!((throttle.known.records.len(), throttle.known.by_age.len()), (RECORDS_MAX, RECORDS_MAX));
        let v6 = |text: &str| Who::new(text.parse().unwrap(), &[b'x'; 1000]);
        assert_eq!(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:3::4"));
        assert_eq!(v6("2001:db8:1:2::1").name.len(), 0);
    }
}
