//! What is expected next, and the pump.
//!
//! ```text
//! Greeting ─220─▶ Hello ─250─▶ (STARTTLS ─220─▶ Handshake ─▶ Hello) ─▶ (Login) ─▶ Idle
//! Idle ─ Next ─▶ Commands ─354─▶ Sending ─.─▶ Final ─250─▶ Recording ─▶ Idle        Idle ─ QUIT ─▶ Quitting ─▶ Closed
//! ```
//!
//! In `Commands` there may be several commands on their way (RFC 2920); `transaction` knows which.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::hello::Login;
use super::peer::Peer;
use super::reply::{Progress, Reply, ReplyReader};
use super::transaction::{Sending, Transaction};
use super::{Answer, Ask, End, NextVerdict, Notice, Outcome, ReadVerdict, Setup};
use crate::event::Event;
use crate::machine::{Action, CloseReason, Input, Instant, Machine, Now, Step, StepOf, TimerKind, TlsInfo};
use crate::send_queue::SendQueue;
use crate::ticket::{TicketId, TicketSource};

/// One connection to another server, from its greeting to the close.
#[derive(Debug)]
pub struct Session {
    pub(super) setup: Setup,
    pub(super) state: State,
    pub(super) peer: Peer,
    pub(super) tls: Option<TlsInfo>,
    replies: ReplyReader,
    tickets: TicketSource,
    outbox: VecDeque<Action<'static, Ask, Event>>,
    deadline: Instant,
    /// Mails sent in this connection.
    mails: usize,
    stopping: bool,
    end: Option<End>,
}

/// What the session expects.
#[derive(Debug)]
pub(super) enum State {
    /// The server's first words.
    Greeting,
    /// The reply to EHLO, or to HELO.
    Hello { extended: bool },
    /// The reply to STARTTLS.
    StartTls,
    /// The TLS handshake.
    Handshake,
    /// A reply of the AUTH dialogue.
    Login(Login),
    /// The answer to what comes next.
    Idle(TicketId),
    /// Replies to the commands of a mail.
    Commands(Box<Transaction>),
    /// More of the message, from our own side.
    Sending(Box<Sending>, TicketId),
    /// The send queue to run low, to ask for more of the message.
    Draining(Box<Sending>),
    /// The reply to the whole message.
    Final(Box<Transaction>),
    /// That the outcome has been noted.
    Recording {
        ticket: TicketId,
        /// The server holds a transaction that was not finished.
        begun: bool,
    },
    /// The reply to RSET after a mail that nobody wanted.
    Reset,
    /// The reply to QUIT.
    Quitting,
    /// Nothing, ever.
    Closed,
}

impl Session {
    /// For a connection that is established just now.
    pub fn new(setup: Setup, now: Now) -> Self {
        Session {
            deadline: now.instant.plus(setup.patience.command),
            setup,
            state: State::Greeting,
            peer: Peer::default(),
            tls: None,
            replies: ReplyReader::default(),
            tickets: TicketSource::default(),
            outbox: VecDeque::new(),
            mails: 0,
            stopping: false,
            end: None,
        }
    }

    /// Why it ended; [`End::Lost`] if nobody saw it end.
    pub fn into_end(self) -> End {
        self.end.unwrap_or(End::Lost)
    }

    /// Inside TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        self.tls.is_some() || self.setup.implicit_tls
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
        let mut consumed = 0;
        match input {
            Input::Bytes(_) if !self.outbox.is_empty() => {}
            Input::Bytes(bytes) => consumed = self.handle_bytes(now, bytes, tx)?,
            Input::Answer(answer) => self.handle_answer(now, answer, tx),
            Input::Notice(Notice::Shutdown) => self.stopping = true,
            Input::TlsStarted(info) => self.handle_tls_started(now, info, tx),
            Input::Timeout => self.handle_timeout(now, tx),
            // RFC 5321 §4.1.1.10: a server must not close before QUIT; those that do have lost the mail under way.
            Input::Eof => self.finish(match self.state {
                State::Quitting => End::Done,
                State::Handshake => End::TlsFailed,
                _ => End::Lost,
            }),
        }
        let action = self.outbox.pop_front();
        Some(Step { consumed, action }).filter(|step| step.consumed > 0 || step.action.is_some())
    }

    fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        match self.state {
            State::Closed => None,
            State::Idle(_) | State::Sending(..) | State::Recording { .. } => {
                Some((self.deadline, TimerKind::Answer))
            }
            State::Greeting
            | State::Hello { .. }
            | State::StartTls
            | State::Handshake
            | State::Login(_)
            | State::Commands(_)
            | State::Draining(_)
            | State::Final(_)
            | State::Reset
            | State::Quitting => Some((self.deadline, TimerKind::Idle)),
        }
    }

    fn wants_bytes(&self) -> bool {
        !matches!(self.state, State::Closed)
    }
}

impl Session {
    /// One line, or one more piece of the message; `None` when there is nothing to do.
    fn handle_bytes(&mut self, now: Now, bytes: &[u8], tx: &mut SendQueue) -> Option<usize> {
        if matches!(self.state, State::Draining(_)) && tx.is_below_low_water() {
            self.ask_for_more(now);
            return Some(0);
        }
        if matches!(self.state, State::Closed | State::Handshake) || bytes.is_empty() {
            return None;
        }
        let (consumed, progress) = self.replies.read(bytes);
        match progress {
            Progress::Incomplete => return None,
            Progress::Nonsense => self.finish(End::Nonsense),
            Progress::Line(line) => self.handle_line(&line),
            Progress::Reply { reply, last } => {
                self.handle_line(&last);
                // RFC 3207 §4.2: what comes in the clear behind the 220 is nobody's.
                let injected = matches!(self.state, State::StartTls) && bytes.len() > consumed;
                match injected {
                    true => self.finish(End::Nonsense),
                    false => self.handle_reply(now, reply, tx),
                }
            }
        }
        Some(consumed)
    }

    /// A line of a reply. Those to EHLO are extensions, but for the first, which names the server.
    fn handle_line(&mut self, line: &str) {
        if let State::Hello { extended: true } = self.state {
            self.peer.take_line(line);
        }
    }

    fn handle_reply(&mut self, now: Now, reply: Reply, tx: &mut SendQueue) {
        if reply.closes() && !matches!(self.state, State::Quitting) {
            return self.finish(End::Refused(reply));
        }
        self.wait(now, self.setup.patience.command);
        match mem::replace(&mut self.state, State::Closed) {
            State::Greeting => self.greeted(reply, tx),
            State::Hello { extended } => self.welcomed(now, extended, reply, tx),
            State::StartTls => self.starttls_answered(now, reply, tx),
            State::Login(login) => self.login_answered(now, login, reply, tx),
            State::Commands(transaction) => self.command_answered(now, transaction, reply, tx),
            State::Final(transaction) => self.message_answered(now, *transaction, reply),
            State::Reset => self.next(now, tx),
            State::Quitting => self.finish(End::Done),
            // It says something while it is our turn: RFC 5321 knows only 421 for that.
            State::Idle(_)
            | State::Sending(..)
            | State::Draining(_)
            | State::Recording { .. }
            | State::Handshake
            | State::Closed => {
                self.finish(if reply.is_positive() { End::Nonsense } else { End::Refused(reply) })
            }
        }
    }

    fn handle_answer(&mut self, now: Now, answer: Answer, tx: &mut SendQueue) {
        match (answer, mem::replace(&mut self.state, State::Closed)) {
            (Answer::Next(answer), State::Idle(ticket)) => match answer.into_verdict(ticket) {
                Some(NextVerdict::Mail(mail)) if !self.stopping => self.start_mail(now, *mail, tx),
                Some(NextVerdict::Mail(_) | NextVerdict::Quit) => self.quit(now, tx),
                None => self.state = State::Idle(ticket),
            },
            (Answer::Read(answer), State::Sending(sending, ticket)) => match answer.into_verdict(ticket) {
                Some(ReadVerdict::Octets(octets)) => self.send_octets(now, sending, &octets, tx),
                Some(ReadVerdict::Failed) => self.finish(End::Local),
                None => self.state = State::Sending(sending, ticket),
            },
            (Answer::Record(answer), State::Recording { ticket, begun }) => match answer.into_verdict(ticket)
            {
                Some(()) if begun => self.reset(now, tx),
                Some(()) => self.next(now, tx),
                None => self.state = State::Recording { ticket, begun },
            },
            // The late answer to a question nobody waits for.
            (Answer::Next(_) | Answer::Read(_) | Answer::Record(_), state) => self.state = state,
        }
    }

    fn handle_timeout(&mut self, now: Now, tx: &mut SendQueue) {
        if now.instant < self.deadline {
            return;
        }
        match self.state {
            State::Closed => {}
            State::Quitting => self.finish(End::Done),
            State::Idle(_) => self.quit(now, tx),
            State::Sending(..) | State::Recording { .. } => self.finish(End::Local),
            State::Greeting
            | State::Hello { .. }
            | State::StartTls
            | State::Handshake
            | State::Login(_)
            | State::Commands(_)
            | State::Draining(_)
            | State::Final(_)
            | State::Reset => self.finish(End::TimedOut),
        }
    }

    /// Asks what comes next, or says QUIT if nothing may.
    pub(super) fn next(&mut self, now: Now, tx: &mut SendQueue) {
        if self.stopping || self.peer.mails_max.is_some_and(|max| self.mails >= max) {
            return self.quit(now, tx);
        }
        let ticket = self.tickets.issue();
        self.wait(now, self.setup.patience.answer);
        self.state = State::Idle(ticket.id());
        let recipients_max = self.setup.recipients_max.min(self.peer.recipients_max.unwrap_or(usize::MAX));
        let (peer, tls) = (self.peer.clone(), self.tls.as_ref().map(|tls| tls.version));
        self.outbox.push_back(Action::Ask(Ask::Next { ticket, peer, recipients_max, tls }));
    }

    /// Asks for more of the message that is being sent.
    pub(super) fn ask_for_more(&mut self, now: Now) {
        match mem::replace(&mut self.state, State::Closed) {
            State::Draining(sending) => {
                let ticket = self.tickets.issue();
                let (id, offset) = (ticket.id(), sending.offset);
                self.wait(now, self.setup.patience.answer);
                self.state = State::Sending(sending, id);
                self.outbox.push_back(Action::Ask(Ask::Read { ticket, offset }));
            }
            state => self.state = state,
        }
    }

    /// Has the outcomes noted before anything else happens.
    pub(super) fn record(&mut self, now: Now, outcomes: Vec<Outcome>, begun: bool) {
        let ticket = self.tickets.issue();
        self.mails += 1;
        self.wait(now, self.setup.patience.answer);
        self.state = State::Recording { ticket: ticket.id(), begun };
        self.outbox.push_back(Action::Ask(Ask::Record { ticket, outcomes }));
    }

    /// RFC 5321 §3.3: gives up a transaction that was begun.
    fn reset(&mut self, now: Now, tx: &mut SendQueue) {
        self.say("RSET", tx);
        self.wait(now, self.setup.patience.command);
        self.state = State::Reset;
    }

    fn quit(&mut self, now: Now, tx: &mut SendQueue) {
        tx.push(b"QUIT\r\n");
        self.wait(now, self.setup.patience.quit);
        self.state = State::Quitting;
    }

    /// The connection is over.
    pub(super) fn finish(&mut self, end: End) {
        if self.end.is_some() {
            self.state = State::Closed;
            return;
        }
        let reason = match end {
            End::Done | End::Refused(_) | End::NoTls | End::NoAuth | End::Local => CloseReason::Goodbye,
            End::Lost => CloseReason::PeerClosed,
            End::TimedOut => CloseReason::IdleTimeout,
            End::Nonsense | End::TlsFailed => CloseReason::ProtocolViolation,
        };
        self.end = Some(end);
        self.state = State::Closed;
        self.outbox.push_back(Action::Close(reason));
    }

    pub(super) fn start_tls(&mut self) {
        self.state = State::Handshake;
        self.outbox.push_back(Action::StartTls);
    }

    pub(super) fn wait(&mut self, now: Now, patience: Duration) {
        self.deadline = now.instant.plus(patience);
    }

    /// A command line.
    pub(super) fn say(&mut self, line: &str, tx: &mut SendQueue) {
        tx.write_with(|out| {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        });
    }

    /// `EHLO us`
    pub(super) fn greet(&mut self, verb: &str, tx: &mut SendQueue) {
        let mut line = String::from(verb);
        line.push(' ');
        line.push_str(&self.setup.hostname);
        self.say(&line, tx);
    }
}
