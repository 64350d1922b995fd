//! The office sends: an office, a front and a disk; other servers and DNS are made up.

mod mta_sts;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, MX, TLSA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{QueueCommand, Setup};
use crate::dkim;
use crate::dns::mta_sts::files;
use crate::dns::resolver;
use crate::event::{Event, Fate};
use crate::machine::TlsInfo;
use crate::maildir::context::Root;
use crate::maildir::memdisk::{MemDisk, context};
use crate::queue::machine::LinkId;
use crate::queue::spool::{Recovered, recover};
use crate::send_queue::Transmit;
use crate::server::front::{Front, FrontAction};
use crate::server::office::{Ended, Office, OfficeAction, OfficeInput};
use crate::server::{Call, Caller, ConnId, FromOffice, FrontIndex, LinkNews, ToOffice, Trust};
use crate::site::{Account, Aliases, Secret, Sending, Site, SiteParts, TlsPolicy, Way};
use crate::smtp::server::{CommitVerdict, Recipient, Transaction};
use crate::ticket::TicketSource;

/// How another server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Good,
    /// Says "later" to each recipient the first time.
    Greylisting,
    NobodyHere,
    /// Refuses the session for good.
    Closed,
    /// Breaks off after its greeting.
    Dropping,
    /// Takes the message, and breaks off without saying so; once.
    Forgetful,
    /// Offers STARTTLS.
    Encrypting,
    /// Offers STARTTLS, and every handshake fails.
    BrokenTls,
}

struct Server {
    manner: Manner,
    seen: BTreeSet<String>,
    forgot: bool,
}

/// One connection to one of them.
struct Peer {
    link: LinkId,
    secure: bool,
    address: IpAddr,
    heard: Vec<u8>,
    rx: Vec<u8>,
    from: String,
    to: Vec<String>,
    in_data: bool,
    gone: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Received {
    host: IpAddr,
    from: String,
    to: Vec<String>,
    body: String,
}

struct World {
    office: Office,
    front: Front,
    disk: MemDisk,
    site: Arc<Site>,
    servers: BTreeMap<IpAddr, Server>,
    peers: BTreeMap<ConnId, Peer>,
    zone: BTreeMap<(String, RecordType), Vec<RData>>,
    /// Names about which the resolver cannot tell.
    broken: BTreeSet<String>,
    /// What the servers of policies have, by their names.
    policies: BTreeMap<String, String>,
    /// Whom they were asked of.
    fetched: Vec<String>,
    /// They do not answer yet,
    slow: bool,
    /// but have this to say.
    held: Vec<OfficeInput>,
    /// What was asked of certificates.
    trusts: Vec<Trust>,
    inputs: VecDeque<OfficeInput>,
    received: Vec<Received>,
    verdicts: Vec<CommitVerdict>,
    events: Vec<Event>,
    tickets: TicketSource,
    submitted: u64,
    /// Who submits has logged in.
    submitter: bool,
    /// Who submits is at an address that need not.
    trusted: bool,
    last_conn: u64,
    lives: u8,
    /// The power is gone.
    dark: bool,
}

const SPOOL: &[u8] = b"/q";
const POLICIES: &[u8] = b"/s";

fn site() -> Arc<Site> {
    let secret = Secret::new("{PLAIN}x");
    let ann = Account::new(b"ann", b"us.test", b"/m".to_vec(), secret).unwrap();
    let (aliases, _) = Aliases::parse(b"postmaster: ann\naway: ann, bob@b.test\n");
    let sending = Some(Arc::new(Sending::default()));
    let parts =
        SiteParts { accounts: [ann].into(), aliases, sending, ..SiteParts::new("mx.us.test", ["us.test"]) };
    Arc::new(Site::build(parts).unwrap().0)
}

fn office(disk: &mut MemDisk, site: &Arc<Site>, life: u8) -> Office {
    let found = disk.run(Vec::new(), |disk| recover(disk, Root::new(SPOOL)));
    let recovered: Recovered = found.unwrap().unwrap();
    let mut office = Office::new(Arc::new(context()));
    let dns =
        resolver::Config { servers: [([127, 0, 0, 1], 53).into()].into(), ..resolver::Config::default() };
    let (site, spool) = (site.clone(), Root::new(SPOOL));
    let policies = Root::new(POLICIES);
    let found = disk.run(Vec::new(), |disk| files::load(disk, Root::new(POLICIES)));
    let kept = found.unwrap().unwrap();
    let seed = [life; 32];
    office.send_mail(disk.now(), Setup { site, spool, recovered, policies, kept, dns, seed });
    office
}

impl World {
    fn new() -> World {
        let mut disk = MemDisk::with_maildir();
        disk.make_root(SPOOL);
        disk.make_root(POLICIES);
        disk.put_dir("/q/tmp");
        disk.put_dir("/q/mail");
        disk.settle();
        let site = site();
        World {
            office: office(&mut disk, &site, 7),
            lives: 7,
            front: Front::new(FrontIndex(0), site.clone(), 1),
            disk,
            site,
            servers: BTreeMap::new(),
            peers: BTreeMap::new(),
            zone: BTreeMap::new(),
            broken: BTreeSet::new(),
            policies: BTreeMap::new(),
            fetched: Vec::new(),
            slow: false,
            held: Vec::new(),
            trusts: Vec::new(),
            inputs: VecDeque::new(),
            received: Vec::new(),
            verdicts: Vec::new(),
            events: Vec::new(),
            tickets: TicketSource::default(),
            submitted: 0,
            submitter: true,
            trusted: false,
            last_conn: 0,
            dark: false,
        }
    }

    /// Starts again with this configuration.
    fn sending(&mut self, sending: Sending) {
        let mut site = Site::clone(&self.site);
        site.sending = Some(Arc::new(sending));
        self.site = Arc::new(site);
        self.restart();
    }

    /// A domain with these exchangers, the best first.
    fn domain(&mut self, domain: &str, hosts: &[(u8, Manner)]) {
        let mut exchangers = Vec::new();
        for (n, (address, manner)) in hosts.iter().enumerate() {
            let host = format!("mx{n}.{domain}.");
            exchangers.push(RData::MX(MX::new(n as u16, Name::from_ascii(&host).unwrap())));
            let address = Ipv4Addr::new(192, 0, 2, *address);
            self.zone.insert((host, RecordType::A), [RData::A(A(address))].into());
            let server = Server { manner: *manner, seen: BTreeSet::new(), forgot: false };
            self.servers.entry(address.into()).or_insert(server);
        }
        self.zone.insert((format!("{domain}."), RecordType::MX), exchangers);
    }

    /// The power goes: what was not synced is gone, and so are all connections.
    fn restart(&mut self) {
        self.disk.restart();
        self.dark = false;
        self.peers.clear();
        self.inputs.clear();
        self.front = Front::new(FrontIndex(0), self.site.clone(), 1);
        self.lives += 1;
        self.office = office(&mut self.disk, &self.site, self.lives);
    }

    fn submit(&mut self, from: &str, to: &[&str], notify: Option<crate::smtp::parameter::Notify>) {
        self.submitted += 1;
        let number = self.submitted;
        let ann = self.site.accounts().next().unwrap().1.clone();
        let recipients = to.iter().map(|address| {
            let ours = address.ends_with("@us.test");
            Recipient {
                forward_path: address.as_bytes().to_vec(),
                accounts: if ours { [ann.clone()].into() } else { Vec::new() },
                remote: if ours { Vec::new() } else { [(*address).into()].into() },
                dsn_notify: notify,
                dsn_original: None,
            }
        });
        let transaction = Transaction {
            id: format!("id{number}").into(),
            reverse_path: from.as_bytes().to_vec(),
            recipients: recipients.collect(),
            submitter: self.submitter.then(|| ann.clone()),
            trusted: self.trusted,
            size: None,
            eight_bit: false,
            smtputf8: false,
            dsn_return_full: None,
            dsn_envelope_id: None,
        };
        let caller = Caller { front: FrontIndex(0), conn: ConnId(1_000_000 + number) };
        let author = if self.site.dkim_keys.is_empty() { String::new() } else { format!("From: {from}\n") };
        let body = format!("Return-Path: <{from}>\n{author}Subject: {number}\n\n.dotted\n").into_bytes();
        let commit = Some(self.tickets.issue());
        let transaction = Box::new(transaction);
        self.hand_in(OfficeInput::Front(ToOffice::Deliver { caller, transaction, body, commit }));
    }

    fn hand_in(&mut self, input: OfficeInput) {
        self.inputs.push_back(input);
        while !self.dark
            && let Some(input) = self.inputs.pop_front()
        {
            let mut out = Vec::new();
            self.office.handle(self.disk.now(), input, &mut out);
            for action in out {
                if !self.dark {
                    self.carry_out(action);
                }
            }
        }
    }

    fn carry_out(&mut self, action: OfficeAction) {
        match action {
            OfficeAction::Run(job, mut task) => {
                let Some(ended) = self.disk.try_drive(&mut task) else {
                    self.dark = true;
                    return;
                };
                let ended = match ended {
                    Ok(done) => Ended::Done(done),
                    Err(duration) => Ended::Waits(task, duration),
                };
                self.inputs.push_back(OfficeInput::Ran { job, ended });
            }
            OfficeAction::Answer(_, FromOffice::Delivered { answer, .. }) => {
                self.verdicts.push(*answer.verdict());
            }
            OfficeAction::Answer(_, message @ FromOffice::Link { .. }) => {
                let mut out = Vec::new();
                let conn = self.front.handle_office(self.disk.now(), message, &mut out);
                self.front_actions(out);
                self.pump(conn);
            }
            OfficeAction::Call(call) => self.call(*call),
            OfficeAction::OpenExchange { exchange, octets, .. } => {
                let octets = self.look_up(&octets);
                self.inputs.push_back(OfficeInput::Received { exchange, octets });
            }
            OfficeAction::Event(_, event) => self.events.push(event),
            OfficeAction::FetchPolicy(fetch) => {
                self.fetched.push(fetch.host.to_string());
                let outcome = match self.policies.get(&*fetch.host) {
                    Some(text) => Ok(text.clone().into_bytes()),
                    None => Err("no connection".into()),
                };
                let input = OfficeInput::Policy { fetch: fetch.id, outcome };
                if self.slow { self.held.push(input) } else { self.inputs.push_back(input) }
            }
            OfficeAction::Answer(..)
            | OfficeAction::CloseExchange(_)
            | OfficeAction::CheckPassword { .. }
            | OfficeAction::Watch { .. }
            | OfficeAction::Unwatch { .. } => {}
        }
    }

    fn look_up(&self, query: &[u8]) -> Vec<u8> {
        let mut message = Message::from_vec(query).unwrap();
        message.metadata.message_type = MessageType::Response;
        let question = message.queries[0].clone();
        let key = (question.name().to_ascii(), question.query_type());
        if self.broken.contains(&key.0) {
            message.metadata.response_code = ResponseCode::ServFail;
        }
        let known = self.zone.keys().any(|(name, _)| *name == key.0);
        match self.zone.get(&key) {
            Some(found) => {
                for data in found {
                    message.add_answer(Record::from_rdata(question.name().clone(), 60, data.clone()));
                }
            }
            None if known || self.broken.contains(&key.0) => {}
            None => message.metadata.response_code = ResponseCode::NXDomain,
        }
        message.to_vec().unwrap()
    }

    fn call(&mut self, call: Call) {
        let (link, address) = (call.link, call.address.ip());
        assert_eq!(call.address.port(), 25);
        self.trusts.push(call.trust.clone());
        let Some(server) = self.servers.get(&address) else {
            let news = LinkNews::Unconnected("refused".into());
            return self.inputs.push_back(OfficeInput::Front(ToOffice::Link { caller: None, link, news }));
        };
        let greeting: &[u8] = match server.manner {
            Manner::Closed => b"554 no mail here\r\n",
            _ => b"220 there\r\n",
        };
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        let mut out = Vec::new();
        self.front.call(self.disk.now(), conn, call, &mut out);
        let peer = Peer {
            link,
            secure: false,
            address,
            heard: Vec::new(),
            rx: greeting.to_vec(),
            from: String::new(),
            to: Vec::new(),
            in_data: false,
            gone: false,
        };
        self.peers.insert(conn, peer);
        self.front_actions(out);
        self.pump(conn);
    }

    fn front_actions(&mut self, actions: Vec<FrontAction>) {
        for action in actions {
            match action {
                FrontAction::Office(message) => self.inputs.push_back(OfficeInput::Front(message)),
                FrontAction::Close(conn, _) => self.hang_up(conn),
                FrontAction::Event(_, event) => self.events.push(event),
                FrontAction::StartTls(conn) => self.handshake(conn),
                FrontAction::CloseFile(_) | FrontAction::Pump(_) => {}
            }
        }
    }

    fn handshake(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let (link, manner) = (peer.link, self.servers.get(&peer.address).map(|server| server.manner));
        if manner != Some(Manner::Encrypting) {
            let news = LinkNews::TlsTrouble("a bad certificate".into());
            self.inputs.push_back(OfficeInput::Front(ToOffice::Link { caller: None, link, news }));
            return self.hang_up(conn);
        }
        peer.secure = true;
        let (info, mut out) = (TlsInfo { version: "TLSv1.3", ..TlsInfo::default() }, Vec::new());
        self.front.handle_tls_started(self.disk.now(), conn, info, &mut out);
        self.front_actions(out);
    }

    fn hang_up(&mut self, conn: ConnId) {
        if self.peers.remove(&conn).is_some() {
            let mut out = Vec::new();
            self.front.close(self.disk.now(), conn, &mut out);
            self.front_actions(out);
        }
    }

    /// Octets go to and fro until nobody has anything to say.
    fn pump(&mut self, conn: ConnId) {
        loop {
            let Some(peer) = self.peers.get_mut(&conn) else { return };
            let mut out = Vec::new();
            let consumed = self.front.handle_bytes(self.disk.now(), conn, &peer.rx, &mut out);
            peer.rx.drain(..consumed);
            let acted = !out.is_empty();
            self.front_actions(out);
            let Some(peer) = self.peers.get_mut(&conn) else { return };
            let mut said = false;
            while let Some(tx) = self.front.tx(conn)
                && let Some(Transmit::Bytes(bytes)) = tx.poll_transmit()
            {
                peer.heard.extend_from_slice(bytes);
                let count = bytes.len();
                tx.handle_sent(count);
                said = true;
            }
            if said && let Some(server) = self.servers.get_mut(&peer.address) {
                peer.listen(server, &mut self.received);
            }
            if peer.gone && peer.rx.is_empty() {
                return self.hang_up(conn);
            }
            if !said && consumed == 0 && !acted {
                return;
            }
        }
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.disk.now().instant.plus(time);
        while let Some(due) = self.office.poll_timeout().filter(|due| *due <= end) {
            let wait = due.since(self.disk.now().instant);
            self.disk.advance(u64::try_from(wait.as_micros()).unwrap());
            self.hand_in(OfficeInput::Timeout);
        }
        self.disk.advance(u64::try_from(end.since(self.disk.now().instant).as_micros()).unwrap());
    }

    fn spooled(&self) -> Vec<String> {
        self.disk.names("/q/mail")
    }

    fn received_for(&self, address: &str) -> Vec<&Received> {
        self.received.iter().filter(|mail| mail.to.iter().any(|to| to == address)).collect()
    }

    fn maildir(&self) -> Vec<String> {
        let names = self.disk.names("/m/new");
        let read = |name: &String| self.disk.read(&format!("/m/new/{name}")).unwrap();
        names.iter().map(|name| String::from_utf8(read(name)).unwrap()).collect()
    }
}

impl Server {
    fn offers_tls(&self) -> bool {
        matches!(self.manner, Manner::Encrypting | Manner::BrokenTls)
    }
}

impl Peer {
    fn listen(&mut self, server: &mut Server, received: &mut Vec<Received>) {
        if server.manner == Manner::Dropping {
            (self.gone, self.rx) = (true, Vec::new());
            return;
        }
        loop {
            if self.in_data {
                let Some(end) = memchr::memmem::find(&self.heard, b"\r\n.\r\n") else { return };
                let body: Vec<u8> = self.heard.drain(..end + 5).take(end + 2).collect();
                self.in_data = false;
                let to = core::mem::take(&mut self.to);
                let body = String::from_utf8(body).unwrap();
                received.push(Received { host: self.address, from: self.from.clone(), to, body });
                if server.manner == Manner::Forgetful && !server.forgot {
                    (server.forgot, self.gone) = (true, true);
                    return;
                }
                self.say("250 2.0.0 taken");
                continue;
            }
            let Some(end) = memchr::memmem::find(&self.heard, b"\r\n") else { return };
            let line: Vec<u8> = self.heard.drain(..end + 2).take(end).collect();
            let line = String::from_utf8(line).unwrap();
            let path = || line.split(['<', '>']).nth(1).unwrap().to_string();
            match line.get(..4).unwrap_or_default() {
                "EHLO" if server.offers_tls() && !self.secure => self.say("250-there\r\n250 STARTTLS"),
                "STAR" => self.say("220 go"),
                "EHLO" => self.say("250-there\r\n250-PIPELINING\r\n250 8BITMIME"),
                "MAIL" => {
                    self.from = path();
                    self.to.clear();
                    self.say("250 ok");
                }
                "RCPT" => match server.manner {
                    Manner::NobodyHere => self.say("550 5.1.1 nobody here"),
                    Manner::Greylisting if server.seen.insert(path()) => self.say("450 4.2.0 later"),
                    _ => {
                        self.to.push(path());
                        self.say("250 ok");
                    }
                },
                "DATA" if self.to.is_empty() => self.say("554 no recipients"),
                "DATA" => {
                    self.in_data = true;
                    self.say("354 go");
                }
                "QUIT" => {
                    self.say("221 bye");
                    self.gone = true;
                }
                "RSET" => self.say("250 ok"),
                _ => self.say("500 what?"),
            }
        }
    }

    fn say(&mut self, reply: &str) {
        self.rx.extend_from_slice(reply.as_bytes());
        self.rx.extend_from_slice(b"\r\n");
    }
}

#[test]
fn a_mail_goes_out_and_leaves_nothing_behind() {
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::Good)]);
    world.submit("ann@us.test", &["bob@b.test", "eve@b.test"], None);
    assert_eq!(world.verdicts, [CommitVerdict::Done]);
    let [mail] = world.received.as_slice() else { panic!("{:?}", world.received) };
    assert_eq!((mail.from.as_str(), mail.to.len()), ("ann@us.test", 2));
    assert_eq!(mail.body, "Subject: 1\r\n\r\n..dotted\r\n", "without Return-Path");
    assert!(world.spooled().is_empty(), "{:?}", world.spooled());
    let sent = |event: &&Event| matches!(event, Event::Sent { fate: Fate::Sent, .. });
    assert_eq!(world.events.iter().filter(sent).count(), 2);
    assert_eq!(world.disk.open_handles(), 0);
}

/// Signs without a key.
#[derive(Debug)]
struct Stamp;

impl dkim::Sign for Stamp {
    fn sign(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some([7; 96].into())
    }
}

/// A world that has a key for `us.test`.
fn signing_world() -> World {
    let mut world = World::new();
    let mut keys = dkim::Keys::default();
    let algorithm = dkim::Algorithm::Ed25519Sha256;
    keys.insert("us.test", dkim::Key { selector: "s1".into(), algorithm, signer: Arc::new(Stamp) });
    Arc::make_mut(&mut world.site).dkim_keys = Arc::new(keys);
    world.restart();
    world
}

#[test]
fn what_our_users_send_elsewhere_is_signed_and_what_stays_here_is_not() {
    let mut world = signing_world();
    world.domain("b.test", &[(1, Manner::Good)]);
    world.submit("ann@us.test", &["bob@b.test", "ann@us.test"], None);
    let [mail] = world.received.as_slice() else { panic!("{:?}", world.received) };
    let (signature, message) = mail.body.split_once("\r\nFrom:").unwrap();
    let start = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\td=us.test; s=s1; t=";
    assert!(signature.starts_with(start), "{signature}");
    assert_eq!(message, " ann@us.test\r\nSubject: 1\r\n\r\n..dotted\r\n");
    let [stored] = &world.maildir()[..] else { panic!("{:?}", world.maildir()) };
    assert!(!stored.contains("DKIM-Signature"), "{stored}");
    let signed = |event: &Event| {
        let Event::Signed { domain, selectors, .. } = event else { return false };
        domain == "us.test" && selectors == &["s1"]
    };
    assert_eq!(world.events.iter().filter(|event| signed(event)).count(), 1);
}

#[test]
fn our_notices_are_signed_and_mail_of_others_is_not() {
    let mut world = signing_world();
    world.domain("b.test", &[(1, Manner::NobodyHere)]);
    world.domain("c.test", &[(2, Manner::Good)]);
    world.submit("joe@c.test", &["bob@b.test"], None);
    let [notice] = world.received.as_slice() else { panic!("{:?}", world.received) };
    assert!(notice.from.is_empty() && notice.body.starts_with("DKIM-Signature: "), "{}", notice.body);
    assert!(notice.body.contains("d=us.test;"), "the host is below the domain");
    world.submitter = false;
    world.submit("joe@c.test", &["eve@c.test"], None);
    assert!(world.received[1].body.starts_with("From: "), "{}", world.received[1].body);
}

#[test]
fn what_our_machines_send_is_signed_if_it_is_from_a_domain_of_ours() {
    let mut world = signing_world();
    world.domain("c.test", &[(2, Manner::Good)]);
    (world.submitter, world.trusted) = (false, true);
    world.submit("ann@us.test", &["eve@c.test"], None);
    world.submit("joe@c.test", &["eve@c.test"], None);
    let [ours, others] = world.received.as_slice() else { panic!("{:?}", world.received) };
    assert!(ours.body.starts_with("DKIM-Signature: "), "{}", ours.body);
    assert!(others.body.starts_with("From: "), "{}", others.body);
}

#[test]
fn recipients_of_ours_and_of_others_are_served_by_one_transaction() {
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::Greylisting)]);
    world.submit("ann@us.test", &["ann@us.test", "bob@b.test"], None);
    assert_eq!(world.verdicts, [CommitVerdict::Done]);
    assert_eq!(world.maildir(), ["Return-Path: <ann@us.test>\nSubject: 1\n\n.dotted\n"]);
    assert!(world.disk.names("/m/new")[0].ends_with(",S=47,W=51"), "{:?}", world.disk.names("/m/new"));
    assert!(world.received.is_empty() && world.spooled().len() == 2);
    world.pass(Duration::from_secs(400));
    assert_eq!(world.received_for("bob@b.test").len(), 1);
    assert!(world.spooled().is_empty());
}

#[test]
fn a_disk_that_fails_anywhere_leaves_all_or_nothing() {
    let steps = {
        let mut world = World::new();
        world.domain("b.test", &[(1, Manner::Greylisting)]);
        world.disk.ops = 0;
        world.submit("ann@us.test", &["ann@us.test", "bob@b.test"], None);
        world.pass(Duration::from_secs(4000));
        world.disk.ops
    };
    for step in 0..steps {
        let mut world = World::new();
        world.domain("b.test", &[(1, Manner::Greylisting)]);
        (world.disk.ops, world.disk.fail_at) = (0, Some((step, crate::disk::Errno::Io)));
        world.submit("ann@us.test", &["ann@us.test", "bob@b.test"], None);
        world.pass(Duration::from_secs(4000));
        // What could not be removed goes at the next start, and nowhere else.
        world.restart();
        world.pass(Duration::from_secs(100));
        let taken = world.verdicts == [CommitVerdict::Done];
        let outcome = (world.maildir().len(), world.received_for("bob@b.test").len());
        assert_eq!(outcome, if taken { (1, 1) } else { (0, 0) }, "step {step}: {:?}", world.verdicts);
        assert!(world.spooled().is_empty(), "step {step}: {:?}", world.spooled());
    }
}

/// A mail to somebody here and somebody elsewhere; operation `fail_at` fails, and at `crash_at` the power goes.
fn mixed(fail_at: Option<usize>, crash_at: Option<usize>) -> World {
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::Good)]);
    world.disk.ops = 0;
    world.disk.fail_at = fail_at.map(|step| (step, crate::disk::Errno::Io));
    world.disk.crash_at = crash_at;
    world.submit("ann@us.test", &["ann@us.test", "bob@b.test"], None);
    world
}

/// Somebody here has to wait for the queue.
fn is_late(world: &World) -> bool {
    let late =
        |event: &Event| matches!(event, Event::Sent { to, fate: Fate::Deferred, .. } if to == "ann@us.test");
    world.events.iter().any(late)
}

#[test]
fn a_mailbox_that_fails_late_has_its_copy_from_the_queue() {
    let steps = mixed(None, None).disk.ops;
    let late: Vec<usize> = (0..steps).filter(|step| is_late(&mixed(Some(*step), None))).collect();
    assert!(late.len() > 10, "each operation of the mailbox: {late:?}");
    for step in late {
        let mut world = mixed(Some(step), None);
        assert_eq!(world.verdicts, [CommitVerdict::Done], "step {step}");
        world.pass(Duration::from_secs(1));
        assert_eq!(world.maildir(), ["Return-Path: <ann@us.test>\nSubject: 1\n\n.dotted\n"], "step {step}");
        assert_eq!(world.received_for("bob@b.test").len(), 1);
        assert!(world.spooled().is_empty(), "step {step}: {:?}", world.spooled());
    }
}

#[test]
fn the_power_may_go_at_any_step_of_a_copy_that_is_late() {
    let steps = mixed(None, None).disk.ops;
    for step in (0..steps).filter(|step| is_late(&mixed(Some(*step), None))) {
        let all = mixed(Some(step), None).disk.ops;
        for crash in step + 1..all {
            let mut world = mixed(Some(step), Some(crash));
            let taken = world.verdicts == [CommitVerdict::Done];
            world.restart();
            world.pass(Duration::from_secs(4000));
            let outcome = (world.maildir().len(), world.received_for("bob@b.test").len());
            let place = format!("step {step}, power cut at {crash}: {outcome:?}");
            assert!(outcome.0 == 1 || (outcome.0 == 0 && !taken), "{place}");
            assert!((1..=2).contains(&outcome.1) || (outcome.1 == 0 && !taken), "{place}");
            assert!(world.spooled().is_empty(), "{place}: {:?}", world.spooled());
        }
    }
}

#[test]
fn a_mailbox_that_is_out_of_order_for_days_is_told_of_like_a_server() {
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::Good)]);
    world.domain("s.test", &[(2, Manner::Good)]);
    world.disk.put_file("/m/new", b"in the way");
    world.submit("sue@s.test", &["ann@us.test", "bob@b.test"], None);
    assert_eq!(world.verdicts, [CommitVerdict::Done]);
    world.pass(Duration::from_secs(4 * 86_400 + 20_000));
    let told = world.received_for("sue@s.test");
    let [delayed, failed] = told.as_slice() else { panic!("{told:?}") };
    assert!(
        delayed.body.contains("Action: delayed") && delayed.body.contains("ann@us.test"),
        "{}",
        delayed.body
    );
    assert!(failed.body.contains("Action: failed") && failed.body.contains("451 4.2.0"), "{}", failed.body);
    assert!(world.spooled().is_empty());
}

#[test]
fn the_next_host_is_tried_and_the_sender_is_told_when_none_is_left() {
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::Dropping), (2, Manner::Closed), (3, Manner::Good)]);
    world.domain("c.test", &[(4, Manner::NobodyHere)]);
    world.submit("ann@us.test", &["bob@b.test", "joe@c.test", "eve@nowhere.test"], None);
    let hosts: Vec<String> = world.received.iter().map(|mail| mail.host.to_string()).collect();
    assert_eq!(hosts, ["192.0.2.3"]);
    let notices = world.maildir();
    assert_eq!(notices.len(), 2, "{notices:?}");
    let all = notices.concat();
    for words in [
        "Return-Path: <>\nFrom: Mail delivery <MAILER-DAEMON@mx.us.test>\nTo: <ann@us.test>\n",
        "The server mx0.c.test says: 550 5.1.1 nobody here",
        "The domain nowhere.test does not exist",
        "Subject: 1\n\n",
    ] {
        assert!(all.contains(words), "{words}: {all}");
    }
    assert!(!all.contains(".dotted"), "the header only");
    assert!(world.spooled().is_empty());
}

/// A notice's name is that of its file in the queue, too: one that is there would be lost.
#[test]
fn notices_of_two_processes_in_one_second_have_two_names() {
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::Greylisting)]);
    world.domain("c.test", &[(2, Manner::NobodyHere)]);
    world.submit("ann@us.test", &["bob@b.test", "joe@c.test"], None);
    world.servers.values_mut().for_each(|server| server.manner = Manner::NobodyHere);
    world.restart();
    world.hand_in(OfficeInput::Queue(QueueCommand::Flush(None)));
    let notices = world.maildir();
    // The clock of this disk goes on at a restart; what stands behind the time must differ without it.
    let field = |notice: &String| {
        let line = notice.lines().find(|line| line.starts_with("Message-ID:"))?;
        line.split_once('@')?.0.split_once('x').map(|(_, behind)| behind.to_string())
    };
    let names: BTreeSet<_> = notices.iter().map(field).collect();
    assert_eq!((notices.len(), names.len()), (2, 2), "{names:?}");
}

#[test]
fn a_notice_for_somebody_elsewhere_goes_through_the_queue_and_nobody_is_told_about_it() {
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::NobodyHere)]);
    world.domain("far.test", &[(2, Manner::Good)]);
    world.domain("gone.test", &[(3, Manner::NobodyHere)]);
    world.submit("who@far.test", &["bob@b.test"], None);
    let [notice] = world.received.as_slice() else { panic!("{:?}", world.received) };
    assert_eq!((notice.from.as_str(), notice.to[0].as_str()), ("", "who@far.test"));
    assert!(notice.body.contains("Action: failed\r\n"));
    world.submit("who@gone.test", &["bob@b.test"], None);
    assert_eq!(world.received.len(), 1);
    assert!(world.maildir().is_empty() && world.spooled().is_empty());
}

#[test]
fn a_power_cut_loses_nothing_and_repeats_what_was_not_noted() {
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::Greylisting)]);
    world.domain("c.test", &[(2, Manner::Forgetful)]);
    world.submit("ann@us.test", &["bob@b.test", "joe@c.test"], None);
    world.restart();
    world.pass(Duration::from_secs(1000));
    assert_eq!(world.received_for("bob@b.test").len(), 1);
    assert_eq!(world.received_for("joe@c.test").len(), 2, "its reply was lost");
    assert!(world.spooled().is_empty());
}

#[test]
fn the_power_may_go_at_any_step_of_a_mails_way() {
    let steps = {
        let mut world = World::new();
        world.domain("b.test", &[(1, Manner::Good)]);
        world.domain("c.test", &[(2, Manner::NobodyHere)]);
        world.disk.ops = 0;
        world.submit("ann@us.test", &["bob@b.test", "joe@c.test"], None);
        assert!(world.spooled().is_empty());
        world.disk.ops
    };
    for step in 0..steps {
        let mut world = World::new();
        world.domain("b.test", &[(1, Manner::Good)]);
        world.domain("c.test", &[(2, Manner::NobodyHere)]);
        (world.disk.ops, world.disk.crash_at) = (0, Some(step));
        world.submit("ann@us.test", &["bob@b.test", "joe@c.test"], None);
        let taken = world.verdicts == [CommitVerdict::Done];
        world.restart();
        world.pass(Duration::from_secs(4000));
        let outcome = (world.received_for("bob@b.test").len(), world.maildir().len());
        let fits = |count| (1..=2).contains(&count) || (count == 0 && !taken);
        assert!(fits(outcome.0) && fits(outcome.1), "step {step}: {outcome:?}");
        assert!(world.spooled().is_empty(), "step {step}: {:?}", world.spooled());
    }
}

#[test]
fn a_full_queue_takes_nothing_more() {
    let mut world = World::new();
    let queue = crate::queue::machine::Config { messages_max: 1, ..Default::default() };
    world.sending(Sending { queue, ..Sending::default() });
    world.domain("b.test", &[(1, Manner::Greylisting)]);
    world.submit("ann@us.test", &["bob@b.test"], None);
    world.submit("ann@us.test", &["eve@b.test", "ann@us.test"], None);
    world.submit("ann@us.test", &["ann@us.test"], None);
    assert_eq!(world.verdicts, [CommitVerdict::Done, CommitVerdict::NoSpace, CommitVerdict::Done]);
    assert_eq!((world.spooled().len(), world.maildir().len()), (2, 1));
}

/// What becomes of a mail to a server of this manner under this policy: how it was protected, or a word to its sender.
fn sent_with(tls: TlsPolicy, manner: Manner) -> Result<String, String> {
    let mut world = World::new();
    world.sending(Sending { tls, ..Sending::default() });
    world.domain("b.test", &[(1, manner)]);
    fate(&mut world)
}

/// What becomes of a mail to `b.test`.
fn fate(world: &mut World) -> Result<String, String> {
    world.submit("ann@us.test", &["bob@b.test"], None);
    let protection = world.events.iter().find_map(|event| match event {
        Event::Sent { tls, fate: Fate::Sent, .. } => Some(tls.clone()),
        _ => None,
    });
    world.pass(Duration::from_secs(5 * 86_400));
    assert!(world.spooled().is_empty() && world.received.len() == usize::from(protection.is_some()));
    protection.ok_or_else(|| world.maildir().pop().unwrap())
}

#[test]
fn the_policy_decides_about_tls() {
    use TlsPolicy::{Encrypt, May, Never, Verify};
    for (policy, good, broken, plain) in [
        (Never, Ok("none"), Ok("none"), Ok("none")),
        (May, Ok("TLSv1.3"), Ok("none"), Ok("none")),
        (Encrypt, Ok("TLSv1.3"), Err("454 4.7.5 TLS with mx0.b.test failed"), Err("454 4.7.4")),
        (Verify, Ok("TLSv1.3 verified"), Err("failed: a bad certificate"), Err("It offers no TLS, and mail")),
    ] {
        for (manner, expected) in
            [(Manner::Encrypting, good), (Manner::BrokenTls, broken), (Manner::Good, plain)]
        {
            match (sent_with(policy, manner), expected) {
                (Ok(tls), Ok(expected)) => assert_eq!(tls, expected, "{policy:?} {manner:?}"),
                (Err(notice), Err(words)) => {
                    assert!(notice.contains(words), "{policy:?} {manner:?}: {notice}")
                }
                (outcome, _) => panic!("{policy:?} {manner:?}: {outcome:?}"),
            }
        }
    }
}

const TLSA_NAME: &str = "_25._tcp.mx0.b.test.";

/// A world in which `b.test` has one host of this manner, and it a TLSA record of this usage.
fn with_dane(manner: Manner, usage: u8) -> World {
    let mut world = World::new();
    world.domain("b.test", &[(1, manner)]);
    let record = RData::TLSA(TLSA::new(usage.into(), 1.into(), 1.into(), [7; 32].into()));
    world.zone.insert((TLSA_NAME.into(), RecordType::TLSA), [record].into());
    world
}

#[test]
fn what_dns_says_of_a_certificate_binds() {
    let mut world = with_dane(Manner::Encrypting, 3);
    assert_eq!(fate(&mut world).unwrap(), "TLSv1.3 DANE");
    let [Trust::Dane(dane)] = world.trusts.as_slice() else { panic!("{:?}", world.trusts) };
    assert_eq!((dane.base.as_str(), dane.names.len(), dane.records.len()), ("mx0.b.test", 2, 1));
    for manner in [Manner::Good, Manner::BrokenTls] {
        assert!(fate(&mut with_dane(manner, 3)).unwrap_err().contains("454 4.7."), "{manner:?}");
        assert!(fate(&mut with_dane(manner, 1)).unwrap_err().contains("454 4.7."), "{manner:?}");
    }
    assert_eq!(fate(&mut with_dane(Manner::Encrypting, 1)).unwrap(), "TLSv1.3", "nobody can match it");
}

#[test]
fn a_lookup_of_tlsa_records_that_fails_is_no_leave_to_send_without() {
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::Encrypting), (2, Manner::Encrypting)]);
    world.broken.insert(TLSA_NAME.into());
    assert_eq!(fate(&mut world).unwrap(), "TLSv1.3", "the second host has none");
    assert_eq!(world.received[0].host.to_string(), "192.0.2.2");
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::Encrypting)]);
    world.broken.insert(TLSA_NAME.into());
    assert!(fate(&mut world).unwrap_err().contains("The TLSA records (DANE) of mx0.b.test could not"));
}

#[test]
fn a_mails_story_tells_of_tries_that_found_no_server() {
    let mut world = with_dane(Manner::BrokenTls, 3);
    world.domain("down.test", &[(2, Manner::Good)]);
    world.servers.remove(&IpAddr::from([192, 0, 2, 2]));
    world.submit("ann@us.test", &["bob@b.test", "joe@down.test", "eve@no.test"], None);
    let told: Vec<(&str, &str, Fate)> = (world.events.iter())
        .filter_map(|event| match event {
            Event::Sent { to, reply, fate, .. } => Some((to.as_str(), reply.as_str(), *fate)),
            _ => None,
        })
        .collect();
    for (to, words, fate) in [
        ("bob@b.test", "454 4.7.5 TLS with mx0.b.test failed", Fate::Deferred),
        ("joe@down.test", "451 4.4.1 No connection to mx0.down.test", Fate::Deferred),
        ("eve@no.test", "550 5.1.2 The domain no.test does not exist", Fate::Failed),
    ] {
        let lines: Vec<_> = told.iter().filter(|line| line.0 == to).collect();
        let [(_, reply, told)] = lines.as_slice() else { panic!("{to}: {lines:?}") };
        assert!(reply.starts_with(words) && *told == fate, "{to}: {reply}");
    }
}

#[test]
fn who_has_told_a_policy_knows_better_than_dns() {
    let mut world = with_dane(Manner::Good, 3);
    let own = Way::Exchangers(Some(TlsPolicy::May));
    world.sending(Sending { routes: [("b.test".into(), own)].into(), ..Sending::default() });
    assert_eq!(fate(&mut world).unwrap(), "none");
}

#[test]
fn a_domain_has_a_policy_of_its_own() {
    let mut world = World::new();
    let own = Way::Exchangers(Some(TlsPolicy::Encrypt));
    world.sending(Sending { routes: [("b.test".into(), own)].into(), ..Sending::default() });
    for (n, domain) in [(1, "b.test"), (2, "c.test")] {
        world.domain(domain, &[(n, Manner::Good)]);
    }
    world.submit("ann@us.test", &["bob@b.test", "joe@c.test"], None);
    assert_eq!((world.received_for("bob@b.test").len(), world.received_for("joe@c.test").len()), (0, 1));
}

#[test]
fn an_operator_holds_releases_hurries_and_removes() {
    let mut world = World::new();
    world.domain("b.test", &[(1, Manner::Greylisting)]);
    world.submit("ann@us.test", &["bob@b.test"], None);
    let queue = |command| OfficeInput::Queue(command);
    world.hand_in(queue(QueueCommand::Hold("id1".into(), true)));
    world.pass(Duration::from_secs(86_400));
    assert!(world.received.is_empty());
    world.restart();
    world.pass(Duration::from_secs(86_400));
    assert!(world.received.is_empty(), "it is held by what lies on the disk");
    world.hand_in(queue(QueueCommand::Hold("id1".into(), false)));
    world.hand_in(queue(QueueCommand::Flush(None)));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.received.len(), 1);
    world.submit("ann@us.test", &["eve@b.test"], None);
    assert_eq!(world.spooled().len(), 2);
    world.hand_in(queue(QueueCommand::Remove("id2".into())));
    assert!(world.spooled().is_empty() && world.received.len() == 1);
}

#[test]
fn what_nobody_takes_comes_back_after_days_with_a_word_before() {
    let mut world = World::new();
    world.zone.insert(("down.test.".into(), RecordType::MX), Vec::new());
    world.zone.insert(("down.test.".into(), RecordType::A), [RData::A(A::new(192, 0, 2, 99))].into());
    world.submit("ann@us.test", &["bob@down.test"], None);
    world.pass(Duration::from_secs(5 * 86_400));
    let notices = world.maildir();
    let count = |words: &str| notices.iter().filter(|notice| notice.contains(words)).count();
    assert_eq!((count("Action: delayed"), count("Action: failed"), notices.len()), (1, 1, 2), "{notices:?}");
    assert!(count("No connection to down.test: refused") == 2);
    assert!(world.spooled().is_empty());
}

#[test]
fn many_mails_to_many_domains_end_as_they_should() {
    const DOMAINS: u8 = 50;
    let mut world = World::new();
    let manner = |n: u8| match n % 10 {
        1 => Manner::Greylisting,
        2 if n % 20 == 2 => Manner::NobodyHere,
        3 if n % 20 == 3 => Manner::Forgetful,
        _ => Manner::Good,
    };
    for n in 0..DOMAINS {
        world.domain(&format!("d{n}.test"), &[(n, manner(n))]);
    }
    let mails: Vec<String> = (0..1000u32).map(|n| format!("u{n}@d{}.test", n % u32::from(DOMAINS))).collect();
    for address in &mails {
        world.submit("ann@us.test", &[address], None);
    }
    world.restart();
    world.pass(Duration::from_secs(86_400));
    assert!(world.verdicts.iter().all(|verdict| *verdict == CommitVerdict::Done));
    assert!(world.spooled().is_empty());
    let bounced = world.maildir();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for mail in &world.received {
        *counts.entry(&mail.to[0]).or_default() += 1;
    }
    let mut twice = 0;
    for (n, address) in mails.iter().enumerate() {
        let came = counts.get(address.as_str()).copied().unwrap_or(0);
        let manner = manner((n % usize::from(DOMAINS)) as u8);
        twice += usize::from(came == 2);
        assert!(
            came == usize::from(manner != Manner::NobodyHere) || (came == 2 && manner == Manner::Forgetful)
        );
    }
    assert_eq!(bounced.len(), mails.len() / 50 * 3, "d2, d22 and d42");
    assert!(twice <= 3, "one mail of each server that forgot");
}

#[test]
fn literals_and_what_is_no_domain() {
    let mut world = World::new();
    world.servers.insert(
        Ipv4Addr::new(192, 0, 2, 7).into(),
        Server { manner: Manner::Good, seen: BTreeSet::new(), forgot: false },
    );
    world.submit("ann@us.test", &["bob@[192.0.2.7]", "eve@a..b"], None);
    assert_eq!(world.received.len(), 1);
    assert!(world.maildir()[0].contains("This is no domain"));
}
