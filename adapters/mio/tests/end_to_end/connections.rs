//! What the event loop owes every connection, whatever it speaks: last replies arrive, nothing crosses the border of TLS,
//! slow peers are waited for, running out of descriptors is survived, and the end is announced.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::harness::{PATIENCE, Server, Site, Smtp, eventually};

/// Without a client's manners: what a test sends and reads here may end anywhere.
fn connect(server: &Server, service: &str) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", server.port(service))).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn line(socket: &mut impl BufRead) -> String {
    let mut line = String::new();
    socket.read_line(&mut line).unwrap();
    line
}

#[test]
fn the_last_reply_arrives_although_more_was_sent_than_read() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut text = b"QUIT\r\n".to_vec();
    text.resize(300_000, b'x');
    for _ in 0..20 {
        let mut socket = connect(&server, "smtp");
        socket.write_all(&text).unwrap();
        let mut replies = String::new();
        socket.read_to_string(&mut replies).unwrap();
        let codes: Vec<&str> = replies.lines().filter_map(|reply| reply.get(..3)).collect();
        assert_eq!(codes, ["220", "221"], "{replies}");
    }
}

#[test]
fn a_client_that_closes_its_half_gets_its_replies() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut socket = connect(&server, "smtp");
    socket.write_all(b"EHLO client.example\r\nNOOP\r\n").unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut replies = String::new();
    socket.read_to_string(&mut replies).unwrap();
    assert!(replies.starts_with("220 ") && replies.contains("\r\n250 2.0.0"), "{replies}");
}

#[test]
fn nothing_sent_in_the_clear_is_obeyed_behind_starttls() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut smtp = connect(&server, "smtp");
    smtp.write_all(b"EHLO client.example\r\nSTARTTLS\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\n")
        .unwrap();
    let mut replies = String::new();
    // A reset is as good an end as a close.
    let _ = smtp.read_to_string(&mut replies);
    assert!(!replies.contains("250 2.1"), "{replies}");

    let mut imap = connect(&server, "imap");
    imap.write_all(b"a1 STARTTLS\r\na2 NOOP\r\n").unwrap();
    let mut replies = String::new();
    let _ = imap.read_to_string(&mut replies);
    assert!(!replies.contains("a2 OK"), "{replies}");
}

#[test]
fn a_client_that_reads_slowly_holds_nobody_up_and_loses_nothing() {
    let site = Site::new();
    let server = Server::start(&site);
    const COMMANDS: usize = 100_000;
    let slow = connect(&server, "smtp");
    let mut writer = slow.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // More than all buffers on the way hold, so that the server has to stop reading.
        let mut text = b"EHLO client.example\r\n".to_vec();
        text.extend(b"MAIL FROM:<>\r\nRSET\r\n".repeat(COMMANDS / 2));
        text.extend(b"QUIT\r\n");
        // The server may close before it has taken everything: it counts commands that lead to nothing.
        let _ = writer.write_all(&text);
    });
    for _ in 0..20 {
        let mut quick = connect(&server, "smtp");
        quick.write_all(b"QUIT\r\n").unwrap();
        let mut replies = String::new();
        quick.read_to_string(&mut replies).unwrap();
        assert!(replies.contains("\r\n221 "), "{replies}");
    }
    let mut replies = String::new();
    BufReader::new(slow).read_to_string(&mut replies).unwrap();
    sending.join().unwrap();
    let mut last = replies.lines().rev();
    assert!(last.next().is_some_and(|reply| reply.starts_with("221 ") || reply.starts_with("421 ")));
    assert!(last.all(|reply| reply.starts_with("250") || reply.starts_with("220")), "a reply was torn");
}

#[test]
fn without_descriptors_clients_wait_and_are_served_later() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let site = Site::new();
    let server = Server::start(&site);
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    let directory = format!("/proc/{}/fd", server.pid());
    let descriptors = || std::fs::read_dir(&directory).unwrap().count() as u64;
    let open = descriptors();
    let maximum = getrlimit(Resource::Nofile).maximum;
    let before = prlimit(pid, Resource::Nofile, Rlimit { current: Some(open + 5), maximum }).unwrap();
    let clients: Vec<TcpStream> = (0..30).map(|_| connect(&server, "smtp")).collect();
    // The first of them take what there is.
    while descriptors() < open + 5 {
        std::thread::yield_now();
    }
    prlimit(pid, Resource::Nofile, before).unwrap();
    for client in clients {
        let greeting = line(&mut BufReader::new(client));
        assert!(greeting.starts_with("220 "), "{greeting}");
    }
}

#[test]
fn several_event_loops_are_one_server() {
    const LOOPS: usize = 4;
    const CLIENTS: usize = 24;
    let site = Site::with(&format!("[limits]\nevent_loops = {LOOPS}\nconnections_per_address = {CLIENTS}\n"));
    let mut server = Server::start(&site);
    // A thread names itself when it begins.
    eventually("all loops run", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
        (names.filter(|name| name == "loop\n").count() == LOOPS).then_some(())
    });

    // The kernel gives each connection to a loop by its port: this many are not all one loop's.
    let mut readers: Vec<_> = (0..CLIENTS - 4).map(|_| server.imap("ann")).collect();
    let idling: Vec<String> = readers
        .iter_mut()
        .map(|imap| {
            imap.ok("SELECT INBOX");
            imap.idle()
        })
        .collect();
    let mut writers: Vec<_> = (0..4).map(|_| server.exchange()).collect();
    // All of them together are as many as one address may have.
    let (_, refused) = Smtp::connect_any(server.port("smtp"), &site.tls());
    assert_eq!(refused.map(|reply| reply.code), Some(421));
    for (number, smtp) in writers.iter_mut().enumerate() {
        smtp.expect("EHLO client.example", 250);
        smtp.deliver("a@client.example", &["ann@example.test"], &format!("Subject: {number}\n\nx\n"));
    }
    for (imap, tag) in readers.iter_mut().zip(&idling) {
        imap.hear("* 4 EXISTS");
        imap.done(tag);
    }
    // What one session changes, all others are told.
    readers[0].ok("STORE 2 +FLAGS (\\Deleted)");
    readers[0].ok("EXPUNGE");
    for imap in &mut readers[1..] {
        eventually("the expunge is told", || imap.ok("NOOP").contains(&"2 EXPUNGE".to_owned()).then_some(()));
    }
    server.after(|server| server.signal("HUP"), "configuration reloaded");
    server.signal("TERM");
    for imap in &mut readers {
        imap.hear("* BYE ");
    }
    assert!(server.ended().success());
}

#[test]
fn the_end_is_announced_and_comes() {
    let site = Site::new();
    let mut server = Server::start(&site);
    let mut smtp = BufReader::new(connect(&server, "smtp"));
    let mut imap = BufReader::new(connect(&server, "imap"));
    assert!(line(&mut smtp).starts_with("220 ") && line(&mut imap).starts_with("* OK "));
    server.signal("TERM");
    // What stops a process and its group sends two.
    server.signal("TERM");
    assert!(line(&mut smtp).starts_with("421 "));
    assert!(line(&mut imap).starts_with("* BYE "));
    server.wait_for_log("\"ended\"");
    assert!(server.ended().success());
    assert!(!site.path("state/control.sock").exists());
}
