//! Does what no client does: garbage, lying literals, floods, silence, plaintext behind STARTTLS.
//!
//! It asks only that the server goes on: what it hears must be lines, and its connection must end in time. It knows
//! no password, so nothing it says may change a mailbox.

use std::collections::VecDeque;

use postier_core::server::Service;

use super::{Acts, Cx, Wish};
use crate::network::Packet;
use crate::rng::Rng;
use crate::scenario::{Manner, Step};

/// Longer than a session without a login may live, in microseconds.
const LIFE_MAX: u64 = (2 * 3600 + 120) * 1_000_000;

/// See the module's manual.
#[derive(Debug)]
pub struct Hostile {
    manner: Manner,
    steps: VecDeque<Step>,
    connected_at: Option<u64>,
    /// What it still says on this connection.
    script: VecDeque<Vec<u8>>,
    /// It leaves after its script; else it stays silent until the server loses patience.
    leaves: bool,
    heard: usize,
    smtp: bool,
    /// TLS has begun, and it has said nothing since.
    silent_in_tls: bool,
}

impl Hostile {
    /// One that makes a connection at each step.
    pub fn new(manner: Manner, steps: VecDeque<Step>) -> Self {
        let script = VecDeque::new();
        Hostile {
            manner,
            steps,
            connected_at: None,
            script,
            leaves: true,
            heard: 0,
            smtp: false,
            silent_in_tls: false,
        }
    }

    fn start(&mut self, step: Step, cx: &mut Cx<'_>) {
        let mut rng = Rng::new(step.dice);
        let service = *rng.pick(&Service::ALL);
        self.smtp = matches!(service, Service::Smtp | Service::Submission | Service::Submissions);
        self.connected_at = Some(cx.env.now);
        self.heard = 0;
        self.silent_in_tls = false;
        cx.wishes.push(Wish::Connect(service));
        if service.implicit_tls() && rng.chance(90) {
            cx.wishes.push(Wish::Send(Packet::Tls));
        }
        self.leaves = rng.chance(70);
        self.script = (0..rng.between(1, 6)).map(|_| nonsense(self.smtp, &mut rng)).collect();
        cx.wake_ms(step.pause_ms % 500);
    }
}

fn nonsense(smtp: bool, rng: &mut Rng) -> Vec<u8> {
    let garbage = |rng: &mut Rng, length: u64| (0..length).map(|_| rng.bits() as u8).collect::<Vec<u8>>();
    match rng.below(12) {
        0 => garbage(rng, 3000),
        1 => vec![b'a'; 200_000],
        2 if smtp => b"EHLO x\r\nSTARTTLS\r\nNOOP\r\nMAIL FROM:<x@y.test>\r\n".to_vec(),
        2 => b"a STARTTLS\r\na2 NOOP\r\na3 LOGIN you@example.test pw-wrong\r\n".to_vec(),
        3 => b"a LOGIN {999999999}\r\nb LOGIN {5+}\r\nhel".to_vec(),
        4 => b"a APPEND INBOX {4294967296+}\r\nxxxx\r\n".to_vec(),
        5 => b"NOOP\r\n".repeat(400),
        6 => b"x NOOP\r\n".repeat(400),
        7 if smtp => {
            b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<you@example.test>\r\nDATA\r\nhalf a mes".to_vec()
        }
        7 => [b"a ID ".as_slice(), &b"(".repeat(3000), b"\r\n"].concat(),
        8 if smtp => {
            b"HELO x\r\nMAIL FROM:<a@b.test> SIZE=99999999999\r\nRCPT TO:<%s@\"\\>\r\n.\r\n\n.\n\r.\r"
                .to_vec()
        }
        8 => b"* OK I am the server\r\n+ \r\na OK done\r\n".to_vec(),
        9 => b"a AUTHENTICATE PLAIN ====\r\nAUTH PLAIN AGEAYg==\r\nAUTH PLAIN AGEAYg==\r\n".to_vec(),
        10 => b"\r\n".repeat(300),
        _ => b"a1 select inbox\r\na2 fetch 1:* (body[])\r\nVRFY root\r\n\0\0\r\n".to_vec(),
    }
}

impl Acts for Hostile {
    fn wake(&mut self, cx: &mut Cx<'_>) {
        let Some(connected_at) = self.connected_at else {
            if let Some(step) = self.steps.pop_front() {
                self.start(step, cx);
            }
            return;
        };
        if let Some(octets) = self.script.pop_front() {
            cx.send(&octets);
            if octets.ends_with(b"half a mes") {
                // Whatever else it said might end the message, which is nobody's.
                self.script.clear();
            }
            let wait = 1 + cx.rng.below(2000);
            return cx.wake_ms(wait);
        }
        if self.leaves {
            cx.wishes.push(if self.manner.sloppy { Wish::Leave } else { Wish::Send(Packet::End) });
            self.leaves = false;
            if self.manner.sloppy {
                return self.closed(cx);
            }
        }
        if cx.env.now > connected_at + LIFE_MAX {
            cx.env.ledger.violation(format!("a silent connection has lived for {} s", LIFE_MAX / 1_000_000));
            cx.wishes.push(Wish::Leave);
            return self.closed(cx);
        }
        cx.wishes.push(Wish::Wake(connected_at + LIFE_MAX + 1 - cx.env.now));
    }

    fn tls_done(&mut self, _: &mut Cx<'_>) {
        // Of implicit TLS the server speaks first.
        self.silent_in_tls = self.heard > 0;
    }

    fn hear(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        let text = String::from_utf8_lossy(octets);
        if self.silent_in_tls {
            cx.env.ledger.violation(format!("what was said before TLS is answered in TLS: {text}"));
        }
        if text.contains("Begin TLS now") || text.contains("220 2.0.0") {
            // It has said more than STARTTLS, and nevertheless may go on.
            self.script.clear();
            cx.wishes.push(Wish::Send(Packet::Tls));
        }
        // Whatever is said is text in lines.
        if octets.iter().any(|byte| *byte == 0 || *byte > 0x7e) {
            cx.env.ledger.violation(format!("a stranger hears {}", crate::trace::printable(octets)));
        }
        self.heard += octets.len();
    }

    fn closed(&mut self, cx: &mut Cx<'_>) {
        self.connected_at = None;
        self.script.clear();
        if let Some(step) = self.steps.front() {
            cx.wake_ms(step.pause_ms);
        }
    }

    fn is_done(&self) -> bool {
        self.steps.is_empty() && self.connected_at.is_none()
    }
}
