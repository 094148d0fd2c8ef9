//! The copy with the help of the standby. Whatever stands against it, or goes wrong with it, the step ends well and the
//! next one copies from the primary alone: a standby is never a reason to have no backup. It is only read.

use super::door::{self, Door};
use super::subject;
use super::take::{Copied, label_in, near, wait, words};
use super::tool::{self, Place, Ran};
use crate::domain::backup::{self, CopiedFrom, Follower, Repository, Source, reason_to_stop};
use crate::domain::ha::{HighAvailability, MemberRole};
use crate::domain::ids::MemberId;
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::ha::link;
use crate::operations::step::{Outcome, StepError};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

const CHOSEN_BY: &str = "choose_source";
const COPIED_BY: &str = "copy_standby";
/// Purpose of the run, which tells it from the one on the primary alone.
const PURPOSE: &str = "copy-standby";

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

#[derive(Debug, Serialize, Deserialize)]
struct Chosen {
    standby: Option<MemberId>,
}

/// The standby that was chosen to be copied from; `None` before, and for the primary alone.
pub(super) fn chosen(ctx: &StepContext) -> Option<MemberId> {
    ctx.output::<Chosen>(CHOSEN_BY).ok().and_then(|chosen| chosen.standby)
}

/// The copy with the standby's help; `None` when it was not to be.
pub(super) fn copied(ctx: &StepContext) -> Option<Copied> {
    ctx.output::<Option<Copied>>(COPIED_BY).ok().flatten()
}

pub(super) fn choose(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Source { standby, reason } = source(ctx).await?;
        if ctx.ha.is_some() {
            ctx.log(reason).await;
        }
        Ok(Outcome::Done(json!(Chosen { standby })))
    })
}

async fn source(ctx: &StepContext) -> Result<Source, StepError> {
    let primary = subject::primary(ctx)?;
    let Some(standby) = ctx.ha.as_ref().and_then(|row| row.standby.as_ref()) else {
        return Ok(backup::source(ctx.ha.as_ref(), None));
    };
    let name = HighAvailability::standby_name(standby);
    let follower = match link::standing(ctx, primary).await? {
        Err(_) => None,
        Ok(standing) => {
            let sender = standing.senders.iter().find(|one| one.application_name == name);
            sender.map(|sender| Follower {
                state: sender.state.clone(),
                sync_state: sender.sync_state.clone(),
                behind: standing.written.zip(sender.replayed).map(|(end, at)| end.since(at)),
            })
        }
    };
    Ok(backup::source(ctx.ha.as_ref(), follower.as_ref()))
}

/// Ends with what was copied, or with nothing. A helper that ended well stays until the next run, so that asking again
/// gives the same answer.
pub(super) fn copy(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (primary, repository) = (subject::primary(ctx)?, near(ctx).await?);
        let Some(standby) = chosen(ctx) else {
            return Ok(Outcome::Done(json!(None::<Copied>)));
        };
        match advance(ctx, (primary, &standby), &repository).await? {
            Ok(Ran::Running(line)) => Ok(wait(line)),
            Ok(Ran::Ended(output)) => {
                let copied = Copied { label: label_in(&output)? };
                subject::close_doors(ctx).await?;
                Ok(Outcome::Done(json!(copied)))
            }
            Err(why) => {
                let place = subject::place(&repository, primary);
                tool::remove(&ctx.services, &place, &repository.host_id).await?;
                ctx.log(format!("The data are copied from the primary alone: {why}")).await;
                close_quietly(ctx, &standby).await;
                Ok(Outcome::Done(json!(None::<Copied>)))
            }
        }
    })
}

/// The end of the backup closes it once more: a host that is silent now keeps nobody from the copy.
async fn close_quietly(ctx: &StepContext, standby: &MemberId) {
    let Some(member) = ctx.members.iter().find(|one| one.id == *standby) else { return };
    if let Err(error) = door::close(&ctx.services, member).await {
        ctx.log(format!("The way to the standby is closed later: {error}")).await;
    }
}

/// How the run stands; `Err` with the reason when it is given up.
async fn advance(
    ctx: &StepContext,
    (primary, standby): (&Member, &MemberId),
    repository: &Repository,
) -> Result<Result<Ran, String>, StepError> {
    let gone = || "the standby was removed or replaced".to_owned();
    let stop = ctx.ha.as_ref().map_or_else(|| Some(gone()), |row| reason_to_stop(row, standby));
    let member = ctx.in_role(MemberRole::Standby).filter(|member| member.id == *standby);
    let (None, Some(member)) = (&stop, member) else {
        return Ok(Err(stop.unwrap_or_else(gone)));
    };
    // The primary's door first: who waits for that one holds no other.
    let base = match subject::reached(ctx, repository, primary, true).await? {
        Ok(base) => base,
        Err(line) => return Ok(Ok(Ran::Running(line))),
    };
    let door = match opened(ctx, (&base, member), repository).await? {
        Ok(door) => door,
        Err(why) => return Ok(Err(why)),
    };
    let words = words(ctx, CopiedFrom::Standby).await?;
    let command: Vec<&str> = words.iter().map(String::as_str).collect();
    let place = Place::Pair(Box::new(base), door);
    match subject::run_at(ctx, repository, place, (PURPOSE, &command)).await {
        Ok(ran) => Ok(Ok(ran)),
        Err(StepError::Permanent { what, .. }) => Ok(Err(what)),
        Err(other) => Err(other),
    }
}

/// The way to the standby's data, opened once: a run that is under way goes on without asking the standby's host.
async fn opened(
    ctx: &StepContext,
    (base, standby): (&Place<'_>, &Member),
    repository: &Repository,
) -> Result<Result<Door, String>, StepError> {
    let (services, asker) = (&ctx.services, ctx.operation.id.to_string());
    let door = match door::way(services, standby, repository).await {
        Ok((door, _)) => door,
        Err(StepError::Permanent { .. }) => {
            return Ok(Err("the repository's host does not reach the standby".into()));
        }
        Err(other) => return Err(other),
    };
    let now = tool::under_way(services, &asker, base, &repository.host_id).await?;
    if now.as_deref() == Some(PURPOSE) {
        return Ok(Ok(door));
    }
    match door::open(ctx, standby, repository).await {
        Ok(Ok(door)) => Ok(Ok(door)),
        // Never waited for: two backups that each held one door could wait for each other.
        Ok(Err(_)) => Ok(Err("the port for the way to the standby is in use".into())),
        Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
        Err(other) => Ok(Err(format!("the way to the standby cannot be opened: {other}"))),
    }
}
