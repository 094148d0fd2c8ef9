//! High availability asked for: the row that says so. What follows from the row is done by the loop that
//! makes standbys, so that asking, losing a standby and a failover all lead to the same work.

use super::guard::refuse_if_locked_for;
use super::submit::{Change, Door, SubmitError};
use crate::domain::activity::{ActivityOutcome, Actor, NewActivity};
use crate::domain::ha::{AskedHa, Cause, HaMode, HighAvailability, Move, reason_against};
use crate::domain::ids::{MemberId, OperationId, ServerId};
use crate::domain::lock::Act;
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::domain::server::Server;
use crate::store::ha::HaEvent;
use crate::store::{Record, StoreError, WriteTx};
use chrono::{DateTime, Utc};

/// Word of the activity log for a pair that is asked for.
pub const ENABLE: &str = "server.enable_high_availability";

/// The row of a server that is asked for with high availability.
fn row_of(server: &ServerId, asked: &AskedHa, now: DateTime<Utc>) -> HighAvailability {
    let zone = asked.standby_zone.clone();
    HighAvailability::asked(server.clone(), asked.mode, asked.durability, zone, now)
}

/// Writes the row of a server that is being created, where one is asked for.
///
/// # Errors
/// When the store does not answer.
pub async fn insert_asked(
    tx: &mut WriteTx,
    server: &ServerId,
    asked: Option<&AskedHa>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    match asked {
        Some(asked) => tx.insert_ha(&row_of(server, asked, now)).await,
        None => Ok(()),
    }
}

/// Writes that a drill was asked for, when a change is one, with the operation that it is.
///
/// # Errors
/// When the store does not answer.
pub async fn open_if_drill(
    tx: &mut WriteTx,
    server: &ServerId,
    change: &Change,
    operation: &OperationId,
) -> Result<(), StoreError> {
    if is_drill(change) { tx.open_drill(server, operation).await } else { Ok(()) }
}

fn is_drill(change: &Change) -> bool {
    let cause = change.input.get("cause").and_then(serde_json::Value::as_str);
    change.kind == OperationKind::Switchover && cause.and_then(Cause::parse) == Some(Cause::Drill)
}

impl Door<'_> {
    /// Gives a server that has none high availability: writes its row, and nothing else is changed yet. The
    /// same request come twice changes nothing the second time.
    ///
    /// # Errors
    /// A refusal when the server's state, a lock, its tier, access or pooling does not allow it, or it has
    /// another high availability already; then nothing was written.
    pub async fn enable_ha(
        &self,
        server_id: &ServerId,
        asked: &AskedHa,
        actor: &Actor,
    ) -> Result<(), SubmitError> {
        let now = self.clock.now();
        let mut tx = self.store.begin_write(now).await?;
        let server = tx
            .lock_server(server_id)
            .await?
            .ok_or_else(|| Refusal::whole("The server no longer exists."))?;
        if let Some(row) = tx.ha(server_id).await? {
            return Ok(same_or_refused(&row, asked)?);
        }
        check(&mut tx, &server, actor).await?;
        let (member, zone) = tx.only_member(server_id).await?.ok_or_else(no_member)?;
        let zone = if zone.is_empty() { server.spec.zone.clone() } else { zone };
        check_zone(asked, &zone)?;
        // The history of pairs before stays, and an epoch of it is never used again.
        let first = tx.next_first_epoch(server_id).await?;
        let row = placed(&row_of(server_id, asked, now).beginning_at_epoch(first), member, now)?;
        tx.insert_ha(&row).await?;
        tx.insert_ha_event(server_id, &event(asked, actor, first, now)).await?;
        tx.commit(Record::activity(line(&server, asked, actor))).await?;
        self.poke.monitor();
        Ok(())
    }
}

fn same_or_refused(row: &HighAvailability, asked: &AskedHa) -> Result<(), Refusal> {
    if row.mode == asked.mode && row.durability == asked.durability {
        return Ok(());
    }
    Err(Refusal::whole(
        "The server has high availability already. Nothing was changed. Disable it first to choose another mode; another durability is chosen with “Change durability”.",
    ))
}

async fn check(tx: &mut WriteTx, server: &Server, actor: &Actor) -> Result<(), SubmitError> {
    let kind = OperationKind::BuildStandby;
    kind.check_legal(server.settled, server.active)?;
    kind.check_beside(&tx.active_kinds(&server.id).await?)?;
    refuse_if_locked_for(tx, &server.id, Act::Change, actor).await?;
    // A pair has `on` or more in force, whatever was asked for before: then the page of parameters would be wrong.
    let commit = server.configuration.parameters.get("synchronous_commit").map(String::as_str);
    if let Some(less) = commit.filter(|value| !matches!(*value, "on" | "remote_apply")) {
        let text = format!(
            "The server parameter synchronous_commit is {less}: a standby would not have every acknowledged commit. Set it back to on first."
        );
        return Err(Refusal::at("ha", text).into());
    }
    let has_pooler = server.configuration.pooler.enabled;
    match reason_against(server.spec.sku().tier, server.spec.access, has_pooler) {
        Some(reason) => Err(Refusal::at("ha", reason).into()),
        None => Ok(()),
    }
}

fn check_zone(asked: &AskedHa, primary: &str) -> Result<(), Refusal> {
    let is_same = asked.standby_zone == primary;
    match asked.mode {
        HaMode::SameZone if !is_same => Err(Refusal::at(
            "standby_zone",
            format!("Same zone has its standby in the primary's zone, {primary}."),
        )),
        HaMode::ZoneRedundant if is_same => Err(Refusal::at(
            "standby_zone",
            format!("The primary is in zone {primary}. Choose another zone for the standby."),
        )),
        HaMode::SameZone | HaMode::ZoneRedundant => Ok(()),
    }
}

fn no_member() -> Refusal {
    Refusal::whole(
        "The server is not on a host as it should be. Nothing was changed. Repair it first.",
    )
}

fn placed(
    row: &HighAvailability,
    member: MemberId,
    now: DateTime<Utc>,
) -> Result<HighAvailability, StoreError> {
    let placed = row.after(&Move::PrimaryPlaced { member }, now);
    placed.map_err(|illegal| StoreError::Value(illegal.to_string()))
}

fn event(asked: &AskedHa, actor: &Actor, epoch: i64, now: DateTime<Utc>) -> HaEvent {
    HaEvent {
        at: now,
        epoch,
        kind: "enabled".into(),
        detail: format!("{} asked for {}.", actor.name, about(asked)),
        operation_id: None,
    }
}

/// "Zone redundant with a standby in zone 2, durability Preferred"
fn about(asked: &AskedHa) -> String {
    let (mode, zone) = (asked.mode.label(), &asked.standby_zone);
    format!("{mode} with a standby in zone {zone}, durability {}", asked.durability.key())
}

fn line(server: &Server, asked: &AskedHa, actor: &Actor) -> NewActivity {
    NewActivity {
        actor: actor.clone(),
        action: ENABLE,
        subject: server.spec.name.as_str().to_owned(),
        server_id: Some(server.id.clone()),
        operation_id: None,
        outcome: ActivityOutcome::Succeeded,
        detail: about(asked),
    }
}
