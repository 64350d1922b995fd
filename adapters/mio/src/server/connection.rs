//! A connection between its socket and its session: the stages of its life, one turn at a time.
//!
//! ```text
//! (Connecting) ─▶ Handshake ─▶ Open ─▶ StartTls ─▶ Handshake ─▶ Open ─▶ Closing ─▶ Lingering ─▶ gone
//! ```
//! * `Connecting`: a connection of ours to another server; the kernel has not said yet whether there is one.
//! * `Handshake`: TLS is being negotiated; a session that begins with TLS does not exist yet.
//! * `Open`: octets go to the session and from it.
//! * `StartTls`: the reply that allows TLS is on its way; then the handshake begins. Nothing received in the clear
//!   goes to the session any more.
//! * `Closing`: the last replies are on their way.
//! * `Lingering`: all is sent and our end is closed; what the peer still sends is thrown away for a while, for
//!   closing a socket with unread octets would reset it and take the last reply from the peer.
//!
//! A turn is bounded: a connection that has more to do gets another turn after the others had theirs.

use std::net::{IpAddr, Shutdown};
use std::time::Duration;

use mio::net::TcpStream;
use postier_core::machine::{Instant, Now};
use postier_core::send_queue::SendQueue;
use postier_core::server::front::{Front, FrontAction, Opening};
use postier_core::server::{Call, ConnId, LinkNews, Service, ToOffice};
use postier_host::tls::ServerTls;

use super::ClientTls;
use super::budget::{FLOOR_BYTES, Share};
use super::side::Side;
use super::wire::{Buffers, Received, Sent, Wire, WireError};

/// Octets received, and octets sent, by one connection in one turn.
const TURN_BYTES: usize = 256 * 1024;
/// What one call to the socket counts at least, however little it brought.
const CALL_BYTES: usize = 8 * 1024;
/// A TLS handshake takes no longer.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// A closing connection whose last replies do not move for this long is closed without them.
const CLOSING: Duration = Duration::from_secs(30);
/// After the end is sent, the peer's end is waited for this long …
const LINGER: Duration = Duration::from_secs(2);
/// … and for so many octets.
const LINGER_BYTES: usize = 1024 * 1024;

/// Where a connection is in its life.
enum Stage {
    Connecting,
    Handshake { first: bool },
    Open,
    StartTls,
    Closing,
    Lingering { left: usize },
}

/// What a turn works with besides the connection.
pub(super) struct Desk<'l> {
    pub(super) now: Now,
    pub(super) front: &'l mut Front,
    pub(super) buffers: &'l mut Buffers,
    /// What the front wants done; the loop carries it out after each step.
    pub(super) actions: &'l mut Vec<FrontAction>,
    pub(super) receive_bytes_max: usize,
    /// All connections together hold too much.
    pub(super) over_budget: bool,
}

/// What a step came to.
enum Step {
    /// Something moved: another step may move more.
    Moved,
    /// Nothing to do until an event.
    Idle,
    /// The connection is over.
    Over,
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing to do until an event.
    Idle,
    /// Its budget is used up: it wants another turn.
    Again,
    /// The connection is over.
    Over,
}

/// One connection of an event loop.
pub(super) struct Connection {
    id: ConnId,
    wire: Wire<TcpStream>,
    side: Side,
    peer: IpAddr,
    stage: Stage,
    /// Received and not consumed by the session; no memory while empty.
    rx: Vec<u8>,
    /// The session is to be called although nothing was received.
    pump: bool,
    /// The peer's end was read.
    ended: bool,
    end_told: bool,
    /// Octets received and sent in this turn.
    used: usize,
    deadline: Option<Instant>,
    /// It would read if all connections together held less.
    starved: bool,
    /// What the loop's budget knows of it.
    pub(super) share: Share,
    /// It stands in the loop's queue.
    pub(super) queued: bool,
    /// The deadline that the loop knows of.
    pub(super) armed: Option<Instant>,
}

impl Connection {
    pub(super) fn new(
        id: ConnId,
        socket: TcpStream,
        service: Service,
        peer: IpAddr,
        tls: Option<ServerTls>,
    ) -> Self {
        Self::begin(id, socket, peer, Side::Server { service, tls }, Stage::Open)
    }

    /// A connection that the office wanted; the kernel is at it.
    pub(super) fn to(id: ConnId, socket: TcpStream, call: Call, tls: ClientTls, now: Now) -> Self {
        let (peer, deadline) = (call.address.ip(), Some(now.instant.plus(call.patience)));
        let (link, host) = (call.link, call.host.clone());
        let side = Side::Client { link, call: Some(Box::new(call)), host, tls, why: String::new() };
        Connection { deadline, ..Self::begin(id, socket, peer, side, Stage::Connecting) }
    }

    fn begin(id: ConnId, socket: TcpStream, peer: IpAddr, side: Side, stage: Stage) -> Self {
        Connection {
            id,
            wire: Wire::new(socket),
            side,
            peer,
            stage,
            rx: Vec::new(),
            pump: false,
            ended: false,
            end_told: false,
            used: 0,
            deadline: None,
            starved: false,
            share: Share::default(),
            queued: false,
            armed: None,
        }
    }

    /// Who is connected to us; nobody where we are connected to somebody.
    pub(super) fn client(&self) -> Option<IpAddr> {
        match self.side {
            Side::Server { .. } => Some(self.peer),
            Side::Client { .. } => None,
        }
    }

    pub(super) fn wire_mut(&mut self) -> &mut Wire<TcpStream> {
        &mut self.wire
    }

    /// The session exists: the peer has been, or is being, greeted.
    pub(super) fn has_session(&self) -> bool {
        !matches!(self.stage, Stage::Connecting | Stage::Handshake { first: true })
    }

    /// When the adapter itself loses patience.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Octets held for this connection, and whether it waits for the others to hold less.
    pub(super) fn need(&self, front: &Front) -> (usize, bool) {
        (self.buffered(front), self.starved)
    }

    /// Begins: with a handshake, or with the session's greeting.
    pub(super) fn start(&mut self, desk: &mut Desk<'_>) -> Result<(), WireError> {
        if self.side.implicit_tls() {
            return self.start_handshake(desk.now, true);
        }
        self.open_session(desk);
        Ok(())
    }

    /// The session wants to be called.
    pub(super) fn wake(&mut self) {
        self.pump = true;
    }

    /// The session wants TLS: nothing received so far is handed to it any more (RFC 3207 §6, RFC 9051 §6.2.1).
    pub(super) fn handle_start_tls(&mut self) {
        self.stage = Stage::StartTls;
        self.rx = Vec::new();
    }

    /// The session wants to end. The peer's silence ends it, too.
    pub(super) fn handle_close(&mut self, now: Now) {
        self.stage = Stage::Closing;
        self.rx = Vec::new();
        self.deadline = Some(now.instant.plus(CLOSING));
    }

    /// Says for the log what was not done in time.
    pub(super) fn report_deadline(&mut self) {
        if let (Stage::Connecting, Side::Client { why, .. }) = (&self.stage, &mut self.side) {
            "no answer in time".clone_into(why);
        }
        if let Stage::Handshake { .. } = self.stage {
            let service = self.side.name();
            tracing::info!(conn = self.id.0, peer = %self.peer, service, "no TLS handshake in time");
        }
    }

    /// One turn. `carry_out` does what the front wants after each step, and may change this connection's stage.
    pub(super) fn turn(
        &mut self,
        desk: &mut Desk<'_>,
        mut carry_out: impl FnMut(&mut Connection, &mut Desk<'_>),
    ) -> Turn {
        self.used = 0;
        loop {
            self.starved = false;
            let step = match self.stage {
                Stage::Connecting => self.step_connecting(desk),
                Stage::Handshake { first } => self.step_handshake(first, desk),
                Stage::Open => self.step_open(desk),
                Stage::StartTls => self.step_start_tls(desk),
                Stage::Closing => self.step_closing(desk),
                Stage::Lingering { left } => self.step_lingering(left, desk),
            };
            carry_out(self, desk);
            match step {
                Ok(Step::Moved) if self.used >= TURN_BYTES => return Turn::Again,
                Ok(Step::Moved) => {}
                // Only a session that is open has anything to pump; who is on the way out waits for the peer.
                Ok(Step::Idle) if self.pump && matches!(self.stage, Stage::Open) => return Turn::Again,
                Ok(Step::Idle) => return Turn::Idle,
                Ok(Step::Over) => return Turn::Over,
                Err(error) => {
                    self.give_up(&error);
                    return Turn::Over;
                }
            }
        }
    }

    /// The last of it: what the front had is given back.
    pub(super) fn end(mut self, desk: &mut Desk<'_>) -> TcpStream {
        if let Side::Client { link, call: None, why, .. } = &mut self.side
            && !why.is_empty()
        {
            let news = LinkNews::TlsTrouble(std::mem::take(why));
            desk.actions.push(FrontAction::Office(ToOffice::Link { caller: None, link: *link, news }));
        }
        self.leave_front(desk);
        if let Side::Client { call: Some(call), why, .. } = self.side {
            // It has not come to a session.
            let news = LinkNews::Unconnected(if why.is_empty() { "it was closed".into() } else { why });
            let message = ToOffice::Link { caller: None, link: call.link, news };
            desk.actions.push(FrontAction::Office(message));
        }
        self.wire.into_socket()
    }

    fn open_session(&mut self, desk: &mut Desk<'_>) {
        self.stage = Stage::Open;
        self.deadline = None;
        self.pump = true;
        match &mut self.side {
            Side::Server { service, tls } => {
                let starttls = tls.is_some() && !service.implicit_tls();
                let tls = self.wire.tls_info();
                let opening = Opening { service: *service, peer: self.peer, starttls, tls };
                desk.front.open(desk.now, self.id, opening, desk.actions);
            }
            Side::Client { call, .. } => {
                if let Some(call) = call.take() {
                    desk.front.call(desk.now, self.id, *call, desk.actions);
                    if let Some(info) = self.wire.tls_info() {
                        desk.front.handle_tls_started(desk.now, self.id, info, desk.actions);
                    }
                }
            }
        }
    }

    fn start_handshake(&mut self, now: Now, first: bool) -> Result<(), WireError> {
        self.side.start_tls(&mut self.wire, self.peer)?;
        self.stage = Stage::Handshake { first };
        self.deadline = Some(now.instant.plus(HANDSHAKE));
        Ok(())
    }

    fn step_connecting(&mut self, desk: &mut Desk<'_>) -> Result<Step, WireError> {
        let socket = self.wire.socket();
        if let Some(error) = socket.take_error()? {
            return Err(error.into());
        }
        match socket.peer_addr() {
            Ok(_) => {
                self.start(desk)?;
                Ok(Step::Moved)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotConnected => Ok(Step::Idle),
            Err(error) => Err(error.into()),
        }
    }

    fn step_handshake(&mut self, first: bool, desk: &mut Desk<'_>) -> Result<Step, WireError> {
        self.wire.flush()?;
        if let Some(info) = self.wire.tls_info() {
            if first {
                self.open_session(desk);
            } else {
                self.stage = Stage::Open;
                self.deadline = None;
                self.pump = true;
                if let Some((link, why)) = self.side.doubt(&self.wire, self.peer) {
                    let news = LinkNews::TlsDoubt(why);
                    desk.actions.push(FrontAction::Office(ToOffice::Link { caller: None, link, news }));
                }
                desk.front.handle_tls_started(desk.now, self.id, info, desk.actions);
            }
            return Ok(Step::Moved);
        }
        if !self.wire.is_readable() {
            return Ok(Step::Idle);
        }
        let Some(room) = self.room(desk) else {
            self.starved = true;
            return Ok(Step::Idle);
        };
        match self.wire.receive(desk.buffers, room)? {
            Received::Octets(count) => {
                // A fast client's first octets come with the end of its handshake.
                self.used += count.max(CALL_BYTES);
                self.rx.extend_from_slice(desk.buffers.received(count));
                Ok(Step::Moved)
            }
            Received::Blocked => Ok(Step::Idle),
            Received::End => Ok(Step::Over),
        }
    }

    fn step_open(&mut self, desk: &mut Desk<'_>) -> Result<Step, WireError> {
        let mut moved = false;
        if let Some(tx) = desk.front.tx(self.id)
            && !tx.is_empty()
        {
            let (was_low, before) = (tx.is_below_low_water(), tx.pending());
            let sent = send(&mut self.wire, self.id, tx, desk.buffers)?;
            self.used = self.used.saturating_add(gone(before, tx));
            moved = sent == Sent::More;
            self.pump |= !was_low && tx.is_below_low_water();
        } else {
            self.wire.flush()?;
        }
        if self.pump {
            self.pump = false;
            self.offer_rest(desk);
            moved = true;
        } else if !self.ended
            && self.wire.is_readable()
            && self.rx.len() < desk.receive_bytes_max
            && desk.front.wants_bytes(self.id)
        {
            moved |= self.step_receive(desk)?;
        } else if self.ended && !self.end_told && desk.front.wants_bytes(self.id) {
            self.end_told = true;
            desk.front.handle_eof(desk.now, self.id, desk.actions);
            (self.pump, moved) = (true, true);
        }
        Ok(if moved || !desk.actions.is_empty() { Step::Moved } else { Step::Idle })
    }

    /// Reads and hands in, as far as the budget allows; says whether something moved.
    fn step_receive(&mut self, desk: &mut Desk<'_>) -> Result<bool, WireError> {
        let Some(room) = self.room(desk) else {
            // A message that is coming in goes on when the disk has what there is of it.
            self.starved = true;
            return Ok(desk.front.relieve(self.id, desk.actions));
        };
        match self.wire.receive(desk.buffers, room)? {
            Received::Octets(count) => {
                self.used += count.max(CALL_BYTES);
                self.offer(count, desk);
                if desk.actions.is_empty()
                    && desk.front.tx(self.id).is_some_and(|tx| tx.is_empty())
                    && desk.front.wants_bytes(self.id)
                {
                    acknowledge(self.wire.socket());
                }
                Ok(true)
            }
            Received::Blocked => Ok(false),
            Received::End => {
                self.ended = true;
                Ok(true)
            }
        }
    }

    /// How much may be read now; `None`: nothing until all connections together hold less.
    fn room(&self, desk: &mut Desk<'_>) -> Option<usize> {
        if !desk.over_budget {
            return Some(usize::MAX);
        }
        // Who has closed sends no more than there is, and what they hold is freed by reading up to the end.
        let leaves =
            self.wire.is_end_reported() && desk.front.tx(self.id).is_none_or(|tx| !tx.is_above_high_water());
        (leaves || self.buffered(desk.front) <= FLOOR_BYTES).then_some(FLOOR_BYTES)
    }

    fn buffered(&self, front: &Front) -> usize {
        self.rx.len() + self.wire.buffered() + front.buffered(self.id)
    }

    /// Hands in what was just received, behind what was not consumed before.
    fn offer(&mut self, count: usize, desk: &mut Desk<'_>) {
        let fresh = desk.buffers.received(count);
        if !self.rx.is_empty() {
            self.rx.extend_from_slice(fresh);
            return self.offer_rest(desk);
        }
        let consumed = desk.front.handle_bytes(desk.now, self.id, fresh, desk.actions);
        if consumed < count {
            self.rx.extend_from_slice(fresh.get(consumed..).unwrap_or_default());
        }
    }

    fn offer_rest(&mut self, desk: &mut Desk<'_>) {
        let consumed = desk.front.handle_bytes(desk.now, self.id, &self.rx, desk.actions);
        if consumed >= self.rx.len() {
            self.rx = Vec::new();
        } else {
            self.rx.drain(..consumed);
            // The budget counts what is in it.
            if self.rx.len() < self.rx.capacity() / 4 {
                self.rx.shrink_to_fit();
            }
        }
    }

    fn step_start_tls(&mut self, desk: &mut Desk<'_>) -> Result<Step, WireError> {
        match self.send_rest(desk)? {
            Sent::All => {}
            Sent::Blocked => return Ok(Step::Idle),
            Sent::More => return Ok(Step::Moved),
        }
        self.start_handshake(desk.now, false)?;
        Ok(Step::Moved)
    }

    fn step_closing(&mut self, desk: &mut Desk<'_>) -> Result<Step, WireError> {
        match self.send_rest(desk)? {
            Sent::All => {}
            Sent::Blocked => return Ok(Step::Idle),
            Sent::More => return Ok(Step::Moved),
        }
        self.wire.send_end();
        self.wire.flush()?;
        self.leave_front(desk);
        // The peer may be gone already: then there is nothing to wait for.
        if self.ended || self.wire.socket().shutdown(Shutdown::Write).is_err() {
            return Ok(Step::Over);
        }
        self.stage = Stage::Lingering { left: LINGER_BYTES };
        self.deadline = Some(desk.now.instant.plus(LINGER));
        Ok(Step::Moved)
    }

    fn step_lingering(&mut self, left: usize, desk: &mut Desk<'_>) -> Result<Step, WireError> {
        if !self.wire.is_readable() {
            return Ok(Step::Idle);
        }
        let count = match self.wire.discard(desk.buffers)? {
            Received::Octets(count) => count,
            Received::Blocked => return Ok(Step::Idle),
            Received::End => return Ok(Step::Over),
        };
        self.used += count;
        match left.checked_sub(count) {
            Some(left) => self.stage = Stage::Lingering { left },
            None => return Ok(Step::Over),
        }
        Ok(Step::Moved)
    }

    /// Sends more of what the session left; `All` when the kernel has it.
    fn send_rest(&mut self, desk: &mut Desk<'_>) -> Result<Sent, WireError> {
        let Some(tx) = desk.front.tx(self.id) else {
            return Ok(if self.wire.flush()? { Sent::All } else { Sent::Blocked });
        };
        let before = tx.pending();
        let sent = send(&mut self.wire, self.id, tx, desk.buffers)?;
        let count = gone(before, tx);
        self.used = self.used.saturating_add(count);
        if count > 0 && self.deadline.is_some() {
            self.deadline = Some(desk.now.instant.plus(CLOSING));
        }
        Ok(if sent == Sent::All && !self.wire.flush()? { Sent::Blocked } else { sent })
    }

    fn leave_front(&mut self, desk: &mut Desk<'_>) {
        if let Some(mut tx) = desk.front.close(desk.now, self.id, desk.actions) {
            while let Some(file) = tx.poll_release() {
                postier_host::disk::close(file);
            }
        }
    }

    fn give_up(&mut self, error: &WireError) {
        if let Side::Client { call, why, .. } = &mut self.side
            && (call.is_some() || matches!(error, WireError::Tls(_)))
        {
            *why = error.to_string();
        }
        match (error, &self.stage) {
            (WireError::Tls(_), _) => {
                // Says why to a peer that cares.
                let _ = self.wire.flush();
                tracing::info!(conn = self.id.0, peer = %self.peer, service = self.side.name(), %error, "TLS failed");
            }
            (WireError::Io(error), Stage::Lingering { .. }) => {
                tracing::trace!(conn = self.id.0, %error, "gone while lingering");
            }
            (WireError::Io(error), _) => tracing::debug!(conn = self.id.0, %error, "connection lost"),
        }
    }
}

/// Has the kernel acknowledge what was read, now that there is no reply to take the acknowledgement along: it would wait for
/// one, 40 ms. A client that says one thing in two writes and leaves Nagle's algorithm on (Python's imaplib does, in an
/// APPEND) keeps the second back until then: 21 messages a second instead of hundreds.
fn acknowledge(socket: &TcpStream) {
    // Elsewhere than on Linux there is no such switch, and nothing depends on it.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_quickack(socket, true);
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// How many octets left the queue since it held `before`.
fn gone(before: u64, tx: &SendQueue) -> usize {
    usize::try_from(before.saturating_sub(tx.pending())).unwrap_or(usize::MAX)
}

/// Sends with a turn's budget, and tells the log of files that were shorter than announced.
fn send(
    wire: &mut Wire<TcpStream>,
    id: ConnId,
    tx: &mut SendQueue,
    buffers: &mut Buffers,
) -> Result<Sent, WireError> {
    let sent = wire.send(tx, buffers, TURN_BYTES)?;
    let short = tx.poll_mismatch();
    if short > 0 {
        tracing::warn!(
            conn = id.0,
            short,
            "message files are shorter than their names say; padded with spaces"
        );
    }
    Ok(sent)
}
