//! Names to addresses: a stub resolver that asks the machine's own recursive resolvers, and the way of a mail to
//! the hosts of a domain.
//!
//! * [`name`]: domain names as DNS compares them.
//! * [`resolv_conf`]: which resolvers to ask, as `/etc/resolv.conf` says.
//! * `message`: one question out, one reply in, over the messages of hickory-proto.
//! * [`resolver`]: retransmission over several servers, TC to TCP, aliases, one query for many askers.
//! * [`cache`]: what is known, for as long as it may be.
//! * [`dane`]: the certificate that a mail exchanger must show (RFC 7672).
//! * [`mta_sts`]: the mail servers that a domain names by HTTPS (RFC 8461).
//! * [`route`]: a domain's mail exchangers in the order in which to try them (RFC 5321 §5.1).
//!
//! The resolver does not validate DNSSEC; it believes the AD bit of a resolver that is trusted: one on loopback, or
//! one the configuration trusts (RFC 6840 §5.8, RFC 7672 §2.2). It opens no socket: it says what to send where, on a
//! socket of its own for each query, so that the port is as random as the id (RFC 5452 §9.2).
//!
//! ```
//! use postier_core::dns::name::DomainName;
//! use postier_core::dns::{Kind, Question};
//! use postier_core::dns::resolver::*;
//! use postier_core::machine::Now;
//! let servers = vec!["127.0.0.1:53".parse().unwrap()];
//! let mut resolver = Resolver::new(Config { servers, ..Config::default() }, [42; 32]);
//! let question = Question { name: DomainName::parse("example.org").unwrap(), kind: Kind::Mx };
//! let mut out = Vec::new();
//! resolver.handle(Now::default(), ResolverInput::Ask { lookup: LookupId(1), question }, &mut out);
//! let Some(ResolverAction::Open { octets, transport: Transport::Udp, .. }) = out.pop() else { panic!() };
//! assert_eq!(octets[12..], *b"\x07example\x03org\0\x00\x0f\x00\x01\0\x00\x29\x04\xd0\0\0\0\0\0\0");
//! ```

pub mod cache;
pub mod dane;
mod message;
pub mod mta_sts;
pub mod name;
pub mod resolv_conf;
pub mod resolver;
pub mod route;

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use self::name::DomainName;

/// The kinds of records that mail needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchangers.
    Mx,
    /// Text: SPF, DKIM keys, policies.
    Txt,
    /// Certificates a server may show (RFC 6698).
    Tlsa,
    /// The name of an address.
    Ptr,
    /// What a name is an alias of, one step.
    Cname,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// About this name,
    pub name: DomainName,
    /// records of this kind.
    pub kind: Kind,
}

/// The records of one answer, in the order of the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// IPv4 addresses.
    A(Vec<Ipv4Addr>),
    /// IPv6 addresses.
    Aaaa(Vec<Ipv6Addr>),
    /// Mail exchangers.
    Mx(Vec<Mx>),
    /// Text, the strings of each record joined (RFC 7208 §3.3).
    Txt(Vec<Vec<u8>>),
    /// Certificates.
    Tlsa(Vec<Tlsa>),
    /// Names.
    Ptr(Vec<DomainName>),
    /// The next name.
    Cname(Vec<DomainName>),
}

/// One mail exchanger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// Lower is tried first.
    pub preference: u16,
    /// The host; the root says "no mail here" (RFC 7505).
    pub exchange: DomainName,
}

/// What a server's certificate must match (RFC 6698 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE.
    pub usage: u8,
    /// 0 the whole certificate, 1 its public key.
    pub selector: u8,
    /// 0 the octets, 1 SHA-256, 2 SHA-512.
    pub matching: u8,
    /// To compare with.
    pub data: Vec<u8>,
}

/// Records that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name that has them: the one asked for, or what it is an alias of.
    pub name: DomainName,
    /// The records.
    pub records: Records,
    /// A trusted resolver has validated them and the aliases that led to them.
    pub authentic: bool,
}

/// Why there are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The name does not exist (NXDOMAIN).
    NoName {
        /// A trusted resolver has validated that.
        authentic: bool,
    },
    /// The name exists, and has no such records.
    NoData {
        /// A trusted resolver has validated that.
        authentic: bool,
    },
    /// Aliases that go round in circles, or through too many names.
    AliasLoop,
    /// No server could tell: SERVFAIL, REFUSED, nonsense. Try later.
    ServerFailure,
    /// No server answered. Try later.
    Timeout,
    /// Too many lookups are under way. Try later.
    Busy,
}

impl Failure {
    /// Asking later may give another answer.
    pub const fn is_temporary(self) -> bool {
        match self {
            Failure::NoName { .. } | Failure::NoData { .. } => false,
            Failure::AliasLoop | Failure::ServerFailure | Failure::Timeout | Failure::Busy => true,
        }
    }

    /// For a person.
    pub const fn text(self) -> &'static str {
        match self {
            Failure::NoName { .. } => "the name does not exist",
            Failure::NoData { .. } => "the name has no such record",
            Failure::AliasLoop => "its aliases go round in circles",
            Failure::ServerFailure => "the resolver could not tell",
            Failure::Timeout => "the resolver did not answer",
            Failure::Busy => "too many lookups are under way",
        }
    }
}

/// What a lookup ends in.
pub type Outcome = Result<Found, Failure>;

#[cfg(test)]
mod tests;
