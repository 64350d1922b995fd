//! The office's thread: it feeds the core's [`Office`] and carries its decisions to workers, watches and loops.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use postier_core::server::Password;
use postier_core::server::office::{Ended, JobId, Office, OfficeAction, OfficeInput, StoreTask};
use postier_core::site::Account;
use postier_host::clock;
use postier_host::disk::{self, DiskExecutor};
use postier_host::password::PasswordChecker;

use super::log::EventLog;
use super::mailroom::{LoopSender, OfficeSender, ToLoop, ToOfficeThread};
use super::watch::Watcher;
use super::workers::Pool;

/// Threads that drive store tasks.
const STORE_THREADS: usize = 16;
/// Inputs taken before the loops are woken.
const BATCH: usize = 64;
/// How long everything under way may take once the sessions are over.
const FINISH: Duration = Duration::from_secs(2);

/// A store task for a worker.
struct StoreJob(JobId, StoreTask);

/// A password for a worker.
struct PasswordJob {
    job: JobId,
    account: Option<Arc<Account>>,
    password: Password,
}

/// All the office's thread works with.
pub(super) struct OfficeThread {
    office: Office,
    receiver: Receiver<ToOfficeThread>,
    loops: Vec<LoopSender>,
    watcher: Arc<Watcher>,
    log: Arc<EventLog>,
    store: Pool<StoreJob>,
    passwords: Pool<PasswordJob>,
    /// Actions of the input at hand.
    actions: Vec<OfficeAction>,
    /// Loops that have messages and do not know yet.
    to_ring: Vec<bool>,
    to_office: OfficeSender,
}

impl OfficeThread {
    /// Starts the workers.
    pub(super) fn new(
        office: Office,
        (to_office, receiver): (OfficeSender, Receiver<ToOfficeThread>),
        loops: Vec<LoopSender>,
        watcher: Arc<Watcher>,
        log: Arc<EventLog>,
        checker: Arc<PasswordChecker>,
    ) -> std::io::Result<Self> {
        let back = to_office.clone();
        let store = Pool::start("store", STORE_THREADS, move || {
            let (back, mut disk) = (back.clone(), DiskExecutor::default());
            move |StoreJob(job, task)| run_task(job, task, &mut disk, &back)
        })?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let back = to_office.clone();
        let passwords = Pool::start("password", cores, move || {
            let (back, checker) = (back.clone(), checker.clone());
            move |PasswordJob { job, account, password }| {
                let right = checker.check(account.as_deref(), &password.0);
                let _ = back.send(ToOfficeThread::Input(OfficeInput::PasswordChecked { job, right }));
            }
        })?;
        let to_ring = vec![false; loops.len()];
        let actions = Vec::new();
        Ok(OfficeThread {
            office,
            receiver,
            loops,
            watcher,
            log,
            store,
            passwords,
            actions,
            to_ring,
            to_office,
        })
    }

    /// Until the server ends.
    pub(super) fn run(mut self) {
        loop {
            let message = match self.timeout() {
                None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(timeout) => self.receiver.recv_timeout(timeout),
            };
            match message {
                Ok(ToOfficeThread::Input(input)) => self.handle(input),
                Err(RecvTimeoutError::Timeout) => self.handle(OfficeInput::Timeout),
                Ok(ToOfficeThread::Finish) | Err(RecvTimeoutError::Disconnected) => break,
            }
            for _ in 0..BATCH {
                match self.receiver.try_recv() {
                    Ok(ToOfficeThread::Input(input)) => self.handle(input),
                    Ok(ToOfficeThread::Finish) => {
                        // Seen again in the next turn of the outer loop, when the batch is out.
                        let _ = self.to_office.send(ToOfficeThread::Finish);
                        break;
                    }
                    Err(_) => break,
                }
            }
            self.ring();
        }
        self.finish();
    }

    /// Lets what is under way end: a task that is abandoned cleans up after itself.
    fn finish(mut self) {
        let until = Instant::now() + FINISH;
        while !self.office.is_idle() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!("store operations are still under way; left to the next start");
                return;
            }
            match self.receiver.recv_timeout(self.timeout().map_or(left, |timeout| timeout.min(left))) {
                Ok(ToOfficeThread::Input(input)) => self.handle(input),
                Ok(ToOfficeThread::Finish) => {}
                Err(_) => self.handle(OfficeInput::Timeout),
            }
        }
        self.ring();
        self.store.finish();
        self.passwords.finish();
    }

    fn timeout(&self) -> Option<Duration> {
        self.office.poll_timeout().map(|instant| instant.since(clock::now().instant))
    }

    fn handle(&mut self, input: OfficeInput) {
        self.office.handle(clock::now(), input, &mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                OfficeAction::Answer(front, message) => {
                    if let (Some(sender), Some(ring)) =
                        (self.loops.get(front.0), self.to_ring.get_mut(front.0))
                    {
                        sender.leave(ToLoop::Office(message));
                        *ring = true;
                    }
                }
                OfficeAction::Run(job, task) => self.store.push(StoreJob(job, task)),
                OfficeAction::CheckPassword { job, account, password } => {
                    self.passwords.push(PasswordJob { job, account, password });
                }
                OfficeAction::Watch { watch, path } => {
                    if let Err(error) = self.watcher.watch(watch, &path) {
                        tracing::debug!(%error, "a mailbox cannot be watched; it is looked at now and then");
                        let failed = OfficeInput::WatchFailed { watch };
                        let _ = self.to_office.send(ToOfficeThread::Input(failed));
                    }
                }
                OfficeAction::Unwatch { watch } => self.watcher.unwatch(watch),
                OfficeAction::Event(conn, event) => self.log.event(conn, &event),
            }
        }
    }

    fn ring(&mut self) {
        for (sender, ring) in self.loops.iter().zip(&mut self.to_ring) {
            if std::mem::take(ring) {
                sender.ring();
            }
        }
    }
}

fn run_task(job: JobId, mut task: StoreTask, disk: &mut DiskExecutor, back: &OfficeSender) {
    let ended = match disk::drive(&mut task, disk) {
        disk::Ended::NeedInput => Ended::NeedsInput(task),
        disk::Ended::Wait(duration) => Ended::Waits(task, duration),
        disk::Ended::Done(done) => Ended::Done(done),
    };
    // Without an office nobody waits for it.
    let _ = back.send(ToOfficeThread::Input(OfficeInput::Ran { job, ended }));
}
