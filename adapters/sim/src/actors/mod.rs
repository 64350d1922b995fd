//! Who acts: clients over the network, and programs in the Maildir.
//!
//! An actor is called when something happens to it, and says what it wants by [`Wish`]es. It tells the ledger what
//! it asks for before it asks, and what was promised to it when it hears.

pub mod dovecot;
pub mod exchanger;
pub mod hostile;
pub mod imap;
pub mod judge;
pub mod programs;
pub mod smtp;

use postier_core::server::Service;

use crate::env::Env;
use crate::network::Packet;
use crate::rng::Rng;
use crate::scenario::{ACCOUNTS, Plan, Role};

/// What an actor wants done.
#[derive(Debug)]
pub enum Wish {
    /// Connect to this service; [`Actor::closed`] is called if nobody listens.
    Connect(Service),
    /// Send.
    Send(Packet),
    /// Be gone without a word.
    Leave,
    /// Be woken after so many microseconds; a later wish replaces this one.
    Wake(u64),
}

/// What an actor works with.
#[derive(Debug)]
pub struct Cx<'w> {
    /// The world.
    pub env: &'w mut Env,
    /// Its own chances.
    pub rng: &'w mut Rng,
    /// What it wants.
    pub wishes: &'w mut Vec<Wish>,
}

impl Cx<'_> {
    /// Sends octets.
    pub fn send(&mut self, octets: &[u8]) {
        self.wishes.push(Wish::Send(Packet::Octets(octets.to_vec())));
    }

    /// A line in the trace.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        self.env.trace.event(self.env.now, 0, b"program", line);
    }

    /// Is woken after so many milliseconds.
    pub fn wake_ms(&mut self, millis: u64) {
        self.wishes.push(Wish::Wake(millis * 1000));
    }
}

/// One actor.
#[derive(Debug)]
pub enum Actor {
    /// Sends mail.
    Smtp(smtp::SmtpClient),
    /// Reads and changes mailboxes.
    Imap(Box<imap::ImapClient>),
    /// Does what no client does.
    Hostile(hostile::Hostile),
    /// Delivers by itself.
    Procmail(programs::Procmail),
    /// Flags and removes files.
    Mutt(programs::Mutt),
    /// Gives UIDs.
    Dovecot(dovecot::Dovecot),
    /// Another mail server, on one connection.
    Exchanger(Box<exchanger::Exchanger>),
    /// Looks at everything in the end.
    Judge(Box<judge::Judge>),
}

macro_rules! each {
    ($actor:expr, $name:ident => $call:expr) => {
        match $actor {
            Actor::Smtp($name) => $call,
            Actor::Imap($name) => $call,
            Actor::Hostile($name) => $call,
            Actor::Procmail($name) => $call,
            Actor::Mutt($name) => $call,
            Actor::Dovecot($name) => $call,
            Actor::Exchanger($name) => $call,
            Actor::Judge($name) => $call,
        }
    };
}

/// What an actor does when something happens to it.
pub trait Acts {
    /// It is time.
    fn wake(&mut self, cx: &mut Cx<'_>);
    /// Octets have come.
    fn hear(&mut self, _: &[u8], _: &mut Cx<'_>) {}
    /// The TLS handshake is done.
    fn tls_done(&mut self, _: &mut Cx<'_>) {}
    /// The connection is gone, or there was none.
    fn closed(&mut self, _: &mut Cx<'_>) {}
    /// The machine lost its power: a program in the Maildir is gone.
    fn power_cut(&mut self, _: &mut Cx<'_>) {}
    /// It has done everything it had planned.
    fn is_done(&self) -> bool;
}

impl Actor {
    /// The actor of a plan.
    pub fn new(index: usize, plan: &Plan) -> Actor {
        let steps = plan.steps.iter().copied().collect();
        match plan.role {
            Role::Smtp(manner) => Actor::Smtp(smtp::SmtpClient::new(None, 0, manner, steps)),
            Role::Submission(account, manner) => {
                Actor::Smtp(smtp::SmtpClient::new(Some(account), 0, manner, steps))
            }
            Role::Writer { inside, domains, manner } => {
                let login = inside.then_some(ACCOUNTS.len());
                Actor::Smtp(smtp::SmtpClient::new(login, domains, manner, steps))
            }
            Role::Imap(account, manner, habit) => {
                Actor::Imap(Box::new(imap::ImapClient::new(index, account, (manner, habit), steps)))
            }
            Role::Hostile(manner) => Actor::Hostile(hostile::Hostile::new(manner, steps)),
            Role::Procmail(account) => Actor::Procmail(programs::Procmail::new(index, account, steps)),
            Role::Mutt(account) => Actor::Mutt(programs::Mutt::new(account, steps)),
            Role::Dovecot(account) => Actor::Dovecot(dovecot::Dovecot::new(index, account, steps)),
        }
    }
}

impl Acts for Actor {
    fn wake(&mut self, cx: &mut Cx<'_>) {
        each!(self, actor => actor.wake(cx));
    }

    fn hear(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        each!(self, actor => actor.hear(octets, cx));
    }

    fn tls_done(&mut self, cx: &mut Cx<'_>) {
        each!(self, actor => actor.tls_done(cx));
    }

    fn closed(&mut self, cx: &mut Cx<'_>) {
        each!(self, actor => actor.closed(cx));
    }

    fn power_cut(&mut self, cx: &mut Cx<'_>) {
        each!(self, actor => actor.power_cut(cx));
    }

    fn is_done(&self) -> bool {
        each!(self, actor => actor.is_done())
    }
}
