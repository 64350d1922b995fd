//! What goes out when, and over how many connections.
//!
//! A message lies in the spool; here are its number and the time of its next try. When that comes its envelope is
//! loaded and the recipients that are due become jobs, one for each destination: a domain, or a server that takes the mail
//! of many domains. A destination has its own line of jobs,
//! its own connections and its own pause after trouble, so a slow or dead one delays no other.
//!
//! ```text
//! asleep ─due─▶ loading ─▶ at work (jobs in line, jobs in connections) ─ all jobs done ─▶ asleep, or gone
//! ```
//!
//! What an earlier process has left is only named at the start ([`QueueInput::Found`]); when it is due, its envelope says, and
//! that is loaded like any other. The envelopes in memory are few ([`Config::active_max`]), so a destination that takes
//! its mail slowly may fill only a part of the room: what comes for it beyond that sleeps, and takes the place of what has
//! left its line. New mail, what was found, and what is due take turns, so none of them waits for all of another.
//!
//! A connection takes job after job for its destination. What became of a job's recipients is noted in the envelope,
//! durably, before the connection goes on ([`QueueAction::Note`], then [`QueueInput::Noted`]); where nothing is left to do
//! for a message, that it is gone says the same, and costs one sync instead of three ([`QueueAction::Remove`]). Senders are told of
//! failures and long delays by [`QueueAction::Tell`]; the envelope says so only after the notice itself is durable, so a
//! crash between the two tells twice rather than never.
//!
//! Times here are seconds since 1970: a retry is a promise for hours and days, which must survive a restart.

//!
//! | file | what |
//! |---|---|
//! | `waking` | messages that sleep, wake, are noted, and go |
//! | `jobs` | destinations and connections |
//! | `decide` | what an outcome means for a recipient |

mod decide;
mod jobs;
mod waking;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::envelope::Envelope;
use super::law::Law;
use super::notice::Action as Told;
use super::spool::QueueId;
use crate::event::Fate;
use crate::smtp::client::Outcome;

/// Envelopes that are read at the same time.
const LOADS_MAX: usize = 64;
/// Destinations that are known before it is looked for some to forget.
const SWEEP_LEAST: usize = 1024;

/// Bounds and pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// When to try again.
    pub law: Law,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections to one destination.
    pub connections_per_destination_max: usize,
    /// Messages whose envelopes are in memory.
    pub active_max: usize,
    /// Messages in all; above this none is accepted.
    pub messages_max: usize,
    /// Jobs after which a connection ends, so that its server may balance its load.
    pub jobs_per_connection_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            law: Law::default(),
            connections_max: 100,
            connections_per_destination_max: 5,
            active_max: 2000,
            messages_max: 500_000,
            jobs_per_connection_max: 100,
        }
    }
}

/// Numbers a connection of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// Why there was no session with any host of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// For good: the domain does not exist, say.
    pub permanent: bool,
    /// As a reply: code, enhanced code, words.
    pub why: String,
    /// Which host said so, if one did.
    pub host: Option<String>,
}

/// Why there is no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is gone, or damaged for good: the message is forgotten.
    Gone,
    /// The disk cannot read it now.
    Now,
}

/// What goes in.
#[derive(Debug)]
pub enum QueueInput {
    /// These are in the spool since before this process.
    Found(Vec<QueueId>),
    /// A message has come into the spool, to be tried at once.
    Queued(QueueId),
    /// To [`QueueAction::Load`].
    Loaded {
        /// Which.
        id: QueueId,
        /// What is known of it.
        envelope: Result<Box<Envelope>, Unreadable>,
        /// The destination of each recipient; recipients of one travel together.
        destinations: Vec<Arc<str>>,
    },
    /// To [`QueueAction::Note`]: it is durable, or it could not be made so.
    Noted {
        /// Which.
        id: QueueId,
        /// It is durable.
        durable: bool,
    },
    /// To [`QueueAction::Remove`]: it is gone for good, or it could not be removed.
    Removed {
        /// Which.
        id: QueueId,
        /// It is gone, durably.
        durable: bool,
    },
    /// To [`QueueAction::Tell`]: the notice is durable, or it could not be made so.
    Told {
        /// About which message.
        id: QueueId,
        /// It is durable.
        durable: bool,
    },
    /// A connection is ready for a job.
    Ready {
        /// Which.
        link: LinkId,
        /// Recipients it takes at once.
        recipients_max: usize,
    },
    /// What became of the recipients of the job of this connection.
    Outcomes {
        /// Which.
        link: LinkId,
        /// The host at the other end.
        host: String,
        /// In the order of the job's recipients.
        outcomes: Vec<Outcome>,
    },
    /// A connection is over. `why` if it ended before its job, or without ever having had one.
    Ended {
        /// Which.
        link: LinkId,
        /// What went wrong.
        why: Option<Unreachable>,
    },
    /// The instant of [`Queue::poll_timeout`] has come.
    Timeout,
    /// Try what is asleep now; all of it, or one message.
    Flush(Option<QueueId>),
    /// Hold a message, or let it go.
    Hold {
        /// Which.
        id: QueueId,
        /// Hold, or release.
        held: bool,
    },
    /// Forget a message without telling its sender.
    Remove(QueueId),
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum QueueAction {
    /// Read the envelope of this message.
    Load(QueueId),
    /// Replace the envelope of this message.
    Note(QueueId, Box<Envelope>),
    /// Remove this message: every recipient is decided and told.
    Remove(QueueId),
    /// Connect to this destination.
    Connect {
        /// To name it by.
        link: LinkId,
        /// As [`QueueInput::Loaded`] had it.
        destination: Arc<str>,
    },
    /// The next job of a connection; `None`: say QUIT.
    Job {
        /// Which connection.
        link: LinkId,
        /// What to send.
        job: Option<Job>,
    },
    /// The outcome of its job is noted: the connection may go on.
    GoOn(LinkId),
    /// For the log: what has become of a recipient without a reply to it that was handed in as an outcome.
    Report {
        /// Of this message.
        id: QueueId,
        /// The recipient.
        to: String,
        /// The host that was tried, or else the destination.
        host: String,
        /// It is put off, or given up.
        fate: Fate,
        /// Why, as the envelope has it.
        why: String,
    },
    /// Tell the sender.
    Tell {
        /// About this message.
        id: QueueId,
        /// Its envelope as it is now.
        envelope: Box<Envelope>,
        /// What happened,
        action: Told,
        /// to these recipients.
        recipients: Vec<usize>,
        /// Which host said so.
        host: Option<String>,
    },
}

/// A message for some of its recipients, all at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Which message.
    pub id: QueueId,
    /// Its envelope as it is now.
    pub envelope: Arc<Envelope>,
    /// Places in [`Envelope::recipients`].
    pub recipients: Vec<usize>,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    config: Config,
    messages: BTreeMap<QueueId, Message>,
    /// When messages that are asleep wake up.
    due: BTreeSet<(i64, QueueId)>,
    /// When something is done once more that the disk has refused for a message at work.
    refused: BTreeSet<(i64, QueueId)>,
    /// Woken one by one, the new ones among them; they wait for room.
    woken: VecDeque<QueueId>,
    /// Woken all together: found at the start, or flushed.
    roused: VecDeque<QueueId>,
    /// Whose turn it is of those two and what is due.
    turn: u8,
    /// Envelopes in memory, or on their way there,
    active: usize,
    /// and of these, on their way.
    loading: usize,
    destinations: BTreeMap<Arc<str>, Destination>,
    /// With so many, those that are of no more use are looked for.
    sweep_at: usize,
    /// Destinations with jobs in line that could have another connection, in the order in which they came to be so.
    hungry: VecDeque<Arc<str>>,
    links: BTreeMap<LinkId, Link>,
    last_link: u64,
    /// Spreads the retries.
    seed: u64,
}

#[derive(Debug)]
enum Message {
    Asleep(Option<i64>),
    /// It waits for room in memory.
    Woken(Purpose),
    Loading(Purpose),
    Active(Box<Active>),
}

/// Why a message is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// What is due.
    Try,
    /// Everything that waits.
    TryAll,
    Hold(bool),
    Remove,
}

/// A message at work.
#[derive(Debug)]
struct Active {
    envelope: Envelope,
    /// Recipients that wait longer than the envelope says, and until when.
    put_off: BTreeMap<usize, i64>,
    /// Jobs in line or in a connection.
    jobs: usize,
    /// What the sender is to be told; the first is being told.
    tells: VecDeque<Tell>,
    telling: bool,
    /// A new envelope is on its way to the disk.
    noting: bool,
    /// Instead of that, it is being removed, or was to be.
    removing: bool,
    /// It has changed since.
    dirty: bool,
    /// Connections that go on when the note under way is durable,
    noted_for: Vec<LinkId>,
    /// and those that need the one after it.
    waiting: Vec<LinkId>,
    remove: bool,
}

impl Active {
    /// When something is to be tried next; nothing while it is held.
    fn next(&self) -> Option<i64> {
        let recipients = self.envelope.recipients.iter().enumerate();
        recipients
            .filter_map(|(n, recipient)| recipient.next().map(|next| *self.put_off.get(&n).unwrap_or(&next)))
            .min()
            .filter(|_| !self.envelope.held)
    }
}

#[derive(Clone, Debug)]
struct Tell {
    action: Told,
    recipients: Vec<usize>,
    host: Option<String>,
}

#[derive(Debug, Default)]
struct Destination {
    line: VecDeque<Planned>,
    /// Messages that found the line too long. They sleep, but may come before their time.
    parked: VecDeque<(QueueId, Purpose)>,
    links: usize,
    /// Of these, connections that have had a job: there is a server, and it talks to us.
    working: usize,
    /// It has refused another connection beside those: no more than this until they are gone.
    ceiling: Option<usize>,
    /// Nothing is tried before this time.
    pause_until: i64,
    /// Failures to reach it in a row.
    failures: u32,
    /// What went wrong last.
    trouble: String,
    /// It is in the list of those that want a connection.
    hungry: bool,
}

/// A job in line.
#[derive(Clone, Debug)]
struct Planned {
    id: QueueId,
    recipients: Vec<usize>,
}

#[derive(Debug)]
struct Link {
    destination: Arc<str>,
    job: Option<Planned>,
    jobs: u32,
}

impl Queue {
    /// An empty queue. `seed` spreads the retries.
    pub fn new(config: Config, seed: u64) -> Self {
        Queue {
            config,
            messages: BTreeMap::new(),
            due: BTreeSet::new(),
            refused: BTreeSet::new(),
            woken: VecDeque::new(),
            roused: VecDeque::new(),
            turn: 0,
            active: 0,
            loading: 0,
            destinations: BTreeMap::new(),
            sweep_at: SWEEP_LEAST,
            hungry: VecDeque::new(),
            links: BTreeMap::new(),
            last_link: 0,
            seed,
        }
    }

    /// One input; what follows from it is appended to `out`. `now` in seconds since 1970.
    pub fn handle(&mut self, now: i64, input: QueueInput, out: &mut Vec<QueueAction>) {
        match input {
            QueueInput::Found(ids) => self.found(ids),
            QueueInput::Queued(id) => self.come(id),
            QueueInput::Loaded { id, envelope, destinations } => {
                self.loaded(now, id, envelope, &destinations, out);
            }
            QueueInput::Noted { id, durable } => self.noted(now, &id, durable, out),
            QueueInput::Removed { id, durable } => self.removed(now, id, durable, out),
            QueueInput::Told { id, durable } => self.told(now, &id, durable, out),
            QueueInput::Ready { link, recipients_max } => self.give_job(link, recipients_max, out),
            QueueInput::Outcomes { link, host, outcomes } => self.outcomes(now, link, &host, outcomes, out),
            QueueInput::Ended { link, why } => self.ended(now, link, why, out),
            QueueInput::Timeout => {}
            QueueInput::Flush(Some(id)) => self.rouse_one(id, Purpose::TryAll),
            QueueInput::Flush(None) => {
                let held = |message: &Message| matches!(message, Message::Asleep(None));
                let ids: Vec<QueueId> =
                    self.messages.iter().filter(|(_, m)| !held(m)).map(|(id, _)| id.clone()).collect();
                for id in ids {
                    if self.rouse(&id, Purpose::TryAll) {
                        self.roused.push_back(id);
                    }
                }
            }
            QueueInput::Hold { id, held } => self.hold(now, id, held, out),
            QueueInput::Remove(id) => self.remove(now, id, out),
        }
        self.wake(now, out);
        self.connect(out);
    }

    /// When to hand in [`QueueInput::Timeout`], in seconds since 1970.
    pub fn poll_timeout(&self) -> Option<i64> {
        // Without room nothing wakes up; what makes room is an input.
        let due = self.due.first().filter(|_| self.has_room());
        due.into_iter().chain(self.refused.first()).map(|(next, _)| *next).min()
    }

    /// Messages in the queue.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}
