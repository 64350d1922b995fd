//! The rest of the world's mail: domains with their exchangers, and a DNS that misbehaves.
//!
//! Each domain has a character that lasts, drawn from the seed: how DNS leads to it, and what its server lacks. What goes
//! wrong once, with a query or a connection, is drawn when it happens.
//!
//! | address | who is there |
//! |---|---|
//! | 10.1.x.y | the exchanger of domain 256·x + y |
//! | 10.2.x.y | a host that refuses connections |
//! | 10.3.x.y | a host that does not answer |
//! | 10.9.x.y | a thief, who is only in replies that answer another question |

pub mod dns;

use std::net::{IpAddr, Ipv4Addr};

use crate::rng::Rng;

/// How DNS leads to a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One exchanger.
    Exchanger,
    /// The preferred exchanger refuses connections.
    RefusesFirst,
    /// The preferred exchanger does not answer.
    SilentFirst,
    /// No exchanger, but an address.
    Address,
    /// An alias of a name that has an exchanger.
    Alias,
    /// It says that it takes no mail (RFC 7505).
    NullMx,
    /// It does not exist.
    Missing,
    /// Aliases in a circle.
    Circle,
    /// No exchanger ever answers.
    Silent,
}

/// What an exchanger lacks or has.
#[derive(Clone, Copy, Debug)]
pub struct Character {
    /// It does not know EHLO.
    pub helo_only: bool,
    /// PIPELINING.
    pub pipelining: bool,
    /// 8BITMIME.
    pub eight_bit: bool,
    /// CHUNKING.
    pub chunking: bool,
    /// STARTTLS.
    pub starttls: bool,
    /// DSN.
    pub dsn: bool,
    /// Mails of up to so many octets.
    pub size: u64,
}

/// A domain elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Domain {
    /// How DNS leads to it.
    pub way: Way,
    /// What its server is like.
    pub character: Character,
}

/// See the module's manual.
#[derive(Debug)]
pub struct Internet {
    /// The domains `d0.test`, `d1.test`, …
    pub domains: Vec<Domain>,
    /// How many of 100 connections and queries go wrong.
    pub fault_percent: u64,
    /// Chances of what happens once.
    pub rng: Rng,
}

impl Internet {
    /// So many domains.
    pub fn new(seed: u64, domains: usize, fault_percent: u64) -> Self {
        let mut rng = Rng::fork(seed, 3);
        let mut domains: Vec<Domain> = (0..domains).map(|_| Domain::new(&mut rng, fault_percent)).collect();
        // With chances of its own: everything else stays as it is.
        let mut notifying = Rng::fork(seed, 5);
        for domain in &mut domains {
            domain.character.dsn = notifying.chance(40) && !domain.character.helo_only;
        }
        Internet { domains, fault_percent, rng }
    }

    /// Whether something goes wrong now.
    pub fn goes_wrong(&mut self) -> bool {
        self.rng.chance(self.fault_percent)
    }

    /// The domain of an address.
    pub fn domain_of(&self, address: &str) -> Option<&Domain> {
        self.domains.get(number_of(address.rsplit_once('@')?.1)?)
    }
}

impl Domain {
    fn new(rng: &mut Rng, fault_percent: u64) -> Self {
        let odd = rng.chance(2 * fault_percent);
        let ways = [
            Way::RefusesFirst,
            Way::SilentFirst,
            Way::Address,
            Way::Alias,
            Way::NullMx,
            Way::Missing,
            Way::Circle,
            Way::Silent,
        ];
        let way = if odd { *rng.pick(&ways) } else { Way::Exchanger };
        let character = Character {
            helo_only: rng.chance(5),
            pipelining: rng.chance(80),
            eight_bit: rng.chance(85),
            chunking: rng.chance(40),
            starttls: rng.chance(60),
            dsn: false,
            size: if rng.chance(10) { 3_000 } else { 10_000_000 },
        };
        Domain { way, character }
    }

    /// Mail for it fails for good, whoever it is for.
    pub fn is_hopeless(&self) -> bool {
        matches!(self.way, Way::NullMx | Way::Missing)
    }

    /// Its server may refuse a mail for what it is.
    pub fn is_choosy(&self) -> bool {
        !self.character.eight_bit || self.character.helo_only || self.character.size < 10_000_000
    }
}

/// The number of the domain `d<number>.test`.
fn number_of(domain: &str) -> Option<usize> {
    domain.strip_prefix('d')?.strip_suffix(".test")?.parse().ok()
}

/// An address of domain `number`; `kind` is the second octet, see the module's manual.
fn address(kind: u8, number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, kind, (number / 256) as u8, (number % 256) as u8)
}

/// Who is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The exchanger of this domain.
    Exchanger(usize),
    /// Nobody listens.
    Refuses,
    /// Nothing comes back.
    Silent,
    /// Mail must never go there.
    Thief,
}

/// Who is there.
pub fn host_at(address: IpAddr) -> Host {
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            [10, 1, high, low] => Host::Exchanger(usize::from(high) * 256 + usize::from(low)),
            [10, 2, ..] => Host::Refuses,
            [10, 3, ..] => Host::Silent,
            _ => Host::Thief,
        },
        IpAddr::V6(_) => Host::Thief,
    }
}
