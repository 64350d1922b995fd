//! Before the first mail: greeting, EHLO or HELO, STARTTLS, AUTH.

use super::peer::Peer;
use super::reply::Reply;
use super::session::{Session, State};
use super::{End, Tls};
use crate::machine::{Now, TlsInfo};
use crate::send_queue::SendQueue;
use crate::wire::base64;

/// What the next reply of the AUTH dialogue answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// The whole of PLAIN, or the last step of LOGIN.
    Last,
    /// `AUTH LOGIN`: the server wants the name.
    Name,
    /// The server wants the password.
    Password,
}

impl Session {
    /// The server's first words.
    pub(super) fn greeted(&mut self, reply: Reply, tx: &mut SendQueue) {
        if !reply.is_positive() {
            return self.finish(End::Refused(reply));
        }
        self.state = State::Hello { extended: true };
        self.greet("EHLO", tx);
    }

    /// The reply to EHLO or HELO. A server that does not know EHLO is asked with HELO (RFC 5321 §3.2).
    pub(super) fn welcomed(&mut self, now: Now, extended: bool, reply: Reply, tx: &mut SendQueue) {
        if extended && reply.is_permanent() {
            self.peer = Peer::default();
            self.state = State::Hello { extended: false };
            return self.greet("HELO", tx);
        }
        if !reply.is_positive() {
            return self.finish(End::Refused(reply));
        }
        if self.is_encrypted() || self.setup.tls == Tls::Never {
            return self.log_in(now, tx);
        }
        match self.peer.starttls {
            true => {
                self.state = State::StartTls;
                self.say("STARTTLS", tx);
            }
            false if self.setup.tls == Tls::Must => self.finish(End::NoTls),
            false => self.log_in(now, tx),
        }
    }

    pub(super) fn starttls_answered(&mut self, now: Now, reply: Reply, tx: &mut SendQueue) {
        if reply.code == 220 {
            self.wait(now, self.setup.patience.command);
            return self.start_tls();
        }
        match self.setup.tls {
            Tls::Must => self.finish(End::NoTls),
            Tls::May | Tls::Never => self.log_in(now, tx),
        }
    }

    /// RFC 3207 §4.2: what was learnt before counts no more.
    pub(super) fn handle_tls_started(&mut self, now: Now, info: TlsInfo, tx: &mut SendQueue) {
        if self.setup.implicit_tls && matches!(self.state, State::Greeting) {
            // It was there before the first octet.
            return self.tls = Some(info);
        }
        if !matches!(self.state, State::Handshake) {
            return;
        }
        self.tls = Some(info);
        self.peer = Peer::default();
        self.wait(now, self.setup.patience.command);
        self.state = State::Hello { extended: true };
        self.greet("EHLO", tx);
    }

    fn log_in(&mut self, now: Now, tx: &mut SendQueue) {
        let Some(credentials) = &self.setup.credentials else { return self.next(now, tx) };
        if !self.is_encrypted() {
            return self.finish(End::NoAuth);
        }
        if self.peer.auth_plain {
            let message = [&b""[..], &credentials.login, &credentials.password].join(&0);
            let encoded = base64::encode(&message);
            self.state = State::Login(Login::Last);
            tx.write_with(|out| {
                out.extend_from_slice(b"AUTH PLAIN ");
                out.extend_from_slice(encoded.as_bytes());
                out.extend_from_slice(b"\r\n");
            });
        } else if self.peer.auth_login {
            self.state = State::Login(Login::Name);
            self.say("AUTH LOGIN", tx);
        } else {
            self.finish(End::NoAuth);
        }
    }

    pub(super) fn login_answered(&mut self, now: Now, login: Login, reply: Reply, tx: &mut SendQueue) {
        let Some(credentials) = &self.setup.credentials else { return self.finish(End::NoAuth) };
        let (answer, next) = match (login, reply.code) {
            (Login::Last, _) if reply.is_positive() => return self.next(now, tx),
            (Login::Name, 334) => (base64::encode(&credentials.login), Login::Password),
            (Login::Password, 334) => (base64::encode(&credentials.password), Login::Last),
            (Login::Last | Login::Name | Login::Password, _) => return self.finish(End::Refused(reply)),
        };
        self.state = State::Login(next);
        self.say(&answer, tx);
    }
}
