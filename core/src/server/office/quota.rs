//! Limits of how much mail an account may have: what would need room waits until the usage is known.
//!
//! It is read for each question, from one small file, so that other programs' mail counts at once; an account without a
//! limit costs nothing. Two who ask at the same time may both be told that there is room: the limit is passed by no more
//! than what is under way.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::answers::{refusal, trouble};
use super::mailboxes::MailboxKey;
use super::reading::page;
use super::work::{Append, Done, Outcome, Work};
use super::{Caller, Desk, Office};
use crate::disk::Task;
use crate::imap::server::{Answer, Ask, MessageHead, Refusal};
use crate::maildir::context::{Root, StoreError};
use crate::maildir::folder::FolderName;
use crate::maildir::quota::usage;
use crate::server::FromOffice;
use crate::site::{Account, Quota, Room, Usage};
use crate::smtp::server::RecipientVerdict;
use crate::ticket::Ticket;

/// What waits for the usage.
#[derive(Debug)]
pub(super) enum Gated {
    /// A question of an IMAP session that adds mail.
    Ask { caller: Caller, account: Arc<Account>, ask: Box<Ask> },
    /// Messages of an APPEND that are whole.
    Append { mailbox: MailboxKey, append: Append },
    /// A recipient of a mail, and the answer if there is room.
    Recipient { caller: Caller, ticket: Ticket<RecipientVerdict>, verdict: RecipientVerdict },
}

/// What an APPEND has to keep to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) quota: Quota,
    /// What goes for it.
    pub(super) freed: Usage,
}

impl Office {
    /// A question of a session: at once, or when it is known that there is room.
    pub(super) fn gate_imap(&mut self, caller: Caller, account: Arc<Account>, ask: Ask, desk: &mut Desk<'_>) {
        match account.quota.zip(self.needs(&ask)) {
            None => self.handle_imap(caller, account, ask, desk),
            Some((quota, more)) => {
                let root = Root::new(&account.maildir);
                let gated = Gated::Ask { caller, account, ask: Box::new(ask) };
                self.measure(Vec::from([(root, quota)]), more, gated, desk);
            }
        }
    }

    /// A commit of an APPEND: now its size is known.
    pub(super) fn gate_append(
        &mut self,
        mailbox: MailboxKey,
        limit: Option<Limit>,
        append: Append,
        desk: &mut Desk<'_>,
    ) {
        let Some(Limit { quota, freed }) = limit else {
            return self.enqueue(mailbox, Work::Append([append].into()), desk);
        };
        let sizes = append.messages.iter().map(|message| message.staged.size);
        let more = sizes.fold(Usage::default(), |all, bytes| all.plus(Usage { bytes, messages: 1 }));
        let more = more.minus(freed);
        let of = Vec::from([(mailbox.root.clone(), quota)]);
        self.measure(of, more, Gated::Append { mailbox, append }, desk);
    }

    /// Is there room for a mail of so many octets in these mailboxes?
    pub(super) fn gate_recipients(
        &mut self,
        caller: Caller,
        ticket: Ticket<RecipientVerdict>,
        verdict: RecipientVerdict,
        size: Option<u64>,
        desk: &mut Desk<'_>,
    ) {
        let limited = |account: &Arc<Account>| Some((Root::new(&account.maildir), account.quota?));
        let of = verdict.accounts().iter().filter_map(limited).collect();
        let more = Usage { bytes: size.unwrap_or(0), messages: 1 };
        self.measure(of, more, Gated::Recipient { caller, ticket, verdict }, desk);
    }

    /// What a question adds to an account's mail, as far as it is known; `None`: nothing.
    fn needs(&self, ask: &Ask) -> Option<Usage> {
        match ask {
            Ask::Append { head, .. } => {
                Some(Usage { bytes: head.size.unwrap_or(0), messages: 1 }.minus(self.freed_by(head)))
            }
            Ask::Copy { selection, uids, remove: false, .. } => {
                let (_, state) = self.selected_state(*selection)?;
                let (messages, ..) = page(state, uids, usize::MAX, None);
                let sizes = messages.iter().map(|message| message.size.unwrap_or(0));
                Some(sizes.fold(Usage::default(), |all, bytes| all.plus(Usage { bytes, messages: 1 })))
            }
            _ => None,
        }
    }

    /// What a REPLACE takes away (RFC 8508): who has no room for a second draft may have one for the next.
    pub(super) fn freed_by(&self, head: &MessageHead) -> Usage {
        let replaced = head.replaces.and_then(|(selection, uid)| {
            let (_, state) = self.selected_state(selection)?;
            state.messages.find(uid)
        });
        replaced.map_or(Usage::default(), |message| Usage { bytes: message.size.unwrap_or(0), messages: 1 })
    }

    /// GETQUOTA and GETQUOTAROOT.
    pub(super) fn report_quota(
        &mut self,
        caller: Caller,
        account: &Account,
        ticket: Ticket<Result<Option<(Quota, Usage)>, Refusal>>,
        desk: &mut Desk<'_>,
    ) {
        let Some(quota) = account.quota else {
            return desk.imap(caller, Answer::Quota(ticket.answer(Ok(None))));
        };
        let (context, mailbox) = (
            self.context.clone(),
            MailboxKey { root: Root::new(&account.maildir), folder: FolderName::inbox() },
        );
        let root = mailbox.root.clone();
        let task = Task::new(move |disk| async move {
            let (answer, trouble) = match usage(disk, context, root, quota, Usage::default()).await {
                Ok(used) => (Ok(Some((quota, used))), None),
                Err(error) => (Err(refusal(&error)), Some(error)),
            };
            let answer = Answer::Quota(ticket.answer(answer));
            Done::new(Outcome::Answered { caller, mailbox, answer, trouble })
        });
        self.run(task, desk);
    }

    fn measure(&mut self, of: Vec<(Root, Quota)>, more: Usage, gated: Gated, desk: &mut Desk<'_>) {
        let context = self.context.clone();
        let task = Task::new(move |disk| async move {
            let mut room = Ok(Room::Enough);
            for (root, quota) in of {
                let used = usage(disk.clone(), context.clone(), root, quota, more).await;
                room = used.map(|used| quota.room_for(used, more));
                if room != Ok(Room::Enough) {
                    break;
                }
            }
            Done::new(Outcome::Measured(Measured { gated, room }))
        });
        self.run(task, desk);
    }

    pub(super) fn finish_measuring(&mut self, measured: Measured, desk: &mut Desk<'_>) {
        let Measured { gated, room } = measured;
        if let Err(error) = &room {
            trouble("maildirsize", error, desk);
        }
        match gated {
            Gated::Ask { caller, account, ask } => match refused(&room) {
                None => self.handle_imap(caller, account, *ask, desk),
                Some(refused) => match *ask {
                    Ask::Append { ticket, .. } => {
                        desk.imap(caller, Answer::Done(ticket.answer(Err(refused))))
                    }
                    Ask::Copy { ticket, .. } => desk.imap(caller, Answer::Copy(ticket.answer(Err(refused)))),
                    // Nothing else has been measured.
                    ask => self.handle_imap(caller, account, ask, desk),
                },
            },
            Gated::Append { mailbox, append } => match refused(&room) {
                None => self.enqueue(mailbox, Work::Append([append].into()), desk),
                Some(refused) => {
                    self.discard(&mailbox, append.messages, desk);
                    desk.imap(append.caller, Answer::Append(append.ticket.answer(Err(refused))));
                }
            },
            Gated::Recipient { caller, ticket, verdict } => {
                let verdict = match room {
                    Ok(Room::Enough) => verdict,
                    Ok(Room::Full) => RecipientVerdict::Full,
                    Ok(Room::Never) => RecipientVerdict::TooBig,
                    Err(_) => RecipientVerdict::Temporary,
                };
                let answer = ticket.answer(verdict);
                desk.answer(caller, FromOffice::Recipient { conn: caller.conn, answer });
            }
        }
    }
}

/// What came of measuring.
#[derive(Debug)]
pub(super) struct Measured {
    gated: Gated,
    room: Result<Room, StoreError>,
}

fn refused(room: &Result<Room, StoreError>) -> Option<Refusal> {
    match room {
        Ok(Room::Enough) => None,
        Ok(Room::Full | Room::Never) => Some(Refusal::NoSpace),
        Err(error) => Some(refusal(error)),
    }
}
