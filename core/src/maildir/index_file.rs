//! Reading and writing `postier.index`: the beginning and the end of knowing a mailbox.
//!
//! ```text
//! nothing ─save─▶ postier.index.tmp ─rename─▶ postier.index ─saves appended, until they are as long as the first─▶
//! ```
//!
//! Nothing of it is synced, and no failure is one of the mailbox: what a crash leaves has a wrong checksum, or stands
//! for an earlier state of the mailbox, which the stamps in it tell. The file has no part in what is acknowledged.
//!
//! After a power cut the stamps tell nothing: the directories may be what they were earlier within the same tick of the
//! file system's clock. So what was saved before the machine was started is compared with a scan.

use super::context::{Root, StoreContext, wall_ns};
use super::folder::FolderName;
use super::index::{self, MAGIC};
use super::mailbox::{MailboxState, Stamp};
use super::octets::SEED;
use super::scope::Scope;
use super::settle::forget_scan;
use crate::disk::{Disk, Errno, Handle, Stat};
use alloc::boxed::Box;
use alloc::vec::Vec;

const INDEX_NAME: &[u8] = b"postier.index";
const INDEX_TEMPORARY: &[u8] = b"postier.index.tmp";
/// The largest file that is read, in octets: some two million messages.
const INDEX_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Saves are appended to a file until they are this long, in octets, or as long as the whole save before them.
const APPENDED_BYTES_MIN: u64 = 64 * 1024;

/// What the index file of a mailbox says, so that the next save is what differs.
#[derive(Clone, Debug)]
pub struct Saved {
    state: Box<MailboxState>,
    stamp: Stamp,
    checksum: u64,
    /// Octets of the whole save that the file begins with.
    whole: u64,
}

impl Saved {
    /// Whether the file says all that is known.
    pub fn is_of(&self, state: &MailboxState) -> bool {
        let (then, now) = (&*self.state, state);
        let stamps = |state: &MailboxState| {
            (
                state.uidlist_stamp,
                state.keywords_stamp,
                state.cur_stamp,
                state.new_stamp,
                state.highest_modseq,
            )
        };
        stamps(then) == stamps(now)
            && then.trusts_scan() == now.trusts_scan()
            && then.messages.is_same(&now.messages)
    }
}

/// What the file says of the mailbox, to be verified unless it is the one with `saved_modseq`; `None` if there is none that can be used.
pub(super) async fn load(
    disk: &Disk,
    context: &StoreContext,
    mailbox: Handle,
    saved_modseq: Option<u64>,
) -> Option<(MailboxState, Option<Saved>)> {
    let (octets, stat) = disk.read_file(mailbox, INDEX_NAME, INDEX_BYTES_MAX).await.ok()?;
    let decoded = index::decode(&octets)?;
    let mut state = decoded.state;
    let saved = Saved {
        state: Box::new(state.clone()),
        stamp: Stamp::of(&stat),
        checksum: decoded.checksum,
        whole: stat.size,
    };
    state.unverified = saved_modseq != Some(state.highest_modseq);
    if state.unverified && !is_of_this_boot(disk, context, &stat).await {
        forget_scan(&mut state);
    }
    // Behind half a save nothing can be appended.
    Some((state, (decoded.bytes as u64 == stat.size).then_some(saved)))
}

/// Whether the file was written since the machine was started; not if nobody can say.
async fn is_of_this_boot(disk: &Disk, context: &StoreContext, stat: &Stat) -> bool {
    let now_ns = wall_ns(disk.now().await.wall);
    context.facts().booted.is_some_and(|booted| (wall_ns(booted) + 1..=now_ns).contains(&stat.mtime_ns))
}

/// Writes what is known of a mailbox to its index file, after what `saved` says is there. `None` if that failed, for
/// which the mailbox is none the worse.
pub async fn save_index(
    disk: Disk,
    root: Root,
    folder: FolderName,
    state: MailboxState,
    saved: Option<Saved>,
) -> Option<Saved> {
    let mut scope = Scope::new(disk);
    let result = save(&mut scope, &root, &folder, state, saved).await;
    scope.finish().await;
    result
}

async fn save(
    scope: &mut Scope,
    root: &Root,
    folder: &FolderName,
    state: MailboxState,
    saved: Option<Saved>,
) -> Option<Saved> {
    let top = scope.open_root(root).await.ok()?;
    let mailbox = scope.open_mailbox(top, folder).await.ok()?;
    if let Some(saved) = saved
        && saved.stamp.size < saved.whole.saturating_mul(2).max(APPENDED_BYTES_MIN)
        && let Some(saved) = append(scope, mailbox, &state, saved).await
    {
        return Some(saved);
    }
    whole(scope, mailbox, state).await
}

/// Appends what has changed; `None` if the file is not the one that is known.
async fn append(scope: &mut Scope, mailbox: Handle, state: &MailboxState, saved: Saved) -> Option<Saved> {
    let disk = scope.disk.clone();
    let (file, stat) = disk.open_append(mailbox, INDEX_NAME).await.ok()?;
    let file = scope.hold(file);
    let mut result = None;
    if Stamp::of(&stat) == saved.stamp {
        let mut octets = Vec::new();
        let checksum = index::encode(state, Some(&saved.state), saved.checksum, &mut octets);
        if disk.write(file, octets).await.is_ok()
            && let Ok(stat) = disk.stat_handle(file).await
        {
            let stamp = Stamp::of(&stat);
            result = Some(Saved { state: Box::new(state.clone()), stamp, checksum, whole: saved.whole });
        }
    }
    scope.close(file).await;
    result
}

async fn whole(scope: &mut Scope, mailbox: Handle, state: MailboxState) -> Option<Saved> {
    let disk = scope.disk.clone();
    let mut octets = MAGIC.to_vec();
    let checksum = index::encode(&state, None, SEED, &mut octets);
    let mut created = disk.create(mailbox, INDEX_TEMPORARY).await;
    if created == Err(Errno::Exists) {
        disk.unlink(mailbox, INDEX_TEMPORARY).await.ok()?;
        created = disk.create(mailbox, INDEX_TEMPORARY).await;
    }
    let file = scope.hold(created.ok()?);
    let written = disk.write(file, octets).await;
    let stat = disk.stat_handle(file).await;
    scope.close(file).await;
    if written.is_ok()
        && let Ok(stat) = stat
        && disk.replace(mailbox, INDEX_TEMPORARY, INDEX_NAME).await.is_ok()
    {
        return Some(Saved { state: Box::new(state), stamp: Stamp::of(&stat), checksum, whole: stat.size });
    }
    let _ = disk.unlink(mailbox, INDEX_TEMPORARY).await;
    None
}
