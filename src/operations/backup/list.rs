//! The list of backups, read from the repository: what is on record is what the repository was seen to hold.

use super::tool::{self, Place, Ran, Run};
use crate::domain::backup::{Backup, CopiedFrom, Repository, Retention};
use crate::domain::ids::OperationId;
use crate::domain::operation::OperationStatus;
use crate::operations::context::StepContext;
use crate::operations::step::StepError;
use crate::postgres::pgbackrest::{BackupSet, InfoError, StanzaInfo, parse_info};
use chrono::{DateTime, Utc};

/// Annotation with the name that a person gave.
pub const NAME: &str = "pgflex-name";
/// Annotation with the operation that took it.
pub const OPERATION: &str = "pgflex-operation";
/// Annotation with the member that was copied from, as [`CopiedFrom`] writes it.
pub const COPIED_FROM: &str = "pgflex-copied-from";
/// Whether the key or the list is at fault is not known; a copy of the store has the key of its time.
const OTHER_KEY: &str = "The backups on record were left as they were. If the portal's own store was put back or changed, put a copy of the portal's own store back that has the right key; the server's escrow file has it too. \
     If not, look at the repository's volume on its host, or restore from the server's other repository.";
const INFO: &[&str] = &["info", "--output=json"];

/// What the repository holds of the server; `Err` with the last line while pgBackRest reads it.
///
/// # Errors
/// When pgBackRest cannot say.
pub async fn read(
    ctx: &StepContext,
    place: Place<'_>,
    repository: &Repository,
    purpose: &str,
) -> Result<Result<StanzaInfo, String>, StepError> {
    let run = Run {
        place,
        repository,
        purpose,
        command: INFO,
        retention: Retention::default(),
        only_reads: true,
    };
    match tool::run(ctx, &run).await? {
        Ran::Running(line) => Ok(Err(line)),
        Ran::Ended(output) => parse_info(&output).map(Ok).map_err(|error| {
            let advice = match error {
                InfoError::Unreadable => OTHER_KEY,
                _ => "The backups on record were left as they were. Look at the repository's volume on its host.",
            };
            StepError::permanent(error.to_string(), advice)
        }),
    }
}

/// The operation that took a backup.
pub fn taken_by(set: &BackupSet) -> Option<OperationId> {
    set.annotations.get(OPERATION).and_then(|id| OperationId::parse(id))
}

/// What was found out about one backup in this operation.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    pub label: String,
    pub at: DateTime<Utc>,
}

/// Writes the list of a repository in one transaction. What is known of a backup beside the repository's own word
/// stays; `verified` was read whole just now.
///
/// # Errors
/// When the store does not answer.
pub async fn keep(
    ctx: &StepContext,
    repository: &Repository,
    info: &StanzaInfo,
    verified: Option<&Verdict>,
) -> Result<(), StepError> {
    let known = ctx.services.store.protection(&ctx.server.id).await?.backups;
    let mut rows: Vec<Backup> = vec![];
    for set in &info.backups {
        let old =
            known.iter().find(|one| one.repository == repository.number && one.label == set.label);
        let row = row(ctx, repository, set, old, verified);
        let is_given_up = old.is_none() && was_given_up(ctx, &row).await?;
        rows.push(if is_given_up { Backup { failure: GIVEN_UP.into(), ..row } } else { row });
    }
    let oldest = rows.iter().map(|one| one.started_at).min();
    let mut tx = ctx.begin_write().await?;
    tx.replace_backups(&ctx.server.id, repository.number, &rows).await?;
    let (now, bytes) = (ctx.services.clock.now(), rows.iter().map(|one| one.stored_bytes).sum());
    tx.note_repository(&ctx.server.id, repository.number, now, bytes).await?;
    if let Some(oldest) = oldest {
        tx.prune_backup_gaps(&ctx.server.id, repository.number, oldest).await?;
    }
    ctx.commit(tx).await
}

const GIVEN_UP: &str = "The operation that took it did not succeed, so nothing vouches for it. It could not be removed because it was the only full backup then.";

/// Whether a backup that is in no list was left by an operation that ended otherwise than well.
async fn was_given_up(ctx: &StepContext, row: &Backup) -> Result<bool, StepError> {
    let Some(by) = row.operation_id.as_ref().filter(|by| **by != ctx.operation.id) else {
        return Ok(false);
    };
    let operation = ctx.services.store.operation(by).await?;
    Ok(operation.is_none_or(|operation| operation.status != OperationStatus::Succeeded))
}

fn row(
    ctx: &StepContext,
    repository: &Repository,
    set: &BackupSet,
    old: Option<&Backup>,
    verified: Option<&Verdict>,
) -> Backup {
    let by = taken_by(set);
    // A name is a promise to the person who gave it: what an operation left that was given up has none.
    let is_named = old.is_some() || by.as_ref() == Some(&ctx.operation.id);
    let name = set.annotations.get(NAME).filter(|_| is_named).cloned().unwrap_or_default();
    let now = verified.filter(|verdict| verdict.label == set.label).map(|verdict| verdict.at);
    let broken = "pgBackRest found pages with a wrong checksum while it copied.";
    let failure = match old {
        Some(old) if !old.failure.is_empty() && now.is_none() => old.failure.clone(),
        _ if set.has_errors => broken.into(),
        _ => String::new(),
    };
    Backup {
        repository: repository.number,
        label: set.label.clone(),
        kind: set.kind,
        name,
        started_at: set.started_at,
        ended_at: set.ended_at,
        bytes: set.bytes,
        stored_bytes: set.stored_bytes,
        wal: set.wal.clone(),
        lsn: set.lsn,
        based_on: set.based_on.clone(),
        verified_at: now.or(old.and_then(|old| old.verified_at)),
        failure,
        operation_id: by,
        copied_from: set.annotations.get(COPIED_FROM).and_then(|from| CopiedFrom::parse(from)),
    }
}
