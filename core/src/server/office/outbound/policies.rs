//! The policies of domains (MTA-STS, RFC 8461): looked up before the first host of a connection is called, fetched by an
//! adapter, kept on disk.
//!
//! ```text
//! link ─TXT─▶ resolver ─id─▶ book ─known─▶ link
//!                             │ another id, or a day is over
//!                             ▼
//!                  addresses of mta-sts.DOMAIN ─▶ adapter (HTTPS) ─▶ book ─▶ disk; all links that wait
//! ```
//! A domain's policy is fetched once at the same time, whoever waits, and a bounded number in all. What cannot be fetched
//! leaves what is kept as it is: no policy is fetched is no reason to keep mail back (RFC 8461 §3.3).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::{Asker, Done, Outbound, Todo};
use crate::dns;
use crate::dns::mta_sts::book::{Book, Standing};
use crate::dns::mta_sts::https::{self, Fetch, FetchId};
use crate::dns::mta_sts::{self, Kept, Policy, files};
use crate::dns::name::DomainName;
use crate::dns::route::{Options, Route, RouteStep};
use crate::event::Event;
use crate::maildir::context::{Root, StoreError};
use crate::queue::machine::LinkId;
use crate::server::office::{Desk, OfficeAction};

/// Policies that are fetched at the same time.
const FETCHES_MAX: usize = 32;
/// Addresses of a policy's host that are tried.
const ADDRESSES_MAX: usize = 8;
/// For a connection to one of them,
const CONNECT: Duration = Duration::from_secs(10);
/// and for the whole request (RFC 8461 §3.3 suggests a minute).
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module's manual.
#[derive(Debug)]
pub(super) struct Policies {
    root: Root,
    book: Book,
    last_fetch: u64,
    fetching: BTreeMap<FetchId, Fetching>,
    /// Those that have not begun, for too many are under way.
    later: VecDeque<FetchId>,
    /// What the disk does not have yet; one is written at a time.
    unsaved: BTreeSet<DomainName>,
    saving: bool,
}

#[derive(Debug)]
struct Fetching {
    domain: DomainName,
    /// The record's.
    id: String,
    route: Route,
    addresses: Vec<IpAddr>,
    waiting: Vec<LinkId>,
}

/// What a connection knows of its domain's policy.
#[derive(Debug)]
pub(super) enum Known {
    /// Nothing yet.
    Unasked,
    /// The record is being looked up.
    Asked,
    /// Its id.
    Record(Option<String>),
    /// The policy is being fetched.
    Waiting,
    /// This counts.
    Policy(Option<Arc<Policy>>),
}

impl Known {
    /// The policy, if it is to be obeyed or tested.
    pub(super) fn policy(&self) -> Option<&Policy> {
        match self {
            Known::Policy(policy) => policy.as_deref(),
            Known::Unasked | Known::Asked | Known::Record(_) | Known::Waiting => None,
        }
    }
}

impl Policies {
    /// With what an earlier process has kept; what is over by now goes.
    pub(super) fn new(root: Root, kept: Vec<(DomainName, Kept)>, now: i64) -> Self {
        let (mut book, mut unsaved) = (Book::default(), BTreeSet::new());
        for (domain, kept) in kept {
            if kept.is_good(now) {
                unsaved.extend(book.keep(domain, kept));
            } else {
                unsaved.insert(domain);
            }
        }
        Policies {
            root,
            book,
            last_fetch: 0,
            fetching: BTreeMap::new(),
            later: VecDeque::new(),
            unsaved,
            saving: false,
        }
    }
}

impl Outbound {
    /// What counts for the domain whose record has this id, for this connection: at once, or when it is fetched.
    pub(super) fn look_for_policy(
        &mut self,
        link: LinkId,
        domain: &DomainName,
        record: Option<&str>,
        desk: &mut Desk<'_>,
    ) -> Known {
        match self.policies.book.look(desk.now.wall.secs, domain, record) {
            Standing::Known { policy, refresh } => {
                if let Some(id) = refresh.filter(|_| self.policies.fetching.len() < FETCHES_MAX) {
                    self.fetch(domain, id, None);
                }
                Known::Policy(policy)
            }
            Standing::Fetch(id) => {
                self.fetch(domain, id, Some(link));
                Known::Waiting
            }
        }
    }

    fn fetch(&mut self, domain: &DomainName, id: String, link: Option<LinkId>) {
        let policies = &mut self.policies;
        let under_way = policies.fetching.values_mut().find(|fetching| fetching.domain == *domain);
        if let Some(fetching) = under_way {
            return fetching.waiting.extend(link);
        }
        let options = Options { ipv4_only: self.sending.ipv4_only, own_names: Vec::new() };
        // A name that is too long has no record either.
        let host = mta_sts::policy_host(domain).unwrap_or(DomainName::root());
        let begun = policies.fetching.len() - policies.later.len();
        policies.last_fetch += 1;
        let fetch = FetchId(policies.last_fetch);
        let fetching = Fetching {
            domain: domain.clone(),
            id,
            route: Route::to_host(host, options),
            addresses: Vec::new(),
            waiting: link.into_iter().collect(),
        };
        policies.fetching.insert(fetch, fetching);
        if begun < FETCHES_MAX {
            self.todo.push_back(Todo::Fetch(fetch));
        } else {
            policies.later.push_back(fetch);
        }
    }

    /// Looks the addresses up, then wants the policy.
    pub(super) fn fetch_step(&mut self, id: FetchId, desk: &mut Desk<'_>) {
        let Some(fetching) = self.policies.fetching.get_mut(&id) else { return };
        loop {
            match fetching.route.poll() {
                RouteStep::Ask(question) => return self.look_up(Asker::Fetch(id), question, desk),
                RouteStep::Hop(hop) if fetching.addresses.len() < ADDRESSES_MAX => {
                    fetching.addresses.push(hop.address);
                }
                RouteStep::Hop(_) => {}
                RouteStep::Exhausted => break,
                RouteStep::None(_) => {
                    let why = format!("the addresses of mta-sts.{} could not be looked up", fetching.domain);
                    return self.fetched(id, Err(why), desk);
                }
            }
        }
        desk.out.push(OfficeAction::FetchPolicy(Fetch {
            id,
            host: format!("mta-sts.{}", fetching.domain).into(),
            addresses: core::mem::take(&mut fetching.addresses),
            connect: CONNECT,
            patience: PATIENCE,
        }));
    }

    pub(super) fn fetch_answer(&mut self, id: FetchId, outcome: dns::Outcome) {
        if let Some(fetching) = self.policies.fetching.get_mut(&id) {
            fetching.route.answer(outcome);
            self.todo.push_back(Todo::Fetch(id));
        }
    }

    /// A policy has come, or none.
    pub(super) fn fetched(&mut self, id: FetchId, outcome: https::Outcome, desk: &mut Desk<'_>) {
        let policies = &mut self.policies;
        let Some(fetching) = policies.fetching.remove(&id) else { return };
        let (domain, now) = (fetching.domain, desk.now.wall.secs);
        let read = |octets: Vec<u8>| Policy::parse(&octets).ok_or_else(|| "it is no policy".to_string());
        let policy = match outcome.and_then(read) {
            Ok(policy) => {
                let (name, mode) = (domain.to_string(), policy.mode.name());
                desk.event(None, Event::PolicyKept { domain: name, mode, max_age: policy.max_age });
                let policy = Arc::new(policy);
                let kept = Kept { id: fetching.id, fetched: now, policy: policy.clone() };
                policies.unsaved.extend(policies.book.keep(domain.clone(), kept));
                policies.unsaved.insert(domain);
                Some(policy)
            }
            Err(why) => {
                let policy = policies.book.good(now, &domain);
                let (domain_name, kept) = (domain.to_string(), policy.is_some());
                desk.event(None, Event::PolicyNotFetched { domain: domain_name, why, kept });
                policies.book.fail(now, domain);
                policy
            }
        };
        if let Some(next) = policies.later.pop_front() {
            self.todo.push_back(Todo::Fetch(next));
        }
        for link in fetching.waiting {
            self.policy_known(link, policy.clone());
        }
    }

    /// Writes what is not on the disk yet.
    pub(super) fn save_policies(&mut self) {
        let policies = &mut self.policies;
        if policies.saving {
            return;
        }
        let Some(domain) = policies.unsaved.pop_first() else { return };
        policies.saving = true;
        let (root, kept) = (policies.root.clone(), policies.book.kept(&domain).cloned());
        self.task(|disk, _| async move { Done::PolicySaved(files::save(disk, root, domain, kept).await) });
    }

    /// If it could not be written it lives as long as the process.
    pub(super) fn policy_saved(&mut self, result: Result<(), StoreError>, desk: &mut Desk<'_>) {
        self.policies.saving = false;
        if let Err(error) = result {
            let place = String::from_utf8_lossy(&self.policies.root.path).into_owned();
            super::trouble(&place, &error, desk);
        }
    }
}
