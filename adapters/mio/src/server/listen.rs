//! Listening sockets: binding them with a reason when it fails, and accepting so that running out of descriptors
//! does not end the server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use postier_core::server::Service;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// A silent peer is asked whether it is there after this long, so that a client that vanished does not keep its
/// connection for hours.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// An address that cannot be served.
#[derive(Debug)]
pub(crate) struct ListenError {
    service: Service,
    address: SocketAddr,
    error: io::Error,
}

impl ListenError {
    /// The machine does not have this kind of address at all.
    pub(super) fn is_without_family(&self) -> bool {
        let errno = rustix::io::Errno::from_io_error(&self.error);
        matches!(errno, Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL))
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenError { service, address, error } = self;
        write!(f, "cannot listen on {address} for {}: {error}", service.name())?;
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "; another server runs there (`ss -ltnp 'sport = :{}'` names it)", address.port())
            }
            io::ErrorKind::PermissionDenied => {
                f.write_str("; ports below 1024 want root or the capability CAP_NET_BIND_SERVICE")
            }
            io::ErrorKind::AddrNotAvailable => f.write_str("; this machine has no such address"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// One listening socket of one event loop.
pub(super) struct Listener {
    pub(super) service: Service,
    pub(super) address: SocketAddr,
    pub(super) socket: TcpListener,
}

impl Listener {
    /// Binds. With `shared`, other loops bind the same address and the kernel spreads connections over them.
    /// What is accepted inherits keepalive and the absence of Nagle's delay.
    ///
    /// # Errors
    /// With the address and what to do.
    pub(super) fn bind(service: Service, address: SocketAddr, shared: bool) -> Result<Self, ListenError> {
        let bind = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            if address.is_ipv6() {
                // IPv4 has its own socket.
                socket.set_only_v6(true)?;
            }
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(shared)?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let socket = std::net::TcpListener::from(socket);
            Ok(Listener { service, address: socket.local_addr()?, socket: TcpListener::from_std(socket) })
        };
        bind().map_err(|error| ListenError { service, address, error })
    }
}

/// Begins a connection to another server, with keepalive and without Nagle's delay: it would hold back the end of a mail, a
/// short segment, until the other side has acknowledged what came before, and that waits 40 ms for more.
///
/// # Errors
/// The system's.
pub(super) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(socket)
}

/// Whether these addresses can be had now, for a command that has something to lose when they cannot.
///
/// # Errors
/// The first that cannot.
pub(crate) fn check_ports(wanted: &[(Service, SocketAddr)]) -> Result<(), ListenError> {
    let bound: Result<Vec<_>, _> =
        wanted.iter().map(|&(service, address)| Listener::bind(service, address, false)).collect();
    bound.map(|_| ())
}

/// What an attempt to accept brought.
pub(super) enum Accepted {
    /// A connection.
    Connection(TcpStream, SocketAddr),
    /// Nobody waits.
    Nobody,
    /// No descriptor or no memory left: try again later. The kernel keeps who waits.
    Exhausted(io::Error),
    /// The socket does not work any more.
    Broken(io::Error),
}

impl Listener {
    pub(super) fn accept(&self) -> Accepted {
        loop {
            let error = match self.socket.accept() {
                Ok((stream, peer)) => return Accepted::Connection(stream, peer),
                Err(error) => error,
            };
            // Linux passes on network errors of the new connection: it is gone, the next may be fine (accept(2)).
            match rustix::io::Errno::from_io_error(&error) {
                Some(rustix::io::Errno::AGAIN) => return Accepted::Nobody,
                Some(
                    rustix::io::Errno::MFILE
                    | rustix::io::Errno::NFILE
                    | rustix::io::Errno::NOBUFS
                    | rustix::io::Errno::NOMEM,
                ) => return Accepted::Exhausted(error),
                Some(rustix::io::Errno::BADF | rustix::io::Errno::INVAL | rustix::io::Errno::NOTSOCK) => {
                    return Accepted::Broken(error);
                }
                Some(_) | None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_loops_share_an_address_and_two_servers_do_not() {
        let any = "127.0.0.1:0".parse().unwrap();
        let one = Listener::bind(Service::Smtp, any, true).unwrap();
        assert_ne!(one.address.port(), 0);
        Listener::bind(Service::Smtp, one.address, true).unwrap();
        let Err(error) = Listener::bind(Service::Imap, one.address, false) else { panic!("bound twice") };
        let text = error.to_string();
        assert!(text.contains("for imap") && text.contains("ss -ltnp"), "{text}");
    }

    #[test]
    fn accepted_sockets_do_not_delay_small_replies() {
        let listener = Listener::bind(Service::Smtp, "127.0.0.1:0".parse().unwrap(), false).unwrap();
        assert!(matches!(listener.accept(), Accepted::Nobody));
        let client = std::net::TcpStream::connect(listener.address).unwrap();
        let stream = loop {
            match listener.accept() {
                Accepted::Connection(stream, peer) => {
                    assert_eq!(peer, client.local_addr().unwrap());
                    break stream;
                }
                Accepted::Nobody => {}
                Accepted::Exhausted(error) | Accepted::Broken(error) => panic!("{error}"),
            }
        };
        assert!(stream.nodelay().unwrap() && SockRef::from(&stream).keepalive().unwrap());
    }

    #[test]
    fn sockets_to_other_servers_do_not_delay_the_end_of_a_mail() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = connect(server.local_addr().unwrap()).unwrap();
        assert!(stream.nodelay().unwrap() && SockRef::from(&stream).keepalive().unwrap());
    }
}
