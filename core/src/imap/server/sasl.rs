//! AUTHENTICATE (RFC 9051 §6.2.2), the initial response of RFC 4959: the lines around an
//! [`Exchange`].

use super::Ask;
use super::session::{Session, State, Then};
use crate::auth::sasl::{Exchange, Mechanism, Offered, Turn};
use crate::auth::scram::{ClientFirst, ScramOffer};
use crate::imap::command::Secret;
use crate::imap::response::{Code, Status, write_continuation};
use crate::imap::scanner::Scan;
use crate::machine::{StepOf, TlsInfo};
use crate::send_queue::SendQueue;
use crate::site::Account;
use crate::wire::base64;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Octets of a SASL response, decoded; RFC 4616 §2 allows three times 255 and two.
const RESPONSE_BYTES_MAX: usize = 4096;
/// The same in base64 with its line end.
const RESPONSE_LINE_BYTES_MAX: usize = RESPONSE_BYTES_MAX / 3 * 4 + 8;

impl Session {
    pub(super) fn start_authenticate(
        &mut self,
        mechanism: &[u8],
        initial: Option<&Secret<'_>>,
        tx: &mut SendQueue,
    ) {
        let possible = Offered { login: true, ..self.offered() };
        let Some(mechanism) = Mechanism::named(mechanism).filter(|mechanism| mechanism.is_offered(possible))
        else {
            return self.end(Status::No, Some(&Code::Cannot), "This mechanism is not offered", tx);
        };
        if !self.may_send_password() {
            return self.refuse_password_in_clear(tx);
        }
        let initial = match initial {
            None => None,
            // RFC 4959 §3: `=` stands for a response without octets.
            Some(Secret(response)) if **response == *b"=" => Some(Vec::new()),
            Some(Secret(response)) => match self.decode_response(response, tx) {
                Some(message) => Some(message),
                None => return,
            },
        };
        let turn = Exchange::begin(mechanism, initial, self.binding());
        self.take_turn(turn, tx);
    }

    /// Which mechanisms are offered, as far as this depends on the connection.
    pub(super) fn offered(&self) -> Offered {
        Offered {
            login: self.may_send_password(),
            scram: self.setup.scram,
            binding: self.binding().is_some(),
        }
    }

    /// The connection a login can be bound to; not where that is hidden from the client.
    fn binding(&self) -> Option<&TlsInfo> {
        let tls = self.setup.tls.as_ref().filter(|tls| tls.has_binding())?;
        (!self.hides("AUTH=SCRAM-SHA-256-PLUS")).then_some(tls)
    }

    /// The client's response, without its line end; `None`: the command has ended.
    fn decode_response(&mut self, response: &[u8], tx: &mut SendQueue) -> Option<Vec<u8>> {
        if response == b"*" {
            self.end(Status::Bad, None, "Authentication cancelled", tx);
            return None;
        }
        let message = base64::decode(response, RESPONSE_BYTES_MAX);
        if message.is_err() {
            self.end(Status::Bad, None, "The response is not base64", tx);
        }
        message.ok()
    }

    fn take_turn(&mut self, turn: Turn, tx: &mut SendQueue) {
        match turn {
            Turn::Challenge(exchange, challenge) => self.challenge(exchange, &challenge, tx),
            Turn::Verifier(first) => {
                let login = first.login.clone();
                self.ask(Then::Verifier(first), |ticket| Ask::Verifier { ticket, login });
            }
            Turn::Attempt(attempt, server_final) => self.check_attempt(attempt, server_final, tx),
            Turn::LoggedIn(account) => self.log_in(account, tx),
            Turn::Malformed => self.end(Status::Bad, None, "The response is not one of the mechanism", tx),
        }
    }

    fn challenge(&mut self, exchange: Exchange, challenge: &[u8], tx: &mut SendQueue) {
        tx.write_with(|out| write_continuation(out, &base64::encode(challenge)));
        self.state = State::Sasl(exchange);
    }

    pub(super) fn handle_verifier(&mut self, first: ClientFirst, offer: ScramOffer, tx: &mut SendQueue) {
        let (exchange, challenge) = Exchange::offer(first, offer);
        self.challenge(exchange, &challenge, tx);
    }

    /// SCRAM: the client is let in, and wants to see that this is the server.
    pub(super) fn prove_self(&mut self, account: Arc<Account>, server_final: &[u8], tx: &mut SendQueue) {
        self.challenge(Exchange::Acknowledge(account), server_final, tx);
    }
}

/// AUTHENTICATE: the line of the response.
pub(super) fn pump_response(
    session: &mut Session,
    rx: &[u8],
    tx: &mut SendQueue,
) -> Option<StepOf<'static, Session>> {
    match session.scanner.scan_line(rx, RESPONSE_LINE_BYTES_MAX) {
        Scan::Complete { len } => {
            let line = rx.get(..len).unwrap_or_default();
            let State::Sasl(exchange) = core::mem::replace(&mut session.state, State::Command) else {
                return None;
            };
            if let Some(message) = session.decode_response(line.trim_ascii(), tx) {
                let turn = exchange.message(message, session.binding());
                session.take_turn(turn, tx);
            }
            session.step(len)
        }
        Scan::Refused { len, .. } => {
            session.state = State::Command;
            session.end(Status::Bad, Some(&Code::Limit), "The response is too long", tx);
            session.step(len)
        }
        Scan::Skipped { len } => session.step(len),
        Scan::Incomplete | Scan::Continue | Scan::Append { .. } => session.starve(),
    }
}
