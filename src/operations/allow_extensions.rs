//! Change the list of allowed extensions: who is no superuser may create what is on it, and what must be loaded at
//! the start of PostgreSQL is loaded with the next one.

use super::configure;
use super::context::StepContext;
use super::look;
use super::reconfigure::{self, CHECK, Checked, HOLD, OPEN, REMEMBER, START, STOP, WAIT};
use super::step::{Outcome, Step, StepError, Undo};
use crate::domain::configuration::Configuration;
use crate::domain::extensions::{self, AllowedChange};
use futures_util::future::BoxFuture;
use serde_json::json;
use std::time::Duration;

pub const STEPS: &[Step] = &[
    REMEMBER,
    Step {
        name: CHECK,
        title: "Check that the image has them",
        run: check_values,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "install_configuration",
        title: "Write the configuration and have it read",
        run: install_configuration,
        undo: Undo::Run(reconfigure::restore),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "see_taken",
        title: "See that PostgreSQL took the list",
        run: see_taken,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    HOLD,
    STOP,
    START,
    WAIT,
    OPEN,
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

fn asked(ctx: &StepContext) -> Result<AllowedChange, StepError> {
    serde_json::from_value(ctx.operation.input.clone()).map_err(|_| {
        StepError::permanent("What was asked for cannot be read.", "Ask for it again on the page.")
    })
}

fn check_values(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (change, target) = (asked(ctx)?, look::target(ctx).await?);
        let seen = ctx.services.postgres.extensions(&target).await?;
        let has = |name: &str| {
            name == extensions::AUTO_EXPLAIN || seen.available.iter().any(|one| one.name == name)
        };
        for name in &change.allowed {
            if !extensions::is_offered(name) || !has(name) {
                return Err(StepError::permanent(
                    format!("{name} cannot be allowed: it is not offered for this server."),
                    "The list is as it was before. Take it off the list.",
                ));
            }
        }
        let loaded_at = ctx.services.postgres.settings(&target).await?.loaded_at;
        Ok(Outcome::Done(json!(Checked { loaded_at })))
    })
}

fn install_configuration(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (change, before) = (asked(ctx)?, ctx.output::<Configuration>(configure::REMEMBER)?);
        let configuration = Configuration { extensions: change.allowed, ..before };
        configure::install(ctx, &configuration).await?;
        Ok(Outcome::done())
    })
}

fn see_taken(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(reconfigure::seen_taken(ctx, |_| true))
}
