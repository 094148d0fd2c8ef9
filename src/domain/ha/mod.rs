//! High availability: what is kept of a pair, how it may change, and what is to be done next.
//!
//! `reliability.md` part (b) is the specification. Read in this order: [`HighAvailability`] (the row),
//! [`Move`] and [`HighAvailability::after`] (every change of the row there is), [`Seen`] (what was
//! observed), [`decide`] (what follows from both). All of it is pure; the store keeps a row only if nobody
//! changed it since it was read.

mod decide;
mod look;
mod lsn;
mod offer;
mod row;
#[cfg(test)]
mod row_tests;
mod seen;

pub use decide::{
    Action, Decision, FAILOVERS_PER_HOUR, FROZEN_GRACE, PATIENCE, Pause, RESTART_BUDGET,
    STARTS_IN_A_ROW, SYNC_GRACE, decide,
};
pub use look::{HaLook, LookMember, OBSERVATION};
pub use lsn::Lsn;
pub use offer::{AskedHa, reason_against};
pub use row::{HighAvailability, Illegal, Move, WaitsFor};
pub use seen::{Failed, Seen, SeenMember, SeenSender, Sql};

use serde::{Deserialize, Serialize};

/// Where the standby is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HaMode {
    /// In the zone of the primary.
    SameZone,
    /// In another zone.
    ZoneRedundant,
}

impl HaMode {
    pub const ALL: [HaMode; 2] = [HaMode::SameZone, HaMode::ZoneRedundant];

    pub fn key(self) -> &'static str {
        match self {
            HaMode::SameZone => "SameZone",
            HaMode::ZoneRedundant => "ZoneRedundant",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            HaMode::SameZone => "Same zone",
            HaMode::ZoneRedundant => "Zone redundant",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.key() == text)
    }
}

/// What becomes of writes while there is no standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Durability {
    /// They go on after a short wait, on one host.
    Preferred,
    /// They wait until there is a standby again.
    Required,
}

impl Durability {
    pub const ALL: [Durability; 2] = [Durability::Preferred, Durability::Required];

    pub fn key(self) -> &'static str {
        match self {
            Durability::Preferred => "Preferred",
            Durability::Required => "Required",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|durability| durability.key() == text)
    }
}

/// How the pair stands. A standby may take over only while the row says that it is promotable, which it
/// does in `Sync`, `Restarting` and `Switching` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicationState {
    /// The primary alone: commits are on one host.
    Single,
    /// A standby is being made from a copy of the primary.
    Building,
    /// A standby follows, but commits do not wait for it.
    CatchUp,
    /// Commits are being made to wait for the standby.
    Arming,
    /// Every commit that was acknowledged is on both.
    Sync,
    /// The standby no longer counts; commits are being made not to wait for it.
    Disarming,
    /// The primary is being started again in place, with the same epoch.
    Restarting,
    /// A planned change of primary: the primary is being stopped.
    Switching,
    /// The standby of before is the primary of this epoch and is being made one.
    Promoting,
    /// Nothing may be done without a person: no member is provably complete.
    Blocked,
    /// The server is stopped.
    Stopped,
}

impl ReplicationState {
    pub const ALL: [ReplicationState; 11] = [
        ReplicationState::Single,
        ReplicationState::Building,
        ReplicationState::CatchUp,
        ReplicationState::Arming,
        ReplicationState::Sync,
        ReplicationState::Disarming,
        ReplicationState::Restarting,
        ReplicationState::Switching,
        ReplicationState::Promoting,
        ReplicationState::Blocked,
        ReplicationState::Stopped,
    ];

    pub fn key(self) -> &'static str {
        match self {
            ReplicationState::Single => "Single",
            ReplicationState::Building => "Building",
            ReplicationState::CatchUp => "CatchUp",
            ReplicationState::Arming => "Arming",
            ReplicationState::Sync => "Sync",
            ReplicationState::Disarming => "Disarming",
            ReplicationState::Restarting => "Restarting",
            ReplicationState::Switching => "Switching",
            ReplicationState::Promoting => "Promoting",
            ReplicationState::Blocked => "Blocked",
            ReplicationState::Stopped => "Stopped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.key() == text)
    }
}

/// What people see of the pair: the original's words, and our `RecreatingStandby`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaState {
    NotEnabled,
    CreatingStandby,
    ReplicatingData,
    Healthy,
    FailingOver,
    RemovingStandby,
    /// A standby was lost and is being made anew.
    RecreatingStandby,
}

impl HaState {
    pub fn label(self) -> &'static str {
        match self {
            HaState::NotEnabled => "Not enabled",
            HaState::CreatingStandby => "Creating standby",
            HaState::ReplicatingData => "Replicating data",
            HaState::Healthy => "Healthy",
            HaState::FailingOver => "Failing over",
            HaState::RemovingStandby => "Removing standby",
            HaState::RecreatingStandby => "Recreating standby",
        }
    }

    /// The one place where the row becomes a word. `was_healthy`: whether the pair was in sync before.
    pub fn shown(row: Option<&HighAvailability>, is_removing: bool) -> Self {
        let Some(row) = row else { return HaState::NotEnabled };
        if is_removing {
            return HaState::RemovingStandby;
        }
        let was_healthy = row.had_standby();
        match row.state {
            ReplicationState::Sync | ReplicationState::Restarting => HaState::Healthy,
            ReplicationState::Stopped if row.is_promotable => HaState::Healthy,
            ReplicationState::Switching | ReplicationState::Promoting => HaState::FailingOver,
            ReplicationState::CatchUp | ReplicationState::Arming => HaState::ReplicatingData,
            _ if was_healthy => HaState::RecreatingStandby,
            _ => HaState::CreatingStandby,
        }
    }
}

/// Why a primary was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// The portal found the primary gone.
    Automatic,
    /// A person asked for it, in order.
    Planned,
    /// A person asked for it at once.
    Forced,
    /// A person accepted that commits may be lost.
    ForcedWithLoss,
    /// Part of another change, such as a restart or a new size.
    Maintenance,
    /// A failover drill.
    Drill,
}

impl Cause {
    pub const ALL: [Cause; 6] = [
        Cause::Automatic,
        Cause::Planned,
        Cause::Forced,
        Cause::ForcedWithLoss,
        Cause::Maintenance,
        Cause::Drill,
    ];

    pub fn key(self) -> &'static str {
        match self {
            Cause::Automatic => "Automatic",
            Cause::Planned => "Planned",
            Cause::Forced => "Forced",
            Cause::ForcedWithLoss => "ForcedWithLoss",
            Cause::Maintenance => "Maintenance",
            Cause::Drill => "Drill",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.key() == text)
    }
}

/// What a member is to its server, by the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRole {
    /// Takes writes; the only member of a server without high availability.
    Primary,
    /// Follows the primary of this epoch.
    Standby,
    /// Was primary or standby before; nothing counts on it until it is made a standby again or removed.
    Former,
}
