//! The create form as it was typed: what a draft keeps, what its buttons do to it.
//!
//! Nothing here is checked: a draft keeps what a person typed, right or wrong. Passwords are never
//! part of it.

use super::networking_everyone::RULE_NAME;
use super::networking_rules::{client_name, free_name};
use crate::domain::backup::{Redundancy, Retention};
use crate::domain::catalog::{Preset, Sku, Tier};
use crate::domain::ha::{Durability, HaMode};
use crate::domain::network::{Access, AddressRange, as_ipv4};
use crate::domain::version::Major;
use crate::web::form::{FormState, Posted};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A page of the wizard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tab {
    Basics,
    Networking,
    Tags,
    Review,
}

impl Tab {
    pub const ALL: [Tab; 4] = [Tab::Basics, Tab::Networking, Tab::Tags, Tab::Review];
    /// Those that are panels of the form.
    pub const PANELS: [Tab; 3] = [Tab::Basics, Tab::Networking, Tab::Tags];

    /// Word in URLs and buttons.
    pub fn key(self) -> &'static str {
        match self {
            Tab::Basics => "basics",
            Tab::Networking => "networking",
            Tab::Tags => "tags",
            Tab::Review => "review",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Tab::Basics => "Basics",
            Tab::Networking => "Networking",
            Tab::Tags => "Tags",
            Tab::Review => "Review + create",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tab| tab.key() == text)
    }

    fn next(self) -> Self {
        match self {
            Tab::Basics => Tab::Networking,
            Tab::Networking => Tab::Tags,
            Tab::Tags | Tab::Review => Tab::Review,
        }
    }

    fn back(self) -> Self {
        match self {
            Tab::Basics | Tab::Networking => Tab::Basics,
            Tab::Tags => Tab::Networking,
            Tab::Review => Tab::Tags,
        }
    }
}

/// What a button of the form asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// On from a tab whose fields must be right.
    Next(Tab),
    Back(Tab),
    /// To a tab, whatever is typed so far.
    Go(Tab),
    /// The same tab again, with what depends on other choices computed anew.
    Estimate(Tab),
    Preset(Preset),
    AddMyAddress,
    AddEveryone,
    AddRule,
    RemoveRule(usize),
    AddTag,
    RemoveTag(usize),
}

impl Action {
    /// Reads a button's value; `current` is the tab that was shown. Unknown words go on like Next.
    pub fn parse(text: &str, current: Tab) -> Self {
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        let tab = Tab::parse(rest).unwrap_or(current);
        let row = rest.parse::<usize>().unwrap_or(usize::MAX);
        match word {
            "back" => Action::Back(tab),
            "tab" => Action::Go(tab),
            "review" => Action::Go(Tab::Review),
            "estimate" => Action::Estimate(current),
            "preset" => Preset::parse(rest).map_or(Action::Estimate(current), Action::Preset),
            "add_my_address" => Action::AddMyAddress,
            "add_everyone" => Action::AddEveryone,
            "add_rule" => Action::AddRule,
            "remove_rule" => Action::RemoveRule(row),
            "add_tag" => Action::AddTag,
            "remove_tag" => Action::RemoveTag(row),
            _ => Action::Next(tab),
        }
    }

    /// The tab that is shown afterwards.
    pub fn target(self) -> Tab {
        match self {
            Action::Next(tab) => tab.next(),
            Action::Back(tab) => tab.back(),
            Action::Go(tab) | Action::Estimate(tab) => tab,
            Action::Preset(_) => Tab::Basics,
            Action::AddMyAddress
            | Action::AddEveryone
            | Action::AddRule
            | Action::RemoveRule(_) => Tab::Networking,
            Action::AddTag | Action::RemoveTag(_) => Tab::Tags,
        }
    }

    /// Id of the element to scroll to; empty for the top.
    pub fn anchor(self) -> &'static str {
        match self {
            Action::Preset(_) => "f-tier",
            Action::Estimate(_) => "estimate",
            Action::AddMyAddress
            | Action::AddEveryone
            | Action::AddRule
            | Action::RemoveRule(_) => "f-rules",
            Action::AddTag | Action::RemoveTag(_) => "f-tags",
            Action::Next(_) | Action::Back(_) | Action::Go(_) => "",
        }
    }
}

/// One typed line of the firewall rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    pub name: String,
    pub start: String,
    pub end: String,
}

impl RuleRow {
    pub fn is_blank(&self) -> bool {
        self.name.is_empty() && self.start.is_empty() && self.end.is_empty()
    }

    pub fn range(&self) -> Option<AddressRange> {
        AddressRange::parse(&self.start, &self.end).ok()
    }
}

/// One typed line of the tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRow {
    pub name: String,
    pub value: String,
}

impl TagRow {
    pub fn is_blank(&self) -> bool {
        self.name.is_empty() && self.value.is_empty()
    }
}

/// The whole form as typed, without the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateForm {
    pub name: String,
    /// Id of the resource group; empty means the first that the person may create in.
    pub group: String,
    pub region: String,
    /// Empty means no preference.
    pub zone: String,
    pub version: String,
    pub tier: String,
    pub sku: String,
    /// GiB.
    pub storage: String,
    pub ha: String,
    /// Empty means that it is chosen for the person.
    pub standby_zone: String,
    pub durability: String,
    /// Days that backups are kept.
    pub retention: String,
    /// In how many zones they are.
    pub redundancy: String,
    pub admin_login: String,
    pub access: String,
    /// Id of the virtual network of private access; empty is the server's own network only.
    pub network: String,
    pub rules: Vec<RuleRow>,
    pub tags: Vec<TagRow>,
    /// Login that the kept password was checked against: the one must not contain the other.
    pub password_login: String,
}

/// The choice of no high availability.
pub const HA_DISABLED: &str = "Disabled";

impl Default for CreateForm {
    fn default() -> Self {
        let mut form = Self {
            name: String::new(),
            group: String::new(),
            region: String::new(),
            zone: String::new(),
            version: Major::DEFAULT.number().to_string(),
            tier: String::new(),
            sku: String::new(),
            storage: String::new(),
            ha: HA_DISABLED.into(),
            standby_zone: String::new(),
            durability: Durability::Preferred.key().into(),
            retention: Retention::default().as_days().to_string(),
            redundancy: Redundancy::default().key().into(),
            admin_login: String::new(),
            access: Access::Public.key().into(),
            network: String::new(),
            rules: vec![],
            tags: vec![],
            password_login: String::new(),
        };
        form.fill_in(Preset::Development);
        form
    }
}

impl CreateForm {
    /// Fills in the values of a preset; everything else stays. High availability is what it would be
    /// where it is possible: whoever knows the hosts puts that right.
    pub fn fill_in(&mut self, preset: Preset) {
        let (sku, gib) = preset.values();
        let tier = Sku::by_name(sku).map_or(Tier::Burstable, |sku| sku.tier);
        self.tier = tier.key().into();
        self.sku = sku.into();
        self.storage = gib.to_string();
        self.ha = match preset {
            Preset::Development => HA_DISABLED.into(),
            Preset::Production => HaMode::ZoneRedundant.key().into(),
        };
    }

    /// What was posted, over what was kept. A field that was not sent stays: browsers do not send
    /// a chosen card that is closed.
    pub fn read(posted: &Posted, kept: Self) -> Self {
        let text = |name: &str, kept: String| {
            if posted.has(name) { posted.text(name).to_owned() } else { kept }
        };
        Self {
            name: text("name", kept.name),
            group: text("group", kept.group),
            region: text("region", kept.region),
            zone: text("zone", kept.zone),
            version: text("version", kept.version),
            tier: text("tier", kept.tier),
            sku: text("sku", kept.sku),
            storage: text("storage", kept.storage),
            ha: text("ha", kept.ha),
            standby_zone: text("standby_zone", kept.standby_zone),
            durability: text("durability", kept.durability),
            retention: text("retention", kept.retention),
            redundancy: text("redundancy", kept.redundancy),
            admin_login: text("admin_login", kept.admin_login),
            access: text("access", kept.access),
            network: text("network", kept.network),
            rules: read_rules(posted).unwrap_or(kept.rules),
            tags: read_tags(posted).unwrap_or(kept.tags),
            password_login: kept.password_login,
        }
    }

    /// Does to the form what a button asks for. `address` is the client's.
    pub fn apply(&mut self, action: Action, address: &str) {
        match action {
            Action::Preset(preset) => self.fill_in(preset),
            Action::AddMyAddress => {
                if let Some(address) = my_address(address) {
                    let typed = address.to_string();
                    self.add_range(&client_name(address), &typed, &typed);
                }
            }
            Action::AddEveryone => {
                let everyone = AddressRange::EVERYONE;
                let (start, end) = (everyone.start.to_string(), everyone.end.to_string());
                self.add_range(RULE_NAME, &start, &end);
            }
            Action::AddRule => self.rules.push(RuleRow::default()),
            Action::RemoveRule(row) if row < self.rules.len() => drop(self.rules.remove(row)),
            Action::AddTag => self.tags.push(TagRow::default()),
            Action::RemoveTag(row) if row < self.tags.len() => drop(self.tags.remove(row)),
            _ => {}
        }
    }

    /// Adds a rule in the first blank line or below, unless the same range is there already.
    fn add_range(&mut self, name: &str, start: &str, end: &str) {
        let name = free_name(name, |name| self.rules.iter().any(|rule| rule.name == name));
        let row = RuleRow { name, start: start.into(), end: end.into() };
        if self.rules.iter().any(|rule| rule.range().is_some() && rule.range() == row.range()) {
            return;
        }
        match self.rules.iter_mut().find(|rule| rule.is_blank()) {
            Some(blank) => *blank = row,
            None => self.rules.push(row),
        }
    }

    /// The plain fields as the macros show them.
    pub fn state(&self) -> FormState {
        FormState::new()
            .with("name", &self.name)
            .with("group", &self.group)
            .with("region", &self.region)
            .with("zone", &self.zone)
            .with("version", &self.version)
            .with("tier", &self.tier)
            .with("sku", &self.sku)
            .with("storage", &self.storage)
            .with("ha", &self.ha)
            .with("retention", &self.retention)
            .with("redundancy", &self.redundancy)
            .with("standby_zone", &self.standby_zone)
            .with("durability", &self.durability)
            .with("admin_login", &self.admin_login)
            .with("access", &self.access)
            .with("network", &self.network)
    }
}

/// The client's address as a rule can hold it.
pub fn my_address(address: &str) -> Option<std::net::Ipv4Addr> {
    as_ipv4(address.parse::<IpAddr>().ok()?)
}

fn read_rules(posted: &Posted) -> Option<Vec<RuleRow>> {
    let column = |name| posted.all(name).map(str::to_owned).collect::<Vec<_>>();
    let (starts, ends) = (column("rule_start"), column("rule_end"));
    let at = |column: &[String], row: usize| column.get(row).cloned().unwrap_or_default();
    let rows = column("rule_name").into_iter().enumerate();
    let rules: Vec<_> = rows
        .map(|(row, name)| RuleRow { name, start: at(&starts, row), end: at(&ends, row) })
        .collect();
    posted.has("rule_name").then_some(rules)
}

fn read_tags(posted: &Posted) -> Option<Vec<TagRow>> {
    let mut values = posted.all("tag_value").map(str::to_owned);
    let tags: Vec<_> = posted
        .all("tag_name")
        .map(|name| TagRow { name: name.to_owned(), value: values.next().unwrap_or_default() })
        .collect();
    posted.has("tag_name").then_some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(body: &str) -> Posted {
        Posted::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn a_field_that_is_not_sent_keeps_its_value() {
        let form = CreateForm::read(&posted("name=+shop+&region="), CreateForm::default());
        assert_eq!((form.name.as_str(), form.region.as_str()), ("shop", ""));
        assert_eq!((form.sku.as_str(), form.storage.as_str()), ("Standard_B1ms", "32"));
    }

    #[test]
    fn rows_keep_their_order_and_uneven_columns_do_no_harm() {
        let body = "rule_name=a&rule_name=b&rule_start=10.0.0.1&tag_name=x&tag_name=y&tag_value=1";
        let form = CreateForm::read(&posted(body), CreateForm::default());
        assert_eq!(form.rules.len(), 2);
        assert_eq!((form.rules[1].name.as_str(), form.rules[1].start.as_str()), ("b", ""));
        assert_eq!(form.tags[1], TagRow { name: "y".into(), value: String::new() });
    }

    #[test]
    fn my_address_is_added_once_with_a_generated_name() {
        let mut form = CreateForm { rules: vec![RuleRow::default()], ..CreateForm::default() };
        for _ in 0..2 {
            form.apply(Action::AddMyAddress, "::ffff:203.0.113.7");
        }
        assert_eq!(form.rules.len(), 1);
        assert_eq!(form.rules[0].name, "client-203-0-113-7");
        assert_eq!(
            (form.rules[0].start.as_str(), form.rules[0].end.as_str()),
            ("203.0.113.7", "203.0.113.7")
        );
        form.apply(Action::AddMyAddress, "2001:db8::1");
        assert_eq!(form.rules.len(), 1, "rules hold IPv4 only");
        form.rules[0].start = "203.0.113.6".into();
        form.apply(Action::AddMyAddress, "203.0.113.7");
        assert_eq!(form.rules.pop().unwrap().name, "client-203-0-113-7-2");
        form.apply(Action::AddEveryone, "-");
        assert_eq!(form.rules[1].name, "everyone");
        assert!(form.rules[1].range().unwrap().is_everyone());
        form.apply(Action::RemoveRule(0), "-");
        form.apply(Action::RemoveRule(7), "-");
        assert_eq!(form.rules.len(), 1);
    }

    #[test]
    fn buttons_lead_where_they_say() {
        for (text, action, target) in [
            ("next", Action::Next(Tab::Networking), Tab::Tags),
            ("next:basics", Action::Next(Tab::Basics), Tab::Networking),
            ("back:tags", Action::Back(Tab::Tags), Tab::Networking),
            ("tab:tags", Action::Go(Tab::Tags), Tab::Tags),
            ("review", Action::Go(Tab::Review), Tab::Review),
            ("next:tags", Action::Next(Tab::Tags), Tab::Review),
            ("remove_rule:3", Action::RemoveRule(3), Tab::Networking),
            ("remove_tag:x", Action::RemoveTag(usize::MAX), Tab::Tags),
            ("preset:production", Action::Preset(Preset::Production), Tab::Basics),
            ("preset:<x>", Action::Estimate(Tab::Networking), Tab::Networking),
        ] {
            let parsed = Action::parse(text, Tab::Networking);
            assert_eq!((parsed, parsed.target()), (action, target), "{text}");
        }
    }

    #[test]
    fn a_preset_fills_in_sizes_and_nothing_else() {
        let mut form = CreateForm { name: "shop".into(), ..CreateForm::default() };
        form.apply(Action::Preset(Preset::Production), "-");
        assert_eq!(
            (form.tier.as_str(), form.sku.as_str(), form.storage.as_str(), form.name.as_str()),
            ("GeneralPurpose", "Standard_D2ds_v5", "128", "shop")
        );
        assert_eq!(form.ha, "ZoneRedundant");
        form.apply(Action::Preset(Preset::Development), "-");
        assert_eq!(form.ha, HA_DISABLED);
    }
}
