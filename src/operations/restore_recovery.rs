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
use super::restore::{Archived, Input, LOOK, source_repository};
use super::restore_data::reach;
use super::step::{Outcome, StepError};
use crate::domain::backup::{Piece, RestoreTarget};
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
/// What it says when a piece was refused, which is another thing than its not being there.
const NO_PIECE: &str = "could not restore file";
/// What it says at a target.
const STOPPED: &str = "recovery stopping ";
/// The first line of every start.
const STARTS: &str = "starting PostgreSQL";
/// Starts within the lines that are read, before a piece that cannot be fetched is a reason to give up.
const STARTS_MAX: usize = 5;
/// Before PostgreSQL is started again.
const AGAIN: Duration = Duration::from_secs(5);
/// Of a piece of the log: `initdb` is never told another size.
const PIECE_BYTES: u64 = 16 << 20;

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
    let opened = keys::open(&ctx.services, &from, reach(ctx, &from).await?).await?;
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
            Ok(look) if !look.is_under_way => recovered(ctx, &look, &lines).await,
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

async fn recovered(
    ctx: &StepContext,
    look: &RecoveryLook,
    lines: &[String],
) -> Result<Outcome, StepError> {
    let input: Input = ctx.input()?;
    let run = last_run(lines);
    let has_stopped = run.iter().any(|line| line.contains(STOPPED));
    let goes_to_the_end =
        matches!(input.target, RestoreTarget::Latest | RestoreTarget::Moment { .. });
    if goes_to_the_end && !has_stopped {
        came_to_the_end(ctx, run)?;
    }
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

/// Whether a recovery asked for the piece behind the last one that the repository holds. One that ended before found a
/// piece that it could not read, and what is behind it is missing from the new server.
fn came_to_the_end(ctx: &StepContext, run: &[String]) -> Result<(), StepError> {
    let archived: Archived = ctx.output(LOOK)?;
    let last = archived.last.as_deref().and_then(|name| Piece::parse(name, PIECE_BYTES));
    let asked = pgbackrest::asked_in_vain(run, PIECE_BYTES);
    let is_whole = match (last, asked) {
        (None, _) => true,
        (Some(last), Some(asked)) => asked.number > last.number,
        (Some(_), None) => false,
    };
    if is_whole || archived.has_gap {
        return Ok(());
    }
    let at = far(run).map_or_else(String::new, |far| format!(" at {far}"));
    Err(StepError::permanent(
        format!(
            "The recovery ended{at}, before the end of the log: a WAL file in the repository is damaged or missing."
        ),
        "Nothing of the new server is kept. Restore to a moment before that, and have a full backup taken.",
    ))
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
        came_to_the_end(ctx, run)?;
        return go_to_the_end(ctx).await;
    }
    if says(NO_PIECE) && lines.iter().filter(|line| line.contains(STARTS)).count() < STARTS_MAX {
        go_on(ctx).await?;
        return Ok(Outcome::Wait(AGAIN, "the repository does not answer".into()));
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

/// The repository was away for a moment, or a piece is damaged: what was replayed is kept, and it goes on from there.
async fn go_on(ctx: &StepContext) -> Result<(), StepError> {
    let member = ctx.member()?;
    ctx.log("A WAL file could not be fetched; PostgreSQL is started again").await;
    Ok(ctx.engine(member)?.start_container(&member.container()).await?)
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
