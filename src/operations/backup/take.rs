//! Takes a backup: everything that it needs is made sure of first, so that the first backup and every later one are the
//! same work. What is listed is what the repository holds and was read whole; until the list is written, all of it
//! can be taken back, and what was copied is removed again.

use super::list::{self, Verdict};
use super::subject::{self, run};
use super::tool::{self, Ran, Run};
use super::{delete, object_storage, source, take_ready};
use crate::domain::backup::{BackupType, CopiedFrom, Repository, may_expire};
use crate::operations::context::StepContext;
use crate::operations::ha::pieces;
use crate::operations::step::{Outcome, Step, StepError, Undo};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const HOUR: u64 = 3600;

pub const STEPS: &[Step] = &[
    Step {
        name: "make_keys",
        title: "Have the keys of the backups",
        run: take_ready::make_keys,
        undo: Undo::None("the keys of a server's backups are kept for good"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "prepare_repository",
        title: "Have the repository of the host",
        run: take_ready::prepare_repository,
        undo: Undo::None("the repository belongs to the host, which keeps it"),
        deadline: Duration::from_secs(HOUR),
        point_of_no_return: false,
    },
    Step {
        name: "let_in",
        title: "Let the backup into PostgreSQL",
        run: take_ready::let_in,
        undo: Undo::None("a role that only takes backups is what is wanted"),
        deadline: Duration::from_secs(HOUR),
        point_of_no_return: false,
    },
    Step {
        name: "make_stanza",
        title: "Have the server's place in the repository",
        run: take_ready::make_stanza,
        undo: Undo::Run(remove_helper),
        deadline: Duration::from_secs(300),
        point_of_no_return: false,
    },
    Step {
        name: "begin_archive",
        title: "Have the log archived",
        run: take_ready::begin_archive,
        undo: Undo::None("a log that is archived is what is wanted"),
        deadline: Duration::from_secs(HOUR),
        point_of_no_return: false,
    },
    Step {
        name: "wait_archived",
        title: "Wait until a WAL file is in the repository",
        run: take_ready::wait_archived,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(600),
        point_of_no_return: false,
    },
    Step {
        name: "choose_source",
        title: "Choose the member to copy from",
        run: source::choose,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(300),
        point_of_no_return: false,
    },
    Step {
        name: "copy_standby",
        title: "Copy the data of the standby, where it can be copied from",
        run: source::copy,
        undo: Undo::Run(take_back),
        deadline: Duration::from_secs(20 * HOUR),
        point_of_no_return: false,
    },
    Step {
        name: "copy",
        title: "Copy the data",
        run: copy,
        // What was copied is taken back with the step before.
        undo: Undo::Run(remove_helper),
        deadline: Duration::from_secs(20 * HOUR),
        point_of_no_return: false,
    },
    Step {
        name: "verify",
        title: "Read the backup and compare its checksums",
        run: verify,
        undo: Undo::None("it only reads"),
        deadline: Duration::from_secs(20 * HOUR),
        point_of_no_return: false,
    },
    Step {
        name: "read_pages",
        title: "See whether pages of the data were damaged",
        run: read_pages,
        undo: Undo::None("it only reads"),
        deadline: Duration::from_secs(HOUR),
        point_of_no_return: false,
    },
    Step {
        name: "expire",
        title: "Remove what is older than the retention",
        run: expire,
        undo: Undo::None("what was too old stays removed; the list is read again with the copy"),
        deadline: Duration::from_secs(4 * HOUR),
        point_of_no_return: false,
    },
    Step {
        name: "list",
        title: "Read the list of backups",
        run: write_list,
        undo: Undo::None("the list is read again with the copy"),
        deadline: Duration::from_secs(HOUR),
        point_of_no_return: true,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// pgBackRest's word.
    #[serde(rename = "type")]
    pub kind: String,
    /// Empty for one that the schedule takes.
    #[serde(default)]
    pub name: String,
    /// Number of the repository that it goes into.
    #[serde(default = "near_number")]
    pub repository: i64,
}

fn near_number() -> i64 {
    take_ready::NEAR
}

impl Asked {
    pub fn new(kind: BackupType, name: &str) -> Self {
        Self { kind: kind.key().into(), name: name.into(), repository: take_ready::NEAR }
    }

    /// The same into another repository.
    pub fn into_repository(self, repository: i64) -> Self {
        Self { repository, ..self }
    }

    fn backup_type(&self) -> Result<BackupType, StepError> {
        BackupType::parse(&self.kind).ok_or_else(|| {
            StepError::permanent(
                format!("“{}” is no type of a backup. Nothing was changed.", self.kind),
                "Ask for it again from the page Backup and restore.",
            )
        })
    }
}

/// What the copy gave.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Copied {
    pub(super) label: String,
}

/// Number of the repository that the operation is about.
pub(super) fn number(ctx: &StepContext) -> i64 {
    let asked = ctx.operation.input.get("repository").and_then(serde_json::Value::as_i64);
    asked.unwrap_or(take_ready::NEAR)
}

/// The server's place in the repository that the operation is about.
///
/// # Errors
/// When an earlier step did not choose one.
pub(super) async fn near(ctx: &StepContext) -> Result<Repository, StepError> {
    let all = ctx.services.store.repositories(&ctx.server.id).await?;
    let found = all.into_iter().find(|one| one.number == number(ctx)).ok_or_else(|| {
        StepError::permanent("The server has no such repository.", "Take the backup again.")
    })?;
    if let Some(host) = subject::host(ctx) {
        return Ok(object_storage::on_host(found, &host));
    }
    let member = subject::chosen(ctx).or(ctx.members.first());
    let host = member.map(|member| &member.host_id);
    Ok(object_storage::beside(&ctx.services, found, host).await?)
}

fn copy(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(copied) = source::copied(ctx) {
            return Ok(Outcome::Done(serde_json::json!(copied)));
        }
        let words = words(ctx, CopiedFrom::Primary).await?;
        let command: Vec<&str> = words.iter().map(String::as_str).collect();
        match run(ctx, "copy", &command).await?.or_wait() {
            Err(wait) => Ok(wait),
            Ok(output) => {
                Ok(Outcome::Done(serde_json::json!(Copied { label: label_in(&output)? })))
            }
        }
    })
}

/// What pgBackRest is told to take the backup.
pub(super) async fn words(ctx: &StepContext, from: CopiedFrom) -> Result<Vec<String>, StepError> {
    let asked: Asked = ctx.input()?;
    let kind = possible(ctx, asked.backup_type()?).await?;
    let mut words = vec![
        "backup".to_owned(),
        format!("--type={}", kind.key()),
        format!("--annotation={}={}", list::OPERATION, ctx.operation.id),
        format!("--annotation={}={}", list::COPIED_FROM, from.key()),
    ];
    if !asked.name.is_empty() {
        words.push(format!("--annotation={}={}", list::NAME, asked.name));
    }
    Ok(words)
}

/// pgBackRest rests a backup on the newest full one, whatever we found out about that: unless it is good, a full one it is.
async fn possible(ctx: &StepContext, asked: BackupType) -> Result<BackupType, StepError> {
    let protection = ctx.services.store.protection(&ctx.server.id).await?;
    let fulls = protection.backups.iter().filter(|one| one.repository == number(ctx));
    let newest = fulls.filter(|one| one.kind == BackupType::Full).max_by_key(|one| one.ended_at);
    Ok(if newest.is_some_and(|one| one.is_good()) { asked } else { BackupType::Full })
}

pub(super) fn label_in(output: &str) -> Result<String, StepError> {
    let line = output.lines().find_map(|line| line.split_once("new backup label = "));
    let label = line.map(|(_, label)| label.trim().to_owned());
    label.filter(|label| crate::domain::backup::RestoreTarget::backup(label).is_ok()).ok_or_else(
        || {
            StepError::permanent(
                "pgBackRest does not say which backup it took.",
                "The backup was removed again. Take it again; the log below has all that was said.",
            )
        },
    )
}

/// Every file is read and compared. Before 2.46 pgBackRest could only do so with all backups of the server.
fn verify(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Copied { label } = ctx.output("copy")?;
        let set = format!("--set={label}");
        let mut command = vec!["verify", "--output=text", "--verbose"];
        if ctx.server.spec.major > crate::domain::version::Major::V15 {
            command.push(&set);
        }
        let output = match run(ctx, "verify", &command).await?.or_wait() {
            Err(wait) => return Ok(wait),
            Ok(output) => output,
        };
        match super::verdict::of(&output, &label) {
            Ok(()) => Ok(Outcome::done()),
            Err(why) => Err(not_whole(ctx, &label, &why).await?),
        }
    })
}

/// What a backup that is based on others takes over from them is damaged there: the next one must rest on none of them.
async fn not_whole(ctx: &StepContext, label: &str, why: &str) -> Result<StepError, StepError> {
    let repository = near(ctx).await?;
    if let Some((base, _)) = label.split_once('_') {
        let mut tx = ctx.begin_write().await?;
        let found = format!("A later backup that rests on it was found damaged: {why}");
        tx.condemn_backups(&ctx.server.id, repository.number, base, &found).await?;
        ctx.commit(tx).await?;
    }
    Ok(StepError::permanent(
        format!("The backup {label} is not whole: {why}"),
        "It was removed again and is not listed; another one is taken by itself. Look at the disk that the repository's volume is on.",
    ))
}

/// A copy of damaged pages is a true copy: only pgBackRest's list tells it. It must not push out backups from before the damage.
fn read_pages(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Copied { label } = ctx.output("copy")?;
        let (repository, member) = (near(ctx).await?, subject::primary(ctx)?);
        let place = subject::place(&repository, member);
        let info = match list::read(ctx, place, &repository, "pages").await? {
            Err(line) => return Ok(wait(line)),
            Ok(info) => info,
        };
        match info.backups.iter().find(|set| set.label == label) {
            Some(set) if set.has_errors => Err(StepError::permanent(
                "Pages of the database itself have a wrong checksum: its data are damaged. This backup was removed again; the backups from before are kept.",
                "Look for the damaged tables with pg_amcheck, and restore the server to a moment before the damage.",
            )),
            _ => Ok(Outcome::done()),
        }
    })
}

/// What cannot be removed today is removed with the next backup: no reason to give up this one.
fn expire(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let protection = ctx.services.store.protection(&ctx.server.id).await?;
        let fulls: Vec<_> =
            protection.backups.iter().filter(|one| one.repository == number(ctx)).collect();
        if !may_expire(&fulls, protection.policy.retention, ctx.services.clock.now()) {
            ctx.log("Nothing is removed: the backup that the retention would rest on is not good")
                .await;
            return Ok(Outcome::done());
        }
        match run(ctx, "expire", &["expire"]).await {
            Ok(ran) => Ok(ran.or_wait().err().unwrap_or(Outcome::done())),
            Err(StepError::Permanent { what, .. }) => {
                ctx.log(format!("Nothing was removed: {what}")).await;
                Ok(Outcome::done())
            }
            Err(other) => Err(other),
        }
    })
}

fn write_list(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Copied { label } = ctx.output("copy")?;
        let (repository, member) = (near(ctx).await?, subject::primary(ctx)?);
        let place = subject::place(&repository, member);
        let info = match list::read(ctx, place, &repository, "list").await? {
            Err(line) => return Ok(wait(line)),
            Ok(info) => info,
        };
        if !info.backups.iter().any(|set| set.label == label) {
            return Err(StepError::permanent(
                format!("The backup {label} is not in the repository's list."),
                "It was not listed here either. Take it again.",
            ));
        }
        let verdict = Verdict { label, at: ctx.services.clock.now() };
        list::keep(ctx, &repository, &info, Some(&verdict)).await?;
        subject::clear(ctx).await?;
        Ok(Outcome::done())
    })
}

pub(super) fn wait(line: String) -> Outcome {
    Outcome::Wait(Duration::from_secs(1), line)
}

pub(super) fn remove_helper(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        subject::clear(ctx).await?;
        Ok(Outcome::done())
    })
}

/// What this operation copied is removed from the repository, and the list is read again: what is on record is what is
/// there. Where that cannot be done any more, the record at least has nothing of this operation. None of it needs the
/// member's host, which may be what was lost.
fn take_back(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        subject::clear(ctx).await?;
        let taken_back = match remove_own(ctx).await {
            Ok(Some(wait)) => return Ok(wait),
            Ok(None) => Ok(()),
            Err(StepError::Permanent { what, .. }) => {
                ctx.log(format!("The copy is left to the next backup: {what}")).await;
                forget_own(ctx).await
            }
            Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
            Err(other) => {
                forget_own(ctx).await?;
                Err(other)
            }
        };
        pieces::or_leave(ctx, taken_back).await?;
        let host = near(ctx).await?.host_id;
        let removed = tool::remove(&ctx.services, &delete::place(ctx), &host).await;
        pieces::or_leave(ctx, removed).await?;
        Ok(Outcome::done())
    })
}

/// Names of the runs of [`take_back`]; no step that goes forward has them.
const LOOK_AGAIN: &str = "undo-list";
const EXPIRE_OWN: &str = "undo-expire";

async fn remove_own(ctx: &StepContext) -> Result<Option<Outcome>, StepError> {
    let (repository, place) = (near(ctx).await?, delete::place(ctx));
    let (services, asker) = (&ctx.services, ctx.operation.id.to_string());
    let now = tool::under_way(services, &asker, &place, &repository.host_id).await?;
    if now.as_deref() == Some(EXPIRE_OWN)
        && let Err(wait) = expire_own(ctx, &repository, &["expire"]).await?.or_wait()
    {
        return Ok(Some(wait));
    }
    // The end of an earlier look may be from before the removal.
    let look = if now.as_deref() == Some(EXPIRE_OWN) { "undo-list-again" } else { LOOK_AGAIN };
    let info = match list::read(ctx, place, &repository, look).await? {
        Err(line) => return Ok(Some(wait(line))),
        Ok(info) => info,
    };
    let own =
        info.backups.iter().find(|set| list::taken_by(set).as_ref() == Some(&ctx.operation.id));
    let Some(own) = own else {
        list::keep(ctx, &repository, &info, None).await?;
        return Ok(None);
    };
    let set = format!("--set={}", own.label);
    expire_own(ctx, &repository, &["expire", &set]).await?;
    Ok(Some(wait("the copy is removed again".into())))
}

async fn expire_own(
    ctx: &StepContext,
    repository: &Repository,
    command: &[&str],
) -> Result<Ran, StepError> {
    let retention = ctx.services.store.protection(&ctx.server.id).await?.policy.retention;
    let (place, purpose) = (delete::place(ctx), EXPIRE_OWN);
    let run = Run { place, repository, purpose, command, retention, only_reads: false };
    tool::run(ctx, &run).await
}

async fn forget_own(ctx: &StepContext) -> Result<(), StepError> {
    let mut tx = ctx.begin_write().await?;
    tx.forget_backups_of(&ctx.server.id, &ctx.operation.id).await?;
    ctx.commit(tx).await
}
