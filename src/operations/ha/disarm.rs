//! Disarm: commits go on without the standby. Nothing here is taken back: a pair that is half disarmed is safe (D2), and
//! the portal goes on from there. So an end that failed frees the lane, in which the primary may have to be rescued.

use super::pair::{self, Story};
use super::{StepResult, link, relax, step};
use crate::domain::ha::{HighAvailability, Move, ReplicationState as S};
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, Step, StepError, Undo};
use serde::Deserialize;

const SAFE: Undo =
    Undo::None("a standby that does not count is safe; the portal arms it again when it follows");

pub const STEPS: &[Step] = &[
    step("begin", "Count the standby no longer", begin, SAFE, 60),
    step("let_go", "Let commits go on without it", let_go, SAFE, 30),
    Step { point_of_no_return: true, ..step("finish", "Put it on record", finish, SAFE, 60) },
    step("drop_slot", "Drop its slot if it is gone", drop_slot, SAFE, 60),
];

/// What it may be told.
#[derive(Debug, Default, Deserialize)]
struct Input {
    #[serde(default)]
    reason: Option<String>,
}

fn begin(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let input = ctx.input::<Option<Input>>()?.unwrap_or_default();
        let why = input.reason.as_deref().unwrap_or("it is not needed for commits any more.");
        relax::begin(ctx, why).await?;
        Ok(Outcome::done())
    })
}

fn let_go(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move { Ok(relax::let_go(ctx).await?.err().unwrap_or(Outcome::done())) })
}

fn finish(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        relax::finish(ctx).await?;
        Ok(Outcome::done())
    })
}

/// K1. A standby that may come back keeps its slot, which is bounded in size; one of which nothing is left goes off the
/// record with it. What cannot be dropped now is dropped by the next build.
fn drop_slot(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = pair::fresh(ctx).await?;
        let standby = ctx.members.iter().find(|member| row.standby.as_ref() == Some(&member.id));
        let Some(standby) = standby.filter(|_| row.state == S::Single) else {
            return Ok(Outcome::done());
        };
        if !is_gone(ctx, standby).await.unwrap_or(false) {
            return Ok(Outcome::done());
        }
        let detail =
            format!("Standby {} is gone: its volume is not on its host", standby.id.short());
        pair::change(ctx, &Move::StandbyDropped, Story::new("standby_gone", detail)).await?;
        let slot = HighAvailability::standby_name(&standby.id);
        if let Ok(Some(target)) = link::target(ctx, ctx.member()?).await
            && let Err(error) = ctx.services.postgres.drop_slot(&target, &slot).await
        {
            ctx.log(format!("Slot {slot} stays until the next build: {error}")).await;
        }
        Ok(Outcome::done())
    })
}

/// By the word of its engine, which answers (N5).
async fn is_gone(ctx: &StepContext, standby: &Member) -> Result<bool, StepError> {
    let engine = ctx.engine(standby)?;
    Ok(!engine.has_volume(&standby.data_volume()).await?)
}
