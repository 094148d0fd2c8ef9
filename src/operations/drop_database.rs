//! Drop database: closed to new sessions and emptied of those that are there, which can be taken back;
//! then dropped, which cannot. The number found at the start is what is dropped, not whatever has the name later.

use super::access;
use super::context::StepContext;
use super::step::{Outcome, Step, StepError, Undo};
use crate::domain::database::{OldDatabase, SYSTEM_DATABASES};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: "remember",
        title: "Find the database",
        run: find_database,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "close_database",
        title: "Let nobody in and end its sessions",
        run: close_database,
        undo: Undo::Run(reopen_database),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
    Step {
        name: "drop_database",
        title: "Drop it with its data",
        run: drop_database,
        undo: Undo::None("deleted data cannot be brought back"),
        deadline: Duration::from_secs(180),
        point_of_no_return: false,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// What `remember` hands on.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    oid: u32,
    allowed_connections: bool,
}

fn find_database(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let name = ctx.input::<OldDatabase>()?.name;
        let target = access::member_target(ctx).await?;
        let Some(found) = ctx.services.postgres.find_database(&target, &name).await? else {
            return Err(StepError::permanent(
                format!("There is no database “{name}”. Nothing was changed."),
                "It was dropped or renamed meanwhile. Look at the page Databases.",
            ));
        };
        if found.is_template || SYSTEM_DATABASES.contains(&name.as_str()) {
            return Err(StepError::permanent(
                format!("“{name}” is a system database or a template. Nothing was changed."),
                "System databases stay. For a template of your own, first run ALTER DATABASE … IS_TEMPLATE false.",
            ));
        }
        if let Some(reasons) = found.blocked_by {
            return Err(StepError::permanent(
                format!(
                    "PostgreSQL would not drop “{name}”: it has {reasons}. Nothing was changed."
                ),
                "Drop or end these by SQL first, then drop the database again.",
            ));
        }
        let (oid, allowed_connections) = (found.oid, found.allows_connections);
        Ok(Outcome::Done(json!(Found { oid, allowed_connections })))
    })
}

fn close_database(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let found: Found = ctx.output("remember")?;
        let target = access::member_target(ctx).await?;
        let ended = ctx.services.postgres.close_database(&target, found.oid).await?;
        ctx.log(format!("Sessions ended: {ended}")).await;
        Ok(Outcome::done())
    })
}

fn reopen_database(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let found: Found = ctx.output("remember")?;
        if found.allowed_connections {
            let target = access::member_target(ctx).await?;
            ctx.services.postgres.reopen_database(&target, found.oid).await?;
        }
        Ok(Outcome::done())
    })
}

fn drop_database(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (found, old): (Found, OldDatabase) = (ctx.output("remember")?, ctx.input()?);
        let target = access::member_target(ctx).await?;
        ctx.services.postgres.drop_database(&target, found.oid).await?;
        ctx.log(format!("Database “{}” is dropped", old.name)).await;
        Ok(Outcome::done())
    })
}
