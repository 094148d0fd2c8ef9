//! Meters: what a server uses, in intervals with a beginning and an end, counted in seconds.

use super::ids::{GroupId, ServerId};
use chrono::{DateTime, Utc};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// Seconds of a SKU; the quantity is its name, see [`of_members`]. Ends when the server stops.
    Compute,
    /// Seconds of provisioned storage; the quantity is its GiB, see [`of_members`]. Goes on while the server is stopped.
    Storage,
    /// Seconds of backup storage beyond the free allowance; the quantity is those GiB, with decimals.
    Backup,
    /// Seconds in which a server that has run does not; the quantity is the SKU that it had. Costs nothing:
    /// it says what stopping saved. Follows the compute meter by itself.
    Stopped,
}

impl Meter {
    pub const ALL: [Meter; 4] = [Meter::Compute, Meter::Storage, Meter::Backup, Meter::Stopped];

    pub fn key(self) -> &'static str {
        match self {
            Meter::Compute => "compute",
            Meter::Storage => "storage",
            Meter::Backup => "backup",
            Meter::Stopped => "stopped",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Meter::Compute => "Compute",
            Meter::Storage => "Storage",
            Meter::Backup => "Backup",
            Meter::Stopped => "Stopped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|meter| meter.key() == text)
    }
}

/// One interval of one meter.
#[derive(Debug, Clone, PartialEq)]
pub struct MeterInterval {
    pub server_id: ServerId,
    /// As it was called then: the row outlives the server.
    pub server_name: String,
    pub group_id: GroupId,
    pub meter: Meter,
    /// SKU or GiB, of so many members: see [`per_member`].
    pub quantity: String,
    pub started_at: DateTime<Utc>,
    /// `None` while it runs.
    pub ended_at: Option<DateTime<Utc>>,
}

/// The quantity of a server with so many members of one quantity each: `2x Standard_D2ds_v5`, or without a number.
pub fn of_members(members: u32, each: &str) -> String {
    if members == 1 { each.to_owned() } else { format!("{members}x {each}") }
}

/// What [`of_members`] put together: how many members, and the quantity of one.
pub fn per_member(quantity: &str) -> (u32, &str) {
    let parts = quantity.split_once("x ");
    let parts = parts.and_then(|(members, each)| Some((members.parse().ok()?, each)));
    parts.unwrap_or((1, quantity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_says_for_how_many_members_it_is() {
        for (members, each) in [(1, "Standard_D2ds_v5"), (2, "Standard_D2ds_v5"), (2, "64")] {
            assert_eq!(per_member(&of_members(members, each)), (members, each));
        }
        assert_eq!(of_members(2, "64"), "2x 64");
        assert_eq!(per_member("0.25"), (1, "0.25"));
    }
}
