//! Gives up to hand the log to a repository that is not reached, so that the log does not fill the server's disk. It
//! works while the repository's host is away. The next backup into it takes it up again.

use super::take_ready::put_on_pair;
use crate::domain::backup::{Gap, RepositoryState};
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, Step, StepError, Undo};
use crate::operations::{configure, pair};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: "note_gap",
        title: "Note the gap of the log",
        run: note,
        undo: Undo::Run(forget),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
    Step {
        name: "put_files",
        title: "Have the log handed to the others alone",
        run: put_files,
        undo: Undo::None("the files follow what is on record"),
        deadline: Duration::from_secs(600),
        point_of_no_return: false,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub repository: i64,
    /// Every commit until then is in it.
    pub archived_until: DateTime<Utc>,
    /// For people.
    pub reason: String,
}

fn note(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let asked: Asked = ctx.input()?;
        let gap = Gap {
            repository: asked.repository,
            began_at: asked.archived_until,
            ended_at: None,
            reason: asked.reason,
        };
        let (id, now) = (&ctx.server.id, ctx.services.clock.now());
        let mut tx = ctx.begin_write().await?;
        tx.set_repository_state(id, asked.repository, RepositoryState::Suspended, now).await?;
        tx.put_backup_gap(id, &gap).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

fn forget(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let asked: Asked = ctx.input()?;
        let times = (asked.archived_until, ctx.services.clock.now());
        let mut tx = ctx.begin_write().await?;
        tx.unsuspend_repository(&ctx.server.id, asked.repository, times).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

/// The row of a pair may change meanwhile: a rescue does not wait for this.
fn put_files(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        match &ctx.ha {
            None => configure::put_files(ctx, &ctx.server).await?,
            Some(row) => {
                for member in pair::standby_first(ctx) {
                    put_on_pair(ctx, member, row).await?;
                }
            }
        }
        Ok(Outcome::done())
    })
}
