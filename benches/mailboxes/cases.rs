//! What is measured, in an order in which each case leaves the mailbox as the next one expects it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::RUNS;
use super::client::Client;
use super::generator;
use super::report::{Table, Unit};
use super::servers::Server;

/// APPENDs of one connection.
const APPENDS: usize = 400;
/// After a change of the mailbox servers wait before they trust the times of its directories, and save what they know.
const REST: Duration = Duration::from_secs(6);
/// Connections that idle while memory is measured: as many as Dovecot serves over TLS by default,
const IDLERS: usize = 100;
/// and for so long, that a server may put away what it had at hand before.
const IDLE: Duration = Duration::from_secs(15);
const ENVELOPES: &str = "FETCH 1:* (FLAGS UID RFC822.SIZE ENVELOPE)";

pub(crate) struct Sitting<'s> {
    pub(crate) server: &'s mut Server,
    pub(crate) disk_cold: bool,
    /// Only cases with this in their name.
    pub(crate) only: Option<&'s str>,
    pub(crate) column: usize,
    pub(crate) table: &'s mut Table,
}

impl Sitting<'_> {
    fn wants(&self, case: &str) -> bool {
        self.only.is_none_or(|only| case.to_lowercase().contains(&only.to_lowercase()))
    }

    fn note(&mut self, case: &'static str, unit: Unit, value: f64) {
        self.table.note(self.column, case, unit, value);
    }

    /// A connection that has the mailbox selected.
    fn selected(&self, tls: bool) -> Result<Client, String> {
        let mut client = self.server.client(tls)?;
        client.command("SELECT box")?;
        Ok(client)
    }

    /// The median time of a command, each in a new connection.
    fn median(&self, command: &str) -> Result<f64, String> {
        let runs: Result<Vec<f64>, String> =
            (0..RUNS).map(|_| Ok(self.selected(true)?.command(command)?.seconds)).collect();
        Ok(median(runs?))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn all(sitting: &mut Sitting<'_>) -> Result<(), String> {
    cold(sitting)?;
    warm(sitting)?;
    bodies(sitting)?;
    searches(sitting)?;
    changes(sitting)?;
    appends(sitting)?;
    beside(sitting)?;
    memory(sitting)
}

fn cold(sitting: &mut Sitting<'_>) -> Result<(), String> {
    if sitting.disk_cold && sitting.wants("disk cold") {
        sitting.server.forget()?;
        let synced = std::process::Command::new("sync").status().is_ok_and(|status| status.success());
        let dropped = std::fs::write("/proc/sys/vm/drop_caches", "3");
        dropped.map_err(|error| format!("--disk-cold: {error}"))?;
        if !synced {
            return Err(String::from("--disk-cold: sync failed"));
        }
        let mut client = sitting.server.client(true)?;
        let (select, fetch) = (client.command("SELECT box")?, client.command(ENVELOPES)?);
        sitting.note("SELECT, disk cold", Unit::Seconds, select.seconds);
        sitting.note("FETCH ENVELOPE, disk cold", Unit::Seconds, fetch.seconds);
    }
    if sitting.wants("SELECT, cold") || sitting.wants("FETCH ENVELOPE, first pass") {
        let (mut selects, mut fetches) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            sitting.server.forget()?;
            let mut client = sitting.server.client(true)?;
            selects.push(client.command("SELECT box")?.seconds);
            fetches.push(client.command(ENVELOPES)?.seconds);
        }
        sitting.note("SELECT, cold", Unit::Seconds, median(selects));
        sitting.note("FETCH ENVELOPE, first pass", Unit::Seconds, median(fetches));
    }
    Ok(())
}

fn warm(sitting: &mut Sitting<'_>) -> Result<(), String> {
    if sitting.wants("FETCH ENVELOPE, warm") {
        let second = sitting.selected(true)?.command(ENVELOPES)?;
        sitting.note("FETCH ENVELOPE, second pass", Unit::Seconds, second.seconds);
        let value = sitting.median(ENVELOPES)?;
        sitting.note("FETCH ENVELOPE, warm", Unit::Seconds, value);
    }
    if sitting.wants("SELECT, warm") {
        sitting.server.client(true)?.command("SELECT box")?;
        thread::sleep(REST);
        let select = || Ok(sitting.server.client(true)?.command("SELECT box")?.seconds);
        let runs: Result<Vec<f64>, String> = (0..2 * RUNS + 1).map(|_| select()).collect();
        sitting.note("SELECT, warm", Unit::Seconds, median(runs?));
    }
    if sitting.wants("FETCH FLAGS") {
        let value = sitting.median("FETCH 1:* (UID FLAGS)")?;
        sitting.note("FETCH FLAGS", Unit::Seconds, value);
    }
    Ok(())
}

fn bodies(sitting: &mut Sitting<'_>) -> Result<(), String> {
    for (case, tls) in [("FETCH BODY[], TLS", true), ("FETCH BODY[], plain", false)] {
        if sitting.wants(case) {
            let fetch = || {
                let reply = sitting.selected(tls)?.command("FETCH 1:* BODY.PEEK[]")?;
                Ok(reply.bytes as f64 / 1e6 / reply.seconds)
            };
            let runs: Result<Vec<f64>, String> = (0..RUNS).map(|_| fetch()).collect();
            sitting.note(case, Unit::Megabytes, median(runs?));
        }
    }
    Ok(())
}

fn searches(sitting: &mut Sitting<'_>) -> Result<(), String> {
    for (case, command) in [
        ("SEARCH TEXT, no hit", "SEARCH TEXT zzyzxqj"),
        ("SEARCH TEXT, many hits", "SEARCH TEXT invoice"),
        ("SEARCH SUBJECT", "SEARCH SUBJECT weather"),
    ] {
        if sitting.wants(case) {
            let value = sitting.median(command)?;
            sitting.note(case, Unit::Seconds, value);
        }
    }
    Ok(())
}

fn changes(sitting: &mut Sitting<'_>) -> Result<(), String> {
    if sitting.wants("STORE 1:*") {
        let mut client = sitting.selected(true)?;
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push(client.command("STORE 1:* +FLAGS.SILENT (\\Flagged)")?.seconds);
            client.command("STORE 1:* -FLAGS.SILENT (\\Flagged)")?;
        }
        sitting.note("STORE 1:*", Unit::Seconds, median(runs));
    }
    if sitting.wants("COPY 1:*") {
        sitting.server.empty_mailbox("copies")?;
        let mut client = sitting.selected(true)?;
        let value = client.command("COPY 1:* copies")?.seconds;
        sitting.note("COPY 1:*", Unit::Seconds, value);
        sitting.server.empty_mailbox("copies")?;
    }
    Ok(())
}

fn appends(sitting: &mut Sitting<'_>) -> Result<(), String> {
    for (case, connections) in [("APPEND, 1 connection", 1), ("APPEND, 8 connections", 8)] {
        if !sitting.wants(case) {
            continue;
        }
        let target = format!("app{connections}");
        sitting.server.empty_mailbox(&target)?;
        let clients: Result<Vec<Client>, String> =
            (0..connections).map(|_| sitting.server.client(true)).collect();
        let (mut clients, start) = (clients?, Instant::now());
        let done: Result<Vec<()>, String> = thread::scope(|scope| {
            let run = |client| {
                let target = &target;
                scope.spawn(move || append_many(client, target))
            };
            let threads: Vec<_> = clients.iter_mut().map(run).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| String::from("a client broke down"))?)
                .collect()
        });
        done?;
        let rate = (APPENDS * connections) as f64 / start.elapsed().as_secs_f64();
        sitting.note(case, Unit::Messages, rate);
    }
    Ok(())
}

fn append_many(client: &mut Client, target: &str) -> Result<(), String> {
    for number in 0..APPENDS as u32 {
        // Some 4 KiB, as most mail is.
        let mut message = generator::message(number).replace('\n', "\r\n");
        message.truncate(4096);
        client.append(target, message.as_bytes())?;
    }
    Ok(())
}

fn beside(sitting: &mut Sitting<'_>) -> Result<(), String> {
    if !sitting.wants("NOOP, longest beside FETCH BODY[]") {
        return Ok(());
    }
    let (mut heavy, mut light, over) =
        (sitting.selected(true)?, sitting.selected(true)?, AtomicBool::new(false));
    let longest = thread::scope(|scope| {
        let work = scope.spawn(|| {
            let done = heavy.command("FETCH 1:* BODY.PEEK[]");
            over.store(true, Ordering::Relaxed);
            done.map(|_| ())
        });
        let mut longest = 0.0_f64;
        while !over.load(Ordering::Relaxed) {
            longest = longest.max(light.command("NOOP")?.seconds);
            thread::sleep(Duration::from_millis(5));
        }
        work.join().map_err(|_| String::from("a client broke down"))??;
        Ok::<f64, String>(longest)
    })?;
    sitting.note("NOOP, longest beside FETCH BODY[]", Unit::Seconds, longest);
    Ok(())
}

fn memory(sitting: &mut Sitting<'_>) -> Result<(), String> {
    if !sitting.wants("memory, 100 idle connections") {
        return Ok(());
    }
    let mut idlers = Vec::new();
    for _ in 0..IDLERS {
        let mut client = sitting.selected(true)?;
        client.send(b"i IDLE\r\n")?;
        client.read_line()?;
        idlers.push(client);
    }
    thread::sleep(IDLE);
    let value = sitting.server.memory();
    sitting.note("memory, 100 idle connections", Unit::Kilobytes, value);
    drop(idlers);
    Ok(())
}
