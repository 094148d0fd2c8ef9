//! From a decision to an operation, through the door that people use too.
//!
//! Two processes may watch the same pair. Both decide from what they see, both submit: the lanes of a server let one in and
//! refuse the other, which is no fault. What was let in looks at the row again in the transaction that changes it (F1), so of two
//! operations that were submitted one after the other the second finds its work done and ends.

use crate::domain::activity::Actor;
use crate::domain::ha::{Action, Cause};
use crate::domain::ids::ServerId;
use crate::domain::operation::OperationKind;
use crate::operations::context::Services;
use crate::operations::submit::{Change, Door, SubmitError};
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two tries to submit the same.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// What the monitor tells the operations of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub cause: Cause,
    /// One sentence: what was seen and why this follows.
    pub reason: String,
    /// When the first sign of it was seen.
    pub seen_at: DateTime<Utc>,
}

/// The operation that an action is; `None` for those that are none.
pub fn kind(action: Action) -> Option<OperationKind> {
    match action {
        Action::Failover => Some(OperationKind::Failover),
        Action::RecoverPrimary => Some(OperationKind::RecoverPrimary),
        Action::Disarm => Some(OperationKind::Disarm),
        Action::BuildStandby => Some(OperationKind::BuildStandby),
        Action::Nothing | Action::Wait(_) | Action::Blocked => None,
    }
}

/// When what was tried last: a look every half second must not ask the store as often.
#[derive(Debug, Default)]
pub struct Tries(HashMap<OperationKind, Instant>);

impl Tries {
    pub fn may_try(&self, kind: OperationKind, now: Instant) -> bool {
        self.0.get(&kind).is_none_or(|last| now.saturating_duration_since(*last) >= TRY_EVERY)
    }

    pub fn tried(&mut self, kind: OperationKind, now: Instant) {
        self.0.insert(kind, now);
    }
}

/// Submits. `Some` is why it was not, for people.
///
/// # Errors
/// When the store does not answer; then nothing was written.
pub async fn submit(
    services: &Services,
    server: &ServerId,
    kind: OperationKind,
    reason: &str,
    seen_at: DateTime<Utc>,
) -> Result<Option<String>, StoreError> {
    let request = Request { cause: Cause::Automatic, reason: reason.to_owned(), seen_at };
    let change = Change::new(kind, reason, &request);
    let door = Door { store: &services.store, clock: &*services.clock, poke: &services.poke };
    end_parked(services, &door, server).await?;
    match door.submit_change(change, server, &Actor::system(), None).await {
        Ok(operation) => {
            tracing::warn!(server.id = %server, operation.id = %operation, kind = kind.key(), reason, "the monitor acts on a pair");
            Ok(None)
        }
        Err(SubmitError::Refused(why)) => {
            tracing::info!(server.id = %server, kind = kind.key(), %why, "an operation of a pair waits");
            Ok(Some(why.to_string()))
        }
        Err(SubmitError::Store(error)) => Err(error),
    }
}

/// One that failed past its point of no return, or whose undo failed, holds its lane for a person. The row says how the
/// pair stands all the same, and what is submitted goes on from there: without this nobody could rescue the pair.
async fn end_parked(
    services: &Services,
    door: &Door<'_>,
    server: &ServerId,
) -> Result<(), StoreError> {
    for id in services.store.parked_of_a_pair(server).await? {
        let Some(operation) = services.store.operation(&id).await? else { continue };
        match door.abandon(&operation, &Actor::system()).await {
            Ok(()) => {
                tracing::warn!(server.id = %server, operation.id = %id, "an operation of a pair that waited for a person is ended");
            }
            // Somebody else ended it, or goes on with it.
            Err(SubmitError::Refused(_)) => {}
            Err(SubmitError::Store(error)) => return Err(error),
        }
    }
    Ok(())
}
