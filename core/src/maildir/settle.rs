//! Bringing what is known of a mailbox up to date with what is on disk: the common beginning of all
//! operations on it.
//!
//! ```text
//! look ─nothing changed─▶ done
//! look ─all files have UIDs, all messages have files─▶ done
//! look ─otherwise─▶ take the lock ─▶ look again ─▶ prove absences ─▶ give UIDs, write, done
//! ```
//!
//! A message whose file is not seen is expunged only when a scan made under the lock, with both directories
//! unchanged before and after, does not show it either. If no such scan succeeds, the message stays, and the
//! next look tries again: an operation that only wants to know where its files are ([`Absences::LeftOpen`]) does
//! not wait for that. UIDs are durable in `dovecot-uidlist` before anybody sees them. Without the lock
//! (somebody else has it, or nothing can be written) what has UIDs is shown and the rest waits.

use super::context::{At, StoreContext, StoreError, StoreErrorKind, wall_ns};
use super::keywords::Keywords;
use super::known::Known;
use super::list_file::{self, LIST_BYTES_MAX, LIST_NAME};
use super::listing::{DirStamps, Listing, YOUNG_NS, is_old, undouble};
use super::lock::EMPTY_STALE_AFTER;
use super::mailbox::{Change, MailboxState, Message, Stamp};
use super::merge::{KeywordsSeen, ListSeen, Merge, merge, named_flags};
use super::name::FileName;
use super::place::Place;
use super::scope::Scope;
use super::uidlist::{UID_MAX, Uidlist};
use super::uidvalidity;
use crate::disk::{Disk, Errno, Handle};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

/// The name of the keyword table.
pub(super) const KEYWORDS_NAME: &[u8] = b"dovecot-keywords";
/// The largest keyword table that is read, in octets.
pub(super) const KEYWORDS_BYTES_MAX: usize = 64 * 1024;

/// How often an unstable scan is repeated before records without a file are believed to be dead.
const RECORD_PROOFS_MAX: u32 = 6;
/// How often before a known message is left for the next look: at once, and after one pause. Everybody who has the
/// mailbox selected waits for it, and a directory that does not rest for that long need not rest for longer.
const MESSAGE_PROOFS_MAX: u32 = 2;
/// How long somebody who only looks waits for the first list of a mailbox, which whoever has the lock is likely making:
/// without one there is nothing that could be shown. Longer than a lock that a crash has left, in whatever state, holds
/// anybody up.
const LIST_WAIT: Duration = Duration::from_secs(EMPTY_STALE_AFTER.as_secs() + 1);
/// How long to wait before it is repeated: longer than directory times need to show a change.
const PROOF_PAUSE: Duration = Duration::from_millis(60);

/// A state that is up to date, and how it differs from the one before.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) state: MailboxState,
    pub(super) changes: Vec<Change>,
}

/// What becomes of messages whose file is not seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Absences {
    /// Proof is looked for, which takes a while where other programs are busy.
    Proven,
    /// They stay, unless the proof is at hand.
    LeftOpen,
}

/// What was read in one look.
struct Look {
    /// The uidlist with its stamp, if it is there and other than known; and whether it may be gone after a crash.
    list: Option<(Vec<u8>, Stamp, bool)>,
    list_unchanged: bool,
    keywords: KeywordsSeen,
    listing: Listing,
    first_modseq: u64,
}

impl Look {
    fn merge(&self, previous: Option<&MailboxState>) -> Merge {
        let list = match &self.list {
            _ if self.list_unchanged => ListSeen::Unchanged,
            Some((bytes, stamp, _)) => match Uidlist::parse(bytes) {
                Ok(list) => ListSeen::Read(list, *stamp),
                Err(_) => ListSeen::Unusable,
            },
            None => ListSeen::Unusable,
        };
        let mut merge = merge(previous, &list, &self.keywords, &self.listing, self.first_modseq);
        merge.unsure = self.list.as_ref().is_some_and(|(.., unsure)| *unsure);
        merge.state.uidlist_wants_rewrite |= merge.unsure;
        merge
    }

    /// Whether what this look does not show does not exist.
    fn is_proof(&self) -> bool {
        self.listing.stable && self.listing.with_cur
    }
}

/// Brings a mailbox up to date, taking the lock of `place` if it is needed and leaving it taken. `wait` is
/// how long to wait for it.
pub(super) async fn settle(
    scope: &mut Scope,
    context: &StoreContext,
    place: &mut Place,
    previous: Option<&MailboxState>,
    wait: Duration,
    absences: Absences,
) -> Result<Settled, StoreError> {
    let disk = scope.disk.clone();
    let Some(mut look) = look_if_changed(scope, context, place, previous).await? else {
        let state = MailboxState { unverified: false, ..previous.cloned().unwrap_or_default() };
        return Ok(Settled { state, changes: Vec::new() });
    };
    let mut merge = look.merge(previous);
    let mut proofs = 0;
    loop {
        if place.lock.is_none() && merge.wants_lock() {
            let wait = if merge.creates { wait.max(LIST_WAIT.min(context.lock_wait)) } else { wait };
            if let Err(error) = place.lock(&disk, context, wait).await {
                forget_records(scope, place, &merge).await?;
                return without_lock(merge, &look.listing, error);
            }
            if merge.doubled {
                let (cur, new) = (place.cur_dir(scope).await?, place.new_dir(scope).await?);
                undouble(&disk, context, cur, new, &look.listing.doubles).await;
            }
            let unchanged = list_stamp(&disk, place.mailbox).await? == merge.state.uidlist_stamp;
            if unchanged && !merge.creates && !merge.doubled && merge.missing.is_empty() {
                break;
            }
        } else if !look.is_proof() && proofs < proofs_max(&merge, absences) {
            if proofs > 0 {
                disk.wait(PROOF_PAUSE).await;
            }
            proofs += 1;
        } else {
            break;
        }
        look = look_again(scope, context, place, previous).await?;
        merge = look.merge(previous);
    }
    forget_records(scope, place, &merge).await?;
    finish(scope, context, place, previous, merge, &look).await
}

/// A record without a file is that of a message that was expunged. It is forgotten from now on, so the file must not come
/// back with a power cut: whoever removed it may not have lived to sync that.
async fn forget_records(scope: &mut Scope, place: &mut Place, merge: &Merge) -> Result<(), StoreError> {
    if merge.absent { sync_both(scope, place).await } else { Ok(()) }
}

/// How often a look is worth repeating until it is a proof.
fn proofs_max(merge: &Merge, absences: Absences) -> u32 {
    match absences {
        _ if merge.absent => RECORD_PROOFS_MAX,
        Absences::Proven if !merge.missing.is_empty() => MESSAGE_PROOFS_MAX,
        Absences::Proven | Absences::LeftOpen => 0,
    }
}

/// The common beginning of operations that write: takes the lock of `place`, and brings the state up to date
/// with the control files. The directories are scanned only if those have changed, or nothing is known: a
/// file that another program has moved is found out when it is not where it was. `wait` is how long to wait for
/// the lock.
///
/// # Errors
/// Busy; ReadOnly or Access where nothing can be written.
pub(super) async fn begin_write(
    scope: &mut Scope,
    context: &StoreContext,
    place: &mut Place,
    known: &Known,
    wait: Duration,
) -> Result<Settled, StoreError> {
    let disk = scope.disk.clone();
    place.lock(&disk, context, wait).await?;
    let previous = known.take();
    if let Some(state) = &previous
        && list_stamp(&disk, place.mailbox).await? == state.uidlist_stamp
        && stamp_of(&disk, place.mailbox, KEYWORDS_NAME).await? == state.keywords_stamp
    {
        let mut state = state.clone();
        if state.wants_modseqs() {
            // Where that fails no mod-sequence is told, and the operation may succeed all the same.
            let _ = list_file::rewrite(scope, context, place.mailbox, &mut state, &[]).await;
        }
        return Ok(Settled { state, changes: Vec::new() });
    }
    settle(scope, context, place, previous.as_ref(), wait, Absences::Proven).await
}

/// Stats everything, and reads and scans what is not as known; `None` if all is.
async fn look_if_changed(
    scope: &mut Scope,
    context: &StoreContext,
    place: &mut Place,
    previous: Option<&MailboxState>,
) -> Result<Option<Look>, StoreError> {
    let Some(known) = previous else { return look_again(scope, context, place, None).await.map(Some) };
    let disk = scope.disk.clone();
    let same_files = list_stamp(&disk, place.mailbox).await? == known.uidlist_stamp
        && stamp_of(&disk, place.mailbox, KEYWORDS_NAME).await? == known.keywords_stamp;
    let stamps = DirStamps::look(&disk, place.mailbox).await?;
    let now_ns = wall_ns(disk.now().await.wall);
    // Our own change is no reason to look; that nobody else made one in the same moment is seen to later.
    let is_own = (0..YOUNG_NS).contains(&now_ns.saturating_sub(known.own_change_at_ns));
    let unchanged = |now: Stamp, then: Stamp| {
        let rests = known.own_change_at_ns == 0 && is_old(known.scanned_at_ns, then.mtime_ns, YOUNG_NS);
        now == then && (is_own || rests)
    };
    let same_cur = unchanged(stamps.cur, known.cur_stamp);
    if same_files && same_cur && unchanged(stamps.new, known.new_stamp) {
        return Ok(None);
    }
    if !(same_files && same_cur) {
        return look_again(scope, context, place, previous).await.map(Some);
    }
    let (cur, new) = (place.cur_dir(scope).await?, place.new_dir(scope).await?);
    let listing = Listing::scan(&disk, place.mailbox, cur, new, false).await?;
    // `cur/` was not scanned; had it changed meanwhile, its old stamp makes the next look scan it.
    let list_unchanged = true;
    let (list, keywords) = (None, KeywordsSeen::Unchanged);
    let first_modseq = first_modseq(&disk).await;
    Ok(Some(Look { list, list_unchanged, keywords, listing, first_modseq }))
}

/// Scans both directories, and reads what is not as known.
async fn look_again(
    scope: &mut Scope,
    context: &StoreContext,
    place: &mut Place,
    previous: Option<&MailboxState>,
) -> Result<Look, StoreError> {
    let disk = scope.disk.clone();
    let (cur, new) = (place.cur_dir(scope).await?, place.new_dir(scope).await?);
    let stamp = list_stamp(&disk, place.mailbox).await?;
    let list_unchanged =
        previous.is_some_and(|known| stamp == known.uidlist_stamp && stamp != Stamp::default());
    let list = if list_unchanged { None } else { read_list(scope, context, place.mailbox).await? };
    let stamp = stamp_of(&disk, place.mailbox, KEYWORDS_NAME).await?;
    let keywords = match previous {
        Some(known) if known.keywords_stamp == stamp => KeywordsSeen::Unchanged,
        Some(_) | None => {
            let (keywords, stamp) = read_keywords(&disk, place.mailbox).await?;
            KeywordsSeen::Read(Box::new(keywords), stamp)
        }
    };
    if list.is_some() || matches!(keywords, KeywordsSeen::Read(..)) {
        // Both files are replaced by renames, which have to be durable too before what they say is shown.
        or_read_only(disk.sync_dir(place.mailbox).await).at(LIST_NAME)?;
    }
    let listing = Listing::scan(&disk, place.mailbox, cur, new, true).await?;
    let first_modseq = first_modseq(&disk).await;
    Ok(Look { list, list_unchanged, keywords, listing, first_modseq })
}

/// Where the mod-sequences of a mailbox begin that this process has not known: above all that an earlier
/// process can have given out, at less than a million changes in a second, and above the small counters of
/// Dovecot.
async fn first_modseq(disk: &Disk) -> u64 {
    u64::try_from(disk.now().await.wall.secs).unwrap_or(0).saturating_mul(1 << 20)
}

/// The stamp of a file, the empty one if it does not exist.
async fn stamp_of(disk: &Disk, mailbox: Handle, name: &[u8]) -> Result<Stamp, StoreError> {
    match disk.stat(mailbox, name).await {
        Ok(stat) => Ok(Stamp::of(&stat)),
        Err(Errno::NotFound) => Ok(Stamp::default()),
        Err(errno) => Err(errno).at(name),
    }
}

/// The stamp of the uidlist.
pub(super) async fn list_stamp(disk: &Disk, mailbox: Handle) -> Result<Stamp, StoreError> {
    stamp_of(disk, mailbox, LIST_NAME).await
}

/// Reads the uidlist, and makes durable what another program may have appended without that: its UIDs will be
/// shown. Where that has failed before, it is to be written anew first.
async fn read_list(
    scope: &mut Scope,
    context: &StoreContext,
    mailbox: Handle,
) -> Result<Option<(Vec<u8>, Stamp, bool)>, StoreError> {
    let disk = scope.disk.clone();
    let (file, stat) = match disk.open_file(mailbox, LIST_NAME).await {
        Ok(opened) => opened,
        Err(Errno::NotFound) => return Ok(None),
        Err(errno) => return Err(errno).at(LIST_NAME),
    };
    let file = scope.hold(file);
    if stat.size > LIST_BYTES_MAX {
        return Err(StoreError::new(StoreErrorKind::Cannot, LIST_NAME));
    }
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < stat.size {
        let offset = bytes.len() as u64;
        let rest = usize::try_from(stat.size - offset).unwrap_or(usize::MAX);
        let more = disk.read(file, offset, rest).await.at(LIST_NAME)?;
        if more.is_empty() {
            break;
        }
        if bytes.is_empty() { bytes = more } else { bytes.extend_from_slice(&more) }
    }
    if let Err(errno) = or_read_only(disk.sync(file).await) {
        context.distrust(&stat);
        return Err(errno).at(LIST_NAME);
    }
    scope.close(file).await;
    Ok(Some((bytes, Stamp::of(&stat), context.distrusts(&stat))))
}

/// What cannot be written cannot be lost either.
fn or_read_only(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::ReadOnly) { Ok(()) } else { result }
}

/// The keyword table with its stamp; an absent file is an empty table.
pub(super) async fn read_keywords(disk: &Disk, mailbox: Handle) -> Result<(Keywords, Stamp), StoreError> {
    match disk.read_file(mailbox, KEYWORDS_NAME, KEYWORDS_BYTES_MAX).await {
        Ok((bytes, stat)) => Ok((Keywords::parse(&bytes), Stamp::of(&stat))),
        Err(Errno::NotFound) => Ok((Keywords::default(), Stamp::default())),
        Err(errno) => Err(errno).at(KEYWORDS_NAME),
    }
}

/// What can be shown without having been able to write: everything that has a UID.
fn without_lock(merge: Merge, listing: &Listing, error: StoreError) -> Result<Settled, StoreError> {
    let read_only = match error.kind {
        // What is to be shown is not there, or not for good.
        _ if merge.creates || merge.unsure => return Err(error),
        StoreErrorKind::Busy => merge.state.read_only,
        StoreErrorKind::Access | StoreErrorKind::ReadOnly => true,
        // For mod-sequences alone nobody is refused.
        StoreErrorKind::NoSpace | StoreErrorKind::OverQuota if !merge.has_messages_waiting() => {
            merge.state.read_only
        }
        StoreErrorKind::NoSpace
        | StoreErrorKind::OverQuota
        | StoreErrorKind::MailboxFull
        | StoreErrorKind::MailboxTooSmall
        | StoreErrorKind::NotFound
        | StoreErrorKind::AlreadyExists
        | StoreErrorKind::BadName(_)
        | StoreErrorKind::Cannot
        | StoreErrorKind::UidsExhausted
        | StoreErrorKind::TooBig
        | StoreErrorKind::BadUrl(_)
        | StoreErrorKind::KeywordsFull
        | StoreErrorKind::TooManyEntries
        | StoreErrorKind::SpecialUse
        | StoreErrorKind::Damaged
        | StoreErrorKind::Aborted
        | StoreErrorKind::Temporary(_) => return Err(error),
    };
    let for_messages = merge.has_messages_waiting();
    let mut state = merge.state;
    (state.read_only, state.unverified) = (read_only, false);
    state.pending = error.kind == StoreErrorKind::Busy;
    if for_messages || state.pending {
        forget_scan(&mut state);
    } else {
        take_scan(&mut state, listing);
    }
    Ok(Settled { state, changes: merge.changes })
}

/// Makes the next look scan both directories, whatever their times.
pub(super) fn forget_scan(state: &mut MailboxState) {
    (state.cur_stamp, state.new_stamp) = (Stamp::default(), Stamp::default());
}

/// Does what is left to do, under the lock if there is anything.
async fn finish(
    scope: &mut Scope,
    context: &StoreContext,
    place: &mut Place,
    previous: Option<&MailboxState>,
    merge: Merge,
    look: &Look,
) -> Result<Settled, StoreError> {
    let Merge { mut state, mut changes, unknown, missing, creates, modseq, .. } = merge;
    let listing = &look.listing;
    take_scan(&mut state, listing);
    (state.read_only, state.pending, state.unverified) = (false, false, false);
    if creates {
        found(scope, place, previous, &mut state).await?;
    }
    if state.guid == [0; 16] {
        state.guid = context.guid(scope.disk.now().await);
    }
    let continues = previous.is_some() && !changes.contains(&Change::Reset);
    // Whoever removed what is missing, an operation of ours that failed say, may not have synced that.
    let proven = look.is_proof() && (missing.is_empty() || sync_both(scope, place).await.is_ok());
    if !missing.is_empty() && !proven {
        forget_scan(&mut state);
    }
    for uid in missing.into_iter().filter(|_| proven) {
        state.expunge(uid, modseq);
        changes.push(Change::Expunged(uid));
    }
    let mut entries: Vec<_> = unknown.into_iter().filter_map(|index| listing.entries.get(index)).collect();
    entries.sort_by(|a, b| FileName::parse(&a.file).order().cmp(&FileName::parse(&b.file).order()));
    let named = named_flags(&state.keywords);
    let mut added = Vec::with_capacity(entries.len());
    for entry in entries {
        let uid = take_uid(&mut state)?;
        added.push(Message::new(uid, entry.file.clone(), entry.in_new, named, modseq));
    }
    let records: Vec<&Message> = added.iter().collect();
    if creates
        || place.lock.is_some() && (state.uidlist_wants_rewrite || list_file::has_too_many_dead(&state))
    {
        list_file::rewrite(scope, context, place.mailbox, &mut state, &records).await?;
    } else {
        list_file::add(scope, context, place.mailbox, &mut state, &records).await?;
    }
    for message in added {
        let uid = message.uid;
        state.messages.push(message);
        if continues {
            changes.push(Change::Appended(uid));
        }
    }
    if place.lock.is_some() && state.wants_modseqs() {
        // Where that fails no mod-sequence is told, and the mailbox can be used all the same.
        let _ = list_file::rewrite(scope, context, place.mailbox, &mut state, &[]).await;
    }
    if !changes.is_empty() {
        state.highest_modseq = modseq;
    }
    Ok(Settled { state, changes })
}

/// Makes durable what is not in the directories any more.
async fn sync_both(scope: &mut Scope, place: &mut Place) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    let (cur, new) = (place.cur_dir(scope).await?, place.new_dir(scope).await?);
    or_read_only(disk.sync_dir(cur).await).at(b"cur")?;
    or_read_only(disk.sync_dir(new).await).at(b"new")
}

/// The state is as of this scan.
fn take_scan(state: &mut MailboxState, listing: &Listing) {
    if listing.with_cur {
        // Of `new/` alone: what another program did to `cur/` in the moment of our own change is still to be looked for.
        (state.cur_stamp, state.own_change_at_ns) = (listing.stamps.cur, 0);
    }
    (state.new_stamp, state.scanned_at_ns) = (listing.stamps.new, listing.scanned_at_ns);
}

/// The next UID of a mailbox, taken.
pub(super) fn take_uid(state: &mut MailboxState) -> Result<u32, StoreError> {
    if state.uid_next > UID_MAX {
        return Err(StoreError::new(StoreErrorKind::UidsExhausted, LIST_NAME));
    }
    let uid = state.uid_next;
    state.uid_next += 1;
    Ok(uid)
}

/// Chooses a UIDVALIDITY for a mailbox without a usable uidlist.
async fn found(
    scope: &mut Scope,
    place: &Place,
    previous: Option<&MailboxState>,
    state: &mut MailboxState,
) -> Result<(), StoreError> {
    let now = scope.disk.now().await;
    let above = previous.map_or(0, |previous| previous.uid_validity);
    state.uid_validity = uidvalidity::take(scope, place.root, now.wall.secs, above).await?;
    state.uid_next = 1;
    Ok(())
}
