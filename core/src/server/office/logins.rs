//! Logins: when an attempt is looked at, what its proof comes to, and what follows.
//!
//! An attempt that has to wait ([`Throttle`](super::super::throttle::Throttle)) is held here; the session waits for
//! its answer meanwhile. A proof of SCRAM is as good as checked, but what it came to is told no sooner than a password's
//! would be.

use alloc::sync::Arc;

use super::{Desk, JobId, Office, OfficeAction};
use crate::auth::{AuthVerdict, Proof};
use crate::event::Event;
use crate::limits::LoginLimits;
use crate::machine::Instant;
use crate::server::throttle::Who;
use crate::server::{Caller, FromOffice};
use crate::site::Account;
use crate::ticket::Ticket;

/// An attempt to log in.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) caller: Caller,
    pub(super) ticket: Ticket<AuthVerdict>,
    pub(super) account: Option<Arc<Account>>,
    pub(super) who: Who,
    pub(super) limits: LoginLimits,
}

impl Office {
    pub(super) fn start_login(&mut self, login: Login, proof: Proof, desk: &mut Desk<'_>) {
        match self.throttle.admit(desk.now.instant, &login.who, &login.limits) {
            None => {
                let why = "too many failed logins from there or to this account; it may try again later";
                desk.event(Some(login.caller.conn), Event::LoginHeld { why });
                answer(login.caller, login.ticket, AuthVerdict::Temporary, desk);
            }
            Some(turn) if turn > desk.now.instant => {
                let place = (turn, self.job());
                self.held_by.insert(login.caller, place);
                self.held.insert(place, (login, proof));
            }
            Some(_) => self.check_login(login, proof, desk),
        }
    }

    /// When the next attempt that waits is to be looked at.
    pub(super) fn next_login(&self) -> Option<Instant> {
        self.held.first_key_value().map(|((turn, _), _)| *turn)
    }

    pub(super) fn resume_logins(&mut self, desk: &mut Desk<'_>) {
        while let Some(entry) = self.held.first_entry()
            && entry.key().0 <= desk.now.instant
        {
            let (login, proof) = entry.remove();
            self.held_by.remove(&login.caller);
            self.check_login(login, proof, desk);
        }
    }

    /// Whoever waited is gone.
    pub(super) fn forget_login(&mut self, caller: Caller) {
        if let Some(place) = self.held_by.remove(&caller)
            && let Some((login, _)) = self.held.remove(&place)
        {
            self.throttle.abandoned(&login.who);
        }
    }

    fn check_login(&mut self, login: Login, proof: Proof, desk: &mut Desk<'_>) {
        match proof {
            Proof::Password(password) => {
                let (job, name, account) = (self.job(), login.who.name(), login.account.clone());
                self.logins.insert(job, login);
                desk.out.push(OfficeAction::CheckPassword { job, name, account, password });
            }
            Proof::Scram(proven) => {
                // The password may have been changed between the two messages.
                let verifier = login.account.as_ref().and_then(|account| account.scram.as_ref());
                let right = proven.is_some() && proven.as_ref() == verifier;
                self.decide_login(login, right, desk);
            }
        }
    }

    pub(super) fn handle_password(&mut self, job: JobId, right: bool, desk: &mut Desk<'_>) {
        if let Some(login) = self.logins.remove(&job) {
            self.decide_login(login, right, desk);
        }
    }

    fn decide_login(&mut self, login: Login, right: bool, desk: &mut Desk<'_>) {
        let Login { caller, ticket, account, who, limits } = login;
        let Some(account) = account.filter(|_| right) else {
            self.throttle.failed(desk.now.instant, &who, &limits);
            return answer(caller, ticket, AuthVerdict::Denied, desk);
        };
        self.throttle.succeeded(desk.now.instant, &who, &limits);
        if !self.prepared.contains(&account.maildir) {
            return self.prepare_account(caller, ticket, account, desk);
        }
        answer(caller, ticket, AuthVerdict::Granted(account), desk);
    }
}

fn answer(caller: Caller, ticket: Ticket<AuthVerdict>, verdict: AuthVerdict, desk: &mut Desk<'_>) {
    let answer = ticket.answer(verdict);
    desk.answer(caller, FromOffice::Authenticated { conn: caller.conn, answer });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Password;
    use crate::machine::Now;
    use crate::maildir::memdisk::context;
    use crate::server::office::OfficeInput;
    use crate::server::{ConnId, FrontIndex, ToOffice};
    use crate::site::{ScramVerifier, Secret};
    use crate::ticket::TicketSource;
    use alloc::vec::Vec;
    use core::time::Duration;

    struct Bench {
        office: Office,
        now: Now,
        tickets: TicketSource,
        account: Arc<Account>,
    }

    fn verifier() -> ScramVerifier {
        ScramVerifier { iterations: 4096, salt: b"salt".to_vec(), stored_key: [1; 32], server_key: [2; 32] }
    }

    impl Bench {
        fn new() -> Self {
            let mut account = Account::new(b"ann", b"x", b"/m".to_vec(), Secret::new(*b"{PLAIN}x")).unwrap();
            account.scram = Some(verifier());
            let mut office = Office::new(Arc::new(context()));
            office.prepared.insert(b"/m".to_vec());
            let tickets = TicketSource::default();
            Bench { office, now: Now::default(), tickets, account: Arc::new(account) }
        }

        fn hand_in(&mut self, input: OfficeInput) -> Vec<OfficeAction> {
            let mut out = Vec::new();
            self.office.handle(self.now, input, &mut out);
            out
        }

        /// An attempt by connection `conn`, from the address of that number.
        fn attempt(&mut self, conn: u64, known: bool, proof: Proof) -> Vec<OfficeAction> {
            let name: &[u8] = if known { b"ann@x" } else { b"nobody@x" };
            let message = ToOffice::Authenticate {
                caller: Caller { front: FrontIndex(0), conn: ConnId(conn) },
                ticket: self.tickets.issue(),
                account: known.then(|| self.account.clone()),
                who: Who::new([192, 0, 2, (conn % 100) as u8].into(), name),
                limits: LoginLimits::default(),
                proof,
            };
            self.hand_in(OfficeInput::Front(message))
        }

        /// Lets the time pass to the office's next instant; the seconds it took.
        fn wait(&mut self) -> (u64, Vec<OfficeAction>) {
            let then = self.office.poll_timeout().unwrap();
            let seconds = then.since(self.now.instant).as_secs();
            self.now.instant = then;
            (seconds, self.hand_in(OfficeInput::Timeout))
        }
    }

    fn verdict(actions: &[OfficeAction]) -> Option<&'static str> {
        actions.iter().find_map(|action| match action {
            OfficeAction::Answer(_, FromOffice::Authenticated { answer, .. }) => {
                Some(match answer.verdict() {
                    AuthVerdict::Granted(_) => "granted",
                    AuthVerdict::Denied => "denied",
                    AuthVerdict::Temporary => "temporary",
                })
            }
            _ => None,
        })
    }

    fn password() -> Proof {
        Proof::Password(Password(b"guess".to_vec()))
    }

    /// Passwords and proofs, of accounts and of nobody: all are slowed down alike.
    #[test]
    fn every_way_to_fail_is_slowed_down_alike() {
        for (known, scram) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut bench = Bench::new();
            let mut pauses = Vec::new();
            for _ in 0..7 {
                let proof = if scram { Proof::Scram(None) } else { password() };
                let mut actions = bench.attempt(1, known, proof);
                let mut pause = 0;
                if actions.is_empty() {
                    (pause, actions) = bench.wait();
                }
                if let [OfficeAction::CheckPassword { job, .. }] = &actions[..] {
                    actions = bench.hand_in(OfficeInput::PasswordChecked { job: *job, right: false });
                }
                assert_eq!(verdict(&actions), Some("denied"));
                pauses.push(pause);
            }
            assert_eq!(pauses, [0, 0, 0, 1, 2, 2, 4], "{known} {scram}");
            assert_eq!(bench.office.poll_timeout(), None);
        }
    }

    #[test]
    fn a_proof_is_of_the_verifier_the_account_has_now() {
        let mut bench = Bench::new();
        assert_eq!(verdict(&bench.attempt(1, true, Proof::Scram(Some(verifier())))), Some("granted"));
        let old = ScramVerifier { stored_key: [9; 32], ..verifier() };
        assert_eq!(verdict(&bench.attempt(2, true, Proof::Scram(Some(old)))), Some("denied"));
        assert_eq!(verdict(&bench.attempt(3, false, Proof::Scram(Some(verifier())))), Some("denied"));
    }

    #[test]
    fn whoever_hangs_up_while_waiting_is_forgotten_and_whoever_waits_too_long_is_told() {
        let mut bench = Bench::new();
        for _ in 0..8 {
            bench.attempt(1, true, Proof::Scram(None));
            bench.now.instant = bench.now.instant.plus(Duration::from_secs(20));
            bench.hand_in(OfficeInput::Timeout);
        }
        // All from the same address.
        let mut conns = (101..).step_by(100);
        let mut told = Vec::new();
        while told.is_empty() {
            told = bench.attempt(conns.next().unwrap(), true, password());
        }
        assert_eq!(bench.office.held.len(), 2);
        assert!(matches!(&told[0], OfficeAction::Event(_, Event::LoginHeld { .. })));
        assert_eq!(verdict(&told), Some("temporary"));

        let mut bench = Bench::new();
        for conn in [1, 1, 1, 101] {
            bench.attempt(conn, true, Proof::Scram(None));
        }
        assert!(bench.attempt(201, true, password()).is_empty());
        assert_eq!(bench.office.held.len(), 2);
        let caller = Caller { front: FrontIndex(0), conn: ConnId(201) };
        bench.hand_in(OfficeInput::Front(ToOffice::Gone { caller }));
        assert_eq!((bench.office.held.len(), bench.office.held_by.len()), (1, 1));
    }
}
