//! File operations as values, and coroutines that ask for them one at a time.
//!
//! The core cannot open a file. A store operation (deliver, append, scan …) is an `async fn` that awaits single
//! file operations of a [`Disk`]; [`Task`] wraps it into a movable machine that a driver pumps:
//!
//! 1. [`Task::resume`] runs the coroutine up to its next question and returns a [`TaskStep`].
//! 2. [`TaskStep::Op`]: carry the [`Op`] out (a worker thread, the simulator's disk) and resume with its outcome.
//! 3. [`TaskStep::NeedInput`]: hand the task back to its owner, which pushes an input with [`Task::push_input`].
//! 4. [`TaskStep::Wait`]: nobody is parked on a lock; resume no earlier than said.
//! 5. [`TaskStep::Done`]: the result. A finished task must not be resumed.
//!
//! The driver may stop between any two steps: that is where the simulator cuts the power. A task is never
//! dropped in the middle by a well-behaved owner (it pushes [`TaskInput::Abort`] instead), for a task cleans up
//! after itself with file operations too.
//!
//! Operations name a directory handle and a name of bytes in it, never a path; the one exception is
//! [`Op::OpenRoot`], whose path comes from the configuration. Handles are small numbers that the driver gives
//! out; they say nothing about what a descriptor is.
//!
//! No executor and no waker is involved: the coroutine is polled only when its answer is there.
//!
//! ```
//! use postier_core::disk::{Disk, Errno, Handle, Op, Resume, Task, TaskStep};
//!
//! async fn exists(disk: Disk, dir: Handle) -> Result<bool, Errno> {
//!     match disk.stat(dir, b"cur").await {
//!         Ok(_) => Ok(true),
//!         Err(Errno::NotFound) => Ok(false),
//!         Err(error) => Err(error),
//!     }
//! }
//!
//! let mut task = Task::new(|disk| exists(disk, Handle(7)));
//! let TaskStep::Op(op) = task.resume(Resume::Start) else { panic!("expected an operation") };
//! assert_eq!(op, Op::Stat { dir: Handle(7), name: b"cur".to_vec() });
//! let step = task.resume(Resume::Outcome(Err(Errno::NotFound)));
//! assert!(matches!(step, TaskStep::Done(Ok(false))));
//! ```

mod op;

pub use self::op::{Errno, Handle, Kind, Name, Op, OpResult, Outcome, Stat};
use crate::maildir::fetch::Splice;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use spin::Mutex;

use crate::machine::Now;

/// What the owner of a task may push into it.
#[derive(Debug)]
pub enum TaskInput {
    /// The next octets of a message body.
    Chunk(Vec<u8>),
    /// The next octets are those of another message.
    Splice(Box<Splice>),
    /// The body is whole: make it durable and visible.
    Commit,
    /// Undo everything and end.
    Abort,
}

/// What the driver answers to the last [`TaskStep`].
#[derive(Debug)]
pub enum Resume {
    /// The first call; also after [`TaskStep::NeedInput`] and [`TaskStep::Wait`].
    Start,
    /// After [`TaskStep::Op`].
    Outcome(OpResult),
}

/// What a task wants next.
#[derive(Debug)]
pub enum TaskStep<T> {
    /// Carry this out and resume with the outcome.
    Op(Op),
    /// Push an input, then resume.
    NeedInput,
    /// Resume after this long.
    Wait(Duration),
    /// The result.
    Done(T),
}

enum Request {
    Op(Op),
    Input,
    Wait(Duration),
}

#[derive(Default)]
struct Port {
    request: Option<Request>,
    outcome: Option<OpResult>,
    inputs: VecDeque<TaskInput>,
}

/// A coroutine over file operations: movable, `Send`, pumped by a driver. See the module's manual.
pub struct Task<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    port: Arc<Mutex<Port>>,
}

impl<T> core::fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

impl<T> Task<T> {
    /// A task from a coroutine that takes its disk. Nothing runs before the first [`Task::resume`].
    pub fn new<F, Fut>(start: F) -> Self
    where
        F: FnOnce(Disk) -> Fut,
        Fut: Future<Output = T> + Send + 'static,
    {
        let port = Arc::new(Mutex::new(Port::default()));
        Task { future: Box::pin(start(Disk { port: port.clone() })), port }
    }

    /// Queues an input; the coroutine takes it with [`Disk::input`].
    pub fn push_input(&mut self, input: TaskInput) {
        self.port.lock().inputs.push_back(input);
    }

    /// Runs the coroutine up to its next question.
    ///
    /// # Panics
    /// When resumed after [`TaskStep::Done`]: a bug of the driver, not of a peer.
    pub fn resume(&mut self, resume: Resume) -> TaskStep<T> {
        match resume {
            Resume::Start => {}
            Resume::Outcome(outcome) => self.port.lock().outcome = Some(outcome),
        }
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(done) = self.future.as_mut().poll(&mut context) {
            return TaskStep::Done(done);
        }
        let request = self.port.lock().request.take();
        match request {
            Some(Request::Op(op)) => TaskStep::Op(op),
            Some(Request::Wait(duration)) => TaskStep::Wait(duration),
            // Pending without a question of its own: only an input can be missing.
            Some(Request::Input) | None => TaskStep::NeedInput,
        }
    }
}

/// The coroutine's side: one method per file operation. Cheap to clone; one question at a time.
#[derive(Clone)]
pub struct Disk {
    port: Arc<Mutex<Port>>,
}

impl core::fmt::Debug for Disk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

struct Exchange<'d> {
    port: &'d Mutex<Port>,
    op: Option<Op>,
}

impl Future for Exchange<'_> {
    type Output = OpResult;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<OpResult> {
        let op = self.op.take();
        let mut port = self.port.lock();
        if let Some(op) = op {
            port.request = Some(Request::Op(op));
            return Poll::Pending;
        }
        match port.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

struct NextInput<'d> {
    port: &'d Mutex<Port>,
}

impl Future for NextInput<'_> {
    type Output = TaskInput;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TaskInput> {
        let mut port = self.port.lock();
        match port.inputs.pop_front() {
            Some(input) => Poll::Ready(input),
            None => {
                port.request = Some(Request::Input);
                Poll::Pending
            }
        }
    }
}

struct Pause<'d> {
    port: &'d Mutex<Port>,
    duration: Option<Duration>,
}

impl Future for Pause<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.duration.take() {
            Some(duration) => {
                self.port.lock().request = Some(Request::Wait(duration));
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

/// Names the outcome that an operation has by its definition; another one is a driver's bug, reported as an
/// error of this operation rather than as a panic of the server.
macro_rules! expect_outcome {
    ($outcome:expr, $pattern:pat => $value:expr) => {
        match $outcome? {
            $pattern => Ok($value),
            _ => Err(Errno::Other(0)),
        }
    };
}

impl Disk {
    /// Carries one operation out.
    pub async fn run(&self, op: Op) -> OpResult {
        Exchange { port: &self.port, op: Some(op) }.await
    }

    async fn unit(&self, op: Op) -> Result<(), Errno> {
        self.run(op).await.map(|_| ())
    }

    /// The next input its owner pushes.
    pub async fn input(&self) -> TaskInput {
        NextInput { port: &self.port }.await
    }

    /// Waits without holding a worker.
    pub async fn wait(&self, duration: Duration) {
        Pause { port: &self.port, duration: Some(duration) }.await;
    }

    /// [`Op::OpenRoot`]
    pub async fn open_root(&self, path: &[u8], create: bool) -> Result<Handle, Errno> {
        expect_outcome!(self.run(Op::OpenRoot { path: path.into(), create }).await, Outcome::Opened(h) => h)
    }

    /// [`Op::OpenDir`]
    pub async fn open_dir(&self, dir: Handle, name: &[u8]) -> Result<Handle, Errno> {
        expect_outcome!(self.run(Op::OpenDir { dir, name: name.into() }).await, Outcome::Opened(h) => h)
    }

    /// [`Op::MakeDir`]
    pub async fn make_dir(&self, dir: Handle, name: &[u8]) -> Result<(), Errno> {
        self.unit(Op::MakeDir { dir, name: name.into() }).await
    }

    /// [`Op::OpenFile`]
    pub async fn open_file(&self, dir: Handle, name: &[u8]) -> Result<(Handle, Stat), Errno> {
        let outcome = self.run(Op::OpenFile { dir, name: name.into() }).await;
        expect_outcome!(outcome, Outcome::OpenedFile(h, s) => (h, s))
    }

    /// [`Op::Create`]
    pub async fn create(&self, dir: Handle, name: &[u8]) -> Result<Handle, Errno> {
        expect_outcome!(self.run(Op::Create { dir, name: name.into() }).await, Outcome::Opened(h) => h)
    }

    /// [`Op::OpenAppend`]
    pub async fn open_append(&self, dir: Handle, name: &[u8]) -> Result<(Handle, Stat), Errno> {
        let outcome = self.run(Op::OpenAppend { dir, name: name.into() }).await;
        expect_outcome!(outcome, Outcome::OpenedFile(h, s) => (h, s))
    }

    /// [`Op::Read`]
    pub async fn read(&self, file: Handle, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        expect_outcome!(self.run(Op::Read { file, offset, len }).await, Outcome::Bytes(b) => b)
    }

    /// [`Op::ReadFile`]
    pub async fn read_file(&self, dir: Handle, name: &[u8], max: usize) -> Result<(Vec<u8>, Stat), Errno> {
        let outcome = self.run(Op::ReadFile { dir, name: name.into(), max }).await;
        expect_outcome!(outcome, Outcome::File(b, s) => (b, s))
    }

    /// [`Op::Write`]
    pub async fn write(&self, file: Handle, bytes: Vec<u8>) -> Result<(), Errno> {
        self.unit(Op::Write { file, bytes }).await
    }

    /// [`Op::Order`]
    async fn order(&self, file: Handle) -> Result<bool, Errno> {
        expect_outcome!(self.run(Op::Order { file }).await, Outcome::Flag(ordered) => ordered)
    }

    /// For a file that gets its name next, in a directory that is synced after that: it is whole wherever that name is
    /// found, and durable when the name is. By [`Op::Order`] the disk then writes what happened to the file and to the
    /// directory in one go instead of two; where there is no such order, by [`Op::Sync`].
    pub async fn sync_with_name(&self, file: Handle) -> Result<(), Errno> {
        if self.order(file).await? { Ok(()) } else { self.sync(file).await }
    }

    /// [`Op::Sync`]
    pub async fn sync(&self, file: Handle) -> Result<(), Errno> {
        self.unit(Op::Sync { file }).await
    }

    /// [`Op::SyncDir`]
    pub async fn sync_dir(&self, dir: Handle) -> Result<(), Errno> {
        self.unit(Op::SyncDir { dir }).await
    }

    /// [`Op::Close`]
    pub async fn close(&self, handle: Handle) {
        let _ = self.run(Op::Close { handle }).await;
    }

    /// [`Op::Rename`] that keeps an existing target.
    pub async fn rename(
        &self,
        dir: Handle,
        name: &[u8],
        to_dir: Handle,
        to_name: &[u8],
    ) -> Result<(), Errno> {
        self.unit(Op::Rename { dir, name: name.into(), to_dir, to_name: to_name.into(), replace: false })
            .await
    }

    /// [`Op::Rename`] over an existing target.
    pub async fn replace(&self, dir: Handle, name: &[u8], to_name: &[u8]) -> Result<(), Errno> {
        let to_name = to_name.into();
        self.unit(Op::Rename { dir, name: name.into(), to_dir: dir, to_name, replace: true }).await
    }

    /// [`Op::Link`]
    pub async fn link(&self, dir: Handle, name: &[u8], to_dir: Handle, to_name: &[u8]) -> Result<(), Errno> {
        self.unit(Op::Link { dir, name: name.into(), to_dir, to_name: to_name.into() }).await
    }

    /// [`Op::Unlink`]
    pub async fn unlink(&self, dir: Handle, name: &[u8]) -> Result<(), Errno> {
        self.unit(Op::Unlink { dir, name: name.into() }).await
    }

    /// [`Op::RemoveDir`]
    pub async fn remove_dir(&self, dir: Handle, name: &[u8]) -> Result<(), Errno> {
        self.unit(Op::RemoveDir { dir, name: name.into() }).await
    }

    /// [`Op::List`]
    pub async fn list(&self, dir: Handle) -> Result<Vec<Name>, Errno> {
        expect_outcome!(self.run(Op::List { dir }).await, Outcome::Names(n) => n)
    }

    /// [`Op::Stat`]
    pub async fn stat(&self, dir: Handle, name: &[u8]) -> Result<Stat, Errno> {
        expect_outcome!(self.run(Op::Stat { dir, name: name.into() }).await, Outcome::Stat(s) => s)
    }

    /// [`Op::StatHandle`]
    pub async fn stat_handle(&self, handle: Handle) -> Result<Stat, Errno> {
        expect_outcome!(self.run(Op::StatHandle { handle }).await, Outcome::Stat(s) => s)
    }

    /// [`Op::Writable`]; a host that cannot tell says yes.
    pub async fn is_writable(&self, dir: Handle) -> bool {
        !matches!(self.unit(Op::Writable { dir }).await, Err(Errno::Access | Errno::ReadOnly))
    }

    /// [`Op::SetTime`]
    pub async fn set_time(&self, dir: Handle, name: &[u8], mtime_ns: i64) -> Result<(), Errno> {
        self.unit(Op::SetTime { dir, name: name.into(), mtime_ns }).await
    }

    /// [`Op::Overwrite`]
    pub async fn overwrite(&self, dir: Handle, name: &[u8], bytes: &[u8]) -> Result<(), Errno> {
        self.unit(Op::Overwrite { dir, name: name.into(), bytes: bytes.into() }).await
    }

    /// [`Op::ProcessAlive`]; a host that cannot tell says yes.
    pub async fn process_alive(&self, pid: u32) -> bool {
        !matches!(self.run(Op::ProcessAlive { pid }).await, Ok(Outcome::Flag(false)))
    }

    /// [`Op::Clock`]
    pub async fn now(&self) -> Now {
        match self.run(Op::Clock).await {
            Ok(Outcome::Now(now)) => now,
            _ => Now::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    async fn gather(disk: Disk) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match disk.input().await {
                TaskInput::Chunk(bytes) => all.extend(bytes),
                TaskInput::Commit => return all,
                TaskInput::Abort | TaskInput::Splice(_) => return Vec::new(),
            }
        }
    }

    #[test]
    fn inputs_pushed_before_and_after_are_taken_in_order() {
        let mut task = Task::new(gather);
        task.push_input(TaskInput::Chunk(vec![1]));
        task.push_input(TaskInput::Chunk(vec![2]));
        assert!(matches!(task.resume(Resume::Start), TaskStep::NeedInput));
        task.push_input(TaskInput::Chunk(vec![3]));
        task.push_input(TaskInput::Commit);
        let TaskStep::Done(all) = task.resume(Resume::Start) else { panic!("not done") };
        assert_eq!(all, [1, 2, 3]);
    }

    #[test]
    fn a_wrong_outcome_is_an_error_and_a_wait_is_passed_on() {
        let mut task = Task::new(|disk: Disk| async move {
            disk.wait(Duration::from_secs(3)).await;
            disk.open_root(b"/m", false).await
        });
        assert!(matches!(task.resume(Resume::Start), TaskStep::Wait(d) if d.as_secs() == 3));
        assert!(matches!(task.resume(Resume::Start), TaskStep::Op(Op::OpenRoot { .. })));
        let step = task.resume(Resume::Outcome(Ok(Outcome::Unit)));
        assert!(matches!(step, TaskStep::Done(Err(Errno::Other(0)))));
    }

    #[test]
    fn a_task_can_move_to_another_thread() {
        fn movable<T: Send>(_: T) {}
        movable(Task::new(gather));
    }
}
