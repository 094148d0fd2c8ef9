//! What operations that were there before high availability need of a pair: its members in the right order.

use super::context::StepContext;
use super::ha;
use super::step::StepError;
use crate::domain::ha::MemberRole;
use crate::domain::ids::HostId;
use crate::domain::parameters::Parameter;
use crate::domain::server::{Member, Server};
use crate::postgres::conf::{self, Settings};
use std::collections::BTreeMap;

/// Members that the row counts, the standby first; the only member of a server without high availability.
/// Those of before are left out: whatever brings one back gives it what it needs then.
pub fn standby_first(ctx: &StepContext) -> Vec<&Member> {
    let mut members = primary_first(ctx);
    members.reverse();
    members
}

/// The same, the primary first.
pub fn primary_first(ctx: &StepContext) -> Vec<&Member> {
    ctx.members.iter().filter(|member| member.role != MemberRole::Former).collect()
}

/// Hosts of all members, each with how many it has. Those of before take their place as well.
pub fn hosts(ctx: &StepContext) -> Vec<(HostId, usize)> {
    let mut hosts: Vec<(HostId, usize)> = vec![];
    for member in &ctx.members {
        match hosts.iter_mut().find(|(host, _)| *host == member.host_id) {
            Some((_, count)) => *count += 1,
            None => hosts.push((member.host_id.clone(), 1)),
        }
    }
    hosts
}

/// I9: what is about to be started as a primary is the one that the store names at this moment.
///
/// # Errors
/// When another member is the primary by now: this one must stay as it is.
pub async fn must_be_primary(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    let row = ctx.services.store.ha(&ctx.server.id).await?;
    let named = row.and_then(|row| row.primary);
    match named {
        Some(primary) if primary != member.id => {
            Err(StepError::Transient("Another member has become the primary meanwhile.".into()))
        }
        _ => Ok(()),
    }
}

/// Settings that a standby must have at least as large as its primary, or it does not replay.
pub const FLOORS: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// The server with these as large as its primary has them now, where it shall have less: a lower value that waits for
/// a restart of the primary must not stop the standby before that. Larger is harmless, also after a promotion.
/// A primary that does not answer has its values in its files, and those are the same.
pub async fn not_below_primary(ctx: &StepContext, server: &Server) -> Result<Server, StepError> {
    let Some(primary) = ctx.in_role(MemberRole::Primary) else { return Ok(server.clone()) };
    let Ok(Some(target)) = ha::link::target(ctx, primary).await else { return Ok(server.clone()) };
    let Ok(look) = ctx.services.postgres.settings(&target).await else {
        return Ok(server.clone());
    };
    let wanted = conf::values(&Settings::of(server));
    let mut server = server.clone();
    for (name, value) in raised(&wanted, &look.parameters) {
        server.configuration.parameters.insert(name, value);
    }
    Ok(server)
}

/// A whole number as a file or PostgreSQL writes it.
pub(super) fn number(text: &str) -> Option<i64> {
    text.trim_matches('\'').parse().ok()
}

/// Those of [`FLOORS`] that are larger in force than in a file, with what is in force.
fn raised(wanted: &BTreeMap<String, String>, in_force: &[Parameter]) -> Vec<(String, String)> {
    let floors = in_force.iter().filter(|one| FLOORS.contains(&one.name.as_str()));
    floors
        .filter(|one| {
            let default = || number(&one.default);
            let wanted = wanted.get(&one.name).map_or_else(default, |text| number(text));
            number(&one.value) > wanted
        })
        .map(|one| (one.name.clone(), one.value.clone()))
        .collect()
}

/// Words for a line of a log: " of the standby"; empty where there is only one member to speak of.
pub fn of_whom(ctx: &StepContext, member: &Member) -> &'static str {
    match member.role {
        _ if ctx.ha.is_none() => "",
        MemberRole::Primary => " of the primary",
        MemberRole::Standby => " of the standby",
        MemberRole::Former => " of a member of before",
    }
}
