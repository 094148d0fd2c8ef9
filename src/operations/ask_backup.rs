//! Backups asked for by a person, or by the schedule: the checks before anything is submitted.

use super::backup::{delete, remove, suspend, take};
use super::submit::{Change, Door, SubmitError};
use crate::domain::activity::Actor;
use crate::domain::backup::{
    BackupType, Due, ON_DEMAND_MAX, Protection, RepositoryState, check_name,
};
use crate::domain::ids::{OperationId, ServerId};
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use chrono::{DateTime, Utc};

impl Door<'_> {
    /// Submits a backup under a name of the person's own into the first repository.
    ///
    /// # Errors
    /// As [`Door::take_backup_into`].
    pub async fn take_backup(
        &self,
        server: &ServerId,
        (kind, name): (BackupType, &str),
        actor: &Actor,
        key: Option<&str>,
    ) -> Result<OperationId, SubmitError> {
        self.take_backup_into(server, (kind, name, 1), actor, key).await
    }

    /// Submits a backup under a name of the person's own into a repository.
    ///
    /// # Errors
    /// A refusal when the name is none or taken, there are as many as may be, or the server's state does not allow it;
    /// then nothing was written.
    pub async fn take_backup_into(
        &self,
        server: &ServerId,
        (kind, name, repository): (BackupType, &str, i64),
        actor: &Actor,
        key: Option<&str>,
    ) -> Result<OperationId, SubmitError> {
        let name = name.trim();
        check_name(name).map_err(|why| Refusal::at("name", why))?;
        if let Some(earlier) = self.earlier(key).await? {
            return Ok(earlier);
        }
        let protection = self.store.protection(server).await?;
        check_repository(&protection, repository)?;
        let asked = protection.backups.iter().filter(|one| one.is_on_demand());
        if protection.backups.iter().any(|one| one.name.eq_ignore_ascii_case(name)) {
            let text =
                format!("There is a backup of the name {name} already. Choose another name.");
            return Err(Refusal::at("name", text).into());
        }
        if asked.count() >= ON_DEMAND_MAX {
            let text = format!(
                "There are {ON_DEMAND_MAX} backups that were asked for, which is the most. Delete one first."
            );
            return Err(Refusal::whole(text).into());
        }
        let into =
            if repository == 1 { String::new() } else { format!(" into repository {repository}") };
        let about = format!("“{name}”, {}{into}", kind.label().to_lowercase());
        let asked = take::Asked::new(kind, name).into_repository(repository);
        let change = Change::new(OperationKind::Backup, &about, &asked);
        self.submit_change(change, server, actor, key).await
    }

    /// Submits a backup that is due.
    ///
    /// # Errors
    /// A refusal when something else is under way; the next look asks again.
    pub async fn take_due_into(
        &self,
        server: &ServerId,
        (due, repository): (&Due, i64),
    ) -> Result<OperationId, SubmitError> {
        let about = match repository {
            1 => format!("{}: {}", due.kind.label().to_lowercase(), due.reason),
            _ => format!(
                "{} into repository {repository}: {}",
                due.kind.label().to_lowercase(),
                due.reason
            ),
        };
        let asked = take::Asked::new(due.kind, "").into_repository(repository);
        let change = Change::new(OperationKind::Backup, &about, &asked);
        self.submit_change(change, server, &Actor::system(), None).await
    }

    /// Submits that the log does not wait for a repository any more; every commit until the time is in it.
    ///
    /// # Errors
    /// A refusal when something else is under way; the next look asks again.
    pub async fn suspend_repository(
        &self,
        server: &ServerId,
        repository: i64,
        (archived_until, reason): (DateTime<Utc>, &str),
    ) -> Result<OperationId, SubmitError> {
        let about = format!("repository {repository}: {reason}");
        let asked = suspend::Asked { repository, archived_until, reason: reason.to_owned() };
        let change = Change::new(OperationKind::SuspendRepository, &about, &asked);
        self.submit_change(change, server, &Actor::system(), None).await
    }

    /// Submits that what is left in a repository which is not asked for any more is removed.
    ///
    /// # Errors
    /// A refusal when something else is under way; the next look asks again.
    pub async fn remove_repository(
        &self,
        server: &ServerId,
        repository: i64,
    ) -> Result<OperationId, SubmitError> {
        let about = format!("repository {repository}: its backups are older than the retention");
        let asked = remove::Asked { repository };
        let change = Change::new(OperationKind::RemoveRepository, &about, &asked);
        self.submit_change(change, server, &Actor::system(), None).await
    }

    /// The same into the first repository.
    ///
    /// # Errors
    /// As [`Door::take_due_into`].
    pub async fn take_due(&self, server: &ServerId, due: &Due) -> Result<OperationId, SubmitError> {
        self.take_due_into(server, (due, 1)).await
    }

    /// Submits the deletion of a backup that was asked for.
    ///
    /// # Errors
    /// A refusal when it is not one of those, or others rest on it; then nothing was written.
    pub async fn delete_backup(
        &self,
        server: &ServerId,
        label: &str,
        actor: &Actor,
        key: Option<&str>,
    ) -> Result<OperationId, SubmitError> {
        if let Some(earlier) = self.earlier(key).await? {
            return Ok(earlier);
        }
        let protection = self.store.protection(server).await?;
        let found = delete::deletable(&protection, label).map_err(Refusal::whole)?;
        let about = format!("“{}”", found.name);
        let asked = delete::Asked { label: label.to_owned(), repository: found.repository };
        let change = Change::new(OperationKind::DeleteBackup, &about, &asked);
        self.submit_change(change, server, actor, key).await
    }
}

/// By hand a backup goes where the schedule has prepared: into the first always, into the second once it is there.
fn check_repository(protection: &Protection, repository: i64) -> Result<(), Refusal> {
    let is_there = |number| {
        let mut all = protection.repositories.iter();
        all.any(|one| one.number == number && one.state != RepositoryState::Planned)
    };
    if repository == 1 || (protection.asks_for(repository) && is_there(repository)) {
        return Ok(());
    }
    let text = "That repository takes no backups now. Choose one of those in the list.";
    Err(Refusal::at("repository", text))
}
