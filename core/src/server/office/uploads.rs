//! Message bodies on their way to the disk: deliveries and APPENDs.
//!
//! Each is a task that takes chunks as inputs. While a worker has the task, inputs wait here; when it comes back
//! hungry it gets them all. A chunk is acknowledged to its front when a task has it, which bounds what waits.
//! A connection has one upload at most. Once its commit was asked for, nothing takes an upload back.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::answers::{place, refusal, trouble};
use super::mailboxes::MailboxKey;
use super::outbound::tell_signed;
use super::quota::Limit;
use super::work::{Append, Done, Outcome, Taken};
use super::{Caller, Desk, JobId, Office, OfficeAction, StoreTask};
use crate::disk::{Disk, Task, TaskInput};
use crate::event::Event;
use crate::imap::flag::FlagList;
use crate::imap::server::{Answer, Appended, MessageHead, Refusal};
use crate::imap::url::MessageUrl;
use crate::maildir::append::{self, Staged, stage_append};
use crate::maildir::context::{Root, StoreError, StoreErrorKind};
use crate::maildir::deliver::{Delivered, DeliveryTarget, deliver};
use crate::maildir::fetch::Splice;
use crate::maildir::folder::FolderName;
use crate::mime::header;
use crate::queue;
use crate::queue::spool::{Late, LocalCopy, Spooled, spool};
use crate::server::{ConnId, FromOffice};
use crate::site::Account;
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
    Delivery { transaction: Transaction, shown: Shown, ticket: Option<Ticket<CommitVerdict>> },
    Append { target: Box<AppendTarget>, then: Option<AfterStaging> },
}

/// What the log shows of a message's header.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) subject: Vec<u8>,
    pub(super) message_id: Vec<u8>,
}

impl Shown {
    /// Of a message's first octets.
    pub(super) fn of(body: &[u8]) -> Self {
        let value = |name: &[u8]| {
            let field = header::find(body, name);
            field.map(|field| header::unfold(field.value).trim_ascii().to_vec()).unwrap_or_default()
        };
        Shown { subject: value(b"Subject"), message_id: value(b"Message-ID") }
    }
}

/// Where an APPEND goes, and with what.
#[derive(Debug)]
pub(super) struct AppendTarget {
    mailbox: MailboxKey,
    flags: FlagList<'static>,
    date: Option<i64>,
    limit: Option<Limit>,
    /// The messages of the same command before this one.
    staged: Vec<append::Append>,
}

impl AppendTarget {
    pub(super) fn new(mailbox: MailboxKey, limit: Option<Limit>, head: MessageHead) -> Self {
        let MessageHead { flags, date, .. } = head;
        AppendTarget { mailbox, flags, date, limit, staged: Vec::new() }
    }
}

/// What comes when the message of an APPEND is staged.
#[derive(Debug)]
enum AfterStaging {
    /// Another one for the same mailbox.
    Next { ticket: Ticket<Result<(), Refusal>>, head: MessageHead },
    /// The commit of all.
    Commit(Ticket<Result<Appended, Refusal>>),
}

impl AfterStaging {
    fn refuse(self, refused: Refusal) -> Answer {
        match self {
            AfterStaging::Next { ticket, .. } => Answer::Done(ticket.answer(Err(refused))),
            AfterStaging::Commit(ticket) => Answer::Append(ticket.answer(Err(refused))),
        }
    }
}

/// Octets of another message that a message to be appended wants.
#[derive(Debug)]
pub(super) struct SpliceWanted {
    pub(super) url: MessageUrl,
    pub(super) wire_bytes_max: u64,
    /// The how manieth URL of its command it is.
    pub(super) place: usize,
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
        let mut copies: Vec<LocalCopy> = copies(&transaction).collect();
        copies.sort_by(|a, b| a.target.cmp(&b.target));
        copies.dedup_by(|a, b| a.target.root == b.target.root);
        let (ctx, elsewhere) = (self.context.clone(), self.envelope_of(&transaction, desk.now));
        let full = self.has_no_room(&transaction);
        let signing = self.signing(&transaction, desk.now);
        let mut task = match elsewhere {
            _ if full => Task::new(|disk: Disk| async move {
                // Its octets are taken, and go nowhere.
                let result = refuse_all(disk).await;
                Done::new(Outcome::Delivered(result))
            }),
            Some((root, envelope)) => {
                let id = transaction.id.clone();
                Task::new(move |disk| async move {
                    let result = spool(disk, ctx, root, id, envelope, signing, copies).await;
                    let taken =
                        |Spooled { envelope, signed, late }| Taken { size: envelope.size, signed, late };
                    Done::new(Outcome::Delivered(result.map(taken)))
                })
            }
            None => Task::new(move |disk| async move {
                let targets = copies.into_iter().map(|copy| copy.target).collect();
                let result = deliver(disk, ctx, targets).await;
                let taken =
                    |delivered: Delivered| Taken { size: delivered.size, signed: None, late: Vec::new() };
                Done::new(Outcome::Delivered(result.map(taken)))
            }),
        };
        let committed = commit.is_some();
        let purpose = Purpose::Delivery { transaction, shown: Shown::of(&body), ticket: commit };
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
        let purpose = Purpose::Append { target: Box::new(target), then: None };
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
                self.forget_upload(caller, desk);
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
        self.stage_append(caller, AfterStaging::Commit(ticket), desk);
    }

    /// The message is whole and another one follows (RFC 3502).
    pub(super) fn append_next(
        &mut self,
        caller: Caller,
        ticket: Ticket<Result<(), Refusal>>,
        head: MessageHead,
        desk: &mut Desk<'_>,
    ) {
        self.stage_append(caller, AfterStaging::Next { ticket, head }, desk);
    }

    fn stage_append(&mut self, caller: Caller, then: AfterStaging, desk: &mut Desk<'_>) {
        let upload = self.upload_of.get(&caller).and_then(|job| self.uploads.get_mut(job));
        match upload {
            Some(Upload { failed: Some(error), .. }) => {
                let refused = refusal(error);
                self.forget_upload(caller, desk);
                desk.imap(caller, then.refuse(refused));
            }
            Some(Upload { purpose: Purpose::Append { then: slot, .. }, .. }) => {
                *slot = Some(then);
                self.upload_input(caller, TaskInput::Commit, desk);
            }
            Some(_) | None => desk.imap(caller, then.refuse(Refusal::Unavailable)),
        }
    }

    /// Puts octets of a message of this mailbox, which has been looked at, into the upload.
    pub(super) fn splice(
        &mut self,
        caller: Caller,
        key: &MailboxKey,
        wanted: SpliceWanted,
        desk: &mut Desk<'_>,
    ) -> Result<(), Refusal> {
        let SpliceWanted { url, wire_bytes_max, place } = wanted;
        let state = self.state(key).ok_or(Refusal::Unavailable)?;
        if url.uid_validity.is_some_and(|validity| validity != state.uid_validity) {
            return Err(Refusal::BadUrl(place));
        }
        let message = state.messages.find(url.uid).cloned().ok_or(Refusal::BadUrl(place))?;
        let MailboxKey { root, folder } = key.clone();
        let splice = Splice { root, folder, message, url, wire_bytes_max, place };
        self.upload_input(caller, TaskInput::Splice(Box::new(splice)), desk);
        Ok(())
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
            if self.uploads.get(&job).is_some_and(|upload| upload.failed.is_some()) {
                self.forget_upload(caller, desk);
            }
            self.upload_of.remove(&caller);
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
            Some(Purpose::Append { then, .. }) => matches!(then, Some(AfterStaging::Commit(_))),
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
        result: Result<Taken, StoreError>,
        desk: &mut Desk<'_>,
    ) {
        let Some(mut upload) = self.uploads.remove(&job) else { return };
        let Purpose::Delivery { transaction, shown, ticket } = &mut upload.purpose else { return };
        let caller = upload.caller;
        let Some(ticket) = ticket.take() else {
            if let Err(error) = result {
                self.fail_early(job, upload, error, desk);
            }
            return;
        };
        self.release_upload(caller, job);
        let verdict = match result {
            Ok(Taken { size, signed, late }) => {
                self.tell_queued(caller.conn, transaction, shown, size, desk);
                tell_signed(Some(caller.conn), &transaction.id, signed, desk);
                self.tell_late(&transaction.id, &late, desk);
                self.tell_delivered(caller.conn, transaction, core::mem::take(shown), (size, &late), desk);
                CommitVerdict::Done
            }
            Err(error) => {
                let why = error.to_string();
                desk.event(Some(caller.conn), Event::NotDelivered { id: transaction.id.clone(), why });
                let to = recipients(transaction).map(|account| account.maildir.as_slice()).next();
                trouble(&String::from_utf8_lossy(to.unwrap_or_default()), &error, desk);
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
        let Purpose::Append { target, then } = &mut upload.purpose else { return };
        let caller = upload.caller;
        let wanted = self.upload_of.get(&caller) == Some(&job);
        let committed = matches!(then, Some(AfterStaging::Commit(_)));
        let Some(then) = then.take().filter(|_| committed || wanted) else {
            match result {
                // Not wanted any more: it was whole before it heard so.
                Ok(staged) => {
                    let last = append::Append { staged, flags: FlagList::default() };
                    target.staged.push(last);
                    self.discard(&target.mailbox, core::mem::take(&mut target.staged), desk);
                }
                Err(error) => self.fail_early(job, upload, error, desk),
            }
            return;
        };
        self.release_upload(caller, job);
        let Purpose::Append { target, .. } = upload.purpose else { return };
        let AppendTarget { mailbox, flags, limit, staged: mut messages, .. } = *target;
        match result {
            Ok(staged) if staged.size == 0 => {
                messages.push(append::Append { staged, flags });
                self.discard(&mailbox, messages, desk);
                desk.imap(caller, then.refuse(Refusal::Cannot("a message of no octets cannot be kept")));
            }
            Ok(staged) => {
                messages.push(append::Append { staged, flags });
                match then {
                    AfterStaging::Commit(ticket) => {
                        self.gate_append(mailbox, limit, Append { caller, ticket, messages }, desk);
                    }
                    AfterStaging::Next { ticket, head } => {
                        let target =
                            AppendTarget { staged: messages, ..AppendTarget::new(mailbox, limit, head) };
                        self.start_append(caller, target, desk);
                        desk.imap(caller, Answer::Done(ticket.answer(Ok(()))));
                    }
                }
            }
            Err(error) => {
                trouble(&place(&mailbox), &error, desk);
                self.discard(&mailbox, messages, desk);
                desk.imap(caller, then.refuse(refusal(&error)));
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
            return self.discard_staged(upload, desk);
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

    fn forget_upload(&mut self, caller: Caller, desk: &mut Desk<'_>) {
        if let Some(upload) = self.upload_of.remove(&caller).and_then(|job| self.uploads.remove(&job)) {
            self.discard_staged(upload, desk);
        }
    }

    /// Messages of the same command that were whole before it failed.
    fn discard_staged(&mut self, upload: Upload, desk: &mut Desk<'_>) {
        if let Purpose::Append { target, .. } = upload.purpose {
            self.discard(&target.mailbox, target.staged, desk);
        }
    }

    /// What is in the spool is the queue's from here on.
    fn tell_queued(
        &mut self,
        conn: ConnId,
        transaction: &Transaction,
        shown: &Shown,
        size: u64,
        desk: &mut Desk<'_>,
    ) {
        let all = transaction.recipients.iter().flat_map(|recipient| &recipient.remote);
        let to: Vec<String> = all.map(|address| address.to_string()).collect();
        if to.is_empty() {
            return;
        }
        let (id, from) = (transaction.id.clone(), String::from_utf8_lossy(&transaction.reverse_path).into());
        let message_id = shown.message_id.clone();
        desk.event(Some(conn), Event::Queued { id: id.clone(), from, to, size, message_id });
        self.queued(id, desk);
    }

    fn tell_delivered(
        &mut self,
        conn: ConnId,
        transaction: &Transaction,
        shown: Shown,
        (size, late): (u64, &[Late]),
        desk: &mut Desk<'_>,
    ) {
        let has_it = |account: &&Arc<Account>| !is_late(late, account);
        let to: Vec<Vec<u8>> =
            recipients(transaction).filter(has_it).map(|account| account.address.clone()).collect();
        if to.is_empty() {
            return;
        }
        let (id, from) = (transaction.id.clone(), transaction.reverse_path.clone());
        let Shown { subject, message_id } = shown;
        desk.event(Some(conn), Event::Delivered { id, from, to, size, subject, message_id });
        let roots: BTreeSet<Root> =
            recipients(transaction).filter(has_it).map(|account| Root::new(&account.maildir)).collect();
        for root in roots {
            self.look_if_wanted(MailboxKey { root, folder: FolderName::inbox() }, desk);
        }
    }
}

/// Takes a message for which there is no room, and says so.
async fn refuse_all(disk: Disk) -> Result<Taken, StoreError> {
    loop {
        match disk.input().await {
            TaskInput::Chunk(_) | TaskInput::Splice(_) => {}
            TaskInput::Commit => return Err(StoreError::new(StoreErrorKind::NoSpace, b"queue")),
            TaskInput::Abort => return Err(StoreError::new(StoreErrorKind::Aborted, b"queue")),
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
fn recipients(transaction: &Transaction) -> impl Iterator<Item = &Arc<Account>> {
    let mut seen = BTreeSet::new();
    let all = transaction.recipients.iter().flat_map(|recipient| &recipient.accounts);
    all.filter(move |account| seen.insert(&account.address))
}

/// The copies of a transaction for mailboxes of ours, one for each account.
fn copies(transaction: &Transaction) -> impl Iterator<Item = LocalCopy> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let mut seen = BTreeSet::new();
    let all =
        transaction.recipients.iter().flat_map(|to| to.accounts.iter().map(move |account| (to, account)));
    all.filter(move |(_, account)| seen.insert(&account.address)).map(move |(to, account)| LocalCopy {
        target: DeliveryTarget {
            root: Root::new(&account.maildir),
            folder: FolderName::inbox(),
            quota: account.quota,
        },
        recipient: queue::envelope::Recipient {
            notify: to.dsn_notify,
            original: to.dsn_original.as_ref().map(|(kind, at)| (text(kind), at.clone())),
            ..queue::envelope::Recipient::new(&text(&account.address))
        },
    })
}

/// Whether this account will have its copy later.
pub(super) fn is_late(late: &[Late], account: &Account) -> bool {
    late.iter().any(|late| *late.root.path == *account.maildir)
}

fn verdict(error: &StoreError) -> CommitVerdict {
    match error.kind {
        StoreErrorKind::NoSpace | StoreErrorKind::OverQuota => CommitVerdict::NoSpace,
        StoreErrorKind::MailboxFull => CommitVerdict::MailboxFull,
        StoreErrorKind::MailboxTooSmall => CommitVerdict::MailboxTooSmall,
        StoreErrorKind::Busy
        | StoreErrorKind::NotFound
        | StoreErrorKind::AlreadyExists
        | StoreErrorKind::BadName(_)
        | StoreErrorKind::Cannot
        | StoreErrorKind::Access
        | StoreErrorKind::ReadOnly
        | StoreErrorKind::UidsExhausted
        | StoreErrorKind::TooBig
        | StoreErrorKind::BadUrl(_)
        | StoreErrorKind::KeywordsFull
        | StoreErrorKind::TooManyEntries
        | StoreErrorKind::SpecialUse
        | StoreErrorKind::Damaged
        | StoreErrorKind::Aborted
        | StoreErrorKind::Temporary(_) => CommitVerdict::Temporary,
    }
}
