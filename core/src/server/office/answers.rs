//! What comes back from tasks, turned into answers; and the questions of IMAP sessions, turned into work.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::changes::{Origin, message_flags};
use super::folders::{annotated, folder};
use super::mailboxes::MailboxKey;
use super::quota::Limit;
use super::tree::FollowWanted;
use super::uploads::{AppendTarget, SpliceWanted};
use super::work::{AfterStore, AfterSync, Done, Next, Outcome, StoreWork, Unchanged, Work, Worked};
use super::{Caller, Desk, JobId, Office};
use crate::disk::Errno;
use crate::event::Event;
use crate::imap::flag::SystemFlag;
use crate::imap::sequence::UidSet;
use crate::imap::server::{Answer, Appended, Ask, Copied, Refusal, SelectionId, Status, Stored};
use crate::maildir::context::{Root, StoreError, StoreErrorKind};
use crate::maildir::expunge::Victims;
use crate::maildir::flags::existing;
use crate::maildir::mailbox::{Change, MailboxState};
use crate::maildir::sync::Synced;
use crate::maildir::{search, sort, thread};
use crate::site::Account;

impl Office {
    /// A question of an IMAP session.
    pub(super) fn handle_imap(
        &mut self,
        caller: Caller,
        account: Arc<Account>,
        ask: Ask,
        desk: &mut Desk<'_>,
    ) {
        let root = Root::new(&account.maildir);
        let key = |name: &[u8]| folder(name).map(|folder| MailboxKey { root: root.clone(), folder });
        match ask {
            // The front sends logins on their own way, and keeps the end of one to itself.
            Ask::Verifier { .. } | Ask::Authenticate { .. } | Ask::Unauthenticate => {}
            Ask::Select { ticket, mailbox, read_only: examine } => match key(&mailbox) {
                Ok(key) => {
                    let then = AfterSync::Select { caller, ticket, examine };
                    self.enqueue(key, Work::Sync { move_new: !examine, then: [then].into() }, desk);
                }
                Err(refused) => desk.imap(caller, Answer::Select(ticket.answer(Err(refused)))),
            },
            Ask::Unselect { selection } => self.leave(selection, desk),
            Ask::Changes { ticket, selection, rescan } => {
                match self.selections.get(&selection).filter(|_| rescan) {
                    Some(entry) => {
                        let key = entry.mailbox.clone();
                        let then = [AfterSync::Changes { caller, ticket, selection }].into();
                        self.enqueue(key, Work::Sync { move_new: false, then }, desk);
                    }
                    None => self.tell_changes(caller, ticket, selection, desk),
                }
            }
            Ask::List { ticket } => self.list(caller, ticket, root, desk),
            Ask::Status { ticket, mailbox, size } => match key(&mailbox) {
                Ok(key) => {
                    let then = [AfterSync::Status { caller, ticket, size }].into();
                    self.enqueue(key, Work::Sync { move_new: false, then }, desk);
                }
                Err(refused) => desk.imap(caller, Answer::Status(ticket.answer(Err(refused)))),
            },
            Ask::Quota { ticket } => self.report_quota(caller, &account, ticket, desk),
            Ask::Create { ticket, mailbox, special_use } => {
                self.create_folder(caller, ticket, key(&mailbox), special_use, desk);
            }
            Ask::Metadata { ticket, mailbox } => self.metadata(caller, ticket, root, mailbox, desk),
            Ask::SetMetadata { ticket, mailbox, changes, limits } => match annotated(mailbox) {
                Ok(of) => {
                    let work = Work::Annotate { caller, ticket, of: of.clone(), changes, limits };
                    self.enqueue(MailboxKey { root, folder: of.folder() }, work, desk);
                }
                Err(refused) => desk.imap(caller, Answer::Done(ticket.answer(Err(refused)))),
            },
            Ask::Follow { ticket, groups, mailboxes_max } => {
                self.want_to_follow(FollowWanted { caller, ticket, root, groups, mailboxes_max }, desk);
            }
            Ask::Unfollow => self.stop_following(caller, desk),
            Ask::News { ticket } => self.tell_news(caller, ticket, desk),
            Ask::Folder { ticket, change } => self.change_folder(caller, ticket, root, change, desk),
            Ask::Append { ticket, mailbox, head } => match key(&mailbox) {
                Ok(mailbox) => {
                    let then = [AfterSync::Exists { caller, ticket }].into();
                    let limit = account.quota.map(|quota| Limit { quota, freed: self.freed_by(&head) });
                    self.start_append(caller, AppendTarget::new(mailbox.clone(), limit, head), desk);
                    self.enqueue(mailbox, Work::Sync { move_new: false, then }, desk);
                }
                Err(refused) => desk.imap(caller, Answer::Done(ticket.answer(Err(refused)))),
            },
            Ask::AppendNext { ticket, head } => self.append_next(caller, ticket, head, desk),
            Ask::AppendUrl { ticket, mailbox, url, wire_bytes_max, place } => match key(&mailbox) {
                Ok(mailbox) => {
                    let wanted = Box::new(SpliceWanted { url, wire_bytes_max, place });
                    let then = [AfterSync::Splice { caller, ticket, wanted }].into();
                    self.enqueue(mailbox, Work::Sync { move_new: false, then }, desk);
                }
                Err(_) => desk.imap(caller, Answer::Done(ticket.answer(Err(Refusal::BadUrl(place))))),
            },
            Ask::AppendCommit { ticket } => self.commit_append(caller, ticket, desk),
            Ask::Fetch { ticket, selection, uids, request } => {
                self.fetch(caller, ticket, selection, uids, request, desk);
            }
            Ask::Store { ticket, selection, uids, unchanged_since, action, flags } => {
                let then = AfterStore::Answer(ticket);
                let work = StoreWork { caller, selection, uids, unchanged_since, action, flags, then };
                self.store(work, desk);
            }
            Ask::Copy { ticket, selection, uids, mailbox, remove } => {
                self.copy(caller, ticket, selection, uids, key(&mailbox), remove, desk);
            }
            Ask::Expunge { ticket, selection, uids } => match self.writable(selection) {
                Ok(key) => {
                    let victims = uids.map_or(Victims::Deleted, Victims::DeletedOf);
                    self.enqueue(key, Work::Expunge { caller, ticket, victims }, desk);
                }
                Err(refused) => desk.imap(caller, Answer::Done(ticket.answer(Err(refused)))),
            },
            Ask::Remove { ticket, selection, uids } => match self.writable(selection) {
                Ok(key) => {
                    self.enqueue(key, Work::Expunge { caller, ticket, victims: Victims::These(uids) }, desk);
                }
                Err(refused) => desk.imap(caller, Answer::Done(ticket.answer(Err(refused)))),
            },
            Ask::Search { ticket, selection, within, query } => {
                let search = |disk, root, folder, scope| search::search(disk, root, folder, scope, query);
                self.search(caller, ticket, selection, within, Answer::Search, search, desk);
            }
            Ask::SearchIn { ticket, mailbox, query, modseqs } => match key(&mailbox) {
                Ok(key) => {
                    let then = [AfterSync::Search { caller, ticket, query, modseqs }].into();
                    self.enqueue(key, Work::Sync { move_new: false, then }, desk);
                }
                Err(refused) => desk.imap(caller, Answer::SearchedIn(ticket.answer(Err(refused)))),
            },
            Ask::ModSeq { ticket, selection, uids } => {
                let modseq = self.highest_of(selection, &uids);
                desk.imap(caller, Answer::ModSeq(ticket.answer(modseq)));
            }
            Ask::Vanished { ticket, selection, since, uids } => {
                let gone = self.vanished_since(selection, since, &uids);
                desk.imap(caller, Answer::Vanished(ticket.answer(gone)));
            }
            Ask::Sort { ticket, selection, within, query, criteria } => {
                let sort = |disk, root, folder, scope| sort::sort(disk, root, folder, scope, query, criteria);
                self.search(caller, ticket, selection, within, Answer::Sort, sort, desk);
            }
            Ask::Thread { ticket, selection, within, query, algorithm } => {
                let thread = move |disk, root, folder, scope| {
                    thread::thread(disk, root, folder, scope, query, algorithm)
                };
                self.search(caller, ticket, selection, within, Answer::Thread, thread, desk);
            }
        }
    }

    /// The mailbox of a selection, if it may be changed through it.
    pub(super) fn writable(&self, selection: SelectionId) -> Result<MailboxKey, Refusal> {
        match self.selections.get(&selection) {
            Some(entry) if entry.read_only => Err(Refusal::ReadOnly),
            Some(entry) => Ok(entry.mailbox.clone()),
            None => Err(Refusal::Unavailable),
        }
    }

    pub(super) fn store(&mut self, work: StoreWork, desk: &mut Desk<'_>) {
        match self.writable(work.selection) {
            Ok(key) => self.enqueue(key, Work::Store(work), desk),
            Err(refused) => refuse_store(work.caller, work.then, refused, desk),
        }
    }

    /// A task is finished.
    pub(super) fn handle_done(&mut self, job: JobId, done: Done, desk: &mut Desk<'_>) {
        match *done.0 {
            Outcome::Prepared { caller, ticket, account, result } => {
                self.finish_preparing(caller, ticket, account, result, desk);
            }
            Outcome::Measured(measured) => self.finish_measuring(measured, desk),
            Outcome::Delivered(result) => self.finish_delivery(job, result, desk),
            Outcome::Staged(result) => self.finish_staging(job, result, desk),
            Outcome::Worked(key, worked) => self.handle_worked(job, key, *worked, desk),
            Outcome::Fetched { caller, ticket, selection, mailbox, changed, result } => {
                self.finish_fetch(caller, ticket, selection, (&mailbox, &changed), result, desk);
            }
            Outcome::Answered { caller, mailbox, answer, trouble: error } => {
                if let Some(error) = error {
                    trouble(&place(&mailbox), &error, desk);
                }
                let is_of_tree = matches!(answer, Answer::Created(_) | Answer::Done(_));
                desk.imap(caller, answer);
                if is_of_tree {
                    self.look_at_tree(&mailbox.root, desk);
                }
            }
            Outcome::Listed { root, result } => self.finish_tree(&root, result, desk),
            Outcome::Discarded => {}
            Outcome::Compacted(mailbox) => self.end_compaction(&mailbox),
            Outcome::Outbound(done) => self.finish_outbound(done, desk),
            Outcome::Pickup(done) => self.finish_pickup(done, desk),
        }
    }

    /// Adopts what a task did to a mailbox, and answers.
    pub(super) fn finish_work(&mut self, key: &MailboxKey, worked: Worked, desk: &mut Desk<'_>) {
        match worked {
            Worked::Synced { then, result } => match result {
                Ok(synced) => {
                    self.adopt_look(key, synced, desk);
                    for after in then {
                        self.after_sync(key, after, desk);
                    }
                }
                Err(error) => self.fail_sync(key, then, &error, desk),
            },
            Worked::Kept { result, saved } => {
                let now = desk.now.instant;
                self.mailboxes.get_mut(key).into_iter().for_each(|mailbox| mailbox.keep(saved.clone(), now));
                match result {
                    Ok(synced) => self.adopt_look(key, synced, desk),
                    Err(error) => self.fail_sync(key, alloc::vec::Vec::new(), &error, desk),
                }
                self.look_after_cache(key, desk);
            }
            Worked::Appended { answers, result } => {
                let done = self.adopt(key, result, None, desk).map_err(try_create);
                self.note_recent(key, done.iter().flat_map(|(uids, _)| uids).copied());
                let uid_validity = self.state(key).map_or(0, |state| state.uid_validity);
                let mut first = 0;
                for (caller, ticket, count) in answers {
                    let answer = match &done {
                        Ok((uids, lacking)) => uids
                            .get(first..first + count)
                            .map(|uids| Appended {
                                uid_validity,
                                uids: uids.iter().copied().collect(),
                                lacks_keywords: uids.iter().any(|uid| lacking.contains(*uid)),
                            })
                            .ok_or(Refusal::Unavailable),
                        Err(refused) => Err(refused.clone()),
                    };
                    first += count;
                    desk.imap(caller, Answer::Append(ticket.answer(answer)));
                }
            }
            Worked::Stored { caller, selection, uids, then, result } => {
                self.finish_store(key, caller, selection, uids, then, result, desk);
            }
            Worked::Expunged { caller, ticket, result } => {
                let answer = self.adopt(key, result, None, desk);
                desk.imap(caller, Answer::Done(ticket.answer(answer)));
            }
            Worked::Copied { caller, ticket, source, remove, result } => {
                let done = self.adopt(key, result, None, desk).map_err(try_create);
                self.note_recent(key, done.iter().flat_map(|(pairs, _)| pairs).map(|(_, to)| *to));
                let uid_validity = self.state(key).map_or(0, |state| state.uid_validity);
                match done.map(|(pairs, lacks_keywords)| Copied { uid_validity, pairs, lacks_keywords }) {
                    Ok(copied) if remove => {
                        let uids = copied.pairs.iter().map(|(from, _)| *from).collect();
                        self.enqueue(source, Work::Remove { caller, ticket, copied, uids }, desk);
                    }
                    answer => desk.imap(caller, Answer::Copy(ticket.answer(answer))),
                }
            }
            Worked::Removed { caller, ticket, copied, result } => {
                let answer = self.adopt(key, result, None, desk).map(|()| copied);
                desk.imap(caller, Answer::Copy(ticket.answer(answer)));
            }
            Worked::Annotated { caller, ticket, of, entries, result } => {
                let answer = result.map_err(|error| {
                    trouble(&place(key), &error, desk);
                    refusal(&error)
                });
                if answer.is_ok() {
                    self.tell_annotations((&key.root, &of), &entries, caller, desk);
                }
                desk.imap(caller, Answer::Done(ticket.answer(answer)));
            }
            Worked::Folder { caller, ticket, to, result } => {
                let answer = result.map_err(|error| {
                    trouble(&place(key), &error, desk);
                    refusal(&error)
                });
                if let (Ok(()), Some(to)) = (&answer, &to) {
                    self.note_renamed(&key.root, &key.folder, to);
                }
                match to {
                    _ if answer.is_err() => {}
                    None => self.forget_mailboxes(|other| other == key, desk),
                    // Its messages are in another mailbox now.
                    Some(_) if key.folder.is_inbox() => self.look_at(key.clone(), desk),
                    Some(to) => self.rename_mailboxes(key, &to, desk),
                }
                self.look_at_tree(&key.root, desk);
                desk.imap(caller, Answer::Done(ticket.answer(answer)));
            }
        }
    }

    fn adopt_look(&mut self, key: &MailboxKey, synced: Synced, desk: &mut Desk<'_>) {
        if let Some(mailbox) = self.mailboxes.get_mut(key) {
            let announces = core::mem::take(&mut mailbox.announces) && !synced.state.messages.is_empty();
            let is_news = mailbox.state.is_some();
            mailbox.note_recent(synced.recent.iter());
            mailbox.opened_with(synced.saved);
            mailbox.adopt(synced.state, &synced.changes, None);
            match announces {
                true => self.tell_followers(key, &[Change::Reset], desk),
                false if is_news => self.tell_followers(key, &synced.changes, desk),
                false => {}
            }
        }
        self.notify(key, desk);
    }

    #[allow(clippy::too_many_arguments)]
    fn finish_store(
        &mut self,
        key: &MailboxKey,
        caller: Caller,
        selection: SelectionId,
        uids: UidSet,
        then: AfterStore,
        result: Next<Unchanged>,
        desk: &mut Desk<'_>,
    ) {
        match (then, result) {
            // A message can be read although it cannot be marked as read.
            (AfterStore::Fetch { ticket, uids: all, request }, Err(error)) => {
                if error.kind == StoreErrorKind::Busy {
                    self.mark_seen_later(caller, selection, uids, desk);
                } else {
                    trouble(&place(key), &error, desk);
                }
                self.fetch_page(caller, ticket, selection, &all, request, &UidSet::default(), desk);
            }
            (AfterStore::Nothing, result) => {
                // No answer tells the flags, so the session hears of them like everybody.
                let _ = self.adopt(key, result, None, desk);
            }
            (then, result) => {
                // What had changed before is not changed by this one, and its client has yet to hear of it.
                let own = match &result {
                    Ok((_, _, unchanged)) => uids.difference(&unchanged.modified),
                    Err(_) => UidSet::default(),
                };
                let origin = Origin { session: selection, uids: &own };
                match self.adopt(key, result, Some(origin), desk) {
                    Ok(unchanged) => self.after_store(key, caller, selection, (&uids, unchanged), then, desk),
                    Err(refused) => refuse_store(caller, then, refused, desk),
                }
            }
        }
    }

    /// Messages that have come into a mailbox are `\Recent` (RFC 3501 §2.3.2), with whatever flags.
    fn note_recent(&mut self, key: &MailboxKey, came: impl Iterator<Item = u32>) {
        if let Some(mailbox) = self.mailboxes.get_mut(key) {
            mailbox.note_recent(came);
        }
    }

    pub(super) fn state(&self, key: &MailboxKey) -> Option<&MailboxState> {
        self.mailboxes.get(key)?.state.as_ref()
    }

    /// Takes the next state over, tells the sessions, and passes on what else the task brought.
    fn adopt<T>(
        &mut self,
        key: &MailboxKey,
        result: Next<T>,
        origin: Option<Origin<'_>>,
        desk: &mut Desk<'_>,
    ) -> Result<T, Refusal> {
        match result {
            Ok((state, changes, rest)) => {
                if let Some(mailbox) = self.mailboxes.get_mut(key) {
                    mailbox.adopt(state, &changes, origin);
                }
                self.tell_followers(key, &changes, desk);
                self.notify(key, desk);
                Ok(rest)
            }
            Err(error) => {
                trouble(&place(key), &error, desk);
                Err(refusal(&error))
            }
        }
    }

    fn after_sync(&mut self, key: &MailboxKey, after: AfterSync, desk: &mut Desk<'_>) {
        match after {
            AfterSync::Select { caller, ticket, examine } => {
                let selected = self.select(caller, key, examine).ok_or(Refusal::Unavailable);
                self.watch_if_wanted(key, desk);
                desk.imap(caller, Answer::Select(ticket.answer(selected)));
            }
            AfterSync::Changes { caller, ticket, selection } => {
                self.tell_changes(caller, ticket, selection, desk);
            }
            AfterSync::Status { caller, ticket, size } => self.status(caller, ticket, key, size, desk),
            AfterSync::Search { caller, ticket, query, modseqs } => {
                self.search_in(caller, ticket, key, (query, modseqs), desk);
            }
            AfterSync::Splice { caller, ticket, wanted } => {
                let spliced = self.splice(caller, key, *wanted, desk);
                desk.imap(caller, Answer::Done(ticket.answer(spliced)));
            }
            AfterSync::Exists { caller, ticket } => {
                desk.imap(caller, Answer::Done(ticket.answer(Ok(()))));
            }
        }
    }

    fn fail_sync(
        &mut self,
        key: &MailboxKey,
        then: alloc::vec::Vec<AfterSync>,
        error: &StoreError,
        desk: &mut Desk<'_>,
    ) {
        if error.kind == StoreErrorKind::NotFound {
            self.forget_mailboxes(|other| other == key, desk);
        } else {
            trouble(&place(key), error, desk);
        }
        let refused = refusal(error);
        for after in then {
            refuse_sync(self, after, refused.clone(), desk);
        }
        for work in self.take_waiting(key) {
            refuse_work(self, key, work, &refused, desk);
        }
    }

    fn after_store(
        &mut self,
        key: &MailboxKey,
        caller: Caller,
        selection: SelectionId,
        (asked, unchanged): (&UidSet, Unchanged),
        then: AfterStore,
        desk: &mut Desk<'_>,
    ) {
        let changed = asked.difference(&unchanged.missing).difference(&unchanged.modified);
        // Whose file is not there and nobody knows whether it is gone has the flags that it had; the client of a silent
        // STORE believes otherwise.
        if let Some(mailbox) = self.mailboxes.get_mut(key)
            && let Some(state) = &mailbox.state
            && let left = existing(state, &unchanged.missing)
            && !left.is_empty()
        {
            let untold: Vec<Change> = left.iter().map(Change::Flags).collect();
            mailbox.log.extend(&untold, None);
            self.notify(key, desk);
        }
        match then {
            AfterStore::Answer(ticket) => {
                let stored = self.state(key).map(|state| stored(state, asked, &changed, unchanged.modified));
                let stored = stored.ok_or(Refusal::Unavailable);
                desk.imap(caller, Answer::Store(ticket.answer(stored)));
            }
            AfterStore::Fetch { ticket, uids: all, request } => {
                self.fetch_page(caller, ticket, selection, &all, request, &changed, desk);
            }
            AfterStore::Nothing => {}
        }
    }

    pub(super) fn status_of(state: &MailboxState, recent: u32) -> Status {
        let count = |wanted: &dyn Fn(&crate::imap::flag::FlagSet) -> bool| {
            state.messages.iter().filter(|message| wanted(&message.flags)).count() as u32
        };
        Status {
            messages: state.messages.len() as u32,
            recent,
            uid_next: state.uid_next,
            uid_validity: state.uid_validity,
            unseen: count(&|flags| !flags.contains(SystemFlag::Seen)),
            deleted: count(&|flags| flags.contains(SystemFlag::Deleted)),
            size: None,
            deleted_size: None,
            modseq: state.shown_modseq(),
            guid: state.durable_guid(),
        }
    }
}

fn stored(state: &MailboxState, asked: &UidSet, changed: &UidSet, modified: UidSet) -> Stored {
    let mut flags = alloc::vec::Vec::new();
    for range in changed.ranges() {
        let found = state.messages.range(range.first, range.last);
        flags.extend(found.map(|message| message_flags(state, message)));
    }
    let gone = (flags.len() as u64).saturating_add(modified.count()) < asked.count();
    Stored { flags, modified, keywords: state.keywords.clone(), gone }
}

fn refuse_store(caller: Caller, then: AfterStore, refused: Refusal, desk: &mut Desk<'_>) {
    let answer = match then {
        AfterStore::Answer(ticket) => Answer::Store(ticket.answer(Err(refused))),
        AfterStore::Fetch { ticket, .. } => Answer::Fetch(ticket.answer(Err(refused))),
        AfterStore::Nothing => return,
    };
    desk.imap(caller, answer);
}

fn refuse_sync(office: &mut Office, after: AfterSync, refused: Refusal, desk: &mut Desk<'_>) {
    match after {
        AfterSync::Select { caller, ticket, .. } => {
            desk.imap(caller, Answer::Select(ticket.answer(Err(refused))));
        }
        AfterSync::Changes { caller, ticket, selection } => {
            office.tell_changes(caller, ticket, selection, desk);
        }
        AfterSync::Status { caller, ticket, .. } => {
            desk.imap(caller, Answer::Status(ticket.answer(Err(refused))));
        }
        AfterSync::Search { caller, ticket, .. } => {
            desk.imap(caller, Answer::SearchedIn(ticket.answer(Err(refused))));
        }
        AfterSync::Splice { caller, ticket, wanted } => {
            let gone = refused == Refusal::NonExistent;
            let refused = if gone { Refusal::BadUrl(wanted.place) } else { refused };
            desk.imap(caller, Answer::Done(ticket.answer(Err(refused))));
        }
        AfterSync::Exists { caller, ticket } => {
            office.abandon_upload(caller, desk);
            desk.imap(caller, Answer::Done(ticket.answer(Err(try_create(refused)))));
        }
    }
}

/// Work that waited for a mailbox which cannot be opened.
pub(super) fn refuse_work(
    office: &mut Office,
    key: &MailboxKey,
    work: Work,
    refused: &Refusal,
    desk: &mut Desk<'_>,
) {
    match work {
        Work::Sync { then, .. } => {
            for after in then {
                refuse_sync(office, after, refused.clone(), desk);
            }
        }
        Work::Upkeep { .. } => {}
        Work::Append(all) => {
            for append in all {
                office.discard(key, append.messages, desk);
                let answer = append.ticket.answer(Err(try_create(refused.clone())));
                desk.imap(append.caller, Answer::Append(answer));
            }
        }
        Work::Store(work) => refuse_store(work.caller, work.then, refused.clone(), desk),
        Work::Expunge { caller, ticket, .. }
        | Work::Folder { caller, ticket, .. }
        | Work::Annotate { caller, ticket, .. } => {
            desk.imap(caller, Answer::Done(ticket.answer(Err(refused.clone()))));
        }
        Work::Copy(copy) => {
            let answer = copy.ticket.answer(Err(try_create(refused.clone())));
            desk.imap(copy.caller, Answer::Copy(answer));
        }
        Work::Remove { caller, ticket, .. } => {
            desk.imap(caller, Answer::Copy(ticket.answer(Err(refused.clone()))));
        }
    }
}

/// The target of APPEND and COPY: the client may create it.
fn try_create(refused: Refusal) -> Refusal {
    match refused {
        Refusal::NonExistent => Refusal::TryCreate,
        other => other,
    }
}

/// What a client is told of a failure.
pub(super) fn refusal(error: &StoreError) -> Refusal {
    match error.kind {
        StoreErrorKind::NoSpace
        | StoreErrorKind::OverQuota
        | StoreErrorKind::MailboxFull
        | StoreErrorKind::MailboxTooSmall => Refusal::NoSpace,
        StoreErrorKind::Busy => Refusal::InUse,
        StoreErrorKind::NotFound => Refusal::NonExistent,
        StoreErrorKind::AlreadyExists => Refusal::AlreadyExists,
        StoreErrorKind::BadName(bad) => Refusal::Cannot(super::folders::bad_name(bad)),
        StoreErrorKind::Cannot => Refusal::Cannot("this cannot be done with this mailbox"),
        StoreErrorKind::Access => Refusal::NoPermission,
        StoreErrorKind::ReadOnly => Refusal::ReadOnly,
        StoreErrorKind::UidsExhausted => Refusal::Cannot("this mailbox has used up all its UIDs"),
        StoreErrorKind::TooBig => Refusal::TooBig,
        StoreErrorKind::BadUrl(place) => Refusal::BadUrl(place),
        StoreErrorKind::KeywordsFull => Refusal::KeywordsFull,
        StoreErrorKind::TooManyEntries => Refusal::TooManyEntries,
        StoreErrorKind::SpecialUse => Refusal::SpecialUse,
        StoreErrorKind::Damaged | StoreErrorKind::Aborted | StoreErrorKind::Temporary(_) => {
            Refusal::Unavailable
        }
    }
}

/// A mailbox, for the log.
pub(super) fn place(key: &MailboxKey) -> String {
    format!(
        "{}, mailbox {}",
        String::from_utf8_lossy(&key.root.path),
        String::from_utf8_lossy(key.folder.as_bytes())
    )
}

/// Logs what somebody has to look at; a client's own mistake is not.
pub(super) fn trouble(place: &str, error: &StoreError, desk: &mut Desk<'_>) {
    let advice = match error.kind {
        StoreErrorKind::NotFound
        | StoreErrorKind::AlreadyExists
        | StoreErrorKind::BadName(_)
        | StoreErrorKind::Cannot
        | StoreErrorKind::TooBig
        | StoreErrorKind::BadUrl(_)
        | StoreErrorKind::MailboxFull
        | StoreErrorKind::MailboxTooSmall
        | StoreErrorKind::KeywordsFull
        | StoreErrorKind::TooManyEntries
        | StoreErrorKind::SpecialUse
        | StoreErrorKind::Aborted => return,
        StoreErrorKind::NoSpace => "make room, the sender tries again",
        StoreErrorKind::OverQuota => "raise it or make room, the sender tries again",
        StoreErrorKind::Busy => "see who in dovecot-uidlist.lock",
        StoreErrorKind::Access => "check owner and mode of the file and its directories",
        StoreErrorKind::ReadOnly => "see why it is mounted so",
        StoreErrorKind::Damaged => "restore it from a backup if what is missing is worth it",
        StoreErrorKind::UidsExhausted => "move its mail to a new one",
        StoreErrorKind::Temporary(Errno::NotDirectory | Errno::Loop) => {
            "it is no directory; symbolic links are not followed there, mount what they lead to instead"
        }
        StoreErrorKind::Temporary(Errno::TooManyFiles) => "raise the limit of open files",
        StoreErrorKind::Temporary(_) => "see the kernel's log for this file system",
    };
    desk.event(None, Event::StoreTrouble { place: place.to_string(), what: format!("{error}; {advice}") });
}
