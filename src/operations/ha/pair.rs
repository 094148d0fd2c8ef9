//! The row of a pair, changed by steps: read in the deciding transaction (F1), changed by a [`Move`] and by nothing
//! else, with a line of the story in the same transaction.

use crate::domain::ha::{HighAvailability, MemberRole, Move};
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, StepError};
use crate::store::ha::HaEvent;
use crate::store::{StoreError, WriteTx};

/// A line of the story.
#[derive(Debug, Clone)]
pub struct Story {
    /// Word of the kind, such as `armed`.
    pub kind: &'static str,
    /// One sentence for people.
    pub detail: String,
}

impl Story {
    pub fn new(kind: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// The row as the step's context has it.
///
/// # Errors
/// When the server has no high availability.
pub fn row(ctx: &StepContext) -> Result<&HighAvailability, StepError> {
    ctx.ha.as_ref().ok_or_else(none)
}

/// The row as it is now: a step that changed it, or waited, must not go by its context.
///
/// # Errors
/// When the server has no high availability, or the store does not answer.
pub async fn fresh(ctx: &StepContext) -> Result<HighAvailability, StepError> {
    ctx.services.store.ha(&ctx.server.id).await?.ok_or_else(none)
}

fn none() -> StepError {
    StepError::permanent(
        "The server has no high availability. Nothing was changed.",
        "Switch it on first, on the tab High availability.",
    )
}

/// Begins a write and reads the row in it.
///
/// # Errors
/// When the server has no high availability, the lease is lost, or the store does not answer.
pub async fn begin(ctx: &StepContext) -> Result<(WriteTx, HighAvailability), StepError> {
    let mut tx = ctx.begin_write().await?;
    let row = tx.ha(&ctx.server.id).await?.ok_or_else(none)?;
    Ok((tx, row))
}

/// Changes the row inside a transaction, with its line of the story.
///
/// # Errors
/// Permanent when the state does not allow it.
pub async fn apply(
    ctx: &StepContext,
    tx: &mut WriteTx,
    row: &HighAvailability,
    change: &Move,
    story: Story,
) -> Result<HighAvailability, StepError> {
    let now = ctx.services.clock.now();
    let next = row.after(change, now).map_err(|illegal| {
        StepError::permanent(
            format!("The pair is {}: this step is not possible now. Nothing was changed.", illegal.state.key()),
            "Nothing is to be done: the portal looks at the pair again and does what follows from what it sees.",
        )
    })?;
    tx.replace_ha(&next).await.map_err(met)?;
    tell(ctx, tx, next.epoch, story).await?;
    Ok(HighAvailability { version: next.version + 1, ..next })
}

/// Writes a line of the story.
///
/// # Errors
/// When the store does not answer.
pub async fn tell(
    ctx: &StepContext,
    tx: &mut WriteTx,
    epoch: i64,
    story: Story,
) -> Result<(), StepError> {
    let event = HaEvent {
        at: ctx.services.clock.now(),
        epoch,
        kind: story.kind.into(),
        detail: story.detail,
        operation_id: Some(ctx.operation.id.clone()),
    };
    Ok(tx.insert_ha_event(&ctx.server.id, &event).await?)
}

/// Somebody else changed the row at the same moment; that is no lost lease.
fn met(error: StoreError) -> StepError {
    match error {
        StoreError::Stale => {
            StepError::Transient("The pair was changed at the same moment.".into())
        }
        other => other.into(),
    }
}

/// One change of the row with its line, and the line in the operation's log.
///
/// # Errors
/// As [`apply`].
pub async fn change(
    ctx: &StepContext,
    change: &Move,
    story: Story,
) -> Result<HighAvailability, StepError> {
    let (mut tx, row) = begin(ctx).await?;
    let line = story.detail.clone();
    let next = apply(ctx, &mut tx, &row, change, story).await?;
    ctx.commit(tx).await?;
    ctx.log(line).await;
    Ok(next)
}

/// What a change of the row waits for while the row is Disarming: somebody is about to say what became of it.
pub fn settling() -> Outcome {
    Outcome::Wait(super::SOON, "what commits wait for is being put right".into())
}

/// What a member is by a row, which may be newer than the step's context.
pub fn role(row: &HighAvailability, member: &Member) -> MemberRole {
    match &row.primary {
        None => MemberRole::Primary,
        Some(id) if *id == member.id => MemberRole::Primary,
        Some(_) if row.standby.as_ref() == Some(&member.id) => MemberRole::Standby,
        Some(_) => MemberRole::Former,
    }
}

/// The zone of a member; one from before zones were kept is in its server's.
pub fn zone_of(ctx: &StepContext, member: &Member) -> String {
    if member.zone.is_empty() { ctx.server.spec.zone.clone() } else { member.zone.clone() }
}
