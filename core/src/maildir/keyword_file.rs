//! Giving letters to keywords, and writing `dovecot-keywords`. The lock of the uidlist is held.

use super::context::{At, StoreError, StoreErrorKind};
use super::keywords::Keywords;
use super::mailbox::{Change, MailboxState, Stamp};
use super::merge::shown_keywords;
use super::name::FileName;
use super::scope::Scope;
use super::settle::{KEYWORDS_NAME, read_keywords};
use crate::disk::Handle;
use crate::imap::flag::FlagSet;
use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

const KEYWORDS_TEMPORARY: &[u8] = b"dovecot-keywords.lock";
const SECOND_NS: i64 = 1_000_000_000;

/// The flags of those of these keywords that have a letter.
pub(super) fn known(state: &MailboxState, keywords: &[Cow<'_, str>]) -> FlagSet {
    let index = |keyword: &Cow<'_, str>| {
        state.keywords.iter().position(|name| !name.is_empty() && name.eq_ignore_ascii_case(keyword))
    };
    keywords.iter().filter_map(index).fold(FlagSet::EMPTY, FlagSet::with_keyword)
}

/// What becomes of keywords when there are no letters for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lacking {
    /// None gets one, and the operation fails.
    Refused,
    /// Those that come first get one, and the caller tells that the others are left out.
    LeftOut,
}

/// The flags of these keywords; those that have no letter yet get one, durably.
///
/// # Errors
/// KeywordsFull with [`Lacking::Refused`]; what the disk says.
pub(super) async fn assign(
    scope: &mut Scope,
    mailbox: Handle,
    state: &mut MailboxState,
    changes: &mut Vec<Change>,
    keywords: &[Cow<'_, str>],
    lacking: Lacking,
) -> Result<FlagSet, StoreError> {
    let letters = known(state, keywords);
    if letters.keywords().count() >= keywords.len() {
        return Ok(letters);
    }
    let (mut table, stamp) = read_keywords(&scope.disk.clone(), mailbox).await?;
    let before = table.clone();
    let used = letters_in_use(state);
    for keyword in keywords {
        let assigned = table.assign_beside(keyword.as_bytes(), used);
        if assigned.is_err() && lacking == Lacking::Refused {
            return Err(StoreError::new(StoreErrorKind::KeywordsFull, KEYWORDS_NAME));
        }
    }
    if table != before {
        write(scope, mailbox, &table, stamp, state).await?;
        state.keywords = Arc::new(shown_keywords(&table));
        changes.push(Change::Keywords);
    }
    Ok(known(state, keywords))
}

/// All letters that file names carry, with a name or without.
fn letters_in_use(state: &MailboxState) -> FlagSet {
    let flags = |flags: FlagSet, message: &super::mailbox::Message| {
        flags.union(FileName::parse(&message.file).flags())
    };
    state.messages.iter().fold(FlagSet::EMPTY, flags)
}

async fn write(
    scope: &mut Scope,
    mailbox: Handle,
    table: &Keywords,
    before: Stamp,
    state: &mut MailboxState,
) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    let mut content = Vec::new();
    table.push(&mut content);
    scope.replace_file(mailbox, KEYWORDS_TEMPORARY, KEYWORDS_NAME, content).await?;
    let mut stat = disk.stat(mailbox, KEYWORDS_NAME).await.at(KEYWORDS_NAME)?;
    // Dovecot notices a change by the seconds of this time alone.
    let before_s = before.mtime_ns / SECOND_NS;
    if stat.mtime_ns / SECOND_NS <= before_s {
        stat.mtime_ns = (before_s + 1) * SECOND_NS;
        disk.set_time(mailbox, KEYWORDS_NAME, stat.mtime_ns).await.at(KEYWORDS_NAME)?;
    }
    disk.sync_dir(mailbox).await.at(KEYWORDS_NAME)?;
    state.keywords_stamp = Stamp::of(&stat);
    Ok(())
}
