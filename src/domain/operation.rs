//! Operations: durable pieces of work, what may start when, and how they stand.

use super::ids::{OperationId, ServerId};
use super::refusal::Refusal;
use super::server::{ServerState, SettledState};
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OperationKind {
    Create,
    Delete,
    Restart,
    RenewCertificate,
}

impl OperationKind {
    pub const ALL: [OperationKind; 4] = [
        OperationKind::Create,
        OperationKind::Delete,
        OperationKind::Restart,
        OperationKind::RenewCertificate,
    ];

    /// Word in the store; never reused for another meaning.
    pub fn key(self) -> &'static str {
        match self {
            OperationKind::Create => "create",
            OperationKind::Delete => "delete",
            OperationKind::Restart => "restart",
            OperationKind::RenewCertificate => "renew_certificate",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.key() == text)
    }

    /// Words for people, as a headline before the server's name.
    pub fn label(self) -> &'static str {
        match self {
            OperationKind::Create => "Create server",
            OperationKind::Delete => "Delete server",
            OperationKind::Restart => "Restart server",
            OperationKind::RenewCertificate => "Renew certificate",
        }
    }

    /// Word in the activity log.
    pub fn action(self) -> &'static str {
        match self {
            OperationKind::Create => "server.create",
            OperationKind::Delete => "server.delete",
            OperationKind::Restart => "server.restart",
            OperationKind::RenewCertificate => "server.renew_certificate",
        }
    }

    /// What clients notice while it runs.
    pub fn availability(self) -> &'static str {
        match self {
            OperationKind::Create => "The database becomes available when the last step is done.",
            OperationKind::Delete => {
                "The database is unavailable from the first step on, for good."
            }
            OperationKind::Restart => {
                "The database is unavailable from “Stop PostgreSQL” until “Wait until it accepts connections” is done; open connections end."
            }
            OperationKind::RenewCertificate => {
                "The database stays available; new connections see the new certificate."
            }
        }
    }

    /// Time after which a person is told that it takes too long.
    pub fn deadline(self) -> Duration {
        match self {
            OperationKind::Create => Duration::minutes(20),
            OperationKind::Delete | OperationKind::Restart => Duration::minutes(10),
            OperationKind::RenewCertificate => Duration::minutes(5),
        }
    }

    /// Operations in one lane of a server exclude one another.
    pub fn lane(self) -> Lane {
        match self {
            OperationKind::Create
            | OperationKind::Delete
            | OperationKind::Restart
            | OperationKind::RenewCertificate => Lane::Change,
        }
    }

    /// Whether it may start now. The reason is for the control it closes.
    pub fn check_legal(
        self,
        settled: SettledState,
        active: Option<OperationKind>,
    ) -> Result<(), Refusal> {
        if let Some(active) = active {
            return Err(Refusal::whole(format!(
                "“{}” is under way. Wait until it has ended.",
                active.label()
            )));
        }
        let allowed = match self {
            OperationKind::Create => matches!(settled, SettledState::New | SettledState::Failed),
            OperationKind::Delete => true,
            OperationKind::Restart | OperationKind::RenewCertificate => {
                settled == SettledState::Ready
            }
        };
        let state = ServerState::shown(settled, None).label();
        match self {
            _ if allowed => Ok(()),
            OperationKind::Create => {
                Err(Refusal::whole(format!("The server is {state}: it exists already.")))
            }
            _ => Err(Refusal::whole(format!(
                "The server is {state}. This needs a server that is Ready."
            ))),
        }
    }
}

/// Operations of different lanes run side by side on one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Change,
    Backup,
}

impl Lane {
    pub fn key(self) -> &'static str {
        match self {
            Lane::Change => "change",
            Lane::Backup => "backup",
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_at_a_time_and_only_from_the_right_state() {
        let busy =
            OperationKind::Restart.check_legal(SettledState::Ready, Some(OperationKind::Delete));
        assert!(busy.unwrap_err().text.contains("Delete server"));
        assert!(OperationKind::Restart.check_legal(SettledState::Ready, None).is_ok());
        assert!(OperationKind::Restart.check_legal(SettledState::Failed, None).is_err());
        assert!(OperationKind::Create.check_legal(SettledState::Ready, None).is_err());
        assert!(OperationKind::Delete.check_legal(SettledState::Failed, None).is_ok());
    }
}
