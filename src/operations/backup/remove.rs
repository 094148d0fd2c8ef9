//! The end of a repository that is not asked for any more: once nothing in it is within the retention, its list is emptied, so that
//! nobody restores from it, and then its files are removed. Everything is asked again when the operation begins.

use super::erase;
use crate::domain::backup::Repository;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, Step, StepError, Undo};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: "empty_list",
        title: "Take its backups out of the list",
        run: empty,
        undo: Undo::None("what is older than the retention is not restored from any more"),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
    Step {
        name: "remove_files",
        title: "Remove its files",
        run: remove_files,
        undo: Undo::None("what was removed does not come back"),
        deadline: Duration::from_secs(4 * 3600),
        point_of_no_return: false,
    },
    Step {
        name: "forget",
        title: "Forget the repository",
        run: forget,
        undo: Undo::None("nothing is in it"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub repository: i64,
}

fn empty(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let asked: Asked = ctx.input()?;
        let protection = ctx.services.store.protection(&ctx.server.id).await?;
        let all = &protection.repositories;
        let Some(found) = all.iter().find(|one| one.number == asked.repository) else {
            return Ok(Outcome::done());
        };
        let now = ctx.services.clock.now();
        if protection.kept_until(found).is_none_or(|until| until > now) {
            return Err(stays());
        }
        let mut tx = ctx.begin_write().await?;
        if !tx.empty_repository(&ctx.server.id, asked.repository).await? {
            return Err(stays());
        }
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

fn stays() -> StepError {
    StepError::permanent(
        "The repository is asked for, is read by a restore, or holds what is within the retention.",
        "Nothing was removed. What is too old is removed later, by itself.",
    )
}

/// Whether something is left, so that the repository is not forgotten.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Left {
    is_left: bool,
}

/// How often a host that does not answer is asked within one operation, over about seven seconds.
const TRIES: i64 = 4;

/// A host or a storage that refuses, or stays silent, holds up nothing else of the server: the operation ends, what is left
/// stays on record without any backup in its list, and the monitor asks for its removal again later.
fn remove_files(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(part) = part(ctx).await? else { return Ok(Outcome::done()) };
        let is_left = match erase::remove_part(&ctx.services, &part).await {
            Ok(true) => false,
            Ok(false) => {
                let line = "its files are being removed".into();
                return Ok(Outcome::Wait(Duration::from_secs(2), line));
            }
            Err(StepError::LeaseLost) => return Err(StepError::LeaseLost),
            Err(StepError::Transient(why)) if ctx.operation.attempt + 1 < TRIES => {
                return Err(StepError::Transient(why));
            }
            Err(error) => {
                ctx.log(format!("Files are left, and are removed later by itself: {error}")).await;
                true
            }
        };
        Ok(Outcome::Done(serde_json::json!(Left { is_left })))
    })
}

async fn part(ctx: &StepContext) -> Result<Option<Repository>, StepError> {
    let asked: Asked = ctx.input()?;
    let all = ctx.services.store.repositories(&ctx.server.id).await?;
    Ok(all.into_iter().find(|one| one.number == asked.repository))
}

fn forget(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if ctx.output::<Left>("remove_files").is_ok_and(|left| left.is_left) {
            return Ok(Outcome::done());
        }
        let asked: Asked = ctx.input()?;
        let mut tx = ctx.begin_write().await?;
        tx.forget_repository(&ctx.server.id, asked.repository).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}
