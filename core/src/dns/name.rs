//! Domain names as DNS compares them: ASCII, lower case, no final dot.
//!
//! A name in other scripts becomes its A-labels (RFC 5891). What DNS could not carry does not parse.
//!
//! ```
//! use postier_core::dns::name::DomainName;
//! assert_eq!(DomainName::parse("Example.ORG.").unwrap().as_str(), "example.org");
//! assert_eq!(DomainName::parse("bücher.example").unwrap().as_str(), "xn--bcher-kva.example");
//! assert!(DomainName::parse("a..b").is_none());
//! ```

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

use core::net::IpAddr;

/// Octets of a name in text, without the final dot (RFC 1035 §3.1: 255 on the wire).
const NAME_BYTES_MAX: usize = 253;
/// Octets of one label (RFC 1035 §3.1).
const LABEL_BYTES_MAX: usize = 63;

/// A domain name; empty for the root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.0)
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DomainName {
    /// The name of everything.
    pub const fn root() -> Self {
        DomainName(String::new())
    }

    /// A name that a person, a mail address or a server wrote. Spaces, controls and dots inside labels have no
    /// business in a host's name and do not parse; underscores do (`_dmarc`).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let ascii =
            if text.is_ascii() { text.to_ascii_lowercase() } else { idna::domain_to_ascii(text).ok()? };
        let fits = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
        };
        (ascii.len() <= NAME_BYTES_MAX && ascii.split('.').all(fits)).then_some(DomainName(ascii))
    }

    /// The name under which an address has its name (RFC 1035 §3.5, RFC 3596 §2.5).
    pub fn reverse(address: IpAddr) -> Self {
        let mut name = String::new();
        match address {
            IpAddr::V4(v4) => {
                for octet in v4.octets().iter().rev() {
                    name.push_str(&format!("{octet}."));
                }
                name.push_str("in-addr.arpa");
            }
            IpAddr::V6(v6) => {
                for octet in v6.octets().iter().rev() {
                    name.push_str(&format!("{:x}.{:x}.", octet & 0xf, octet >> 4));
                }
                name.push_str("ip6.arpa");
            }
        }
        DomainName(name)
    }

    /// This name with labels in front of it, `_25._tcp` say; nothing if it gets too long.
    pub fn under(&self, labels: &str) -> Option<Self> {
        Self::parse(&format!("{labels}.{}", self.0))
    }

    /// As text, without the final dot; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// It is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// From a name of a reply. Names that are no host's names (with a space in a label, say) are nothing to mail.
    pub(super) fn from_wire(name: &hickory_proto::rr::Name) -> Option<Self> {
        if name.is_root() {
            return Some(DomainName::root());
        }
        Self::parse(&name.to_ascii())
    }

    /// For a query.
    pub(super) fn to_wire(&self) -> Option<hickory_proto::rr::Name> {
        let mut name = hickory_proto::rr::Name::from_ascii(&self.0).ok()?;
        name.set_fqdn(true);
        Some(name)
    }
}

impl From<&DomainName> for String {
    fn from(name: &DomainName) -> String {
        name.0.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn what_dns_cannot_carry_does_not_parse() {
        let long = "a".repeat(63);
        assert!(DomainName::parse(&long).is_some());
        for bad in ["", ".", "a..b", ".a", "a b", "a\0", "a/b", "\u{7f}", &(long.clone() + "a"), "[1.2.3.4]"]
        {
            assert_eq!(DomainName::parse(bad), None, "{bad:?}");
        }
        let labels = [long.as_str(); 4].join(".");
        assert_eq!(DomainName::parse(&labels), None);
        assert!(DomainName::parse(&labels[2..]).is_some());
    }

    #[test]
    fn reverse_names_are_those_of_the_rfcs() {
        assert_eq!(DomainName::reverse("192.0.2.1".parse().unwrap()).to_string(), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            DomainName::reverse("2001:db8::567:89ab".parse().unwrap()).as_str(),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn a_name_goes_over_the_wire_and_comes_back() {
        for text in ["example.org", "xn--bcher-kva.example", "_25._tcp.mx.example.org"] {
            let name = DomainName::parse(text).unwrap();
            let wire = name.to_wire().unwrap();
            assert!(wire.is_fqdn());
            assert_eq!(DomainName::from_wire(&wire), Some(name));
        }
        assert_eq!(DomainName::from_wire(&hickory_proto::rr::Name::root()), Some(DomainName::root()));
    }
}
