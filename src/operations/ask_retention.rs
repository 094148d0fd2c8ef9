//! How backups are kept, asked for: a row, and no operation. Whatever expires backups reads the row each time; what a change of the
//! redundancy needs is submitted by the monitor, which sees what is asked for and what is there.

use super::guard::refuse_if_locked_for;
use super::submit::{Door, SubmitError};
use crate::domain::activity::{ActivityOutcome, Actor, NewActivity};
use crate::domain::backup::{
    BackupPolicy, Protection, Redundancy, reason_against_leaving, reason_against_second,
};
use crate::domain::ha::MemberRole;
use crate::domain::ids::ServerId;
use crate::domain::lock::Act;
use crate::domain::refusal::Refusal;
use crate::domain::server::Server;
use crate::store::Record;

/// Word of the activity log.
pub const CHANGE: &str = "server.change_retention";

impl Door<'_> {
    /// Changes for how many days backups of a server are kept and in which places. `seen` is the version of the settings
    /// that the person has seen. The same again writes nothing.
    ///
    /// # Errors
    /// A refusal when a lock forbids it, no host can have the second repository, or somebody else has changed it meanwhile;
    /// then nothing was written.
    pub async fn change_backup_policy(
        &self,
        server_id: &ServerId,
        to: BackupPolicy,
        seen: i64,
        actor: &Actor,
    ) -> Result<(), SubmitError> {
        let protection = self.store.protection(server_id).await?;
        let before = protection.policy;
        if before == to {
            return Ok(());
        }
        if before.redundancy != to.redundancy {
            self.check_redundancy(server_id, &protection, to.redundancy).await?;
        }
        let mut tx = self.store.begin_write(self.clock.now()).await?;
        let server = tx.lock_server(server_id).await?.ok_or_else(gone)?;
        refuse_if_locked_for(&mut tx, server_id, Act::Change, actor).await?;
        if !tx.change_backup_policy(server_id, &to, seen).await? {
            return Err(Refusal::whole(
                "Somebody changed how backups are kept since this page was opened. Nothing was changed. The form shows what it is now.",
            )
            .into());
        }
        tx.commit(Record::activity(line(&server, before, to, actor))).await?;
        self.poke.runner();
        Ok(())
    }

    async fn check_redundancy(
        &self,
        server_id: &ServerId,
        protection: &Protection,
        to: Redundancy,
    ) -> Result<(), SubmitError> {
        let server = self.store.server(server_id).await?.ok_or_else(gone)?;
        let members = self.store.members(server_id).await?;
        let primary = members.iter().find(|member| member.role == MemberRole::Primary);
        let loads = self.store.host_loads().await?;
        let leaving = reason_against_leaving(protection, to);
        let why = match (to, primary) {
            _ if leaving.is_some() => leaving,
            (Redundancy::Local, _) => None,
            (Redundancy::Zone, Some(primary)) => {
                let of = (&server.spec, primary);
                reason_against_second(&loads, &protection.repositories, of)
            }
            // Its creation has not come so far; where it will be is not known.
            (Redundancy::Zone, None) => None,
            // Whether one is configured is the page's to ask; a backup into none fails and says so.
            (Redundancy::ObjectStorage, _) => None,
        };
        why.map_or(Ok(()), |why| Err(Refusal::at("redundancy", why).into()))
    }
}

fn gone() -> Refusal {
    Refusal::whole("The server no longer exists.")
}

fn line(server: &Server, before: BackupPolicy, to: BackupPolicy, actor: &Actor) -> NewActivity {
    let days = (before.retention != to.retention)
        .then(|| format!("from {} to {} days", before.retention.as_days(), to.retention.as_days()));
    let word = |redundancy: Redundancy| redundancy.label().to_lowercase();
    let zones = (before.redundancy != to.redundancy)
        .then(|| format!("from {} to {}", word(before.redundancy), word(to.redundancy)));
    NewActivity {
        actor: actor.clone(),
        action: CHANGE,
        subject: server.spec.name.as_str().to_owned(),
        server_id: Some(server.id.clone()),
        operation_id: None,
        outcome: ActivityOutcome::Succeeded,
        detail: days.into_iter().chain(zones).collect::<Vec<_>>().join(", "),
    }
}
