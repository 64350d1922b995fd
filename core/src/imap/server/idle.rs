//! IDLE (RFC 9051 §6.3.13, RFC 2177): a state in which changes are told as they come.
//!
//! A notice leads to [`Ask::Changes`](super::Ask::Changes) at once. DONE, and what a client sends behind it
//! without waiting, stays in the receive buffer while such a question is out.

use super::notify::Rest;
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
        self.rest(Rest::Idle, tx);
    }

    /// [`Notice::Changed`](super::Notice::Changed)
    pub(super) fn handle_changed(&mut self, tx: &mut SendQueue) {
        if let Some(mailbox) = self.mailbox.as_mut() {
            mailbox.changed = true;
        }
        self.go_on_resting(tx);
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
