//! Another mail server, one for each connection: it takes mail, or not, and fails in its own ways.
//!
//! What it says to a recipient is in the address: `ok.…` is taken, `no.…` refused for good, `grey.…` refused until some
//! minutes after the first try, `never.…` refused each time, but not for good.

use super::{Acts, Cx, Wish};
use crate::env::START_SECS;
use crate::internet::Character;
use crate::ledger::{Addressed, Options};
use crate::message::Token;
use crate::network::Packet;

/// A greylisted address is taken after this, in microseconds.
const GREY: u64 = 240_000_000;

/// What goes wrong with this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Nothing,
    /// Gone without a word instead of this reply.
    Leaves(u32),
    /// This reply and all after it do not come.
    Stalls(u32),
    /// This reply is none.
    Babbles(u32),
    /// This reply is 421, and the end.
    Closes(u32),
    /// It has taken the message, and is gone.
    LosesFinal,
    /// It refuses the message after its end, for now.
    Defers,
    /// The handshake fails.
    BreaksTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Commands,
    Data,
    /// Octets of a chunk that are still to come; the last.
    Chunk(usize, bool),
    Deaf,
}

/// See the module's manual.
#[derive(Debug)]
pub struct Exchanger {
    domain: usize,
    character: Character,
    trouble: Trouble,
    greeted: bool,
    replies: u32,
    state: State,
    buffer: Vec<u8>,
    /// It has said in this session that it notifies senders.
    dsn: bool,
    reverse_path: String,
    /// What MAIL has asked to be told.
    mail_words: String,
    /// Addresses, and what RCPT has asked to be told.
    recipients: Vec<(String, String)>,
    message: Vec<u8>,
    /// Taken, and no command heard since.
    unsure: Vec<Addressed>,
}

impl Exchanger {
    /// The server of this domain, on one connection.
    pub fn new(domain: usize, character: Character, cx: &mut Cx<'_>) -> Self {
        let wrong = cx.env.internet.as_mut().is_some_and(|internet| internet.goes_wrong());
        let at = cx.rng.below(9) as u32;
        let trouble = match wrong {
            false => Trouble::Nothing,
            true => match cx.rng.below(9) {
                0 | 1 => Trouble::Leaves(at),
                2 => Trouble::Stalls(at),
                3 => Trouble::Babbles(at),
                4 => Trouble::Closes(at),
                5 | 6 => Trouble::LosesFinal,
                7 => Trouble::Defers,
                _ => Trouble::BreaksTls,
            },
        };
        Exchanger {
            domain,
            character,
            trouble,
            greeted: false,
            replies: 0,
            state: State::Commands,
            buffer: Vec::new(),
            dsn: false,
            reverse_path: String::new(),
            mail_words: String::new(),
            recipients: Vec::new(),
            message: Vec::new(),
            unsure: Vec::new(),
        }
    }

    fn reply(&mut self, text: &str, cx: &mut Cx<'_>) {
        let this = self.replies;
        self.replies += 1;
        match self.trouble {
            Trouble::Leaves(at) if at == this => {
                self.state = State::Deaf;
                cx.wishes.push(Wish::Leave);
            }
            Trouble::Stalls(at) if at == this => self.state = State::Deaf,
            Trouble::Babbles(at) if at == this => cx.send(b"who are you? \xff\r\n"),
            Trouble::Closes(at) if at == this => {
                self.state = State::Deaf;
                cx.send(b"421 4.3.2 not now\r\n");
                cx.wishes.push(Wish::Send(Packet::End));
            }
            _ => cx.send(text.as_bytes()),
        }
    }

    fn command(&mut self, line: &str, cx: &mut Cx<'_>) {
        for addressed in std::mem::take(&mut self.unsure) {
            cx.env.ledger.post.settle(&addressed);
        }
        let upper = line.to_ascii_uppercase();
        let verb = upper.split(' ').next().unwrap_or_default();
        match verb {
            "EHLO" if self.character.helo_only => self.reply("500 5.5.1 what?\r\n", cx),
            "EHLO" => self.hello(cx),
            "HELO" => self.reply("250 here\r\n", cx),
            "STARTTLS" => self.reply("220 go on\r\n", cx),
            "MAIL" => self.mail(line, &upper, cx),
            "RCPT" => self.recipient(line, cx),
            "DATA" if self.recipients.is_empty() => self.reply("554 5.5.1 nobody\r\n", cx),
            "DATA" => {
                self.reply("354 send\r\n", cx);
                if self.state == State::Commands {
                    (self.state, self.message) = (State::Data, Vec::new());
                }
            }
            "BDAT" => {
                let size = upper.split(' ').nth(1).and_then(|size| size.parse().ok()).unwrap_or(0);
                self.state = State::Chunk(size, upper.ends_with(" LAST"));
            }
            "RSET" => {
                self.recipients.clear();
                self.reply("250 forgotten\r\n", cx);
            }
            "QUIT" => {
                self.reply("221 bye\r\n", cx);
                if self.state != State::Deaf {
                    self.state = State::Deaf;
                    cx.wishes.push(Wish::Send(Packet::End));
                }
            }
            _ => {
                cx.env.ledger.violation(format!("an exchanger is told {line:?}"));
                self.reply("500 5.5.1 what?\r\n", cx);
            }
        }
    }

    fn hello(&mut self, cx: &mut Cx<'_>) {
        let Character { pipelining, eight_bit, chunking, starttls, dsn, size, .. } = self.character;
        self.dsn = dsn;
        let mut text = format!("250-mx.d{}.test\r\n", self.domain);
        for (has, word) in [
            (pipelining, "PIPELINING"),
            (eight_bit, "8BITMIME"),
            (chunking, "CHUNKING"),
            (starttls, "STARTTLS"),
            (dsn, "DSN"),
            (true, "ENHANCEDSTATUSCODES"),
        ] {
            if has {
                text += &format!("250-{word}\r\n");
            }
        }
        text += &format!("250 SIZE {size}\r\n");
        self.reply(&text, cx);
    }

    fn mail(&mut self, line: &str, upper: &str, cx: &mut Cx<'_>) {
        if upper.contains("BODY=8BITMIME") && !self.character.eight_bit {
            cx.env.ledger.violation("BODY=8BITMIME to a server without 8BITMIME".into());
        }
        self.reverse_path = in_brackets(line);
        self.mail_words = Options::among(line);
        self.recipients.clear();
        self.message.clear();
        self.reply("250 2.1.0 fine\r\n", cx);
    }

    fn recipient(&mut self, line: &str, cx: &mut Cx<'_>) {
        let address = in_brackets(line);
        if !address.ends_with(&format!("@d{}.test", self.domain)) {
            cx.env.ledger.violation(format!("mail for {address} goes to d{}.test", self.domain));
        }
        let (kind, now) = (address.split('.').next().unwrap_or_default(), cx.env.now);
        let text = match kind {
            "no" => {
                cx.env.ledger.post.refuse(&address);
                "550 5.1.1 no such user\r\n"
            }
            "grey" if now < *cx.env.greylist.entry(address.clone()).or_insert(now) + GREY => {
                "451 4.7.1 later\r\n"
            }
            "never" => "450 4.2.0 not now\r\n",
            _ => {
                self.recipients.push((address, Options::among(line)));
                "250 2.1.5 fine\r\n"
            }
        };
        self.reply(text, cx);
    }

    /// The message is whole.
    fn take(&mut self, cx: &mut Cx<'_>) {
        self.state = State::Commands;
        let message = std::mem::take(&mut self.message);
        let recipients = std::mem::take(&mut self.recipients);
        if self.trouble == Trouble::Defers || recipients.is_empty() {
            return self.reply("451 4.3.0 not now\r\n", cx);
        }
        if message.len() as u64 > self.character.size && !self.character.helo_only {
            cx.env.ledger.violation(format!("{} octets for a server that takes less", message.len()));
        }
        if self.reverse_path.is_empty() {
            for (address, words) in &recipients {
                if !words.is_empty() || !self.mail_words.is_empty() {
                    cx.env.ledger.violation(format!("a notice to {address} asks for notices"));
                }
                match cx.env.ledger.post.accept_notice(&message, address) {
                    Ok(addressed) => self.unsure.push(addressed),
                    Err(wrong) => cx.env.ledger.violation(wrong),
                }
            }
        } else {
            self.take_message(&message, &recipients, cx);
        }
        if self.trouble == Trouble::LosesFinal {
            self.state = State::Deaf;
            return cx.wishes.push(Wish::Leave);
        }
        self.reply("250 2.0.0 taken\r\n", cx);
        if self.state == State::Deaf {
            self.unsure.clear();
        }
    }

    fn take_message(&mut self, message: &[u8], recipients: &[(String, String)], cx: &mut Cx<'_>) {
        let Some(token) = Token::of(message) else {
            return cx.env.ledger.violation("an exchanger gets a message that nobody has sent".into());
        };
        if !message.ends_with(&token.text()) || !message.starts_with(b"Received: ") {
            cx.env.ledger.violation(format!("message {:016x} is not whole elsewhere", token.0));
        }
        for (address, words) in recipients {
            let addressed = (token, address.clone());
            let told = [self.mail_words.as_str(), words];
            if let Err(wrong) = cx.env.ledger.post.handed_on(&addressed, self.dsn, told) {
                cx.env.ledger.violation(wrong);
            }
            if let Err(wrong) = cx.env.ledger.post.accept(&addressed) {
                cx.env.ledger.violation(wrong);
            }
            self.unsure.push(addressed);
        }
    }

    /// Goes on with what has been heard; says whether something was done.
    fn advance(&mut self, cx: &mut Cx<'_>) -> bool {
        match self.state {
            State::Deaf => false,
            State::Commands => {
                let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") else { return false };
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                self.command(&String::from_utf8_lossy(&line[..end]), cx);
                true
            }
            State::Data => {
                let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") else { return false };
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                match line.strip_prefix(b".") {
                    Some(b"\r\n") => self.take(cx),
                    Some(rest) => self.message.extend_from_slice(rest),
                    None => self.message.extend_from_slice(&line),
                }
                true
            }
            State::Chunk(left, last) => {
                let count = left.min(self.buffer.len());
                self.message.extend(self.buffer.drain(..count));
                self.state = State::Chunk(left - count, last);
                if left > count {
                    return false;
                }
                if last {
                    self.take(cx);
                } else {
                    self.state = State::Commands;
                    self.reply("250 2.0.0 more\r\n", cx);
                }
                true
            }
        }
    }
}

impl Acts for Exchanger {
    fn wake(&mut self, cx: &mut Cx<'_>) {
        if !self.greeted {
            self.greeted = true;
            let text = format!("220 mx.d{}.test ESMTP {}\r\n", self.domain, START_SECS);
            self.reply(&text, cx);
        }
    }

    fn hear(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        self.buffer.extend_from_slice(octets);
        while self.advance(cx) {}
    }

    fn tls_done(&mut self, cx: &mut Cx<'_>) {
        self.buffer.clear();
        match self.trouble {
            Trouble::BreaksTls => {
                self.state = State::Deaf;
                cx.wishes.push(Wish::Leave);
            }
            _ => cx.wishes.push(Wish::Send(Packet::Tls)),
        }
    }

    fn closed(&mut self, _: &mut Cx<'_>) {
        self.state = State::Deaf;
    }

    fn is_done(&self) -> bool {
        true
    }
}

fn in_brackets(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(String::new(), |(inside, _)| inside.to_owned())
}
