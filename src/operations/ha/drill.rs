//! What a change of primary does for a failover drill: it lets the probe write first. The probe itself is the
//! monitor's, because it goes on from before the first step until after the last.

use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, StepError};
use chrono::TimeDelta;
use std::time::Duration;

/// Longest wait for the probe's first write; a drill without a probe is a failover all the same.
pub const PROBE_MAX: TimeDelta = TimeDelta::seconds(5);

/// `Some` while the probe of this operation, if it is a drill, has not written yet.
///
/// # Errors
/// When the store does not answer.
pub async fn wait_for_probe(ctx: &StepContext) -> Result<Option<Outcome>, StepError> {
    let writes = ctx.services.store.open_drill_writes(&ctx.operation.id).await?;
    let waited = ctx.services.clock.now() - ctx.operation.created_at;
    let waits = writes == Some(0) && waited < PROBE_MAX;
    let why = "The probe of the drill begins to write.";
    Ok(waits.then(|| Outcome::Wait(Duration::from_millis(50), why.to_owned())))
}
