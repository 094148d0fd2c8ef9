//! What the runner writes about a step, each in one guarded transaction.

use super::{LEASE, RunError, Runner};
use crate::domain::operation::{Lease, Operation, OperationStatus, StepStatus};
use crate::operations::kinds;
use crate::operations::step::Step;
use crate::store::Record;
use crate::store::progress::{OperationChange, StepChange};
use chrono::{DateTime, Duration, Utc};

impl Runner {
    pub(super) async fn finish_step(
        &self,
        lease: &Lease,
        operation: &Operation,
        output: serde_json::Value,
    ) -> Result<bool, RunError> {
        let now = self.services.clock.now();
        let mut tx = self.services.store.begin_write(now).await?;
        tx.guard(lease, Some(now + LEASE)).await?;
        let done = StepChange {
            status: Some(StepStatus::Done),
            output: Some(&output),
            ends: true,
            ..Default::default()
        };
        tx.change_step(&operation.id, operation.cursor, &done).await?;
        // Whoever cancelled while the point of no return was at work was told that it is taken back: the
        // cursor may not pass it. The row is locked, so a request either is seen here or is refused.
        let is_point = operation.cursor == kinds::last_return(operation);
        let next = if is_point && tx.is_cancel_requested(&operation.id).await? {
            cancelled(now)
        } else {
            OperationChange {
                cursor: Some(operation.cursor + 1),
                attempt: Some(0),
                run_at: Some(now),
                ..Default::default()
            }
        };
        tx.change_operation(&operation.id, &next).await?;
        tx.commit(Record::Nothing("progress of an operation; its own line is written at its end"))
            .await?;
        Ok(true)
    }

    pub(super) async fn wait_step(
        &self,
        lease: &Lease,
        operation: &Operation,
        after: Duration,
        why: &str,
        status: StepStatus,
        attempt: i64,
    ) -> Result<bool, RunError> {
        let now = self.services.clock.now();
        let mut tx = self.services.store.begin_write(now).await?;
        tx.guard(lease, None).await?;
        // Looking again at something that takes its time is no attempt; trying again after a fault is.
        let retries = attempt > operation.attempt;
        let waits =
            StepChange { status: Some(status), note: Some(why), retries, ..Default::default() };
        tx.change_step(&operation.id, operation.cursor, &waits).await?;
        let later = OperationChange {
            attempt: Some(attempt),
            run_at: Some(now + after),
            release: true,
            ..Default::default()
        };
        tx.change_operation(&operation.id, &later).await?;
        tx.commit(Record::Nothing("progress of an operation; its own line is written at its end"))
            .await?;
        Ok(false)
    }

    pub(super) async fn fail_step(
        &self,
        lease: &Lease,
        operation: &Operation,
        step: &Step,
        what: &str,
        advice: &str,
    ) -> Result<bool, RunError> {
        let now = self.services.clock.now();
        let past_return = self.is_past_return(operation).await?;
        let status =
            if past_return { OperationStatus::NeedsAttention } else { OperationStatus::Undoing };
        let mut tx = self.services.store.begin_write(now).await?;
        tx.guard(lease, Some(now + LEASE)).await?;
        tx.change_step(
            &operation.id,
            operation.cursor,
            &StepChange {
                status: Some(StepStatus::Failed),
                note: Some(what),
                ends: true,
                ..Default::default()
            },
        )
        .await?;
        let failed = OperationChange {
            status: Some(status),
            attempt: Some(0),
            run_at: Some(now),
            error: Some(what),
            advice: Some(advice),
            failed_step: Some(step.name),
            release: past_return,
            ..Default::default()
        };
        tx.change_operation(&operation.id, &failed).await?;
        tx.commit(Record::Nothing("progress of an operation; its own line is written at its end"))
            .await?;
        tracing::warn!(operation.id = %operation.id, step = step.name, reason = what, "a step failed for good");
        Ok(!past_return)
    }

    pub(super) async fn start_undo(
        &self,
        lease: &Lease,
        operation: &Operation,
    ) -> Result<bool, RunError> {
        let now = self.services.clock.now();
        let mut tx = self.services.store.begin_write(now).await?;
        tx.guard(lease, Some(now + LEASE)).await?;
        tx.change_operation(&operation.id, &cancelled(now)).await?;
        tx.commit(Record::Nothing("the request to cancel wrote its own line")).await?;
        Ok(true)
    }

    /// Whether a finished step was the point of no return.
    pub(super) async fn is_past_return(&self, operation: &Operation) -> Result<bool, RunError> {
        Ok(kinds::is_past_return(operation, operation.cursor))
    }
}

/// From now on it is undone, because a person wants it so.
fn cancelled(now: DateTime<Utc>) -> OperationChange<'static> {
    OperationChange {
        status: Some(OperationStatus::Undoing),
        attempt: Some(0),
        run_at: Some(now),
        error: Some("It was cancelled."),
        advice: Some("Submit it again if you want it after all."),
        ..Default::default()
    }
}
