//! Mail of local programs: when the office looks for drops, and what it does with them ([`crate::pickup`]).
//!
//! ```text
//! start, a change, a minute ─▶ look ─▶ names ─▶ take, a few at a time ─▶ queue, mailboxes, a notice ─▶ the drop is removed
//!                                                 └─ trouble: it stays, and the next look finds it again
//! ```
//!
//! Everything that a drop leads to is durable before it is removed. What a former process, or a try that failed, may have
//! done already is looked for first, by the mail's name: see `take`.

mod take;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use self::take::{Job, Looked, PickedUp, Story, Told};
use super::answers::trouble;
use super::mailboxes::MailboxKey;
use super::outbound::tell_signed;
use super::work::{Done, Outcome};
use super::{Desk, Office, OfficeAction, WatchId};
use crate::disk::Task;
use crate::event::Event;
use crate::machine::{Instant, Now};
use crate::maildir::context::{Root, StoreError};
use crate::maildir::folder::FolderName;
use crate::queue::notice;
use crate::queue::spool::QueueId;

/// How often it looks where nothing tells it that something has come, and for what could not be taken.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The same where the directory cannot be watched.
const LOOK_UNWATCHED: Duration = Duration::from_secs(5);
/// How often it looks for what programs that died have left in `tmp/`.
const CLEAN_EVERY: Duration = Duration::from_secs(3600);

/// See the module's manual.
#[derive(Debug)]
pub(super) struct Pickup {
    root: Root,
    watch: Watching,
    look: Look,
    next_look: Instant,
    next_clean: Instant,
    /// To be taken.
    waiting: VecDeque<QueueId>,
    /// Being taken.
    taking: BTreeSet<QueueId>,
    /// A former process, or a try before this one, may have done something for these,
    suspects: BTreeSet<QueueId>,
    /// or for any: there were too many to remember.
    all_suspect: bool,
    /// Done with, and still there, for they could not be removed.
    done: BTreeSet<QueueId>,
    /// No mail, and still there.
    strange: BTreeSet<QueueId>,
    /// There are more than are known.
    more: bool,
    stopping: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watching {
    NotYet,
    By(WatchId),
    /// It cannot be: it is looked at now and then.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// None yet.
    First,
    Idle,
    /// One is under way; whether something has changed since it began.
    UnderWay {
        first: bool,
        again: bool,
    },
}

/// What a task brings back.
#[derive(Debug)]
pub(super) enum PickupDone {
    Looked(Result<Looked, StoreError>),
    Taken(QueueId, Result<PickedUp, StoreError>),
}

impl Pickup {
    /// Being taken, or about to be.
    fn known(&self) -> usize {
        self.waiting.len() + self.taking.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.taking.is_empty()
    }

    /// Something may have been done for a drop.
    fn suspect(&mut self, id: QueueId, known_max: usize) {
        self.all_suspect |= self.suspects.len() >= known_max;
        if !self.all_suspect {
            self.suspects.insert(id);
        }
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.stopping).then_some(self.next_look)
    }
}

impl Office {
    /// From now on it takes what local programs leave in this directory, laid out as [`crate::pickup`] says. After
    /// [`Office::send_mail`].
    pub fn pick_up(&mut self, now: Now, drop: Root) {
        self.pickup = Some(Box::new(Pickup {
            root: drop,
            watch: Watching::NotYet,
            look: Look::First,
            next_look: now.instant,
            next_clean: now.instant,
            waiting: VecDeque::new(),
            taking: BTreeSet::new(),
            suspects: BTreeSet::new(),
            all_suspect: false,
            done: BTreeSet::new(),
            strange: BTreeSet::new(),
            more: false,
            stopping: false,
        }));
    }

    /// The directory has changed, if it is this one that is watched so.
    pub(super) fn drop_changed(&mut self, watch: WatchId, desk: &mut Desk<'_>) -> bool {
        let ours = self.pickup.as_ref().is_some_and(|pickup| pickup.watch == Watching::By(watch));
        if ours {
            self.look_for_drops(desk);
        }
        ours
    }

    pub(super) fn drop_unwatchable(&mut self, watch: WatchId, desk: &mut Desk<'_>) -> bool {
        let Some(pickup) = self.pickup.as_mut().filter(|pickup| pickup.watch == Watching::By(watch)) else {
            return false;
        };
        pickup.watch = Watching::Never;
        pickup.next_look = pickup.next_look.min(desk.now.instant.plus(LOOK_UNWATCHED));
        true
    }

    pub(super) fn look_for_drops_when_due(&mut self, desk: &mut Desk<'_>) {
        if self
            .pickup
            .as_ref()
            .and_then(|pickup| pickup.poll_timeout())
            .is_some_and(|due| due <= desk.now.instant)
        {
            self.look_for_drops(desk);
        }
    }

    fn look_for_drops(&mut self, desk: &mut Desk<'_>) {
        let id = self.id();
        let Some(pickup) = self.pickup.as_mut().filter(|pickup| !pickup.stopping) else { return };
        if pickup.watch == Watching::NotYet {
            let watch = WatchId(id);
            pickup.watch = Watching::By(watch);
            desk.out.push(OfficeAction::Watch { watch, path: pickup.root.path.to_vec() });
        }
        let now = desk.now.instant;
        pickup.next_look =
            now.plus(if pickup.watch == Watching::Never { LOOK_UNWATCHED } else { LOOK_EVERY });
        let first = match pickup.look {
            Look::UnderWay { first, .. } => {
                pickup.look = Look::UnderWay { first, again: true };
                return;
            }
            Look::First => true,
            Look::Idle => false,
        };
        pickup.look = Look::UnderWay { first, again: false };
        let clean = pickup.next_clean <= now;
        if clean {
            pickup.next_clean = now.plus(CLEAN_EVERY);
        }
        let (root, wall) = (pickup.root.clone(), desk.now.wall);
        let task = Task::new(move |disk| async move {
            let looked = take::look(disk, root, clean.then_some(wall.secs)).await;
            Done::new(Outcome::Pickup(PickupDone::Looked(looked)))
        });
        self.run(task, desk);
    }

    pub(super) fn finish_pickup(&mut self, done: PickupDone, desk: &mut Desk<'_>) {
        match done {
            PickupDone::Looked(result) => self.finish_look(result, desk),
            PickupDone::Taken(id, result) => self.finish_taking(id, result, desk),
        }
        self.take_drops(desk);
    }

    fn finish_look(&mut self, result: Result<Looked, StoreError>, desk: &mut Desk<'_>) {
        let known_max = self.pickup_limits().known_max;
        let Some(pickup) = self.pickup.as_mut() else { return };
        let Look::UnderWay { first, again } = pickup.look else { return };
        match result {
            Ok(Looked { names, strange }) => {
                pickup.look = Look::Idle;
                pickup.done.retain(|id| names.binary_search(id).is_ok());
                pickup.strange.retain(|id| names.binary_search(id).is_ok());
                let known = pickup.waiting.iter().chain(&pickup.taking).chain(&pickup.done);
                let known: BTreeSet<&QueueId> = known.chain(&pickup.strange).collect();
                let mut new: Vec<QueueId> = names.into_iter().filter(|id| !known.contains(id)).collect();
                let room = known_max.saturating_sub(pickup.known());
                pickup.more = new.len() > room;
                if first {
                    pickup.all_suspect |= pickup.more;
                    new.iter().take(room).for_each(|id| pickup.suspect(id.clone(), known_max));
                }
                new.truncate(room);
                pickup.waiting.extend(new);
                for (name, why) in strange {
                    desk.event(None, Event::SetAside { name, why });
                }
            }
            Err(error) => {
                // What is there then has been there before.
                pickup.look = if first { Look::First } else { Look::Idle };
                trouble(&String::from_utf8_lossy(&pickup.root.path), &error, desk);
            }
        }
        if again {
            self.look_for_drops(desk);
        }
    }

    fn pickup_limits(&self) -> crate::limits::PickupLimits {
        self.outbound.as_ref().map(|outbound| outbound.site().limits.pickup).unwrap_or_default()
    }

    /// Begins as much as may be under way.
    fn take_drops(&mut self, desk: &mut Desk<'_>) {
        let limits = self.pickup_limits();
        let mut tasks = Vec::new();
        let (Some(pickup), Some(outbound)) = (self.pickup.as_mut(), self.outbound.as_ref()) else { return };
        // Drops that cannot be removed must not pile up: there would be no end of what has to be remembered.
        let goes_on = !pickup.stopping && pickup.done.len() < limits.known_max;
        while goes_on && pickup.taking.len() < limits.at_once_max {
            let Some(id) = pickup.waiting.pop_front() else { break };
            pickup.taking.insert(id.clone());
            let job = Job {
                drop: pickup.root.clone(),
                id: id.clone(),
                site: outbound.site().clone(),
                spool: outbound.spool_root().clone(),
                queue_full: outbound.is_full(),
                signing: outbound.signing(desk.now.wall.secs),
                suspect: pickup.all_suspect || pickup.suspects.contains(&id),
                queued_before: outbound.has_recovered(&id),
                told_before: outbound.has_recovered(&take::notice_id(&id)),
                now: desk.now.wall.secs,
            };
            let context = self.context.clone();
            tasks.push(Task::new(move |disk| async move {
                let result = take::take(disk, context, job).await;
                Done::new(Outcome::Pickup(PickupDone::Taken(id, result)))
            }));
        }
        let look = pickup.more && pickup.known() <= limits.known_max / 2;
        for task in tasks {
            self.run(task, desk);
        }
        if look {
            self.look_for_drops(desk);
        }
    }

    fn finish_taking(&mut self, id: QueueId, result: Result<PickedUp, StoreError>, desk: &mut Desk<'_>) {
        let known_max = self.pickup_limits().known_max;
        let Some(pickup) = self.pickup.as_mut() else { return };
        pickup.taking.remove(&id);
        match result {
            Ok(PickedUp::Gone) => {
                pickup.suspects.remove(&id);
            }
            Ok(PickedUp::SetAside { why, moved }) => {
                if !moved && pickup.strange.len() < known_max {
                    pickup.strange.insert(id.clone());
                }
                desk.event(None, Event::SetAside { name: id.to_string(), why });
            }
            Ok(PickedUp::Taken(story)) => {
                pickup.suspects.remove(&id);
                if let Some(error) = &story.left_behind {
                    pickup.done.insert(id.clone());
                    trouble(&String::from_utf8_lossy(&pickup.root.path), error, desk);
                }
                self.tell_taken(id, *story, desk);
            }
            Err(error) => {
                pickup.suspect(id.clone(), known_max);
                desk.event(
                    None,
                    Event::NotDelivered { id, why: alloc::format!("{error}; it is tried again") },
                );
                trouble(&String::from_utf8_lossy(&pickup.root.path), &error, desk);
            }
        }
    }

    fn tell_taken(&mut self, id: QueueId, story: Story, desk: &mut Desk<'_>) {
        let Story { user, from, shown, size, queued, remote, delivered, failed, told, .. } = story;
        desk.event(None, Event::PickedUp { id: id.clone(), user, from: from.clone() });
        if let Some(spooled) = queued {
            let message_id = shown.message_id.clone();
            let event = Event::Queued { id: id.clone(), from: from.clone(), to: remote, size, message_id };
            desk.event(None, event);
            tell_signed(None, &id, spooled.signed, desk);
            self.tell_late(&id, &spooled.late, desk);
            self.queued(id.clone(), desk);
        }
        if !delivered.is_empty() {
            let to = delivered.iter().map(|account| account.address.clone()).collect();
            let (from, subject, message_id) = (from.clone().into_bytes(), shown.subject, shown.message_id);
            desk.event(None, Event::Delivered { id: id.clone(), from, to, size, subject, message_id });
        }
        let mut roots: BTreeSet<Root> = delivered.iter().map(|account| Root::new(&account.maildir)).collect();
        for (address, why) in failed {
            let why = alloc::format!("{address}: {why}");
            desk.event(None, Event::NotDelivered { id: id.clone(), why });
        }
        if let Some(Told { to, queued, roots: delivered }) = told {
            desk.event(None, Event::Told { id, to: to.clone(), what: "failed" });
            if let Some((id, spooled)) = queued {
                let message_id = notice::message_id(&id, &self.hostname()).into();
                let (from, to, size) = (String::new(), [to].into(), spooled.envelope.size);
                desk.event(None, Event::Queued { id: id.clone(), from, to, size, message_id });
                tell_signed(None, &id, spooled.signed, desk);
                self.queued(id, desk);
            }
            roots.extend(delivered);
        }
        for root in roots {
            self.look_if_wanted(MailboxKey { root, folder: FolderName::inbox() }, desk);
        }
    }

    fn hostname(&self) -> Arc<str> {
        self.outbound.as_ref().map_or_else(|| "".into(), |outbound| outbound.site().hostname().into())
    }
}
