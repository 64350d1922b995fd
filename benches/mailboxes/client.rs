//! An IMAP client that sends a command and reads until its answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(600);

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

pub(crate) struct Client {
    wire: Box<dyn Wire>,
    tag: u32,
    buffer: Vec<u8>,
}

/// How long a command took, how much came, and the end of that.
pub(crate) struct Reply {
    pub(crate) seconds: f64,
    pub(crate) bytes: usize,
    pub(crate) end: String,
}

impl Client {
    /// Over TLS if there is a configuration for it.
    pub(crate) fn connect(port: u16, tls: Option<Arc<ClientConfig>>) -> Result<Self, String> {
        let problem = |error: &dyn std::fmt::Display| format!("connection to port {port}: {error}");
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| problem(&error))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
            .map_err(|error| problem(&error))?;
        let wire: Box<dyn Wire> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let name = "localhost".try_into().map_err(|error| problem(&error))?;
                let connection = ClientConnection::new(config, name).map_err(|error| problem(&error))?;
                Box::new(StreamOwned::new(connection, stream))
            }
        };
        let mut client = Self { wire, tag: 0, buffer: vec![0; 256 * 1024] };
        client.read_line()?;
        Ok(client)
    }

    /// The next line, if nothing comes behind it before the next command.
    pub(crate) fn read_line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let count = self.wire.read(&mut self.buffer).map_err(|error| error.to_string())?;
            if count == 0 {
                return Err(String::from("the server closed the connection"));
            }
            line.extend_from_slice(&self.buffer[..count]);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    pub(crate) fn send(&mut self, octets: &[u8]) -> Result<(), String> {
        self.wire.write_all(octets).and_then(|()| self.wire.flush()).map_err(|error| error.to_string())
    }

    /// Sends a command and reads its answer, which must be OK.
    pub(crate) fn command(&mut self, command: &str) -> Result<Reply, String> {
        self.tag += 1;
        let (start, line) = (Instant::now(), format!("t{} {command}\r\n", self.tag));
        self.send(line.as_bytes())?;
        let reply = self.answer(start)?;
        match reply.end.starts_with(&format!("t{} OK", self.tag)) {
            true => Ok(reply),
            false => Err(format!("{command}: {}", reply.end)),
        }
    }

    fn answer(&mut self, start: Instant) -> Result<Reply, String> {
        let (tag, mut tail, mut bytes) = (format!("t{} ", self.tag), Vec::new(), 0);
        loop {
            let count = self.wire.read(&mut self.buffer).map_err(|error| error.to_string())?;
            if count == 0 {
                return Err(String::from("the server closed the connection"));
            }
            bytes += count;
            tail.extend_from_slice(&self.buffer[count.saturating_sub(4096)..count]);
            tail.drain(..tail.len().saturating_sub(4096));
            let Some(text) = tail.strip_suffix(b"\r\n") else { continue };
            let line = text.rsplit(|octet| *octet == b'\n').next().unwrap_or_default();
            if line.starts_with(tag.as_bytes()) {
                let end = String::from_utf8_lossy(line).into_owned();
                return Ok(Reply { seconds: start.elapsed().as_secs_f64(), bytes, end });
            }
        }
    }

    /// APPEND of a message, as clients without LITERAL+ do.
    pub(crate) fn append(&mut self, mailbox: &str, message: &[u8]) -> Result<(), String> {
        self.tag += 1;
        self.send(format!("t{} APPEND {mailbox} {{{}}}\r\n", self.tag, message.len()).as_bytes())?;
        let line = self.read_line()?;
        if !line.starts_with('+') {
            return Err(format!("APPEND: {line}"));
        }
        self.send(message)?;
        self.send(b"\r\n")?;
        let reply = self.answer(Instant::now())?;
        if reply.end.contains(" OK") { Ok(()) } else { Err(format!("APPEND: {}", reply.end)) }
    }
}
