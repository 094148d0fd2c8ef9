//! Deletes a backup that a person asked for, when no other rests on it. What is on record is read from the repository
//! again in the same step, so that no backup is listed that is not there.

use super::list;
use super::take::wait;
use super::take_ready::NEAR;
use super::tool::{self, Place, Run};
use crate::domain::backup::{Backup, BackupType, Protection, Repository};
use crate::operations::context::StepContext;
use crate::operations::ha::pieces;
use crate::operations::step::{Outcome, Step, StepError, Undo};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: "check",
        title: "Check that no other backup rests on it",
        run: check,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "delete_backup",
        title: "Delete the backup",
        run: delete,
        undo: Undo::Run(list_again),
        deadline: Duration::from_secs(3600),
        point_of_no_return: true,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub label: String,
    /// Number of the repository that has it.
    #[serde(default = "near_number")]
    pub repository: i64,
}

fn near_number() -> i64 {
    NEAR
}

/// The backup of this label, when it may be deleted.
///
/// # Errors
/// A sentence that says why not.
pub fn deletable<'a>(protection: &'a Protection, label: &str) -> Result<&'a Backup, String> {
    let found = protection.backups.iter().find(|one| one.label == label);
    let found = found.ok_or_else(|| format!("There is no backup {label} any more."))?;
    if !found.is_on_demand() {
        return Err(
            "Only backups that were asked for can be deleted. The others are kept for the retention and removed after it by themselves.".into(),
        );
    }
    let later = protection.based_on(found.repository, label);
    if let Some(one) = later.first() {
        let others = later.len() - 1;
        let more = if others > 0 { format!(" and {others} more") } else { String::new() };
        return Err(format!(
            "Backup {}{more} rests on it and would be worth nothing without it.",
            one.label
        ));
    }
    let is_other = |one: &&Backup| one.kind == BackupType::Full && one.label != found.label;
    let is_full = found.kind == BackupType::Full;
    if is_full && !protection.good_in(found.repository).any(|one| is_other(&one)) {
        return Err("It is the only good full backup. Take another full one first.".into());
    }
    Ok(found)
}

fn check(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let asked: Asked = ctx.input()?;
        let protection = ctx.services.store.protection(&ctx.server.id).await?;
        match deletable(&protection, &asked.label) {
            Ok(_) => Ok(Outcome::done()),
            Err(why) => Err(StepError::permanent(why, "Nothing was deleted.")),
        }
    })
}

/// Where a server's backups are worked on without its data.
pub(super) fn place(ctx: &StepContext) -> Place<'static> {
    Place::Apart(format!("pgflex-{}-tool", ctx.server.id.short()))
}

const DELETE: &str = "delete";

fn delete(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let asked: Asked = ctx.input()?;
        let (repository, asker) = (super::take::near(ctx).await?, ctx.operation.id.to_string());
        let host = &repository.host_id;
        let now = tool::under_way(&ctx.services, &asker, &place(ctx), host).await?;
        // The list is read by a run of its own, which takes the place of the one that deletes.
        if now.as_deref() != Some("list") {
            let set = format!("--set={}", asked.label);
            let protection = ctx.services.store.protection(&ctx.server.id).await?;
            let run = Run {
                place: place(ctx),
                repository: &repository,
                purpose: DELETE,
                command: &["expire", &set],
                retention: protection.policy.retention,
                only_reads: false,
            };
            if let Err(wait) = tool::run(ctx, &run).await?.or_wait() {
                return Ok(wait);
            }
        }
        if let Some(wait) = list_now(ctx, &repository, "list").await? {
            return Ok(wait);
        }
        Ok(Outcome::done())
    })
}

/// Writes what is there; `Some` while it is read.
async fn list_now(
    ctx: &StepContext,
    repository: &Repository,
    purpose: &str,
) -> Result<Option<Outcome>, StepError> {
    match list::read(ctx, place(ctx), repository, purpose).await? {
        Err(line) => Ok(Some(wait(line))),
        Ok(info) => {
            list::keep(ctx, repository, &info, None).await?;
            tool::remove(&ctx.services, &place(ctx), &repository.host_id).await?;
            Ok(None)
        }
    }
}

/// What was deleted is gone, and what was not is there: the list says which.
fn list_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let repository = super::take::near(ctx).await?;
        let listed = match list_now(ctx, &repository, "undo-list").await {
            Ok(Some(wait)) => return Ok(wait),
            Ok(None) => Ok(()),
            Err(StepError::Permanent { what, .. }) => {
                ctx.log(format!("The list is left to the next backup: {what}")).await;
                tool::remove(&ctx.services, &place(ctx), &repository.host_id).await
            }
            Err(other) => Err(other),
        };
        pieces::or_leave(ctx, listed).await?;
        Ok(Outcome::done())
    })
}
