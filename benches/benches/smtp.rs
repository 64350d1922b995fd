//! `postier_core::smtp`: the commands of a session, from octets to values, and smtp-proto beside it; and a whole
//! session, to the commit of its mail and without a peer: nothing else of its kind has no socket.
//!
//! Ours includes finding the lines; smtp-proto finds the line end while it reads.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postier_core::limits::Limits;
use postier_core::machine::{Action, Input, Machine, Now};
use postier_core::send_queue::{SendQueue, Transmit};
use postier_core::site::{Account, Secret};
use postier_core::smtp::command::parse;
use postier_core::smtp::server::{
    Answer, Ask, BeginVerdict, CommitVerdict, RecipientVerdict, Role, Session, Setup,
};
use postier_core::wire::lines::{Found, LineScanner};
use smtp_proto::Request;

const COMMANDS: &[(&str, &[u8])] = &[
    ("EHLO", b"EHLO mail.example.com\r\n"),
    ("MAIL", b"MAIL FROM:<someone@example.com> SIZE=34567 BODY=8BITMIME\r\n"),
    ("RCPT", b"RCPT TO:<somebody.else+tag@mail.example.org>\r\n"),
    ("RCPT with DSN", b"RCPT TO:<b@example.org> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+2Btag@example.org\r\n"),
    ("DATA", b"DATA\r\n"),
];

fn bench_commands(c: &mut Criterion) {
    let session: Vec<u8> = COMMANDS.iter().flat_map(|(_, line)| line.to_vec()).collect();
    for (name, octets) in COMMANDS.iter().copied().chain([("session of five", &session[..])]) {
        let mut group = c.benchmark_group(format!("smtp/command/{name}"));
        group.throughput(Throughput::Bytes(octets.len() as u64));
        group.bench_function("postier", |b| {
            b.iter(|| {
                let (mut scanner, mut rest) = (LineScanner::new(), black_box(octets));
                while let Found::Line { end, next } = scanner.find(rest, 4096) {
                    black_box(parse(&rest[..end]).expect("a command"));
                    rest = &rest[next..];
                }
            })
        });
        group.bench_function("peer: smtp-proto", |b| {
            b.iter(|| {
                let mut rest = black_box(octets).iter();
                while !rest.as_slice().is_empty() {
                    black_box(Request::parse(&mut rest).expect("a command"));
                }
            })
        });
        group.finish();
    }
}

/// What the adapter reads at once.
const READ_BYTES: usize = 64 * 1024;

fn bench_session(c: &mut Criterion) {
    let account = Account::new(b"you", b"example.test", b"/m".to_vec(), Secret::new("{PLAIN}x"));
    let account = Arc::new(account.expect("a good name"));
    for (name, size) in [("4 KiB", 4 * 1024), ("1 MiB", 1024 * 1024)] {
        let line = "The quick brown fox jumps over the lazy dog, and .the dog says nothing of it.\r\n";
        let body = line.repeat(size / line.len());
        let mail = format!(
            "EHLO client.example\r\nMAIL FROM:<me@client.example> SIZE={size}\r\nRCPT TO:<you@example.test>\r\nDATA\r\n\
             From: me@client.example\r\nTo: you@example.test\r\nSubject: bench\r\n\r\n{body}.\r\nQUIT\r\n"
        );
        let mut group = c.benchmark_group("smtp/session");
        group.throughput(Throughput::Bytes(mail.len() as u64));
        group.bench_function(name, |b| b.iter(|| run_session(black_box(mail.as_bytes()), &account)));
    }
}

/// Returns the octets of the message.
fn run_session(client: &[u8], account: &Arc<Account>) -> usize {
    let setup = Setup {
        role: Role::Exchange,
        hostname: "mail.example.org".into(),
        peer: [192, 0, 2, 7].into(),
        starttls: true,
        tls: None,
        plaintext_login: false,
        scram: false,
        refuse_bare_newlines: false,
        limits: Limits::default(),
        session: 1,
        seed: 2,
    };
    let (now, mut tx, mut message) = (Now::default(), SendQueue::default(), 0);
    let mut session = Session::new(setup, now, &mut tx);
    let (mut start, mut end) = (0, READ_BYTES.min(client.len()));
    loop {
        let Some(step) = session.handle_input(now, Input::Bytes(&client[start..end]), &mut tx) else {
            assert!(end < client.len(), "the session ends before its input");
            end = (end + READ_BYTES).min(client.len());
            continue;
        };
        start += step.consumed;
        match step.action {
            Some(Action::Body(octets)) => message += black_box(&octets).len(),
            Some(Action::Ask(ask)) => {
                let answer = match ask {
                    Ask::Recipient { ticket, .. } => {
                        Answer::Recipient(ticket.answer(RecipientVerdict::Local(vec![account.clone()])))
                    }
                    Ask::Begin { ticket, .. } => Answer::Begin(ticket.answer(BeginVerdict::Go)),
                    Ask::Commit { ticket } => Answer::Commit(ticket.answer(CommitVerdict::Done)),
                    Ask::Verifier { .. } | Ask::Authenticate { .. } | Ask::Sender { .. } => {
                        panic!("not on port 25")
                    }
                };
                assert!(session.handle_input(now, Input::Answer(answer), &mut tx).is_none_or(|step| {
                    message += matches!(&step.action, Some(Action::Body(_))) as usize;
                    step.consumed == 0
                }));
            }
            Some(Action::Close(_)) => break,
            None | Some(Action::Event(_) | Action::Cancel(_) | Action::StartTls) => {}
        }
    }
    assert!(matches!(tx.poll_transmit(), Some(Transmit::Bytes(replies)) if replies.ends_with(b"Bye\r\n")));
    message
}

criterion_group!(smtp, bench_commands, bench_session);
criterion_main!(smtp);
