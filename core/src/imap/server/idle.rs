//! IDLE (RFC 9051 §6.3.13, RFC 2177): a state in which changes are told as they come.
//!
//! A notice leads to [`Ask::Changes`](super::Ask::Changes) at once. DONE, and what a client sends behind it
//! without waiting, stays in the receive buffer while such a question is out.

use super::changes::After;
use super::session::{Session, State};
use crate::imap::command::is_done;
use crate::imap::response::{Code, Status, write_continuation};
use crate::imap::scanner::Scan;
use crate::machine::StepOf;
use crate::send_queue::SendQueue;

const LINE_BYTES_MAX: usize = 1024;

impl Session {
    pub(super) fn start_idle(&mut self, tx: &mut SendQueue) {
        tx.write_with(|out| write_continuation(out, "idling"));
        self.state = State::Idle;
        go_on(self, tx);
    }
}

/// Tells what waits to be told; IDLE may say everything.
pub(super) fn go_on(session: &mut Session, tx: &mut SendQueue) {
    if session.wants_changes() {
        session.ask_changes(After::Idle);
    } else {
        session.tell_untold(tx);
    }
}

/// [`Notice::Changed`](super::Notice::Changed)
pub(super) fn handle_changed(session: &mut Session, tx: &mut SendQueue) {
    if let Some(mailbox) = session.mailbox.as_mut() {
        mailbox.changed = true;
    }
    match &session.state {
        State::Idle => go_on(session, tx),
        // It is told at the end of the command in progress, or of the next one.
        State::Command
        | State::Sasl(_)
        | State::Fetch(_)
        | State::List(_)
        | State::Message(_)
        | State::Waiting(_)
        | State::Handshake
        | State::Closed => {}
    }
}

/// Waits for the line that ends IDLE.
pub(super) fn pump(session: &mut Session, rx: &[u8], tx: &mut SendQueue) -> Option<StepOf<'static, Session>> {
    match session.scanner.scan_line(rx, LINE_BYTES_MAX) {
        Scan::Complete { len } => {
            session.state = State::Command;
            match is_done(rx.get(..len).unwrap_or_default()) {
                true => session.end(Status::Ok, None, "Idle completed", tx),
                false => session.end(Status::Bad, None, "IDLE ends with DONE", tx),
            }
            session.step(len)
        }
        Scan::Refused { len, .. } => {
            session.state = State::Command;
            session.end(Status::Bad, Some(&Code::Limit), "IDLE ends with DONE", tx);
            session.step(len)
        }
        Scan::Skipped { len } => session.step(len),
        Scan::Incomplete | Scan::Continue | Scan::Append { .. } => session.starve(),
    }
}
