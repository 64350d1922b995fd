//! The office's desk: any thread hands an input in, and carries the decisions of the core's [`Office`] to workers,
//! watches and loops.
//!
//! The office decides in microseconds and never waits, so it needs no thread of its own: whoever has an input takes
//! the desk, one at a time. A mail then costs two journeys between threads (loop to worker, worker to loop) instead
//! of four. What one thread hands in is handled, and answered, in its order. The one thread here hands in what
//! nobody else does: the time.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use postier_core::auth::Password;
use postier_core::server::office::{Ended, JobId, Office, OfficeAction, OfficeInput, StoreTask};
use postier_core::site::Account;
use postier_host::clock;
use postier_host::disk::{self, DiskExecutor};
use postier_host::memory;
use postier_host::password::PasswordChecker;
use rustls::ClientConfig;

use super::dns::{DnsSender, ToDns};
use super::https;
use super::log::EventLog;
use super::mailroom::{LoopSender, ToLoop};
use super::watch::Watcher;
use super::workers::Pool;

/// Threads that drive store tasks.
const STORE_THREADS: usize = 16;
/// After so long without work for them, memory is given back.
const QUIET: Duration = Duration::from_secs(10);
/// How long everything under way may take once the sessions are over.
const FINISH: Duration = Duration::from_secs(2);
/// How often it is looked whether everything under way has ended.
const FINISH_LOOK: Duration = Duration::from_millis(10);

/// A store task for a worker.
struct StoreJob(JobId, StoreTask);

/// A password for a worker.
struct PasswordJob {
    job: JobId,
    name: Arc<[u8]>,
    account: Option<Arc<Account>>,
    password: Password,
}

/// The office's address: cheap to clone, for every thread.
#[derive(Clone)]
pub(super) struct OfficeDesk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// The time thread has to look at its deadline again.
    changed: Condvar,
    /// Set before the first input.
    equipment: OnceLock<Equipment>,
}

struct State {
    office: Office,
    /// Actions of the input at hand.
    actions: Vec<OfficeAction>,
    /// Loops that have messages and do not know yet.
    to_ring: Vec<bool>,
    /// When the time thread wakes by itself; `None` is never.
    sleeps_until: Option<postier_core::machine::Instant>,
    /// When a worker was last done, if memory has not been given back since.
    worked: Option<Instant>,
    ended: bool,
}

/// Whom the decisions are carried to.
struct Equipment {
    loops: Vec<LoopSender>,
    watcher: Arc<Watcher>,
    log: Arc<EventLog>,
    store: Pool<StoreJob>,
    passwords: Pool<PasswordJob>,
    dns: DnsSender,
    /// What the web servers must show that have the policies of domains.
    web: Mutex<Arc<ClientConfig>>,
}

impl OfficeDesk {
    pub(super) fn new(office: Office) -> Self {
        let state = State {
            office,
            actions: Vec::new(),
            to_ring: Vec::new(),
            sleeps_until: None,
            worked: None,
            ended: false,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        OfficeDesk(Arc::new(Shared { state, changed, equipment: OnceLock::new() }))
    }

    /// Starts the workers. Until then inputs are dropped: no thread that has any may run yet.
    pub(super) fn equip(
        &self,
        loops: Vec<LoopSender>,
        watcher: Arc<Watcher>,
        log: Arc<EventLog>,
        checker: Arc<PasswordChecker>,
        web: Arc<ClientConfig>,
    ) -> std::io::Result<()> {
        let desk = self.clone();
        let store = Pool::start("store", STORE_THREADS, move || {
            let (desk, mut disk) = (desk.clone(), DiskExecutor::default());
            move |StoreJob(job, task)| {
                let ended = run_task(task, &mut disk);
                desk.send(OfficeInput::Ran { job, ended });
            }
        })?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let desk = self.clone();
        let passwords = Pool::start("password", cores, move || {
            let (desk, checker) = (desk.clone(), checker.clone());
            move |PasswordJob { job, name, account, password }| {
                let right = checker.check(&name, account.as_deref(), &password.0);
                desk.send(OfficeInput::PasswordChecked { job, right });
            }
        })?;
        // Called once, at the start.
        let dns = super::dns::start(self.clone())?;
        let web = Mutex::new(web);
        let _ = self.0.equipment.set(Equipment { loops, watcher, log, store, passwords, dns, web });
        Ok(())
    }

    /// From now on web servers are asked with this.
    pub(super) fn set_web(&self, config: Arc<ClientConfig>) {
        if let Some(equipment) = self.0.equipment.get() {
            *equipment.web.lock().unwrap_or_else(PoisonError::into_inner) = config;
        }
    }

    /// Hands an input in; when this returns, what follows from it is on its way.
    pub(super) fn send(&self, input: OfficeInput) {
        let Some(equipment) = self.0.equipment.get() else { return };
        let mut state = self.0.lock();
        let works = matches!(input, OfficeInput::Ran { .. } | OfficeInput::PasswordChecked { .. });
        // The time thread learns of the first work after a rest; of more when it looks whether that is long ago.
        let first_work = works && state.worked.replace(Instant::now()).is_none();
        state.handle(input, equipment, self);
        let wake = first_work
            || match (state.office.poll_timeout(), state.sleeps_until) {
                (Some(wanted), Some(planned)) => wanted < planned,
                (Some(_), None) => true,
                (None, _) => false,
            };
        drop(state);
        if wake {
            self.0.changed.notify_all();
        }
    }

    /// Tells the office the time, until [`OfficeDesk::finish`].
    pub(super) fn keep_time(&self) {
        let Some(equipment) = self.0.equipment.get() else { return };
        let mut state = self.0.lock();
        while !state.ended {
            let deadline = state.office.poll_timeout();
            state.sleeps_until = deadline;
            let left = deadline.map(|deadline| deadline.since(clock::now().instant));
            let quiet = state.worked.map(|worked| QUIET.saturating_sub(worked.elapsed()));
            state = match left.into_iter().chain(quiet).min() {
                Some(Duration::ZERO) if left == Some(Duration::ZERO) => {
                    state.handle(OfficeInput::Timeout, equipment, self);
                    state
                }
                Some(Duration::ZERO) => {
                    state.worked = None;
                    drop(state);
                    memory::give_back();
                    self.0.lock()
                }
                Some(left) => {
                    let waited = self.0.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Lets what is under way end: a task that is abandoned cleans up after itself.
    pub(super) fn finish(&self) {
        let until = Instant::now() + FINISH;
        let mut state = self.0.lock();
        while !state.office.is_idle() && Instant::now() < until {
            drop(state);
            std::thread::sleep(FINISH_LOOK);
            state = self.0.lock();
        }
        let idle = state.office.is_idle();
        state.ended = true;
        drop(state);
        self.0.changed.notify_all();
        match self.0.equipment.get() {
            Some(equipment) if idle => {
                equipment.store.finish();
                equipment.passwords.finish();
            }
            Some(_) | None => {
                tracing::warn!("store operations are still under way; left to the next start");
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn handle(&mut self, input: OfficeInput, equipment: &Equipment, desk: &OfficeDesk) {
        let mut inputs = VecDeque::from([input]);
        self.to_ring.resize(equipment.loops.len(), false);
        while let Some(input) = inputs.pop_front() {
            self.office.handle(clock::now(), input, &mut self.actions);
            for action in self.actions.drain(..) {
                match action {
                    OfficeAction::Answer(front, message) => {
                        if let (Some(sender), Some(ring)) =
                            (equipment.loops.get(front.0), self.to_ring.get_mut(front.0))
                        {
                            sender.leave(ToLoop::Office(message));
                            *ring = true;
                        }
                    }
                    OfficeAction::Run(job, task) => equipment.store.push(StoreJob(job, task)),
                    OfficeAction::CheckPassword { job, name, account, password } => {
                        equipment.passwords.push(PasswordJob { job, name, account, password });
                    }
                    OfficeAction::Watch { watch, path } => {
                        if let Err(error) = equipment.watcher.watch(watch, &path) {
                            tracing::debug!(%error, "a mailbox cannot be watched; it is looked at now and then");
                            inputs.push_back(OfficeInput::WatchFailed { watch });
                        }
                    }
                    OfficeAction::Unwatch { watch } => equipment.watcher.unwatch(watch),
                    OfficeAction::Call(call) => {
                        // Spread over the loops; a call goes to one loop and stays there.
                        let loops = u64::try_from(equipment.loops.len()).unwrap_or(1).max(1);
                        let index = usize::try_from(call.link.0 % loops).unwrap_or(0);
                        if let (Some(sender), Some(ring)) =
                            (equipment.loops.get(index), self.to_ring.get_mut(index))
                        {
                            sender.leave(ToLoop::Call(call));
                            *ring = true;
                        }
                    }
                    OfficeAction::OpenExchange { exchange, server, transport, octets } => {
                        let open = ToDns::Open { exchange, server, transport, octets };
                        equipment.dns.send(open);
                    }
                    OfficeAction::CloseExchange(exchange) => equipment.dns.send(ToDns::Close(exchange)),
                    OfficeAction::FetchPolicy(fetch) => {
                        let id = fetch.id;
                        let config = equipment.web.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        if let Err(error) = https::start(fetch, config, desk.clone()) {
                            let outcome = Err(error.to_string());
                            inputs.push_back(OfficeInput::Policy { fetch: id, outcome });
                        }
                    }
                    OfficeAction::Event(conn, event) => equipment.log.event(conn, &event),
                }
            }
        }
        for (sender, ring) in equipment.loops.iter().zip(&mut self.to_ring) {
            if std::mem::take(ring) {
                sender.ring();
            }
        }
    }
}

fn run_task(mut task: StoreTask, disk: &mut DiskExecutor) -> Ended {
    match disk::drive(&mut task, disk) {
        disk::Ended::NeedInput => Ended::NeedsInput(task),
        disk::Ended::Wait(duration) => Ended::Waits(task, duration),
        disk::Ended::Done(done) => Ended::Done(done),
    }
}
