//! The runner: claims operations, runs their steps, records, backs off, unwinds. It knows no kind.
//!
//! A process may be killed on any line here. What makes that harmless:
//! - A step's begin (with the time of its next try) is stored before it runs, its output before the next begins.
//!   Killed in between, it runs again; steps look before they act.
//! - The operation is held by a lease with a fence; a runner that lost it can write nothing.
//! - Undo walks back over every step that was begun, the failed one included: it may have half happened.
//!
//! The alternative, one job in one transaction, cannot wait for Docker without locking the store.

mod back;
mod forward;
mod record;

pub(super) use back::settle_server;

use super::context::Services;
use super::kinds;
use crate::domain::operation::{Lease, OperationKind, OperationStatus};
use crate::store::progress::OperationChange;
use crate::store::{Record, StoreError};
use chrono::{DateTime, Duration, Utc};
use forward::CALL_MAX;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How long a claim lasts without renewal.
pub const LEASE: Duration = Duration::seconds(30);
/// How often a running operation's lease is renewed.
const RENEW_EVERY: std::time::Duration = std::time::Duration::from_secs(8);
/// Operations that one process works on at once.
const OPERATIONS_AT_ONCE: usize = 6;
/// Rescues beyond those: what brings a database back never waits for steps that hang at an engine without an answer.
const RESCUES_AT_ONCE: usize = 4;
/// Poll when nothing is known to be due.
const POLL: std::time::Duration = std::time::Duration::from_secs(1);

/// Where in a step a test may interfere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The begin is stored, nothing was done.
    Begun,
    /// The work is done, nothing of it is stored.
    Acted,
    /// The end is stored, the next step has not begun.
    Recorded,
}

impl Point {
    pub const ALL: [Point; 3] = [Point::Begun, Point::Acted, Point::Recorded];
}

/// A point of one step, forward or undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment<'a> {
    pub step: &'a str,
    pub point: Point,
    pub undoing: bool,
}

/// What a test does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interference {
    None,
    /// The runner drops everything, as if its process were killed.
    Kill,
    /// The step fails for good: before it acted, or although it did.
    Fail,
}

/// Asked at every moment. Sweeps kill and fail every step with it; in service nothing interferes.
pub type Hook = Arc<dyn Fn(Moment<'_>) -> Interference + Send + Sync>;

/// Why driving an operation ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The hook said so.
    #[error("killed on purpose")]
    Killed,
}

/// One runner. Clones share everything.
#[derive(Clone)]
pub struct Runner {
    services: Arc<Services>,
    owner: String,
    hook: Hook,
}

impl Runner {
    pub fn new(services: Arc<Services>, owner: String) -> Self {
        Self { services, owner, hook: Arc::new(|_| Interference::None) }
    }

    /// A runner that can be killed and failed at every moment, for sweeps.
    #[must_use]
    pub fn with_hook(mut self, hook: Hook) -> Self {
        self.hook = hook;
        self
    }

    /// Works until `stop` is set; operations under way are left at a step border for the next runner.
    pub async fn run(self, mut stop: tokio::sync::watch::Receiver<bool>) {
        self.forget_dead_owners().await;
        let slots = Arc::new(Semaphore::new(OPERATIONS_AT_ONCE));
        let rescues = Arc::new(Semaphore::new(RESCUES_AT_ONCE));
        while !*stop.borrow() {
            let (slot, is_reserve) = tokio::select! {
                biased;
                slot = slots.clone().acquire_owned() => (slot, false),
                slot = rescues.clone().acquire_owned() => (slot, true),
            };
            let Ok(slot) = slot else { return };
            let claimed = if is_reserve { self.claim_rescue().await } else { self.claim().await };
            match claimed {
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
        let ended = async {
            let _ = slots.acquire_many(OPERATIONS_AT_ONCE as u32).await;
            let _ = rescues.acquire_many(RESCUES_AT_ONCE as u32).await;
        };
        let _ = tokio::time::timeout(CALL_MAX, ended).await;
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

    async fn claim_rescue(&self) -> Result<Option<Lease>, StoreError> {
        let now = self.services.clock.now();
        self.services.store.claim_rescue(&self.owner, now, now + LEASE).await
    }

    /// Claims one due operation and drives it until it ends or waits. `false` when none was due.
    ///
    /// # Errors
    /// When the store fails or the hook kills.
    pub async fn tick(&self) -> Result<bool, RunError> {
        let Some(lease) = self.claim().await? else { return Ok(false) };
        let (_keep, stop) = tokio::sync::watch::channel(false);
        match self.drive(&lease, &stop).await {
            Err(RunError::Store(StoreError::Stale)) | Ok(()) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn drive_logged(&self, lease: Lease, stop: &tokio::sync::watch::Receiver<bool>) {
        // The set ends its task when it is dropped, also by a step that panics: a lease that were renewed
        // after that would hold the operation for as long as this process lives.
        let mut renewal = tokio::task::JoinSet::new();
        renewal.spawn(renew(self.services.clone(), lease.clone()));
        // A renewal ends only when the lease is lost. What is under way is dropped then, a call to an engine
        // too: the next runner may be about to do the opposite.
        let result = tokio::select! {
            result = self.drive(&lease, stop) => result,
            _ = renewal.join_next() => Err(StoreError::Stale.into()),
        };
        drop(renewal);
        match result {
            Ok(()) => {}
            Err(RunError::Store(StoreError::Stale)) => {
                tracing::warn!(operation.id = %lease.operation_id, "the lease was lost; another runner goes on");
            }
            Err(error) => {
                tracing::error!(operation.id = %lease.operation_id, error = %chain(&error), "an operation stopped; it goes on when its lease ends");
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
                    self.start_undo(lease, &operation).await?
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
}

/// Renews until the lease is lost: the store says so, or did not take a renewal for as long as it lasts.
async fn renew(services: Arc<Services>, lease: Lease) {
    let mut renewed = tokio::time::Instant::now();
    while renewed.elapsed() < LEASE.to_std().unwrap_or_default() {
        tokio::time::sleep(RENEW_EVERY).await;
        let now = services.clock.now();
        match services.store.renew_lease(&lease, now, now + LEASE).await {
            Ok(()) => renewed = tokio::time::Instant::now(),
            Err(error) => {
                tracing::warn!(operation.id = %lease.operation_id, error = %chain(&error), "a lease was not renewed");
                if matches!(error, StoreError::Stale) {
                    return;
                }
            }
        }
    }
}

/// 1, 2, 4 … 60 seconds.
fn backoff(attempt: i64) -> Duration {
    Duration::seconds(1i64 << attempt.clamp(0, 6)).min(Duration::seconds(60))
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
pub fn plan(kind: OperationKind, is_rolling: bool) -> Vec<(&'static str, &'static str)> {
    kinds::table(kind, is_rolling).iter().map(|step| (step.name, step.title)).collect()
}

/// A time by which a resumed operation should have ended.
pub fn new_deadline(kind: OperationKind, now: DateTime<Utc>) -> DateTime<Utc> {
    now + kind.deadline()
}
