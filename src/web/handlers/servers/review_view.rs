//! What the review page lists: every choice with the way back to it, and the plan with its usual times.

use super::create_backup;
use super::create_cards::thousands;
use super::create_check::Wanted;
use super::create_form::{CreateForm, Tab};
use super::create_world::{Image, World};
use super::ha_zones;
use crate::domain::catalog::RESERVED_CONNECTIONS;
use crate::domain::ha::Durability;
use crate::domain::ids::DraftId;
use crate::domain::network::Access;
use crate::domain::operation::OperationKind;
use crate::operations::kinds;
use crate::web::paths;
use crate::web::time::duration_text;
use chrono::Duration;
use std::collections::HashMap;

/// Choices that are changed at one place.
#[derive(Debug)]
pub struct Group {
    pub title: &'static str,
    /// Where they are changed.
    pub change: String,
    pub rows: Vec<Row>,
}

/// One choice.
#[derive(Debug)]
pub struct Row {
    pub term: String,
    pub value: String,
}

fn row(term: impl Into<String>, value: impl Into<String>) -> Row {
    Row { term: term.into(), value: value.into() }
}

/// Everything that was chosen, in the order of the form.
pub fn groups(draft: &DraftId, form: &CreateForm, wanted: &Wanted, world: &World) -> Vec<Group> {
    let group = |title, tab: Tab, anchor: &str, rows| {
        let change = format!("{}#f-{anchor}", paths::server_create_tab(draft, tab.key()));
        Group { title, change, rows }
    };
    vec![
        group("Server", Tab::Basics, "name", server_rows(form, wanted, world)),
        group("Compute and storage", Tab::Basics, "tier", size_rows(wanted, world)),
        group("High availability", Tab::Basics, "ha", ha_rows(wanted, world)),
        group("Backup", Tab::Basics, "retention", backup_rows(wanted, world)),
        group("Administrator", Tab::Basics, "admin_login", administrator_rows(wanted)),
        group("Networking", Tab::Networking, "access", network_rows(wanted, world)),
        group("Tags", Tab::Tags, "tags", tag_rows(wanted)),
    ]
}

fn server_rows(form: &CreateForm, wanted: &Wanted, world: &World) -> Vec<Row> {
    let (spec, args) = (&wanted.spec, &world.config.args);
    let region = world.config.region(&spec.region);
    let zone = match form.zone.as_str() {
        "" => format!("{}, chosen for you (no preference)", spec.zone),
        zone => zone.to_owned(),
    };
    let image = region.map_or(Image::Unknown, |region| world.image(region, &spec.zone, spec.major));
    let note = match image {
        Image::ToBuild => "; its image is built first, about a minute",
        Image::Present | Image::Unknown => "",
    };
    let label = region.map_or(spec.region.clone(), |region| region.label.clone());
    vec![
        row("Name", spec.name.as_str()),
        row("Resource group", wanted.group.name.as_str()),
        row("Endpoint", format!("{}.{}", spec.name, args.endpoint_domain)),
        row("Region", label),
        row("Zone", zone),
        row("Version", format!("PostgreSQL {}{note}", spec.major.number())),
    ]
}

fn size_rows(wanted: &Wanted, world: &World) -> Vec<Row> {
    let (sku, storage, prices) = (wanted.spec.sku(), wanted.spec.storage(), &world.config.prices);
    let unit = if sku.vcores == 1 { "vCore" } else { "vCores" };
    let user = sku.max_connections.saturating_sub(RESERVED_CONNECTIONS);
    vec![
        row("Tier", sku.tier.label()),
        row(
            "Size",
            format!(
                "{}: {} {unit}, {} GiB memory, {} a month",
                sku.name,
                sku.vcores,
                sku.memory_gib,
                prices.text(prices.compute_month(sku))
            ),
        ),
        row(
            "Storage",
            format!("{}, {} a month", storage.label(), prices.text(prices.storage_month(storage))),
        ),
        row("IOPS", format!("up to {}", thousands(sku.effective_iops(storage)))),
        row(
            "Connections",
            format!("{}, of which {} are yours", thousands(sku.max_connections), thousands(user)),
        ),
    ]
}

fn ha_rows(wanted: &Wanted, world: &World) -> Vec<Row> {
    let Some(ha) = &wanted.ha else {
        return vec![row("Mode", "Disabled: commits are on one host")];
    };
    let (spec, prices) = (&wanted.spec, &world.config.prices);
    let more = prices.text(prices.estimate(spec.sku(), spec.storage()).total());
    let meaning = match ha.durability {
        Durability::Preferred => "if the standby is lost, writes go on after about 3 s on one host",
        Durability::Required => {
            "if the standby is lost, writes wait until there is a standby again"
        }
    };
    let mut rows = vec![
        row("Mode", ha.mode.label()),
        row("Zones", format!("primary in {}, standby in {}", spec.zone, ha.standby_zone)),
        row("Durability", format!("{}: {meaning}", ha.durability.key())),
        row("Cost", format!("2x compute and storage: {more} a month for the standby")),
    ];
    let truth = ha_zones::of_zones(&world.loads, &spec.region, &spec.zone, &ha.standby_zone);
    if !truth.warning().is_empty() {
        rows.push(row("Keep in mind", truth.warning()));
    }
    rows
}

fn backup_rows(wanted: &Wanted, world: &World) -> Vec<Row> {
    let (spec, redundancy) = (&wanted.spec, wanted.backup.redundancy);
    let sizes = (spec.sku(), spec.storage());
    let places = create_backup::places(world, &spec.region, &spec.zone, sizes, redundancy);
    let days = wanted.backup.retention.as_days();
    vec![
        row("Retention", format!("{days} days: every moment of so many days back")),
        row("Redundancy", redundancy.label()),
        row("Where", places),
    ]
}

fn administrator_rows(wanted: &Wanted) -> Vec<Row> {
    vec![
        row("Login", wanted.spec.admin_login.as_str()),
        row("Password", "Set. pgflex keeps a SCRAM-SHA-256 verifier, not the text."),
    ]
}

fn network_rows(wanted: &Wanted, world: &World) -> Vec<Row> {
    let network = wanted.network.as_ref();
    let network = network.and_then(|id| world.networks.iter().find(|one| one.id == *id));
    let access = match (wanted.spec.access, network) {
        (Access::Public, _) => "Public access, through the gateway".to_owned(),
        (Access::Private, Some(network)) => {
            format!("Private access, in the virtual network {} ({})", network.name, network.range)
        }
        (Access::Private, None) => {
            "Private access, from the server's own Docker network only".to_owned()
        }
    };
    let rules = wanted.rules.iter().map(|rule| {
        let (start, end) = (rule.range.start, rule.range.end);
        let range = if start == end { start.to_string() } else { format!("{start} to {end}") };
        row(format!("Rule {}", rule.name), range)
    });
    let mut rows = vec![row("Access", access)];
    rows.extend(rules);
    if rows.len() == 1 && wanted.spec.access == Access::Public {
        rows.push(row("Firewall rules", "None"));
    }
    rows
}

fn tag_rows(wanted: &Wanted) -> Vec<Row> {
    if wanted.spec.tags.is_empty() {
        return vec![row("Tags", "None")];
    }
    wanted.spec.tags.iter().map(|tag| row(&tag.name, &tag.value)).collect()
}

/// The steps of the operation, with how long each took lately.
pub struct Plan {
    pub steps: Vec<PlannedStep>,
    /// How long all of them took together; empty when not measured yet.
    pub total: String,
}

pub struct PlannedStep {
    pub title: &'static str,
    pub usual: String,
}

impl Plan {
    /// `seconds` are the medians of recent operations by the name of the step.
    pub fn new(kind: OperationKind, seconds: &HashMap<String, f64>) -> Self {
        let measured = |name: &str| seconds.get(name).copied();
        let steps = kinds::steps(kind);
        let total: Option<f64> = steps.iter().map(|step| measured(step.name)).sum();
        let planned = steps.iter().map(|step| PlannedStep {
            title: step.title,
            usual: measured(step.name).map_or("not measured yet".into(), seconds_text),
        });
        Self { steps: planned.collect(), total: total.map_or(String::new(), seconds_text) }
    }
}

fn seconds_text(seconds: f64) -> String {
    duration_text(Duration::milliseconds((seconds * 1000.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::super::create_check::check;
    use super::super::create_form::{RuleRow, TagRow};
    use super::super::create_password::PasswordState;
    use super::super::create_world::tests::{host, world};
    use super::*;

    #[test]
    fn every_choice_is_listed_with_the_way_to_it() {
        let world = world(vec![host("01", 24, &[])]);
        let rule = RuleRow {
            name: "office".into(),
            start: "203.0.113.1".into(),
            end: "203.0.113.9".into(),
        };
        let form = CreateForm {
            name: "shop".into(),
            region: "westeurope".into(),
            version: "18".into(),
            admin_login: "ann".into(),
            rules: vec![rule],
            tags: vec![TagRow { name: "env".into(), value: "prod".into() }],
            ..CreateForm::default()
        };
        let wanted = check(&form, &PasswordState::Kept, &world).unwrap();
        let draft = DraftId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        let groups = groups(&draft, &form, &wanted, &world);
        let text = format!("{groups:?}");
        for part in [
            "shop.pgflex.localhost",
            "West Europe",
            "1, chosen for you",
            "PostgreSQL 18; its image is built first",
            "Standard_B1ms: 1 vCore, 2 GiB memory, € 10.95 a month",
            "32 GiB, € 3.52 a month",
            "up to 640",
            "50, of which 35 are yours",
            "203.0.113.1 to 203.0.113.9",
            "prod",
            "tab=networking#f-access",
            "Disabled: commits are on one host",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_pair_is_reviewed_with_its_zones_its_cost_and_the_truth() {
        let world = world(vec![host("01", 64, &[])]);
        let form = CreateForm {
            name: "shop".into(),
            region: "westeurope".into(),
            tier: "GeneralPurpose".into(),
            sku: "Standard_D2ds_v5".into(),
            admin_login: "ann".into(),
            ha: "ZoneRedundant".into(),
            standby_zone: "3".into(),
            durability: "Required".into(),
            ..CreateForm::default()
        };
        let wanted = check(&form, &PasswordState::Kept, &world).unwrap();
        assert_eq!(wanted.ha.as_ref().map(|ha| ha.standby_zone.as_str()), Some("3"));
        let text = format!("{:?}", ha_rows(&wanted, &world));
        for part in ["standby in 3", "writes wait", "2x compute", "not of the host"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn times_are_told_only_when_measured() {
        let plan = Plan::new(OperationKind::Create, &HashMap::new());
        assert!(plan.total.is_empty() && plan.steps[0].usual == "not measured yet");
        let steps = kinds::steps(OperationKind::Create);
        let seconds = steps.iter().map(|step| (step.name.to_owned(), 0.5)).collect();
        let plan = Plan::new(OperationKind::Create, &seconds);
        assert_eq!(plan.steps[0].usual, "0.5 s");
        assert!(plan.total.ends_with(" s"));
    }
}
