//! What was observed of a pair at one moment. Not seen is unknown, never down.

use super::Lsn;
use crate::domain::operation::OperationKind;
use std::time::Duration;

/// Everything that the decision looks at beside the row. The row is read **after** the look: then a change of
/// the row that explains what was seen (a primary that is restarted on purpose) is never missed. Looks at members
/// that this row no longer names are left out: they are [`SeenMember::default`], unknown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    pub primary: SeenMember,
    /// `None` when the row names no standby.
    pub standby: Option<SeenMember>,
    /// How long the primary has answered without a sender of the standby's name that streams; `None` while there
    /// is one, and while the primary does not answer.
    pub unfollowed_for: Option<Duration>,
    /// Whether the way in is held ([`RouteState::Held`](crate::domain::route::RouteState)): clients wait.
    pub is_held: bool,
    /// The operation in the change lane.
    pub change: Option<OperationKind>,
    /// Whether a standby is being built by an operation.
    pub is_building: bool,
    /// Whether an operation of the rescue lane is under way.
    pub is_rescuing: bool,
    /// The last [`OperationKind::BuildStandby`], when it ended badly.
    pub build_failed: Option<Failed>,
    /// The last operation of the rescue lane, when it ended badly.
    pub rescue_failed: Option<Failed>,
    /// Since the last automatic failover; `None` when there was none.
    pub since_failover: Option<Duration>,
    /// Automatic failovers in the last hour.
    pub failovers_within_hour: u32,
}

/// An operation that ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Since it ended.
    pub ago: Duration,
    /// How many ended badly one after another, this one included: at least 1.
    pub in_a_row: u32,
}

/// What a member's PostgreSQL answered lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sql {
    /// Nobody asked yet, or too few times to tell. One miss after an answer is this, too: the answer is old.
    #[default]
    Unknown,
    Answers,
    /// It did not answer three times in a row, or says that it starts or ends.
    Silent,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeenMember {
    pub sql: Sql,
    /// How long it has been as `sql` says; of a silent one since the first look that it missed.
    pub sql_for: Duration,
    /// Whether its engine answers; `None` when nobody asked.
    pub engine_answers: Option<bool>,
    /// "running", "exited", "paused", "missing", …; `None` while the engine does not answer.
    pub container: Option<String>,
    pub in_recovery: Option<bool>,
    pub timeline: Option<i64>,
    /// Of a primary: the end of its log. Of a standby: what it has received and flushed.
    pub written: Option<Lsn>,
    pub replayed: Option<Lsn>,
    /// Whether a standby's receiver streams.
    pub receives: Option<bool>,
    /// Of a primary: those that read its log.
    pub senders: Vec<SeenSender>,
    /// `synchronous_standby_names` as it is in force.
    pub waits_for: Option<String>,
}

impl SeenMember {
    /// Whether its engine itself says that the container does not run (N5): silence of an engine says nothing.
    pub fn is_gone(&self) -> bool {
        self.container
            .as_deref()
            .is_some_and(|state| !matches!(state, "running" | "paused" | "restarting"))
    }

    /// Of a standby: whether it answers and says that nothing comes from its primary. It stands elsewhere than whoever
    /// looks, so it is a witness of its own (J10).
    pub fn has_lost_its_primary(&self) -> bool {
        self.sql == Sql::Answers && self.in_recovery == Some(true) && self.receives == Some(false)
    }

    /// Whether its engine says that the container is frozen.
    pub fn is_paused(&self) -> bool {
        self.container.as_deref() == Some("paused")
    }
}

/// A reader of a primary's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSender {
    /// Its `application_name`.
    pub name: String,
    /// "streaming", "catchup", …
    pub state: String,
    /// "sync", "async", …
    pub sync_state: String,
    pub flushed: Option<Lsn>,
}
