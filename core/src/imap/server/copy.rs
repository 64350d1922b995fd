//! COPY, MOVE and their UID forms (RFC 9051 §6.4.7, §6.4.8), with UIDPLUS (RFC 4315).

use super::reply::{NOT_WRITABLE, warn_of_lacking_keywords};
use super::session::{Session, Then};
use super::{Ask, Copied, Refusal};
use crate::imap::command::MailboxName;
use crate::imap::response::{Code, Status, write_untagged};
use crate::imap::sequence::{SequenceSet, UidSet};
use crate::send_queue::SendQueue;

/// COPY or MOVE while its answer is on its way.
#[derive(Debug)]
pub(super) struct Copying {
    remove: bool,
    /// The messages were named by UID.
    uid: bool,
}

impl Session {
    pub(super) fn start_copy(
        &mut self,
        uid: bool,
        set: &SequenceSet,
        mailbox: &MailboxName,
        remove: bool,
        tx: &mut SendQueue,
    ) {
        let Some(uids) = self.named_uids(set, uid, tx) else { return };
        let Some(target) = self.checked_name(mailbox, tx) else { return };
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        if remove && mailbox.read_only {
            return self.end(Status::No, Some(&Code::NoPerm), NOT_WRITABLE, tx);
        }
        if uids.is_empty() {
            // RFC 9051 §6.4.9: UIDs that do not exist are passed over. A client that lost a race for them is done.
            return self.end(Status::Ok, None, "There was nothing to do", tx);
        }
        let selection = mailbox.id;
        self.ask(Then::Copy(Copying { remove, uid }), |ticket| Ask::Copy {
            ticket,
            selection,
            uids,
            mailbox: target,
            remove,
        });
    }

    pub(super) fn handle_copied(
        &mut self,
        copying: Copying,
        answer: Result<Copied, Refusal>,
        tx: &mut SendQueue,
    ) {
        let copied = match answer {
            Ok(copied) => copied,
            Err(Refusal::NonExistent) => return self.end_refused(&Refusal::TryCreate, tx),
            Err(refusal) => return self.end_refused(&refusal, tx),
        };
        if copied.pairs.is_empty() && !copying.uid {
            // RFC 2180 §4.4.1: their EXPUNGE is told with this.
            return self.end(Status::No, Some(&Code::ExpungeIssued), "The messages are gone", tx);
        }
        if copied.lacks_keywords {
            warn_of_lacking_keywords(tx);
        }
        let from: UidSet = copied.pairs.iter().map(|(from, _)| *from).collect();
        let to: UidSet = copied.pairs.iter().map(|(_, to)| *to).collect();
        // RFC 4315 §3: nothing was copied, so there is no code. Sets that pair up wrongly would mislead.
        let paired = !from.is_empty() && from.count() == to.count() && ascends(&copied.pairs);
        let code = paired.then_some(Code::CopyUid(copied.uid_validity, &from, &to));
        if !copying.remove {
            return self.end(Status::Ok, code.as_ref(), "Copy completed", tx);
        }
        // RFC 6851 §4.3: the code comes before the EXPUNGEs, in an untagged OK.
        if code.is_some() {
            tx.write_with(|out| write_untagged(out, Status::Ok, code.as_ref(), "Moved"));
        }
        self.end_expunge("Move completed", tx);
    }
}

/// A set is written in ascending order, so only then do two sets tell which belongs to which.
fn ascends(pairs: &[(u32, u32)]) -> bool {
    pairs.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1)
}
