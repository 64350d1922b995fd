//! One mailbox as the process knows it: the messages with their UIDs and flags, and what changed.
//!
//! A [`MailboxState`] is a value. A store operation takes one, works on the disk, and returns the next one
//! with the [`Change`]s between the two; the office adopts it only then, so nothing is shown before it is
//! durable. Copies are cheap: messages live in shared chunks ([`Messages`]), copied when written to.
//!
//! ```
//! use postier_core::imap::flag::FlagSet;
//! use postier_core::maildir::mailbox::{Message, Messages};
//!
//! let mut messages = Messages::default();
//! let named = FlagSet::from_bits(u32::MAX);
//! messages.push(Message::new(3, Box::from(&b"1700000000.M1P7.mx,S=9,W=11:2,S"[..]), false, named, 1));
//! assert_eq!(messages.find(3).and_then(|message| message.wire_size), Some(11));
//! ```

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::disk::{Kind, Stat};
use crate::imap::flag::FlagSet;
use crate::imap::sequence::{NumberRange, UidSet};
use crate::maildir::history::History;
use crate::maildir::listing::{YOUNG_NS, is_old};
use crate::maildir::name::FileName;

/// Messages per chunk: a change copies one chunk, a snapshot copies one pointer per chunk.
const CHUNK_MESSAGES: usize = 256;

/// One message of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its UID.
    pub uid: u32,
    /// Length of the base name: `file[..base_len]` identifies the message, the rest is `:2,` and flags.
    pub base_len: u16,
    /// True while the file lies in `new/`, false in `cur/`.
    pub in_new: bool,
    /// File name as it is in the directory.
    pub file: Box<[u8]>,
    /// Flags and keywords, as the file name has them.
    pub flags: FlagSet,
    /// Mod-sequence of the last change (RFC 7162).
    pub modseq: u64,
    /// Size of the file in octets, if known (`,S=`).
    pub size: Option<u64>,
    /// Size with CRLF line ends, RFC822.SIZE, if known (`,W=`).
    pub wire_size: Option<u64>,
    /// INTERNALDATE in seconds since 1970 (the file's mtime), if known.
    pub internal_date: Option<i64>,
    /// When it was copied here, in seconds since 1970; `None` for what is no copy.
    pub copied: Option<NonZeroU32>,
}

impl Message {
    /// The message of a file called `file`; flags with a letter outside `named` are passed over.
    pub fn new(uid: u32, file: Box<[u8]>, in_new: bool, named: FlagSet, modseq: u64) -> Message {
        let name = FileName::parse(&file);
        Message {
            uid,
            // A directory entry is at most 255 octets long.
            base_len: u16::try_from(name.base().len()).unwrap_or(u16::MAX),
            in_new,
            flags: name.flags().intersect(named),
            modseq,
            size: name.size(),
            wire_size: name.virtual_size(),
            internal_date: None,
            copied: None,
            file,
        }
    }

    /// What identifies the file across flag changes: the name up to the first `:`.
    pub fn base(&self) -> &[u8] {
        self.file.get(..usize::from(self.base_len)).unwrap_or(&self.file)
    }

    /// SAVEDATE in seconds since 1970 (RFC 8514 §3): when it came into this mailbox, which never changes while it is
    /// there. `None` where neither the uidlist nor the name tells: the best guess is then when the file was last
    /// touched.
    pub fn save_date(&self) -> Option<i64> {
        let seconds = self.copied.map(NonZeroU32::get).or_else(|| FileName::parse(&self.file).made_at());
        seconds.map(i64::from)
    }
}

/// Messages in ascending UID order, in shared chunks.
///
/// A position is a zero-based index; sequence number minus one if the session has seen every change.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    chunks: Vec<Arc<Vec<Message>>>,
    len: usize,
}

impl Messages {
    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In ascending UID order.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Those with `first <= uid <= last`, ascending.
    pub fn range(&self, first: u32, last: u32) -> impl Iterator<Item = &Message> {
        let start = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|m| m.uid < first));
        self.chunks
            .get(start..)
            .unwrap_or_default()
            .iter()
            .flat_map(|chunk| chunk.iter())
            .skip_while(move |m| m.uid < first)
            .take_while(move |m| m.uid <= last)
    }

    /// How many have `first <= uid <= last`.
    pub fn count(&self, first: u32, last: u32) -> u64 {
        let start = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|m| m.uid < first));
        let mut count = 0;
        for chunk in self.chunks.get(start..).unwrap_or_default() {
            let from = chunk.partition_point(|m| m.uid < first);
            let to = chunk.partition_point(|m| m.uid <= last);
            count += to.saturating_sub(from) as u64;
            if to < chunk.len() {
                break;
            }
        }
        count
    }

    /// The message with this UID.
    pub fn find(&self, uid: u32) -> Option<&Message> {
        let (chunk, index) = self.locate(uid)?;
        self.chunks.get(chunk)?.get(index)
    }

    /// The message with this UID, to change it; copies its chunk if a snapshot shares it.
    pub fn find_mut(&mut self, uid: u32) -> Option<&mut Message> {
        let (chunk, index) = self.locate(uid)?;
        Arc::make_mut(self.chunks.get_mut(chunk)?).get_mut(index)
    }

    /// The last one.
    pub fn last(&self) -> Option<&Message> {
        self.chunks.last()?.last()
    }

    /// Adds a message whose UID is above all others; false (and nothing done) if it is not.
    pub fn push(&mut self, message: Message) -> bool {
        if self.last().is_some_and(|last| last.uid >= message.uid) {
            return false;
        }
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_MESSAGES => Arc::make_mut(chunk).push(message),
            Some(_) | None => self.chunks.push(Arc::new(Vec::from([message]))),
        }
        self.len += 1;
        true
    }

    /// Takes the message with this UID out.
    pub fn remove(&mut self, uid: u32) -> Option<Message> {
        let (at, index) = self.locate(uid)?;
        let chunk = Arc::make_mut(self.chunks.get_mut(at)?);
        let message = chunk.remove(index);
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
        self.len -= 1;
        Some(message)
    }

    /// Keeps only what the predicate says; chunks without a change stay shared.
    pub fn retain(&mut self, mut keep: impl FnMut(&Message) -> bool) {
        for chunk in &mut self.chunks {
            if chunk.iter().any(|m| !keep(m)) {
                Arc::make_mut(chunk).retain(&mut keep);
            }
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.len = self.chunks.iter().map(|chunk| chunk.len()).sum();
    }

    /// Whether these are the same chunks: cheap, and true only if nothing differs.
    pub(super) fn is_same(&self, other: &Messages) -> bool {
        let chunks = || self.chunks.iter().zip(&other.chunks);
        self.chunks.len() == other.chunks.len() && chunks().all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// How these differ from those `before`: UIDs that are gone, and messages that are new or other. Chunks that
    /// both have in common cost nothing.
    pub(super) fn difference<'m>(
        &'m self,
        before: &Messages,
        gone: &mut UidSet,
        changed: &mut Vec<&'m Message>,
    ) {
        let (mut new, mut old) = (Cursor::new(&self.chunks), Cursor::new(&before.chunks));
        loop {
            if let (Some(a), Some(b)) = (new.whole_chunk(), old.whole_chunk())
                && Arc::ptr_eq(a, b)
            {
                new.pass_chunk();
                old.pass_chunk();
                continue;
            }
            match (new.message(), old.message()) {
                (None, None) => return,
                (Some(a), Some(b)) if a.uid == b.uid => {
                    if a != b {
                        changed.push(a);
                    }
                    new.pass();
                    old.pass();
                }
                (Some(a), Some(b)) if b.uid < a.uid => {
                    gone.push(b.uid);
                    old.pass();
                }
                (Some(a), _) => {
                    changed.push(a);
                    new.pass();
                }
                (None, Some(b)) => {
                    gone.push(b.uid);
                    old.pass();
                }
            }
        }
    }

    fn locate(&self, uid: u32) -> Option<(usize, usize)> {
        let at = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|m| m.uid < uid));
        let index = self.chunks.get(at)?.binary_search_by_key(&uid, |m| m.uid).ok()?;
        Some((at, index))
    }
}

/// A place among messages.
struct Cursor<'m> {
    chunks: &'m [Arc<Vec<Message>>],
    index: usize,
}

impl<'m> Cursor<'m> {
    fn new(chunks: &'m [Arc<Vec<Message>>]) -> Cursor<'m> {
        Cursor { chunks, index: 0 }
    }

    /// The chunk that begins here.
    fn whole_chunk(&self) -> Option<&'m Arc<Vec<Message>>> {
        self.chunks.first().filter(|_| self.index == 0)
    }

    fn message(&self) -> Option<&'m Message> {
        self.chunks.first()?.get(self.index)
    }

    fn pass_chunk(&mut self) {
        self.chunks = self.chunks.get(1..).unwrap_or_default();
        self.index = 0;
    }

    fn pass(&mut self) {
        self.index += 1;
        if self.chunks.first().is_some_and(|chunk| self.index >= chunk.len()) {
            self.pass_chunk();
        }
    }
}

/// What tells that a file or directory is the one seen before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
    /// Size in octets; 0 for directories.
    pub size: u64,
    /// Modification time in nanoseconds.
    pub mtime_ns: i64,
}

impl Stamp {
    /// The stamp of a file or directory.
    pub fn of(stat: &Stat) -> Stamp {
        let size = if stat.kind == Kind::Directory { 0 } else { stat.size };
        Stamp { inode: stat.inode, device: stat.device, size, mtime_ns: stat.mtime_ns }
    }
}

/// Everything the process knows of one mailbox.
#[derive(Clone, Debug, Default)]
pub struct MailboxState {
    /// UIDVALIDITY, not zero.
    pub uid_validity: u32,
    /// The UID the next message will get at least.
    pub uid_next: u32,
    /// The mailbox's GUID, later its MAILBOXID.
    pub guid: [u8; 16],
    /// Other fields of the first line of `dovecot-uidlist` (key, value), kept as they are.
    pub uidlist_others: Vec<(u8, Vec<u8>)>,
    /// The highest mod-sequence handed out; [`MailboxState::shown_modseq`] is the one to tell.
    pub highest_modseq: u64,
    /// Mod-sequences below this may be told: `dovecot-uidlist` says so, durably, and after a crash all begin above.
    pub modseq_limit: u64,
    /// What is gone, and of which time nothing is known.
    pub history: Arc<History>,
    /// Names of keywords a to z, by index. A letter without a name that can be told to a client is empty
    /// here, and no message has its flag: such letters stay in the file names and are otherwise passed over.
    pub keywords: Arc<Vec<String>>,
    /// The messages.
    pub messages: Messages,
    /// `dovecot-uidlist` as last read or written.
    pub uidlist_stamp: Stamp,
    /// Records in the file, live or not: when many are dead it is rewritten.
    pub uidlist_records: u32,
    /// The file has debris or is not of version 3: the next writer writes it anew.
    pub uidlist_wants_rewrite: bool,
    /// `dovecot-keywords` as last read or written.
    pub keywords_stamp: Stamp,
    /// `cur/` at the last scan.
    pub cur_stamp: Stamp,
    /// `new/` at the last scan.
    pub new_stamp: Stamp,
    /// When the directories were last scanned (wall clock, ns): one whose time was younger than 2 s at that
    /// moment may have changed since without showing it.
    pub scanned_at_ns: i64,
    /// When an operation of ours changed the directories as the stamps have them (wall clock, ns; 0: not since
    /// they were scanned). Until they can be scanned for good there is no need to look for what we did ourselves.
    pub own_change_at_ns: i64,
    /// It is what the index file says and has not been compared with the directories yet, nor is it known whether a
    /// client was told of later changes.
    pub unverified: bool,
    /// This process has removed what crashes have left in `tmp/`.
    pub tmp_purged: bool,
    /// True if the directories cannot be written: SELECT answers READ-ONLY.
    pub read_only: bool,
    /// Something waits for the lock, which somebody else has: messages without a UID, or some whose file was not
    /// seen. A later look tells.
    pub pending: bool,
}

impl MailboxState {
    /// The GUID, if `dovecot-uidlist` has it: one that is only in memory may be another one after a crash.
    pub fn durable_guid(&self) -> Option<[u8; 16]> {
        Some(self.guid).filter(|guid| !self.uidlist_wants_rewrite && *guid != [0; 16])
    }

    /// HIGHESTMODSEQ (RFC 7162 §3.1.2.1); `None` while no mod-sequence can be told (NOMODSEQ), because the reservation
    /// that survives a crash could not be written: the mailbox is read-only, or another program has its lock.
    pub fn shown_modseq(&self) -> Option<u64> {
        (self.highest_modseq < self.modseq_limit).then_some(self.highest_modseq)
    }

    /// The mod-sequence of a message's last change, as far as it may be told: after a crash all begin above that.
    pub fn told_modseq(&self, message: &Message) -> u64 {
        message.modseq.min(self.modseq_limit.saturating_sub(1)).max(1)
    }

    /// Whether a message has changed since `modseq`, as far as is known: CHANGEDSINCE (RFC 7162 §3.1.4.1), and
    /// UNCHANGEDSINCE the other way round (§3.1.3). When in doubt it has.
    pub fn has_changed_since(&self, message: &Message, modseq: u64) -> bool {
        message.modseq > modseq || !self.history.knows(modseq)
    }

    /// Those of these UIDs that have gone since `modseq`: VANISHED (EARLIER) (RFC 7162 §3.2.6). Where the past is not
    /// known, all of them that do not exist.
    pub fn vanished_since(&self, modseq: u64, asked: &UidSet) -> UidSet {
        if let Some(gone) = self.history.expunged_since(modseq) {
            return gone.intersect(asked);
        }
        let mut given = UidSet::new();
        if let Some(last) = self.uid_next.checked_sub(1).filter(|last| *last > 0) {
            given.push_range(NumberRange { first: 1, last });
        }
        let mut present = UidSet::new();
        self.messages.iter().for_each(|message| present.push(message.uid));
        asked.intersect(&given).difference(&present)
    }

    /// Takes a message out that is gone for good; false if there is none.
    pub(super) fn expunge(&mut self, uid: u32, modseq: u64) -> bool {
        let there = self.messages.remove(uid).is_some();
        if there {
            Arc::make_mut(&mut self.history).expunge(modseq, uid);
        }
        there
    }

    /// Whether so few of the mod-sequences that may be told are left that others have to be reserved.
    pub(super) fn wants_modseqs(&self) -> bool {
        self.highest_modseq.saturating_add(MODSEQS_LEFT_MIN) > self.modseq_limit
    }

    /// Up to where they are to be reserved then.
    pub(super) fn next_modseq_limit(&self) -> u64 {
        match self.wants_modseqs() {
            true => self.highest_modseq.saturating_add(MODSEQS_RESERVED),
            false => self.modseq_limit,
        }
    }

    /// Whether a change that the directories do not show any more by their times would have been seen.
    pub(crate) fn trusts_scan(&self) -> bool {
        let old = |stamp: Stamp| is_old(self.scanned_at_ns, stamp.mtime_ns, YOUNG_NS);
        self.own_change_at_ns == 0 && old(self.cur_stamp) && old(self.new_stamp)
    }
}

/// So many mod-sequences are reserved at once. In a browser's number there is room for a million reservations.
const MODSEQS_RESERVED: u64 = 1 << 32;
/// When fewer are left, others are reserved.
const MODSEQS_LEFT_MIN: u64 = 1 << 20;
/// So many Dovecot can have told above the reservation, from which it goes on (`postier user leave`), before the mailbox
/// is ours again. After an hour the clock is above them in any case.
const MODSEQS_OF_DOVECOT: u64 = 1 << 28;

/// Where a process begins that does not know what was told: `limit` is what `dovecot-uidlist` says, 0 if it says nothing.
pub(super) fn first_modseq_above(limit: u64) -> u64 {
    if limit == 0 { 0 } else { limit.saturating_add(MODSEQS_OF_DOVECOT) }
}

/// One entry of a mailbox's change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new message with this UID.
    Appended(u32),
    /// The message is gone for good.
    Expunged(u32),
    /// Its flags or keywords are other than before.
    Flags(u32),
    /// The mailbox has a new keyword: FLAGS and PERMANENTFLAGS are to be told again.
    Keywords,
    /// UIDVALIDITY is another one: every session must leave.
    Reset,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(uid: u32) -> Message {
        Message::new(uid, Box::from(&b"m:2,"[..]), false, FlagSet::EMPTY, 1)
    }

    #[test]
    fn a_snapshot_does_not_see_later_changes() {
        let mut messages = Messages::default();
        for uid in (1..=1000).map(|n| n * 3) {
            assert!(messages.push(message(uid)));
        }
        assert!(!messages.push(message(3000)));
        let snapshot = messages.clone();
        messages.find_mut(300).unwrap().modseq = 9;
        assert!(messages.remove(600).is_some() && messages.remove(601).is_none());
        messages.retain(|m| m.uid > 900);
        assert_eq!((snapshot.len(), messages.len()), (1000, 700));
        assert_eq!(snapshot.find(300).map(|m| m.modseq), Some(1));
        assert_eq!(messages.range(1, 910).map(|m| m.uid).collect::<Vec<_>>(), [903, 906, 909]);
        assert_eq!(messages.range(2999, u32::MAX).count(), 1);
        assert_eq!(messages.iter().count(), 700);
    }
}
