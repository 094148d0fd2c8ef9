//! The row of a pair, and every change of it there is.

use super::{Durability, HaMode, Lsn, ReplicationState};
use crate::domain::ids::{MemberId, ServerId};
use chrono::{DateTime, Utc};

/// What is kept of a server with high availability. A write names the version it read, so that one of two wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HighAvailability {
    pub server_id: ServerId,
    pub mode: HaMode,
    pub durability: Durability,
    /// Zone in which the standby shall be; the primary's for [`HaMode::SameZone`]. Changes with a failover.
    pub standby_zone: String,
    /// Grows by one with every change of primary.
    pub epoch: i64,
    /// The primary of this epoch; `None` before it is placed.
    pub primary: Option<MemberId>,
    pub standby: Option<MemberId>,
    pub state: ReplicationState,
    /// Whether the standby has every commit that was acknowledged, now and until it is disarmed.
    pub is_promotable: bool,
    /// The standby had everything up to here when it began to count.
    pub armed_lsn: Option<Lsn>,
    /// Of the primary, as last read; 0 before.
    pub timeline: i64,
    pub changed_at: DateTime<Utc>,
    pub version: i64,
}

/// A change of the row. The names are those of the rules in `reliability.md` (b).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// The primary has its place.
    PrimaryPlaced { member: MemberId },
    /// A standby is being made or brought back.
    BuildBegins { standby: MemberId },
    /// It follows.
    Follows { timeline: i64 },
    /// A2: commits are about to wait for it.
    ArmBegins,
    /// A5: it counts.
    Armed { lsn: Lsn },
    /// A6: it was not to be armed.
    ArmGaveUp,
    /// D1: it no longer counts, from this moment on.
    DisarmBegins,
    /// D1: commits no longer wait for it; it may still follow.
    Disarmed,
    /// There is no standby on record any more.
    StandbyDropped,
    /// P: a planned change of primary begins.
    SwitchBegins,
    /// P4: it is given up; the primary goes on in the same epoch.
    SwitchGaveUp,
    /// C1: the primary is started again in place.
    RestartBegins,
    /// C3: clients may come again, and the standby still counts.
    Restarted,
    /// F3: from here there is only forward.
    PromotionBegins { standby_zone: String },
    /// F13: the same without proof that the standby is complete.
    PromotionForced { standby_zone: String },
    /// F11.
    Promoted { timeline: i64 },
    /// Z4: the server is stopped.
    Stopped,
    /// It is started again.
    Started,
}

/// A change that the state of the row does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pair is {state:?}: {what} is not possible")]
pub struct Illegal {
    pub state: ReplicationState,
    pub what: String,
}

impl HighAvailability {
    /// A pair that is asked for: no member is placed yet.
    pub fn asked(
        server_id: ServerId,
        mode: HaMode,
        durability: Durability,
        standby_zone: String,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            server_id,
            mode,
            durability,
            standby_zone,
            epoch: 1,
            primary: None,
            standby: None,
            state: ReplicationState::Single,
            is_promotable: false,
            armed_lsn: None,
            timeline: 0,
            changed_at: now,
            version: 1,
        }
    }

    /// The name by which the primary waits for a standby, and by which a standby, its slot and its sessions are known.
    pub fn standby_name(member: &MemberId) -> String {
        format!("pgflex_{}", member.short())
    }

    /// The row after a change. The version stays: the store counts.
    ///
    /// # Errors
    /// When the state does not allow it; then nothing may be done that depends on it.
    pub fn after(&self, change: &Move, now: DateTime<Utc>) -> Result<Self, Illegal> {
        use ReplicationState as S;
        let illegal = || Illegal { state: self.state, what: format!("{change:?}") };
        let to = |state: ReplicationState| Self {
            state,
            is_promotable: self.is_promotable && state.keeps_promotable(),
            changed_at: now,
            ..self.clone()
        };
        let row = match (change, self.state) {
            (Move::PrimaryPlaced { member }, S::Single) => {
                Self { primary: Some(member.clone()), ..to(S::Single) }
            }
            (Move::BuildBegins { standby }, S::Single | S::Building | S::CatchUp | S::Arming) => {
                Self { standby: Some(standby.clone()), ..to(S::Building) }
            }
            (Move::Follows { timeline }, S::Building | S::CatchUp | S::Arming) => {
                Self { timeline: *timeline, ..to(S::CatchUp) }
            }
            (Move::ArmBegins, S::CatchUp | S::Arming) if self.standby.is_some() => to(S::Arming),
            (Move::Armed { lsn }, S::Arming) => {
                Self { is_promotable: true, armed_lsn: Some(*lsn), ..to(S::Sync) }
            }
            (Move::ArmGaveUp, S::Arming) => to(S::CatchUp),
            (
                Move::DisarmBegins,
                S::Sync | S::Restarting | S::Arming | S::CatchUp | S::Disarming | S::Building,
            ) => to(S::Disarming),
            (Move::Disarmed, S::Disarming) => to(S::Single),
            (Move::StandbyDropped, S::Single | S::Building | S::CatchUp) => {
                Self { standby: None, ..to(S::Single) }
            }
            (Move::SwitchBegins, S::Sync | S::Switching) => to(S::Switching),
            (Move::SwitchGaveUp, S::Switching) => to(S::Sync),
            (Move::RestartBegins, S::Sync | S::Restarting) => to(S::Restarting),
            (Move::Restarted, S::Restarting) => to(S::Sync),
            (Move::PromotionBegins { standby_zone }, S::Sync | S::Restarting | S::Switching)
                if self.is_promotable =>
            {
                self.promoted(standby_zone, now).ok_or_else(illegal)?
            }
            (Move::PromotionForced { standby_zone }, state)
                if !matches!(state, S::Promoting | S::Stopped) =>
            {
                self.promoted(standby_zone, now).ok_or_else(illegal)?
            }
            (Move::Promoted { timeline }, S::Promoting) => {
                Self { timeline: *timeline, ..to(S::Single) }
            }
            (Move::Stopped, S::Single | S::Sync | S::Stopped) => to(S::Stopped),
            (Move::Started, S::Stopped) => to(if self.is_promotable { S::Sync } else { S::Single }),
            _ => return Err(illegal()),
        };
        Ok(row)
    }

    fn promoted(&self, standby_zone: &str, now: DateTime<Utc>) -> Option<Self> {
        Some(Self {
            epoch: self.epoch + 1,
            primary: Some(self.standby.clone()?),
            standby: None,
            standby_zone: standby_zone.to_owned(),
            state: ReplicationState::Promoting,
            is_promotable: false,
            armed_lsn: None,
            changed_at: now,
            ..self.clone()
        })
    }
}

impl ReplicationState {
    /// Whether a standby that has everything still has everything in this state.
    fn keeps_promotable(self) -> bool {
        matches!(
            self,
            ReplicationState::Sync
                | ReplicationState::Restarting
                | ReplicationState::Switching
                | ReplicationState::Stopped
        )
    }
}
