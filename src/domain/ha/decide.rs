//! What is to be done next for a pair: one pure function, run by the monitor and explored by the model checker.
//!
//! The rules are those of `reliability.md` b.3, named in the comments. Read [`decide`], then one file for each
//! verdict on the primary: [`serving`] (rules D, A and C: it answers), [`lost`] (rules F, C and Z: it does not).

mod lost;
mod phrases;
mod serving;
#[cfg(test)]
mod tests;
mod verdict;

use super::{HighAvailability, ReplicationState, Seen};
use crate::domain::operation::{Lane, OperationKind};
use chrono::{DateTime, Utc};
use phrases::{for_time, member};
use std::time::Duration;
use verdict::{Death, Verdict};

/// D5: how long a primary that answers has had no standby behind it until commits go on without one. The reference
/// says 10 s; the promise is that writes wait 3 s, and seeing and doing take about one of them (measured with 3 s here:
/// 3.3 s). Shorter costs nothing in safety (the row is disarmed first), only a new arming; a standby that comes back
/// after a hiccup is there within this time, because its receiver tries again every second. A standby whose engine says
/// that it is gone is not waited for at all.
pub const SYNC_GRACE: Duration = Duration::from_secs(2);
/// A member that somebody froze is left alone for this long: a short freeze ends by itself.
pub const FROZEN_GRACE: Duration = Duration::from_secs(10);
/// C1: a change that stopped the primary on purpose has this long to bring it back before the standby takes over.
pub const RESTART_BUDGET: Duration = Duration::from_secs(60);
/// How long something that may come back by itself is waited for before a person is told that nothing is done.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What was seen may be older than the row by this much: a contradiction between them counts after it.
pub const SETTLE: Duration = Duration::from_secs(5);
/// F14: automatic failovers in an hour after which a person must look.
pub const FAILOVERS_PER_HOUR: u32 = 3;
/// Z3: starts of a primary that fail in a row before nobody tries any more.
pub const STARTS_IN_A_ROW: u32 = 3;

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    /// One or two sentences for people: what was seen, since when, and why this follows.
    pub reason: String,
}

/// What the monitor submits. Each operation reads the row again in the transaction of its first change (F1): a
/// decision is an opinion on what was seen, the row says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// All is as it shall be.
    Nothing,
    /// Look again; see [`Pause`].
    Wait(Pause),
    /// Make the standby the primary, or go on with that where the row says `Promoting`. A standby whose container does
    /// not run is started first: it is complete as it lies there (A7).
    Failover,
    /// Start the primary again in place, and the standby's container with it where that is there and does not run. Also
    /// ends a `Restarting` or `Switching` that nobody works on: through the gate of C3, back to `Sync`.
    RecoverPrimary,
    /// Put right what the primary waits for, after the row says that the standby does not count: commits go on without
    /// it, or with durability required wait for the next one.
    Disarm,
    /// Make a standby, or bring it back.
    BuildStandby,
    /// A person must decide.
    Blocked,
}

/// Why nothing is done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pause {
    /// An operation is at work that deals with it.
    Operation,
    /// Too little was seen to be sure.
    Unsure,
    /// A time that must pass first.
    Grace,
}

/// Decides. Total: every row with every look has an answer (L2).
pub fn decide(row: &HighAvailability, seen: &Seen, now: DateTime<Utc>) -> Decision {
    let case = Case { row, seen, now };
    if let Some(decision) = case.left_alone() {
        return decision;
    }
    match case.verdict() {
        verdict if row.state == ReplicationState::Promoting => case.promoting(&verdict),
        Verdict::Serves => case.serves(),
        Verdict::Dead(death) => case.lost(death),
        Verdict::Unsure(what) => case.wait(Pause::Unsure, what),
    }
}

/// What is decided upon.
struct Case<'a> {
    row: &'a HighAvailability,
    seen: &'a Seen,
    now: DateTime<Utc>,
}

impl Case<'_> {
    /// Cases in which somebody else is at work, or nobody shall be.
    fn left_alone(&self) -> Option<Decision> {
        use OperationKind as K;
        if self.row.primary.is_none() {
            return Some(self.nothing("No member is placed yet: the server is being created."));
        }
        if let Some(kind @ (K::Create | K::Delete)) = self.seen.change {
            return Some(self.at_work(kind, "the pair follows from it"));
        }
        // Z4: stopped is what was asked for, so silence is no news.
        if self.row.state == ReplicationState::Stopped {
            let text = "The server is stopped: nothing is expected to run. Start it to bring the pair back.";
            return Some(self.nothing(text));
        }
        // One rescue at a time, in the order in which they were decided.
        if self.seen.is_rescuing {
            let text = "A rescue is under way; what follows is decided when it has ended.";
            return Some(self.wait(Pause::Operation, text));
        }
        if self.row.state == ReplicationState::Blocked {
            return Some(self.blocked(
                "The pair was blocked: no member is provably complete.",
                "Bring back the host of the last primary, or force a failover and accept that the last commits may be lost.",
            ));
        }
        None
    }

    /// F3: the row names the new primary; from here there is only forward.
    fn promoting(&self, verdict: &Verdict) -> Decision {
        let who = self.primary_name();
        if let Some(kind) = self.change_at_work() {
            return self.at_work(kind, "it changes the primary");
        }
        if matches!(verdict, Verdict::Dead(Death::HostSilent)) {
            return self.blocked(
                format!("{who} was named primary, and its host has not answered for {}.", for_time(self.silent_for())),
                "Bring that host back: the promotion then goes on by itself. No other member has every commit.",
            );
        }
        self.rescue(
            Action::Failover,
            format!(
                "{who} was named primary for epoch {}, and that was not finished: it goes on.",
                self.row.epoch
            ),
        )
    }

    /// The change that is under way and may have stopped the primary on purpose.
    fn change_at_work(&self) -> Option<OperationKind> {
        use OperationKind as K;
        self.seen.change.filter(|kind| {
            matches!(
                kind,
                K::Restart
                    | K::Stop
                    | K::Start
                    | K::Scale
                    | K::ChangeParameters
                    | K::AllowExtensions
                    | K::Repair
                    | K::Switchover
            )
        })
    }

    /// Since the state of the row was written; nothing when a clock went back.
    fn in_state_for(&self) -> Duration {
        (self.now - self.row.changed_at).to_std().unwrap_or_default()
    }

    fn silent_for(&self) -> Duration {
        self.seen.primary.sql_for
    }

    fn primary_name(&self) -> String {
        member("The primary", self.row.primary.as_ref())
    }

    fn standby_name(&self) -> String {
        member("the standby", self.row.standby.as_ref())
    }

    /// An operation of the rescue lane, unless the last one ended badly just now.
    fn rescue(&self, action: Action, reason: impl Into<String>) -> Decision {
        let reason = reason.into();
        let Some(failed) = self.seen.rescue_failed else { return Decision { action, reason } };
        let distance = distance(failed.in_a_row, Duration::from_secs(1), Duration::from_secs(30));
        if failed.ago >= distance {
            return Decision { action, reason };
        }
        let times = phrases::times(failed.in_a_row);
        let again = for_time(distance.saturating_sub(failed.ago));
        let text = format!(
            "{reason} The last try ended badly ({times} in a row); the next one follows in {again}."
        );
        self.wait(Pause::Grace, text)
    }

    fn at_work(&self, kind: OperationKind, what: &str) -> Decision {
        let lane = if kind.lane() == Lane::Change { "change" } else { "operation" };
        self.wait(Pause::Operation, format!("The {lane} “{}” is under way: {what}.", kind.label()))
    }

    fn nothing(&self, reason: impl Into<String>) -> Decision {
        Decision { action: Action::Nothing, reason: reason.into() }
    }

    fn wait(&self, pause: Pause, reason: impl Into<String>) -> Decision {
        Decision { action: Action::Wait(pause), reason: reason.into() }
    }

    /// What is so, and what a person can do.
    fn blocked(&self, what: impl Into<String>, advice: &str) -> Decision {
        Decision { action: Action::Blocked, reason: format!("{} {advice}", what.into()) }
    }
}

/// The time before the next try after `failures` bad ones in a row: doubles, up to a limit.
fn distance(failures: u32, first: Duration, most: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(most)
}
