//! The choices of the create form as cards and options, each with its price and, where it is closed,
//! with the reason on it.

use super::create_form::CreateForm;
use super::create_world::{Image, World};
use crate::domain::catalog::{Preset, STORAGE_SIZES, Sku, StorageSize, Tier};
use crate::domain::cost::PriceList;
use crate::domain::network::Access;
use crate::domain::region::Region;
use crate::domain::version::Major;
use crate::web::form::Choice;
use crate::web::paths;

/// A card that a preset may point at.
pub struct Card {
    pub choice: Choice,
    pub is_chosen: bool,
    /// Keys of the presets that fill this in.
    pub presets: String,
}

/// Cards that can be chosen, and apart from them those that cannot.
pub struct Cards {
    /// With the chosen one, even when it is closed: what is chosen must be seen.
    pub open: Vec<Card>,
    pub closed: Vec<Card>,
    /// Who cannot take them, as in "no host can take now".
    closed_by: &'static str,
}

/// Closed because no host of the chosen place has room.
const BY_ALL: &str = "no host can take now";
/// Closed for a server that has its host.
pub const BY_ITS_HOST: &str = "its host cannot take now";

impl Cards {
    fn of(cards: impl Iterator<Item = Card>, closed_by: &'static str) -> Self {
        let (closed, open) = cards.partition(|card| card.choice.is_closed() && !card.is_chosen);
        Self { open, closed, closed_by }
    }

    /// "5 sizes that no host can take now".
    pub fn closed_text(&self) -> String {
        match self.closed.len() {
            1 => format!("1 size that {}", self.closed_by),
            count => format!("{count} sizes that {}", self.closed_by),
        }
    }
}

/// The sizes of one tier.
pub struct SizeGroup {
    pub tier: Tier,
    pub cards: Cards,
}

/// Regions under one heading.
pub struct RegionGroup {
    pub label: String,
    pub regions: Vec<Choice>,
}

/// A preset as a button.
pub struct PresetCard {
    pub key: &'static str,
    pub label: &'static str,
    pub purpose: &'static str,
    pub sizes: String,
    pub price: String,
}

impl PresetCard {
    /// The form with these values.
    pub fn link(&self) -> String {
        paths::server_create_preset(self.key)
    }
}

pub fn preset_cards(prices: &PriceList) -> Vec<PresetCard> {
    let card = |preset: Preset| {
        let (sku, gib) = preset.values();
        let (sku, storage) = Sku::by_name(sku).zip(StorageSize::by_gib(gib))?;
        let (label, purpose) = match preset {
            Preset::Development => ("Development", "For trying things out, tests and small sites."),
            Preset::Production => (
                "Production",
                "For steady load that people depend on, with a standby in another zone where the hosts have room for it.",
            ),
        };
        Some(PresetCard {
            key: preset.key(),
            label,
            purpose,
            sizes: format!(
                "{} {}, {}, {}, {} storage",
                sku.tier.label(),
                sku.short_name(),
                vcores(sku.vcores),
                format_args!("{} GiB memory", sku.memory_gib),
                storage.label()
            ),
            price: preset_price(preset, prices, prices.estimate(sku, storage).total()),
        })
    };
    Preset::ALL.into_iter().filter_map(card).collect()
}

/// With what a standby adds, where the preset chooses one.
fn preset_price(preset: Preset, prices: &PriceList, total: f64) -> String {
    match preset {
        Preset::Development => per_month(&prices.text(total)),
        Preset::Production => format!(
            "{}, {} with the standby",
            per_month(&prices.text(total)),
            prices.text(2.0 * total)
        ),
    }
}

/// Every region under its heading, marked; those that no host serves are closed.
pub fn regions(world: &World) -> Vec<RegionGroup> {
    let mut groups: Vec<RegionGroup> = vec![];
    for region in &world.config.regions {
        let choice = region_choice(world, region);
        match groups.iter_mut().find(|group| group.label == region.group) {
            Some(group) => group.regions.push(choice),
            None => groups.push(RegionGroup { label: region.group.clone(), regions: vec![choice] }),
        }
    }
    groups
}

fn region_choice(world: &World, region: &Region) -> Choice {
    let choice = Choice::new(&region.key, &region.label);
    if !world.is_served(region) {
        return choice.closed("no host serves it");
    }
    choice.detail(if region.zone_redundant() { "zone redundant" } else { "one zone" })
}

/// What is true of a region's zones on these hosts.
pub fn zone_hint(world: &World, region: Option<&Region>) -> String {
    let Some(region) = region else { return String::new() };
    match world.hosts_of(region).as_slice() {
        [] => String::new(),
        [host] if region.zone_redundant() => format!(
            "All zones of {} are on one host ({host}): a zone is a label here, not protection.",
            region.label
        ),
        hosts => format!(
            "{} is on the hosts {}. No preference takes the zone whose host has most memory left.",
            region.label,
            hosts.join(", ")
        ),
    }
}

pub fn zones(world: &World, region: Option<&Region>) -> Vec<Choice> {
    let any = Choice::new("", "No preference");
    let zones = region.into_iter().flat_map(|region| {
        region.zones.iter().map(move |zone| {
            let choice = Choice::new(zone, format!("Zone {zone}"));
            match world.hosts(&region.key, zone).next() {
                Some(_) => choice,
                None => choice.closed("no host serves it"),
            }
        })
    });
    std::iter::once(any).chain(zones).collect()
}

pub fn versions(world: &World, region: Option<&Region>, zone: &str) -> Vec<Choice> {
    let card = |major: Major| {
        let number = major.number();
        let choice = Choice::new(number.to_string(), format!("PostgreSQL {number}"))
            .detail(format!("Supported until {}", major.supported_until()));
        match region.map_or(Image::Unknown, |region| world.image(region, zone, major)) {
            Image::Present => choice.fact("Image is on the host"),
            Image::ToBuild => choice.fact("Image will be built first, about a minute"),
            Image::Unknown => choice,
        }
    };
    Major::ALL.into_iter().map(card).collect()
}

pub fn tiers() -> Vec<Choice> {
    let card = |tier: Tier| Choice::new(tier.key(), tier.label()).detail(tier.purpose());
    Tier::ALL.into_iter().map(card).collect()
}

/// Every size, by tier. Those that no host of the chosen place can take are closed.
pub fn sizes(world: &World, form: &CreateForm) -> Vec<SizeGroup> {
    let region = world.region(form);
    let prices = &world.config.prices;
    size_groups(&form.sku, BY_ALL, |sku| {
        let choice = size_choice(sku).price(per_month(&prices.text(prices.compute_month(sku))));
        let reason = region.and_then(|region| world.reason_against_sku(region, &form.zone, sku));
        choice.closed(reason.unwrap_or_default())
    })
}

/// Every size by tier; what stands on a card and what closes it is for the caller to say.
pub fn size_groups(
    chosen: &str,
    closed_by: &'static str,
    choice: impl Fn(&'static Sku) -> Choice,
) -> Vec<SizeGroup> {
    let card = |sku: &'static Sku| {
        let preset = |preset: &Preset| preset.values().0 == sku.name;
        let presets = preset_keys(preset);
        Card { choice: choice(sku), is_chosen: chosen == sku.name, presets }
    };
    let cards = |tier: Tier| Cards::of(tier.skus().map(card), closed_by);
    Tier::ALL.map(|tier| SizeGroup { tier, cards: cards(tier) }).into()
}

/// The figures of a size, without price.
pub fn size_choice(sku: &Sku) -> Choice {
    Choice::new(sku.name, sku.short_name())
        .fact(vcores(sku.vcores))
        .fact(format!("{} GiB memory", sku.memory_gib))
        .fact(format!("up to {} IOPS", thousands(sku.iops_max)))
        .fact(format!("{} connections", thousands(sku.max_connections)))
}

/// Every storage size, with what it gives together with the chosen compute.
pub fn storage(world: &World, form: &CreateForm) -> Cards {
    let (region, sku) = (world.region(form), Sku::by_name(&form.sku));
    let card = |size: &'static StorageSize| {
        let prices = &world.config.prices;
        let provisioned = match size.iops_burst > size.iops {
            true => {
                format!("{} IOPS, bursts to {}", thousands(size.iops), thousands(size.iops_burst))
            }
            false => format!("{} IOPS", thousands(size.iops)),
        };
        let mut choice = Choice::new(size.gib.to_string(), size.label())
            .fact(provisioned)
            .price(per_month(&prices.text(prices.storage_month(size))));
        if let Some(sku) = sku {
            let effective = thousands(sku.effective_iops(size));
            choice = choice.fact(format!("up to {effective} with {}", sku.short_name()));
        }
        let reason =
            region.and_then(|region| world.reason_against_storage(region, &form.zone, size));
        choice.closed = reason.unwrap_or_default();
        let preset = |preset: &Preset| preset.values().1 == size.gib;
        let is_chosen = form.storage == choice.value;
        Card { choice, is_chosen, presets: preset_keys(preset) }
    };
    Cards::of(STORAGE_SIZES.iter().map(card), BY_ALL)
}

fn preset_keys(fills: impl Fn(&Preset) -> bool) -> String {
    Preset::ALL
        .iter()
        .filter(|preset| fills(preset))
        .map(|preset| preset.key())
        .collect::<Vec<_>>()
        .join(" ")
}

pub fn access() -> Vec<Choice> {
    let card = |access: Access| {
        match access {
        Access::Public => Choice::new(access.key(), "Public access")
            .detail("Clients connect through the gateway, from the addresses that firewall rules allow."),
        Access::Private => Choice::new(access.key(), "Private access")
            .detail("No way in through the gateway. Containers in its virtual network reach it by name, and nobody else does."),
    }
    };
    Access::ALL.into_iter().map(card).collect()
}

pub fn vcores(count: u32) -> String {
    if count == 1 { "1 vCore".into() } else { format!("{count} vCores") }
}

pub fn per_month(price: &str) -> String {
    format!("{price} / month")
}

/// A number with a comma between thousands.
pub fn thousands(number: impl Into<i64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::create_world::tests::{host, world};
    use super::*;

    fn form() -> CreateForm {
        CreateForm { region: "westeurope".into(), ..CreateForm::default() }
    }

    #[test]
    fn a_size_that_does_not_fit_is_closed_with_its_reason_and_keeps_its_price() {
        let world = world(vec![host("01", 24, &[])]);
        let groups = sizes(&world, &form());
        let all =
            || groups.iter().flat_map(|group| group.cards.open.iter().chain(&group.cards.closed));
        assert_eq!(all().count(), 25);
        let card = |name: &str| all().find(|card| card.choice.label == name).unwrap();
        assert!(card("B1ms").is_chosen && !card("B1ms").choice.is_closed());
        assert_eq!(card("B1ms").presets, "development");
        assert_eq!(card("D2ds_v5").presets, "production");
        assert!(card("D96ds_v5").choice.closed.contains("96 vCores"));
        assert_eq!(card("B1ms").choice.price, "€ 10.95 / month");
        assert_eq!(card("B1ms").choice.facts[0], "1 vCore");
    }

    #[test]
    fn storage_says_what_it_gives_with_the_chosen_size() {
        let world = world(vec![host("01", 24, &[])]);
        let cards = storage(&world, &form());
        assert_eq!(
            cards.open[0].choice.facts,
            ["120 IOPS, bursts to 3,500", "up to 640 with B1ms"]
        );
        assert_eq!(cards.open.len(), 4, "200 GiB, promised twice");
    }

    #[test]
    fn what_is_closed_stands_apart_unless_it_is_chosen() {
        let world = world(vec![host("01", 24, &[])]);
        let cards = storage(&world, &form());
        assert!(cards.closed.iter().all(|card| card.choice.is_closed()));
        let text = format!("{} sizes that no host can take now", cards.closed.len());
        assert_eq!(cards.closed_text(), text);
        let last = cards.closed.last().unwrap().choice.value.clone();
        let chosen = storage(&world, &CreateForm { storage: last, ..form() });
        assert!(chosen.open.last().is_some_and(|card| card.is_chosen && card.choice.is_closed()));
        assert_eq!(chosen.closed.len(), cards.closed.len() - 1);
    }

    #[test]
    fn regions_are_grouped_and_marked() {
        let groups = regions(&world(vec![host("01", 24, &["1"])]));
        assert_eq!(
            groups.iter().map(|group| group.label.as_str()).collect::<Vec<_>>(),
            ["Europe", "Americas", "Asia Pacific"]
        );
        assert_eq!(groups[0].regions[0].detail, "zone redundant");
        assert!(groups[1].regions.iter().all(Choice::is_closed));
    }

    #[test]
    fn versions_tell_whether_their_image_is_there() {
        let world = world(vec![host("01", 24, &[])]);
        let cards = versions(&world, world.config.region("westeurope"), "");
        assert!(
            cards[0].facts[0].contains("built first") && cards[1].facts[0].contains("on the host")
        );
        assert!(cards[0].detail.contains("November 2030"));
    }

    #[test]
    fn presets_carry_their_price() {
        let cards = preset_cards(&world(vec![]).config.prices);
        assert_eq!(cards[0].price, "€ 14.47 / month");
        assert_eq!(cards[1].price, "€ 138.18 / month, € 276.36 with the standby");
        assert!(cards[1].sizes.contains("D2ds_v5, 2 vCores, 8 GiB memory, 128 GiB storage"));
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!(
            [0, 999, 1000, 20000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "20,000", "1,234,567"]
        );
    }
}
