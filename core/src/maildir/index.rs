//! `postier.index`: what was known of a mailbox when it was last looked at, so that opening it again costs what has
//! changed since. The format, both ways.
//!
//! The file is ours alone and disposable: without it, or with one that cannot be read, the mailbox is read anew. A
//! reader trusts nothing in it that a checksum does not cover, and takes it for the mailbox as of the stamps in it:
//! whether that is still so the caller finds out.
//!
//! ```text
//! postier.index 2\n
//! frame … frame          messages, MESSAGES_PER_FRAME each; then one head: this is a save
//! frame … frame          what has changed since: another save, appended
//! ```
//!
//! A frame is its length and its checksum (8 octets each, little-endian like all numbers), then its octets. The
//! checksum covers the one before, so frames of different files, or in another order, do not fit together. A
//! save counts only when its head is there: half a save at the end, which a crash or a full disk leaves, is as
//! if it had never been begun.
//!
//! The mod-sequences of what was expunged are part of the head: of a whole save all that are remembered, of an
//! appended one those since the save before.

use super::history::{Expunge, GAPS_MAX, Gap, History};
use super::mailbox::{MailboxState, Message, Messages, Stamp};
use super::octets::{Octets, SEED, push_bytes, push_range, push_u32, sum};
use crate::imap::flag::{FlagSet, KEYWORDS_MAX};
use crate::imap::sequence::UidSet;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// The first octets of the file; another version has another number.
pub(super) const MAGIC: &[u8; 16] = b"postier.index 2\n";
/// Messages of one frame.
pub(super) const MESSAGES_PER_FRAME: usize = 1024;

const FRAME_MESSAGES: u8 = 0;
const FRAME_HEAD: u8 = 1;

const IN_NEW: u8 = 1;
const HAS_SIZE: u8 = 1 << 1;
const HAS_WIRE_SIZE: u8 = 1 << 2;
const HAS_DATE: u8 = 1 << 3;

/// What a file says, and where the next save continues it.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) state: MailboxState,
    /// The checksum that the next frame continues.
    pub(super) checksum: u64,
    /// How much of the file is good.
    pub(super) bytes: usize,
}

/// Reads a whole file; `None` if there is no whole save in it.
pub(super) fn decode(file: &[u8]) -> Option<Decoded> {
    let mut rest = Octets::new(file.strip_prefix(MAGIC)?);
    let mut decoded: Option<Decoded> = None;
    let (mut checksum, mut pending) = (SEED, Vec::new());
    while let Some((body, sum)) = frame(&mut rest, checksum) {
        checksum = sum;
        let mut body = Octets::new(body);
        match body.u8()? {
            FRAME_MESSAGES => take_messages(&mut body, &mut pending)?,
            FRAME_HEAD => {
                let before = decoded.take().map(|decoded| decoded.state);
                let state = take_head(&mut body, before, pending.drain(..))?;
                decoded = Some(Decoded { state, checksum, bytes: file.len() - rest.left() });
            }
            _ => return None,
        }
    }
    decoded
}

/// Appends the frames of a save to `out`: of a whole one, or of what differs from `before`. Returns the checksum that
/// the next save continues.
pub(super) fn encode(
    state: &MailboxState,
    before: Option<&MailboxState>,
    checksum: u64,
    out: &mut Vec<u8>,
) -> u64 {
    let (mut removed, mut changed) = (UidSet::new(), Vec::new());
    match before {
        Some(before) => state.messages.difference(&before.messages, &mut removed, &mut changed),
        None => changed.extend(state.messages.iter()),
    }
    let mut checksum = checksum;
    for messages in changed.chunks(MESSAGES_PER_FRAME) {
        checksum = push_frame(out, checksum, |out| push_messages(out, messages));
    }
    let known = before.map_or(0, |before| before.highest_modseq);
    push_frame(out, checksum, |out| push_head(out, state, &removed, known))
}

pub(super) fn push_frame(out: &mut Vec<u8>, before: u64, fill: impl FnOnce(&mut Vec<u8>)) -> u64 {
    let start = out.len();
    out.extend_from_slice(&[0; 16]);
    fill(out);
    let body = out.get(start + 16..).unwrap_or_default();
    let (length, checksum) = (body.len() as u64, sum(before, body));
    if let Some(front) = out.get_mut(start..start + 16) {
        front[..8].copy_from_slice(&length.to_le_bytes());
        front[8..].copy_from_slice(&checksum.to_le_bytes());
    }
    checksum
}

/// The next frame, if it is whole and right.
fn frame<'f>(rest: &mut Octets<'f>, before: u64) -> Option<(&'f [u8], u64)> {
    let mut next = *rest;
    let (length, checksum) = (next.u64()?, next.u64()?);
    let body = next.take(usize::try_from(length).ok()?)?;
    (sum(before, body) == checksum).then_some(())?;
    *rest = next;
    Some((body, checksum))
}

fn push_messages(out: &mut Vec<u8>, messages: &[&Message]) {
    out.push(FRAME_MESSAGES);
    push_u32(out, messages.len());
    for message in messages {
        let mut bits = if message.in_new { IN_NEW } else { 0 };
        let mut optional = |bit: u8, known: bool| bits |= if known { bit } else { 0 };
        optional(HAS_SIZE, message.size.is_some());
        optional(HAS_WIRE_SIZE, message.wire_size.is_some());
        optional(HAS_DATE, message.internal_date.is_some());
        out.push(bits);
        out.extend_from_slice(&message.uid.to_le_bytes());
        out.extend_from_slice(&message.flags.to_bits().to_le_bytes());
        out.extend_from_slice(&message.modseq.to_le_bytes());
        out.extend_from_slice(&message.size.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&message.wire_size.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&message.internal_date.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&message.copied.map_or(0, NonZeroU32::get).to_le_bytes());
        out.extend_from_slice(&message.base_len.to_le_bytes());
        push_bytes(out, &message.file);
    }
}

fn take_messages(body: &mut Octets<'_>, out: &mut Vec<Message>) -> Option<()> {
    for _ in 0..body.u32()? {
        let bits = body.u8()?;
        let optional = |bit: u8, value: u64| (bits & bit != 0).then_some(value);
        let uid = body.u32()?;
        let flags = FlagSet::from_bits(body.u32()?);
        let modseq = body.u64()?;
        let size = optional(HAS_SIZE, body.u64()?);
        let wire_size = optional(HAS_WIRE_SIZE, body.u64()?);
        let internal_date = optional(HAS_DATE, body.u64()?).map(u64::cast_signed);
        let copied = NonZeroU32::new(body.u32()?);
        let base_len = body.u16()?;
        let file = body.bytes()?;
        let is_name = !file.is_empty()
            && usize::from(base_len) <= file.len()
            && memchr::memchr2(b'/', 0, file).is_none();
        is_name.then_some(())?;
        let in_new = bits & IN_NEW != 0;
        out.push(Message {
            uid,
            base_len,
            in_new,
            file: file.into(),
            flags,
            modseq,
            size,
            wire_size,
            internal_date,
            copied,
        });
    }
    Some(())
}

fn push_head(out: &mut Vec<u8>, state: &MailboxState, removed: &UidSet, known: u64) {
    out.push(FRAME_HEAD);
    push_u32(out, removed.ranges().len());
    for range in removed.ranges() {
        push_range(out, *range);
    }
    out.extend_from_slice(&state.uid_validity.to_le_bytes());
    out.extend_from_slice(&state.uid_next.to_le_bytes());
    out.extend_from_slice(&state.guid);
    out.extend_from_slice(&state.highest_modseq.to_le_bytes());
    out.extend_from_slice(&state.modseq_limit.to_le_bytes());
    out.extend_from_slice(&state.uidlist_records.to_le_bytes());
    out.push(u8::from(state.uidlist_wants_rewrite));
    for stamp in [state.uidlist_stamp, state.keywords_stamp, state.cur_stamp, state.new_stamp] {
        for number in [stamp.inode, stamp.device, stamp.size, stamp.mtime_ns.cast_unsigned()] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out.extend_from_slice(&state.scanned_at_ns.to_le_bytes());
    out.push(u8::from(state.own_change_at_ns != 0));
    push_u32(out, state.keywords.len());
    state.keywords.iter().for_each(|keyword| push_bytes(out, keyword.as_bytes()));
    push_u32(out, state.uidlist_others.len());
    for (key, value) in &state.uidlist_others {
        out.push(*key);
        push_bytes(out, value);
    }
    let history = &state.history;
    push_u32(out, history.gaps().len());
    for gap in history.gaps() {
        out.extend_from_slice(&gap.after.to_le_bytes());
        out.extend_from_slice(&gap.before.to_le_bytes());
    }
    out.extend_from_slice(&history.forgotten().to_le_bytes());
    push_u32(out, history.expunges_after(known).count());
    for expunge in history.expunges_after(known) {
        out.extend_from_slice(&expunge.modseq.to_le_bytes());
        push_range(out, expunge.uids);
    }
}

/// The state after a save: that before it, less what was removed, with `messages`.
fn take_head(
    body: &mut Octets<'_>,
    before: Option<MailboxState>,
    messages: impl Iterator<Item = Message>,
) -> Option<MailboxState> {
    let mut state = before.unwrap_or_default();
    let mut removed = UidSet::new();
    for _ in 0..body.u32()? {
        removed.push_range(body.range()?);
    }
    if !removed.is_empty() {
        state.messages.retain(|message| !removed.contains(message.uid));
    }
    for message in messages {
        put(&mut state.messages, message)?;
    }
    state.uid_validity = body.u32()?;
    state.uid_next = body.u32()?;
    state.guid = body.take(16)?.try_into().ok()?;
    state.highest_modseq = body.u64()?;
    state.modseq_limit = body.u64()?;
    state.uidlist_records = body.u32()?;
    state.uidlist_wants_rewrite = body.u8()? != 0;
    for stamp in
        [&mut state.uidlist_stamp, &mut state.keywords_stamp, &mut state.cur_stamp, &mut state.new_stamp]
    {
        let (inode, device, size, mtime) = (body.u64()?, body.u64()?, body.u64()?, body.u64()?);
        *stamp = Stamp { inode, device, size, mtime_ns: mtime.cast_signed() };
    }
    state.scanned_at_ns = body.u64()?.cast_signed();
    // That was long ago, by another clock maybe: a scan is due.
    state.own_change_at_ns = i64::from(body.u8()? != 0);
    let keywords = body.u32()? as usize;
    (keywords <= KEYWORDS_MAX).then_some(())?;
    let keyword = |_| Some(String::from(core::str::from_utf8(body.bytes()?).ok()?));
    state.keywords = Arc::new((0..keywords).map(keyword).collect::<Option<Vec<String>>>()?);
    state.uidlist_others.clear();
    for _ in 0..body.u32()? {
        state.uidlist_others.push((body.u8()?, body.bytes()?.to_vec()));
    }
    state.history = Arc::new(take_history(body, &state.history)?);
    state.messages.last().is_none_or(|last| last.uid < state.uid_next).then_some(state)
}

fn take_history(body: &mut Octets<'_>, before: &History) -> Option<History> {
    let mut gaps = Vec::new();
    for _ in 0..body.u32()?.min(GAPS_MAX as u32 + 1) {
        gaps.push(Gap { after: body.u64()?, before: body.u64()? });
    }
    let forgotten = body.u64()?;
    let mut expunges: VecDeque<Expunge> = before.expunges_after(forgotten).copied().collect();
    for _ in 0..body.u32()? {
        expunges.push_back(Expunge { modseq: body.u64()?, uids: body.range()? });
    }
    body.is_empty().then_some(())?;
    History::from_parts(gaps, expunges, forgotten)
}

/// Adds a message, or puts it in the place of the one with its UID.
fn put(messages: &mut Messages, message: Message) -> Option<()> {
    if let Some(known) = messages.find_mut(message.uid) {
        *known = message;
        return Some(());
    }
    (message.uid != 0 && messages.push(message)).then_some(())
}
