//! Messages as people have them: plain ones, some with an alternative in HTML, some with an attachment; the same every time.

use std::fmt::Write as _;
use std::path::Path;

const WORDS: &[&str] = &[
    "invoice", "meeting", "tomorrow", "please", "attached", "regards", "report", "offer", "weather",
    "letter", "garden", "bicycle", "number", "answer", "question", "window", "morning", "project", "kitchen",
    "holiday",
];

/// xorshift64*: enough for words and sizes.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len() as u64) as usize]
    }

    fn words(&mut self, count: u64) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn lines(&mut self, count: u64, out: &mut String) {
        for _ in 0..count {
            let count = 6 + self.below(6);
            let _ = writeln!(out, "{}", self.words(count));
        }
    }
}

/// The message of this number.
pub(crate) fn message(number: u32) -> String {
    let mut dice = Dice(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (from, to) = (dice.below(500), dice.below(40));
    let mut out = String::new();
    let _ = write!(
        out,
        "Return-Path: <person{from}@example.net>\nReceived: from mail.example.net (mail.example.net [192.0.2.7])\n\
         \tby mx.example.test with ESMTPS id {number:08x}\n\tfor <ann@example.test>; Tue, 24 Nov 2026 04:19:24 +0000\n\
         DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=one;\n\tbh={:043x}=;\n\tb={:086x}=\n\
         From: \"Person {from}\" <person{from}@example.net>\nTo: Ann <ann@example.test>, friend{to}@example.org\n",
        dice.below(u64::MAX),
        dice.below(u64::MAX)
    );
    let (hour, minute) = (dice.below(24), dice.below(60));
    let (words, encoded) = (dice.words(5), dice.below(4) == 0);
    let subject =
        if encoded { format!("=?utf-8?Q?Gr=C3=BC=C3=9Fe_{}?=", words.replace(' ', "_")) } else { words };
    let _ = write!(
        out,
        "Subject: {subject}\nDate: Tue, 24 Nov 2026 {hour:02}:{minute:02}:00 +0100\n\
         Message-ID: <{number}.{from}@example.net>\nReferences: <{}.{from}@example.net>\nMIME-Version: 1.0\n",
        number / 2
    );
    body(&mut dice, &mut out);
    out
}

fn body(dice: &mut Dice, out: &mut String) {
    let lines = 8 + dice.below(60);
    if dice.below(3) == 0 {
        out.push_str("Content-Type: text/plain; charset=utf-8\n\n");
        return dice.lines(lines, out);
    }
    out.push_str("Content-Type: multipart/mixed; boundary=\"=_frontier\"\n\nThis is MIME.\n--=_frontier\n");
    out.push_str("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n");
    dice.lines(lines, out);
    if dice.below(2) == 0 {
        out.push_str("\n--=_frontier\nContent-Type: text/html; charset=utf-8\n\n<html><body><p>\n");
        dice.lines(lines, out);
        out.push_str("</p></body></html>\n");
    }
    if dice.below(3) == 0 {
        out.push_str("\n--=_frontier\nContent-Type: application/pdf; name=\"a.pdf\"\nContent-Transfer-Encoding: base64\n\
             Content-Disposition: attachment; filename=\"a.pdf\"\n\n");
        for _ in 0..50 + dice.below(400) {
            for _ in 0..9 {
                let _ = write!(out, "{:08X}", dice.below(u64::from(u32::MAX)));
            }
            out.push('\n');
        }
    }
    out.push_str("\n--=_frontier--\n");
}

/// Writes messages into a directory, under names as a delivery agent gives that does not tell sizes.
pub(crate) fn fill(cur: &Path, messages: u32) -> std::io::Result<()> {
    std::fs::create_dir_all(cur)?;
    for number in 0..messages {
        let flags = if number % 10 == 0 { "" } else { "S" };
        let name = format!("{}.M{number}P7.mx.example.test:2,{flags}", 1_700_000_000 + number);
        std::fs::write(cur.join(name), message(number))?;
    }
    Ok(())
}
