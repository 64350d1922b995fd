//! `[queue]`, `[relay]`, `[routes]` and `[dns]`: how mail for other servers leaves.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postier_core::auth::Credentials;
use postier_core::dns::name::DomainName;
use postier_core::queue::machine;
use postier_core::site::{Network, NetworkError, Relay, Sending, TlsPolicy, Way};

use super::settings::KEYS;
use super::table::{Located, Pair, Source, Table};

/// The port of mail between servers, and that of submission.
const MAIL: u16 = 25;
const SUBMISSION: u16 = 587;
const SUBMISSIONS: u16 = 465;
/// The port of DNS.
const DNS: u16 = 53;

/// What may be asked of TLS on port 25,
const POLICIES: [(&str, TlsPolicy); 4] = [
    ("none", TlsPolicy::Never),
    ("may", TlsPolicy::May),
    ("encrypt", TlsPolicy::Encrypt),
    ("verify", TlsPolicy::Verify),
];
/// and of a server with a port of its own.
const RELAY_POLICIES: [(&str, TlsPolicy); 5] = {
    let [none, may, encrypt, verify] = POLICIES;
    [none, may, encrypt, verify, ("implicit", TlsPolicy::Implicit)]
};

/// What the sections say.
#[derive(Clone, Debug)]
pub struct SendSettings {
    /// Without a password, which is in a file of its own; `None` where no mail is sent.
    pub(super) sending: Option<Arc<Sending>>,
    /// `[relay] user` and `password_file`.
    pub(super) login: Option<(String, Located<PathBuf>)>,
    /// `[dns] servers`; empty: those of `/etc/resolv.conf`.
    pub dns: Vec<std::net::SocketAddr>,
    /// `[dns] trusted`: what they say is validated is believed, although they are not on this machine. Unset: as
    /// `/etc/resolv.conf` says of its own.
    pub dns_trusted: Option<bool>,
}

/// Reads the sections.
pub(super) fn read(source: &Source<'_>, sections: &Sections<'_, '_>) -> SendSettings {
    let Sections { queue, relay, routes, dns } = sections;
    let wanted = queue.boolean("send").unwrap_or(true);
    let ipv4_only = queue.boolean("ipv4_only").unwrap_or(false);
    let config = patience(queue);
    let from = read_from(source, relay);
    let (relay, login) = read_relay(source, relay);
    let tls = queue.choice("tls", &POLICIES).unwrap_or_default();
    let mta_sts = queue.boolean("mta_sts").unwrap_or(true);
    let routes = read_routes(source, routes, tls, relay.is_some());
    let (servers, trusted) = (dns.listeners("servers", DNS).unwrap_or_default(), dns.boolean("trusted"));
    let sending = Sending { relay, routes, tls, mta_sts, ipv4_only, from, queue: config };
    SendSettings {
        sending: wanted.then(|| Arc::new(sending)),
        login: login.filter(|_| wanted),
        dns: servers.into_iter().map(|server| server.value).collect(),
        dns_trusted: trusted,
    }
}

/// The sections this is about.
pub(super) struct Sections<'t, 's> {
    pub(super) queue: Table<'t, 's>,
    pub(super) relay: Table<'t, 's>,
    pub(super) routes: Table<'t, 's>,
    pub(super) dns: Table<'t, 's>,
}

fn patience(queue: &Table<'_, '_>) -> machine::Config {
    let mut config = machine::Config::default();
    let seconds = |key, range| queue.integer(key, range).map(Duration::from_secs);
    let day = 24 * 3600;
    let law = &mut config.law;
    law.first_pause = seconds("retry_seconds", 1..=day).unwrap_or(law.first_pause);
    law.longest_pause =
        seconds("longest_retry_seconds", 1..=7 * day).unwrap_or(law.longest_pause).max(law.first_pause);
    law.lifetime = seconds("expire_seconds", 60..=30 * day).unwrap_or(law.lifetime);
    law.delay_notice = seconds("delay_notice_seconds", 60..=30 * day).unwrap_or(law.delay_notice);
    let count = |key, default: usize| {
        queue.integer(key, 1..=10_000).map_or(default, |number| usize::try_from(number).unwrap_or(default))
    };
    config.connections_max = count("connections", config.connections_max);
    config.connections_per_destination_max =
        count("connections_per_destination", config.connections_per_destination_max);
    config
}

type Login = (String, Located<PathBuf>);

fn read_relay(source: &Source<'_>, section: &Table<'_, '_>) -> (Option<Relay>, Option<Login>) {
    let tls = section.choice("tls", &RELAY_POLICIES);
    let port = section.integer("port", 1..=65_535).and_then(|port| u16::try_from(port).ok());
    let user = section.string("user");
    let password = section.path(section.string("password_file"));
    let host = section.string("host");
    let login = match (user, password) {
        (Some(user), Some(file)) => Some((user.value, file)),
        (None, None) => None,
        (Some(one), None) => {
            let problem = source.error("`user` needs a `password_file`", one.span, "");
            source.report(problem.advise("write `password_file = \"/etc/postier/relay-password\"`"));
            None
        }
        (None, Some(one)) => {
            let problem = source.error("`password_file` needs a `user`", one.span, "");
            source.report(problem.advise("write `user = \"you@example.org\"`"));
            None
        }
    };
    let Some(host) = host else {
        // Who may send without logging in is one thing, where it goes another.
        let wanted = section.has("from").then_some(tls.is_some() || port.is_some() || login.is_some());
        if wanted.unwrap_or(section.is_there()) {
            section.missing("host", "host = \"smtp.example.net\"");
        }
        return (None, None);
    };
    check_host(source, &host);
    // Whoever gets a password should be who it is meant for.
    let tls = tls.unwrap_or(match (port, &login) {
        (Some(SUBMISSIONS), _) => TlsPolicy::Implicit,
        (_, Some(_)) => TlsPolicy::Verify,
        (_, None) => TlsPolicy::May,
    });
    let port = port.unwrap_or(match (tls, &login) {
        (TlsPolicy::Implicit, _) => SUBMISSIONS,
        (_, Some(_)) => SUBMISSION,
        (_, None) => MAIL,
    });
    (Some(Relay { host: host.value, port, tls, credentials: None }), login)
}

/// `[relay] from`: the networks from which port 25 takes mail for others without a login.
fn read_from(source: &Source<'_>, section: &Table<'_, '_>) -> Vec<Network> {
    let mut networks = Vec::new();
    for Located { value, span } in section.strings("from").unwrap_or_default() {
        let (title, advice) = match Network::parse(&value) {
            Ok(network) => {
                networks.push(network);
                continue;
            }
            Err(NetworkError::Nonsense) => (
                format!("\"{value}\" is no network"),
                "write an address, a network such as \"192.0.2.0/24\", or \"loopback\"".to_owned(),
            ),
            Err(NetworkError::HostBits(first, bits)) => (
                format!("\"{value}\" names one address and a network at the same time"),
                format!("write \"{first}/{bits}\" for the network, or the address alone"),
            ),
            Err(NetworkError::Everybody) => (
                format!("\"{value}\" is everybody: whoever sends spam would use this server"),
                "name the networks of your own machines".to_owned(),
            ),
        };
        source.report(source.error(title, span, "").advise(advice));
    }
    networks
}

/// `"example.net" = "mx.example.net:2525"`, an address, or `"mx"` for what DNS says; or
/// `{ via = "mx.example.net", tls = "verify" }`, where either may be left out; but not `via` where there is a relay: whoever
/// only wants better TLS would send past it without knowing.
fn read_routes(
    source: &Source<'_>,
    section: &Table<'_, '_>,
    usual: TlsPolicy,
    relayed: bool,
) -> BTreeMap<String, Way> {
    let mut routes = BTreeMap::new();
    for (domain, pair) in section.pairs() {
        let (via, tls) = match pair {
            Pair::Text(via) => (Some(via), None),
            Pair::Table(table) => {
                let via = table.string("via");
                if via.is_none() && relayed && !table.has("via") {
                    let title = format!("mail for {domain} goes by the relay or to its own servers?");
                    let problem = source.error(title, table.span_of("tls"), "");
                    source.report(problem.advise(
                        "add `via = \"mx\"` for its own servers; what is asked of the relay's TLS is `tls` in [relay]",
                    ));
                }
                let via = via.filter(|via| via.value != "mx");
                // Port 25 begins in the clear.
                let policies: &[_] = if via.is_some() { &RELAY_POLICIES } else { &POLICIES };
                let tls = table.choice("tls", policies);
                table.finish(KEYS);
                (via, tls)
            }
        };
        let way = match via {
            Some(via) if via.value != "mx" => {
                let (host, port) = host_and_port(&via.value);
                check_host(source, &Located { value: host.clone(), span: via.span });
                Way::Relay(Relay { host, port, tls: tls.unwrap_or(usual), credentials: None })
            }
            Some(_) | None => Way::Exchangers(tls),
        };
        routes.insert(domain.to_lowercase(), way);
    }
    routes
}

fn host_and_port(text: &str) -> (String, u16) {
    if text.parse::<IpAddr>().is_ok() {
        return (text.into(), MAIL);
    }
    let (host, port) = match text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host, port),
        None => (text, MAIL),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    (bare.unwrap_or(host).into(), port)
}

fn check_host(source: &Source<'_>, host: &Located<String>) {
    if host.value.parse::<IpAddr>().is_err() && DomainName::parse(&host.value).is_none() {
        let title = format!("\"{}\" is neither a host's name nor an address", host.value);
        let problem = source.error(title, host.span.clone(), "");
        source.report(
            problem.advise("write a name such as \"smtp.example.net\" or an address such as \"192.0.2.1\""),
        );
    }
}

impl SendSettings {
    /// How mail is sent, with this password for the relay.
    pub(super) fn with_password(&self, password: Option<&[u8]>) -> Option<Arc<Sending>> {
        let sending = self.sending.as_ref()?;
        let (Some((user, _)), Some(password)) = (&self.login, password) else { return Some(sending.clone()) };
        let mut sending = Sending::clone(sending);
        if let Some(relay) = &mut sending.relay {
            let first = password.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default();
            relay.credentials = Some(Credentials {
                authorization: Vec::new(),
                login: user.as_bytes().to_vec(),
                password: first.to_vec(),
            });
        }
        Some(Arc::new(sending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_with_and_without_ports() {
        for (text, host, port) in [
            ("mx.test", "mx.test", 25),
            ("mx.test:2525", "mx.test", 2525),
            ("192.0.2.1", "192.0.2.1", 25),
            ("192.0.2.1:26", "192.0.2.1", 26),
            ("2001:db8::1", "2001:db8::1", 25),
            ("[2001:db8::1]", "2001:db8::1", 25),
            ("[2001:db8::1]:26", "2001:db8::1", 26),
        ] {
            assert_eq!(host_and_port(text), (host.to_owned(), port), "{text}");
        }
    }

    #[test]
    fn the_password_is_the_first_line_of_its_file_and_never_shown() {
        let file = Located { value: PathBuf::from("p"), span: 0..0 };
        let relay = Relay { host: "r".into(), port: 587, tls: TlsPolicy::Verify, credentials: None };
        let sending = Sending { relay: Some(relay), ..Sending::default() };
        let login = Some(("you".to_owned(), file));
        let settings =
            SendSettings { sending: Some(Arc::new(sending)), login, dns: Vec::new(), dns_trusted: None };
        let sending = settings.with_password(Some(b"sesame\nnonsense")).unwrap();
        let credentials = sending.relay.as_ref().unwrap().credentials.as_ref().unwrap();
        assert_eq!((&credentials.login[..], &credentials.password[..]), (&b"you"[..], &b"sesame"[..]));
        assert!(!format!("{sending:?}").contains("sesame"));
    }
}
