//! Jobs in line at their destinations, and the connections that carry them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::decide::{Decision, decide};
use super::{Destination, Job, Link, LinkId, Message, Planned, Queue, QueueAction, Unreachable};
use crate::queue::envelope::{Recipient, State};
use crate::queue::spool::QueueId;
use crate::smtp::client::Outcome;

/// Jobs and connections.
impl Queue {
    /// Puts the recipients that are due in line, by destination.
    pub(super) fn plan(&mut self, now: i64, id: &QueueId, destinations: &[Arc<str>], all: bool) {
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
            if destination.pause_until > now {
                // What is known to be down is not asked once for each message.
                for n in recipients {
                    if let Some(Recipient { state: State::Waiting { next, last, .. }, .. }) =
                        active.envelope.recipients.get_mut(n)
                    {
                        *next = destination.pause_until;
                        last.clone_from(&destination.trouble);
                    }
                }
                active.dirty = true;
                continue;
            }
            active.jobs += 1;
            destination.line.push_back(Planned { id: id.clone(), recipients });
            note_hungry(&mut self.hungry, &name, destination);
        }
    }

    /// Opens connections for destinations that have more jobs in line than connections.
    pub(super) fn connect(&mut self, out: &mut Vec<QueueAction>) {
        while self.links.len() < self.config.connections_max
            && let Some(name) = self.hungry.pop_front()
        {
            let Some(destination) = self.destinations.get_mut(&name) else { continue };
            destination.hungry = false;
            let most = destination.ceiling.unwrap_or(self.config.connections_per_destination_max);
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
        let mut job = None;
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
            note_hungry(&mut self.hungry, &link.destination, destination);
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
        let (law, seed) = (self.config.law, self.spread());
        let Some(Message::Active(active)) = self.messages.get_mut(&planned.id) else { return };
        let decided = planned.recipients.iter().copied().zip(outcomes.into_iter().map(Decision::of));
        decide(active, law, now, seed, Some(host), decided);
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
                let pause = law.pause(destination.failures, self.seed);
                destination.pause_until = now.saturating_add_unsigned(pause.as_secs());
                destination.trouble.clone_from(&why.why);
                undecided.extend(destination.line.drain(..));
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
        if destination.links == 0 && destination.line.is_empty() && destination.pause_until <= now {
            self.destinations.remove(&link.destination);
        }
        for planned in undecided {
            let (law, seed) = (self.config.law, self.spread());
            let Some(Message::Active(active)) = self.messages.get_mut(&planned.id) else { continue };
            let decision = match why.permanent {
                true => Decision::Never(why.why.clone()),
                false => Decision::Later(why.why.clone()),
            };
            let decided = planned.recipients.iter().map(|n| (*n, decision.clone()));
            decide(active, law, now, seed, why.host.as_deref(), decided);
            active.jobs -= 1;
            active.dirty = true;
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
