//! What a server must show before it gets mail: what somebody has told us, what signed DNS says of it (DANE), what the domain
//! says by HTTPS (MTA-STS), in this order. Where a domain only tests its policy, all is done as without, and what it would
//! have kept back is told (RFC 8461 §5.1).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use super::super::policies::Known;
use super::super::{Asker, Outbound, Todo};
use super::Link;
use crate::dns::dane::Finding;
use crate::dns::mta_sts::{self, Mode, Policy};
use crate::dns::route::Hop;
use crate::event::Event;
use crate::queue::machine::{LinkId, Unreachable};
use crate::server::Trust;
use crate::server::office::Desk;
use crate::site::TlsPolicy;

impl Link {
    /// The domain's policy, where it counts: DANE goes before it (RFC 8461 §2).
    pub(super) fn domain_policy(&self, wanted: Mode) -> Option<&Policy> {
        let binding = matches!(self.finding, Finding::Binding(_));
        self.known.policy().filter(|policy| policy.mode == wanted && !binding)
    }

    pub(super) fn policy(&self) -> TlsPolicy {
        if self.domain_policy(Mode::Enforce).is_some() {
            return TlsPolicy::Verify;
        }
        match self.finding {
            Finding::Unusable | Finding::Binding(_) => TlsPolicy::Encrypt,
            Finding::Nothing | Finding::Failed(_) => self.relay.tls,
        }
    }

    pub(super) fn trust(&self) -> Trust {
        match (&self.finding, self.policy()) {
            (Finding::Binding(dane), _) => Trust::Dane(dane.clone()),
            (_, TlsPolicy::Verify | TlsPolicy::Implicit) => Trust::Roots,
            _ if self.domain_policy(Mode::Testing).is_some() => Trust::Watched,
            (_, TlsPolicy::Never | TlsPolicy::May | TlsPolicy::Encrypt) => Trust::Anybody,
        }
    }

    /// Why the host is none of the domain's, by the domain's own word (RFC 8461 §4.1, §5).
    pub(super) fn off_policy(&mut self, hop: &Hop, desk: &mut Desk<'_>) -> Option<Unreachable> {
        let host = hop.host.as_str();
        if self.domain_policy(Mode::Testing).is_some_and(|policy| !policy.covers(host)) {
            self.fails_test("the policy does not name the host", desk);
        }
        let destination = &self.destination;
        self.domain_policy(Mode::Enforce).filter(|policy| !policy.covers(host))?;
        let why = format!(
            "451 4.7.5 DNS says that {host} takes mail for {destination}, and the policy of {destination} (MTA-STS) \
             does not name it"
        );
        Some(Unreachable { permanent: false, why, host: None })
    }

    /// The domain only tests its policy, or else the host would have no mail. The first reason is the one that is told.
    pub(super) fn fails_test(&mut self, why: &str, desk: &mut Desk<'_>) {
        if self.domain_policy(Mode::Testing).is_some() && self.failed_test.is_none() {
            self.failed_test = Some(why.into());
            let (domain, host) = (self.destination.to_string(), self.host.to_string());
            desk.event(None, Event::PolicyTested { domain, host, why: why.into() });
        }
    }

    /// How what goes to the host is protected, for the log.
    pub(super) fn protection(&self) -> String {
        let tested = self.failed_test.as_ref().map(|why| format!(" (MTA-STS testing: {why})"));
        self.protection_alone() + &tested.unwrap_or_default()
    }

    fn protection_alone(&self) -> String {
        match self.tls {
            None => "none".into(),
            Some(version) => match self.trust() {
                Trust::Anybody | Trust::Watched => version.into(),
                Trust::Roots if self.domain_policy(Mode::Enforce).is_some() => format!("{version} MTA-STS"),
                Trust::Roots => format!("{version} verified"),
                Trust::Dane(_) => format!("{version} DANE"),
            },
        }
    }
}

impl Outbound {
    /// What the domain says of its hosts is known, or does not matter; if not, it is on its way.
    pub(super) fn knows_policy(&mut self, id: LinkId, desk: &mut Desk<'_>) -> bool {
        let Some(link) = self.links.get_mut(&id) else { return true };
        let binding = matches!(link.finding, Finding::Binding(_));
        let Some(domain) = link.domain.clone().filter(|_| self.sending.mta_sts && !binding) else {
            return true;
        };
        let record = match &mut link.known {
            Known::Policy(_) => return true,
            Known::Asked | Known::Waiting => return false,
            Known::Record(record) => record.take(),
            Known::Unasked => {
                match mta_sts::question(&domain).filter(|_| mta_sts::policy_host(&domain).is_some()) {
                    Some(question) => {
                        link.known = Known::Asked;
                        self.look_up(Asker::Link(id), question, desk);
                        return false;
                    }
                    None => None,
                }
            }
        };
        let known = self.look_for_policy(id, &domain, record.as_deref(), desk);
        let decided = matches!(known, Known::Policy(_));
        if let Some(link) = self.links.get_mut(&id) {
            link.known = known;
        }
        decided
    }

    /// The policy that a connection waits for has come, or counts as there was none.
    pub(in super::super) fn policy_known(&mut self, id: LinkId, policy: Option<Arc<Policy>>) {
        if let Some(link) = self.links.get_mut(&id) {
            link.known = Known::Policy(policy);
            self.todo.push_back(Todo::Step(id));
        }
    }
}
