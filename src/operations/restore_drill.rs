//! Restore drill: the newest backup and all of the log behind it, restored into a volume that is thrown away and checked
//! there ([`crate::postgres::restore_drill`]). The server is not touched.
//!
//! The record is written last, in one go, with what was found: a drill that was cut off proves nothing and says so. What
//! it made is removed before that, however it ended.

use super::backup::{keys, object_storage, repository};
use super::context::StepContext;
use super::create::ours_is_gone;
use super::member;
use super::step::{Outcome, Step, StepError, Undo};
use crate::domain::backup::{
    Backup, Gap, Protection, Repository, RestoreTarget, Retention, choose,
};
use crate::domain::ids::HostId;
use crate::engine::blueprint_repository::Tool;
use crate::engine::{ContainerSpec, Engine, ImageProgress, label};
use crate::postgres::pgbackrest::{self, Reach};
use crate::postgres::restore_drill::{self, Told, parse};
use crate::store::restore_drills::{Found, PASSED};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const CHOOSE: &str = "choose_backup";
const IMAGE: &str = "ensure_image";
const RUN: &str = "restore_and_check";
const SOON: Duration = Duration::from_secs(1);
/// Lines that are read of the helper.
const LINES: usize = 200;
/// Of them those that go into the operation's log when something is wrong.
const LOG_LINES: usize = 60;
/// The copy must fit beside everything else on its host.
const SPARE_BYTES: u64 = 1 << 30;

pub const STEPS: &[Step] = &[
    step(CHOOSE, "Choose the newest backup", choose_backup, Undo::Run(close_record), 60),
    step(
        IMAGE,
        "Have the PostgreSQL image ready",
        ensure_image,
        Undo::None("images are shared by all servers of a version"),
        3000,
    ),
    step("create_volume", "Create a volume to throw away", create_volume, Undo::Run(remove), 120),
    step(
        RUN,
        "Restore the backup, replay the log and check it",
        restore_and_check,
        Undo::Run(remove),
        64_800,
    ),
    step("remove", "Remove the copy", remove, Undo::None("it is what undoes the others"), 300),
    Step {
        point_of_no_return: true,
        ..step(
            "record",
            "Write down what was found",
            record,
            Undo::None("what was measured stays measured"),
            60,
        )
    },
];

const fn step(
    name: &'static str,
    title: &'static str,
    run: super::step::StepFn,
    undo: Undo,
    seconds: u64,
) -> Step {
    let deadline = Duration::from_secs(seconds);
    Step { name, title, run, undo, deadline, point_of_no_return: false }
}

/// Earlier drills by which it is seen whose turn it is.
const DRILLS_LOOKED_AT: i64 = 20;

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// What a drill is told. Without a number the repositories take turns.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Input {
    #[serde(default)]
    pub repository: Option<i64>,
}

/// What `choose_backup` hands on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    repository: i64,
    /// From where object storage is read: the same host in every step.
    #[serde(default)]
    host: Option<HostId>,
    label: String,
    bytes: u64,
    started_at: DateTime<Utc>,
    /// Whether a piece behind the backup is known to be missing.
    has_gap: bool,
}

/// What `restore_and_check` hands on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Verdict {
    found: Numbers,
    /// Tables for which the time to count was too short. `pg_amcheck` read them all the same: no reason against it.
    uncounted: Option<i64>,
    /// Empty when everything is right.
    wrong: String,
}

/// What was measured; microseconds and bytes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Numbers {
    restore: Option<i64>,
    replay: Option<i64>,
    bytes: Option<i64>,
    databases: Option<i64>,
    tables: Option<i64>,
    rows: Option<i64>,
    checked: Option<i64>,
    last_commit_at: Option<DateTime<Utc>>,
}

fn choose_backup(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let input: Option<Input> = ctx.input()?;
        let protection = ctx.services.store.protection(&ctx.server.id).await?;
        let number = match input.and_then(|input| input.repository) {
            Some(number) => number,
            None => next_in_turn(ctx, &protection).await?,
        };
        let host = Some(repository_of(ctx, number).await?.host_id);
        let chosen = choose(&protection, number, &RestoreTarget::Latest, None);
        let chosen = chosen.map_err(|refused| {
            StepError::permanent(refused.reason, "Nothing was made. Take a backup first.")
        })?;
        let is_it = |one: &&Backup| one.repository == number && one.label == chosen.label;
        let begun = protection.backups.iter().find(is_it);
        let is_behind = |gap: &Gap| {
            let is_over = |end| begun.is_some_and(|one| end <= one.started_at);
            gap.repository == number && !gap.ended_at.is_some_and(is_over)
        };
        let has_gap = protection.gaps.iter().any(is_behind);
        let (id, label) = (&ctx.operation.id, chosen.label);
        let mut tx = ctx.begin_write().await?;
        tx.open_restore_drill(id, &ctx.server.id, number, &label).await?;
        ctx.commit(tx).await?;
        ctx.log(format!("Backup {label}")).await;
        let started_at = ctx.services.clock.now();
        let plan =
            Plan { repository: number, host, label, bytes: chosen.bytes, started_at, has_gap };
        Ok(Outcome::Done(json!(plan)))
    })
}

async fn next_in_turn(ctx: &StepContext, protection: &Protection) -> Result<i64, StepError> {
    let store = &ctx.services.store;
    let drills = store.restore_drills(&ctx.server.id, DRILLS_LOOKED_AT).await?;
    // This drill's own record is of this turn, when the step is done again.
    let others = drills.iter().filter(|one| one.operation_id != ctx.operation.id);
    let proofs: Vec<_> = others.map(|one| (one.repository, one.started_at)).collect();
    let seen = store.host_observations().await?;
    let is_away =
        |host: &HostId| seen.iter().any(|one| one.host_id == *host && one.error.is_some());
    Ok(protection.to_prove(&proofs, is_away))
}

/// One that is undone proved nothing, and its record says so.
fn close_record(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let why = ctx.operation.error.as_deref().unwrap_or("It was taken back.");
        let outcome = format!("Not proven: {why}");
        let mut tx = ctx.begin_write().await?;
        tx.close_restore_drill(&ctx.operation.id, &Found::default(), &outcome).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

async fn repository_of(ctx: &StepContext, number: i64) -> Result<Repository, StepError> {
    let all = ctx.services.store.repositories(&ctx.server.id).await?;
    let found = all.into_iter().find(|one| one.number == number).ok_or_else(|| {
        StepError::permanent(
            "The server has no backups yet.",
            "Nothing was made. Take a backup first.",
        )
    })?;
    Ok(object_storage::beside(&ctx.services, found, None).await?)
}

/// Where the drill takes place: its plan, the repository, and the engine that has it.
async fn scene(ctx: &StepContext) -> Result<(Plan, Repository, Arc<dyn Engine>), StepError> {
    let plan: Plan = ctx.output(CHOOSE)?;
    let from = repository_of(ctx, plan.repository).await?;
    let from = match &plan.host {
        Some(host) => object_storage::on_host(from, host),
        None => from,
    };
    let engine = repository::engine(&ctx.services, &from.host_id)?;
    Ok((plan, from, engine))
}

fn ensure_image(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (_, from, engine) = scene(ctx).await?;
        match engine.ensure_image(from.major).await? {
            ImageProgress::Building { now, lines } => {
                ctx.log_new(&lines).await;
                Ok(Outcome::Wait(SOON, now))
            }
            ImageProgress::Ready { id, .. } => Ok(Outcome::Done(json!(id))),
        }
    })
}

/// Name of container and volume.
fn name(ctx: &StepContext) -> String {
    format!("pgflex-{}-drill", ctx.server.id.short())
}

fn create_volume(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (plan, from, engine) = scene(ctx).await?;
        must_fit(&engine, plan.bytes).await?;
        let name = name(ctx);
        // What a drill left that was given up.
        if let Some(facts) = engine.container(&name).await?
            && facts.labels.get(label::RUN).map(String::as_str) != Some(ctx.operation.id.as_str())
        {
            engine.remove_container(&name).await?;
            engine.remove_volume(&name).await?;
        }
        let spec = repository::blueprint(&ctx.services, &from.host_id).tool_volume(&name);
        engine.ensure_volume(&spec).await?;
        Ok(Outcome::done())
    })
}

async fn must_fit(engine: &Arc<dyn Engine>, bytes: u64) -> Result<(), StepError> {
    let free = engine.facts().await?.storage_free_bytes;
    match free.filter(|free| *free < bytes.saturating_add(SPARE_BYTES)) {
        None => Ok(()),
        Some(free) => Err(StepError::permanent(
            format!("The repository's host has {free} bytes free; the copy takes {bytes}."),
            "Nothing was made. Free disk space on the host, then try it again.",
        )),
    }
}

fn restore_and_check(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (plan, from, engine) = scene(ctx).await?;
        let name = name(ctx);
        if engine.container(&name).await?.is_none() {
            if from.is_in_object_storage()
                && let wait @ Outcome::Wait(..) =
                    repository::ensure(&ctx.services, &from.host_id, from.major).await?
            {
                return Ok(wait);
            }
            engine.ensure_container(&container(ctx, &plan, &from)?).await?;
        }
        if engine.container(&name).await?.is_some_and(|facts| facts.state == "created") {
            let (reach, _) = way(ctx, &from)?;
            let opened = keys::open(&ctx.services, &from, reach).await?;
            let access = opened.access();
            let mut files = restore_drill::files(&from.stanza);
            files.push(pgbackrest::helper_file(&access, Retention::default()));
            files.push(pgbackrest::recovery_file(&access));
            let mut files = member::collect(files);
            if from.is_in_object_storage() {
                files.extend(keys::tls_files(&ctx.services, &from.server_id).await?);
            }
            engine.put_files(&name, &files).await?;
            engine.start_container(&name).await?;
        }
        let Some(code) = engine.wait_exit(&name, Duration::from_secs(2)).await? else {
            return Ok(Outcome::Wait(SOON, progress(&engine.output(&name).await?)));
        };
        let lines = engine.tail(&name, LINES).await?;
        let told = parse(&engine.output(&name).await?);
        let verdict = judge(told, code, &lines, plan.has_gap);
        for line in words(&verdict) {
            ctx.log(line).await;
        }
        if !verdict.wrong.is_empty() {
            let shown = lines.iter().filter(|line| !line.starts_with("archive="));
            for line in shown.skip(lines.len().saturating_sub(LOG_LINES)) {
                ctx.log(line.clone()).await;
            }
        }
        Ok(Outcome::Done(json!(verdict)))
    })
}

/// How the copy reaches the repository, and its network: it is in none where the repository is mounted, and in one with the
/// server of a repository alone where it is in object storage.
fn way(ctx: &StepContext, from: &Repository) -> Result<(Reach, Option<String>), StepError> {
    if !from.is_in_object_storage() {
        return Ok((Reach::Mounted, None));
    }
    let (reach, network) = object_storage::drill(&ctx.services, from)?;
    Ok((reach, Some(network)))
}

fn container(
    ctx: &StepContext,
    plan: &Plan,
    from: &Repository,
) -> Result<ContainerSpec, StepError> {
    let tool = Tool {
        name: name(ctx),
        image: ctx.output(IMAGE)?,
        command: restore_drill::command(&from.stanza, &plan.label),
        volume: name(ctx),
        network: way(ctx, from)?.1,
        run: ctx.operation.id.to_string(),
        member: None,
        repository: (!from.is_in_object_storage()).then_some(true),
    };
    Ok(repository::blueprint(&ctx.services, &from.host_id).tool(tool))
}

/// What the helper is at.
fn progress(output: &str) -> String {
    let stage = output.lines().rev().find_map(|line| line.strip_prefix("stage="));
    match stage {
        Some("replay") => "the log is being replayed",
        Some("count") => "rows are being counted",
        Some("check" | "done") => "pg_amcheck reads every page",
        _ => "the backup is being restored",
    }
    .into()
}

fn judge(told: Result<Told, String>, code: i64, lines: &[String], has_gap: bool) -> Verdict {
    let told = match told {
        Ok(told) => told,
        Err(wrong) => {
            let wrong = format!("The drill cannot be understood: {wrong}.");
            return Verdict { found: Numbers::default(), uncounted: None, wrong };
        }
    };
    let wrong = told.verdict(code, lines, has_gap).err().unwrap_or_default();
    let found = Numbers {
        restore: told.restore_micros,
        replay: told.replay_micros,
        bytes: told.bytes,
        databases: told.databases,
        tables: told.tables,
        rows: told.rows,
        checked: told.checked,
        last_commit_at: told.last_commit_at,
    };
    Verdict { found, uncounted: told.uncounted, wrong }
}

fn words(verdict: &Verdict) -> Vec<String> {
    let found = &verdict.found;
    let shown =
        |value: Option<i64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let seconds = |micros: Option<i64>| {
        micros.map_or_else(|| "?".to_owned(), |micros| format!("{:.1} s", micros as f64 / 1e6))
    };
    let left = verdict.uncounted.filter(|left| *left > 0);
    let left = left.map(|left| {
        format!("{left} tables were not counted: it would have taken longer than 15 minutes")
    });
    let told = [
        format!(
            "Restored in {}, log replayed in {}, {} bytes",
            seconds(found.restore),
            seconds(found.replay),
            shown(found.bytes)
        ),
        format!(
            "{} databases, {} tables counted with {} rows, {} tables and indexes checked",
            shown(found.databases),
            shown(found.tables),
            shown(found.rows),
            shown(found.checked)
        ),
    ];
    told.into_iter().chain(left).collect()
}

/// By its own plan, also when that was never made: then nothing else was.
fn remove(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if !ctx.outputs.contains_key(CHOOSE) {
            return Ok(Outcome::done());
        }
        let (_, _, engine) = scene(ctx).await?;
        let name = name(ctx);
        ours_is_gone(engine.remove_container(&name).await)?;
        ours_is_gone(engine.remove_volume(&name).await)?;
        Ok(Outcome::done())
    })
}

fn record(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (plan, verdict): (Plan, Verdict) = (ctx.output(CHOOSE)?, ctx.output(RUN)?);
        let found = verdict.found;
        let age = found.last_commit_at.map(|at| plan.started_at - at);
        let found = Found {
            restore_micros: found.restore,
            replay_micros: found.replay,
            bytes: found.bytes,
            databases: found.databases,
            tables: found.tables,
            rows: found.rows,
            checked_relations: found.checked,
            last_commit_at: found.last_commit_at,
            data_age_micros: age.and_then(|age| age.num_microseconds()),
        };
        let has_passed = verdict.wrong.is_empty();
        let outcome = if has_passed { PASSED } else { verdict.wrong.as_str() };
        let mut tx = ctx.begin_write().await?;
        tx.close_restore_drill(&ctx.operation.id, &found, outcome).await?;
        ctx.commit(tx).await?;
        if has_passed {
            return Ok(Outcome::done());
        }
        Err(StepError::permanent(
            format!("Backup {} is not proven. {}", plan.label, verdict.wrong),
            "Have a full backup taken now, then run the drill again. The server itself is untouched.",
        ))
    })
}
