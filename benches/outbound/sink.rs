//! The servers that the mail is for: each takes everything, over as many connections as it is given.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// One server for each destination.
pub(crate) struct Sinks {
    ports: Vec<u16>,
    seen: Arc<Seen>,
}

/// How often each mail has come.
struct Seen {
    state: Mutex<(Vec<u32>, usize)>,
    all: Condvar,
}

impl Sinks {
    /// Nobody listens yet.
    pub(crate) fn new(destinations: usize, messages: usize) -> Result<Self, String> {
        let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        // Below those that the kernel gives to connections: until these are opened, many are.
        let from = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap_or(0);
        let ports: Vec<u16> = (from..32_768).filter(is_free).take(destinations).collect();
        if ports.len() < destinations {
            return Err(format!("there are not {destinations} free ports"));
        }
        let state = Mutex::new((vec![0; messages], 0));
        Ok(Self { ports, seen: Arc::new(Seen { state, all: Condvar::new() }) })
    }

    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// From now on they serve, until the program ends.
    pub(crate) fn open(&mut self) -> Result<(), String> {
        for port in &self.ports {
            let listener =
                TcpListener::bind(("127.0.0.1", *port)).map_err(|error| format!("port {port}: {error}"))?;
            let seen = self.seen.clone();
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let seen = seen.clone();
                    thread::spawn(move || serve(&client, &seen));
                }
            });
        }
        Ok(())
    }

    pub(crate) fn wait_for_all(&self, patience: Duration) -> Result<(), String> {
        let start = Instant::now();
        let mut state = self.seen.lock();
        while state.1 < state.0.len() {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(format!("only {} of {} mails have come", state.1, state.0.len()));
            }
            state = self.seen.all.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// The same mails may come again.
    pub(crate) fn forget(&self) {
        let mut state = self.seen.lock();
        state.0.fill(0);
        state.1 = 0;
    }

    /// None has come twice.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.seen.lock().0.iter().filter(|times| **times > 1).count() {
            0 => Ok(()),
            twice => Err(format!("{twice} mails came more than once")),
        }
    }
}

impl Seen {
    fn lock(&self) -> std::sync::MutexGuard<'_, (Vec<u32>, usize)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, number: usize) {
        let mut state = self.lock();
        let Some(times) = state.0.get_mut(number) else { return };
        *times += 1;
        if *times == 1 {
            state.1 += 1;
        }
        if state.1 == state.0.len() {
            self.all.notify_all();
        }
    }
}

/// One connection, to its end; `None` when it breaks.
fn serve(client: &TcpStream, seen: &Seen) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let (mut out, mut lines) = (client, BufReader::with_capacity(32 * 1024, client));
    let (mut line, mut replies) = (Vec::new(), b"220 sink ESMTP\r\n".to_vec());
    loop {
        // Replies to what was pipelined leave together.
        if lines.buffer().is_empty() {
            out.write_all(&replies).ok()?;
            replies.clear();
        }
        line.clear();
        if lines.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        match line.get(..4)?.to_ascii_uppercase().as_slice() {
            b"EHLO" => {
                replies.extend_from_slice(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n")
            }
            b"DATA" => {
                out.write_all(&[&replies[..], b"354 go\r\n"].concat()).ok()?;
                replies.clear();
                let number = take(&mut lines, &mut line)?;
                seen.note(number);
                replies.extend_from_slice(b"250 taken\r\n");
            }
            b"QUIT" => return out.write_all(b"221 bye\r\n").ok(),
            _ => replies.extend_from_slice(b"250 ok\r\n"),
        }
    }
}

/// A mail; without its dot it is none.
fn take(lines: &mut BufReader<&TcpStream>, line: &mut Vec<u8>) -> Option<usize> {
    let mut number = None;
    loop {
        line.clear();
        if lines.read_until(b'\n', line).ok()? == 0 {
            return None;
        }
        if line == b".\r\n" {
            return number;
        }
        if let (None, Some(subject)) = (number, line.strip_prefix(b"Subject: ")) {
            number = std::str::from_utf8(subject).ok()?.trim_end().parse().ok();
        }
    }
}
