//! The pure part of a look at a mailbox: what was known, what the control files say, what the directories
//! hold, put together.
//!
//! It decides which file is which message. It does not give out UIDs and expunges nothing: files without a
//! UID and messages without a file are reported ([`Merge::unknown`], [`Merge::missing`]), for the lock is
//! needed to act on them.

use super::history::History;
use super::keywords::{Keywords, is_keyword};
use super::listing::Listing;
use super::mailbox::{Change, MailboxState, Message, Stamp, first_modseq_above};
use super::uidlist::{Tail, Uidlist};
use crate::imap::flag::{FlagSet, KEYWORDS_MAX};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What `dovecot-uidlist` says.
pub(super) enum ListSeen<'a> {
    /// The same as in the state that is known.
    Unchanged,
    /// It was read.
    Read(Uidlist<'a>, Stamp),
    /// It does not exist, or is broken: a new one is to be made.
    Unusable,
}

/// What `dovecot-keywords` says.
pub(super) enum KeywordsSeen {
    /// The same as in the state that is known.
    Unchanged,
    /// It was read; an absent file is an empty one with an empty stamp.
    Read(Box<Keywords>, Stamp),
}

/// The outcome of putting it all together.
#[derive(Debug, Default)]
pub(super) struct Merge {
    /// The next state, without what [`Merge::unknown`] and [`Merge::missing`] tell.
    pub(super) state: MailboxState,
    /// What is other than in the state before.
    pub(super) changes: Vec<Change>,
    /// Indexes of files in the listing that no message has.
    pub(super) unknown: Vec<usize>,
    /// UIDs of messages whose file is not in the listing; they are still in the state.
    pub(super) missing: Vec<u32>,
    /// The uidlist has records without a file; the listing must be stable before that is believed.
    pub(super) absent: bool,
    /// Some file has two names.
    pub(super) doubled: bool,
    /// There is no usable uidlist: UIDVALIDITY is to be chosen.
    pub(super) creates: bool,
    /// The uidlist was read, but may be gone after a crash: it is to be written anew before it is shown.
    pub(super) unsure: bool,
    /// The mod-sequence of all that is found out in this look.
    pub(super) modseq: u64,
}

impl Merge {
    /// Whether what is left to do needs the lock.
    pub(super) fn wants_lock(&self) -> bool {
        self.has_messages_waiting() || self.state.wants_modseqs()
    }

    /// Whether something is to be done for messages' sake that needs the lock.
    pub(super) fn has_messages_waiting(&self) -> bool {
        self.creates || self.unsure || self.doubled || !self.unknown.is_empty() || !self.missing.is_empty()
    }
}

/// The names of the letters as clients may see them; empty where there is none.
pub(super) fn shown_keywords(keywords: &Keywords) -> Vec<String> {
    let shown = |index: usize| {
        let name = keywords.name(index as u8).filter(|name| is_keyword(name)).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    };
    let mut names: Vec<String> = (0..KEYWORDS_MAX).map(shown).collect();
    while names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    names
}

/// The system flags and the letters that have a name: the flags that a message of this mailbox can have.
pub(super) fn named_flags(keywords: &[String]) -> FlagSet {
    let named = keywords.iter().enumerate().filter(|(_, name)| !name.is_empty());
    let system = FlagSet::from_bits(u32::MAX).system();
    named.fold(system, |flags, (index, _)| flags.with_keyword(index))
}

/// Puts together what is seen. `first_modseq` is where the mod-sequences of a mailbox begin that was not
/// known before.
pub(super) fn merge(
    previous: Option<&MailboxState>,
    list: &ListSeen<'_>,
    keywords: &KeywordsSeen,
    listing: &Listing,
    first_modseq: u64,
) -> Merge {
    let list =
        if previous.is_some_and(|previous| goes_back(previous, list)) { &ListSeen::Unusable } else { list };
    let known = previous.filter(|previous| continues(previous, list));
    let mut merge = begin(previous, known, list, first_modseq);
    merge.doubled = !listing.doubles.is_empty();
    take_header(&mut merge, list);
    take_keywords(&mut merge, keywords);
    let mut claimed = Vec::from_iter(core::iter::repeat_n(false, listing.entries.len()));
    let appended = take_records(&mut merge, list, known, listing, &mut claimed);
    let superseded = take_files(&mut merge, listing, &mut claimed);
    for uid in superseded {
        merge.state.expunge(uid, merge.modseq);
        merge.changes.push(Change::Expunged(uid));
    }
    for message in appended {
        let uid = message.uid;
        if merge.state.messages.push(message) {
            merge.changes.push(Change::Appended(uid));
        }
    }
    merge.unknown = (0..listing.entries.len()).filter(|index| claimed.get(*index) == Some(&false)).collect();
    match known {
        Some(previous) if merge.changes.is_empty() && !previous.unverified => {
            merge.state.highest_modseq = previous.highest_modseq;
        }
        Some(_) => {}
        // Of a mailbox that is new to us nothing has changed; of one that is another now, everything.
        None => merge.changes = previous.map(|_| Change::Reset).into_iter().collect(),
    }
    merge
}

/// The state that the look goes on from, and the mod-sequence of what it finds.
fn begin(
    previous: Option<&MailboxState>,
    known: Option<&MailboxState>,
    list: &ListSeen<'_>,
    first_modseq: u64,
) -> Merge {
    let after = previous.map_or(0, |previous| previous.highest_modseq.saturating_add(1));
    let reserved = match list {
        ListSeen::Unchanged => previous.map_or(0, |previous| previous.modseq_limit),
        ListSeen::Read(list, _) => list.header.modseq_limit(),
        ListSeen::Unusable => 0,
    };
    // Above all that an earlier process, ours or Dovecot, can have told.
    let start = first_modseq.max(after).max(first_modseq_above(reserved));
    let mut merge = Merge::default();
    match known {
        Some(known) if known.unverified => {
            merge.state = known.clone();
            let start = start.max(first_modseq_above(known.modseq_limit));
            Arc::make_mut(&mut merge.state.history).lose(known.highest_modseq, start);
            merge.modseq = start;
        }
        Some(known) => {
            merge.state = known.clone();
            merge.modseq = after;
        }
        None => {
            merge.state.history = Arc::new(History::starting_at(start));
            merge.modseq = start;
        }
    }
    merge.state.modseq_limit = reserved;
    merge.state.highest_modseq = merge.modseq;
    merge
}

/// Whether UIDs that were given away are free again with the same UIDVALIDITY, after a restored backup say.
fn goes_back(previous: &MailboxState, list: &ListSeen<'_>) -> bool {
    match list {
        ListSeen::Unchanged | ListSeen::Unusable => false,
        ListSeen::Read(list, _) => {
            list.header.uidvalidity == previous.uid_validity && list.next_uid() < previous.uid_next
        }
    }
}

/// Whether the state known before is one of the same mailbox.
fn continues(previous: &MailboxState, list: &ListSeen<'_>) -> bool {
    match list {
        ListSeen::Unchanged => true,
        ListSeen::Read(list, _) => list.header.uidvalidity == previous.uid_validity,
        ListSeen::Unusable => false,
    }
}

fn take_header(merge: &mut Merge, list: &ListSeen<'_>) {
    let state = &mut merge.state;
    match list {
        ListSeen::Unchanged => {}
        ListSeen::Read(list, stamp) => {
            state.uid_validity = list.header.uidvalidity;
            state.uid_next = list.next_uid();
            state.guid = list.header.guid.unwrap_or(state.guid);
            state.uidlist_others = list.header.others.clone();
            state.uidlist_stamp = *stamp;
            state.uidlist_records = u32::try_from(list.records.len()).unwrap_or(u32::MAX);
            state.uidlist_wants_rewrite = list.wants_rewrite || list.tail != Tail::Clean;
        }
        ListSeen::Unusable => merge.creates = true,
    }
}

fn take_keywords(merge: &mut Merge, seen: &KeywordsSeen) {
    let KeywordsSeen::Read(keywords, stamp) = seen else { return };
    merge.state.keywords_stamp = *stamp;
    let shown = shown_keywords(keywords);
    if shown != *merge.state.keywords {
        merge.state.keywords = Arc::new(shown);
        merge.changes.push(Change::Keywords);
    }
}

/// Takes the records that are not known yet; returns the messages of those that have a file, in UID order.
fn take_records(
    merge: &mut Merge,
    list: &ListSeen<'_>,
    known: Option<&MailboxState>,
    listing: &Listing,
    claimed: &mut [bool],
) -> Vec<Message> {
    let ListSeen::Read(list, _) = list else { return Vec::new() };
    let first_new = known.map_or(0, |known| known.uid_next);
    let named = named_flags(&merge.state.keywords);
    let mut messages = Vec::new();
    // Backwards, because of two records with one name the later counts.
    for record in list.records.iter().rev().take_while(|record| record.uid >= first_new) {
        let Some(index) = listing.find(record.base) else {
            merge.absent = true;
            continue;
        };
        let (Some(entry), Some(claimed @ false)) = (listing.entries.get(index), claimed.get_mut(index))
        else {
            continue;
        };
        *claimed = true;
        let modseq = merge.modseq;
        let mut message = Message::new(record.uid, entry.file.clone(), entry.in_new, named, modseq);
        message.size = record.size();
        message.wire_size = record.virtual_size();
        message.copied = record.saved();
        messages.push(message);
    }
    messages.reverse();
    messages
}

/// Looks for the file of each known message, and takes over what another program has changed. Returns the
/// messages whose file is another's now: a later record has the same name.
fn take_files(merge: &mut Merge, listing: &Listing, claimed: &mut [bool]) -> Vec<u32> {
    let named = named_flags(&merge.state.keywords);
    let modseq = merge.modseq;
    let (mut moved, mut superseded) = (Vec::new(), Vec::new());
    for message in merge.state.messages.iter() {
        let found = listing.find(message.base());
        if let Some(claimed) = found.and_then(|index| claimed.get_mut(index)) {
            if *claimed {
                superseded.push(message.uid);
                continue;
            }
            *claimed = true;
        }
        let entry = found.and_then(|index| listing.entries.get(index));
        match entry {
            // Of a message in `cur/` a scan of `new/` alone says nothing.
            _ if !listing.with_cur && !message.in_new => {}
            Some(entry) if entry.file == message.file && entry.in_new == message.in_new => {
                // The same name can mean other flags when a letter got or lost its name.
                let now = Message::new(message.uid, message.file.clone(), message.in_new, named, modseq);
                if now.flags != message.flags {
                    moved.push(now);
                }
            }
            Some(entry) => {
                moved.push(Message::new(message.uid, entry.file.clone(), entry.in_new, named, modseq));
            }
            None => merge.missing.push(message.uid),
        }
    }
    for now in moved {
        let Some(message) = merge.state.messages.find_mut(now.uid) else { continue };
        if message.flags != now.flags {
            message.modseq = modseq;
            merge.changes.push(Change::Flags(now.uid));
        }
        (message.file, message.base_len) = (now.file, now.base_len);
        (message.in_new, message.flags) = (now.in_new, now.flags);
    }
    superseded
}
