//! Virtual networks: ranges of private addresses in which containers reach servers by name.

use super::ids::NetworkId;
use super::refusal::Refusal;
use chrono::{DateTime, Utc};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Largest and smallest range, as lengths of the prefix.
pub const PREFIX_MIN: u8 = 16;
pub const PREFIX_MAX: u8 = 28;

/// Ranges that are private by RFC 1918; that of carriers (RFC 6598) is not.
const PRIVATE: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// Whether servers may still join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkState {
    Active,
    /// Asked to go: it is removed from the hosts, then from the list.
    Deleting,
}

impl NetworkState {
    pub const ALL: [NetworkState; 2] = [NetworkState::Active, NetworkState::Deleting];

    pub fn key(self) -> &'static str {
        match self {
            NetworkState::Active => "Active",
            NetworkState::Deleting => "Deleting",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.key() == text)
    }
}

/// A virtual network as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualNetwork {
    pub id: NetworkId,
    pub name: String,
    pub range: Ipv4Net,
    pub state: NetworkState,
    /// Why its deletion waits; empty when it does not.
    pub note: String,
    pub created_at: DateTime<Utc>,
}

impl VirtualNetwork {
    /// Name of the Docker network on every host.
    pub fn docker_name(&self) -> String {
        docker_name(&self.id)
    }

    pub fn gateway(&self) -> Ipv4Addr {
        gateway(&self.range)
    }

    pub fn capacity(&self) -> u32 {
        capacity(&self.range)
    }
}

/// Name of the Docker network of a virtual network. Made of the id: names of people may pass from one
/// network to the next, and two installations may share an engine.
pub fn docker_name(network: &NetworkId) -> String {
    format!("pgflex-vnet-{}", network.short())
}

/// The address that is kept for the host's end of the bridge; no container gets it.
pub fn gateway(range: &Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(range.network().to_bits() + 1)
}

/// Addresses for containers on one host: all but the first, the last, and the host's.
pub fn capacity(range: &Ipv4Net) -> u32 {
    (1u32 << (32 - u32::from(range.prefix_len()))) - 3
}

/// A range that something has already, with its owner in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenRange {
    pub owner: String,
    pub range: Ipv4Net,
}

/// Parses a network's name: 2 to 64 of letters, digits, hyphen, underscore and point; begins with a letter
/// or digit, ends with a letter, digit or underscore.
///
/// # Errors
/// What is wrong with the typed name.
pub fn parse_network_name(typed: &str) -> Result<String, Refusal> {
    let name = typed.trim();
    let refuse = |text: &str| Err(Refusal::at("network_name", text));
    if name.len() < 2 || name.len() > 64 {
        return refuse("A network's name has 2 to 64 characters.");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return refuse(
            "A network's name has only letters a-z, digits, hyphens, underscores and points.",
        );
    }
    if !name.as_bytes()[0].is_ascii_alphanumeric() || name.ends_with(['-', '.']) {
        return refuse(
            "A network's name begins with a letter or digit and ends with a letter, digit or underscore.",
        );
    }
    Ok(name.to_owned())
}

/// Parses a typed range such as `10.20.0.0/24`.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn parse_network_range(typed: &str) -> Result<Ipv4Net, Refusal> {
    let refuse = |text: String| Err(Refusal::at("range", text));
    let Ok(range) = typed.trim().parse::<Ipv4Net>() else {
        return refuse(
            "Enter a range with a slash, such as 10.20.0.0/24: its first address and the length of its prefix."
                .into(),
        );
    };
    if !(PREFIX_MIN..=PREFIX_MAX).contains(&range.prefix_len()) {
        return refuse(format!(
            "A virtual network has a prefix from /{PREFIX_MIN} (65,533 containers) to /{PREFIX_MAX} (13 containers)."
        ));
    }
    if range.addr() != range.network() {
        return refuse(format!(
            "{} lies inside the range. Its first address is {}: enter {}.",
            range.addr(),
            range.network(),
            range.trunc()
        ));
    }
    if !PRIVATE.iter().any(|private| private.contains(&range)) {
        return refuse(
            "Only private addresses can be used: within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16."
                .into(),
        );
    }
    Ok(range)
}

/// Whether a range is free of what others have.
///
/// # Errors
/// Whose range it meets.
pub fn check_overlap(range: &Ipv4Net, taken: &[TakenRange]) -> Result<(), Refusal> {
    let meets = |taken: &&TakenRange| {
        taken.range.contains(&range.network()) || range.contains(&taken.range.network())
    };
    match taken.iter().find(meets) {
        None => Ok(()),
        Some(taken) => Err(Refusal::at(
            "range",
            format!(
                "{range} overlaps with {} of {}. Choose another range.",
                taken.range, taken.owner
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_ranges_of_a_fair_size_with_a_true_first_address() {
        for good in ["10.20.0.0/24", " 172.16.0.0/16 ", "192.168.7.16/28"] {
            assert!(parse_network_range(good).is_ok(), "{good}");
        }
        for (bad, words) in [
            ("10.20.0.0", "with a slash"),
            ("fd00::/64", "with a slash"),
            ("", "with a slash"),
            ("10.0.0.0/8", "prefix from /16"),
            ("10.0.0.0/29", "prefix from /16"),
            ("10.20.0.1/24", "enter 10.20.0.0/24"),
            ("198.18.0.0/24", "Only private"),
            ("8.8.8.0/24", "Only private"),
            ("172.32.0.0/16", "Only private"),
            ("100.64.0.0/16", "Only private"),
        ] {
            let refusal = parse_network_range(bad).unwrap_err();
            assert!(refusal.text.contains(words), "{bad}: {refusal}");
        }
        let small = parse_network_range("10.0.0.16/28").unwrap();
        assert_eq!((capacity(&small), gateway(&small)), (13, Ipv4Addr::new(10, 0, 0, 17)));
    }

    #[test]
    fn a_range_meets_what_it_holds_and_what_holds_it() {
        let taken = [TakenRange { owner: "host a".into(), range: "10.1.0.0/20".parse().unwrap() }];
        for bad in ["10.1.0.0/20", "10.1.3.0/24", "10.1.0.0/16"] {
            assert!(check_overlap(&bad.parse().unwrap(), &taken).is_err(), "{bad}");
        }
        assert!(check_overlap(&"10.1.16.0/20".parse().unwrap(), &taken).is_ok());
    }

    #[test]
    fn names_are_plain() {
        for good in ["ab", "Shop.prod_1", "a-b_"] {
            assert!(parse_network_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "-a", "a-", "a.", "a b", "é!", &"x".repeat(65)] {
            assert!(parse_network_name(bad).is_err(), "{bad}");
        }
    }
}
