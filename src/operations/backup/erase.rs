//! Removes the files of one server's part of a repository: of a server that was deleted, or of a repository that is not asked for any
//! more. The helper removes the two directories of exactly one part, whose name it is told and looks at again.

use super::object_storage::{self, beside};
use super::repository;
use crate::domain::backup::{Repository, path_of, stanza_of};
use crate::engine::ImageProgress;
use crate::engine::blueprint_repository::Tool;
use crate::operations::context::Services;
use crate::operations::member;
use crate::operations::step::StepError;
use crate::postgres::pgbackrest;
use std::time::Duration;

/// Removes one part of a repository, given by name: nothing else, and nothing through a link.
const SCRIPT: &str = "\
case \"$1\" in pgflex-*[!0-9a-f]*|'') exit 4 ;; pgflex-????????*) ;; *) exit 4 ;; esac
if [ ! -d \"$2\" ]; then exit 0; fi
cd \"$2\"
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

/// Whether nothing of it is left; `false` while it is removed.
///
/// # Errors
/// When the engine does not answer or refuses, or the removal failed.
pub async fn remove_part(services: &Services, part: &Repository) -> Result<bool, StepError> {
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
    // Of this part alone: what is left of the removal of another one is not taken for it.
    let name = format!("pgflex-{}-erase-{}", part.server_id.short(), part.number);
    engine.ensure_volume(&plan.tool_volume(&name)).await?;
    let script = if is_stored { STORED_SCRIPT } else { SCRIPT };
    let words = ["sh", "-euc", script, "erase", &part.stanza, &path_of(part.number)];
    let spec = plan.tool(Tool {
        name: name.clone(),
        image,
        command: words.map(str::to_owned).into(),
        volume: name.clone(),
        network,
        run: format!("erase/{}/{}", part.server_id, part.number),
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
