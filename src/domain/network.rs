//! Who may reach a server: access mode and firewall rules.

use super::ids::RuleId;
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// How clients reach a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Through the gateway, from the addresses that the firewall rules allow.
    Public,
    /// From containers in the server's own network only; the gateway refuses everybody.
    Private,
}

impl Access {
    pub const ALL: [Access; 2] = [Access::Public, Access::Private];

    pub fn key(self) -> &'static str {
        match self {
            Access::Public => "Public",
            Access::Private => "Private",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.key() == text)
    }
}

/// An inclusive range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRange {
    pub start: Ipv4Addr,
    pub end: Ipv4Addr,
}

impl AddressRange {
    pub const EVERYONE: AddressRange =
        AddressRange { start: Ipv4Addr::UNSPECIFIED, end: Ipv4Addr::BROADCAST };

    /// Parses two typed addresses. An empty end means the single start address.
    pub fn parse(start: &str, end: &str) -> Result<Self, Refusal> {
        let from = parse_address("start", start)?;
        let to = if end.trim().is_empty() { from } else { parse_address("end", end)? };
        if to < from {
            return Err(Refusal::at(
                "end",
                format!("The end {to} is below the start {from}. Exchange them."),
            ));
        }
        Ok(Self { start: from, end: to })
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.start <= address && address <= self.end
    }

    /// Whether the whole internet is inside.
    pub fn is_everyone(&self) -> bool {
        *self == Self::EVERYONE
    }
}

fn parse_address(field: &'static str, typed: &str) -> Result<Ipv4Addr, Refusal> {
    let typed = typed.trim();
    match typed.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => Ok(address),
        Ok(IpAddr::V6(_)) => {
            Err(Refusal::at(field, "Rules hold IPv4 addresses. This is an IPv6 address."))
        }
        Err(_) if typed.contains('/') => Err(Refusal::at(
            field,
            "Write a range as its first and last address, not with a slash.",
        )),
        Err(_) => Err(Refusal::at(field, "Enter an IPv4 address such as 203.0.113.7.")),
    }
}

/// A rule that lets a range of client addresses connect. Rules may overlap; any match grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallRule {
    pub id: RuleId,
    pub name: String,
    pub range: AddressRange,
}

/// Rules on one server.
pub const RULES_MAX: usize = 128;

/// Parses a rule's name: 1 to 80 of letters, digits, hyphen, underscore; begins with a letter or digit, does not end in a hyphen.
pub fn parse_rule_name(typed: &str) -> Result<String, Refusal> {
    let name = typed.trim();
    let refuse = |text: &str| Err(Refusal::at("rule_name", text));
    if name.is_empty() || name.len() > 80 {
        return refuse("A rule name has 1 to 80 characters.");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return refuse("A rule name has only letters a-z, digits, hyphens and underscores.");
    }
    if !name.as_bytes()[0].is_ascii_alphanumeric() || name.ends_with('-') {
        return refuse("A rule name begins with a letter or digit and does not end with a hyphen.");
    }
    Ok(name.to_owned())
}

/// The IPv4 address of a client as rules see it: IPv4-mapped IPv6 counts as IPv4, `::1` as 127.0.0.1.
pub fn as_ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) if address.is_loopback() => Some(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    }
}

/// Whether any of the ranges lets the client in.
pub fn admits(ranges: &[AddressRange], client: IpAddr) -> bool {
    as_ipv4(client).is_some_and(|address| ranges.iter().any(|range| range.contains(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_and_ordered() {
        let range = AddressRange::parse("10.0.0.1", "10.0.0.9").unwrap();
        assert!(
            range.contains("10.0.0.1".parse().unwrap())
                && range.contains("10.0.0.9".parse().unwrap())
        );
        assert!(!range.contains("10.0.0.10".parse().unwrap()));
        assert_eq!(AddressRange::parse("10.0.0.1", "").unwrap().end, Ipv4Addr::new(10, 0, 0, 1));
        for (start, end) in
            [("10.0.0.2", "10.0.0.1"), ("::1", ""), ("10.0.0.0/8", ""), ("300.1.1.1", ""), ("", "")]
        {
            assert!(AddressRange::parse(start, end).is_err(), "{start} {end}");
        }
    }

    #[test]
    fn clients_are_admitted_by_any_rule_and_by_none_otherwise() {
        let ranges = [AddressRange::parse("127.0.0.1", "").unwrap()];
        assert!(admits(&ranges, "127.0.0.1".parse().unwrap()));
        assert!(admits(&ranges, "::ffff:127.0.0.1".parse().unwrap()));
        assert!(!admits(&ranges, "127.0.0.2".parse().unwrap()));
        assert!(!admits(&[], "127.0.0.1".parse().unwrap()));
        assert!(!admits(&[AddressRange::EVERYONE], "2001:db8::1".parse().unwrap()));
    }
}
