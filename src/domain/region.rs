//! Regions and zones as people choose them. The operator replaces the list in the configuration file.

use serde::{Deserialize, Serialize};

/// A place that a person chooses. Its zones are failure domains, each mapped to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Stable word for the store and forms, such as `westeurope`.
    pub key: String,
    /// Name for people, such as `West Europe`.
    pub label: String,
    /// Heading under which the region is listed, such as `Europe`.
    pub group: String,
    /// Zone names in order.
    #[serde(default = "default_zones")]
    pub zones: Vec<String>,
}

fn default_zones() -> Vec<String> {
    ["1", "2", "3"].map(String::from).to_vec()
}

impl Region {
    /// Whether the region offers more than one zone to choose.
    pub fn zone_redundant(&self) -> bool {
        self.zones.len() > 1
    }
}

/// The eleven regions of the original, grouped by continent.
pub fn default_regions() -> Vec<Region> {
    [
        ("westeurope", "West Europe", "Europe"),
        ("northeurope", "North Europe", "Europe"),
        ("uksouth", "UK South", "Europe"),
        ("eastus", "East US", "Americas"),
        ("eastus2", "East US 2", "Americas"),
        ("centralus", "Central US", "Americas"),
        ("westus2", "West US 2", "Americas"),
        ("canadacentral", "Canada Central", "Americas"),
        ("southeastasia", "Southeast Asia", "Asia Pacific"),
        ("japaneast", "Japan East", "Asia Pacific"),
        ("australiaeast", "Australia East", "Asia Pacific"),
    ]
    .map(|(key, label, group)| Region {
        key: key.into(),
        label: label.into(),
        group: group.into(),
        zones: default_zones(),
    })
    .to_vec()
}
