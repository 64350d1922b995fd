//! STATUS (RFC 9051 §6.3.11), with SIZE (RFC 8438).

use super::session::{Session, Then};
use super::{Ask, Refusal, Status};
use crate::imap::command::{MailboxName, StatusItem};
use crate::imap::response::{self, write_astring, write_number};
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
        let (mailbox, size) = (name.clone(), items.contains(&StatusItem::Size));
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
                tx.write_with(|out| write_status(out, &status_of.name, &status_of.items, &status));
                self.end(response::Status::Ok, None, "Status completed", tx);
            }
            Err(refusal) => self.end_refused(&refusal, tx),
        }
    }
}

/// Writes the STATUS response, RFC 9051 §7.3.4, with the items in the order asked.
pub(super) fn write_status(out: &mut Vec<u8>, name: &[u8], items: &[StatusItem], status: &Status) {
    out.extend_from_slice(b"* STATUS ");
    write_astring(out, name);
    out.extend_from_slice(b" (");
    for (index, item) in items.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b" " } else { b"" });
        out.extend_from_slice(item.name().as_bytes());
        out.push(b' ');
        write_number(out, value_of(*item, status));
    }
    out.extend_from_slice(b")\r\n");
}

fn value_of(item: StatusItem, status: &Status) -> u64 {
    match item {
        StatusItem::Messages => status.messages.into(),
        StatusItem::Recent => status.recent.into(),
        StatusItem::UidNext => status.uid_next.into(),
        StatusItem::UidValidity => status.uid_validity.into(),
        StatusItem::Unseen => status.unseen.into(),
        StatusItem::Deleted => status.deleted.into(),
        StatusItem::Size => status.size.unwrap_or(0),
    }
}
