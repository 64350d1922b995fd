//! Mail for elsewhere in a world: who answers the server's calls, and what has to have become of everything in the end.

use super::{SECOND, Slot, World};
use crate::actors::exchanger::Exchanger;
use crate::actors::{Actor, Cx};
use crate::env::Event;
use crate::internet::{Character, Host, Internet, host_at};
use crate::ledger::Circumstances;
use crate::network::{LinkId, Packet};
use crate::process::QUEUE;
use crate::rng::Rng;
use crate::scenario::{DOMAIN, Fault, LIFETIME_SECS, WRITER};

/// The queue has decided everything by then: a mail's life, its last pause, its notice's life and last pause.
const DRAIN_MAX: u64 = 36 * 3600 * SECOND;

impl World {
    /// The connections that the server wants.
    pub(super) fn connect_calls(&mut self) {
        for (link, address) in std::mem::take(&mut self.env.calls) {
            let host = host_at(address);
            let domain = |internet: &Internet, number: usize| internet.domains.get(number).copied();
            if let Host::Exchanger(number) = host
                && let Some(domain) = self.env.internet.as_ref().and_then(|internet| domain(internet, number))
            {
                self.answer_call(link, number, domain.character);
                continue;
            }
            if let Some(link) = self.env.links.get_mut(&link) {
                link.left = true;
            }
            match host {
                Host::Silent => {}
                Host::Refuses => self.env.send_up(link, Packet::Reset),
                Host::Exchanger(_) | Host::Thief => {
                    self.env.ledger.violation(format!("mail goes to {address}, as a forged reply says"));
                }
            }
        }
    }

    fn answer_call(&mut self, link: LinkId, number: usize, character: Character) {
        let index = self.slots.len();
        let mut rng = Rng::fork(self.scenario.seed, 1000 + index as u64);
        let piece = *rng.pick(&[0, 0, 0, 100, 7]);
        let mut wishes = Vec::new();
        let mut cx = Cx { env: &mut self.env, rng: &mut rng, wishes: &mut wishes };
        let actor = Some(Actor::Exchanger(Box::new(Exchanger::new(number, character, &mut cx))));
        self.slots.push(Slot { actor, rng, piece, link: Some(link), wakes: 0 });
        if let Some(known) = self.env.links.get_mut(&link) {
            known.actor = index;
        }
        let wait = 1 + self.env.rng.below(self.env.setting.latency_micros);
        self.env.after(wait, Event::Called(link));
    }

    /// The queue has all the time it may take; then every recipient of mail for elsewhere is decided.
    pub(super) fn drain(&mut self) {
        if self.env.internet.is_none() || !self.env.ledger.violations.is_empty() {
            return;
        }
        let steps = self.scenario.faults.iter().map(|item| match item.fault {
            Fault::ClockStep { by_s, .. } => by_s.unsigned_abs(),
            _ => 0,
        });
        let (clock_steps, until) = (steps.clone().any(|by| by > 0), self.env.now + DRAIN_MAX);
        let until = until + steps.sum::<u64>() * SECOND;
        let mail = format!("{QUEUE}/mail");
        while !self.env.disk.names(&mail).is_empty() && self.env.now < until {
            self.go(600 * SECOND, |_| true);
            if !self.env.ledger.violations.is_empty() {
                return;
            }
        }
        let left: Vec<String> = self.env.disk.names(&mail);
        if !left.is_empty() {
            self.env.ledger.violation(format!("in the queue beyond its time: {left:?}"));
        }
        self.read_notices();
        let errors = self.scenario.faults.iter().any(|item| matches!(item.fault, Fault::Errors { .. }));
        let lifetime = i64::try_from(LIFETIME_SECS).unwrap_or(i64::MAX);
        if let Some(internet) = &self.env.internet {
            let circumstances = Circumstances { clock_steps, errors, lifetime };
            let wrong = self.env.ledger.post.judge(internet, circumstances);
            self.env.ledger.violations.extend(wrong);
        }
    }

    /// What the writer was told.
    fn read_notices(&mut self) {
        let dir = format!("mail/{WRITER}");
        for part in ["new", "cur"] {
            for name in self.env.disk.names(&format!("{dir}/{part}")) {
                let text = self.env.disk.contents(&format!("{dir}/{part}/{name}")).unwrap_or_default();
                if let Err(wrong) = self.env.ledger.post.notice(text, &format!("{WRITER}@{DOMAIN}")) {
                    self.env.ledger.violation(wrong);
                }
            }
        }
    }
}
