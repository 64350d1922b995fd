//! EHLO, HELO and STARTTLS: who speaks, and how safely (RFC 5321 §4.1.1.1, RFC 3207).

use alloc::boxed::Box;

use super::mail::Mail;
use super::session::{Session, State};
use crate::machine::{Action, Now, TlsInfo};
use crate::send_queue::SendQueue;
use crate::smtp::reply::{Offer, Reply, write_ehlo, write_helo};

/// What the client said about itself.
#[derive(Debug)]
pub(super) struct Client {
    /// The name, unverified.
    pub(super) name: Box<str>,
    /// EHLO, not HELO.
    pub(super) extended: bool,
}

impl Session {
    /// Also the end of a mail that was begun (RFC 5321 §4.1.4).
    pub(super) fn handle_hello(&mut self, name: &str, extended: bool, tx: &mut SendQueue) {
        if !self.has_patience(tx) {
            return;
        }
        self.forget_mail();
        self.client = Some(Client { name: name.into(), extended });
        let (setup, offer) = (&self.setup, self.offer());
        tx.write_with(|out| match extended {
            true => write_ehlo(out, &setup.hostname, name, setup.peer, &offer),
            false => write_helo(out, &setup.hostname),
        });
    }

    fn offer(&self) -> Offer {
        let limits = &self.setup.limits;
        Offer {
            size: limits.message_bytes_max,
            dsn: true,
            starttls: self.setup.starttls && self.tls.is_none(),
            auth: self.offered(),
            mails_max: limits.smtp_transactions_max,
            recipients_max: limits.smtp_recipients_max,
        }
    }

    /// Whether a password may be said on this connection.
    pub(super) fn may_carry_password(&self) -> bool {
        self.tls.is_some() || self.setup.plaintext_login
    }

    /// RFC 3207 §4. Whoever sends more behind STARTTLS wants it to be taken for something said inside TLS.
    pub(super) fn handle_starttls(&mut self, more_behind: bool, tx: &mut SendQueue) {
        if self.tls.is_some() {
            self.refuse(Reply::TlsAlready, tx);
        } else if !self.setup.starttls {
            self.refuse(Reply::TlsNotOffered, tx);
        } else if more_behind {
            self.refuse(Reply::TlsInjected, tx);
        } else {
            self.forget_mail();
            self.say(Reply::ReadyForTls, tx);
            self.state = State::StartTls;
            self.act(Action::StartTls);
        }
    }

    /// RFC 3207 §4.2: everything learnt before is forgotten. What the client has used up of our patience is
    /// not.
    pub(super) fn handle_tls_started(&mut self, now: Now, info: TlsInfo) {
        if !matches!(self.state, State::StartTls) {
            return;
        }
        self.tls = Some(info);
        self.client = None;
        self.account = None;
        self.mail = Mail::None;
        self.lines.reset();
        self.state = State::Command;
        self.touch(now);
    }
}
