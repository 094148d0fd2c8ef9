//! The end of a deleted server: when its time is over, its key is deleted, then its part of every repository, then what is
//! on record of it.
//!
//! The monitor does this itself, because an operation belongs to a server, and there is none any more. It stays harmless
//! because of three things: only servers are touched that the store noted as deleted, whose time is over and from which
//! nobody is restoring; the key goes first, in one transaction, and by that alone nobody can read the backups again,
//! so whatever happens to the files afterwards is tidying; and the helper removes the two directories of exactly one
//! part, whose name it is told and looks at again; in object storage, what lies below two names. A host that is away is asked again at the next tick.
//!
//! pgBackRest's own `stanza-delete` is not used: it reads the part's files with the key, which is gone.

use crate::domain::activity::{ActivityOutcome, Actor, NewActivity};
use crate::operations::backup::erase;
use crate::operations::context::Services;
use crate::operations::step::StepError;
use crate::store::deleted_servers::DeletedServer;
use crate::store::{Record, StoreError};
use std::sync::Arc;

/// Erases what is due.
///
/// # Errors
/// When the store does not answer; hosts that do not are left for the next tick.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    for server in services.store.erasures_due(services.clock.now()).await? {
        if server.erased_at.is_none() && !delete_key(services, &server).await? {
            continue;
        }
        match remove_files(services, &server).await {
            Ok(true) => forget(services, &server).await?,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(server.id = %server.id, %error, "files of a deleted server stay until the next tick; nobody can read them");
            }
        }
    }
    Ok(())
}

/// `false` when somebody restores from it since.
async fn delete_key(services: &Services, server: &DeletedServer) -> Result<bool, StoreError> {
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    if !tx.erase_key(&server.id).await? {
        return Ok(false);
    }
    let line = NewActivity {
        actor: Actor::system(),
        action: "server.erase_backups",
        subject: server.name.clone(),
        server_id: Some(server.id.clone()),
        operation_id: None,
        outcome: ActivityOutcome::Succeeded,
        detail: format!("deleted by {}; the key of its backups is gone", server.deleted_by),
    };
    tx.commit(Record::activity(line)).await?;
    tracing::info!(server.id = %server.id, "the key of a deleted server's backups is deleted");
    Ok(true)
}

/// Whether nothing of it is left in any repository.
async fn remove_files(services: &Services, server: &DeletedServer) -> Result<bool, StepError> {
    let (mut is_gone, mut failed) = (true, None);
    for part in services.store.repositories(&server.id).await? {
        // One that cannot be reached keeps the others from nothing.
        match erase::remove_part(services, &part).await {
            Ok(now) => is_gone &= now,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(is_gone), Err)
}

async fn forget(services: &Services, server: &DeletedServer) -> Result<(), StoreError> {
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    tx.forget_deleted(&server.id).await?;
    tx.commit(Record::Nothing("the line was written when the key was deleted")).await?;
    tracing::info!(server.id = %server.id, "nothing of a deleted server is left");
    Ok(())
}
