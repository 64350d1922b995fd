//! Which resolvers to ask: the grammar of resolv.conf(5), as far as it concerns a program that asks for whole names.
//!
//! `search`, `domain`, `sortlist` and options about them are not for mail: a mail domain is always a whole name.
//!
//! ```
//! use postier_core::dns::resolv_conf::parse;
//! let config = parse("nameserver 192.0.2.1\nnameserver ::1\noptions timeout:3 attempts:1 trust-ad\n");
//! assert_eq!(config.servers, ["192.0.2.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
//! assert_eq!((config.timeout.as_secs(), config.attempts, config.trust_ad), (3, 1, true));
//! ```

use alloc::vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use super::resolver::Config;

/// The port of DNS.
const PORT: u16 = 53;
/// As many servers as resolv.conf(5) allows.
const SERVERS_MAX: usize = 3;
/// The bounds that resolv.conf(5) puts on its numbers.
const TIMEOUT_SECS_MAX: u64 = 30;
const ATTEMPTS_MAX: u32 = 5;

/// What the file says; unknown words are passed over, as resolv.conf(5) has it. Without a server in it the machine's
/// own is asked.
pub fn parse(text: &str) -> Config {
    let mut config = Config::default();
    for line in text.lines() {
        // A comment is a line of its own that begins with ; or # in the first column, or what follows them.
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                let address = words.next().and_then(server);
                config.servers.extend(address.filter(|_| config.servers.len() < SERVERS_MAX));
            }
            Some("options") => words.for_each(|word| option(&mut config, word)),
            _ => {}
        }
    }
    if config.servers.is_empty() {
        config.servers = vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT)];
    }
    config
}

/// An address; one with a zone (`fe80::1%eth0`) names an interface and is passed over.
fn server(word: &str) -> Option<SocketAddr> {
    word.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT))
}

fn option(config: &mut Config, word: &str) {
    let (name, value) = word.split_once(':').unwrap_or((word, ""));
    match name {
        "timeout" => {
            if let Ok(secs) = value.parse::<u64>() {
                config.timeout = Duration::from_secs(secs.clamp(1, TIMEOUT_SECS_MAX));
            }
        }
        "attempts" => {
            if let Ok(attempts) = value.parse::<u32>() {
                config.attempts = attempts.clamp(1, ATTEMPTS_MAX);
            }
        }
        "rotate" => config.rotate = true,
        "trust-ad" => config.trust_ad = true,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_files_are_read_as_the_libc_reads_them() {
        let config = parse(
            "; a comment\n# another\n\nsearch example.org\nnameserver\nnameserver nonsense\nnameserver fe80::1%eth0\n\
             \tnameserver 192.0.2.7 # the office\noptions rotate timeout:999 attempts:x edns0\nnameserver 192.0.2.8\n\
             nameserver 192.0.2.9\nnameserver 192.0.2.10\n",
        );
        let servers = ["192.0.2.7:53", "192.0.2.8:53", "192.0.2.9:53"].map(|s| s.parse().unwrap());
        assert_eq!(config.servers, servers);
        assert_eq!((config.timeout.as_secs(), config.attempts), (30, Config::default().attempts));
        assert!(config.rotate && !config.trust_ad);
    }

    #[test]
    fn an_empty_file_means_the_machine_itself() {
        assert_eq!(parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }
}
