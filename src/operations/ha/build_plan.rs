//! Which member becomes the standby: one that is there and whose data can follow, or a new one.

use super::pair::{self, Story};
use super::{StepResult, link, pieces};
use crate::clock::new_id;
use crate::domain::ha::{HaMode, HighAvailability, Lsn, MemberRole, Move, ReplicationState as S};
use crate::domain::host::Overcommit;
use crate::domain::ids::{HostId, MemberId};
use crate::domain::placement::{self, HostLoad};
use crate::domain::server::{Member, ServerSpec};
use crate::operations::context::StepContext;
use crate::operations::disk;
use crate::operations::step::{Outcome, StepError};
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
pub(super) struct Plan {
    pub member: MemberId,
    /// Whether its data are there.
    pub is_adopted: bool,
}

/// The plan of this operation.
pub(super) fn plan_of(ctx: &StepContext) -> Result<Plan, StepError> {
    ctx.output(PLAN)
}

/// The standby of the plan, once it has its place.
pub(super) fn standby(ctx: &StepContext) -> Result<Member, StepError> {
    find(ctx).ok_or_else(|| {
        StepError::permanent("The standby is no longer on record.", "Submit the operation again.")
    })
}

/// The same for undos: `None` where it never came to that.
pub(super) fn find(ctx: &StepContext) -> Option<Member> {
    let plan = plan_of(ctx).ok()?;
    ctx.members.iter().find(|member| member.id == plan.member).cloned()
}

pub(super) fn plan_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = has_primary(ctx).await?;
        if !matches!(row.state, S::Single | S::Building | S::CatchUp | S::Arming) {
            return Err(refused(row.state));
        }
        for member in ctx.members.iter().filter(|one| pair::role(&row, one) != MemberRole::Primary) {
            if let Some(why) = can_follow(ctx, &row, member).await? {
                ctx.log(format!("Member {} is brought back: {why}", member.id.short())).await;
                return Ok(done(&member.id, true));
            }
        }
        Ok(done(&new_id(MemberId::parse), false))
    })
}

fn done(member: &MemberId, is_adopted: bool) -> Outcome {
    Outcome::Done(json!(Plan { member: member.clone(), is_adopted }))
}

fn refused(state: S) -> StepError {
    let what = match state {
        S::Sync => "A standby follows and commits wait for it already. Nothing was changed.".into(),
        other => format!("The pair is {}: no standby is built now. Nothing was changed.", other.key()),
    };
    StepError::permanent(what, "Nothing is to be done: the portal builds one when it is needed.")
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
        ctx.log(format!("Member {} cannot be stopped: its host does not answer", member.id.short()))
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
        let plan = plan_of(ctx)?;
        let (mut tx, row) = pair::begin(ctx).await?;
        if row.standby.as_ref() == Some(&plan.member) && row.state != S::Single {
            return Ok(Outcome::done());
        }
        if !plan.is_adopted && !ctx.members.iter().any(|member| member.id == plan.member) {
            tx.lock_placement().await?;
            let member = place(ctx, &mut tx, &row, plan.member.clone()).await?;
            tx.insert_member(&member).await?;
        }
        let change = Move::BuildBegins { standby: plan.member.clone() };
        let detail = format!("Standby {} is being {}", plan.member.short(), doing(&plan));
        pair::apply(ctx, &mut tx, &row, &change, Story::new("building", detail)).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

fn doing(plan: &Plan) -> &'static str {
    if plan.is_adopted { "brought back with the data it has" } else { "made from a copy of the primary" }
}

async fn place(
    ctx: &StepContext,
    tx: &mut crate::store::WriteTx,
    row: &HighAvailability,
    id: MemberId,
) -> Result<Member, StepError> {
    let zone = zone(ctx, row)?;
    let loads = tx.host_loads().await?;
    let settings = &ctx.services.settings;
    let host_id = choose(&loads, &ctx.server.spec, &zone, &ctx.member()?.host_id, &settings.overcommit)
        .map_err(|why| {
            StepError::permanent(
                format!("No host of zone {zone} can take the standby: {why}"),
                "Free a host of the zone, or choose another zone for the standby. It is tried again by itself.",
            )
        })?;
    let disk = disk::plan(settings.storage, &id, &tx.loop_minors(&host_id).await?);
    Ok(Member {
        id,
        server_id: ctx.server.id.clone(),
        host_id,
        generation: 1,
        image: String::new(),
        postgres_version: String::new(),
        disk: Some(disk),
        zone,
        port: None,
        role: MemberRole::Standby,
    })
}

/// Another host than the primary's wherever there is one: two on one host are lost together.
fn choose(
    loads: &[HostLoad],
    spec: &ServerSpec,
    zone: &str,
    primary: &HostId,
    policy: &Overcommit,
) -> Result<HostId, String> {
    let among = |loads: &[HostLoad]| {
        placement::choose_host(loads, &spec.region, zone, spec.sku(), spec.storage(), policy)
    };
    let others: Vec<_> = loads.iter().filter(|load| load.host.id != *primary).cloned().collect();
    among(&others).or_else(|_| among(loads))
}

/// A new member is forgotten; one that was there stays, and is not tried again when it was its fault.
pub(super) fn release_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Ok(plan) = plan_of(ctx) else { return Ok(Outcome::done()) };
        let (mut tx, row) = pair::begin(ctx).await?;
        let is_its = row.standby.as_ref() == Some(&plan.member);
        if is_its && !matches!(row.state, S::Single | S::Building | S::CatchUp) {
            return Ok(Outcome::Wait(super::SOON, format!("the pair is {}", row.state.key())));
        }
        let failed = ctx.operation.failed_step.as_deref();
        let is_its_fault = matches!(failed, Some("create_standby" | "start_standby" | "wait_streaming"));
        if is_its && (!plan.is_adopted || is_its_fault) {
            let (kind, words) = match plan.is_adopted {
                true => (CANNOT_FOLLOW, "cannot follow with the data it has"),
                false => ("not_built", "was not built"),
            };
            let story = Story::new(kind, format!("Standby {} {words}", plan.member.short()));
            pair::apply(ctx, &mut tx, &row, &Move::StandbyDropped, story).await?;
        }
        if !plan.is_adopted && row.primary.as_ref() != Some(&plan.member) {
            tx.delete_member(&plan.member).await?;
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
