//! Messages that say themselves what they must be: a token makes the whole text.

use crate::rng::Rng;

/// Names a message and makes its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

const FIELD: &[u8] = b"X-Sim: ";

impl Token {
    /// The message as a client sends it, with CRLF.
    pub fn text(self) -> Vec<u8> {
        let mut rng = Rng::new(self.0);
        // With all the fields that a submission would add.
        let id = self.0;
        let subject = rng.below(1000);
        let head = format!(
            "X-Sim: {id:016x}\r\nSubject: {subject}\r\nFrom: a@b.test\r\n\
             Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <{id:x}@sim.test>\r\n\r\n"
        );
        let mut out = head.into_bytes();
        let length = match rng.below(100) {
            0..70 => rng.below(600),
            70..95 => rng.below(6_000),
            _ => rng.below(90_000),
        };
        let end = out.len() + length as usize;
        while out.len() < end {
            match rng.below(12) {
                // What dot-stuffing, line ends and IMAP literals may stumble over.
                0 => out.extend_from_slice(b".\r\n"),
                1 => out.extend_from_slice(b"..dots\r\n"),
                2 => out.extend_from_slice(b"\r\n"),
                3 => out.extend_from_slice(b"From a b {12}\r\n"),
                4 => out.extend_from_slice("gr\u{fc}\u{df}e \u{2014} 8bit\r\n".as_bytes()),
                _ => {
                    let word = rng.bits();
                    let count = rng.between(1, 9);
                    for _ in 0..count {
                        out.extend_from_slice(format!("{word:x} ").as_bytes());
                    }
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        out
    }

    /// The same as a file has it, with LF.
    pub fn stored(self) -> Vec<u8> {
        let mut text = self.text();
        text.retain(|byte| *byte != b'\r');
        text
    }

    /// The token of a message or of its header, with either line end.
    pub fn of(text: &[u8]) -> Option<Token> {
        let at = text.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
        let digits = std::str::from_utf8(text.get(at..at + 16)?).ok()?;
        u64::from_str_radix(digits, 16).ok().map(Token)
    }

    /// Whether these octets, as IMAP shows them, are this message, whole; trace fields may stand before it.
    pub fn is_whole(self, shown: &[u8]) -> bool {
        let text = self.text();
        shown.ends_with(&text) && {
            let trace = &shown[..shown.len() - text.len()];
            trace.is_empty() || (trace.starts_with(b"Return-Path: <") && trace.ends_with(b"\r\n"))
        }
    }
}

/// Dots are doubled, and the end is marked (RFC 5321 §4.5.2).
pub fn dot_stuffed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_knows_itself() {
        for seed in 0..200 {
            let token = Token(seed * 7919);
            let text = token.text();
            assert_eq!(Token::of(&text), Some(token));
            assert_eq!(Token::of(&token.stored()), Some(token));
            assert!(token.is_whole(&text) && text.ends_with(b"\r\n"));
            assert!(!token.is_whole(&text[..text.len() - 2]) && !token.is_whole(&text[1..]));
            let traced = [b"Return-Path: <a@b>\r\nReceived: x\r\n", text.as_slice()].concat();
            assert!(token.is_whole(&traced));
        }
        assert_eq!(dot_stuffed(b"a\r\n.b\r\n"), b"a\r\n..b\r\n.\r\n");
    }
}
