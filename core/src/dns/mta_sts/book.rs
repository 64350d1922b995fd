//! The policies that are kept, and what is known of a domain right now (RFC 8461 §3.3, §5.1, §10.2).
//!
//! A policy that is kept counts until its time is over, whatever DNS and the policy's server say or do not say meanwhile:
//! who keeps us from them gains nothing. A record with another id has the policy fetched before mail goes on; one that
//! was fetched a day ago is fetched again while mail goes on. After a failure nobody is asked for some minutes.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Kept, Policy};
use crate::dns::name::DomainName;

/// Policies that are kept, in number
const POLICIES_MAX: usize = 10_000;
/// and octets, roughly.
const POLICIES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a policy costs beside its text.
const ENTRY_BYTES: usize = 300;
/// Failures that are remembered,
const FAILURES_MAX: usize = 1000;
/// and for how long, in seconds (RFC 8461 §3.3: five minutes or more).
const FAILURE_SECS: i64 = 300;
/// A policy is fetched again after this long (RFC 8461 §10.2), in seconds,
const REFRESH_SECS: i64 = 24 * 3600;

/// What is known of a domain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This counts.
    Known {
        /// Nothing where there is none.
        policy: Option<Arc<Policy>>,
        /// It is to be fetched again meanwhile, under this id.
        refresh: Option<String>,
    },
    /// It is to be fetched first, under this id.
    Fetch(String),
}

/// All policies.
#[derive(Debug, Default)]
pub struct Book {
    kept: BTreeMap<DomainName, Kept>,
    bytes: usize,
    /// Until when not to ask again.
    failed: BTreeMap<DomainName, i64>,
}

impl Book {
    /// What is known at this time (seconds since 1970) of a domain whose record has this id.
    pub fn look(&self, now: i64, domain: &DomainName, record: Option<&str>) -> Standing {
        let kept = self.kept.get(domain).filter(|kept| kept.is_good(now));
        let policy = kept.map(|kept| kept.policy.clone());
        // A clock that was set back does not make a failure last.
        let until = self.failed.get(domain).copied().unwrap_or(i64::MIN);
        if now < until && until <= now.saturating_add(FAILURE_SECS) {
            return Standing::Known { policy, refresh: None };
        }
        match (record, kept) {
            (Some(id), None) => Standing::Fetch(id.into()),
            (Some(id), Some(kept)) if id != kept.id => Standing::Fetch(id.into()),
            (_, None) => Standing::Known { policy, refresh: None },
            (_, Some(kept)) => {
                let refresh = Some(kept.id.clone()).filter(|_| kept.is_old(now));
                Standing::Known { policy, refresh }
            }
        }
    }

    /// The policy that counts at this time.
    pub fn good(&self, now: i64, domain: &DomainName) -> Option<Arc<Policy>> {
        self.kept.get(domain).filter(|kept| kept.is_good(now)).map(|kept| kept.policy.clone())
    }

    /// What is kept of a domain.
    pub fn kept(&self, domain: &DomainName) -> Option<&Kept> {
        self.kept.get(domain)
    }

    /// Keeps this, and says what had to go for it: what was fetched longest ago.
    pub fn keep(&mut self, domain: DomainName, kept: Kept) -> Vec<DomainName> {
        self.failed.remove(&domain);
        self.forget(&domain);
        self.bytes += cost(&domain, &kept);
        self.kept.insert(domain, kept);
        let mut gone = Vec::new();
        while self.kept.len() > POLICIES_MAX || self.bytes > POLICIES_BYTES_MAX {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.fetched);
            let Some(oldest) = oldest.map(|(domain, _)| domain.clone()) else { break };
            self.forget(&oldest);
            gone.push(oldest);
        }
        gone
    }

    fn forget(&mut self, domain: &DomainName) {
        if let Some(kept) = self.kept.remove(domain) {
            self.bytes -= cost(domain, &kept);
        }
    }

    /// It could not be fetched.
    pub fn fail(&mut self, now: i64, domain: DomainName) {
        self.failed.retain(|_, until| now < *until);
        if self.failed.len() < FAILURES_MAX {
            self.failed.insert(domain, now.saturating_add(FAILURE_SECS));
        }
    }
}

fn cost(domain: &DomainName, kept: &Kept) -> usize {
    let names: usize = kept.policy.mx.iter().map(|name| name.len() + size_of::<String>()).sum();
    ENTRY_BYTES + domain.as_str().len() + kept.id.len() + names
}

impl Kept {
    /// It is time to fetch it again: after a day, or half its time.
    fn is_old(&self, now: i64) -> bool {
        let half = i64::try_from(self.policy.max_age / 2).unwrap_or(i64::MAX);
        now.saturating_sub(self.fetched) >= half.min(REFRESH_SECS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::*;
    use alloc::format;
    use alloc::vec;

    const DAY: i64 = 24 * 3600;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    fn kept(id: &str, fetched: i64, max_age: u64) -> Kept {
        let policy = Policy { mode: Mode::Enforce, max_age, mx: vec!["mx.test".into()] };
        Kept { id: id.into(), fetched, policy: Arc::new(policy) }
    }

    fn known(policy: Option<&Kept>, refresh: Option<&str>) -> Standing {
        Standing::Known { policy: policy.map(|kept| kept.policy.clone()), refresh: refresh.map(Into::into) }
    }

    #[test]
    fn a_record_has_the_policy_fetched_once_for_each_id() {
        let (mut book, domain) = (Book::default(), name("a.test"));
        assert_eq!(book.look(0, &domain, None), known(None, None));
        assert_eq!(book.look(0, &domain, Some("1")), Standing::Fetch("1".into()));
        let one = kept("1", 0, 1_000_000);
        book.keep(domain.clone(), one.clone());
        assert_eq!(book.look(10, &domain, Some("1")), known(Some(&one), None));
        assert_eq!(book.look(10, &domain, Some("2")), Standing::Fetch("2".into()));
        assert_eq!(book.look(10, &name("b.test"), None), known(None, None));
    }

    #[test]
    fn what_is_kept_counts_without_a_record_and_after_a_failure_until_its_time_is_over() {
        let (mut book, domain) = (Book::default(), name("a.test"));
        let one = kept("1", 0, 100_000);
        book.keep(domain.clone(), one.clone());
        assert_eq!(book.look(10, &domain, None), known(Some(&one), None));
        book.fail(10, domain.clone());
        assert_eq!(book.look(10, &domain, Some("2")), known(Some(&one), None), "nobody is asked again");
        assert_eq!(book.look(310, &domain, Some("2")), Standing::Fetch("2".into()), "five minutes later");
        assert_eq!(
            book.look(-1_000_000, &domain, Some("2")),
            Standing::Fetch("2".into()),
            "a clock set back"
        );
        assert_eq!(book.look(100_000, &domain, None), known(None, None), "it is over");
        assert_eq!(book.look(100_000, &domain, Some("1")), Standing::Fetch("1".into()));
        assert_eq!((book.good(99_999, &domain).is_some(), book.good(100_000, &domain)), (true, None));
    }

    #[test]
    fn a_policy_is_fetched_again_after_a_day_or_half_its_time() {
        let (mut book, domain) = (Book::default(), name("a.test"));
        for (max_age, old) in [(10 * DAY as u64, DAY), (1000, 500)] {
            let one = kept("1", 0, max_age);
            book.keep(domain.clone(), one.clone());
            for record in [None, Some("1")] {
                assert_eq!(book.look(old - 1, &domain, record), known(Some(&one), None), "{max_age}");
                assert_eq!(book.look(old, &domain, record), known(Some(&one), Some("1")), "{max_age}");
            }
        }
    }

    #[test]
    fn neither_number_nor_octets_grow_without_bound() {
        let mut book = Book::default();
        for n in 0..POLICIES_MAX {
            assert!(book.keep(name(&format!("d{n}.test")), kept("1", n as i64, 9)).is_empty());
        }
        assert_eq!(book.keep(name("new.test"), kept("1", DAY, 9)), [name("d0.test")]);
        assert!(book.kept(&name("d0.test")).is_none() && book.kept(&name("new.test")).is_some());
        let mut large = kept("1", DAY, 9);
        Arc::make_mut(&mut large.policy).mx = vec!["x".repeat(1000); 60];
        for n in 0..200 {
            book.keep(name(&format!("large{n}.test")), large.clone());
        }
        assert!(book.bytes <= POLICIES_BYTES_MAX);
        let sum: usize = book.kept.iter().map(|(domain, kept)| cost(domain, kept)).sum();
        assert_eq!(book.bytes, sum);
        for n in 0..2 * FAILURES_MAX {
            book.fail(0, name(&format!("d{n}.test")));
        }
        assert_eq!(book.failed.len(), FAILURES_MAX);
        book.fail(FAILURE_SECS, name("a.test"));
        assert_eq!(book.failed.len(), 1, "the old ones are over");
    }
}
