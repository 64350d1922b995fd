//! What the connections of a loop hold in buffers, and who waits until it is less.
//!
//! Each connection has bounds of its own, but thousands at their bounds would be more than the machine has. Above the
//! budget a connection that holds more than [`FLOOR_BYTES`] is not read from; it stands in line here, for the kernel
//! does not report again what it reported before. Whoever holds less is read from always, a little at a time, so a
//! client with an ordinary command never waits for the others.
//!
//! The loop counts a connection again after each of its turns: nothing here looks at all connections.

use std::collections::BTreeSet;
use std::time::Duration;

use postier_core::machine::Instant;
use postier_core::server::ConnId;

/// Who holds no more than this is never held back; and above the budget, so much is read at once.
pub(super) const FLOOR_BYTES: usize = 8 * 1024;
/// That somebody waits is said once in this time.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// See the module's manual.
pub(super) struct Budget {
    bytes_max: usize,
    held: usize,
    /// Who waits, in the order they came.
    starved: BTreeSet<(u64, ConnId)>,
    next_place: u64,
    /// When it was last said that somebody waits.
    said: Option<Instant>,
}

/// What the budget knows of a connection.
#[derive(Default)]
pub(super) struct Share {
    held: usize,
    /// Its place in the line.
    place: Option<u64>,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Budget { bytes_max, held: 0, starved: BTreeSet::new(), next_place: 0, said: None }
    }

    /// A new configuration.
    pub(super) fn set_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    pub(super) fn is_over(&self) -> bool {
        self.held > self.bytes_max
    }

    /// What a connection holds now, and whether it waits for memory. Who waits already keeps the place.
    pub(super) fn note(&mut self, id: ConnId, share: &mut Share, held: usize, starved: bool) {
        self.held = self.held - share.held + held;
        share.held = held;
        match share.place {
            None if starved => {
                self.starved.insert((self.next_place, id));
                share.place = Some(self.next_place);
                self.next_place += 1;
            }
            Some(place) if !starved => {
                self.starved.remove(&(place, id));
                share.place = None;
            }
            Some(_) | None => {}
        }
    }

    /// Who is to have a turn now that there is memory again.
    pub(super) fn poll_starved(&self) -> Option<ConnId> {
        self.starved.first().filter(|_| !self.is_over()).map(|&(_, id)| id)
    }

    /// How many wait, and for less than how many octets, if that is to be said now.
    pub(super) fn poll_warning(&mut self, now: Instant) -> Option<(usize, usize)> {
        if self.starved.is_empty() || self.said.is_some_and(|said| now < said.plus(SAY_EVERY)) {
            return None;
        }
        self.said = Some(now);
        Some((self.starved.len(), self.bytes_max))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn starved(&self) -> usize {
        self.starved.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_somebody_waits_is_said_once_a_minute() {
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let (mut budget, mut share) = (Budget::new(100), Share::default());
        budget.note(ConnId(1), &mut share, 110, false);
        assert_eq!(budget.poll_warning(at(1)), None, "nobody waits");
        budget.note(ConnId(1), &mut share, 110, true);
        assert_eq!(budget.poll_warning(at(2)), Some((1, 100)));
        assert_eq!(budget.poll_warning(at(61)), None);
        assert_eq!(budget.poll_warning(at(62)), Some((1, 100)));
    }

    #[test]
    fn who_waits_longest_goes_on_first_and_only_while_there_is_memory() {
        let mut budget = Budget::new(100);
        let mut shares: [Share; 4] = Default::default();
        let mut note = |budget: &mut Budget, id: usize, held, starved| {
            budget.note(ConnId(id as u64), &mut shares[id], held, starved);
            (budget.held, budget.poll_starved().map(|id| id.0))
        };
        assert_eq!(note(&mut budget, 3, 90, false), (90, None));
        assert!(!budget.is_over());
        assert_eq!(note(&mut budget, 2, 20, true), (110, None), "over the budget nobody goes on");
        assert!(budget.is_over());
        assert_eq!(note(&mut budget, 1, 30, true), (140, None));
        assert_eq!(note(&mut budget, 2, 25, true), (145, None), "counted once, with what it holds now");
        assert_eq!(note(&mut budget, 3, 45, false), (100, Some(2)), "the place is by time, not by number");
        assert_eq!(note(&mut budget, 2, 25, false), (100, Some(1)));
        assert_eq!(note(&mut budget, 1, 0, false), (70, None), "who is gone waits no more");
        assert_eq!(note(&mut budget, 0, 0, true), (70, Some(0)));
        budget.set_max(69);
        assert_eq!(budget.poll_starved(), None);
        assert!(budget.starved.len() == 1);
    }
}
