//! Create, update or drop an extension in a database. What PostgreSQL refuses changes nothing: each is one
//! transaction.

use super::context::StepContext;
use super::look;
use super::step::{Outcome, Step, StepError, Undo};
use crate::domain::extensions::{ExtensionAction, ExtensionChange};
use crate::postgres::PostgresError;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

const REMEMBER: &str = "remember_extension";

pub const STEPS: &[Step] = &[
    Step {
        name: REMEMBER,
        title: "Look at what is in the database",
        run: remember_extension,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "change_extension",
        title: "Change the extension",
        run: change_extension,
        undo: Undo::Run(as_before),
        deadline: Duration::from_secs(300),
        point_of_no_return: true,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// What was there before.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    was_there: bool,
}

fn asked(ctx: &StepContext) -> Result<ExtensionChange, StepError> {
    serde_json::from_value(ctx.operation.input.clone()).map_err(|_| {
        StepError::permanent("What was asked for cannot be read.", "Ask for it again on the page.")
    })
}

fn remember_extension(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let change = asked(ctx)?;
        let is_allowed = ctx.server.configuration.extensions.contains(&change.extension);
        if !is_allowed && change.action != ExtensionAction::Drop {
            return Err(StepError::permanent(
                format!("{} is not on the server's list of allowed extensions.", change.extension),
                "Allow it on the page Extensions, then try again.",
            ));
        }
        let target = look::target(ctx).await?;
        let installed = ctx.services.postgres.installed(&target, &change.database).await;
        let installed = installed.map_err(|error| explained(error, &change))?;
        let was_there = installed.iter().any(|one| one.name == change.extension);
        Ok(Outcome::Done(json!(Before { was_there })))
    })
}

fn change_extension(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let change = asked(ctx)?;
        apply(ctx, &change, change.action).await.map_err(|error| explained(error, &change))?;
        ctx.services.poke.monitor();
        Ok(Outcome::done())
    })
}

async fn apply(
    ctx: &StepContext,
    change: &ExtensionChange,
    action: ExtensionAction,
) -> Result<(), PostgresError> {
    let target =
        look::target(ctx).await.map_err(|error| PostgresError::Silent(error.to_string()))?;
    let (database, name) = (&change.database, &change.extension);
    ctx.services.postgres.change_extension(&target, database, name, action).await
}

fn explained(error: PostgresError, change: &ExtensionChange) -> StepError {
    let PostgresError::Refused(words) = error else { return error.into() };
    let advice = match change.action {
        ExtensionAction::Drop => {
            "Nothing was changed. Drop first what uses it, such as columns of its types; the portal never drops that by itself."
        }
        ExtensionAction::Create | ExtensionAction::Update => {
            "Nothing was changed in the database. Put right what the reason names, then try again."
        }
    };
    StepError::permanent(format!("{}: {words}", change.database), advice)
}

/// A new one goes again, a dropped one is created again; an update stays, as an older version cannot be had.
fn as_before(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (change, before): (_, Before) = (asked(ctx)?, ctx.output(REMEMBER)?);
        let back = match (change.action, before.was_there) {
            (ExtensionAction::Create, false) => ExtensionAction::Drop,
            (ExtensionAction::Drop, true) => ExtensionAction::Create,
            _ => return Ok(Outcome::done()),
        };
        apply(ctx, &change, back).await?;
        Ok(Outcome::done())
    })
}
