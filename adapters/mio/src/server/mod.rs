//! The server: event loops, workers, the time, and the main thread for signals and control; between them the office.
//!
//! ```text
//! event loop ─┐ asks        ┌─▶ store workers ──┐ tasks come back
//! event loop ─┼──▶ office ──┼─▶ password workers┘
//!             ◀──┘ answers  ├─▶ watches ◀── main thread (signals, control socket, inotify)
//!                           ├─▶ sockets to DNS servers
//!                           └─▶ web servers (a thread each)
//! ```
//! No thread decides anything about mail: the loops drive `Front`s, and whoever has an input for it takes the desk of
//! the one `Office`; both are the core's. A thread that panics ends the process: everything acknowledged is on the
//! disk, and a state that a bug has torn is not served from.

mod budget;
mod connection;
mod control;
mod dns;
mod error;
mod event_loop;
mod https;
mod journal;
mod listen;
pub(crate) mod log;
mod mailroom;
mod office;
mod opening;
mod prepare;
mod side;
mod watch;
mod wire;
mod workers;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use postier_core::dns::resolver;
use postier_core::maildir::context::StoreContext;
use postier_core::server::gate::Gate;
use postier_core::server::office::{Office, OfficeInput};
use postier_core::server::{Call, FrontIndex, Service, Trust};
use postier_core::site::Site;
use postier_host::dkim::keyring::Keyring;
use postier_host::identity::Identity;
use postier_host::memory;
use postier_host::password::{PasswordChecker, load_scram_key};
use postier_host::tls::{Judge, ServerTls, client_config};
use rustls::ClientConfig;

pub(crate) use error::RunError;
pub(crate) use listen::check_ports;
pub(crate) use prepare::prepare_state;

use control::{Control, Parties, Signals, sd_notify_quietly};
use event_loop::{EventLoop, Shared};
use listen::Listener;
use log::{EventHook, EventLog};
use mailroom::{LoopSender, ToLoop};
use office::OfficeDesk;
use opening::{add_secrets, pick_up, send_mail};
use prepare::{bind_all, fit_descriptors, host_facts, loop_count, random_seed};
use watch::Watcher;

/// TLS configurations; without one for a service, TLS is not offered.
#[derive(Clone, Debug)]
pub(crate) struct TlsConfigs {
    /// For port 25: without session tickets.
    pub exchange: Option<ServerTls>,
    /// For users.
    pub users: Option<ServerTls>,
    /// For other servers, whose certificate nobody looks at,
    pub anybody: Arc<ClientConfig>,
    /// and for those whose certificate must be good.
    pub verified: Arc<ClientConfig>,
    /// Looks at certificates that need not be good.
    judge: Judge,
}

/// How to talk TLS to another server.
#[derive(Clone, Debug)]
struct ClientTls {
    config: Arc<ClientConfig>,
    /// It is to be told whether the certificate is good.
    judge: Option<Judge>,
}

impl TlsConfigs {
    pub(crate) fn new(exchange: Option<ServerTls>, users: Option<ServerTls>) -> Self {
        let (anybody, verified) = (client_config(&Trust::Anybody), client_config(&Trust::Roots));
        TlsConfigs { exchange, users, anybody, verified, judge: Judge::default() }
    }

    /// For a connection to another server.
    fn to(&self, call: &Call) -> ClientTls {
        let config = match &call.trust {
            Trust::Anybody | Trust::Watched => self.anybody.clone(),
            Trust::Roots => self.verified.clone(),
            Trust::Dane(_) => client_config(&call.trust),
        };
        ClientTls { config, judge: (call.trust == Trust::Watched).then(|| self.judge.clone()) }
    }

    fn of(&self, service: Service) -> Option<ServerTls> {
        match service {
            Service::Smtp => self.exchange.clone(),
            Service::Submission | Service::Submissions | Service::Imap | Service::Imaps => self.users.clone(),
        }
    }
}

/// What a reload brings.
#[derive(Clone, Debug)]
pub(crate) struct Reloaded {
    /// Who has mail here.
    pub site: Arc<Site>,
    /// Certificates.
    pub tls: TlsConfigs,
}

/// Reads the configuration again; the error is for a person.
pub(crate) type Reload = Box<dyn FnMut() -> Result<Reloaded, String>>;

/// Told once when everything listens, with the ports that were chosen for 0.
pub(crate) type Ready = Box<dyn FnOnce(&[(Service, SocketAddr)])>;

/// Everything [`run`] needs.
pub(crate) struct Setup {
    /// Threads that serve connections; unset, as many as suit the machine.
    pub event_loops: Option<usize>,
    /// Who has mail here.
    pub site: Arc<Site>,
    /// Certificates.
    pub tls: TlsConfigs,
    /// What to offer where; port 0 picks a free one.
    pub listeners: Vec<(Service, SocketAddr)>,
    /// Directory for what the server remembers; made when missing.
    pub state: PathBuf,
    /// Whom to ask for addresses.
    pub dns: resolver::Config,
    /// Who to be after the ports are bound.
    pub identity: Option<Identity>,
    /// Sees every event.
    pub on_event: EventHook,
    /// Told when everything listens.
    pub on_ready: Ready,
    /// Reads the configuration again.
    pub reload: Reload,
}

/// Serves until SIGTERM or SIGINT. Must be called while the process has one thread, for it may change its user.
///
/// # Errors
/// [`RunError`], before anybody was served.
pub(crate) fn run(setup: Setup) -> Result<(), RunError> {
    let Setup { event_loops, mut site, tls, listeners, state, dns, identity, on_event, on_ready, reload } =
        setup;
    if let Some((service, _)) =
        listeners.iter().find(|(service, _)| service.implicit_tls() && tls.of(*service).is_none())
    {
        return Err(RunError::NoCertificate(*service));
    }
    memory::share_arenas();
    let listeners = bind_all(&listeners, event_loops.unwrap_or_else(loop_count)).map_err(RunError::Listen)?;
    let bound: Vec<(Service, SocketAddr)> = listeners
        .first()
        .into_iter()
        .flatten()
        .map(|listener| (listener.service, listener.address))
        .collect();
    let reload = move_in(&state, identity.as_ref(), &mut site, reload)?;
    let signals = Signals::catch().map_err(|error| RunError::System("cannot catch signals", error))?;

    let mut office = Office::new(Arc::new(StoreContext::new(host_facts())));
    send_mail(&mut office, site.clone(), &state, dns)?;
    pick_up(&mut office, &state);
    let staff = Staff::hire(office, site, tls, listeners, Arc::new(EventLog::new(on_event)))?;
    let control =
        Control::new(&state, signals, staff.parties(), reload, staff.adopt()).map_err(|error| match error
            .kind()
        {
            io::ErrorKind::AddrInUse => RunError::AlreadyRunning(state.clone()),
            _ => RunError::State(state.clone(), error),
        })?;
    let (senders, office) = (staff.senders.clone(), staff.office.clone());
    let threads = staff.start().map_err(|error| RunError::System("cannot start a thread", error))?;
    on_ready(&bound);
    sd_notify_quietly(&[sd_notify::NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "serving");
    memory::give_back();

    let ended = control.run();
    sd_notify_quietly(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("ending");
    threads.finish(&senders, &office);
    tracing::info!("ended");
    ended.map_err(|error| RunError::System("the main thread's poll failed", error))
}

/// The process becomes its user and takes its state directory; sites get their secrets out of that, reloaded ones too.
fn move_in(
    state: &Path,
    identity: Option<&Identity>,
    site: &mut Arc<Site>,
    mut reload: Reload,
) -> Result<Reload, RunError> {
    let unusable = |error| RunError::State(state.to_path_buf(), error);
    prepare_state(state, identity).map_err(unusable)?;
    if let Some(identity) = identity {
        identity.assume().map_err(|error| RunError::Identity(identity.name.clone(), error))?;
    }
    journal::start(state).map_err(unusable)?;
    let key = load_scram_key(state).map_err(unusable)?;
    let keyring = Keyring::new(state);
    add_secrets(site, &key, &keyring);
    Ok(Box::new(move || {
        let mut reloaded = reload()?;
        add_secrets(&mut reloaded.site, &key, &keyring);
        Ok(reloaded)
    }))
}

/// Everybody who works here, before the threads start.
struct Staff {
    office: OfficeDesk,
    loops: Vec<EventLoop>,
    senders: Vec<LoopSender>,
    shared: Arc<Shared>,
    log: Arc<EventLog>,
    watcher: Arc<Watcher>,
    checker: Arc<PasswordChecker>,
    web: Arc<ClientConfig>,
}

impl Staff {
    /// An event loop for each of `listeners`.
    fn hire(
        office: Office,
        site: Arc<Site>,
        tls: TlsConfigs,
        listeners: Vec<Vec<Listener>>,
        log: Arc<EventLog>,
    ) -> Result<Self, RunError> {
        let limits = fit_descriptors(site.limits);
        let gate = Gate::new(limits.connections_max, limits.connections_per_address_max);
        let shared = Arc::new(Shared::new(gate, log.clone(), listeners.len()));
        let checker = Arc::new(PasswordChecker::new());
        checker.imitate(&site);
        let (office, web) = (OfficeDesk::new(office), tls.verified.clone());
        let (mut loops, mut senders) = (Vec::new(), Vec::new());
        for (index, listeners) in listeners.into_iter().enumerate() {
            let serves = (site.clone(), tls.clone());
            let made = EventLoop::new(
                FrontIndex(index),
                serves,
                listeners,
                shared.clone(),
                office.clone(),
                random_seed(),
            );
            let (event_loop, sender) =
                made.map_err(|error| RunError::System("cannot make an event loop", error))?;
            loops.push(event_loop);
            senders.push(sender);
        }
        Ok(Staff { office, loops, senders, shared, log, watcher: Arc::new(Watcher::new()), checker, web })
    }

    /// Whom the main thread talks to.
    fn parties(&self) -> Parties {
        Parties {
            watcher: self.watcher.clone(),
            shared: self.shared.clone(),
            loops: self.senders.clone(),
            office: self.office.clone(),
        }
    }

    /// Tells those who are not event loops of a new configuration.
    fn adopt(&self) -> Box<dyn Fn(&Reloaded)> {
        let (checker, office) = (self.checker.clone(), self.office.clone());
        Box::new(move |reloaded| {
            checker.imitate(&reloaded.site);
            office.set_web(reloaded.tls.verified.clone());
        })
    }

    fn start(self) -> io::Result<Threads> {
        self.office.equip(self.senders, self.watcher, self.log, self.checker, self.web)?;
        let keeper = self.office;
        let time = thread::Builder::new().name("time".into()).spawn(or_abort(move || keeper.keep_time()))?;
        let mut loops = Vec::new();
        for event_loop in self.loops {
            let builder = thread::Builder::new().name("loop".into());
            loops.push(builder.spawn(or_abort(|| event_loop.run()))?);
        }
        Ok(Threads { time, loops })
    }
}

/// Randomness that nobody can guess.
pub(crate) fn secret_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut seed)?;
    Ok(seed)
}

/// The threads that end in order: first the loops, then the office's time.
struct Threads {
    time: thread::JoinHandle<()>,
    loops: Vec<thread::JoinHandle<()>>,
}

impl Threads {
    fn finish(self, senders: &[LoopSender], office: &OfficeDesk) {
        office.send(OfficeInput::Shutdown);
        for sender in senders {
            sender.send(ToLoop::Shutdown);
        }
        // One more thread, that no client can keep waiting.
        let late: Vec<_> = senders.to_vec();
        thread::spawn(move || {
            thread::sleep(control::SHUTDOWN);
            for sender in &late {
                sender.send(ToLoop::Abandon);
            }
        });
        for handle in self.loops {
            // A thread that panicked has ended the process.
            let _ = handle.join();
        }
        // What the loops said last is in the queue before this.
        office.finish();
        let _ = self.time.join();
    }
}

/// Runs `body`; a panic, which the panic hook has reported, ends the process.
fn or_abort(body: impl FnOnce()) -> impl FnOnce() {
    || {
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            std::process::abort();
        }
    }
}
