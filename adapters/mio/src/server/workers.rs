//! Threads for what blocks: file operations, and password checks.
//!
//! A pool has a fixed number of threads and one queue. There are more threads for files than cores, because they
//! sleep in fsync; there are as many for passwords as cores, because they calculate. What is queued is bounded
//! by the connections that wait for it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

thread_local! {
    /// Of a pool's thread: the pool, by its address, until it has handed a job in itself since its last.
    static COMES_BACK_TO: Cell<usize> = const { Cell::new(0) };
}

/// Jobs for the threads of a pool.
pub(super) struct Pool<J> {
    shared: Arc<Shared<J>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared<J> {
    queue: Mutex<Queue<J>>,
    more: Condvar,
}

struct Queue<J> {
    jobs: VecDeque<J>,
    idle: usize,
    closed: bool,
}

impl<J: Send + 'static> Pool<J> {
    /// Starts `count` threads called `name`; each makes its own worker, which gets one job after the other.
    pub(super) fn start<W: FnMut(J)>(
        name: &str,
        count: usize,
        worker: impl Fn() -> W + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let queue = Mutex::new(Queue { jobs: VecDeque::new(), idle: 0, closed: false });
        let shared = Arc::new(Shared { queue, more: Condvar::new() });
        let worker = Arc::new(worker);
        let mut threads = Vec::new();
        for _ in 0..count {
            let (shared, worker) = (shared.clone(), worker.clone());
            let body = move || {
                let mut work = worker();
                while let Some(job) = shared.next() {
                    COMES_BACK_TO.set(shared.address());
                    work(job);
                }
            };
            threads.push(thread::Builder::new().name(name.into()).spawn(super::or_abort(body))?);
        }
        Ok(Pool { shared, threads: Mutex::new(threads) })
    }

    /// Queues a job. One that a thread of the pool hands in as the last thing in its own job it takes up itself, for it is
    /// awake; more of them wake others.
    pub(super) fn push(&self, job: J) {
        let mut queue = self.shared.lock();
        queue.jobs.push_back(job);
        let comes_back = COMES_BACK_TO.take() == self.shared.address();
        let wake = queue.idle > 0 && !comes_back;
        drop(queue);
        if wake {
            self.shared.more.notify_one();
        }
    }

    /// Ends the threads when the queue is empty, and waits for them.
    pub(super) fn finish(&self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

impl<J> Shared<J> {
    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    fn lock(&self) -> MutexGuard<'_, Queue<J>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<J> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn every_job_is_done_once_and_the_threads_end() {
        let (sender, receiver) = mpsc::channel();
        let pool = Pool::start("test", 4, move || {
            let sender = sender.clone();
            move |job: u32| sender.send(job).unwrap()
        })
        .unwrap();
        for job in 0..1000 {
            pool.push(job);
        }
        pool.finish();
        let mut done: Vec<u32> = receiver.iter().collect();
        done.sort_unstable();
        assert_eq!(done, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_thread_hands_in_itself_is_done_whether_it_is_one_job_or_more() {
        let (sender, receiver) = mpsc::channel();
        let pool: Arc<std::sync::OnceLock<Pool<u32>>> = Arc::default();
        let inside = pool.clone();
        let started = Pool::start("test", 3, move || {
            let (sender, inside) = (sender.clone(), inside.clone());
            move |job: u32| {
                for _ in 0..job {
                    inside.get().unwrap().push(job - 1);
                }
                sender.send(job).unwrap();
            }
        });
        pool.set(started.unwrap()).ok().unwrap();
        pool.get().unwrap().push(5);
        // 5, five times 4, twenty times 3 …: the last ones hand in nothing.
        let jobs = 1 + 5 + 5 * 4 + 5 * 4 * 3 + 5 * 4 * 3 * 2 + 5 * 4 * 3 * 2;
        assert_eq!(receiver.iter().take(jobs).filter(|job| *job == 0).count(), 120);
    }
}
