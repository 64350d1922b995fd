//! One life of the server: fronts, office, store tasks, connections, descriptors; driven as the mio adapter does it.
//!
//! Everything in here is lost when the process dies; the disk is not.

mod connection;
mod outward;
mod store;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use postier_core::limits::Limits;
use postier_core::machine::WallTime;
use postier_core::maildir::context::{HostFacts, StoreContext};
use postier_core::queue::law::Law;
use postier_core::queue::machine;
use postier_core::server::front::{Front, FrontAction};
use postier_core::server::gate::Gate;
use postier_core::server::office::{JobId, Office, OfficeAction, OfficeInput, StoreTask, WatchId};
use postier_core::server::{ConnId, FromOffice, FrontIndex, Service};
use postier_core::site::{Account, Aliases, Secret, Sending, Site, SiteParts};

use self::connection::Connection;
pub use self::outward::QUEUE;
use self::store::Running;
use crate::disk::Ino;
use crate::disk::exec::Descriptors;
use crate::env::{Env, Event};
use crate::network::LinkId;
use crate::plant::Plant;
use crate::scenario::{ACCOUNTS, AFAR, DOMAIN, LIFETIME_SECS, WRITER};

/// A password check takes up to so many microseconds.
const PASSWORD_MICROS: u64 = 200_000;
/// An orderly end may take this long, in microseconds.
const SHUTDOWN_MICROS: u64 = 10_000_000;

/// See the module's manual.
pub struct Process {
    life: u32,
    /// Its process number.
    pub pid: u32,
    site: Arc<Site>,
    fronts: Vec<Front>,
    office: Office,
    gate: Gate,
    connections: BTreeMap<ConnId, Connection>,
    turns: VecDeque<ConnId>,
    running: BTreeMap<JobId, Running>,
    waiting: VecDeque<(JobId, StoreTask)>,
    /// Its open files.
    pub descriptors: Descriptors,
    mail: Vec<VecDeque<FromOffice>>,
    watches: BTreeMap<WatchId, [Option<Ino>; 2]>,
    armed: Option<u64>,
    /// The end has to have come by then.
    ends_by: Option<u64>,
    front_actions: Vec<FrontAction>,
    office_actions: Vec<OfficeAction>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("life", &self.life).finish_non_exhaustive()
    }
}

/// The site of every world: two accounts, one alias for both.
///
/// # Panics
/// Never: the parts are constant and good.
pub fn site() -> Arc<Site> {
    Arc::new(Site::build(parts()).expect("a good site").0)
}

/// The same, which sends mail: one account more, and aliases elsewhere.
///
/// # Panics
/// Never, as above.
fn sending_site(env: &Env) -> Arc<Site> {
    let mut parts = parts();
    parts.accounts.push(account(WRITER));
    let aliases = AFAR.map(|(name, address)| format!("{name}: {address}\n")).concat();
    parts.aliases = Aliases::parse((text() + &aliases).as_bytes()).0;
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let mut law = Law {
        longest_pause: hours(2),
        lifetime: Duration::from_secs(LIFETIME_SECS),
        bounce_lifetime: hours(6),
        delay_notice: hours(1),
        ..Law::default()
    };
    if env.planted.is(Plant::NeverRetry) {
        (law.first_pause, law.longest_pause) = (hours(100_000), hours(100_000));
    }
    parts.sending = Some(Arc::new(Sending {
        queue: machine::Config { law, ..machine::Config::default() },
        mta_sts: true,
        ..Sending::default()
    }));
    Arc::new(Site::build(parts).expect("a good site").0)
}

fn account(name: &str) -> Account {
    let (maildir, secret) = (format!("/mail/{name}"), Secret::new(format!("pw-{name}")));
    Account::new(name.as_bytes(), DOMAIN.as_bytes(), maildir.into_bytes(), secret).expect("a good name")
}

fn text() -> String {
    format!("postmaster: {you}\nboth: {you}, {friend}\n", you = ACCOUNTS[0], friend = ACCOUNTS[1])
}

fn parts() -> SiteParts {
    let accounts = ACCOUNTS.map(account).to_vec();
    let (aliases, _) = Aliases::parse(text().as_bytes());
    let limits = Limits { message_bytes_max: 200_000, tx_high_water_bytes: 16 * 1024, ..Limits::default() };
    SiteParts { accounts, aliases, limits, ..SiteParts::new("mx.example.test", [DOMAIN]) }
}

impl Process {
    /// A new life.
    pub fn start(env: &mut Env) -> Self {
        env.life += 1;
        let life = env.life;
        let pid = if env.setting.same_pid { 7 } else { 100 + life };
        let started: WallTime = env.now().wall;
        let facts =
            HostFacts { host: b"mx".to_vec(), pid, started, booted: Some(env.booted), seed: env.rng.bits() };
        let site = if env.internet.is_some() { sending_site(env) } else { site() };
        let fronts: Vec<Front> = (0..env.setting.fronts)
            .map(|index| Front::new(FrontIndex(index), site.clone(), env.rng.bits()))
            .collect();
        let mut process = Process {
            life,
            pid,
            mail: fronts.iter().map(|_| VecDeque::new()).collect(),
            fronts,
            office: Office::new(Arc::new(StoreContext::new(facts))),
            gate: Gate::new(site.limits.connections_max, site.limits.connections_per_address_max),
            site,
            connections: BTreeMap::new(),
            turns: VecDeque::new(),
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            descriptors: Descriptors::new(env.setting.descriptors),
            watches: BTreeMap::new(),
            armed: None,
            ends_by: None,
            front_actions: Vec::new(),
            office_actions: Vec::new(),
        };
        if env.internet.is_some() {
            process.start_sending(env);
            process.settle(env);
        }
        process
    }

    /// A client connects.
    pub fn connect(&mut self, env: &mut Env, link: LinkId, actor: usize, service: Service) {
        let peer = [192, 0, 2, actor as u8 + 1].into();
        if self.gate.admit(peer).is_err() {
            return self.refuse(env, link);
        }
        let id = ConnId(link.0);
        let front = (link.0 % self.fronts.len() as u64) as usize;
        self.connections.insert(id, Connection::new(front, service, peer));
        self.start_connection(env, id);
        self.settle(env);
    }

    fn refuse(&mut self, env: &mut Env, link: LinkId) {
        env.send_down(link, crate::network::Packet::End);
    }

    /// Something that this process has waited for.
    pub fn handle(&mut self, env: &mut Env, event: Event) {
        match event {
            Event::ToServer(link) => self.arrive(env, ConnId(link.0)),
            Event::ToClient(link) | Event::Unstalled(link) => self.turns.push_back(ConnId(link.0)),
            Event::OpDone(life, job) if life == self.life => self.op_done(env, JobId(job)),
            Event::Timer(life) if life == self.life => self.timer(env),
            Event::FrontMail(life, front) if life == self.life => self.read_mail(env, front),
            Event::Password(life, job, right) if life == self.life => {
                self.office_input(env, OfficeInput::PasswordChecked { job: JobId(job), right });
            }
            Event::Resolved(life, number) if life == self.life => self.resolved(env, number),
            Event::Called(link) => self.called(env, link),
            Event::Notify(life, watch) if life == self.life => {
                self.office_input(env, OfficeInput::DirectoryChanged { watch: WatchId(watch) });
            }
            _ => {}
        }
        self.settle(env);
    }

    /// A new configuration, which says the same.
    pub fn reload(&mut self, env: &mut Env) {
        let now = env.now();
        for front in &mut self.fronts {
            front.reload(now, self.site.clone(), &mut self.front_actions);
        }
        self.carry_out(env);
        self.settle(env);
    }

    /// An orderly end begins.
    pub fn shut_down(&mut self, env: &mut Env) {
        env.listens = false;
        self.ends_by = Some(env.now + SHUTDOWN_MICROS);
        self.drop_unopened(env);
        let now = env.now();
        for front in &mut self.fronts {
            front.shutdown(now, &mut self.front_actions);
        }
        self.carry_out(env);
        self.office_input(env, OfficeInput::Shutdown);
        self.settle(env);
    }

    /// The orderly end is there, one way or the other.
    pub fn has_ended(&self, env: &Env) -> bool {
        self.ends_by.is_some_and(|by| env.now >= by || self.is_idle())
    }

    /// No connection, and nothing under way.
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty()
            && self.office.is_idle()
            && self.running.is_empty()
            && self.waiting.is_empty()
    }

    /// Connections that are there.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The process dies. What was on its way into the kernel may happen or not.
    pub fn die(mut self, env: &mut Env) {
        for (_, running) in std::mem::take(&mut self.running) {
            if env.rng.chance(50) {
                running.finish_unheard(env, &mut self.descriptors);
            }
        }
        for id in self.connections.keys() {
            env.send_down(LinkId(id.0), crate::network::Packet::Reset);
        }
        env.ledger.process_died();
        env.ledger.post.died(env.now().wall.secs);
        env.listens = false;
    }

    /// Directories have changed: whoever watches them hears of it some time later.
    pub fn note_touched(&mut self, env: &mut Env) {
        let touched = std::mem::take(&mut env.disk.touched);
        for (watch, directories) in &self.watches {
            if directories.iter().flatten().any(|ino| touched.contains(ino)) {
                let wait = env.rng.below(2_000);
                env.after(wait, Event::Notify(self.life, watch.0));
            }
        }
    }

    /// Hands an input to the office, and carries out what follows.
    fn office_input(&mut self, env: &mut Env, input: OfficeInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.office.handle(env.now(), input, &mut self.office_actions);
            for action in std::mem::take(&mut self.office_actions) {
                self.office_action(env, action, &mut inputs);
            }
        }
    }

    fn office_action(&mut self, env: &mut Env, action: OfficeAction, inputs: &mut VecDeque<OfficeInput>) {
        match action {
            OfficeAction::Answer(front, message) => {
                if env.planted.drops_answer(&message) {
                    return;
                }
                if let Some(mail) = self.mail.get_mut(front.0) {
                    mail.push_back(message);
                    let wait = env.rng.below(300);
                    env.after(wait, Event::FrontMail(self.life, front.0));
                }
            }
            OfficeAction::Run(job, task) => self.waiting.push_back((job, task)),
            OfficeAction::CheckPassword { job, name: _, account, password } => {
                let right = account.is_some_and(|account| account.secret.expose() == password.0);
                let wait = env.rng.below(PASSWORD_MICROS);
                env.after(wait, Event::Password(self.life, job.0, right));
            }
            OfficeAction::Watch { watch, path } => {
                let path = String::from_utf8_lossy(&path).into_owned();
                let parts = ["cur", "new"].map(|part| env.disk.resolve(&format!("{path}/{part}")).ok());
                if env.setting.watches && parts.iter().all(Option::is_some) {
                    self.watches.insert(watch, parts);
                } else {
                    inputs.push_back(OfficeInput::WatchFailed { watch });
                }
            }
            OfficeAction::Unwatch { watch } => {
                self.watches.remove(&watch);
            }
            OfficeAction::Call(call) => self.call(env, call),
            OfficeAction::OpenExchange { exchange, server: _, transport, octets } => {
                self.ask_dns(env, exchange, transport, &octets);
            }
            // What comes for it now is for nobody.
            OfficeAction::CloseExchange(_) => {}
            OfficeAction::FetchPolicy(fetch) => {
                let outcome = Err("there are no web servers here".into());
                inputs.push_back(OfficeInput::Policy { fetch: fetch.id, outcome });
            }
            OfficeAction::Event(conn, event) => {
                let number = conn.map_or(0, |conn| conn.0);
                env.trace.event(env.now, number, b"", || format!("log: {event:?}"));
            }
        }
    }

    fn read_mail(&mut self, env: &mut Env, front: usize) {
        let Some(message) = self.mail.get_mut(front).and_then(VecDeque::pop_front) else { return };
        let id = self.fronts[front].handle_office(env.now(), message, &mut self.front_actions);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.wake();
            self.turns.push_back(id);
        }
        self.carry_out(env);
    }

    /// Does what the fronts want.
    fn carry_out(&mut self, env: &mut Env) {
        for action in std::mem::take(&mut self.front_actions) {
            match action {
                FrontAction::Office(message) => self.office_input(env, OfficeInput::Front(message)),
                FrontAction::CloseFile(file) => self.close_file(env, file),
                FrontAction::Event(id, event) => {
                    env.trace.event(env.now, id.0, b"", || format!("log: {id:?} {event:?}"));
                }
                FrontAction::StartTls(id) => self.with_connection(id, Connection::start_tls),
                FrontAction::Close(id, _) => {
                    let now = env.now;
                    self.with_connection(id, |connection| connection.close(now));
                }
                FrontAction::Pump(id) => self.with_connection(id, Connection::wake),
            }
        }
    }

    fn with_connection(&mut self, id: ConnId, act: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.connections.get_mut(&id) {
            act(connection);
            self.turns.push_back(id);
        }
    }

    fn close_file(&mut self, env: &mut Env, file: postier_core::disk::Handle) {
        if !env.planted.is(Plant::LeakDescriptors) {
            self.descriptors.close(file);
        }
    }

    /// Everything that can be done at once is done; then the next waking is arranged.
    fn settle(&mut self, env: &mut Env) {
        loop {
            self.start_waiting(env);
            let Some(id) = self.turns.pop_front() else { break };
            self.turn(env, id);
        }
        if let Some(misused) = self.descriptors.misused.take() {
            env.ledger.violation(misused);
        }
        self.arm(env);
    }

    fn arm(&mut self, env: &mut Env) {
        let patient = env.planted.is(Plant::NeverTimeOut);
        let fronts = self.fronts.iter().filter(|_| !patient).filter_map(Front::poll_timeout);
        let core = fronts.chain(self.office.poll_timeout()).map(postier_core::machine::Instant::as_micros);
        let own = self.connections.values().filter_map(Connection::deadline);
        let Some(next) = core.chain(own).chain(self.ends_by).min() else { return };
        if self.armed.is_none_or(|armed| next < armed || armed < env.now) {
            self.armed = Some(next);
            env.at(next, Event::Timer(self.life));
        }
    }

    fn timer(&mut self, env: &mut Env) {
        self.armed = None;
        let now = env.now();
        let patient = env.planted.is(Plant::NeverTimeOut);
        for front in self.fronts.iter_mut().filter(|_| !patient) {
            if front.poll_timeout().is_some_and(|instant| instant <= now.instant) {
                front.handle_timeouts(now, &mut self.front_actions);
            }
        }
        self.carry_out(env);
        if self.office.poll_timeout().is_some_and(|instant| instant <= now.instant) {
            self.office_input(env, OfficeInput::Timeout);
        }
        let late = |connection: &Connection| connection.deadline().is_some_and(|at| at <= env.now);
        let over: Vec<ConnId> = self.connections.iter().filter(|(_, c)| late(c)).map(|(id, _)| *id).collect();
        for id in over {
            self.remove(env, id);
        }
    }
}
