//! DANE for SMTP (RFC 7672): a domain says by signed DNS which certificate its mail server shows.
//!
//! A [`Lookup`] asks for the TLSA records of a host whose MX and addresses are validated. A host whose MX is, and which is
//! an alias that is validated, of a name that is not, has its records under the alias (RFC 7672 §2.2.2). Of others it does
//! not ask, for who can forge a name can forge a certificate. An answer that is validated binds: mail for the host goes to the
//! certificate named there or not at all, and a lookup that fails is no answer (RFC 7672 §2.1.2).
//!
//! ```
//! use postier_core::dns::dane::*;
//! use postier_core::dns::name::DomainName;
//! use postier_core::dns::route::Hop;
//! use postier_core::dns::*;
//! let name = |text| DomainName::parse(text).unwrap();
//! let host = name("mx.example.org");
//! let address = "192.0.2.1".parse().unwrap();
//! let hop = Hop { canonical: host.clone(), host, address, named: true, authentic: true };
//! let mut lookup = Lookup::new(&hop, &name("example.org"), 25).unwrap();
//! assert_eq!(lookup.question().name, name("_25._tcp.mx.example.org"));
//! let record = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
//! let records = Records::Tlsa(vec![record]);
//! let found = Found { name: name("_25._tcp.mx.example.org"), records, authentic: true };
//! let Some(Finding::Binding(dane)) = lookup.answer(Ok(found)) else { panic!() };
//! assert_eq!(dane.base, name("mx.example.org"));
//! ```

use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sha2::{Digest, Sha256, Sha512};

use super::name::DomainName;
use super::route::Hop;
use super::{Failure, Kind, Outcome, Question, Records, Tlsa};

/// The certificate's authority, which must be in the chain that the server shows, is named (RFC 7672 §3.1.2).
pub const DANE_TA: u8 = 2;
/// The certificate itself is named: its names and dates do not matter (RFC 7672 §3.1.1).
pub const DANE_EE: u8 = 3;

/// Records of one host that are looked at; a host that changes its key has two or four.
const RECORDS_MAX: usize = 32;

/// What a host's certificate must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dane {
    /// Whose records they are; the name to ask the server for (RFC 7672 §8.1).
    pub base: DomainName,
    /// With [`DANE_TA`] the certificate must have one of these names (RFC 7672 §3.2.2).
    pub names: Vec<DomainName>,
    /// One of them must match. Each is usable.
    pub records: Vec<Tlsa>,
}

/// What DNS says about a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing that is validated.
    Nothing,
    /// Records that nobody can match: TLS, with any certificate (RFC 7672 §2.2).
    Unusable,
    /// One of these, or nothing is sent.
    Binding(Arc<Dane>),
    /// It could not be found out: the host must not be used now.
    Failed(Failure),
}

/// The search for the records of one host.
#[derive(Debug)]
pub struct Lookup {
    port: u16,
    /// It is being asked whether the alias is validated.
    of_alias: bool,
    names: Vec<DomainName>,
    /// The name under which is asked now, and its question.
    base: DomainName,
    question: Question,
    /// Names to ask under if there is nothing.
    others: VecDeque<DomainName>,
}

impl Lookup {
    /// For mail to `domain` through this host and port; `None` if neither its address nor an alias can be validated.
    pub fn new(hop: &Hop, domain: &DomainName, port: u16) -> Option<Self> {
        if hop.host.is_root() {
            return None;
        }
        if !hop.authentic {
            return Self::of_alias(hop, domain, port);
        }
        // RFC 7672 §2.2.2: what the host is an alias of, then the alias.
        let mut bases = VecDeque::from([hop.canonical.clone()]);
        let mut names = Vec::from([hop.canonical.clone()]);
        for name in [&hop.host, domain] {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        if hop.host != hop.canonical {
            bases.push_back(hop.host.clone());
        }
        let base = bases.pop_front()?;
        let question = question(&base, port)?;
        Some(Lookup { port, of_alias: false, names, base, question, others: bases })
    }

    /// The address is not validated: perhaps it is what the host is an alias of that is not, and the alias is.
    fn of_alias(hop: &Hop, domain: &DomainName, port: u16) -> Option<Self> {
        if !hop.named || hop.host == hop.canonical {
            return None;
        }
        let mut names = Vec::from([hop.host.clone()]);
        if hop.host != *domain {
            names.push(domain.clone());
        }
        let (base, question) = (hop.host.clone(), Question { name: hop.host.clone(), kind: Kind::Cname });
        Some(Lookup { port, of_alias: true, names, base, question, others: VecDeque::new() })
    }

    /// What to look up; hand the outcome to [`Lookup::answer`].
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// The outcome of the question; `None` if there is another.
    pub fn answer(&mut self, outcome: Outcome) -> Option<Finding> {
        if core::mem::take(&mut self.of_alias) {
            return match (outcome, question(&self.base, self.port)) {
                (Ok(found), Some(question)) if found.authentic => {
                    self.question = question;
                    None
                }
                (Err(failure), _) if failure.is_temporary() => Some(Finding::Failed(failure)),
                (Ok(_) | Err(_), _) => Some(Finding::Nothing),
            };
        }
        let records = match outcome {
            Ok(found) if found.authentic => found.records,
            Err(failure) if failure.is_temporary() => return Some(Finding::Failed(failure)),
            // Whoever could have forged that there are records could have left them out.
            Ok(_) | Err(_) => Records::Tlsa(Vec::new()),
        };
        let Records::Tlsa(mut records) = records else { return Some(Finding::Nothing) };
        if records.is_empty() {
            let next = self.others.pop_front().and_then(|base| Some((question(&base, self.port)?, base)));
            let Some((question, base)) = next else { return Some(Finding::Nothing) };
            (self.question, self.base) = (question, base);
            return None;
        }
        records.retain(is_usable);
        records.truncate(RECORDS_MAX);
        if records.is_empty() {
            return Some(Finding::Unusable);
        }
        let (base, names) = (self.base.clone(), self.names.clone());
        Some(Finding::Binding(Arc::new(Dane { base, names, records })))
    }
}

fn question(base: &DomainName, port: u16) -> Option<Question> {
    Some(Question { name: base.under(&format!("_{port}._tcp"))?, kind: Kind::Tlsa })
}

/// RFC 7672 §3.1.3: usages 0 and 1 name authorities of the web, which mean nothing between mail servers. A digest must have
/// its length.
fn is_usable(record: &Tlsa) -> bool {
    let length = match record.matching {
        0 => !record.data.is_empty(),
        1 => record.data.len() == 32,
        2 => record.data.len() == 64,
        _ => false,
    };
    length && record.selector <= 1 && matches!(record.usage, DANE_TA | DANE_EE)
}

impl Tlsa {
    /// The record names this certificate, or its public key (RFC 6698 §2.1): both in DER, the key as
    /// `SubjectPublicKeyInfo`.
    pub fn names(&self, certificate: &[u8], public_key: &[u8]) -> bool {
        let selected = match self.selector {
            0 => certificate,
            1 => public_key,
            _ => return false,
        };
        match self.matching {
            0 => *self.data == *selected,
            1 => *self.data == *Sha256::digest(selected),
            2 => *self.data == *Sha512::digest(selected),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Found;
    use alloc::vec;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    fn hop(host: &str, canonical: &str, authentic: bool) -> Hop {
        let address = "192.0.2.1".parse().unwrap();
        Hop { host: name(host), canonical: name(canonical), address, named: authentic, authentic }
    }

    fn tlsa(usage: u8, selector: u8, matching: u8, octets: usize) -> Tlsa {
        Tlsa { usage, selector, matching, data: vec![1; octets] }
    }

    fn found(records: Vec<Tlsa>, authentic: bool) -> Outcome {
        Ok(Found { name: name("x.test"), records: Records::Tlsa(records), authentic })
    }

    fn finding(outcome: Outcome) -> Finding {
        let mut lookup = Lookup::new(&hop("mx.test", "mx.test", true), &name("d.test"), 25).unwrap();
        lookup.answer(outcome).unwrap()
    }

    #[test]
    fn who_is_not_validated_is_not_asked_for() {
        assert!(Lookup::new(&hop("mx.test", "mx.test", false), &name("d.test"), 25).is_none());
    }

    #[test]
    fn only_records_that_could_match_bind() {
        for (usage, selector, matching, octets, usable) in [
            (3, 1, 1, 32, true),
            (3, 0, 2, 64, true),
            (2, 0, 0, 1, true),
            (2, 1, 1, 31, false),
            (3, 1, 2, 32, false),
            (3, 1, 0, 0, false),
            (3, 1, 3, 32, false),
            (3, 2, 1, 32, false),
            (0, 1, 1, 32, false),
            (1, 1, 1, 32, false),
        ] {
            let record = tlsa(usage, selector, matching, octets);
            let finding = finding(found(vec![record.clone()], true));
            match finding {
                Finding::Binding(dane) => assert!(usable && dane.records == [record]),
                other => assert!(!usable && other == Finding::Unusable, "{record:?}"),
            }
        }
    }

    #[test]
    fn a_failure_is_no_answer_and_absence_is_one() {
        let good = || vec![tlsa(3, 1, 1, 32)];
        assert_eq!(finding(Err(Failure::ServerFailure)), Finding::Failed(Failure::ServerFailure));
        assert_eq!(finding(Err(Failure::Timeout)), Finding::Failed(Failure::Timeout));
        assert_eq!(finding(Err(Failure::NoName { authentic: false })), Finding::Nothing);
        assert_eq!(finding(Err(Failure::NoData { authentic: true })), Finding::Nothing);
        assert_eq!(finding(found(good(), false)), Finding::Nothing);
    }

    #[test]
    fn an_alias_is_asked_for_after_what_it_is_an_alias_of() {
        let mut lookup = Lookup::new(&hop("mx.test", "real.test", true), &name("d.test"), 25).unwrap();
        assert_eq!(lookup.question().name, name("_25._tcp.real.test"));
        assert_eq!(lookup.answer(Err(Failure::NoName { authentic: true })), None);
        assert_eq!(lookup.question().name, name("_25._tcp.mx.test"));
        let Some(Finding::Binding(dane)) = lookup.answer(found(vec![tlsa(2, 0, 1, 32)], true)) else {
            panic!()
        };
        assert_eq!(dane.base, name("mx.test"));
        assert_eq!(dane.names, [name("real.test"), name("mx.test"), name("d.test")]);
    }

    /// An alias in a signed zone, of a name in one that is not.
    fn half_signed() -> Lookup {
        let hop = Hop { named: true, ..hop("mx.test", "host.cloud.test", false) };
        Lookup::new(&hop, &name("d.test"), 25).unwrap()
    }

    fn alias(authentic: bool) -> Outcome {
        let records = Records::Cname(vec![name("host.cloud.test")]);
        Ok(Found { name: name("mx.test"), records, authentic })
    }

    #[test]
    fn an_alias_that_is_validated_has_records_of_its_own() {
        let mut lookup = half_signed();
        assert_eq!(*lookup.question(), Question { name: name("mx.test"), kind: Kind::Cname });
        assert_eq!(lookup.answer(alias(true)), None);
        assert_eq!(*lookup.question(), Question { name: name("_25._tcp.mx.test"), kind: Kind::Tlsa });
        let Some(Finding::Binding(dane)) = lookup.answer(found(vec![tlsa(2, 0, 1, 32)], true)) else {
            panic!()
        };
        assert_eq!((&dane.base, &*dane.names), (&name("mx.test"), &[name("mx.test"), name("d.test")][..]));
        let mut lookup = half_signed();
        assert_eq!(lookup.answer(alias(true)), None);
        assert_eq!(lookup.answer(Err(Failure::NoName { authentic: true })), Some(Finding::Nothing));
    }

    #[test]
    fn an_alias_that_is_not_validated_has_none_and_one_that_cannot_be_looked_up_must_wait() {
        assert_eq!(half_signed().answer(alias(false)), Some(Finding::Nothing));
        assert_eq!(half_signed().answer(Err(Failure::NoData { authentic: false })), Some(Finding::Nothing));
        let failure = Failure::ServerFailure;
        assert_eq!(half_signed().answer(Err(failure)), Some(Finding::Failed(failure)));
        // A host that is no alias, or that an MX which is not validated names.
        let unsigned = Hop { named: true, ..hop("mx.test", "mx.test", false) };
        assert!(Lookup::new(&unsigned, &name("d.test"), 25).is_none());
        assert!(Lookup::new(&hop("mx.test", "host.cloud.test", false), &name("d.test"), 25).is_none());
    }

    #[test]
    fn digests_are_those_of_what_is_selected() {
        let (certificate, key) = (&b"certificate"[..], &b"key"[..]);
        for (selector, octets) in [(0, certificate), (1, key)] {
            for (matching, data) in [
                (0, octets.to_vec()),
                (1, Sha256::digest(octets).to_vec()),
                (2, Sha512::digest(octets).to_vec()),
            ] {
                let record = Tlsa { usage: 3, selector, matching, data };
                assert!(record.names(certificate, key), "{selector} {matching}");
                assert!(!record.names(b"other", b"other"));
                assert!(!record.names(key, certificate));
            }
        }
    }
}
