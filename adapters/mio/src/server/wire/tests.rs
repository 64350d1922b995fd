use super::*;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use postier_core::disk::Handle;
use postier_core::send_queue::FileRange;
use postier_host::tls::{ServerTls, Tickets, TlsIdentity, provider, self_signed, server_config};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

fn pair() -> (Wire<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (Wire::new(ours), theirs)
}

/// The server's configuration and a client that trusts it.
fn tls() -> (ServerTls, ClientConnection) {
    let made = self_signed(&["mail.example.org"]).unwrap();
    let identity = TlsIdentity::load(made.certificate.as_bytes(), made.key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(client), "mail.example.org".try_into().unwrap()).unwrap();
    (server_config(&[identity], Tickets::Off), client)
}

/// What the client's socket holds now.
fn read_available(socket: &mut UnixStream, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; most];
    match socket.read(&mut bytes) {
        Ok(count) => bytes.truncate(count),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            bytes.clear();
        }
    }
    bytes
}

/// Everything the wire has to say now.
fn receive_all(wire: &mut Wire<UnixStream>, buffers: &mut Buffers) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    wire.note_ready(true, true, false);
    loop {
        match wire.receive(buffers, usize::MAX).unwrap() {
            Received::Octets(count) => all.extend_from_slice(buffers.received(count)),
            Received::Blocked => return (all, false),
            Received::End => return (all, true),
        }
        wire.note_ready(true, true, false);
    }
}

/// Moves what the client has encrypted, in pieces of `piece` octets, and finishes the handshake.
fn shake(wire: &mut Wire<UnixStream>, client: &mut ClientConnection, theirs: &mut UnixStream, piece: usize) {
    let mut buffers = Buffers::new();
    for _ in 0..20 {
        let mut out = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut out).unwrap();
        }
        for part in out.chunks(piece) {
            theirs.write_all(part).unwrap();
            assert_eq!(receive_all(wire, &mut buffers), (Vec::new(), false));
        }
        assert!(wire.flush().unwrap());
        let mut back = &read_available(theirs, 1 << 20)[..];
        while !back.is_empty() {
            client.read_tls(&mut back).unwrap();
            client.process_new_packets().unwrap();
        }
        if wire.tls_info().is_some() && !client.is_handshaking() && !client.wants_write() {
            return;
        }
    }
    panic!("no end to the handshake");
}

#[test]
fn octets_and_files_arrive_whole_however_slowly_the_peer_reads() {
    let (mut wire, mut theirs) = pair();
    let mut buffers = Buffers::new();
    let tmp = tempfile::tempfile().unwrap();
    let line = b"a line of a message\n";
    (&tmp).write_all(&line.repeat(20_000)).unwrap();
    let mut tx = SendQueue::new(1 << 20);
    tx.push(b"* 1 FETCH\r\n");
    let emit = 20_000 * (line.len() as u64 + 1);
    let file = Handle(tmp.into_raw_fd().try_into().unwrap());
    tx.push_range(FileRange::text(file, 0, 0, emit));
    tx.push(&b"end\r\n".repeat(50_000));
    let mut all = Vec::new();
    let mut blocked = 0;
    loop {
        let sent = wire.send(&mut tx, &mut buffers, 100_000).unwrap();
        let part = read_available(&mut theirs, 70_001);
        if sent == Sent::All && part.is_empty() {
            break;
        }
        blocked += usize::from(sent == Sent::Blocked);
        all.extend(part);
        wire.note_ready(false, true, false);
    }
    let expected =
        [&b"* 1 FETCH\r\n"[..], &b"a line of a message\r\n".repeat(20_000), &b"end\r\n".repeat(50_000)]
            .concat();
    assert!(blocked > 0 && all == expected, "{} of {}", all.len(), expected.len());
    // The queue's file was taken back and closed, and no memory is kept.
    assert!(tx.poll_release().is_none() && wire.unsent.capacity() == 0 && tx.is_empty());
}

#[test]
fn a_budget_ends_a_turn() {
    let (mut wire, mut theirs) = pair();
    let mut tx = SendQueue::default();
    tx.push(&[b'x'; 200_000]);
    let sent = wire.send(&mut tx, &mut Buffers::new(), 1000).unwrap();
    assert_eq!((sent, tx.pending()), (Sent::More, 200_000 - GATHER_BYTES as u64));
    assert!(!read_available(&mut theirs, 1 << 20).is_empty());
}

#[test]
fn tls_carries_both_directions_in_any_segmentation() {
    for piece in [1, 7, 1000, 100_000] {
        let (mut wire, mut theirs) = pair();
        let mut buffers = Buffers::new();
        let (config, mut client) = tls();
        wire.start_tls(config).unwrap();
        assert_eq!(wire.tls_info(), None);
        shake(&mut wire, &mut client, &mut theirs, piece);
        let info = wire.tls_info().unwrap();
        assert_eq!((info.version, info.server_name.as_deref()), ("TLSv1.3", Some("mail.example.org")));
        assert!(info.cipher.starts_with("TLS_"), "{info:?}");

        let text = b"A1 NOOP\r\n".repeat(5000);
        let mut got = Vec::new();
        for part in text.chunks(9_000) {
            client.writer().write_all(part).unwrap();
            let mut out = Vec::new();
            client.write_tls(&mut out).unwrap();
            for part in out.chunks(piece) {
                theirs.write_all(part).unwrap();
                got.extend(receive_all(&mut wire, &mut buffers).0);
            }
        }
        assert_eq!(got, text);

        let mut tx = SendQueue::new(1 << 20);
        let reply = b"* OK still here\r\n".repeat(20_000);
        tx.push(&reply);
        let mut got = Vec::new();
        while got.len() < reply.len() {
            wire.note_ready(false, true, false);
            wire.send(&mut tx, &mut buffers, 50_000).unwrap();
            let mut back = &read_available(&mut theirs, 100_000)[..];
            while !back.is_empty() {
                client.read_tls(&mut back).unwrap();
                client.process_new_packets().unwrap();
                let mut part = vec![0; 100_000];
                if let Ok(count) = client.reader().read(&mut part) {
                    got.extend_from_slice(&part[..count]);
                }
            }
        }
        assert_eq!(got, reply);

        client.writer().write_all(b"A2 LOGOUT\r\n").unwrap();
        client.send_close_notify();
        let mut out = Vec::new();
        client.write_tls(&mut out).unwrap();
        theirs.write_all(&out).unwrap();
        assert_eq!(receive_all(&mut wire, &mut buffers), (b"A2 LOGOUT\r\n".to_vec(), true));
    }
}

#[test]
fn what_tls_keeps_of_a_record_counts() {
    let (config, mut client) = tls();
    let (mut wire, mut theirs) = pair();
    wire.start_tls(config).unwrap();
    let mut buffers = Buffers::new();
    // A hello that comes in two pieces, and one octet of what follows a whole record, and its header but for an octet.
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    theirs.write_all(&hello[..100]).unwrap();
    receive_all(&mut wire, &mut buffers);
    assert_eq!(wire.buffered(), 100);
    theirs.write_all(&hello[100..]).unwrap();
    receive_all(&mut wire, &mut buffers);
    shake(&mut wire, &mut client, &mut theirs, 1 << 20);
    assert_eq!(wire.buffered(), 0);
    client.writer().write_all(&[b'x'; 10_000]).unwrap();
    client.writer().write_all(&[b'y'; 100]).unwrap();
    let mut records = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut records).unwrap();
    }
    let first = 5 + usize::from(u16::from_be_bytes([records[3], records[4]]));
    let mut sent = 0;
    for (upto, kept) in [(3, 3), (9000, 9000), (first, 0), (first + 4, 4), (records.len(), 0)] {
        theirs.write_all(&records[sent..upto]).unwrap();
        receive_all(&mut wire, &mut buffers);
        assert_eq!(wire.buffered(), kept, "after {upto} of {}", records.len());
        sent = upto;
    }
}

#[test]
fn what_is_not_tls_gets_an_alert() {
    let (mut wire, mut theirs) = pair();
    wire.start_tls(tls().0).unwrap();
    theirs.write_all(b"EHLO client.example\r\n").unwrap();
    wire.note_ready(true, false, false);
    assert!(matches!(wire.receive(&mut Buffers::new(), usize::MAX), Err(WireError::Tls(_))));
    wire.flush().unwrap();
    // Content type 21, RFC 8446 §5.1.
    assert_eq!(read_available(&mut theirs, 100).first(), Some(&21));
}

#[test]
fn a_short_read_means_empty_unless_the_peer_has_ended() {
    let (mut wire, mut theirs) = pair();
    let mut buffers = Buffers::new();
    theirs.write_all(b"QUIT\r\n").unwrap();
    wire.note_ready(true, false, false);
    assert_eq!(wire.receive(&mut buffers, usize::MAX).unwrap(), Received::Octets(6));
    assert!(!wire.is_readable());
    theirs.write_all(b"QUIT\r\n").unwrap();
    drop(theirs);
    wire.note_ready(true, false, true);
    assert_eq!(wire.receive(&mut buffers, usize::MAX).unwrap(), Received::Octets(6));
    assert!(wire.is_readable());
    assert_eq!(wire.receive(&mut buffers, usize::MAX).unwrap(), Received::End);
}
