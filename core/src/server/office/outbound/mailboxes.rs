//! Mailboxes of ours that could not be had when their mail came: the queue tries them as it tries other servers.
//!
//! Each account has a line of its own, so that a disk that is full or broken for one delays nobody else, and the queue's
//! law of retries, notices of delay and bounces holds. Of the connection that the queue wants for such a line only the
//! questions are there: it is ready at once, and a job is a task of the store.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::links::report;
use super::{Desk, Done, Outbound, Todo};
use crate::event::{Event, Fate};
use crate::maildir::context::{Root, StoreError, StoreErrorKind};
use crate::maildir::deliver::DeliveryTarget;
use crate::maildir::folder::FolderName;
use crate::queue::machine::{Job, LinkId, QueueInput};
use crate::queue::spool::{QueueId, deliver_queued};
use crate::smtp::client::Outcome;
use crate::smtp::client::reply::Reply;

/// What such a line begins with: no domain, and no host, has a blank.
const LINE: &str = "mailbox ";

/// The line of an account.
pub(super) fn line(address: &str) -> String {
    format!("{LINE}{address}")
}

/// Whether it leads to a mailbox.
pub(super) fn is_line(destination: &str) -> bool {
    destination.starts_with(LINE)
}

impl Outbound {
    pub(super) fn open_mailbox(&mut self, link: LinkId) {
        self.mailbox_links.insert(link, None);
        self.mailbox_ready(link);
    }

    /// It takes one recipient at a time, for there is no other.
    pub(super) fn mailbox_ready(&mut self, link: LinkId) {
        if !self.stopping {
            self.todo.push_back(Todo::Queue(QueueInput::Ready { link, recipients_max: 1 }));
        }
    }

    pub(super) fn give_mailbox_job(&mut self, link: LinkId, job: Option<Job>, desk: &mut Desk<'_>) {
        let Some(job) = job else {
            self.mailbox_links.remove(&link);
            return self.todo.push_back(Todo::Queue(QueueInput::Ended { link, why: None }));
        };
        let recipient = job.recipients.first().and_then(|n| job.envelope.recipients.get(*n));
        let found = recipient.and_then(|recipient| {
            let id = self.site.account_by_login(recipient.forward_path.as_bytes())?;
            Some((self.site.account(id)?, recipient.mailbox.clone()?))
        });
        let Some((account, named)) = found else {
            self.mailbox_links.insert(link, Some(job));
            let outcome = Outcome::Refused(reply(550, [5, 1, 1], "The account is no more"));
            return self.mailbox_outcome(link, outcome, desk);
        };
        let root = Root::new(&account.maildir);
        let target = DeliveryTarget { root: root.clone(), folder: FolderName::inbox(), quota: account.quota };
        let (context, id, envelope) = (self.context.clone(), job.id.clone(), job.envelope.clone());
        self.mailbox_links.insert(link, Some(job));
        self.task(move |disk, spool| async move {
            Done::Kept(link, root, deliver_queued(disk, context, spool, id, envelope, target, named).await)
        });
    }

    /// Says in which Maildir there is something new.
    pub(super) fn mailbox_done(
        &mut self,
        link: LinkId,
        root: Root,
        result: Result<(), StoreError>,
        desk: &mut Desk<'_>,
    ) -> Vec<Root> {
        let (outcome, roots) = match result {
            Ok(()) => {
                let reply = reply(250, [2, 1, 5], "Delivered to the mailbox");
                // Nobody is told that it was "relayed", for it was not.
                (Outcome::Delivered { reply, dsn: true }, [root].into())
            }
            Err(error) => {
                super::trouble(&String::from_utf8_lossy(&root.path), &error, desk);
                (Outcome::Refused(refusal(error.kind)), Vec::new())
            }
        };
        self.mailbox_outcome(link, outcome, desk);
        roots
    }

    fn mailbox_outcome(&mut self, link: LinkId, outcome: Outcome, desk: &mut Desk<'_>) {
        let outcomes = Vec::from([outcome]);
        let host = String::from(self.site.hostname());
        if let Some(job) = self.mailbox_links.get_mut(&link).and_then(Option::take) {
            report(&job, &host, "", &outcomes, desk);
        }
        self.todo.push_back(Todo::Queue(QueueInput::Outcomes { link, host, outcomes }));
    }
}

/// Tells the log that a mail which has just come goes to a mailbox later.
pub(super) fn report_late(id: &QueueId, to: &str, host: &str, kind: StoreErrorKind, desk: &mut Desk<'_>) {
    let (id, to, host, reply) = (id.clone(), to.into(), host.into(), refusal(kind).to_string());
    desk.event(None, Event::Sent { id, to, host, fate: Fate::Deferred, reply, tls: String::new() });
}

/// What a failure means for the mail: what the sender would be told in a session.
fn refusal(kind: StoreErrorKind) -> Reply {
    match kind {
        StoreErrorKind::MailboxFull => reply(452, [4, 2, 2], "The mailbox is full"),
        StoreErrorKind::MailboxTooSmall => reply(552, [5, 2, 2], "The mailbox is too small for this mail"),
        StoreErrorKind::NoSpace | StoreErrorKind::OverQuota => {
            reply(452, [4, 3, 1], "There is no room on the disk of the mailbox")
        }
        _ => reply(451, [4, 2, 0], "The mailbox cannot be written to now"),
    }
}

fn reply(code: u16, enhanced: [u16; 3], text: &str) -> Reply {
    Reply { code, enhanced: Some(enhanced), text: text.into() }
}
