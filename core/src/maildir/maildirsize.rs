//! `maildirsize`: how much mail a user has, as Maildir++ writes it, kept true if it is there.
//!
//! ```text
//! 100000000S,1000C        the limits: not ours
//! 52113 17                octets and messages when it was last counted
//! 4096 1                  what came
//! -2048 -1                and went, one line for each change
//! ```
//!
//! Whoever enforces a quota makes the file, and counts anew when it is missing or has grown long
//! ([`quota`](super::quota)). Where there is one, a delivery, an append, a copy and an expunge each add their line. It is no part of what is
//! acknowledged, so it is not synced; and when a line cannot be added the file goes, for an absent one is
//! counted anew and a wrong one is believed.
//!
//! All messages of all mailboxes count, as Dovecot has it.

use super::mailbox::Message;
use crate::disk::{Disk, Errno, Handle};
use alloc::format;

pub(super) const NAME: &[u8] = b"maildirsize";

/// What an operation adds to a user's mail; negative where it takes away.
#[derive(Debug, Default)]
pub(super) struct Delta {
    /// Octets.
    bytes: i64,
    messages: i64,
    /// Some size is not known.
    unsure: bool,
}

impl Delta {
    /// Messages of these sizes in octets have come.
    pub(super) fn came(sizes: impl Iterator<Item = Option<u64>>) -> Delta {
        let mut delta = Delta::default();
        sizes.for_each(|size| delta.add(size, 1));
        delta
    }

    /// These messages have gone.
    pub(super) fn went<'m>(messages: impl Iterator<Item = &'m Message>) -> Delta {
        let mut delta = Delta::default();
        messages.for_each(|message| delta.add(message.size, -1));
        delta
    }

    fn add(&mut self, size: Option<u64>, sign: i64) {
        self.unsure |= size.is_none();
        let size = i64::try_from(size.unwrap_or(0)).unwrap_or(i64::MAX);
        self.bytes = self.bytes.saturating_add(size.saturating_mul(sign));
        self.messages = self.messages.saturating_add(sign);
    }

    /// Adds the line, if the user whose root this is has such a file.
    pub(super) async fn note(self, disk: &Disk, root: Handle) {
        if self.messages == 0 {
            return;
        }
        let file = match disk.open_append(root, NAME).await {
            Ok((file, _)) => file,
            Err(Errno::NotFound) => return,
            Err(_) => return forget(disk, root).await,
        };
        let mut kept = !self.unsure;
        if kept {
            let line = format!("{} {}\n", self.bytes, self.messages);
            kept = disk.write(file, line.into_bytes()).await.is_ok();
        }
        disk.close(file).await;
        if !kept {
            forget(disk, root).await;
        }
    }
}

/// What it says is not true any more.
pub(super) async fn forget(disk: &Disk, root: Handle) {
    let _ = disk.unlink(root, NAME).await;
}
