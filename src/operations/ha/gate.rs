//! The way in while a primary changes: held before, open after, and no gateway left that leads to the one of before (F4).

use super::{LOOK_EVERY, SOON};
use crate::domain::network::Access;
use crate::domain::route::RouteState;
use crate::domain::server::Member;
use crate::operations::access;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, StepError};
use crate::store::WriteTx;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// A gateway that said nothing for this long is not waited for: its process is gone.
const GATEWAY_GONE_AFTER: chrono::Duration = chrono::Duration::seconds(20);
/// After this a gateway that did not confirm is no longer waited for when the old primary does not run for certain.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(1);
/// One call waits so long before it gives its turn back.
const CALL: Duration = Duration::from_secs(5);

/// Holds new clients inside a transaction; connections of before are cut.
///
/// # Errors
/// When the store does not answer.
pub async fn hold(ctx: &StepContext, tx: &mut WriteTx) -> Result<(), StepError> {
    if ctx.server.spec.access == Access::Public {
        tx.set_route(&ctx.server.id, None, RouteState::Held).await?;
    }
    Ok(())
}

/// Lets clients in to an address inside a transaction.
///
/// # Errors
/// When the store does not answer.
pub async fn open(
    ctx: &StepContext,
    tx: &mut WriteTx,
    address: SocketAddr,
) -> Result<(), StepError> {
    let state = match ctx.server.spec.access {
        Access::Public => RouteState::Open,
        Access::Private => RouteState::Closed,
    };
    tx.set_route(&ctx.server.id, Some(address), state).await?;
    Ok(())
}

/// Address of a member that must run.
///
/// # Errors
/// Transient when it does not.
pub async fn address(ctx: &StepContext, member: &Member) -> Result<SocketAddr, StepError> {
    let none = || StepError::Transient(format!("{} has no address.", member.container()));
    access::address_of(ctx.engine(member)?, member).await?.ok_or_else(none)
}

/// Waits until every gateway that lives has applied `generation`: then none forwards a byte to a primary of before.
/// One that does not confirm is passed over only when the old primary does not run for certain, or when it has been
/// silent for so long that its process is gone.
///
/// # Errors
/// When the store does not answer.
pub async fn wait_applied(
    ctx: &StepContext,
    generation: i64,
    former: Option<&Member>,
) -> Result<Result<(), Outcome>, StepError> {
    let begun = Instant::now();
    loop {
        let behind = behind(ctx, generation).await?;
        let Some(first) = behind.first() else { return Ok(Ok(())) };
        if begun.elapsed() >= GATEWAY_PATIENCE && is_down(ctx, former).await {
            ctx.log(format!(
                "Gateway {first} does not confirm; the old primary does not run, so nothing can pass through it"
            ))
            .await;
            return Ok(Ok(()));
        }
        if begun.elapsed() >= CALL {
            return Ok(Err(Outcome::Wait(SOON, format!("gateway {first} does not confirm"))));
        }
        tokio::time::sleep(LOOK_EVERY / 4).await;
    }
}

async fn behind(ctx: &StepContext, generation: i64) -> Result<Vec<String>, StepError> {
    let now = ctx.services.clock.now();
    let gateways = ctx.services.store.gateways().await?;
    let is_behind = |seen: &crate::store::routes::GatewaySeen| {
        seen.generation < generation && now - seen.seen_at < GATEWAY_GONE_AFTER
    };
    Ok(gateways.into_iter().filter(is_behind).map(|seen| seen.id).collect())
}

/// Only the engine's word counts: what cannot be reached may well run (N5).
async fn is_down(ctx: &StepContext, former: Option<&Member>) -> bool {
    let Some(member) = former else { return false };
    let Ok(engine) = ctx.engine(member) else { return false };
    let name = member.container();
    let look = engine.container(&name);
    match tokio::time::timeout(Duration::from_millis(500), look).await {
        Ok(Ok(None)) => true,
        Ok(Ok(Some(facts))) => ["exited", "dead", "created"].contains(&facts.state.as_str()),
        _ => false,
    }
}
