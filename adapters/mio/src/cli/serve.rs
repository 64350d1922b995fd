//! `postier serve`: from a configuration to a running server, and again at each reload.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use postier_core::dns::{resolv_conf, resolver};
use postier_core::server::Service;
use postier_host::config::{Config, Settings};
use postier_host::files::{DirectFiles, ReadFiles};
use postier_host::privileged::PrivilegedReader;
use postier_host::report::Problem;
use postier_host::tls::Tickets;

use super::output::{Failure, complain_of};
use crate::server::log::EventHook;
use crate::server::{Ready, Reload, Reloaded, Setup, TlsConfigs, log, run};

pub(super) fn serve(path: &Path) -> Result<(), Failure> {
    // Files are read again at a reload, by whatever reader: their paths must mean the same then.
    let path = std::path::absolute(path).map_err(|error| Failure::io(path.display(), &error))?;
    let (config, mut warnings) = Config::load(&path)?;
    warnings.extend(config.warn_of_rights());
    warnings.extend(config.warn_of_closed_state());
    complain_of(&warnings);
    log::start(config.settings.log);
    let listeners = listeners(&config.settings);
    let on_ready: Ready = Box::new(|bound| {
        for (service, address) in bound {
            tracing::info!(service = service.name(), %address, "listening");
        }
    });
    start(config, listeners, Box::new(|_| {}), on_ready)
}

/// Serves a configuration until it is told to stop.
pub(super) fn start(
    config: Config,
    listeners: Vec<(Service, SocketAddr)>,
    on_event: EventHook,
    on_ready: Ready,
) -> Result<(), Failure> {
    config.check_state()?;
    config.prepare_mail().map_err(|(path, error)| {
        Failure::io(format!("the directory for mail, {}, cannot be made", path.display()), &error)
    })?;
    let reload = reload(&config)?;
    let setup = Setup {
        event_loops: config.settings.event_loops,
        site: Arc::clone(&config.site),
        tls: tls_configs(&config),
        listeners,
        state: config.settings.state.clone(),
        dns: resolvers(&config.settings),
        identity: Some(config.identity.clone()),
        on_event,
        on_ready,
        reload,
    };
    run(setup).map_err(|error| Failure::Failed(error.to_string()))
}

/// Whom to ask for addresses: who the configuration names, or who everybody on this machine asks.
pub(super) fn resolvers(settings: &Settings) -> resolver::Config {
    let mut config = resolv_conf::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    if !settings.send.dns.is_empty() {
        config.servers.clone_from(&settings.send.dns);
        // What resolv.conf says, it says of its own servers.
        config.trust_ad = false;
    }
    config.trust_ad = settings.send.dns_trusted.unwrap_or(config.trust_ad);
    config
}

/// All addresses of all services.
pub(super) fn listeners(settings: &Settings) -> Vec<(Service, SocketAddr)> {
    let services = settings.listen.iter();
    services
        .flat_map(|(service, addresses)| addresses.iter().map(move |&address| (service, address)))
        .collect()
}

fn tls_configs(config: &Config) -> TlsConfigs {
    TlsConfigs::new(Some(config.tls_config(Tickets::Off)), Some(config.tls_config(Tickets::On)))
}

/// How the server reads its files again. Where it is about to give up root, a process that stays root reads for it.
fn reload(config: &Config) -> Result<Reload, Failure> {
    let files: Box<dyn ReadFiles> =
        if config.identity.is_current() {
            Box::new(DirectFiles)
        } else {
            let reader = PrivilegedReader::start(config.settings.files());
            Box::new(reader.map_err(|error| {
                Failure::io("the process that reads root's files cannot be started", &error)
            })?)
        };
    let begun_with = config.settings.clone();
    Ok(Box::new(move || {
        let (config, warnings) = Config::load_with(&begun_with.path, files.as_ref()).map_err(|errors| {
            for problem in &errors.problems {
                tracing::error!("{}", one_line(problem));
            }
            errors.to_string()
        })?;
        for warning in warnings.iter().chain(&fixed(&begun_with, &config.settings)) {
            tracing::warn!("{}", one_line(warning));
        }
        Ok(Reloaded { site: Arc::clone(&config.site), tls: tls_configs(&config) })
    }))
}

/// What a reload cannot change.
fn fixed(before: &Settings, now: &Settings) -> Vec<Problem> {
    let changes = [
        ("listen", before.listen != now.listen),
        ("user", before.user.value != now.user.value),
        ("state", before.state != now.state),
        ("dns", (&before.send.dns, before.send.dns_trusted) != (&now.send.dns, now.send.dns_trusted)),
        ("log", before.log != now.log),
        ("event_loops", before.event_loops != now.event_loops),
    ];
    let changed = changes.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(key, _)| Problem::warning(format!("a change of `{key}` needs a restart"))).collect()
}

/// A problem for the log, which has one line for each: title, file and line.
fn one_line(problem: &Problem) -> String {
    let place = problem.place.as_ref().map(|place| format!(" ({}", place.path));
    let line = problem.position().map(|(line, _)| format!(":{line}"));
    match place {
        Some(place) => format!("{}{place}{})", problem.title, line.unwrap_or_default()),
        None => problem.title.clone(),
    }
}
