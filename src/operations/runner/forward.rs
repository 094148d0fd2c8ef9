//! Running one step: its begin is stored, it is called, and what came of it becomes a verdict.

use super::{Interference, LEASE, Moment, Point, RunError, Runner, backoff};
use crate::domain::operation::{Lease, Operation, OperationStatus, StepRecord, StepStatus};
use crate::operations::context::StepContext;
use crate::operations::kinds;
use crate::operations::step::{Outcome, Step, StepError, StepFn};
use crate::store::progress::{OperationChange, StepChange};
use crate::store::{Record, StoreError};
use chrono::Duration;
use std::collections::HashMap;

/// One call of a step; engine and PostgreSQL calls have shorter deadlines of their own.
pub(super) const CALL_MAX: std::time::Duration = std::time::Duration::from_secs(120);
/// Tries of a step that fails in a way that may pass.
const ATTEMPTS_MAX: i64 = 8;

/// What became of the current step.
pub(super) enum Verdict {
    Done(serde_json::Value),
    Wait(Duration, String),
    Again(String),
    Fail { what: String, advice: String },
    Lost,
}

impl Runner {
    /// Runs the step at the cursor. `true` when there is more to do at once.
    pub(super) async fn step_forward(
        &self,
        lease: &Lease,
        operation: &Operation,
    ) -> Result<bool, RunError> {
        let steps = kinds::of(operation);
        let Some(step) = usize::try_from(operation.cursor).ok().and_then(|at| steps.get(at)) else {
            return self.settle(lease, operation, OperationStatus::Succeeded).await.map(|()| false);
        };
        let record = self.begin_step(lease, operation, step, StepStatus::Running).await?;
        let failed = self.meet(step, Point::Begun, false)?;
        let verdict = match failed {
            Some(failed) => failed,
            None => self.call(lease, operation, step, step.run, &record).await?,
        };
        let verdict = self.meet(step, Point::Acted, false)?.unwrap_or(verdict);
        let more = match verdict {
            Verdict::Done(output) => self.finish_step(lease, operation, output).await?,
            Verdict::Wait(after, why) => {
                self.wait_step(lease, operation, after, &why, StepStatus::Waiting, 0).await?
            }
            Verdict::Again(why) => {
                self.wait_step(
                    lease,
                    operation,
                    backoff(operation.attempt),
                    &why,
                    StepStatus::Waiting,
                    operation.attempt + 1,
                )
                .await?
            }
            Verdict::Fail { what, advice } => {
                self.fail_step(lease, operation, step, &what, &advice).await?
            }
            Verdict::Lost => return Err(StoreError::Stale.into()),
        };
        self.meet(step, Point::Recorded, false)?;
        Ok(more)
    }

    /// Lets the hook interfere: an error when it kills, a verdict when it fails the step.
    pub(super) fn meet(
        &self,
        step: &Step,
        point: Point,
        undoing: bool,
    ) -> Result<Option<Verdict>, RunError> {
        match (self.hook)(Moment { step: step.name, point, undoing }) {
            Interference::None => Ok(None),
            Interference::Kill => Err(RunError::Killed),
            Interference::Fail => Ok(Some(Verdict::Fail {
                what: "It was made to fail.".into(),
                advice: "Retry.".into(),
            })),
        }
    }

    pub(super) async fn begin_step(
        &self,
        lease: &Lease,
        operation: &Operation,
        step: &Step,
        status: StepStatus,
    ) -> Result<StepRecord, RunError> {
        let now = self.services.clock.now();
        let mut tx = self.services.store.begin_write(now).await?;
        tx.guard(lease, Some(now + LEASE)).await?;
        // The time of the next try is booked before the step runs: a step that kills its process does not spin.
        let next_try = now + backoff(operation.attempt);
        tx.change_operation(
            &operation.id,
            &OperationChange { run_at: Some(next_try), ..Default::default() },
        )
        .await?;
        tx.change_step(
            &operation.id,
            operation.cursor,
            &StepChange { status: Some(status), begins: true, ..Default::default() },
        )
        .await?;
        tx.commit(Record::Nothing("progress of an operation; its own line is written at its end"))
            .await?;
        self.services.poke.progress();
        let steps = self.services.store.operation_steps(&operation.id).await?;
        let found = steps
            .into_iter()
            .find(|record| record.ordinal == operation.cursor && record.name == step.name);
        found.ok_or_else(|| {
            StoreError::Value(format!(
                "operation {} has no step {}: it was submitted by another version",
                operation.id, step.name
            ))
            .into()
        })
    }

    pub(super) async fn call(
        &self,
        lease: &Lease,
        operation: &Operation,
        step: &Step,
        function: StepFn,
        record: &StepRecord,
    ) -> Result<Verdict, RunError> {
        let Some(context) = self.context(lease, operation, step.name).await? else {
            return Ok(Verdict::Fail {
                what: "The server is no longer on record.".into(),
                advice: "Nothing is left to do.".into(),
            });
        };
        let now = self.services.clock.now();
        let late = record.started_at.is_some_and(|begun| {
            now - begun > Duration::from_std(step.deadline).unwrap_or(Duration::MAX)
        });
        let result = tokio::time::timeout(CALL_MAX, function(&context)).await;
        Ok(match result {
            Ok(Ok(Outcome::Done(output))) => Verdict::Done(output),
            Ok(Ok(Outcome::Wait(_, why))) if late => too_late(step, &why),
            Ok(Ok(Outcome::Wait(after, why))) => {
                Verdict::Wait(Duration::from_std(after).unwrap_or(Duration::seconds(1)), why)
            }
            Ok(Err(StepError::Permanent { what, advice })) => Verdict::Fail { what, advice },
            Ok(Err(StepError::LeaseLost)) => Verdict::Lost,
            Ok(Err(StepError::Transient(why))) => again_or_fail(step, operation, late, why),
            Err(_) => again_or_fail(
                step,
                operation,
                late,
                format!("It did not return within {} s.", CALL_MAX.as_secs()),
            ),
        })
    }

    pub(super) async fn context(
        &self,
        lease: &Lease,
        operation: &Operation,
        step: &'static str,
    ) -> Result<Option<StepContext>, RunError> {
        let store = &self.services.store;
        let Some(server) = store.server(&operation.server_id).await? else { return Ok(None) };
        let members = store.members(&server.id).await?;
        let ha = store.ha(&server.id).await?;
        let outputs: HashMap<_, _> = store
            .operation_steps(&operation.id)
            .await?
            .into_iter()
            .filter(|record| !record.output.is_null())
            .map(|record| (record.name, record.output))
            .collect();
        Ok(Some(StepContext {
            services: self.services.clone(),
            operation: operation.clone(),
            server,
            members,
            ha,
            outputs,
            engines: self.services.engines.now(),
            lease: lease.clone(),
            step,
        }))
    }
}

fn again_or_fail(step: &Step, operation: &Operation, late: bool, why: String) -> Verdict {
    if late {
        return too_late(step, &why);
    }
    if operation.attempt + 1 < ATTEMPTS_MAX {
        return Verdict::Again(why);
    }
    let advice =
        "It was tried several times. Look at the Hosts page, mend what it shows, then retry."
            .into();
    Verdict::Fail { what: format!("{why} ({} tries)", operation.attempt + 1), advice }
}

fn too_late(step: &Step, why: &str) -> Verdict {
    let seconds = step.deadline.as_secs();
    Verdict::Fail {
        what: format!("It took longer than {seconds} s: {why}"),
        advice: "Look at the log below and at the Hosts page, then retry.".into(),
    }
}
