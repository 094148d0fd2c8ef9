//! How long backups are kept, asked for: a row, and no operation. Whatever expires backups reads the row each time.

use super::guard::refuse_if_locked_for;
use super::submit::{Door, SubmitError};
use crate::domain::activity::{ActivityOutcome, Actor, NewActivity};
use crate::domain::backup::Retention;
use crate::domain::ids::ServerId;
use crate::domain::lock::Act;
use crate::domain::refusal::Refusal;
use crate::store::Record;

/// Word of the activity log.
pub const CHANGE: &str = "server.change_retention";

impl Door<'_> {
    /// Changes for how many days backups of a server are kept. `seen` is the version of the settings that the person has
    /// seen. The same number again writes nothing.
    ///
    /// # Errors
    /// A refusal when a lock forbids it or somebody else has changed it meanwhile; then nothing was written.
    pub async fn change_retention(
        &self,
        server_id: &ServerId,
        to: Retention,
        seen: i64,
        actor: &Actor,
    ) -> Result<(), SubmitError> {
        let before = self.store.protection(server_id).await?.policy.retention;
        if before == to {
            return Ok(());
        }
        let mut tx = self.store.begin_write(self.clock.now()).await?;
        let server = tx
            .lock_server(server_id)
            .await?
            .ok_or_else(|| Refusal::whole("The server no longer exists."))?;
        refuse_if_locked_for(&mut tx, server_id, Act::Change, actor).await?;
        if !tx.change_retention(server_id, to, seen).await? {
            return Err(Refusal::whole(
                "Somebody changed how long backups are kept since this page was opened. Nothing was changed. The form shows what it is now.",
            )
            .into());
        }
        let line = NewActivity {
            actor: actor.clone(),
            action: CHANGE,
            subject: server.spec.name.as_str().to_owned(),
            server_id: Some(server_id.clone()),
            operation_id: None,
            outcome: ActivityOutcome::Succeeded,
            detail: format!("from {} to {} days", before.as_days(), to.as_days()),
        };
        tx.commit(Record::activity(line)).await?;
        Ok(())
    }
}
