//! What was promised of mail for elsewhere, and what has become of it.
//!
//! A recipient that was acknowledged ends delivered or told of to the sender, never both for certain, and never in
//! nothing. An exchanger that has said 250 counts a delivery as unsure until it hears the next command: outcomes are
//! durable before anything else is said on a connection, so from then on nobody may send it again.
//!
//! The sender is told what it has asked to be told and nothing else, and a server that tells of delivery itself is asked
//! for the same (`dsn`).

use std::collections::{BTreeMap, BTreeSet};

use super::dsn::Options;
use crate::internet::Internet;
use crate::message::Token;

/// A recipient of a message.
pub type Addressed = (Token, String);

#[derive(Debug, Default)]
struct Fate {
    sender: String,
    options: Options,
    /// Wall clock, seconds.
    asked: i64,
    promised: bool,
    sure: u32,
    unsure: u32,
    /// When each notice of its failure was made, wall clock, seconds.
    bounces: Vec<i64>,
    /// The sender was told that it has been handed on.
    relayed: bool,
}

/// See the module's manual.
#[derive(Debug, Default)]
pub struct Post {
    fates: BTreeMap<Addressed, Fate>,
    /// Addresses that a server has refused for good.
    refused: BTreeSet<String>,
    /// When a life of the server ended, wall clock, seconds.
    deaths: Vec<i64>,
    /// Of what was promised: delivered, sent back, neither because the sender did not want to hear of a failure, and not
    /// decided.
    pub tally: [usize; 4],
}

/// What may excuse what is odd.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The wall clock was set.
    pub clock_steps: bool,
    /// File operations failed.
    pub errors: bool,
    /// No mail is kept longer, in seconds.
    pub lifetime: i64,
}

impl Post {
    /// A client is about to send this.
    pub fn ask(&mut self, token: Token, address: &str, sender: &str, options: Options, now: i64) {
        let fate = Fate { sender: sender.to_owned(), options, asked: now, ..Fate::default() };
        self.fates.entry((token, address.to_owned())).or_insert(fate);
    }

    /// The client was told that we see to it.
    pub fn promise(&mut self, token: Token, address: &str) {
        self.fates.entry((token, address.to_owned())).or_default().promised = true;
    }

    /// A server has refused an address for good.
    pub fn refuse(&mut self, address: &str) {
        self.refused.insert(address.to_owned());
    }

    /// A life of the server ends.
    pub fn died(&mut self, now: i64) {
        self.deaths.push(now);
    }

    /// What an exchanger was told with a message, by MAIL and by RCPT; `dsn` is whether it has said that it notifies
    /// senders.
    ///
    /// # Errors
    /// It is not what the sender has asked for.
    pub fn handed_on(&self, addressed: &Addressed, dsn: bool, told: [&str; 2]) -> Result<(), String> {
        let Some(fate) = self.fates.get(addressed) else { return Ok(()) };
        let asked = [fate.options.mail_words(), fate.options.recipient_words()];
        let right = if dsn { asked } else { <[String; 2]>::default() };
        if told == right {
            Ok(())
        } else {
            Err(format!("{} comes with {told:?}, not {right:?}", addressed.1))
        }
    }

    /// An exchanger takes a message, and is about to say so.
    ///
    /// # Errors
    /// It may not have come.
    pub fn accept(&mut self, addressed: &Addressed) -> Result<(), String> {
        let (token, address) = addressed;
        let Some(fate) = self.fates.get_mut(addressed) else {
            return Err(format!("{address} gets message {:016x}, which nobody has sent there", token.0));
        };
        fate.unsure += 1;
        if fate.sure > 0 {
            return Err(format!(
                "{address} gets message {:016x} again, after its outcome was noted",
                token.0
            ));
        }
        Ok(())
    }

    /// The exchanger hears the next command: the outcome is durable.
    pub fn settle(&mut self, addressed: &Addressed) {
        if let Some(fate) = self.fates.get_mut(addressed) {
            fate.unsure = fate.unsure.saturating_sub(1);
            fate.sure += 1;
        }
    }

    /// An exchanger takes a notice to `address`, and is about to say so. It may come again as any message may, and counts
    /// once.
    ///
    /// # Errors
    /// It may not have come.
    pub fn accept_notice(&mut self, text: &[u8], address: &str) -> Result<Addressed, String> {
        let token = Token::of(text).unwrap_or(Token(0));
        let addressed = (token, format!("{address}, notice {}", notice_id(&String::from_utf8_lossy(text))));
        if self.fates.contains_key(&addressed) {
            self.accept(&addressed)?;
        } else {
            self.notice(text, address)?;
            self.fates.insert(addressed.clone(), Fate { unsure: 1, ..Fate::default() });
        }
        Ok(addressed)
    }

    /// A notice has come to `to`.
    ///
    /// # Errors
    /// It is about nothing that this sender has sent.
    pub fn notice(&mut self, text: &[u8], to: &str) -> Result<(), String> {
        let text = String::from_utf8_lossy(text).replace('\r', "");
        let Some(token) = Token::of(text.as_bytes()) else {
            return Err(format!("a notice about nothing to {to}"));
        };
        let made = made_at(&text);
        for (at, field) in text.match_indices("\nFinal-Recipient: rfc822; ") {
            let mut lines = text[at + field.len()..].lines();
            let (address, action) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            let Some(fate) = self.fates.get_mut(&(token, address.to_owned())) else {
                return Err(format!(
                    "a notice to {to} about {address}, message {:016x}: nobody has sent it",
                    token.0
                ));
            };
            if fate.sender != to {
                return Err(format!("a notice about {address} goes to {to}, not to {}", fate.sender));
            }
            let start = text[..at].rfind("\n\n").map_or(0, |blank| blank + 1);
            let end = text[at..].find("\n\n").map_or(text.len(), |blank| at + blank + 1);
            if let Err(wrong) = fate.options.check(token, &text, &text[start..end]) {
                return Err(format!("a notice to {to} about {address}, message {:016x}: {wrong}", token.0));
            }
            match action {
                "Action: failed" => fate.bounces.push(made),
                "Action: relayed" => fate.relayed = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Everything has had its time: what may not be.
    pub fn judge(&mut self, internet: &Internet, circumstances: Circumstances) -> Vec<String> {
        let mut wrong = Vec::new();
        let deaths = &self.deaths;
        for ((token, address), fate) in &mut self.fates {
            let domain = internet.domain_of(address);
            let local = fate.sender.ends_with(&format!("@{}", crate::scenario::DOMAIN));
            let (delivered, bounced) = (fate.sure + fate.unsure > 0, fate.bounces.len());
            let mut complain =
                |what: String| wrong.push(format!("message {:016x} for {address} {what}", token.0));
            if fate.promised {
                self.tally[if delivered {
                    0
                } else if bounced > 0 {
                    1
                } else if !fate.options.of_failure() {
                    2
                } else {
                    3
                }] += 1;
            }
            if fate.promised && !delivered && bounced == 0 && local && fate.options.of_failure() {
                complain("was promised, and was neither delivered nor sent back".into());
            }
            if fate.relayed && !delivered {
                complain("was said to be handed on, and was not".into());
            }
            let is_silent = domain.is_some_and(|domain| !domain.character.dsn);
            if fate.sure > 0 && is_silent && fate.options.of_success() && local && !fate.relayed {
                complain("was handed on, and the sender wanted to be told so".into());
            }
            if fate.sure > 0 && bounced > 0 {
                complain("was delivered and sent back".into());
            }
            let reason = self.refused.contains(address)
                || domain.is_none_or(|domain| domain.is_hopeless() || domain.is_choosy());
            fate.bounces.sort_unstable();
            let (Some(first), Some(last)) = (fate.bounces.first(), fate.bounces.last()) else { continue };
            let excused = circumstances.clock_steps || circumstances.errors;
            if !reason && !circumstances.clock_steps && first - fate.asked < circumstances.lifetime - 5 {
                complain(format!("was sent back after {} s, and nobody had refused it", first - fate.asked));
            }
            let between = deaths.iter().filter(|death| (first - 2..=last + 2).contains(*death)).count();
            if !excused && bounced > 1 + between {
                complain(format!("was sent back {bounced} times"));
            }
        }
        wrong
    }
}

fn notice_id(text: &str) -> &str {
    text.split_once("Message-ID: <").and_then(|(_, rest)| rest.split_once('@')).map_or("", |(id, _)| id)
}

/// When a notice was made: its Message-ID says so.
fn made_at(text: &str) -> i64 {
    let hex = notice_id(text)
        .rsplit_once('n')
        .and_then(|(_, rest)| rest.split_once('x'))
        .map_or("", |(hex, _)| hex);
    i64::from_str_radix(hex, 16).unwrap_or(0)
}
