//! Store tasks: as many at a time as there are workers, each one file operation after the other.

use postier_core::disk::{Errno, Op, OpResult, Outcome, Resume, TaskStep};
use postier_core::server::office::{Ended, JobId, OfficeInput, StoreTask};

use super::Process;
use crate::disk::exec::{Begun, Descriptors};
use crate::env::{Env, Event};
use crate::plant::{Instead, done};

/// A write that finds no room has written a number of these, in octets.
const BLOCK: usize = 512;
/// File operations in one task: more than any needs for the mailboxes of a world.
const OPS_MAX: u64 = 50_000;

/// A task whose file operation is under way.
pub(super) struct Running {
    task: StoreTask,
    op: Op,
    begun: Begun,
    ops: u64,
}

impl Running {
    /// The process dies; the kernel finishes what it was asked for.
    pub(super) fn finish_unheard(self, env: &mut Env, descriptors: &mut Descriptors) {
        let now = env.now();
        let _ = env.disk.finish(descriptors, self.op, self.begun, now, &mut env.rng);
    }
}

impl Process {
    /// Workers that are free take what waits.
    pub(super) fn start_waiting(&mut self, env: &mut Env) {
        while self.running.len() < env.setting.workers {
            // Threads do not keep the order of a queue.
            if self.waiting.is_empty() {
                return;
            }
            let index = env.rng.index(self.waiting.len().min(2));
            let Some((job, task)) = self.waiting.remove(index) else { return };
            self.advance(env, job, task, Resume::Start, 0);
        }
    }

    /// A file operation finishes.
    pub(super) fn op_done(&mut self, env: &mut Env, job: JobId) {
        let Some(running) = self.running.remove(&job) else { return };
        let Running { task, op, begun, ops } = running;
        let name = op_name(&op);
        let outcome = self.carry_out_op(env, op, begun);
        let word = match &outcome {
            Ok(_) => 0,
            Err(errno) => format!("{errno:?}").len() as u64,
        };
        env.trace.event(env.now, job.0 << 8 | word, name.0.as_bytes(), || {
            let error = outcome.as_ref().err().map(|errno| format!(": {errno:?}")).unwrap_or_default();
            format!("disk: job {} {} {}{error}", job.0, name.0, name.1)
        });
        self.advance(env, job, task, Resume::Outcome(outcome), ops);
    }

    fn carry_out_op(&mut self, env: &mut Env, op: Op, begun: Begun) -> OpResult {
        if let Some(ino) = env.planted.late_sync() {
            env.disk.sync_ino(ino);
        }
        if let Some(errno) = env.failure(&op) {
            let swallowed = env.planted.swallows(&op, errno);
            let done = done(&op);
            self.fail(env, op, errno);
            return if swallowed { Ok(done) } else { Err(errno) };
        }
        let now = env.now();
        match env.planted.instead(&op, &self.descriptors, &env.disk) {
            Instead::Do => {}
            Instead::Say(outcome) => return outcome,
            Instead::DoOther(other) => {
                return env.disk.finish(&mut self.descriptors, other, begun, now, &mut env.rng);
            }
            Instead::DoAlso(other) => {
                let first = env.disk.finish(&mut self.descriptors, op, begun, now, &mut env.rng);
                let _ = env.disk.finish(&mut self.descriptors, other, Begun::Plain, now, &mut env.rng);
                return first;
            }
        }
        let mut outcome = env.disk.finish(&mut self.descriptors, op, begun, now, &mut env.rng);
        if let Ok(Outcome::Names(names)) = &mut outcome {
            env.planted.list(names);
        }
        outcome
    }

    /// What an operation leaves behind that fails.
    fn fail(&mut self, env: &mut Env, op: Op, errno: Errno) {
        match op {
            Op::Sync { file } | Op::Order { file } => {
                if let Some(ino) = env.disk.ino_of(&self.descriptors, file) {
                    env.disk.doom(ino);
                }
            }
            Op::Write { file, mut bytes } if errno == Errno::NoSpace || errno == Errno::Quota => {
                // A file system gives room in blocks.
                bytes.truncate(env.rng.index(bytes.len() / BLOCK + 1) * BLOCK);
                let now = env.now();
                let part = Op::Write { file, bytes };
                let _ = env.disk.finish(&mut self.descriptors, part, Begun::Plain, now, &mut env.rng);
            }
            _ => {}
        }
    }

    /// Runs a task up to its next operation that takes time.
    fn advance(&mut self, env: &mut Env, job: JobId, mut task: StoreTask, mut resume: Resume, mut ops: u64) {
        loop {
            match task.resume(resume) {
                TaskStep::Op(Op::Clock) => resume = Resume::Outcome(Ok(Outcome::Now(env.now()))),
                TaskStep::Op(Op::ProcessAlive { pid }) => {
                    let alive = pid == self.pid || env.alive.contains(&pid);
                    resume = Resume::Outcome(Ok(Outcome::Flag(alive)));
                }
                TaskStep::Op(Op::Close { handle }) => {
                    self.descriptors.close(handle);
                    resume = Resume::Outcome(Ok(Outcome::Unit));
                }
                TaskStep::Op(op) => {
                    ops += 1;
                    if ops == OPS_MAX {
                        env.ledger.violation(format!("a task wants more than {OPS_MAX} file operations"));
                    }
                    let begun = env.disk.begin(&self.descriptors, &op);
                    let micros = env.op_micros(&op);
                    env.count_op(micros);
                    env.after(micros, Event::OpDone(self.life, job.0));
                    self.running.insert(job, Running { task, op, begun, ops });
                    return;
                }
                TaskStep::NeedInput => return self.ran(env, job, Ended::NeedsInput(task)),
                TaskStep::Wait(duration) => return self.ran(env, job, Ended::Waits(task, duration)),
                TaskStep::Done(done) => return self.ran(env, job, Ended::Done(done)),
            }
        }
    }

    fn ran(&mut self, env: &mut Env, job: JobId, ended: Ended) {
        self.office_input(env, OfficeInput::Ran { job, ended });
    }
}

/// An operation for the trace: its kind and its name.
fn op_name(op: &Op) -> (&'static str, String) {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    match op {
        Op::OpenRoot { path, .. } => ("OpenRoot", text(path)),
        Op::OpenDir { name, .. } => ("OpenDir", text(name)),
        Op::MakeDir { name, .. } => ("MakeDir", text(name)),
        Op::OpenFile { name, .. } => ("OpenFile", text(name)),
        Op::Create { name, .. } => ("Create", text(name)),
        Op::OpenAppend { name, .. } => ("OpenAppend", text(name)),
        Op::Read { offset, .. } => ("Read", format!("at {offset}")),
        Op::ReadFile { name, .. } => ("ReadFile", text(name)),
        Op::Write { bytes, .. } => ("Write", crate::trace::printable(bytes)),
        Op::Order { .. } => ("Order", String::new()),
        Op::Sync { .. } => ("Sync", String::new()),
        Op::SyncDir { dir } => ("SyncDir", format!("{}", dir.0)),
        Op::Close { .. } => ("Close", String::new()),
        Op::Rename { name, to_name, .. } => ("Rename", format!("{} to {}", text(name), text(to_name))),
        Op::Link { name, to_name, .. } => ("Link", format!("{} to {}", text(name), text(to_name))),
        Op::Unlink { name, .. } => ("Unlink", text(name)),
        Op::RemoveDir { name, .. } => ("RemoveDir", text(name)),
        Op::List { dir } => ("List", format!("{}", dir.0)),
        Op::Stat { name, .. } => ("Stat", text(name)),
        Op::StatHandle { .. } => ("StatHandle", String::new()),
        Op::Writable { dir } => ("Writable", format!("{}", dir.0)),
        Op::SetTime { name, .. } => ("SetTime", text(name)),
        Op::Overwrite { name, .. } => ("Overwrite", text(name)),
        Op::ProcessAlive { pid } => ("ProcessAlive", pid.to_string()),
        Op::Clock => ("Clock", String::new()),
    }
}
