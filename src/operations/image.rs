//! The image of a member: found on its host's engine, else carried from another host, else built there.

use super::context::StepContext;
use super::step::StepError;
use crate::domain::host::{Host, HostObservation};
use crate::domain::ids::HostId;
use crate::domain::server::Member;
use crate::engine::{ImageProgress, ImageSource};

/// Has the image of the server's major on the member's host; call again while it is on its way. The server's other
/// members are asked first: two members of one server run the same image.
pub async fn ensure(ctx: &StepContext, member: &Member) -> Result<ImageProgress, StepError> {
    let (engine, major) = (ctx.engine(member)?, ctx.server.spec.major);
    Ok(engine.carry_image(major, sources(ctx, member, &major.image_tag()).await?).await?)
}

/// Engines that had the image when they were last looked at, and answered.
async fn sources(
    ctx: &StepContext,
    member: &Member,
    tag: &str,
) -> Result<Vec<ImageSource>, StepError> {
    let store = &ctx.services.store;
    let (hosts, seen) = (store.hosts().await?, store.host_observations().await?);
    let has = |id: &HostId| seen.iter().any(|seen| seen.host_id == *id && has_image(seen, tag));
    let mut found: Vec<&Host> =
        hosts.iter().filter(|host| host.id != member.host_id && has(&host.id)).collect();
    found.sort_by_key(|host| !ctx.members.iter().any(|other| other.host_id == host.id));
    let source = |host: &Host| {
        let engine = ctx.services.engines.get(&host.id)?;
        Some(ImageSource { host: host.name.clone(), engine })
    };
    Ok(found.into_iter().filter_map(source).collect())
}

fn has_image(seen: &HostObservation, tag: &str) -> bool {
    let facts = seen.facts.as_ref().filter(|_| seen.error.is_none());
    facts.is_some_and(|(_, facts)| facts.images.iter().any(|image| image == tag))
}
