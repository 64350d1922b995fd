//! How mail leaves: which way, how patiently, over how many connections.

use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::auth::Credentials;
use crate::queue::machine;

/// How mail for other servers is sent.
#[derive(Clone, Debug, Default)]
pub struct Sending {
    /// Everything goes to this server, which sends it on.
    pub relay: Option<Relay>,
    /// Ways of their own, by domain; `.example.org` means everything below it.
    pub routes: BTreeMap<String, Way>,
    /// What is asked of the TLS of exchangers for which nothing else is said.
    pub tls: TlsPolicy,
    /// Do not send over IPv6.
    pub ipv4_only: bool,
    /// Patience and bounds.
    pub queue: machine::Config,
}

/// Where mail for a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To its mail exchangers, as DNS has them; with a word of its own about their TLS, or with [`Sending::tls`].
    Exchangers(Option<TlsPolicy>),
    /// To this server.
    Relay(Relay),
}

/// A server that takes our mail for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is asked of its TLS.
    pub tls: TlsPolicy,
    /// Log in with these; only ever inside TLS.
    pub credentials: Option<Credentials>,
}

/// What is asked of another server's TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsPolicy {
    /// None, although it is offered.
    Never,
    /// If it is offered, whatever the certificate (RFC 7435): it keeps mail from who only listens.
    #[default]
    May,
    /// Or do not send; whatever the certificate.
    Encrypt,
    /// Or do not send; the certificate must be good for the server's name.
    Verify,
    /// As `Verify`, and from the first octet (RFC 8314 §3.3).
    Implicit,
}

impl Sending {
    /// The way for this domain, in lower case.
    pub fn way(&self, domain: &str) -> Way {
        let own = self.routes.get(domain).or_else(|| {
            let dots = domain.bytes().enumerate().filter(|(_, octet)| *octet == b'.');
            dots.filter_map(|(at, _)| domain.get(at..)).find_map(|above| self.routes.get(above))
        });
        match (own, &self.relay) {
            (Some(way), _) => way.clone(),
            (None, Some(relay)) => Way::Relay(relay.clone()),
            (None, None) => Way::Exchangers(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_shows_the_way() {
        let to = |host: &str| {
            Way::Relay(Relay { host: host.into(), port: 25, tls: TlsPolicy::May, credentials: None })
        };
        let mut sending = Sending::default();
        assert_eq!(sending.way("a.test"), Way::Exchangers(None));
        sending.routes.insert("a.test".into(), to("one"));
        sending.routes.insert(".a.test".into(), to("two"));
        sending.routes.insert(".b.a.test".into(), Way::Exchangers(Some(TlsPolicy::Encrypt)));
        if let Way::Relay(relay) = to("smart") {
            sending.relay = Some(relay);
        }
        assert_eq!(sending.way("a.test"), to("one"));
        assert_eq!(sending.way("x.y.a.test"), to("two"));
        assert_eq!(sending.way("x.b.a.test"), Way::Exchangers(Some(TlsPolicy::Encrypt)));
        assert_eq!(sending.way("ba.test"), to("smart"));
    }
}
