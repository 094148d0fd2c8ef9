//! The activity log: who asked for what, when, from where, and how it ended.

use super::ids::{ActivityId, OperationId, ServerId, UserId};
use chrono::{DateTime, Utc};

/// Who asks: a signed-in user, or the portal itself (schedules, monitor).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub user_id: Option<UserId>,
    /// Login at the time of asking; "pgflex" for the portal itself.
    pub name: String,
    /// Client address, or "-" for the portal itself.
    pub address: String,
}

impl Actor {
    /// The portal acting on a schedule or on what it observed.
    pub fn system() -> Self {
        Self { user_id: None, name: "pgflex".into(), address: "-".into() }
    }

    /// Whether it is the portal itself.
    pub fn is_system(&self) -> bool {
        *self == Self::system()
    }
}

/// How what was asked ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityOutcome {
    /// An operation is under way.
    Started,
    Succeeded,
    Failed,
    /// The person was told no.
    Refused,
}

impl ActivityOutcome {
    pub const ALL: [ActivityOutcome; 4] = [
        ActivityOutcome::Started,
        ActivityOutcome::Succeeded,
        ActivityOutcome::Failed,
        ActivityOutcome::Refused,
    ];

    pub fn key(self) -> &'static str {
        match self {
            ActivityOutcome::Started => "Started",
            ActivityOutcome::Succeeded => "Succeeded",
            ActivityOutcome::Failed => "Failed",
            ActivityOutcome::Refused => "Refused",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.key() == text)
    }
}

/// A line about to be written.
#[derive(Debug, Clone)]
pub struct NewActivity {
    pub actor: Actor,
    /// Stable words of what was asked, such as `server.create` or `firewall_rule.delete`.
    pub action: &'static str,
    /// Name of the thing concerned, such as the server's name; empty where there is none.
    pub subject: String,
    pub server_id: Option<ServerId>,
    pub operation_id: Option<OperationId>,
    pub outcome: ActivityOutcome,
    /// One line more for people; never a secret.
    pub detail: String,
}

/// A line of the log.
#[derive(Debug, Clone)]
pub struct Activity {
    pub id: ActivityId,
    pub at: DateTime<Utc>,
    pub actor_name: String,
    pub address: String,
    pub action: String,
    pub subject: String,
    pub server_id: Option<ServerId>,
    pub operation_id: Option<OperationId>,
    /// Where an operation belongs to the line, the outcome follows the operation's end.
    pub outcome: ActivityOutcome,
    /// The operation has not ended and is parked until a person decides.
    pub needs_attention: bool,
    pub detail: String,
    pub ended_at: Option<DateTime<Utc>>,
}
