//! Messages that sleep until they are due, wake, are noted, and go.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Active, LOADS_MAX, Message, Purpose, Queue, QueueAction, Tell, Unreadable};
use crate::event::Fate;
use crate::queue::envelope::Envelope;
use crate::queue::notice::Action as Told;
use crate::queue::spool::QueueId;

/// How long until something is tried again that the disk has refused, in seconds.
const DISK_PAUSE_SECS: i64 = 60;
/// What the log says of a recipient whose message an operator has removed.
const REMOVED: &str = "Removed from the queue by the operator";

/// Sleeping and waking.
impl Queue {
    pub(super) fn sleep(&mut self, id: QueueId, next: Option<i64>) {
        if let Some(next) = next {
            self.due.insert((next, id.clone()));
        }
        self.messages.insert(id, Message::Asleep(next));
    }

    /// Each is looked at when there is room; then its envelope says how long it sleeps.
    pub(super) fn found(&mut self, ids: Vec<QueueId>) {
        for id in ids {
            if !self.messages.contains_key(&id) {
                self.messages.insert(id.clone(), Message::Woken(Purpose::Try));
                self.roused.push_back(id);
            }
        }
    }

    /// A new message.
    pub(super) fn come(&mut self, id: QueueId) {
        self.messages.insert(id.clone(), Message::Woken(Purpose::Try));
        self.woken.push_back(id);
    }

    /// Wakes one message, which waits behind no crowd.
    pub(super) fn rouse_one(&mut self, id: QueueId, purpose: Purpose) {
        let waits = matches!(self.messages.get(&id), Some(Message::Woken(_)));
        if self.rouse(&id, purpose) || waits {
            self.woken.push_back(id);
        }
    }

    /// A message that was asleep is so no more, and is to be listed with those that wait for room.
    pub(super) fn rouse(&mut self, id: &QueueId, purpose: Purpose) -> bool {
        match self.messages.get_mut(id) {
            Some(message @ Message::Asleep(_)) => {
                if let Message::Asleep(Some(next)) = message {
                    self.due.remove(&(*next, id.clone()));
                }
                *message = Message::Woken(purpose);
                return true;
            }
            Some(Message::Woken(old) | Message::Loading(old)) if *old == Purpose::Try => *old = purpose,
            Some(Message::Woken(_) | Message::Loading(_) | Message::Active(_)) | None => {}
        }
        false
    }

    /// Another envelope may be loaded.
    pub(super) fn has_room(&self) -> bool {
        self.active < self.config.active_max && self.loading < LOADS_MAX
    }

    /// Wakes what is due, as far as there is room.
    pub(super) fn wake(&mut self, now: i64, out: &mut Vec<QueueAction>) {
        while let Some((next, id)) = self.refused.first().cloned()
            && next <= now
        {
            self.refused.remove(&(next, id.clone()));
            match self.messages.get(&id) {
                Some(Message::Woken(_)) => self.woken.push_back(id),
                Some(Message::Asleep(_) | Message::Loading(_) | Message::Active(_)) | None => {
                    self.advance(now, &id, out);
                }
            }
        }
        while self.has_room()
            && let Some(id) = self.next_to_load(now)
        {
            let Some(message) = self.messages.get_mut(&id) else { continue };
            let purpose = match message {
                Message::Asleep(_) => Purpose::Try,
                Message::Woken(purpose) => *purpose,
                Message::Loading(_) | Message::Active(_) => continue,
            };
            *message = Message::Loading(purpose);
            self.active += 1;
            self.loading += 1;
            out.push(QueueAction::Load(id));
        }
    }

    /// Those that wait for room take turns.
    fn next_to_load(&mut self, now: i64) -> Option<QueueId> {
        for _ in 0..3 {
            self.turn = (self.turn + 1) % 3;
            let next = match self.turn {
                0 => self.woken.pop_front(),
                1 => self.roused.pop_front(),
                _ if self.due.first().is_some_and(|(next, _)| *next <= now) => {
                    self.due.pop_first().map(|(_, id)| id)
                }
                _ => None,
            };
            if next.is_some() {
                return next;
            }
        }
        None
    }

    pub(super) fn loaded(
        &mut self,
        now: i64,
        id: QueueId,
        envelope: Result<Box<Envelope>, Unreadable>,
        destinations: &[Arc<str>],
        out: &mut Vec<QueueAction>,
    ) {
        let Some(Message::Loading(purpose)) = self.messages.get(&id) else { return };
        let purpose = *purpose;
        self.loading -= 1;
        let envelope = match envelope {
            Ok(envelope) => envelope,
            Err(why) => {
                self.active -= 1;
                match why {
                    Unreadable::Gone => self.messages.remove(&id),
                    // An order that was given meanwhile is not forgotten.
                    Unreadable::Now if purpose != Purpose::Try => {
                        self.refused.insert((now + DISK_PAUSE_SECS, id.clone()));
                        self.messages.insert(id, Message::Woken(purpose))
                    }
                    Unreadable::Now => return self.sleep(id, Some(now + DISK_PAUSE_SECS)),
                };
                return;
            }
        };
        let active = Active {
            envelope: *envelope,
            put_off: BTreeMap::new(),
            jobs: 0,
            tells: VecDeque::new(),
            telling: false,
            noting: false,
            removing: false,
            dirty: false,
            noted_for: Vec::new(),
            waiting: Vec::new(),
            remove: purpose == Purpose::Remove,
        };
        self.messages.insert(id.clone(), Message::Active(Box::new(active)));
        match purpose {
            Purpose::Try => self.plan(now, &id, destinations, false, out),
            Purpose::TryAll => self.plan(now, &id, destinations, true, out),
            Purpose::Hold(held) => self.set_held(&id, held),
            Purpose::Remove => {}
        }
        self.advance(now, &id, out);
    }

    pub(super) fn hold(&mut self, now: i64, id: QueueId, held: bool, out: &mut Vec<QueueAction>) {
        self.rouse_one(id.clone(), Purpose::Hold(held));
        self.set_held(&id, held);
        self.advance(now, &id, out);
    }

    pub(super) fn set_held(&mut self, id: &QueueId, held: bool) {
        if let Some(active) = self.active(id)
            && active.envelope.held != held
        {
            active.envelope.held = held;
            active.dirty = true;
        }
    }

    pub(super) fn remove(&mut self, now: i64, id: QueueId, out: &mut Vec<QueueAction>) {
        self.rouse_one(id.clone(), Purpose::Remove);
        if let Some(active) = self.active(&id) {
            active.remove = true;
            // Jobs in line go; those in a connection are finished.
            let mut gone = 0;
            for destination in self.destinations.values_mut() {
                let before = destination.line.len();
                destination.line.retain(|planned| planned.id != id);
                gone += before - destination.line.len();
            }
            if let Some(active) = self.active(&id) {
                active.jobs -= gone;
            }
        }
        self.advance(now, &id, out);
    }

    pub(super) fn active(&mut self, id: &QueueId) -> Option<&mut Active> {
        match self.messages.get_mut(id) {
            Some(Message::Active(active)) => Some(active),
            Some(Message::Asleep(_) | Message::Woken(_) | Message::Loading(_)) | None => None,
        }
    }

    /// Does what is next for a message at work: tell, note, let connections go on, sleep, go.
    pub(super) fn advance(&mut self, now: i64, id: &QueueId, out: &mut Vec<QueueAction>) {
        let Some(active) = self.active(id) else { return };
        if active.telling || active.noting {
            return;
        }
        if let Some(tell) = active.tells.front().cloned() {
            active.telling = true;
            let envelope = Box::new(active.envelope.clone());
            let Tell { action, recipients, host } = tell;
            out.push(QueueAction::Tell { id: id.clone(), envelope, action, recipients, host });
            return;
        }
        if active.jobs == 0 && (active.remove || active.envelope.is_done()) {
            return self.finish(id, out);
        }
        if active.dirty {
            (active.dirty, active.noting) = (false, true);
            active.noted_for = core::mem::take(&mut active.waiting);
            out.push(QueueAction::Note(id.clone(), Box::new(active.envelope.clone())));
            return;
        }
        if active.jobs > 0 {
            return;
        }
        let next = active.next();
        self.active -= 1;
        // Never at once: what was not decided now is not decided in the same second.
        self.sleep(id.clone(), next.map(|next| next.max(now + 1)));
    }

    /// Removes a message for which nothing is left to do.
    fn finish(&mut self, id: &QueueId, out: &mut Vec<QueueAction>) {
        let Some(active) = self.active(id) else { return };
        if !active.removing {
            for recipient in active.envelope.recipients.iter().filter(|to| to.next().is_some()) {
                let (to, host) = (recipient.forward_path.clone(), recipient.domain().into());
                let (id, why) = (id.clone(), REMOVED.into());
                out.push(QueueAction::Report { id, to, host, fate: Fate::Failed, why });
            }
        }
        (active.noting, active.removing) = (true, true);
        active.noted_for = core::mem::take(&mut active.waiting);
        out.push(QueueAction::Remove(id.clone()));
    }

    pub(super) fn removed(&mut self, now: i64, id: QueueId, durable: bool, out: &mut Vec<QueueAction>) {
        let Some(active) = self.active(&id).filter(|active| active.removing) else { return };
        if !durable {
            active.noting = false;
            active.waiting = core::mem::take(&mut active.noted_for);
            self.refused.insert((now + DISK_PAUSE_SECS, id));
            return;
        }
        let ready = core::mem::take(&mut active.noted_for);
        out.extend(ready.into_iter().filter(|link| self.links.contains_key(link)).map(QueueAction::GoOn));
        self.messages.remove(&id);
        self.active -= 1;
    }

    pub(super) fn noted(&mut self, now: i64, id: &QueueId, durable: bool, out: &mut Vec<QueueAction>) {
        let Some(active) = self.active(id) else { return };
        active.noting = false;
        if durable {
            let ready = core::mem::take(&mut active.noted_for);
            out.extend(ready.into_iter().filter(|link| self.links.contains_key(link)).map(QueueAction::GoOn));
            self.advance(now, id, out);
        } else {
            active.dirty = true;
            let mut waiting = core::mem::take(&mut active.noted_for);
            waiting.append(&mut active.waiting);
            active.waiting = waiting;
            self.refused.insert((now + DISK_PAUSE_SECS, id.clone()));
        }
    }

    pub(super) fn told(&mut self, now: i64, id: &QueueId, durable: bool, out: &mut Vec<QueueAction>) {
        let Some(active) = self.active(id) else { return };
        active.telling = false;
        if !durable {
            self.refused.insert((now + DISK_PAUSE_SECS, id.clone()));
            return;
        }
        if let Some(Tell { action: Told::Delayed { .. }, recipients, .. }) = active.tells.pop_front() {
            for n in recipients {
                if let Some(recipient) = active.envelope.recipients.get_mut(n) {
                    recipient.delay_told = true;
                }
            }
        }
        active.dirty = true;
        self.advance(now, id, out);
    }
}
