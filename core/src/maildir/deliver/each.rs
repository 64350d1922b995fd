//! Delivery of a mail that lies in the queue: each mailbox that can be had gets its copy, and the queue tries the others
//! again.
//!
//! The copies have a name that is the mail's, the same at every try, so that a mailbox that has had its copy is known
//! ([`has_had`]). The moves of each copy are those of the parent module; what is taken back is only the copy that failed.

use alloc::vec::Vec;

use super::{DeliveryTarget, Place, check_room, open_place, show, stage_copy, take_back};
use crate::disk::Errno;
use crate::maildir::body::{Source, Staged, stage_from};
use crate::maildir::context::{At, Root, StoreContext, StoreError, StoreErrorKind};
use crate::maildir::scope::Scope;

/// What has become of the copies.
#[derive(Debug)]
pub(crate) struct Each {
    /// These have it, durably.
    pub(crate) shown: Vec<DeliveryTarget>,
    /// These have not, as far as removing it works.
    pub(crate) failed: Vec<(DeliveryTarget, StoreError)>,
    /// The copy, unless all failed before there was one.
    staged: Option<Staged>,
}

/// Delivers the message of a file, which has a name for mailboxes, to all targets that can be had.
///
/// # Errors
/// [`StoreErrorKind::MailboxFull`] and [`StoreErrorKind::MailboxTooSmall`] of a target that is the only one; nothing is
/// left visible.
pub(crate) async fn deliver_each(
    scope: &mut Scope,
    context: &StoreContext,
    mut targets: Vec<DeliveryTarget>,
    source: &Source<'_>,
) -> Result<Each, StoreError> {
    targets.sort();
    targets.dedup();
    let alone = targets.len() == 1;
    let (mut waiting, mut each) = (Vec::new(), Each { shown: Vec::new(), failed: Vec::new(), staged: None });
    let mut first: Option<(Place, Staged)> = None;
    for target in targets {
        let result = match &first {
            None => {
                stage_first(scope, context, &target, source, alone).await.map(|found| first = Some(found))
            }
            Some((place, staged)) => {
                let mut own = Scope::new(scope.disk.clone());
                let result = stage_copy(&mut own, context, *place, &target, staged).await;
                own.finish().await;
                result
            }
        };
        match result {
            Ok(()) => waiting.push(target),
            Err(error)
                if matches!(error.kind, StoreErrorKind::MailboxFull | StoreErrorKind::MailboxTooSmall) =>
            {
                return Err(error);
            }
            Err(error) => each.failed.push((target, error)),
        }
    }
    let Some((_, staged)) = first else { return Ok(each) };
    for target in waiting {
        match show_one(scope, context, &target, &staged).await {
            Ok(()) => each.shown.push(target),
            Err(error) => each.failed.push((target, error)),
        }
    }
    each.staged = Some(staged);
    Ok(each)
}

async fn stage_first(
    scope: &mut Scope,
    context: &StoreContext,
    target: &DeliveryTarget,
    source: &Source<'_>,
    alone: bool,
) -> Result<(Place, Staged), StoreError> {
    let place = open_place(scope, context, target).await?;
    let staged = stage_from(scope, context, source, place.tmp).await?;
    if alone && let Err(full) = check_room(scope, context, place, target, &[], &staged).await {
        let _ = scope.disk.unlink(place.tmp, &staged.temporary).await;
        return Err(full);
    }
    Ok((place, staged))
}

async fn show_one(
    scope: &Scope,
    context: &StoreContext,
    target: &DeliveryTarget,
    staged: &Staged,
) -> Result<(), StoreError> {
    let mut own = Scope::new(scope.disk.clone());
    let result = match open_place(&mut own, context, target).await {
        Ok(place) => {
            let result = show(&own.disk, place, staged).await;
            if result.is_err() {
                take_back(&own.disk, place, staged, true).await;
            }
            result
        }
        Err(error) => Err(error),
    };
    own.finish().await;
    result
}

/// Removes the copies again, as far as that works: the mail is not promised after all.
pub(crate) async fn take_back_each(scope: &Scope, context: &StoreContext, each: &Each) {
    let Some(staged) = &each.staged else { return };
    for target in &each.shown {
        let mut own = Scope::new(scope.disk.clone());
        if let Ok(place) = open_place(&mut own, context, target).await {
            take_back(&own.disk, place, staged, true).await;
        }
        own.finish().await;
    }
}

/// Whether this INBOX has had the mail of this base name: if so it is durable there now. What a try that was cut off has
/// left of it in `tmp/` is removed. (A copy that its owner has deleted or moved since is not known.)
///
/// # Errors
/// [`StoreError`]
pub(crate) async fn has_had(scope: &mut Scope, root: &Root, base: &[u8]) -> Result<bool, StoreError> {
    let top = match scope.disk.open_root(&root.path, false).await {
        Ok(top) => scope.hold(top),
        Err(Errno::NotFound) => return Ok(false),
        Err(errno) => return Err(errno).at(&root.path),
    };
    if let Ok(tmp) = scope.open_dir(top, b"tmp").await {
        let _ = scope.disk.unlink(tmp, base).await;
    }
    let is_it =
        |name: &[u8]| name.strip_prefix(base).is_some_and(|rest| matches!(rest, [] | [b',' | b':', ..]));
    for part in [&b"new"[..], b"cur"] {
        let dir = match scope.open_dir(top, part).await {
            Ok(dir) => dir,
            Err(Errno::NotFound) => continue,
            Err(errno) => return Err(errno).at(part),
        };
        if scope.disk.list(dir).await.at(part)?.iter().any(|entry| is_it(&entry.name)) {
            // Whoever has put it there may not have come to its sync.
            scope.disk.sync_dir(dir).await.at(part)?;
            return Ok(true);
        }
    }
    Ok(false)
}
