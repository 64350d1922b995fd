//! GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208).
//!
//! All mailboxes of an account count together, so there is one quota root, or none where the account has no limit. Nobody
//! sets limits by IMAP: they are in the configuration.

use super::session::{Session, Then};
use super::{Ask, Refusal};
use crate::imap::command::MailboxName;
use crate::imap::response::{Code, Status, write_number, write_string};
use crate::send_queue::SendQueue;
use crate::site::{Quota, Usage};
use alloc::vec::Vec;

/// The one quota root, under the name that Dovecot's manual gives it.
const ROOT: &[u8] = b"User quota";
/// RFC 9208 §5.1: STORAGE counts in units of 1024 octets.
const STORAGE_UNIT: u64 = 1024;

/// GETQUOTA and GETQUOTAROOT while their answer is on its way.
#[derive(Debug)]
pub(super) enum QuotaAsked {
    Root,
    /// The mailbox as the client spells it.
    RootOf(Vec<u8>),
}

impl Session {
    pub(super) fn start_get_quota(&mut self, root: &[u8], tx: &mut SendQueue) {
        if root != ROOT {
            return self.end_no_root(tx);
        }
        self.ask(Then::Quota(QuotaAsked::Root), |ticket| Ask::Quota { ticket });
    }

    pub(super) fn start_get_quota_root(&mut self, mailbox: &MailboxName, tx: &mut SendQueue) {
        let Some(name) = self.checked_name(mailbox, tx) else { return };
        let asked = QuotaAsked::RootOf(self.spelling().shown(&name).into_owned());
        self.ask(Then::Quota(asked), |ticket| Ask::Quota { ticket });
    }

    pub(super) fn start_set_quota(&mut self, root: &[u8], tx: &mut SendQueue) {
        if root != ROOT {
            return self.end_no_root(tx);
        }
        self.end(Status::No, Some(&Code::NoPerm), "Limits are set by who runs this server", tx);
    }

    pub(super) fn handle_quota(
        &mut self,
        asked: &QuotaAsked,
        answer: Result<Option<(Quota, Usage)>, Refusal>,
        tx: &mut SendQueue,
    ) {
        let limited = match answer {
            Ok(limited) => limited,
            Err(refusal) => return self.end_refused(&refusal, tx),
        };
        let text = match (asked, &limited) {
            (QuotaAsked::Root, None) => return self.end_no_root(tx),
            (QuotaAsked::Root, Some(_)) => "Getquota completed",
            (QuotaAsked::RootOf(mailbox), _) => {
                let spelling = self.spelling();
                tx.write_with(|out| {
                    out.extend_from_slice(b"* QUOTAROOT ");
                    spelling.write(out, mailbox);
                    if limited.is_some() {
                        out.push(b' ');
                        write_string(out, ROOT);
                    }
                    out.extend_from_slice(b"\r\n");
                });
                "Getquotaroot completed"
            }
        };
        if let Some((quota, usage)) = limited {
            tx.write_with(|out| write_quota(out, quota, usage));
        }
        self.end(Status::Ok, None, text, tx);
    }

    fn end_no_root(&mut self, tx: &mut SendQueue) {
        self.end(Status::No, Some(&Code::NonExistent), "There is no such quota root", tx);
    }
}

/// Writes the QUOTA response, RFC 9208 §4.2.1: what there is rounded up, the limit rounded down.
fn write_quota(out: &mut Vec<u8>, quota: Quota, usage: Usage) {
    out.extend_from_slice(b"* QUOTA ");
    write_string(out, ROOT);
    let storage = quota.bytes.map(|most| (usage.bytes.div_ceil(STORAGE_UNIT), most / STORAGE_UNIT));
    let message = quota.messages.map(|most| (usage.messages, most));
    let mut before: &[u8] = b" (";
    for (name, limit) in [("STORAGE", storage), ("MESSAGE", message)] {
        let Some((used, most)) = limit else { continue };
        out.extend_from_slice(before);
        out.extend_from_slice(name.as_bytes());
        for number in [used, most] {
            out.push(b' ');
            write_number(out, number);
        }
        before = b" ";
    }
    out.extend_from_slice(b")\r\n");
}
