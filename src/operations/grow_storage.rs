//! Grow storage: the host promises the larger size, image file, device and file system grow while PostgreSQL
//! works, then the size is counted and the values that follow it are read again.
//!
//! A file system cannot shrink. So a growth that fails half way is taken back on record only: what is larger than
//! the server says takes no space of the host, and the next growth finds it.

use super::configure;
use super::context::StepContext;
use super::disk;
use super::step::{Outcome, Step, StepError, Undo};
use super::{member, pair};
use crate::domain::catalog::StorageSize;
use crate::domain::meter::Meter;
use crate::domain::placement::storage_reason_members;
use crate::domain::server::{Member, Server};
use crate::domain::storage::Growth;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: "remember_size",
        title: "Remember the size of before",
        run: remember_size,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "reserve_storage",
        title: "Reserve the storage on the host",
        run: reserve_storage,
        undo: Undo::Run(release_storage),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "grow_disk",
        title: "Grow disk and file system",
        run: grow_disk,
        undo: Undo::None(
            "a file system cannot shrink; larger than the server says, it takes no space of the host",
        ),
        deadline: Duration::from_secs(180),
        point_of_no_return: true,
    },
    Step {
        name: "count_storage",
        title: "Count the new size",
        run: count_storage,
        undo: Undo::None("it is past the point of no return"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "adapt_configuration",
        title: "Adapt what follows the size",
        run: adapt_configuration,
        undo: Undo::None("it is past the point of no return"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

#[derive(Debug, Serialize, Deserialize)]
struct Before {
    gib: u32,
}

fn target(ctx: &StepContext) -> Result<&'static StorageSize, StepError> {
    let input: Option<Growth> = serde_json::from_value(ctx.operation.input.clone()).ok();
    input.and_then(|input| StorageSize::by_gib(input.to_gib)).ok_or_else(|| {
        StepError::permanent(
            "The new size is no standard size.",
            "Choose one of the sizes offered.",
        )
    })
}

fn remember_size(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (gib, to) = (ctx.server.spec.storage_gib, target(ctx)?);
        if to.gib <= gib {
            return Err(StepError::permanent(
                format!("The storage has {gib} GiB already; it can only grow."),
                "Choose a larger size.",
            ));
        }
        Ok(Outcome::Done(json!(Before { gib })))
    })
}

/// The size on record is what the host has promised, so a rerun finds its own promise.
fn reserve_storage(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (to, before) = (target(ctx)?, ctx.output::<Before>("remember_size")?);
        if ctx.server.spec.storage_gib == to.gib {
            return Ok(Outcome::done());
        }
        let policy = &ctx.services.settings.overcommit;
        let mut tx = ctx.begin_write().await?;
        tx.lock_placement().await?;
        let loads = tx.host_loads().await?;
        let why = pair::hosts(ctx).into_iter().find_map(|(host, members)| {
            match loads.iter().find(|load| load.host.id == host) {
                None => Some("The host is not in the configuration.".to_owned()),
                Some(load) => storage_reason_members(load, members, before.gib, to, policy),
            }
        });
        if let Some(why) = why {
            return Err(StepError::permanent(
                format!("The host cannot hold {}: {why}", to.label()),
                "Choose a smaller size, or free storage on the host, then retry.",
            ));
        }
        tx.set_storage_gib(&ctx.server.id, to.gib).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

fn release_storage(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if ctx.outputs.contains_key("remember_size") {
            let before: Before = ctx.output("remember_size")?;
            let mut tx = ctx.begin_write().await?;
            tx.set_storage_gib(&ctx.server.id, before.gib).await?;
            ctx.commit(tx).await?;
        }
        Ok(Outcome::done())
    })
}

/// The standby first: a primary may write what its standby must have room for.
fn grow_disk(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        for member in pair::standby_first(ctx) {
            grow_one(&ctx.on(member), member).await?;
        }
        Ok(Outcome::done())
    })
}

async fn grow_one(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    let Some(spec) = member::disk(ctx, member) else {
        ctx.log("A plain volume: there is no file system to grow").await;
        return Ok(());
    };
    disk::ensure(ctx).await?;
    ctx.engine(member)?.grow_disk(&spec).await?;
    let gib = ctx.server.spec.storage_gib;
    let whom = pair::of_whom(ctx, member);
    ctx.log(format!("The file system{whom} has {gib} GiB")).await;
    Ok(())
}

fn count_storage(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let gib = target(ctx)?.gib.to_string();
        let mut tx = ctx.begin_write().await?;
        tx.set_member_meter(&ctx.server.id, Meter::Storage, &gib).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

/// Limits of the write-ahead log follow the size; PostgreSQL reads them without a restart.
fn adapt_configuration(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let server: &Server = &ctx.server;
        configure::put_files(ctx, server).await?;
        Ok(Outcome::done())
    })
}
