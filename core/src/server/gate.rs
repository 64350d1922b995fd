//! Who may connect: counts in all and per address.
//!
//! An IPv6 client counts by its /64, for that is what one customer gets.
//!
//! ```
//! use postier_core::server::gate::Gate;
//! let mut gate = Gate::new(2, 1);
//! let (here, there) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
//! assert!(gate.admit(here).is_ok());
//! assert!(gate.admit(here).is_err());
//! assert!(gate.admit(there).is_ok());
//! gate.release(here);
//! assert!(gate.admit(here).is_ok());
//! ```

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use super::Service;
use crate::imap::response::{Status, write_untagged};
use crate::smtp::reply::Reply;

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are as many connections as there may be.
    InAll,
    /// This address has as many as it may have.
    FromAddress,
}

impl Full {
    /// For the log: which limit it is.
    pub const fn why(self) -> &'static str {
        match self {
            Full::InAll => "too many connections in all ([limits] connections)",
            Full::FromAddress => "too many connections from one address ([limits] connections_per_address)",
        }
    }

    /// What to say before closing; nothing where only TLS would be understood.
    pub fn farewell(self, service: Service) -> Vec<u8> {
        let reply = match self {
            Full::InAll => Reply::TooManyConnections,
            Full::FromAddress => Reply::TooManyFromYou,
        };
        let mut out = Vec::new();
        match service {
            Service::Smtp | Service::Submission => reply.write(&mut out),
            // RFC 9051 §7.1.5: a greeting may be BYE.
            Service::Imap => write_untagged(&mut out, Status::Bye, None, reply.text()),
            Service::Submissions | Service::Imaps => {}
        }
        out
    }
}

/// Counts connections.
#[derive(Debug)]
pub struct Gate {
    connections_max: usize,
    per_address_max: usize,
    connections: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

impl Gate {
    /// A gate for so many connections in all and from one address.
    pub fn new(connections_max: usize, per_address_max: usize) -> Self {
        Gate { connections_max, per_address_max, connections: 0, by_address: BTreeMap::new() }
    }

    /// New bounds; connections that are there stay.
    pub fn reload(&mut self, connections_max: usize, per_address_max: usize) {
        (self.connections_max, self.per_address_max) = (connections_max, per_address_max);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Counts a connection in.
    ///
    /// # Errors
    /// Why not; nothing is counted then.
    pub fn admit(&mut self, peer: IpAddr) -> Result<(), Full> {
        if self.connections >= self.connections_max {
            return Err(Full::InAll);
        }
        let count = self.by_address.entry(network(peer)).or_default();
        if *count >= self.per_address_max {
            return Err(Full::FromAddress);
        }
        *count += 1;
        self.connections += 1;
        Ok(())
    }

    /// Counts an admitted connection out.
    pub fn release(&mut self, peer: IpAddr) {
        let key = network(peer);
        self.connections = self.connections.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&key);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, an IPv6 /64.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_turned_away_hears_why() {
        assert!(Full::FromAddress.farewell(Service::Smtp).starts_with(b"421 4.7.0 Too many connections"));
        assert!(Full::InAll.farewell(Service::Imap).starts_with(b"* BYE Too many connections"));
        assert!(Full::InAll.farewell(Service::Imaps).is_empty());
    }

    #[test]
    fn one_slash_64_is_one_client_and_mapped_ipv4_is_ipv4() {
        let mut gate = Gate::new(10, 1);
        assert!(gate.admit("2001:db8:1:2::1".parse().unwrap()).is_ok());
        assert!(gate.admit("2001:db8:1:2:ffff::2".parse().unwrap()).is_err());
        assert!(gate.admit("2001:db8:1:3::1".parse().unwrap()).is_ok());
        assert!(gate.admit("192.0.2.1".parse().unwrap()).is_ok());
        assert!(gate.admit("::ffff:192.0.2.1".parse().unwrap()).is_err());
        assert_eq!(gate.connections(), 3);
    }
}
