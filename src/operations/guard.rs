//! Locks and the way into a group, asked inside the transaction that writes.

use super::submit::SubmitError;
use crate::domain::account::Role;
use crate::domain::activity::Actor;
use crate::domain::ids::{GroupId, ServerId};
use crate::domain::lock::{self, Act};
use crate::domain::refusal::Refusal;
use crate::store::WriteTx;
use crate::store::assignments::Thing;

/// Refuses what a lock on the server or on its group forbids. Every write of a server that a person asks for
/// calls it, with the server's row locked: operations at the door, plain writes such as firewall rules by
/// themselves.
///
/// # Errors
/// The refusal with the lock's name, or when the store does not answer.
pub async fn refuse_if_locked(
    tx: &mut WriteTx,
    server: &ServerId,
    act: Act,
) -> Result<(), SubmitError> {
    Ok(lock::check(&tx.locks_on_server(server).await?, act)?)
}

/// The same for one who may be the portal itself: its own work is not held up, but it deletes nothing
/// that is locked.
///
/// # Errors
/// As [`refuse_if_locked`].
pub async fn refuse_if_locked_for(
    tx: &mut WriteTx,
    server: &ServerId,
    act: Act,
    actor: &Actor,
) -> Result<(), SubmitError> {
    if actor.is_system() && act != Act::Delete {
        return Ok(());
    }
    refuse_if_locked(tx, server, act).await
}

/// Whether the group takes a new server from this person. Holds the group's row, so that it cannot go.
///
/// # Errors
/// The refusal, or when the store does not answer.
pub async fn admit_to_group(
    tx: &mut WriteTx,
    group: &GroupId,
    actor: &Actor,
) -> Result<(), SubmitError> {
    let refuse = |text: &str| Err(Refusal::at("group", text).into());
    let is_there = tx.lock_group(group).await?;
    let may = match &actor.user_id {
        Some(user) => tx.role_on(user, Thing::Group(group)).await?,
        None => Some(Role::Owner),
    };
    match may {
        Some(role) if is_there && role.may_change_servers() => {}
        Some(_) if is_there => {
            return refuse("Your role in this resource group is Reader. Choose another group.");
        }
        _ => return refuse("There is no such resource group. Choose one of the list."),
    }
    let locks = tx.locks_on_group(group).await?;
    lock::check(&locks, Act::Change).map_err(|refusal| Refusal::at("group", refusal.text).into())
}
