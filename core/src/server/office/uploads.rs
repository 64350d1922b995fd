//! Message bodies on their way to the disk: deliveries and APPENDs.
//!
//! Each is a task that takes chunks as inputs. While a worker has the task, inputs wait here; when it comes back
//! hungry it gets them all. A chunk is acknowledged to its front when a task has it, which bounds what waits.
//! A connection has one upload at most. Once its commit was asked for, nothing takes an upload back.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::answers::{place, refusal, trouble};
use super::mailboxes::MailboxKey;
use super::work::{Append, Done, Outcome, Work};
use super::{Caller, Desk, JobId, Office, OfficeAction, StoreTask};
use crate::disk::{Task, TaskInput};
use crate::event::Event;
use crate::imap::flag::FlagList;
use crate::imap::server::{Answer, Appended, Refusal};
use crate::maildir::append::{self, Staged, stage_append};
use crate::maildir::context::{Root, StoreError, StoreErrorKind};
use crate::maildir::deliver::{Delivered, DeliveryTarget, deliver};
use crate::maildir::folder::FolderName;
use crate::mime::header;
use crate::server::{ConnId, FromOffice};
use crate::smtp::server::{CommitVerdict, Transaction};
use crate::ticket::Ticket;

#[derive(Debug)]
pub(super) struct Upload {
    caller: Caller,
    /// The task, while it is here and hungry.
    task: Option<StoreTask>,
    inputs: VecDeque<TaskInput>,
    purpose: Purpose,
    /// It failed before its commit was asked for.
    failed: Option<StoreError>,
}

#[derive(Debug)]
enum Purpose {
    Delivery { transaction: Transaction, subject: Vec<u8>, ticket: Option<Ticket<CommitVerdict>> },
    Append { target: Box<AppendTarget>, ticket: Option<Ticket<Result<Appended, Refusal>>> },
}

/// Where an APPEND goes, and with what.
#[derive(Debug)]
pub(super) struct AppendTarget {
    pub(super) mailbox: MailboxKey,
    pub(super) flags: FlagList<'static>,
    pub(super) date: Option<i64>,
}

impl Office {
    pub(super) fn start_delivery(
        &mut self,
        caller: Caller,
        transaction: Transaction,
        body: Vec<u8>,
        commit: Option<Ticket<CommitVerdict>>,
        desk: &mut Desk<'_>,
    ) {
        let roots: BTreeSet<Root> =
            recipients(&transaction).map(|account| Root::new(&account.maildir)).collect();
        let targets =
            roots.into_iter().map(|root| DeliveryTarget { root, folder: FolderName::inbox() }).collect();
        let ctx = self.context.clone();
        let mut task =
            Task::new(
                move |disk| async move { Done::new(Outcome::Delivered(deliver(disk, ctx, targets).await)) },
            );
        let subject = header::find(&body, b"Subject").map(|field| header::unfold(field.value).into_owned());
        let committed = commit.is_some();
        let subject = subject.unwrap_or_default();
        let purpose = Purpose::Delivery { transaction, subject, ticket: commit };
        if committed {
            // The message is whole: one journey to a worker, and no place of a chunk to free afterwards.
            task.push_input(TaskInput::Chunk(body));
            task.push_input(TaskInput::Commit);
            let job = self.start_upload(caller, task, purpose, desk);
            if let Some(upload) = self.uploads.get_mut(&job)
                && let Some(task) = upload.task.take()
            {
                feed(job, upload, task, desk);
            }
        } else {
            self.start_upload(caller, task, purpose, desk);
            self.upload_input(caller, TaskInput::Chunk(body), desk);
        }
    }

    /// The mailbox is there: take the octets of an APPEND.
    pub(super) fn start_append(&mut self, caller: Caller, target: AppendTarget, desk: &mut Desk<'_>) {
        let (ctx, MailboxKey { root, folder }) = (self.context.clone(), target.mailbox.clone());
        let date = target.date;
        let task = Task::new(move |disk| async move {
            Done::new(Outcome::Staged(stage_append(disk, ctx, root, folder, date).await))
        });
        let purpose = Purpose::Append { target: Box::new(target), ticket: None };
        self.start_upload(caller, task, purpose, desk);
    }

    pub(super) fn commit_delivery(
        &mut self,
        caller: Caller,
        ticket: Ticket<CommitVerdict>,
        desk: &mut Desk<'_>,
    ) {
        let upload = self.upload_of.get(&caller).and_then(|job| self.uploads.get_mut(job));
        match upload {
            Some(Upload { failed: Some(error), .. }) => {
                let verdict = verdict(error);
                self.forget_upload(caller);
                let answer = ticket.answer(verdict);
                desk.answer(caller, FromOffice::Delivered { conn: caller.conn, answer });
            }
            Some(Upload { purpose: Purpose::Delivery { ticket: slot, .. }, .. }) => {
                *slot = Some(ticket);
                self.upload_input(caller, TaskInput::Commit, desk);
            }
            Some(_) | None => {
                let answer = ticket.answer(CommitVerdict::Temporary);
                desk.answer(caller, FromOffice::Delivered { conn: caller.conn, answer });
            }
        }
    }

    pub(super) fn commit_append(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<Appended, Refusal>>,
        desk: &mut Desk<'_>,
    ) {
        let upload = self.upload_of.get(&caller).and_then(|job| self.uploads.get_mut(job));
        match upload {
            Some(Upload { failed: Some(error), .. }) => {
                let refused = refusal(error);
                self.forget_upload(caller);
                desk.imap(caller, Answer::Append(ticket.answer(Err(refused))));
            }
            Some(Upload { purpose: Purpose::Append { ticket: slot, .. }, .. }) => {
                *slot = Some(ticket);
                self.upload_input(caller, TaskInput::Commit, desk);
            }
            Some(_) | None => {
                desk.imap(caller, Answer::Append(ticket.answer(Err(Refusal::Unavailable))));
            }
        }
    }

    /// An input for the upload of this connection.
    pub(super) fn upload_input(&mut self, caller: Caller, input: TaskInput, desk: &mut Desk<'_>) {
        let Some(job) = self.upload_of.get(&caller).copied() else { return };
        let ends = matches!(input, TaskInput::Abort);
        if let Some(upload) = self.uploads.get_mut(&job) {
            upload.inputs.push_back(input);
            if upload.failed.is_some() {
                acknowledge(caller, upload.inputs.drain(..), desk);
            } else if let Some(task) = upload.task.take() {
                feed(job, upload, task, desk);
            }
        }
        if ends {
            self.upload_of.remove(&caller);
            self.uploads.retain(|id, upload| *id != job || upload.failed.is_none());
        }
    }

    /// A task has come back for more.
    pub(super) fn upload_hungry(&mut self, job: JobId, task: StoreTask, desk: &mut Desk<'_>) {
        let Some(upload) = self.uploads.get_mut(&job) else { return };
        if upload.inputs.is_empty() {
            upload.task = Some(task);
        } else {
            feed(job, upload, task, desk);
        }
    }

    /// The connection is gone: what was not asked to be committed is undone.
    pub(super) fn abandon_upload(&mut self, caller: Caller, desk: &mut Desk<'_>) {
        let Some(job) = self.upload_of.get(&caller) else { return };
        let committed = match self.uploads.get(job).map(|upload| &upload.purpose) {
            Some(Purpose::Delivery { ticket, .. }) => ticket.is_some(),
            Some(Purpose::Append { ticket, .. }) => ticket.is_some(),
            None => true,
        };
        if committed {
            self.upload_of.remove(&caller);
        } else {
            self.upload_input(caller, TaskInput::Abort, desk);
        }
    }

    pub(super) fn finish_delivery(
        &mut self,
        job: JobId,
        result: Result<Delivered, StoreError>,
        desk: &mut Desk<'_>,
    ) {
        let Some(mut upload) = self.uploads.remove(&job) else { return };
        let Purpose::Delivery { transaction, subject, ticket } = &mut upload.purpose else { return };
        let caller = upload.caller;
        let Some(ticket) = ticket.take() else {
            if let Err(error) = result {
                self.fail_early(job, upload, error, desk);
            }
            return;
        };
        self.release_upload(caller, job);
        let verdict = match result {
            Ok(delivered) => {
                self.tell_delivered(caller.conn, transaction, core::mem::take(subject), delivered, desk);
                CommitVerdict::Done
            }
            Err(error) => {
                let why = error.to_string();
                desk.event(Some(caller.conn), Event::NotDelivered { id: transaction.id.clone(), why });
                let to = recipients(transaction).map(|account| account.maildir.as_slice()).next();
                trouble(&alloc::string::String::from_utf8_lossy(to.unwrap_or_default()), &error, desk);
                verdict(&error)
            }
        };
        let answer = ticket.answer(verdict);
        desk.answer(caller, FromOffice::Delivered { conn: caller.conn, answer });
    }

    pub(super) fn finish_staging(
        &mut self,
        job: JobId,
        result: Result<Staged, StoreError>,
        desk: &mut Desk<'_>,
    ) {
        let Some(mut upload) = self.uploads.remove(&job) else { return };
        let Purpose::Append { target, ticket } = &mut upload.purpose else { return };
        let caller = upload.caller;
        let Some(ticket) = ticket.take() else {
            if let Err(error) = result {
                self.fail_early(job, upload, error, desk);
            }
            return;
        };
        self.release_upload(caller, job);
        match result {
            Ok(staged) => {
                let AppendTarget { mailbox, flags, .. } = &mut **target;
                let message = append::Append { staged, flags: core::mem::take(flags) };
                let work = Work::Append([Append { caller, ticket, message }].into());
                self.enqueue(mailbox.clone(), work, desk);
            }
            Err(error) => {
                trouble(&place(&target.mailbox), &error, desk);
                desk.imap(caller, Answer::Append(ticket.answer(Err(refusal(&error)))));
            }
        }
    }

    fn start_upload(
        &mut self,
        caller: Caller,
        task: StoreTask,
        purpose: Purpose,
        desk: &mut Desk<'_>,
    ) -> JobId {
        self.abandon_upload(caller, desk);
        let job = self.job();
        let upload = Upload { caller, task: Some(task), inputs: VecDeque::new(), purpose, failed: None };
        self.uploads.insert(job, upload);
        self.upload_of.insert(caller, job);
        job
    }

    /// The task failed while octets still come: they are dropped, and the commit will be told.
    fn fail_early(&mut self, job: JobId, mut upload: Upload, error: StoreError, desk: &mut Desk<'_>) {
        let caller = upload.caller;
        if self.upload_of.get(&caller) != Some(&job) || error.kind == StoreErrorKind::Aborted {
            return;
        }
        trouble("", &error, desk);
        acknowledge(caller, upload.inputs.drain(..), desk);
        upload.failed = Some(error);
        self.uploads.insert(job, upload);
    }

    /// The connection may upload again. It may have begun to: a session that lost patience does not wait.
    fn release_upload(&mut self, caller: Caller, job: JobId) {
        if self.upload_of.get(&caller) == Some(&job) {
            self.upload_of.remove(&caller);
        }
    }

    fn forget_upload(&mut self, caller: Caller) {
        if let Some(job) = self.upload_of.remove(&caller) {
            self.uploads.remove(&job);
        }
    }

    fn tell_delivered(
        &mut self,
        conn: ConnId,
        transaction: &Transaction,
        subject: Vec<u8>,
        delivered: Delivered,
        desk: &mut Desk<'_>,
    ) {
        let (id, from) = (transaction.id.clone(), transaction.reverse_path.clone());
        let to = recipients(transaction).map(|account| account.address.clone()).collect();
        desk.event(Some(conn), Event::Delivered { id, from, to, size: delivered.size, subject });
        let roots: BTreeSet<Root> =
            recipients(transaction).map(|account| Root::new(&account.maildir)).collect();
        for root in roots {
            self.look_if_selected(MailboxKey { root, folder: FolderName::inbox() }, desk);
        }
    }
}

/// Hands everything that waits to the task, and the task to a worker.
fn feed(job: JobId, upload: &mut Upload, mut task: StoreTask, desk: &mut Desk<'_>) {
    let caller = upload.caller;
    for input in upload.inputs.drain(..) {
        if let TaskInput::Chunk(_) = input {
            desk.answer(caller, FromOffice::ChunkTaken { conn: caller.conn });
        }
        task.push_input(input);
    }
    desk.out.push(OfficeAction::Run(job, task));
}

/// Frees the places of chunks that nobody will take.
fn acknowledge(caller: Caller, inputs: impl Iterator<Item = TaskInput>, desk: &mut Desk<'_>) {
    for input in inputs {
        if let TaskInput::Chunk(_) = input {
            desk.answer(caller, FromOffice::ChunkTaken { conn: caller.conn });
        }
    }
}

/// The accounts of a transaction, each once.
fn recipients(transaction: &Transaction) -> impl Iterator<Item = &Arc<crate::site::Account>> {
    let mut seen = BTreeSet::new();
    let all = transaction.recipients.iter().flat_map(|recipient| &recipient.accounts);
    all.filter(move |account| seen.insert(&account.address))
}

fn verdict(error: &StoreError) -> CommitVerdict {
    match error.kind {
        StoreErrorKind::NoSpace | StoreErrorKind::OverQuota => CommitVerdict::NoSpace,
        StoreErrorKind::Busy
        | StoreErrorKind::NotFound
        | StoreErrorKind::AlreadyExists
        | StoreErrorKind::BadName(_)
        | StoreErrorKind::Cannot
        | StoreErrorKind::Access
        | StoreErrorKind::ReadOnly
        | StoreErrorKind::UidsExhausted
        | StoreErrorKind::Aborted
        | StoreErrorKind::Temporary(_) => CommitVerdict::Temporary,
    }
}
