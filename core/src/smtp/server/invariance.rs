//! Whatever a client sends and the layer above answers: the session survives it, its pump ends, and what it does depends
//! neither on how the octets are cut into segments nor on when the answers come.

use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::harness::{Answering, Harness, Show};
use super::transcripts::plain_setup;
use super::*;
use crate::machine::{Input, Machine, Now};
use crate::send_queue::{SendQueue, Transmit};
use crate::wire::segments::{cut, cuts};

/// Pieces of dialogues, good and bad; without STARTTLS, behind which segmentation does count.
const PIECES: &[&str] = &[
    "EHLO client.example\r\n",
    "EHLO client.example\r\n",
    "HELO x\n",
    "AUTH PLAIN AHlvdUBleGFtcGxlLnRlc3QAc2VjcmV0\r\n",
    "AUTH LOGIN\r\n",
    "eW91QGV4YW1wbGUudGVzdA==\r\n",
    "*\r\n",
    "MAIL FROM:<>\r\n",
    "MAIL FROM: <me@client.example> SIZE=10 BODY=8BITMIME\r\n",
    "RCPT TO:<you@example.test>\r\n",
    "RCPT TO:<you@example.test> NOTIFY=NEVER\r\nRCPT TO:<you%x@example.test>\r\n",
    "DATA\r\n",
    "DATA\r\n",
    "BDAT 7\r\n",
    "BDAT 4 LAST\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT x\r\n",
    "A: 1\r\n",
    "Received: x\r\n",
    "Received: y\r\n y\r\n\r\n",
    "\r\n",
    "\r\n.\r\n",
    ".\r\n",
    "..\r\n.",
    "\n.\n",
    "\r.\r\n",
    "\r",
    "\n",
    "\0\u{e9}",
    "some text that makes a line too long for a session whose lines are short\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "VRFY x\r\n",
    "GET /\r\n",
    "\u{16}",
    "QUIT\r\n",
];

/// A dialogue that gets somewhere, in pieces.
const GOOD_START: &str = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<you@example.test>\r\n";

fn setup(variant: u8) -> Setup {
    let mut setup = plain_setup(if variant & 1 == 0 { Role::Exchange } else { Role::Submission });
    setup.plaintext_login = variant & 2 == 0;
    setup.refuse_bare_newlines = variant & 4 == 0;
    setup.limits.message_bytes_max = if variant & 8 == 0 { 25 } else { 1000 };
    setup.limits.received_fields_max = 2;
    setup.limits.smtp_line_bytes_max = 60;
    setup.limits.smtp_recipients_max = 2;
    setup.limits.errors_max = 6;
    setup
}

fn run(variant: u8, octets: &[u8], cuts: &[usize], answering: Answering, choices: &[u8]) -> Vec<String> {
    let mut harness = Harness::new(setup(variant), answering, Show::default());
    harness.answers.extend(choices.iter().map(|choice| format!("choice {choice}")));
    harness.send(cut(octets, cuts));
    // Lost answers run out, and what is behind them is carried out.
    for _ in 0..12 {
        harness.wait(61);
    }
    harness.input(Input::Eof);
    harness.take_log()
}

fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), prop::collection::vec(prop::sample::select(PIECES), 0..40)).prop_map(|(good, pieces)| {
        let start = if good { GOOD_START } else { "" };
        format!("{start}{}", pieces.concat()).into_bytes()
    })
}

/// A client that sends and does not read costs no more than the queue may hold and one reply.
#[test]
fn a_client_that_does_not_read_is_not_served() {
    let (now, mut tx) = (Now::default(), SendQueue::new(200));
    let mut session = Session::new(plain_setup(Role::Exchange), now, &mut tx);
    let client = "NOOP\r\n".repeat(19);
    let (mut rest, mut replies) = (client.as_bytes(), Vec::new());
    for _ in 0..20 {
        while let Some(step) = session.handle_input(now, Input::Bytes(rest), &mut tx) {
            rest = &rest[step.consumed..];
        }
        assert!(tx.pending() < 220);
        while let Some(Transmit::Bytes(bytes)) = tx.poll_transmit() {
            replies.extend_from_slice(bytes);
            let count = bytes.len();
            tx.handle_sent(count);
        }
    }
    let replies = String::from_utf8(replies).unwrap();
    assert_eq!((rest.len(), replies.matches("250 2.0.0 Ok").count()), (0, 19));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn segments_and_delays_change_nothing(
        variant in 0..16u8,
        octets in dialogue(),
        cuts in cuts(),
        choices in prop::collection::vec(prop_oneof![6 => 0..2u8, 1 => 2..4u8], 40),
    ) {
        let whole = run(variant, &octets, &[], Answering::Eager, &choices);
        prop_assert_eq!(&run(variant, &octets, &cuts, Answering::Eager, &choices), &whole);
        prop_assert_eq!(&run(variant, &octets, &cuts, Answering::Lazy, &choices), &whole);
        let ones = alloc::vec![1; octets.len()];
        prop_assert_eq!(&run(variant, &octets, &ones, Answering::Eager, &choices), &whole);
    }

    #[test]
    fn octets_of_any_kind_are_survived(
        variant in 0..16u8,
        octets in prop::collection::vec(any::<u8>(), 0..200),
        cuts in cuts(),
    ) {
        let octets = [GOOD_START.as_bytes(), b"DATA\r\n", &octets].concat();
        let whole = run(variant, &octets, &[], Answering::Eager, &[0; 40]);
        prop_assert_eq!(run(variant, &octets, &cuts, Answering::Lazy, &[0; 40]), whole);
    }
}
