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
mod event_loop;
mod https;
mod journal;
mod listen;
pub(crate) mod log;
mod mailroom;
mod office;
mod side;
mod watch;
mod wire;
mod workers;

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use postier_core::auth::scram::ScramKey;
use postier_core::disk::Task;
use postier_core::dns::mta_sts::{Kept, files};
use postier_core::dns::name::DomainName;
use postier_core::dns::resolver;
use postier_core::limits::Limits;
use postier_core::maildir::context::{HostFacts, Root, StoreContext};
use postier_core::queue::spool;
use postier_core::server::gate::Gate;
use postier_core::server::office::{Office, OfficeInput, outbound};
use postier_core::server::{Call, FrontIndex, Service, Trust};
use postier_core::site::Site;
use postier_host::clock;
use postier_host::disk::{self, DiskExecutor};
use postier_host::dkim::keyring::Keyring;
use postier_host::identity::Identity;
use postier_host::password::{PasswordChecker, load_scram_key};
use postier_host::tls::{ServerTls, client_config};
use rustls::ClientConfig;

pub(crate) use listen::{ListenError, check_ports};

use control::{Control, Parties, Signals, sd_notify_quietly};
use event_loop::{EventLoop, Shared};
use listen::Listener;
use log::{EventHook, EventLog};
use mailroom::ToLoop;
use office::OfficeDesk;
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
}

impl TlsConfigs {
    pub(crate) fn new(exchange: Option<ServerTls>, users: Option<ServerTls>) -> Self {
        let (anybody, verified) = (client_config(&Trust::Anybody), client_config(&Trust::Roots));
        TlsConfigs { exchange, users, anybody, verified }
    }

    /// For a connection to another server.
    fn to(&self, call: &Call) -> Arc<ClientConfig> {
        match &call.trust {
            Trust::Anybody => self.anybody.clone(),
            Trust::Roots => self.verified.clone(),
            Trust::Dane(_) => client_config(&call.trust),
        }
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

/// Why a server does not start, or ends badly.
#[derive(Debug)]
pub(crate) enum RunError {
    /// A port cannot be had.
    Listen(ListenError),
    /// There is no certificate for a service that begins with TLS.
    NoCertificate(Service),
    /// The server cannot become its user.
    Identity(String, io::Error),
    /// The state directory does not work.
    State(PathBuf, io::Error),
    /// Another server runs with this state directory.
    AlreadyRunning(PathBuf),
    /// The system refuses something else.
    System(&'static str, io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Listen(error) => write!(f, "{error}"),
            RunError::NoCertificate(service) => write!(
                f,
                "{} begins with TLS and there is no certificate; name one under [tls] or turn it off with \
                 `{} = []` under [listen]",
                service.name(),
                service.name()
            ),
            RunError::Identity(name, error) => {
                write!(f, "cannot become the user {name}: {error}; start as root, or as {name}")
            }
            RunError::State(path, error) => {
                write!(f, "cannot use the state directory {}: {error}", path.display())
            }
            RunError::AlreadyRunning(path) => {
                write!(f, "a server runs with the state directory {} already", path.display())
            }
            RunError::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

/// Serves until SIGTERM or SIGINT. Must be called while the process has one thread, for it may change its user.
///
/// # Errors
/// [`RunError`], before anybody was served.
pub(crate) fn run(setup: Setup) -> Result<(), RunError> {
    let Setup { event_loops, mut site, tls, listeners, state, dns, identity, on_event, on_ready, mut reload } =
        setup;
    for (service, _) in &listeners {
        if service.implicit_tls() && tls.of(*service).is_none() {
            return Err(RunError::NoCertificate(*service));
        }
    }
    let loop_count = event_loops.unwrap_or_else(loop_count);
    let listeners = bind_all(&listeners, loop_count).map_err(RunError::Listen)?;
    let bound: Vec<(Service, SocketAddr)> = listeners
        .first()
        .into_iter()
        .flatten()
        .map(|listener| (listener.service, listener.address))
        .collect();
    prepare_state(&state, identity.as_ref()).map_err(|error| RunError::State(state.clone(), error))?;
    if let Some(identity) = &identity {
        identity.assume().map_err(|error| RunError::Identity(identity.name.clone(), error))?;
    }
    journal::start(&state).map_err(|error| RunError::State(state.clone(), error))?;
    let key = load_scram_key(&state).map_err(|error| RunError::State(state.clone(), error))?;
    let keyring = Keyring::new(&state);
    add_secrets(&mut site, &key, &keyring);
    let reload: Reload = Box::new(move || {
        let mut reloaded = reload()?;
        add_secrets(&mut reloaded.site, &key, &keyring);
        Ok(reloaded)
    });
    let signals = Signals::catch().map_err(|error| RunError::System("cannot catch signals", error))?;
    let limits = fit_descriptors(site.limits);

    let log = Arc::new(EventLog::new(on_event));
    let gate = Gate::new(limits.connections_max, limits.connections_per_address_max);
    let shared = Arc::new(Shared::new(gate, log.clone(), loop_count));
    let watcher = Arc::new(Watcher::new());
    let checker = Arc::new(PasswordChecker::new());
    checker.imitate(&site);

    let mut office = Office::new(Arc::new(StoreContext::new(host_facts())));
    send_mail(&mut office, site.clone(), &state, dns)?;
    pick_up(&mut office, &state);
    let office = OfficeDesk::new(office);
    let mut loops = Vec::new();
    let mut senders = Vec::new();
    for (index, listeners) in listeners.into_iter().enumerate() {
        let (site, tls) = (site.clone(), tls.clone());
        let made = EventLoop::new(
            FrontIndex(index),
            (site, tls),
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
    let parties = Parties {
        watcher: watcher.clone(),
        shared: shared.clone(),
        loops: senders.clone(),
        office: office.clone(),
    };
    let imitating = checker.clone();
    let desk = office.clone();
    let adopt = Box::new(move |reloaded: &Reloaded| {
        imitating.imitate(&reloaded.site);
        desk.set_web(reloaded.tls.verified.clone());
    });
    let control =
        Control::new(&state, signals, parties, reload, adopt).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => RunError::AlreadyRunning(state.clone()),
            _ => RunError::State(state.clone(), error),
        })?;

    let start_threads = || -> io::Result<Threads> {
        office.equip(senders.clone(), watcher, log, checker, tls.verified.clone())?;
        let keeper = office.clone();
        let time = thread::Builder::new().name("time".into()).spawn(or_abort(move || keeper.keep_time()))?;
        let mut handles = Vec::new();
        for event_loop in loops {
            let builder = thread::Builder::new().name("loop".into());
            handles.push(builder.spawn(or_abort(|| event_loop.run()))?);
        }
        Ok(Threads { time, loops: handles })
    };
    let threads = start_threads().map_err(|error| RunError::System("cannot start a thread", error))?;
    on_ready(&bound);
    sd_notify_quietly(&[sd_notify::NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "serving");
    if let Err(error) = postier_host::memory::forget_code() {
        tracing::debug!(%error, "what was needed to start stays in memory");
    }

    let ended = control.run();
    sd_notify_quietly(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("ending");
    threads.finish(&senders, &office);
    tracing::info!("ended");
    ended.map_err(|error| RunError::System("the main thread's poll failed", error))
}

/// What a site is given out of the state directory: it is not the configuration's to say.
fn add_secrets(site: &mut Arc<Site>, key: &ScramKey, keyring: &Keyring) {
    let site = Arc::make_mut(site);
    site.scram_key = key.clone();
    match keyring.read() {
        Ok(contents) => {
            for (path, why) in &contents.damaged {
                tracing::error!(path = %path.display(), why, "a DKIM key cannot be used");
            }
            site.dkim_keys = Arc::new(contents.signing());
        }
        Err(error) => {
            tracing::error!(%error, "the DKIM keys cannot be read; nothing is signed");
        }
    }
}

/// The queue's directory in the state directory,
const QUEUE: &str = "queue";
/// and that of the policies of domains.
const POLICIES: &str = "mta-sts";

/// The office sends mail, and what an earlier process has left in the queue to begin with.
fn send_mail(
    office: &mut Office,
    site: Arc<Site>,
    state: &Path,
    dns: resolver::Config,
) -> Result<(), RunError> {
    let path = state.join(QUEUE);
    let spool = Root::new(path.as_os_str().as_encoded_bytes());
    let mut task = Task::new(|disk| spool::recover(disk, spool.clone()));
    let recovered = match disk::drive(&mut task, &mut DiskExecutor::default()) {
        disk::Ended::Done(Ok(recovered)) => recovered,
        disk::Ended::Done(Err(error)) => {
            return Err(RunError::State(path, io::Error::other(error.to_string())));
        }
        disk::Ended::NeedInput | disk::Ended::Wait(_) => {
            return Err(RunError::State(path, io::Error::other("it cannot be read now")));
        }
    };
    for name in &recovered.damaged {
        let name = String::from_utf8_lossy(name);
        tracing::warn!(%name, "a damaged file in the queue; it stays where it is, in mail/ there");
    }
    if !recovered.queued.is_empty() {
        tracing::info!(messages = recovered.queued.len(), "in the queue");
    }
    let seed = secret_seed().map_err(|error| RunError::System("no randomness", error))?;
    let policies = Root::new(state.join(POLICIES).as_os_str().as_encoded_bytes());
    let kept = load_policies(policies.clone());
    office.send_mail(clock::now(), outbound::Setup { site, spool, recovered, policies, kept, dns, seed });
    Ok(())
}

/// What is kept of the policies of domains; without them mail goes on, and each is fetched again.
fn load_policies(root: Root) -> Vec<(DomainName, Kept)> {
    let mut task = Task::new(|disk| files::load(disk, root));
    match disk::drive(&mut task, &mut DiskExecutor::default()) {
        disk::Ended::Done(Ok(kept)) => kept,
        disk::Ended::Done(Err(error)) => {
            tracing::error!(%error, "the policies of domains (MTA-STS) cannot be read");
            Vec::new()
        }
        disk::Ended::NeedInput | disk::Ended::Wait(_) => Vec::new(),
    }
}

/// The office takes the mail of local programs. Where it cannot, the rest is served all the same.
fn pick_up(office: &mut Office, state: &Path) {
    match postier_host::pickup::prepare(state) {
        Ok(drop) => office.pick_up(clock::now(), Root::new(drop.as_os_str().as_encoded_bytes())),
        Err(error) => {
            let place = postier_host::pickup::directory(state);
            tracing::error!(%error, place = %place.display(), "no mail is taken from programs on this machine");
        }
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
    fn finish(self, senders: &[mailroom::LoopSender], office: &OfficeDesk) {
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

/// One loop serves a small machine; the workers want a core, too.
fn loop_count() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 8)
}

/// The listeners of each loop.
fn bind_all(wanted: &[(Service, SocketAddr)], loops: usize) -> Result<Vec<Vec<Listener>>, ListenError> {
    let mut all: Vec<Vec<Listener>> = (0..loops).map(|_| Vec::new()).collect();
    for &(service, address) in wanted {
        if loops > 1 && address.port() != 0 {
            // Sockets that share an address do not notice another server that shares it; this one does.
            drop(bind_unless_foreign(service, address, false)?);
        }
        let mut address = address;
        for listeners in &mut all {
            if let Some(listener) = bind_unless_foreign(service, address, loops > 1)? {
                // Where the first loop was given a free port, the others share it.
                address = listener.address;
                listeners.push(listener);
            }
        }
    }
    Ok(all)
}

/// Binds; `None` where the address is all of IPv6 and the machine has none.
fn bind_unless_foreign(
    service: Service,
    address: SocketAddr,
    shared: bool,
) -> Result<Option<Listener>, ListenError> {
    match Listener::bind(service, address, shared) {
        Err(error) if error.is_without_family() && address.ip().is_unspecified() && address.is_ipv6() => {
            tracing::info!(service = service.name(), "no IPv6 on this machine");
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Makes the state directory. Others may pass through, to leave mail in `drop`, and see nothing of the rest.
pub(crate) fn prepare_state(state: &Path, identity: Option<&Identity>) -> io::Result<()> {
    if state.is_dir() {
        return Ok(());
    }
    if let Some(parent) = state.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::DirBuilder::new().mode(0o711).create(state)?;
    fs::set_permissions(state, fs::Permissions::from_mode(0o711))?;
    match identity {
        Some(identity) if !identity.is_current() => chown(state, Some(identity.uid), Some(identity.gid)),
        Some(_) | None => Ok(()),
    }
}

/// A server that is not told how many connections to serve, and cannot serve this many, says so.
const FEW_CONNECTIONS: usize = 1000;

/// Raises the number of descriptors to what is allowed, and lowers the number of connections to what that serves:
/// each may have its socket and an open message, and the store needs some.
fn fit_descriptors(mut limits: Limits) -> Limits {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let allowed = getrlimit(Resource::Nofile);
    // Not being allowed what the limit itself allows is no reason not to serve.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, maximum: allowed.maximum });
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let served = usize::try_from(descriptors.saturating_sub(128) / 2).unwrap_or(usize::MAX).max(16);
    if served < limits.connections_max {
        // A limit that nobody has chosen is fitted without a word while it is still a large one.
        let wanted = limits.connections_max != Limits::default().connections_max || served < FEW_CONNECTIONS;
        // Said once, not at each reload.
        static SAID: AtomicUsize = AtomicUsize::new(0);
        if wanted && SAID.swap(limits.connections_max, Ordering::Relaxed) != limits.connections_max {
            tracing::warn!(
                descriptors,
                connections = served,
                "fewer connections than configured: the limit of open files is low (`LimitNOFILE=` in systemd)"
            );
        }
        limits.connections_max = served;
    }
    limits
}

fn host_facts() -> HostFacts {
    let host = fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    let now = clock::now();
    let up = i64::try_from(now.instant.as_micros() / 1_000_000).unwrap_or(0);
    let booted =
        postier_core::machine::WallTime { secs: now.wall.secs.saturating_sub(up), micros: now.wall.micros };
    HostFacts {
        host: host.trim_ascii().into(),
        pid: std::process::id(),
        started: now.wall,
        booted: Some(booted),
        seed: random_seed(),
    }
}

/// Randomness for names, from the hasher that the standard library seeds from the system.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
