//! What is known, for as long as it may be: answers, and that there are none (RFC 2308).
//!
//! Bounded by octets, not by entries, for a TXT record may be long. When it is full, what would end first goes first.
//!
//! ```
//! use core::time::Duration;
//! use postier_core::dns::cache::Cache;
//! use postier_core::dns::{Failure, Kind, Question, name::DomainName};
//! use postier_core::machine::Instant;
//! let mut cache = Cache::new(10_000);
//! let question = Question { name: DomainName::parse("a.test").unwrap(), kind: Kind::A };
//! let start = Instant::default();
//! cache.insert(question.clone(), Err(Failure::Timeout), start.plus(Duration::from_secs(5)));
//! assert_eq!(cache.lookup(&question, start), Some(&Err(Failure::Timeout)));
//! assert_eq!(cache.lookup(&question, start.plus(Duration::from_secs(5))), None);
//! ```

use alloc::collections::{BTreeMap, BTreeSet};

use super::{Found, Outcome, Question, Records};
use crate::machine::Instant;

/// What an entry costs beside its own octets, roughly: two tree nodes' share.
const ENTRY_BYTES: usize = 200;

/// Answers by question.
#[derive(Debug)]
pub struct Cache {
    entries: BTreeMap<Question, Entry>,
    ends: BTreeSet<(Instant, Question)>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    outcome: Outcome,
    end: Instant,
    bytes: usize,
}

impl Cache {
    /// An empty one that holds about this many octets.
    pub fn new(bytes_max: usize) -> Self {
        Cache { entries: BTreeMap::new(), ends: BTreeSet::new(), bytes: 0, bytes_max }
    }

    /// What is known at this time.
    pub fn lookup(&self, question: &Question, now: Instant) -> Option<&Outcome> {
        self.entries.get(question).filter(|entry| now < entry.end).map(|entry| &entry.outcome)
    }

    /// Remembers an outcome until `end`.
    pub fn insert(&mut self, question: Question, outcome: Outcome, end: Instant) {
        self.remove(&question);
        let bytes = size(&question, &outcome);
        self.bytes += bytes;
        self.ends.insert((end, question.clone()));
        self.entries.insert(question, Entry { outcome, end, bytes });
        while self.bytes > self.bytes_max
            && let Some((_, first)) = self.ends.first().cloned()
        {
            self.remove(&first);
        }
    }

    /// Entries, over or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// It knows nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove(&mut self, question: &Question) {
        if let Some(entry) = self.entries.remove(question) {
            self.bytes -= entry.bytes;
            self.ends.remove(&(entry.end, question.clone()));
        }
    }
}

fn size(question: &Question, outcome: &Outcome) -> usize {
    let own = match outcome {
        Ok(Found { name, records, .. }) => name.as_str().len() + records_size(records),
        Err(_) => 0,
    };
    ENTRY_BYTES + 2 * question.name.as_str().len() + own
}

fn records_size(records: &Records) -> usize {
    match records {
        Records::A(all) => all.len() * 4,
        Records::Aaaa(all) => all.len() * 16,
        Records::Mx(all) => all.iter().map(|mx| 32 + mx.exchange.as_str().len()).sum(),
        Records::Txt(all) => all.iter().map(|text| 24 + text.len()).sum(),
        Records::Tlsa(all) => all.iter().map(|tlsa| 32 + tlsa.data.len()).sum(),
        Records::Ptr(all) | Records::Cname(all) => all.iter().map(|name| 24 + name.as_str().len()).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::name::DomainName;
    use crate::dns::{Failure, Kind};
    use alloc::format;
    use alloc::vec;

    fn question(n: u64) -> Question {
        Question { name: DomainName::parse(&format!("host{n}.test")).unwrap(), kind: Kind::Txt }
    }

    #[test]
    fn a_full_cache_forgets_what_ends_first() {
        let mut cache = Cache::new(3 * (ENTRY_BYTES + 100));
        for n in 0..10 {
            // The fourth is long-lived, the others end one after the other.
            let end = if n == 3 { 1000 } else { n };
            cache.insert(question(n), Err(Failure::Timeout), Instant::from_micros(end));
        }
        assert!(cache.len() <= 4 && cache.bytes <= cache.bytes_max);
        assert!(cache.lookup(&question(3), Instant::from_micros(999)).is_some());
        assert!(cache.lookup(&question(1), Instant::from_micros(0)).is_none());
    }

    #[test]
    fn counts_come_back_to_nothing() {
        let mut cache = Cache::new(usize::MAX);
        let found = |text: &[u8]| {
            let records = Records::Txt(vec![text.to_vec()]);
            Ok(Found { name: DomainName::root(), records, authentic: false })
        };
        cache.insert(question(1), found(b"short"), Instant::from_micros(5));
        cache.insert(question(1), found(&[b'x'; 4000]), Instant::from_micros(7));
        assert_eq!((cache.len(), cache.ends.len()), (1, 1));
        cache.remove(&question(1));
        assert_eq!((cache.bytes, cache.ends.len()), (0, 0));
    }
}
