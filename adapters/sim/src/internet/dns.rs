//! The recursive resolver of a world: it knows the zones, answers late, twice, cut off, wrongly or not at all. Written
//! anew for this crate; nothing here is shared with the server's own reader.

use super::{Internet, Way, address};

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const MX: u16 = 15;
const TTL_SECS: u32 = 600;
/// Microseconds that a late reply takes: longer than a try is waited for.
const LATE: u64 = 7_000_000;

/// A reply on its way: so many microseconds later, these octets; `None`: the socket fails.
pub type Reply = (u64, Option<Vec<u8>>);

struct Query {
    id: [u8; 2],
    name: String,
    kind: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    Good = 0,
    ServerFailure = 2,
    NoName = 3,
}

impl Internet {
    /// What comes of a query; `stream`: over TCP, with lengths. `gullible`: a reply under a wrong id is given the right one.
    pub fn resolve(&mut self, octets: &[u8], stream: bool, gullible: bool) -> Vec<Reply> {
        let query = if stream { octets.get(2..).unwrap_or_default() } else { octets };
        let Some(query) = Query::read(query) else { return Vec::new() };
        let right = self.right(&query);
        let soon = 100 + self.rng.below(50_000);
        let frame = |reply: Vec<u8>| match stream {
            true => [&(reply.len() as u16).to_be_bytes()[..], &reply].concat(),
            false => reply,
        };
        if !self.goes_wrong() {
            return vec![(soon, Some(frame(right)))];
        }
        match self.rng.below(7) {
            0 => Vec::new(),
            1 => vec![(soon, Some(frame(message(&query, Code::ServerFailure, &[], false))))],
            2 if !stream => {
                let mut cut = message(&query, Code::Good, &[], false);
                cut[2] |= 2;
                vec![(soon, Some(cut))]
            }
            3 => vec![(soon + LATE, Some(frame(right)))],
            4 => {
                let mut forged = message(&query, Code::Good, &forgery(&query), false);
                if !gullible {
                    forged[0] ^= 0x55;
                }
                vec![(soon, Some(frame(forged))), (soon + 10_000, Some(frame(right)))]
            }
            5 => vec![(soon, None)],
            _ => {
                let half = right.len() / 2;
                vec![(soon, Some(frame(right[..half].to_vec())))]
            }
        }
    }

    /// The reply that is true.
    fn right(&self, query: &Query) -> Vec<u8> {
        let mut name = query.name.clone();
        let mut answers = Vec::new();
        for _ in 0..4 {
            match self.records(&name, query.kind) {
                None => return message(query, Code::NoName, &answers, true),
                Some(Found::Alias(target)) => {
                    answers.push(record(&name, CNAME, &wire_name(&target)));
                    name = target;
                }
                Some(Found::Records(records)) => {
                    let none = records.is_empty();
                    answers.extend(records.iter().map(|data| record(&name, query.kind, data)));
                    return message(query, Code::Good, &answers, none);
                }
            }
        }
        message(query, Code::Good, &answers, false)
    }

    /// The data of a name's records of this kind; `None` if there is no such name.
    fn records(&self, name: &str, kind: u16) -> Option<Found> {
        let (host, zone) = match name.split_once('.') {
            Some((host, zone)) if super::number_of(zone).is_some() => (host, zone),
            _ => ("", name),
        };
        let number = super::number_of(zone)?;
        let way = self.domains.get(number)?.way;
        let addresses = |kind_of_host: u8| match kind {
            A => Found::Records(vec![address(kind_of_host, number).octets().to_vec()]),
            _ => Found::Records(Vec::new()),
        };
        let exchangers = |hosts: &[(u16, &str)]| match kind {
            MX => {
                let data = |(preference, host): &(u16, &str)| {
                    [&preference.to_be_bytes()[..], &wire_name(&format!("{host}.{zone}"))].concat()
                };
                Found::Records(hosts.iter().map(data).collect())
            }
            _ => Found::Records(Vec::new()),
        };
        Some(match (host, way) {
            (_, Way::Missing) => return None,
            ("mx", _) => addresses(1),
            ("refuses", _) => addresses(2),
            ("silent", _) => addresses(3),
            ("", Way::Exchanger) | ("real", Way::Alias) => exchangers(&[(10, "mx")]),
            ("", Way::RefusesFirst) => exchangers(&[(20, "mx"), (10, "refuses")]),
            ("", Way::SilentFirst) => exchangers(&[(5, "silent"), (10, "mx")]),
            ("", Way::Silent) => exchangers(&[(5, "silent")]),
            ("", Way::Address) => addresses(1),
            ("", Way::Alias) => Found::Alias(format!("real.{zone}")),
            ("", Way::NullMx) if kind == MX => Found::Records(vec![vec![0, 0, 0]]),
            ("", Way::NullMx) => Found::Records(Vec::new()),
            ("", Way::Circle) => Found::Alias(format!("round.{zone}")),
            ("round", Way::Circle) => Found::Alias(zone.to_owned()),
            _ => return None,
        })
    }
}

enum Found {
    Alias(String),
    Records(Vec<Vec<u8>>),
}

impl Query {
    fn read(octets: &[u8]) -> Option<Query> {
        let (mut name, mut at) = (String::new(), 12);
        loop {
            let length = usize::from(*octets.get(at)?);
            if length == 0 {
                break;
            }
            let label = octets.get(at + 1..at + 1 + length)?;
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
            at += 1 + length;
        }
        let kind = u16::from_be_bytes([*octets.get(at + 1)?, *octets.get(at + 2)?]);
        Some(Query { id: [*octets.first()?, *octets.get(1)?], name, kind })
    }
}

/// What somebody who wants the mail would answer.
fn forgery(query: &Query) -> Vec<Vec<u8>> {
    match query.kind {
        A => vec![record(&query.name, A, &address(9, 1).octets())],
        MX => vec![record(&query.name, MX, &[&[0, 1][..], &wire_name("thief.test")].concat())],
        _ => Vec::new(),
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn record(name: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = wire_name(name);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&TTL_SECS.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
    out
}

fn message(query: &Query, code: Code, answers: &[Vec<u8>], soa: bool) -> Vec<u8> {
    let mut out = query.id.to_vec();
    out.extend_from_slice(&[0x81, 0x80 | code as u8, 0, 1]);
    out.extend_from_slice(&(answers.len() as u16).to_be_bytes());
    out.extend_from_slice(&[0, u8::from(soa), 0, 0]);
    out.extend(wire_name(&query.name));
    out.extend_from_slice(&query.kind.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    answers.iter().for_each(|answer| out.extend_from_slice(answer));
    if soa {
        let numbers = [1_u32, 3600, 600, 86_400, TTL_SECS].map(u32::to_be_bytes).concat();
        out.extend(record("test", SOA, &[wire_name("ns.test"), wire_name("admin.test"), numbers].concat()));
    }
    out
}
