//! The cache file of an open mailbox: what is known of it, and when to write it anew.
//!
//! The tasks of a FETCH read and append to it by themselves; here is only where its blocks are, for the next of them. When the
//! mailbox is looked after, the file is written anew if most of it is of no use, beside whatever else is done.

use alloc::sync::Arc;

use super::mailboxes::MailboxKey;
use super::work::{Done, Outcome};
use super::{Desk, Office};
use crate::disk::Task;
use crate::maildir::cache::Directory;
use crate::maildir::cache_file::compact;

#[derive(Debug, Default)]
pub(super) struct Caching {
    directory: Arc<Directory>,
    care: Care,
}

/// Whether the file may have to be written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Care {
    #[default]
    Good,
    /// It has grown: the next upkeep finds out.
    Due,
    Compacting,
}

impl Caching {
    /// Where the file has what, as far as it has been looked at.
    pub(super) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Somebody should look after the file soon.
    pub(super) fn wants_care(&self) -> bool {
        self.care == Care::Due
    }

    /// Tasks that read the file come back in any order; who knows most of it is right.
    fn note(&mut self, directory: Arc<Directory>) {
        if directory.is_other_than(&self.directory) {
            self.directory = directory;
            if self.care == Care::Good {
                self.care = Care::Due;
            }
        }
    }
}

impl Office {
    /// A task has looked at the cache file of this mailbox.
    pub(super) fn note_cache(
        &mut self,
        key: &MailboxKey,
        directory: Option<Arc<Directory>>,
        desk: &Desk<'_>,
    ) {
        if let (Some(mailbox), Some(directory)) = (self.mailboxes.get_mut(key), directory) {
            mailbox.cache.note(directory);
            mailbox.plan(desk.now.instant);
        }
    }

    /// Writes the cache file anew if most of it is of no use.
    pub(super) fn look_after_cache(&mut self, key: &MailboxKey, desk: &mut Desk<'_>) {
        let Some(mailbox) = self.mailboxes.get_mut(key) else { return };
        let Some(state) = mailbox.state.as_ref().filter(|state| !state.read_only) else { return };
        let cache = &mut mailbox.cache;
        if cache.care == Care::Compacting {
            return;
        }
        cache.care = Care::Good;
        if !cache.directory.wants_rewrite(&state.messages) {
            return;
        }
        cache.care = Care::Compacting;
        let (messages, directory) = (state.messages.clone(), cache.directory.clone());
        let key = key.clone();
        let task = Task::new(move |disk| async move {
            compact(disk, key.root.clone(), key.folder.clone(), messages, directory).await;
            Done::new(Outcome::Compacted(key))
        });
        self.run(task, desk);
    }

    /// The cache file is another one.
    pub(super) fn end_compaction(&mut self, key: &MailboxKey) {
        self.mailboxes.get_mut(key).into_iter().for_each(|mailbox| mailbox.cache = Caching::default());
    }
}
