//! Repositories in object storage, as operations work on them: no host has one, so any host that answers will do.

use super::repository;
use crate::domain::backup::Repository;
use crate::domain::ids::HostId;
use crate::operations::context::Services;
use crate::operations::step::StepError;
use crate::postgres::pgbackrest::{REPOSITORY_PORT, Reach, Storage};
use crate::store::StoreError;
use std::sync::Arc;

/// Number of the repository in object storage. It is none of another zone's, so that a server can change between the two
/// without one being taken for the other.
pub const NUMBER: i64 = 3;

/// The configured storage, when the repository lies there.
///
/// # Errors
/// A sentence, when none is configured or another one: what is read there would not be this server's.
pub fn storage(services: &Services, repository: &Repository) -> Result<Arc<Storage>, String> {
    let wanted = repository.location.as_deref().unwrap_or_default();
    match &services.settings.object_storage {
        Some(storage) if storage.at.location() == wanted => Ok(storage.clone()),
        Some(storage) => Err(format!(
            "The backups are in the object storage {wanted}, and the configuration names {}.",
            storage.at.location()
        )),
        None => Err(format!(
            "The backups are in the object storage {wanted}, and the configuration names none."
        )),
    }
}

/// The same for a step.
///
/// # Errors
/// As [`storage`], with what to do.
pub fn need(services: &Services, repository: &Repository) -> Result<Arc<Storage>, StepError> {
    storage(services, repository).map_err(|why| {
        StepError::permanent(
            why,
            "Nothing was changed there. Name it in [object_storage] of pgflex.toml again and restart pgflex.",
        )
    })
}

/// Where new repositories in object storage lie.
///
/// # Errors
/// Permanent, when none is configured.
pub fn location(services: &Services) -> Result<String, StepError> {
    let storage = services.settings.object_storage.as_ref().ok_or_else(|| {
        StepError::permanent(
            "No object storage is configured. No backup was taken.",
            "Backups go on into the first repository. Name one in [object_storage] of pgflex.toml and restart pgflex, or choose another redundancy.",
        )
    })?;
    Ok(storage.at.location())
}

/// How a member on this host reaches the storage: by the server of the host's repository.
pub(super) fn relay(
    services: &Services,
    repository: &Repository,
    host: &HostId,
) -> Result<Reach, String> {
    let path = storage(services, repository)?.at.path();
    Ok(Reach::Relay { host: repository::name_on(host), port: REPOSITORY_PORT, path })
}

/// How a restore drill on the repository's host reaches it, and its network: as a member does.
///
/// # Errors
/// When the storage is not configured any more.
pub fn drill(services: &Services, repository: &Repository) -> Result<(Reach, String), StepError> {
    let path = need(services, repository)?.at.path();
    let host = repository::name_on(&repository.host_id);
    let network = repository::blueprint(services, &repository.host_id).drills().name;
    Ok((Reach::Relay { host, port: REPOSITORY_PORT, path }, network))
}

/// The repository as it is worked on from exactly this host, where work was begun. One that is on a host stays there.
pub fn on_host(repository: Repository, host: &HostId) -> Repository {
    match repository.is_in_object_storage() {
        true => Repository { host_id: host.clone(), ..repository },
        false => repository,
    }
}

/// The repository as it is worked on from a host: from this one where it answers. One that is on a host stays there.
///
/// # Errors
/// When the store does not answer.
pub async fn beside(
    services: &Services,
    repository: Repository,
    wanted: Option<&HostId>,
) -> Result<Repository, StoreError> {
    if !repository.is_in_object_storage() {
        return Ok(repository);
    }
    let seen = services.store.host_observations().await?;
    let answers = |host: &HostId| {
        let is_silent = seen.iter().any(|one| one.host_id == *host && one.error.is_some());
        !is_silent && services.engines.get(host).is_some()
    };
    let usual = wanted.unwrap_or(&repository.host_id).clone();
    if answers(&usual) {
        return Ok(Repository { host_id: usual, ..repository });
    }
    let loads = services.store.host_loads().await?;
    let other = loads.into_iter().map(|load| load.host.id).find(answers);
    Ok(Repository { host_id: other.unwrap_or(usual), ..repository })
}
