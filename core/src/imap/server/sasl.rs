//! AUTHENTICATE (RFC 9051 §6.2.2) with PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login), and the initial
//! response of RFC 4959.

use super::session::{Session, State};
use crate::auth::Credentials;
use crate::imap::command::Secret;
use crate::imap::response::{Code, Status, write_continuation};
use crate::imap::scanner::Scan;
use crate::machine::StepOf;
use crate::send_queue::SendQueue;
use crate::wire::base64;
use alloc::vec::Vec;

/// Octets of a SASL response, decoded; RFC 4616 §2 allows three times 255 and two.
const RESPONSE_BYTES_MAX: usize = 4096;
/// The same in base64 with its line end.
const RESPONSE_LINE_BYTES_MAX: usize = RESPONSE_BYTES_MAX / 3 * 4 + 8;
/// `Username:` in base64. Outlook looks at the letters.
const NAME_PROMPT: &str = "VXNlcm5hbWU6";
/// `Password:` in base64.
const PASSWORD_PROMPT: &str = "UGFzc3dvcmQ6";

/// The response that is expected.
#[derive(Debug)]
pub(super) enum Sasl {
    /// PLAIN: all of it.
    Plain,
    /// LOGIN: the name.
    Name,
    /// LOGIN: the password of this name.
    Password(Vec<u8>),
}

impl Session {
    pub(super) fn start_authenticate(
        &mut self,
        mechanism: &[u8],
        initial: Option<&Secret<'_>>,
        tx: &mut SendQueue,
    ) {
        let is = |name: &[u8]| mechanism.eq_ignore_ascii_case(name);
        let expected = if is(b"PLAIN") {
            Sasl::Plain
        } else if is(b"LOGIN") {
            Sasl::Name
        } else {
            return self.end(Status::No, Some(&Code::Cannot), "Only PLAIN and LOGIN are known", tx);
        };
        if !self.may_send_password() {
            return self.refuse_password_in_clear(tx);
        }
        match (initial, expected) {
            (None, expected) => self.challenge(expected, tx),
            // RFC 4959 §3: `=` stands for a response without octets. LOGIN is the server's to begin, so there it says
            // nothing.
            (Some(Secret(response)), Sasl::Name) if **response == *b"=" => self.challenge(Sasl::Name, tx),
            (Some(Secret(response)), expected) if **response == *b"=" => {
                self.take_message(expected, Vec::new(), tx)
            }
            (Some(Secret(response)), expected) => self.take_response(expected, response, tx),
        }
    }

    fn challenge(&mut self, expected: Sasl, tx: &mut SendQueue) {
        let prompt = match &expected {
            Sasl::Plain => "",
            Sasl::Name => NAME_PROMPT,
            Sasl::Password(_) => PASSWORD_PROMPT,
        };
        tx.write_with(|out| write_continuation(out, prompt));
        self.state = State::Sasl(expected);
    }

    /// The client's response in base64, without its line end.
    fn take_response(&mut self, expected: Sasl, response: &[u8], tx: &mut SendQueue) {
        self.state = State::Command;
        if response == b"*" {
            return self.end(Status::Bad, None, "Authentication cancelled", tx);
        }
        match base64::decode(response, RESPONSE_BYTES_MAX) {
            Ok(message) => self.take_message(expected, message, tx),
            Err(_) => self.end(Status::Bad, None, "The response is not base64", tx),
        }
    }

    fn take_message(&mut self, expected: Sasl, message: Vec<u8>, tx: &mut SendQueue) {
        match expected {
            Sasl::Plain => match Credentials::from_plain(&message) {
                Some(credentials) => self.check_credentials(credentials, tx),
                None => self.end(Status::Bad, None, "The response is not one of PLAIN", tx),
            },
            Sasl::Name => self.challenge(Sasl::Password(message), tx),
            Sasl::Password(login) => {
                self.check_credentials(
                    Credentials { authorization: Vec::new(), login, password: message },
                    tx,
                );
            }
        }
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
            let State::Sasl(expected) = core::mem::replace(&mut session.state, State::Command) else {
                return None;
            };
            session.take_response(expected, line.trim_ascii(), tx);
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
