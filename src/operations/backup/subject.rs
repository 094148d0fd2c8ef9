//! The member that a backup is taken of: the primary when it began. What works on another member's data than the first
//! steps looked at would copy half of each; when the primary changes, the backup ends and another one is taken.

use super::door;
use super::take::near;
use super::tool::{self, Place, Ran, Run};
use crate::domain::backup::Repository;
use crate::domain::ids::MemberId;
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
}

/// The member, also when it is no primary any more; `None` before it was chosen, or when it is gone.
pub fn chosen(ctx: &StepContext) -> Option<&Member> {
    let subject: Subject = ctx.output(CHOSEN_BY).ok()?;
    ctx.members.iter().find(|member| member.id == subject.member)
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
    let mut place = place(&repository, member);
    if let (Place::Far(..), true) = (&place, needs_data(command)) {
        match door::open(ctx, member, &repository).await? {
            Ok(door) => place = Place::Far(member, Some(door)),
            Err(Outcome::Wait(_, line)) => return Ok(Ran::Running(line)),
            Err(Outcome::Done(_)) => {}
        }
    }
    let retention = ctx.services.store.protection(&ctx.server.id).await?.policy.retention;
    let only_reads = matches!(command.first(), Some(&("verify" | "info")));
    let run = Run { place, repository: &repository, purpose, command, retention, only_reads };
    let ran = tool::run(ctx, &run).await?;
    if needs_data(command) && matches!((&ran, &run.place), (Ran::Ended(_), Place::Far(..))) {
        door::close(&ctx.services, member).await?;
    }
    Ok(ran)
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
    match place(&repository, member) {
        Place::Member(_) => Ok(()),
        _ => pieces::or_leave(ctx, door::close(services, member).await).await,
    }
}
