//! The log: one line for each event that a person would look for, and the hook for whoever wants to see them.
//!
//! Text for people and files, JSON for collectors; both go to the standard error, where systemd's journal takes them.
//! The same lines go to our own journal in the state directory.
//! Addresses and subjects come from strangers: they are quoted, and without control characters. The core's
//! events hold no passwords and no message texts.

use postier_core::event::{Event, Fate};
use postier_core::machine::CloseReason;
use postier_core::server::ConnId;
use postier_host::config::{LogFormat, LogLevel, LogSettings};
use tracing::{info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use super::journal::ToJournal;

/// Starts the log of this process. A second call changes nothing.
pub(crate) fn start(settings: LogSettings) {
    use std::io::IsTerminal;
    let level = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What the libraries say below a warning helps nobody who runs a mail server.
    let targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("postier", level);
    let layer = tracing_subscriber::fmt::layer().with_target(false).with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(journal_layer());
    let _ = match settings.format {
        LogFormat::Text => {
            let layer = layer.with_ansi(std::io::stderr().is_terminal());
            registry.with(layer.with_filter(targets)).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true).with_filter(targets)).try_init(),
    };
}

fn journal_layer<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'s> tracing_subscriber::registry::LookupSpan<'s>,
{
    let layer = tracing_subscriber::fmt::layer().with_target(false).with_writer(ToJournal);
    let targets = Targets::new().with_target("postier", LevelFilter::INFO);
    layer.json().flatten_event(true).with_filter(targets)
}

/// Somebody who wants to see the events as they come, on the thread they come from.
pub(crate) type EventHook = Box<dyn Fn(&Event) + Send + Sync>;

/// Writes events.
pub(super) struct EventLog {
    hook: EventHook,
}

impl EventLog {
    pub(super) fn new(hook: EventHook) -> Self {
        EventLog { hook }
    }

    /// One event, of a connection if it belongs to one.
    pub(super) fn event(&self, conn: Option<ConnId>, event: &Event) {
        let conn = conn.map(|conn| conn.0);
        match event {
            Event::Connected { peer, service } => info!(conn, %peer, service, "connected"),
            Event::Refused { peer, why } => warn!(conn, %peer, why, "connection refused"),
            Event::Disconnected { reason } => info!(conn, reason = reason_name(*reason), "disconnected"),
            Event::LoggedIn { account } => info!(conn, account = printable(account.as_bytes()), "logged in"),
            Event::LoginFailed { login, peer } => {
                warn!(conn, %peer, login = printable(login.as_bytes()), "login failed");
            }
            Event::LoginHeld { why } => warn!(conn, why, "login not tried"),
            Event::Delivered { id, from, to, size, subject, message_id } => {
                let to = to.iter().map(|to| printable(to)).collect::<Vec<_>>().join(" ");
                let (from, subject) = (printable(from), printable(subject));
                let message_id = printable(message_id);
                info!(conn, %id, from, to, size, subject, message_id, "delivered");
            }
            Event::NotDelivered { id, why } => {
                warn!(conn, %id, why = printable(why.as_bytes()), "not delivered")
            }
            Event::AddressRefused { path, why } => {
                info!(conn, path = printable(path), why, "address refused")
            }
            Event::StoreTrouble { place, what } => {
                let (place, what) = (printable(place.as_bytes()), printable(what.as_bytes()));
                tracing::error!(conn, place, what, "trouble in the mail store");
            }
            Event::Called { peer, host } => {
                info!(conn, %peer, host = printable(host.as_bytes()), "connected to")
            }
            Event::Queued { id, from, to, size, message_id } => {
                let to = to.iter().map(|to| printable(to.as_bytes())).collect::<Vec<_>>().join(" ");
                let (from, message_id) = (printable(from.as_bytes()), printable(message_id));
                info!(conn, %id, from, to, size, message_id, "queued");
            }
            Event::PickedUp { id, user, from } => {
                let from = printable(from.as_bytes());
                info!(%id, service = "sendmail", user, from, "taken from a program");
            }
            Event::SetAside { name, why } => {
                let name = printable(name.as_bytes());
                warn!(service = "sendmail", name, why, "no mail of a program, set aside");
            }
            Event::Sent { id, to, host, fate, reply, tls } => {
                let (to, host) = (printable(to.as_bytes()), printable(host.as_bytes()));
                let reply = printable(reply.as_bytes());
                // Where nothing was sent, nothing was protected.
                let tls = (!tls.is_empty()).then_some(tls.as_str());
                match fate {
                    Fate::Sent => info!(%id, to, host, tls, reply, "sent"),
                    Fate::Deferred => info!(%id, to, host, tls, reply, "deferred"),
                    Fate::Failed => warn!(%id, to, host, tls, reply, "failed"),
                }
            }
            Event::Signed { id, domain, selectors } => {
                info!(%id, domain, selectors = selectors.join(" "), "signed");
            }
            Event::NotSigned { id, why } => warn!(%id, why, "not signed"),
            Event::Unreachable { destination, why } => {
                let destination = printable(destination.as_bytes());
                warn!(destination, why = printable(why.as_bytes()), "cannot send");
            }
            Event::PolicyKept { domain, mode, max_age } => {
                info!(domain, mode, max_age, "policy fetched (MTA-STS)");
            }
            Event::PolicyNotFetched { domain, why, kept: true } => {
                let why = printable(why.as_bytes());
                warn!(domain, why, "policy not fetched (MTA-STS); the one that is kept goes on counting");
            }
            Event::PolicyNotFetched { domain, why, kept: false } => {
                let why = printable(why.as_bytes());
                warn!(domain, why, "policy not fetched (MTA-STS); mail goes as if there was none");
            }
            Event::PolicyTested { domain, host, why } => {
                let why = printable(why.as_bytes());
                info!(domain, host, why, "the policy that the domain tests is broken (MTA-STS)");
            }
            Event::Told { id, to, what } => info!(%id, to = printable(to.as_bytes()), what, "sender told"),
            Event::Dequeued { id } => info!(%id, "done"),
            Event::Abuse { what } => warn!(conn, what, "abuse"),
        }
        (self.hook)(event);
    }
}

fn reason_name(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Goodbye => "goodbye",
        CloseReason::PeerClosed => "the client closed",
        CloseReason::IdleTimeout => "timeout",
        CloseReason::Shutdown => "shutdown",
        CloseReason::Abuse => "abuse",
        CloseReason::ProtocolViolation => "protocol violation",
    }
}

/// Octets as a value in a log, which text quotes and JSON escapes: UTF-8 where it is, and a replacement character for all
/// that could move a terminal's cursor or turn its line around.
fn printable(octets: &[u8]) -> String {
    let shown = |c: char| match c {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    String::from_utf8_lossy(octets).chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_write_lines_of_their_own() {
        assert_eq!(printable(b"plain"), "plain");
        assert_eq!(printable("Grüße".as_bytes()), "Grüße");
        let replaced = "a\u{fffd}\u{fffd}ERROR \u{fffd}[2J\u{fffd}";
        assert_eq!(printable(b"a\r\nERROR \x1b[2J\xff"), replaced);
        assert_eq!(printable("moc\u{202e}.\u{2028}\u{9b}2J".as_bytes()), "moc\u{fffd}.\u{fffd}\u{fffd}2J");
    }
}
