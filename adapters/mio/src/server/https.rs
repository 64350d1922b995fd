//! The web servers that have the policies of domains (MTA-STS): one request, one thread, for as long as that takes.
//!
//! How many there are at the same time, whom to ask and how to read the answer is the core's to say. The server must show a
//! certificate for its name by an authority that the machine trusts, as for every request of the web.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use postier_core::dns::mta_sts::https::{Fetch, Outcome, PORT, Response, request};
use postier_core::server::office::OfficeInput;
use postier_host::tls::explain;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Stream};

use super::office::OfficeDesk;

/// Octets that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// Asks for a policy; what comes of it goes to the office.
///
/// # Errors
/// There is no thread for it; the office is not told.
pub(super) fn start(fetch: Fetch, config: Arc<ClientConfig>, office: OfficeDesk) -> io::Result<()> {
    let body = move || {
        let outcome = get(&fetch, config, PORT);
        office.send(OfficeInput::Policy { fetch: fetch.id, outcome });
    };
    thread::Builder::new().name("https".into()).spawn(super::or_abort(body)).map(drop)
}

fn get(fetch: &Fetch, config: Arc<ClientConfig>, port: u16) -> Outcome {
    let deadline = Instant::now() + fetch.patience;
    let place = |error: &io::Error| format!("{}: {}", fetch.host, words(error));
    let socket = connect(fetch, port, deadline).map_err(|error| place(&error))?;
    let name = ServerName::try_from(String::from(&*fetch.host)).map_err(|error| error.to_string())?;
    let mut tls = ClientConnection::new(config, name).map_err(|error| explain(&error))?;
    let mut socket = Timed { socket, deadline };
    let mut stream = Stream::new(&mut tls, &mut socket);
    stream.write_all(&request(&fetch.host)).map_err(|error| place(&error))?;
    let (mut response, mut space) = (Response::default(), vec![0; READ_BYTES]);
    loop {
        match stream.read(&mut space) {
            Ok(0) => return response.end(),
            Ok(count) => {
                if let Some(outcome) = response.push(space.get(..count).unwrap_or_default()) {
                    return outcome;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(place(&error)),
        }
    }
}

fn connect(fetch: &Fetch, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut trouble = io::Error::from(ErrorKind::TimedOut);
    for address in &fetch.addresses {
        let left = left(deadline)?.min(fetch.connect);
        match TcpStream::connect_timeout(&SocketAddr::new(*address, port), left) {
            Ok(socket) => return Ok(socket),
            Err(error) => trouble = error,
        }
    }
    Err(trouble)
}

/// A server that sends an octet now and then is not waited for longer than one that sends none.
struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Read for Timed {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.deadline)?))?;
        self.socket.read(space)
    }
}

impl Write for Timed {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)?))?;
        self.socket.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// For a person.
fn words(error: &io::Error) -> String {
    match (error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()), error.kind()) {
        (Some(error), _) => explain(error),
        // A socket's own time-out says that it would block.
        (None, ErrorKind::TimedOut | ErrorKind::WouldBlock) => "no answer in time".into(),
        (None, ErrorKind::UnexpectedEof) => "the connection was cut off".into(),
        (None, _) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postier_core::dns::mta_sts::https::FetchId;
    use postier_host::tls::{Tickets, TlsIdentity, self_signed, server_config};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{RootCertStore, ServerConnection};
    use std::net::TcpListener;

    const HOST: &str = "mta-sts.a.test";

    /// A web server with a certificate for this name, for one request; it says these things one after the other, and ends
    /// as TLS wants it or not. The port, and the configuration that trusts it.
    fn web_server(name: &str, says: &'static [&'static str], ends: bool) -> (u16, Arc<ClientConfig>) {
        let made = self_signed(&[name]).unwrap();
        let identity = TlsIdentity::load(made.certificate.as_bytes(), made.key.as_bytes()).unwrap();
        let server = server_config(&[identity], Tickets::Off);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut tls = ServerConnection::new(server.config().clone()).unwrap();
            let mut stream = Stream::new(&mut tls, &mut socket);
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n") {
                let mut space = [0; 100];
                match stream.read(&mut space) {
                    Ok(count) if count > 0 => heard.extend_from_slice(&space[..count]),
                    _ => return,
                }
            }
            for words in says {
                if stream.write_all(words.as_bytes()).and_then(|()| stream.flush()).is_err() {
                    return;
                }
            }
            if ends {
                tls.send_close_notify();
                let _ = tls.complete_io(&mut socket);
            } else {
                // Until the client goes.
                let _ = socket.read(&mut [0; 1]);
            }
        });
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(postier_host::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (port, Arc::new(config))
    }

    fn fetch(patience: Duration) -> Fetch {
        let addresses = vec!["127.0.0.1".parse().unwrap()];
        Fetch { id: FetchId(1), host: HOST.into(), addresses, connect: patience, patience }
    }

    fn got(name: &str, says: &'static [&'static str], ends: bool) -> Outcome {
        let (port, config) = web_server(name, says, ends);
        get(&fetch(Duration::from_secs(60)), config, port)
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";

    #[test]
    fn a_policy_is_fetched_from_the_server_with_the_right_name() {
        assert_eq!(got(HOST, &[HEAD, "Content-Length: 3\r\n\r\n", "a", "bc"], false), Ok(b"abc".to_vec()));
        assert_eq!(got(HOST, &[HEAD, "\r\nabc"], true), Ok(b"abc".to_vec()));
        let why = got("a.test", &[HEAD, "\r\nabc"], true).unwrap_err();
        assert!(why.starts_with("mta-sts.a.test: ") && why.contains("not valid for name"), "{why}");
        assert_eq!(
            got(HOST, &[HEAD, "Content-Length: 4\r\n\r\nabc"], true).unwrap_err(),
            "the answer was cut off"
        );
    }

    #[test]
    fn whom_nobody_vouches_for_is_not_believed() {
        let (port, _) = web_server(HOST, &[HEAD, "\r\nabc"], true);
        let (_, other) = web_server(HOST, &[], true);
        let why = get(&fetch(Duration::from_secs(60)), other, port).unwrap_err();
        assert!(why.contains("no authority that this machine trusts"), "{why}");
    }

    #[test]
    fn a_server_that_says_nothing_is_left_in_time() {
        let (port, config) = web_server(HOST, &[HEAD], false);
        let why = get(&fetch(Duration::from_millis(300)), config.clone(), port).unwrap_err();
        assert_eq!(why, "mta-sts.a.test: no answer in time");
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let why = get(&fetch(Duration::from_secs(60)), config, closed).unwrap_err();
        assert!(why.contains("refused"), "{why}");
    }
}
