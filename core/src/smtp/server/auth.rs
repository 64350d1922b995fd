//! AUTH (RFC 4954): the lines around an [`Exchange`].
//!
//! Only at submission, only where a password may be said, outside of a mail. The password goes into the ask
//! and is kept nowhere.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::ask::Question;
use super::session::{Session, State};
use super::{Ask, Role};
use crate::auth::AuthVerdict;
use crate::auth::sasl::{Exchange, Mechanism, Offered, Turn};
use crate::auth::scram::{ClientFirst, ScramOffer};
use crate::event::Event;
use crate::machine::{Now, TlsInfo};
use crate::send_queue::SendQueue;
use crate::site::Account;
use crate::smtp::command::Auth;
use crate::smtp::reply::{Reply, write_challenge};
use crate::wire::base64;

/// Octets of a name that go into the log.
const LOGGED_NAME_BYTES_MAX: usize = 80;

impl Session {
    pub(super) fn handle_auth(&mut self, now: Now, auth: Auth<'_>, tx: &mut SendQueue) {
        if let Some(reply) = self.auth_obstacle() {
            return self.refuse(reply, tx);
        }
        let mechanism = Mechanism::named(auth.mechanism.as_bytes());
        let Some(mechanism) = mechanism.filter(|mechanism| mechanism.is_offered(self.offered())) else {
            return self.refuse(Reply::AuthUnknownMechanism, tx);
        };
        let initial = match auth.initial_response {
            None => None,
            // RFC 4954 §4: `=` is an empty response.
            Some("=") => Some(Vec::new()),
            Some(response) => match self.decode_response(response.as_bytes(), tx) {
                Some(message) => Some(message),
                None => return,
            },
        };
        let turn = Exchange::begin(mechanism, initial, self.binding());
        self.take_turn(now, turn, tx);
    }

    /// Which mechanisms are offered, where AUTH is possible at all.
    pub(super) fn offered(&self) -> Offered {
        Offered {
            login: self.setup.role == Role::Submission && self.may_carry_password() && self.account.is_none(),
            scram: self.setup.scram,
            binding: self.binding().is_some(),
        }
    }

    /// The connection a login can be bound to.
    fn binding(&self) -> Option<&TlsInfo> {
        self.tls.as_ref().filter(|tls| tls.has_binding())
    }

    /// Why there can be no AUTH now.
    fn auth_obstacle(&self) -> Option<Reply> {
        if self.setup.role != Role::Submission {
            return Some(Reply::AuthNotOffered);
        }
        if !self.may_carry_password() {
            return Some(if self.setup.starttls { Reply::StartTlsFirst } else { Reply::AuthNeedsTls });
        }
        if self.client.is_none() {
            return Some(Reply::GreetFirst);
        }
        if self.account.is_some() {
            return Some(Reply::AuthAlready);
        }
        self.mail.is_begun().then_some(Reply::AuthInMail)
    }

    /// A line of the dialogue; no longer than a command line.
    pub(super) fn handle_response(&mut self, now: Now, exchange: Exchange, line: &[u8], tx: &mut SendQueue) {
        if let Some(message) = self.decode_response(line.trim_ascii_end(), tx) {
            let turn = exchange.message(message, self.binding());
            self.take_turn(now, turn, tx);
        }
    }

    /// What a line means; `None`: it is refused.
    fn decode_response(&mut self, line: &[u8], tx: &mut SendQueue) -> Option<Vec<u8>> {
        if line == b"*" {
            self.refuse(Reply::AuthCancelled, tx);
            return None;
        }
        let message = base64::decode(line, line.len());
        if message.is_err() {
            self.refuse(Reply::AuthNotBase64, tx);
        }
        message.ok()
    }

    fn take_turn(&mut self, now: Now, turn: Turn, tx: &mut SendQueue) {
        match turn {
            Turn::Challenge(exchange, challenge) => self.challenge(exchange, &challenge, tx),
            Turn::Verifier(first) => {
                let login = first.login.clone();
                self.ask(now, |ticket| (Ask::Verifier { ticket, login }, Question::Verifier(first)));
            }
            Turn::Attempt(attempt, server_final) => {
                let login = attempt.login.clone().into();
                self.ask(now, |ticket| {
                    (Ask::Authenticate { ticket, attempt }, Question::Authenticate { login, server_final })
                });
            }
            Turn::LoggedIn(account) => self.log_in(account, tx),
            Turn::Malformed => self.refuse(Reply::AuthMalformed, tx),
        }
    }

    fn challenge(&mut self, exchange: Exchange, challenge: &[u8], tx: &mut SendQueue) {
        tx.write_with(|out| write_challenge(out, &base64::encode(challenge)));
        self.state = State::Auth(exchange);
    }

    pub(super) fn handle_verifier(&mut self, first: ClientFirst, offer: ScramOffer, tx: &mut SendQueue) {
        let (exchange, challenge) = Exchange::offer(first, offer);
        self.challenge(exchange, &challenge, tx);
    }

    pub(super) fn handle_authenticated(
        &mut self,
        verdict: AuthVerdict,
        login: &[u8],
        server_final: Option<Vec<u8>>,
        tx: &mut SendQueue,
    ) {
        match verdict {
            AuthVerdict::Granted(account) => match server_final {
                // SCRAM: the client wants to see that this is the server before it is in.
                Some(server_final) => self.challenge(Exchange::Acknowledge(account), &server_final, tx),
                None => self.log_in(account, tx),
            },
            AuthVerdict::Denied => {
                self.counts.failed_logins += 1;
                self.report(Event::LoginFailed { login: printable(login), peer: self.setup.peer });
                match self.counts.failed_logins < self.setup.limits.failed_logins_max {
                    true => self.say(Reply::AuthFailed, tx),
                    false => self.give_up(Reply::AuthTooOften, tx),
                }
            }
            AuthVerdict::Temporary => self.say(Reply::AuthUnavailable, tx),
        }
    }

    fn log_in(&mut self, account: Arc<Account>, tx: &mut SendQueue) {
        self.report(Event::LoggedIn { account: String::from_utf8_lossy(&account.address).into() });
        self.account = Some(account);
        self.say(Reply::Authenticated, tx);
    }
}

/// A name given by a stranger, fit for a log.
fn printable(login: &[u8]) -> String {
    login.get(..LOGGED_NAME_BYTES_MAX).unwrap_or(login).escape_ascii().to_string()
}
