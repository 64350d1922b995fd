//! Open mailboxes, and the queue of work on each.
//!
//! A mailbox is opened by the first work on it and forgotten some time after the last. Its queue runs one task
//! at a time: a task gets a copy of the state and brings back the next one. Work of the same kind that waits
//! together runs together: appends share one commit, everybody who wants a look at the directory gets the same.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::changes::{ChangeLog, Origin};
use super::work::{Work, Worked};
use super::{Desk, Office, OfficeAction, WatchId};
use crate::imap::sequence::UidSet;
use crate::imap::server::SelectionId;
use crate::imap::view::UidMap;
use crate::machine::Instant;
use crate::maildir::context::Root;
use crate::maildir::folder::FolderName;
use crate::maildir::mailbox::{Change, MailboxState};

/// A selected mailbox that cannot be watched is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two looks that a watch asks for: a busy mailbox is not looked at for each of its files.
const LOOK_GAP: Duration = Duration::from_millis(200);
/// A mailbox nobody has selected stays in memory this long.
const KEEP_UNUSED: Duration = Duration::from_secs(120);

/// Names a mailbox in the process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MailboxKey {
    pub(super) root: Root,
    pub(super) folder: FolderName,
}

impl MailboxKey {
    /// The directory, for a watch.
    fn path(&self) -> Vec<u8> {
        let mut path = self.root.path.to_vec();
        if !self.folder.is_inbox() {
            path.push(b'/');
            path.extend(self.folder.directory());
        }
        path
    }
}

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// `None` until it was opened.
    pub(super) state: Option<MailboxState>,
    /// The UIDs of its messages, for sessions that select it: they share the chunks.
    pub(super) view: UidMap,
    queue: VecDeque<Work>,
    busy: bool,
    pub(super) log: ChangeLog,
    pub(super) selected: BTreeSet<SelectionId>,
    watch: Watch,
    used: Instant,
    /// The last look on nobody's behalf.
    looked: Instant,
    /// Messages from this UID on have not been `\Recent` in any session of this process.
    recent_from: u32,
    /// Of those, the ones that were found in `new/`.
    pub(super) recent: UidSet,
}

#[derive(Debug, Default)]
enum Watch {
    #[default]
    No,
    /// With the instant of a look that has been put off.
    Watched(WatchId, Option<Instant>),
    /// Next look at this instant.
    Polled(Instant),
}

impl Mailbox {
    /// When it wants to be looked after.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.watch {
            Watch::Polled(instant) => Some(instant),
            Watch::Watched(_, look) => look,
            Watch::No => self.is_idle().then(|| self.used.plus(KEEP_UNUSED)),
        }
    }

    /// Nothing runs and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        !self.busy && self.queue.is_empty()
    }

    /// The messages that are `\Recent` for the next session that hears of them.
    pub(super) fn claim_recent(&mut self) -> UidSet {
        self.recent_from = self.state.as_ref().map_or(0, |state| state.uid_next);
        core::mem::take(&mut self.recent)
    }

    pub(super) fn note_recent(&mut self, found: impl Iterator<Item = u32>) {
        let from = self.recent_from;
        let mut recent = core::mem::take(&mut self.recent);
        found.filter(|uid| *uid >= from).for_each(|uid| {
            recent.insert(uid);
        });
        self.recent = recent;
    }

    /// The next state, with what lies between.
    pub(super) fn adopt(&mut self, state: MailboxState, changes: &[Change], origin: Option<Origin<'_>>) {
        for change in changes {
            match *change {
                Change::Appended(uid) => {
                    self.view.push(uid);
                }
                Change::Expunged(uid) => {
                    self.view.remove(uid);
                    self.recent.remove(uid);
                }
                Change::Flags(_) | Change::Keywords | Change::Reset => {}
            }
        }
        // Opened, forgotten, or other messages under other UIDs than before.
        let follows = self.view.len() as usize == state.messages.len() && !changes.contains(&Change::Reset);
        if self.state.is_none() || !follows {
            self.view = state.messages.iter().map(|message| message.uid).collect();
        }
        self.state = Some(state);
        if !self.selected.is_empty() {
            self.log.extend(changes, origin);
        }
    }

    /// Its directory is gone, or holds other messages under other UIDs than before.
    fn forget(&mut self) {
        self.state = self.state.take().filter(|_| self.busy);
        self.view = UidMap::default();
        self.log.extend(&[Change::Reset], None);
        (self.recent_from, self.recent) = (0, UidSet::default());
    }

    /// Takes the next work, together with what can be done in the same task.
    fn next_work(&mut self) -> Option<Work> {
        let mut work = self.queue.pop_front()?;
        while let Some(next) = self.queue.front()
            && work.can_take(next)
            && let Some(next) = self.queue.pop_front()
        {
            work.take(next);
        }
        Some(work)
    }
}

impl Office {
    /// Puts work in the mailbox's queue.
    pub(super) fn enqueue(&mut self, key: MailboxKey, work: Work, desk: &mut Desk<'_>) {
        let mailbox = self.mailboxes.entry(key.clone()).or_default();
        mailbox.used = desk.now.instant;
        mailbox.queue.push_back(work);
        self.start_next(key, desk);
    }

    /// Starts the next work if none runs.
    fn start_next(&mut self, key: MailboxKey, desk: &mut Desk<'_>) {
        let Some(mailbox) = self.mailboxes.get_mut(&key) else { return };
        if mailbox.busy {
            return;
        }
        let Some(mut work) = mailbox.next_work() else { return };
        if mailbox.state.is_none() && work.needs_state() {
            mailbox.queue.push_front(work);
            work = Work::Sync { move_new: false, then: Vec::new() };
        }
        mailbox.busy = true;
        let task = work.into_task(self.context.clone(), key, mailbox.state.clone());
        self.run(task, desk);
    }

    /// A task is done: adopt what it did, answer, go on.
    pub(super) fn handle_worked(&mut self, key: MailboxKey, worked: Worked, desk: &mut Desk<'_>) {
        let Some(mailbox) = self.mailboxes.get_mut(&key) else { return };
        mailbox.busy = false;
        mailbox.used = desk.now.instant;
        self.finish_work(&key, worked, desk);
        self.start_next(key, desk);
    }

    /// The mailbox could not be opened: whatever waits for it is refused.
    pub(super) fn take_waiting(&mut self, key: &MailboxKey) -> Vec<Work> {
        let Some(mailbox) = self.mailboxes.get_mut(key) else { return Vec::new() };
        if mailbox.state.is_some() {
            return Vec::new();
        }
        core::mem::take(&mut mailbox.queue).into()
    }

    /// The directories of these mailboxes are gone or renamed: who has one selected must leave it.
    pub(super) fn forget_mailboxes(&mut self, gone: impl Fn(&MailboxKey) -> bool, desk: &mut Desk<'_>) {
        let keys: Vec<MailboxKey> = self.mailboxes.keys().filter(|key| gone(key)).cloned().collect();
        for key in keys {
            if let Some(mailbox) = self.mailboxes.get_mut(&key) {
                mailbox.forget();
            }
            self.notify(&key, desk);
        }
    }

    /// Watches the mailbox while somebody has it selected.
    pub(super) fn watch_if_selected(&mut self, key: &MailboxKey, desk: &mut Desk<'_>) {
        let id = WatchId(self.id());
        let Some(mailbox) = self.mailboxes.get_mut(key) else { return };
        match (&mailbox.watch, mailbox.selected.is_empty()) {
            (Watch::No, false) => {
                mailbox.watch = Watch::Watched(id, None);
                self.watches.insert(id, key.clone());
                desk.out.push(OfficeAction::Watch { watch: id, path: key.path() });
            }
            (Watch::Watched(watch, _), true) => {
                let watch = *watch;
                mailbox.watch = Watch::No;
                self.watches.remove(&watch);
                desk.out.push(OfficeAction::Unwatch { watch });
            }
            (Watch::Polled(_), true) => mailbox.watch = Watch::No,
            (Watch::No, true) | (Watch::Watched(..) | Watch::Polled(_), false) => {}
        }
    }

    pub(super) fn handle_directory(&mut self, watch: WatchId, desk: &mut Desk<'_>) {
        let Some(key) = self.watches.get(&watch).cloned() else { return };
        let Some(mailbox) = self.mailboxes.get_mut(&key) else { return };
        let earliest = mailbox.looked.plus(LOOK_GAP);
        if earliest <= desk.now.instant {
            return self.look_at(key, desk);
        }
        if let Watch::Watched(_, put_off) = &mut mailbox.watch {
            *put_off = Some(earliest);
        }
    }

    pub(super) fn handle_unwatchable(&mut self, watch: WatchId, desk: &mut Desk<'_>) {
        if let Some(key) = self.watches.remove(&watch)
            && let Some(mailbox) = self.mailboxes.get_mut(&key)
        {
            mailbox.watch = Watch::Polled(desk.now.instant.plus(LOOK_EVERY));
        }
    }

    /// A look at the directory on nobody's behalf; one that waits already will do.
    pub(super) fn look_at(&mut self, key: MailboxKey, desk: &mut Desk<'_>) {
        let waits = |mailbox: &Mailbox| matches!(mailbox.queue.back(), Some(Work::Sync { .. }));
        if self.mailboxes.get(&key).is_some_and(|mailbox| mailbox.state.is_some() && !waits(mailbox)) {
            if let Some(mailbox) = self.mailboxes.get_mut(&key) {
                mailbox.looked = desk.now.instant;
            }
            self.enqueue(key, Work::Sync { move_new: false, then: Vec::new() }, desk);
        }
    }

    /// Mail came into this mailbox by delivery: sessions that have it selected hear of it.
    pub(super) fn look_if_selected(&mut self, key: MailboxKey, desk: &mut Desk<'_>) {
        if self.mailboxes.get(&key).is_some_and(|mailbox| !mailbox.selected.is_empty()) {
            self.look_at(key, desk);
        }
    }

    /// Looks at what cannot be watched, and forgets what nobody uses.
    pub(super) fn look_after_mailboxes(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now.instant;
        let due = |mailbox: &Mailbox| mailbox.poll_timeout().is_some_and(|instant| instant <= now);
        let keys: Vec<MailboxKey> =
            self.mailboxes.iter().filter(|(_, mailbox)| due(mailbox)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(mailbox) = self.mailboxes.get_mut(&key) else { continue };
            match mailbox.watch {
                Watch::Polled(_) => {
                    mailbox.watch = Watch::Polled(now.plus(LOOK_EVERY));
                    self.look_at(key, desk);
                }
                Watch::Watched(watch, _) => {
                    mailbox.watch = Watch::Watched(watch, None);
                    self.look_at(key, desk);
                }
                Watch::No => {
                    self.mailboxes.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Now, WallTime};
    use crate::maildir::context::{HostFacts, StoreContext};
    use alloc::string::ToString;
    use alloc::sync::Arc;

    #[test]
    fn nothing_of_a_forgotten_mailbox_is_recent_and_the_next_one_begins_anew() {
        let mut mailbox = Mailbox { recent_from: 20, ..Mailbox::default() };
        mailbox.note_recent([19, 20, 21].into_iter());
        assert_eq!(mailbox.recent.to_string(), "20:21");
        mailbox.forget();
        assert!(mailbox.recent.is_empty());
        mailbox.note_recent([1].into_iter());
        assert_eq!(mailbox.claim_recent().to_string(), "1");
    }

    fn office_with_a_watched_inbox() -> (Office, MailboxKey) {
        let started = WallTime { secs: 1_700_000_000, micros: 0 };
        let facts = HostFacts { host: b"mx".to_vec(), pid: 7, started, booted: None, seed: 1 };
        let mut office = Office::new(Arc::new(StoreContext::new(facts)));
        let key = MailboxKey { root: Root::new(b"/m"), folder: FolderName::inbox() };
        let mailbox = Mailbox {
            state: Some(MailboxState::default()),
            selected: [SelectionId(1)].into(),
            watch: Watch::Watched(WatchId(1), None),
            ..Mailbox::default()
        };
        office.mailboxes.insert(key.clone(), mailbox);
        office.watches.insert(WatchId(1), key.clone());
        (office, key)
    }

    #[test]
    fn looks_that_a_watch_asks_for_keep_a_distance_and_none_is_lost() {
        let (mut office, key) = office_with_a_watched_inbox();
        let at =
            |millis: u64| Now { instant: Instant::from_micros(millis * 1000), wall: WallTime::default() };
        let looks = |office: &mut Office, now, look: &dyn Fn(&mut Office, &mut Desk<'_>)| {
            let mut out = Vec::new();
            look(office, &mut Desk { now, out: &mut out });
            // The task is done at once, for the next one to be able to start.
            office.mailboxes.get_mut(&key).unwrap().busy = false;
            out.iter().filter(|action| matches!(action, OfficeAction::Run(..))).count()
        };
        let changed = |office: &mut Office, desk: &mut Desk<'_>| office.handle_directory(WatchId(1), desk);
        assert_eq!(looks(&mut office, at(1000), &changed), 1);
        assert_eq!(looks(&mut office, at(1010), &changed), 0);
        assert_eq!(looks(&mut office, at(1020), &changed), 0);
        assert_eq!(office.poll_timeout(), Some(at(1200).instant));
        assert_eq!(looks(&mut office, at(1200), &|office, desk| office.look_after_mailboxes(desk)), 1);
        assert_eq!(office.poll_timeout(), None);
    }
}
