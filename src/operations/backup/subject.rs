//! The member that a backup is taken of: the primary when it began. What works on another member's data than the first
//! steps looked at would copy half of each; when the primary changes, the backup ends and another one is taken.

use super::take::near;
use super::tool::{self, Place, Ran, Run};
use super::{door, source};
use crate::domain::backup::Repository;
use crate::domain::ids::{HostId, MemberId};
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::ha::pieces;
use crate::operations::step::{Outcome, StepError};
use serde::{Deserialize, Serialize};

/// Step whose output says which member it is.
const CHOSEN_BY: &str = "prepare_repository";

/// What the first look at the server chose.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subject {
    pub member: MemberId,
    /// From where object storage is worked on: the same host in every step, so that no second one begins beside the first.
    #[serde(default)]
    pub host: Option<HostId>,
}

/// The member, also when it is no primary any more; `None` before it was chosen, or when it is gone.
pub fn chosen(ctx: &StepContext) -> Option<&Member> {
    let subject: Subject = ctx.output(CHOSEN_BY).ok()?;
    ctx.members.iter().find(|member| member.id == subject.member)
}

/// The host from which the repository is worked on; `None` before it was chosen.
pub(super) fn host(ctx: &StepContext) -> Option<HostId> {
    ctx.output::<Subject>(CHOSEN_BY).ok().and_then(|subject| subject.host)
}

/// The member, when it still is the primary.
///
/// # Errors
/// Permanent, when another member is.
pub fn primary(ctx: &StepContext) -> Result<&Member, StepError> {
    let (now, chosen) = (ctx.member()?, chosen(ctx));
    chosen.filter(|chosen| chosen.id == now.id).ok_or_else(|| {
        StepError::permanent(
            "Another member became the primary while the backup was taken.",
            "Nothing of it is listed. The next backup is taken of the new primary, by itself.",
        )
    })
}

/// Where runs work that need no data.
pub fn place<'a>(repository: &Repository, member: &'a Member) -> Place<'a> {
    // The key of the storage is never written into a member's volume.
    match repository.host_id == member.host_id && !repository.is_in_object_storage() {
        true => Place::Member(member),
        false => Place::Far(member, None),
    }
}

/// Whether a command of pgBackRest works on the data itself.
fn needs_data(command: &[&str]) -> bool {
    matches!(command.first(), Some(&("backup" | "stanza-create")))
}

/// One run for this backup.
///
/// # Errors
/// As [`tool::run`]; permanent when the primary is another one by now.
pub async fn run(ctx: &StepContext, purpose: &str, command: &[&str]) -> Result<Ran, StepError> {
    let (repository, member) = (near(ctx).await?, primary(ctx)?);
    let place = match reached(ctx, &repository, member, needs_data(command)).await? {
        Ok(place) => place,
        Err(line) => return Ok(Ran::Running(line)),
    };
    let is_through_door = needs_data(command) && matches!(place, Place::Far(..));
    let ran = run_at(ctx, &repository, place, (purpose, command)).await?;
    if is_through_door && matches!(ran, Ran::Ended(_)) {
        door::close(&ctx.services, member).await?;
    }
    Ok(ran)
}

/// Where a run works on the data of the primary, with its door open where it takes one; `Err` with what it waits for.
///
/// # Errors
/// As [`door::open`].
pub async fn reached<'a>(
    ctx: &StepContext,
    repository: &Repository,
    member: &'a Member,
    needs_data: bool,
) -> Result<Result<Place<'a>, String>, StepError> {
    let near = place(repository, member);
    if !needs_data || !matches!(near, Place::Far(..)) {
        return Ok(Ok(near));
    }
    Ok(match door::open(ctx, member, repository).await? {
        Ok(door) => Ok(Place::Far(member, Some(door))),
        Err(Outcome::Wait(_, line)) => Err(line),
        Err(Outcome::Done(_)) => Ok(near),
    })
}

/// One run at a place.
///
/// # Errors
/// As [`tool::run`].
pub async fn run_at(
    ctx: &StepContext,
    repository: &Repository,
    place: Place<'_>,
    (purpose, command): (&str, &[&str]),
) -> Result<Ran, StepError> {
    let retention = ctx.services.store.protection(&ctx.server.id).await?.policy.retention;
    let only_reads = matches!(command.first(), Some(&("verify" | "info")));
    let run = Run { place, repository, purpose, command, retention, only_reads };
    tool::run(ctx, &run).await
}

/// Ends and removes what this backup has on the hosts. A host that does not answer keeps it: the next backup of the
/// member removes it, and a door of an operation that is over is in nobody's way.
///
/// # Errors
/// While it is worth another try.
pub async fn clear(ctx: &StepContext) -> Result<(), StepError> {
    let Some(member) = chosen(ctx) else { return Ok(()) };
    let repository = near(ctx).await?;
    let (services, host) = (&ctx.services, &repository.host_id);
    pieces::or_leave(ctx, tool::remove(services, &place(&repository, member), host).await).await?;
    pieces::or_leave(ctx, close_doors(ctx).await).await
}

/// Closes the ways to the members' data, whatever the members have become by now.
///
/// # Errors
/// When an engine does not do it.
pub async fn close_doors(ctx: &StepContext) -> Result<(), StepError> {
    let (repository, standby) = (near(ctx).await?, source::chosen(ctx));
    let is_behind = |member: &&Member| !matches!(place(&repository, member), Place::Member(_));
    let primary = chosen(ctx).filter(is_behind);
    // A standby that is gone took its door with it.
    let standby = standby.and_then(|id| ctx.members.iter().find(|one| one.id == id));
    let mut closed = Ok(());
    for member in primary.into_iter().chain(standby) {
        closed = closed.and(door::close(&ctx.services, member).await);
    }
    closed
}
