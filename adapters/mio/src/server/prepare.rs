//! What the process needs of the machine before it serves: ports, its state directory, descriptors.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use postier_core::limits::Limits;
use postier_core::maildir::context::HostFacts;
use postier_core::server::Service;
use postier_host::clock;
use postier_host::identity::Identity;

use super::listen::{ListenError, Listener};

/// One loop serves a small machine; the workers want a core, too.
pub(super) fn loop_count() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 8)
}

/// The listeners of each loop.
pub(super) fn bind_all(
    wanted: &[(Service, SocketAddr)],
    loops: usize,
) -> Result<Vec<Vec<Listener>>, ListenError> {
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
pub(super) fn fit_descriptors(mut limits: Limits) -> Limits {
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

pub(super) fn host_facts() -> HostFacts {
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
pub(super) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
