//! The one door for new work: portal, schedule and monitor come through here.
//!
//! A submit is one transaction: look at the state with the row locked, write what was asked, insert the
//! operation with its plan, write the activity line. Two submits at once: one wins by the unique index
//! on (server, lane), the other is told. The same idempotency key gives the same operation.

use super::ask_ha::{insert_asked, open_if_drill};
use super::guard::{admit_to_group, refuse_if_locked_for};
use super::refusals::{name_taken, network_gone, never_in_service, no_port, was_in_use};
use super::runner::{new_deadline, plan, settle_server};
use super::{kinds, rolling_plan};
use crate::clock::{Clock, new_id};
use crate::domain::activity::{ActivityOutcome, Actor, NewActivity};
use crate::domain::ha::AskedHa;
use crate::domain::ids::{DraftId, GroupId, NetworkId, OperationId, ServerId};
use crate::domain::network::FirewallRule;
use crate::domain::operation::{ABOUT, Operation, OperationKind, OperationStatus};
use crate::domain::parameters;
use crate::domain::refusal::Refusal;
use crate::domain::server::{ServerSpec, SettledState};
use crate::operations::access::{sealed_place, secret};
use crate::poke::Poke;
use crate::secrets::{Sealer, Secret};
use crate::store::operations::NewOperation;
use crate::store::progress::OperationChange;
use crate::store::{Record, Store, StoreError};
use serde::Serialize;

/// What submitting needs of the process.
pub struct Door<'a> {
    pub store: &'a Store,
    pub clock: &'a dyn Clock,
    pub poke: &'a Poke,
}

/// Why nothing was submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The person can do something about it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A change of a server that a person or the portal asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub kind: OperationKind,
    /// Parameters of the kind; never a secret.
    pub input: serde_json::Value,
}

impl Change {
    /// A kind that needs nothing but its server.
    pub fn plain(kind: OperationKind) -> Self {
        Self { kind, input: serde_json::Value::Null }
    }

    /// A kind with its input, a struct with named fields. `about` is what stands behind the kind's label
    /// for people, such as `to D4ds_v5`.
    pub fn new(kind: OperationKind, about: &str, input: &impl Serialize) -> Self {
        let mut input = serde_json::to_value(input).unwrap_or_default();
        if let Some(fields) = input.as_object_mut() {
            fields.insert(ABOUT.into(), about.into());
        }
        Self { kind, input }
    }
}

/// A server that a person asks for.
pub struct NewServer<'a> {
    pub spec: &'a ServerSpec,
    /// SCRAM verifier of the administrator's password.
    pub admin_verifier: &'a Secret,
    pub rules: &'a [FirewallRule],
    /// The virtual network of a private server; `None` is its own network only.
    pub network: Option<&'a NetworkId>,
    /// High availability from the begin on; `None` is none.
    pub ha: Option<&'a AskedHa>,
    /// The form it came from; a second submit of it leads to the same operation.
    pub draft: Option<&'a DraftId>,
    /// First and last port of the gateway.
    pub ports: (u16, u16),
    pub idempotency_key: Option<&'a str>,
}

impl Door<'_> {
    /// Writes a new server in the default group and the operation that creates it.
    ///
    /// # Errors
    /// As [`Door::create_in`].
    pub async fn create(
        &self,
        sealer: &Sealer,
        new: &NewServer<'_>,
        actor: &Actor,
    ) -> Result<OperationId, SubmitError> {
        self.create_in(&GroupId::default_group(), sealer, new, actor).await
    }

    /// Writes a new server in a resource group and the operation that creates it.
    ///
    /// # Errors
    /// A refusal when the name is taken, no port is left, or the group does not take it from this person;
    /// then nothing was written.
    pub async fn create_in(
        &self,
        group: &GroupId,
        sealer: &Sealer,
        new: &NewServer<'_>,
        actor: &Actor,
    ) -> Result<OperationId, SubmitError> {
        if let Some(earlier) = self.earlier(new.idempotency_key).await? {
            return Ok(earlier);
        }
        let server_id: ServerId = new_id(ServerId::parse);
        let operation_id: OperationId = new_id(OperationId::parse);
        let sealed = sealer
            .seal(
                &sealed_place(&server_id, secret::ADMIN_VERIFIER),
                new.admin_verifier.reveal().as_bytes(),
            )
            .map_err(|error| Refusal::whole(error.to_string()))?;
        let mut tx = self.store.begin_write(self.clock.now()).await?;
        admit_to_group(&mut tx, group, actor).await?;
        if tx.name_taken(&new.spec.name).await? {
            drop(tx);
            return self.same_or(new.idempotency_key, name_taken(&new.spec.name)).await;
        }
        let port = tx.take_port(new.ports).await?.ok_or_else(no_port)?;
        let mut is_network_gone = false;
        let written = async {
            tx.insert_server(&server_id, new.spec, port, actor.user_id.as_ref()).await?;
            tx.move_server(&server_id, group).await?;
            tx.put_server_secret(&server_id, secret::ADMIN_VERIFIER, sealed, None).await?;
            if new.network.is_some()
                && !tx.set_networking(&server_id, new.spec.access, new.network).await?
            {
                is_network_gone = true;
                return Err(StoreError::Stale);
            }
            insert_asked(&mut tx, &server_id, new.ha, self.clock.now()).await?;
            for rule in new.rules {
                tx.save_firewall_rule(&server_id, rule).await?;
            }
            if let Some(draft) = new.draft
                && !tx.use_draft(draft, &operation_id).await?
            {
                return Err(StoreError::Stale);
            }
            let name = new.spec.name.as_str();
            tx.insert_operation(&operation(
                OperationKind::Create,
                &operation_id,
                (&server_id, name),
                actor,
                new.idempotency_key,
                None,
            ))
            .await
        }
        .await;
        if let Err(error) = written {
            drop(tx);
            if is_network_gone {
                return Err(network_gone().into());
            }
            return self.explain(error, new.idempotency_key, || name_taken(&new.spec.name)).await;
        }
        tx.commit(line(
            OperationKind::Create,
            (&server_id, new.spec.name.as_str()),
            &operation_id,
            actor,
            "",
        ))
        .await?;
        self.poke.runner();
        Ok(operation_id)
    }

    /// Submits an operation on a server that exists.
    ///
    /// # Errors
    /// A refusal when its state does not allow it or something else is under way; then nothing was written.
    pub async fn submit(
        &self,
        kind: OperationKind,
        server: &ServerId,
        actor: &Actor,
        key: Option<&str>,
    ) -> Result<OperationId, SubmitError> {
        self.submit_again(Change::plain(kind), server, actor, key, None).await
    }

    /// Submits a change with its input.
    ///
    /// # Errors
    /// As [`Door::submit`].
    pub async fn submit_change(
        &self,
        change: Change,
        server: &ServerId,
        actor: &Actor,
        key: Option<&str>,
    ) -> Result<OperationId, SubmitError> {
        self.submit_again(change, server, actor, key, None).await
    }

    async fn submit_again(
        &self,
        change: Change,
        server_id: &ServerId,
        actor: &Actor,
        key: Option<&str>,
        retry_of: Option<&OperationId>,
    ) -> Result<OperationId, SubmitError> {
        if let Some(earlier) = self.earlier(key).await? {
            return Ok(earlier);
        }
        let kind = change.kind;
        let in_force = self.store.server_observation(server_id, parameters::OBSERVATION).await?;
        let mut tx = self.store.begin_write(self.clock.now()).await?;
        let server = tx
            .lock_server(server_id)
            .await?
            .ok_or_else(|| Refusal::whole("The server no longer exists."))?;
        if let Err(refusal) = kind.check_legal(server.settled, server.active) {
            drop(tx);
            return self.same_or(key, refusal).await;
        }
        if let Err(refusal) = kind.check_beside(&tx.active_kinds(server_id).await?) {
            drop(tx);
            return self.same_or(key, refusal).await;
        }
        refuse_if_locked_for(&mut tx, server_id, kind.into(), actor).await?;
        if matches!(kind, OperationKind::Create | OperationKind::Restore)
            && tx.was_created(server_id).await?
        {
            return Err(was_in_use().into());
        }
        if kind == OperationKind::Repair
            && server.settled == SettledState::Failed
            && !tx.was_created(server_id).await?
        {
            return Err(never_in_service().into());
        }
        let id: OperationId = new_id(OperationId::parse);
        let name = server.spec.name.as_str();
        let row = tx.ha(server_id).await?;
        let in_force = in_force.map(|look| look.facts);
        let is_rolling =
            rolling_plan::is_rolling(kind, &change.input, &server, row.as_ref(), in_force.as_ref());
        if let Err(error) = tx
            .insert_operation(&NewOperation {
                input: rolling_plan::marked(&change.input, is_rolling),
                plan: plan(kind, is_rolling),
                ..operation(kind, &id, (server_id, name), actor, key, retry_of)
            })
            .await
        {
            drop(tx);
            return self
                .explain(error, key, || {
                    Refusal::whole(
                        "Another change of this server is under way. Wait until it has ended.",
                    )
                })
                .await;
        }
        open_if_drill(&mut tx, server_id, &change, &id).await?;
        let about = change.input.get(ABOUT).and_then(serde_json::Value::as_str).unwrap_or_default();
        tx.commit(line(kind, (server_id, name), &id, actor, about)).await?;
        self.poke.runner();
        Ok(id)
    }

    /// Tries an ended operation again from the start, as a new operation on the same server.
    ///
    /// # Errors
    /// A refusal when it has not ended, or when the server's state no longer allows it.
    pub async fn retry(
        &self,
        operation: &Operation,
        actor: &Actor,
        key: Option<&str>,
    ) -> Result<OperationId, SubmitError> {
        if let Some(earlier) = self.earlier(key).await? {
            return Ok(earlier);
        }
        match operation.status {
            OperationStatus::NeedsAttention => self.resume(operation, actor).await,
            OperationStatus::Failed | OperationStatus::Cancelled => {
                self.refuse_second_retry(operation).await?;
                self.submit_again(
                    Change { kind: operation.kind, input: operation.input.clone() },
                    &operation.server_id,
                    actor,
                    key,
                    Some(&operation.id),
                )
                .await
            }
            _ => Err(Refusal::whole("Only an operation that failed can be tried again.").into()),
        }
    }

    /// Only the last try may be tried again: a server may have come to life since an earlier one, and
    /// the undo of a creation would take its volume.
    async fn refuse_second_retry(&self, operation: &Operation) -> Result<(), SubmitError> {
        let (server, id) = (&operation.server_id, &operation.id);
        match self.store.operation_successor(server, id).await? {
            None => Ok(()),
            Some(_) => {
                Err(Refusal::whole("It was tried again already. Look at the later operation.")
                    .into())
            }
        }
    }

    async fn resume(
        &self,
        operation: &Operation,
        actor: &Actor,
    ) -> Result<OperationId, SubmitError> {
        let now = self.clock.now();
        self.refuse_resume(operation, actor).await?;
        let record = about(operation, actor, "operation.retry", ActivityOutcome::Succeeded);
        if !self
            .store
            .resume_operation(&operation.id, now, new_deadline(operation.kind, now), record)
            .await?
        {
            return Err(Refusal::whole("The operation goes on already.").into());
        }
        self.poke.runner();
        Ok(operation.id.clone())
    }

    /// A change that waits for a person goes on only if that person could ask for it now: a lock may have
    /// come since.
    async fn refuse_resume(&self, operation: &Operation, actor: &Actor) -> Result<(), SubmitError> {
        let mut tx = self.store.begin_write(self.clock.now()).await?;
        refuse_if_locked_for(&mut tx, &operation.server_id, operation.kind.into(), actor).await
    }

    /// Asks a running operation to stop at its next step and take back what it did. No lock forbids that:
    /// it leads back to what the lock found, while refusing would force a change through.
    ///
    /// # Errors
    /// A refusal when it has ended or is past its point of no return.
    pub async fn cancel(&self, operation: &Operation, actor: &Actor) -> Result<(), SubmitError> {
        let record = about(operation, actor, "operation.cancel", ActivityOutcome::Succeeded);
        let (id, last_return) = (&operation.id, kinds::last_return(operation));
        if !self.store.request_cancel(id, last_return, self.clock.now(), record).await? {
            return Err(Refusal::whole(
                "The operation has ended or is being undone already, or is past its point of no return. Nothing was changed.",
            )
            .into());
        }
        self.poke.runner();
        Ok(())
    }

    /// Gives up a parked operation: it ends as failed, and what it left is for the person to remove. No lock
    /// forbids that: the server stays as it is.
    ///
    /// # Errors
    /// A refusal when it is not parked.
    pub async fn abandon(&self, operation: &Operation, actor: &Actor) -> Result<(), SubmitError> {
        let mut tx = self.store.begin_write(self.clock.now()).await?;
        if !tx.claim_parked(&operation.id).await? {
            return Err(
                Refusal::whole("Only an operation that needs attention can be abandoned.").into()
            );
        }
        settle_server(&mut tx, operation, OperationStatus::Failed).await?;
        // Of a pair the row says how it stands, and the portal goes on from there: only while it is Ready.
        let is_past = kinds::is_past_return(operation, operation.cursor);
        let is_watched =
            operation.kind.is_of_a_pair() || tx.ha(&operation.server_id).await?.is_some();
        // A start whose undoing was given up may have left a container that runs: such a server is not Stopped.
        let may_run = operation.kind == OperationKind::Start;
        if (is_past && !is_watched) || may_run {
            // Half of it is done and stays done: the server is no longer what its state would say.
            tx.set_settled(&operation.server_id, SettledState::Failed).await?;
        }
        tx.skip_pending_steps(&operation.id).await?;
        tx.change_operation(
            &operation.id,
            &OperationChange { status: Some(OperationStatus::Failed), ..Default::default() },
        )
        .await?;
        tx.end_activity(&operation.id, ActivityOutcome::Failed, "abandoned").await?;
        tx.commit(about(operation, actor, "operation.abandon", ActivityOutcome::Succeeded)).await?;
        Ok(())
    }

    pub(super) async fn earlier(
        &self,
        key: Option<&str>,
    ) -> Result<Option<OperationId>, StoreError> {
        let Some(key) = key else { return Ok(None) };
        Ok(self.store.operation_by_key(key).await?.map(|operation| operation.id))
    }

    /// What stands in the way may be this very request, come twice at once: the other copy of it won.
    pub(super) async fn same_or(
        &self,
        key: Option<&str>,
        refusal: Refusal,
    ) -> Result<OperationId, SubmitError> {
        self.earlier(key).await?.ok_or_else(|| refusal.into())
    }

    /// A failed write: the same request come twice, the other of two that met, or the database's fault.
    pub(super) async fn explain(
        &self,
        error: StoreError,
        key: Option<&str>,
        refusal: impl Fn() -> Refusal,
    ) -> Result<OperationId, SubmitError> {
        if !error.is_unique_violation() && !matches!(error, StoreError::Stale) {
            return Err(error.into());
        }
        match self.earlier(key).await? {
            Some(id) => Ok(id),
            None => Err(refusal().into()),
        }
    }
}

fn operation<'a>(
    kind: OperationKind,
    id: &OperationId,
    (server_id, server_name): (&'a ServerId, &'a str),
    actor: &'a Actor,
    idempotency_key: Option<&'a str>,
    retry_of: Option<&'a OperationId>,
) -> NewOperation<'a> {
    NewOperation {
        id: id.clone(),
        kind,
        server_id,
        server_name,
        input: serde_json::Value::Null,
        requested_by: &actor.name,
        requested_from: &actor.address,
        idempotency_key,
        retry_of,
        plan: plan(kind, false),
    }
}

fn line(
    kind: OperationKind,
    (server_id, server_name): (&ServerId, &str),
    operation: &OperationId,
    actor: &Actor,
    about: &str,
) -> Record {
    Record::activity(NewActivity {
        actor: actor.clone(),
        action: kind.action(),
        subject: server_name.to_owned(),
        server_id: Some(server_id.clone()),
        operation_id: Some(operation.clone()),
        outcome: ActivityOutcome::Started,
        detail: about.to_owned(),
    })
}

fn about(
    operation: &Operation,
    actor: &Actor,
    action: &'static str,
    outcome: ActivityOutcome,
) -> Record {
    Record::activity(NewActivity {
        actor: actor.clone(),
        action,
        subject: operation.server_name.clone(),
        server_id: Some(operation.server_id.clone()),
        operation_id: Some(operation.id.clone()),
        outcome,
        detail: operation.kind.label().to_owned(),
    })
}
