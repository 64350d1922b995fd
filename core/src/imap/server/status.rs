//! STATUS (RFC 9051 §6.3.11), with SIZE (RFC 8438), MAILBOXID (RFC 8474), APPENDLIMIT (RFC 7889), HIGHESTMODSEQ
//! (RFC 7162) and DELETED-STORAGE (RFC 9208).

use super::names::Spelling;
use super::session::{Session, Then};
use super::{Ask, Refusal, Status};
use crate::imap::command::{MailboxName, StatusItem};
use crate::imap::objectid::write_mailbox_id;
use crate::imap::response::{self, write_number};
use crate::send_queue::SendQueue;
use alloc::vec::Vec;

/// STATUS while its answer is on its way.
#[derive(Debug)]
pub(super) struct StatusOf {
    name: Vec<u8>,
    items: Vec<StatusItem>,
}

impl Session {
    pub(super) fn start_status(&mut self, mailbox: &MailboxName, items: Vec<StatusItem>, tx: &mut SendQueue) {
        let Some(name) = self.checked_name(mailbox, tx) else { return };
        if items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore(tx);
        }
        let (mailbox, size) = (name.clone(), items.iter().any(|item| item.needs_sizes()));
        let status_of = StatusOf { name, items };
        self.ask(Then::Status(status_of), |ticket| Ask::Status { ticket, mailbox, size });
    }

    pub(super) fn handle_status(
        &mut self,
        status_of: &StatusOf,
        answer: Result<Status, Refusal>,
        tx: &mut SendQueue,
    ) {
        match answer {
            Ok(status) => {
                let (spelling, limit) = (self.spelling(), self.setup.limits.message_bytes_max);
                let name = spelling.shown(&status_of.name);
                let items = &status_of.items;
                tx.write_with(|out| write_status(out, spelling, &name, items, &status, limit));
                self.end(response::Status::Ok, None, "Status completed", tx);
            }
            Err(refusal) => self.end_refused(&refusal, tx),
        }
    }
}

/// Writes the STATUS response, RFC 9051 §7.3.4, with the items in the order asked. `append_limit` is what APPENDLIMIT
/// says, in octets.
pub(super) fn write_status(
    out: &mut Vec<u8>,
    spelling: Spelling,
    name: &[u8],
    items: &[StatusItem],
    status: &Status,
    append_limit: u64,
) {
    out.extend_from_slice(b"* STATUS ");
    spelling.write(out, name);
    out.extend_from_slice(b" (");
    let known = |item: &&StatusItem| **item != StatusItem::MailboxId || status.guid.is_some();
    for (index, item) in items.iter().filter(known).enumerate() {
        out.extend_from_slice(if index > 0 { b" " } else { b"" });
        out.extend_from_slice(item.name().as_bytes());
        out.push(b' ');
        match item {
            StatusItem::Messages => write_number(out, status.messages.into()),
            StatusItem::Recent => write_number(out, status.recent.into()),
            StatusItem::UidNext => write_number(out, status.uid_next.into()),
            StatusItem::UidValidity => write_number(out, status.uid_validity.into()),
            StatusItem::Unseen => write_number(out, status.unseen.into()),
            StatusItem::Deleted => write_number(out, status.deleted.into()),
            StatusItem::Size => write_number(out, status.size.unwrap_or(0)),
            StatusItem::DeletedStorage => write_number(out, status.deleted_size.unwrap_or(0)),
            StatusItem::AppendLimit => write_number(out, append_limit),
            // RFC 7162 §3.1.7: 0 where there are none.
            StatusItem::HighestModSeq => write_number(out, status.modseq.unwrap_or(0)),
            StatusItem::MailboxId => {
                out.push(b'(');
                write_mailbox_id(out, &status.guid.unwrap_or_default());
                out.push(b')');
            }
        }
    }
    out.extend_from_slice(b")\r\n");
}
