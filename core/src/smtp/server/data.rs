//! DATA and BDAT: the message, up to its commit (RFC 5321 §4.1.1.4, RFC 3030 §2).
//!
//! Nothing of a message is asked for before the layer above has said that it can take it, and nothing is
//! promised before it has said that it is durable. A chunk's octets are never commands: whatever is refused
//! is counted off first.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::ask::Question;
use super::mail::Mail;
use super::message::{Completion, Message, MessageSetup};
use super::session::{Session, State};
use super::{Ask, BeginVerdict, CommitVerdict, Role, Transaction};
use crate::machine::{Action, Now, Step, StepOf};
use crate::mime::date;
use crate::send_queue::SendQueue;
use crate::smtp::reply::{Reply, write_accepted};
use crate::smtp::trace::{Protocol, Received, Tls, write_return_path};
use crate::wire::dot::Piece;

/// How the message comes, once it may.
#[derive(Clone, Copy, Debug)]
pub(super) enum Receive {
    /// In lines, up to a dot.
    Data,
    /// Counted.
    Chunk { size: u64, last: bool },
}

impl Session {
    pub(super) fn handle_data(&mut self, now: Now, tx: &mut SendQueue) {
        match self.take_transaction() {
            Ok(transaction) => self.begin(now, transaction, Receive::Data),
            Err(reply) => self.refuse(reply, tx),
        }
    }

    pub(super) fn handle_bdat(&mut self, now: Now, size: u64, last: bool) {
        match mem::replace(&mut self.mail, Mail::None) {
            Mail::Chunks(message) => self.state = State::Chunk { message, remaining: size, last },
            mail @ (Mail::None | Mail::Envelope { .. }) => {
                self.mail = mail;
                match self.take_transaction() {
                    Ok(transaction) => self.begin(now, transaction, Receive::Chunk { size, last }),
                    Err(reply) => self.state = State::SkipChunk { remaining: size, reply },
                }
            }
        }
    }

    /// The envelope, if it is complete.
    fn take_transaction(&mut self) -> Result<Box<Transaction>, Reply> {
        if self.client.is_none() {
            return Err(Reply::GreetFirst);
        }
        match mem::replace(&mut self.mail, Mail::None) {
            Mail::Envelope { transaction, .. } if !transaction.recipients.is_empty() => Ok(transaction),
            mail => {
                let reply = match &mail {
                    Mail::None => Reply::MailFirst,
                    Mail::Chunks(_) => Reply::ChunksBegun,
                    // RFC 5321 §3.3: 554 where RCPT was tried.
                    Mail::Envelope { refused: true, .. } => Reply::NoRecipients,
                    Mail::Envelope { refused: false, .. } => Reply::RcptFirst,
                };
                self.mail = mail;
                Err(reply)
            }
        }
    }

    fn begin(&mut self, now: Now, transaction: Box<Transaction>, receive: Receive) {
        let submission = self.setup.role == Role::Submission;
        let setup = MessageSetup {
            id: transaction.id.clone(),
            trace: self.trace(now, &transaction),
            completion: submission
                .then(|| Completion { unix_seconds: now.wall.secs, hostname: self.setup.hostname.clone() }),
            bytes_max: self.setup.limits.message_bytes_max,
            received_fields_max: self.setup.limits.received_fields_max,
            refuse_bare_newlines: self.setup.refuse_bare_newlines && !submission,
        };
        self.ask(now, |ticket| {
            let message = Box::new(Message::new(setup, Some(ticket.id())));
            (Ask::Begin { ticket, transaction: *transaction }, Question::Begin(message, receive))
        });
    }

    /// Return-Path and Received, the same for every recipient.
    fn trace(&self, now: Now, transaction: &Transaction) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        write_return_path(&mut out, &String::from_utf8_lossy(&transaction.reverse_path));
        let recipient = match transaction.recipients.as_slice() {
            [only] => Some(String::from_utf8_lossy(&only.forward_path)),
            _ => None,
        };
        let protocol = Protocol {
            extended: self.client.as_ref().is_some_and(|client| client.extended),
            tls: self.tls.is_some(),
            authenticated: self.account.is_some(),
            utf8: transaction.smtputf8,
        };
        Received {
            client_name: self.client.as_ref().map_or("unknown", |client| &client.name),
            client_host: None,
            // Where our users sit is nobody's business.
            client_address: (self.setup.role == Role::Exchange).then_some(self.setup.peer),
            host: &self.setup.hostname,
            protocol,
            local_user: None,
            tls: self.tls.as_ref().map(|tls| Tls { version: tls.version, cipher: tls.cipher }),
            id: &transaction.id,
            recipient: recipient.as_deref(),
            date: &date::format_rfc5322(now.wall.secs, 0),
        }
        .write(&mut out);
        out
    }

    pub(super) fn handle_begun(
        &mut self,
        verdict: BeginVerdict,
        mut message: Box<Message>,
        receive: Receive,
        tx: &mut SendQueue,
    ) {
        match verdict {
            BeginVerdict::Go => {
                self.act(Action::Body(Cow::Owned(message.take_trace())));
                match receive {
                    Receive::Data => {
                        self.say(Reply::StartData, tx);
                        self.state = State::Data(message, Box::default());
                    }
                    Receive::Chunk { size, last } => {
                        self.state = State::Chunk { message, remaining: size, last };
                    }
                }
            }
            BeginVerdict::NoSpace => self.decline(message.id(), Reply::StorageFull, receive, tx),
            BeginVerdict::Temporary => self.decline(message.id(), Reply::LocalError, receive, tx),
        }
    }

    /// The message cannot be taken now.
    pub(super) fn decline(&mut self, id: &Arc<str>, reply: Reply, receive: Receive, tx: &mut SendQueue) {
        self.report_lost(id, reply);
        match receive {
            Receive::Data => self.say(reply, tx),
            Receive::Chunk { size, last: _ } => self.state = State::SkipChunk { remaining: size, reply },
        }
    }

    pub(super) fn receive_data<'i>(
        &mut self,
        now: Now,
        bytes: &'i [u8],
        tx: &mut SendQueue,
    ) -> Option<StepOf<'i, Self>> {
        let State::Data(message, unstuffer) = &mut self.state else { return None };
        let (consumed, piece) = unstuffer.feed(bytes);
        match piece {
            Piece::NeedMore => (consumed > 0).then(|| Step::consumed(consumed)),
            Piece::Data(octets) => {
                let body = message.pass(octets);
                if let Some(ticket) = message.poll_cancel() {
                    self.cancel(ticket);
                }
                Some(Step { consumed, action: body.map(Action::Body) })
            }
            Piece::End => {
                if let State::Data(message, _) = mem::replace(&mut self.state, State::Command) {
                    self.finish(now, *message, tx);
                }
                Some(Step::consumed(consumed))
            }
        }
    }

    pub(super) fn receive_chunk<'i>(
        &mut self,
        now: Now,
        bytes: &'i [u8],
        tx: &mut SendQueue,
    ) -> Option<StepOf<'i, Self>> {
        let State::Chunk { message, remaining, .. } = &mut self.state else { return None };
        if *remaining == 0 {
            self.end_chunk(now, tx);
            return Some(Step::consumed(0));
        }
        let octets = take_at_most(bytes, *remaining)?;
        *remaining -= octets.len() as u64;
        let body = message.pass(octets);
        if let Some(ticket) = message.poll_cancel() {
            self.cancel(ticket);
        }
        Some(Step { consumed: octets.len(), action: body.map(Action::Body) })
    }

    fn end_chunk(&mut self, now: Now, tx: &mut SendQueue) {
        match mem::replace(&mut self.state, State::Command) {
            // RFC 3030 §2: a fault ends the transaction; the chunks that follow get 503.
            State::Chunk { message, last, .. } if last || message.fault().is_some() => {
                self.finish(now, *message, tx)
            }
            State::Chunk { message, .. } => {
                self.mail = Mail::Chunks(message);
                self.say(Reply::ChunkOk, tx);
            }
            state => self.state = state,
        }
    }

    pub(super) fn skip_chunk<'i>(&mut self, bytes: &'i [u8], tx: &mut SendQueue) -> Option<StepOf<'i, Self>> {
        let State::SkipChunk { remaining, reply } = &mut self.state else { return None };
        if *remaining == 0 {
            let reply = *reply;
            self.state = State::Command;
            self.refuse(reply, tx);
            return Some(Step::consumed(0));
        }
        let octets = take_at_most(bytes, *remaining)?;
        *remaining -= octets.len() as u64;
        Some(Step::consumed(octets.len()))
    }

    /// The message has come whole.
    fn finish(&mut self, now: Now, mut message: Message, tx: &mut SendQueue) {
        let last = message.finish();
        if let Some(reply) = message.fault() {
            if let Some(ticket) = message.poll_cancel() {
                self.cancel(ticket);
            }
            self.report_lost(message.id(), reply);
            return self.say(reply, tx);
        }
        if !last.is_empty() {
            self.act(Action::Body(Cow::Owned(last)));
        }
        let id = message.id().clone();
        self.ask(now, |ticket| (Ask::Commit { ticket }, Question::Commit { id }));
    }

    pub(super) fn handle_committed(&mut self, verdict: CommitVerdict, id: &Arc<str>, tx: &mut SendQueue) {
        match verdict {
            CommitVerdict::Done => {
                self.forgive();
                tx.write_with(|out| write_accepted(out, id));
            }
            // Whoever says so has reported why.
            CommitVerdict::NoSpace => self.say(Reply::StorageFull, tx),
            CommitVerdict::MailboxFull => self.say(Reply::MailboxFull, tx),
            CommitVerdict::MailboxTooSmall => self.say(Reply::MailboxTooSmall, tx),
            CommitVerdict::Temporary => self.say(Reply::LocalError, tx),
        }
        self.stop_if_wanted(tx);
    }
}

/// The first octets, no more than `most`; `None` if there are none.
fn take_at_most(bytes: &[u8], most: u64) -> Option<&[u8]> {
    let count = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(..count).filter(|octets| !octets.is_empty())
}
