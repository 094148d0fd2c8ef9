//! The row of a pair, and every change of it there is.

use super::{Durability, HaMode, Lsn, ReplicationState};
use crate::domain::ids::{MemberId, ServerId};
use chrono::{DateTime, Utc};

/// What is kept of a server with high availability. A write names the version it read, so that one of two wins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HighAvailability {
    pub server_id: ServerId,
    pub mode: HaMode,
    pub durability: Durability,
    /// Zone in which the standby shall be; the primary's for [`HaMode::SameZone`]. Changes with a failover.
    pub standby_zone: String,
    /// Grows by one with every change of primary. Which member is the primary of an epoch is said once (I1).
    pub epoch: i64,
    /// The epoch that this pair began with: 1, and above those of the pairs that the server had before.
    pub first_epoch: i64,
    /// The primary of this epoch; `None` before it is placed.
    pub primary: Option<MemberId>,
    pub standby: Option<MemberId>,
    pub state: ReplicationState,
    /// Whether the standby has every commit that was acknowledged, now and until it is disarmed. True exactly in
    /// `Sync`, `Restarting` and `Switching`, and while `Stopped` when it was true before.
    pub is_promotable: bool,
    /// The standby had everything up to here when it last began to count; `None` when none did in this epoch.
    pub armed_lsn: Option<Lsn>,
    /// Of the primary, as last read; 0 before.
    pub timeline: i64,
    /// When `state` was last written.
    pub changed_at: DateTime<Utc>,
    pub version: i64,
}

/// A change of the row. The names are those of the rules in `reliability.md` (b).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// The primary has its place.
    PrimaryPlaced { member: MemberId },
    /// A person chose anew. Where the standby's file must become stricter with it (F9), the file comes first. Only
    /// where nobody writes files by the row: from the begin of an arming to its end, of a disarming to its end, and of
    /// a start or a change of primary to its end, all of them are by one row.
    Chosen { mode: HaMode, durability: Durability, standby_zone: String },
    /// A standby is being made or brought back. From `Sync` (durability required, standby lost) it no longer counts from
    /// this moment on.
    BuildBegins { standby: MemberId },
    /// It follows.
    Follows { timeline: i64 },
    /// A2: commits are about to wait for it.
    ArmBegins,
    /// A5: it counts. `marked_at` is the version of the row as it was read **before** the mark of A4 was noted: a
    /// standby that was disarmed and armed again in between is not what was waited for.
    Armed { lsn: Lsn, marked_at: i64 },
    /// A6: it was not to be armed.
    ArmGaveUp,
    /// D1: it no longer counts, from this moment on. Also from states without a standby that counts: then it only
    /// says that what the primary waits for is being put right.
    DisarmBegins,
    /// D1: commits no longer wait for it; it may still follow.
    Disarmed,
    /// There is no standby on record any more.
    StandbyDropped,
    /// P: a planned change of primary begins.
    SwitchBegins,
    /// It is given up before the primary was stopped. Afterwards it is [`Move::RestartBegins`]: the primary goes
    /// on in the same epoch, but behind the gate of C3.
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
    /// Z4: it is being started. A pair goes through the gate of C3 like any start of a primary.
    Started,
}

/// A change that the state of the row does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pair is {state:?}: {what} is not possible")]
pub struct Illegal {
    pub state: ReplicationState,
    pub what: String,
}

/// For whom the primary's commits shall wait: `synchronous_standby_names`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitsFor {
    /// For nobody: a commit is acknowledged when the primary has it.
    NoOne,
    /// For the standby of this name.
    Standby(String),
    /// For a name that no standby ever has: commits wait until one is armed.
    Never,
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
            first_epoch: 1,
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

    /// The same for a server that had pairs before: an epoch has one primary for ever (I1), also of another pair.
    #[must_use]
    pub fn beginning_at_epoch(self, first: i64) -> Self {
        Self { epoch: first, first_epoch: first, ..self }
    }

    /// Whether a standby ever counted, or was the primary's successor.
    pub fn had_standby(&self) -> bool {
        self.armed_lsn.is_some() || self.epoch > self.first_epoch
    }

    /// The name by which the primary waits for a standby, and by which a standby, its slot and its sessions are known.
    pub fn standby_name(member: &MemberId) -> String {
        format!("pgflex_{}", member.short())
    }

    /// What the primary's file shall say (C2), and what is in force once it has read it. A stopped pair keeps the
    /// standby's name: a primary that is started by anybody then acknowledges nothing that the standby lacks.
    pub fn waits_for(&self) -> WaitsFor {
        let counts = self.is_promotable || self.state == ReplicationState::Arming;
        match &self.standby {
            Some(standby) if counts => WaitsFor::Standby(Self::standby_name(standby)),
            // Before the first standby ever counted nothing was promised, and a server whose commits never end could
            // not even be set up.
            _ if !self.had_standby() => WaitsFor::NoOne,
            _ => self.waits_for_alone(),
        }
    }

    /// What the standby's file shall say, so that it is right from the moment of its promotion on (F9).
    pub fn waits_for_alone(&self) -> WaitsFor {
        match self.durability {
            Durability::Preferred => WaitsFor::NoOne,
            Durability::Required => WaitsFor::Never,
        }
    }

    /// The row after a change. The version stays: the store counts.
    ///
    /// # Errors
    /// When the state does not allow it; then nothing may be done that depends on it.
    pub fn after(&self, change: &Move, now: DateTime<Utc>) -> Result<Self, Illegal> {
        let illegal = || Illegal { state: self.state, what: format!("{change:?}") };
        self.changed(change, now).ok_or_else(illegal)
    }

    /// Whether the change is possible.
    pub fn allows(&self, change: &Move) -> bool {
        self.changed(change, self.changed_at).is_some()
    }

    fn changed(&self, change: &Move, now: DateTime<Utc>) -> Option<Self> {
        use ReplicationState as S;
        let to = |state| Some(self.in_state(state, now));
        let state = self.state;
        match change {
            Move::PrimaryPlaced { member } => self.placed(member, now),
            Move::Chosen { mode, durability, standby_zone } => {
                self.chosen(*mode, *durability, standby_zone)
            }
            Move::BuildBegins { standby } => self.building(standby, now),
            Move::Follows { timeline } => self
                .when(&[S::Building, S::CatchUp, S::Arming])
                .filter(|row| row.standby.is_some())
                .map(|row| Self { timeline: *timeline, ..row.in_state(S::CatchUp, now) }),
            Move::ArmBegins if self.standby.is_none() => None,
            Move::ArmBegins => self.when(&[S::CatchUp, S::Arming]).and_then(|_| to(S::Arming)),
            Move::Armed { lsn, marked_at } if state == S::Arming && *marked_at == self.version => {
                let row = self.in_state(S::Sync, now);
                Some(Self { is_promotable: true, armed_lsn: Some(*lsn), ..row })
            }
            Move::Armed { .. } => None,
            Move::ArmGaveUp => self.when(&[S::Arming]).and_then(|_| to(S::CatchUp)),
            // Not while the primary is about to be another one, and not while it is stopped.
            Move::DisarmBegins if matches!(state, S::Switching | S::Promoting | S::Stopped) => None,
            Move::DisarmBegins => to(S::Disarming),
            Move::Disarmed => self.when(&[S::Disarming]).and_then(|_| to(S::Single)),
            Move::StandbyDropped => self
                .when(&[S::Single, S::Building, S::CatchUp])
                .map(|row| Self { standby: None, ..row.in_state(S::Single, now) }),
            Move::SwitchBegins => {
                self.when(&[S::Sync, S::Switching]).and_then(|_| to(S::Switching))
            }
            Move::SwitchGaveUp => self.when(&[S::Switching]).and_then(|_| to(S::Sync)),
            Move::RestartBegins => {
                self.when(&[S::Sync, S::Restarting, S::Switching]).and_then(|_| to(S::Restarting))
            }
            Move::Restarted => self.when(&[S::Restarting]).and_then(|_| to(S::Sync)),
            Move::PromotionBegins { standby_zone } => self
                .when(&[S::Sync, S::Restarting, S::Switching])
                .filter(|row| row.is_promotable)
                .and_then(|row| row.promoted(standby_zone, now)),
            Move::PromotionForced { .. } if matches!(state, S::Promoting | S::Stopped) => None,
            Move::PromotionForced { standby_zone } => self.promoted(standby_zone, now),
            Move::Promoted { timeline } => self
                .when(&[S::Promoting])
                .map(|row| Self { timeline: *timeline, ..row.in_state(S::Single, now) }),
            // A change of primary that has begun is ended first.
            Move::Stopped if matches!(state, S::Switching | S::Promoting) => None,
            Move::Stopped => to(S::Stopped),
            Move::Started => self
                .when(&[S::Stopped])
                .and_then(|row| to(if row.is_promotable { S::Restarting } else { S::Single })),
        }
    }

    fn when(&self, states: &[ReplicationState]) -> Option<&Self> {
        states.contains(&self.state).then_some(self)
    }

    fn in_state(&self, state: ReplicationState, now: DateTime<Utc>) -> Self {
        let is_promotable = self.is_promotable && state.keeps_promotable();
        Self { state, is_promotable, changed_at: now, ..self.clone() }
    }

    /// I1: the primary of an epoch is named once.
    fn placed(&self, member: &MemberId, now: DateTime<Utc>) -> Option<Self> {
        let is_free = self.primary.as_ref().is_none_or(|primary| primary == member);
        (is_free && self.state == ReplicationState::Single).then(|| Self {
            primary: Some(member.clone()),
            ..self.in_state(ReplicationState::Single, now)
        })
    }

    fn chosen(&self, mode: HaMode, durability: Durability, standby_zone: &str) -> Option<Self> {
        use ReplicationState as S;
        self.when(&[S::Single, S::Building, S::CatchUp, S::Sync]).map(|row| Self {
            mode,
            durability,
            standby_zone: standby_zone.to_owned(),
            ..row.clone()
        })
    }

    fn building(&self, standby: &MemberId, now: DateTime<Utc>) -> Option<Self> {
        use ReplicationState as S;
        let is_other = self.primary.as_ref().is_some_and(|primary| primary != standby);
        let from = [S::Single, S::Building, S::CatchUp, S::Arming, S::Sync, S::Restarting];
        self.when(&from)
            .filter(|_| is_other)
            .map(|row| Self { standby: Some(standby.clone()), ..row.in_state(S::Building, now) })
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
