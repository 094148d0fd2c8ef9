//! What becomes of one repository of a server: each change touches its own columns alone, so that none takes another back.

use super::codec::micros;
use super::{StoreError, WriteTx};
use crate::domain::backup::{Redundancy, RepositoryState};
use crate::domain::ids::ServerId;
use chrono::{DateTime, Utc};

impl WriteTx {
    /// Notes that its list was read, and what all of the server's backups take in it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn note_repository(
        &mut self,
        server: &ServerId,
        number: i64,
        at: DateTime<Utc>,
        bytes: u64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE backup_repositories SET looked_at = $3, bytes = $4 WHERE server_id = $1 AND number = $2",
        )
        .bind(server.as_str())
        .bind(number)
        .bind(micros(at))
        .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// The log goes into it from now on: its gap ends.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn resume_repository(
        &mut self,
        server: &ServerId,
        number: i64,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.set_repository_state(server, number, RepositoryState::Active, at).await?;
        sqlx::query(
            "UPDATE backup_gaps SET ended_at = $3 WHERE server_id = $1 AND repository = $2 AND ended_at IS NULL",
        )
        .bind(server.as_str())
        .bind(number)
        .bind(micros(at))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Takes back that the log does not go into it, with the gap that began then.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn unsuspend_repository(
        &mut self,
        server: &ServerId,
        number: i64,
        (began, since): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM backup_gaps WHERE server_id = $1 AND repository = $2 AND began_at = $3 AND ended_at IS NULL",
        )
        .bind(server.as_str())
        .bind(number)
        .bind(micros(began))
        .execute(&mut *self.tx)
        .await?;
        self.set_repository_state(server, number, RepositoryState::Active, since).await
    }

    /// Writes how it stands from a moment on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_repository_state(
        &mut self,
        server: &ServerId,
        number: i64,
        state: RepositoryState,
        since: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE backup_repositories SET state = $3, since = $4 WHERE server_id = $1 AND number = $2 AND state <> $3",
        )
        .bind(server.as_str())
        .bind(number)
        .bind(state.key())
        .bind(micros(since))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Notes that a repository which is not asked for any more holds nothing, before its files are removed: nobody restores from it
    /// from then on. `false`, and nothing is written, when it is asked for, the log goes into it, or a restore reads there.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn empty_repository(
        &mut self,
        server: &ServerId,
        number: i64,
    ) -> Result<bool, StoreError> {
        let mut all = Redundancy::ALL.into_iter();
        let asked = all.find(|one| one.second() == Some(number));
        let done = sqlx::query(
            "UPDATE backup_repositories SET state = 'Planned', since = $3, bytes = NULL, looked_at = NULL
             WHERE server_id = $1 AND number = $2 AND number <> 1 AND state <> 'Active'
               AND EXISTS (SELECT 1 FROM backup_settings WHERE server_id = $1 AND redundancy <> $4)
               AND NOT EXISTS (SELECT 1 FROM restores WHERE source_id = $1 AND repository = $2 AND ended_at IS NULL)",
        )
        .bind(server.as_str())
        .bind(number)
        .bind(micros(self.now))
        .bind(asked.map_or("", Redundancy::key))
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for statement in [
            "DELETE FROM backups WHERE server_id = $1 AND repository = $2",
            "DELETE FROM backup_gaps WHERE server_id = $1 AND repository = $2",
            "DELETE FROM archive_checks WHERE server_id = $1 AND repository = $2",
        ] {
            sqlx::query(statement)
                .bind(server.as_str())
                .bind(number)
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(true)
    }

    /// Forgets a repository that holds nothing.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_repository(
        &mut self,
        server: &ServerId,
        number: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM backup_repositories WHERE server_id = $1 AND number = $2 AND state = 'Planned'
               AND NOT EXISTS (SELECT 1 FROM backups WHERE server_id = $1 AND repository = $2)",
        )
        .bind(server.as_str())
        .bind(number)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
