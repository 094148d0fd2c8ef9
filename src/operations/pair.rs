//! What operations that were there before high availability need of a pair: its members in the right order.

use super::context::StepContext;
use super::step::StepError;
use crate::domain::ha::MemberRole;
use crate::domain::ids::HostId;
use crate::domain::server::Member;

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

/// Words for a line of a log: " of the standby"; empty where there is only one member to speak of.
pub fn of_whom(ctx: &StepContext, member: &Member) -> &'static str {
    match member.role {
        _ if ctx.ha.is_none() => "",
        MemberRole::Primary => " of the primary",
        MemberRole::Standby => " of the standby",
        MemberRole::Former => " of a member of before",
    }
}
