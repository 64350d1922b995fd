//! One DNS lookup for a command line: the core's resolver, driven by blocking sockets until it has an answer.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use postier_core::dns::resolver::{LookupId, Resolver, ResolverAction, ResolverInput, Transport};
use postier_core::dns::{Outcome, Question};
use postier_core::machine::{self, Now};

/// A socket is waited for this long, then comes the next one's turn.
const TURN: Duration = Duration::from_millis(20);
/// Waiting for a connection; the resolver's own patience is the longer one.
const CONNECT: Duration = Duration::from_secs(3);

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// Asks, and waits for the answer; no longer than the resolver is patient.
pub fn look_up(resolver: &mut Resolver, question: Question) -> Outcome {
    let start = Instant::now();
    let now = || {
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { instant: machine::Instant::from_micros(micros), ..Now::default() }
    };
    let mut sockets = BTreeMap::new();
    let mut out = vec![];
    resolver.handle(now(), ResolverInput::Ask { lookup: LookupId(1), question }, &mut out);
    loop {
        let mut failed = vec![];
        for action in out.drain(..) {
            match action {
                ResolverAction::Open { exchange, server, transport, octets } => {
                    match open(server, transport, &octets) {
                        Ok(socket) => drop(sockets.insert(exchange, socket)),
                        Err(_) => failed.push(exchange),
                    }
                }
                ResolverAction::Close { exchange } => drop(sockets.remove(&exchange)),
                ResolverAction::Answer { outcome, .. } => return outcome,
            }
        }
        let mut received = vec![];
        for (exchange, socket) in &mut sockets {
            let mut buffer = [0; 4096];
            let read = match socket {
                Socket::Udp(socket) => socket.recv(&mut buffer),
                Socket::Tcp(socket) => socket.read(&mut buffer),
            };
            match read {
                Ok(0) => failed.push(*exchange),
                Ok(len) => received.push((*exchange, buffer[..len].to_vec())),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => failed.push(*exchange),
            }
        }
        if sockets.is_empty() && failed.is_empty() {
            std::thread::sleep(TURN);
        }
        for (exchange, octets) in received {
            resolver.handle(now(), ResolverInput::Received { exchange, octets: &octets }, &mut out);
        }
        for exchange in failed {
            sockets.remove(&exchange);
            resolver.handle(now(), ResolverInput::Failed { exchange }, &mut out);
        }
        if resolver.poll_timeout().is_some_and(|instant| instant <= now().instant) {
            resolver.handle(now(), ResolverInput::Timeout, &mut out);
        }
    }
}

fn open(server: SocketAddr, transport: Transport, octets: &[u8]) -> io::Result<Socket> {
    Ok(match transport {
        Transport::Udp => {
            let socket = match server {
                SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
                SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
            };
            socket.connect(server)?;
            socket.set_read_timeout(Some(TURN))?;
            socket.send(octets)?;
            Socket::Udp(socket)
        }
        Transport::Tcp => {
            let mut socket = TcpStream::connect_timeout(&server, CONNECT)?;
            socket.set_read_timeout(Some(TURN))?;
            socket.write_all(octets)?;
            Socket::Tcp(socket)
        }
    })
}
