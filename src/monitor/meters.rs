//! Meters that an operation did not set: those of servers from before there were meters, and what an
//! interruption left behind.

use crate::operations::context::Services;
use crate::store::StoreError;
use std::sync::Arc;

/// Brings the meters in line with what servers are, from now on.
///
/// # Errors
/// When the store does not answer.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let changed = services.store.reconcile_meters(services.clock.now()).await?;
    if changed > 0 {
        tracing::info!(changed, "meters were begun or ended to follow the servers");
    }
    Ok(())
}
