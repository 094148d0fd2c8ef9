//! Monthly estimate from the operator's price list.

use super::bill::Cents;
use super::catalog::{Sku, StorageSize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Hours that a month is counted as.
pub const HOURS_PER_MONTH: f64 = 730.0;

/// The highest price of anything; keeps every sum far from what a number can hold.
const PRICE_MAX: f64 = 1_000_000.0;

/// What the operator charges. Replaced in the configuration file; the default is an example, and pages say so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriceList {
    /// Shown before or after figures, such as `€` or `USD`.
    pub currency: String,
    /// Price of one vCore for an hour, by tier.
    pub burstable_vcore_hour: f64,
    pub general_purpose_vcore_hour: f64,
    pub memory_optimized_vcore_hour: f64,
    /// Price of one provisioned GiB for a month.
    pub storage_gib_month: f64,
    /// Price of one GiB of backups for a month, beyond the free allowance: as much as is provisioned.
    pub backup_gib_month: f64,
    /// Price of a size for an hour, where it is not its vCores times the price of its tier.
    pub sku_hour: BTreeMap<String, f64>,
    /// Whether the operator set this list, or it is the example that comes with pgflex.
    #[serde(skip)]
    pub is_example: bool,
}

impl Default for PriceList {
    fn default() -> Self {
        Self {
            currency: "€".into(),
            burstable_vcore_hour: 0.015,
            general_purpose_vcore_hour: 0.085,
            memory_optimized_vcore_hour: 0.115,
            storage_gib_month: 0.11,
            backup_gib_month: 0.09,
            sku_hour: BTreeMap::new(),
            is_example: true,
        }
    }
}

/// An estimate for a month of 730 hours, in the list's currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub compute: f64,
    pub storage: f64,
}

impl Estimate {
    pub fn total(&self) -> f64 {
        self.compute + self.storage
    }
}

impl PriceList {
    /// The list as the operator wrote it: no longer an example.
    pub fn of_operator(self) -> Self {
        Self { is_example: false, ..self }
    }

    /// The list of a server with so many members: each of them costs what one does.
    #[must_use]
    pub fn for_members(&self, members: u32) -> Self {
        let members = f64::from(members);
        Self {
            burstable_vcore_hour: self.burstable_vcore_hour * members,
            general_purpose_vcore_hour: self.general_purpose_vcore_hour * members,
            memory_optimized_vcore_hour: self.memory_optimized_vcore_hour * members,
            storage_gib_month: self.storage_gib_month * members,
            sku_hour: self.sku_hour.iter().map(|(sku, one)| (sku.clone(), one * members)).collect(),
            ..self.clone()
        }
    }

    /// Why the list cannot be used.
    ///
    /// # Errors
    /// A price that is no amount, or a size that the catalogue does not have.
    pub fn check(&self) -> Result<(), String> {
        let named = [
            ("burstable_vcore_hour", self.burstable_vcore_hour),
            ("general_purpose_vcore_hour", self.general_purpose_vcore_hour),
            ("memory_optimized_vcore_hour", self.memory_optimized_vcore_hour),
            ("storage_gib_month", self.storage_gib_month),
            ("backup_gib_month", self.backup_gib_month),
        ];
        let of_sizes = self.sku_hour.iter().map(|(name, price)| (name.as_str(), *price));
        for (name, price) in named.into_iter().chain(of_sizes) {
            if !(0.0..=PRICE_MAX).contains(&price) {
                return Err(format!("the price {name} is no amount from 0 to 1,000,000"));
            }
        }
        match self.sku_hour.keys().find(|name| Sku::by_name(name).is_none()) {
            Some(name) => Err(format!("there is no size {name}, so it has no price in sku_hour")),
            None => Ok(()),
        }
    }

    /// A size for an hour.
    pub fn compute_hour(&self, sku: &Sku) -> f64 {
        use super::catalog::Tier::{Burstable, GeneralPurpose, MemoryOptimized};
        let vcore = match sku.tier {
            Burstable => self.burstable_vcore_hour,
            GeneralPurpose => self.general_purpose_vcore_hour,
            MemoryOptimized => self.memory_optimized_vcore_hour,
        };
        self.sku_hour.get(sku.name).copied().unwrap_or(vcore * f64::from(sku.vcores))
    }

    /// Compute for a month without a stop.
    pub fn compute_month(&self, sku: &Sku) -> f64 {
        self.compute_hour(sku) * HOURS_PER_MONTH
    }

    pub fn storage_month(&self, size: &StorageSize) -> f64 {
        self.storage_gib_month * f64::from(size.gib)
    }

    pub fn estimate(&self, sku: &Sku, size: &StorageSize) -> Estimate {
        Estimate { compute: self.compute_month(sku), storage: self.storage_month(size) }
    }

    /// A figure with its currency, such as `€ 12.30`.
    pub fn text(&self, amount: f64) -> String {
        self.money(Cents::of(amount))
    }

    /// An amount of a bill with its currency.
    pub fn money(&self, Cents(cents): Cents) -> String {
        format!("{} {}.{:02}", self.currency, grouped(cents / 100), (cents % 100).abs())
    }

    /// A price of one unit: as many decimals as it has, at least two and at most six.
    pub fn price_text(&self, price: f64) -> String {
        let long = format!("{price:.6}");
        let short = long.trim_end_matches('0');
        let decimals = short.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        format!("{} {short}{}", self.currency, "0".repeat(2usize.saturating_sub(decimals)))
    }
}

/// Digits in groups of three.
fn grouped(whole: i64) -> String {
    let digits = whole.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_compute_plus_storage() {
        let prices = PriceList::default();
        let estimate = prices
            .estimate(Sku::by_name("Standard_D2ds_v5").unwrap(), StorageSize::by_gib(128).unwrap());
        assert!((estimate.compute - 124.1).abs() < 1e-9 && (estimate.storage - 14.08).abs() < 1e-9);
        assert_eq!(prices.text(estimate.total()), "€ 138.18");
        assert_eq!(prices.text(1_803_604.48), "€ 1,803,604.48");
        assert!(prices.is_example && !prices.of_operator().is_example);
    }

    #[test]
    fn a_size_may_have_a_price_of_its_own() {
        let mut prices = PriceList::default();
        let sku = Sku::by_name("Standard_D2ds_v5").unwrap();
        assert!((prices.compute_hour(sku) - 0.17).abs() < 1e-9);
        prices.sku_hour.insert(sku.name.into(), 0.2);
        assert!((prices.compute_month(sku) - 146.0).abs() < 1e-9);
        assert_eq!(prices.check(), Ok(()));
        prices.sku_hour.insert("Standard_D3".into(), 1.0);
        assert!(prices.check().unwrap_err().contains("Standard_D3"));
        for price in [-0.1, f64::NAN, f64::INFINITY] {
            let list = PriceList { storage_gib_month: price, ..PriceList::default() };
            assert!(list.check().unwrap_err().contains("storage_gib_month"));
        }
    }

    #[test]
    fn two_members_cost_twice_and_their_backups_once() {
        let mut prices = PriceList::default();
        let (sku, size) =
            (Sku::by_name("Standard_D2ds_v5").unwrap(), StorageSize::by_gib(128).unwrap());
        let pair = prices.for_members(2);
        assert_eq!(pair.text(pair.estimate(sku, size).total()), "€ 276.36");
        assert_eq!(pair.backup_gib_month, prices.backup_gib_month);
        prices.sku_hour.insert(sku.name.into(), 0.2);
        assert!((prices.for_members(2).compute_hour(sku) - 0.4).abs() < 1e-9);
    }

    #[test]
    fn a_price_shows_the_decimals_that_it_has() {
        let prices = PriceList::default();
        assert_eq!(prices.price_text(0.17), "€ 0.17");
        assert_eq!(prices.price_text(2.0), "€ 2.00");
        assert_eq!(prices.price_text(0.01525), "€ 0.01525");
    }
}
