//! What the main thread does while the others serve: signals, the control socket, directory watches.
//!
//! * SIGHUP, or `reload` on the socket: the configuration is read again; a bad one is reported and the old one kept.
//! * SIGTERM, SIGINT: the server ends in good order within ten seconds; another one [`ONE_WISH`] later ends it at once.
//! * The socket `control.sock` in the state directory is for the server's own user and root. One line is one command,
//!   the answer ends with the connection: `ok …` or `error …`.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::UnixListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use postier_core::server::office::OfficeInput;
use postier_core::server::office::outbound::QueueCommand;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::event_loop::Shared;
use super::mailroom::{LoopSender, ToLoop};
use super::office::OfficeDesk;
use super::watch::Watcher;
use super::{Reload, Reloaded};

/// Sessions have this long to end in good order; the store has the rest of ten seconds.
pub(super) const SHUTDOWN: Duration = Duration::from_secs(8);

/// Signals within this time are one wish to end: whoever stops a process and its group sends two.
const ONE_WISH: Duration = Duration::from_secs(1);

/// The socket's name in the state directory.
pub(super) const CONTROL_SOCKET: &str = "control.sock";

const SOCKET: Token = Token(0);
const WATCHES: Token = Token(1);
const HANGUP: Token = Token(2);
const END: Token = Token(3);
/// A client of the control socket has this long for its line.
const CLIENT: Duration = Duration::from_secs(1);
const LINE_BYTES_MAX: u64 = 1024;

/// The control thread's things.
pub(super) struct Control {
    poll: Poll,
    listener: UnixListener,
    socket_path: PathBuf,
    hangup: mio::net::UnixStream,
    end: mio::net::UnixStream,
    impatient: Arc<AtomicBool>,
    watcher: Arc<Watcher>,
    shared: Arc<Shared>,
    loops: Vec<LoopSender>,
    office: OfficeDesk,
    reload: Reload,
    /// What a new configuration needs besides the loops.
    adopt: Box<dyn Fn(&Reloaded)>,
    started: Instant,
}

/// Who the control thread talks to.
pub(super) struct Parties {
    pub(super) watcher: Arc<Watcher>,
    pub(super) shared: Arc<Shared>,
    pub(super) loops: Vec<LoopSender>,
    pub(super) office: OfficeDesk,
}

/// Signals that came before anybody could act on them.
pub(super) struct Signals {
    hangup: UnixStream,
    end: UnixStream,
    /// The next SIGTERM or SIGINT ends the process.
    impatient: Arc<AtomicBool>,
}

impl Signals {
    /// From now on signals wait for the control thread.
    pub(super) fn catch() -> io::Result<Self> {
        let (hangup, on_hangup) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(SIGHUP, on_hangup)?;
        let (end, on_end) = UnixStream::pair()?;
        let impatient = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, impatient.clone())?;
            signal_hook::low_level::pipe::register(signal, on_end.try_clone()?)?;
        }
        for stream in [&hangup, &end] {
            stream.set_nonblocking(true)?;
        }
        Ok(Signals { hangup, end, impatient })
    }
}

impl Control {
    /// Opens the control socket.
    ///
    /// # Errors
    /// `AddrInUse` when another server runs with this state directory.
    pub(super) fn new(
        state: &Path,
        signals: Signals,
        parties: Parties,
        reload: Reload,
        adopt: Box<dyn Fn(&Reloaded)>,
    ) -> io::Result<Self> {
        let socket_path = state.join(CONTROL_SOCKET);
        let mut listener = bind(&socket_path)?;
        let poll = Poll::new()?;
        let mut hangup = mio::net::UnixStream::from_std(signals.hangup);
        let mut end = mio::net::UnixStream::from_std(signals.end);
        let registry = poll.registry();
        registry.register(&mut listener, SOCKET, Interest::READABLE)?;
        if let Some(watches) = parties.watcher.fd() {
            registry.register(&mut SourceFd(&watches), WATCHES, Interest::READABLE)?;
        }
        registry.register(&mut hangup, HANGUP, Interest::READABLE)?;
        registry.register(&mut end, END, Interest::READABLE)?;
        let Parties { watcher, shared, loops, office } = parties;
        let started = Instant::now();
        Ok(Control {
            poll,
            listener,
            socket_path,
            hangup,
            end,
            impatient: signals.impatient,
            watcher,
            shared,
            loops,
            office,
            reload,
            adopt,
            started,
        })
    }

    /// Until a signal ends the server.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(16);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) | Ok(()) => {}
            }
            for event in &events {
                match event.token() {
                    SOCKET => self.serve_clients(),
                    WATCHES => self.report_changes(),
                    HANGUP if drain(&mut self.hangup) => {
                        // With `Type=notify-reload` the one is nothing without the other.
                        let since = sd_notify::NotifyState::monotonic_usec_now();
                        let since = since.unwrap_or(sd_notify::NotifyState::MonotonicUsec(0));
                        sd_notify_quietly(&[sd_notify::NotifyState::Reloading, since]);
                        // A failure is in the log.
                        let _ = self.reload();
                        sd_notify_quietly(&[sd_notify::NotifyState::Ready]);
                    }
                    END if drain(&mut self.end) => {
                        std::thread::spawn(move || {
                            std::thread::sleep(ONE_WISH);
                            self.impatient.store(true, Ordering::Relaxed);
                        });
                        // A path that is gone already is as good.
                        let _ = fs::remove_file(&self.socket_path);
                        return Ok(());
                    }
                    _ => {}
                }
            }
        }
    }

    fn report_changes(&self) {
        for watch in self.watcher.read() {
            let changed = OfficeInput::DirectoryChanged { watch };
            self.office.send(changed);
        }
    }

    fn reload(&mut self) -> Result<String, String> {
        match (self.reload)() {
            Ok(reloaded) => {
                let limits = super::fit_descriptors(reloaded.site.limits);
                self.shared.gate().reload(limits.connections_max, limits.connections_per_address_max);
                (self.adopt)(&reloaded);
                for sender in &self.loops {
                    sender.send(ToLoop::Reload(reloaded.site.clone(), reloaded.tls.clone()));
                }
                self.office.send(OfficeInput::Reload(reloaded.site.clone()));
                let accounts = reloaded.site.accounts().count();
                tracing::info!(accounts, "configuration reloaded");
                Ok(format!("{accounts} accounts"))
            }
            Err(why) => {
                // Whoever has read it has logged what is wrong with it.
                tracing::error!("the new configuration is not usable; the old one stays");
                Err(why)
            }
        }
    }

    fn serve_clients(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((client, _)) => {
                    if let Err(error) = self.serve_client(client.into()) {
                        tracing::debug!(%error, "control connection");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    return;
                }
            }
        }
    }

    fn serve_client(&mut self, client: UnixStream) -> io::Result<()> {
        client.set_nonblocking(false)?;
        client.set_read_timeout(Some(CLIENT))?;
        client.set_write_timeout(Some(CLIENT))?;
        let mut line = String::new();
        BufReader::new((&client).take(LINE_BYTES_MAX)).read_line(&mut line)?;
        let answer = match line.trim() {
            "reload" => self.reload(),
            "status" => Ok(format!(
                "{} connections, up {} s",
                self.shared.gate().connections(),
                self.started.elapsed().as_secs()
            )),
            line => match queue_command(line) {
                Some(command) => {
                    self.office.send(OfficeInput::Queue(command));
                    Ok(String::new())
                }
                None => Err("the commands are: reload, status, queue".into()),
            },
        };
        let answer = match answer {
            Ok(text) if text.is_empty() => "ok\n".into(),
            Ok(text) => format!("ok {text}\n"),
            Err(text) => format!("error {text}\n"),
        };
        (&client).write_all(answer.as_bytes())
    }
}

/// `queue flush`, or `queue` with one of `retry`, `hold`, `release` and `remove`, and the name of a message.
fn queue_command(line: &str) -> Option<QueueCommand> {
    let mut words = line.split_ascii_whitespace();
    let (Some("queue"), Some(verb), id, None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    Some(match (verb, id) {
        ("flush", None) => QueueCommand::Flush(None),
        ("retry", Some(id)) => QueueCommand::Flush(Some(id.into())),
        ("hold", Some(id)) => QueueCommand::Hold(id.into(), true),
        ("release", Some(id)) => QueueCommand::Hold(id.into(), false),
        ("remove", Some(id)) => QueueCommand::Remove(id.into()),
        _ => return None,
    })
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        let why = "a server runs with this state directory already";
        return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    }
    // What is left of a server that did not end in good order.
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Empties a signal's pipe; whether there was anything in it.
fn drain(pipe: &mut mio::net::UnixStream) -> bool {
    let mut buffer = [0; 64];
    let mut any = false;
    while matches!(pipe.read(&mut buffer), Ok(count) if count > 0) {
        any = true;
    }
    any
}

/// Tells systemd, if it wants to know.
pub(super) fn sd_notify_quietly(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_left_over_socket_is_replaced_and_a_live_one_is_not() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join(CONTROL_SOCKET);
        let first = bind(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(first);
        assert!(path.exists());
        bind(&path).unwrap();
    }
}
