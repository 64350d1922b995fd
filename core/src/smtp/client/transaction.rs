//! One mail: MAIL, RCPT, DATA or BDAT, and what the replies mean for each recipient.
//!
//! With PIPELINING all commands up to DATA leave in one write, and their replies come in order (RFC 2920 §3.1).
//! A server that refuses every recipient and still says 354 gets a lone dot: the message is not for it.
//! With CHUNKING the message needs no dots and no 354 (RFC 3030 §2).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::peer::Peer;
use super::reply::Reply;
use super::session::{Session, State};
use super::{End, Lack, Mail, Outcome, Recipient};
use crate::machine::Now;
use crate::send_queue::SendQueue;
use crate::smtp::parameter::Notify;
use crate::wire::dot::Stuffer;
use crate::wire::eol::ToCrlf;
use crate::wire::xtext;

/// A mail whose commands are under way.
#[derive(Debug)]
pub(super) struct Transaction {
    mail: Mail,
    /// Commands not sent yet.
    unsent: VecDeque<Command>,
    /// Commands whose replies are on their way.
    sent: VecDeque<Command>,
    /// What the server said to MAIL, if it said no.
    refused: Option<Reply>,
    /// What it said to each recipient, if it said no.
    recipients: Vec<Option<Reply>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Mail,
    Rcpt(usize),
    Data,
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Sending {
    transaction: Transaction,
    /// Octets as stored that are sent.
    pub(super) offset: u64,
    eol: ToCrlf,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// Dots, up to the final one.
    Dots(Stuffer),
    /// So many octets are still announced.
    Chunk(u64),
}

impl Transaction {
    fn accepted(&self) -> bool {
        self.refused.is_none() && self.recipients.iter().any(Option::is_none)
    }

    /// What became of each recipient; `message` of those that were not refused before it came to that.
    fn outcomes(self, message: &Outcome) -> Vec<Outcome> {
        let refused = self.refused.as_ref();
        let outcome = |own: Option<Reply>| match refused.cloned().or(own) {
            Some(reply) => Outcome::Refused(reply),
            None => message.clone(),
        };
        self.recipients.into_iter().map(outcome).collect()
    }
}

/// What the mail needs and the server has not.
fn lack(mail: &Mail, peer: &Peer) -> Option<Lack> {
    if let Some(max) = peer.size_max.filter(|max| mail.size > *max) {
        return Some(Lack::Size { max });
    }
    if mail.smtputf8 && !peer.smtputf8 {
        return Some(Lack::SmtpUtf8);
    }
    (mail.eight_bit && !peer.eight_bit).then_some(Lack::EightBit)
}

impl Session {
    pub(super) fn start_mail(&mut self, now: Now, mail: Mail, tx: &mut SendQueue) {
        if let Some(lack) = lack(&mail, &self.peer) {
            let outcomes = vec![Outcome::Unfit(lack); mail.recipients.len()];
            return self.record(now, outcomes, false);
        }
        let mut unsent = VecDeque::from([Command::Mail]);
        unsent.extend((0..mail.recipients.len()).map(Command::Rcpt));
        if !self.peer.chunking {
            unsent.push_back(Command::Data);
        }
        let recipients = vec![None; mail.recipients.len()];
        let transaction = Transaction { mail, unsent, sent: VecDeque::new(), refused: None, recipients };
        self.go_on(now, Box::new(transaction), tx);
    }

    /// Sends what may be sent now.
    fn go_on(&mut self, now: Now, mut transaction: Box<Transaction>, tx: &mut SendQueue) {
        self.wait(now, self.setup.patience.command);
        while (transaction.sent.is_empty() || self.peer.pipelining)
            && let Some(command) = transaction.unsent.pop_front()
        {
            let line = match command {
                Command::Mail => mail_line(&transaction.mail, &self.peer),
                Command::Rcpt(n) => match transaction.mail.recipients.get(n) {
                    Some(recipient) => rcpt_line(recipient, &self.peer),
                    None => continue,
                },
                Command::Data => {
                    self.wait(now, self.setup.patience.data);
                    "DATA".into()
                }
            };
            self.say(&line, tx);
            transaction.sent.push_back(command);
        }
        self.state = State::Commands(transaction);
    }

    pub(super) fn command_answered(
        &mut self,
        now: Now,
        mut transaction: Box<Transaction>,
        reply: Reply,
        tx: &mut SendQueue,
    ) {
        match transaction.sent.pop_front() {
            Some(Command::Mail) if !reply.is_positive() => {
                transaction.refused = Some(reply.clone());
                // What is not sent yet need not be.
                transaction.unsent.clear();
            }
            Some(Command::Rcpt(n)) if !reply.is_positive() => {
                if let Some(refused) = transaction.recipients.get_mut(n) {
                    *refused = Some(too_many_is_temporary(reply.clone()));
                }
            }
            Some(Command::Data) => return self.data_answered(now, transaction, reply, tx),
            Some(Command::Mail | Command::Rcpt(_)) => {}
            None => return self.finish(End::Nonsense),
        }
        let only_data_left = transaction.unsent.iter().all(|command| *command == Command::Data);
        if transaction.sent.is_empty() && only_data_left && !transaction.accepted() {
            let begun = transaction.refused.is_none();
            return self.record(now, transaction.outcomes(&Outcome::Refused(reply)), begun);
        }
        if transaction.sent.is_empty() && transaction.unsent.is_empty() {
            // CHUNKING: the message at once.
            let size = transaction.mail.size;
            self.say(&format!("BDAT {size} LAST"), tx);
            return self.start_message(now, *transaction, Framing::Chunk(size));
        }
        self.go_on(now, transaction, tx);
    }

    fn data_answered(&mut self, now: Now, transaction: Box<Transaction>, reply: Reply, tx: &mut SendQueue) {
        match (reply.code, transaction.accepted()) {
            (354, true) => {
                self.start_message(now, *transaction, Framing::Dots(Stuffer::new()));
            }
            (354, false) => {
                // RFC 2920 §3.1: it wants a message for nobody. It gets an empty one, whatever it says to that.
                self.say(".", tx);
                self.wait(now, self.setup.patience.end);
                self.state = State::Final(transaction);
            }
            // 2xx to DATA is no answer that the protocol knows.
            (200..300, _) => self.finish(End::Nonsense),
            (_, _) => {
                let begun = transaction.refused.is_none();
                self.record(now, transaction.outcomes(&Outcome::Refused(reply)), begun);
            }
        }
    }

    fn start_message(&mut self, now: Now, transaction: Transaction, framing: Framing) {
        let sending = Sending { transaction, offset: 0, eol: ToCrlf::new(), framing };
        self.state = State::Draining(Box::new(sending));
        self.ask_for_more(now);
    }

    /// More of the message is here; none is its end.
    pub(super) fn send_octets(
        &mut self,
        now: Now,
        mut sending: Box<Sending>,
        octets: &[u8],
        tx: &mut SendQueue,
    ) {
        if octets.is_empty() {
            return self.end_message(now, *sending, tx);
        }
        sending.offset += octets.len() as u64;
        let mut lines = Vec::with_capacity(octets.len() + octets.len() / 32);
        sending.eol.feed(octets, &mut lines);
        match &mut sending.framing {
            Framing::Dots(stuffer) => tx.write_with(|out| stuffer.feed(&lines, out)),
            Framing::Chunk(left) => match left.checked_sub(lines.len() as u64) {
                Some(rest) => {
                    *left = rest;
                    tx.push(&lines);
                }
                // More than was announced: what comes behind would be commands.
                None => return self.finish(End::Local),
            },
        }
        self.wait(now, self.setup.patience.block);
        self.state = State::Draining(sending);
    }

    fn end_message(&mut self, now: Now, sending: Sending, tx: &mut SendQueue) {
        match sending.framing {
            Framing::Dots(stuffer) => tx.write_with(|out| stuffer.finish(out)),
            Framing::Chunk(0) => {}
            // Less than was announced: the server waits for octets that do not exist.
            Framing::Chunk(_) => return self.finish(End::Local),
        }
        self.wait(now, self.setup.patience.end);
        self.state = State::Final(Box::new(sending.transaction));
    }

    pub(super) fn message_answered(&mut self, now: Now, transaction: Transaction, reply: Reply) {
        let message = match reply.is_positive() {
            true => Outcome::Delivered { reply, dsn: self.peer.dsn },
            false => Outcome::Refused(reply),
        };
        self.record(now, transaction.outcomes(&message), false);
    }
}

/// RFC 5321 §4.5.3.1.10: servers of old say 552 where they mean "too many recipients, send another mail". One that says
/// which 552 it means (a full mailbox) is believed.
fn too_many_is_temporary(reply: Reply) -> Reply {
    match (reply.code, reply.enhanced) {
        (552, None | Some([_, 5, 3])) => Reply { code: 452, enhanced: None, ..reply },
        _ => reply,
    }
}

fn mail_line(mail: &Mail, peer: &Peer) -> String {
    let mut line = format!("MAIL FROM:<{}>", mail.reverse_path);
    if peer.size {
        line.push_str(&format!(" SIZE={}", mail.size));
    }
    if mail.eight_bit && peer.eight_bit {
        line.push_str(" BODY=8BITMIME");
    }
    if mail.smtputf8 {
        line.push_str(" SMTPUTF8");
    }
    if peer.dsn {
        match mail.dsn_return_full {
            Some(true) => line.push_str(" RET=FULL"),
            Some(false) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(id) = &mail.dsn_envelope_id {
            line.push_str(" ENVID=");
            line.push_str(&xtext::encode(id));
        }
    }
    line
}

fn rcpt_line(recipient: &Recipient, peer: &Peer) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.forward_path);
    if peer.dsn {
        if let Some(notify) = recipient.dsn_notify {
            line.push_str(" NOTIFY=");
            line.push_str(&notify_words(notify));
        }
        if let Some((kind, address)) = &recipient.dsn_original {
            line.push_str(&format!(" ORCPT={kind};{}", xtext::encode(address)));
        }
    }
    line
}

fn notify_words(notify: Notify) -> String {
    let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let wanted: Vec<&str> = words.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word).collect();
    if wanted.is_empty() { "NEVER".into() } else { wanted.join(",") }
}
