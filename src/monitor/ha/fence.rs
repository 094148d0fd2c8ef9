//! A primary of before that runs again is stopped.
//!
//! Like the credits, this changes a host without an operation: an operation would hold the lane of rescue while the pair may
//! need it, and there is nothing to choose. It stays harmless because of three things: only a member is touched that the
//! row names neither primary nor standby, read again right before; only while nothing is under way in the lanes that
//! make members what they are; and what is done is to stop a container, whose volume stays as it is. No commit depends on it:
//! since the promotion such a primary gets no acknowledgement (F6), and the gateway does not lead to it (F4).

use super::eye::Look;
use super::pair::{self, Pair};
use crate::domain::ha::MemberRole;
use crate::domain::operation::Lane;
use crate::domain::server::Member;
use crate::engine::{Engine, EngineError};
use crate::monitor::events::Ring;
use crate::operations::access;
use crate::operations::context::Services;
use crate::store::ha::HaEvent;
use crate::store::{Record, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// A question to an engine or a member.
const ASK: Duration = Duration::from_secs(2);
/// Wait for the end of a container that was killed.
const END: Duration = Duration::from_secs(10);

/// Looks at the members of before, at every event of their hosts and now and then, until the pair ends.
pub async fn follow(look: Look, mut pairs: watch::Receiver<Arc<Pair>>) {
    let mut rings = look.bell.listen();
    loop {
        let pair = pairs.borrow_and_update().clone();
        for member in pair.former() {
            if let Err(error) = tend(&look.services, &pair, member).await {
                tracing::warn!(member.id = %member.id, error, "a primary of before was not stopped; the next look tries again");
            }
        }
        let again = tokio::time::sleep(look.pace.engine_every);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                changed = pairs.changed() => match changed {
                    Err(_) => return,
                    Ok(()) if members_changed(&pair, &pairs.borrow()) => break,
                    Ok(()) => {}
                },
                ring = rings.recv() => match ring {
                    Ok(Ring::Of(_, event)) if !is_former(&pair, &event.container) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                    Ok(_) | Err(_) => break,
                },
            }
        }
    }
}

fn members_changed(before: &Pair, now: &Pair) -> bool {
    before.members != now.members || before.active != now.active
}

fn is_former(pair: &Pair, container: &str) -> bool {
    pair.former().any(|member| member.container() == container)
}

async fn tend(services: &Arc<Services>, pair: &Pair, member: &Member) -> Result<(), String> {
    // These lanes make members what they are; what they leave is looked at when they have ended.
    if pair.is_busy(Lane::Rescue) || pair.is_busy(Lane::Change) {
        return Ok(());
    }
    let Some(engine) = services.engines.get(&member.host_id) else { return Ok(()) };
    let Ok(Ok(Some(facts))) = timeout(ASK, engine.container(&member.container())).await else {
        return Ok(());
    };
    if facts.state != "running" || is_in_recovery(services, &engine, member).await {
        return Ok(());
    }
    if !is_still_former(services, member).await.map_err(|error| error.to_string())? {
        return Ok(());
    }
    stop(&engine, member).await.map_err(|error| error.to_string())?;
    tracing::warn!(server.id = %member.server_id, member.id = %member.id, "a primary of before ran again; it was stopped");
    tell(services, pair, member).await.map_err(|error| error.to_string())
}

/// A standby of before harms nobody: it takes no writes. What does not answer may be a primary that starts.
async fn is_in_recovery(services: &Services, engine: &Arc<dyn Engine>, member: &Member) -> bool {
    let asked = async {
        let address = access::address_of(engine, member).await.ok()??;
        let server = services.store.server(&member.server_id).await.ok()??;
        let target = access::target(services, &server, address).await.ok()?;
        services.postgres.standing(&target).await.ok()
    };
    let standing = timeout(ASK, asked).await.ok().flatten();
    standing.is_some_and(|standing| standing.in_recovery)
}

async fn is_still_former(services: &Services, member: &Member) -> Result<bool, StoreError> {
    let found = pair::one(&services.store, &member.server_id, services.clock.now()).await?;
    Ok(found.is_some_and(|pair| {
        let is_named = [&pair.row.primary, &pair.row.standby].contains(&&Some(member.id.clone()));
        let is_on_record = pair.members.iter().any(|one| {
            one.id == member.id && one.role == MemberRole::Former && one.host_id == member.host_id
        });
        let is_busy = pair.is_busy(Lane::Rescue) || pair.is_busy(Lane::Change);
        !is_named && is_on_record && !is_busy
    }))
}

/// Killed, not asked: an orderly end would go on serving for as long as its sessions take.
async fn stop(engine: &Arc<dyn Engine>, member: &Member) -> Result<(), EngineError> {
    let name = member.container();
    engine.set_restart(&name, false).await?;
    engine.signal_container(&name, "SIGKILL").await?;
    match engine.wait_exit(&name, END).await? {
        Some(_) => Ok(()),
        None => Err(EngineError::Silent(format!("{name} does not end"))),
    }
}

async fn tell(services: &Services, pair: &Pair, member: &Member) -> Result<(), StoreError> {
    let now = services.clock.now();
    let mut tx = services.store.begin_write(now).await?;
    let event = HaEvent {
        at: now,
        epoch: pair.row.epoch,
        kind: "fenced".into(),
        detail: format!(
            "The primary of before, container {}, ran again. It was stopped: nothing on it counts.",
            member.container()
        ),
        operation_id: None,
    };
    tx.insert_ha_event(&member.server_id, &event).await?;
    tx.commit(Record::Nothing("a line of the pair's story; nobody asked for it")).await
}
