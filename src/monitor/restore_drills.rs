//! Restore drills: each server weekly, a new one a day after its first backup, one at a time in the whole installation. A
//! drill that failed is tried again the next day: a backup that is not proven is looked at soon.

use crate::domain::activity::Actor;
use crate::domain::operation::OperationKind;
use crate::operations::context::Services;
use crate::operations::submit::{Door, SubmitError};
use crate::store::StoreError;
use crate::store::restore_drills::DrillPace;
use chrono::Duration;
use std::sync::Arc;

const PACE: DrillPace =
    DrillPace { every: Duration::days(7), again: Duration::days(1), first: Duration::days(1) };

/// Submits the drill that is due longest.
///
/// # Errors
/// When the store does not answer.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    if services.store.drills_under_way().await? > 0 {
        return Ok(());
    }
    let door = Door { store: &services.store, clock: &*services.clock, poke: &services.poke };
    for server in services.store.drills_due(services.clock.now(), &PACE).await? {
        match door.submit(OperationKind::RestoreDrill, &server, &Actor::system(), None).await {
            Ok(_) => return Ok(()),
            // Something else is under way on it; the next tick asks again.
            Err(SubmitError::Refused(why)) => {
                tracing::info!(server.id = %server, %why, "a restore drill comes later");
            }
            Err(SubmitError::Store(error)) => return Err(error),
        }
    }
    Ok(())
}
