//! The stub resolver: a machine that asks recursive resolvers and takes their datagrams.
//!
//! * One query serves all who ask the same thing at the same time.
//! * Each try goes to the next server, on a socket of its own with an id of its own; earlier ones stay open until the
//!   query is over, so that a slow answer still counts.
//! * A reply that was cut off is asked for again over TCP (RFC 7766), one of a server that does not know EDNS without
//!   EDNS (RFC 6891 §7).
//! * Aliases whose end is not in the reply are followed by another query, a bounded number of times.
//! * What is found is cached for its TTL, what is not for what RFC 2308 §5 says, and that nobody could tell for some
//!   seconds (RFC 9520 §3.2).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};

use super::cache::Cache;
use super::message::{self, Meaning, Reply};
use super::name::DomainName;
use super::{Failure, Found, Outcome, Question};
use crate::machine::{Instant, Now};

/// An answer is kept no longer than this, whatever its TTL says, in seconds.
const TTL_SECS_MAX: u32 = 24 * 3600;
/// That there is nothing is remembered no longer than this (RFC 2308 §5), in seconds.
const NEGATIVE_SECS_MAX: u32 = 3 * 3600;
/// That nobody could tell is remembered this long.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// Queries for the targets of aliases behind one question.
const ALIASES_MAX: u32 = 8;
/// Octets of a DNS message over TCP, its length included (RFC 1035 §4.2.2).
const STREAM_BYTES_MAX: usize = 2 + 65_535;

/// Whom to ask, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The recursive resolvers, in order.
    pub servers: Vec<SocketAddr>,
    /// Waiting for one try.
    pub timeout: Duration,
    /// Times each server is tried.
    pub attempts: u32,
    /// Begin with another server each time.
    pub rotate: bool,
    /// Believe the AD bit of servers that are not on loopback, too.
    pub trust_ad: bool,
    /// Different questions under way.
    pub queries_max: usize,
    /// Who may wait for one question's answer.
    pub waiters_max: usize,
    /// The cache holds about this many octets.
    pub cache_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            trust_ad: false,
            queries_max: 500,
            waiters_max: 10_000,
            cache_bytes_max: 4 * 1024 * 1024,
        }
    }
}

/// Numbers a lookup; the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LookupId(pub u64);

/// Numbers a socket that the resolver wants; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// How to reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram out from a fresh, connected socket; datagrams in.
    Udp,
    /// A connection; the octets of a stream.
    Tcp,
}

/// What goes in.
#[derive(Debug)]
pub enum ResolverInput<'i> {
    /// Look this up.
    Ask {
        /// To answer with.
        lookup: LookupId,
        /// What.
        question: Question,
    },
    /// The answer is not wanted any more.
    Cancel {
        /// Whose.
        lookup: LookupId,
    },
    /// A datagram, or the next octets of a stream.
    Received {
        /// Where.
        exchange: ExchangeId,
        /// What.
        octets: &'i [u8],
    },
    /// The socket failed, was refused or is at its end.
    Failed {
        /// Which.
        exchange: ExchangeId,
    },
    /// The instant of [`Resolver::poll_timeout`] has come.
    Timeout,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum ResolverAction {
    /// Open a socket to this server, send these octets, hand in what comes.
    Open {
        /// To name it by.
        exchange: ExchangeId,
        /// The server.
        server: SocketAddr,
        /// How.
        transport: Transport,
        /// What to send (over TCP with its length in front).
        octets: Vec<u8>,
    },
    /// The socket is not needed any more.
    Close {
        /// Which.
        exchange: ExchangeId,
    },
    /// A lookup is over.
    Answer {
        /// Which.
        lookup: LookupId,
        /// How.
        outcome: Outcome,
    },
}

/// The resolver.
#[derive(Debug)]
pub struct Resolver {
    config: Config,
    ids: ChaCha12Rng,
    cache: Cache,
    queries: BTreeMap<Question, Query>,
    lookups: BTreeMap<LookupId, Question>,
    exchanges: BTreeMap<ExchangeId, Question>,
    timers: BTreeSet<(Instant, Question)>,
    last_exchange: u64,
    rotation: usize,
}

/// One question under way.
#[derive(Debug)]
struct Query {
    waiters: Vec<LookupId>,
    /// What the servers are asked about now: the question's name, or what it is an alias of.
    name: DomainName,
    aliases: u32,
    /// All steps so far are validated.
    authentic: bool,
    /// The least of all steps so far, in seconds.
    ttl: u32,
    /// The server of the first try.
    first: usize,
    tries: u32,
    /// Somebody answered, and could not help.
    useless: bool,
    deadline: Instant,
    open: Vec<Exchange>,
}

#[derive(Debug)]
struct Exchange {
    id: ExchangeId,
    message_id: u16,
    server: SocketAddr,
    transport: Transport,
    edns: bool,
    received: Vec<u8>,
}

impl Resolver {
    /// `seed` is secret randomness, for the ids of queries.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Resolver {
            cache: Cache::new(config.cache_bytes_max),
            config,
            ids: ChaCha12Rng::from_seed(seed),
            queries: BTreeMap::new(),
            lookups: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            timers: BTreeSet::new(),
            last_exchange: 0,
            rotation: 0,
        }
    }

    /// One input; what follows from it is appended to `out`.
    pub fn handle(&mut self, now: Now, input: ResolverInput<'_>, out: &mut Vec<ResolverAction>) {
        let now = now.instant;
        match input {
            ResolverInput::Ask { lookup, question } => self.ask(now, lookup, question, out),
            ResolverInput::Cancel { lookup } => self.cancel(lookup, out),
            ResolverInput::Received { exchange, octets } => self.receive(now, exchange, octets, out),
            ResolverInput::Failed { exchange } => self.fail(now, exchange, out),
            ResolverInput::Timeout => {
                while let Some((deadline, question)) = self.timers.first()
                    && *deadline <= now
                {
                    let question = question.clone();
                    self.next_try(now, &question, out);
                }
            }
        }
    }

    /// When to hand in [`ResolverInput::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }

    fn ask(&mut self, now: Instant, lookup: LookupId, question: Question, out: &mut Vec<ResolverAction>) {
        if let Some(outcome) = self.cache.lookup(&question, now) {
            out.push(ResolverAction::Answer { lookup, outcome: outcome.clone() });
            return;
        }
        if let Some(query) = self.queries.get_mut(&question)
            && query.waiters.len() < self.config.waiters_max
        {
            query.waiters.push(lookup);
            self.lookups.insert(lookup, question);
            return;
        }
        if self.queries.contains_key(&question) || self.queries.len() >= self.config.queries_max {
            out.push(ResolverAction::Answer { lookup, outcome: Err(Failure::Busy) });
            return;
        }
        if self.config.rotate {
            self.rotation = self.rotation.wrapping_add(1);
        }
        let query = Query {
            waiters: Vec::from([lookup]),
            name: question.name.clone(),
            aliases: 0,
            authentic: true,
            ttl: u32::MAX,
            first: self.rotation,
            tries: 0,
            useless: false,
            deadline: now,
            open: Vec::new(),
        };
        self.lookups.insert(lookup, question.clone());
        self.queries.insert(question.clone(), query);
        self.next_try(now, &question, out);
    }

    fn cancel(&mut self, lookup: LookupId, out: &mut Vec<ResolverAction>) {
        let Some(question) = self.lookups.remove(&lookup) else { return };
        let Some(query) = self.queries.get_mut(&question) else { return };
        query.waiters.retain(|waiter| *waiter != lookup);
        if query.waiters.is_empty() {
            self.take_query(&question, out);
        }
    }

    /// Asks the next server, or gives up.
    fn next_try(&mut self, now: Instant, question: &Question, out: &mut Vec<ResolverAction>) {
        let Some(query) = self.queries.get_mut(question) else { return };
        let servers = &self.config.servers;
        let tries_max = u32::try_from(servers.len()).unwrap_or(u32::MAX).saturating_mul(self.config.attempts);
        if query.tries >= tries_max {
            let failure =
                if query.useless || servers.is_empty() { Failure::ServerFailure } else { Failure::Timeout };
            return self.finish(now, question, Err(failure), FAILURE_KEPT, out);
        }
        let server = servers[query.first.wrapping_add(query.tries as usize) % servers.len()];
        query.tries += 1;
        self.open(now, question, server, Transport::Udp, true, out);
    }

    fn open(
        &mut self,
        now: Instant,
        question: &Question,
        server: SocketAddr,
        transport: Transport,
        edns: bool,
        out: &mut Vec<ResolverAction>,
    ) {
        let Some(query) = self.queries.get_mut(question) else { return };
        let message_id = (self.ids.next_u32() >> 16) as u16;
        let asked = Question { name: query.name.clone(), kind: question.kind };
        let Some(mut octets) = message::query(message_id, &asked, edns) else {
            // No name that parses is too long for a query.
            return self.finish(now, question, Err(Failure::ServerFailure), FAILURE_KEPT, out);
        };
        if transport == Transport::Tcp {
            let len = u16::try_from(octets.len()).unwrap_or(u16::MAX).to_be_bytes();
            octets.splice(..0, len);
        }
        self.last_exchange += 1;
        let exchange = ExchangeId(self.last_exchange);
        query.open.push(Exchange { id: exchange, message_id, server, transport, edns, received: Vec::new() });
        self.timers.remove(&(query.deadline, question.clone()));
        query.deadline = now.plus(self.config.timeout);
        self.timers.insert((query.deadline, question.clone()));
        self.exchanges.insert(exchange, question.clone());
        out.push(ResolverAction::Open { exchange, server, transport, octets });
    }

    fn receive(&mut self, now: Instant, id: ExchangeId, octets: &[u8], out: &mut Vec<ResolverAction>) {
        let Some(question) = self.exchanges.get(&id).cloned() else { return };
        let Some(query) = self.queries.get_mut(&question) else { return };
        let Some(exchange) = query.open.iter_mut().find(|exchange| exchange.id == id) else { return };
        let asked = Question { name: query.name.clone(), kind: question.kind };
        let reply = match exchange.transport {
            Transport::Udp => message::read(octets, exchange.message_id, &asked),
            Transport::Tcp => {
                let room = STREAM_BYTES_MAX - exchange.received.len();
                exchange.received.extend_from_slice(&octets[..octets.len().min(room)]);
                match exchange.received.as_slice() {
                    [a, b, message @ ..] if message.len() >= usize::from(u16::from_be_bytes([*a, *b])) => {
                        match message::read(message, exchange.message_id, &asked) {
                            // On a stream of our own nothing else can come.
                            Reply::NotOurs | Reply::Truncated => Reply::Useless,
                            reply => reply,
                        }
                    }
                    _ => return,
                }
            }
        };
        let (server, transport, edns) = (exchange.server, exchange.transport, exchange.edns);
        let trusted = self.config.trust_ad || server.ip().is_loopback();
        match reply {
            Reply::NotOurs => {}
            Reply::Truncated => {
                self.close(&question, id, out);
                self.open(now, &question, server, Transport::Tcp, edns, out);
            }
            Reply::NoEdns if edns => {
                self.close(&question, id, out);
                self.open(now, &question, server, transport, false, out);
            }
            Reply::NoEdns | Reply::Useless => {
                query.useless = true;
                self.fail(now, id, out);
            }
            Reply::Answer { name, meaning, authentic, ttl } => {
                query.authentic &= authentic && trusted;
                query.ttl = query.ttl.min(ttl);
                self.understand(now, &question, name, meaning, out);
            }
        }
    }

    /// This try is over. If it was the last sent, the next server is asked now.
    fn fail(&mut self, now: Instant, id: ExchangeId, out: &mut Vec<ResolverAction>) {
        let Some(question) = self.exchanges.get(&id).cloned() else { return };
        let last = self.queries.get(&question).and_then(|query| query.open.last()).map(|last| last.id);
        self.close(&question, id, out);
        if last == Some(id) {
            self.next_try(now, &question, out);
        }
    }

    fn understand(
        &mut self,
        now: Instant,
        question: &Question,
        name: DomainName,
        meaning: Meaning,
        out: &mut Vec<ResolverAction>,
    ) {
        let Some(query) = self.queries.get_mut(question) else { return };
        let (authentic, ttl) = (query.authentic, query.ttl);
        let positive = Duration::from_secs(ttl.min(TTL_SECS_MAX).into());
        let negative = Duration::from_secs(ttl.min(NEGATIVE_SECS_MAX).into());
        let (outcome, kept) = match meaning {
            Meaning::Records(records) => (Ok(Found { name, records, authentic }), positive),
            Meaning::NoName => (Err(Failure::NoName { authentic }), negative),
            Meaning::NoData => (Err(Failure::NoData { authentic }), negative),
            Meaning::AliasLoop => (Err(Failure::AliasLoop), FAILURE_KEPT),
            Meaning::Alias if query.aliases >= ALIASES_MAX => (Err(Failure::AliasLoop), FAILURE_KEPT),
            Meaning::Alias => {
                query.aliases += 1;
                query.name = name;
                query.tries = 0;
                let open: Vec<_> = query.open.iter().map(|exchange| exchange.id).collect();
                open.into_iter().for_each(|id| self.close(question, id, out));
                return self.next_try(now, question, out);
            }
        };
        self.finish(now, question, outcome, kept, out);
    }

    fn finish(
        &mut self,
        now: Instant,
        question: &Question,
        outcome: Outcome,
        kept: Duration,
        out: &mut Vec<ResolverAction>,
    ) {
        let Some(query) = self.take_query(question, out) else { return };
        for lookup in query.waiters {
            self.lookups.remove(&lookup);
            out.push(ResolverAction::Answer { lookup, outcome: outcome.clone() });
        }
        if !kept.is_zero() {
            self.cache.insert(question.clone(), outcome, now.plus(kept));
        }
    }

    /// Ends a query: its sockets and its timer.
    fn take_query(&mut self, question: &Question, out: &mut Vec<ResolverAction>) -> Option<Query> {
        let mut query = self.queries.remove(question)?;
        self.timers.remove(&(query.deadline, question.clone()));
        for exchange in query.open.drain(..) {
            self.exchanges.remove(&exchange.id);
            out.push(ResolverAction::Close { exchange: exchange.id });
        }
        Some(query)
    }

    fn close(&mut self, question: &Question, id: ExchangeId, out: &mut Vec<ResolverAction>) {
        if let Some(query) = self.queries.get_mut(question) {
            query.open.retain(|exchange| exchange.id != id);
        }
        if self.exchanges.remove(&id).is_some() {
            out.push(ResolverAction::Close { exchange: id });
        }
    }
}
