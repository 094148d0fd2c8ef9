//! Unwinding: every step that was begun is undone, last first, then the operation is settled.

use super::forward::Verdict;
use super::{LEASE, Point, RunError, Runner, backoff};
use crate::domain::activity::ActivityOutcome;
use crate::domain::operation::{Lease, Operation, OperationStatus, StepRecord, StepStatus};
use crate::operations::kinds::{self, Settlement};
use crate::operations::step::Undo;
use crate::store::progress::{OperationChange, StepChange};
use crate::store::{Record, StoreError, WriteTx};

/// Tries of an undo before a person is called.
const UNDO_ATTEMPTS_MAX: i64 = 12;

impl Runner {
    /// Undoes the step at the cursor. `true` when there is more to do at once.
    pub(super) async fn step_back(
        &self,
        lease: &Lease,
        operation: &Operation,
    ) -> Result<bool, RunError> {
        let steps = kinds::of(operation);
        let Some(step) = usize::try_from(operation.cursor).ok().and_then(|at| steps.get(at)) else {
            let status = if operation.cancel_requested {
                OperationStatus::Cancelled
            } else {
                OperationStatus::Failed
            };
            return self.settle(lease, operation, status).await.map(|()| false);
        };
        let begun = self.services.store.operation_steps(&operation.id).await?;
        let begun = begun
            .iter()
            .any(|record| record.ordinal == operation.cursor && record.started_at.is_some());
        let Undo::Run(undo) = step.undo else {
            return self.undone(lease, operation, None).await;
        };
        if !begun {
            return self.undone(lease, operation, None).await;
        }
        let record = self.begin_step(lease, operation, step, StepStatus::Undoing).await?;
        self.meet(step, Point::Begun, true)?;
        let fresh = StepRecord { started_at: None, ..record };
        let verdict = self.call(lease, operation, step, undo, &fresh).await?;
        let verdict = self.meet(step, Point::Acted, true)?.unwrap_or(verdict);
        let more = match verdict {
            Verdict::Done(_) => self.undone(lease, operation, Some(StepStatus::Undone)).await?,
            Verdict::Wait(after, why) => {
                self.wait_step(
                    lease,
                    operation,
                    after,
                    &why,
                    StepStatus::Undoing,
                    operation.attempt,
                )
                .await?
            }
            Verdict::Again(why) | Verdict::Fail { what: why, .. }
                if operation.attempt + 1 < UNDO_ATTEMPTS_MAX =>
            {
                self.wait_step(
                    lease,
                    operation,
                    backoff(operation.attempt),
                    &why,
                    StepStatus::Undoing,
                    operation.attempt + 1,
                )
                .await?
            }
            Verdict::Again(why) | Verdict::Fail { what: why, .. } => {
                self.park(lease, operation, &why).await?
            }
            Verdict::Lost => return Err(StoreError::Stale.into()),
        };
        self.meet(step, Point::Recorded, true)?;
        Ok(more)
    }

    pub(super) async fn undone(
        &self,
        lease: &Lease,
        operation: &Operation,
        status: Option<StepStatus>,
    ) -> Result<bool, RunError> {
        let now = self.services.clock.now();
        let mut tx = self.services.store.begin_write(now).await?;
        tx.guard(lease, Some(now + LEASE)).await?;
        if let Some(status) = status {
            tx.change_step(
                &operation.id,
                operation.cursor,
                &StepChange { status: Some(status), ends: true, ..Default::default() },
            )
            .await?;
        }
        let back = OperationChange {
            cursor: Some(operation.cursor - 1),
            attempt: Some(0),
            run_at: Some(now),
            ..Default::default()
        };
        tx.change_operation(&operation.id, &back).await?;
        tx.commit(Record::Nothing("progress of an operation; its own line is written at its end"))
            .await?;
        Ok(true)
    }

    pub(super) async fn park(
        &self,
        lease: &Lease,
        operation: &Operation,
        why: &str,
    ) -> Result<bool, RunError> {
        let mut tx = self.services.store.begin_write(self.services.clock.now()).await?;
        tx.guard(lease, None).await?;
        tx.change_step(
            &operation.id,
            operation.cursor,
            &StepChange { note: Some(why), ..Default::default() },
        )
        .await?;
        let parked = OperationChange {
            status: Some(OperationStatus::NeedsAttention),
            release: true,
            ..Default::default()
        };
        tx.change_operation(&operation.id, &parked).await?;
        tx.commit(Record::Nothing("the operation's own line is written when it ends")).await?;
        tracing::error!(operation.id = %operation.id, reason = why, "an undo is stuck and needs attention");
        Ok(false)
    }

    /// Ends the operation and writes in the same transaction what becomes of the server.
    pub(super) async fn settle(
        &self,
        lease: &Lease,
        operation: &Operation,
        status: OperationStatus,
    ) -> Result<(), RunError> {
        let mut tx = self.services.store.begin_write(self.services.clock.now()).await?;
        tx.guard(lease, None).await?;
        let outcome = settle_server(&mut tx, operation, status).await?;
        tx.skip_pending_steps(&operation.id).await?;
        tx.change_operation(
            &operation.id,
            &OperationChange { status: Some(status), ..Default::default() },
        )
        .await?;
        tx.end_activity(&operation.id, outcome, operation.error.as_deref().unwrap_or("")).await?;
        tx.commit(Record::Nothing("the line of the request was completed above")).await?;
        self.services.poke.monitor();
        self.services.poke.routes();
        tracing::info!(operation.id = %operation.id, kind = operation.kind.key(), status = status.key(), "an operation ended");
        Ok(())
    }
}

/// Writes what an operation's end means for its server.
pub(in crate::operations) async fn settle_server(
    tx: &mut WriteTx,
    operation: &Operation,
    status: OperationStatus,
) -> Result<ActivityOutcome, StoreError> {
    let succeeded = status == OperationStatus::Succeeded;
    match kinds::settlement(operation.kind, succeeded) {
        Settlement::Server(settled) => {
            tx.set_settled(&operation.server_id, settled).await?;
            tx.follow_meters(&operation.server_id, settled).await?;
        }
        Settlement::Gone => {
            tx.note_deleted(&operation.server_id, &operation.requested_by).await?;
            tx.delete_server(&operation.server_id).await?;
        }
        Settlement::Unchanged => {}
    }
    Ok(if succeeded { ActivityOutcome::Succeeded } else { ActivityOutcome::Failed })
}
