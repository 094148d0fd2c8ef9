//! Servers that were stopped for long: people are told a day before, and after seven days they start.

use crate::domain::activity::{ActivityOutcome, Actor, NewActivity};
use crate::domain::operation::{OperationKind, OperationStatus};
use crate::domain::power::{NOTICE_BEFORE, START_AGAIN_AFTER, STOPPED_MAX, starts_at};
use crate::operations::context::Services;
use crate::operations::submit::{Door, SubmitError};
use crate::store::operations::OperationFilter;
use crate::store::power::StoppedServer;
use crate::store::{Record, StoreError};
use std::sync::Arc;

/// Tells and starts what is due.
///
/// # Errors
/// When the store does not answer.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let now = services.clock.now();
    for stopped in services.store.stopped_before(now - (STOPPED_MAX - NOTICE_BEFORE)).await? {
        if starts_at(stopped.stopped_at) <= now {
            start(services, &stopped).await?;
        } else {
            tell(services, &stopped).await?;
        }
    }
    Ok(())
}

/// One line in the activity log for each stop; the pages of the server say it by themselves.
async fn tell(services: &Arc<Services>, stopped: &StoppedServer) -> Result<(), StoreError> {
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    if !tx.claim_start_notice(stopped).await? {
        return Ok(());
    }
    let at = starts_at(stopped.stopped_at).format("%Y-%m-%d %H:%M");
    tx.commit(Record::activity(NewActivity {
        actor: Actor::system(),
        action: "server.start_notice",
        subject: stopped.name.clone(),
        server_id: Some(stopped.id.clone()),
        operation_id: None,
        outcome: ActivityOutcome::Succeeded,
        detail: format!("it starts by itself at {at} UTC, seven days after it was stopped"),
    }))
    .await
}

async fn start(services: &Arc<Services>, stopped: &StoppedServer) -> Result<(), StoreError> {
    if failed_lately(services, stopped).await? {
        return Ok(());
    }
    let door = Door { store: &services.store, clock: &*services.clock, poke: &services.poke };
    match door.submit(OperationKind::Start, &stopped.id, &Actor::system(), None).await {
        Ok(_) => Ok(()),
        // Somebody was faster; the next tick looks again.
        Err(SubmitError::Refused(why)) => {
            tracing::info!(server.id = %stopped.id, %why, "a stopped server is started later");
            Ok(())
        }
        Err(SubmitError::Store(error)) => Err(error),
    }
}

/// A start that failed or was cancelled is not tried again at once: each try is a line in the log.
async fn failed_lately(
    services: &Arc<Services>,
    stopped: &StoppedServer,
) -> Result<bool, StoreError> {
    let filter = OperationFilter { server_id: Some(stopped.id.clone()), ..Default::default() };
    let last = services.store.operations(&filter).await?.into_iter().next();
    let now = services.clock.now();
    Ok(last.is_some_and(|last| {
        last.kind == OperationKind::Start
            && matches!(last.status, OperationStatus::Failed | OperationStatus::Cancelled)
            && last.ended_at.is_some_and(|ended| now - ended < START_AGAIN_AFTER)
    }))
}
