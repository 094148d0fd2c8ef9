//! A new configuration on a running server: the row, the files, and the signal to read them. Safe to
//! repeat. The way back is the same with the configuration of before, which a step of its own remembers
//! before anything is written, so that a rerun does not remember the new one.

use super::context::StepContext;
use super::member;
use super::pooler;
use super::step::{Outcome, StepError};
use crate::domain::configuration::Configuration;
use crate::domain::server::Server;
use serde_json::json;

/// Name of the step that remembers the configuration of before.
pub const REMEMBER: &str = "remember";

/// The step that remembers.
pub async fn remember(ctx: &StepContext) -> Result<Outcome, StepError> {
    Ok(Outcome::Done(json!(ctx.server.configuration)))
}

/// Writes a configuration into the row, renders every file from it, and lets PostgreSQL read them.
/// What needs a restart takes effect with the next one.
pub async fn install(ctx: &StepContext, configuration: &Configuration) -> Result<(), StepError> {
    let mut tx = ctx.begin_write().await?;
    tx.set_configuration(&ctx.server.id, configuration).await?;
    ctx.commit(tx).await?;
    let server = Server { configuration: configuration.clone(), ..ctx.server.clone() };
    put_files(ctx, &server).await
}

/// Brings back the configuration that [`remember`] kept; nothing where it never came to that.
pub async fn restore(ctx: &StepContext) -> Result<Outcome, StepError> {
    if ctx.outputs.contains_key(REMEMBER) {
        install(ctx, &ctx.output(REMEMBER)?).await?;
    }
    Ok(Outcome::done())
}

/// Renders the files of a server as given and tells a running PostgreSQL to read them.
pub async fn put_files(ctx: &StepContext, server: &Server) -> Result<(), StepError> {
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    let container = member.container();
    engine.put_files(&container, &member::files_of(ctx, server).await?).await?;
    let state = engine.container(&container).await?.map(|facts| facts.state);
    if state.as_deref() == Some("running") {
        engine.signal_container(&container, "SIGHUP").await?;
    }
    pooler::follow(ctx, server).await
}
