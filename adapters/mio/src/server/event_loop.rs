//! An event loop: one poll, its listeners, its connections, its front.
//!
//! Each round takes in what the poll reports, gives a turn to each connection that has something to do, lets timers
//! run out, and sleeps until the next event. Connections that used up their turn stand in the queue with the others;
//! the poll then does not sleep.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use postier_core::event::Event;
use postier_core::limits::Limits;
use postier_core::machine::{Instant, Now};
use postier_core::server::front::{Front, FrontAction};
use postier_core::server::gate::Gate;
use postier_core::server::office::OfficeInput;
use postier_core::server::{Call, ConnId, FrontIndex, LinkNews, Service, ToOffice};
use postier_core::site::Site;
use postier_host::clock;

use super::TlsConfigs;
use super::budget::Budget;
use super::connection::{Connection, Desk, Turn};
use super::listen::{Accepted, Listener};
use super::log::EventLog;
use super::mailroom::{LoopReceiver, LoopSender, ToLoop, loop_channel};
use super::office::OfficeDesk;
use super::wire::Buffers;

const BELL: Token = Token(usize::MAX);
/// Tokens below this are listeners; above, connections.
const FIRST_CONNECTION: usize = 1 << 16;
/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Connections accepted in one round by one listener.
const ACCEPT_MAX: usize = 64;
/// Without descriptors, accepting pauses this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

type Connections = BTreeMap<ConnId, Box<Connection>>;

/// What all event loops share.
pub(super) struct Shared {
    pub(super) gate: Mutex<Gate>,
    pub(super) log: Arc<EventLog>,
    next_connection: AtomicU64,
    loops: usize,
}

impl Shared {
    pub(super) fn new(gate: Gate, log: Arc<EventLog>, loops: usize) -> Self {
        Shared { gate: Mutex::new(gate), log, next_connection: AtomicU64::new(1), loops }
    }

    /// The loop's part of what all connections may hold.
    fn buffers_bytes_max(&self, limits: &Limits) -> usize {
        limits.buffers_bytes_max / self.loops.max(1)
    }

    pub(super) fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's manual.
pub(super) struct EventLoop {
    poll: Poll,
    receiver: LoopReceiver,
    listeners: Vec<Listener>,
    /// Listeners at which somebody may wait.
    accepting: BTreeSet<usize>,
    /// No accepting before this.
    pause: Option<Instant>,
    connections: Connections,
    /// Who wants a turn.
    queue: VecDeque<ConnId>,
    /// The adapter's own timers; the sessions' are the front's.
    deadlines: BTreeSet<(Instant, ConnId)>,
    front: Front,
    receive_bytes_max: usize,
    budget: Budget,
    tls: TlsConfigs,
    shared: Arc<Shared>,
    office: OfficeDesk,
    buffers: Buffers,
    actions: Vec<FrontAction>,
    closing: bool,
}

impl EventLoop {
    /// A loop that listens, and its address.
    pub(super) fn new(
        index: FrontIndex,
        (site, tls): (Arc<Site>, TlsConfigs),
        mut listeners: Vec<Listener>,
        shared: Arc<Shared>,
        office: OfficeDesk,
        seed: u64,
    ) -> io::Result<(Self, LoopSender)> {
        let poll = Poll::new()?;
        let (sender, receiver) = loop_channel(poll.registry(), BELL)?;
        for (number, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(&mut listener.socket, Token(number), Interest::READABLE)?;
        }
        let event_loop = EventLoop {
            poll,
            receiver,
            // Who connected before the registration is reported by it.
            accepting: BTreeSet::new(),
            listeners,
            pause: None,
            connections: BTreeMap::new(),
            queue: VecDeque::new(),
            deadlines: BTreeSet::new(),
            receive_bytes_max: site.limits.rx_bytes_max,
            budget: Budget::new(shared.buffers_bytes_max(&site.limits)),
            front: Front::new(index, site, seed),
            tls,
            shared,
            office,
            buffers: Buffers::new(),
            actions: Vec::new(),
            closing: false,
        };
        Ok((event_loop, sender))
    }

    /// Until the server ends.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while !(self.closing && self.connections.is_empty()) {
            self.round(&mut events);
        }
    }

    fn round(&mut self, events: &mut Events) {
        if let Err(error) = self.poll.poll(events, self.timeout())
            && error.kind() != io::ErrorKind::Interrupted
        {
            panic!("epoll_wait fails only with arguments that are wrong: {error}");
        }
        let now = clock::now();
        for event in &*events {
            match event.token() {
                BELL => self.receiver.answer_bell(),
                Token(number) => match number.checked_sub(FIRST_CONNECTION) {
                    None => {
                        self.accepting.insert(number);
                    }
                    Some(number) => self.note_event(ConnId(number as u64), event),
                },
            }
        }
        self.take_messages(now);
        self.accept(now);
        self.run_timers(now);
        self.give_turns(now);
    }

    fn timeout(&self) -> Option<Duration> {
        let busy = !self.queue.is_empty() || (self.pause.is_none() && !self.accepting.is_empty());
        if busy {
            return Some(Duration::ZERO);
        }
        let own = self.deadlines.first().map(|(instant, _)| *instant);
        let next = [own, self.front.poll_timeout(), self.pause].into_iter().flatten().min()?;
        // A millisecond more than the rest of one, so that the timer is due when the poll comes back.
        Some(next.since(clock::now().instant) + Duration::from_millis(1))
    }

    fn note_event(&mut self, id: ConnId, event: &mio::event::Event) {
        let Some(connection) = find(&mut self.connections, &mut self.queue, id) else { return };
        let ended = event.is_read_closed() || event.is_error();
        connection.wire_mut().note_ready(event.is_readable(), event.is_writable() || event.is_error(), ended);
    }

    fn take_messages(&mut self, now: Now) {
        while let Some(message) = self.receiver.next() {
            match message {
                ToLoop::Office(message) => {
                    let id = self.front.handle_office(now, message, &mut self.actions);
                    self.wake(id);
                    self.carry_out(now);
                }
                ToLoop::Call(call) => self.call(now, *call),
                ToLoop::Reload(site, tls) => {
                    self.receive_bytes_max = site.limits.rx_bytes_max;
                    self.budget.set_max(self.shared.buffers_bytes_max(&site.limits));
                    self.wake_starved();
                    self.front.reload(now, site, &mut self.actions);
                    self.carry_out(now);
                    self.tls = tls;
                }
                ToLoop::Shutdown => {
                    for mut listener in self.listeners.drain(..) {
                        // The socket closes anyway.
                        let _ = self.poll.registry().deregister(&mut listener.socket);
                    }
                    self.accepting.clear();
                    self.closing = true;
                    // Nobody was greeted there yet.
                    self.remove_all(now, |connection| !connection.has_session());
                    self.front.shutdown(now, &mut self.actions);
                    self.carry_out(now);
                }
                ToLoop::Abandon => self.remove_all(now, |_| true),
            }
        }
    }

    fn accept(&mut self, now: Now) {
        if self.pause.is_some_and(|until| now.instant < until) {
            return;
        }
        self.pause = None;
        for number in std::mem::take(&mut self.accepting) {
            // Whoever still waits after this many gets the next round.
            let more = (0..ACCEPT_MAX).all(|_| self.accept_one(now, number));
            if more || self.pause.is_some() {
                self.accepting.insert(number);
            }
        }
    }

    /// Whether there may be another one.
    fn accept_one(&mut self, now: Now, number: usize) -> bool {
        let Some(listener) = self.listeners.get(number) else { return false };
        match listener.accept() {
            Accepted::Nobody => false,
            Accepted::Connection(socket, peer) => {
                self.admit(now, listener.service, socket, peer.ip());
                true
            }
            Accepted::Exhausted(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again soon");
                self.pause = Some(now.instant.plus(ACCEPT_PAUSE));
                false
            }
            Accepted::Broken(error) => {
                tracing::error!(%error, service = listener.service.name(), "a listening socket broke");
                false
            }
        }
    }

    fn admit(&mut self, now: Now, service: Service, mut socket: TcpStream, peer: IpAddr) {
        let admitted = self.shared.gate().admit(peer);
        if let Err(full) = admitted {
            // A new socket takes one line without blocking; if it does not, the close says enough.
            let _ = std::io::Write::write(&mut socket, &full.farewell(service));
            self.shared.log.event(None, &Event::Refused { peer, why: full.why() });
            return;
        }
        let id = ConnId(self.shared.next_connection.fetch_add(1, Ordering::Relaxed));
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut socket, token(id), interest) {
            tracing::warn!(%error, "cannot watch a connection");
            self.shared.gate().release(peer);
            return;
        }
        let mut connection = Box::new(Connection::new(id, socket, service, peer, self.tls.of(service)));
        if let Err(error) = connection.start(&mut self.desk(now)) {
            tracing::warn!(%error, service = service.name(), "cannot start TLS");
            self.shared.gate().release(peer);
            return;
        }
        enqueue(&mut self.queue, id, &mut connection);
        self.connections.insert(id, connection);
        self.carry_out(now);
    }

    /// Begins a connection to another server. Whether there is one, the poll will say.
    fn call(&mut self, now: Now, call: Call) {
        if self.closing {
            return;
        }
        let id = ConnId(self.shared.next_connection.fetch_add(1, Ordering::Relaxed));
        let begun = super::listen::connect(call.address).and_then(|mut socket| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, token(id), interest)?;
            Ok(socket)
        });
        match begun {
            Ok(socket) => {
                let tls = self.tls.to(&call);
                let mut connection = Box::new(Connection::to(id, socket, call, tls, now));
                enqueue(&mut self.queue, id, &mut connection);
                self.arm(id, &mut connection);
                self.connections.insert(id, connection);
            }
            Err(error) => {
                let news = LinkNews::Unconnected(error.to_string());
                let message = ToOffice::Link { caller: None, link: call.link, news };
                self.office.send(OfficeInput::Front(message));
            }
        }
    }

    fn run_timers(&mut self, now: Now) {
        if self.front.poll_timeout().is_some_and(|instant| instant <= now.instant) {
            self.front.handle_timeouts(now, &mut self.actions);
            self.carry_out(now);
        }
        while let Some(&(instant, id)) = self.deadlines.first()
            && instant <= now.instant
        {
            self.deadlines.pop_first();
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.report_deadline();
            }
            self.remove(now, id);
        }
    }

    /// A turn for everyone who stands in the queue now.
    fn give_turns(&mut self, now: Now) {
        for _ in 0..self.queue.len() {
            let Some(id) = self.queue.pop_front() else { return };
            let Some(mut connection) = self.connections.remove(&id) else { continue };
            connection.queued = false;
            let turn = self.turn(now, id, &mut connection);
            self.arm(id, &mut connection);
            let (held, starved) = connection.need(&self.front);
            self.budget.note(id, &mut connection.share, held, starved);
            if let Some((waiting, bytes)) = self.budget.poll_warning(now.instant) {
                tracing::warn!(
                    waiting,
                    bytes,
                    "the connections' buffers are full: some clients wait; `buffers_bytes` under [limits] raises the limit"
                );
            }
            if turn == Turn::Again {
                enqueue(&mut self.queue, id, &mut connection);
            }
            self.connections.insert(id, connection);
            if turn == Turn::Over {
                self.remove(now, id);
            }
            self.wake_starved();
        }
    }

    /// Brings the table of deadlines up to date with the connection.
    fn arm(&mut self, id: ConnId, connection: &mut Connection) {
        let wanted = connection.deadline();
        if connection.armed != wanted {
            if let Some(old) = std::mem::replace(&mut connection.armed, wanted) {
                self.deadlines.remove(&(old, id));
            }
            if let Some(new) = wanted {
                self.deadlines.insert((new, id));
            }
        }
    }

    fn turn(&mut self, now: Now, id: ConnId, connection: &mut Connection) -> Turn {
        let (receive_bytes_max, over_budget) = (self.receive_bytes_max, self.budget.is_over());
        let EventLoop { front, buffers, actions, connections, queue, office, shared, .. } = self;
        let mut desk = Desk { now, front, buffers, actions, receive_bytes_max, over_budget };
        connection.turn(&mut desk, |current, desk| {
            for action in desk.actions.drain(..) {
                match named(&action) {
                    Some(other) if other != id => {
                        let other = find(connections, queue, other);
                        apply(now, action, other, office, shared);
                    }
                    Some(_) | None => apply(now, action, Some(current), office, shared),
                }
            }
        })
    }

    /// Does what the front wants, outside of a turn.
    fn carry_out(&mut self, now: Now) {
        let EventLoop { actions, connections, queue, office, shared, .. } = self;
        for action in actions.drain(..) {
            let connection = named(&action).and_then(|id| find(connections, queue, id));
            apply(now, action, connection, office, shared);
        }
    }

    fn wake(&mut self, id: ConnId) {
        if let Some(connection) = find(&mut self.connections, &mut self.queue, id) {
            connection.wake();
        }
    }

    /// A turn for who has waited longest for memory, when there is some. After that turn comes the next one's.
    fn wake_starved(&mut self) {
        if let Some(id) = self.budget.poll_starved() {
            find(&mut self.connections, &mut self.queue, id);
        }
    }

    fn remove(&mut self, now: Now, id: ConnId) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        self.budget.note(id, &mut connection.share, 0, false);
        self.wake_starved();
        if let Some(deadline) = connection.armed {
            self.deadlines.remove(&(deadline, id));
        }
        let client = connection.client();
        // Closing the socket takes it out of the poll.
        connection.end(&mut self.desk(now));
        self.carry_out(now);
        if let Some(client) = client {
            self.shared.gate().release(client);
        }
    }

    fn remove_all(&mut self, now: Now, which: impl Fn(&Connection) -> bool) {
        let chosen = self.connections.iter().filter(|(_, connection)| which(connection));
        let chosen: Vec<ConnId> = chosen.map(|(id, _)| *id).collect();
        for id in chosen {
            self.remove(now, id);
        }
    }

    fn desk(&mut self, now: Now) -> Desk<'_> {
        Desk {
            now,
            front: &mut self.front,
            buffers: &mut self.buffers,
            actions: &mut self.actions,
            receive_bytes_max: self.receive_bytes_max,
            over_budget: self.budget.is_over(),
        }
    }
}

fn token(id: ConnId) -> Token {
    Token(FIRST_CONNECTION.saturating_add(usize::try_from(id.0).unwrap_or(usize::MAX)))
}

/// A connection to which something happens: it gets a turn.
fn find<'c>(
    connections: &'c mut Connections,
    queue: &mut VecDeque<ConnId>,
    id: ConnId,
) -> Option<&'c mut Connection> {
    let connection = connections.get_mut(&id)?;
    enqueue(queue, id, connection);
    Some(connection)
}

fn enqueue(queue: &mut VecDeque<ConnId>, id: ConnId, connection: &mut Connection) {
    if !connection.queued {
        connection.queued = true;
        queue.push_back(id);
    }
}

/// The connection that an action changes.
fn named(action: &FrontAction) -> Option<ConnId> {
    match action {
        FrontAction::StartTls(id) | FrontAction::Close(id, _) | FrontAction::Pump(id) => Some(*id),
        FrontAction::Office(_) | FrontAction::Event(..) | FrontAction::CloseFile(_) => None,
    }
}

/// Does one thing the front wants, to the connection it names.
fn apply(
    now: Now,
    action: FrontAction,
    connection: Option<&mut Connection>,
    office: &OfficeDesk,
    shared: &Shared,
) {
    match (action, connection) {
        (FrontAction::Office(message), _) => {
            office.send(OfficeInput::Front(message));
        }
        (FrontAction::CloseFile(file), _) => postier_host::disk::close(file),
        (FrontAction::Event(id, event), _) => shared.log.event(Some(id), &event),
        (FrontAction::StartTls(_), Some(connection)) => connection.handle_start_tls(),
        (FrontAction::Close(..), Some(connection)) => connection.handle_close(now),
        (FrontAction::Pump(_), Some(connection)) => connection.wake(),
        (FrontAction::StartTls(_) | FrontAction::Close(..) | FrontAction::Pump(_), None) => {}
    }
}

#[cfg(test)]
mod tests;
