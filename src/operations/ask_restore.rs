//! A restore at the door: everything is checked before anything is made, and written in one transaction.

use super::access::{sealed_place, secret};
use super::guard::admit_to_group;
use super::refusals::{name_taken, network_gone, no_port};
use super::restore::Input;
use super::submit::{Door, SubmitError};
use crate::clock::new_id;
use crate::domain::activity::{ActivityOutcome, Actor, NewActivity};
use crate::domain::backup::{Protection, Refused, RestoreTarget, choose};
use crate::domain::configuration::{Configuration, Pooler};
use crate::domain::ids::{GroupId, NetworkId, OperationId, ServerId};
use crate::domain::names::ServerName;
use crate::domain::network::Access;
use crate::domain::operation::{ABOUT, OperationKind};
use crate::domain::refusal::Refusal;
use crate::domain::server::ServerSpec;
use crate::operations::runner::plan;
use crate::secrets::{Sealer, Secret};
use crate::store::assignments::Thing;
use crate::store::operations::NewOperation;
use crate::store::restores::Origin;
use crate::store::scope::Viewer;
use crate::store::{Record, StoreError, WriteTx};
use chrono::{DateTime, Utc};

/// A restore that a person asks for. What is not here the new server has from the one it comes from: version, size,
/// storage, name of the administrator, parameters, extensions and tags. It has one member, no PgBouncer and no
/// firewall rule.
pub struct NewRestore<'a> {
    /// The server it comes from, living or deleted.
    pub source: &'a ServerId,
    /// Number of the repository.
    pub repository: i64,
    pub target: &'a RestoreTarget,
    /// Label of the backup to begin with; `None` lets the portal choose.
    pub set: Option<&'a str>,
    pub name: &'a ServerName,
    pub zone: &'a str,
    pub access: Access,
    /// The virtual network of a private server; `None` is its own network only.
    pub network: Option<&'a NetworkId>,
    /// SCRAM verifier of the administrator's new password.
    pub admin_verifier: &'a Secret,
    /// First and last port of the gateway.
    pub ports: (u16, u16),
    pub idempotency_key: Option<&'a str>,
}

/// What a restore comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub id: ServerId,
    pub spec: ServerSpec,
    pub configuration: Configuration,
    pub group_id: GroupId,
    /// When it was deleted; `None` for one that is there.
    pub deleted_at: Option<DateTime<Utc>>,
}

impl Door<'_> {
    /// The server that backups belong to, living or deleted; `None` when it is gone for good.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn restore_source(&self, id: &ServerId) -> Result<Option<Source>, StoreError> {
        if let Some(server) = self.store.server(id).await? {
            return Ok(Some(Source {
                id: server.id,
                spec: server.spec,
                configuration: server.configuration,
                group_id: server.group_id,
                deleted_at: None,
            }));
        }
        let deleted = self.store.deleted_server(id, &Viewer::Portal).await?;
        let now = self.clock.now();
        let kept = deleted.filter(|one| one.erased_at.is_none() && one.erase_after > now);
        Ok(kept.map(|one| Source {
            id: one.id,
            spec: one.spec,
            configuration: one.configuration,
            group_id: one.group_id,
            deleted_at: Some(one.deleted_at),
        }))
    }

    /// Writes a new server in a resource group and the operation that restores it. The source is never written.
    ///
    /// # Errors
    /// A refusal when the target cannot be reached, the person may not change the source or make servers in the
    /// group, or the name is taken; then nothing was written.
    pub async fn restore(
        &self,
        group: &GroupId,
        sealer: &Sealer,
        new: &NewRestore<'_>,
        actor: &Actor,
    ) -> Result<OperationId, SubmitError> {
        if let Some(earlier) = self.earlier(new.idempotency_key).await? {
            return Ok(earlier);
        }
        let source = self.restore_source(new.source).await?.ok_or_else(source_gone)?;
        let protection = self.store.protection(new.source).await?;
        check(&protection, new)?;
        let ids = (new_id(ServerId::parse), new_id(OperationId::parse));
        let place = sealed_place(&ids.0, secret::ADMIN_VERIFIER);
        let sealed = sealer
            .seal(&place, new.admin_verifier.reveal().as_bytes())
            .map_err(|error| Refusal::whole(error.to_string()))?;
        let mut tx = self.store.begin_write(self.clock.now()).await?;
        admit_to_group(&mut tx, group, actor).await?;
        may_copy(&mut tx, &source, actor).await?;
        if source.deleted_at.is_some() && !tx.hold_deleted(&source.id).await? {
            return Err(source_gone().into());
        }
        if tx.name_taken(new.name).await? {
            drop(tx);
            return self.same_or(new.idempotency_key, name_taken(new.name)).await;
        }
        let asked = Asked { new, source: &source, ids: &ids, actor };
        if let Err(error) = asked.write(&mut tx, group, sealed).await {
            drop(tx);
            return match error {
                SubmitError::Store(error) => {
                    self.explain(error, new.idempotency_key, || name_taken(new.name)).await
                }
                refused @ SubmitError::Refused(_) => Err(refused),
            };
        }
        tx.commit(asked.line()).await?;
        self.poke.runner();
        Ok(ids.1)
    }
}

fn source_gone() -> Refusal {
    Refusal::whole("There is no server with backups of that kind any more. Nothing was made.")
}

fn check(protection: &Protection, new: &NewRestore<'_>) -> Result<(), Refusal> {
    if !protection.repositories.iter().any(|one| one.number == new.repository) {
        return Err(Refusal::at("repository", "There is no such repository. Nothing was made."));
    }
    match choose(protection, new.repository, new.target, new.set) {
        Ok(_) => Ok(()),
        Err(refused) => Err(Refusal::at(field(new.target), unreachable(&refused))),
    }
}

/// The field of the form that names the target.
fn field(target: &RestoreTarget) -> &'static str {
    match target {
        RestoreTarget::Latest => "target",
        RestoreTarget::Moment { .. } => "moment",
        RestoreTarget::Place { .. } => "place",
        RestoreTarget::Point { .. } => "point",
        RestoreTarget::Backup { .. } => "backup",
    }
}

fn unreachable(refused: &Refused) -> String {
    let nearest = refused.nearest.map_or_else(String::new, |at| {
        let shown = at.format("%Y-%m-%d %H:%M:%S UTC");
        format!(" The nearest moment that can be restored is {shown}.")
    });
    format!("{}{nearest} Nothing was made.", refused.reason)
}

/// Whoever sets the password of the copy reads all that is in it: that takes what it takes to set the source's own.
async fn may_copy(tx: &mut WriteTx, source: &Source, actor: &Actor) -> Result<(), SubmitError> {
    let Some(user) = &actor.user_id else { return Ok(()) };
    match tx.role_on(user, Thing::Server(&source.id)).await? {
        Some(role) if role.may_change_servers() => Ok(()),
        Some(_) => Err(Refusal::whole(format!(
            "Your role on {} is Reader. Whoever restores a server can read all of its data: that needs the role Contributor.",
            source.spec.name
        ))
        .into()),
        None => Err(source_gone().into()),
    }
}

/// A restore on its way into the store.
struct Asked<'a> {
    new: &'a NewRestore<'a>,
    source: &'a Source,
    ids: &'a (ServerId, OperationId),
    actor: &'a Actor,
}

impl Asked<'_> {
    async fn write(
        &self,
        tx: &mut WriteTx,
        group: &GroupId,
        verifier: Vec<u8>,
    ) -> Result<(), SubmitError> {
        let (new, (server, operation)) = (self.new, self.ids);
        let port = tx.take_port(new.ports).await?.ok_or_else(no_port)?;
        tx.insert_server(server, &self.spec(), port, self.actor.user_id.as_ref()).await?;
        tx.move_server(server, group).await?;
        tx.put_server_secret(server, secret::ADMIN_VERIFIER, verifier, None).await?;
        if new.network.is_some() && !tx.set_networking(server, new.access, new.network).await? {
            return Err(network_gone().into());
        }
        tx.set_configuration(server, &self.configuration()).await?;
        tx.insert_origin(&Origin {
            server_id: server.clone(),
            source_id: self.source.id.clone(),
            source_name: self.source.spec.name.to_string(),
            target: new.target.clone(),
            repository: new.repository,
            operation_id: Some(operation.clone()),
            reached: None,
            ended_at: None,
        })
        .await?;
        tx.insert_operation(&NewOperation {
            id: operation.clone(),
            kind: OperationKind::Restore,
            server_id: server,
            server_name: new.name.as_str(),
            input: self.input(),
            requested_by: &self.actor.name,
            requested_from: &self.actor.address,
            idempotency_key: new.idempotency_key,
            retry_of: None,
            plan: plan(OperationKind::Restore, false),
        })
        .await?;
        Ok(())
    }

    fn spec(&self) -> ServerSpec {
        ServerSpec {
            name: self.new.name.clone(),
            zone: self.new.zone.to_owned(),
            access: self.new.access,
            ..self.source.spec.clone()
        }
    }

    /// The source's, because a recovery needs some settings to be no smaller. What stands beside the member is left.
    fn configuration(&self) -> Configuration {
        let source = self.source.configuration.clone();
        Configuration { write_protected: false, pooler: Pooler::default(), ..source }
    }

    fn about(&self) -> String {
        format!("from {} {}", self.source.spec.name, self.new.target.words())
    }

    fn input(&self) -> serde_json::Value {
        let input = Input {
            source: self.source.id.clone(),
            source_name: self.source.spec.name.to_string(),
            repository: self.new.repository,
            target: self.new.target.clone(),
            set: self.new.set.map(str::to_owned),
        };
        let mut input = serde_json::to_value(input).unwrap_or_default();
        if let Some(fields) = input.as_object_mut() {
            fields.insert(ABOUT.into(), self.about().into());
        }
        input
    }

    fn line(&self) -> Record {
        Record::activity(NewActivity {
            actor: self.actor.clone(),
            action: OperationKind::Restore.action(),
            subject: self.new.name.to_string(),
            server_id: Some(self.ids.0.clone()),
            operation_id: Some(self.ids.1.clone()),
            outcome: ActivityOutcome::Started,
            detail: self.about(),
        })
    }
}
