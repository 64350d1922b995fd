//! Asking, and what comes of it: the answer, no answer, or one that comes too late.
//!
//! There is at most one ask at a time. Its ticket tells its answer from every other; an answer nobody waits for any more
//! is dropped.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::data::Receive;
use super::message::Message;
use super::session::{Session, State};
use super::{Answer, Ask, Recipient, Transaction};
use crate::auth::scram::ClientFirst;
use crate::machine::{Action, Instant, Now};
use crate::send_queue::SendQueue;
use crate::smtp::reply::Reply;
use crate::ticket::{Ticket, TicketId};

/// An ask that is under way.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) ticket: TicketId,
    pub(super) deadline: Instant,
    pub(super) question: Question,
}

/// What was asked, with what is needed when the answer comes.
#[derive(Debug)]
pub(super) enum Question {
    Verifier(Box<ClientFirst>),
    Authenticate { login: Box<[u8]>, server_final: Option<Vec<u8>> },
    Sender(Box<Transaction>),
    Recipient(Recipient),
    Begin(Box<Message>, Receive),
    Commit { id: Arc<str> },
}

impl Session {
    /// Asks, and waits for the answer.
    pub(super) fn ask<V>(&mut self, now: Now, ask: impl FnOnce(Ticket<V>) -> (Ask, Question)) {
        let ticket = self.tickets.issue();
        let id = ticket.id();
        let (ask, question) = ask(ticket);
        let limit = match question {
            Question::Commit { .. } => self.setup.limits.commit,
            Question::Verifier(_)
            | Question::Authenticate { .. }
            | Question::Sender(_)
            | Question::Recipient(_)
            | Question::Begin(..) => self.setup.limits.answer,
        };
        self.act(Action::Ask(ask));
        self.state = State::Waiting(Wait { ticket: id, deadline: now.instant.plus(limit), question });
    }

    pub(super) fn handle_answer(&mut self, now: Now, answer: Answer, tx: &mut SendQueue) {
        let wait = match mem::replace(&mut self.state, State::Command) {
            State::Waiting(wait) => wait,
            // Nothing is waited for: the answer comes too late.
            state => return self.state = state,
        };
        self.touch(now);
        let ticket = wait.ticket;
        let unanswered = match (answer, wait.question) {
            (Answer::Verifier(answer), Question::Verifier(first)) => match answer.into_verdict(ticket) {
                Some(offer) => return self.handle_verifier(*first, offer, tx),
                None => Question::Verifier(first),
            },
            (Answer::Authenticate(answer), Question::Authenticate { login, server_final }) => {
                match answer.into_verdict(ticket) {
                    Some(verdict) => return self.handle_authenticated(verdict, &login, server_final, tx),
                    None => Question::Authenticate { login, server_final },
                }
            }
            (Answer::Sender(answer), Question::Sender(transaction)) => match answer.into_verdict(ticket) {
                Some(verdict) => return self.handle_sender(verdict, transaction, tx),
                None => Question::Sender(transaction),
            },
            (Answer::Recipient(answer), Question::Recipient(recipient)) => {
                match answer.into_verdict(ticket) {
                    Some(verdict) => return self.handle_recipient(verdict, recipient, tx),
                    None => Question::Recipient(recipient),
                }
            }
            (Answer::Begin(answer), Question::Begin(message, receive)) => match answer.into_verdict(ticket) {
                Some(verdict) => return self.handle_begun(verdict, message, receive, tx),
                None => Question::Begin(message, receive),
            },
            (Answer::Commit(answer), Question::Commit { id }) => match answer.into_verdict(ticket) {
                Some(verdict) => return self.handle_committed(verdict, &id, tx),
                None => Question::Commit { id },
            },
            // The late answer to another question.
            (
                Answer::Verifier(_)
                | Answer::Authenticate(_)
                | Answer::Sender(_)
                | Answer::Recipient(_)
                | Answer::Begin(_)
                | Answer::Commit(_),
                question,
            ) => question,
        };
        self.state = State::Waiting(Wait { question: unanswered, ..wait });
    }

    /// A lost answer costs one reply. Only a commit goes on without us: nobody can know how far it has come.
    pub(super) fn handle_lost_answer(&mut self, now: Now, wait: Wait, tx: &mut SendQueue) {
        self.touch(now);
        match wait.question {
            Question::Commit { id } => {
                self.report_lost(&id, Reply::TookTooLong);
                self.say(Reply::TookTooLong, tx);
            }
            Question::Verifier(_) | Question::Authenticate { .. } => {
                self.cancel(wait.ticket);
                self.say(Reply::AuthUnavailable, tx);
            }
            Question::Sender(_) | Question::Recipient(_) => {
                self.cancel(wait.ticket);
                self.say(Reply::LocalError, tx);
            }
            Question::Begin(message, receive) => {
                self.cancel(wait.ticket);
                self.decline(message.id(), Reply::LocalError, receive, tx);
            }
        }
        self.stop_if_wanted(tx);
    }
}
