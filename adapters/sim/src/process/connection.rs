//! A connection between the network and its session, as the mio adapter's: handshake, open, STARTTLS, closing,
//! lingering. TLS is a word that travels, for its mathematics is not what is looked at here.

use std::net::IpAddr;

use postier_core::disk::Handle;
use postier_core::machine::TlsInfo;
use postier_core::send_queue::Transmit;
use postier_core::server::front::Opening;
use postier_core::server::{Call, ConnId, Service};

use super::Process;
use crate::env::Env;
use crate::network::{LinkId, Packet, cut};

/// Steps in one turn: a turn that needs more does not end.
const STEPS_MAX: usize = 100_000;
/// What a connection may hold: its receive buffer, a command, its send queue with one read of a file, two chunks of a
/// message.
const HELD_MAX: usize = 128 * 1024 + 64 * 1024 + 16 * 1024 + 4 * 64 * 1024;
/// Microseconds that a handshake, the last replies, and the peer's end are waited for.
const HANDSHAKE: u64 = 60_000_000;
const CLOSING: u64 = 30_000_000;
const LINGER: u64 = 2_000_000;

/// Who has begun.
enum Side {
    /// A client, for this service.
    Server(Service),
    /// We, for the office; until there is a session.
    Client(Option<Box<Call>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Handshake { first: bool },
    Open,
    StartTls,
    Closing,
    Lingering,
}

enum Step {
    Moved,
    Idle,
    Over,
}

/// See the module's manual.
pub(super) struct Connection {
    pub(super) front: usize,
    side: Side,
    peer: IpAddr,
    stage: Stage,
    tls: bool,
    rx: Vec<u8>,
    /// What a planted fault hears only after the handshake.
    plaintext: Vec<u8>,
    pump: bool,
    ended: bool,
    end_told: bool,
    deadline: Option<u64>,
}

impl Connection {
    pub(super) fn new(front: usize, service: Service, peer: IpAddr) -> Self {
        Connection {
            front,
            side: Side::Server(service),
            peer,
            stage: Stage::Open,
            tls: false,
            rx: Vec::new(),
            plaintext: Vec::new(),
            pump: false,
            ended: false,
            end_told: false,
            deadline: None,
        }
    }

    /// One that the office wants; it has to be there by then.
    pub(super) fn to(front: usize, call: Box<Call>, by: u64) -> Self {
        let peer = call.address.ip();
        let side = Side::Client(Some(call));
        let (stage, deadline) = (Stage::Connecting, Some(by));
        Connection { side, stage, deadline, ..Connection::new(front, Service::Smtp, peer) }
    }

    /// The other end is there: what the session is made of.
    pub(super) fn begin_session(&mut self) -> Option<Box<Call>> {
        let Side::Client(call) = &mut self.side else { return None };
        (self.stage, self.deadline, self.pump) = (Stage::Open, None, true);
        call.take()
    }

    const fn is_ours(&self) -> bool {
        matches!(self.side, Side::Client(_))
    }

    pub(super) fn wake(&mut self) {
        self.pump = true;
    }

    pub(super) fn start_tls(&mut self) {
        self.stage = Stage::StartTls;
        self.rx.clear();
    }

    pub(super) fn close(&mut self, now: u64) {
        self.stage = Stage::Closing;
        self.rx.clear();
        self.deadline = Some(now + CLOSING);
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadline
    }
}

impl Process {
    pub(super) fn start_connection(&mut self, env: &mut Env, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if matches!(connection.side, Side::Server(service) if service.implicit_tls()) {
            connection.stage = Stage::Handshake { first: true };
            connection.deadline = Some(env.now + HANDSHAKE);
        } else {
            self.open_session(env, id);
        }
    }

    fn open_session(&mut self, env: &mut Env, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let tls = connection.tls.then(tls_info);
        let Connection { side: Side::Server(service), peer, .. } = *connection else { return };
        let opening = Opening { service, peer, starttls: !service.implicit_tls(), tls };
        (connection.stage, connection.deadline, connection.pump) = (Stage::Open, None, true);
        self.fronts[connection.front].open(env.now(), id, opening, &mut self.front_actions);
        self.carry_out(env);
        self.turns.push_back(id);
    }

    /// Nobody was greeted there yet: an orderly end need not wait for them.
    pub(super) fn drop_unopened(&mut self, env: &mut Env) {
        let unopened = |connection: &Connection| connection.stage == Stage::Handshake { first: true };
        let ids: Vec<ConnId> =
            self.connections.iter().filter(|(_, c)| unopened(c)).map(|(id, _)| *id).collect();
        for id in ids {
            self.remove(env, id);
        }
    }

    /// A packet has arrived.
    pub(super) fn arrive(&mut self, env: &mut Env, id: ConnId) {
        let Some(link) = env.links.get_mut(&LinkId(id.0)) else { return };
        if link.up.arrived.contains(&Packet::Reset) {
            return self.remove(env, id);
        }
        self.turns.push_back(id);
    }

    pub(super) fn turn(&mut self, env: &mut Env, id: ConnId) {
        for _ in 0..STEPS_MAX {
            let Some(stage) = self.connections.get(&id).map(|connection| connection.stage) else { return };
            let step = match stage {
                Stage::Connecting => Step::Idle,
                Stage::Handshake { first } => self.step_handshake(env, id, first),
                Stage::Open => self.step_open(env, id),
                Stage::StartTls => self.step_start_tls(env, id),
                Stage::Closing => self.step_closing(env, id),
                Stage::Lingering => self.step_lingering(env, id),
            };
            self.carry_out(env);
            self.weigh(env, id);
            match step {
                Step::Moved => {}
                Step::Idle => {
                    // Only a session that is open has anything to pump.
                    let pump = |connection: &Connection| connection.pump && connection.stage == Stage::Open;
                    if !self.connections.get(&id).is_some_and(pump) {
                        return;
                    }
                }
                Step::Over => return self.remove(env, id),
            }
        }
        env.ledger.violation(format!("connection {} moves without end", id.0));
        self.remove(env, id);
    }

    fn weigh(&mut self, env: &mut Env, id: ConnId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let held = connection.rx.len() + self.fronts[connection.front].buffered(id);
        if held > HELD_MAX {
            env.ledger.violation(format!("connection {} holds {held} octets", id.0));
        }
    }

    fn read(&mut self, env: &mut Env, id: ConnId) -> Option<Packet> {
        let mut packet = env.links.get_mut(&LinkId(id.0))?.up.read()?;
        if let Packet::Octets(octets) = &mut packet {
            match self.connections.get(&id).is_some_and(Connection::is_ours) {
                true => env.planted.replied(octets),
                false => env.planted.asked(octets),
            }
        }
        if let Packet::Octets(octets) = &packet {
            env.trace
                .event(env.now, id.0, octets, || format!("C{}: {}", id.0, crate::trace::printable(octets)));
        }
        Some(packet)
    }

    fn step_handshake(&mut self, env: &mut Env, id: ConnId, first: bool) -> Step {
        match self.read(env, id) {
            None => Step::Idle,
            // Plaintext is not TLS.
            Some(Packet::Octets(_) | Packet::End | Packet::Reset) => Step::Over,
            Some(Packet::Tls) => {
                let Some(connection) = self.connections.get_mut(&id) else { return Step::Over };
                if !connection.is_ours() {
                    env.send_down(LinkId(id.0), Packet::Tls);
                }
                connection.tls = true;
                if first {
                    self.open_session(env, id);
                } else {
                    (connection.stage, connection.deadline, connection.pump) = (Stage::Open, None, true);
                    connection.rx = std::mem::take(&mut connection.plaintext);
                    let front = &mut self.fronts[connection.front];
                    front.handle_tls_started(env.now(), id, tls_info(), &mut self.front_actions);
                }
                Step::Moved
            }
        }
    }

    fn step_open(&mut self, env: &mut Env, id: ConnId) -> Step {
        let mut moved = self.send(env, id);
        let receive_bytes_max = self.site.limits.rx_bytes_max;
        let Some(connection) = self.connections.get_mut(&id) else { return Step::Over };
        let wants = self.fronts[connection.front].wants_bytes(id);
        if connection.pump {
            connection.pump = false;
            self.offer(env, id);
            moved = true;
        } else if !connection.ended && connection.rx.len() < receive_bytes_max && wants {
            match self.read(env, id) {
                None => {}
                Some(Packet::Octets(octets)) => {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.rx.extend(octets);
                    }
                    self.offer(env, id);
                    moved = true;
                }
                Some(Packet::End) => {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.ended = true;
                    }
                    moved = true;
                }
                Some(Packet::Tls | Packet::Reset) => return Step::Over,
            }
        } else if connection.ended && !connection.end_told && wants {
            (connection.end_told, connection.pump) = (true, true);
            self.fronts[connection.front].handle_eof(env.now(), id, &mut self.front_actions);
            moved = true;
        }
        if moved { Step::Moved } else { Step::Idle }
    }

    fn offer(&mut self, env: &mut Env, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.tls && !connection.is_ours() {
            connection.plaintext.extend(env.planted.plaintext(&mut connection.rx));
        }
        let front = &mut self.fronts[connection.front];
        let consumed = front.handle_bytes(env.now(), id, &connection.rx, &mut self.front_actions);
        connection.rx.drain(..consumed);
    }

    /// Sends as much as the network takes; says whether something moved.
    fn send(&mut self, env: &mut Env, id: ConnId) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let Some(tx) = self.fronts[connection.front].tx(id) else { return false };
        let Some(link) = env.links.get(&LinkId(id.0)) else { return false };
        let was_low = tx.is_below_low_water();
        let mut room = env.setting.window.saturating_sub(link.down.held());
        let (mut run, mut moved) = (Vec::new(), false);
        while let Some(transmit) = tx.poll_transmit() {
            match transmit {
                Transmit::Bytes(bytes) => {
                    let count = bytes.len().min(room);
                    if count == 0 {
                        break;
                    }
                    run.extend_from_slice(&bytes[..count]);
                    room -= count;
                    tx.handle_sent(count);
                }
                Transmit::Read { file, offset, len } => {
                    let read = env.disk.read_at(&mut self.descriptors, file, offset, len);
                    tx.handle_read(&read.unwrap_or_default());
                }
            }
            moved = true;
        }
        tx.poll_mismatch();
        let released: Vec<Handle> = std::iter::from_fn(|| tx.poll_release()).collect();
        connection.pump |= !was_low && tx.is_below_low_water();
        for file in released {
            self.close_file(env, file);
        }
        env.planted.sent(&mut run);
        let piece = *env.rng.pick(&[0, 0, 1460, 60]);
        for piece in cut(&run, piece, |most| env.rng.below(most)) {
            env.trace
                .event(env.now, id.0, &piece, || format!("S{}: {}", id.0, crate::trace::printable(&piece)));
            env.send_down(LinkId(id.0), Packet::Octets(piece));
        }
        moved
    }

    /// Whether everything is with the network.
    fn send_rest(&mut self, env: &mut Env, id: ConnId) -> bool {
        self.send(env, id);
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        connection.pump = false;
        self.fronts[connection.front].tx(id).is_none_or(|tx| tx.is_empty())
    }

    fn step_start_tls(&mut self, env: &mut Env, id: ConnId) -> Step {
        if !self.send_rest(env, id) {
            return Step::Idle;
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Step::Over };
        if connection.is_ours() {
            env.send_down(LinkId(id.0), Packet::Tls);
        }
        connection.stage = Stage::Handshake { first: false };
        connection.deadline = Some(env.now + HANDSHAKE);
        Step::Moved
    }

    fn step_closing(&mut self, env: &mut Env, id: ConnId) -> Step {
        if !self.send_rest(env, id) {
            return Step::Idle;
        }
        self.leave_front(env, id);
        env.send_down(LinkId(id.0), Packet::End);
        let Some(connection) = self.connections.get_mut(&id) else { return Step::Over };
        if connection.ended {
            return Step::Over;
        }
        (connection.stage, connection.deadline) = (Stage::Lingering, Some(env.now + LINGER));
        Step::Moved
    }

    fn step_lingering(&mut self, env: &mut Env, id: ConnId) -> Step {
        match self.read(env, id) {
            None => Step::Idle,
            Some(Packet::Octets(_) | Packet::Tls) => Step::Moved,
            Some(Packet::End | Packet::Reset) => Step::Over,
        }
    }

    fn leave_front(&mut self, env: &mut Env, id: ConnId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let tx = self.fronts[connection.front].close(env.now(), id, &mut self.front_actions);
        for file in tx.into_iter().flat_map(|mut tx| std::iter::from_fn(move || tx.poll_release())) {
            self.close_file(env, file);
        }
        self.carry_out(env);
    }

    /// The connection is over.
    pub(super) fn remove(&mut self, env: &mut Env, id: ConnId) {
        self.leave_front(env, id);
        let Some(connection) = self.connections.remove(&id) else { return };
        match connection.side {
            Side::Server(_) => self.gate.release(connection.peer),
            Side::Client(Some(call)) => self.uncalled(env, &call),
            Side::Client(None) => {}
        }
        if connection.stage != Stage::Lingering {
            env.send_down(LinkId(id.0), Packet::Reset);
        }
        if let Some(link) = env.links.get_mut(&LinkId(id.0)) {
            link.up.closed = true;
            link.down.closed = true;
        }
    }
}

fn tls_info() -> TlsInfo {
    TlsInfo { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", ..TlsInfo::default() }
}
