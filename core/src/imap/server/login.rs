//! Before the login and for anybody: CAPABILITY, ID, STARTTLS, LOGIN, UNAUTHENTICATE (RFC 9051 §6.1, §6.2), and
//! clients that speak another protocol. NAMESPACE is here too, being as short.

use super::enable::Enabled;
use super::session::{Session, State, Then};
use super::{Ask, reply};
use crate::auth::{Attempt, AuthVerdict, Credentials, Proof};
use crate::event::Event;
use crate::imap::command::{AString, Secret};
use crate::imap::response::{Code, Status, write_tagged};
use crate::imap::scanner::CommandScanner;
use crate::machine::{CloseReason, StepOf, TlsInfo};
use crate::send_queue::SendQueue;
use crate::site::Account;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Characters of a login name that go into an event.
const LOGIN_CHARS_MAX: usize = 64;

const WRONG_PASSWORD: &str = "Wrong name or password";

/// A login whose answer is on its way.
#[derive(Debug)]
pub(super) struct LoggingIn {
    /// The name for the log.
    shown: String,
    /// What the client is told before it is in.
    server_final: Option<Vec<u8>>,
}

impl Session {
    pub(super) fn start_capability(&mut self, tx: &mut SendQueue) {
        let list = self.capabilities();
        tx.write_with(|out| {
            out.extend_from_slice(b"* CAPABILITY ");
            out.extend_from_slice(list.as_bytes());
            out.extend_from_slice(b"\r\n");
        });
        self.end(Status::Ok, None, "Capability completed", tx);
    }

    /// RFC 2971
    pub(super) fn start_id(&mut self, fields: &[(AString<'_>, Option<AString<'_>>)], tx: &mut SendQueue) {
        self.take_client_name(fields);
        const VERSION: &str = env!("CARGO_PKG_VERSION");
        tx.write_with(|out| {
            out.extend_from_slice(b"* ID (\"name\" \"postier\" \"version\" \"");
            out.extend_from_slice(VERSION.as_bytes());
            out.extend_from_slice(b"\")\r\n");
        });
        self.end(Status::Ok, None, "ID completed", tx);
    }

    /// RFC 2342: one personal namespace.
    pub(super) fn start_namespace(&mut self, tx: &mut SendQueue) {
        tx.push(b"* NAMESPACE ((\"\" \".\")) NIL NIL\r\n");
        self.end(Status::Ok, None, "Namespace completed", tx);
    }

    /// RFC 9051 §6.2.1. Octets behind STARTTLS came in the clear and would be taken for protected ones.
    pub(super) fn start_tls(&mut self, behind: bool, tx: &mut SendQueue) {
        if self.tls || !self.setup.starttls {
            let text = if self.tls { "TLS is on already" } else { "TLS is not available" };
            return self.end(Status::Bad, None, text, tx);
        }
        if behind {
            self.refuse_plaintext_behind();
            let text = "Nothing may follow STARTTLS before TLS is on";
            return tx.write_with(|out| write_tagged(out, &self.command.tag, Status::Bad, None, text));
        }
        self.end(Status::Ok, None, "Begin TLS now", tx);
        if matches!(self.state, State::Command) {
            self.state = State::Handshake;
            self.push_start_tls();
        }
    }

    fn refuse_plaintext_behind(&mut self) {
        self.push_event(Event::Abuse { what: "plaintext behind STARTTLS" });
        self.close(CloseReason::ProtocolViolation);
    }

    /// Forgets what was learnt in the clear; there was no login, so that is only where the scanner stands.
    pub(super) fn handle_tls_started(&mut self, info: TlsInfo) {
        if matches!(self.state, State::Handshake) {
            self.tls = true;
            self.setup.tls = Some(info);
            self.scanner = CommandScanner::new();
            self.state = State::Command;
        }
    }

    /// Whether a password may be sent now.
    pub(super) fn may_send_password(&self) -> bool {
        self.tls || self.setup.plaintext_login
    }

    pub(super) fn refuse_password_in_clear(&mut self, tx: &mut SendQueue) {
        self.end(Status::No, Some(&Code::PrivacyRequired), "Use TLS before you send a password", tx);
    }

    /// RFC 9051 §6.2.3
    pub(super) fn start_login(&mut self, name: &[u8], password: &Secret<'_>, tx: &mut SendQueue) {
        if !self.may_send_password() {
            return self.refuse_password_in_clear(tx);
        }
        let Secret(password) = password;
        let (login, password) = (name.to_vec(), password.to_vec());
        let credentials = Credentials { authorization: Vec::new(), login, password };
        self.check_attempt(credentials.into(), None, tx);
    }

    /// RFC 8437: as before the login, but for TLS and compression.
    pub(super) fn start_unauthenticate(&mut self, tx: &mut SendQueue) {
        self.leave_mailbox();
        self.stop_notifying();
        self.push_ask(Ask::Unauthenticate);
        self.account = None;
        self.enabled = Enabled::default();
        self.await_login();
        self.end(Status::Ok, None, "You are logged out", tx);
    }

    pub(super) fn check_attempt(
        &mut self,
        attempt: Attempt,
        server_final: Option<Vec<u8>>,
        tx: &mut SendQueue,
    ) {
        let Attempt { authorization, login, proof } = &attempt;
        // RFC 4616 §2: nobody acts for somebody else here.
        if !authorization.is_empty() && !authorization.eq_ignore_ascii_case(login) {
            return self.end(
                Status::No,
                Some(&Code::AuthorizationFailed),
                "You may act for yourself only",
                tx,
            );
        }
        let logging_in = LoggingIn { shown: shown_login(login), server_final };
        let says_nothing =
            login.is_empty() || matches!(proof, Proof::Password(password) if password.0.is_empty());
        if says_nothing {
            return self.handle_login(logging_in, AuthVerdict::Denied, tx);
        }
        self.ask(Then::Login(logging_in), |ticket| Ask::Authenticate { ticket, attempt });
    }

    /// It is decided who this is.
    pub(super) fn log_in(&mut self, account: Arc<Account>, tx: &mut SendQueue) {
        let address = String::from_utf8_lossy(&account.address).into_owned();
        self.push_event(Event::LoggedIn { account: address });
        self.account = Some(account);
        let list = self.capabilities();
        self.end(Status::Ok, Some(&Code::Capability(&list)), "Logged in", tx);
    }

    pub(super) fn handle_login(&mut self, login: LoggingIn, verdict: AuthVerdict, tx: &mut SendQueue) {
        match verdict {
            AuthVerdict::Granted(account) => match login.server_final {
                Some(server_final) => self.prove_self(account, &server_final, tx),
                None => self.log_in(account, tx),
            },
            AuthVerdict::Denied => {
                self.push_event(Event::LoginFailed { login: login.shown, peer: self.setup.peer });
                self.failed_logins += 1;
                self.end(Status::No, Some(&Code::AuthenticationFailed), WRONG_PASSWORD, tx);
                if self.failed_logins >= self.setup.limits.failed_logins_max {
                    self.bye("Too many failed logins", CloseReason::Abuse, tx);
                }
            }
            AuthVerdict::Temporary => {
                self.end(Status::No, Some(&Code::Unavailable), reply::LOST_ANSWER, tx);
            }
        }
    }
}

/// A login name for the log: printable and short.
fn shown_login(login: &[u8]) -> String {
    let shown = String::from_utf8_lossy(login);
    let printable = |c: char| if c.is_control() { '?' } else { c };
    shown.chars().take(LOGIN_CHARS_MAX).map(printable).collect()
}

/// Between STARTTLS and the handshake no octet can come that is not the handshake's.
pub(super) fn pump_handshake(session: &mut Session, rx: &[u8]) -> Option<StepOf<'static, Session>> {
    if rx.is_empty() {
        return session.starve();
    }
    session.refuse_plaintext_behind();
    session.step(0)
}

/// A client that begins as if TLS were on.
pub(super) fn foreign_protocol(session: &Session, rx: &[u8]) -> Option<&'static str> {
    // RFC 8446 §5.1: a handshake record begins with 22 and the version's 3.
    let hello = rx.first() == Some(&22) && session.account.is_none() && !session.scanner.is_inside_command();
    hello.then_some("a TLS handshake on a port that begins without TLS")
}

/// The first word of other protocols' requests, which somebody tries to smuggle through a browser or a proxy.
pub(super) fn foreign_verb(session: &Session, line: &[u8]) -> Option<&'static str> {
    const VERBS: &[&[u8]] = &[
        b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"PATCH", b"EHLO", b"HELO",
        b"USER",
    ];
    let word = line.split(|octet| *octet == b' ').next().unwrap_or_default();
    let foreign = session.account.is_none() && VERBS.contains(&word);
    foreign.then_some("this is an IMAP server")
}
