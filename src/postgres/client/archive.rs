//! The archive of the log by SQL.

use super::{TlsPostgres, with_session};
use crate::domain::backup::Piece;
use crate::domain::backup::continuity::Line;
use crate::domain::ha::Lsn;
use crate::postgres::archive::{ArchiverLook, Archiving, Marker, RecoveryLook, parse_history};
use crate::postgres::pgbackrest::BACKUP_ROLE;
use crate::postgres::{ADMIN_GROUP, PostgresError, Target};
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

/// The control file names the new timeline only after the checkpoint of a promotion; the name of the piece that is written
/// now does so at once.
const LINE: &str = "SELECT name, pg_read_file('pg_wal/' || left(name, 8) || '.history', 0, 1000000, true)
  FROM (SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END AS name) AS now";

/// Of the names in `$1` those that are taken for archived and still there as whole pieces, and where the files of their
/// state lie. Nothing on a standby.
const KEPT: &str = "SELECT d.name, current_setting('data_directory') || '/pg_wal/archive_status'
  FROM pg_ls_archive_statusdir() AS s JOIN pg_ls_waldir() AS d ON s.name = d.name || '.done'
  WHERE d.name = ANY ($1::text[]) AND d.size = $2 AND NOT pg_is_in_recovery() ORDER BY 1";

/// Writes the empty file by which PostgreSQL knows that a piece is to be archived: no shell, and no way to write
/// anything else.
fn mark_ready(folder: &str, name: &str) -> String {
    let path = format!("{folder}/{name}.ready").replace('\'', "''");
    format!("COPY (SELECT 1 WHERE false) TO '{path}'")
}

fn place(text: &str) -> Result<Lsn, PostgresError> {
    Lsn::parse(text).ok_or_else(|| PostgresError::Refused(format!("no place in the log: {text}")))
}

#[async_trait]
impl Archiving for TlsPostgres {
    async fn ensure_backup_role(&self, target: &Target) -> Result<(), PostgresError> {
        let role = BACKUP_ROLE;
        // The administrator names the points that a restore may aim at; nobody else could.
        // On a pair nothing of this needs the standby. Before pgBackRest copies from one it makes it write down what it has.
        let text = format!(
            "SET synchronous_commit = local;
             DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role}; END IF; END $$;
             ALTER ROLE {role} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT NOREPLICATION NOBYPASSRLS PASSWORD NULL;
             GRANT pg_read_all_settings, pg_checkpoint TO {role};
             GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_start(text, boolean), pg_catalog.pg_backup_stop(boolean),
               pg_catalog.pg_switch_wal(), pg_catalog.pg_create_restore_point(text) TO {role};
             DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{ADMIN_GROUP}') THEN
               GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO {ADMIN_GROUP}; END IF; END $$;"
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

    async fn line(&self, target: &Target) -> Result<Line, PostgresError> {
        let (name, history) = with_session(target, |client| async move {
            let row = client.query_one(LINE, &[]).await?;
            Ok((row.try_get::<_, Option<String>>(0)?, row.try_get::<_, Option<String>>(1)?))
        })
        .await?;
        let refused = |why: &str| PostgresError::Refused(why.to_owned());
        let name = name.ok_or_else(|| refused("it is a standby"))?;
        let timeline = name.get(..8).and_then(|text| i64::from_str_radix(text, 16).ok());
        let timeline = timeline.ok_or_else(|| refused("no timeline"))?;
        let former = match (timeline, history) {
            (1, _) => Some(vec![]),
            (_, Some(text)) => parse_history(&text),
            (_, None) => None,
        };
        let former = former.ok_or_else(|| refused("the history of its timeline is not there"))?;
        Ok(Line { timeline, former })
    }

    async fn hand_over(
        &self,
        target: &Target,
        pieces: &[Piece],
        piece_bytes: u64,
    ) -> Result<usize, PostgresError> {
        let names: Vec<String> = pieces.iter().map(|piece| piece.name(piece_bytes)).collect();
        let bytes = i64::try_from(piece_bytes).unwrap_or(0);
        with_session(target, |client| async move {
            let kept = client.query(KEPT, &[&names, &bytes]).await?;
            for row in &kept {
                let (name, folder): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                if Piece::parse(&name, piece_bytes).is_some() {
                    client.batch_execute(&mark_ready(&folder, &name)).await?;
                }
            }
            Ok(kept.len())
        })
        .await
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
