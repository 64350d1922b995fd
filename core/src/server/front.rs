//! Connections and their sessions: one front per event loop.
//!
//! The adapter opens a connection with [`Front::open`], hands received octets to [`Front::handle_bytes`], answers
//! of the office to [`Front::handle_office`] and carries out the [`FrontAction`]s. After every call that names a
//! connection it sends what [`Front::tx`] holds, and calls `handle_bytes` again (with what is unconsumed, maybe
//! nothing) after an action was carried out for it or its queue has fallen below low water.
//!
//! The front answers what the [`Site`] can answer: who a recipient is, who may send as whom. Everything else
//! goes to the office. Message bodies are gathered here in chunks with LF line ends; a message that fits in one
//! chunk travels to the office in one piece with its commit.

mod connection;
mod desk;
mod outgoing;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use self::connection::{Connection, Plain, Session, close_files};
use self::desk::Desk;
use super::{Call, Caller, ConnId, FromOffice, FrontIndex, LinkNews, Service, ToOffice};
use crate::disk::Handle;
use crate::event::Event;
use crate::machine::{CloseReason, Instant, Machine, Now, TlsInfo};
use crate::send_queue::SendQueue;
use crate::site::{Account, BareNewline, LoginWithoutTls, Site};
use crate::{imap, smtp};

/// What the adapter is to do.
#[derive(Debug)]
pub enum FrontAction {
    /// Hand this to the office.
    Office(ToOffice),
    /// Send what is queued, then start a TLS handshake; drop what was received in the clear.
    StartTls(ConnId),
    /// Send what is queued, then close and call [`Front::close`].
    Close(ConnId, CloseReason),
    /// Log this.
    Event(ConnId, Event),
    /// Close this file: the connection it was opened for is gone.
    CloseFile(Handle),
    /// Pump and send: something happened to this connection outside of a call that names it.
    Pump(ConnId),
}

/// The connections of one event loop.
#[derive(Debug)]
pub struct Front {
    index: FrontIndex,
    site: Arc<Site>,
    connections: BTreeMap<ConnId, Connection>,
    timers: BTreeSet<(Instant, ConnId)>,
    seed: u64,
}

/// What an adapter knows of a connection when it opens it.
#[derive(Clone, Debug)]
pub struct Opening {
    /// What was connected to.
    pub service: Service,
    /// The client.
    pub peer: IpAddr,
    /// There is a certificate for STARTTLS.
    pub starttls: bool,
    /// The finished handshake, where TLS comes first.
    pub tls: Option<TlsInfo>,
}

impl Front {
    /// A front without connections. `seed` is randomness for the names of transactions.
    pub fn new(index: FrontIndex, site: Arc<Site>, seed: u64) -> Self {
        Front { index, site, connections: BTreeMap::new(), timers: BTreeSet::new(), seed }
    }

    /// Takes a connection in; its greeting is in [`Front::tx`] afterwards.
    pub fn open(&mut self, now: Now, conn: ConnId, opening: Opening, out: &mut Vec<FrontAction>) {
        let Opening { service, peer, starttls, tls } = opening;
        out.push(FrontAction::Event(conn, Event::Connected { peer, service: service.name() }));
        let limits = self.site.limits;
        let mut tx = SendQueue::new(limits.tx_high_water_bytes);
        let hostname: Arc<str> = self.site.hostname().into();
        let peer = peer.to_canonical();
        let plaintext_login = self.site.login_without_tls == LoginWithoutTls::Loopback && peer.is_loopback();
        let scram = self.site.offers_scram();
        let smtp_role = match service {
            Service::Smtp => Some(smtp::server::Role::Exchange),
            Service::Submission | Service::Submissions => Some(smtp::server::Role::Submission),
            Service::Imap | Service::Imaps => None,
        };
        let session = match smtp_role {
            Some(role) => {
                let refuse_bare_newlines = self.site.bare_newline == BareNewline::Refuse;
                let (session, seed) = (conn.0, self.seed);
                let setup = smtp::server::Setup {
                    role,
                    hostname,
                    peer,
                    starttls,
                    tls,
                    plaintext_login,
                    scram,
                    refuse_bare_newlines,
                    limits,
                    session,
                    seed,
                };
                Session::Smtp(Box::new(smtp::server::Session::new(setup, now, &mut tx)))
            }
            None => {
                let masks = self.site.imap_masks.clone();
                let setup = imap::server::Setup {
                    hostname,
                    peer,
                    starttls,
                    tls,
                    plaintext_login,
                    scram,
                    masks,
                    limits,
                };
                Session::Imap(Box::new(imap::server::Session::new(setup, now, &mut tx)))
            }
        };
        let desk = Desk::new(Caller { front: self.index, conn }, peer, self.seed);
        self.connections.insert(conn, Connection { session, tx, desk, timer: None, closing: false });
        self.arm(conn);
    }

    /// Takes in a connection that the office wanted. It is established; where TLS comes first, so is that.
    pub fn call(&mut self, now: Now, conn: ConnId, call: Call, out: &mut Vec<FrontAction>) {
        let (peer, host) = (call.address.ip(), call.host);
        out.push(FrontAction::Event(conn, Event::Called { peer, host }));
        let tx = SendQueue::new(self.site.limits.tx_high_water_bytes);
        let session = Session::Client(Box::new(smtp::client::Session::new(call.setup, now)));
        let desk = Desk::of_link(Caller { front: self.index, conn }, call.address.ip(), call.link);
        self.connections.insert(conn, Connection { session, tx, desk, timer: None, closing: false });
        self.arm(conn);
    }

    /// Everything received and not consumed yet; says how much is consumed now.
    pub fn handle_bytes(&mut self, now: Now, conn: ConnId, rx: &[u8], out: &mut Vec<FrontAction>) -> usize {
        let consumed = self.connections.get_mut(&conn).map_or(rx.len(), |c| c.pump(&self.site, now, rx, out));
        self.arm(conn);
        consumed
    }

    /// The TLS handshake of STARTTLS is done.
    pub fn handle_tls_started(&mut self, now: Now, conn: ConnId, tls: TlsInfo, out: &mut Vec<FrontAction>) {
        self.feed(now, conn, Plain::TlsStarted(tls), out);
    }

    /// The client will send nothing more; what was received before is to be handed in first.
    pub fn handle_eof(&mut self, now: Now, conn: ConnId, out: &mut Vec<FrontAction>) {
        self.feed(now, conn, Plain::Eof, out);
    }

    /// The connection is gone: what it began is undone. Its files are given back through the returned queue.
    pub fn close(&mut self, now: Now, conn: ConnId, out: &mut Vec<FrontAction>) -> Option<SendQueue> {
        if self.connections.get(&conn).is_some_and(|c| !c.closing) {
            self.feed(now, conn, Plain::Eof, out);
        }
        let connection = self.connections.remove(&conn)?;
        if !connection.closing {
            // The session had no turn to say so itself.
            out.push(FrontAction::Event(conn, Event::Disconnected { reason: CloseReason::PeerClosed }));
        }
        if let Some(timer) = connection.timer {
            self.timers.remove(&(timer, conn));
        }
        let Connection { session, mut tx, mut desk, .. } = connection;
        if let Session::Client(session) = session {
            desk.tell_link(LinkNews::Ended(session.into_end()), out);
        }
        desk.close(out);
        tx.clear();
        Some(tx)
    }

    /// An answer or a notice of the office. Pump its connection afterwards.
    pub fn handle_office(&mut self, now: Now, message: FromOffice, out: &mut Vec<FrontAction>) -> ConnId {
        let conn = message.conn();
        match self.connections.get_mut(&conn) {
            Some(connection) => connection.handle_office(&self.site, now, message, out),
            None => close_files(message, out),
        }
        self.arm(conn);
        conn
    }

    /// When to call [`Front::handle_timeouts`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(instant, _)| *instant)
    }

    /// Lets every timer that is due run out.
    pub fn handle_timeouts(&mut self, now: Now, out: &mut Vec<FrontAction>) {
        while let Some(&(instant, conn)) = self.timers.first()
            && instant <= now.instant
        {
            self.timers.pop_first();
            if let Some(connection) = self.connections.get_mut(&conn) {
                connection.timer = None;
            }
            self.feed(now, conn, Plain::Timeout, out);
            out.push(FrontAction::Pump(conn));
        }
    }

    /// What is to be sent to this connection.
    pub fn tx(&mut self, conn: ConnId) -> Option<&mut SendQueue> {
        self.connections.get_mut(&conn).map(|connection| &mut connection.tx)
    }

    /// Whether to read from the socket: not while the session cannot use what it would bring, or what is to be sent is
    /// not taken.
    pub fn wants_bytes(&self, conn: ConnId) -> bool {
        self.connections.get(&conn).is_some_and(|c| {
            let session = match &c.session {
                Session::Smtp(session) => session.wants_bytes(),
                Session::Imap(session) => session.wants_bytes(),
                Session::Client(session) => session.wants_bytes(),
            };
            session && !c.closing && c.desk.has_room() && !c.tx.is_above_high_water()
        })
    }

    /// Octets held in memory for this connection: what is to be sent, an envelope, and a message on its way to the
    /// disk.
    pub fn buffered(&self, conn: ConnId) -> usize {
        self.connections.get(&conn).map_or(0, |c| {
            let unsent = usize::try_from(c.tx.buffered()).unwrap_or(usize::MAX);
            let envelope = match &c.session {
                Session::Smtp(session) => session.buffered(),
                // It leaves a command with the receiver until the command is whole, but for what came compressed.
                Session::Imap(session) => session.unpacked(),
                Session::Client(_) => 0,
            };
            unsent.saturating_add(envelope).saturating_add(c.desk.buffered())
        })
    }

    /// Memory is short: what is gathered of a message goes to the disk now instead of waiting for more. Says
    /// whether there was any.
    pub fn relieve(&mut self, conn: ConnId, out: &mut Vec<FrontAction>) -> bool {
        self.connections.get_mut(&conn).is_some_and(|connection| connection.desk.relieve(out))
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// No connection at all.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// The server ends: every session finishes what was accepted for commit, and says goodbye.
    pub fn shutdown(&mut self, now: Now, out: &mut Vec<FrontAction>) {
        let all: Vec<ConnId> = self.connections.keys().copied().collect();
        for conn in all {
            self.feed(now, conn, Plain::Shutdown, out);
            out.push(FrontAction::Pump(conn));
        }
    }

    /// A new configuration: connections opened from now on have its limits; addresses mean what it says at once.
    /// Who reads mail of an account that is none any more has to go.
    pub fn reload(&mut self, now: Now, site: Arc<Site>, out: &mut Vec<FrontAction>) {
        self.site = site;
        let is_gone = |account: &Account| self.site.account_by_login(&account.address).is_none();
        let gone = self.connections.iter().filter(|(_, c)| c.desk.account().is_some_and(is_gone));
        let gone: Vec<ConnId> = gone.map(|(conn, _)| *conn).collect();
        for conn in gone {
            self.feed(now, conn, Plain::AccountGone, out);
            out.push(FrontAction::Pump(conn));
        }
    }

    fn feed(&mut self, now: Now, conn: ConnId, input: Plain, out: &mut Vec<FrontAction>) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.feed(&self.site, now, input, out);
            self.arm(conn);
        }
    }

    fn arm(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let wanted = match &connection.session {
            Session::Smtp(session) => session.poll_timeout(),
            Session::Imap(session) => session.poll_timeout(),
            Session::Client(session) => session.poll_timeout(),
        };
        let wanted = wanted.filter(|_| !connection.closing).map(|(instant, _)| instant);
        if wanted == connection.timer {
            return;
        }
        if let Some(old) = connection.timer {
            self.timers.remove(&(old, conn));
        }
        if let Some(new) = wanted {
            self.timers.insert((new, conn));
        }
        connection.timer = wanted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::AuthVerdict;
    use crate::imap::server::{Answer, FetchPage};
    use crate::machine::WallTime;
    use crate::send_queue::FileRange;
    use crate::site::{Aliases, Secret, SiteParts};
    use crate::ticket::TicketSource;

    fn front() -> Front {
        Front::new(FrontIndex(0), site("ann"), 1)
    }

    /// A site with one account.
    fn site(name: &str) -> Arc<Site> {
        let secret = Secret::new("{PLAIN}x");
        let ann = Account::new(name.as_bytes(), b"example.test".as_slice(), b"/m".to_vec(), secret).unwrap();
        let (aliases, _) = Aliases::parse(alloc::format!("postmaster: {name}\n").as_bytes());
        let parts =
            SiteParts { accounts: [ann].into(), aliases, ..SiteParts::new("localhost", ["example.test"]) };
        Arc::new(Site::build(parts).unwrap().0)
    }

    fn ends(said: &[u8], service: Service, client_closes: bool) -> Vec<CloseReason> {
        let (mut front, mut out, conn) = (front(), Vec::new(), ConnId(7));
        let now = Now { instant: Instant::default(), wall: WallTime { secs: 1_700_000_000, micros: 0 } };
        let peer = [192, 0, 2, 1].into();
        front.open(now, conn, Opening { service, peer, starttls: true, tls: None }, &mut out);
        front.handle_bytes(now, conn, said, &mut out);
        if client_closes {
            front.handle_eof(now, conn, &mut out);
            front.handle_bytes(now, conn, b"", &mut out);
        }
        front.close(now, conn, &mut out);
        assert!(front.is_empty() && front.poll_timeout().is_none());
        let reasons = out.iter().filter_map(|action| match action {
            FrontAction::Event(_, Event::Disconnected { reason }) => Some(*reason),
            _ => None,
        });
        reasons.collect()
    }

    #[test]
    fn the_end_of_a_connection_is_told_once_with_its_reason() {
        for service in [Service::Smtp, Service::Imap] {
            assert_eq!(ends(b"", service, true), [CloseReason::PeerClosed]);
            assert_eq!(ends(b"", service, false), [CloseReason::PeerClosed]);
        }
        assert_eq!(ends(b"QUIT\r\n", Service::Smtp, true), [CloseReason::Goodbye]);
        assert_eq!(ends(b"a LOGOUT\r\n", Service::Imap, false), [CloseReason::Goodbye]);
        let within_data = b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\nDATA\r\nhalf";
        assert_eq!(ends(within_data, Service::Smtp, false), [CloseReason::PeerClosed]);
        assert_eq!(ends(within_data, Service::Smtp, true), [CloseReason::PeerClosed]);
        assert_eq!(ends(b"STARTTLS\r\nNOOP\r\n", Service::Smtp, true), [CloseReason::ProtocolViolation]);
    }

    #[test]
    fn a_session_ends_with_its_account() {
        let (mut front, mut out, conn) = (front(), Vec::new(), ConnId(7));
        let (now, peer, tls) = (Now::default(), [192, 0, 2, 1].into(), Some(TlsInfo::default()));
        front.open(now, conn, Opening { service: Service::Imaps, peer, starttls: false, tls }, &mut out);
        front.handle_bytes(now, conn, b"a LOGIN ann x\r\n", &mut out);
        let asked = out.drain(..).find_map(|action| match action {
            FrontAction::Office(ToOffice::Authenticate { ticket, account, .. }) => Some((ticket, account)),
            _ => None,
        });
        let (ticket, account) = asked.expect("a question to the office");
        let granted = AuthVerdict::Granted(account.expect("ann has one"));
        let answer = ticket.answer(granted);
        front.handle_office(now, FromOffice::Authenticated { conn, answer }, &mut out);
        front.reload(now, site("ann"), &mut out);
        assert!(front.wants_bytes(conn), "a reload that keeps the account keeps the session");
        front.reload(now, site("bob"), &mut out);
        front.handle_bytes(now, conn, b"", &mut out);
        assert!(
            out.iter().any(|action| matches!(action, FrontAction::Close(..))) && !front.wants_bytes(conn)
        );
    }

    fn page_with_a_file() -> Box<Answer> {
        let range = FileRange::text(Handle(9), 0, 0, 1);
        let page = FetchPage { files: Vec::from([(0, range)]), ..FetchPage::default() };
        Box::new(Answer::Fetch(TicketSource::default().issue().answer(Ok(page))))
    }

    fn opened(service: Service) -> (Front, ConnId) {
        let (mut front, conn) = (front(), ConnId(1));
        let opening = Opening { service, peer: [192, 0, 2, 1].into(), starttls: false, tls: None };
        front.open(Now::default(), conn, opening, &mut Vec::new());
        (front, conn)
    }

    #[test]
    fn files_of_a_page_that_comes_too_late_are_closed() {
        let (mut front, conn) = opened(Service::Imap);
        let mut out = Vec::new();
        // The session waits for no such answer.
        let message = || FromOffice::Imap { conn, answer: page_with_a_file() };
        front.handle_office(Now::default(), message(), &mut out);
        assert_eq!(front.tx(conn).unwrap().poll_release(), Some(Handle(9)));
        front.close(Now::default(), conn, &mut out);
        out.clear();
        front.handle_office(Now::default(), message(), &mut out);
        assert!(matches!(out[..], [FrontAction::CloseFile(Handle(9))]));
    }

    #[test]
    fn a_small_mail_travels_in_one_piece_and_a_recipient_is_asked_of_the_site() {
        let (mut front, conn) = opened(Service::Smtp);
        let mut out = Vec::new();
        let rx = b"EHLO me\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<ann@example.test>\r\n\
            DATA\r\nSubject: x\r\n\r\n..\r\n.\r\nNOOP\r\n";
        let consumed = front.handle_bytes(Now::default(), conn, rx, &mut out);
        assert_eq!(&rx[consumed..], b"NOOP\r\n", "what follows waits for the commit");
        let deliver = out.iter().find_map(|action| match action {
            FrontAction::Office(ToOffice::Deliver { body, commit: Some(_), transaction, .. }) => {
                Some((body, transaction))
            }
            _ => None,
        });
        let (body, transaction) = deliver.expect("one message to the office");
        assert!(body.starts_with(b"Return-Path: <a@b.test>\nReceived: ") && body.ends_with(b"\n\n.\n"));
        assert_eq!(transaction.recipients.len(), 1);
        assert!(front.wants_bytes(conn));
    }

    #[test]
    fn what_is_held_of_a_message_counts_until_it_is_taken_and_goes_early_when_memory_is_short() {
        let (mut front, conn) = opened(Service::Smtp);
        let (now, mut out) = (Now::default(), Vec::new());
        let clear = |front: &mut Front| front.tx(conn).unwrap().clear();
        let begin = b"EHLO me\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<ann@example.test>\r\nDATA\r\n";
        front.handle_bytes(now, conn, begin, &mut out);
        let before = front.buffered(conn) as u64;
        let replies = front.tx(conn).unwrap().pending();
        clear(&mut front);
        assert_eq!(front.buffered(conn) as u64, before - replies);
        assert!(!front.relieve(ConnId(2), &mut out));
        front.handle_bytes(now, conn, &b"0123456\r\n".repeat(1000), &mut out);
        let held = front.buffered(conn);
        assert!(held >= 8000, "{held}");
        out.clear();
        assert!(front.relieve(conn, &mut out) && !front.relieve(conn, &mut out));
        let [FrontAction::Office(ToOffice::Deliver { body, transaction, commit: None, .. })] = &out[..]
        else {
            panic!("{out:?}");
        };
        let envelope = transaction.octets();
        assert!(envelope > "a@b.test".len() + "ann@example.test".len());
        assert_eq!(envelope + body.len(), held);
        assert!(front.buffered(conn) >= held);
        front.handle_office(now, FromOffice::ChunkTaken { conn }, &mut out);
        assert_eq!(front.buffered(conn), envelope, "the office has it until the end");
        out.clear();
        front.handle_bytes(now, conn, b"end\r\n.\r\n", &mut out);
        assert!(matches!(
            &out[..],
            [
                FrontAction::Office(ToOffice::Chunk { body, .. }),
                FrontAction::Office(ToOffice::Commit { .. }),
            ] if body == b"end\n"
        ));
    }

    #[test]
    fn an_envelope_counts_recipient_by_recipient_until_it_is_given_up() {
        let (mut front, conn) = opened(Service::Smtp);
        let (now, mut out) = (Now::default(), Vec::new());
        let mut say = |front: &mut Front, line: &[u8]| {
            front.handle_bytes(now, conn, line, &mut out);
            front.tx(conn).unwrap().clear();
            front.buffered(conn)
        };
        assert_eq!(say(&mut front, b"EHLO me\r\n"), 0);
        let begun = say(&mut front, b"MAIL FROM:<a@b.test>\r\n");
        let one = say(&mut front, b"RCPT TO:<ann@example.test>\r\n");
        let two = say(&mut front, b"RCPT TO:<ann@example.test>\r\n");
        assert!(begun > 0 && one - begun > "ann@example.test".len() && two - one == one - begun);
        assert_eq!(say(&mut front, b"RSET\r\n"), 0);
    }

    #[test]
    fn who_does_not_take_replies_is_not_read_from() {
        let (mut front, conn) = opened(Service::Smtp);
        assert!(front.wants_bytes(conn));
        let high_water = usize::try_from(crate::limits::Limits::default().tx_high_water_bytes).unwrap();
        front.tx(conn).unwrap().push(&std::vec![b'x'; high_water]);
        assert!(!front.wants_bytes(conn));
        assert_eq!(front.handle_bytes(Now::default(), conn, b"NOOP\r\n", &mut Vec::new()), 0);
        front.tx(conn).unwrap().clear();
        assert!(front.wants_bytes(conn));
    }

    #[test]
    fn a_mail_in_one_piece_counts_until_it_is_answered() {
        let (mut front, conn) = opened(Service::Smtp);
        let (now, mut out) = (Now::default(), Vec::new());
        let mail = b"EHLO me\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<ann@example.test>\r\nDATA\r\nx\r\n.\r\n";
        front.handle_bytes(now, conn, mail, &mut out);
        front.tx(conn).unwrap().clear();
        let deliver = out.into_iter().find_map(|action| match action {
            FrontAction::Office(ToOffice::Deliver { body, commit, transaction, .. }) => {
                Some((body.len() + transaction.octets(), commit?))
            }
            _ => None,
        });
        let (size, ticket) = deliver.expect("one message to the office");
        assert_eq!(front.buffered(conn), size);
        let answer = ticket.answer(smtp::server::CommitVerdict::Done);
        front.handle_office(now, FromOffice::Delivered { conn, answer }, &mut Vec::new());
        front.tx(conn).unwrap().clear();
        assert_eq!(front.buffered(conn), 0);
    }
}
