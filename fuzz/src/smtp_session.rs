//! A whole SMTP session: the input is all that the client sends, from the greeting on.
//!
//! The layer above is played by the first letter of what is asked about: `n` is no, `t` is try again later, `s` is
//! silence until the timer runs out, `x` is a shutdown in the middle of the question, anything else is yes.

use std::sync::Arc;

use postier_core::auth::AuthVerdict;
use postier_core::auth::scram::{ScramKey, ScramOffer};
use postier_core::limits::Limits;
use postier_core::machine::{Action, Input, Instant, Machine, Now, TlsInfo, WallTime};
use postier_core::send_queue::{SendQueue, Transmit};
use postier_core::site::{Account, Secret};
use postier_core::smtp::server::{
    Answer, Ask, BeginVerdict, CommitVerdict, Notice, RecipientVerdict, Role, SenderVerdict, Session, Setup,
};

use crate::assert_split_invariant;

/// One session on each kind of port.
pub fn smtp_session(data: &[u8]) {
    for role in [Role::Exchange, Role::Submission] {
        let outcome = assert_split_invariant(data, |pieces| {
            let mut world = World::new(role, false);
            pieces.iter().for_each(|piece| world.receive(piece));
            world.finish();
            world.outcome
        });
        assert!(outcome.sent.starts_with(b"220 ") && outcome.sent.ends_with(b"\r\n"));
        // Here the segments do count: what comes together with STARTTLS is refused.
        let mut world = World::new(role, true);
        world.receive(data);
        world.finish();
    }
}

/// All that can be seen of a session.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    sent: Vec<u8>,
    done: Vec<String>,
    bodies: Vec<Vec<u8>>,
    closed: bool,
}

struct World {
    session: Session,
    tx: SendQueue,
    rx: Vec<u8>,
    now: Now,
    outcome: Outcome,
    /// A message has begun and is neither committed nor cancelled.
    open: bool,
}

impl World {
    fn new(role: Role, starttls: bool) -> Self {
        let limits = Limits {
            message_bytes_max: 200,
            smtp_line_bytes_max: 100,
            smtp_recipients_max: 3,
            smtp_transactions_max: 4,
            received_fields_max: 3,
            ..Limits::default()
        };
        let setup = Setup {
            role,
            hostname: "mail.example.org".into(),
            peer: [192, 0, 2, 7].into(),
            starttls,
            tls: None,
            plaintext_login: true,
            scram: true,
            refuse_bare_newlines: starttls,
            limits,
            session: 1,
            seed: 2,
        };
        let now = Now { instant: Instant::from_micros(0), wall: WallTime { secs: 1_795_493_964, micros: 0 } };
        let mut tx = SendQueue::default();
        let session = Session::new(setup, now, &mut tx);
        World { session, tx, rx: Vec::new(), now, outcome: Outcome::default(), open: false }
    }

    fn receive(&mut self, octets: &[u8]) {
        self.rx.extend_from_slice(octets);
        self.pump();
    }

    fn finish(&mut self) {
        self.input(Input::Eof);
        self.pump();
        assert!(self.outcome.closed, "a client that is gone is let go");
        assert!(!self.open, "a message that does not come to its end is cancelled");
    }

    fn pump(&mut self) {
        for _ in 0..10_000 {
            let rx = std::mem::take(&mut self.rx);
            let step = self.session.handle_input(self.now, Input::Bytes(&rx), &mut self.tx);
            self.send();
            let Some(step) = step else {
                self.rx = rx;
                return;
            };
            assert!(!self.outcome.closed, "nothing is done after the close");
            let rest = rx[step.consumed..].to_vec();
            self.rx = rest;
            if let Some(action) = step.action {
                self.act(action);
            }
        }
        panic!("the pump does not end");
    }

    fn input(&mut self, input: Input<'static, Answer, Notice>) {
        let step = self.session.handle_input(self.now, input, &mut self.tx);
        self.send();
        if let Some(step) = step {
            assert_eq!(step.consumed, 0);
            step.action.into_iter().for_each(|action| self.act(action));
        }
    }

    fn send(&mut self) {
        while let Some(Transmit::Bytes(bytes)) = self.tx.poll_transmit() {
            assert!(bytes.is_ascii() && !self.outcome.closed);
            self.outcome.sent.extend_from_slice(bytes);
            let count = bytes.len();
            self.tx.handle_sent(count);
        }
    }

    fn act(&mut self, action: Action<'_, Ask, postier_core::event::Event>) {
        match action {
            Action::Body(octets) => {
                assert!(self.open, "a body belongs to a message");
                self.outcome.bodies.last_mut().expect("it has begun").extend_from_slice(&octets);
            }
            Action::Ask(ask) => {
                self.outcome.done.push(format!("{ask:?}"));
                self.answer(ask);
            }
            Action::Cancel(ticket) => {
                self.outcome.done.push(format!("cancel {ticket:?}"));
                self.open = false;
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

    fn answer(&mut self, ask: Ask) {
        let letter = match &ask {
            Ask::Verifier { login, .. } => login.first(),
            Ask::Authenticate { attempt, .. } => attempt.login.first(),
            Ask::Sender { local, .. } | Ask::Recipient { local, .. } => local.first(),
            Ask::Begin { transaction, .. } => transaction.reverse_path.first(),
            Ask::Commit { .. } => {
                self.outcome.bodies.last().and_then(|body| body.get(body.len().wrapping_sub(3)))
            }
        };
        let letter = letter.copied().unwrap_or_default();
        self.open &= !matches!(ask, Ask::Commit { .. });
        match letter {
            b's' => return self.be_silent(),
            b'x' => self.input(Input::Notice(Notice::Shutdown)),
            _ => {}
        }
        // To all but a commit a shutdown is the answer, and this one comes too late.
        let answer = match ask {
            Ask::Verifier { ticket, login } => {
                let verifier = ScramKey::new([1; 32]).made_up(&login, 4096, 16);
                Answer::Verifier(ticket.answer(ScramOffer { verifier, nonce: b"nonce".to_vec() }))
            }
            Ask::Authenticate { ticket, .. } => Answer::Authenticate(ticket.answer(match letter {
                b'n' => AuthVerdict::Denied,
                b't' => AuthVerdict::Temporary,
                _ => AuthVerdict::Granted(account()),
            })),
            Ask::Sender { ticket, .. } => Answer::Sender(ticket.answer(match letter {
                b'n' => SenderVerdict::NotYours,
                _ => SenderVerdict::Allowed,
            })),
            Ask::Recipient { ticket, .. } => Answer::Recipient(ticket.answer(match letter {
                b'n' => RecipientVerdict::NoSuchUser,
                b't' => RecipientVerdict::Temporary,
                _ => RecipientVerdict::Local(vec![account()]),
            })),
            Ask::Begin { ticket, .. } => Answer::Begin(ticket.answer(match letter {
                b'n' => BeginVerdict::NoSpace,
                b't' => BeginVerdict::Temporary,
                _ => {
                    self.open = letter != b'x';
                    self.outcome.bodies.push(Vec::new());
                    BeginVerdict::Go
                }
            })),
            Ask::Commit { ticket } => Answer::Commit(ticket.answer(match letter {
                b'n' => CommitVerdict::NoSpace,
                b't' => CommitVerdict::Temporary,
                _ => CommitVerdict::Done,
            })),
        };
        self.input(Input::Answer(answer));
    }

    fn be_silent(&mut self) {
        let (deadline, _) = self.session.poll_timeout().expect("whoever waits has a timer");
        self.now.instant = deadline;
        self.input(Input::Timeout);
    }
}

fn account() -> Arc<Account> {
    let account = Account::new(b"you", b"example.test", b"/m".to_vec(), Secret::new("{PLAIN}x"));
    Arc::new(account.expect("a good name"))
}
