//! CPU credits: once a minute the CPU that each burstable server used is read, its credits are counted,
//! and a server without any is held to its baseline by the CPU limit of its container.
//!
//! This is the one thing that the monitor does to a host without an operation. An operation would be a line
//! in the activity log and hold the server's lane against people, several times an hour, for a value that follows
//! from a number by a rule. It stays harmless because of three things: only servers are touched on which nothing
//! is under way and that nobody touched since before the look; only the CPU limit is written, and only when the
//! container has the other of the two limits that its size knows; and every operation that writes limits takes
//! them from the same rule, with what is on record here. A limit that somebody else set is left for
//! those who look for drift.

use crate::domain::catalog::Sku;
use crate::domain::credits::{
    Balance, CREDITS_CONSUMED, CREDITS_REMAINING, Reading, burst_of, effective_vcores,
};
use crate::domain::server::{Member, Server, SettledState};
use crate::engine::{ContainerFacts, Limits};
use crate::operations::context::Services;
use crate::store::credits::{CreditRow, Sample};
use crate::store::{Record, StoreError};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::Arc;

/// Containers read at the same time.
const READ_AT_ONCE: usize = 8;
/// Two CPU limits closer than this are one.
const SAME_VCORES: f64 = 0.005;

/// One burstable server, as seen now.
struct Seen {
    member: Member,
    server: Server,
    container: ContainerFacts,
    reading: Reading,
}

/// Reads, counts, holds and lets go.
///
/// # Errors
/// When the store does not answer; engines that do not are left out until the next minute.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    services.store.forget_stray_credits(services.clock.now()).await?;
    let quiet = services.store.quiet_servers().await?;
    let members = services.store.primaries_all().await?;
    let silent = super::silent_hosts(services).await?;
    let looks = members
        .into_iter()
        .filter(|(member, _, settled)| {
            *settled == SettledState::Ready
                && quiet.contains_key(member.server_id.as_str())
                && !silent.contains(&member.host_id)
        })
        .map(|(member, _, _)| look(services, member));
    let seen: Vec<Seen> = futures_util::stream::iter(looks)
        .buffer_unordered(READ_AT_ONCE)
        .filter_map(|look| async { look })
        .collect()
        .await;
    for (one, balance) in count(services, &quiet, &seen).await? {
        follow(services, one, balance).await;
    }
    Ok(())
}

async fn look(services: &Arc<Services>, member: Member) -> Option<Seen> {
    let server = services.store.server(&member.server_id).await.ok().flatten()?;
    burst_of(server.spec.sku())?;
    let engine = services.engines.get(&member.host_id)?;
    let container = engine.container(&member.container()).await.ok().flatten()?;
    let nanos = engine.cpu_nanos(&member.container()).await.ok().flatten()?;
    let started = container.started_at.map_or(0, |at| at.timestamp_micros());
    let run = format!("{} {started}", container.id);
    Some(Seen {
        member,
        server,
        container,
        reading: Reading { run, nanos, at: services.clock.now() },
    })
}

/// Writes the new balances and their samples, all in one transaction: a tick costs one sync of the disk.
/// Servers that were touched since the look are left out.
async fn count<'a>(
    services: &Arc<Services>,
    quiet: &HashMap<String, i64>,
    seen: &'a [Seen],
) -> Result<Vec<(&'a Seen, Balance)>, StoreError> {
    let mut counted = vec![];
    for one in seen {
        if let Some(next) = next(services, one).await? {
            counted.push((one, next));
        }
    }
    if counted.is_empty() {
        return Ok(vec![]);
    }
    let mut done = vec![];
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    for (one, (row, spent)) in counted {
        let (id, at) = (&one.server.id, row.reading.at);
        let version = quiet.get(id.as_str()).copied().unwrap_or_default();
        if !tx.lock_if_quiet(id, version).await? {
            continue;
        }
        tx.set_credits(id, &row).await?;
        let remaining = Sample { at, value: row.balance.credits };
        tx.insert_sample(id, CREDITS_REMAINING, remaining).await?;
        tx.insert_sample(id, CREDITS_CONSUMED, Sample { at, value: spent }).await?;
        done.push((one, row.balance));
    }
    tx.commit(Record::Nothing("an observation is no change that anybody asked for")).await?;
    Ok(done)
}

/// What a server has now, and what it spent since the reading before.
async fn next(
    services: &Arc<Services>,
    seen: &Seen,
) -> Result<Option<(CreditRow, f64)>, StoreError> {
    let sku = seen.server.spec.sku();
    let Some(burst) = burst_of(sku) else { return Ok(None) };
    let before = services.store.credits(&seen.server.id).await?;
    let last = before.as_ref().map(|row| &row.reading);
    let spell = seen.reading.since(last, seen.container.started_at);
    let balance = before.as_ref().map_or_else(|| Balance::initial(sku), |row| row.balance);
    let row = CreditRow { balance: balance.after(&burst, spell), reading: seen.reading.clone() };
    Ok(Some((row, spell.credits())))
}

/// Gives the container the limit of its balance, where it has the other one.
async fn follow(services: &Arc<Services>, seen: &Seen, balance: Balance) {
    let sku = seen.server.spec.sku();
    if !is_other(seen.container.cpu_limit, sku, balance.is_held) {
        return;
    }
    let vcores = effective_vcores(sku, balance.is_held);
    let limits = Limits { vcores, memory_bytes: None, pids_max: None };
    let name = seen.member.container();
    let Some(engine) = services.engines.get(&seen.member.host_id) else { return };
    match engine.update_limits(&name, &limits).await {
        Ok(()) => {
            tracing::info!(server.id = %seen.server.id, vcores, held = balance.is_held, "the CPU limit follows the credits");
        }
        Err(error) => {
            tracing::warn!(server.id = %seen.server.id, %error, "a CPU limit could not be changed; the next minute tries again");
        }
    }
}

/// Whether a container has the limit of the other of the two states of its size.
fn is_other(limit: f64, sku: &Sku, is_held: bool) -> bool {
    let wanted = effective_vcores(sku, is_held);
    let other = effective_vcores(sku, !is_held);
    (limit - wanted).abs() > SAME_VCORES && (limit - other).abs() < SAME_VCORES
}
