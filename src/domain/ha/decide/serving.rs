//! The primary answers: rules D (may commits go on without the standby?) and A (is one to be made?).
//!
//! A primary whose PostgreSQL crashed and came back inside its container answers again by itself, and nothing is
//! done (C). No acknowledged commit can be lost by it: its file has the standby's name since before the standby
//! counted (C2, A2), so from its first moment on it acknowledges nothing that the standby lacks (A7). What the
//! crash can do is show rows that were still waiting for the standby; a start by an operation does not even that,
//! because the way in is closed until the standby has them (C3).

use super::{Action, Case, Decision, PATIENCE, Pause, SETTLE, SYNC_GRACE, distance, for_time};
use crate::domain::ha::{Durability, HighAvailability, ReplicationState, Sql, WaitsFor};
use crate::domain::operation::OperationKind;
use std::time::Duration;

impl Case<'_> {
    pub(super) fn serves(&self) -> Decision {
        use ReplicationState as S;
        if self.seen.primary.in_recovery == Some(true) {
            return self.is_no_primary();
        }
        match self.row.state {
            // The change lets go of the primary by itself, in a moment; where it does not, this is done by a rescue.
            S::Disarming
                if self.seen.change == Some(OperationKind::ChangeDurability)
                    && self.in_state_for() < SETTLE =>
            {
                self.at_work(OperationKind::ChangeDurability, "it puts right what commits wait for")
            }
            // D2: the answer of the last try was lost. Safe to repeat, since the standby does not count.
            S::Disarming => self.rescue(
                Action::Disarm,
                "The standby no longer counts, and it is not known whether commits still wait for it: that is put right.",
            ),
            S::Restarting | S::Switching => self.unfinished(),
            _ if self.seen.is_held && self.seen.change.is_none() => self.locked_out(),
            S::Sync => self.in_sync(),
            _ => self.alone(),
        }
    }

    fn is_no_primary(&self) -> Decision {
        let what = format!("{} is in recovery: it takes no writes.", self.primary_name());
        if self.in_state_for() < SETTLE {
            return self.wait(
                Pause::Unsure,
                format!("{what} The look may be older than the change of primary."),
            );
        }
        self.blocked(what, "Use “Repair”, or force a failover if a standby answers.")
    }

    /// C3, P4: a change began and nobody ends it.
    fn unfinished(&self) -> Decision {
        match self.change_at_work() {
            Some(kind) => self.at_work(kind, "it ends what it began"),
            None => self.rescue(
                Action::RecoverPrimary,
                format!(
                    "{} answers, and a change that stopped it was not finished: clients are let in when the standby has everything.",
                    self.primary_name()
                ),
            ),
        }
    }

    /// L1: an operation held clients and ended before it let them in again.
    fn locked_out(&self) -> Decision {
        let what = format!(
            "{} answers, and clients still wait at the gateway, although nothing is at work",
            self.primary_name()
        );
        self.rescue(Action::RecoverPrimary, format!("{what}: they are let in through the gate."))
    }

    fn in_sync(&self) -> Decision {
        if self.waits_for_another() {
            // I2. What is in force was changed by somebody else: from now on the standby proves nothing.
            return self.rescue(
                Action::Disarm,
                format!("{} does not wait for {}, although it should: that one no longer counts, and is armed again.", self.primary_name(), self.standby_name()),
            );
        }
        match self.missing() {
            // D7: lag is no reason, however long.
            None => self.nothing("Every acknowledged commit is on both members."),
            Some(missing) if self.row.durability == Durability::Required => {
                self.keeps_waiting(&missing)
            }
            Some(Missing { is_sure: true, what, .. }) => self
                .rescue(Action::Disarm, format!("{what}. Commits go on without it, on one host.")),
            Some(Missing { what, since, .. }) => self.wait(
                Pause::Grace,
                format!(
                    "{what}. Commits wait for it, for {} at most before they go on without it.",
                    for_time(SYNC_GRACE.saturating_sub(since))
                ),
            ),
        }
    }

    /// D5 `required`: never disarmed. What can be brought back is brought back; the rest waits.
    fn keeps_waiting(&self, missing: &Missing) -> Decision {
        let what = format!(
            "{}. Writes have been waiting for it for {}, because durability is required.",
            missing.what,
            for_time(missing.since)
        );
        let is_gone = self.seen.standby.as_ref().is_some_and(|standby| standby.is_gone());
        if is_gone {
            return self.build(format!("{what} It is brought back."));
        }
        if missing.since < PATIENCE {
            return self.wait(Pause::Grace, what);
        }
        self.blocked(what, "They go on by themselves when it follows again. Bring back its host or its network, or disable high availability: then commits go on, on one host.")
    }

    /// Commits do not wait, or wait for a standby that is being armed.
    fn alone(&self) -> Decision {
        let is_arming = self.row.state == ReplicationState::Arming;
        let is_stuck = is_arming
            && self.row.durability == Durability::Preferred
            && (!self.seen.is_building || self.missing().is_some_and(|missing| missing.is_sure));
        if is_stuck {
            // A6, D5: nobody ends the arming, and commits wait meanwhile.
            return self.rescue(Action::Disarm, "Commits were being made to wait for the standby, and it does not come: they go on without it.");
        }
        if self.seen.is_building {
            return self.wait(
                Pause::Operation,
                "The standby is being made; commits are on one host until it counts.",
            );
        }
        if self.waits_for_another() && !is_arming {
            return self.rescue(
                Action::Disarm,
                "What commits wait for is not what was chosen: that is put right.",
            );
        }
        match self.seen.change {
            Some(kind) if !kind.goes_beside_build() => {
                self.at_work(kind, "the standby is made when it has ended")
            }
            _ => self
                .build("No standby counts, so commits are on one host: a standby is made.".into()),
        }
    }

    /// With a distance that grows: a build that fails is not begun every second.
    fn build(&self, reason: String) -> Decision {
        let failed = self.seen.build_failed;
        let wait = failed.map_or(Duration::ZERO, |failed| {
            distance(failed.in_a_row, Duration::from_secs(10), Duration::from_secs(600))
                .saturating_sub(failed.ago)
        });
        if wait.is_zero() {
            return Decision { action: Action::BuildStandby, reason };
        }
        self.wait(
            Pause::Grace,
            format!(
                "{reason} The last try ended badly; the next one follows in {}.",
                for_time(wait)
            ),
        )
    }

    /// Whether what is in force on the primary is not what the row asks for, and was not since the row changed.
    fn waits_for_another(&self) -> bool {
        let Some(names) = &self.seen.primary.waits_for else { return false };
        self.in_state_for() >= SETTLE && !is_in_force(names, &self.row.waits_for())
    }

    /// D5: whether the standby is lost to a primary that answers.
    fn missing(&self) -> Option<Missing> {
        let name = self.standby_name();
        let standby = self.seen.standby.as_ref();
        let frozen = standby.filter(|standby| standby.is_paused() && standby.sql == Sql::Silent);
        if let Some(frozen) = frozen.filter(|frozen| frozen.sql_for >= SYNC_GRACE) {
            let what = format!("{} is frozen, as its engine says", super::lost::capital(&name));
            return Some(Missing { what, since: frozen.sql_for, is_sure: true });
        }
        if self.is_followed() {
            return None;
        }
        let since = self.seen.unfollowed_for.unwrap_or_default();
        if standby.is_some_and(|standby| standby.is_gone()) {
            let what = format!("{} does not run, as its engine says", super::lost::capital(&name));
            return Some(Missing { what, since, is_sure: true });
        }
        let what =
            format!("{} has not followed for {}", super::lost::capital(&name), for_time(since));
        Some(Missing { what, since, is_sure: since >= SYNC_GRACE })
    }

    fn is_followed(&self) -> bool {
        let name = self.row.standby.as_ref().map(HighAvailability::standby_name);
        self.seen
            .primary
            .senders
            .iter()
            .any(|sender| Some(&sender.name) == name.as_ref() && sender.state == "streaming")
    }
}

/// A standby that a primary does without.
struct Missing {
    what: String,
    since: Duration,
    is_sure: bool,
}

/// Whether `synchronous_standby_names` as it is in force says what is wanted. Text, because it comes from a server.
fn is_in_force(names: &str, wanted: &WaitsFor) -> bool {
    match wanted {
        WaitsFor::NoOne => names.trim().is_empty(),
        WaitsFor::Standby(name) => names.contains(name.as_str()),
        WaitsFor::Never => !names.trim().is_empty(),
    }
}
