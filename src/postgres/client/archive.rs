//! The archive of the log by SQL.

use super::{TlsPostgres, with_session};
use crate::domain::ha::Lsn;
use crate::postgres::archive::{ArchiverLook, Archiving, Marker, RecoveryLook};
use crate::postgres::pgbackrest::BACKUP_ROLE;
use crate::postgres::{PostgresError, Target};
use async_trait::async_trait;
use chrono::{DateTime, Utc};

const ARCHIVER: &str = "SELECT current_setting('archive_mode') <> 'off', last_archived_wal, last_archived_time,
    last_failed_wal, last_failed_time, failed_count,
    (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END)::text,
    clock_timestamp(), (SELECT timeline_id::bigint FROM pg_control_checkpoint()),
    pg_size_bytes(current_setting('wal_segment_size'))
  FROM pg_stat_archiver";

/// A record that is part of a transaction gets a commit of its own; the time is read before it, so that it is never
/// later than the commit.
const MARKER: &str =
    "SELECT clock_timestamp() AS at, pg_logical_emit_message(true, 'pgflex', '')::text AS lsn";

const RECOVERY: &str =
    "SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp(), pg_last_wal_replay_lsn()::text,
    (SELECT timeline_id::bigint FROM pg_control_checkpoint())";

fn place(text: &str) -> Result<Lsn, PostgresError> {
    Lsn::parse(text).ok_or_else(|| PostgresError::Refused(format!("no place in the log: {text}")))
}

#[async_trait]
impl Archiving for TlsPostgres {
    async fn ensure_backup_role(&self, target: &Target) -> Result<(), PostgresError> {
        let role = BACKUP_ROLE;
        // On a pair nothing of this needs the standby. Before pgBackRest copies from one it makes it write down what it has.
        let text = format!(
            "SET synchronous_commit = local;
             DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role}; END IF; END $$;
             ALTER ROLE {role} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT NOREPLICATION NOBYPASSRLS PASSWORD NULL;
             GRANT pg_read_all_settings, pg_checkpoint TO {role};
             GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_start(text, boolean), pg_catalog.pg_backup_stop(boolean),
               pg_catalog.pg_switch_wal(), pg_catalog.pg_create_restore_point(text) TO {role};"
        );
        with_session(target, |client| async move { client.batch_execute(&text).await }).await
    }

    async fn archiver(&self, target: &Target) -> Result<ArchiverLook, PostgresError> {
        let (look, written) = with_session(target, |client| async move {
            let row = client.query_one(ARCHIVER, &[]).await?;
            let pair = |name: Option<String>, at: Option<DateTime<Utc>>| name.zip(at);
            let look = ArchiverLook {
                is_on: row.try_get(0)?,
                archived: pair(row.try_get(1)?, row.try_get(2)?),
                failed: pair(row.try_get(3)?, row.try_get(4)?),
                failures: row.try_get(5)?,
                written: Lsn::default(),
                at: row.try_get(7)?,
                timeline: row.try_get(8)?,
                piece_bytes: u64::try_from(row.try_get::<_, i64>(9)?).unwrap_or(0),
            };
            Ok((look, row.try_get::<_, String>(6)?))
        })
        .await?;
        Ok(ArchiverLook { written: place(&written)?, ..look })
    }

    async fn end_piece(&self, target: &Target) -> Result<Marker, PostgresError> {
        let (at, lsn) = with_session(target, |client| async move {
            client.batch_execute("SET synchronous_commit = local").await?;
            let row = client.query_one(MARKER, &[]).await?;
            client.batch_execute("SELECT pg_switch_wal()").await?;
            Ok((row.try_get::<_, DateTime<Utc>>(0)?, row.try_get::<_, String>(1)?))
        })
        .await?;
        Ok(Marker { at, lsn: place(&lsn)? })
    }

    async fn recovery(&self, target: &Target) -> Result<RecoveryLook, PostgresError> {
        let (look, lsn) = with_session(target, |client| async move {
            let row = client.query_one(RECOVERY, &[]).await?;
            let look = RecoveryLook {
                is_under_way: row.try_get(0)?,
                reached_at: row.try_get(1)?,
                reached: None,
                timeline: row.try_get(3)?,
            };
            Ok((look, row.try_get::<_, Option<String>>(2)?))
        })
        .await?;
        let reached = lsn.as_deref().map(place).transpose()?;
        Ok(RecoveryLook { reached, ..look })
    }
}
