//! Monthly estimate from the operator's price list.

use super::catalog::{Sku, StorageSize};
use serde::{Deserialize, Serialize};

/// Hours that a month is counted as.
pub const HOURS_PER_MONTH: f64 = 730.0;

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

    /// Compute for a month without a stop.
    pub fn compute_month(&self, sku: &Sku) -> f64 {
        use super::catalog::Tier::{Burstable, GeneralPurpose, MemoryOptimized};
        let hour = match sku.tier {
            Burstable => self.burstable_vcore_hour,
            GeneralPurpose => self.general_purpose_vcore_hour,
            MemoryOptimized => self.memory_optimized_vcore_hour,
        };
        hour * f64::from(sku.vcores) * HOURS_PER_MONTH
    }

    pub fn storage_month(&self, size: &StorageSize) -> f64 {
        self.storage_gib_month * f64::from(size.gib)
    }

    pub fn estimate(&self, sku: &Sku, size: &StorageSize) -> Estimate {
        Estimate { compute: self.compute_month(sku), storage: self.storage_month(size) }
    }

    /// A figure with its currency, such as `€ 12.30`.
    pub fn text(&self, amount: f64) -> String {
        let cents = (amount * 100.0).round() as i64;
        format!("{} {}.{:02}", self.currency, grouped(cents / 100), (cents % 100).abs())
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
}
