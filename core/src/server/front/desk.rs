//! What a connection has beside its session: who is logged in, and the message body on its way to the office.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::super::throttle::Who;
use super::super::{Caller, LinkNews, ToOffice};
use super::FrontAction;
use crate::auth::scram::ScramOffer;
use crate::auth::{Attempt, AuthVerdict};
use crate::event::Event;
use crate::machine::{Action, CloseReason, Machine};
use crate::mime::unbinary::Unbinary;
use crate::queue::machine::LinkId;
use crate::site::{Account, AccountId, Resolution, Sending, Site};
use crate::ticket::{Answered, Ticket, TicketId};
use crate::wire::eol::ToLf;
use crate::{imap, smtp};

/// Octets of a chunk: a smaller message travels in one piece.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks on their way to the disk before the socket has to wait.
const CHUNKS_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Desk {
    caller: Caller,
    /// It is a connection that the office wanted.
    link: Option<LinkId>,
    peer: IpAddr,
    /// Randomness of the process, for nonces.
    seed: u64,
    /// Nonces given out.
    nonces: u64,
    login: LoginState,
    upload: Option<Upload>,
    chunks_out: usize,
    /// Octets of a mail that went to the office in one piece and is not answered yet.
    mail_out: usize,
    /// Octets of the envelope of a mail that is coming in, or not answered yet.
    envelope: usize,
}

#[derive(Debug)]
enum LoginState {
    Nobody,
    Asked(TicketId, Arc<Account>),
    Account(Arc<Account>),
}

/// A message body that is coming in.
#[derive(Debug)]
struct Upload {
    kind: UploadKind,
    eol: ToLf,
    /// A message with binary parts is made text first.
    unbinary: Option<Unbinary>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum UploadKind {
    /// A delivery the office does not know of yet.
    NewDelivery(TicketId, Box<smtp::server::Transaction>),
    /// A delivery or an APPEND the office knows of.
    Known(TicketId),
}

impl Desk {
    pub(super) fn new(caller: Caller, peer: IpAddr, seed: u64) -> Self {
        let login = LoginState::Nobody;
        Desk {
            caller,
            link: None,
            peer,
            seed,
            nonces: 0,
            login,
            upload: None,
            chunks_out: 0,
            mail_out: 0,
            envelope: 0,
        }
    }

    /// For a connection that the office wanted.
    pub(super) fn of_link(caller: Caller, peer: IpAddr, link: LinkId) -> Self {
        Desk { link: Some(link), ..Self::new(caller, peer, 0) }
    }

    /// News for the office of a connection that it wanted.
    pub(super) fn tell_link(&self, news: LinkNews, out: &mut Vec<FrontAction>) {
        if let Some(link) = self.link {
            out.push(FrontAction::Office(ToOffice::Link { caller: Some(self.caller), link, news }));
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.chunks_out < CHUNKS_MAX
    }

    pub(super) fn chunk_taken(&mut self) {
        self.chunks_out = self.chunks_out.saturating_sub(1);
    }

    /// The mail that went out is answered.
    pub(super) fn mail_taken(&mut self) {
        (self.mail_out, self.envelope) = (0, 0);
    }

    /// Octets of a message that are neither on the disk nor given up, and of its envelope; a chunk on its way counts in
    /// full.
    pub(super) fn buffered(&self) -> usize {
        let gathered = self.upload.as_ref().map_or(0, |upload| upload.buffer.len());
        gathered + self.chunks_out * CHUNK_BYTES + self.mail_out + self.envelope
    }

    /// Sends what is gathered although it is no full chunk; false when there is nothing.
    pub(super) fn relieve(&mut self, out: &mut Vec<FrontAction>) -> bool {
        let Some(upload) = self.upload.as_mut().filter(|upload| !upload.buffer.is_empty()) else {
            return false;
        };
        let body = core::mem::take(&mut upload.buffer);
        self.send_chunk(body, out);
        true
    }

    pub(super) fn close(&mut self, out: &mut Vec<FrontAction>) {
        self.upload = None;
        out.push(FrontAction::Office(ToOffice::Gone { caller: self.caller }));
    }

    /// An IMAP login is decided: remember who it is, for the asks that follow.
    pub(super) fn note_login(&mut self, answer: &Answered<AuthVerdict>) {
        if let LoginState::Asked(ticket, account) = &self.login
            && answer.answers(*ticket)
        {
            self.login = match answer.verdict() {
                AuthVerdict::Granted(_) => LoginState::Account(account.clone()),
                AuthVerdict::Denied | AuthVerdict::Temporary => LoginState::Nobody,
            };
        }
    }

    /// Who is logged in.
    pub(super) fn account(&self) -> Option<&Account> {
        match &self.login {
            LoginState::Account(account) => Some(account),
            LoginState::Nobody | LoginState::Asked(..) => None,
        }
    }

    fn event(&self, event: Event, out: &mut Vec<FrontAction>) {
        out.push(FrontAction::Event(self.caller.conn, event));
    }

    /// The session is over.
    fn end(&self, reason: CloseReason, out: &mut Vec<FrontAction>) {
        self.event(Event::Disconnected { reason }, out);
        out.push(FrontAction::Close(self.caller.conn, reason));
    }

    fn authenticate(
        &mut self,
        ticket: Ticket<AuthVerdict>,
        attempt: Attempt,
        site: &Site,
        out: &mut Vec<FrontAction>,
    ) {
        let Attempt { authorization, login, proof } = attempt;
        let named = site.account_by_login(&login).and_then(|id| site.account(id));
        // RFC 4616 §2: a user may only act as themselves here.
        let itself =
            authorization.is_empty() || site.account_by_login(&authorization) == named_id(site, named);
        let account = named.filter(|_| itself).cloned();
        if let Some(account) = &account {
            self.login = LoginState::Asked(ticket.id(), account.clone());
        }
        let (caller, limits) = (self.caller, site.limits.login);
        let who = Who::new(self.peer, &site.address_of_login(&login));
        let ask = ToOffice::Authenticate { caller, ticket, account, who, limits, proof };
        out.push(FrontAction::Office(ask));
    }

    fn scram_offer(&mut self, login: &[u8], site: &Site) -> ScramOffer {
        self.nonces += 1;
        let nonce = site.scram_key.nonce(self.seed, self.caller.conn.0, self.nonces);
        ScramOffer { verifier: site.scram_verifier(login), nonce }
    }

    fn body(&mut self, octets: &[u8], out: &mut Vec<FrontAction>) {
        let Some(upload) = &mut self.upload else { return };
        match &mut upload.unbinary {
            None => upload.eol.feed(octets, &mut upload.buffer),
            Some(unbinary) => {
                let mut text = Vec::with_capacity(octets.len() * 3 / 2);
                unbinary.feed(octets, &mut text);
                upload.eol.feed(&text, &mut upload.buffer);
            }
        }
        if upload.buffer.len() >= CHUNK_BYTES {
            let body = core::mem::take(&mut upload.buffer);
            self.send_chunk(body, out);
        }
    }

    fn send_chunk(&mut self, body: Vec<u8>, out: &mut Vec<FrontAction>) {
        let (caller, Some(upload)) = (self.caller, &mut self.upload) else { return };
        let ticket = match &upload.kind {
            UploadKind::NewDelivery(ticket, _) | UploadKind::Known(ticket) => *ticket,
        };
        let message = match core::mem::replace(&mut upload.kind, UploadKind::Known(ticket)) {
            UploadKind::NewDelivery(_, transaction) => {
                ToOffice::Deliver { caller, transaction, body, commit: None }
            }
            UploadKind::Known(_) => ToOffice::Chunk { caller, body },
        };
        self.chunks_out += 1;
        out.push(FrontAction::Office(message));
    }

    /// The octets that came belong together; what comes next begins anew. They go on, few as they may be.
    fn finish_lines(&mut self, out: &mut Vec<FrontAction>) {
        let Some(upload) = &mut self.upload else { return };
        if let Some(unbinary) = upload.unbinary.take() {
            let mut text = Vec::new();
            unbinary.finish(&mut text);
            upload.eol.feed(&text, &mut upload.buffer);
        }
        core::mem::replace(&mut upload.eol, ToLf::new()).finish(&mut upload.buffer);
        let body = core::mem::take(&mut upload.buffer);
        self.send_chunk(body, out);
    }

    fn commit_delivery(
        &mut self,
        ticket: Ticket<smtp::server::CommitVerdict>,
        out: &mut Vec<FrontAction>,
    ) -> Option<smtp::server::Answer> {
        let Some(mut upload) = self.upload.take() else {
            let verdict = smtp::server::CommitVerdict::Temporary;
            self.envelope = 0;
            return Some(smtp::server::Answer::Commit(ticket.answer(verdict)));
        };
        upload.eol.finish(&mut upload.buffer);
        let (caller, body) = (self.caller, upload.buffer);
        match upload.kind {
            UploadKind::NewDelivery(_, transaction) => {
                let commit = Some(ticket);
                self.mail_out = body.len();
                out.push(FrontAction::Office(ToOffice::Deliver { caller, transaction, body, commit }));
            }
            UploadKind::Known(_) => {
                self.chunks_out += 1;
                out.push(FrontAction::Office(ToOffice::Chunk { caller, body }));
                out.push(FrontAction::Office(ToOffice::Commit { caller, ticket }));
            }
        }
        None
    }

    fn cancel(&mut self, id: TicketId, out: &mut Vec<FrontAction>) {
        let Some(upload) = self.upload.take() else { return };
        match upload.kind {
            UploadKind::NewDelivery(ticket, _) if ticket == id => self.envelope = 0,
            UploadKind::Known(ticket) if ticket == id => {
                self.envelope = 0;
                out.push(FrontAction::Office(ToOffice::Abort { caller: self.caller }));
            }
            UploadKind::NewDelivery(..) | UploadKind::Known(_) => self.upload = Some(upload),
        }
    }
}

fn named_id(site: &Site, account: Option<&Arc<Account>>) -> Option<AccountId> {
    account.and_then(|account| site.account_by_login(&account.address))
}

/// Carries out what a session wants.
pub(super) struct Clerk<'c> {
    pub(super) desk: &'c mut Desk,
    pub(super) site: &'c Site,
    pub(super) out: &'c mut Vec<FrontAction>,
}

/// A session whose questions the front answers, or takes to the office.
pub(super) trait Client: Machine<Event = Event> {
    /// An answer on the spot, if the site has one.
    fn take(clerk: &mut Clerk<'_>, ask: Self::Ask) -> Option<Self::Answer>;
}

impl Clerk<'_> {
    /// There is more to do, but not now.
    pub(super) fn go_on_later(&mut self) {
        self.out.push(FrontAction::Pump(self.desk.caller.conn));
    }

    /// False: the body has to wait for room.
    pub(super) fn has_room(&self) -> bool {
        self.desk.has_room()
    }

    /// Carries an action out; may have an answer on the spot.
    pub(super) fn handle<M: Client>(
        &mut self,
        action: Action<'_, M::Ask, Event>,
        closing: &mut bool,
    ) -> Option<M::Answer> {
        match action {
            Action::Ask(ask) => return M::take(self, ask),
            Action::Cancel(id) => self.desk.cancel(id, self.out),
            Action::Body(octets) => self.desk.body(&octets, self.out),
            Action::Event(event) => self.desk.event(event, self.out),
            Action::StartTls => self.out.push(FrontAction::StartTls(self.desk.caller.conn)),
            Action::Close(reason) => {
                *closing = true;
                self.desk.end(reason, self.out);
            }
        }
        None
    }
}

impl Client for smtp::server::Session {
    fn take(clerk: &mut Clerk<'_>, ask: smtp::server::Ask) -> Option<smtp::server::Answer> {
        let Clerk { desk, site, out } = clerk;
        use smtp::server::{Answer, Ask, BeginVerdict, RecipientVerdict, SenderVerdict};
        match ask {
            Ask::Verifier { ticket, login } => {
                Some(Answer::Verifier(ticket.answer(desk.scram_offer(&login, site))))
            }
            Ask::Authenticate { ticket, attempt } => {
                desk.authenticate(ticket, attempt, site, out);
                None
            }
            Ask::Sender { ticket, account, local, domain } => {
                let id = site.account_by_login(&account.address);
                let allowed = id.is_some_and(|id| site.may_send_as(id, &local, &domain));
                let verdict = if allowed { SenderVerdict::Allowed } else { SenderVerdict::NotYours };
                Some(Answer::Sender(ticket.answer(verdict)))
            }
            Ask::Recipient { ticket, account, local, domain, size } => {
                let accounts = |ids: Vec<AccountId>| {
                    ids.into_iter().filter_map(|id| site.account(id).cloned()).collect()
                };
                let elsewhere = domain.as_ref().is_some_and(|domain| !site.is_local_domain(domain));
                let may_send = |sending: &Arc<Sending>| account.is_some() || sending.is_taken_from(desk.peer);
                let verdict = match site.resolve_recipient(&local, domain.as_deref()) {
                    Resolution::Local(ids) => RecipientVerdict::Local(accounts(ids)),
                    Resolution::Forwarded { accounts: ids, remote } => {
                        RecipientVerdict::Forward { accounts: accounts(ids), remote }
                    }
                    Resolution::NoSuchUser => RecipientVerdict::NoSuchUser,
                    Resolution::NotLocal if elsewhere && site.sending.as_ref().is_some_and(may_send) => {
                        RecipientVerdict::Send
                    }
                    Resolution::NotLocal => RecipientVerdict::NotLocal,
                };
                if verdict.accounts().iter().any(|account| account.quota.is_some()) {
                    let caller = desk.caller;
                    out.push(FrontAction::Office(ToOffice::Room { caller, ticket, verdict, size }));
                    return None;
                }
                Some(Answer::Recipient(ticket.answer(verdict)))
            }
            Ask::Begin { ticket, mut transaction } => {
                let trusts = |sending: &Arc<Sending>| sending.is_taken_from(desk.peer);
                transaction.trusted = site.sending.as_ref().is_some_and(trusts);
                desk.envelope = transaction.octets();
                let kind = UploadKind::NewDelivery(ticket.id(), Box::new(transaction));
                desk.upload = Some(Upload { kind, eol: ToLf::new(), unbinary: None, buffer: Vec::new() });
                Some(Answer::Begin(ticket.answer(BeginVerdict::Go)))
            }
            Ask::Commit { ticket } => desk.commit_delivery(ticket, out),
        }
    }
}

impl Client for imap::server::Session {
    fn take(clerk: &mut Clerk<'_>, ask: imap::server::Ask) -> Option<imap::server::Answer> {
        let Clerk { desk, site, out } = clerk;
        use imap::server::Ask;
        let ask = match ask {
            Ask::Verifier { ticket, login } => {
                let offer = desk.scram_offer(&login, site);
                return Some(imap::server::Answer::Verifier(ticket.answer(offer)));
            }
            Ask::Authenticate { ticket, attempt } => {
                desk.authenticate(ticket, attempt, site, out);
                return None;
            }
            ask => ask,
        };
        match &ask {
            Ask::Unauthenticate => {
                desk.login = LoginState::Nobody;
                return None;
            }
            Ask::Append { ticket, head, .. } => {
                let kind = UploadKind::Known(ticket.id());
                let unbinary = head.binary.then(Unbinary::new);
                desk.upload = Some(Upload { kind, eol: ToLf::new(), unbinary, buffer: Vec::new() });
            }
            Ask::AppendNext { head, .. } => {
                desk.finish_lines(out);
                if let Some(upload) = &mut desk.upload {
                    upload.unbinary = head.binary.then(Unbinary::new);
                }
            }
            Ask::AppendUrl { .. } => desk.finish_lines(out),
            Ask::AppendCommit { .. } => {
                desk.finish_lines(out);
                desk.upload = None;
            }
            // Taken above.
            Ask::Verifier { .. } | Ask::Authenticate { .. } => {}
            Ask::Select { .. }
            | Ask::Unselect { .. }
            | Ask::Changes { .. }
            | Ask::List { .. }
            | Ask::Status { .. }
            | Ask::Quota { .. }
            | Ask::Create { .. }
            | Ask::Metadata { .. }
            | Ask::SetMetadata { .. }
            | Ask::Follow { .. }
            | Ask::Unfollow
            | Ask::News { .. }
            | Ask::Folder { .. }
            | Ask::Fetch { .. }
            | Ask::Store { .. }
            | Ask::Copy { .. }
            | Ask::Expunge { .. }
            | Ask::Search { .. }
            | Ask::SearchIn { .. }
            | Ask::ModSeq { .. }
            | Ask::Vanished { .. }
            | Ask::Sort { .. }
            | Ask::Thread { .. }
            | Ask::Remove { .. } => {}
        }
        // Without a login there is no account to ask about; the session does not ask then, and its answer
        // timer covers a session that does.
        if let LoginState::Account(account) = &desk.login {
            let (caller, account, ask) = (desk.caller, account.clone(), Box::new(ask));
            out.push(FrontAction::Office(ToOffice::Imap { caller, account, ask }));
        }
        None
    }
}
