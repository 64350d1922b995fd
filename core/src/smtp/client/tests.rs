//! Dialogues: `S:` what the server says, `C:` what we say, each line in its place; played in several segmentations.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use std::format;

use super::*;
use crate::machine::{Action, Input, Machine, Now, TlsInfo};
use crate::send_queue::{SendQueue, Transmit};

/// A session with its surroundings: mails to send, their text, what was recorded.
struct Play {
    session: Session,
    now: Now,
    tx: SendQueue,
    rx: Vec<u8>,
    mails: VecDeque<(Mail, &'static [u8])>,
    body: &'static [u8],
    read: usize,
    sent: String,
    recorded: Vec<Vec<Outcome>>,
    closed: bool,
    tls_wanted: bool,
}

impl Play {
    fn new(setup: Setup, mails: &[(Mail, &'static [u8])], read: usize) -> Self {
        let now = Now::default();
        let setup = Setup { hostname: "us.test".into(), ..setup };
        Play {
            session: Session::new(setup, now),
            now,
            tx: SendQueue::default(),
            rx: vec![],
            mails: mails.iter().cloned().collect(),
            body: b"",
            read,
            sent: String::new(),
            recorded: vec![],
            closed: false,
            tls_wanted: false,
        }
    }

    fn input(&mut self, input: Input<'_, Answer, Notice>) {
        let step = self.session.handle_input(self.now, input, &mut self.tx);
        let action = step.and_then(|step| step.action);
        self.act(action.map(own));
        self.pump();
    }

    fn pump(&mut self) {
        loop {
            let rx = core::mem::take(&mut self.rx);
            let step = self.session.handle_input(self.now, Input::Bytes(&rx), &mut self.tx);
            let Some(step) = step else {
                self.rx = rx;
                let before = self.sent.len();
                self.drain();
                if self.sent.len() == before {
                    return;
                }
                continue;
            };
            let action = step.action.map(own);
            self.rx = rx[step.consumed..].to_vec();
            self.act(action);
            self.drain();
        }
    }

    fn act(&mut self, action: Option<Owned>) {
        match action {
            None => {}
            Some(Owned::Ask(Ask::Next { ticket, .. })) => {
                let verdict = match self.mails.pop_front() {
                    Some((mail, body)) => {
                        self.body = body;
                        NextVerdict::Mail(Box::new(mail))
                    }
                    None => NextVerdict::Quit,
                };
                self.input(Input::Answer(Answer::Next(ticket.answer(verdict))));
            }
            Some(Owned::Ask(Ask::Read { ticket, offset })) => {
                let rest = &self.body[usize::try_from(offset).unwrap()..];
                let octets = rest[..rest.len().min(self.read)].to_vec();
                self.input(Input::Answer(Answer::Read(ticket.answer(ReadVerdict::Octets(octets)))));
            }
            Some(Owned::Ask(Ask::Record { ticket, outcomes })) => {
                self.recorded.push(outcomes);
                self.input(Input::Answer(Answer::Record(ticket.answer(()))));
            }
            Some(Owned::StartTls) => self.tls_wanted = true,
            Some(Owned::Close) => self.closed = true,
        }
    }

    fn drain(&mut self) {
        while let Some(Transmit::Bytes(octets)) = self.tx.poll_transmit() {
            self.sent.push_str(core::str::from_utf8(octets).unwrap());
            let count = octets.len();
            self.tx.handle_sent(count);
        }
    }

    fn server_says(&mut self, octets: &[u8], piece: usize) {
        for piece in octets.chunks(piece) {
            self.rx.extend_from_slice(piece);
            self.pump();
        }
    }

    fn end(self) -> (Vec<Vec<Outcome>>, End) {
        assert!(self.closed, "the session is still open");
        assert_eq!(self.sent, "", "nobody waited for this");
        (self.recorded, self.session.into_end())
    }
}

enum Owned {
    Ask(Ask),
    StartTls,
    Close,
}

fn own(action: Action<'_, Ask, crate::event::Event>) -> Owned {
    match action {
        Action::Ask(ask) => Owned::Ask(ask),
        Action::StartTls => Owned::StartTls,
        Action::Close(_) => Owned::Close,
        Action::Cancel(_) | Action::Body(_) | Action::Event(_) => panic!("a client does no such thing"),
    }
}

/// Plays the dialogue in several segmentations, and checks that all end the same.
fn play(setup: &Setup, mails: &[(Mail, &'static [u8])], dialogue: &str) -> (Vec<Vec<Outcome>>, End) {
    let mut ends = vec![];
    for (piece, read) in [(1, 1), (2, 3), (7, 5), (usize::MAX, usize::MAX)] {
        let mut play = Play::new(setup.clone(), mails, read);
        // What the server says at once is one flight.
        let mut flight = vec![];
        for line in dialogue.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
            if let Some(words) = line.strip_prefix("S: ") {
                flight.extend_from_slice(words.as_bytes());
                flight.extend_from_slice(b"\r\n");
                continue;
            }
            play.server_says(&core::mem::take(&mut flight), piece);
            match line {
                "TLS" => {
                    assert!(core::mem::take(&mut play.tls_wanted), "no handshake is wanted");
                    play.input(Input::TlsStarted(TlsInfo::default()));
                }
                "EOF" => play.input(Input::Eof),
                "WAIT" => {
                    play.now.instant = play.session.poll_timeout().expect("a timer").0;
                    play.input(Input::Timeout);
                }
                _ => {
                    let expected = line
                        .strip_prefix("C: ")
                        .unwrap_or_else(|| panic!("{line}: S:, C:, TLS, EOF or WAIT"));
                    let (said, rest) = play
                        .sent
                        .split_once("\r\n")
                        .unwrap_or_else(|| panic!("{expected}: we say {:?}", play.sent));
                    assert_eq!(said, expected);
                    play.sent = rest.to_string();
                }
            }
        }
        play.server_says(&flight, piece);
        ends.push(play.end());
    }
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "segmentation shows: {ends:?}");
    ends.swap_remove(0)
}

fn mail(to: &[&str]) -> Mail {
    let recipients = to.iter().map(|to| Recipient { forward_path: (*to).into(), ..Recipient::default() });
    Mail { reverse_path: "me@us.test".into(), recipients: recipients.collect(), size: 17, ..Mail::default() }
}

const TEXT: &[u8] = b"Subject: x\n\n.y\n";

fn show(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered { reply, dsn } => format!("delivered{}: {reply}", if *dsn { " dsn" } else { "" }),
        Outcome::Refused(reply) => format!("refused: {reply}"),
        Outcome::Unfit(lack) => format!("unfit: {lack:?}"),
    }
}

fn shown(recorded: &[Vec<Outcome>]) -> Vec<Vec<String>> {
    recorded.iter().map(|mail| mail.iter().map(show).collect()).collect()
}

#[test]
fn a_plain_server_gets_one_command_at_a_time() {
    let (recorded, end) = play(
        &Setup::default(),
        &[(mail(&["a@them.test", "b@them.test"]), TEXT)],
        "S: 220-welcome
         S: 220 them.test
         C: EHLO us.test
         S: 250 them.test
         C: MAIL FROM:<me@us.test>
         S: 250 ok
         C: RCPT TO:<a@them.test>
         S: 250 ok
         C: RCPT TO:<b@them.test>
         S: 550 5.1.1 who?
         C: DATA
         S: 354 go
         C: Subject: x
         C: 
         C: ..y
         C: .
         S: 250 2.0.0 queued as 17
         C: QUIT
         S: 221 bye",
    );
    assert_eq!(shown(&recorded), [["delivered: 250 2.0.0 queued as 17", "refused: 550 5.1.1 who?"]]);
    assert_eq!(end, End::Done);
}

#[test]
fn pipelining_sends_all_at_once() {
    let (recorded, _) = play(
        &Setup::default(),
        &[(mail(&["a@them.test", "b@them.test"]), TEXT), (mail(&["c@them.test"]), TEXT)],
        "S: 220 them.test
         C: EHLO us.test
         S: 250-them.test
         S: 250-SIZE 1000000
         S: 250-DSN
         S: 250 PIPELINING
         C: MAIL FROM:<me@us.test> SIZE=17
         C: RCPT TO:<a@them.test>
         C: RCPT TO:<b@them.test>
         C: DATA
         S: 250 ok
         S: 452 4.2.2 full
         S: 250 ok
         S: 354 go
         C: Subject: x
         C: 
         C: ..y
         C: .
         S: 250 queued
         C: MAIL FROM:<me@us.test> SIZE=17
         C: RCPT TO:<c@them.test>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 354 go
         C: Subject: x
         C: 
         C: ..y
         C: .
         S: 554 5.7.1 spam
         C: QUIT
         S: 221 bye",
    );
    assert_eq!(
        shown(&recorded),
        [vec!["refused: 452 4.2.2 full", "delivered dsn: 250 queued"], vec!["refused: 554 5.7.1 spam"]]
    );
}

#[test]
fn a_message_for_nobody_is_a_lone_dot() {
    let (recorded, end) = play(
        &Setup::default(),
        &[(mail(&["a@them.test"]), TEXT)],
        "S: 220 them.test
         C: EHLO us.test
         S: 250-them.test
         S: 250 PIPELINING
         C: MAIL FROM:<me@us.test>
         C: RCPT TO:<a@them.test>
         C: DATA
         S: 250 ok
         S: 550 no
         S: 354 go on then
         C: .
         S: 250 queued
         C: QUIT
         S: 221 bye",
    );
    assert_eq!((shown(&recorded), end), (vec![vec!["refused: 550 no".to_string()]], End::Done));
}

#[test]
fn a_refused_sender_refuses_all_and_a_begun_mail_is_reset() {
    let hello = "S: 220 them.test
         C: EHLO us.test
         S: 250 them.test
         C: MAIL FROM:<me@us.test>";
    let mails = [(mail(&["a@them.test", "b@them.test"]), TEXT)];
    let (recorded, _) =
        play(&Setup::default(), &mails, &format!("{hello}\nS: 451 4.7.1 later\nC: QUIT\nS: 221 bye"));
    assert_eq!(shown(&recorded), [["refused: 451 4.7.1 later"; 2]]);
    let (recorded, _) = play(
        &Setup::default(),
        &[(mail(&["a@them.test"]), TEXT)],
        &format!(
            "{hello}\nS: 250 ok\nC: RCPT TO:<a@them.test>\nS: 550 no\nC: RSET\nS: 250 ok\nC: QUIT\nS: 221 bye"
        ),
    );
    assert_eq!(shown(&recorded), [["refused: 550 no"]]);
}

#[test]
fn chunking_needs_no_dots() {
    let mut chunked = mail(&["a@them.test"]);
    chunked.size = 18;
    let (recorded, _) = play(
        &Setup::default(),
        &[(chunked, TEXT)],
        "S: 220 them.test
         C: EHLO us.test
         S: 250-them.test
         S: 250-CHUNKING
         S: 250 PIPELINING
         C: MAIL FROM:<me@us.test>
         C: RCPT TO:<a@them.test>
         S: 250 ok
         S: 250 ok
         C: BDAT 18 LAST
         C: Subject: x
         C: 
         C: .y
         S: 250 queued
         C: QUIT
         S: 221 bye",
    );
    assert_eq!(shown(&recorded), [["delivered: 250 queued"]]);
}

#[test]
fn a_chunk_that_is_not_what_was_announced_ends_the_connection() {
    for size in [17, 19] {
        let mut wrong = mail(&["a@them.test"]);
        wrong.size = size;
        let mut play = Play::new(Setup::default(), &[(wrong, TEXT)], usize::MAX);
        play.server_says(b"220 x\r\n250-x\r\n250 CHUNKING\r\n250 ok\r\n250 ok\r\n", usize::MAX);
        play.sent.clear();
        assert_eq!(play.end(), (vec![], End::Local), "{size}");
    }
}

#[test]
fn helo_for_those_who_do_not_know_ehlo() {
    let (_, end) = play(
        &Setup::default(),
        &[],
        "S: 220 them.test
         C: EHLO us.test
         S: 502 what?
         C: HELO us.test
         S: 250 them.test
         C: QUIT
         S: 221 bye",
    );
    assert_eq!(end, End::Done);
}

#[test]
fn tls_where_it_is_offered_and_everything_anew_inside() {
    let (recorded, _) = play(
        &Setup::default(),
        &[(mail(&["a@them.test"]), TEXT)],
        "S: 220 them.test
         C: EHLO us.test
         S: 250-them.test
         S: 250-PIPELINING
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 go
         TLS
         C: EHLO us.test
         S: 250 them.test
         C: MAIL FROM:<me@us.test>
         S: 250 ok
         C: RCPT TO:<a@them.test>
         S: 250 ok
         C: DATA
         S: 354 go
         C: Subject: x
         C: 
         C: ..y
         C: .
         S: 250 ok
         C: QUIT
         EOF",
    );
    assert_eq!(shown(&recorded), [["delivered: 250 ok"]]);
}

#[test]
fn what_comes_in_the_clear_behind_starttls_is_nobodys() {
    let mut play = Play::new(Setup::default(), &[], usize::MAX);
    play.server_says(b"220 x\r\n250-x\r\n250 STARTTLS\r\n", usize::MAX);
    play.server_says(b"220 go\r\n250 injected\r\n", usize::MAX);
    assert!(!play.tls_wanted);
    play.sent.clear();
    assert_eq!(play.end().1, End::Nonsense);
}

#[test]
fn without_tls_a_policy_that_wants_it_sends_nothing() {
    let setup = Setup { tls: Tls::Must, ..Setup::default() };
    let mails = [(mail(&["a@them.test"]), TEXT)];
    let (recorded, end) = play(&setup, &mails, "S: 220 x\nC: EHLO us.test\nS: 250 x");
    assert_eq!((recorded, end), (vec![], End::NoTls));
    let refused = "S: 220 x\nC: EHLO us.test\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 not now";
    assert_eq!(play(&setup, &mails, refused).1, End::NoTls);
    let setup = Setup { tls: Tls::May, ..setup };
    let opportunistic = format!("{refused}\nC: QUIT\nS: 221 bye");
    assert_eq!(play(&setup, &[], &opportunistic).1, End::Done);
}

#[test]
fn a_password_goes_through_tls_only() {
    let credentials =
        Credentials { authorization: vec![], login: b"me".to_vec(), password: b"secret".to_vec() };
    let setup = Setup { credentials: Some(credentials), ..Setup::default() };
    let clear = "S: 220 x\nC: EHLO us.test\nS: 250-x\nS: 250 AUTH PLAIN";
    assert_eq!(play(&setup, &[], clear).1, End::NoAuth);
    let setup = Setup { implicit_tls: true, ..setup };
    let plain = format!("{clear}\nC: AUTH PLAIN AG1lAHNlY3JldA==\nS: 235 welcome\nC: QUIT\nS: 221 bye");
    assert_eq!(play(&setup, &[], &plain).1, End::Done);
    let login =
        "S: 220 x\nC: EHLO us.test\nS: 250-x\nS: 250 AUTH LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: bWU=
         S: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 535 5.7.8 no";
    let (_, end) = play(&setup, &[], login);
    let End::Refused(reply) = end else { panic!("{end:?}") };
    assert_eq!(reply.to_string(), "535 5.7.8 no");
}

#[test]
fn what_the_server_lacks_is_told_without_asking_it() {
    let mut long = mail(&["a@them.test"]);
    long.size = 1001;
    let mut utf8 = mail(&["é@them.test"]);
    utf8.smtputf8 = true;
    let mut eight_bit = mail(&["a@them.test"]);
    eight_bit.eight_bit = true;
    let (recorded, _) = play(
        &Setup::default(),
        &[(long, TEXT), (utf8, TEXT), (eight_bit, TEXT)],
        "S: 220 x
         C: EHLO us.test
         S: 250-x
         S: 250 SIZE 1000
         C: QUIT
         S: 221 bye",
    );
    assert_eq!(shown(&recorded), [["unfit: Size { max: 1000 }"], ["unfit: SmtpUtf8"], ["unfit: EightBit"]]);
}

#[test]
fn parameters_go_to_those_who_know_them() {
    let mut rich = mail(&["é@them.test"]);
    rich.eight_bit = true;
    rich.smtputf8 = true;
    rich.dsn_return_full = Some(false);
    rich.dsn_envelope_id = Some(b"id=1".to_vec());
    rich.recipients[0].dsn_notify = Some(Notify { success: true, failure: true, delay: false });
    rich.recipients[0].dsn_original = Some(("rfc822".into(), b"a+b@c.test".to_vec()));
    let never = Recipient {
        forward_path: "b@them.test".into(),
        dsn_notify: Some(Notify::default()),
        ..Recipient::default()
    };
    rich.recipients.push(never);
    let (_, end) = play(
        &Setup::default(),
        &[(rich, TEXT)],
        "S: 220 x
         C: EHLO us.test
         S: 250-x
         S: 250-SIZE
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-DSN
         S: 250 PIPELINING
         C: MAIL FROM:<me@us.test> SIZE=17 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+3D1
         C: RCPT TO:<é@them.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@c.test
         C: RCPT TO:<b@them.test> NOTIFY=NEVER
         C: DATA
         EOF",
    );
    assert_eq!(end, End::Lost);
}

#[test]
fn the_end_of_a_connection_says_why() {
    let refused = |dialogue: &str| match play(&Setup::default(), &[(mail(&["a@x"]), TEXT)], dialogue) {
        (recorded, End::Refused(reply)) => (recorded.len(), reply.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("S: 554 5.7.1 not you"), (0, "554 5.7.1 not you".into()));
    let hello = "S: 220 x\nC: EHLO us.test\nS: 250 x\nC: MAIL FROM:<me@us.test>";
    assert_eq!(refused(&format!("{hello}\nS: 421 4.3.2 closing")), (0, "421 4.3.2 closing".into()));
    let end = |dialogue: &str| play(&Setup::default(), &[(mail(&["a@x"]), TEXT)], dialogue);
    assert_eq!(end(&format!("{hello}\nEOF")), (vec![], End::Lost));
    assert_eq!(end("S: 220 x\nC: EHLO us.test\nWAIT"), (vec![], End::TimedOut));
    assert_eq!(end("S: HTTP/1.1 400 Bad Request"), (vec![], End::Nonsense));
    assert_eq!(end("WAIT"), (vec![], End::TimedOut));
}

#[test]
fn limits_of_the_server_are_kept() {
    let (recorded, _) = play(
        &Setup::default(),
        &[(mail(&["a@x"]), TEXT), (mail(&["b@x"]), TEXT)],
        "S: 220 x
         C: EHLO us.test
         S: 250-x
         S: 250 LIMITS RCPTMAX=5 MAILMAX=1
         C: MAIL FROM:<me@us.test>
         S: 552 5.5.3 no
         C: QUIT
         S: 221 bye",
    );
    assert_eq!(recorded.len(), 1, "the second mail waits for another connection");
}

#[test]
fn too_many_recipients_is_for_later_whatever_its_code() {
    let dialogue = |reply: &str| {
        format!(
            "S: 220 x\nC: EHLO us.test\nS: 250 x\nC: MAIL FROM:<me@us.test>\nS: 250 ok\nC: RCPT TO:<a@x>\n\
             S: {reply}\nC: RSET\nS: 250 ok\nC: QUIT\nS: 221 bye"
        )
    };
    for (said, taken) in [
        ("552 too many", "refused: 452 too many"),
        ("552 5.5.3 too many", "refused: 452 too many"),
        ("552 5.2.2 full", "refused: 552 5.2.2 full"),
    ] {
        let (recorded, _) = play(&Setup::default(), &[(mail(&["a@x"]), TEXT)], &dialogue(said));
        assert_eq!(shown(&recorded), [[taken]]);
    }
}

#[test]
fn a_large_message_is_read_as_the_connection_takes_it() {
    let body: &'static [u8] = Box::leak(b"line of text\n".repeat(50_000).into_boxed_slice());
    let mut play = Play::new(Setup::default(), &[(mail(&["a@x"]), body)], 65_536);
    play.server_says(b"220 x\r\n250 x\r\n250 ok\r\n250 ok\r\n", usize::MAX);
    // The connection stands still after DATA: no more than a high water of the message is in memory.
    let (mut asks, mut held) = (0, vec![]);
    play.rx.extend_from_slice(b"354 go\r\n");
    let mut input = None;
    loop {
        let rx = core::mem::take(&mut play.rx);
        let step = match input.take() {
            Some(answer) => play.session.handle_input(play.now, Input::Answer(answer), &mut play.tx),
            None => match play.session.handle_input(play.now, Input::Bytes(&rx), &mut play.tx) {
                None => break,
                step => step,
            },
        };
        if let Some(step) = step
            && let Some(Action::Ask(Ask::Read { ticket, offset })) = step.action
        {
            asks += 1;
            held.push(play.tx.pending());
            let from = usize::try_from(offset).unwrap();
            let octets = body[from..from + 65_536].to_vec();
            input = Some(Answer::Read(ticket.answer(ReadVerdict::Octets(octets))));
        }
    }
    assert_eq!((asks, held), (1, vec![0]));
    assert!(play.tx.pending() < 80_000);
}
