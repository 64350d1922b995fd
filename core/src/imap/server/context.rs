//! Searches that stay alive (RFC 5267 §4.3, RFC 5465 §7): `SEARCH RETURN (UPDATE)` and CANCELUPDATE.
//!
//! A [`Context`] remembers what its client knows as the result, and which messages may have come into it or gone out of
//! it since: those that are new, and those with other flags if flags have a say. Before the command in progress ends, or at
//! once where the client is told at once, these alone are searched again, so a change costs what it changes; what is other
//! than before is told as ADDTO and REMOVEFROM, always at position 0: a result is in the order of the mailbox.
//!
//! A message that is gone leaves the result just before its EXPUNGE; one that is new comes into it after EXISTS and after
//! what NOTIFY fetches of it. Sequence numbers among the keys mean the messages that they meant when the command came, as `$`
//! does; a `*` is whatever message is the last.
//!
//! Contexts belong to the selected mailbox and go with it. One that cannot be kept up, or not any more, is given up with
//! NOUPDATE: if there are too many, or too many ranges in their results, or if time alone changes it (OLDER, YOUNGER).

use super::changes::After;
use super::fetch::Fetching;
use super::select::Mailbox;
use super::session::{Session, Then};
use super::{Ask, Refusal, SearchQuery};
use crate::imap::command::AString;
use crate::imap::fetch::FetchItem;
use crate::imap::response::{Code, Status, write_string, write_untagged};
use crate::imap::search::{Grounds, Search, SearchKey};
use crate::imap::sequence::UidSet;
use crate::send_queue::SendQueue;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A search whose client is told how its result changes.
#[derive(Debug)]
pub(super) struct Context {
    /// Of the command; it names the context.
    tag: Vec<u8>,
    /// The result is told in UIDs.
    uid: bool,
    /// Without sequence numbers; a `*` among UIDs is still one.
    key: SearchKey,
    grounds: Grounds,
    /// What `$` means in the key.
    saved: UidSet,
    /// What to fetch of new messages that match.
    fetch: Vec<FetchItem>,
    /// The result as the client knows it.
    found: UidSet,
    /// They may match other than the client knows.
    doubtful: UidSet,
    /// Those of them that are new in the mailbox.
    fresh: UidSet,
    /// The largest UID that `*` meant last.
    largest: u32,
}

/// The search among doubtful messages while its answer is on its way.
#[derive(Debug)]
pub(super) struct Updating {
    /// The place of the context among those of the mailbox.
    index: usize,
    within: UidSet,
    /// Those of them that are new in the mailbox.
    fresh: UidSet,
    after: After,
}

/// How a result has changed, to be told.
#[derive(Debug)]
pub(super) struct Update {
    index: usize,
    added: UidSet,
    removed: UidSet,
    after: After,
}

impl Context {
    /// Ranges that it remembers.
    fn ranges(&self) -> usize {
        self.found.ranges().len() + self.saved.ranges().len()
    }
}

impl Update {
    pub(super) fn after(&self) -> &After {
        &self.after
    }
}

impl Updating {
    pub(super) fn after(&self) -> &After {
        &self.after
    }
}

impl Session {
    /// Whether the command in progress has the tag of a context.
    pub(super) fn reuses_tag(&self) -> bool {
        let tag = &self.command.tag;
        self.mailbox
            .as_ref()
            .is_some_and(|mailbox| mailbox.contexts.iter().any(|context| context.tag == *tag))
    }

    /// The context that a search with UPDATE opens when it has found something; NOUPDATE if there are too many.
    pub(super) fn new_context(&mut self, search: &Search, tx: &mut SendQueue) -> Option<Box<Context>> {
        let fetch = search.update.clone()?;
        let tag = self.command.tag.clone();
        let mailbox = self.mailbox.as_ref()?;
        if mailbox.contexts.len() >= self.setup.limits.imap_contexts_max {
            tell_no_update(&tag, "There are too many results to keep up already", tx);
            return None;
        }
        let mut key = search.key.clone();
        let view = &mailbox.view;
        key.resolve(&mut |set| set.renumbered(view.len(), |number| view.uid_at(number)), &mut Clone::clone);
        let grounds = key.grounds();
        if grounds.time {
            tell_no_update(&tag, "A result that changes with the time alone is not kept up", tx);
            return None;
        }
        let saved = if grounds.saved { mailbox.saved.clone() } else { UidSet::new() };
        let (found, doubtful, fresh) = Default::default();
        let largest = mailbox.view.last().unwrap_or(0);
        let uid = search.uid;
        Some(Box::new(Context { tag, uid, key, grounds, saved, fetch, found, doubtful, fresh, largest }))
    }

    /// RFC 5267 §4.3.5
    pub(super) fn start_cancel_update(&mut self, tags: &[AString<'_>], tx: &mut SendQueue) {
        let Some(mailbox) = self.mailbox.as_mut() else { return };
        let known = |tag: &AString<'_>| mailbox.contexts.iter().any(|context| context.tag == **tag);
        if !tags.iter().all(known) {
            let text = "There is no such result to keep up; nothing has changed";
            return self.end(Status::No, None, text, tx);
        }
        mailbox.contexts.retain(|context| !tags.iter().any(|tag| context.tag == **tag));
        self.end(Status::Ok, None, "The results are not kept up any more", tx);
    }

    /// Whether a result may have changed. What NOTIFY fetches of a new message comes first (RFC 5465 §5.2).
    pub(super) fn wants_updates(&mut self) -> bool {
        let waits = self.has_new_messages();
        self.mailbox.as_mut().is_some_and(|mailbox| !waits && mailbox.doubtful_context().is_some())
    }

    /// Searches again among the doubtful messages of one context.
    pub(super) fn ask_update(&mut self, after: After) {
        let Some(mailbox) = self.mailbox.as_mut() else { return };
        let Some(index) = mailbox.doubtful_context() else { return };
        let Some(context) = mailbox.contexts.get_mut(index) else { return };
        let (within, fresh) = (core::mem::take(&mut context.doubtful), core::mem::take(&mut context.fresh));
        let largest = mailbox.view.last().unwrap_or(0);
        let (mut key, saved) = (context.key.clone(), context.saved.clone());
        key.resolve(&mut |_| UidSet::new().into(), &mut |set| set.resolve(largest).into());
        let query = Arc::new(SearchQuery { key, recent: mailbox.recent.clone(), saved });
        let (selection, among) = (mailbox.id, within.clone());
        let updating = Updating { index, within, fresh, after };
        self.ask(Then::Update(updating), |ticket| Ask::Search { ticket, selection, within: among, query });
    }

    pub(super) fn handle_updated(
        &mut self,
        updating: Updating,
        answer: Result<UidSet, Refusal>,
        tx: &mut SendQueue,
    ) {
        let Updating { index, within, fresh, after } = updating;
        let Ok(matches) = answer else {
            self.give_up_context(index, tx);
            return self.resume_after(after, tx);
        };
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        let Some(context) = mailbox.contexts.get(index) else { return self.resume_after(after, tx) };
        let matches = mailbox.known_uids(&matches.intersect(&within));
        let added = matches.difference(&context.found);
        let removed = context.found.intersect(&within).difference(&matches);
        // RFC 5465 §7: of a message that was there before nothing is fetched.
        let to_fetch = added.intersect(&fresh);
        let update = Update { index, added, removed, after };
        if context.fetch.is_empty() || to_fetch.is_empty() {
            return self.tell_update(update, tx);
        }
        let request = mailbox.request_unasked(&context.fetch);
        self.ask_page(Fetching::of_update(to_fetch, request, update));
    }

    /// Tells how the result has changed, and goes on.
    pub(super) fn tell_update(&mut self, update: Update, tx: &mut SendQueue) {
        let Update { index, added, removed, after } = update;
        if let Some(mailbox) = self.mailbox.as_mut().filter(|_| !added.is_empty() || !removed.is_empty())
            && let Some(context) = mailbox.contexts.get_mut(index)
        {
            context.found = context.found.difference(&removed).union(&added);
            mailbox.write_update(index, &removed, &added, tx);
            if mailbox.context_ranges() > self.setup.limits.imap_context_ranges_max {
                self.give_up_context(index, tx);
            }
        }
        self.resume_after(after, tx);
    }

    /// The result cannot be kept up; better said than wrong.
    pub(super) fn give_up_context(&mut self, index: usize, tx: &mut SendQueue) {
        if let Some(mailbox) = self.mailbox.as_mut().filter(|mailbox| index < mailbox.contexts.len()) {
            let context = mailbox.contexts.remove(index);
            tell_no_update(&context.tag, "The result cannot be kept up any more, search again", tx);
        }
    }
}

impl Mailbox {
    /// A search has found something, and is to be kept up; NOUPDATE if there are too many ranges with it.
    pub(super) fn open_context(
        &mut self,
        context: Context,
        found: UidSet,
        ranges_max: usize,
        tx: &mut SendQueue,
    ) {
        let context = Context { found, ..context };
        if self.context_ranges() + context.ranges() > ranges_max {
            return tell_no_update(&context.tag, "There is too much in the results to keep them up", tx);
        }
        self.contexts.push(context);
    }

    /// Ranges of all results.
    fn context_ranges(&self) -> usize {
        self.contexts.iter().map(Context::ranges).sum()
    }

    /// From now on there are only UIDs (RFC 9586).
    pub(super) fn tell_contexts_by_uid(&mut self) {
        self.contexts.iter_mut().for_each(|context| context.uid = true);
    }

    /// These messages are new.
    pub(super) fn doubt_new(&mut self, uids: &[u32]) {
        if self.contexts.is_empty() || uids.is_empty() {
            return;
        }
        let uids: UidSet = uids.iter().copied().collect();
        for context in &mut self.contexts {
            context.doubtful = context.doubtful.union(&uids);
            context.fresh = context.fresh.union(&uids);
        }
    }

    /// These messages have other flags than before, maybe.
    pub(super) fn doubt_flags(&mut self, uids: impl Iterator<Item = u32>) {
        if self.contexts.iter().all(|context| !context.grounds.flags) {
            return;
        }
        let uids = self.known_uids(&uids.collect());
        for context in self.contexts.iter_mut().filter(|context| context.grounds.flags) {
            context.doubtful = context.doubtful.union(&uids);
        }
    }

    /// These messages are about to go out of the view: RFC 5267 §4.3.4 wants them out of the results before.
    pub(super) fn leave_results(&mut self, gone: &UidSet, tx: &mut SendQueue) {
        if gone.is_empty() {
            return;
        }
        for index in 0..self.contexts.len() {
            let Some(context) = self.contexts.get_mut(index) else { return };
            context.doubtful = context.doubtful.difference(gone);
            context.fresh = context.fresh.difference(gone);
            let removed = context.found.intersect(gone);
            if !removed.is_empty() {
                context.found = context.found.difference(&removed);
                self.write_update(index, &removed, &UidSet::new(), tx);
            }
        }
    }

    /// The first context with something doubtful in it.
    fn doubtful_context(&mut self) -> Option<usize> {
        let largest = self.view.last().unwrap_or(0);
        for context in self.contexts.iter_mut().filter(|context| context.grounds.largest) {
            // `n:*` is all from n on, and the largest in any case: only what is or was the largest may match other
            // than before.
            if context.largest != largest {
                let ends = [context.largest, largest].into_iter();
                let known: UidSet = ends.filter(|uid| self.view.sequence_of(*uid).is_some()).collect();
                context.doubtful = context.doubtful.union(&known);
                context.largest = largest;
            }
        }
        self.contexts.iter().position(|context| !context.doubtful.is_empty())
    }

    /// Writes how a result has changed. What goes comes first: it is what the client knows.
    fn write_update(&self, index: usize, removed: &UidSet, added: &UidSet, tx: &mut SendQueue) {
        let Some(context) = self.contexts.get(index) else { return };
        tx.write_with(|out| {
            out.extend_from_slice(b"* ESEARCH (TAG ");
            write_string(out, &context.tag);
            out.extend_from_slice(if context.uid { b") UID" } else { b")" });
            for (name, set) in [(&b" REMOVEFROM (0 "[..], removed), (b" ADDTO (0 ", added)] {
                if set.is_empty() {
                    continue;
                }
                out.extend_from_slice(name);
                if context.uid {
                    set.write(out);
                } else {
                    self.numbers_of(set).write(out);
                }
                out.push(b')');
            }
            out.extend_from_slice(b"\r\n");
        });
    }
}

/// RFC 5267 §4.3.1
fn tell_no_update(tag: &[u8], text: &str, tx: &mut SendQueue) {
    tx.write_with(|out| write_untagged(out, Status::No, Some(&Code::NoUpdate(tag)), text));
}
