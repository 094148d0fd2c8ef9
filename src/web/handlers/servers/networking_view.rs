//! What the networking page says: rules as rows, the visitor's own address, and whether every gateway
//! has the rules. Pure.

use super::networking_rules::{client_name, free_name, range_text};
use crate::domain::network::{AddressRange, FirewallRule, admits, as_ipv4};
use crate::store::routes::GatewaySeen;
use crate::web::time::{Stamp, ago_text};
use chrono::{DateTime, Duration, Utc};
use std::net::{IpAddr, Ipv4Addr};

/// A gateway that did not report for this long may not run any more.
const GATEWAY_SILENT_AFTER: Duration = Duration::seconds(60);

/// One rule as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRow {
    pub id: String,
    pub name: String,
    pub start: Ipv4Addr,
    pub end: Ipv4Addr,
    /// "256 addresses"
    pub size: String,
    pub is_everyone: bool,
    /// Whether the visitor's own address is inside.
    pub is_mine: bool,
}

pub fn rows(rules: &[FirewallRule], me: &Me) -> Vec<RuleRow> {
    rules
        .iter()
        .map(|rule| RuleRow {
            id: rule.id.as_str().to_owned(),
            name: rule.name.clone(),
            start: rule.range.start,
            end: rule.range.end,
            size: size_text(&rule.range),
            is_everyone: rule.range.is_everyone(),
            is_mine: me.address.is_some_and(|address| rule.range.contains(address)),
        })
        .collect()
}

fn size_text(range: &AddressRange) -> String {
    match u64::from(u32::from(range.end)) - u64::from(u32::from(range.start)) + 1 {
        1 => "1 address".into(),
        _ if range.is_everyone() => "every IPv4 address".into(),
        count => format!("{} addresses", grouped(count)),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    digits.chars().enumerate().fold(String::new(), |mut text, (at, digit)| {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
        text
    })
}

/// The visitor's own address, as the portal sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// What was seen, whatever it is.
    pub text: String,
    /// The same as rules see it; `None` where no rule can hold it.
    pub address: Option<Ipv4Addr>,
    pub is_loopback: bool,
    /// Whether a rule lets it in.
    pub is_admitted: bool,
}

impl Me {
    pub fn new(seen: &str, rules: &[FirewallRule]) -> Self {
        let ip: Option<IpAddr> = seen.parse().ok();
        let ranges: Vec<AddressRange> = rules.iter().map(|rule| rule.range).collect();
        Self {
            text: seen.to_owned(),
            address: ip.and_then(as_ipv4),
            is_loopback: ip.is_some_and(|ip| ip.to_canonical().is_loopback()),
            is_admitted: ip.is_some_and(|ip| admits(&ranges, ip)),
        }
    }

    /// Name of a rule for this address alone. Asking twice gives the same rule; a rule of the name
    /// that lets in others is left alone.
    pub fn rule_name(&self, rules: &[FirewallRule]) -> Option<String> {
        let address = self.address?;
        let mine = AddressRange { start: address, end: address };
        let is_taken = |name: &str| rules.iter().any(|one| one.name == name && one.range != mine);
        Some(free_name(&client_name(address), is_taken))
    }

    /// Why there is no rule for it; empty when there can be one.
    pub fn why_not(&self) -> &'static str {
        match (self.address, &*self.text) {
            (Some(_), _) => "",
            (None, "-") => "Your address is not known here.",
            (None, _) => "Rules hold IPv4 addresses, and you come from an IPv6 address.",
        }
    }
}

/// Whether the gateways have the rules as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    pub headline: String,
    pub is_waiting: bool,
    pub is_warning: bool,
    pub gateways: Vec<GatewayLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayLine {
    pub id: String,
    pub text: String,
    pub seen: Stamp,
    pub stale: bool,
}

/// `generation` is the number of the last change of any route or rule.
pub fn effect(generation: i64, gateways: &[GatewaySeen], now: DateTime<Utc>) -> Effect {
    let is_silent = |gateway: &GatewaySeen| now - gateway.seen_at > GATEWAY_SILENT_AFTER;
    let alive: Vec<&GatewaySeen> = gateways.iter().filter(|one| !is_silent(one)).collect();
    let behind: Vec<&str> = alive
        .iter()
        .filter(|gateway| gateway.generation < generation)
        .map(|gateway| gateway.id.as_str())
        .collect();
    let headline = if alive.is_empty() {
        "No gateway reports. The rules are kept and apply as soon as one runs.".to_owned()
    } else if behind.is_empty() && alive.len() == gateways.len() {
        format!("In effect on {}.", all(alive.len()))
    } else if behind.is_empty() {
        "In effect on every gateway that reports; one or more do not.".to_owned()
    } else {
        format!("Waiting for gateway {}.", behind.join(", "))
    };
    Effect {
        headline,
        is_waiting: !behind.is_empty(),
        is_warning: alive.len() != gateways.len() || alive.is_empty(),
        gateways: gateways.iter().map(|one| line(one, generation, is_silent(one), now)).collect(),
    }
}

fn all(count: usize) -> String {
    if count == 1 { "the gateway".into() } else { format!("all {count} gateways") }
}

fn line(gateway: &GatewaySeen, generation: i64, stale: bool, now: DateTime<Utc>) -> GatewayLine {
    let seen = ago_text(gateway.seen_at, now);
    let text = if stale {
        format!("silent, last heard of {seen}: which rules it applies is not known")
    } else if gateway.generation < generation {
        format!("has applied change {}, the last is {generation}", gateway.generation)
    } else {
        format!("has applied change {}, seen {seen}", gateway.generation)
    };
    GatewayLine { id: gateway.id.clone(), text, seen: Stamp(gateway.seen_at), stale }
}

/// What a person is told after a rule was saved.
pub fn saved_text(rule: &FirewallRule, is_new: bool) -> String {
    let range = range_text(&rule.range);
    if is_new {
        format!("Rule {} is added: {range} may connect.", rule.name)
    } else {
        format!(
            "Rule {} now has the range {range}. Connections that no rule allows any more are closed.",
            rule.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::new_id;
    use crate::domain::ids::RuleId;

    fn rule(start: &str, end: &str) -> FirewallRule {
        FirewallRule {
            id: new_id(RuleId::parse),
            name: "office".into(),
            range: AddressRange::parse(start, end).unwrap(),
        }
    }

    #[test]
    fn my_address_is_told_with_what_rules_can_do_for_it() {
        let rules = [rule("10.0.0.0", "10.0.0.255")];
        let me = Me::new("10.0.0.7", &rules);
        assert!(me.is_admitted && !me.is_loopback && me.why_not().is_empty());
        assert_eq!(me.rule_name(&rules).as_deref(), Some("client-10-0-0-7"));
        let taken = FirewallRule { name: "client-10-0-0-7".into(), ..rule("10.0.0.0", "10.0.0.9") };
        assert_eq!(me.rule_name(&[taken]).as_deref(), Some("client-10-0-0-7-2"));
        let same = FirewallRule { name: "client-10-0-0-7".into(), ..rule("10.0.0.7", "10.0.0.7") };
        assert_eq!(me.rule_name(&[same]).as_deref(), Some("client-10-0-0-7"));
        let me = Me::new("::1", &rules);
        assert!(me.is_loopback && !me.is_admitted && me.address == Some(Ipv4Addr::LOCALHOST));
        let me = Me::new("2001:db8::1", &rules);
        assert!(me.rule_name(&rules).is_none() && me.why_not().contains("IPv6"));
        assert!(Me::new("-", &rules).why_not().contains("not known"));
        let row = &rows(&rules, &Me::new("10.0.0.9", &rules))[0];
        assert!(row.is_mine && row.size == "256 addresses");
        assert_eq!(size_text(&AddressRange::EVERYONE), "every IPv4 address");
        assert_eq!(
            size_text(&AddressRange::parse("0.0.0.0", "127.255.255.255").unwrap()),
            "2,147,483,648 addresses"
        );
    }

    #[test]
    fn rules_are_in_effect_when_every_gateway_that_lives_has_them() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let seen = |id: &str, generation, ago| GatewaySeen {
            id: id.into(),
            seen_at: now - Duration::seconds(ago),
            generation,
            notes: String::new(),
        };
        assert!(effect(7, &[], now).headline.contains("No gateway reports"));
        let fine = effect(7, &[seen("a", 7, 3)], now);
        assert_eq!((&*fine.headline, fine.is_waiting), ("In effect on the gateway.", false));
        let behind = effect(7, &[seen("a", 7, 3), seen("b", 6, 3)], now);
        assert_eq!((&*behind.headline, behind.is_waiting), ("Waiting for gateway b.", true));
        let silent = effect(7, &[seen("a", 7, 3), seen("b", 6, 300)], now);
        assert!(!silent.is_waiting && silent.is_warning && silent.gateways[1].stale);
        let both = effect(7, &[seen("a", 7, 3), seen("b", 8, 3)], now);
        assert_eq!(both.headline, "In effect on all 2 gateways.");
    }
}
