//! COMPRESS (RFC 4978): what comes is unpacked before anything looks at it.
//!
//! Everything behind the tagged OK is packed, in both directions. The session unpacks as much as it may hold, and no
//! more before that is done with: a bomb costs what its plain octets would cost. What is sent is packed by the send
//! queue.

use super::session::Session;
use crate::event::Event;
use crate::imap::response::{Code, Status, write_tagged};
use crate::machine::{Action, CloseReason, Step, StepOf};
use crate::send_queue::SendQueue;
use crate::wire::deflate::Inflater;
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// Unpacked octets at a time.
const STEP_BYTES: usize = 64 * 1024;

/// What has come and is unpacked.
#[derive(Debug, Default)]
pub(super) struct Unpacking {
    inflater: Inflater,
    plain: Vec<u8>,
    /// Octets of `plain` that are done with.
    at: usize,
}

impl Session {
    pub(super) fn start_compress(&mut self, mechanism: &[u8], tx: &mut SendQueue) {
        if self.compressed {
            let text = "Everything is compressed already";
            return self.end(Status::No, Some(&Code::CompressionActive), text, tx);
        }
        if !mechanism.eq_ignore_ascii_case(b"DEFLATE") {
            return self.end(Status::No, Some(&Code::Cannot), "Only DEFLATE is known", tx);
        }
        // What others changed waits for the next command: the OK is the last that is not packed.
        tx.write_with(|out| write_tagged(out, &self.command.tag, Status::Ok, None, "DEFLATE active"));
        tx.push_deflate();
        (self.compressed, self.unpacking) = (true, Some(Unpacking::default()));
        self.between_commands(tx);
    }

    /// Octets held that were unpacked and are not done with.
    pub fn unpacked(&self) -> usize {
        self.unpacking.as_ref().map_or(0, |unpacking| unpacking.plain.len().saturating_sub(unpacking.at))
    }

    /// One step on what is unpacked, or else one of unpacking.
    pub(super) fn pump_packed(&mut self, rx: &[u8], tx: &mut SendQueue) -> Option<StepOf<'static, Session>> {
        let mut unpacking = self.unpacking.take()?;
        self.more_to_unpack = !rx.is_empty() || unpacking.inflater.may_have_more();
        let plain = core::mem::take(&mut unpacking.plain);
        let step = self.pump_plain(plain.get(unpacking.at..).unwrap_or_default(), tx).map(into_owned);
        unpacking.plain = plain;
        let step = match step {
            Some(step) => {
                unpacking.at = unpacking.at.saturating_add(step.consumed);
                Some(Step { consumed: 0, ..step })
            }
            None => self.unpack(&mut unpacking, rx, tx),
        };
        self.unpacking = Some(unpacking);
        step
    }

    fn unpack(
        &mut self,
        unpacking: &mut Unpacking,
        rx: &[u8],
        tx: &mut SendQueue,
    ) -> Option<StepOf<'static, Session>> {
        let Unpacking { inflater, plain, at } = unpacking;
        plain.drain(..core::mem::take(at).min(plain.len()));
        let before = plain.len();
        let room = self.setup.limits.rx_bytes_max.saturating_sub(before).min(STEP_BYTES);
        match inflater.feed(rx, plain, room) {
            Ok(0) if plain.len() == before => None,
            Ok(consumed) => Some(Step::consumed(consumed)),
            Err(_) => {
                let what = "what is not DEFLATE";
                self.push_event(Event::Abuse { what });
                self.bye(what, CloseReason::ProtocolViolation, tx);
                self.step(rx.len())
            }
        }
    }
}

/// The plain octets do not outlive their step.
fn into_owned(step: StepOf<'_, Session>) -> StepOf<'static, Session> {
    let action = step.action.map(|action| match action {
        Action::Body(octets) => Action::Body(Cow::Owned(octets.into_owned())),
        Action::Ask(ask) => Action::Ask(ask),
        Action::Cancel(id) => Action::Cancel(id),
        Action::Event(event) => Action::Event(event),
        Action::StartTls => Action::StartTls,
        Action::Close(reason) => Action::Close(reason),
    });
    Step { consumed: step.consumed, action }
}
