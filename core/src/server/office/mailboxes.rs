//! Open mailboxes, and the queue of work on each.
//!
//! A mailbox is opened by the first work on it and forgotten some time after the last. Its queue runs one task
//! at a time: a task gets a copy of the state and brings back the next one. Work of the same kind that waits
//! together runs together: appends share one commit, everybody who wants a look at the directory gets the same.
//!
//! A task that changes the mailbox may have to wait for the lock that another program has. Who only wants to look
//! does not wait for that: as long as the task has not begun, looks run beside it, and it begins with what they
//! have found ([`Known`]).

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::answers::refuse_work;
use super::caching::Caching;
use super::changes::{ChangeLog, Origin};
use super::work::{AfterStore, Work, Worked};
use super::{Caller, Desk, JobId, Office, OfficeAction, StoreTask, WatchId};
use crate::imap::sequence::UidSet;
use crate::imap::server::{Refusal, SelectionId};
use crate::imap::view::UidMap;
use crate::machine::Instant;
use crate::maildir::context::Root;
use crate::maildir::folder::FolderName;
use crate::maildir::index_file::Saved;
use crate::maildir::known::Known;
use crate::maildir::mailbox::{Change, MailboxState};

/// A selected mailbox that cannot be watched is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// One that is only followed.
const LOOK_EVERY_FOLLOWED: Duration = Duration::from_secs(30);
/// Between two looks that a watch asks for: a busy mailbox is not looked at for each of its files.
const LOOK_GAP: Duration = Duration::from_millis(200);
/// A look that found the lock with another program is repeated after this time, then after twice as long each
/// time.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// But after this long at most.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(4);
/// What is known is saved this long after a change, when directory times are old enough to tell the next one.
const SAVE_AFTER: Duration = Duration::from_secs(3);
/// Between two saves.
const SAVE_GAP: Duration = Duration::from_secs(10);
/// Between two saves when the first failed.
const SAVE_GAP_FAILED: Duration = Duration::from_secs(120);
/// So many mailboxes that were forgotten are known to be saved.
const CLOSED_MAX: usize = 10_000;
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
    queue: VecDeque<Queued>,
    running: Option<Running>,
    /// A look that runs beside a task which waits for the lock.
    aside: Option<JobId>,
    pub(super) log: ChangeLog,
    pub(super) selected: BTreeSet<SelectionId>,
    /// Who is told what happens in it without having it selected.
    pub(super) followers: BTreeSet<Caller>,
    /// It is new to them: what it has when it is opened is told.
    pub(super) announces: bool,
    watch: Watch,
    used: Instant,
    /// The last look on nobody's behalf.
    looked: Instant,
    /// The next one, if one is due.
    look_due: Option<Instant>,
    /// How long the last look was put off because the lock was not free.
    look_pause: Duration,
    /// What its index file says, if that is known.
    saved: Option<Saved>,
    pub(super) cache: Caching,
    /// When to save what is known.
    upkeep: Option<Instant>,
    /// Not before this instant.
    upkeep_from: Instant,
    /// Messages from this UID on have not been `\Recent` in any session of this process.
    recent_from: u32,
    /// Of those, the ones that were found in `new/`.
    pub(super) recent: UidSet,
}

#[derive(Debug)]
struct Queued {
    work: Work,
    since: Instant,
}

/// The task that works on a mailbox.
#[derive(Debug)]
struct Running {
    job: JobId,
    known: Known,
    /// It is back, because it waits for the lock and has not begun.
    waits: bool,
    /// Its time has come while a look runs beside it: it goes on after that.
    held: Option<StoreTask>,
}

#[derive(Debug, Default)]
enum Watch {
    #[default]
    No,
    Watched(WatchId),
    /// Next look at this instant.
    Polled(Instant),
}

impl Mailbox {
    /// When it wants to be looked after.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let watch = match self.watch {
            Watch::Polled(instant) => Some(instant),
            Watch::Watched(_) => None,
            Watch::No => self.is_idle().then(|| self.used.plus(KEEP_UNUSED)),
        };
        watch.into_iter().chain(self.look_due).chain(self.upkeep).min()
    }

    /// Nothing runs and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && self.queue.is_empty()
    }

    /// Somebody has it selected or follows it.
    fn is_wanted(&self) -> bool {
        !(self.selected.is_empty() && self.followers.is_empty())
    }

    /// How often it is looked at if it cannot be watched.
    fn look_every(&self) -> Duration {
        if self.selected.is_empty() { LOOK_EVERY_FOLLOWED } else { LOOK_EVERY }
    }

    /// Nothing runs.
    fn rests(&self) -> bool {
        self.running.is_none() && self.aside.is_none()
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
        self.state = self.state.take().filter(|_| self.running.is_some());
        self.view = UidMap::default();
        self.log.extend(&[Change::Reset], None);
        (self.saved, self.upkeep, self.cache) = (None, None, Caching::default());
        (self.recent_from, self.recent) = (0, UidSet::default());
    }

    /// Whether a task waits for the lock that another program has.
    pub(super) fn waits_for_lock(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.waits)
    }

    /// Takes the next work, together with what can be done in the same task. Beside a task that waits for the
    /// lock that is a look.
    fn next_work(&mut self) -> Option<Queued> {
        let at = match &self.running {
            None => 0,
            Some(running) if running.waits && self.aside.is_none() => {
                self.queue.iter().position(|queued| matches!(queued.work, Work::Sync { .. }))?
            }
            Some(_) => return None,
        };
        let mut next = self.queue.remove(at)?;
        while let Some(more) = self.queue.get(at)
            && next.work.can_take(&more.work)
            && let Some(more) = self.queue.remove(at)
        {
            next.work.take(more.work);
        }
        Some(next)
    }

    /// Takes out what has waited for longer than anybody waits for a lock.
    fn take_overdue(&mut self, now: Instant, wait: Duration) -> Vec<Work> {
        let overdue = |queued: &mut Queued| {
            queued.since.plus(wait) <= now && !matches!(queued.work, Work::Sync { .. } | Work::Upkeep { .. })
        };
        let mut taken = Vec::new();
        let mut at = 0;
        while let Some(queued) = self.queue.get_mut(at) {
            match overdue(queued) {
                true => taken.extend(self.queue.remove(at).map(|queued| queued.work)),
                false => at += 1,
            }
        }
        taken
    }

    /// Adds these messages to a change of flags that waits and that nobody waits for; false if there is none.
    pub(super) fn add_to_marks(&mut self, uids: &UidSet) -> bool {
        let marks = self.queue.iter_mut().find_map(|queued| match &mut queued.work {
            Work::Store(work) if matches!(work.then, AfterStore::Nothing) => Some(&mut work.uids),
            _ => None,
        });
        let found = marks.is_some();
        marks.into_iter().for_each(|marked| *marked = marked.union(uids));
        found
    }

    /// The index file was read.
    pub(super) fn opened_with(&mut self, saved: Option<Saved>) {
        self.saved = saved.or(self.saved.take());
    }

    /// What is known was saved, or could not be.
    pub(super) fn keep(&mut self, saved: Option<Saved>, now: Instant) {
        self.upkeep_from = now.plus(if saved.is_some() { SAVE_GAP } else { SAVE_GAP_FAILED });
        self.saved = saved;
    }

    /// When to do what nobody asks for.
    pub(super) fn plan(&mut self, now: Instant) {
        self.plan_look(now);
        let Some(state) = &self.state else { return };
        let is_saved = self.saved.as_ref().is_some_and(|saved| saved.is_of(state));
        let is_kept = is_saved && state.trusts_scan() && !self.cache.wants_care();
        if self.upkeep.is_none() && !state.read_only && !is_kept {
            self.upkeep = Some(now.plus(SAVE_AFTER).max(self.upkeep_from));
        }
    }

    /// When to look again, if somebody wants it and the last look could not do all.
    fn plan_look(&mut self, now: Instant) {
        let pending = self.state.as_ref().is_some_and(|state| state.pending);
        if !pending || !self.is_wanted() {
            self.look_pause = Duration::ZERO;
            return;
        }
        self.look_pause = (self.look_pause * 2).clamp(LOOK_AGAIN, LOOK_AGAIN_MAX);
        self.look_by(now.plus(self.look_pause));
    }

    /// A look is due at this instant at the latest.
    pub(super) fn look_by(&mut self, instant: Instant) {
        self.look_due = Some(self.look_due.map_or(instant, |due| due.min(instant)));
    }
}

impl Office {
    /// Puts work in the mailbox's queue.
    pub(super) fn enqueue(&mut self, key: MailboxKey, work: Work, desk: &mut Desk<'_>) {
        let mailbox = self.mailboxes.open(&key);
        mailbox.used = desk.now.instant;
        mailbox.queue.push_back(Queued { work, since: desk.now.instant });
        self.start_next(key, desk);
    }

    /// Starts the next work if none runs.
    fn start_next(&mut self, key: MailboxKey, desk: &mut Desk<'_>) {
        let job = self.job();
        let Some(mailbox) = self.mailboxes.get_mut(&key) else { return };
        let Some(next) = mailbox.next_work() else { return };
        let mut work = next.work;
        if mailbox.state.is_none() && work.needs_state() {
            mailbox.queue.push_front(Queued { work, ..next });
            work = Work::Sync { move_new: false, then: Vec::new() };
        }
        let known = Known::from(mailbox.state.clone());
        let saved_modseq = if mailbox.state.is_none() { self.closed.remove(&key) } else { None };
        match &mailbox.running {
            Some(_) => mailbox.aside = Some(job),
            None => {
                let running = Running { job, known: known.clone(), waits: false, held: None };
                mailbox.running = Some(running);
                self.works.insert(job, key.clone());
            }
        }
        desk.out.push(OfficeAction::Run(job, work.into_task(self.context.clone(), key, known, saved_modseq)));
    }

    /// A task is done: adopt what it did, answer, go on.
    pub(super) fn handle_worked(&mut self, job: JobId, key: MailboxKey, worked: Worked, desk: &mut Desk<'_>) {
        let Some(mailbox) = self.mailboxes.get_mut(&key) else { return };
        mailbox.used = desk.now.instant;
        if mailbox.aside.take_if(|aside| *aside == job).is_none() {
            self.works.remove(&job);
            mailbox.running = None;
        }
        let was_locked = worked.is_busy();
        self.finish_work(&key, worked, desk);
        if was_locked {
            self.refuse_overdue(&key, desk);
        }
        let Some(mailbox) = self.mailboxes.get_mut(&key) else { return };
        mailbox.plan(desk.now.instant);
        if let (Some(running), Some(state)) = (&mailbox.running, &mailbox.state) {
            running.known.renew(state.clone());
        }
        if mailbox.aside.is_none()
            && let Some(running) = &mut mailbox.running
            && let Some(task) = running.held.take()
        {
            running.waits = false;
            desk.out.push(OfficeAction::Run(running.job, task));
        }
        self.start_next(key, desk);
    }

    /// The lock was not free for as long as anybody waits: nor was it for those who came as early.
    fn refuse_overdue(&mut self, key: &MailboxKey, desk: &mut Desk<'_>) {
        let (now, wait) = (desk.now.instant, self.context.lock_wait);
        let overdue = self.mailboxes.get_mut(key).map(|mailbox| mailbox.take_overdue(now, wait));
        for work in overdue.unwrap_or_default() {
            refuse_work(self, key, work, &Refusal::InUse, desk);
        }
    }

    /// A task wants to wait. If it waits for the lock of its mailbox, others may look at the mailbox meanwhile.
    pub(super) fn handle_waiting(&mut self, job: JobId, desk: &mut Desk<'_>) {
        let Some(key) = self.works.get(&job).cloned() else { return };
        if let Some(running) = self.mailboxes.get_mut(&key).and_then(|mailbox| mailbox.running.as_mut()) {
            running.waits = running.known.is_waiting();
        }
        self.start_next(key, desk);
    }

    /// The time of a waiting task has come: it goes on, unless a look runs beside it.
    pub(super) fn wake(&mut self, job: JobId, task: StoreTask, desk: &mut Desk<'_>) {
        let mailbox = self.works.get(&job).and_then(|key| self.mailboxes.get_mut(key));
        if let Some(mailbox) = mailbox
            && let Some(running) = &mut mailbox.running
        {
            if mailbox.aside.is_some() {
                running.held = Some(task);
                return;
            }
            running.waits = false;
        }
        desk.out.push(OfficeAction::Run(job, task));
    }

    /// The mailbox could not be opened: whatever waits for it is refused.
    pub(super) fn take_waiting(&mut self, key: &MailboxKey) -> Vec<Work> {
        let Some(mailbox) = self.mailboxes.get_mut(key) else { return Vec::new() };
        if mailbox.state.is_some() {
            return Vec::new();
        }
        core::mem::take(&mut mailbox.queue).into_iter().map(|queued| queued.work).collect()
    }

    /// The directories of these mailboxes are gone or renamed: who has one selected must leave it.
    pub(super) fn forget_mailboxes(&mut self, gone: impl Fn(&MailboxKey) -> bool, desk: &mut Desk<'_>) {
        // A name may stand for another directory now.
        self.closed.clear();
        let keys: Vec<MailboxKey> = self.mailboxes.keys().filter(|key| gone(key)).cloned().collect();
        for key in keys {
            if let Some(mailbox) = self.mailboxes.get_mut(&key) {
                mailbox.forget();
            }
            self.lose_followed(&key, desk);
            self.notify(&key, desk);
        }
    }

    /// A mailbox and those below it have other names: who has one selected keeps it.
    pub(super) fn rename_mailboxes(&mut self, from: &MailboxKey, to: &FolderName, desk: &mut Desk<'_>) {
        let keys: Vec<MailboxKey> =
            self.mailboxes.keys().filter(|key| key.root == from.root).cloned().collect();
        for key in keys {
            let Some(Ok(folder)) = key.folder.renamed(&from.folder, to) else { continue };
            let new = MailboxKey { root: key.root.clone(), folder };
            let is_busy = |key| self.mailboxes.get(key).is_some_and(|mailbox| !mailbox.rests());
            let is_used = |mailbox: &Mailbox| !mailbox.is_idle() || mailbox.is_wanted();
            if is_busy(&key) || self.mailboxes.get(&new).is_some_and(is_used) {
                // A task is on its way with the old name, or somebody knows the new one from before.
                self.forget_mailboxes(|other| *other == key || *other == new, desk);
                continue;
            }
            self.rename_followed(&key, &new.folder);
            let Some(mailbox) = self.mailboxes.remove(&key) else { continue };
            // The watch is on the directory, not on its name.
            for watched in self.watches.values_mut().filter(|watched| **watched == key) {
                *watched = new.clone();
            }
            for selection in self.selections.values_mut().filter(|selection| selection.mailbox == key) {
                selection.mailbox = new.clone();
            }
            *self.mailboxes.open(&new) = mailbox;
            self.start_next(new, desk);
        }
    }

    /// Watches the mailbox while somebody has it selected or follows it.
    pub(super) fn watch_if_wanted(&mut self, key: &MailboxKey, desk: &mut Desk<'_>) {
        let id = WatchId(self.id());
        let Some(mailbox) = self.mailboxes.get_mut(key) else { return };
        match (&mailbox.watch, mailbox.is_wanted()) {
            (Watch::No, true) => {
                mailbox.watch = Watch::Watched(id);
                self.watches.insert(id, key.clone());
                desk.out.push(OfficeAction::Watch { watch: id, path: key.path() });
            }
            (Watch::Watched(watch), false) => {
                let watch = *watch;
                mailbox.watch = Watch::No;
                self.watches.remove(&watch);
                desk.out.push(OfficeAction::Unwatch { watch });
            }
            (Watch::Polled(_), false) => mailbox.watch = Watch::No,
            (Watch::No, false) => {}
            (Watch::Polled(due), true) => {
                // One that was only followed is looked at more often.
                mailbox.watch = Watch::Polled((*due).min(desk.now.instant.plus(mailbox.look_every())));
            }
            (Watch::Watched(..), true) => {}
        }
    }

    pub(super) fn handle_directory(&mut self, watch: WatchId, desk: &mut Desk<'_>) {
        if self.drop_changed(watch, desk) {
            return;
        }
        let Some(key) = self.watches.get(&watch).cloned() else { return };
        let Some(mailbox) = self.mailboxes.get_mut(&key) else { return };
        let earliest = mailbox.looked.plus(LOOK_GAP);
        if earliest <= desk.now.instant {
            return self.look_at(key, desk);
        }
        mailbox.look_by(earliest);
    }

    pub(super) fn handle_unwatchable(&mut self, watch: WatchId, desk: &mut Desk<'_>) {
        if self.drop_unwatchable(watch, desk) {
            return;
        }
        if let Some(key) = self.watches.remove(&watch)
            && let Some(mailbox) = self.mailboxes.get_mut(&key)
        {
            mailbox.watch = Watch::Polled(desk.now.instant.plus(mailbox.look_every()));
        }
    }

    /// A look at the directory on nobody's behalf; one that waits already will do.
    pub(super) fn look_at(&mut self, key: MailboxKey, desk: &mut Desk<'_>) {
        let waits =
            |mailbox: &Mailbox| matches!(mailbox.queue.back(), Some(Queued { work: Work::Sync { .. }, .. }));
        if self.mailboxes.get(&key).is_some_and(|mailbox| mailbox.state.is_some() && !waits(mailbox)) {
            if let Some(mailbox) = self.mailboxes.get_mut(&key) {
                mailbox.looked = desk.now.instant;
            }
            self.enqueue(key, Work::Sync { move_new: false, then: Vec::new() }, desk);
        }
    }

    /// Mail came into this mailbox by delivery: sessions that have it selected or follow it hear of it.
    pub(super) fn look_if_wanted(&mut self, key: MailboxKey, desk: &mut Desk<'_>) {
        if self.mailboxes.get(&key).is_some_and(Mailbox::is_wanted) {
            self.look_at(key, desk);
        }
    }

    /// Forgets a mailbox that nobody uses. If all that is known of it is saved, its next opening can go on from there.
    fn close(&mut self, key: MailboxKey) {
        let Some(mailbox) = self.mailboxes.remove(&key) else { return };
        if let (Some(state), Some(saved)) = (mailbox.state, mailbox.saved)
            && saved.is_of(&state)
        {
            if self.closed.len() >= CLOSED_MAX {
                self.closed.clear();
            }
            self.closed.insert(key, state.highest_modseq);
        }
    }

    /// Looks at what cannot be watched, and forgets what nobody uses.
    pub(super) fn look_after_mailboxes(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now.instant;
        for key in self.mailboxes.due(now) {
            let Some(mailbox) = self.mailboxes.get_mut(&key) else { continue };
            let mut looks = mailbox.look_due.take_if(|due| *due <= now).is_some();
            let saves = mailbox.upkeep.take_if(|due| *due <= now).is_some();
            match mailbox.watch {
                Watch::Polled(due) if due <= now => {
                    mailbox.watch = Watch::Polled(now.plus(mailbox.look_every()));
                    looks = true;
                }
                Watch::Polled(_) | Watch::Watched(_) => {}
                Watch::No if !saves && mailbox.is_idle() && mailbox.used.plus(KEEP_UNUSED) <= now => {
                    self.close(key);
                    continue;
                }
                Watch::No => looks = false,
            }
            if saves {
                let saved = mailbox.saved.clone();
                self.enqueue(key, Work::Upkeep { saved }, desk);
            } else if looks {
                self.look_at(key, desk);
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
            watch: Watch::Watched(WatchId(1)),
            ..Mailbox::default()
        };
        *office.mailboxes.open(&key) = mailbox;
        office.watches.insert(WatchId(1), key.clone());
        (office, key)
    }

    #[test]
    fn who_has_a_mailbox_selected_keeps_it_under_its_new_name() {
        let (mut office, inbox) = office_with_a_watched_inbox();
        let key =
            |name: &[u8]| MailboxKey { root: inbox.root.clone(), folder: FolderName::new(name).unwrap() };
        let mailbox = office.mailboxes.remove(&inbox).unwrap();
        *office.mailboxes.open(&key(b"a")) = mailbox;
        *office.mailboxes.open(&key(b"a.b")) = Mailbox { aside: Some(JobId(9)), ..Mailbox::default() };
        office.mailboxes.open(&key(b"ab"));
        office.watches.insert(WatchId(1), key(b"a"));
        let mut out = Vec::new();
        let now = Now { instant: Instant::from_micros(1), wall: WallTime::default() };
        office.rename_mailboxes(
            &key(b"a"),
            &FolderName::new(b"c").unwrap(),
            &mut Desk { now, out: &mut out },
        );
        let names: Vec<&[u8]> = office.mailboxes.keys().map(|key| key.folder.as_bytes()).collect();
        // Of one with a task on its way only the sessions are told that it is gone.
        assert_eq!(names, [&b"a.b"[..], b"ab", b"c"]);
        assert_eq!(office.watches.get(&WatchId(1)), Some(&key(b"c")));
        let renamed = office.mailboxes.get(&key(b"c")).unwrap();
        assert!(renamed.state.is_some() && !renamed.log.has_news(0, SelectionId(1)));
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
            office.mailboxes.get_mut(&key).unwrap().running = None;
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
