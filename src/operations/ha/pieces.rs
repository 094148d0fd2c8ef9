//! What a member is made of on its host, and its removal.

use crate::domain::server::Member;
use crate::engine::{Engine, EngineError, label};
use crate::operations::context::StepContext;
use crate::operations::networks;
use crate::operations::step::StepError;
use std::sync::Arc;
use std::time::Duration;

/// A member that is no primary loses nothing that counts when it is stopped quickly.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Where a stranger's object has the name, ours cannot be, and theirs is not ours to remove.
pub fn ours(removed: Result<(), EngineError>) -> Result<(), EngineError> {
    match removed {
        Err(EngineError::Foreign(_)) => Ok(()),
        other => other,
    }
}

/// Tries of an undo on a host that does not answer, before what is there is left to the next build.
pub const LEFT_AFTER: i64 = 3;

/// The end of an undo on a member's host. One that is lost for good must not hold the lane for ever: no other standby
/// could be made, nor could anything else be changed.
///
/// # Errors
/// While it is worth another try.
pub async fn or_leave(ctx: &StepContext, undone: Result<(), StepError>) -> Result<(), StepError> {
    match undone {
        Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
        Err(error) if ctx.operation.attempt >= LEFT_AFTER => {
            ctx.log(format!("What is on the host is left to the next build: {error}")).await;
            Ok(())
        }
        other => other,
    }
}

/// Removes every container of a member: of all generations, and its helpers.
///
/// # Errors
/// When the engine does not do it.
pub async fn remove_containers(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    let engine = ctx.engine(member)?;
    let mut names = vec![member.copy_container(), member.init_container(), member.container()];
    names.extend(member.disk_helpers());
    for object in engine.owned().await? {
        let is_its = object.labels.get(label::MEMBER).is_some_and(|id| id == member.id.as_str());
        if object.kind == "container" && is_its && !names.contains(&object.name) {
            names.push(object.name);
        }
    }
    for name in names {
        ours(engine.remove_container(&name).await)?;
    }
    Ok(())
}

/// Deletes the data of a member. Whoever calls has made sure, in the same step, that nothing counts on it.
///
/// # Errors
/// When the engine does not do it.
pub async fn remove_volumes(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    let engine = ctx.engine(member)?;
    // What is mounted goes before what it is mounted from.
    for volume in [member.volume(), member.disk_volume()] {
        ours(engine.remove_volume(&volume).await)?;
    }
    Ok(())
}

/// Removes the server's network from a member's host when no other member of it is there.
///
/// # Errors
/// When the engine does not do it.
pub async fn remove_network(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    let is_shared =
        ctx.members.iter().any(|other| other.id != member.id && other.host_id == member.host_id);
    if !is_shared {
        networks::remove_own(ctx, member).await?;
    }
    Ok(())
}

/// Stops a container that runs; one that is not there is stopped.
///
/// # Errors
/// When the engine does not do it.
pub async fn stop(engine: &Arc<dyn Engine>, member: &Member) -> Result<(), StepError> {
    let name = member.container();
    if engine.container(&name).await?.is_some() {
        engine.stop_container(&name, STOP_GRACE).await?;
    }
    Ok(())
}
