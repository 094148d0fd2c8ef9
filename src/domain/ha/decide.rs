//! What is to be done next for a pair: one pure function, run by the monitor and explored by the model checker.

use super::{HighAvailability, Seen};
use chrono::{DateTime, Utc};

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    /// One sentence for people: what was seen and why this follows.
    pub reason: String,
}

/// What the monitor submits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// All is as it shall be.
    Nothing,
    /// Look again; see [`Pause`].
    Wait(Pause),
    /// Make the standby the primary.
    Failover,
    /// Start the primary again in place.
    RecoverPrimary,
    /// Let commits go on without the standby.
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

/// Decides.
pub fn decide(_row: &HighAvailability, _seen: &Seen, _now: DateTime<Utc>) -> Decision {
    Decision { action: Action::Nothing, reason: String::new() }
}
