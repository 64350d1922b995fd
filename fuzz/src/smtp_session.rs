//! A whole SMTP session: the input is all that the client sends, from the greeting on.
//!
//! The layer above is played by the first letter of what is asked about: `n` is no, `t` is try again later, `s` is
//! silence until the timer runs out, `x` is a shutdown in the middle of the question, anything else is yes.

use std::sync::Arc;

use postier_core::auth::AuthVerdict;
use postier_core::auth::scram::{ScramKey, ScramOffer};
use postier_core::limits::Limits;
use postier_core::machine::{Instant, Now, WallTime};
use postier_core::send_queue::SendQueue;
use postier_core::site::{Account, Secret};
use postier_core::smtp::server::{
    Answer, Ask, BeginVerdict, CommitVerdict, Notice, RecipientVerdict, Role, SenderVerdict, Session, Setup,
};

use crate::assert_split_invariant;
use crate::drive::{Drive, Happenings, Happens, Outcome, Party};

/// One session on each kind of port.
pub fn smtp_session(data: &[u8]) {
    for role in [Role::Exchange, Role::Submission] {
        let outcome = assert_split_invariant(data, |pieces| run(role, false, pieces));
        assert!(outcome.sent.starts_with(b"220 ") && outcome.sent.ends_with(b"\r\n"));
        // Here the segments do count: what comes together with STARTTLS is refused.
        run(role, true, &[data]);
    }
}

fn run(role: Role, starttls: bool, pieces: &[&[u8]]) -> Outcome {
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
    Drive::run(session, ByLetter, tx, now, pieces)
}

/// The first letter of what is asked about decides.
struct ByLetter;

impl Party<Session> for ByLetter {
    fn receive(&mut self, octets: &[u8], outcome: &mut Outcome) {
        assert!(octets.is_ascii());
        outcome.sent.extend_from_slice(octets);
    }

    fn answer(&mut self, ask: Ask, outcome: &mut Outcome) -> Happenings<Session> {
        let letter = match &ask {
            Ask::Verifier { login, .. } => login.first(),
            Ask::Authenticate { attempt, .. } => attempt.login.first(),
            Ask::Sender { local, .. } | Ask::Recipient { local, .. } => local.first(),
            Ask::Begin { transaction, .. } => transaction.reverse_path.first(),
            Ask::Commit { .. } => outcome.bodies.last().and_then(|body| body.get(body.len().wrapping_sub(3))),
        };
        let letter = letter.copied().unwrap_or_default();
        outcome.open &= !matches!(ask, Ask::Commit { .. });
        if letter == b's' {
            return vec![Happens::Silence];
        }
        // To all but a commit a shutdown is the answer, and this one comes too late.
        let shutdown = (letter == b'x').then_some(Happens::Notice(Notice::Shutdown));
        let answer = verdict(ask, letter, outcome);
        shutdown.into_iter().chain([Happens::Answer(answer)]).collect()
    }
}

fn verdict(ask: Ask, letter: u8, outcome: &mut Outcome) -> Answer {
    match ask {
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
                outcome.open = letter != b'x';
                outcome.bodies.push(Vec::new());
                BeginVerdict::Go
            }
        })),
        Ask::Commit { ticket } => Answer::Commit(ticket.answer(match letter {
            b'n' => CommitVerdict::NoSpace,
            b't' => CommitVerdict::Temporary,
            _ => CommitVerdict::Done,
        })),
    }
}

fn account() -> Arc<Account> {
    let account = Account::new(b"you", b"example.test", b"/m".to_vec(), Secret::new("{PLAIN}x"));
    Arc::new(account.expect("a good name"))
}
