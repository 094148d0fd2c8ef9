//! The image of a member: found on its host's engine, else carried from another host, else built there.

use super::context::{Services, StepContext};
use super::step::StepError;
use crate::domain::host::{Host, HostObservation};
use crate::domain::ids::HostId;
use crate::domain::server::Member;
use crate::domain::version::Major;
use crate::engine::{ImageProgress, ImageSource};

/// Has the image of the server's major on the member's host; call again while it is on its way. The server's other
/// members are asked first: two members of one server run the same image.
pub async fn ensure(ctx: &StepContext, member: &Member) -> Result<ImageProgress, StepError> {
    let first: Vec<&HostId> = ctx.members.iter().map(|other| &other.host_id).collect();
    // The engine that the step began with: the list may change meanwhile.
    let (engine, major) = (ctx.engine(member)?, ctx.server.spec.major);
    let sources = sources(&ctx.services, &member.host_id, major, &first).await?;
    Ok(engine.carry_image(major, sources).await?)
}

/// The same of a major for any host of this process.
///
/// # Errors
/// When the engine does not do it.
pub async fn ensure_on(
    services: &Services,
    host: &HostId,
    major: Major,
) -> Result<ImageProgress, StepError> {
    let why = || StepError::Transient("This process does not drive the host.".into());
    let engine = services.engines.get(host).ok_or_else(why)?;
    Ok(engine.carry_image(major, sources(services, host, major, &[]).await?).await?)
}

/// Engines that had the image when they were last looked at, and answered.
async fn sources(
    services: &Services,
    to: &HostId,
    major: Major,
    first: &[&HostId],
) -> Result<Vec<ImageSource>, StepError> {
    let (store, tag) = (&services.store, major.image_tag());
    let (hosts, seen) = (store.hosts().await?, store.host_observations().await?);
    let has = |id: &HostId| seen.iter().any(|seen| seen.host_id == *id && has_image(seen, &tag));
    let mut found: Vec<&Host> =
        hosts.iter().filter(|host| host.id != *to && has(&host.id)).collect();
    found.sort_by_key(|host| !first.contains(&&host.id));
    let source = |host: &Host| {
        let engine = services.engines.get(&host.id)?;
        Some(ImageSource { host: host.name.clone(), engine })
    };
    Ok(found.into_iter().filter_map(source).collect())
}

fn has_image(seen: &HostObservation, tag: &str) -> bool {
    let facts = seen.facts.as_ref().filter(|_| seen.error.is_none());
    facts.is_some_and(|(_, facts)| facts.images.iter().any(|image| image == tag))
}
