//! Which member becomes the standby: one that is there and whose data can follow, or a new one.

use super::pair::{self, Story};
use super::{StepResult, link, pieces};
use crate::domain::ha::{HaMode, HighAvailability, Lsn, MemberRole, Move, ReplicationState as S};
use crate::domain::ids::MemberId;
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::placement::{Beside, Seat, place_member};
use crate::operations::step::{Outcome, StepError};
use crate::store::WriteTx;
use crate::store::ha::Promotion;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

pub(super) const PLAN: &str = "plan_standby";
/// Word of the event that keeps a member from being tried twice in one epoch.
const CANNOT_FOLLOW: &str = "cannot_follow";
/// An engine that does not answer within this time cannot give its member back now.
const ENGINE_PATIENCE: Duration = Duration::from_secs(3);

/// What was decided; a rerun uses the same.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// The member that has the data already.
    adopts: Option<MemberId>,
    /// The standby on record at that time: another one was placed by this operation.
    before: Option<MemberId>,
}

/// The standby as this operation knows it, once it has its place.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub member: Member,
    /// Whether its data were there before: then nothing of them is removed.
    pub is_adopted: bool,
}

/// The standby, once it has its place.
pub(super) fn made(ctx: &StepContext) -> Result<Made, StepError> {
    find(ctx).ok_or_else(|| {
        StepError::permanent("The standby is no longer on record.", "Submit the operation again.")
    })
}

/// The same for undos: `None` where it never came to that.
pub(super) fn find(ctx: &StepContext) -> Option<Made> {
    let plan: Plan = ctx.output(PLAN).ok()?;
    let id = id_of(&plan, ctx.ha.as_ref()?)?;
    let member = ctx.members.iter().find(|member| member.id == *id).cloned()?;
    Some(Made { member, is_adopted: plan.adopts.is_some() })
}

fn id_of<'a>(plan: &'a Plan, row: &'a HighAvailability) -> Option<&'a MemberId> {
    let placed = row.standby.as_ref().filter(|_| row.standby != plan.before);
    plan.adopts.as_ref().or(placed)
}

pub(super) fn plan_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = has_primary(ctx).await?;
        refuse(ctx, &row).await?;
        for member in ctx.members.iter().filter(|one| pair::role(&row, one) != MemberRole::Primary)
        {
            if let Some(why) = can_follow(ctx, &row, member).await? {
                ctx.log(format!("Member {} is brought back: {why}", member.id.short())).await;
                let adopts = Some(member.id.clone());
                return Ok(Outcome::Done(json!(Plan { adopts, before: row.standby })));
            }
        }
        Ok(Outcome::Done(json!(Plan { adopts: None, before: row.standby })))
    })
}

/// One that is lost while durability is required is replaced although it counts: from the begin of the build on it does not.
async fn refuse(ctx: &StepContext, row: &HighAvailability) -> Result<(), StepError> {
    let what = match row.state {
        S::Single | S::Building | S::CatchUp | S::Arming => return Ok(()),
        S::Sync => {
            let standby =
                ctx.members.iter().find(|one| pair::role(row, one) == MemberRole::Standby);
            match standby {
                Some(standby) if streams(ctx, standby).await? => {
                    "A standby follows and commits wait for it already. Nothing was changed.".into()
                }
                _ => return Ok(()),
            }
        }
        S::Disarming => {
            let why = "What commits wait for is being put right.";
            return Err(StepError::Transient(why.into()));
        }
        other => {
            format!("The pair is {}: no standby is built now. Nothing was changed.", other.key())
        }
    };
    let advice = "Nothing is to be done: the portal builds one when it is needed.";
    Err(StepError::permanent(what, advice))
}

/// A server that got high availability after it was made has its primary on record from here on.
async fn has_primary(ctx: &StepContext) -> Result<HighAvailability, StepError> {
    let row = pair::fresh(ctx).await?;
    if row.primary.is_some() {
        return Ok(row);
    }
    let member = ctx.member()?.id.clone();
    let detail = format!("Member {} is the primary", member.short());
    pair::change(ctx, &Move::PrimaryPlaced { member }, Story::new("primary", detail)).await
}

/// Why a member that is there can follow the primary without a copy; `None` when it cannot, or nobody can say so.
async fn can_follow(
    ctx: &StepContext,
    row: &HighAvailability,
    member: &Member,
) -> Result<Option<&'static str>, StepError> {
    if pair::zone_of(ctx, member) != zone(ctx, row)? || has_failed(ctx, row, member).await? {
        return Ok(None);
    }
    let why = if row.standby.as_ref() == Some(&member.id) {
        "it was the standby of this primary"
    } else {
        let last = ctx.services.store.promotions(&ctx.server.id, 1).await?;
        match last.first().filter(|last| stopped_in_order(last, row, member)) {
            Some(_) => "it was primary before and stopped in order before the change",
            None => return fence(ctx, member).await.map(|()| None),
        }
    };
    let Ok(engine) = ctx.engine(member) else { return Ok(None) };
    let has_data = async {
        Ok::<_, StepError>(
            engine.has_volume(&member.data_volume()).await?
                && engine.has_volume(&member.volume()).await?,
        )
    };
    match tokio::time::timeout(ENGINE_PATIENCE, has_data).await {
        Ok(Ok(true)) => Ok(Some(why)),
        _ => Ok(None),
    }
}

/// Its log ends before the new timeline begins: all it has, the primary has. What the new primary had received is the
/// measure, because that is where its timeline begins at the latest.
fn stopped_in_order(last: &Promotion, row: &HighAvailability, member: &Member) -> bool {
    let limit = [last.received_lsn, last.fork_lsn].into_iter().flatten().min();
    last.epoch == row.epoch
        && last.from_member == member.id
        && matches!((last.stopped_lsn, limit), (Some(stopped), Some(limit)) if is_before(stopped, limit))
}

/// The shutdown's own record begins at `stopped`, so one that was received ends behind it.
fn is_before(stopped: Lsn, limit: Lsn) -> bool {
    stopped < limit
}

/// One that cannot follow and still runs is an old primary that was cut off: it must not go on.
async fn fence(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    let Ok(engine) = ctx.engine(member) else { return Ok(()) };
    let stopped = tokio::time::timeout(Duration::from_secs(15), pieces::stop(engine, member)).await;
    if !matches!(stopped, Ok(Ok(()))) {
        ctx.log(format!(
            "Member {} cannot be stopped: its host does not answer",
            member.id.short()
        ))
        .await;
    }
    Ok(())
}

async fn has_failed(
    ctx: &StepContext,
    row: &HighAvailability,
    member: &Member,
) -> Result<bool, StepError> {
    let events = ctx.services.store.ha_events(&ctx.server.id, 100).await?;
    let short = member.id.short();
    Ok(events.iter().any(|event| {
        event.epoch == row.epoch && event.kind == CANNOT_FOLLOW && event.detail.contains(&*short)
    }))
}

/// Where the standby shall be.
fn zone(ctx: &StepContext, row: &HighAvailability) -> Result<String, StepError> {
    Ok(match row.mode {
        HaMode::SameZone => pair::zone_of(ctx, ctx.member()?),
        HaMode::ZoneRedundant => row.standby_zone.clone(),
    })
}

/// The place and the row in one transaction: a member that the row does not name would count as one of before.
pub(super) fn place_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let plan: Plan = ctx.output(PLAN)?;
        let (mut tx, row) = pair::begin(ctx).await?;
        if row.state == S::Building
            && id_of(&plan, &row).is_some_and(|id| row.standby.as_ref() == Some(id))
        {
            return Ok(Outcome::done());
        }
        if row.state == S::Disarming {
            return Ok(pair::settling());
        }
        let (standby, doing) = match &plan.adopts {
            Some(id) => (id.clone(), "brought back with the data it has"),
            None => (place(ctx, &mut tx, &row).await?.id, "made from a copy of the primary"),
        };
        let detail = format!("Standby {} is being {doing}", standby.short());
        let change = Move::BuildBegins { standby };
        pair::apply(ctx, &mut tx, &row, &change, Story::new("building", detail)).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

/// Where it and the primary reach each other, and on another engine wherever there is one: two on one are lost together.
async fn place(
    ctx: &StepContext,
    tx: &mut WriteTx,
    row: &HighAvailability,
) -> Result<Member, StepError> {
    let zone = zone(ctx, row)?;
    let beside = Beside::Member(ctx.member()?);
    let seat = Seat { zone: &zone, role: MemberRole::Standby, beside };
    place_member(tx, ctx, seat).await.map_err(|error| match error {
        StepError::Permanent { what, .. } => StepError::permanent(
            format!("There is no place for the standby in zone {zone}. {what}"),
            "Free a host of the zone, or choose another zone for the standby. It is tried again by itself.",
        ),
        other => other,
    })
}

/// Whether the data of a member may be on its host still; a host that does not answer for long may have them.
async fn is_left(ctx: &StepContext, member: &Member) -> Result<bool, StepError> {
    let asked =
        async { Ok::<_, StepError>(ctx.engine(member)?.has_volume(&member.data_volume()).await?) };
    match asked.await {
        Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
        Err(_) if ctx.operation.attempt >= pieces::LEFT_AFTER => Ok(true),
        other => other,
    }
}

/// A new member is forgotten; one that was there stays, and is not tried again when it was its fault.
pub(super) fn release_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(made) = find(ctx) else { return Ok(Outcome::done()) };
        let id = &made.member.id;
        let is_left = !made.is_adopted && is_left(ctx, &made.member).await?;
        let (mut tx, row) = pair::begin(ctx).await?;
        let is_its = row.standby.as_ref() == Some(id);
        if is_its && !matches!(row.state, S::Single | S::Building | S::CatchUp) {
            return Ok(Outcome::Wait(super::SOON, format!("the pair is {}", row.state.key())));
        }
        let failed = ctx.operation.failed_step.as_deref();
        let is_its_fault =
            matches!(failed, Some("create_standby" | "start_standby" | "wait_streaming"));
        if is_its && (!made.is_adopted || is_its_fault) {
            let (kind, words) = match made.is_adopted {
                true => (CANNOT_FOLLOW, "cannot follow with the data it has"),
                false => ("not_built", "was not built"),
            };
            let story = Story::new(kind, format!("Standby {} {words}", id.short()));
            pair::apply(ctx, &mut tx, &row, &Move::StandbyDropped, story).await?;
        }
        // One of which something is left stays on record, as a member of before: the next build removes it.
        if !made.is_adopted && !is_left && row.primary.as_ref() != Some(id) {
            tx.delete_member(id).await?;
        }
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

/// Whether the standby of the plan streams from the primary already, so that nothing of it needs to be touched.
pub(super) async fn streams(ctx: &StepContext, standby: &Member) -> Result<bool, StepError> {
    let (primary, seen) =
        (link::standing(ctx, ctx.member()?).await?, link::standing(ctx, standby).await?);
    Ok(matches!((primary, seen), (Ok(primary), Ok(seen))
        if seen.in_recovery && seen.receiver.as_deref() == Some("streaming")
            && seen.timeline == primary.timeline))
}
