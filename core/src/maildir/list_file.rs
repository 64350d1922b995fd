//! Writing `dovecot-uidlist`: appending records, or the whole file anew. The lock is held.
//!
//! Both are durable before they return, so that no UID is shown that a crash could take back.

use super::context::{At, StoreContext, StoreError, StoreErrorKind};
use super::mailbox::{MailboxState, Message, Stamp};
use super::push_decimal;
use super::scope::Scope;
use super::uidlist::{Header, SAVED_KEY, Uidlist, push_record};
use crate::disk::{Disk, Errno, Handle};
use alloc::vec::Vec;

/// The name of the file.
pub(super) const LIST_NAME: &[u8] = b"dovecot-uidlist";
const LIST_TEMPORARY: &[u8] = b"dovecot-uidlist.tmp";

/// The largest file that is read, in octets: some two million messages.
pub(super) const LIST_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A list shorter than this is not rewritten for its dead records alone.
const RECORDS_WORTH_REWRITING: u32 = 32;

/// Whether so few of the file's records are of messages that are still there that it is to be written anew.
pub(super) fn has_too_many_dead(state: &MailboxState) -> bool {
    let live = state.messages.len() as u64;
    let records = u64::from(state.uidlist_records);
    state.uidlist_records >= RECORDS_WORTH_REWRITING && live * 4 <= records * 3
}

/// Adds records for messages, and takes the file's new stamp into it.
///
/// The whole file is written anew if the state says that it has debris.
pub(super) async fn add(
    scope: &mut Scope,
    context: &StoreContext,
    mailbox: Handle,
    state: &mut MailboxState,
    records: &[&Message],
) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let disk = scope.disk.clone();
    if state.uidlist_wants_rewrite {
        return rewrite(scope, context, mailbox, state, records).await;
    }
    let (file, stat) = disk.open_append(mailbox, LIST_NAME).await.at(LIST_NAME)?;
    let file = scope.hold(file);
    if Stamp::of(&stat) != state.uidlist_stamp {
        // Somebody wrote it without the lock: begin again from what is there now.
        return Err(StoreError::new(StoreErrorKind::Temporary(Errno::Stale), LIST_NAME));
    }
    let mut bytes = Vec::with_capacity(records.len() * 64);
    for message in records {
        push_record(&mut bytes, message.uid, &keys_of(message), message.base());
    }
    disk.write(file, bytes).await.at(LIST_NAME)?;
    if disk.sync(file).await.is_err() {
        // What was written to this file may never reach the disk, whatever a second sync says.
        context.distrust(&stat);
        scope.close(file).await;
        return rewrite(scope, context, mailbox, state, records).await;
    }
    let stat = disk.stat_handle(file).await.at(LIST_NAME)?;
    scope.close(file).await;
    state.uidlist_stamp = Stamp::of(&stat);
    state.uidlist_records = state.uidlist_records.saturating_add(records.len() as u32);
    Ok(())
}

/// Writes the whole file: the messages of the state, then `added` with UIDs above theirs. Keys of records
/// that are kept in the old file are kept.
pub(super) async fn rewrite(
    scope: &mut Scope,
    context: &StoreContext,
    mailbox: Handle,
    state: &mut MailboxState,
    added: &[&Message],
) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    let (old, stat) = match disk.read_file(mailbox, LIST_NAME, LIST_BYTES_MAX as usize).await {
        Ok((old, stat)) => (old, Some(stat)),
        Err(Errno::NotFound) => (Vec::new(), None),
        Err(errno) => return Err(errno).at(LIST_NAME),
    };
    let limit = state.next_modseq_limit();
    let after_added = added.last().map_or(1, |last| last.uid.saturating_add(1));
    let mut header = Header {
        uidvalidity: state.uid_validity,
        next_uid: state.uid_next.max(after_added),
        guid: Some(state.guid),
        others: state.uidlist_others.clone(),
    };
    header.set_modseq_limit(limit);
    let content = render(state, &header, added, Uidlist::parse(&old).ok().as_ref());
    scope.replace_file(mailbox, LIST_TEMPORARY, LIST_NAME, content).await?;
    disk.sync_dir(mailbox).await.at(LIST_NAME)?;
    stat.iter().for_each(|stat| context.forget(stat));
    take_stamp(&disk, mailbox, state).await?;
    (state.modseq_limit, state.uidlist_others) = (limit, header.others);
    state.uidlist_records = u32::try_from(state.messages.len() + added.len()).unwrap_or(u32::MAX);
    state.uidlist_wants_rewrite = false;
    Ok(())
}

async fn take_stamp(disk: &Disk, mailbox: Handle, state: &mut MailboxState) -> Result<(), StoreError> {
    let stat = disk.stat(mailbox, LIST_NAME).await.at(LIST_NAME)?;
    state.uidlist_stamp = Stamp::of(&stat);
    Ok(())
}

fn render(state: &MailboxState, header: &Header, added: &[&Message], old: Option<&Uidlist<'_>>) -> Vec<u8> {
    let mut content = Vec::with_capacity((state.messages.len() + added.len()) * 64 + 128);
    header.push(&mut content);
    let same = old.filter(|old| old.header.uidvalidity == state.uid_validity);
    let mut old_records = same.map_or(&[][..], |old| &old.records).iter().peekable();
    for message in state.messages.iter() {
        while old_records.next_if(|record| record.uid < message.uid).is_some() {}
        match old_records.next_if(|record| record.uid == message.uid) {
            Some(record) => push_record(&mut content, message.uid, record.keys, message.base()),
            None => push_record(&mut content, message.uid, &keys_of(message), message.base()),
        }
    }
    for message in added {
        push_record(&mut content, message.uid, &keys_of(message), message.base());
    }
    content
}

/// The keys of a record that is new.
fn keys_of(message: &Message) -> Vec<u8> {
    let mut keys = Vec::new();
    if let Some(copied) = message.copied {
        keys.push(SAVED_KEY);
        push_decimal(&mut keys, u64::from(copied.get()));
    }
    keys
}
