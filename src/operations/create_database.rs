//! Create database: made empty under a name of the operation's own that nobody can connect to, then
//! named and opened in one transaction.
//!
//! `CREATE DATABASE` itself can be neither part of a transaction nor marked as ours. The staging name is that
//! mark: what bears it was made here, may be made again, and may be dropped. From the naming on, the
//! database's number tells it from any other of the same name.

use super::access;
use super::context::StepContext;
use super::step::{Outcome, Step, StepError, Undo};
use crate::domain::database::{Collation, NewDatabase};
use crate::domain::version::Major;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: "check_name",
        title: "See that the name is free",
        run: check_name,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "make_database",
        title: "Make an empty database",
        run: make_database,
        undo: Undo::Run(drop_made),
        deadline: Duration::from_secs(180),
        point_of_no_return: false,
    },
    Step {
        name: "open_database",
        title: "Name it and let connections in",
        run: open_database,
        undo: Undo::Run(withdraw_database),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
    Step {
        name: "reach_by_pooler",
        title: "Let PgBouncer reach it",
        run: reach_by_pooler,
        undo: Undo::None("it is past the point of no return"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// What `make_database` hands on.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    oid: u32,
}

fn staging(ctx: &StepContext) -> String {
    format!("pgflex_new_{}", ctx.operation.id.as_str().replace('-', ""))
}

fn collation(new: &NewDatabase) -> Result<&'static Collation, StepError> {
    Collation::by_key(&new.collation).ok_or_else(|| {
        StepError::permanent(
            format!("The collation {} is not on offer.", new.collation),
            "Create the database again with a collation from the list.",
        )
    })
}

fn check_name(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let new: NewDatabase = ctx.input()?;
        collation(&new)?;
        let target = access::member_target(ctx).await?;
        match ctx.services.postgres.find_database(&target, new.name.as_str()).await? {
            None => Ok(Outcome::done()),
            Some(_) => Err(StepError::permanent(
                format!("The database “{}” exists already. Nothing was changed.", new.name),
                "Choose another name, or use the database that is there.",
            )),
        }
    })
}

fn make_database(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let new: NewDatabase = ctx.input()?;
        let provider = collation(&new)?.provider(ctx.server.spec.major);
        let target = access::member_target(ctx).await?;
        let owner = &ctx.server.spec.admin_login;
        let postgres = &ctx.services.postgres;
        let oid = postgres.stage_database(&target, &staging(ctx), owner, provider).await?;
        Ok(Outcome::Done(json!(Made { oid })))
    })
}

fn drop_made(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let target = access::member_target(ctx).await?;
        let postgres = &ctx.services.postgres;
        if let Some(found) = postgres.find_database(&target, &staging(ctx)).await? {
            postgres.drop_database(&target, found.oid).await?;
        }
        Ok(Outcome::done())
    })
}

fn open_database(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let new: NewDatabase = ctx.input()?;
        let made: Made = ctx.output("make_database")?;
        let target = access::member_target(ctx).await?;
        ctx.services.postgres.publish_database(&target, made.oid, &new.name).await?;
        ctx.log(format!("Database “{}”, collation {}", new.name, new.collation)).await;
        Ok(Outcome::done())
    })
}

/// A database that somebody has used in the meantime stays: it may hold data.
fn withdraw_database(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let made: Made = ctx.output("make_database")?;
        let target = access::member_target(ctx).await?;
        let postgres = &ctx.services.postgres;
        if !postgres.withdraw_database(&target, made.oid, &staging(ctx)).await? {
            ctx.log("Somebody has connected to the new database already: it stays.").await;
        }
        Ok(Outcome::done())
    })
}

/// The PgBouncer of major 15 asks for verifiers in the client's own database.
fn reach_by_pooler(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if ctx.server.spec.major == Major::V15 && ctx.server.configuration.pooler.enabled {
            let new: NewDatabase = ctx.input()?;
            let target = access::member_target(ctx).await?;
            let postgres = &ctx.services.postgres;
            postgres.ensure_pooler_access_in(&target, new.name.as_str()).await?;
        }
        Ok(Outcome::done())
    })
}
