//! The create form checked as a whole: every fault at its field, or the specification it stands for.

use super::backups_retention;
use super::create_backup;
use super::create_form::{CreateForm, HA_DISABLED, RuleRow, Tab};
use super::create_ha;
use super::create_password::PasswordState;
use super::create_world::World;
use super::networking_access::chosen_network;
use crate::clock::new_id;
use crate::domain::backup::BackupPolicy;
use crate::domain::catalog::{STORAGE_SIZES, Sku, StorageSize, Tier};
use crate::domain::group::Group;
use crate::domain::ha::{AskedHa, Durability, HaMode};
use crate::domain::ids::NetworkId;
use crate::domain::ids::RuleId;
use crate::domain::names::{AdminLogin, ServerName, Tag};
use crate::domain::network::{Access, AddressRange, FirewallRule, RULES_MAX, parse_rule_name};
use crate::domain::refusal::Refusal;
use crate::domain::region::Region;
use crate::domain::server::ServerSpec;
use crate::domain::version::Major;
use std::collections::HashSet;

/// One fault: on which tab, at which element, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub tab: Tab,
    /// Id of the element without its `f-`: a field's name, with the number of its line where it has one.
    pub anchor: String,
    pub text: String,
    /// Name of the field, for the macros; lines of tables have none.
    pub field: Option<&'static str>,
    /// Which line of a table, such as "Rule 2: "; empty for plain fields.
    pub line: String,
}

impl Problem {
    /// A refusal of the domain at the field that it names.
    pub fn of(tab: Tab, refusal: &Refusal) -> Self {
        let field = refusal.field;
        let anchor = field.unwrap_or("form").to_owned();
        Self { tab, anchor, text: refusal.text.clone(), field, line: String::new() }
    }
}

/// A form without a fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub spec: ServerSpec,
    pub group: Group,
    pub rules: Vec<FirewallRule>,
    /// The virtual network of a private server.
    pub network: Option<NetworkId>,
    /// High availability from the begin on.
    pub ha: Option<AskedHa>,
    /// How its backups are kept.
    pub backup: BackupPolicy,
}

/// Checks everything. A form with any problem stands for nothing.
pub fn check(
    form: &CreateForm,
    password: &PasswordState,
    world: &World,
) -> Result<Wanted, Vec<Problem>> {
    let mut faults = Faults(vec![]);
    let name = check_name(&mut faults, form, world);
    let group = world.group(form).cloned();
    if group.is_none() {
        faults.at(Tab::Basics, "group", "Choose one of the resource groups in the list.");
    }
    let place = check_place(&mut faults, form, world);
    let major = check_major(&mut faults, form);
    let sizes = check_sizes(&mut faults, form);
    let zone = place.zip(sizes).and_then(|(region, sizes)| {
        check_fit(&mut faults, form, world, region, sizes).map(|zone| (region, sizes, zone))
    });
    let chosen = zone.as_ref().map(|(region, sizes, zone)| (*region, *sizes, zone.as_str()));
    let ha = check_ha(&mut faults, form, world, chosen);
    let retention = faults.take(Tab::Basics, backups_retention::read("retention", &form.retention));
    let place = match (&zone, &ha) {
        (Some((region, sizes, _)), Some((zone, _))) => Some((*region, *sizes, zone.as_str())),
        _ => chosen,
    };
    let redundancy = faults.take(Tab::Basics, create_backup::check(form, world, place));
    let admin_login = faults.take(Tab::Basics, AdminLogin::parse(&form.admin_login));
    if let Some(refusal) = password.refusal() {
        faults.0.push(Problem::of(Tab::Basics, &refusal));
    }
    let (access, rules) = check_network(&mut faults, form);
    let chosen = chosen_network(&form.network, &world.networks);
    // What is chosen below a public server has no effect, so it is no fault either.
    let network = match access {
        Some(Access::Private) => faults.take(Tab::Networking, chosen).flatten(),
        Some(Access::Public) | None => None,
    };
    let tags = check_tags(&mut faults, form);
    let parts = (name, group, zone, major, admin_login, access);
    let (
        true,
        (
            Some(name),
            Some(group),
            Some((region, (sku, storage), zone)),
            Some(major),
            Some(admin_login),
            Some(access),
        ),
    ) = (faults.0.is_empty(), parts)
    else {
        return Err(faults.0);
    };
    let (zone, ha) = match ha {
        Some((zone, ha)) => (zone, Some(ha)),
        None => (zone, None),
    };
    let (region, sku) = (region.key.clone(), sku.name.to_owned());
    let storage_gib = storage.gib;
    let spec =
        ServerSpec { name, region, zone, major, sku, storage_gib, admin_login, access, tags };
    let (retention, redundancy) = (retention.unwrap_or_default(), redundancy.unwrap_or_default());
    let backup = BackupPolicy { retention, redundancy };
    Ok(Wanted { spec, group, rules, network, ha, backup })
}

struct Faults(Vec<Problem>);

impl Faults {
    fn at(&mut self, tab: Tab, field: &'static str, text: impl Into<String>) {
        self.0.push(Problem::of(tab, &Refusal::at(field, text)));
    }

    fn take<T>(&mut self, tab: Tab, checked: Result<T, Refusal>) -> Option<T> {
        checked.map_err(|refusal| self.0.push(Problem::of(tab, &refusal))).ok()
    }

    /// A fault in a line of a table.
    fn in_row(&mut self, tab: Tab, field: &str, row: usize, text: impl Into<String>) {
        let noun = if tab == Tab::Tags { "Tag" } else { "Rule" };
        let line = format!("{noun} {}: ", row + 1);
        let anchor = format!("{field}-{row}");
        self.0.push(Problem { tab, anchor, text: text.into(), field: None, line });
    }
}

fn check_name(faults: &mut Faults, form: &CreateForm, world: &World) -> Option<ServerName> {
    let name = faults.take(Tab::Basics, ServerName::parse(&form.name))?;
    if world.is_name_taken {
        let text = format!("There is a server named {name} already. Choose another name.");
        faults.at(Tab::Basics, "name", text);
        return None;
    }
    Some(name)
}

fn check_place<'a>(faults: &mut Faults, form: &CreateForm, world: &'a World) -> Option<&'a Region> {
    let Some(region) = world.region(form) else {
        faults.at(Tab::Basics, "region", "Choose one of the regions in the list.");
        return None;
    };
    if !world.is_served(region) {
        let text = format!("No host serves {}. Choose another region.", region.label);
        faults.at(Tab::Basics, "region", text);
        return None;
    }
    if !form.zone.is_empty() && !region.zones.contains(&form.zone) {
        let zones = region.zones.join(", ");
        let text = format!("{} has the zones {zones}. Choose one, or no preference.", region.label);
        faults.at(Tab::Basics, "zone", text);
        return None;
    }
    Some(region)
}

fn check_major(faults: &mut Faults, form: &CreateForm) -> Option<Major> {
    let major = Major::parse(&form.version);
    if major.is_none() {
        let offered = Major::ALL.map(|major| major.number().to_string()).join(", ");
        faults.at(Tab::Basics, "version", format!("Choose one of the versions {offered}."));
    }
    major
}

type Sizes = (&'static Sku, &'static StorageSize);

fn check_sizes(faults: &mut Faults, form: &CreateForm) -> Option<Sizes> {
    let tier = Tier::parse(&form.tier);
    if tier.is_none() {
        faults.at(Tab::Basics, "tier", "Choose one of the compute tiers.");
    }
    let sku = tier.and_then(|tier| check_sku(faults, form, tier));
    let storage = form.storage.parse().ok().and_then(StorageSize::by_gib);
    if storage.is_none() {
        let sizes: Vec<_> = STORAGE_SIZES.iter().map(StorageSize::label).collect();
        faults.at(
            Tab::Basics,
            "storage",
            format!("Choose one of the storage sizes {}.", sizes.join(", ")),
        );
    }
    sku.zip(storage)
}

/// A size belongs to its tier; a wrong one is answered with those that are allowed.
fn check_sku(faults: &mut Faults, form: &CreateForm, tier: Tier) -> Option<&'static Sku> {
    let sku = Sku::by_name(&form.sku);
    if let Some(sku) = sku.filter(|sku| sku.tier == tier) {
        return Some(sku);
    }
    let allowed = tier.skus().map(|sku| sku.name).collect::<Vec<_>>().join(", ");
    let text = match sku {
        Some(sku) => format!(
            "{} is a size of the tier {}. {} has the sizes {allowed}.",
            sku.name,
            sku.tier.label(),
            tier.label()
        ),
        None => format!("Choose a size. {} has the sizes {allowed}.", tier.label()),
    };
    faults.at(Tab::Basics, "sku", text);
    None
}

/// The zone, when a host there can take the sizes; else the fault is at what does not fit.
fn check_fit(
    faults: &mut Faults,
    form: &CreateForm,
    world: &World,
    region: &Region,
    (sku, storage): Sizes,
) -> Option<String> {
    let reason = match world.place(region, &form.zone, sku, storage) {
        Ok(zone) => return Some(zone),
        Err(reason) => reason,
    };
    let zone = region.zones.iter().find(|zone| **zone == form.zone);
    if zone.is_some_and(|zone| world.hosts(&region.key, zone).next().is_none()) {
        let text =
            format!("No host serves zone {} of {}. Choose another zone.", form.zone, region.label);
        faults.at(Tab::Basics, "zone", text);
        return None;
    }
    let field =
        if world.reason_against_sku(region, &form.zone, sku).is_some() { "sku" } else { "storage" };
    let what = if field == "sku" { sku.short_name().to_owned() } else { storage.label() };
    faults.at(Tab::Basics, field, format!("{what} does not fit on a host now. {reason}"));
    None
}

/// The zones of both members, when high availability is chosen and possible.
fn check_ha(
    faults: &mut Faults,
    form: &CreateForm,
    world: &World,
    chosen: Option<(&Region, Sizes, &str)>,
) -> Option<(String, AskedHa)> {
    if form.ha == HA_DISABLED {
        return None;
    }
    let durability = Durability::parse(&form.durability);
    if durability.is_none() {
        faults.at(Tab::Basics, "durability", "Choose what becomes of writes without a standby.");
    }
    let Some(mode) = HaMode::parse(&form.ha) else {
        faults.at(Tab::Basics, "ha", "Choose one of the modes of high availability.");
        return None;
    };
    if let Some(reason) = create_ha::reason_against_form(form) {
        faults.at(Tab::Basics, "ha", reason);
        return None;
    }
    let (region, sizes, _) = chosen?;
    match create_ha::place_pair(world, region, mode, (&form.zone, &form.standby_zone), sizes) {
        Ok((zone, standby_zone)) => {
            Some((zone, AskedHa { mode, durability: durability?, standby_zone }))
        }
        Err(refusal) => {
            faults.0.push(Problem::of(Tab::Basics, &refusal));
            None
        }
    }
}

fn check_network(faults: &mut Faults, form: &CreateForm) -> (Option<Access>, Vec<FirewallRule>) {
    let access = Access::parse(&form.access);
    let typed = form.rules.iter().filter(|rule| !rule.is_blank()).count();
    match access {
        None => faults.at(Tab::Networking, "access", "Choose public or private access."),
        Some(Access::Private) if typed > 0 => faults.at(
            Tab::Networking,
            "access",
            "A private server takes no firewall rules. Remove the rules below, or choose public access.",
        ),
        Some(_) => {}
    }
    if typed > RULES_MAX {
        let text = format!("A server has at most {RULES_MAX} firewall rules; these are {typed}.");
        faults.at(Tab::Networking, "rules", text);
    }
    let mut names = HashSet::new();
    let rows = form.rules.iter().enumerate().filter(|(_, rule)| !rule.is_blank());
    let rules: Vec<_> =
        rows.filter_map(|(row, rule)| check_rule(faults, row, rule, &mut names)).collect();
    (access, rules)
}

fn check_rule(
    faults: &mut Faults,
    row: usize,
    rule: &RuleRow,
    names: &mut HashSet<String>,
) -> Option<FirewallRule> {
    let name = parse_rule_name(&rule.name)
        .map_err(|refusal| {
            faults.in_row(Tab::Networking, "rule_name", row, refusal.text);
        })
        .ok();
    let range = AddressRange::parse(&rule.start, &rule.end)
        .map_err(|refusal| {
            let field = if refusal.field == Some("end") { "rule_end" } else { "rule_start" };
            faults.in_row(Tab::Networking, field, row, refusal.text);
        })
        .ok();
    if let Some(name) = &name
        && !names.insert(name.clone())
    {
        let text = format!("Another rule is named {name} already.");
        faults.in_row(Tab::Networking, "rule_name", row, text);
    }
    Some(FirewallRule { id: new_id(RuleId::parse), name: name?, range: range? })
}

fn check_tags(faults: &mut Faults, form: &CreateForm) -> Vec<Tag> {
    let mut names = HashSet::new();
    let mut tags = vec![];
    for (row, typed) in form.tags.iter().enumerate() {
        match Tag::parse(&typed.name, &typed.value) {
            Ok(None) => {}
            Ok(Some(tag)) if names.insert(tag.name.to_lowercase()) => tags.push(tag),
            Ok(Some(tag)) => {
                let text = format!("Another tag is named “{}” already.", tag.name);
                faults.in_row(Tab::Tags, "tag_name", row, text);
            }
            Err(refusal) => {
                faults.in_row(Tab::Tags, "tag_name", row, refusal.text);
            }
        }
    }
    if tags.len() > Tag::COUNT_MAX {
        let text =
            format!("A server has at most {} tags; these are {}.", Tag::COUNT_MAX, tags.len());
        faults.at(Tab::Tags, "tags", text);
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::super::create_form::TagRow;
    use super::super::create_world::tests::{host, world};
    use super::*;

    fn form() -> CreateForm {
        CreateForm {
            name: "Shop".into(),
            region: "westeurope".into(),
            admin_login: "shopadmin".into(),
            password_login: "shopadmin".into(),
            ..CreateForm::default()
        }
    }

    fn faults(form: &CreateForm) -> Vec<(String, String)> {
        let checked = check(form, &PasswordState::Kept, &world(vec![host("01", 24, &[])]));
        let problems = checked.err().unwrap_or_default();
        problems.into_iter().map(|problem| (problem.anchor, problem.text)).collect()
    }

    fn rule(name: &str, start: &str, end: &str) -> RuleRow {
        RuleRow { name: name.into(), start: start.into(), end: end.into() }
    }

    #[test]
    fn a_good_form_is_a_specification() {
        let mut form = form();
        form.rules = vec![rule("office", "203.0.113.1", "203.0.113.9"), RuleRow::default()];
        form.tags = vec![TagRow { name: "env".into(), value: "prod".into() }, TagRow::default()];
        let wanted =
            check(&form, &PasswordState::Kept, &world(vec![host("01", 24, &["2"])])).unwrap();
        assert_eq!((wanted.spec.name.as_str(), wanted.spec.zone.as_str()), ("shop", "2"));
        assert_eq!((wanted.rules.len(), wanted.spec.tags.len()), (1, 1));
    }

    #[test]
    fn each_fault_is_at_its_field_and_says_what_would_be_right() {
        type Change = fn(&mut CreateForm);
        let cases: &[(Change, &str, &str)] = &[
            (|f| f.name = "a".into(), "name", "3 to 63"),
            (|f| f.region = "mars".into(), "region", "regions in the list"),
            (|f| f.zone = "9".into(), "zone", "1, 2, 3"),
            (|f| f.version = "9".into(), "version", "18, 17, 15"),
            (|f| f.tier = "Gold".into(), "tier", "tiers"),
            (|f| f.sku = String::new(), "sku", "Standard_B1ms, Standard_B2s"),
            (|f| f.tier = "GeneralPurpose".into(), "sku", "Standard_D2ds_v5"),
            (|f| f.storage = "33".into(), "storage", "32 GiB, 64 GiB"),
            (|f| f.storage = "32768".into(), "storage", "does not fit"),
            (|f| f.sku = "Standard_B20ms".into(), "sku", "20 vCores"),
            (|f| f.ha = "ZoneRedundant".into(), "ha", "Burstable"),
            (|f| f.ha = "Elsewhere".into(), "ha", "modes"),
            (|f| f.admin_login = "postgres".into(), "admin_login", "reserved"),
            (|f| f.access = "Secret".into(), "access", "public or private"),
            (|f| f.rules = vec![rule("", "1.2.3.4", "")], "rule_name-0", "1 to 80"),
            (|f| f.rules = vec![rule("a", "1.2.3.4", "1.2.3.3")], "rule_end-0", "below"),
            (|f| f.rules = vec![rule("a", "::1", "")], "rule_start-0", "IPv6"),
            (
                |f| f.rules = vec![rule("a", "1.2.3.4", ""), rule("a", "1.2.3.5", "")],
                "rule_name-1",
                "already",
            ),
            (
                |f| f.rules = (0..129).map(|n| rule(&format!("r{n}"), "1.2.3.4", "")).collect(),
                "rules",
                "128",
            ),
            (
                |f| f.tags = vec![TagRow { name: String::new(), value: "x".into() }],
                "tag_name-0",
                "needs a name",
            ),
            (
                |f| {
                    f.tags = ["Env", "env"]
                        .map(|n| TagRow { name: n.into(), value: "x".into() })
                        .to_vec();
                },
                "tag_name-1",
                "already",
            ),
            (
                |f| {
                    f.tags = (0..51)
                        .map(|n| TagRow { name: format!("t{n}"), value: String::new() })
                        .collect();
                },
                "tags",
                "50",
            ),
        ];
        for (change, anchor, words) in cases {
            let mut form = form();
            change(&mut form);
            let found = faults(&form);
            assert!(
                found.len() == 1 && found[0].0 == *anchor && found[0].1.contains(words),
                "{anchor} {words}: {found:?}"
            );
        }
    }

    #[test]
    fn private_access_takes_no_rules() {
        let mut form = CreateForm { access: "Private".into(), ..form() };
        assert!(faults(&form).is_empty());
        form.rules = vec![rule("a", "1.2.3.4", "")];
        assert_eq!(faults(&form)[0].0, "access");
    }

    #[test]
    fn what_the_world_forbids_is_told_at_the_choice() {
        let mut taken = world(vec![host("01", 24, &[])]);
        taken.is_name_taken = true;
        let problems = check(&form(), &PasswordState::Kept, &taken).unwrap_err();
        assert!(problems[0].text.contains("a server named shop already"));
        let nowhere = world(vec![host("01", 24, &["1"])]);
        let elsewhere = CreateForm { region: "japaneast".into(), ..form() };
        let problems = check(&elsewhere, &PasswordState::Missing, &nowhere).unwrap_err();
        let anchors: Vec<_> = problems.iter().map(|problem| problem.anchor.as_str()).collect();
        assert_eq!(anchors, ["region", "admin_password"]);
        let other_zone = CreateForm { zone: "2".into(), ..form() };
        assert_eq!(
            check(&other_zone, &PasswordState::Kept, &nowhere).unwrap_err()[0].anchor,
            "zone"
        );
    }
}
