//! A new configuration on a running server: the row, the files, and the signal to read them. Safe to
//! repeat. The way back is the same with the configuration of before, which a step of its own remembers
//! before anything is written, so that a rerun does not remember the new one.

use super::context::StepContext;
use super::step::{Outcome, StepError};
use super::{member, pair, pooler};
use crate::domain::configuration::Configuration;
use crate::domain::ha::MemberRole;
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

/// The same while the primary does not run: its own files alone, because those of a standby name the address of a
/// primary that runs. Both get them with [`restore`], when it does again.
pub async fn restore_stopped(ctx: &StepContext) -> Result<(), StepError> {
    if ctx.ha.is_none() {
        return restore(ctx).await.map(|_| ());
    }
    if !ctx.outputs.contains_key(REMEMBER) {
        return Ok(());
    }
    let configuration: Configuration = ctx.output(REMEMBER)?;
    let mut tx = ctx.begin_write().await?;
    tx.set_configuration(&ctx.server.id, &configuration).await?;
    ctx.commit(tx).await?;
    put_on(ctx, &Server { configuration, ..ctx.server.clone() }).await
}

/// Renders the files of a server as given and tells a running PostgreSQL to read them: of a pair both, the standby
/// first, so that it never has less than its primary asks of it.
pub async fn put_files(ctx: &StepContext, server: &Server) -> Result<(), StepError> {
    for member in pair::standby_first(ctx) {
        let put = put_on(&ctx.on(member), server).await;
        match member.role {
            MemberRole::Standby => standby_left(ctx, put).await?,
            MemberRole::Primary | MemberRole::Former => put?,
        }
    }
    pooler::follow(ctx, server).await
}

async fn put_on(ctx: &StepContext, server: &Server) -> Result<(), StepError> {
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    let container = member.container();
    engine.put_files(&container, &member::files_of(ctx, server).await?).await?;
    let state = engine.container(&container).await?.map(|facts| facts.state);
    if state.as_deref() == Some("running") {
        engine.signal_container(&container, "SIGHUP").await?;
    }
    Ok(())
}

/// A standby that cannot be written to must not keep a change from its primary, unless it may take over: then it
/// would bring the old files with it. A standby that is lost stops counting by itself soon, and the step is tried again.
pub(super) async fn standby_left(
    ctx: &StepContext,
    put: Result<(), StepError>,
) -> Result<(), StepError> {
    let counts = ctx.ha.as_ref().is_some_and(|row| row.is_promotable);
    match put {
        Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
        Err(error) if counts => Err(StepError::Transient(format!(
            "The standby, which may take over, did not get its files: {error}"
        ))),
        Err(error) => {
            ctx.log(format!(
                "The standby was left as it is ({error}); it gets its files before it counts again"
            ))
            .await;
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
