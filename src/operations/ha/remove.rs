//! Remove high availability: commits no longer wait for the standby, then it goes, then the row. Until it is touched a
//! failure only leaves a pair that is not armed, which the portal arms again.

use super::pair::{self, Story};
use super::{SOON, StepResult, link, pieces, relax, step};
use crate::domain::ha::{MemberRole, ReplicationState as S};
use crate::domain::server::Member;
use crate::operations::configure;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, Step, StepError, Undo};

pub const STEPS: &[Step] = &[
    Step {
        point_of_no_return: true,
        ..step(
            "disarm",
            "Let commits go on without the standby",
            disarm,
            Undo::None(
                "a standby that does not count is safe; the portal arms it again when it follows",
            ),
            300,
        )
    },
    step("remove_members", "Remove the standby and its volume", remove_members, FORWARD, 600),
    step("forget", "Forget the pair", forget, FORWARD, 60),
    step("alone", "Put the primary on its own", alone, FORWARD, 120),
];

const FORWARD: Undo = Undo::None("it is past the point of no return");

fn disarm(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let done = relax::all(ctx, "high availability is being removed").await?;
        Ok(done.err().unwrap_or(Outcome::done()))
    })
}

/// Everything but the primary, by the row read now.
fn remove_members(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        // A rescue may be at work: a member that is passed over now would be forgotten by the next step, and stay.
        let row = ctx.services.store.ha(&ctx.server.id).await?;
        if let Some(row) = row.filter(|row| row.state != S::Single) {
            return Ok(Outcome::Wait(SOON, format!("the pair is {}", row.state.key())));
        }
        for member in &ctx.members {
            if !may_go(ctx, member).await? {
                continue;
            }
            match remove(ctx, member).await {
                Err(StepError::Transient(why)) if ctx.operation.attempt >= 3 => {
                    let (short, volume) = (member.id.short(), member.data_volume());
                    ctx.log(format!(
                        "Member {short} is left on its host, which does not answer ({why}). When the host is back, remove there its containers and volume {volume}"
                    ))
                    .await;
                }
                other => other?,
            }
        }
        Ok(Outcome::done())
    })
}

async fn may_go(ctx: &StepContext, member: &Member) -> Result<bool, StepError> {
    // Without a row there is one member, and it is the primary.
    let Some(row) = ctx.services.store.ha(&ctx.server.id).await? else { return Ok(false) };
    Ok(row.state == S::Single
        && row.primary.is_some()
        && pair::role(&row, member) != MemberRole::Primary)
}

async fn remove(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    pieces::remove_containers(ctx, member).await?;
    if may_go(ctx, member).await? {
        pieces::remove_volumes(ctx, member).await?;
        pieces::remove_network(ctx, member).await?;
        ctx.log(format!("Member {} and its volume are removed", member.id.short())).await;
    }
    Ok(())
}

/// Members and row in one transaction: without a row every member would count as the primary.
fn forget(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let mut tx = ctx.begin_write().await?;
        if let Some(row) = tx.ha(&ctx.server.id).await? {
            // Without its row a promotion that was begun would never be ended.
            if row.state != S::Single {
                return Ok(Outcome::Wait(SOON, format!("the pair is {}", row.state.key())));
            }
            for member in &ctx.members {
                if row.primary.is_some() && pair::role(&row, member) != MemberRole::Primary {
                    tx.delete_member(&member.id).await?;
                }
            }
            let story =
                Story::new("removed", "High availability is removed; commits are on one host");
            pair::tell(ctx, &mut tx, row.epoch, story).await?;
            tx.delete_ha(&ctx.server.id).await?;
        }
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

/// Files without a pair, no slots, and a container that its engine starts again.
fn alone(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let primary = ctx.member()?;
        configure::put_files(ctx, &ctx.server).await?;
        ctx.engine(primary)?.set_restart(&primary.container(), true).await?;
        if let Some(target) = link::target(ctx, primary).await? {
            let postgres = &ctx.services.postgres;
            postgres.reload(&target).await?;
            for slot in postgres.slots(&target).await? {
                postgres.end_senders(&target, &slot).await?;
                postgres.drop_slot(&target, &slot).await?;
            }
        }
        Ok(Outcome::done())
    })
}
