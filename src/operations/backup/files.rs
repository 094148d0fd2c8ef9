//! What the files of a member say of its archive: all of it follows from where the server's backups lie.

use super::{keys, repository};
use crate::domain::backup::{Repository, RepositoryState, stanza_of};
use crate::engine::FileSpec;
use crate::operations::context::StepContext;
use crate::operations::member;
use crate::operations::step::StepError;
use crate::postgres::conf::Archiving;
use crate::postgres::pgbackrest::{self, REPOSITORY_NAME, REPOSITORY_PORT, Reach};

/// Where the log of the server goes, and the files by which this member of it hands its own over.
///
/// # Errors
/// When the store does not answer, or the key cannot be opened.
pub async fn archive(ctx: &StepContext) -> Result<(Archiving, Vec<FileSpec>), StepError> {
    let all = ctx.services.store.repositories(&ctx.server.id).await?;
    let active: Vec<&Repository> =
        all.iter().filter(|one| one.state == RepositoryState::Active).collect();
    if active.is_empty() {
        // A log that waits for a repository which nobody can say comes back would fill the disk: that is its gap.
        let is_suspended = all.iter().any(|one| one.state == RepositoryState::Suspended);
        let state = if is_suspended { Archiving::Suspended } else { Archiving::Waiting };
        return Ok((state, vec![]));
    }
    let mut opened = vec![];
    for one in active {
        opened.push(keys::open(&ctx.services, one, reach(ctx, one).await?).await?);
    }
    let accesses: Vec<_> = opened.iter().map(keys::Opened::access).collect();
    let mut files = member::collect(vec![pgbackrest::archive_file(&accesses)]);
    files.extend(keys::tls_files(&ctx.services, &ctx.server.id).await?);
    Ok((Archiving::Into(stanza_of(&ctx.server.id)), files))
}

/// A member that reaches no repository keeps its log: what it tries fails, and is seen to fail.
async fn reach(ctx: &StepContext, one: &Repository) -> Result<Reach, StepError> {
    match repository::reach_of(&ctx.services, one, ctx.member()?).await {
        Ok(reach) => Ok(reach),
        Err(why) => {
            ctx.log(format!("As a primary it could not hand its log over. {why}")).await;
            Ok(Reach::Tls { host: REPOSITORY_NAME.into(), port: REPOSITORY_PORT })
        }
    }
}
