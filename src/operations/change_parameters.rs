//! Change server parameters: checked against the running server, written, seen to be taken; with a restart when
//! that was asked for. A value that PostgreSQL refuses, or with which it does not start, is taken back.

use super::configure;
use super::context::StepContext;
use super::look;
use super::reconfigure::{self, CHECK, Checked, HOLD, OPEN, REMEMBER, START, STOP, WAIT};
use super::step::{Outcome, Step, StepError, Undo};
use crate::domain::configuration::Configuration;
use crate::domain::parameters::cross::Wanted;
use crate::domain::parameters::{Catalogue, Context, Kind, ParameterChange};
use crate::postgres::PostgresError;
use crate::postgres::parameters::SettingsLook;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::time::Duration;

pub const STEPS: &[Step] = &[
    REMEMBER,
    Step {
        name: CHECK,
        title: "Check the values with the running server",
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
        title: "See that PostgreSQL took the values",
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

fn asked(ctx: &StepContext) -> Result<ParameterChange, StepError> {
    serde_json::from_value(ctx.operation.input.clone()).map_err(|_| {
        StepError::permanent("What was asked for cannot be read.", "Ask for it again on the page.")
    })
}

fn check_values(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (change, target) = (asked(ctx)?, look::target(ctx).await?);
        let seen = ctx.services.postgres.settings(&target).await?;
        let loaded_at = seen.loaded_at;
        let catalogue = look::catalogue(&ctx.server, seen.parameters);
        check_pure(ctx, &catalogue, &change)?;
        let tried: Vec<(String, String)> = change
            .set
            .iter()
            .filter(|(name, _)| {
                catalogue.find(name).is_some_and(|one| one.context == Context::Session)
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        match ctx.services.postgres.try_settings(&target, &tried).await {
            Err(PostgresError::Refused(words)) => Err(refused(words)),
            other => {
                other?;
                Ok(Outcome::Done(json!(Checked { loaded_at })))
            }
        }
    })
}

fn refused(words: impl Into<String>) -> StepError {
    let advice = "Nothing was changed. Choose another value.";
    StepError::permanent(format!("PostgreSQL refused a value: {}", words.into()), advice)
}

/// The rules once more, with what the server says now: the page may have been made from an older look.
fn check_pure(
    ctx: &StepContext,
    catalogue: &Catalogue,
    change: &ParameterChange,
) -> Result<(), StepError> {
    let no = |name: &str, why: String| {
        StepError::permanent(format!("{name}: {why}"), "Nothing was changed. Choose another value.")
    };
    for (name, value) in &change.set {
        let Some(parameter) = catalogue.find(name) else {
            return Err(no(name, "This server has no such parameter.".into()));
        };
        parameter.read(value).map_err(|fault| no(name, fault.to_string()))?;
    }
    let set = change.applied_to(&ctx.server.configuration.parameters);
    let (sku, has_ha) = (ctx.server.spec.sku(), ctx.ha.is_some());
    let wanted = Wanted { catalogue, sku, set: &set, has_ha };
    match wanted.check(&change.names()).faults.into_iter().next() {
        Some((name, fault)) => Err(no(name, fault.to_string())),
        None => Ok(()),
    }
}

fn install_configuration(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (change, before) = (asked(ctx)?, ctx.output::<Configuration>(configure::REMEMBER)?);
        let parameters = change.applied_to(&before.parameters);
        configure::install(ctx, &Configuration { parameters, ..before }).await?;
        for (name, value) in &change.set {
            ctx.log(format!("{name} = {value}")).await;
        }
        for name in &change.reset {
            ctx.log(format!("{name} back to its default")).await;
        }
        Ok(Outcome::done())
    })
}

fn see_taken(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let change = asked(ctx)?;
        reconfigure::seen_taken(ctx, |seen| is_taken(seen, &change)).await
    })
}

/// Each has its new value, or waits for a restart. Texts may be written in another way by PostgreSQL.
fn is_taken(seen: &SettingsLook, change: &ParameterChange) -> bool {
    change.set.iter().all(|(name, value)| {
        let found = seen.parameters.iter().find(|one| &one.name == name);
        found.is_some_and(|one| one.value == *value || one.is_pending || one.kind == Kind::Text)
    })
}
