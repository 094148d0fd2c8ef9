//! The runner: claims operations, runs their steps, records, backs off, unwinds. It knows no kind.
//!
//! A process may be killed on any line here. What makes that harmless:
//! - A step's begin (with the time of its next try) is stored before it runs, its output before the next begins.
//!   Killed in between, it runs again; steps look before they act.
//! - The operation is held by a lease with a fence; a runner that lost it can write nothing.
//! - Undo walks back over every step that was begun, the failed one included: it may have half happened.
//!
//! The alternative, one job in one transaction, cannot wait for Docker without locking the store.

use super::context::{Services, StepContext};
use super::kinds::{self, Settlement};
use super::step::{Outcome, Step, StepError, Undo};
use crate::domain::activity::ActivityOutcome;
use crate::domain::operation::{
    Lease, Operation, OperationKind, OperationStatus, StepRecord, StepStatus,
};
use crate::store::progress::{OperationChange, StepChange};
use crate::store::{Record, StoreError};
use chrono::{DateTime, Duration, Utc};
use std::collections::HashMap;
use std::sync::Arc;

/// How long a claim lasts without renewal.
pub const LEASE: Duration = Duration::seconds(30);
/// How often a running operation's lease is renewed.
const RENEW_EVERY: std::time::Duration = std::time::Duration::from_secs(8);
/// One call of a step; engine and PostgreSQL calls have shorter deadlines of their own.
const CALL_MAX: std::time::Duration = std::time::Duration::from_secs(120);
/// Tries of a step that fails in a way that may pass.
const ATTEMPTS_MAX: i64 = 8;
/// Tries of an undo before a person is called.
const UNDO_ATTEMPTS_MAX: i64 = 12;
/// Operations that one process works on at once.
const OPERATIONS_AT_ONCE: usize = 6;
/// Poll when nothing is known to be due.
const POLL: std::time::Duration = std::time::Duration::from_secs(1);

/// Where in a step a test may kill the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// The begin is stored, nothing was done.
    Begun,
    /// The work is done, nothing of it is stored.
    Acted,
    /// The end is stored, the next step has not begun.
    Recorded,
}

impl CrashPoint {
    pub const ALL: [CrashPoint; 3] = [CrashPoint::Begun, CrashPoint::Acted, CrashPoint::Recorded];
}

/// Asked at every point of every step; `true` makes the runner drop everything as if killed.
pub type CrashHook = Arc<dyn Fn(&str, CrashPoint) -> bool + Send + Sync>;

/// Why driving an operation ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The crash hook said so.
    #[error("killed on purpose")]
    Crashed,
}

/// One runner. Clones share everything.
#[derive(Clone)]
pub struct Runner {
    services: Arc<Services>,
    owner: String,
    crash: CrashHook,
}

/// What became of the current step.
enum Verdict {
    Done(serde_json::Value),
    Wait(Duration, String),
    Again(String),
    Fail { what: String, advice: String },
    Lost,
}

impl Runner {
    pub fn new(services: Arc<Services>, owner: String) -> Self {
        Self { services, owner, crash: Arc::new(|_, _| false) }
    }

    /// A runner that can be killed at any point of any step, for sweeps.
    #[must_use]
    pub fn with_crash(mut self, crash: CrashHook) -> Self {
        self.crash = crash;
        self
    }

    /// Works until `stop` is set; operations under way are left at a step border for the next runner.
    pub async fn run(self, mut stop: tokio::sync::watch::Receiver<bool>) {
        self.forget_dead_owners().await;
        let slots = Arc::new(tokio::sync::Semaphore::new(OPERATIONS_AT_ONCE));
        while !*stop.borrow() {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            match self.claim().await {
                Ok(Some(lease)) => {
                    let runner = self.clone();
                    let stop = stop.clone();
                    tokio::spawn(async move {
                        runner.drive_logged(lease, &stop).await;
                        runner.services.poke.runner();
                        drop(slot);
                    });
                }
                Ok(None) => self.rest(&mut stop).await,
                Err(error) => {
                    tracing::error!(error = %chain(&error), "operations cannot be claimed; trying again");
                    tokio::time::sleep(POLL).await;
                }
            }
        }
        // Wait for the steps under way: each ends within its call limit.
        let _ = tokio::time::timeout(CALL_MAX, slots.acquire_many(OPERATIONS_AT_ONCE as u32)).await;
    }

    /// Leases of processes of this machine that are gone need not be waited for.
    async fn forget_dead_owners(&self) {
        let now = self.services.clock.now();
        let owners = self.services.store.lease_owners(now).await.unwrap_or_default();
        for owner in owners.iter().filter(|owner| super::owner::is_dead(owner)) {
            if let Err(error) = self.services.store.end_leases_of(owner, now).await {
                tracing::warn!(%error, "leases of a dead process could not be ended; they end by themselves");
            }
        }
    }

    async fn rest(&self, stop: &mut tokio::sync::watch::Receiver<bool>) {
        let now = self.services.clock.now();
        let due = self.services.store.next_operation_due().await.ok().flatten();
        let nap = due
            .and_then(|due| (due - now).to_std().ok())
            .unwrap_or(POLL)
            .clamp(std::time::Duration::from_millis(5), POLL);
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            () = self.services.poke.wait_runner() => {}
            _ = stop.changed() => {}
        }
    }

    async fn claim(&self) -> Result<Option<Lease>, StoreError> {
        let now = self.services.clock.now();
        self.services.store.claim_operation(&self.owner, now, now + LEASE).await
    }

    /// Claims one due operation and drives it until it ends or waits. `false` when none was due.
    ///
    /// # Errors
    /// When the store fails or the crash hook strikes.
    pub async fn tick(&self) -> Result<bool, RunError> {
        let Some(lease) = self.claim().await? else { return Ok(false) };
        let (_keep, stop) = tokio::sync::watch::channel(false);
        match self.drive(&lease, &stop).await {
            Err(RunError::Store(StoreError::Stale)) | Ok(()) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn drive_logged(&self, lease: Lease, stop: &tokio::sync::watch::Receiver<bool>) {
        let renewal = tokio::spawn(renew(self.services.clone(), lease.clone()));
        let result = self.drive(&lease, stop).await;
        renewal.abort();
        match result {
            Ok(()) => {}
            Err(RunError::Store(StoreError::Stale)) => {
                tracing::warn!(operation.id = %lease.operation_id, "the lease was lost; another runner goes on");
            }
            Err(error) => {
                tracing::error!(operation.id = %lease.operation_id, error = %chain(&error), "an operation stopped; it goes on when its lease ends")
            }
        }
    }

    async fn drive(
        &self,
        lease: &Lease,
        stop: &tokio::sync::watch::Receiver<bool>,
    ) -> Result<(), RunError> {
        loop {
            let Some(operation) = self.services.store.operation(&lease.operation_id).await? else {
                return Ok(());
            };
            let more = match operation.status {
                OperationStatus::Running
                    if operation.cancel_requested && !self.is_past_return(&operation).await? =>
                {
                    self.start_undo(
                        lease,
                        &operation,
                        "It was cancelled.",
                        "Nothing is left of it. Submit it again if you want it after all.",
                    )
                    .await?
                }
                OperationStatus::Running => self.step_forward(lease, &operation).await?,
                OperationStatus::Undoing => self.step_back(lease, &operation).await?,
                _ => false,
            };
            self.services.poke.progress();
            if !more {
                return Ok(());
            }
            if *stop.borrow() {
                self.release(lease).await?;
                return Ok(());
            }
        }
    }

    async fn release(&self, lease: &Lease) -> Result<(), RunError> {
        let mut tx = self.services.store.begin_write(self.services.clock.now()).await?;
        tx.guard(lease, None).await?;
        tx.change_operation(
            &lease.operation_id,
            &OperationChange { release: true, ..Default::default() },
        )
        .await?;
        tx.commit(Record::Nothing("the process stops; the operation goes on elsewhere")).await?;
        Ok(())
    }

    /// Runs the step at the cursor. `true` when there is more to do at once.
    async fn step_forward(&self, lease: &Lease, operation: &Operation) -> Result<bool, RunError> {
        let steps = kinds::steps(operation.kind);
        let Some(step) = usize::try_from(operation.cursor).ok().and_then(|at| steps.get(at)) else {
            return self.settle(lease, operation, OperationStatus::Succeeded).await.map(|()| false);
        };
        let record = self.begin_step(lease, operation, step, StepStatus::Running).await?;
        self.crash_at(step, CrashPoint::Begun)?;
        let verdict = self.call(lease, operation, step, step.run, &record).await?;
        self.crash_at(step, CrashPoint::Acted)?;
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
        self.crash_at(step, CrashPoint::Recorded)?;
        Ok(more)
    }

    fn crash_at(&self, step: &Step, point: CrashPoint) -> Result<(), RunError> {
        if (self.crash)(step.name, point) { Err(RunError::Crashed) } else { Ok(()) }
    }

    async fn begin_step(
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

    async fn call(
        &self,
        lease: &Lease,
        operation: &Operation,
        step: &Step,
        function: super::step::StepFn,
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

    async fn context(
        &self,
        lease: &Lease,
        operation: &Operation,
        step: &'static str,
    ) -> Result<Option<StepContext>, RunError> {
        let store = &self.services.store;
        let Some(server) = store.server(&operation.server_id).await? else { return Ok(None) };
        let members = store.members(&server.id).await?;
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
            outputs,
            lease: lease.clone(),
            step,
        }))
    }

    async fn finish_step(
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
        let next = OperationChange {
            cursor: Some(operation.cursor + 1),
            attempt: Some(0),
            run_at: Some(now),
            ..Default::default()
        };
        tx.change_operation(&operation.id, &next).await?;
        tx.commit(Record::Nothing("progress of an operation; its own line is written at its end"))
            .await?;
        Ok(true)
    }

    async fn wait_step(
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
        tx.change_step(
            &operation.id,
            operation.cursor,
            &StepChange { status: Some(status), note: Some(why), ..Default::default() },
        )
        .await?;
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

    async fn fail_step(
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

    async fn start_undo(
        &self,
        lease: &Lease,
        operation: &Operation,
        what: &str,
        advice: &str,
    ) -> Result<bool, RunError> {
        let now = self.services.clock.now();
        let mut tx = self.services.store.begin_write(now).await?;
        tx.guard(lease, Some(now + LEASE)).await?;
        let undo = OperationChange {
            status: Some(OperationStatus::Undoing),
            attempt: Some(0),
            run_at: Some(now),
            error: Some(what),
            advice: Some(advice),
            ..Default::default()
        };
        tx.change_operation(&operation.id, &undo).await?;
        tx.commit(Record::Nothing("the request to cancel wrote its own line")).await?;
        Ok(true)
    }

    /// Whether a finished step was the point of no return.
    async fn is_past_return(&self, operation: &Operation) -> Result<bool, RunError> {
        let passed = usize::try_from(operation.cursor).unwrap_or(0);
        Ok(kinds::steps(operation.kind).iter().take(passed).any(|step| step.point_of_no_return))
    }

    /// Undoes the step at the cursor. `true` when there is more to do at once.
    async fn step_back(&self, lease: &Lease, operation: &Operation) -> Result<bool, RunError> {
        let steps = kinds::steps(operation.kind);
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
        self.crash_at(step, CrashPoint::Begun)?;
        let fresh = StepRecord { started_at: None, ..record };
        let verdict = self.call(lease, operation, step, undo, &fresh).await?;
        self.crash_at(step, CrashPoint::Acted)?;
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
        self.crash_at(step, CrashPoint::Recorded)?;
        Ok(more)
    }

    async fn undone(
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

    async fn park(
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
    async fn settle(
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
pub(super) async fn settle_server(
    tx: &mut crate::store::WriteTx,
    operation: &Operation,
    status: OperationStatus,
) -> Result<ActivityOutcome, StoreError> {
    let succeeded = status == OperationStatus::Succeeded;
    match kinds::settlement(operation.kind, succeeded) {
        Settlement::Server(settled) => tx.set_settled(&operation.server_id, settled).await?,
        Settlement::Gone => tx.delete_server(&operation.server_id).await?,
        Settlement::Unchanged => {}
    }
    Ok(if succeeded { ActivityOutcome::Succeeded } else { ActivityOutcome::Failed })
}

async fn renew(services: Arc<Services>, lease: Lease) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let now = services.clock.now();
        if let Err(error) = services.store.renew_lease(&lease, now, now + LEASE).await {
            tracing::warn!(operation.id = %lease.operation_id, error = %chain(&error), "a lease was not renewed");
            if matches!(error, StoreError::Stale) {
                return;
            }
        }
    }
}

/// 1, 2, 4 … 60 seconds.
fn backoff(attempt: i64) -> Duration {
    Duration::seconds(1i64 << attempt.clamp(0, 6)).min(Duration::seconds(60))
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

/// An error with its causes, for one log line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The plan that is stored with a new operation.
pub fn plan(kind: OperationKind) -> Vec<(&'static str, &'static str)> {
    kinds::steps(kind).iter().map(|step| (step.name, step.title)).collect()
}

/// A time by which a resumed operation should have ended.
pub fn new_deadline(kind: OperationKind, now: DateTime<Utc>) -> DateTime<Utc> {
    now + kind.deadline()
}
