//! Networks, as configurations write them: `192.0.2.0/24`, `2001:db8::/32`, an address alone, `loopback`.
//!
//! ```
//! use postier_core::site::Network;
//! let office = Network::parse("192.0.2.0/24").unwrap();
//! assert!(office.contains("192.0.2.7".parse().unwrap()) && !office.contains("192.0.3.7".parse().unwrap()));
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Those of the machine itself, of both families.
    Loopback,
    /// The addresses whose first `bits` bits are those of `address`.
    Prefix {
        /// Its other bits are zero.
        address: IpAddr,
        /// How many.
        bits: u32,
    },
}

/// Why a text names no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// It is none.
    Nonsense,
    /// Bits behind the prefix are set: it may be a slip. This network was perhaps meant.
    HostBits(IpAddr, u32),
    /// All addresses there are.
    Everybody,
}

impl Network {
    /// Reads one.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        if text == "loopback" {
            return Ok(Network::Loopback);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| NetworkError::Nonsense)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Nonsense)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        let first = first_bits(address, bits).filter(|_| bits <= most).ok_or(NetworkError::Nonsense)?;
        match bits {
            0 => Err(NetworkError::Everybody),
            _ if first != address => Err(NetworkError::HostBits(first, bits)),
            _ => Ok(Network::Prefix { address, bits }),
        }
    }

    /// Whether an address is in it. An IPv4 address that is written as one of IPv6 is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Network::Loopback => address.is_loopback(),
            Network::Prefix { address: network, bits } => {
                network.is_ipv4() == address.is_ipv4() && first_bits(address, *bits) == Some(*network)
            }
        }
    }
}

/// The address with all but its first bits zero; nothing if it does not have so many.
fn first_bits(address: IpAddr, bits: u32) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_in_their_networks_and_in_no_other() {
        for (network, within, without) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("128.0.0.0/1", "255.255.255.255", "127.255.255.255"),
            ("192.0.2.0/24", "::ffff:192.0.2.1", "::192.0.2.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::7", "2001:db8::7", "2001:db8::8"),
            ("loopback", "127.8.0.1", "192.0.2.1"),
            ("loopback", "::1", "::2"),
            ("loopback", "::ffff:127.0.0.1", "::"),
        ] {
            assert!(contains(network, within) && !contains(network, without), "{network}");
        }
    }

    #[test]
    fn what_is_no_network_and_what_is_too_many_addresses() {
        for text in
            ["", "localhost", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/", "::/129", "192.0.2/24", "/8"]
        {
            assert_eq!(Network::parse(text), Err(NetworkError::Nonsense), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0", "192.0.2.1/0"] {
            assert_eq!(Network::parse(text), Err(NetworkError::Everybody), "{text}");
        }
        let meant = NetworkError::HostBits("192.0.2.0".parse().unwrap(), 24);
        assert_eq!(Network::parse("192.0.2.7/24"), Err(meant));
    }
}
