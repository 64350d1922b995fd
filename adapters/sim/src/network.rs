//! Connections between clients and the server: in order, late, in any pieces; reset, half closed, stalled.

use std::collections::VecDeque;

/// Numbers a connection for its whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Octets.
    Octets(Vec<u8>),
    /// A TLS handshake: the client's wish, or the server's consent.
    Tls,
    /// Nothing more comes.
    End,
    /// The connection is gone.
    Reset,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Pipe {
    travelling: VecDeque<Packet>,
    /// When the last packet arrives, in microseconds.
    last_arrival: u64,
    /// Arrived and not read.
    pub arrived: VecDeque<Packet>,
    /// Octets that travel or wait.
    held: usize,
    /// Nothing more is taken.
    pub closed: bool,
}

impl Pipe {
    /// Sends; says when it arrives, in microseconds.
    pub fn send(&mut self, packet: Packet, now: u64, latency: u64) -> u64 {
        if let Packet::Octets(octets) = &packet {
            self.held += octets.len();
        }
        self.travelling.push_back(packet);
        self.last_arrival = self.last_arrival.max(now + latency) + 1;
        self.last_arrival
    }

    /// The oldest packet arrives.
    pub fn arrive(&mut self) {
        self.arrived.extend(self.travelling.pop_front());
    }

    /// Reads what has arrived.
    pub fn read(&mut self) -> Option<Packet> {
        let packet = self.arrived.pop_front()?;
        if let Packet::Octets(octets) = &packet {
            self.held -= octets.len();
        }
        Some(packet)
    }

    /// Octets on their way or waiting to be read.
    pub fn held(&self) -> usize {
        self.held
    }
}

/// One connection.
#[derive(Debug, Default)]
pub struct Link {
    /// From the client.
    pub up: Pipe,
    /// To the client.
    pub down: Pipe,
    /// The client's number.
    pub actor: usize,
    /// The client does not read before this, in microseconds.
    pub stalled_until: u64,
    /// The client has sent its end, or left.
    pub left: bool,
}

/// Cuts octets into pieces of up to `piece`, but not into more than a few dozen.
pub fn cut(octets: &[u8], piece: usize, mut chance: impl FnMut(u64) -> u64) -> Vec<Vec<u8>> {
    const PIECES_MAX: usize = 24;
    let mut rest = octets;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let length = match piece {
            0 => rest.len(),
            _ if pieces.len() + 1 == PIECES_MAX => rest.len(),
            _ => (1 + chance(piece as u64) as usize).min(rest.len()),
        };
        let (first, more) = rest.split_at(length);
        pieces.push(first.to_vec());
        rest = more;
    }
    pieces
}
