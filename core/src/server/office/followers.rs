//! Sessions that are told what happens in mailboxes they have not selected (NOTIFY, RFC 5465).
//!
//! A follower names mailboxes by filters; the account's tree of mailboxes (`tree`) says which those are, now and when
//! it changes. Mailboxes whose messages are meant are kept open and watched as selected ones are. What happens is noted
//! once, however often it happens, and told at most every [`NEWS_GAP`]: what is noted is bounded by what is followed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::mailboxes::MailboxKey;
use super::tree::FollowWanted;
use super::work::Work;
use super::{Caller, Desk, Office};
use crate::imap::metadata::Entry;
use crate::imap::notify::{Events, MailboxFilter, events_of};
use crate::imap::server::{Answer, Folder, FolderNews, News, Notice, Refusal};
use crate::machine::Instant;
use crate::maildir::context::Root;
use crate::maildir::folder::FolderName;
use crate::maildir::folders::ListedFolder;
use crate::maildir::mailbox::Change;
use crate::maildir::metadata::Annotated;
use crate::server::FromOffice;
use crate::ticket::Ticket;

/// Between two times that one session is told: what comes in quick succession is told together.
const NEWS_GAP: Duration = Duration::from_millis(200);
/// Messages of the mailboxes whose STATUS one answer has: each is counted.
const NEWS_MESSAGES_MAX: usize = 1 << 18;
/// Changes of folders and annotations that wait to be told to one session.
const NEWS_MAX: usize = 4096;

pub(super) type Groups = Vec<(MailboxFilter<Vec<u8>>, Events)>;

/// A session that follows mailboxes.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) root: Root,
    groups: Groups,
    mailboxes_max: usize,
    /// Mailboxes whose messages it is told of, and whether their flags, too.
    followed: BTreeMap<FolderName, bool>,
    /// Followed mailboxes in which something has happened.
    changed: BTreeSet<FolderName>,
    folders: Vec<FolderNews>,
    annotations: BTreeMap<Option<FolderName>, BTreeSet<Entry>>,
    overflow: bool,
    /// It has been noticed and has not asked since.
    noticed: bool,
    /// It is not noticed again before.
    quiet_until: Instant,
}

impl Follower {
    fn has_news(&self) -> bool {
        self.overflow || !(self.changed.is_empty() && self.folders.is_empty() && self.annotations.is_empty())
    }

    /// What is told of a mailbox.
    fn events_of(&self, folder: &FolderName, subscribed: bool) -> Events {
        events_of(&self.groups, folder.as_bytes(), subscribed)
    }

    fn check_size(&mut self) {
        let annotations: usize = self.annotations.values().map(BTreeSet::len).sum();
        self.overflow |= self.folders.len() + annotations > NEWS_MAX;
    }
}

/// Mailboxes of the tree whose messages are meant, and whether their flags, too.
fn meant(groups: &Groups, tree: &BTreeMap<FolderName, ListedFolder>) -> BTreeMap<FolderName, bool> {
    let there = tree.values().filter(|listed| listed.exists());
    let events = |listed: &ListedFolder| events_of(groups, listed.name.as_bytes(), listed.subscribed);
    let meant = there.map(|listed| (listed, events(listed))).filter(|(_, events)| events.messages);
    meant.map(|(listed, events)| (listed.name.clone(), events.flags)).collect()
}

impl Office {
    /// NOTIFY SET: takes the place of what the session has followed before.
    pub(super) fn start_following(
        &mut self,
        wanted: FollowWanted,
        tree: &BTreeMap<FolderName, ListedFolder>,
        desk: &mut Desk<'_>,
    ) {
        let FollowWanted { caller, ticket, root, groups, mailboxes_max } = wanted;
        let followed = meant(&groups, tree);
        if followed.len() > mailboxes_max {
            return desk.imap(caller, Answer::Followed(ticket.answer(Err(Refusal::TooManyFollowed))));
        }
        let names = followed.keys().map(|name| name.as_bytes().to_vec()).collect();
        let follower = Follower {
            root: root.clone(),
            groups,
            mailboxes_max,
            followed: BTreeMap::new(),
            changed: BTreeSet::new(),
            folders: Vec::new(),
            annotations: BTreeMap::new(),
            overflow: false,
            noticed: false,
            quiet_until: desk.now.instant,
        };
        // Mailboxes that are followed again stay open.
        let before = self.followers.insert(caller, follower);
        self.follow(caller, followed, false, desk);
        if let Some(before) = before {
            let names: Vec<FolderName> = before.followed.into_keys().collect();
            self.unfollow_mailboxes(caller, &root, names, desk);
        }
        desk.imap(caller, Answer::Followed(ticket.answer(Ok(names))));
    }

    /// The session is told nothing any more.
    pub(super) fn stop_following(&mut self, caller: Caller, desk: &mut Desk<'_>) {
        let Some(follower) = self.followers.remove(&caller) else { return };
        let Follower { root, followed, .. } = follower;
        self.unfollow_mailboxes(caller, &root, followed.into_keys().collect(), desk);
        self.forget_tree(&root);
    }

    /// These mailboxes, and no others, are followed from now on. `announces`: those that were not before are told of.
    fn follow(
        &mut self,
        caller: Caller,
        followed: BTreeMap<FolderName, bool>,
        announces: bool,
        desk: &mut Desk<'_>,
    ) {
        let Some(follower) = self.followers.get_mut(&caller) else { return };
        let root = follower.root.clone();
        let before = core::mem::replace(&mut follower.followed, followed);
        let is_new = |name: &&FolderName| !before.contains_key(*name);
        let new: Vec<FolderName> = follower.followed.keys().filter(is_new).cloned().collect();
        let gone: Vec<FolderName> = before.into_keys().collect();
        self.unfollow_mailboxes(caller, &root, gone, desk);
        for folder in new {
            let key = MailboxKey { root: root.clone(), folder };
            let mailbox = self.mailboxes.open(&key);
            mailbox.followers.insert(caller);
            mailbox.announces |= announces && mailbox.state.is_none();
            // First the watch: what happens after the look is seen by it.
            self.watch_if_wanted(&key, desk);
            if self.state(&key).is_none() {
                self.enqueue(key, Work::Sync { move_new: false, then: Vec::new() }, desk);
            }
        }
    }

    /// Leaves those of the mailboxes that the session does not follow any more.
    fn unfollow_mailboxes(
        &mut self,
        caller: Caller,
        root: &Root,
        names: Vec<FolderName>,
        desk: &mut Desk<'_>,
    ) {
        for folder in names {
            let follower = self.followers.get(&caller);
            if follower.is_some_and(|follower| follower.followed.contains_key(&folder)) {
                continue;
            }
            let key = MailboxKey { root: root.clone(), folder };
            if let Some(mailbox) = self.mailboxes.get_mut(&key) {
                mailbox.followers.remove(&caller);
                self.watch_if_wanted(&key, desk);
            }
        }
    }

    /// A followed mailbox has another name.
    pub(super) fn rename_followed(&mut self, key: &MailboxKey, to: &FolderName) {
        let Some(mailbox) = self.mailboxes.get(key) else { return };
        for caller in &mailbox.followers {
            let Some(follower) = self.followers.get_mut(caller) else { continue };
            if let Some(flags) = follower.followed.remove(&key.folder) {
                follower.followed.insert(to.clone(), flags);
            }
            if follower.changed.remove(&key.folder) {
                follower.changed.insert(to.clone());
            }
        }
    }

    /// A followed mailbox is gone with its directory, and so is what its watch would see. If another one has its name when
    /// the tree is looked at the next time, that one is followed.
    pub(super) fn lose_followed(&mut self, key: &MailboxKey, desk: &mut Desk<'_>) {
        let Some(mailbox) = self.mailboxes.get_mut(key) else { return };
        for caller in core::mem::take(&mut mailbox.followers) {
            if let Some(follower) = self.followers.get_mut(&caller) {
                follower.followed.remove(&key.folder);
                follower.changed.remove(&key.folder);
            }
        }
        self.watch_if_wanted(key, desk);
    }

    /// Something has happened in an open mailbox: those who follow it, and have not selected it, are told.
    pub(super) fn tell_followers(&mut self, key: &MailboxKey, changes: &[Change], desk: &mut Desk<'_>) {
        let Some(mailbox) = self.mailboxes.get(key).filter(|mailbox| !mailbox.followers.is_empty()) else {
            return;
        };
        let is_of_messages =
            |change: &Change| matches!(change, Change::Appended(_) | Change::Expunged(_) | Change::Reset);
        let messages = changes.iter().any(is_of_messages);
        if !messages && !changes.iter().any(|change| matches!(change, Change::Flags(_))) {
            return;
        }
        let selecting = mailbox.selected.iter().filter_map(|id| self.selections.get(id));
        let selecting: BTreeSet<Caller> = selecting.map(|selection| selection.caller).collect();
        let callers: Vec<Caller> = mailbox.followers.difference(&selecting).copied().collect();
        for caller in callers {
            let Some(follower) = self.followers.get_mut(&caller) else { continue };
            let flags = follower.followed.get(&key.folder).copied();
            if flags.is_some_and(|flags| flags || messages) {
                follower.changed.insert(key.folder.clone());
                self.notice_news(caller, desk);
            }
        }
    }

    /// Annotations of a mailbox, or of the server, have changed: sessions are told, but for the one that did it
    /// (RFC 5464 §4.4).
    pub(super) fn tell_annotations(
        &mut self,
        (root, of): (&Root, &Annotated),
        entries: &[Entry],
        by: Caller,
        desk: &mut Desk<'_>,
    ) {
        let followers =
            self.followers.iter().filter(|(caller, follower)| **caller != by && follower.root == *root);
        let callers: Vec<Caller> = followers.map(|(caller, _)| *caller).collect();
        for caller in callers {
            let Some(follower) = self.followers.get_mut(&caller) else { continue };
            let (told, name) = match of {
                Annotated::Server => (follower.groups.iter().any(|(_, events)| events.server_metadata), None),
                Annotated::Mailbox(folder) => {
                    let subscribed = self.trees.get(root).is_some_and(|tree| tree.is_subscribed(folder));
                    (follower.events_of(folder, subscribed).metadata, Some(folder.clone()))
                }
            };
            if told {
                follower.annotations.entry(name).or_default().extend(entries.iter().cloned());
                follower.check_size();
                self.notice_news(caller, desk);
            }
        }
    }

    /// The tree of an account has changed: sessions are told, and follow what they mean now.
    pub(super) fn tell_tree(
        &mut self,
        root: &Root,
        news: &[(FolderNews, TreeEvent)],
        tree: &BTreeMap<FolderName, ListedFolder>,
        desk: &mut Desk<'_>,
    ) {
        let followers = self.followers.iter().filter(|(_, follower)| follower.root == *root);
        let callers: Vec<Caller> = followers.map(|(caller, _)| *caller).collect();
        for caller in callers {
            let Some(follower) = self.followers.get_mut(&caller) else { continue };
            for (news, event) in news {
                let of = |name: &[u8]| events_of(&follower.groups, name, event.subscribed);
                // Who means the old name or the new one is told of both.
                let old = news.old_name.as_deref().map_or(Events::NONE, of);
                let events = of(&news.folder.name).union(old);
                if (event.name && events.names) || (event.subscription && events.subscriptions) {
                    follower.folders.push(news.clone());
                }
            }
            follower.check_size();
            let followed = meant(&follower.groups, tree);
            if followed.len() > follower.mailboxes_max {
                follower.overflow = true;
            } else {
                self.follow(caller, followed, true, desk);
            }
            self.notice_news(caller, desk);
        }
    }

    /// Tells a session that there is something to ask for, now or when the time has come.
    fn notice_news(&mut self, caller: Caller, desk: &mut Desk<'_>) {
        let Some(follower) = self.followers.get_mut(&caller) else { return };
        if follower.noticed || !follower.has_news() {
            return;
        }
        if follower.quiet_until > desk.now.instant {
            self.news_due.insert((follower.quiet_until, caller));
            return;
        }
        follower.noticed = true;
        desk.answer(caller, FromOffice::ImapNotice { conn: caller.conn, notice: Notice::News });
    }

    /// Notices those whose time has come.
    pub(super) fn notice_due(&mut self, desk: &mut Desk<'_>) {
        while let Some(&(due, caller)) = self.news_due.first()
            && due <= desk.now.instant
        {
            self.news_due.pop_first();
            self.notice_news(caller, desk);
        }
    }

    /// Answers [`Ask::News`](crate::imap::server::Ask::News) with what is known now, or with some of it if it is much.
    pub(super) fn tell_news(&mut self, caller: Caller, ticket: Ticket<News>, desk: &mut Desk<'_>) {
        let mut news = News::default();
        if let Some(follower) = self.followers.get_mut(&caller) {
            news.overflow = follower.overflow;
            news.folders = core::mem::take(&mut follower.folders);
            let annotations = core::mem::take(&mut follower.annotations).into_iter();
            let stored = |name: Option<FolderName>| name.map(|name| name.as_bytes().to_vec());
            news.annotations =
                annotations.map(|(name, entries)| (stored(name), entries.into_iter().collect())).collect();
            let mut counted = 0;
            while counted < NEWS_MESSAGES_MAX
                && let Some(folder) = follower.changed.pop_first()
            {
                let name = folder.as_bytes().to_vec();
                let key = MailboxKey { root: follower.root.clone(), folder };
                if let Some(mailbox) = self.mailboxes.get(&key)
                    && let Some(state) = &mailbox.state
                {
                    counted += state.messages.len();
                    news.statuses.push((name, Self::status_of(state, mailbox.recent.count() as u32)));
                }
            }
            (follower.noticed, follower.quiet_until) = (false, desk.now.instant.plus(NEWS_GAP));
        }
        desk.imap(caller, Answer::News(ticket.answer(news.clone())));
        if news.overflow {
            self.stop_following(caller, desk);
        }
        self.notice_news(caller, desk);
    }
}

/// What has happened to a mailbox of the tree.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TreeEvent {
    /// It was made, renamed or deleted.
    pub(super) name: bool,
    /// It was subscribed or unsubscribed.
    pub(super) subscription: bool,
    /// It is subscribed, or was before.
    pub(super) subscribed: bool,
}

/// What is told of a mailbox of the tree.
pub(super) fn folder_news(folder: Folder, old_name: Option<&FolderName>) -> FolderNews {
    FolderNews { folder, old_name: old_name.map(|name| name.as_bytes().to_vec()) }
}
