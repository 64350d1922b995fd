//! One question as the octets of a query, and what a reply means for it.
//!
//! A reply that does not answer exactly this question under this id is none (RFC 5452 §9.1). Records of other names
//! than the one asked for and its aliases are not looked at: nobody can slip one in.

use alloc::vec::Vec;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::name::DomainName;
use super::{Kind, Mx, Question, Records, Tlsa};

/// What may come in one datagram: whole on every path that carries mail (DNS flag day 2020).
const UDP_BYTES_MAX: u16 = 1232;
/// Aliases followed within one reply.
const ALIASES_MAX: usize = 16;

impl Kind {
    const fn to_wire(self) -> RecordType {
        match self {
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
            Kind::Mx => RecordType::MX,
            Kind::Txt => RecordType::TXT,
            Kind::Tlsa => RecordType::TLSA,
            Kind::Ptr => RecordType::PTR,
            Kind::Cname => RecordType::CNAME,
        }
    }
}

/// A query for the wire. `edns` is left out for servers that do not understand it (RFC 6891 §7).
pub(super) fn query(id: u16, question: &Question, edns: bool) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    // RFC 6840 §5.7: tell us whether it is validated.
    message.metadata.authentic_data = true;
    message.add_query(Query::query(question.name.to_wire()?, question.kind.to_wire()));
    if edns {
        let mut options = Edns::new();
        options.set_max_payload(UDP_BYTES_MAX);
        message.set_edns(options);
    }
    message.to_vec().ok()
}

/// What a reply says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It answers something else, or is no reply: wait on.
    NotOurs,
    /// It does not fit: ask over TCP.
    Truncated,
    /// The server does not know EDNS.
    NoEdns,
    /// The server cannot help: ask the next.
    Useless,
    /// The question is answered.
    Answer {
        /// The name at the end of the aliases.
        name: DomainName,
        meaning: Meaning,
        /// The AD bit.
        authentic: bool,
        /// For this many seconds.
        ttl: u32,
    },
}

/// What is at the end of the aliases.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Records(Records),
    /// Aliases that end at a name the reply says nothing about: ask for that name.
    Alias,
    /// Aliases in circles.
    AliasLoop,
    NoName,
    NoData,
}

/// Reads the reply to the question asked under this id.
pub(super) fn read(octets: &[u8], id: u16, question: &Question) -> Reply {
    let Ok(message) = Message::from_vec(octets) else {
        return read_header(octets, id);
    };
    let head = &message.metadata;
    if head.id != id || head.message_type != MessageType::Response || head.op_code != OpCode::Query {
        return Reply::NotOurs;
    }
    let code = head.response_code;
    let echoes = |query: &Query| {
        query.query_type() == question.kind.to_wire()
            && query.query_class() == DNSClass::IN
            && DomainName::from_wire(query.name()).as_ref() == Some(&question.name)
    };
    match message.queries.as_slice() {
        [query] if echoes(query) => {}
        // Servers that cannot read the query do not repeat it.
        [] if matches!(code, ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::ServFail) => {}
        _ => return Reply::NotOurs,
    }
    match code {
        ResponseCode::NoError | ResponseCode::NXDomain if head.truncation => Reply::Truncated,
        ResponseCode::NoError | ResponseCode::NXDomain => answer(&message, question),
        ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS => Reply::NoEdns,
        _ => Reply::Useless,
    }
}

/// A reply that does not parse whole: cut off where it says so, or nonsense. The id tells whether it is for us.
fn read_header(octets: &[u8], id: u16) -> Reply {
    match octets {
        [a, b, flags, _, ..] if [*a, *b] == id.to_be_bytes() && flags & 0x80 != 0 => {
            if flags & 0x02 != 0 {
                Reply::Truncated
            } else {
                Reply::Useless
            }
        }
        _ => Reply::NotOurs,
    }
}

fn answer(message: &Message, question: &Question) -> Reply {
    let authentic = message.metadata.authentic_data;
    let mut ttl = u32::MAX;
    let mut name = question.name.clone();
    let mut seen = Vec::new();
    let of = |name: &DomainName, record: &Record| {
        record.dns_class == DNSClass::IN && DomainName::from_wire(&record.name).as_ref() == Some(name)
    };
    loop {
        let here: Vec<&Record> = message
            .answers
            .iter()
            .filter(|record| record.record_type() == question.kind.to_wire() && of(&name, record))
            .collect();
        if !here.is_empty() {
            ttl = here.iter().map(|record| record.ttl).fold(ttl, u32::min);
            let meaning = Meaning::Records(collect(question.kind, &here));
            return Reply::Answer { name, meaning, authentic, ttl };
        }
        let alias = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if of(&name, record) => Some((record.ttl, &target.0)),
            _ => None,
        });
        let Some((alias_ttl, target)) = alias else { break };
        ttl = ttl.min(alias_ttl);
        seen.push(name);
        match DomainName::from_wire(target) {
            Some(target) if !seen.contains(&target) && seen.len() < ALIASES_MAX => name = target,
            Some(_) => {
                return Reply::Answer {
                    name: question.name.clone(),
                    meaning: Meaning::AliasLoop,
                    authentic,
                    ttl,
                };
            }
            // An alias of something that is no host's name leads nowhere.
            None => return negative(message, question.name.clone(), Meaning::NoData, ttl),
        }
    }
    if message.metadata.response_code == ResponseCode::NXDomain {
        return negative(message, name, Meaning::NoName, ttl);
    }
    // RFC 2308 §2.2: with a SOA it is an answer; without one, at the end of aliases, it is an unfinished one.
    let soa = message.authorities.iter().any(|record| matches!(record.data, RData::SOA(_)));
    if !seen.is_empty() && !soa {
        return Reply::Answer { name, meaning: Meaning::Alias, authentic, ttl };
    }
    let referral = message.authorities.iter().any(|record| record.record_type() == RecordType::NS);
    if !soa && referral && !message.metadata.recursion_available {
        // A server that sends us elsewhere does not resolve for us.
        return Reply::Useless;
    }
    negative(message, name, Meaning::NoData, ttl)
}

/// RFC 2308 §5: the lesser of the SOA's own TTL and its last number.
fn negative(message: &Message, name: DomainName, meaning: Meaning, ttl: u32) -> Reply {
    let soa = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    let ttl = ttl.min(soa.unwrap_or(0));
    Reply::Answer { name, meaning, authentic: message.metadata.authentic_data, ttl }
}

fn collect(kind: Kind, records: &[&Record]) -> Records {
    fn each<T>(records: &[&Record], pick: impl Fn(&RData) -> Option<T>) -> Vec<T> {
        records.iter().filter_map(|record| pick(&record.data)).collect()
    }
    match kind {
        Kind::A => Records::A(each(records, |data| if let RData::A(a) = data { Some(a.0) } else { None })),
        Kind::Aaaa => {
            Records::Aaaa(each(records, |data| if let RData::AAAA(a) = data { Some(a.0) } else { None }))
        }
        Kind::Mx => Records::Mx(each(records, |data| {
            let RData::MX(mx) = data else { return None };
            Some(Mx { preference: mx.preference, exchange: DomainName::from_wire(&mx.exchange)? })
        })),
        Kind::Txt => Records::Txt(each(records, |data| {
            let RData::TXT(txt) = data else { return None };
            Some(txt.txt_data.iter().flat_map(|string| string.iter().copied()).collect())
        })),
        Kind::Tlsa => Records::Tlsa(each(records, |data| {
            let RData::TLSA(tlsa) = data else { return None };
            Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            })
        })),
        Kind::Ptr => Records::Ptr(each(records, |data| {
            let RData::PTR(name) = data else { return None };
            DomainName::from_wire(&name.0)
        })),
        Kind::Cname => Records::Cname(each(records, |data| {
            let RData::CNAME(name) = data else { return None };
            DomainName::from_wire(&name.0)
        })),
    }
}
