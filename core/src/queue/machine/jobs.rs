//! Jobs in line at their destinations, and the connections that carry them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::decide::{Decision, Occasion, decide};
use super::{
    Destination, Job, Link, LinkId, Message, Planned, Purpose, Queue, QueueAction, SWEEP_LEAST, Unreachable,
};
use crate::queue::spool::QueueId;
use crate::smtp::client::Outcome;

/// A message that found a line too long is looked at again after so many seconds, if not before.
const PARKED_SECS_MAX: i64 = 300;
/// Why it was not tried.
const CROWDED: &str = "451 4.4.5 Much mail waits for the same server";

impl Destination {
    /// Nothing would be lost with it.
    fn is_idle(&self, now: i64) -> bool {
        self.links == 0 && self.line.is_empty() && self.parked.is_empty() && self.pause_until <= now
    }
}

/// Jobs and connections.
impl Queue {
    /// Puts the recipients that are due in line, by destination.
    pub(super) fn plan(
        &mut self,
        now: i64,
        id: &QueueId,
        destinations: &[Arc<str>],
        all: bool,
        out: &mut Vec<QueueAction>,
    ) {
        self.sweep(now);
        let (law, line_max, spread) = (self.config.law, self.line_max(), self.spread());
        let Some(Message::Active(active)) = self.messages.get_mut(id) else { return };
        if active.envelope.held {
            return;
        }
        let mut by_destination: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for (n, (recipient, name)) in active.envelope.recipients.iter().zip(destinations).enumerate() {
            if recipient.next().is_some_and(|next| all || next <= now) {
                by_destination.entry(name.clone()).or_default().push(n);
            }
        }
        for (name, recipients) in by_destination {
            let destination = self.destinations.entry(name.clone()).or_default();
            if all {
                destination.pause_until = 0;
            }
            let decision = if destination.pause_until > now {
                // What is known to be down is not asked once for each message.
                let (until, why) = (destination.pause_until, destination.trouble.clone());
                Decision::PutOff { until, why, noted: true }
            } else if destination.line.len() >= line_max {
                let purpose = if all { Purpose::TryAll } else { Purpose::Try };
                destination.parked.push_back((id.clone(), purpose));
                let until = now.saturating_add(PARKED_SECS_MAX);
                Decision::PutOff { until, why: CROWDED.to_string(), noted: false }
            } else {
                active.jobs += 1;
                destination.line.push_back(Planned { id: id.clone(), recipients });
                note_hungry(&mut self.hungry, &name, destination);
                continue;
            };
            let occasion = Occasion { id, law, now, spread, host: None, unreported: Some(&name) };
            let decided = recipients.into_iter().map(|n| (n, decision.clone()));
            decide(active, &occasion, decided, out);
        }
    }

    /// How long a line may be: no destination takes the room of all others, and the fuller it is, the less.
    fn line_max(&self) -> usize {
        let connections = self.config.connections_per_destination_max;
        match self.active * 2 > self.config.active_max {
            true => connections,
            false => connections.max(self.config.active_max / 20),
        }
    }

    /// Forgets destinations that had trouble once and are not written to any more.
    fn sweep(&mut self, now: i64) {
        if self.destinations.len() >= self.sweep_at {
            self.destinations.retain(|_, destination| !destination.is_idle(now));
            self.sweep_at = SWEEP_LEAST.max(self.destinations.len() * 2);
        }
    }

    /// Opens connections for destinations that have more jobs in line than connections.
    pub(super) fn connect(&mut self, out: &mut Vec<QueueAction>) {
        while self.links.len() < self.config.connections_max
            && let Some(name) = self.hungry.pop_front()
        {
            let Some(destination) = self.destinations.get_mut(&name) else { continue };
            destination.hungry = false;
            // While others may need them, nobody has a second one.
            let scarce = self.links.len() * 2 >= self.config.connections_max;
            let most = if scarce { 1 } else { self.config.connections_per_destination_max };
            let most = destination.ceiling.map_or(most, |ceiling| ceiling.min(most));
            if destination.links >= destination.line.len().min(most) {
                continue;
            }
            destination.links += 1;
            self.last_link += 1;
            let link = LinkId(self.last_link);
            self.links.insert(link, Link { destination: name.clone(), job: None, jobs: 0 });
            out.push(QueueAction::Connect { link, destination: name.clone() });
            // One after the other, so that many jobs for one do not take every connection there is.
            note_hungry(&mut self.hungry, &name, destination);
        }
    }

    pub(super) fn give_job(&mut self, id: LinkId, recipients_max: usize, out: &mut Vec<QueueAction>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(destination) = self.destinations.get_mut(&link.destination) else { return };
        let (mut job, mut next) = (None, None);
        if link.jobs < self.config.jobs_per_connection_max
            && let Some(mut planned) = destination.line.pop_front()
            && let Some(Message::Active(active)) = self.messages.get_mut(&planned.id)
        {
            if planned.recipients.len() > recipients_max.max(1) {
                let rest = planned.recipients.split_off(recipients_max.max(1));
                active.jobs += 1;
                destination.line.push_front(Planned { id: planned.id.clone(), recipients: rest });
            }
            job = Some(Job {
                id: planned.id.clone(),
                envelope: Arc::new(active.envelope.clone()),
                recipients: planned.recipients.clone(),
            });
            destination.working += usize::from(link.jobs == 0);
            link.jobs += 1;
            link.job = Some(planned);
            next = destination.parked.pop_front();
            note_hungry(&mut self.hungry, &link.destination, destination);
        }
        if let Some((next, purpose)) = next {
            self.rouse_one(next, purpose);
        }
        out.push(QueueAction::Job { link: id, job });
    }

    pub(super) fn outcomes(
        &mut self,
        now: i64,
        id: LinkId,
        host: &str,
        outcomes: Vec<Outcome>,
        out: &mut Vec<QueueAction>,
    ) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(planned) = link.job.take() else { return };
        if let Some(destination) = self.destinations.get_mut(&link.destination) {
            (destination.failures, destination.pause_until) = (0, 0);
        }
        let (law, spread) = (self.config.law, self.spread());
        let Some(Message::Active(active)) = self.messages.get_mut(&planned.id) else { return };
        let decided = planned.recipients.iter().copied().zip(outcomes.into_iter().map(Decision::of));
        let occasion = Occasion { id: &planned.id, law, now, spread, host: Some(host), unreported: None };
        decide(active, &occasion, decided, out);
        active.jobs -= 1;
        active.dirty = true;
        active.waiting.push(id);
        self.advance(now, &planned.id, out);
    }

    pub(super) fn ended(
        &mut self,
        now: i64,
        id: LinkId,
        why: Option<Unreachable>,
        out: &mut Vec<QueueAction>,
    ) {
        let Some(link) = self.links.remove(&id) else { return };
        let Some(destination) = self.destinations.get_mut(&link.destination) else { return };
        destination.links -= 1;
        destination.working -= usize::from(link.jobs > 0);
        let mut undecided: Vec<Planned> = link.job.into_iter().collect();
        let why = match why {
            // Whatever it is, of a connection that has worked only its last job is concerned, and for now only.
            Some(why) if link.jobs > 0 => Unreachable { permanent: false, ..why },
            Some(why) if destination.working == 0 => {
                let law = self.config.law;
                destination.failures = destination.failures.saturating_add(1);
                if !why.permanent {
                    let pause = law.pause(destination.failures, self.seed);
                    destination.pause_until = now.saturating_add_unsigned(pause.as_secs());
                    destination.trouble.clone_from(&why.why);
                }
                undecided.extend(destination.line.drain(..));
                // They wake up by themselves.
                destination.parked.clear();
                why
            }
            // Others work: the jobs are theirs.
            Some(why) => {
                destination.ceiling = Some(destination.working);
                why
            }
            None => Unreachable {
                permanent: false,
                why: "451 4.4.2 The connection was lost".to_string(),
                host: None,
            },
        };
        if destination.links == 0 {
            destination.ceiling = None;
        }
        note_hungry(&mut self.hungry, &link.destination, destination);
        if destination.is_idle(now) {
            self.destinations.remove(&link.destination);
        }
        for planned in undecided {
            let (law, spread) = (self.config.law, self.spread());
            let Some(Message::Active(active)) = self.messages.get_mut(&planned.id) else { continue };
            let decision = match why.permanent {
                true => Decision::Never(why.why.clone()),
                false => Decision::Later(why.why.clone()),
            };
            let decided = planned.recipients.iter().map(|n| (*n, decision.clone()));
            let (host, unreported) = (why.host.as_deref(), Some(&*link.destination));
            let occasion = Occasion { id: &planned.id, law, now, spread, host, unreported };
            decide(active, &occasion, decided, out);
            active.jobs -= 1;
            self.advance(now, &planned.id, out);
        }
    }

    /// Another number each time.
    pub(super) fn spread(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 20
    }
}

/// Lists a destination that could have another connection.
pub(super) fn note_hungry(hungry: &mut VecDeque<Arc<str>>, name: &Arc<str>, destination: &mut Destination) {
    if !destination.hungry && destination.line.len() > destination.links {
        destination.hungry = true;
        hungry.push_back(name.clone());
    }
}
