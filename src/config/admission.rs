//! Which peers may connect at all.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::unistd::{Uid, User};
use thiserror::Error;

/// Who is let in; `None` lets in whoever can connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// The networks that TCP peers come from.
    pub networks: Option<Vec<IpNet>>,
    /// The users whose processes connect to a Unix socket; whoever rusgi runs as is always let in.
    pub users: Option<Vec<u32>>,
}

/// Why a text names nobody who could be let in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// Neither a network nor an address.
    #[error("`{0}` is not a network: write an address or ADDRESS/BITS, as in 10.0.0.0/8 or fd00::/8")]
    Network(String),
    /// Bits behind the prefix are set, so one of the two is a mistake.
    #[error("`{given}` has bits set behind its prefix: write {meant}, or {address} for the one address")]
    HostBits {
        /// The text.
        given: String,
        /// The network it lies in.
        meant: IpNet,
        /// The address alone.
        address: IpAddr,
    },
    /// The user database knows no such user.
    #[error("there is no user `{0}`: create it, or write its number")]
    User(String),
}

impl Admission {
    /// Whether a TCP peer at `address` is let in.
    #[must_use]
    pub fn admits_address(&self, address: IpAddr) -> bool {
        // A socket that systemd has bound to [::] shows IPv4 peers as ::ffff:a.b.c.d.
        let plain = address.to_canonical();
        let is_in = |network: &IpNet| network.contains(&plain) || network.contains(&address);
        self.networks.as_ref().is_none_or(|networks| networks.iter().any(is_in))
    }

    /// Whether a process of `user` is let in.
    #[must_use]
    pub fn admits_user(&self, user: u32) -> bool {
        self.users.as_ref().is_none_or(|users| users.contains(&user) || user == Uid::effective().as_raw())
    }
}

/// Reads `10.0.0.0/8`, `fd00::/8`, or one address.
///
/// # Errors
/// [`AdmissionError::Network`] and [`AdmissionError::HostBits`].
pub fn parse_network(text: &str) -> Result<IpNet, AdmissionError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| AdmissionError::Network(text.to_owned()))?;
    let meant = network.trunc();
    if meant == network {
        return Ok(network);
    }
    Err(AdmissionError::HostBits { given: text.to_owned(), meant, address: network.addr() })
}

/// Reads a user's name or number.
///
/// # Errors
/// [`AdmissionError::User`].
pub fn parse_user(text: &str) -> Result<u32, AdmissionError> {
    let known = || User::from_name(text).ok().flatten().map(|user| user.uid.as_raw());
    text.parse().ok().or_else(known).ok_or_else(|| AdmissionError::User(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(networks: &[&str]) -> Admission {
        let networks = networks.iter().map(|text| parse_network(text).unwrap()).collect();
        Admission { networks: Some(networks), users: None }
    }

    fn admits(networks: &[&str], address: &str) -> bool {
        admission(networks).admits_address(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_other() {
        assert!(admits(&["10.0.0.0/8"], "10.255.0.1") && !admits(&["10.0.0.0/8"], "11.0.0.0"));
        assert!(admits(&["192.0.2.7"], "192.0.2.7") && !admits(&["192.0.2.7"], "192.0.2.8"));
        assert!(admits(&["fd00::/8"], "fdff::1") && !admits(&["fd00::/8"], "fe80::1"));
        assert!(admits(&["10.0.0.0/8", "::1"], "::1") && !admits(&["10.0.0.0/8"], "::1"));
        assert!(admits(&["0.0.0.0/0"], "8.8.8.8") && !admits(&["0.0.0.0/0"], "2001:db8::1"));
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_it_stands_for() {
        assert!(admits(&["192.0.2.0/24"], "::ffff:192.0.2.9") && !admits(&["192.0.2.0/24"], "::ffff:198.51.100.1"));
        assert!(admits(&["::ffff:192.0.2.0/120"], "::ffff:192.0.2.9"));
    }

    #[test]
    fn without_a_list_everybody_is_let_in_and_with_an_empty_one_nobody() {
        assert!(Admission::default().admits_address("8.8.8.8".parse().unwrap()));
        assert!(!admits(&[], "127.0.0.1"));
    }

    #[test]
    fn a_user_is_one_of_the_list_or_oneself() {
        let own = Uid::effective().as_raw();
        let listed = Admission { users: Some(vec![own + 7]), networks: None };
        assert!(listed.admits_user(own + 7) && listed.admits_user(own) && !listed.admits_user(own + 8));
        assert!(Admission::default().admits_user(own + 8));
        assert_eq!(parse_user("root"), Ok(0));
        assert_eq!(parse_user("33"), Ok(33));
        assert_eq!(parse_user("no-such-user"), Err(AdmissionError::User("no-such-user".to_owned())));
    }

    #[test]
    fn what_is_no_network_is_refused_with_a_remedy() {
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "example.org", "10.0.0.0/"] {
            assert_eq!(parse_network(wrong), Err(AdmissionError::Network(wrong.to_owned())));
        }
        let said = parse_network("10.0.0.1/8").unwrap_err().to_string();
        assert!(said.ends_with("write 10.0.0.0/8, or 10.0.0.1 for the one address"), "{said}");
    }
}
