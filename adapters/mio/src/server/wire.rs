//! One socket, with or without TLS: octets in, octets out, nothing about mail.
//!
//! mio is edge-triggered, so a [`Wire`] remembers whether its socket may be read and written and forgets it only
//! when the kernel says so. Reading and decrypting go through buffers that all connections of a loop share
//! ([`Buffers`]): an idle connection holds none. What is to be sent is gathered into runs, so that many small
//! pieces are one TLS record and one system call; no more is taken from the send queue before the last run is
//! with the kernel.

use std::io::{self, Read, Write};
use std::sync::Arc;

use postier_core::machine::TlsInfo;
use postier_core::send_queue::{SendQueue, Transmit};
use postier_host::disk;
use postier_host::tls::{self, ServerTls};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConnection};

/// Octets read from a socket at once.
const RAW_BYTES: usize = 64 * 1024;
/// What decrypting [`RAW_BYTES`] can give, with the two records that may have waited for their last octets.
const PLAIN_BYTES: usize = RAW_BYTES + 2 * 17 * 1024;
/// Octets gathered from a send queue for one run.
const GATHER_BYTES: usize = 64 * 1024;

/// Space shared by all connections of a loop.
pub(super) struct Buffers {
    raw: Box<[u8]>,
    plain: Box<[u8]>,
    gather: Vec<u8>,
    file: Box<[u8]>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Buffers {
            raw: vec![0; RAW_BYTES].into(),
            plain: vec![0; PLAIN_BYTES].into(),
            gather: Vec::with_capacity(GATHER_BYTES),
            file: vec![0; postier_core::send_queue::READ_BYTES_MAX].into(),
        }
    }

    /// What the last [`Wire::receive`] brought.
    pub(super) fn received(&self, count: usize) -> &[u8] {
        self.plain.get(..count).unwrap_or_default()
    }
}

/// What [`Wire::receive`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// So many octets lie in [`Buffers::received`]; zero when TLS kept them to itself.
    Octets(usize),
    /// Nothing now; the loop will say when.
    Blocked,
    /// The peer will send nothing more.
    End,
}

/// How far [`Wire::send`] came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Everything is with the kernel.
    All,
    /// The kernel takes no more now; the loop will say when.
    Blocked,
    /// The budget is used up and there is more.
    More,
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub(super) enum WireError {
    /// The socket's error: the peer is gone.
    Io(io::Error),
    /// The peer breaks TLS.
    Tls(rustls::Error),
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        WireError::Io(error)
    }
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WireError::Io(error) => write!(f, "{error}"),
            WireError::Tls(error) => f.write_str(&tls::explain(error)),
        }
    }
}

/// A socket with what it takes to read and write it.
pub(super) struct Wire<S> {
    socket: S,
    tls: Option<Box<Connection>>,
    /// What TLS was begun with, as the server.
    offered: Option<ServerTls>,
    /// What TLS keeps of received octets.
    record: Record,
    /// Without TLS: gathered octets that the kernel did not take yet, from `unsent_at` on.
    unsent: Vec<u8>,
    unsent_at: usize,
    /// Octets of the run that the kernel did not take in full yet.
    run: usize,
    readable: bool,
    writable: bool,
    /// The kernel reported the peer's end: read on until it shows.
    end_reported: bool,
    /// TLS's own end was read, behind octets that were handed out first.
    ended: bool,
}

impl<S: Read + Write> Wire<S> {
    pub(super) fn new(socket: S) -> Self {
        Wire {
            socket,
            tls: None,
            offered: None,
            record: Record::default(),
            unsent: Vec::new(),
            unsent_at: 0,
            run: 0,
            readable: false,
            writable: true,
            end_reported: false,
            ended: false,
        }
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    pub(super) fn into_socket(self) -> S {
        self.socket
    }

    /// What the poll said.
    pub(super) fn note_ready(&mut self, readable: bool, writable: bool, ended: bool) {
        self.readable |= readable || ended;
        self.writable |= writable;
        self.end_reported |= ended;
    }

    /// [`Wire::receive`] may find something.
    pub(super) fn is_readable(&self) -> bool {
        self.readable || self.ended
    }

    /// The kernel reported that the peer will send nothing more.
    pub(super) fn is_end_reported(&self) -> bool {
        self.end_reported
    }

    /// Octets held until the kernel takes them, or until the peer sends the rest of a TLS record.
    pub(super) fn buffered(&self) -> usize {
        self.run + self.record.kept
    }

    /// Begins TLS as the server. Nothing may wait to be sent.
    pub(super) fn start_tls(&mut self, offered: ServerTls) -> Result<(), WireError> {
        self.set_tls(ServerConnection::new(offered.config().clone()).map_err(WireError::Tls)?.into());
        self.offered = Some(offered);
        Ok(())
    }

    /// Begins TLS as the client of a server of this name. Nothing may wait to be sent.
    pub(super) fn start_tls_to(
        &mut self,
        config: Arc<ClientConfig>,
        server: ServerName<'static>,
    ) -> Result<(), WireError> {
        self.set_tls(ClientConnection::new(config, server).map_err(WireError::Tls)?.into());
        Ok(())
    }

    fn set_tls(&mut self, mut tls: Connection) {
        // What is written is bounded by the runs it comes in.
        tls.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
        self.record = Record::default();
    }

    /// What the finished handshake agreed on; `None` while it is under way.
    pub(super) fn tls_info(&self) -> Option<TlsInfo> {
        self.tls.as_ref().and_then(|connection| tls::info(connection, self.offered.as_ref()))
    }

    /// What the other end has shown of itself, its own certificate first.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.as_ref().and_then(|connection| connection.peer_certificates()).unwrap_or_default()
    }

    /// Reads once from the socket, `most` octets if there are more, and decrypts what came.
    pub(super) fn receive(&mut self, buffers: &mut Buffers, most: usize) -> Result<Received, WireError> {
        if self.ended {
            return Ok(Received::End);
        }
        let space: &mut [u8] = if self.tls.is_some() { &mut buffers.raw } else { &mut buffers.plain };
        let most = most.min(space.len());
        let space = space.get_mut(..most).unwrap_or_default();
        let count = loop {
            match self.socket.read(space) {
                Ok(count) => break count,
                Err(error) => {
                    if !may_retry(error)? {
                        self.readable = false;
                        return Ok(Received::Blocked);
                    }
                }
            }
        };
        if count == 0 {
            return Ok(Received::End);
        }
        // A short read emptied the socket (epoll(7)); what comes next, the peer's end too, is a new event.
        if count < space.len() && !self.end_reported {
            self.readable = false;
        }
        match &mut self.tls {
            None => Ok(Received::Octets(count)),
            Some(tls) => {
                let raw = buffers.raw.get(..count).unwrap_or_default();
                let (count, ended) = decrypt(tls, raw, &mut buffers.plain)?;
                self.record.feed(raw, tls.is_handshaking());
                self.ended = ended;
                Ok(Received::Octets(count))
            }
        }
    }

    /// Reads once from the socket and throws away what came, decrypted or not.
    pub(super) fn discard(&mut self, buffers: &mut Buffers) -> Result<Received, WireError> {
        let count = loop {
            match self.socket.read(&mut buffers.raw) {
                Ok(count) => break count,
                Err(error) => {
                    if !may_retry(error)? {
                        self.readable = false;
                        return Ok(Received::Blocked);
                    }
                }
            }
        };
        Ok(if count == 0 { Received::End } else { Received::Octets(count) })
    }

    /// Hands what waits to the kernel: first what is gathered or encrypted already, then up to about `budget`
    /// octets of the queue.
    pub(super) fn send(
        &mut self,
        tx: &mut SendQueue,
        buffers: &mut Buffers,
        budget: usize,
    ) -> Result<Sent, WireError> {
        let mut taken = 0;
        loop {
            if !self.flush()? {
                return Ok(Sent::Blocked);
            }
            if taken >= budget {
                return Ok(if tx.is_empty() { Sent::All } else { Sent::More });
            }
            gather(tx, buffers);
            if buffers.gather.is_empty() {
                return Ok(Sent::All);
            }
            taken += buffers.gather.len();
            self.run = buffers.gather.len();
            match &mut self.tls {
                Some(tls) => tls.writer().write_all(&buffers.gather)?,
                None => self.write_gathered(&buffers.gather)?,
            }
        }
    }

    /// Sends what was gathered or encrypted before; false when the kernel takes no more.
    pub(super) fn flush(&mut self) -> Result<bool, WireError> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                if !self.writable {
                    return Ok(false);
                }
                match tls.write_tls(&mut self.socket) {
                    Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                    Ok(_) => {}
                    Err(error) => self.writable = may_retry(error)?,
                }
            }
        }
        while self.unsent_at < self.unsent.len() {
            if !self.writable {
                return Ok(false);
            }
            match self.socket.write(self.unsent.get(self.unsent_at..).unwrap_or_default()) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => self.unsent_at += count,
                Err(error) => self.writable = may_retry(error)?,
            }
        }
        (self.unsent, self.unsent_at, self.run) = (Vec::new(), 0, 0);
        Ok(true)
    }

    /// Tells the peer that nothing more comes, as TLS does it; to be flushed.
    pub(super) fn send_end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
    }

    fn write_gathered(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let mut at = 0;
        while at < bytes.len() && self.writable {
            match self.socket.write(bytes.get(at..).unwrap_or_default()) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => at += count,
                Err(error) => self.writable = may_retry(error)?,
            }
        }
        self.unsent.extend_from_slice(bytes.get(at..).unwrap_or_default());
        Ok(())
    }
}

/// Follows the records that a peer sends (RFC 8446 §5.1), for rustls does not tell what it keeps of them.
#[derive(Debug, Default)]
struct Record {
    /// Octets of the record that is not whole yet; during a handshake, of everything the peer has sent: its
    /// messages may span records.
    kept: usize,
    /// The record's header as far as it has come.
    header: [u8; Record::HEADER_BYTES],
    /// Octets of the record so far, header included.
    seen: usize,
}

impl Record {
    /// Type, version, length.
    const HEADER_BYTES: usize = 5;

    fn feed(&mut self, mut raw: &[u8], handshaking: bool) {
        let before = self.kept + raw.len();
        while let Some(&octet) = raw.first() {
            if let Some(place) = self.header.get_mut(self.seen) {
                *place = octet;
                self.seen += 1;
                raw = raw.get(1..).unwrap_or_default();
            } else {
                let taken = (self.size() - self.seen).min(raw.len());
                self.seen += taken;
                raw = raw.get(taken..).unwrap_or_default();
            }
            if self.seen >= Self::HEADER_BYTES && self.seen >= self.size() {
                self.seen = 0;
            }
        }
        self.kept = if handshaking { before } else { self.seen };
    }

    /// Octets of the record whose header has come.
    fn size(&self) -> usize {
        let [_, _, _, high, low] = self.header;
        Self::HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]))
    }
}

/// Whether a failed call may be tried again at once; an error that is one is passed on.
fn may_retry(error: io::Error) -> Result<bool, WireError> {
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(false),
        io::ErrorKind::Interrupted => Ok(true),
        _ => Err(error.into()),
    }
}

/// Feeds records to TLS and takes out what they hold: how many octets, and whether they are the last.
fn decrypt(tls: &mut Connection, mut raw: &[u8], plain: &mut [u8]) -> Result<(usize, bool), WireError> {
    let mut count = 0;
    while !raw.is_empty() {
        if tls.read_tls(&mut raw)? == 0 {
            break;
        }
        tls.process_new_packets().map_err(WireError::Tls)?;
        loop {
            let Some(space) = plain.get_mut(count..).filter(|space| !space.is_empty()) else {
                return Err(WireError::Tls(rustls::Error::General("more plaintext than ciphertext".into())));
            };
            match tls.reader().read(space) {
                // close_notify: anything behind it is not the peer's any more.
                Ok(0) => return Ok((count, true)),
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok((count, false))
}

/// Takes up to [`GATHER_BYTES`] out of the queue, reading files as they come up.
fn gather(tx: &mut SendQueue, buffers: &mut Buffers) {
    buffers.gather.clear();
    while let Some(room) = GATHER_BYTES.checked_sub(buffers.gather.len()).filter(|&room| room > 0) {
        match tx.poll_transmit() {
            None => break,
            Some(Transmit::Bytes(bytes)) => {
                let part = bytes.get(..room).unwrap_or(bytes);
                buffers.gather.extend_from_slice(part);
                let count = part.len();
                tx.handle_sent(count);
            }
            Some(Transmit::Read { file, offset, len }) => {
                let len = len.min(buffers.file.len());
                let space = buffers.file.get_mut(..len).unwrap_or_default();
                // A file that cannot be read is padded by the queue, which counts it as too short.
                let count = disk::read_at(file, space, offset).unwrap_or(0);
                tx.handle_read(space.get(..count).unwrap_or_default());
            }
        }
    }
    while let Some(file) = tx.poll_release() {
        disk::close(file);
    }
}

#[cfg(test)]
mod tests;
