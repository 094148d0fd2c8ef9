//! The container of a member as its server's size says: described, limited, and made anew around its
//! volume where somebody removed it.

use super::context::StepContext;
use super::step::{Outcome, StepError};
use super::{access, disk, member, networks, pooler};
use crate::domain::credits::effective_vcores;
use crate::domain::server::{Member, Server};
use crate::engine::{ContainerSpec, Engine, EngineError, ImageProgress, Limits};
use std::sync::Arc;
use std::time::Duration;

/// What the container of a server may use. One that has no CPU credits left is held to its baseline.
pub async fn limits(ctx: &StepContext, server: &Server) -> Result<Limits, StepError> {
    let is_held = ctx.services.store.is_held(&server.id).await?;
    let spec = container_of(ctx, server, ctx.member()?);
    Ok(Limits {
        vcores: effective_vcores(server.spec.sku(), is_held),
        memory_bytes: Some(spec.memory_bytes),
        pids_max: Some(spec.pids_max),
    })
}

/// The description of a member's container, for a server and a generation as given.
pub async fn container(
    ctx: &StepContext,
    server: &Server,
    member: &Member,
) -> Result<ContainerSpec, StepError> {
    let vcores = limits(ctx, server).await?.vcores;
    Ok(ContainerSpec { vcores, ..container_of(ctx, server, member) })
}

fn container_of(ctx: &StepContext, server: &Server, member: &Member) -> ContainerSpec {
    let spec = member::blueprint_of(ctx, server, member).member_container(&member.image);
    let joins = networks::join(&ctx.services.settings, server).into_iter().collect();
    // A member of a pair is started by the pair alone (N1).
    let publish = access::published_address(&ctx.services, member);
    ContainerSpec { joins, publish, restart: ctx.ha.is_none(), ..spec }
}

/// Gives the member's container the limits of a server.
pub async fn update_limits(ctx: &StepContext, server: &Server) -> Result<(), StepError> {
    let member = ctx.member()?;
    let limits = limits(ctx, server).await?;
    ctx.engine(member)?.update_limits(&member.container(), &limits).await?;
    Ok(())
}

/// Has the member's container there with its limits and files, running or not. A volume is never made
/// here: an empty one would look like a server that lost its data.
pub async fn ensure(ctx: &StepContext) -> Result<Outcome, StepError> {
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    volume_must_be_there(engine, member).await?;
    disk::ensure(ctx).await?;
    disk::make_room(ctx).await?;
    discard_cut_off(ctx, engine, member).await?;
    if engine.container(&member.container()).await?.is_none()
        && let Some(wait) = make_anew(ctx, engine, member).await?
    {
        return Ok(wait);
    }
    update_limits(ctx, &ctx.server).await?;
    engine.put_files(&member.container(), &member::files(ctx).await?).await?;
    Ok(Outcome::done())
}

/// A stopped container whose network somebody removed will not start again.
async fn discard_cut_off(
    ctx: &StepContext,
    engine: &Arc<dyn Engine>,
    member: &Member,
) -> Result<(), StepError> {
    let found = engine.container(&member.container()).await?;
    if found.is_none_or(|facts| facts.state == "running") || networks::are_there(ctx).await? {
        return Ok(());
    }
    engine.remove_container(&member.container()).await?;
    pooler::discard_stopped(ctx).await?;
    ctx.log("A network of the stopped container is gone: it is made anew around its volume").await;
    Ok(())
}

/// `Some` while the image is being built.
async fn make_anew(
    ctx: &StepContext,
    engine: &Arc<dyn Engine>,
    member: &Member,
) -> Result<Option<Outcome>, StepError> {
    networks::ensure(ctx).await?;
    let spec = container(ctx, &ctx.server, member).await?;
    let what = match engine.ensure_container(&spec).await {
        Err(EngineError::Missing(what)) => what,
        other => {
            other?;
            ctx.log(format!("The container {} was made anew around its volume", spec.name)).await;
            return Ok(None);
        }
    };
    match engine.ensure_image(ctx.server.spec.major).await? {
        ImageProgress::Building { now, lines } => {
            ctx.log_new(&lines).await;
            Ok(Some(Outcome::Wait(Duration::from_secs(1), now)))
        }
        ImageProgress::Ready { id, version } => {
            ctx.log(format!(
                "{what} is missing; PostgreSQL {version}, image {id}, takes its place"
            ))
            .await;
            let mut tx = ctx.begin_write().await?;
            tx.set_member_image(&member.id, &id, &version).await?;
            ctx.commit(tx).await?;
            engine.ensure_container(&ContainerSpec { image: id, ..spec }).await?;
            Ok(None)
        }
    }
}

async fn volume_must_be_there(engine: &Arc<dyn Engine>, member: &Member) -> Result<(), StepError> {
    let volume = member.data_volume();
    let owned = engine.owned().await?;
    if owned.iter().any(|object| object.kind == "volume" && object.name == volume) {
        return Ok(());
    }
    Err(StepError::permanent(
        format!("The data volume {volume} is not on the host."),
        "Bring the volume back on its host under this name with its labels, or delete the server.",
    ))
}
