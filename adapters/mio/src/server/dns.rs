//! Sockets to DNS servers: one thread, one poll.
//!
//! The core's resolver says what to send where. Each datagram has a socket of its own, connected, on a port that the
//! kernel chooses (RFC 5452 §9.2), so what comes back comes from the server that was asked. What goes wrong is told as
//! a failed exchange; time is the resolver's.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use mio::net::{TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use postier_core::dns::resolver::{ExchangeId, Transport};
use postier_core::server::office::OfficeInput;

use super::office::OfficeDesk;

const BELL: Token = Token(usize::MAX);
/// Events taken from the kernel at once.
const EVENTS: usize = 64;
/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// What the thread is told.
pub(super) enum ToDns {
    /// Open a socket to this server, send these octets, hand in what comes.
    Open { exchange: ExchangeId, server: SocketAddr, transport: Transport, octets: Vec<u8> },
    /// The socket is not needed any more.
    Close(ExchangeId),
}

/// The thread's address.
#[derive(Clone)]
pub(super) struct DnsSender {
    queue: mpsc::Sender<ToDns>,
    waker: Arc<Waker>,
}

impl DnsSender {
    pub(super) fn send(&self, message: ToDns) {
        // The thread lives as long as the process.
        let _ = self.queue.send(message);
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake the DNS thread");
        }
    }
}

/// Starts the thread; what comes goes to the office.
pub(super) fn start(office: OfficeDesk) -> io::Result<DnsSender> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), BELL)?);
    let (queue, messages) = mpsc::channel();
    let dns = Dns { poll, messages, exchanges: BTreeMap::new(), office };
    thread::Builder::new().name("dns".into()).spawn(super::or_abort(|| dns.run()))?;
    Ok(DnsSender { queue, waker })
}

struct Dns {
    poll: Poll,
    messages: mpsc::Receiver<ToDns>,
    exchanges: BTreeMap<ExchangeId, Exchange>,
    office: OfficeDesk,
}

enum Exchange {
    Datagram(UdpSocket),
    Stream {
        socket: TcpStream,
        /// What the kernel has not taken yet.
        unsent: Vec<u8>,
    },
}

impl Dns {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut space = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != io::ErrorKind::Interrupted
            {
                panic!("epoll_wait fails only with arguments that are wrong: {error}");
            }
            for event in &events {
                if let Token(number) = event.token()
                    && event.token() != BELL
                {
                    self.look(ExchangeId(number as u64), &mut space);
                }
            }
            while let Ok(message) = self.messages.try_recv() {
                match message {
                    ToDns::Open { exchange, server, transport, octets } => {
                        match open(self.poll.registry(), exchange, server, transport, octets) {
                            Ok(opened) => {
                                self.exchanges.insert(exchange, opened);
                            }
                            Err(error) => {
                                tracing::debug!(%error, %server, "cannot ask a DNS server");
                                self.office.send(OfficeInput::ExchangeFailed(exchange));
                            }
                        }
                    }
                    // Closing the socket takes it out of the poll.
                    ToDns::Close(exchange) => drop(self.exchanges.remove(&exchange)),
                }
            }
        }
    }

    /// Something happened to a socket: what there is to read is handed in, what there is to send is sent.
    fn look(&mut self, id: ExchangeId, space: &mut [u8]) {
        loop {
            let Some(exchange) = self.exchanges.get_mut(&id) else { return };
            match exchange.step(space) {
                Ok(0) => break,
                Ok(count) => {
                    let octets = space.get(..count).unwrap_or_default().to_vec();
                    self.office.send(OfficeInput::Received { exchange: id, octets });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "a DNS server does not answer");
                    break;
                }
            }
        }
        self.exchanges.remove(&id);
        self.office.send(OfficeInput::ExchangeFailed(id));
    }
}

fn open(
    registry: &Registry,
    id: ExchangeId,
    server: SocketAddr,
    transport: Transport,
    octets: Vec<u8>,
) -> io::Result<Exchange> {
    let token = Token(usize::try_from(id.0).unwrap_or(usize::MAX - 1));
    match transport {
        Transport::Udp => {
            let local: SocketAddr = match server {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let mut socket = UdpSocket::bind(local)?;
            socket.connect(server)?;
            registry.register(&mut socket, token, Interest::READABLE)?;
            socket.send(&octets)?;
            Ok(Exchange::Datagram(socket))
        }
        Transport::Tcp => {
            let mut socket = TcpStream::connect(server)?;
            registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
            Ok(Exchange::Stream { socket, unsent: octets })
        }
    }
}

impl Exchange {
    /// How many octets came; zero is the end of a stream.
    fn step(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            // An empty datagram is no end and no answer.
            Exchange::Datagram(socket) => match socket.recv(space)? {
                0 => Err(io::ErrorKind::Interrupted.into()),
                count => Ok(count),
            },
            Exchange::Stream { socket, unsent } => {
                while !unsent.is_empty() {
                    match socket.write(unsent) {
                        Ok(count) => drop(unsent.drain(..count)),
                        // It is not connected yet.
                        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                            return Err(io::ErrorKind::WouldBlock.into());
                        }
                        Err(error) => return Err(error),
                    }
                }
                socket.read(space)
            }
        }
    }
}
