//! Drives a whole session: the input is all that the client sends, from the greeting on.
//!
//! Who answers what the session asks, and who reads what it sends, is a [`Party`]; what is the same for SMTP and IMAP is
//! here: the pump, the timers, the handshake, and the promises about messages and about the end.

use std::fmt::Debug;

use postier_core::event::Event;
use postier_core::machine::{Action, Input, Machine, Now, TlsInfo};
use postier_core::send_queue::{SendQueue, Transmit};

/// All that can be seen of a session.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// To the client.
    pub sent: Vec<u8>,
    /// What was asked, cancelled and told, in order.
    pub done: Vec<String>,
    /// The messages that came.
    pub bodies: Vec<Vec<u8>>,
    /// A message has begun and is neither committed nor cancelled.
    pub open: bool,
    /// The connection is over.
    pub closed: bool,
}

/// What happens while the session waits for an answer.
pub enum Happens<A, N> {
    /// Nothing, until the timers have run out.
    Silence,
    /// The session is told something else first.
    Notice(N),
    /// The answer.
    Answer(A),
}

/// What happens to a session, one thing after the other.
pub type Happenings<M> = Vec<Happens<<M as Machine>::Answer, <M as Machine>::Notice>>;

/// The layer above a session, and the client beside it.
pub trait Party<M: Machine> {
    /// What happens when the session asks this; it is noted in `outcome.done` already.
    fn answer(&mut self, ask: M::Ask, outcome: &mut Outcome) -> Happenings<M>;

    /// The client receives these octets.
    fn receive(&mut self, octets: &[u8], outcome: &mut Outcome);
}

/// A session and its world.
pub struct Drive<M, P> {
    session: M,
    party: P,
    tx: SendQueue,
    rx: Vec<u8>,
    now: Now,
    outcome: Outcome,
}

impl<M: Machine<Event = Event, Ask: Debug>, P: Party<M>> Drive<M, P> {
    /// All of a connection: these pieces come, then the client is gone.
    pub fn run(session: M, party: P, tx: SendQueue, now: Now, pieces: &[&[u8]]) -> Outcome {
        let mut drive = Drive { session, party, tx, rx: Vec::new(), now, outcome: Outcome::default() };
        for piece in pieces {
            drive.rx.extend_from_slice(piece);
            drive.pump();
        }
        drive.input(Input::Eof);
        drive.pump();
        assert!(drive.outcome.closed, "a client that is gone is let go");
        assert!(!drive.outcome.open, "a message that does not come to its end is cancelled");
        drive.outcome
    }

    fn pump(&mut self) {
        for _ in 0..10_000 {
            let rx = std::mem::take(&mut self.rx);
            let step = self.session.handle_input(self.now, Input::Bytes(&rx), &mut self.tx);
            Self::send(&mut self.tx, &mut self.party, &mut self.outcome);
            let Some(step) = step else {
                self.rx = rx;
                return;
            };
            assert!(!self.outcome.closed || step.action.is_none(), "nothing is done after the close");
            self.rx = rx[step.consumed..].to_vec();
            if let Some(action) = step.action {
                self.act(action);
            }
        }
        panic!("the pump does not end");
    }

    fn input(&mut self, input: Input<'static, M::Answer, M::Notice>) {
        let step = self.session.handle_input(self.now, input, &mut self.tx);
        Self::send(&mut self.tx, &mut self.party, &mut self.outcome);
        if let Some(step) = step {
            assert_eq!(step.consumed, 0);
            step.action.into_iter().for_each(|action| self.act(action));
        }
    }

    fn send(tx: &mut SendQueue, party: &mut P, outcome: &mut Outcome) {
        while let Some(Transmit::Bytes(bytes)) = tx.poll_transmit() {
            assert!(!outcome.closed, "nothing is said after the close");
            party.receive(bytes, outcome);
            let count = bytes.len();
            tx.handle_sent(count);
        }
    }

    fn act(&mut self, action: Action<'_, M::Ask, Event>) {
        match action {
            Action::Body(octets) => {
                assert!(self.outcome.open, "a body belongs to a message");
                self.outcome.bodies.last_mut().expect("it has begun").extend_from_slice(&octets);
            }
            Action::Ask(ask) => {
                self.outcome.done.push(format!("{ask:?}"));
                for happens in self.party.answer(ask, &mut self.outcome) {
                    match happens {
                        Happens::Silence => self.be_silent(),
                        Happens::Notice(notice) => self.input(Input::Notice(notice)),
                        Happens::Answer(answer) => self.input(Input::Answer(answer)),
                    }
                }
            }
            Action::Cancel(ticket) => {
                self.outcome.done.push(format!("cancel {ticket:?}"));
                self.outcome.open = false;
            }
            Action::Event(event) => self.outcome.done.push(format!("{event:?}")),
            Action::StartTls => {
                assert!(self.rx.is_empty(), "nothing is behind STARTTLS");
                self.input(Input::TlsStarted(TlsInfo::default()));
            }
            Action::Close(reason) => {
                self.outcome.done.push(format!("{reason:?}"));
                self.outcome.closed = true;
            }
        }
    }

    /// Until the timer has run out that the question has.
    fn be_silent(&mut self) {
        let done = self.outcome.done.len();
        while self.outcome.done.len() == done {
            let (deadline, _) = self.session.poll_timeout().expect("whoever waits has a timer");
            self.now.instant = deadline;
            self.input(Input::Timeout);
        }
    }
}
