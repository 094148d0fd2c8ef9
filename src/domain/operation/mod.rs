//! Operations: durable pieces of work, what may start when, and how they stand.

mod kind;
mod lane;

pub use kind::{KindFacts, Needs, OperationKind};
pub use lane::Lane;

use super::ids::{OperationId, ServerId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationStatus {
    Queued,
    Running,
    /// A step failed for good; what was made is being removed.
    Undoing,
    Succeeded,
    /// Ended, everything it made was undone.
    Failed,
    Cancelled,
    /// Parked: it cannot go on by itself and a person must decide between retry and abandon.
    NeedsAttention,
}

impl OperationStatus {
    pub const ALL: [OperationStatus; 7] = [
        OperationStatus::Queued,
        OperationStatus::Running,
        OperationStatus::Undoing,
        OperationStatus::Succeeded,
        OperationStatus::Failed,
        OperationStatus::Cancelled,
        OperationStatus::NeedsAttention,
    ];

    pub fn key(self) -> &'static str {
        match self {
            OperationStatus::Queued => "queued",
            OperationStatus::Running => "running",
            OperationStatus::Undoing => "undoing",
            OperationStatus::Succeeded => "succeeded",
            OperationStatus::Failed => "failed",
            OperationStatus::Cancelled => "cancelled",
            OperationStatus::NeedsAttention => "needs_attention",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.key() == text)
    }

    pub fn label(self) -> &'static str {
        match self {
            OperationStatus::Queued => "Queued",
            OperationStatus::Running => "Running",
            OperationStatus::Undoing => "Undoing",
            OperationStatus::Succeeded => "Succeeded",
            OperationStatus::Failed => "Failed",
            OperationStatus::Cancelled => "Cancelled",
            OperationStatus::NeedsAttention => "Needs attention",
        }
    }

    /// Whether the operation holds its lane. A parked one does, so that nothing builds on half-done work.
    pub fn is_active(self) -> bool {
        matches!(
            self,
            OperationStatus::Queued
                | OperationStatus::Running
                | OperationStatus::Undoing
                | OperationStatus::NeedsAttention
        )
    }

    /// Whether nothing more will happen without a person.
    pub fn is_settled(self) -> bool {
        !matches!(
            self,
            OperationStatus::Queued | OperationStatus::Running | OperationStatus::Undoing
        )
    }
}

/// An operation as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub id: OperationId,
    pub kind: OperationKind,
    pub server_id: ServerId,
    /// Kept beside the id: the page of a deletion must name the server after it is gone.
    pub server_name: String,
    pub status: OperationStatus,
    /// Parameters of the kind, as JSON. No secret is ever in it.
    pub input: serde_json::Value,
    /// Index of the step that runs next, or that is undone next.
    pub cursor: i64,
    /// Tries of the current step, counting from zero.
    pub attempt: i64,
    /// Not before this time.
    pub run_at: DateTime<Utc>,
    /// What a person is told when it did not succeed: what happened.
    pub error: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
    /// Name of the step that failed.
    pub failed_step: Option<String>,
    pub cancel_requested: bool,
    pub requested_by: String,
    pub requested_from: String,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub deadline_at: DateTime<Utc>,
    /// The earlier operation that this one tries again.
    pub retry_of: Option<OperationId>,
}

impl Operation {
    /// What it is about beside its server, in words: the new size, the database. Empty for most kinds.
    pub fn about(&self) -> &str {
        self.input.get(ABOUT).and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    /// Whether it goes through a pair member by member.
    pub fn is_rolling(&self) -> bool {
        self.input.get(ROLLING).and_then(serde_json::Value::as_bool).unwrap_or(false)
    }
}

/// Key of an operation's input under which words for people stand.
pub const ABOUT: &str = "about";

/// Key of an operation's input that says, when true, that it goes through a pair member by member. Set by the door,
/// never by a form: the steps of the operation follow from it.
pub const ROLLING: &str = "rolling";

/// The right to run one operation for a while. Every write of a running operation names it, and
/// the store refuses the write when owner or fence are no longer those of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub operation_id: OperationId,
    /// Name of the runner, unique for each start of a process.
    pub owner: String,
    /// Grows each time the operation is claimed.
    pub fence: i64,
}

/// How one step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepStatus {
    Pending,
    Running,
    /// Begun, and asked to be looked at again later.
    Waiting,
    Done,
    Failed,
    Undoing,
    Undone,
    /// Never begun and never will be.
    Skipped,
}

impl StepStatus {
    pub const ALL: [StepStatus; 8] = [
        StepStatus::Pending,
        StepStatus::Running,
        StepStatus::Waiting,
        StepStatus::Done,
        StepStatus::Failed,
        StepStatus::Undoing,
        StepStatus::Undone,
        StepStatus::Skipped,
    ];

    pub fn key(self) -> &'static str {
        match self {
            StepStatus::Pending => "pending",
            StepStatus::Running => "running",
            StepStatus::Waiting => "waiting",
            StepStatus::Done => "done",
            StepStatus::Failed => "failed",
            StepStatus::Undoing => "undoing",
            StepStatus::Undone => "undone",
            StepStatus::Skipped => "skipped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.key() == text)
    }

    pub fn label(self) -> &'static str {
        match self {
            StepStatus::Pending => "To do",
            StepStatus::Running => "Running",
            StepStatus::Waiting => "Waiting",
            StepStatus::Done => "Done",
            StepStatus::Failed => "Failed",
            StepStatus::Undoing => "Undoing",
            StepStatus::Undone => "Undone",
            StepStatus::Skipped => "Not needed",
        }
    }
}

/// A step of an operation as stored. The plan is written with the operation, so the page shows it at once.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    pub ordinal: i64,
    /// Stable name, such as `create_volume`.
    pub name: String,
    /// Words for people.
    pub title: String,
    pub status: StepStatus,
    /// What the step gave, stored before the next begins.
    pub output: serde_json::Value,
    /// Why it waits or failed.
    pub note: Option<String>,
    pub attempts: i64,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// One line of an operation's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    pub seq: i64,
    pub at: DateTime<Utc>,
    pub step: String,
    pub text: String,
}
