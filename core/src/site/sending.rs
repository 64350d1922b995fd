//! How mail leaves: which way, how patiently, over how many connections.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Network;
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
    /// Domains say by HTTPS which exchangers they have and that they are to be verified (MTA-STS, RFC 8461), and that
    /// counts where nothing stricter is said.
    pub mta_sts: bool,
    /// Do not send over IPv6.
    pub ipv4_only: bool,
    /// Who may send without logging in; nobody unless somebody is named.
    pub from: Vec<Network>,
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

impl Relay {
    /// Names its line of connections: two that differ in anything have two.
    fn line(&self) -> String {
        let tls = match self.tls {
            TlsPolicy::Never => " without TLS",
            TlsPolicy::May => "",
            TlsPolicy::Encrypt => " encrypted",
            TlsPolicy::Verify => " verified",
            TlsPolicy::Implicit => " with implicit TLS",
        };
        let login = if self.credentials.is_some() { ", logged in" } else { "" };
        format!("{}:{}{tls}{login}", self.host, self.port)
    }
}

impl Sending {
    /// Whether mail for other servers is taken from this address on port 25.
    pub fn is_taken_from(&self, peer: IpAddr) -> bool {
        self.from.iter().any(|network| network.contains(peer))
    }

    /// The line of connections that mail for this domain, in lower case, takes: its own, or that of the server that takes
    /// the mail of this domain and others.
    pub fn line(&self, domain: &str) -> String {
        match self.way(domain) {
            Way::Exchangers(_) => domain.to_string(),
            Way::Relay(relay) => relay.line(),
        }
    }

    /// Where a line of [`Sending::line`] leads; nowhere any more if it is a server's and the configuration has changed.
    pub fn way_of_line(&self, line: &str) -> Option<Way> {
        // No domain has a colon, and an address literal begins with a bracket.
        if line.starts_with('[') || !line.contains(':') {
            return Some(self.way(line));
        }
        let ways = self.routes.values().filter_map(|way| match way {
            Way::Relay(relay) => Some(relay),
            Way::Exchangers(_) => None,
        });
        self.relay.iter().chain(ways).find(|relay| relay.line() == line).cloned().map(Way::Relay)
    }

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

    #[test]
    fn domains_by_one_server_share_its_line_and_the_line_leads_there() {
        let host = |tls| Relay { host: "2001:db8::1".into(), port: 25, tls, credentials: None };
        let relay = Some(host(TlsPolicy::Verify));
        let mut sending = Sending { relay, ..Sending::default() };
        sending.routes.insert("own.test".into(), Way::Relay(host(TlsPolicy::May)));
        sending.routes.insert("mx.test".into(), Way::Exchangers(None));
        assert_eq!(sending.line("a.test"), sending.line("b.test"));
        assert_ne!(sending.line("a.test"), sending.line("own.test"), "what is asked of its TLS differs");
        for domain in ["a.test", "own.test", "mx.test", "[IPv6:2001:db8::7]"] {
            assert_eq!(sending.way_of_line(&sending.line(domain)), Some(sending.way(domain)), "{domain}");
        }
        let direct = Sending::default();
        assert_eq!(direct.way_of_line(&sending.line("a.test")), None, "there is no such server any more");
        assert_eq!(direct.way_of_line("[IPv6:2001:db8::7]"), Some(Way::Exchangers(None)));
    }
}
