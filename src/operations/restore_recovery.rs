//! The recovery of a restored server: PostgreSQL replays the log of the source until the target and becomes a server of
//! its own. What it really reached is asked of it and kept.
//!
//! A moment behind which no commit came is no place in the log: PostgreSQL ends when it finds none. The check before the
//! restore said that the archive covers the moment, so the end of the archive is that moment, and the recovery is begun
//! again without a target.

use super::access;
use super::backup::keys;
use super::context::StepContext;
use super::member;
use super::restore::{Input, source_repository};
use super::restore_data::reach;
use super::step::{Outcome, StepError};
use crate::domain::backup::RestoreTarget;
use crate::domain::ha::Lsn;
use crate::engine::{ContainerSpec, FileSpec};
use crate::postgres::PostgresError;
use crate::postgres::archive::RecoveryLook;
use crate::postgres::conf::{Recovery, RecoveryTarget};
use crate::postgres::pgbackrest;
use crate::store::restores::Reached;
use chrono::SecondsFormat;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::time::Duration;

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// Lines that are read of the member.
const LINES: usize = 200;
const SOON: Duration = Duration::from_millis(500);
/// Time that PostgreSQL has to end in an orderly way.
const STOP_GRACE: Duration = Duration::from_secs(120);
const CONFIGURATION: &str = "config/postgresql.conf";
/// Files with the source's key, which the new server needs no longer than its recovery.
const BORROWED: [&str; 2] = ["config/recovery.conf", "config/backup.conf"];
/// What PostgreSQL says when the log ended first.
const NOT_REACHED: &str = "recovery ended before configured recovery target was reached";
const TOO_EARLY: &str = "requested recovery stop point is before consistent recovery point";
/// The first line of every start.
const STARTS: &str = "starting PostgreSQL";

/// It is not started by the engine: one that ends has something to say.
pub(super) fn create_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let engine = ctx.engine(member)?;
        let spec = ContainerSpec { restart: false, ..member::container(ctx, member) };
        engine.ensure_container(&spec).await?;
        let input: Input = ctx.input()?;
        let files = files(ctx, target(&input.target)).await?;
        engine.put_files(&member.container(), &files).await?;
        Ok(Outcome::done())
    })
}

fn target(target: &RestoreTarget) -> RecoveryTarget {
    match target {
        RestoreTarget::Latest => RecoveryTarget::End,
        RestoreTarget::Moment { at } => RecoveryTarget::Moment(*at),
        RestoreTarget::Place { lsn } => RecoveryTarget::Place(*lsn),
        RestoreTarget::Point { name } => RecoveryTarget::Point(name.clone()),
        RestoreTarget::Backup { .. } => RecoveryTarget::Consistent,
    }
}

/// The usual files, and behind the usual settings those of the recovery.
async fn files(ctx: &StepContext, target: RecoveryTarget) -> Result<Vec<FileSpec>, StepError> {
    let from = source_repository(ctx).await?;
    let restore_command = pgbackrest::restore_command(&from.stanza);
    let lines = Recovery { restore_command, target }.lines();
    let mut files = member::files(ctx).await?;
    for file in files.iter_mut().filter(|file| file.path == CONFIGURATION) {
        file.content.extend_from_slice(lines.as_bytes());
    }
    let opened = keys::open(&ctx.services, &from, reach(ctx, &from)?).await?;
    files.extend(member::collect(vec![pgbackrest::recovery_file(&opened.access())]));
    files.extend(keys::tls_files(&ctx.services, &ctx.server.id).await?);
    Ok(files)
}

pub(super) fn wait_recovered(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let engine = ctx.engine(member)?;
        let facts = engine.container(&member.container()).await?.ok_or_else(|| {
            StepError::permanent(
                "The container is gone.",
                "Somebody removed it on the host. Retry.",
            )
        })?;
        let lines = engine.tail(&member.container(), LINES).await?;
        if facts.state == "exited" {
            return ended(ctx, &lines).await;
        }
        let Some(address) = access::address_in(&facts) else {
            return Ok(Outcome::Wait(SOON, "the container is starting".into()));
        };
        let target = access::target(&ctx.services, &ctx.server, address).await?;
        match ctx.services.postgres.recovery(&target).await {
            Ok(look) if !look.is_under_way => recovered(ctx, &look).await,
            Ok(_) | Err(PostgresError::Silent(_)) => Ok(Outcome::Wait(SOON, progress(&lines))),
            Err(refused) => Err(refused.into()),
        }
    })
}

/// The last thing that PostgreSQL said of its way through the log.
fn progress(lines: &[String]) -> String {
    let is_word =
        |line: &&String| line.contains("restored log file") || line.contains("redo in progress");
    let last = lines.iter().rev().find(is_word);
    let said = last.and_then(|line| line.split_once("LOG:")).map(|(_, said)| said.trim());
    said.map_or_else(|| "the log is being replayed".into(), str::to_owned)
}

async fn recovered(ctx: &StepContext, look: &RecoveryLook) -> Result<Outcome, StepError> {
    let input: Input = ctx.input()?;
    let Some(lsn) = look.reached else {
        return Err(StepError::permanent(
            "PostgreSQL runs, but does not say that it recovered anything.",
            "Retry. The log of the container says more.",
        ));
    };
    if let (RestoreTarget::Moment { at }, Some(reached)) = (&input.target, look.reached_at)
        && reached > *at
    {
        return Err(StepError::permanent(
            format!("The recovery went too far: to {reached}."),
            "Nothing of it is kept. Retry, and report this.",
        ));
    }
    let reached = Reached { at: look.reached_at, lsn, timeline: look.timeline };
    let mut tx = ctx.begin_write().await?;
    tx.set_reached(&ctx.server.id, &reached).await?;
    ctx.commit(tx).await?;
    ctx.log(words(&reached)).await;
    Ok(Outcome::Done(json!({ "lsn": lsn.to_string(), "timeline": look.timeline })))
}

fn words(reached: &Reached) -> String {
    let last = reached.at.map_or_else(
        || "no commit of the log after the backup".to_owned(),
        |at| format!("the last commit is of {}", at.to_rfc3339_opts(SecondsFormat::Micros, true)),
    );
    format!("Recovered to {} in the log: {last}. Timeline {}", reached.lsn, reached.timeline)
}

/// A recovery that ended instead of becoming a server.
async fn ended(ctx: &StepContext, lines: &[String]) -> Result<Outcome, StepError> {
    let input: Input = ctx.input()?;
    let run = last_run(lines);
    let says = |text: &str| run.iter().any(|line| line.contains(text));
    if says(NOT_REACHED) && matches!(input.target, RestoreTarget::Moment { .. }) {
        return go_to_the_end(ctx).await;
    }
    for line in run.iter().rev().take(40).rev() {
        ctx.log(line.clone()).await;
    }
    let reached = far(run).map_or_else(String::new, |far| format!(" It ends at {far}."));
    Err(if says(NOT_REACHED) {
        StepError::permanent(
            format!("The log of the backup has no such place or restore point.{reached}"),
            "Nothing of the new server is kept. Choose another target, or an older backup to begin with.",
        )
    } else if says(TOO_EARLY) {
        StepError::permanent(
            "The target is a moment before the end of the backup.",
            "Restore to a second later, or choose an older backup to begin with.",
        )
    } else {
        let why = run.iter().rev().find(|line| line.contains("FATAL:") || line.contains("PANIC:"));
        let why = why.or(run.last()).cloned().unwrap_or_default();
        StepError::permanent(
            format!("The recovery ended: {why}"),
            "The log below has its last lines. Mend what they name (often the repository, the host's memory or its disk), then retry.",
        )
    })
}

/// What was written since the last start.
fn last_run(lines: &[String]) -> &[String] {
    let begun = lines.iter().rposition(|line| line.contains(STARTS)).unwrap_or(0);
    lines.get(begun..).unwrap_or_default()
}

/// Where the log ended, as PostgreSQL said it.
fn far(run: &[String]) -> Option<Lsn> {
    let line = run.iter().rev().find_map(|line| line.split_once("redo done at "))?.1;
    Lsn::parse(line.split_whitespace().next()?)
}

async fn go_to_the_end(ctx: &StepContext) -> Result<Outcome, StepError> {
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    let files = files(ctx, RecoveryTarget::End).await?;
    engine.put_files(&member.container(), &files).await?;
    engine.start_container(&member.container()).await?;
    ctx.log("No commit came after the moment: the end of the archive is that moment, and all of it is replayed").await;
    Ok(Outcome::Wait(SOON, "the end of the log is replayed".into()))
}

/// Without anything of the recovery in its files or in force: some of it is read at a start alone. The source's key
/// goes from the volume.
pub(super) fn finish_recovery(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let (engine, name) = (ctx.engine(member)?, member.container());
        engine.stop_container(&name, STOP_GRACE).await?;
        let mut files = member::files(ctx).await?;
        for path in BORROWED {
            if !files.iter().any(|file| file.path == path) {
                let content = b"# Nothing.\n".to_vec();
                files.push(FileSpec { path: path.into(), mode: 0o600, content });
            }
        }
        engine.put_files(&name, &files).await?;
        engine.set_restart(&name, true).await?;
        engine.start_container(&name).await?;
        Ok(Outcome::done())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_the_last_start_counts() {
        let seen = lines(&[
            "LOG:  starting PostgreSQL 17.6",
            "FATAL:  recovery ended before configured recovery target was reached",
            "LOG:  starting PostgreSQL 17.6",
            "LOG:  restored log file \"000000010000000000000005\" from archive",
            "LOG:  redo done at 0/5000128 system usage: CPU: user: 0.00 s",
        ]);
        let run = last_run(&seen);
        assert!(!run.iter().any(|line| line.contains(NOT_REACHED)));
        assert_eq!(far(run), Lsn::parse("0/5000128"));
        let said = "restored log file \"000000010000000000000005\" from archive";
        assert_eq!(progress(&seen), said);
        assert_eq!(last_run(&[]), Vec::<String>::new());
    }
}
