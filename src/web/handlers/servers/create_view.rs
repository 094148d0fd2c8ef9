//! What the create page shows: the form's choices, its faults and its price.

use super::create_backup;
use super::create_cards::{self as cards, Cards, PresetCard, RegionGroup, SizeGroup, thousands};
use super::create_check::Problem;
use super::create_form::{CreateForm, RuleRow, Tab, TagRow, my_address};
use super::create_ha;
use super::create_world::World;
use super::networking_access::network_choices;
use crate::domain::catalog::{Sku, StorageSize, Tier};
use crate::domain::ha::HaMode;
use crate::domain::ids::DraftId;
use crate::domain::names::{ServerName, Tag};
use crate::domain::network::RULES_MAX;
use crate::domain::refusal::Refusal;
use crate::web::form::{Choice, FormState};
use crate::web::paths;

/// Everything on the page but its frame.
pub struct View {
    pub draft: DraftId,
    pub tab: Tab,
    pub form: CreateForm,
    pub f: FormState,
    pub problems: Vec<Problem>,
    pub is_password_kept: bool,
    /// What follows the name in the endpoint.
    pub suffix: String,
    pub presets: Vec<PresetCard>,
    pub groups: Vec<Choice>,
    pub regions: Vec<RegionGroup>,
    pub zones: Vec<Choice>,
    pub zone_hint: String,
    pub versions: Vec<Choice>,
    pub tiers: Vec<Choice>,
    pub sizes: Vec<SizeGroup>,
    pub storage: Cards,
    pub high_availability: Vec<Choice>,
    pub standby_zones: Vec<Choice>,
    pub durabilities: Vec<Choice>,
    /// That both members would be on one engine; empty when they would not.
    pub ha_warning: String,
    pub redundancies: Vec<Choice>,
    pub access: Vec<Choice>,
    pub networks: Vec<Choice>,
    /// The client's address as it was seen, and whether a rule can hold it.
    pub address: String,
    pub estimate: EstimateView,
}

/// What the view is made of.
pub struct Facts<'a> {
    pub draft: DraftId,
    pub tab: Tab,
    pub form: CreateForm,
    pub problems: Vec<Problem>,
    pub is_password_kept: bool,
    pub world: &'a World,
}

fn groups(world: &World) -> Vec<Choice> {
    world.groups.iter().map(|group| Choice::new(group.id.as_str(), &group.name)).collect()
}

impl View {
    pub fn new(facts: Facts<'_>) -> Self {
        let Facts { draft, tab, form, problems, is_password_kept, world } = facts;
        let mut f = form.state();
        for problem in &problems {
            if let Some(field) = problem.field {
                f.refuse(Refusal::at(field, &problem.text));
            }
        }
        let region = world.region(&form);
        Self {
            suffix: format!(".{}", world.config.args.endpoint_domain),
            presets: cards::preset_cards(&world.config.prices),
            groups: groups(world),
            regions: cards::regions(world),
            zones: cards::zones(world, region),
            zone_hint: cards::zone_hint(world, region),
            versions: cards::versions(world, region, &form.zone),
            tiers: cards::tiers(),
            sizes: cards::sizes(world, &form),
            storage: cards::storage(world, &form),
            high_availability: create_ha::modes(world, &form),
            standby_zones: create_ha::standby_zones(world, &form),
            durabilities: create_ha::durabilities(),
            ha_warning: create_ha::warning(world, &form),
            redundancies: create_backup::redundancies(world, &form),
            access: cards::access(),
            networks: network_choices(&world.networks),
            address: my_address(&world.address).map_or(world.address.clone(), |ip| ip.to_string()),
            estimate: EstimateView::new(&form, world),
            draft,
            tab,
            f,
            problems,
            is_password_kept,
            form,
        }
    }

    pub fn panels(&self) -> [Tab; 3] {
        Tab::PANELS
    }

    pub fn has_problem_on(&self, tab: &Tab) -> bool {
        self.problems.iter().any(|problem| problem.tab == *tab)
    }

    /// The fault in one cell of a table.
    pub fn row_error(&self, field: &str, row: &usize) -> Option<&str> {
        let anchor = format!("{field}-{row}");
        let found = self.problems.iter().find(|problem| problem.anchor == anchor);
        found.map(|problem| problem.text.as_str())
    }

    /// Where this page is found by GET: the browser comes back there instead of posting again.
    pub fn address_of_faults(&self) -> String {
        paths::server_create_tab(&self.draft, self.tab.key()) + "&check=1"
    }

    /// Where a line of the summary leads: on this tab to the field, else to the tab with its faults.
    pub fn link(&self, problem: &Problem) -> String {
        let anchor = format!("#f-{}", problem.anchor);
        if problem.tab == self.tab {
            return anchor;
        }
        paths::server_create_tab(&self.draft, problem.tab.key()) + "&check=1" + &anchor
    }

    /// Lines of the rules table: what was typed, or one blank line to begin with.
    pub fn rules(&self) -> Vec<RuleRow> {
        if self.form.rules.is_empty() { vec![RuleRow::default()] } else { self.form.rules.clone() }
    }

    pub fn tags(&self) -> Vec<TagRow> {
        if self.form.tags.is_empty() { vec![TagRow::default()] } else { self.form.tags.clone() }
    }

    pub fn may_add_rule(&self) -> bool {
        self.form.rules.len() < RULES_MAX
    }

    pub fn may_add_tag(&self) -> bool {
        self.form.tags.len() < Tag::COUNT_MAX
    }

    pub fn may_add_address(&self) -> bool {
        my_address(&self.address).is_some()
    }

    pub fn is_open_to_everyone(&self) -> bool {
        self.form.rules.iter().any(|rule| rule.range().is_some_and(|range| range.is_everyone()))
    }

    pub fn has_no_rules(&self) -> bool {
        self.form.rules.iter().all(RuleRow::is_blank)
    }

    pub fn password_hint(&self) -> &'static str {
        if self.is_password_kept {
            "Password is kept; type a new one to replace it."
        } else {
            "8 to 128 characters of at least three kinds: upper case, lower case, digit, other. Without the login in it."
        }
    }
}

/// Whether the typed name can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameState {
    Empty,
    NotAName(String),
    Taken,
    Free,
}

/// The side panel: name, sizes and what they cost in a month.
pub struct EstimateView {
    pub name: NameState,
    /// Host name that the server will have; empty without a name.
    pub endpoint: String,
    pub figures: Option<Figures>,
    /// What to choose before there is a figure.
    pub missing: String,
    pub is_example: bool,
}

/// Prices as text, from `domain::cost`.
#[derive(Debug, PartialEq, Eq)]
pub struct Figures {
    pub compute_label: String,
    pub compute: String,
    pub storage_label: String,
    pub storage: String,
    pub total: String,
    pub iops: String,
}

impl EstimateView {
    pub fn new(form: &CreateForm, world: &World) -> Self {
        let (name, endpoint) = name_state(form, world);
        let tier = Tier::parse(&form.tier);
        let sku = Sku::by_name(&form.sku).filter(|sku| Some(sku.tier) == tier);
        let storage = form.storage.parse().ok().and_then(StorageSize::by_gib);
        let missing = match (tier, sku, storage) {
            (_, Some(_), Some(_)) => String::new(),
            (Some(tier), None, _) => format!("Choose a size of the tier {}.", tier.label()),
            (None, _, _) => "Choose a compute tier.".into(),
            (_, _, None) => "Choose a storage size.".into(),
        };
        Self {
            name,
            endpoint,
            figures: sku
                .zip(storage)
                .map(|(sku, storage)| figures((sku, storage), members(form), world)),
            missing,
            is_example: world.config.prices.is_example,
        }
    }
}

fn name_state(form: &CreateForm, world: &World) -> (NameState, String) {
    if form.name.is_empty() {
        return (NameState::Empty, String::new());
    }
    match ServerName::parse(&form.name) {
        Err(refusal) => (NameState::NotAName(refusal.text), String::new()),
        Ok(name) => {
            let endpoint = format!("{name}.{}", world.config.args.endpoint_domain);
            let state = if world.is_name_taken { NameState::Taken } else { NameState::Free };
            (state, endpoint)
        }
    }
}

/// How many members the server of a form has.
fn members(form: &CreateForm) -> u32 {
    if HaMode::parse(&form.ha).is_some() { 2 } else { 1 }
}

fn figures((sku, storage): (&Sku, &StorageSize), members: u32, world: &World) -> Figures {
    let prices = &world.config.prices;
    let estimate = prices.estimate(sku, storage);
    let effective = sku.effective_iops(storage);
    let all = f64::from(members);
    let times = if members == 1 { String::new() } else { format!("{members} x ") };
    let limit = if sku.iops_max <= storage.iops_burst { "the size" } else { "the storage" };
    Figures {
        compute_label: format!("Compute, {times}{}", sku.short_name()),
        compute: prices.text(all * estimate.compute),
        storage_label: format!("Storage, {times}{}", storage.label()),
        storage: prices.text(all * estimate.storage),
        total: prices.text(all * estimate.total()),
        iops: format!("Up to {} IOPS, limited by {limit}.", thousands(effective)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::create_world::tests::{host, world};
    use super::*;

    fn view(form: CreateForm, problems: Vec<Problem>) -> View {
        let draft = DraftId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        let world = world(vec![host("01", 24, &[])]);
        View::new(Facts {
            draft,
            tab: Tab::Basics,
            form,
            problems,
            is_password_kept: false,
            world: &world,
        })
    }

    #[test]
    fn the_estimate_is_that_of_the_price_list() {
        let world = world(vec![]);
        let form = CreateForm { name: "Shop".into(), ..CreateForm::default() };
        let estimate = EstimateView::new(&form, &world);
        let (sku, size) =
            (Sku::by_name("Standard_B1ms").unwrap(), StorageSize::by_gib(32).unwrap());
        let prices = &world.config.prices;
        let figures = estimate.figures.unwrap();
        assert_eq!(figures.compute, prices.text(prices.compute_month(sku)));
        assert_eq!(figures.storage, prices.text(prices.storage_month(size)));
        assert_eq!(figures.total, "€ 14.47");
        assert_eq!(figures.iops, "Up to 640 IOPS, limited by the size.");
        assert_eq!(
            (estimate.name, estimate.endpoint.as_str()),
            (NameState::Free, "shop.pgflex.localhost")
        );
        assert!(estimate.is_example);
        let pair = EstimateView::new(&CreateForm { ha: "SameZone".into(), ..form }, &world);
        let figures = pair.figures.unwrap();
        assert_eq!(
            (figures.total.as_str(), figures.compute_label.as_str()),
            ("€ 28.94", "Compute, 2 x B1ms")
        );
    }

    #[test]
    fn a_size_of_another_tier_has_no_price_but_a_hint() {
        let form = CreateForm { tier: "GeneralPurpose".into(), ..CreateForm::default() };
        let estimate = EstimateView::new(&form, &world(vec![]));
        assert!(estimate.figures.is_none() && estimate.missing.contains("General Purpose"));
    }

    #[test]
    fn a_fault_leads_to_its_field_or_to_its_tab() {
        let problem = |tab, anchor: &str, field| Problem {
            tab,
            anchor: anchor.into(),
            text: "No.".into(),
            field,
            line: String::new(),
        };
        let problems = vec![
            problem(Tab::Basics, "name", Some("name")),
            problem(Tab::Networking, "rule_end-1", None),
        ];
        let view = view(CreateForm::default(), problems);
        assert_eq!(view.link(&view.problems[0]), "#f-name");
        assert_eq!(
            view.link(&view.problems[1]),
            "/servers/create?draft=01890a5d-ac96-774b-bcce-b302099a8057&tab=networking&check=1#f-rule_end-1"
        );
        assert_eq!(view.f.error("name"), Some("No."));
        assert_eq!(view.row_error("rule_end", &1), Some("No."));
        assert!(view.has_problem_on(&Tab::Networking) && !view.has_problem_on(&Tab::Tags));
    }
}
