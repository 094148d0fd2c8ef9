//! What the files of a member say of its pair: all of it follows from the row.

use super::{link, pair};
use crate::certificates::ClientCertificates;
use crate::domain::ha::{HighAvailability, MemberRole, WaitsFor};
use crate::domain::server::{Member, internal_name};
use crate::engine::FileSpec;
use crate::operations::access::{self, keep_secret, need_secret, open_secret, secret};
use crate::operations::context::StepContext;
use crate::operations::member;
use crate::operations::step::{Outcome, StepError};
use crate::postgres::Target;
use crate::postgres::conf::{self, Commits, Replication, ReplicationFiles, Source};
use crate::postgres::replication::REPLICATION_ROLE;
use crate::secrets::Secret;

/// Whom commits wait for, as the file says it.
pub fn commits(waits_for: WaitsFor) -> Commits {
    match waits_for {
        WaitsFor::NoOne => Commits::Alone,
        WaitsFor::Standby(name) => Commits::With(name),
        WaitsFor::Never => Commits::Never,
    }
}

/// What a member is in its pair, for its files.
///
/// # Errors
/// When the primary does not run, whose address a standby's file names.
pub async fn replication(
    ctx: &StepContext,
    row: Option<&HighAvailability>,
    member: &Member,
) -> Result<Replication, StepError> {
    let Some(row) = row else { return Ok(Replication::None) };
    if pair::role(row, member) == MemberRole::Primary {
        return Ok(Replication::Primary(commits(row.waits_for())));
    }
    let primary = ctx.members.iter().find(|other| Some(&other.id) == row.primary.as_ref());
    let primary = primary.ok_or_else(|| StepError::Transient("There is no primary.".into()))?;
    let Some(address) = access::address_of(ctx.engine(primary)?, primary).await? else {
        return Err(StepError::Transient("The primary does not run.".into()));
    };
    let promoted = commits(row.waits_for_alone());
    Ok(Replication::Standby {
        source: Source { name: internal_name(&ctx.server.id), address },
        slot: HighAvailability::standby_name(&member.id),
        promoted,
    })
}

/// Certificate and key of standbys with the root, for the files; nothing before they were issued.
///
/// # Errors
/// When the store does not answer.
pub async fn certificates(ctx: &StepContext) -> Result<Vec<FileSpec>, StepError> {
    let (services, id) = (&ctx.services, &ctx.server.id);
    let Some(key) = open_secret(services, id, secret::REPLICATION_KEY).await? else {
        return Ok(vec![]);
    };
    let certificate = need_secret(services, id, secret::REPLICATION_CERTIFICATE).await?;
    let tls = ReplicationFiles {
        root: &services.authority.certificate,
        certificate: certificate.reveal(),
        key: &key,
    };
    Ok(member::collect(conf::replication_files(&tls)))
}

/// The certificate by which standbys of the server read its log, made once and kept.
///
/// # Errors
/// When it cannot be made or kept.
pub async fn ensure_certificate(ctx: &StepContext) -> Result<(), StepError> {
    let (services, id) = (&ctx.services, &ctx.server.id);
    // Written in one transaction: when the key is there, all are.
    if open_secret(services, id, secret::REPLICATION_KEY).await?.is_some() {
        return Ok(());
    }
    let issued = ClientCertificates::issue(REPLICATION_ROLE, services.clock.now())
        .map_err(|error| StepError::permanent(error.to_string(), "Retry."))?;
    let parts = [
        (secret::REPLICATION_AUTHORITY, Secret::new(issued.authority)),
        (secret::REPLICATION_CERTIFICATE, Secret::new(issued.pair.certificate)),
        (secret::REPLICATION_KEY, issued.pair.key),
    ];
    let mut tx = ctx.begin_write().await?;
    for (name, value) in &parts {
        keep_secret(services, &mut tx, id, name, value, None).await?;
    }
    ctx.commit(tx).await
}

/// Writings in one call: the row changes a few times in seconds at most.
const WRITINGS: usize = 5;

/// Writes a member's files by a row, and again by the row that is there afterwards when that one asks for others: a rescue
/// runs beside the making of a standby, and the last file written must be that of the last row. Otherwise a file in
/// which commits wait for nobody could lie under a standby that counts, until a crash of PostgreSQL reads it (I2).
///
/// # Errors
/// When its engine does not take them.
pub async fn put(
    ctx: &StepContext,
    member: &Member,
    row: &HighAvailability,
) -> Result<(), StepError> {
    let on = ctx.on(member);
    let mut by = row.clone();
    for _ in 0..WRITINGS {
        let files = member::files_by(&on, &ctx.server, Some(&by)).await?;
        ctx.engine(member)?.put_files(&member.container(), &files).await?;
        let now = pair::fresh(ctx).await?;
        if says_the_same(&by, &now, member) {
            return Ok(());
        }
        by = now;
    }
    Err(StepError::Transient("The pair changes while its files are written.".into()))
}

/// Whether two rows ask for the same files of a member.
fn says_the_same(one: &HighAvailability, other: &HighAvailability, member: &Member) -> bool {
    let asks = |row: &HighAvailability| match pair::role(row, member) {
        MemberRole::Primary => (row.primary.clone(), row.waits_for()),
        MemberRole::Standby | MemberRole::Former => (row.primary.clone(), row.waits_for_alone()),
    };
    asks(one) == asks(other)
}

/// Has the primary run with the files that a row asks for: written, read, and confirmed by what is in force (D1, A2).
/// By SQL, because a signal tells nothing of what became of it.
///
/// # Errors
/// When engine or PostgreSQL refuse.
pub async fn enforce(
    ctx: &StepContext,
    row: &HighAvailability,
) -> Result<Result<(), Outcome>, StepError> {
    let primary = ctx.member()?;
    let Some(target) = link::target(ctx, primary).await? else {
        return Ok(Err(Outcome::Wait(super::SOON, "the primary does not run".into())));
    };
    put(ctx, primary, row).await?;
    read(ctx, &target, &commits(row.waits_for()).waits_for()).await
}

/// Has a standby run with what it must have when it is promoted (F9): written, read, and confirmed. One that does not
/// run reads its files when it starts.
///
/// # Errors
/// When engine or PostgreSQL refuse.
pub async fn tell(
    ctx: &StepContext,
    standby: &Member,
    row: &HighAvailability,
) -> Result<Result<(), Outcome>, StepError> {
    put(ctx, standby, row).await?;
    read_standby(ctx, standby, row).await
}

/// The same by a row that is about to be, which may only be stricter than the one that is: should it never come to be, a
/// promoted standby acknowledges too late and never too early. When the pair is another one afterwards, the files are by
/// that one again.
///
/// # Errors
/// When the pair changed meanwhile, or engine or PostgreSQL refuse.
pub async fn tell_ahead(
    ctx: &StepContext,
    standby: &Member,
    now: &HighAvailability,
    soon: &HighAvailability,
) -> Result<Result<(), Outcome>, StepError> {
    let files = member::files_by(&ctx.on(standby), &ctx.server, Some(soon)).await?;
    ctx.engine(standby)?.put_files(&standby.container(), &files).await?;
    let fresh = pair::fresh(ctx).await?;
    if fresh.version != now.version {
        put(ctx, standby, &fresh).await?;
        return Err(StepError::Transient("The pair was changed at the same moment.".into()));
    }
    read_standby(ctx, standby, soon).await
}

async fn read_standby(
    ctx: &StepContext,
    standby: &Member,
    row: &HighAvailability,
) -> Result<Result<(), Outcome>, StepError> {
    match link::target(ctx, standby).await? {
        Some(target) => read(ctx, &target, &commits(row.waits_for_alone()).waits_for()).await,
        None => Ok(Ok(())),
    }
}

/// Has PostgreSQL read its files, until it says that what is wanted is in force.
async fn read(
    ctx: &StepContext,
    target: &Target,
    wanted: &str,
) -> Result<Result<(), Outcome>, StepError> {
    let postgres = &ctx.services.postgres;
    if let Err(why) = link::unless_silent(postgres.reload(target).await)? {
        return Ok(Err(Outcome::Wait(super::SOON, why)));
    }
    link::until(|| {
        Box::pin(async move {
            Ok(link::unless_silent(postgres.standing(target).await)?.and_then(|standing| {
                match standing.waits_for == wanted {
                    true => Ok(()),
                    false => Err("PostgreSQL has not read its files yet".into()),
                }
            }))
        })
    })
    .await
}
