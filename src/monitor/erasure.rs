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
use crate::domain::backup::{Repository, stanza_of};
use crate::engine::ImageProgress;
use crate::engine::blueprint_repository::Tool;
use crate::operations::backup::object_storage::{self, beside};
use crate::operations::backup::repository;
use crate::operations::context::Services;
use crate::operations::member;
use crate::operations::step::StepError;
use crate::postgres::pgbackrest;
use crate::store::deleted_servers::DeletedServer;
use crate::store::{Record, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// Removes one part of a repository, given by name: nothing else, and nothing through a link.
const SCRIPT: &str = "\
case \"$1\" in pgflex-*[!0-9a-f]*|'') exit 4 ;; pgflex-????????*) ;; *) exit 4 ;; esac
cd /var/lib/pgbackrest
for kind in archive backup; do
  if [ -d \"$kind\" ] && [ ! -L \"$kind\" ]; then rm -rf -- \"$kind/$1\"; fi
done";
/// The same in object storage. What is not there is no error to pgBackRest.
const STORED_SCRIPT: &str = "\
case \"$1\" in pgflex-*[!0-9a-f]*|'') exit 4 ;; pgflex-????????*) ;; *) exit 4 ;; esac
for kind in archive backup; do
  pgbackrest --config=/var/lib/pgflex/config/backup.conf repo-rm --recurse \"$kind/$1\"
done";
/// How long one tick waits for a removal; a longer one is found again by the next.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let mut is_gone = true;
    for part in services.store.repositories(&server.id).await? {
        is_gone &= remove_part(services, &part).await?;
    }
    Ok(is_gone)
}

async fn remove_part(services: &Services, part: &Repository) -> Result<bool, StepError> {
    // Of no other server, whatever the row says.
    if part.stanza != stanza_of(&part.server_id) {
        let what = format!("{} is no part of {}", part.stanza, part.server_id);
        return Err(StepError::permanent(what, "Look at the store."));
    }
    let part = &beside(services, part.clone(), None).await?;
    let engine = repository::engine(services, &part.host_id)?;
    let plan = repository::blueprint(services, &part.host_id);
    let is_stored = part.is_in_object_storage();
    if !is_stored && !engine.has_volume(&plan.volume_name()).await? {
        return Ok(true);
    }
    let (files, network) = match is_stored {
        true => {
            engine.ensure_network(&plan.way_out()).await?;
            let storage = object_storage::need(services, part)?;
            (member::collect(pgbackrest::erase_files(&storage)), Some(plan.way_out().name))
        }
        false => (vec![], None),
    };
    let ImageProgress::Ready { id: image, .. } = engine.ensure_image(part.major).await? else {
        return Ok(false);
    };
    let name = format!("pgflex-{}-erase", part.server_id.short());
    engine.ensure_volume(&plan.tool_volume(&name)).await?;
    let script = if is_stored { STORED_SCRIPT } else { SCRIPT };
    let words = ["sh", "-euc", script, "erase", &part.stanza];
    let spec = plan.tool(Tool {
        name: name.clone(),
        image,
        command: words.map(str::to_owned).into(),
        volume: name.clone(),
        network,
        run: format!("erase/{}", part.server_id),
        member: None,
        repository: (!is_stored).then_some(false),
    });
    engine.ensure_container(&spec).await?;
    engine.put_files(&name, &files).await?;
    engine.start_container(&name).await?;
    let Some(code) = engine.wait_exit(&name, PATIENCE).await? else { return Ok(false) };
    let lines = engine.tail(&name, 5).await?;
    engine.remove_container(&name).await?;
    engine.remove_volume(&name).await?;
    if code == 0 {
        return Ok(true);
    }
    let what =
        format!("the removal of {} ended with code {code}: {}", part.stanza, lines.join(" "));
    Err(StepError::permanent(what, "Look at the repository's volume on its host."))
}

async fn forget(services: &Services, server: &DeletedServer) -> Result<(), StoreError> {
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    tx.forget_deleted(&server.id).await?;
    tx.commit(Record::Nothing("the line was written when the key was deleted")).await?;
    tracing::info!(server.id = %server.id, "nothing of a deleted server is left");
    Ok(())
}
