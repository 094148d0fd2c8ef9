//! What a backup rests on: keys, the repository, a way into PostgreSQL, the server's place in the repository, and a log
//! that arrives there. Every backup makes sure of all of it, so that what was lost since the last one is put right.

use super::subject::{Subject, primary, run};
use super::take::{near, number, wait};
use super::{keys, object_storage, repository};
use crate::domain::backup::{Piece, Repository, RepositoryState, choose_second_of, stanza_of};
use crate::domain::ha::Lsn;
use crate::domain::ids::HostId;
use crate::domain::operation::OperationKind;
use crate::domain::server::{Member, network_name};
use crate::operations::context::StepContext;
use crate::operations::ha;
use crate::operations::step::{Outcome, StepError};
use crate::operations::{configure, look, pair};
use crate::postgres::archive::ArchiverLook;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Number of the repository that is written first: on the primary's own host.
pub const NEAR: i64 = 1;
/// Time between two looks at something that takes seconds.
const SOON: Duration = Duration::from_secs(1);
/// Looks at whether PostgreSQL has read its files, within one call.
const LOOKS: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(50);

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

pub(super) fn make_keys(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        keys::ensure(ctx).await?;
        Ok(Outcome::done())
    })
}

/// The first repository is on the host where the primary was when its first backup was taken, the second in another zone.
pub(super) fn prepare_repository(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (services, member) = (&ctx.services, ctx.member()?);
        let chosen = choose(ctx, member).await?;
        let chosen = object_storage::beside(services, chosen, Some(&member.host_id)).await?;
        let (host, major) = (&chosen.host_id, chosen.major);
        match repository::ensure(services, host, major).await? {
            Outcome::Done(_) => {}
            wait @ Outcome::Wait(..) => return Ok(wait),
        }
        if repository::shares_network(services, host, member).await? {
            repository::enter(services, host, major, &network_name(&ctx.server.id)).await?;
        }
        Ok(Outcome::Done(serde_json::json!(Subject {
            member: member.id.clone(),
            host: Some(host.clone()),
        })))
    })
}

async fn choose(ctx: &StepContext, member: &Member) -> Result<Repository, StepError> {
    let number = number(ctx);
    let protection = ctx.services.store.protection(&ctx.server.id).await?;
    if !protection.asks_for(number) {
        return Err(StepError::permanent(
            format!("Backups of this server do not go into repository {number} any more."),
            "Nothing was changed. Choose its redundancy on the page Backup and restore to take it up again.",
        ));
    }
    let all = protection.repositories;
    // One that was never prepared holds nothing: after a failover it is chosen again, the near one with the primary and the
    // second one away from it.
    let is_settled = |one: &&Repository| {
        one.state != RepositoryState::Planned
            || (!one.is_in_object_storage() && (one.host_id == member.host_id) == (number == NEAR))
    };
    if let Some(found) = all.iter().find(|one| one.number == number && is_settled(one)) {
        if found.is_in_object_storage() {
            object_storage::need(&ctx.services, found)?;
        }
        return Ok(found.clone());
    }
    let (host_id, location) = match number {
        NEAR => (member.host_id.clone(), None),
        object_storage::NUMBER => {
            (member.host_id.clone(), Some(object_storage::location(&ctx.services)?))
        }
        _ => (second(ctx, member).await?, None),
    };
    let chosen = Repository {
        server_id: ctx.server.id.clone(),
        number,
        host_id,
        location,
        stanza: stanza_of(&ctx.server.id),
        major: ctx.server.spec.major,
        state: RepositoryState::Planned,
        since: ctx.services.clock.now(),
        looked_at: None,
        bytes: None,
    };
    let mut tx = ctx.begin_write().await?;
    tx.put_repository(&chosen).await?;
    ctx.commit(tx).await?;
    Ok(chosen)
}

/// In another zone than the primary is in. What was there first stays where it is, whoever is the primary.
async fn second(ctx: &StepContext, member: &Member) -> Result<HostId, StepError> {
    let nowhere = |why: String| {
        let advice = "Nothing was changed. Backups go on into the first repository.";
        StepError::permanent(format!("There is no place for a second repository: {why}"), advice)
    };
    let loads = ctx.services.store.host_loads().await?;
    let known = ctx.services.store.repositories(&ctx.server.id).await?;
    choose_second_of(&loads, &known, (&ctx.server.spec, member)).map_err(nowhere)
}

/// Role, certificate and rules by which the helper logs in. Only what may have changed is written: a daily backup
/// leaves the files of the members alone.
pub(super) fn let_in(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let target = look::target(ctx).await?;
        ctx.services.postgres.ensure_backup_role(&target).await?;
        if near(ctx).await?.state == RepositoryState::Planned
            && let Some(wait) = put_files(ctx).await?
        {
            return Ok(wait);
        }
        let archiver = ctx.services.postgres.archiver(&target).await?;
        match archiver.is_on {
            true => Ok(Outcome::done()),
            false => Err(StepError::permanent(
                "PostgreSQL was started without an archive of its log, and only a restart turns it on. No backup was taken.",
                "Restart the server once; then the first backup is taken by itself.",
            )),
        }
    })
}

/// Writes the files of every member and waits until PostgreSQL has read them. Other operations write the same files
/// from what they change, so this waits until none is at work, and does it again when one began meanwhile.
async fn put_files(ctx: &StepContext) -> Result<Option<Outcome>, StepError> {
    if let Some(other) = other_at_work(ctx).await? {
        return Ok(Some(wait(format!("“{}” is under way", other.label()))));
    }
    let target = look::target(ctx).await?;
    let before = ctx.services.postgres.settings(&target).await?.loaded_at;
    match &ctx.ha {
        None => configure::put_files(ctx, &ctx.server).await?,
        Some(row) => {
            for member in pair::standby_first(ctx) {
                put_on_pair(ctx, member, row).await?;
            }
        }
    }
    let now = ctx.services.store.server(&ctx.server.id).await?;
    if now.is_none_or(|now| {
        now.configuration != ctx.server.configuration || now.spec != ctx.server.spec
    }) || other_at_work(ctx).await?.is_some()
    {
        return Ok(Some(wait("the server was changed meanwhile".into())));
    }
    for _ in 0..LOOKS {
        if ctx.services.postgres.settings(&target).await?.loaded_at > before {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(Some(Outcome::Wait(SOON, "PostgreSQL reads its configuration".into())))
}

pub(super) async fn put_on_pair(
    ctx: &StepContext,
    member: &Member,
    row: &crate::domain::ha::HighAvailability,
) -> Result<(), StepError> {
    let put = async {
        ha::files::put(ctx, member, row).await?;
        let (engine, name) = (ctx.engine(member)?, member.container());
        if engine.container(&name).await?.is_some_and(|facts| facts.state == "running") {
            engine.signal_container(&name, "SIGHUP").await?;
        }
        Ok(())
    };
    match member.role {
        crate::domain::ha::MemberRole::Primary => put.await,
        _ => configure::standby_left(ctx, put.await).await,
    }
}

/// Another operation on the server that writes files of its members.
async fn other_at_work(ctx: &StepContext) -> Result<Option<OperationKind>, StepError> {
    let kinds = ctx.services.store.active_kinds_of(&ctx.server.id).await?;
    Ok(kinds.into_iter().find(|kind| !kind.leaves_members_alone()))
}

pub(super) fn make_stanza(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        Ok(run(ctx, "stanza", &["stanza-create"]).await?.or_wait().err().unwrap_or(Outcome::done()))
    })
}

/// A place in the log that must be in the repository.
#[derive(Debug, Serialize, Deserialize)]
struct Marked {
    lsn: Lsn,
    timeline: i64,
}

/// From here on the members hand their log over. The marker ends a piece, so that there is one to hand over.
pub(super) fn begin_archive(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        primary(ctx)?;
        let repository = near(ctx).await?;
        if repository.state != RepositoryState::Active {
            let now = ctx.services.clock.now();
            let mut tx = ctx.begin_write().await?;
            tx.resume_repository(&ctx.server.id, repository.number, now).await?;
            ctx.commit(tx).await?;
        }
        let target = look::target(ctx).await?;
        // A step that was killed between the two finds it active, but not yet in the files.
        let is_new = near(ctx).await?.since >= ctx.operation.created_at;
        if (is_new || !hands_over(ctx).await?)
            && let Some(wait) = put_files(ctx).await?
        {
            return Ok(wait);
        }
        let timeline = ctx.services.postgres.archiver(&target).await?.timeline;
        let marker = ctx.services.postgres.end_piece(&target).await?;
        Ok(Outcome::Done(serde_json::json!(Marked { lsn: marker.lsn, timeline })))
    })
}

/// Whether PostgreSQL's command is the one that hands its log over.
async fn hands_over(ctx: &StepContext) -> Result<bool, StepError> {
    let look = ctx.services.postgres.settings(&look::target(ctx).await?).await?;
    let wanted = crate::postgres::pgbackrest::archive_command(&stanza_of(&ctx.server.id));
    Ok(look.parameters.iter().any(|one| one.name == "archive_command" && one.value == wanted))
}

pub(super) fn wait_archived(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let marked: Marked = ctx.output("begin_archive")?;
        let look = ctx.services.postgres.archiver(&look::target(ctx).await?).await?;
        if covers(&look, &marked) {
            return Ok(Outcome::done());
        }
        let why = match &look.failed {
            Some((file, _)) if is_failing(&look) => {
                format!("WAL file {file} could not be handed over{}", words(ctx).await)
            }
            _ => "the first WAL file is on its way".into(),
        };
        Ok(wait(why))
    })
}

/// Whether the last word of the archiver is a refusal.
pub fn is_failing(look: &ArchiverLook) -> bool {
    let failed = look.failed.as_ref().map(|(_, at)| *at);
    failed.is_some() && failed > look.archived.as_ref().map(|(_, at)| *at)
}

fn covers(look: &ArchiverLook, marked: &Marked) -> bool {
    let archived = look.archived.as_ref();
    let piece = archived.and_then(|(name, _)| Piece::archived(name, look.piece_bytes));
    piece.is_some_and(|piece| {
        piece.timeline >= marked.timeline && piece.end(look.piece_bytes) >= marked.lsn
    })
}

/// What the command said last, where the container still has it.
async fn words(ctx: &StepContext) -> String {
    let Ok((engine, member)) = ctx.member().and_then(|member| Ok((ctx.engine(member)?, member)))
    else {
        return String::new();
    };
    let lines = engine.tail(&member.container(), 100).await.unwrap_or_default();
    refusal_in(&lines).map(|line| format!(": {line}")).unwrap_or_default()
}

/// The last refusal of pgBackRest in the output of a member.
pub fn refusal_in(lines: &[String]) -> Option<String> {
    let line = lines.iter().rev().find(|line| line.contains("ERROR: ["))?;
    line.split_once("ERROR: ").map(|(_, rest)| rest.trim().to_owned())
}
