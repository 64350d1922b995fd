//! The session itself: what it expects next, and the pump that feeds it.
//!
//! ```text
//!            ┌────────────── line ──────────────┐
//!            ▼                                  │
//!         Command ──ask──▶ Waiting ──answer──▶ Command │ Data │ Chunk
//!          │ │ │ └─ AUTH ─▶ Auth ─response─▶ Waiting
//!          │ │ └─ line too long ─▶ SkipLine ─▶ Command
//!          │ └─ BDAT that is refused ─▶ SkipChunk ─▶ Command
//!          └─ STARTTLS ─▶ StartTls ─▶ Command        any ─▶ Closed
//!
//!         Data, Chunk ── end ──▶ Waiting (for the commit) ──▶ Command
//! ```
//!
//! While it waits for an answer it consumes nothing, so pipelined commands are carried out one after the
//! other and their replies leave in order. The handlers of the commands are in the sibling files, one per
//! group.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::mem;

use super::ask::{Question, Wait};
use super::hello::Client;
use super::mail::Mail;
use super::message::Message;
use super::{Answer, Ask, Notice, Setup};
use crate::auth::sasl::Exchange;
use crate::event::Event;
use crate::machine::{Action, CloseReason, Input, Instant, Machine, Now, Step, StepOf, TimerKind, TlsInfo};
use crate::send_queue::SendQueue;
use crate::site::Account;
use crate::smtp::command::{self, Command, CommandError};
use crate::smtp::reply::{Reply, write_greeting};
use crate::ticket::{TicketId, TicketSource};
use crate::wire::dot::Unstuffer;
use crate::wire::lines::{Found, LineScanner};

/// One connection of an SMTP client, from the greeting to the close.
#[derive(Debug)]
pub struct Session {
    pub(super) setup: Setup,
    pub(super) state: State,
    pub(super) mail: Mail,
    /// Who the client says it is; `None` before EHLO.
    pub(super) client: Option<Client>,
    /// Who is logged in.
    pub(super) account: Option<Arc<Account>>,
    pub(super) tls: Option<TlsInfo>,
    pub(super) lines: LineScanner,
    pub(super) counts: Counts,
    pub(super) tickets: TicketSource,
    /// Actions that did not fit into the step in which they arose: two or three.
    outbox: VecDeque<SessionAction>,
    started: Instant,
    /// When the client was last of use.
    active: Instant,
    /// The client will send nothing more than what is in the receive buffer.
    peer_done: bool,
    /// Say 421 as soon as the commit that is under way is answered.
    stopping: bool,
}

type SessionAction = Action<'static, Ask, Event>;

/// What the session expects.
#[derive(Debug)]
pub(super) enum State {
    /// A command line.
    Command,
    /// The end of a line that was too long and is answered already.
    SkipLine,
    /// A response of the AUTH dialogue.
    Auth(Exchange),
    /// An answer.
    Waiting(Wait),
    /// A message up to its final dot.
    Data(Box<Message>, Box<Unstuffer>),
    /// So many octets more of a chunk.
    Chunk { message: Box<Message>, remaining: u64, last: bool },
    /// So many octets more of a chunk nobody wants; then the reply.
    SkipChunk { remaining: u64, reply: Reply },
    /// The TLS handshake.
    StartTls,
    /// Nothing, ever.
    Closed,
}

/// What a client has used up.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Errors, and commands that lead nowhere, since the last message.
    fruitless: usize,
    pub(super) refused_recipients: usize,
    pub(super) failed_logins: usize,
    pub(super) transactions: usize,
}

impl Session {
    /// A session for a connection that has just been accepted; the greeting goes into `tx`.
    pub fn new(setup: Setup, now: Now, tx: &mut SendQueue) -> Self {
        tx.write_with(|out| write_greeting(out, &setup.hostname));
        Session {
            state: State::Command,
            mail: Mail::None,
            client: None,
            account: None,
            tls: setup.tls.clone(),
            lines: LineScanner::new(),
            counts: Counts::default(),
            tickets: TicketSource::default(),
            outbox: VecDeque::new(),
            started: now.instant,
            active: now.instant,
            peer_done: false,
            stopping: false,
            setup,
        }
    }

    /// Octets held in memory for the envelope that the client is building.
    pub fn buffered(&self) -> usize {
        match &self.mail {
            Mail::Envelope { transaction, .. } => transaction.octets(),
            // After Begin the envelope is with whoever was asked.
            Mail::None | Mail::Chunks(_) => 0,
        }
    }
}

impl Machine for Session {
    type Ask = Ask;
    type Answer = Answer;
    type Notice = Notice;
    type Event = Event;

    fn handle_input<'i>(
        &mut self,
        now: Now,
        input: Input<'i, Answer, Notice>,
        tx: &mut SendQueue,
    ) -> Option<StepOf<'i, Self>> {
        match input {
            Input::Bytes(bytes) => return self.handle_bytes(now, bytes, tx),
            Input::Answer(answer) => self.handle_answer(now, answer, tx),
            Input::Notice(Notice::Shutdown) => self.handle_shutdown(tx),
            Input::TlsStarted(info) => self.handle_tls_started(now, info),
            Input::Timeout => self.handle_timeout(now, tx),
            Input::Eof => self.peer_done = true,
        }
        self.outbox.pop_front().map(|action| Step { consumed: 0, action: Some(action) })
    }

    fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        match &self.state {
            State::Closed => None,
            State::Waiting(wait) => Some((wait.deadline, TimerKind::Answer)),
            State::Command
            | State::SkipLine
            | State::Auth(_)
            | State::Data(..)
            | State::Chunk { .. }
            | State::SkipChunk { .. }
            | State::StartTls => Some(self.idle_end().min(self.session_end())),
        }
    }

    fn wants_bytes(&self) -> bool {
        !matches!(self.state, State::Closed)
    }
}

impl Session {
    fn handle_bytes<'i>(
        &mut self,
        now: Now,
        bytes: &'i [u8],
        tx: &mut SendQueue,
    ) -> Option<StepOf<'i, Self>> {
        if self.outbox.is_empty() && tx.is_above_high_water() {
            return None;
        }
        if let Some(action) = self.outbox.pop_front() {
            return Some(Step { consumed: 0, action: Some(action) });
        }
        let step = match &self.state {
            State::Closed | State::Waiting(_) => return None,
            State::StartTls => None,
            State::Command | State::Auth(_) => self.handle_line(now, bytes, tx),
            State::SkipLine => self.skip_line(bytes),
            State::Data(..) => self.receive_data(now, bytes, tx),
            State::Chunk { .. } => self.receive_chunk(now, bytes, tx),
            State::SkipChunk { .. } => self.skip_chunk(bytes, tx),
        };
        match step {
            Some(Step { consumed, action }) => {
                if consumed > 0 {
                    self.active = now.instant;
                }
                Some(Step { consumed, action: action.or_else(|| self.outbox.pop_front()) })
            }
            // Everything the client ever sent has been carried out.
            None if self.peer_done => {
                self.close(CloseReason::PeerClosed);
                self.outbox.pop_front().map(|action| Step { consumed: 0, action: Some(action) })
            }
            None => None,
        }
    }

    fn handle_line<'i>(&mut self, now: Now, bytes: &'i [u8], tx: &mut SendQueue) -> Option<StepOf<'i, Self>> {
        match self.lines.find(bytes, self.setup.limits.smtp_line_bytes_max) {
            Found::Line { end, next } => {
                let line = bytes.get(..end).unwrap_or_default();
                if let State::Auth(exchange) = mem::replace(&mut self.state, State::Command) {
                    self.handle_response(now, exchange, line, tx);
                } else {
                    self.handle_command(now, line, bytes.len() > next, tx);
                }
                Some(Step::consumed(next))
            }
            // A TLS record may never have a line end.
            Found::Incomplete | Found::TooLong
                if matches!(self.state, State::Command) && command::speaks_other_protocol(bytes) =>
            {
                self.refuse(CommandError::WrongProtocol.reply(), tx);
                Some(Step::consumed(0))
            }
            Found::Incomplete => None,
            Found::TooLong => {
                // RFC 4954 §4 has its own code for a response.
                let in_auth = matches!(mem::replace(&mut self.state, State::SkipLine), State::Auth(_));
                self.refuse(if in_auth { Reply::AuthTooLong } else { Reply::LineTooLong }, tx);
                Some(Step::consumed(0))
            }
        }
    }

    fn skip_line<'i>(&mut self, bytes: &'i [u8]) -> Option<StepOf<'i, Self>> {
        if bytes.is_empty() {
            return None;
        }
        let skipped = self.lines.skip_line(bytes);
        if skipped.line_ended {
            self.state = State::Command;
        }
        Some(Step::consumed(skipped.consumed))
    }

    /// `more_behind`: the client sent something after this line without waiting for its reply.
    fn handle_command(&mut self, now: Now, line: &[u8], more_behind: bool, tx: &mut SendQueue) {
        match command::parse(line) {
            Ok(Command::Ehlo(name)) => self.handle_hello(name, true, tx),
            Ok(Command::Helo(name)) => self.handle_hello(name, false, tx),
            Ok(Command::StartTls) => self.handle_starttls(more_behind, tx),
            Ok(Command::Auth(auth)) => self.handle_auth(now, auth, tx),
            Ok(Command::Mail(mail)) => self.handle_mail(now, mail, tx),
            Ok(Command::Rcpt(rcpt)) => self.handle_rcpt(now, rcpt, tx),
            Ok(Command::Rset) => self.handle_rset(tx),
            Ok(Command::Data) => self.handle_data(now, tx),
            Ok(Command::Bdat { size, last }) => self.handle_bdat(now, size, last),
            Ok(Command::Noop) => self.humour(Reply::Ok, tx),
            Ok(Command::Help) => self.humour(Reply::Help, tx),
            Ok(Command::Vrfy(_)) => self.humour(Reply::VrfyLater, tx),
            Ok(Command::Expn(_)) => self.refuse(Reply::ExpnNotOffered, tx),
            Ok(Command::Quit) => self.say(Reply::Bye, tx),
            Err(mistake) => self.refuse(mistake.reply(), tx),
        }
    }

    fn handle_timeout(&mut self, now: Now, tx: &mut SendQueue) {
        match mem::replace(&mut self.state, State::Command) {
            State::Waiting(wait) if now.instant >= wait.deadline => {
                return self.handle_lost_answer(now, wait, tx);
            }
            state => self.state = state,
        }
        match self.poll_timeout() {
            Some((end, _)) if now.instant < end => {}
            None | Some((_, TimerKind::Answer)) => {}
            // Within a handshake there is no way to say anything.
            Some(_) if matches!(self.state, State::StartTls) => self.close(CloseReason::IdleTimeout),
            Some((_, TimerKind::Idle)) => self.say(Reply::IdleTooLong, tx),
            Some((_, TimerKind::Session)) => self.say(Reply::SessionTooLong, tx),
        }
    }

    fn handle_shutdown(&mut self, tx: &mut SendQueue) {
        self.stopping = true;
        match &self.state {
            State::Waiting(Wait { question: Question::Commit { .. }, .. }) | State::Closed => {}
            State::StartTls => self.close(CloseReason::Shutdown),
            State::Command
            | State::SkipLine
            | State::Auth(_)
            | State::Waiting(_)
            | State::Data(..)
            | State::Chunk { .. }
            | State::SkipChunk { .. } => self.say(Reply::ShuttingDown, tx),
        }
    }

    fn idle_end(&self) -> (Instant, TimerKind) {
        (self.active.plus(self.setup.limits.smtp_idle), TimerKind::Idle)
    }

    fn session_end(&self) -> (Instant, TimerKind) {
        (self.started.plus(self.setup.limits.smtp_session), TimerKind::Session)
    }
}

/// What the handlers of commands say and do.
impl Session {
    /// Says it, and closes if the table says so.
    pub(super) fn say(&mut self, reply: Reply, tx: &mut SendQueue) {
        tx.write_with(|out| reply.write(out));
        if let Some(reason) = reply.close_reason() {
            self.close(reason);
        }
    }

    /// Says no to a mistake; too many of them close.
    pub(super) fn refuse(&mut self, reply: Reply, tx: &mut SendQueue) {
        if reply.closes() {
            self.report(Event::Abuse { what: reply.text() });
        }
        self.humour(reply, tx);
    }

    /// Answers a command that leads nowhere; too many of them close.
    pub(super) fn humour(&mut self, reply: Reply, tx: &mut SendQueue) {
        if reply.closes() || self.has_patience(tx) {
            self.say(reply, tx);
        }
    }

    /// Counts a command that leads nowhere. Once there are too many it says so, closes, and is false.
    pub(super) fn has_patience(&mut self, tx: &mut SendQueue) -> bool {
        self.counts.fruitless += 1;
        let patient = self.counts.fruitless <= self.setup.limits.errors_max;
        if !patient {
            self.give_up(Reply::TooManyMistakes, tx);
        }
        patient
    }

    /// Says why the client goes too far, and closes.
    pub(super) fn give_up(&mut self, reply: Reply, tx: &mut SendQueue) {
        self.report(Event::Abuse { what: reply.text() });
        self.say(reply, tx);
    }

    /// Something came of it: the client may make mistakes again.
    pub(super) fn forgive(&mut self) {
        self.counts.fruitless = 0;
    }

    /// After a commit: the moment for which a shutdown has waited.
    pub(super) fn stop_if_wanted(&mut self, tx: &mut SendQueue) {
        if self.stopping && !matches!(self.state, State::Closed) {
            self.say(Reply::ShuttingDown, tx);
        }
    }

    /// Why a message was not taken.
    pub(super) fn report_lost(&mut self, id: &Arc<str>, reply: Reply) {
        self.report(Event::NotDelivered { id: id.clone(), why: reply.text().into() });
    }

    pub(super) fn report(&mut self, event: Event) {
        self.outbox.push_back(Action::Event(event));
    }

    pub(super) fn act(&mut self, action: SessionAction) {
        self.outbox.push_back(action);
    }

    pub(super) fn cancel(&mut self, ticket: TicketId) {
        self.outbox.push_back(Action::Cancel(ticket));
    }

    /// Forgets the mail, in whatever state it is, and undoes what was begun for it.
    pub(super) fn forget_mail(&mut self) {
        if let Mail::Chunks(message) = mem::replace(&mut self.mail, Mail::None) {
            self.undo(*message);
        }
    }

    /// The client was of use just now.
    pub(super) fn touch(&mut self, now: Now) {
        self.active = now.instant;
    }

    fn undo(&mut self, message: Message) {
        if let Some(ticket) = message.into_cancel() {
            self.cancel(ticket);
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.forget_mail();
        match mem::replace(&mut self.state, State::Closed) {
            State::Data(message, _) | State::Chunk { message, .. } => self.undo(*message),
            State::Waiting(Wait { question: Question::Commit { .. }, .. }) => {}
            State::Waiting(wait) => self.cancel(wait.ticket),
            State::Command
            | State::SkipLine
            | State::Auth(_)
            | State::SkipChunk { .. }
            | State::StartTls
            | State::Closed => {}
        }
        self.outbox.push_back(Action::Close(reason));
    }
}
