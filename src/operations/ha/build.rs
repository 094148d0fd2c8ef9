//! Build a standby, or bring one back: a place, a copy of the primary, a container that follows, and at last commits
//! that wait for it. Everything before that is undone when a step fails for good; the primary goes on all the time.
//! Members of before are removed only after the pair is in sync again (W1).

use super::build_data::{
    copy_data, create_standby, create_volume, remove_copy, remove_standby, remove_volume,
    start_standby, wait_streaming,
};
use super::build_plan::{Made, find, made, place_standby, plan_standby, release_standby};
use super::{StepResult, arm, files, link, pair, pieces, relax, step};
use crate::domain::ha::{Cause, HighAvailability, MemberRole, ReplicationState as S};
use crate::domain::ids::MemberId;
use crate::domain::server::Member;
use crate::engine::ImageProgress;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, Step, StepError, Undo};
use crate::operations::{image, networks};
use crate::store::ha::Promotion;
use std::time::Duration;

/// W6: so long a primary is kept that may have what a forced failover lost.
const KEPT_DAYS: i64 = 7;
/// More than a pair has in that time.
const PROMOTIONS_MAX: i64 = 1000;

pub const STEPS: &[Step] = &[
    step(
        super::build_plan::PLAN,
        "Look which member can follow",
        plan_standby,
        Undo::None("it only looks, and stops what must not run"),
        60,
    ),
    step(
        "place_standby",
        "Reserve a place on a host",
        place_standby,
        Undo::Run(release_standby),
        60,
    ),
    step(
        "ensure_image",
        "Have the PostgreSQL image ready",
        ensure_image,
        Undo::None("images are shared by all servers of a version"),
        3000,
    ),
    step(
        "issue_certificate",
        "Issue the certificate for replication",
        issue_certificate,
        Undo::None("kept sealed for the next standby, deleted with the server"),
        60,
    ),
    step(
        "admit_standby",
        "Let the standby read the primary's log",
        admit_standby,
        Undo::Run(dismiss),
        120,
    ),
    step(
        "create_network",
        "Have the private network on its host",
        create_network,
        Undo::Run(remove_network),
        120,
    ),
    step("create_volume", "Have its data volume", create_volume, Undo::Run(remove_volume), 180),
    step("copy_data", "Copy the primary's data", copy_data, Undo::Run(remove_copy), 12_000),
    step(
        "create_standby",
        "Create its container and write its configuration",
        create_standby,
        Undo::Run(remove_standby),
        120,
    ),
    step(
        "start_standby",
        "Start the standby",
        start_standby,
        Undo::None("the undo of “create_standby” removes the container, running or not"),
        120,
    ),
    step(
        "wait_streaming",
        "Wait until it follows the primary",
        wait_streaming,
        Undo::None("the undo of “place_standby” takes it off the record"),
        7200,
    ),
    Step {
        point_of_no_return: true,
        ..step("arm", "Make commits wait for the standby", arm_standby, Undo::Run(disarm), 600)
    },
    step(
        "retire_former",
        "Remove members of before",
        retire_former,
        Undo::None("the pair is in sync; deleted data cannot be brought back"),
        600,
    ),
];

fn ensure_image(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Made { member, is_adopted } = made(ctx)?;
        if is_adopted && !member.image.is_empty() {
            return Ok(Outcome::done());
        }
        match image::ensure(ctx, &member).await? {
            ImageProgress::Building { now, lines } => {
                ctx.log_new(&lines).await;
                Ok(Outcome::Wait(Duration::from_secs(1), now))
            }
            ImageProgress::Ready { id, version } => {
                let mut tx = ctx.begin_write().await?;
                tx.set_member_image(&member.id, &id, &version).await?;
                ctx.commit(tx).await?;
                ctx.log(format!("PostgreSQL {version}, image {id}")).await;
                Ok(Outcome::done())
            }
        }
    })
}

fn issue_certificate(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        files::ensure_certificate(ctx).await?;
        Ok(Outcome::done())
    })
}

/// On the primary: the role, a slot, rules and certificates by which the standby is let in; and from now on its
/// container never starts by itself (N1).
fn admit_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (primary, standby) = (ctx.member()?, made(ctx)?.member);
        ctx.engine(primary)?.set_restart(&primary.container(), false).await?;
        if let Err(wait) = files::enforce(ctx, &pair::fresh(ctx).await?).await? {
            return Ok(wait);
        }
        let target = link::running(ctx, primary).await?;
        let (postgres, slot) =
            (&ctx.services.postgres, HighAvailability::standby_name(&standby.id));
        postgres.ensure_replication_role(&target).await?;
        postgres.ensure_slot(&target, &slot).await?;
        Ok(Outcome::done())
    })
}

/// A slot that stays is bounded in size and dropped by the next build: a primary that does not answer holds no undo up.
fn dismiss(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(Made { member: standby, is_adopted: false }) = find(ctx) else {
            return Ok(Outcome::done());
        };
        let slot = HighAvailability::standby_name(&standby.id);
        let Ok(Some(target)) = link::target(ctx, ctx.member()?).await else {
            ctx.log(format!("Slot {slot} stays until the next build: the primary does not answer"))
                .await;
            return Ok(Outcome::done());
        };
        if let Err(error) = drop_slot(ctx, &target, &slot).await {
            ctx.log(format!("Slot {slot} stays until the next build: {error}")).await;
        }
        Ok(Outcome::done())
    })
}

/// Its reader was stopped before; PostgreSQL may notice that a moment later.
async fn drop_slot(
    ctx: &StepContext,
    target: &crate::postgres::Target,
    slot: &str,
) -> Result<(), StepError> {
    let postgres = &ctx.services.postgres;
    if postgres.drop_slot(target, slot).await.is_ok() {
        return Ok(());
    }
    postgres.end_senders(target, slot).await?;
    Ok(postgres.drop_slot(target, slot).await?)
}

fn create_network(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        networks::ensure(&ctx.on(&made(ctx)?.member)).await?;
        Ok(Outcome::done())
    })
}

fn remove_network(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(Made { member: standby, is_adopted: false }) = find(ctx) {
            pieces::or_leave(ctx, pieces::remove_network(ctx, &standby).await).await?;
        }
        Ok(Outcome::done())
    })
}

fn arm_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move { arm::arm(ctx, &made(ctx)?.member).await })
}

/// Before the standby goes, nothing may wait for it. A primary that does not answer is waited for (D2).
fn disarm(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = pair::fresh(ctx).await?;
        let is_its = find(ctx).is_some_and(|made| row.standby == Some(made.member.id));
        if !is_its {
            return Ok(Outcome::done());
        }
        let why = "the operation that armed it is taken back";
        let done = match row.state {
            S::Arming | S::CatchUp => arm::give_up(ctx, why).await?,
            S::Sync | S::Disarming => relax::all(ctx, why).await?,
            _ => Ok(()),
        };
        Ok(done.err().unwrap_or(Outcome::done()))
    })
}

/// The one place beside deletion and removal where a volume goes (W1): the pair is in sync, and the row read now says
/// that nothing counts on the member. A host that does not answer is left for the next build.
fn retire_former(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = pair::fresh(ctx).await?;
        if row.state != S::Sync {
            ctx.log("Members of before stay: the pair is not in sync any more").await;
            return Ok(Outcome::done());
        }
        let kept = with_lost_commits(ctx).await?;
        for member in ctx.members.iter().filter(|one| pair::role(&row, one) == MemberRole::Former) {
            if kept.contains(&member.id) {
                let (short, volume) = (member.id.short(), member.data_volume());
                ctx.log(format!(
                    "Member {short} stays, stopped: volume {volume} may have commits that were lost by the forced failover. The first build after {KEPT_DAYS} days removes it"
                ))
                .await;
                continue;
            }
            match retire(ctx, member).await {
                Ok(()) => {
                    ctx.log(format!("Member {} and its volume are removed", member.id.short()))
                        .await;
                }
                // Once more, in case only the reply was lost.
                Err(StepError::Transient(why)) if ctx.operation.attempt == 0 => {
                    return Err(StepError::Transient(why));
                }
                Err(StepError::Transient(why)) => {
                    let short = member.id.short();
                    ctx.log(format!("Member {short} stays until the next build: {why}")).await;
                }
                Err(other) => return Err(other),
            }
        }
        drop_old_slots(ctx, &row).await;
        Ok(Outcome::done())
    })
}

/// W6: primaries from which a person forced the pair away, accepting that commits are lost. What they have and the new
/// primary lacks was acknowledged and is nowhere else.
async fn with_lost_commits(ctx: &StepContext) -> Result<Vec<MemberId>, StepError> {
    let since = ctx.services.clock.now() - chrono::Duration::days(KEPT_DAYS);
    let promotions = ctx.services.store.promotions(&ctx.server.id, PROMOTIONS_MAX).await?;
    let lossy = |one: &Promotion| one.cause == Cause::ForcedWithLoss && one.decided_at > since;
    Ok(promotions.into_iter().filter(lossy).map(|one| one.from_member).collect())
}

/// By the row read now.
async fn is_former(ctx: &StepContext, member: &Member) -> Result<bool, StepError> {
    let row = pair::fresh(ctx).await?;
    Ok(pair::role(&row, member) == MemberRole::Former && row.is_promotable)
}

async fn retire(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    if !is_former(ctx, member).await? {
        return Ok(());
    }
    pieces::remove_containers(ctx, member).await?;
    if !is_former(ctx, member).await? {
        return Ok(());
    }
    pieces::remove_volumes(ctx, member).await?;
    pieces::remove_network(ctx, member).await?;
    let mut tx = ctx.begin_write().await?;
    tx.delete_member(&member.id).await?;
    ctx.commit(tx).await
}

/// Slots of standbys that are gone (K1). What cannot be dropped now is bounded, and tried again by the next build.
async fn drop_old_slots(ctx: &StepContext, row: &HighAvailability) {
    let keep = row.standby.as_ref().map(HighAvailability::standby_name);
    let Ok(primary) = ctx.member() else { return };
    let Ok(Some(target)) = link::target(ctx, primary).await else { return };
    let postgres = &ctx.services.postgres;
    for slot in postgres.slots(&target).await.unwrap_or_default() {
        if Some(&slot) != keep.as_ref()
            && let Err(error) = postgres.drop_slot(&target, &slot).await
        {
            ctx.log(format!("Slot {slot} stays until the next build: {error}")).await;
        }
    }
}
