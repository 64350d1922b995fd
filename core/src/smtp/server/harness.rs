//! For tests: drives a session the way an adapter does and writes down what happens, one line for each thing.
//!
//! `S:` a line to the client, `Q:` an ask, `B:` a line of the message, `E:` an event, `X:` anything else.
//! What it writes must not depend on how the client's octets are cut into segments, nor on when the answers
//! come.

use std::collections::VecDeque;
use std::format;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec::Vec;

use super::*;
use crate::auth::Proof;
use crate::auth::scram::tests::pencil;
use crate::event::Event;
use crate::machine::{Action, Input, Instant, Machine, Now, WallTime};
use crate::send_queue::{SendQueue, Transmit};
use crate::site::Secret;
use crate::ticket::TicketId;

/// When answers are given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answering {
    /// At once.
    Eager,
    /// When everything the client has to say is in the buffer.
    Lazy,
}

/// What to show in full.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Show {
    pub(super) ehlo: bool,
    pub(super) trace: bool,
}

pub(super) struct Harness {
    session: Session,
    tx: SendQueue,
    rx: Vec<u8>,
    now: Now,
    show: Show,
    answering: Answering,
    /// Answers, as the words of a transcript; `choice 3` is one of those that are possible.
    pub(super) answers: VecDeque<String>,
    /// The ask that waits for its answer.
    pub(super) held: Option<Ask>,
    asked: Vec<(TicketId, &'static str)>,
    id: String,
    trace_next: bool,
    body: Vec<u8>,
    pub(super) log: Vec<String>,
    pub(super) closed: bool,
}

impl Harness {
    pub(super) fn new(setup: Setup, answering: Answering, show: Show) -> Self {
        let now = Now {
            instant: Instant::from_micros(1_000_000),
            wall: WallTime { secs: 1_795_493_964, micros: 0 },
        };
        let mut tx = SendQueue::default();
        let session = Session::new(setup, now, &mut tx);
        let mut harness = Harness {
            session,
            tx,
            rx: Vec::new(),
            now,
            show,
            answering,
            answers: VecDeque::new(),
            held: None,
            asked: Vec::new(),
            id: String::new(),
            trace_next: false,
            body: Vec::new(),
            log: Vec::new(),
            closed: false,
        };
        harness.drain();
        harness
    }

    /// The client sends this, in the given segments.
    pub(super) fn send<'s>(&mut self, segments: impl IntoIterator<Item = &'s [u8]>) {
        for segment in segments {
            self.rx.extend_from_slice(segment);
            self.pump();
        }
        while self.answer_held() {
            self.pump();
        }
    }

    pub(super) fn input(&mut self, input: Input<'static, Answer, Notice>) {
        let step = self.session.handle_input(self.now, input, &mut self.tx);
        let action = step.and_then(|step| {
            assert_eq!(step.consumed, 0, "only Bytes are consumed");
            step.action
        });
        self.drain();
        if let Some(action) = action {
            self.note(action);
        }
        self.pump();
    }

    /// Time passes; timers that run out are told.
    pub(super) fn wait(&mut self, seconds: u64) {
        self.now.instant = self.now.instant.plus(core::time::Duration::from_secs(seconds));
        while self.session.poll_timeout().is_some_and(|(at, _)| at <= self.now.instant) {
            self.input(Input::Timeout);
            self.send([]);
        }
    }

    /// Answers the ask that waits, with the words of a transcript.
    pub(super) fn answer(&mut self, words: &str) {
        let answer = answer(self.held.take().expect("an ask waits"), words);
        self.input(Input::Answer(answer));
    }

    /// What happened since the last call.
    pub(super) fn take_log(&mut self) -> Vec<String> {
        self.flush_body();
        core::mem::take(&mut self.log)
    }

    fn pump(&mut self) {
        for _ in 0..100_000 {
            let rx = core::mem::take(&mut self.rx);
            let step = self.session.handle_input(self.now, Input::Bytes(&rx), &mut self.tx);
            self.drain();
            let Some(step) = step else {
                self.rx = rx;
                return;
            };
            let consumed = step.consumed;
            if let Some(action) = step.action {
                self.note(action);
            }
            self.rx = rx.get(consumed..).expect("no more is consumed than was there").to_vec();
            if self.answering == Answering::Eager {
                self.answer_held();
            }
        }
        panic!("the pump does not end");
    }

    /// Whether there was something to answer.
    fn answer_held(&mut self) -> bool {
        let (Some(ask), Some(words)) = (&self.held, self.answers.front()) else { return false };
        let words = match words.strip_prefix("choice ") {
            Some(choice) => possible_answers(ask)[choice.parse::<usize>().expect("a number") % 4].to_string(),
            None => words.clone(),
        };
        if words == "none" {
            return false;
        }
        self.answers.pop_front();
        self.answer(&words);
        true
    }

    fn drain(&mut self) {
        let mut sent = Vec::new();
        while let Some(transmit) = self.tx.poll_transmit() {
            let Transmit::Bytes(bytes) = transmit else { panic!("an SMTP server sends no files") };
            sent.extend_from_slice(bytes);
            let count = bytes.len();
            self.tx.handle_sent(count);
        }
        if sent.is_empty() {
            return;
        }
        assert!(!self.closed, "nothing is said after the close");
        let sent = String::from_utf8(sent).expect("replies are text");
        let sent = sent.strip_suffix("\r\n").expect("replies are whole lines");
        let is_ehlo = sent.contains("pleased to meet you");
        if is_ehlo && !self.show.ehlo {
            return self.write("S: (ehlo)".into());
        }
        for line in sent.split("\r\n") {
            self.write(format!("S: {line}"));
        }
    }

    fn write(&mut self, line: String) {
        self.flush_body();
        self.log.push(if self.id.is_empty() { line } else { line.replace(&self.id, "ID") });
    }

    fn note(&mut self, action: Action<'_, Ask, Event>) {
        assert!(!self.closed, "nothing is done after the close");
        let line = match action {
            Action::Body(octets) if core::mem::take(&mut self.trace_next) && !self.show.trace => {
                assert!(octets.starts_with(b"Return-Path: <"));
                return;
            }
            Action::Body(octets) => {
                assert!(!octets.is_empty());
                return self.body.extend_from_slice(&octets);
            }
            Action::Ask(ask) => self.note_ask(ask),
            Action::Cancel(ticket) => {
                let asked = self.asked.iter().find(|(id, _)| *id == ticket).expect("only what was asked");
                format!("X: cancel {}", asked.1)
            }
            Action::Event(event) => format!("E: {}", shown(&event)),
            Action::StartTls => "X: starttls".into(),
            Action::Close(reason) => {
                self.closed = true;
                format!("X: close {reason:?}")
            }
        };
        self.write(line);
    }

    fn note_ask(&mut self, ask: Ask) -> String {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let (id, kind, line) = match &ask {
            Ask::Verifier { ticket, login } => (ticket.id(), "verifier", format!("verifier {}", text(login))),
            Ask::Authenticate { ticket, attempt } => {
                let proof = match &attempt.proof {
                    Proof::Password(password) => text(&password.0),
                    scram @ Proof::Scram(_) => format!("{scram:?}"),
                };
                (ticket.id(), "auth", format!("auth {} {proof}", text(&attempt.login)))
            }
            Ask::Sender { ticket, account, local, domain } => {
                let account = text(&account.address);
                (ticket.id(), "sender", format!("sender {account} as {} at {}", text(local), text(domain)))
            }
            Ask::Recipient { ticket, local, domain, .. } => {
                let domain = domain.as_ref().map_or("nowhere".into(), |domain| text(domain));
                (ticket.id(), "rcpt", format!("rcpt {} at {domain}", text(local)))
            }
            Ask::Begin { ticket, transaction } => {
                self.id = transaction.id.to_string();
                self.trace_next = true;
                (ticket.id(), "begin", begun(transaction))
            }
            Ask::Commit { ticket } => (ticket.id(), "commit", "commit".into()),
        };
        self.asked.push((id, kind));
        // The ask before this one was given up, if it is still there.
        if self.held.replace(ask).is_some() {
            self.answers.pop_front();
        }
        format!("Q: {line}")
    }

    fn flush_body(&mut self) {
        let body = core::mem::take(&mut self.body);
        let mut rest = &body[..];
        while !rest.is_empty() {
            let end = rest.windows(2).position(|pair| pair == b"\r\n");
            let (line, mark) = match end {
                Some(end) => (&rest[..end], ""),
                None => (rest, "…"),
            };
            rest = rest.get(line.len() + 2..).unwrap_or_default();
            let line = format!("B: {}{mark}", String::from_utf8_lossy(line).escape_debug());
            let line = line.replace("\\\"", "\"").replace("\\'", "'").trim_end().to_string();
            self.log.push(if self.id.is_empty() { line } else { line.replace(&self.id, "ID") });
        }
    }
}

fn begun(transaction: &Transaction) -> String {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let mut line = format!("begin <{}>", text(&transaction.reverse_path));
    for recipient in &transaction.recipients {
        let accounts: Vec<String> = recipient.accounts.iter().map(|account| text(&account.address)).collect();
        line += &format!(" {}={}", text(&recipient.forward_path), accounts.join(","));
        if !recipient.remote.is_empty() {
            line += &format!(" elsewhere={}", recipient.remote.join(","));
        }
        if let Some(Notify { success, failure, delay }) = recipient.dsn_notify {
            line += &format!(" notify={}{}{}", u8::from(success), u8::from(failure), u8::from(delay));
        }
        if let Some((kind, address)) = &recipient.dsn_original {
            line += &format!(" orcpt={};{}", text(kind), text(address));
        }
    }
    let Transaction { submitter, size, eight_bit, smtputf8, dsn_return_full, dsn_envelope_id, .. } =
        transaction;
    for (given, shown) in [
        (submitter.is_some(), " submitted".into()),
        (size.is_some(), format!(" size={}", size.unwrap_or_default())),
        (*eight_bit, " 8bit".into()),
        (*smtputf8, " utf8".into()),
        (*dsn_return_full == Some(true), " full".into()),
        (*dsn_return_full == Some(false), " headers".into()),
        (
            dsn_envelope_id.is_some(),
            format!(" envid={}", text(dsn_envelope_id.as_deref().unwrap_or_default())),
        ),
    ] {
        if given {
            line += &shown;
        }
    }
    line
}

fn shown(event: &Event) -> String {
    match event {
        Event::LoggedIn { account } => format!("logged in {account}"),
        Event::LoginFailed { login, .. } => format!("login failed {login}"),
        Event::NotDelivered { why, .. } => format!("not delivered: {why}"),
        Event::AddressRefused { path, .. } => format!("refused {}", String::from_utf8_lossy(path)),
        Event::Abuse { what } => format!("abuse: {what}"),
        other => panic!("not of a session: {other:?}"),
    }
}

/// An account named by its address.
pub(super) fn account(address: &str) -> Arc<Account> {
    let (user, domain) = address.split_once('@').expect("user@domain");
    let account = Account::new(user.as_bytes(), domain.as_bytes(), Vec::new(), Secret::new("{PLAIN}x"));
    Arc::new(account.expect("a good name"))
}

/// What may be answered; mostly good news.
fn possible_answers(ask: &Ask) -> [&'static str; 4] {
    match ask {
        Ask::Verifier { .. } => ["pencil", "pencil", "pencil", "none"],
        Ask::Authenticate { .. } => ["granted you@example.test", "denied", "temporary", "none"],
        Ask::Sender { .. } => ["allowed", "allowed", "not yours", "none"],
        Ask::Recipient { .. } => ["you@example.test", "unknown", "not local", "none"],
        Ask::Begin { .. } => ["go", "go", "no space", "none"],
        Ask::Commit { .. } => ["done", "done", "temporary", "none"],
    }
}

fn answer(ask: Ask, words: &str) -> Answer {
    match ask {
        Ask::Verifier { ticket, .. } => Answer::Verifier(ticket.answer(pencil())),
        Ask::Authenticate { ticket, .. } => {
            Answer::Authenticate(ticket.answer(match words.split_once(' ') {
                Some(("granted", address)) => AuthVerdict::Granted(account(address)),
                _ if words == "denied" => AuthVerdict::Denied,
                _ if words == "temporary" => AuthVerdict::Temporary,
                _ => panic!("auth: {words}"),
            }))
        }
        Ask::Sender { ticket, .. } => Answer::Sender(ticket.answer(match words {
            "allowed" => SenderVerdict::Allowed,
            "not yours" => SenderVerdict::NotYours,
            _ => panic!("sender: {words}"),
        })),
        Ask::Recipient { ticket, .. } => Answer::Recipient(ticket.answer(match words {
            "unknown" => RecipientVerdict::NoSuchUser,
            "full" => RecipientVerdict::Full,
            "too big" => RecipientVerdict::TooBig,
            "not local" => RecipientVerdict::NotLocal,
            "temporary" => RecipientVerdict::Temporary,
            "send" => RecipientVerdict::Send,
            forward if forward.starts_with("forward ") => RecipientVerdict::Forward {
                accounts: Vec::new(),
                remote: forward.split(' ').skip(1).map(Into::into).collect(),
            },
            addresses => RecipientVerdict::Local(addresses.split(' ').map(account).collect()),
        })),
        Ask::Begin { ticket, .. } => Answer::Begin(ticket.answer(match words {
            "go" => BeginVerdict::Go,
            "no space" => BeginVerdict::NoSpace,
            "temporary" => BeginVerdict::Temporary,
            _ => panic!("begin: {words}"),
        })),
        Ask::Commit { ticket } => Answer::Commit(ticket.answer(match words {
            "done" => CommitVerdict::Done,
            "no space" => CommitVerdict::NoSpace,
            "full" => CommitVerdict::MailboxFull,
            "too big" => CommitVerdict::MailboxTooSmall,
            "temporary" => CommitVerdict::Temporary,
            _ => panic!("commit: {words}"),
        })),
    }
}
