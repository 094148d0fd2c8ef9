//! Restore: a new server from a backup of another one, living or deleted, and the log behind it. The source is only read:
//! at most its last piece of the log is ended and archived before.
//!
//! The steps are those of a creation with a backup in place of `initdb` ([`super::restore_data`]) and a recovery before
//! the first start ([`super::restore_recovery`]). Everything before `publish_route` is undone when a step fails for
//! good: no container, volume or network is left, and the server stays on record as Failed.

use super::backup::tool::{self, Place};
use super::backup::{keys, list, object_storage, repository};
use super::context::StepContext;
use super::restore_data::{remove_helper, restore_data};
use super::restore_recovery::{create_member, finish_recovery, wait_recovered};
use super::step::{Outcome, Step, StepError, Undo};
use super::{create, last_piece};
use crate::domain::backup::{Gap, Protection, Refused, Repository, RestoreTarget, choose};
use crate::domain::ids::ServerId;
use crate::domain::server::network_name;
use crate::postgres::pgbackrest::BackupSet;
use chrono::SecondsFormat;
use futures_util::future::BoxFuture;
use last_piece::Ended;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// What a restore is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {
    /// The server whose backup it is; it may be deleted.
    pub source: ServerId,
    pub source_name: String,
    /// Number of the repository.
    pub repository: i64,
    pub target: RestoreTarget,
    /// Label of the backup that a person chose.
    pub set: Option<String>,
}

/// What `choose_backup` hands on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub label: String,
    /// Bytes of the data directory then.
    pub bytes: u64,
}

/// Name of the step that chooses the backup.
pub const CHOOSE: &str = "choose_backup";
const CLOSE: &str = "close_piece";
/// Name of the step that reads what the repository holds.
pub const LOOK: &str = "look_at_archive";
/// How long a source may take to archive its last piece before the restore goes on without it.
const PIECE_WITHIN: chrono::Duration = chrono::Duration::seconds(120);
const SOON: Duration = Duration::from_secs(1);

pub const STEPS: &[Step] = &[
    step(CHOOSE, "Choose the backup to begin with", choose_backup, Undo::Run(close_record), 60),
    step(
        CLOSE,
        "End the piece of the log that is written now",
        close_piece,
        Undo::None("the source only began its next piece a little earlier"),
        120,
    ),
    step(
        "await_piece",
        "Wait until that piece is archived",
        await_piece,
        Undo::None("it only looks"),
        300,
    ),
    step(
        LOOK,
        "Look how far the log in the repository goes",
        look_at_archive,
        Undo::Run(remove_look),
        600,
    ),
    step(
        "reserve_placement",
        "Reserve a place on a host",
        create::reserve_placement,
        Undo::Run(create::release_placement),
        60,
    ),
    step(
        "ensure_image",
        "Have the PostgreSQL image ready",
        create::ensure_image,
        Undo::None("images are shared by all servers of a version"),
        3000,
    ),
    step(
        "issue_certificate",
        "Issue the server certificate",
        create::issue_certificate,
        Undo::None("kept sealed for a retry, deleted with the server"),
        60,
    ),
    step(
        "make_keys",
        "Make the keys for its own backups",
        make_keys,
        Undo::None("kept sealed for a retry, deleted with the server"),
        60,
    ),
    step(
        "enter_repository",
        "Let the new server read the source's part of the repository",
        enter_repository,
        Undo::Run(leave_repository),
        3000,
    ),
    step(
        "create_network",
        "Create the private network",
        create_network,
        Undo::Run(create::remove_network),
        120,
    ),
    step(
        "create_volume",
        "Create the data volume",
        create::create_volume,
        Undo::Run(create::remove_volume),
        120,
    ),
    step("restore_data", "Restore the backup", restore_data, Undo::Run(remove_helper), 43_200),
    step(
        "create_member",
        "Create the container and write its configuration",
        create_member,
        Undo::Run(create::remove_member),
        120,
    ),
    step(
        "start_member",
        "Start PostgreSQL",
        create::start_member,
        Undo::None("the undo of “create_member” removes the container, running or not"),
        120,
    ),
    step(
        "wait_recovered",
        "Replay the log",
        wait_recovered,
        Undo::None("the data are on the volume, which goes"),
        43_200,
    ),
    step(
        "finish_recovery",
        "Start it again as a server of its own",
        finish_recovery,
        Undo::None("the undo of “create_member” removes the container, running or not"),
        600,
    ),
    step(
        "wait_accepting",
        "Wait until it accepts connections",
        create::wait_accepting,
        Undo::None("it only looks"),
        600,
    ),
    step(
        "create_admin_role",
        "Give the administrator the new password",
        create::create_admin_role,
        Undo::None("the role is on the volume, which goes"),
        120,
    ),
    step(
        "leave_repository",
        "Close the source's part of the repository to it",
        leave_repository,
        Undo::None("a retry opens it again"),
        120,
    ),
    Step {
        point_of_no_return: true,
        ..step(
            "publish_route",
            "Open the way in",
            create::publish_route,
            Undo::Run(create::withdraw_route),
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

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// The repository that is restored from.
///
/// # Errors
/// When it is not on record any more.
pub(super) async fn source_repository(ctx: &StepContext) -> Result<Repository, StepError> {
    let input: Input = ctx.input()?;
    let all = ctx.services.store.repositories(&input.source).await?;
    let found = all.into_iter().find(|one| one.number == input.repository).ok_or_else(|| {
        StepError::permanent(
            format!("The backups of {} are gone.", input.source_name),
            "Nothing was made. Restore from another server.",
        )
    })?;
    Ok(match ctx.members.first() {
        Some(member) => object_storage::on_host(found, &member.host_id),
        None => object_storage::beside(&ctx.services, found, None).await?,
    })
}

/// Opens the record of the restore, by which the new server is let into the source's part of the repository.
fn choose_backup(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let input: Input = ctx.input()?;
        source_repository(ctx).await?;
        let protection = ctx.services.store.protection(&input.source).await?;
        let chosen = choose(&protection, input.repository, &input.target, input.set.as_deref());
        let chosen = chosen.map_err(unreachable)?;
        let mut tx = ctx.begin_write().await?;
        tx.reopen_origin(&ctx.server.id, &ctx.operation.id).await?;
        ctx.commit(tx).await?;
        ctx.log(format!("Backup {} of {}", chosen.label, input.source_name)).await;
        Ok(Outcome::Done(json!(Plan { label: chosen.label, bytes: chosen.bytes })))
    })
}

fn unreachable(refused: Refused) -> StepError {
    let advice = match refused.nearest {
        Some(at) => format!(
            "Delete the new server and restore to a moment that can be reached, such as {}.",
            at.to_rfc3339_opts(SecondsFormat::Secs, true)
        ),
        None => "Delete the new server; restore when there is a backup.".into(),
    };
    StepError::permanent(refused.reason, advice)
}

fn close_record(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let mut tx = ctx.begin_write().await?;
        tx.close_origin(&ctx.server.id).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

/// So that the latest moment is now, and a moment has a commit behind it at which the recovery stops. Where the source
/// does not answer, what its archive has is restored: a restore is needed most where the source is gone.
fn close_piece(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let input: Input = ctx.input()?;
        if !matches!(input.target, RestoreTarget::Latest | RestoreTarget::Moment { .. }) {
            ctx.log("Not needed for this target").await;
            return Ok(Outcome::Done(json!(None::<Ended>)));
        }
        let ended = match last_piece::end(&ctx.services, &input.source).await {
            Ok(ended) => Some(ended),
            Err(why) => {
                ctx.log(format!(
                    "{} is restored to what its archive has: {why}",
                    input.source_name
                ))
                .await;
                None
            }
        };
        Ok(Outcome::Done(json!(ended)))
    })
}

fn await_piece(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (input, ended): (Input, Option<Ended>) = (ctx.input()?, ctx.output(CLOSE)?);
        let Some(ended) = ended else { return Ok(Outcome::done()) };
        let why = match last_piece::is_archived(&ctx.services, &input.source, &ended).await {
            Ok(true) => {
                let at = ended.at.to_rfc3339_opts(SecondsFormat::Micros, true);
                ctx.log(format!("Every commit before {at} is in the archive")).await;
                return Ok(Outcome::done());
            }
            Ok(false) => "the archive has not taken it yet".to_owned(),
            Err(why) => why,
        };
        if !is_late(ctx).await? {
            return Ok(Outcome::Wait(SOON, why));
        }
        ctx.log(format!("{} is restored to what its archive has: {why}", input.source_name)).await;
        Ok(Outcome::done())
    })
}

async fn is_late(ctx: &StepContext) -> Result<bool, StepError> {
    let steps = ctx.services.store.operation_steps(&ctx.operation.id).await?;
    let begun = steps.iter().find(|step| step.name == ctx.step).and_then(|step| step.started_at);
    Ok(begun.is_some_and(|begun| ctx.services.clock.now() - begun > PIECE_WITHIN))
}

/// What `look_at_archive` hands on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Archived {
    /// Name of the last piece of the log; `None` where there is none.
    pub last: Option<String>,
    /// Whether a piece behind the backup is known to be missing: then the log ends there.
    pub has_gap: bool,
}

/// The recovery must come to the last piece that the repository holds now. PostgreSQL itself takes a piece that it
/// cannot read for the end of the log.
fn look_at_archive(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (input, plan): (Input, Plan) = (ctx.input()?, ctx.output(CHOOSE)?);
        let from = source_repository(ctx).await?;
        let info = match list::read(ctx, look_place(ctx), &from, "look").await? {
            Ok(info) => info,
            Err(why) => return Ok(Outcome::Wait(SOON, why)),
        };
        tool::remove(&ctx.services, &look_place(ctx), &from.host_id).await?;
        let Some(set) = info.backups.iter().find(|set| set.label == plan.label) else {
            return Err(StepError::permanent(
                format!("The repository has no backup {} any more.", plan.label),
                "Nothing was made. Retry: another backup is chosen then.",
            ));
        };
        let protection = ctx.services.store.protection(&input.source).await?;
        check_own(&protection, input.repository, set)?;
        let gaps = protection.gaps;
        let is_behind = |gap: &Gap| {
            gap.repository == input.repository
                && gap.ended_at.is_none_or(|end| end > set.started_at)
        };
        let last = info.wal.map(|(_, last)| last);
        let has_gap = gaps.iter().any(is_behind);
        let shown = last.as_deref().unwrap_or("none");
        ctx.log(format!("Last WAL file in the repository: {shown}")).await;
        Ok(Outcome::Done(json!(Archived { last, has_gap })))
    })
}

/// Labels are seconds: two servers can have the same one. The operation that took a backup is written into it.
fn check_own(protection: &Protection, number: i64, set: &BackupSet) -> Result<(), StepError> {
    let known = protection
        .backups
        .iter()
        .find(|one| one.repository == number && one.label == set.label)
        .and_then(|one| one.operation_id.as_ref());
    if known.is_none() || known == list::taken_by(set).as_ref() {
        return Ok(());
    }
    Err(StepError::permanent(
        format!(
            "The backup {} in the repository is not the one on record: it may be of another server.",
            set.label
        ),
        "Nothing was made. If the portal's own store was put back or changed, put a newer copy of it back; otherwise restore from another backup.",
    ))
}

fn look_place(ctx: &StepContext) -> Place<'static> {
    Place::Apart(format!("pgflex-{}-look", ctx.server.id.short()))
}

fn remove_look(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        // Without the record nobody knows on which host it would be; then nothing was begun either.
        if let Ok(from) = source_repository(ctx).await {
            tool::remove(&ctx.services, &look_place(ctx), &from.host_id).await?;
        }
        Ok(Outcome::done())
    })
}

fn make_keys(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        keys::ensure(ctx).await?;
        Ok(Outcome::done())
    })
}

/// A member that could not reach the repository is known before anything of it is made.
fn enter_repository(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let from = source_repository(ctx).await?;
        repository::reach_of(&ctx.services, &from, ctx.member()?).await.map_err(|why| {
            StepError::permanent(
                why,
                "Restore into the zone of the repository, or give both hosts a member address.",
            )
        })?;
        repository::ensure(&ctx.services, &from.host_id, from.major).await
    })
}

/// Closes the record and tells the server of the repository. One that cannot be told now is told with its next
/// writing: the record is what counts.
fn leave_repository(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let mut tx = ctx.begin_write().await?;
        tx.close_origin(&ctx.server.id).await?;
        ctx.commit(tx).await?;
        let told = async {
            let from = source_repository(ctx).await?;
            repository::let_in(&ctx.services, &from.host_id, from.major).await
        };
        match told.await {
            Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
            Err(error) => {
                ctx.log(format!("The repository closes its door later: {error}")).await;
                Ok(Outcome::done())
            }
            Ok(()) => Ok(Outcome::done()),
        }
    })
}

/// With the repository in it, where it is on the same host.
fn create_network(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        super::networks::ensure(ctx).await?;
        let (from, member) = (source_repository(ctx).await?, ctx.member()?);
        if repository::shares_network(&ctx.services, &from.host_id, member).await? {
            let network = network_name(&ctx.server.id);
            repository::enter(&ctx.services, &from.host_id, from.major, &network).await?;
        }
        Ok(Outcome::done())
    })
}
