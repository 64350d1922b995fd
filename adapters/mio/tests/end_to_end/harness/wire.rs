//! A blocking connection, in the clear, inside TLS or over pipes, read line by line.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::PATIENCE;

enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Pipe(ChildStdin, ChildStdout),
}

pub(crate) struct Wire {
    stream: Stream,
    /// Read and not yet looked at.
    rest: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Wire { stream: Stream::Clear(socket), rest: Vec::new() }
    }

    /// A server that speaks over its standard input and output.
    pub(crate) fn pipe(stdin: ChildStdin, stdout: ChildStdout) -> Self {
        Wire { stream: Stream::Pipe(stdin, stdout), rest: Vec::new() }
    }

    /// The same connection inside TLS from here on.
    pub(crate) fn into_tls(self, config: &Arc<ClientConfig>) -> io::Result<Self> {
        assert!(
            self.rest.is_empty(),
            "said in the clear before TLS: {:?}",
            String::from_utf8_lossy(&self.rest)
        );
        let Stream::Clear(mut socket) = self.stream else { panic!("TLS inside TLS") };
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(config.clone(), name).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut socket)?;
        }
        Ok(Wire { stream: Stream::Tls(Box::new(StreamOwned::new(client, socket))), rest: Vec::new() })
    }

    pub(crate) fn write(&mut self, octets: &[u8]) {
        self.try_write(octets).unwrap();
    }

    /// # Errors
    /// When the server is gone.
    pub(crate) fn try_write(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Clear(socket) => socket.write_all(octets),
            Stream::Tls(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
            Stream::Pipe(stdin, _) => stdin.write_all(octets),
        }
    }

    /// More octets; `false` at the end. A connection that is reset has ended, too.
    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let read = match &mut self.stream {
            Stream::Clear(socket) => socket.read(&mut buffer),
            Stream::Tls(stream) => stream.read(&mut buffer),
            Stream::Pipe(_, stdout) => stdout.read(&mut buffer),
        };
        match read {
            Ok(count) => {
                self.rest.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("the server said nothing in {PATIENCE:?}")
            }
            Err(_) => false,
        }
    }

    /// The next line without its CRLF; `None` when the connection has ended.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut looked = 0;
        loop {
            if let Some(end) = self.rest[looked..].iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=looked + end).collect();
                let line = line.strip_suffix(b"\r\n").expect("lines end with CRLF");
                return Some(String::from_utf8_lossy(line).into_owned());
            }
            looked = self.rest.len();
            // Half a line is what a killed server leaves.
            if !self.read_more() {
                return None;
            }
        }
    }

    /// So many octets; `None` when the connection has ended before.
    pub(crate) fn octets(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.rest.len() < count {
            if !self.read_more() {
                return None;
            }
        }
        Some(self.rest.drain(..count).collect())
    }

    /// Everything said to the end of the connection, which must come.
    pub(crate) fn read_to_end(&mut self) -> String {
        while self.read_more() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }
}
