//! The resolver against servers made here: each test plays the network.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, MX, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record};

use super::name::DomainName;
use super::resolver::*;
use super::{Failure, Found, Kind, Outcome, Question, Records};
use crate::machine::{Instant, Now};

fn name(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

fn wire(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn question(text: &str, kind: Kind) -> Question {
    Question { name: name(text), kind }
}

fn server(n: u8) -> SocketAddr {
    SocketAddr::new([192, 0, 2, n].into(), 53)
}

/// A resolver with its open sockets and the answers it gave.
struct Lab {
    resolver: Resolver,
    now: Now,
    open: BTreeMap<ExchangeId, (SocketAddr, Transport, Vec<u8>)>,
    answers: Vec<(LookupId, Outcome)>,
    opened: u32,
}

impl Lab {
    fn new(config: Config) -> Self {
        let resolver = Resolver::new(config, [7; 32]);
        Lab { resolver, now: Now::default(), open: BTreeMap::new(), answers: vec![], opened: 0 }
    }

    fn with_servers(n: u8) -> Self {
        Lab::new(Config { servers: (1..=n).map(server).collect(), trust_ad: true, ..Config::default() })
    }

    fn handle(&mut self, input: ResolverInput<'_>) {
        let mut out = vec![];
        self.resolver.handle(self.now, input, &mut out);
        for action in out {
            match action {
                ResolverAction::Open { exchange, server, transport, octets } => {
                    self.opened += 1;
                    assert!(self.open.insert(exchange, (server, transport, octets)).is_none());
                }
                ResolverAction::Close { exchange } => assert!(self.open.remove(&exchange).is_some()),
                ResolverAction::Answer { lookup, outcome } => self.answers.push((lookup, outcome)),
            }
        }
    }

    fn ask(&mut self, lookup: u64, question: Question) {
        self.handle(ResolverInput::Ask { lookup: LookupId(lookup), question });
    }

    /// The newest socket and the query sent on it.
    fn newest(&self) -> (ExchangeId, SocketAddr, Transport, Message) {
        let (id, (server, transport, octets)) = self.open.last_key_value().expect("a socket is open");
        let octets = if *transport == Transport::Tcp { &octets[2..] } else { octets };
        (*id, *server, *transport, Message::from_vec(octets).unwrap())
    }

    /// A reply to the newest query.
    fn reply(&mut self, change: impl FnOnce(&mut Message)) {
        let (id, _, transport, query) = self.newest();
        let octets = reply_to(&query, change);
        match transport {
            Transport::Udp => self.handle(ResolverInput::Received { exchange: id, octets: &octets }),
            Transport::Tcp => {
                // In two pieces, as streams do.
                let mut stream = u16::try_from(octets.len()).unwrap().to_be_bytes().to_vec();
                stream.extend_from_slice(&octets);
                let (first, second) = stream.split_at(7);
                self.handle(ResolverInput::Received { exchange: id, octets: first });
                self.handle(ResolverInput::Received { exchange: id, octets: second });
            }
        }
    }

    fn wait(&mut self) {
        self.now.instant = self.resolver.poll_timeout().expect("a timer is armed");
        self.handle(ResolverInput::Timeout);
    }

    fn pass(&mut self, secs: u64) {
        self.now.instant = self.now.instant.plus(Duration::from_secs(secs));
    }

    fn outcome(&mut self) -> Outcome {
        assert_eq!(self.answers.len(), 1, "{:?}", self.answers);
        self.answers.pop().unwrap().1
    }

    fn at_rest(&self) {
        assert!(self.open.is_empty() && self.resolver.poll_timeout().is_none());
    }
}

fn reply_to(query: &Message, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    reply.queries = query.queries.clone();
    reply.metadata.recursion_available = true;
    change(&mut reply);
    reply.to_vec().unwrap()
}

fn a(owner: &str, ttl: u32, n: u8) -> Record {
    Record::from_rdata(wire(owner), ttl, RData::A(A([192, 0, 2, n].into())))
}

fn cname(owner: &str, target: &str) -> Record {
    Record::from_rdata(wire(owner), 300, RData::CNAME(CNAME(wire(target))))
}

fn soa(minimum: u32) -> Record {
    let soa = SOA::new(wire("ns.test."), wire("root.test."), 1, 2, 3, 4, minimum);
    Record::from_rdata(wire("test."), 900, RData::SOA(soa))
}

fn addresses(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Ok(Found { records: Records::A(all), .. }) => all.iter().map(|a| a.octets()[3]).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_query_serves_all_who_ask() {
    let mut lab = Lab::with_servers(1);
    for lookup in 0..5 {
        lab.ask(lookup, question("a.test", Kind::A));
    }
    assert_eq!(lab.open.len(), 1);
    lab.reply(|m| m.answers = vec![a("a.test.", 60, 1), a("a.test.", 60, 2)]);
    assert_eq!(lab.answers.len(), 5);
    assert!(lab.answers.drain(..).all(|(_, outcome)| addresses(outcome) == [1, 2]));
    lab.at_rest();
    // And the cache serves those who ask until the TTL is over.
    lab.pass(59);
    lab.ask(6, question("A.TEST", Kind::A));
    assert_eq!(addresses(lab.outcome()), [1, 2]);
    lab.pass(1);
    lab.ask(7, question("a.test", Kind::A));
    assert_eq!(lab.open.len(), 1);
}

#[test]
fn what_answers_another_question_is_no_answer() {
    let mut lab = Lab::with_servers(1);
    lab.ask(1, question("a.test", Kind::A));
    let (id, _, _, query) = lab.newest();
    type Lie = fn(&mut Message);
    let lies: [Lie; 6] = [
        |m| m.metadata.id = m.metadata.id.wrapping_add(1),
        |m| m.queries.clear(),
        |m| {
            m.queries[0].set_name(wire("b.test."));
        },
        |m| m.metadata.message_type = MessageType::Query,
        |m| m.queries.push(m.queries[0].clone()),
        |m| m.metadata.op_code = OpCode::Notify,
    ];
    for lie in lies {
        let octets = reply_to(&query, |m| {
            m.answers = vec![a("a.test.", 60, 66)];
            lie(m);
        });
        lab.handle(ResolverInput::Received { exchange: id, octets: &octets });
        assert!(lab.answers.is_empty());
    }
    // Records of other names are not looked at.
    lab.reply(|m| m.answers = vec![a("evil.test.", 60, 66), a("a.test.", 60, 1)]);
    assert_eq!(addresses(lab.outcome()), [1]);
}

#[test]
fn each_try_goes_to_the_next_server_and_late_answers_count() {
    let mut lab = Lab::with_servers(2);
    lab.ask(1, question("a.test", Kind::A));
    let (first, at, _, query) = lab.newest();
    assert_eq!(at, server(1));
    lab.wait();
    assert_eq!(lab.newest().1, server(2));
    assert_ne!(lab.newest().3.metadata.id, query.metadata.id);
    let octets = reply_to(&query, |m| m.answers = vec![a("a.test.", 60, 9)]);
    lab.handle(ResolverInput::Received { exchange: first, octets: &octets });
    assert_eq!(addresses(lab.outcome()), [9]);
    lab.at_rest();
}

#[test]
fn nobody_answers() {
    let mut lab = Lab::with_servers(2);
    lab.ask(1, question("a.test", Kind::A));
    (0..4).for_each(|_| lab.wait());
    assert_eq!(lab.outcome(), Err(Failure::Timeout));
    assert_eq!(lab.opened, 4);
    lab.at_rest();
    // That is remembered for a moment, so that a thousand mails do not ask a thousand times.
    lab.ask(2, question("a.test", Kind::A));
    assert_eq!(lab.outcome(), Err(Failure::Timeout));
    lab.pass(5);
    lab.ask(3, question("a.test", Kind::A));
    assert_eq!(lab.open.len(), 1);
}

#[test]
fn a_useless_server_is_passed_over_at_once() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::YXDomain] {
        let mut lab = Lab::with_servers(2);
        lab.ask(1, question("a.test", Kind::A));
        lab.reply(|m| m.metadata.response_code = code);
        assert_eq!(lab.newest().1, server(2));
        lab.reply(|m| m.answers = vec![a("a.test.", 60, 1)]);
        assert_eq!(addresses(lab.outcome()), [1]);
    }
    // One whose port is closed, too; and when all are useless, that is no timeout.
    let mut lab = Lab::with_servers(2);
    lab.ask(1, question("a.test", Kind::A));
    for _ in 0..3 {
        let id = lab.newest().0;
        lab.handle(ResolverInput::Failed { exchange: id });
    }
    lab.reply(|m| m.metadata.response_code = ResponseCode::ServFail);
    assert_eq!(lab.outcome(), Err(Failure::ServerFailure));
    lab.at_rest();
}

#[test]
fn a_referral_is_no_answer() {
    let mut lab = Lab::with_servers(1);
    lab.ask(1, question("a.test", Kind::A));
    lab.reply(|m| {
        m.metadata.recursion_available = false;
        let ns = hickory_proto::rr::rdata::NS(wire("ns.test."));
        m.authorities = vec![Record::from_rdata(wire("test."), 60, RData::NS(ns))];
    });
    assert!(lab.answers.is_empty());
    assert_eq!(lab.open.len(), 1, "it is asked again");
}

#[test]
fn a_server_without_edns_is_asked_without() {
    let mut lab = Lab::with_servers(1);
    lab.ask(1, question("a.test", Kind::A));
    assert!(lab.newest().3.edns.is_some());
    lab.reply(|m| {
        m.metadata.response_code = ResponseCode::FormErr;
        m.queries.clear();
    });
    assert!(lab.newest().3.edns.is_none());
    lab.reply(|m| m.answers = vec![a("a.test.", 60, 1)]);
    assert_eq!(addresses(lab.outcome()), [1]);
}

#[test]
fn a_long_answer_comes_over_tcp() {
    let mut lab = Lab::with_servers(2);
    let text = TXT::from_bytes(vec![&[b'x'; 255], &[b'y'; 255]]);
    lab.ask(1, question("a.test", Kind::Txt));
    lab.reply(|m| m.metadata.truncation = true);
    assert_eq!(lab.newest().1, server(1));
    assert_eq!(lab.newest().2, Transport::Tcp);
    lab.reply(|m| {
        let records = (0..20).map(|_| Record::from_rdata(wire("a.test."), 60, RData::TXT(text.clone())));
        m.answers = records.collect();
    });
    let Ok(Found { records: Records::Txt(all), .. }) = lab.outcome() else { panic!() };
    assert_eq!((all.len(), all[0].len()), (20, 510), "the strings of a record are one text");
    lab.at_rest();
}

#[test]
fn a_truncated_reply_that_does_not_parse_is_still_truncated() {
    let mut lab = Lab::with_servers(1);
    lab.ask(1, question("a.test", Kind::A));
    let (id, _, _, query) = lab.newest();
    let mut octets = reply_to(&query, |m| {
        m.metadata.truncation = true;
        m.answers = vec![a("a.test.", 60, 1)];
    });
    octets.truncate(octets.len() - 2);
    lab.handle(ResolverInput::Received { exchange: id, octets: &octets });
    assert_eq!(lab.newest().2, Transport::Tcp);
}

#[test]
fn aliases_are_followed_within_a_reply_and_beyond() {
    let mut lab = Lab::with_servers(1);
    lab.ask(1, question("a.test", Kind::A));
    lab.reply(|m| {
        m.metadata.authentic_data = true;
        m.answers = vec![a("c.test.", 60, 3), cname("a.test.", "b.test."), cname("b.test.", "c.test.")];
    });
    let found = lab.outcome().unwrap();
    assert_eq!((found.name.as_str(), found.authentic), ("c.test", true));
    lab.pass(90);
    lab.ask(2, question("a.test", Kind::A));
    lab.reply(|m| {
        m.metadata.authentic_data = true;
        m.answers = vec![cname("a.test.", "far.test.")];
    });
    assert_eq!(lab.newest().3.queries[0].name().to_string(), "far.test.");
    lab.reply(|m| m.answers = vec![a("far.test.", 60, 4)]);
    let found = lab.outcome().unwrap();
    assert_eq!((found.name.as_str(), found.authentic), ("far.test", false), "one unvalidated step is enough");
    lab.at_rest();
}

#[test]
fn aliases_in_circles_end() {
    let mut lab = Lab::with_servers(1);
    lab.ask(1, question("a.test", Kind::A));
    lab.reply(|m| m.answers = vec![cname("a.test.", "b.test."), cname("b.test.", "a.test.")]);
    assert_eq!(lab.outcome(), Err(Failure::AliasLoop));
    lab.ask(2, question("x.test", Kind::A));
    while let Some((_, (_, _, octets))) = lab.open.last_key_value() {
        let asked = Message::from_vec(octets).unwrap().queries[0].name().clone();
        let other = if asked == wire("x.test.") { "y.test." } else { "x.test." };
        lab.reply(|m| m.answers = vec![cname(&asked.to_string(), other)]);
    }
    assert_eq!(lab.outcome(), Err(Failure::AliasLoop));
    assert!(lab.opened < 20);
}

#[test]
fn that_there_is_nothing_is_remembered_as_long_as_the_zone_says() {
    let mut lab = Lab::with_servers(1);
    lab.ask(1, question("a.test", Kind::Mx));
    lab.reply(|m| {
        m.metadata.response_code = ResponseCode::NXDomain;
        m.authorities = vec![soa(30)];
    });
    assert_eq!(lab.outcome(), Err(Failure::NoName { authentic: false }));
    lab.pass(29);
    lab.ask(2, question("a.test", Kind::Mx));
    assert_eq!(lab.outcome(), Err(Failure::NoName { authentic: false }));
    lab.pass(1);
    lab.ask(3, question("a.test", Kind::Mx));
    lab.reply(|m| m.metadata.authentic_data = true);
    assert_eq!(lab.outcome(), Err(Failure::NoData { authentic: true }));
    // Without a SOA nothing says how long: not at all.
    lab.ask(4, question("a.test", Kind::Mx));
    assert_eq!(lab.open.len(), 1);
}

#[test]
fn the_ad_bit_of_a_stranger_is_not_believed() {
    for (server, trust_ad, believed) in
        [("192.0.2.1:53", false, false), ("192.0.2.1:53", true, true), ("127.0.0.53:53", false, true)]
    {
        let servers = vec![server.parse().unwrap()];
        let mut lab = Lab::new(Config { servers, trust_ad, ..Config::default() });
        lab.ask(1, question("a.test", Kind::A));
        lab.reply(|m| {
            m.metadata.authentic_data = true;
            m.answers = vec![a("a.test.", 60, 1)];
        });
        assert_eq!(lab.outcome().unwrap().authentic, believed);
    }
}

#[test]
fn a_null_mx_is_the_root() {
    let mut lab = Lab::with_servers(1);
    lab.ask(1, question("a.test", Kind::Mx));
    lab.reply(|m| {
        let mx = RData::MX(MX::new(0, Name::root()));
        m.answers = vec![Record::from_rdata(wire("a.test."), 60, mx)];
    });
    let Ok(Found { records: Records::Mx(mx), .. }) = lab.outcome() else { panic!() };
    assert!(mx[0].exchange.is_root());
}

#[test]
fn cancelled_lookups_leave_nothing_behind() {
    let mut lab = Lab::with_servers(2);
    lab.ask(1, question("a.test", Kind::A));
    lab.ask(2, question("a.test", Kind::A));
    lab.handle(ResolverInput::Cancel { lookup: LookupId(1) });
    assert_eq!(lab.open.len(), 1);
    lab.handle(ResolverInput::Cancel { lookup: LookupId(2) });
    lab.at_rest();
    assert!(lab.answers.is_empty());
}

#[test]
fn lookups_are_bounded() {
    let servers = vec![server(1)];
    let mut lab = Lab::new(Config { servers, queries_max: 2, waiters_max: 3, ..Config::default() });
    for lookup in 0..4 {
        lab.ask(lookup, question("a.test", Kind::A));
    }
    assert_eq!(lab.outcome(), Err(Failure::Busy));
    lab.ask(5, question("b.test", Kind::A));
    lab.ask(6, question("c.test", Kind::A));
    assert_eq!(lab.outcome(), Err(Failure::Busy));
}

#[test]
fn without_a_server_nobody_is_asked() {
    let mut lab = Lab::new(Config::default());
    lab.ask(1, question("a.test", Kind::A));
    assert_eq!(lab.outcome(), Err(Failure::ServerFailure));
    lab.at_rest();
}

proptest::proptest! {
    /// Whatever comes in, the resolver does not panic, and gives every lookup one answer in the end.
    #[test]
    fn any_reply_is_survived(
        replies in proptest::collection::vec(
            (proptest::collection::vec(proptest::num::u8::ANY, 0..80), proptest::bool::ANY), 0..20),
    ) {
        let mut lab = Lab::with_servers(2);
        lab.ask(1, question("a.test", Kind::Mx));
        for (mut octets, with_id) in replies {
            let Some((&id, (_, transport, query))) = lab.open.last_key_value() else { break };
            let at = if *transport == Transport::Tcp { 2 } else { 0 };
            if with_id && octets.len() > 3 {
                octets[..2].copy_from_slice(&query[at..at + 2]);
                octets[2] |= 0x80;
            }
            lab.handle(ResolverInput::Received { exchange: id, octets: &octets });
        }
        while lab.resolver.poll_timeout().is_some() {
            lab.wait();
        }
        proptest::prop_assert_eq!(lab.answers.len(), 1);
        proptest::prop_assert!(lab.open.is_empty());
    }
}

#[test]
fn timers_are_those_of_the_newest_try() {
    let mut lab = Lab::with_servers(1);
    lab.ask(1, question("a.test", Kind::A));
    assert_eq!(lab.resolver.poll_timeout(), Some(Instant::default().plus(Duration::from_secs(5))));
    lab.pass(2);
    lab.reply(|m| m.metadata.truncation = true);
    assert_eq!(lab.resolver.poll_timeout(), Some(Instant::default().plus(Duration::from_secs(7))));
}
