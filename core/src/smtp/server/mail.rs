//! MAIL, RCPT and RSET: the envelope (RFC 5321 §3.3).

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::ask::Question;
use super::message::Message;
use super::session::Session;
use super::{Ask, Recipient, RecipientVerdict, Role, SenderVerdict, Transaction};
use crate::event::Event;
use crate::machine::Now;
use crate::send_queue::SendQueue;
use crate::smtp::address::{ForwardPath, Mailbox, ReversePath};
use crate::smtp::command::{self, Rcpt};
use crate::smtp::parameter::{Body, Return};
use crate::smtp::reply::Reply;
use crate::wire::xtext;

/// How far a mail has come between two commands.
#[derive(Debug)]
pub(super) enum Mail {
    /// MAIL has not been said.
    None,
    /// MAIL is accepted.
    Envelope {
        transaction: Box<Transaction>,
        /// A recipient was refused.
        refused: bool,
    },
    /// A chunk of the message has come, and it was not the last.
    Chunks(Box<Message>),
}

impl Mail {
    pub(super) fn is_begun(&self) -> bool {
        !matches!(self, Mail::None)
    }
}

impl Session {
    pub(super) fn handle_mail(&mut self, now: Now, mail: command::Mail<'_>, tx: &mut SendQueue) {
        if let Some(reply) = self.mail_obstacle(&mail) {
            return self.refuse(reply, tx);
        }
        if self.counts.transactions >= self.setup.limits.smtp_transactions_max {
            return self.say(Reply::TooManyMails, tx);
        }
        let transaction = Box::new(Transaction {
            id: self.next_transaction_id(),
            reverse_path: mail
                .reverse_path
                .mailbox()
                .map(|mailbox| mailbox.to_string().into())
                .unwrap_or_default(),
            recipients: Vec::new(),
            submitter: self.account.clone(),
            trusted: false,
            size: mail.parameters.size,
            eight_bit: mail.parameters.body == Some(Body::EightBit),
            smtputf8: mail.parameters.smtputf8,
            dsn_return_full: mail.parameters.ret.map(|ret| ret == Return::Full),
            dsn_envelope_id: mail.parameters.envid.and_then(|envid| xtext::decode(envid.as_bytes())),
        });
        match (&self.account, &mail.reverse_path) {
            (Some(account), ReversePath::Path(path)) => {
                let account = account.clone();
                let (local, domain) = parts(path.mailbox);
                self.ask(now, |ticket| {
                    (Ask::Sender { ticket, account, local, domain }, Question::Sender(transaction))
                });
            }
            // RFC 5321 §4.5.5: a notice is nobody's. On port 25 anybody may say to be anybody.
            (Some(_), ReversePath::Null) | (None, _) => self.begin_envelope(transaction, tx),
        }
    }

    /// Why there can be no such mail now.
    fn mail_obstacle(&self, mail: &command::Mail<'_>) -> Option<Reply> {
        if self.setup.role == Role::Submission && !self.may_carry_password() {
            return Some(Reply::StartTlsFirst);
        }
        if self.client.is_none() {
            return Some(Reply::GreetFirst);
        }
        if self.setup.role == Role::Submission && self.account.is_none() {
            return Some(Reply::AuthFirst);
        }
        if self.mail.is_begun() {
            return Some(Reply::MailAlready);
        }
        if mail.parameters.body == Some(Body::Binary) {
            return Some(Reply::BinaryMimeNotOffered);
        }
        // RFC 1870 §6.1: better now than after the message.
        if mail.parameters.size.is_some_and(|size| size > self.setup.limits.message_bytes_max) {
            return Some(Reply::MessageTooBig);
        }
        (!mail.reverse_path.is_ascii() && !mail.parameters.smtputf8).then_some(Reply::AddressNeedsSmtpUtf8)
    }

    fn begin_envelope(&mut self, transaction: Box<Transaction>, tx: &mut SendQueue) {
        self.counts.transactions += 1;
        self.mail = Mail::Envelope { transaction, refused: false };
        self.say(Reply::SenderOk, tx);
    }

    pub(super) fn handle_sender(
        &mut self,
        verdict: SenderVerdict,
        transaction: Box<Transaction>,
        tx: &mut SendQueue,
    ) {
        match verdict {
            SenderVerdict::Allowed => self.begin_envelope(transaction, tx),
            SenderVerdict::NotYours => {
                let (path, why) = (transaction.reverse_path, Reply::SenderNotYours.text());
                self.report(Event::AddressRefused { path, why });
                self.refuse(Reply::SenderNotYours, tx);
            }
        }
    }

    pub(super) fn handle_rcpt(&mut self, now: Now, rcpt: Rcpt<'_>, tx: &mut SendQueue) {
        let transaction = match &self.mail {
            Mail::None if self.client.is_none() => return self.refuse(Reply::GreetFirst, tx),
            Mail::None => return self.refuse(Reply::MailFirst, tx),
            Mail::Chunks(_) => return self.refuse(Reply::ChunksBegun, tx),
            Mail::Envelope { transaction, .. } => transaction,
        };
        // RFC 5321 §4.5.3.1.10: not a mistake, the client sends the rest in its next mail.
        if transaction.recipients.len() >= self.setup.limits.smtp_recipients_max {
            return self.say(Reply::TooManyRecipients, tx);
        }
        if !rcpt.forward_path.is_ascii() && !transaction.smtputf8 {
            return self.refuse_recipient(
                forward_path_text(&rcpt.forward_path),
                Reply::AddressNeedsSmtpUtf8,
                tx,
            );
        }
        if asks_for_relay(&rcpt.forward_path) {
            return self.refuse_recipient(forward_path_text(&rcpt.forward_path), Reply::RouteDenied, tx);
        }
        let (account, size) = (self.account.clone(), transaction.size);
        let (local, domain) = match rcpt.forward_path.mailbox() {
            None => (b"postmaster".to_vec(), None),
            Some(mailbox) => {
                let (local, domain) = parts(mailbox);
                (local, Some(domain))
            }
        };
        let recipient = Recipient {
            forward_path: forward_path_text(&rcpt.forward_path),
            accounts: Vec::new(),
            remote: Vec::new(),
            dsn_notify: rcpt.parameters.notify,
            dsn_original: rcpt.parameters.orcpt.map(|orcpt| {
                // The address of `utf-8` may hold octets that are not xtext (RFC 6533 §3): those are kept as
                // they are.
                let address = orcpt.address.as_bytes();
                (orcpt.address_type.into(), xtext::decode(address).unwrap_or_else(|| address.into()))
            }),
        };
        self.ask(now, |ticket| {
            (Ask::Recipient { ticket, account, local, domain, size }, Question::Recipient(recipient))
        });
    }

    pub(super) fn handle_recipient(
        &mut self,
        verdict: RecipientVerdict,
        recipient: Recipient,
        tx: &mut SendQueue,
    ) {
        let reply = match (verdict, &mut self.mail) {
            (RecipientVerdict::Local(accounts), Mail::Envelope { transaction, .. }) => {
                transaction.recipients.push(Recipient { accounts, ..recipient });
                return self.say(Reply::RecipientOk, tx);
            }
            (RecipientVerdict::Forward { accounts, remote }, Mail::Envelope { transaction, .. }) => {
                transaction.recipients.push(Recipient { accounts, remote, ..recipient });
                return self.say(Reply::RecipientOk, tx);
            }
            (RecipientVerdict::Send, Mail::Envelope { transaction, .. }) => {
                let remote = [String::from_utf8_lossy(&recipient.forward_path).into()].into();
                transaction.recipients.push(Recipient { remote, ..recipient });
                return self.say(Reply::RecipientOk, tx);
            }
            // Only RCPT within an envelope asks, and nothing is carried out before the answer.
            (
                RecipientVerdict::Local(_) | RecipientVerdict::Forward { .. } | RecipientVerdict::Send,
                Mail::None | Mail::Chunks(_),
            ) => Reply::MailFirst,
            (RecipientVerdict::NoSuchUser, _) => Reply::UnknownUser,
            (RecipientVerdict::Full, _) => Reply::MailboxFull,
            (RecipientVerdict::TooBig, _) => Reply::MailboxTooSmall,
            (RecipientVerdict::NotLocal, _) if self.setup.role == Role::Submission => Reply::NoWayOut,
            (RecipientVerdict::NotLocal, _) => Reply::RelayDenied,
            (RecipientVerdict::Temporary, _) => Reply::LocalError,
        };
        self.refuse_recipient(recipient.forward_path, reply, tx);
    }

    fn refuse_recipient(&mut self, path: Vec<u8>, reply: Reply, tx: &mut SendQueue) {
        if let Mail::Envelope { refused, .. } = &mut self.mail {
            *refused = true;
        }
        self.report(Event::AddressRefused { path, why: reply.text() });
        self.counts.refused_recipients += 1;
        match self.counts.refused_recipients <= self.setup.limits.smtp_refused_recipients_max {
            true => self.say(reply, tx),
            false => self.give_up(Reply::TooManyMistakes, tx),
        }
    }

    pub(super) fn handle_rset(&mut self, tx: &mut SendQueue) {
        self.forget_mail();
        self.humour(Reply::Reset, tx);
    }

    /// A name no other mail has: 60 bits mixed from what differs between processes, sessions and mails.
    fn next_transaction_id(&self) -> Arc<str> {
        const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let count = self.counts.transactions as u64;
        let mut bits = mix(mix(self.setup.seed) ^ mix(self.setup.session.rotate_left(20) ^ count));
        let mut id = [0; 12];
        for letter in &mut id {
            *letter = LETTERS[(bits % 32) as usize];
            bits /= 32;
        }
        id.iter().map(|&letter| char::from(letter)).collect::<String>().into()
    }
}

/// Ways to say "pass it on to somebody else": a source route, `user%other.org@here`, `other.org!user@here`,
/// `"user@other.org"@here`.
fn asks_for_relay(path: &ForwardPath<'_>) -> bool {
    match path {
        ForwardPath::Postmaster => false,
        ForwardPath::Path(path) => path.source_route || path.mailbox.local.hides_route(),
    }
}

/// Local part unquoted, and domain, as the asks want them.
fn parts(mailbox: Mailbox<'_>) -> (Vec<u8>, Vec<u8>) {
    (mailbox.local.unquoted().into_owned().into(), mailbox.domain.to_string().into())
}

/// Without its brackets.
fn forward_path_text(path: &ForwardPath<'_>) -> Vec<u8> {
    match path {
        ForwardPath::Postmaster => b"postmaster".to_vec(),
        ForwardPath::Path(path) => path.mailbox.to_string().into(),
    }
}

/// The finalizer of SplitMix64: a bijection that spreads every bit.
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
