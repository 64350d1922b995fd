//! Runs `transcripts/*.txt`: dialogues between a client and a session, in every segmentation.
//!
//! | line | what |
//! |---|---|
//! | `setup: exchange refuse-bare errors_max=3` | first: the role, and what differs from the default |
//! | `C: EHLO moi` | the client sends a line; `\r \n \t \0 \xNN \\` are octets |
//! | `C- octets` | the same without a line end |
//! | `T: 301` | so many seconds pass |
//! | `N: shutdown`, `TLS:`, `EOF:` | other inputs |
//! | `A: done` | the answer to the ask that was left without one |
//! | `S: B: E: X:` | what happens, see the harness; `…` at the end of a `B:` line: no line end yet |
//! | `Q: commit => done` | an ask and its answer; `=> none` leaves it open |
//!
//! The EHLO reply is shown as `S: (ehlo)` and the trace fields not at all, unless the setup says `show-ehlo`
//! and `show-trace`. `whole` in the setup: the outcome is meant to depend on segmentation.

use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use super::harness::{Answering, Harness, Show};
use super::*;
use crate::machine::Input;

macro_rules! transcripts {
    ($($name:ident)+) => {$(
        #[test]
        fn $name() {
            run(stringify!($name), include_str!(concat!("transcripts/", stringify!($name), ".txt")));
        }
    )+};
}

transcripts! {
    article
    auth
    auth_limits
    auth_line_too_long
    auth_scram
    auth_scram_plus
    bdat
    bdat_refused
    cancel
    commit
    dsn
    exchange
    half_close
    hang_up
    hang_up_commit
    hang_up_too_big
    headers
    hello
    hello_submission
    idle
    idle_line
    limits
    line_too_long
    mail_loop
    mistakes
    other_protocol
    other_protocol_tls
    pipelining
    recipients
    refuse_bare
    sequence
    shutdown
    shutdown_ask
    shutdown_data
    size
    smuggling
    starttls
    starttls_injection
    starttls_silence
    submission
    trace
    trace_submission
    utf8
}

#[derive(Debug)]
struct Block {
    stimulus: Stimulus,
    expected: Vec<String>,
    answers: Vec<String>,
}

#[derive(Debug)]
enum Stimulus {
    Connect,
    Send(Vec<u8>),
    Wait(u64),
    Shutdown,
    TlsStarted,
    Eof,
    Answer(String),
}

fn run(name: &str, text: &str) {
    let (setup, show, whole, blocks) = read(text);
    for answering in [Answering::Eager, Answering::Lazy] {
        let mut cuts: Vec<Option<u64>> = vec![None];
        if !whole {
            cuts.extend((0..20).map(Some));
        }
        for seed in cuts {
            let how = format!("{name}.txt, {answering:?}, segmentation {seed:?}");
            replay(Harness::new(setup.clone(), answering, show), &blocks, seed, &how);
        }
    }
}

fn replay(mut harness: Harness, blocks: &[Block], seed: Option<u64>, how: &str) {
    for block in blocks {
        harness.answers.extend(block.answers.iter().cloned());
        match &block.stimulus {
            Stimulus::Connect => {}
            Stimulus::Send(octets) => harness.send(segments(octets, seed)),
            Stimulus::Wait(seconds) => harness.wait(*seconds),
            Stimulus::Shutdown => harness.input(Input::Notice(Notice::Shutdown)),
            Stimulus::TlsStarted => harness.input(Input::TlsStarted(tls())),
            Stimulus::Eof => harness.input(Input::Eof),
            Stimulus::Answer(words) => {
                harness.answers.pop_front();
                harness.answer(words);
            }
        }
        let log = harness.take_log();
        assert!(
            log == block.expected,
            "{how}, after {}\nexpected:\n  {}\ngot:\n  {}",
            match &block.stimulus {
                Stimulus::Send(octets) => octets.escape_ascii().to_string(),
                other => format!("{other:?}"),
            },
            block.expected.join("\n  "),
            log.join("\n  ")
        );
    }
}

/// `None`: in one piece; seed 0: octet by octet; others: at random.
fn segments(octets: &[u8], seed: Option<u64>) -> Vec<&[u8]> {
    let Some(mut seed) = seed else { return vec![octets] };
    let mut segments = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let len = if seed == 0 { 1 } else { 1 + (seed >> 33) as usize % 23 };
        seed = if seed == 0 { 0 } else { seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) };
        let (segment, after) = rest.split_at(len.min(rest.len()));
        segments.push(segment);
        rest = after;
    }
    segments
}

fn tls() -> TlsInfo {
    TlsInfo { version: "TLSv1.3", cipher: "TLS13_AES_256_GCM_SHA384", ..TlsInfo::default() }
}

/// A session for a test.
pub(super) fn plain_setup(role: Role) -> Setup {
    Setup {
        role,
        hostname: "mail.example.org".into(),
        peer: [192, 0, 2, 7].into(),
        starttls: false,
        tls: None,
        plaintext_login: false,
        scram: false,
        refuse_bare_newlines: false,
        limits: Limits::default(),
        session: 1,
        seed: 2,
    }
}

fn read(text: &str) -> (Setup, Show, bool, Vec<Block>) {
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words = lines.next().and_then(|line| line.strip_prefix("setup: ")).expect("a setup line first");
    let (setup, show, whole) = read_setup(words);
    let mut blocks = vec![Block { stimulus: Stimulus::Connect, expected: Vec::new(), answers: Vec::new() }];
    for line in lines {
        let (tag, rest) = line.split_once([':', '-']).expect("a tag");
        let octets = || {
            let mut octets = unescape(rest.strip_prefix(' ').unwrap_or(rest));
            octets.extend_from_slice(if line.starts_with("C:") { b"\r\n" } else { b"" });
            octets
        };
        let rest = rest.trim();
        let last = blocks.last_mut().expect("there is a first");
        let stimulus = match (tag, &mut last.stimulus) {
            ("C", Stimulus::Send(before)) if last.expected.is_empty() => {
                before.extend(octets());
                continue;
            }
            ("C", _) => Stimulus::Send(octets()),
            ("T", _) => Stimulus::Wait(rest.parse().expect("seconds")),
            ("N", _) => Stimulus::Shutdown,
            ("TLS", _) => Stimulus::TlsStarted,
            ("EOF", _) => Stimulus::Eof,
            ("A", _) => Stimulus::Answer(rest.to_string()),
            ("Q", _) => {
                let (ask, answer) = rest.split_once(" => ").expect("an answer");
                last.expected.push(format!("Q: {ask}"));
                last.answers.push(answer.to_string());
                continue;
            }
            ("S" | "B" | "E" | "X", _) => {
                last.expected.push(line.to_string());
                continue;
            }
            _ => panic!("not a line of a transcript: {line}"),
        };
        blocks.push(Block { stimulus, expected: Vec::new(), answers: Vec::new() });
    }
    (setup, show, whole, blocks)
}

fn read_setup(words: &str) -> (Setup, Show, bool) {
    let mut setup = plain_setup(Role::Exchange);
    let (mut show, mut whole) = (Show::default(), false);
    for word in words.split(' ') {
        let limits = &mut setup.limits;
        match word.split_once('=').map(|(name, value)| (name, value.parse::<usize>().expect("a number"))) {
            None => match word {
                "exchange" => setup.role = Role::Exchange,
                "submission" => setup.role = Role::Submission,
                "starttls" => setup.starttls = true,
                "tls" => setup.tls = Some(tls()),
                "scram" => setup.scram = true,
                "bound" => setup.tls = Some(TlsInfo { exporter: Some([5; 32]), ..tls() }),
                "plaintext" => setup.plaintext_login = true,
                "refuse-bare" => setup.refuse_bare_newlines = true,
                "show-ehlo" => show.ehlo = true,
                "show-trace" => show.trace = true,
                "whole" => whole = true,
                _ => panic!("setup: {word}"),
            },
            Some(("message_bytes_max", value)) => limits.message_bytes_max = value as u64,
            Some(("line_bytes_max", value)) => limits.smtp_line_bytes_max = value,
            Some(("recipients_max", value)) => limits.smtp_recipients_max = value,
            Some(("transactions_max", value)) => limits.smtp_transactions_max = value,
            Some(("refused_recipients_max", value)) => limits.smtp_refused_recipients_max = value,
            Some(("errors_max", value)) => limits.errors_max = value,
            Some(("failed_logins_max", value)) => limits.failed_logins_max = value,
            Some(("received_fields_max", value)) => limits.received_fields_max = value,
            Some((name, _)) => panic!("setup: {name}"),
        }
    }
    (setup, show, whole)
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let octet = match (c, c == '\\') {
            (_, true) => match chars.next().expect("something behind a backslash") {
                'r' => b'\r',
                'n' => b'\n',
                't' => b'\t',
                '0' => 0,
                'x' => {
                    u8::from_str_radix(&chars.by_ref().take(2).collect::<String>(), 16).expect("two digits")
                }
                other => u8::try_from(other).expect("an octet"),
            },
            (c, false) => {
                octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        octets.push(octet);
    }
    octets
}
