//! Failover: the standby becomes the primary without the old one's help. The first step decides again by what is so
//! now, and is the point of no return.

use super::promotion::{self, Why};
use super::{StepResult, link, pair, step};
use crate::domain::ha::{Cause, HighAvailability, Lsn, ReplicationState as S};
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, Step, StepError, Undo};
use crate::postgres::replication::Standing;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Time that an old primary has to show that it is alive after all, before an automatic failover.
const LAST_LOOK: Duration = Duration::from_millis(300);
/// The old primary's engine has this long; a host that is lost does not hold up anything.
const FENCE_WITHIN: Duration = Duration::from_secs(5);

/// What a failover is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailoverInput {
    pub cause: Cause,
    /// One sentence: what was seen, or who asked.
    pub reason: String,
    /// When the first sign of it was seen, or when a person asked.
    pub seen_at: DateTime<Utc>,
    /// A person accepted that commits may be lost.
    #[serde(default)]
    pub accept_loss: bool,
}

impl FailoverInput {
    fn is_forced(&self) -> bool {
        self.cause == Cause::ForcedWithLoss && self.accept_loss
    }
}

pub const STEPS: &[Step] = &[
    Step {
        point_of_no_return: true,
        ..step(
            "decide_again",
            "Check that the standby can take over, and let it",
            decide_again,
            Undo::Run(promotion::finish),
            20,
        )
    },
    step(
        "promote",
        "Make the standby the primary and let connections in",
        promotion::promote,
        FORWARD,
        600,
    ),
    step("fence_old", "Stop the old primary", fence_old, FORWARD, 60),
    step(
        "checkpoint",
        "Write a checkpoint on the new primary",
        promotion::checkpoint,
        FORWARD,
        600,
    ),
];

const FORWARD: Undo = Undo::None("it is past the point of no return");

fn decide_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if promotion::mine(ctx).await?.is_some() {
            return Ok(Outcome::done());
        }
        let input: FailoverInput = ctx.input()?;
        let row = pair::fresh(ctx).await?;
        let standby = ctx.members.iter().find(|member| row.standby.as_ref() == Some(&member.id));
        let Some(standby) = standby else { return Err(no_standby()) };
        let (seen, alive) =
            tokio::join!(link::standing(ctx, standby), serves(ctx, &row, input.cause));
        if alive {
            return Err(StepError::permanent(
                "The primary answers and takes writes: there is no failover. Nothing was changed.",
                "Nothing is to be done. To change the primary all the same, ask for a planned failover.",
            ));
        }
        let seen = match seen? {
            Ok(seen) => Some(seen),
            // With loss accepted one that does not answer is still the last hope: it is started by the next step.
            Err(_) if input.is_forced() => None,
            Err(why) => {
                // Not waited for: while this waits nobody starts the primary again.
                if matches!(link::target(ctx, standby).await, Ok(None)) {
                    return Err(no_standby());
                }
                return Err(StepError::Transient(format!("The standby does not answer: {why}")));
            }
        };
        begin(ctx, &input, seen.as_ref()).await?;
        Ok(Outcome::done())
    })
}

fn no_standby() -> StepError {
    StepError::permanent(
        "The pair has no standby that runs: nobody can take over. Nothing was changed.",
        "The primary must come back. The portal starts it as soon as its host answers.",
    )
}

async fn begin(
    ctx: &StepContext,
    input: &FailoverInput,
    seen: Option<&Standing>,
) -> Result<(), StepError> {
    let why = Why { cause: input.cause, reason: input.reason.clone(), seen_at: input.seen_at };
    let is_forced = input.is_forced();
    let received: Option<Lsn> = seen.and_then(|seen| seen.written);
    promotion::begin(ctx, &why, received, is_forced, |row| match seen {
        Some(seen) if !is_forced => promotion::may_take_over(row, seen),
        _ if is_forced && row.state != S::Promoting => Ok(()),
        _ => Err("another change of primary is under way".into()),
    })
    .await
}

/// Whether the primary takes writes: an automatic failover was decided some time ago, and perhaps by a portal that was
/// stopped in between. What a person asked for is done.
async fn serves(ctx: &StepContext, row: &HighAvailability, cause: Cause) -> bool {
    if cause != Cause::Automatic {
        return false;
    }
    let primary = ctx.members.iter().find(|member| row.primary.as_ref() == Some(&member.id));
    let Some(primary) = primary else { return false };
    let look = async {
        let target = link::target(ctx, primary).await.ok()??;
        let mut watch = ctx.services.postgres.watch(&target).await.ok()?;
        watch.look_writing().await.ok()
    };
    let seen = tokio::time::timeout(LAST_LOOK, look).await;
    matches!(seen, Ok(Some(standing)) if !standing.in_recovery)
}

/// F5: it must not go on, and it must not be reached. A host that does not answer holds nothing up: its container never
/// starts by itself, no gateway leads to it, and what it would acknowledge waits for a standby that is gone.
fn fence_old(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let promotion = promotion::mine(ctx).await?;
        let former = promotion.and_then(|promotion| {
            ctx.members.iter().find(|member| member.id == promotion.from_member)
        });
        let Some(former) = former else { return Ok(Outcome::done()) };
        let line = match tokio::time::timeout(FENCE_WITHIN, kill(ctx, former)).await {
            Ok(Ok(what)) => format!("The old primary {what}"),
            Ok(Err(error)) => format!("The old primary could not be stopped: {error}"),
            Err(_) => "The old primary could not be stopped: its host does not answer".into(),
        };
        ctx.log(line).await;
        Ok(Outcome::done())
    })
}

async fn kill(ctx: &StepContext, former: &Member) -> Result<&'static str, StepError> {
    let (engine, name) = (ctx.engine(former)?, former.container());
    let Some(facts) = engine.container(&name).await? else { return Ok("is gone") };
    if !["running", "paused", "restarting"].contains(&facts.state.as_str()) {
        return Ok("does not run");
    }
    engine.set_restart(&name, false).await?;
    engine.signal_container(&name, "SIGKILL").await?;
    Ok("is stopped")
}
