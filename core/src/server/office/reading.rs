//! FETCH, SEARCH, SORT, THREAD, STATUS, and the reading half of COPY: on a snapshot of the mailbox, beside whatever changes it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::answers::{place, refusal, trouble};
use super::mailboxes::{Mailbox, MailboxKey};
use super::work::{AfterStore, CopyWork, Done, Outcome, StoreWork, Work};
use super::{Caller, Desk, Office};
use crate::disk::{Disk, Task};
use crate::imap::fetch::FetchItem;
use crate::imap::flag::{FlagList, FlagSet, SystemFlag};
use crate::imap::sequence::UidSet;
use crate::imap::server::{
    Answer, Copied, FetchPage, FetchRequest, FetchRow, FoundIn, Refusal, SearchQuery, SelectionId, Status,
};
use crate::maildir::append::{Append, discard_staged};
use crate::maildir::context::{Root, StoreError, StoreErrorKind};
use crate::maildir::fetch::{self, Fetched, Learned, TotalSizes};
use crate::maildir::folder::FolderName;
use crate::maildir::mailbox::{Change, MailboxState, Message};
use crate::maildir::search::{self, Scope};
use crate::ticket::{Answered, Ticket};

/// Messages of one page whose files are read.
const PAGE_FILES: usize = fetch::PAGE_FILES_MAX;
/// Messages of one page of which the cache may have what is asked for.
const PAGE_CACHED: usize = 1024;
/// Messages of one page that is rendered from what is known.
const PAGE_MESSAGES: usize = 2048;

impl Office {
    pub(super) fn fetch(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<FetchPage, Refusal>>,
        selection: SelectionId,
        uids: UidSet,
        request: Arc<FetchRequest>,
        desk: &mut Desk<'_>,
    ) {
        let unseen = match self.selected_state(selection) {
            Some((_, state)) if request.set_seen => page(state, &uids, PAGE_FILES, request.changed_since)
                .0
                .iter()
                .filter(|message| !message.flags.contains(SystemFlag::Seen))
                .map(|message| message.uid)
                .collect(),
            Some(_) | None => UidSet::default(),
        };
        let Ok(key) = self.writable(selection) else {
            return self.fetch_page(caller, ticket, selection, &uids, request, &UidSet::default(), desk);
        };
        let locked = self.mailboxes.get(&key).is_some_and(Mailbox::waits_for_lock);
        if unseen.is_empty() || locked {
            self.mark_seen_later(caller, selection, unseen, desk);
            return self.fetch_page(caller, ticket, selection, &uids, request, &UidSet::default(), desk);
        }
        let flags = FlagList { system: FlagSet::EMPTY.with(SystemFlag::Seen), keywords: Vec::new() };
        let then = AfterStore::Fetch { ticket, uids, request };
        self.store(StoreWork::add(caller, selection, unseen, flags, then), desk);
    }

    /// Sets `\Seen` when another program has given the lock back.
    pub(super) fn mark_seen_later(
        &mut self,
        caller: Caller,
        selection: SelectionId,
        uids: UidSet,
        desk: &mut Desk<'_>,
    ) {
        if uids.is_empty() {
            return;
        }
        let Ok(key) = self.writable(selection) else { return };
        if self.mailboxes.get_mut(&key).is_some_and(|mailbox| mailbox.add_to_marks(&uids)) {
            return;
        }
        let flags = FlagList { system: FlagSet::EMPTY.with(SystemFlag::Seen), keywords: Vec::new() };
        let then = AfterStore::Nothing;
        self.store(StoreWork::add(caller, selection, uids, flags, then), desk);
    }

    /// The next page; `changed` are those whose flags the FETCH has changed, and tells.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn fetch_page(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<FetchPage, Refusal>>,
        selection: SelectionId,
        uids: &UidSet,
        request: Arc<FetchRequest>,
        changed: &UidSet,
        desk: &mut Desk<'_>,
    ) {
        let Some((key, state)) = self.selected_state(selection) else {
            return desk.imap(caller, Answer::Fetch(ticket.answer(Err(Refusal::Unavailable))));
        };
        if let Some(page) = render_known(state, uids, &request) {
            return desk.imap(caller, Answer::Fetch(ticket.answer(Ok(page))));
        }
        let cache =
            self.mailboxes.get(key).map(|mailbox| mailbox.cache.directory().clone()).unwrap_or_default();
        // Of messages that were marked there are only so many.
        let is_cached = !request.set_seen && uids.first().is_some_and(|uid| cache.covers(uid));
        let count = if is_cached { PAGE_CACHED } else { PAGE_FILES };
        let (messages, gone, next) = page(state, uids, count, request.changed_since);
        let (keywords, mailbox) = (state.keywords.clone(), key.clone());
        let (shown, changed) = (changed.clone(), changed.clone());
        let MailboxKey { root, folder } = key.clone();
        let memo = self.selections.get_mut(&selection).and_then(|selection| selection.memo.take());
        let task = Task::new(move |disk| async move {
            let wanted =
                fetch::Wanted { messages, keywords, request, changed: shown, memo, cache: Some(cache) };
            let mut result = fetch::fetch(disk, root, folder, wanted).await;
            if let Ok(Fetched { page, .. }) = &mut result {
                page.gone |= gone;
                page.next = page.next.or(next);
            }
            Done::new(Outcome::Fetched { caller, ticket, selection, mailbox, changed, result })
        });
        self.run(task, desk);
    }

    pub(super) fn finish_fetch(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<FetchPage, Refusal>>,
        selection: SelectionId,
        (mailbox, changed): (&MailboxKey, &UidSet),
        result: Result<Fetched, StoreError>,
        desk: &mut Desk<'_>,
    ) {
        let answer = match result {
            Ok(Fetched { page, learned, memo, cache }) => {
                if let Some(selection) = self.selections.get_mut(&selection) {
                    selection.memo = memo;
                }
                self.note_learned(mailbox, &learned, desk);
                self.note_cache(mailbox, cache, desk);
                self.report_unreadable(mailbox, &page.unreadable, desk);
                let rows = page.rows.iter().map(|row| row.uid).collect();
                self.tell_of_flags_later(mailbox, &changed.difference(&rows), desk);
                Ok(page)
            }
            Err(error) => {
                trouble(&place(mailbox), &error, desk);
                self.tell_of_flags_later(mailbox, changed, desk);
                Err(refusal(&error))
            }
        };
        desk.imap(caller, Answer::Fetch(ticket.answer(answer)));
    }

    /// These have become `\Seen`, and the page that was to say so does not: it failed, or ends before them.
    fn tell_of_flags_later(&mut self, mailbox: &MailboxKey, uids: &UidSet, desk: &mut Desk<'_>) {
        if uids.is_empty() {
            return;
        }
        let untold: Vec<Change> = uids.iter().map(Change::Flags).collect();
        if let Some(entry) = self.mailboxes.get_mut(mailbox) {
            entry.log.extend(&untold, None);
        }
        self.notify(mailbox, desk);
    }

    /// One line for the first of them: the others are like it.
    fn report_unreadable(&self, mailbox: &MailboxKey, unreadable: &UidSet, desk: &mut Desk<'_>) {
        let Some(uid) = unreadable.first() else { return };
        let state = self.mailboxes.get(mailbox).and_then(|mailbox| mailbox.state.as_ref());
        let message = state.and_then(|state| state.messages.range(uid, uid).next());
        let error = StoreError::new(StoreErrorKind::Access, message.map_or(&[], |message| message.base()));
        trouble(&place(mailbox), &error, desk);
    }

    /// SEARCH, SORT and THREAD: `search` reads among the messages of the scope.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn search<T, F>(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<T, Refusal>>,
        selection: SelectionId,
        within: UidSet,
        answer: fn(Answered<Result<T, Refusal>>) -> Answer,
        search: impl FnOnce(Disk, Root, FolderName, Scope) -> F + Send + 'static,
        desk: &mut Desk<'_>,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let Some((key, state)) = self.selected_state(selection) else {
            return desk.imap(caller, answer(ticket.answer(Err(Refusal::Unavailable))));
        };
        let (mailbox, scope) = (key.clone(), self.scope(key, state, within, desk));
        let MailboxKey { root, folder } = mailbox.clone();
        let task = Task::new(move |disk| async move {
            let (found, trouble) = match search(disk, root, folder, scope).await {
                Ok(found) => (Ok(found), None),
                Err(error) => (Err(refusal(&error)), Some(error)),
            };
            Done::new(Outcome::Answered { caller, mailbox, answer: answer(ticket.answer(found)), trouble })
        });
        self.run(task, desk);
    }

    fn scope(&self, key: &MailboxKey, state: &MailboxState, within: UidSet, desk: &Desk<'_>) -> Scope {
        Scope {
            cache: self.mailboxes.get(key).map(|mailbox| mailbox.cache.directory().clone()),
            messages: state.messages.clone(),
            keywords: state.keywords.clone(),
            history: state.history.clone(),
            within,
            now: desk.now.wall,
        }
    }

    /// ESEARCH: searches all of an opened mailbox; with mod-sequences if they are wanted.
    pub(super) fn search_in(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<FoundIn, Refusal>>,
        key: &MailboxKey,
        (query, modseqs): (Arc<SearchQuery>, bool),
        desk: &mut Desk<'_>,
    ) {
        let Some((mailbox, state)) = self.mailboxes.get(key).and_then(|m| Some((m, m.state.clone()?))) else {
            return desk.imap(caller, Answer::SearchedIn(ticket.answer(Err(Refusal::Unavailable))));
        };
        let all: UidSet = state.messages.iter().map(|message| message.uid).collect();
        let mut query = SearchQuery { recent: mailbox.recent.clone(), ..(*query).clone() };
        let last = all.last().unwrap_or(0);
        query.key.resolve(&mut |_| UidSet::new().into(), &mut |set| set.resolve(last).into());
        let (scope, mailbox) = (self.scope(key, &state, all, desk), key.clone());
        let MailboxKey { root, folder } = key.clone();
        let task = Task::new(move |disk| async move {
            let (answer, trouble) = match search::search(disk, root, folder, scope, Arc::new(query)).await {
                Ok(uids) => {
                    let found = uids.iter().filter(|_| modseqs).filter_map(|uid| state.messages.find(uid));
                    let modseqs = found.map(|message| (message.uid, state.told_modseq(message))).collect();
                    (Ok(FoundIn { uid_validity: state.uid_validity, uids, modseqs }), None)
                }
                Err(error) => (Err(refusal(&error)), Some(error)),
            };
            let answer = Answer::SearchedIn(ticket.answer(answer));
            Done::new(Outcome::Answered { caller, mailbox, answer, trouble })
        });
        self.run(task, desk);
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn copy(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<Copied, Refusal>>,
        selection: SelectionId,
        uids: UidSet,
        target: Result<MailboxKey, Refusal>,
        remove: bool,
        desk: &mut Desk<'_>,
    ) {
        let allowed = if remove { self.writable(selection).map(|_| ()) } else { Ok(()) };
        let found = self.selected_state(selection).ok_or(Refusal::Unavailable);
        let work = allowed.and(target).and_then(|target| {
            let (source, state) = found?;
            let (messages, ..) = page(state, &uids, usize::MAX, None);
            let (source, keywords) = (source.clone(), state.keywords.clone());
            Ok((target, source, messages, keywords))
        });
        match work {
            Ok((target, source, messages, keywords)) => {
                let work = CopyWork { caller, ticket, source, messages, keywords, remove };
                self.enqueue(target, Work::Copy(work), desk);
            }
            Err(refused) => desk.imap(caller, Answer::Copy(ticket.answer(Err(refused)))),
        }
    }

    pub(super) fn status(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<Status, Refusal>>,
        key: &MailboxKey,
        size: bool,
        desk: &mut Desk<'_>,
    ) {
        let Some(mailbox) = self.mailboxes.get(key) else { return };
        let Some(state) = &mailbox.state else { return };
        let status = Self::status_of(state, mailbox.recent.count() as u32);
        let with_sizes = move |total: TotalSizes| Status {
            size: Some(total.wire),
            deleted_size: Some(total.deleted),
            ..status
        };
        let known =
            if size { fetch::known_total_sizes(&state.messages).map(with_sizes) } else { Some(status) };
        if let Some(status) = known {
            return desk.imap(caller, Answer::Status(ticket.answer(Ok(status))));
        }
        let (messages, mailbox) = (state.messages.clone(), key.clone());
        let MailboxKey { root, folder } = key.clone();
        let task = Task::new(move |disk| async move {
            let (answer, trouble) = match fetch::total_sizes(disk, root, folder, messages).await {
                Ok(total) => (Ok(with_sizes(total)), None),
                Err(error) => (Err(refusal(&error)), Some(error)),
            };
            Done::new(Outcome::Answered {
                caller,
                mailbox,
                answer: Answer::Status(ticket.answer(answer)),
                trouble,
            })
        });
        self.run(task, desk);
    }

    /// Staged messages that no mailbox takes are removed.
    pub(super) fn discard(&mut self, key: &MailboxKey, messages: Vec<Append>, desk: &mut Desk<'_>) {
        if messages.is_empty() {
            return;
        }
        let (ctx, MailboxKey { root, folder }) = (self.context.clone(), key.clone());
        let staged = messages.into_iter().map(|message| message.staged).collect();
        let task = Task::new(move |disk| async move {
            discard_staged(disk, ctx, root, folder, staged).await;
            Done::new(Outcome::Discarded)
        });
        self.run(task, desk);
    }

    /// The highest mod-sequence of these messages.
    pub(super) fn highest_of(&self, selection: SelectionId, uids: &UidSet) -> u64 {
        let Some((_, state)) = self.selected_state(selection) else { return 0 };
        let messages = uids.ranges().iter().flat_map(|range| state.messages.range(range.first, range.last));
        messages.map(|message| state.told_modseq(message)).max().unwrap_or(0)
    }

    /// Which of these have gone since a mod-sequence.
    pub(super) fn vanished_since(&self, selection: SelectionId, modseq: u64, uids: &UidSet) -> UidSet {
        self.selected_state(selection).map_or(UidSet::new(), |(_, state)| state.vanished_since(modseq, uids))
    }

    pub(super) fn selected_state(&self, selection: SelectionId) -> Option<(&MailboxKey, &MailboxState)> {
        let key = &self.selections.get(&selection)?.mailbox;
        Some((key, self.state(key)?))
    }

    /// Sizes and dates that had to be looked up are not looked up again.
    fn note_learned(&mut self, key: &MailboxKey, learned: &[Learned], desk: &Desk<'_>) {
        let Some(mailbox) = self.mailboxes.get_mut(key).filter(|_| !learned.is_empty()) else { return };
        let Some(state) = mailbox.state.as_mut() else { return };
        for fact in learned {
            if let Some(message) = state.messages.find_mut(fact.uid) {
                fact.correct(message);
            }
        }
        mailbox.plan(desk.now.instant);
    }
}

/// The first messages of a set that have changed since a mod-sequence, if there is one: they, whether some are gone,
/// and the UID to go on with.
pub(super) fn page(
    state: &MailboxState,
    uids: &UidSet,
    count: usize,
    since: Option<u64>,
) -> (Vec<Message>, bool, Option<u32>) {
    let (mut messages, mut gone) = (Vec::new(), false);
    for range in uids.ranges() {
        let mut there = 0;
        for message in state.messages.range(range.first, range.last) {
            there += 1;
            if since.is_some_and(|modseq| !state.has_changed_since(message, modseq)) {
                continue;
            }
            if messages.len() == count {
                return (messages, gone, Some(message.uid));
            }
            messages.push(Message { modseq: state.told_modseq(message), ..message.clone() });
        }
        gone |= there < range.count();
    }
    (messages, gone, None)
}

/// A page that needs no file, if the request is such and all is known of its first message.
fn render_known(state: &MailboxState, uids: &UidSet, request: &FetchRequest) -> Option<FetchPage> {
    if request.items.contains(&FetchItem::ModSeq) {
        // Those that cannot be told as they are take the longer way, by `page`.
        state.shown_modseq()?;
    }
    let mut page = FetchPage::default();
    for range in uids.ranges() {
        let mut there = 0;
        for message in state.messages.range(range.first, range.last) {
            there += 1;
            if request.changed_since.is_some_and(|modseq| !state.has_changed_since(message, modseq)) {
                continue;
            }
            let full = page.rows.len() == PAGE_MESSAGES;
            if full || !fetch::render_known(message, &state.keywords, request, &mut page.bytes) {
                page.next = Some(message.uid);
                return (!page.rows.is_empty()).then_some(page);
            }
            page.rows.push(FetchRow { uid: message.uid, end: page.bytes.len() });
        }
        page.gone |= there < range.count();
    }
    Some(page)
}
