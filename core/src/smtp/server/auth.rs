//! AUTH PLAIN and LOGIN (RFC 4954; RFC 4616; draft-murchison-sasl-login).
//!
//! Only at submission, only where a password may be said, outside of a mail. The password goes into the ask
//! and is kept nowhere.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::ask::Question;
use super::session::{Session, State};
use super::{Ask, Role};
use crate::auth::{AuthVerdict, Credentials};
use crate::event::Event;
use crate::machine::Now;
use crate::send_queue::SendQueue;
use crate::smtp::command::Auth;
use crate::smtp::reply::{Reply, write_challenge};
use crate::wire::base64;

/// `Username:` in base64. Some clients look at the letters.
const LOGIN_NAME_PROMPT: &str = "VXNlcm5hbWU6";
/// `Password:` in base64.
const LOGIN_PASSWORD_PROMPT: &str = "UGFzc3dvcmQ6";
/// Octets of a name that go into the log.
const LOGGED_NAME_BYTES_MAX: usize = 80;

/// The response that is expected.
#[derive(Debug)]
pub(super) enum AuthStep {
    /// PLAIN: all of it.
    Plain,
    /// LOGIN: the name.
    LoginName,
    /// LOGIN: the password of `login`.
    LoginPassword { login: Vec<u8> },
}

impl Session {
    pub(super) fn handle_auth(&mut self, now: Now, auth: Auth<'_>, tx: &mut SendQueue) {
        if let Some(reply) = self.auth_obstacle() {
            return self.refuse(reply, tx);
        }
        let step = match auth.mechanism {
            name if name.eq_ignore_ascii_case("PLAIN") => AuthStep::Plain,
            name if name.eq_ignore_ascii_case("LOGIN") => AuthStep::LoginName,
            _ => return self.refuse(Reply::AuthUnknownMechanism, tx),
        };
        match (auth.initial_response, step) {
            (None, step) => self.challenge(step, tx),
            // RFC 4954 §4: `=` is an empty response. LOGIN is the server's to begin, so there it says
            // nothing.
            (Some("="), AuthStep::LoginName) => self.challenge(AuthStep::LoginName, tx),
            (Some("="), step) => self.handle_decoded(now, step, Vec::new(), tx),
            (Some(response), step) => self.handle_response(now, step, response.as_bytes(), tx),
        }
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

    fn challenge(&mut self, step: AuthStep, tx: &mut SendQueue) {
        let prompt = match step {
            AuthStep::Plain => "",
            AuthStep::LoginName => LOGIN_NAME_PROMPT,
            AuthStep::LoginPassword { .. } => LOGIN_PASSWORD_PROMPT,
        };
        tx.write_with(|out| write_challenge(out, prompt));
        self.state = State::Auth(step);
    }

    /// A line of the dialogue; no longer than a command line.
    pub(super) fn handle_response(&mut self, now: Now, step: AuthStep, line: &[u8], tx: &mut SendQueue) {
        let line = line.trim_ascii_end();
        if line == b"*" {
            return self.refuse(Reply::AuthCancelled, tx);
        }
        match base64::decode(line, line.len()) {
            Ok(response) => self.handle_decoded(now, step, response, tx),
            Err(_) => self.refuse(Reply::AuthNotBase64, tx),
        }
    }

    fn handle_decoded(&mut self, now: Now, step: AuthStep, response: Vec<u8>, tx: &mut SendQueue) {
        let credentials = match step {
            AuthStep::Plain => Credentials::from_plain(&response),
            AuthStep::LoginName => {
                return self.challenge(AuthStep::LoginPassword { login: response }, tx);
            }
            AuthStep::LoginPassword { login } => (!login.is_empty() && !response.is_empty())
                .then(|| Credentials { authorization: Vec::new(), login, password: response }),
        };
        let Some(credentials) = credentials else { return self.refuse(Reply::AuthMalformed, tx) };
        let login = credentials.login.clone().into();
        self.ask(now, |ticket| (Ask::Authenticate { ticket, credentials }, Question::Authenticate { login }));
    }

    pub(super) fn handle_authenticated(&mut self, verdict: AuthVerdict, login: &[u8], tx: &mut SendQueue) {
        match verdict {
            AuthVerdict::Granted(account) => {
                self.report(Event::LoggedIn { account: String::from_utf8_lossy(&account.address).into() });
                self.account = Some(account);
                self.say(Reply::Authenticated, tx);
            }
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
}

/// A name given by a stranger, fit for a log.
fn printable(login: &[u8]) -> String {
    login.get(..LOGGED_NAME_BYTES_MAX).unwrap_or(login).escape_ascii().to_string()
}
