//! What everything in a world shares: time, chance, the disk, the network, the ledger, what is to come.

use std::collections::BTreeMap;

use postier_core::disk::{Errno, Op};
use postier_core::machine::{Instant, Now, WallTime};

use std::net::IpAddr;

use crate::disk::Disk;
use crate::internet::Internet;
use crate::ledger::Ledger;
use crate::network::{Link, LinkId, Packet};
use crate::plant::{Plant, Planted};
use crate::rng::Rng;
use crate::scenario::{Fault, FaultItem, Hit, Setting};
use crate::trace::Trace;

/// The wall clock at the start of a world, seconds since 1970.
pub const START_SECS: i64 = 1_700_000_000;

/// What a fault's `errno` means.
const ERRNOS: [Errno; 6] =
    [Errno::NoSpace, Errno::Quota, Errno::Io, Errno::TooManyFiles, Errno::Access, Errno::Stale];

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet arrives at the server.
    ToServer(LinkId),
    /// A packet arrives at the client.
    ToClient(LinkId),
    /// A client that was stalled reads again.
    Unstalled(LinkId),
    /// A file operation of this life of the server finishes.
    OpDone(u32, u64),
    /// The server wanted to be woken.
    Timer(u32),
    /// Messages of the office come to a front.
    FrontMail(u32, usize),
    /// A password is checked.
    Password(u32, u64, bool),
    /// A watched directory changed.
    Notify(u32, u64),
    /// An actor wanted to be woken.
    Actor(usize, u64),
    /// A reply of the resolver arrives: its number in [`Env::replies`].
    Resolved(u32, u64),
    /// A server elsewhere takes a connection.
    Called(LinkId),
    /// A fault, by its place in the scenario.
    Fault(usize),
    /// The server starts.
    Boot,
}

/// File operations that fail.
#[derive(Clone, Copy, Debug)]
struct Failing {
    left: u64,
    hit: Hit,
    errno: Errno,
}

/// See the module's manual.
#[derive(Debug)]
pub struct Env {
    /// Microseconds since the start.
    pub now: u64,
    /// The wall clock differs from the start's by so much more, in seconds.
    pub clock_step_s: i64,
    /// Chances of the world itself; each actor has its own.
    pub rng: Rng,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    /// The disk.
    pub disk: Disk,
    /// The network.
    pub links: BTreeMap<LinkId, Link>,
    last_link: u64,
    /// What was promised.
    pub ledger: Ledger,
    /// What happened.
    pub trace: Trace,
    /// How the world is set.
    pub setting: Setting,
    /// File operations so far.
    pub ops: u64,
    /// Faults that wait for a file operation.
    pub op_faults: Vec<(usize, FaultItem)>,
    failing: Vec<Failing>,
    /// Operations take at least this long, until then, in microseconds.
    pub slow: (u64, u64),
    /// A fault that a test has planted.
    pub planted: Planted,
    /// Processes of others that live.
    pub alive: Vec<u32>,
    /// Nothing may fail.
    pub calm: bool,
    /// Lives of the server so far.
    pub life: u32,
    /// The rest of the world, where the server sends mail.
    pub internet: Option<Internet>,
    /// When greylisted addresses were first tried, in microseconds.
    pub greylist: BTreeMap<String, u64>,
    /// Connections that the server wants, and where to.
    pub calls: Vec<(LinkId, IpAddr)>,
    /// What the resolver says, on its way: to which exchange, and what.
    pub replies: BTreeMap<u64, (u64, Option<Vec<u8>>)>,
    /// Numbers them.
    pub last_reply: u64,
    /// The server listens.
    pub listens: bool,
    /// When the machine was switched on, wall clock.
    pub booted: WallTime,
}

impl Env {
    /// At the start of a world.
    pub fn new(seed: u64, setting: Setting, trace: Trace, plant: Option<Plant>) -> Self {
        let booted = WallTime { secs: START_SECS - 86_400, micros: 0 };
        let mut env = Env {
            now: 0,
            clock_step_s: 0,
            rng: Rng::fork(seed, 1),
            queue: BTreeMap::new(),
            queued: 0,
            disk: Disk::new(setting.keeps_order),
            links: BTreeMap::new(),
            last_link: 0,
            ledger: Ledger::default(),
            trace,
            setting,
            ops: 0,
            op_faults: Vec::new(),
            failing: Vec::new(),
            slow: (0, 0),
            planted: Planted::new(plant),
            alive: Vec::new(),
            calm: false,
            life: 0,
            internet: None,
            greylist: BTreeMap::new(),
            calls: Vec::new(),
            replies: BTreeMap::new(),
            last_reply: 0,
            listens: false,
            booted,
        };
        env.tell_disk();
        env
    }

    /// The time as the core takes it.
    pub fn now(&self) -> Now {
        let secs = START_SECS + (self.now / 1_000_000) as i64 + self.clock_step_s;
        let wall = WallTime { secs, micros: (self.now % 1_000_000) as u32 };
        Now { instant: Instant::from_micros(self.now), wall }
    }

    /// Later by so many microseconds, something happens.
    pub fn after(&mut self, micros: u64, event: Event) {
        self.at(self.now + micros, event);
    }

    /// At this microsecond something happens.
    pub fn at(&mut self, at: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), event);
    }

    /// Goes on to the next event, if it is not later than `until`.
    pub fn next(&mut self, until: u64) -> Option<Event> {
        let entry = self.queue.first_entry()?;
        if entry.key().0 > until {
            return None;
        }
        let ((at, _), event) = entry.remove_entry();
        self.now = at;
        self.tell_disk();
        Some(event)
    }

    /// The disk has a clock, too.
    pub fn tell_disk(&mut self) {
        let wall = self.now().wall;
        self.disk.set_time(wall.secs * 1_000_000_000 + i64::from(wall.micros) * 1000);
    }

    /// A new connection of an actor.
    pub fn open_link(&mut self, actor: usize) -> LinkId {
        self.last_link += 1;
        let id = LinkId(self.last_link);
        self.links.insert(id, Link { actor, ..Link::default() });
        id
    }

    fn latency(&mut self) -> u64 {
        1 + self.rng.below(self.setting.latency_micros)
    }

    /// Sends to the server.
    pub fn send_up(&mut self, id: LinkId, packet: Packet) {
        let latency = self.latency();
        let now = self.now;
        if let Some(link) = self.links.get_mut(&id)
            && !link.up.closed
        {
            let at = link.up.send(packet, now, latency);
            self.at(at, Event::ToServer(id));
        }
    }

    /// Sends to the client.
    pub fn send_down(&mut self, id: LinkId, packet: Packet) {
        let latency = self.latency();
        let now = self.now;
        if let Some(link) = self.links.get_mut(&id)
            && !link.down.closed
        {
            let at = link.down.send(packet, now, latency);
            self.at(at, Event::ToClient(id));
        }
    }

    /// How long this file operation takes, in microseconds.
    pub fn op_micros(&mut self, op: &Op) -> u64 {
        let most = match op {
            Op::Sync { .. } | Op::SyncDir { .. } | Op::Overwrite { .. } | Op::Order { .. } => {
                self.setting.sync_micros
            }
            _ => self.setting.op_micros,
        };
        let slow = if self.now < self.slow.1 { self.slow.0 } else { 0 };
        1 + slow + self.rng.below(most)
    }

    /// A file operation begins: the faults that have waited for it come.
    pub fn count_op(&mut self, micros: u64) {
        self.ops += 1;
        for (place, item) in std::mem::take(&mut self.op_faults) {
            let at_op = match item.fault {
                Fault::PowerCut { at_op, .. } | Fault::Kill { at_op, .. } | Fault::Errors { at_op, .. } => {
                    at_op
                }
                _ => 0,
            };
            if at_op > self.ops {
                self.op_faults.push((place, item));
            } else {
                // Before, at or after its end.
                let wait = self.rng.below(2 * micros);
                self.after(wait, Event::Fault(place));
            }
        }
    }

    /// Operations fail from now on.
    pub fn start_failing(&mut self, count: u64, hit: Hit, errno: usize) {
        self.failing.push(Failing { left: count, hit, errno: ERRNOS[errno % ERRNOS.len()] });
    }

    /// What went wrong is over.
    pub fn stop_faults(&mut self) {
        self.failing.clear();
        self.op_faults.clear();
        self.slow = (0, 0);
    }

    /// How this operation fails, if it does.
    pub fn failure(&mut self, op: &Op) -> Option<Errno> {
        let sync = matches!(op, Op::Sync { .. } | Op::SyncDir { .. } | Op::Order { .. });
        let open = matches!(
            op,
            Op::OpenRoot { .. } | Op::OpenDir { .. } | Op::OpenFile { .. } | Op::OpenAppend { .. }
        );
        let room = matches!(op, Op::Create { .. } | Op::Write { .. } | Op::MakeDir { .. } | Op::Link { .. });
        let failing = self.failing.iter_mut().find(|failing| {
            failing.left > 0
                && match failing.hit {
                    Hit::Room => room,
                    Hit::Sync => sync,
                    Hit::Open => open || matches!(op, Op::ReadFile { .. } | Op::Create { .. }),
                    Hit::Any => true,
                }
        })?;
        failing.left -= 1;
        Some(match failing.hit {
            Hit::Sync => Errno::Io,
            Hit::Room | Hit::Open | Hit::Any => failing.errno,
        })
    }
}
