//! The hosts to which a domain's mail goes, in the order in which to try them (RFC 5321 §5.1).
//!
//! A [`Route`] asks for one lookup at a time and has the first address before it has looked up the last host: most
//! mails need no more than one.
//!
//! * Hosts of the same preference come in random order.
//! * Without an MX record the domain itself is the host; with one that says `.`, it takes no mail (RFC 7505).
//! * Where we are an exchanger ourselves, only hosts better than us count: all others would send it back to us.
//! * An MX that is an alias is followed, as everybody does, though RFC 2181 §10.3 forbids it.
//!
//! ```
//! use postier_core::dns::name::DomainName;
//! use postier_core::dns::route::*;
//! use postier_core::dns::*;
//! let name = |text| DomainName::parse(text).unwrap();
//! let mut route = Route::new(name("example.org"), Options::default(), 1);
//! let RouteStep::Ask(question) = route.poll() else { panic!() };
//! assert_eq!(question, Question { name: name("example.org"), kind: Kind::Mx });
//! let mx = Records::Mx(vec![Mx { preference: 10, exchange: name("mx.example.org") }]);
//! route.answer(Ok(Found { name: name("example.org"), records: mx, authentic: false }));
//! let RouteStep::Ask(question) = route.poll() else { panic!() };
//! assert_eq!(question.kind, Kind::Aaaa);
//! route.answer(Err(Failure::NoData { authentic: false }));
//! let RouteStep::Ask(_) = route.poll() else { panic!() };
//! let a = Records::A(vec!["192.0.2.1".parse().unwrap()]);
//! route.answer(Ok(Found { name: name("mx.example.org"), records: a, authentic: false }));
//! let RouteStep::Hop(hop) = route.poll() else { panic!() };
//! assert_eq!((hop.host.as_str(), hop.address), ("mx.example.org", "192.0.2.1".parse().unwrap()));
//! assert!(matches!(route.poll(), RouteStep::Exhausted));
//! ```

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::name::DomainName;
use super::{Failure, Found, Kind, Outcome, Question, Records};

/// Hosts of a domain that are looked at; more is no mail set-up but an attack.
const HOSTS_MAX: usize = 32;
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

/// What the configuration says about routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Do not send over IPv6.
    pub ipv4_only: bool,
    /// The names under which we are an exchanger ourselves.
    pub own_names: Vec<DomainName>,
}

/// A host, and one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The name in the MX record, which its certificate must show.
    pub host: DomainName,
    /// What the host is an alias of, if it is one (RFC 7672 §2.2.2: DANE asks for both).
    pub canonical: DomainName,
    /// Where to connect.
    pub address: IpAddr,
    /// The MX record (if there is one) is validated.
    pub named: bool,
    /// The address is, too, with the aliases that lead to it: DANE may be asked for (RFC 7672 §2.2.1).
    pub authentic: bool,
}

/// Why there is no way at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The domain does not exist, or has neither exchanger nor address. For good.
    NoSuchDomain,
    /// The domain says that it takes no mail (RFC 7505). For good.
    NullMx,
    /// The best exchanger is this server, which does not know the domain as its own. For good.
    LoopsBack,
    /// The exchangers' names do not exist or have no address we could use. For good.
    NoAddress,
    /// DNS could not tell. Later.
    Dns(Failure),
}

impl NoRoute {
    /// Later there may be a way.
    pub const fn is_temporary(self) -> bool {
        matches!(self, NoRoute::Dns(_))
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteStep {
    /// Look this up, and hand the outcome to [`Route::answer`].
    Ask(Question),
    /// Try this.
    Hop(Hop),
    /// All that there is has been given out.
    Exhausted,
    /// There is nothing to try.
    None(NoRoute),
}

/// The way of mail to one domain.
#[derive(Debug)]
pub struct Route {
    domain: DomainName,
    options: Options,
    seed: u64,
    state: State,
    /// The MX records, or that there are none, are validated.
    authentic: bool,
    /// Hosts not looked up yet.
    hosts: VecDeque<DomainName>,
    /// Addresses not given out yet.
    ready: VecDeque<Hop>,
    /// Something has been given out.
    given: bool,
    /// A host that could not be looked up, though it may exist.
    trouble: Option<Failure>,
    /// The domain has no MX record and is its own host.
    implicit: bool,
}

#[derive(Debug)]
enum State {
    Mx,
    /// Looking up a host.
    Host {
        host: DomainName,
        kind: Kind,
    },
    /// Between hosts.
    Next,
    Failed(NoRoute),
}

impl Route {
    /// To this domain. `seed` decides the order of hosts of the same preference.
    pub fn new(domain: DomainName, options: Options, seed: u64) -> Self {
        Route { state: State::Mx, ..Self::empty(domain, options, seed) }
    }

    /// To this host without asking for MX: a smarthost.
    pub fn to_host(host: DomainName, options: Options) -> Self {
        Route { hosts: VecDeque::from([host.clone()]), ..Self::empty(host, options, 0) }
    }

    /// To this address: `user@[192.0.2.1]` (RFC 5321 §4.1.3).
    pub fn to_address(address: IpAddr) -> Self {
        let host = DomainName::root();
        let (canonical, named, authentic) = (host.clone(), false, false);
        let hop = Hop { host: host.clone(), canonical, address, named, authentic };
        Route { ready: VecDeque::from([hop]), ..Self::empty(host, Options::default(), 0) }
    }

    fn empty(domain: DomainName, options: Options, seed: u64) -> Self {
        Route {
            domain,
            options,
            seed,
            state: State::Next,
            authentic: true,
            hosts: VecDeque::new(),
            ready: VecDeque::new(),
            given: false,
            trouble: None,
            implicit: false,
        }
    }

    /// What comes next; an `Ask` stays the same until it is answered.
    pub fn poll(&mut self) -> RouteStep {
        if let Some(hop) = self.ready.pop_front() {
            self.given = true;
            return RouteStep::Hop(hop);
        }
        match &self.state {
            State::Mx => RouteStep::Ask(Question { name: self.domain.clone(), kind: Kind::Mx }),
            State::Host { host, kind } => RouteStep::Ask(Question { name: host.clone(), kind: *kind }),
            State::Failed(why) => RouteStep::None(*why),
            State::Next => match self.hosts.pop_front() {
                Some(host) => {
                    let kind = if self.options.ipv4_only { Kind::A } else { Kind::Aaaa };
                    self.state = State::Host { host, kind };
                    self.poll()
                }
                None if self.given => RouteStep::Exhausted,
                None => RouteStep::None(self.nothing()),
            },
        }
    }

    /// The outcome of the lookup asked for last.
    pub fn answer(&mut self, outcome: Outcome) {
        match core::mem::replace(&mut self.state, State::Next) {
            State::Mx => self.answer_mx(outcome),
            State::Host { host, kind } => self.answer_host(host, kind, outcome),
            // Nothing was asked.
            state @ (State::Next | State::Failed(_)) => self.state = state,
        }
    }

    fn answer_mx(&mut self, outcome: Outcome) {
        let mut mx = match outcome {
            Ok(Found { records: Records::Mx(mx), authentic, .. }) => {
                self.authentic = authentic;
                mx
            }
            Ok(_) => Vec::new(),
            Err(Failure::NoData { authentic }) => {
                self.authentic = authentic;
                Vec::new()
            }
            Err(Failure::NoName { .. }) => return self.state = State::Failed(NoRoute::NoSuchDomain),
            Err(failure) => return self.state = State::Failed(NoRoute::Dns(failure)),
        };
        if mx.is_empty() {
            // RFC 5321 §5.1: an implicit MX of preference 0.
            self.implicit = true;
            self.hosts.push_back(self.domain.clone());
            return;
        }
        // RFC 7505 §3: one record that says "."; among others it is nonsense.
        mx.retain(|mx| !mx.exchange.is_root());
        if mx.is_empty() {
            return self.state = State::Failed(NoRoute::NullMx);
        }
        let ours =
            mx.iter().filter(|mx| self.options.own_names.contains(&mx.exchange)).map(|mx| mx.preference);
        if let Some(ours) = ours.min() {
            mx.retain(|mx| mx.preference < ours);
            if mx.is_empty() {
                return self.state = State::Failed(NoRoute::LoopsBack);
            }
        }
        shuffle(&mut mx, self.seed);
        mx.sort_by_key(|mx| mx.preference);
        mx.truncate(HOSTS_MAX);
        self.hosts.extend(mx.into_iter().map(|mx| mx.exchange));
    }

    fn answer_host(&mut self, host: DomainName, kind: Kind, outcome: Outcome) {
        match outcome {
            Ok(Found { name: canonical, records, authentic }) => {
                let addresses: Vec<IpAddr> = match records {
                    Records::A(all) => all.into_iter().map(IpAddr::V4).collect(),
                    Records::Aaaa(all) => all.into_iter().map(IpAddr::V6).collect(),
                    Records::Mx(_)
                    | Records::Txt(_)
                    | Records::Tlsa(_)
                    | Records::Ptr(_)
                    | Records::Cname(_) => vec![],
                };
                let authentic = authentic && self.authentic;
                self.ready.extend(addresses.into_iter().take(ADDRESSES_MAX).map(|address| Hop {
                    host: host.clone(),
                    canonical: canonical.clone(),
                    address,
                    named: self.authentic,
                    authentic,
                }));
            }
            Err(failure) if failure.is_temporary() => self.trouble = Some(failure),
            Err(Failure::NoName { .. }) => return,
            Err(_) => {}
        }
        if kind == Kind::Aaaa {
            self.state = State::Host { host, kind: Kind::A };
        }
    }

    fn nothing(&self) -> NoRoute {
        match self.trouble {
            Some(failure) => NoRoute::Dns(failure),
            None if self.implicit => NoRoute::NoSuchDomain,
            None => NoRoute::NoAddress,
        }
    }
}

/// Fisher and Yates, with the numbers of a splitmix generator.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for at in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        items.swap(at, (bits % (at as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Mx;
    use alloc::collections::{BTreeMap, BTreeSet};
    use alloc::format;
    use alloc::string::{String, ToString};

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    /// A zone: `name` or `name AAAA` or `name MX` to what it has.
    struct Zone(BTreeMap<(String, Kind), Outcome>);

    impl Zone {
        fn new() -> Self {
            Zone(BTreeMap::new())
        }

        fn mx(mut self, domain: &str, hosts: &[(u16, &str)]) -> Self {
            let mx = hosts.iter().map(|(preference, host)| Mx {
                preference: *preference,
                exchange: if *host == "." { DomainName::root() } else { name(host) },
            });
            self.put(domain, Kind::Mx, Ok(Records::Mx(mx.collect())));
            self
        }

        fn a(mut self, host: &str, n: u8) -> Self {
            self.put(host, Kind::A, Ok(Records::A(vec![[192, 0, 2, n].into()])));
            self
        }

        fn aaaa(mut self, host: &str, n: u16) -> Self {
            self.put(host, Kind::Aaaa, Ok(Records::Aaaa(vec![[0x2001, 0xdb8, 0, 0, 0, 0, 0, n].into()])));
            self
        }

        fn fails(mut self, host: &str, kind: Kind, failure: Failure) -> Self {
            self.put(host, kind, Err(failure));
            self
        }

        fn put(&mut self, host: &str, kind: Kind, records: Result<Records, Failure>) {
            let found = records.map(|records| Found { name: name(host), records, authentic: true });
            self.0.insert((host.to_string(), kind), found);
        }

        fn answer(&self, question: &Question) -> Outcome {
            let known = self.0.get(&(question.name.to_string(), question.kind)).cloned();
            let exists = self.0.keys().any(|(host, _)| *host == question.name.as_str());
            known.unwrap_or(match exists {
                true => Err(Failure::NoData { authentic: true }),
                false => Err(Failure::NoName { authentic: true }),
            })
        }

        /// All hops, and how it ended.
        fn walk(&self, mut route: Route) -> (Vec<String>, RouteStep) {
            let mut hops = vec![];
            loop {
                match route.poll() {
                    RouteStep::Ask(question) => route.answer(self.answer(&question)),
                    RouteStep::Hop(hop) => hops.push(format!("{} {}", hop.host, hop.address)),
                    end => return (hops, end),
                }
            }
        }
    }

    fn to(domain: &str) -> Route {
        Route::new(name(domain), Options::default(), 3)
    }

    #[test]
    fn the_lower_preference_first_and_ipv6_before_ipv4() {
        let zone = Zone::new()
            .mx("d.test", &[(20, "b.test"), (10, "a.test")])
            .a("a.test", 1)
            .aaaa("a.test", 1)
            .a("b.test", 2);
        let (hops, end) = zone.walk(to("d.test"));
        assert_eq!(hops, ["a.test 2001:db8::1", "a.test 192.0.2.1", "b.test 192.0.2.2"]);
        assert_eq!(end, RouteStep::Exhausted);
        let options = Options { ipv4_only: true, ..Options::default() };
        let (hops, _) = zone.walk(Route::new(name("d.test"), options, 3));
        assert_eq!(hops, ["a.test 192.0.2.1", "b.test 192.0.2.2"]);
    }

    #[test]
    fn the_first_hop_costs_no_lookup_of_the_second_host() {
        let zone =
            Zone::new().mx("d.test", &[(10, "a.test"), (20, "b.test")]).aaaa("a.test", 1).a("b.test", 2);
        let mut route = to("d.test");
        let mut asked = 0;
        while let RouteStep::Ask(question) = route.poll() {
            route.answer(zone.answer(&question));
            asked += 1;
        }
        assert_eq!(asked, 2, "MX and AAAA");
    }

    #[test]
    fn equals_share_the_load() {
        let zone = Zone::new().mx("d.test", &[(10, "a.test"), (10, "b.test"), (10, "c.test")]);
        let zone = zone.a("a.test", 1).a("b.test", 2).a("c.test", 3);
        let firsts: BTreeSet<String> = (0..50)
            .map(|seed| zone.walk(Route::new(name("d.test"), Options::default(), seed)).0.swap_remove(0))
            .collect();
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn no_mx_means_the_domain_itself() {
        assert_eq!(Zone::new().a("d.test", 1).walk(to("d.test")).0, ["d.test 192.0.2.1"]);
        let end = |zone: Zone| zone.walk(to("d.test")).1;
        assert_eq!(end(Zone::new()), RouteStep::None(NoRoute::NoSuchDomain));
        assert_eq!(end(Zone::new().mx("d.test", &[(0, ".")])), RouteStep::None(NoRoute::NullMx));
        let timeout = Failure::Timeout;
        let lame = Zone::new().fails("d.test", Kind::Mx, timeout).a("d.test", 1);
        assert_eq!(
            end(lame),
            RouteStep::None(NoRoute::Dns(timeout)),
            "an A record does not stand in for a lost MX"
        );
        let no_host = Zone::new().mx("d.test", &[(5, "gone.test")]);
        assert_eq!(end(no_host), RouteStep::None(NoRoute::NoAddress));
        let slow_host = Zone::new().mx("d.test", &[(5, "slow.test")]).fails("slow.test", Kind::A, timeout);
        assert_eq!(end(slow_host), RouteStep::None(NoRoute::Dns(timeout)));
    }

    #[test]
    fn a_null_mx_among_others_is_nonsense() {
        let zone = Zone::new().mx("d.test", &[(0, "."), (10, "a.test")]).a("a.test", 1);
        assert_eq!(zone.walk(to("d.test")).0, ["a.test 192.0.2.1"]);
    }

    #[test]
    fn mail_does_not_come_back_to_us() {
        let zone = Zone::new()
            .mx("d.test", &[(10, "a.test"), (20, "us.test"), (20, "peer.test"), (30, "c.test")])
            .a("a.test", 1)
            .a("us.test", 2)
            .a("peer.test", 3)
            .a("c.test", 4);
        let options = Options { own_names: vec![name("us.test")], ..Options::default() };
        let (hops, _) = zone.walk(Route::new(name("d.test"), options.clone(), 3));
        assert_eq!(hops, ["a.test 192.0.2.1"]);
        let zone = Zone::new().mx("d.test", &[(10, "us.test"), (10, "peer.test")]);
        let (_, end) = zone.walk(Route::new(name("d.test"), options, 3));
        assert_eq!(end, RouteStep::None(NoRoute::LoopsBack));
    }

    #[test]
    fn literals_and_smarthosts_need_no_mx() {
        let zone = Zone::new().mx("relay.test", &[(1, "a.test")]).a("relay.test", 7).a("a.test", 1);
        let route = Route::to_host(name("relay.test"), Options::default());
        assert_eq!(zone.walk(route).0, ["relay.test 192.0.2.7"]);
        let route = Route::to_address("192.0.2.9".parse().unwrap());
        assert_eq!(zone.walk(route).0, [" 192.0.2.9"]);
    }

    #[test]
    fn a_flood_of_hosts_is_cut() {
        let hosts: Vec<(u16, String)> = (0..500).map(|n| (n, format!("h{n}.test"))).collect();
        let hosts: Vec<(u16, &str)> = hosts.iter().map(|(n, host)| (*n, host.as_str())).collect();
        let mut zone = Zone::new().mx("d.test", &hosts);
        for (n, host) in &hosts {
            zone = zone.a(host, *n as u8);
        }
        assert_eq!(zone.walk(to("d.test")).0.len(), HOSTS_MAX);
    }
}
