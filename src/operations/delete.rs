//! Delete: the way in is closed, then container, volume and network go, then the server is forgotten.
//!
//! Until PostgreSQL is stopped everything can be taken back. From then on there is only forward, because
//! a removal that half happened cannot be undone: a host that is away parks the operation, and a retry
//! goes on where it stood. Deleting the volume looks again, in the same step, whether store and label
//! still say that it is this server's.

use super::context::StepContext;
use super::create;
use super::last_piece;
use super::member;
use super::pair_power;
use super::pooler;
use super::step::{Outcome, Step, StepError, Undo};
use super::stop;
use crate::domain::server::{Member, SettledState};
use crate::engine::{Engine, OwnedObject, label};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// Time that PostgreSQL has to end in an orderly way: until the next step this can still be taken back.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// Looks whether the last of the log is archived, and the time between two.
const ARCHIVE_LOOKS: u32 = 40;
const ARCHIVE_SOON: Duration = Duration::from_millis(500);

pub const STEPS: &[Step] = &[
    Step {
        name: "close_route",
        title: "Close the way in",
        run: stop::close_route,
        undo: Undo::Run(reopen_route),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "archive_last_piece",
        title: "Archive the last of the log",
        run: archive_last_piece,
        undo: Undo::None("the server only began its next piece a little earlier"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "stop_member",
        title: "Stop PostgreSQL",
        run: stop_member,
        undo: Undo::Run(start_again),
        deadline: Duration::from_secs(180),
        point_of_no_return: true,
    },
    Step {
        name: "remove_member",
        title: "Remove the container",
        run: remove_member,
        undo: Undo::None("it is past the point of no return"),
        deadline: Duration::from_secs(240),
        point_of_no_return: false,
    },
    Step {
        name: "remove_volume",
        title: "Delete the data volume",
        run: remove_volume,
        undo: Undo::None("deleted data cannot be brought back"),
        deadline: Duration::from_secs(240),
        point_of_no_return: false,
    },
    Step {
        name: "remove_network",
        title: "Remove the private network",
        run: create::remove_network,
        undo: Undo::None("it is past the point of no return"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

fn reopen_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        // A server that was not in service had no way in that was open: none is opened now.
        if ctx.server.settled != SettledState::Ready {
            return Ok(Outcome::done());
        }
        member::open_route(ctx).await
    })
}

/// What was committed last can be restored too while the backups are kept. A server or an archive that does not answer
/// is no reason to keep what shall go: the log says how far it can be restored.
fn archive_last_piece(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if ctx.services.store.repositories(&ctx.server.id).await?.is_empty() {
            ctx.log("There are no backups of it: nothing can be restored after the deletion").await;
            return Ok(Outcome::done());
        }
        match last_of_the_log(ctx).await {
            Ok(at) => {
                let mut tx = ctx.begin_write().await?;
                tx.raise_archived_until(&ctx.server.id, at).await?;
                ctx.commit(tx).await?;
                let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
                ctx.log(format!("Every commit before {at} is in the repository")).await;
            }
            Err(why) => {
                ctx.log(format!("The last of the log may be missing from the repository: {why}"))
                    .await;
            }
        }
        Ok(Outcome::done())
    })
}

async fn last_of_the_log(ctx: &StepContext) -> Result<DateTime<Utc>, String> {
    let (services, id) = (&ctx.services, &ctx.server.id);
    let ended = last_piece::end(services, id).await?;
    for _ in 0..ARCHIVE_LOOKS {
        if last_piece::is_archived(services, id, &ended).await? {
            return Ok(ended.at);
        }
        tokio::time::sleep(ARCHIVE_SOON).await;
    }
    Err("the archive did not take it in time".into())
}

/// A server whose creation was unwound has no container; one that somebody removed by hand neither.
fn stop_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(wait) = at_rest(ctx).await? {
            return Ok(wait);
        }
        for member in &ctx.members {
            let engine = ctx.engine(member)?;
            if engine.container(&member.container()).await?.is_some() {
                engine.stop_container(&member.container(), STOP_GRACE).await?;
            }
        }
        Ok(Outcome::done())
    })
}

/// Whom a pair waits for is no question any more when all of it goes.
async fn at_rest(ctx: &StepContext) -> Result<Option<Outcome>, StepError> {
    match pair_power::rest(ctx).await {
        Err(StepError::Permanent { .. }) => Ok(None),
        other => other,
    }
}

fn remove_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        for member in &ctx.members {
            let engine = ctx.engine(member)?;
            engine.remove_container(&member.init_container()).await?;
            engine.remove_container(&member.copy_container()).await?;
            engine.remove_container(&member.restore_container()).await?;
            engine.remove_container(&member.container()).await?;
            for left in left_over(engine, member).await? {
                engine.remove_container(&left).await?;
            }
            for helper in member.disk_helpers() {
                engine.remove_container(&helper).await?;
            }
        }
        pooler::remove(ctx).await?;
        Ok(Outcome::done())
    })
}

/// Containers of other generations: a scaling that was abandoned leaves one, and it would keep the volume in use.
async fn left_over(engine: &Arc<dyn Engine>, member: &Member) -> Result<Vec<String>, StepError> {
    let is_its = |object: &OwnedObject| {
        object.labels.get(label::MEMBER).is_some_and(|id| id == member.id.as_str())
    };
    let owned = engine.owned().await?.into_iter();
    let left = owned.filter(|object| object.kind == "container" && is_its(object));
    Ok(left.map(|object| object.name).collect())
}

/// Takes the stop back. What a person stopped stays stopped.
fn start_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if ctx.server.settled == SettledState::Stopped {
            return Ok(Outcome::done());
        }
        if ctx.ha.is_some() {
            return pair_again(ctx).await;
        }
        for member in &ctx.members {
            let engine = ctx.engine(member)?;
            if engine.container(&member.container()).await?.is_some() {
                engine.start_container(&member.container()).await?;
            }
        }
        Ok(Outcome::done())
    })
}

/// The primary alone is started here, and its standby behind the gate: never a member of before.
async fn pair_again(ctx: &StepContext) -> Result<Outcome, StepError> {
    pair_power::rise(ctx).await?;
    let member = ctx.member()?;
    if ctx.engine(member)?.container(&member.container()).await?.is_none() {
        return Ok(Outcome::done());
    }
    create::start_member(ctx).await?;
    stop::wait_accepting(ctx).await
}

fn remove_volume(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        // The context was loaded for this very call: the members are the store's word of now. The engine
        // refuses a volume whose label names another installation.
        for member in &ctx.members {
            let mut volumes = vec![member.volume()];
            // Behind what containers mount lies the volume with the disk's image file.
            volumes.extend(member.loop_minor().map(|_| member.disk_volume()));
            for volume in volumes {
                ctx.engine(member)?.remove_volume(&volume).await?;
                ctx.log(format!("Volume {volume} is deleted")).await;
            }
        }
        Ok(Outcome::done())
    })
}
