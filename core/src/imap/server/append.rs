//! APPEND (RFC 9051 §6.3.12), with UIDPLUS (RFC 4315).
//!
//! The scanner stops at the announcement of the message. [`Ask::Append`] is answered before the client is let go
//! on; then the octets go out as [`Action::Body`], never gathered here; the line end behind them leads to
//! [`Ask::AppendCommit`]. A message that is refused while the client sends it is swallowed by the scanner.

use super::reply::of_refusal;
use super::session::{Session, State, Then};
use super::{Appended, Ask, Refusal};
use crate::imap::command;
use crate::imap::response::{Code, Status, write_continuation};
use crate::imap::scanner::Scan;
use crate::imap::sequence::UidSet;
use crate::machine::{Action, Step, StepOf};
use crate::send_queue::SendQueue;
use crate::ticket::TicketId;
use alloc::borrow::Cow;
use memchr::memchr;

/// APPEND while it is not known whether the message is wanted.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) size: u64,
    pub(super) sync: bool,
}

/// The message that is coming.
#[derive(Debug)]
pub(super) struct Message {
    /// The number of its [`Ask::Append`], to cancel it by.
    pub(super) id: TicketId,
    /// Octets still to come.
    left: u64,
}

impl Session {
    pub(super) fn start_append(&mut self, append: command::Append<'_>, tx: &mut SendQueue) {
        let command::LiteralHead { size, sync, .. } = append.literal;
        if let Some((status, code, text)) = self.refusal_of(append.literal) {
            self.skip_message(Some((size, sync)));
            return self.end(status, code.as_ref(), text, tx);
        }
        let Some(mailbox) = self.checked_name(&append.mailbox, tx) else {
            return self.skip_message(Some((size, sync)));
        };
        let (flags, date) = (append.flags.into_owned(), append.date.map(|date| date.unix_seconds));
        let announced = Announced { size, sync };
        self.ask(Then::Append(announced), |ticket| Ask::Append { ticket, mailbox, flags, date, size });
    }

    /// Why a message cannot be taken, whatever the mailbox.
    fn refusal_of(
        &self,
        literal: command::LiteralHead,
    ) -> Option<(Status, Option<Code<'static>>, &'static str)> {
        if literal.binary {
            // RFC 3516 §4.4: literal8 belongs to BINARY, which is not offered.
            return Some((Status::Bad, None, "A binary literal cannot be taken"));
        }
        if literal.size == 0 {
            return Some((Status::No, Some(Code::Cannot), "A message of no octets cannot be kept"));
        }
        let (code, text) = of_refusal(&Refusal::TooBig);
        let too_big = literal.size > self.setup.limits.message_bytes_max;
        too_big.then_some((Status::No, Some(code), text))
    }

    /// The mailbox takes the message, or does not.
    pub(super) fn handle_append_allowed(
        &mut self,
        id: TicketId,
        announced: Announced,
        answer: Result<(), Refusal>,
        tx: &mut SendQueue,
    ) {
        match answer {
            Ok(()) => {
                if announced.sync {
                    tx.write_with(|out| write_continuation(out, "Ready for the message"));
                }
                self.state = State::Message(Message { id, left: announced.size });
                self.keep_alive();
            }
            Err(refusal) => {
                self.skip_message(Some((announced.size, announced.sync)));
                self.end_append_refused(&refusal, tx);
            }
        }
    }

    pub(super) fn handle_appended(&mut self, answer: Result<Appended, Refusal>, tx: &mut SendQueue) {
        match answer {
            Ok(Appended { uid_validity, uid }) => {
                let uids = UidSet::from_iter([uid]);
                let code = Code::AppendUid(uid_validity, &uids);
                self.end(Status::Ok, Some(&code), "Append completed", tx);
            }
            Err(refusal) => self.end_append_refused(&refusal, tx),
        }
    }

    /// RFC 9051 §6.3.12: a mailbox that does not exist is one the client may create.
    fn end_append_refused(&mut self, refusal: &Refusal, tx: &mut SendQueue) {
        match refusal {
            Refusal::NonExistent => self.end_refused(&Refusal::TryCreate, tx),
            Refusal::TryCreate
            | Refusal::AlreadyExists
            | Refusal::Cannot(_)
            | Refusal::ReadOnly
            | Refusal::InUse
            | Refusal::NoSpace
            | Refusal::TooBig
            | Refusal::NoPermission
            | Refusal::Unavailable
            | Refusal::BadCharset => self.end_refused(refusal, tx),
        }
    }
}

/// Hands on the octets of the message, then looks for the line end of the command.
pub(super) fn pump_message<'i>(
    session: &mut Session,
    rx: &'i [u8],
    tx: &mut SendQueue,
) -> Option<StepOf<'i, Session>> {
    let State::Message(message) = &mut session.state else { return None };
    if message.left == 0 {
        return pump_tail(session, rx, tx);
    }
    let count = usize::try_from(message.left).map_or(rx.len(), |left| left.min(rx.len()));
    let piece = rx.get(..count).unwrap_or_default();
    // RFC 9051 §4.3.1: a literal has no NUL.
    let good = memchr(0, piece).unwrap_or(count);
    let id = message.id;
    match piece.get(..good) {
        Some([]) | None if piece.is_empty() => session.starve(),
        Some([]) | None => {
            let left = message.left;
            session.state = State::Command;
            session.push_cancel(id);
            session.scanner.start_skip(left);
            session.end(Status::Bad, None, "A message with a NUL octet cannot be taken", tx);
            session.step(0)
        }
        Some(body) => {
            message.left = message.left.saturating_sub(body.len() as u64);
            session.keep_alive();
            Some(Step { consumed: body.len(), action: Some(Action::Body(Cow::Borrowed(body))) })
        }
    }
}

/// The line end behind the message.
fn pump_tail(session: &mut Session, rx: &[u8], tx: &mut SendQueue) -> Option<StepOf<'static, Session>> {
    let State::Message(Message { id, .. }) = session.state else { return None };
    let limits = session.scan_limits();
    match session.scanner.scan_append_tail(rx, &limits) {
        Scan::Complete { len } => {
            session.ask(Then::AppendCommit, |ticket| Ask::AppendCommit { ticket });
            session.step(len)
        }
        Scan::Refused { len, .. } => {
            session.state = State::Command;
            session.push_cancel(id);
            session.end(Status::Bad, None, "APPEND takes one message and nothing behind it", tx);
            session.step(len)
        }
        Scan::Skipped { len } => session.step(len),
        Scan::Incomplete | Scan::Continue | Scan::Append { .. } => session.starve(),
    }
}
