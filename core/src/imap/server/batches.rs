//! UIDBATCHES (RFC 10022): the messages in batches of about the same size, each a range of UIDs, the newest first.
//!
//! The session knows all UIDs, so nobody is asked. The ranges touch: between the first UID and the largest one there is
//! none that is in no batch, whichever messages go or have gone.

use super::session::Session;
use crate::imap::command::UidBatches;
use crate::imap::response::{Code, Status, write_number, write_string};
use crate::imap::view::UidMap;
use crate::send_queue::SendQueue;
use alloc::vec::Vec;

/// RFC 10022 §3.1: so small a batch every server has; with smaller ones UIDs would be a kind of sequence numbers.
const BATCH_MESSAGES_MIN: u32 = 500;
/// How many batches are told at once: of 5,000,000 messages at least. RFC 10022 §3.1 wants 100,000.
const BATCHES_MAX: u32 = 10_000;

impl Session {
    pub(super) fn start_uid_batches(&mut self, command: UidBatches, tx: &mut SendQueue) {
        let UidBatches { size, first, last } = command;
        if last < first {
            return self.end(Status::Bad, Some(&Code::ClientBug), "The range of batches goes upwards", tx);
        }
        if size < BATCH_MESSAGES_MIN {
            return self.end(Status::No, Some(&Code::TooFew), "A batch has 500 messages at least", tx);
        }
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        let last = last.min(mailbox.view.len().div_ceil(size));
        if last.saturating_sub(first) >= BATCHES_MAX {
            let text = "There are too many batches, ask for larger ones or for 10000 at a time";
            return self.end(Status::No, Some(&Code::TooMany), text, tx);
        }
        tx.write_with(|out| {
            out.extend_from_slice(b"* UIDBATCHES (TAG ");
            write_string(out, &self.command.tag);
            out.push(b')');
            for (index, batch) in (first..=last).enumerate() {
                out.push(if index > 0 { b',' } else { b' ' });
                write_batch(out, &mailbox.view, size, batch);
            }
            out.extend_from_slice(b"\r\n");
        });
        self.end(Status::Ok, None, "Uidbatches completed", tx);
    }
}

/// Writes the range of a batch there is, the first being 1. It goes down to where the next one begins, or to the smallest
/// UID there may be.
fn write_batch(out: &mut Vec<u8>, view: &UidMap, size: u32, batch: u32) {
    // The sequence number of the newest message of a batch.
    let newest = |batch: u32| view.len().saturating_sub(batch.saturating_sub(1).saturating_mul(size));
    let high = view.uid_at(newest(batch)).unwrap_or(1);
    let low = view.uid_at(newest(batch.saturating_add(1))).map_or(1, |next| next.saturating_add(1));
    write_number(out, high.into());
    out.push(b':');
    write_number(out, low.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    proptest! {
        /// Each UID is in one batch, and a batch has as many messages as were asked for, but for the last one.
        #[test]
        fn batches_are_a_partition(uids in proptest::collection::btree_set(1u32..2000, 1..300), size in 1u32..50) {
            let view: UidMap = uids.iter().copied().collect();
            let mut next = *uids.last().unwrap();
            let count = view.len().div_ceil(size);
            for batch in 1..=count {
                let mut out = Vec::new();
                write_batch(&mut out, &view, size, batch);
                let text = String::from_utf8(out).unwrap();
                let (high, low) = text.split_once(':').unwrap();
                let (high, low): (u32, u32) = (high.parse().unwrap(), low.parse().unwrap());
                prop_assert!(high == next && low <= high, "{}", format!("{text} after {next}"));
                let wanted = if batch < count { size } else { view.len() - (count - 1) * size };
                prop_assert_eq!(uids.range(low..=high).count() as u32, wanted);
                next = low - 1;
            }
            prop_assert_eq!(next, 0);
        }
    }
}
