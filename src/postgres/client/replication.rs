//! Replication by SQL. A look is one statement, so that what it says was true at one moment.

use super::{TlsPostgres, connect, explain, late, with_session, with_session_in};
use crate::domain::ha::Lsn;
use crate::postgres::replication::{
    Promoted, REPLICATION_ROLE, Replication, Sender, Standing, Watch,
};
use crate::postgres::{PostgresError, Target};
use async_trait::async_trait;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, Row};

/// One look over a session that is open already.
const LOOK: Duration = Duration::from_secs(1);
/// Address reached and logged in, for a session of looks.
const OPEN: Duration = Duration::from_secs(2);
/// A promotion replays what was received first.
const PROMOTE: Duration = Duration::from_secs(70);

/// The timeline of a primary is that of the file it writes; its control file knows a new one only after the
/// next checkpoint. So does that of a standby: one without a receiver tells by the newest file that it has received.
/// A standby that was started without its primary has received nothing yet and replayed all it had.
/// Log positions are text: the client knows no type for them.
const STANDING: &str = "\
SELECT pg_is_in_recovery(), \
  CASE WHEN pg_is_in_recovery() \
    THEN COALESCE((SELECT NULLIF(r.received_tli, 0) FROM pg_stat_wal_receiver r), GREATEST((SELECT c.timeline_id FROM pg_control_checkpoint() c), \
      (SELECT max(('x' || substr(l.name, 1, 8))::bit(32)::int) FROM pg_ls_waldir() l WHERE l.name ~ '^[0-9A-F]{24}$'))) \
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, \
  (SELECT s.system_identifier::text FROM pg_control_system() s), \
  CASE WHEN pg_is_in_recovery() THEN GREATEST(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_flush_lsn() END::text, \
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END::text, \
  (SELECT r.status FROM pg_stat_wal_receiver r), \
  current_setting('synchronous_standby_names'), \
  (extract(epoch FROM pg_conf_load_time()) * 1000000)::bigint, \
  (SELECT COALESCE(jsonb_agg(jsonb_build_array(w.pid, w.application_name, w.state, w.sync_state, w.flush_lsn::text, w.replay_lsn::text, \
       (extract(epoch FROM w.backend_start) * 1000000)::bigint))::text, '[]') \
     FROM (SELECT * FROM pg_stat_replication WHERE usename = $1::text::name LIMIT 20) w)";

/// What is written here waits for no standby, or we would hang when it is gone: to bring one back is what we write for.
const LOCAL: &str = "SET synchronous_commit TO local";

/// A write that is flushed to the disk: one that hangs is noticed by it. As part of a transaction: any other message
/// is flushed some time later.
const WRITE: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_logical_emit_message(true, 'pgflex', '')::text END";

/// The place behind a record of our own, flushed when this answers.
const MARK: &str = "SELECT pg_logical_emit_message(true, 'pgflex', '')::text";

#[async_trait]
impl Replication for TlsPostgres {
    async fn standing(&self, target: &Target) -> Result<Standing, PostgresError> {
        with_session(target, |client| async move { standing(&client).await }).await
    }

    async fn watch(&self, target: &Target) -> Result<Box<dyn Watch>, PostgresError> {
        let opened = tokio::time::timeout(OPEN, connect(target, "postgres")).await;
        let (client, connection) = opened.map_err(|_| late("no connection", OPEN))??;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a session of looks ended");
            }
        });
        let session = Session { client, connection };
        let local = tokio::time::timeout(OPEN, session.client.batch_execute(LOCAL)).await;
        local.map_err(|_| late("no answer", OPEN))?.map_err(|error| explain(&error))?;
        Ok(Box::new(session))
    }

    async fn ensure_replication_role(&self, target: &Target) -> Result<(), PostgresError> {
        let role = REPLICATION_ROLE;
        let text = format!(
            "{LOCAL};
             DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role}; END IF; END $$;
             ALTER ROLE {role} WITH LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOBYPASSRLS PASSWORD NULL;"
        );
        with_session(target, |client| async move { client.batch_execute(&text).await }).await
    }

    async fn ensure_slot(&self, target: &Target, name: &str) -> Result<(), PostgresError> {
        let text = "SELECT pg_create_physical_replication_slot($1::text::name, true) \
                    WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1::text::name)";
        with_session(
            target,
            |client| async move { client.execute(text, &[&name]).await.map(|_| ()) },
        )
        .await
    }

    async fn drop_slot(&self, target: &Target, name: &str) -> Result<(), PostgresError> {
        let text = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1::text::name AND NOT active";
        let left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1::text::name";
        let left: i64 = with_session(target, |client| async move {
            client.execute(text, &[&name]).await?;
            client.query_one(left, &[&name]).await?.try_get(0)
        })
        .await?;
        match left {
            0 => Ok(()),
            _ => Err(PostgresError::Silent(format!("the slot {name} is in use"))),
        }
    }

    async fn slots(&self, target: &Target) -> Result<Vec<String>, PostgresError> {
        let text = "SELECT slot_name::text FROM pg_replication_slots \
                    WHERE slot_type = 'physical' AND starts_with(slot_name::text, 'pgflex_') ORDER BY 1 LIMIT 100";
        with_session(target, |client| async move {
            client.query(text, &[]).await?.iter().map(|row| row.try_get(0)).collect()
        })
        .await
    }

    async fn reload(&self, target: &Target) -> Result<(), PostgresError> {
        with_session(target, |client| async move {
            client.batch_execute("SELECT pg_reload_conf()").await
        })
        .await
    }

    async fn mark(&self, target: &Target) -> Result<Lsn, PostgresError> {
        let text: String = with_session(target, |client| async move {
            client.batch_execute(LOCAL).await?;
            client.query_one(MARK, &[]).await?.try_get(0)
        })
        .await?;
        Lsn::parse(&text).ok_or_else(|| PostgresError::Refused(format!("no log position: {text}")))
    }

    async fn promote(&self, target: &Target) -> Result<Promoted, PostgresError> {
        let work = |client: Client| async move { promote(&client).await };
        let seen = with_session_in(target, "postgres", PROMOTE, work).await?;
        // `pg_promote` answers `false` when its time is over, and goes on: with much left to replay the member is a
        // standby still, and whoever let clients in would show them a past.
        if seen.in_recovery {
            let why = "it still replays what it received before it takes writes";
            return Err(PostgresError::Silent(why.into()));
        }
        Ok(Promoted { timeline: seen.timeline, fork: seen.written })
    }

    async fn end_senders(&self, target: &Target, name: &str) -> Result<(), PostgresError> {
        let text = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = $1 AND usename = $2::text::name";
        with_session(target, |client| async move {
            client.execute(text, &[&name, &REPLICATION_ROLE]).await.map(|_| ())
        })
        .await
    }
}

/// How the member stands when `pg_promote` has answered, which may be before its end.
async fn promote(client: &Client) -> Result<Standing, Error> {
    // `pg_promote` stops the receiver first, replays all that was received, and only then begins a new timeline: from
    // its begin on the old primary can get no acknowledgement from here (F6).
    client.batch_execute("SET statement_timeout = '65s'").await?;
    client
        .query("SELECT CASE WHEN pg_is_in_recovery() THEN pg_promote(true, 60) ELSE true END", &[])
        .await?;
    standing(client).await
}

async fn standing(client: &Client) -> Result<Standing, Error> {
    read(&client.query_one(STANDING, &[&REPLICATION_ROLE]).await?)
}

fn read(row: &Row) -> Result<Standing, Error> {
    let lsn = |at: usize| -> Result<Option<Lsn>, Error> {
        Ok(row.try_get::<_, Option<String>>(at)?.as_deref().and_then(Lsn::parse))
    };
    let timeline: i32 = row.try_get(1)?;
    let senders: String = row.try_get(8)?;
    Ok(Standing {
        in_recovery: row.try_get(0)?,
        timeline: timeline.into(),
        system_identifier: row.try_get(2)?,
        written: lsn(3)?,
        replayed: lsn(4)?,
        receiver: row.try_get(5)?,
        waits_for: row.try_get(6)?,
        loaded_at: row.try_get(7)?,
        senders: read_senders(&senders),
    })
}

/// One row of the list, as JSON gives it.
type SenderRow = (i32, String, Option<String>, Option<String>, Option<String>, Option<String>, i64);

fn read_senders(text: &str) -> Vec<Sender> {
    let rows: Vec<SenderRow> = serde_json::from_str(text).unwrap_or_default();
    let lsn = |text: Option<String>| text.as_deref().and_then(Lsn::parse);
    rows.into_iter()
        .map(|(pid, application_name, state, sync_state, flushed, replayed, started_at)| Sender {
            pid,
            application_name,
            state: state.unwrap_or_default(),
            sync_state: sync_state.unwrap_or_default(),
            flushed: lsn(flushed),
            replayed: lsn(replayed),
            started_at,
        })
        .collect()
}

/// A session that stays open. Its task ends with it.
struct Session {
    client: Client,
    connection: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[async_trait]
impl Watch for Session {
    async fn look(&mut self) -> Result<Standing, PostgresError> {
        tokio::time::timeout(LOOK, standing(&self.client))
            .await
            .map_err(|_| late("no answer", LOOK))?
            .map_err(|error| explain(&error))
    }

    async fn look_writing(&mut self) -> Result<Standing, PostgresError> {
        let both = async {
            self.client.query(WRITE, &[]).await?;
            standing(&self.client).await
        };
        tokio::time::timeout(LOOK, both)
            .await
            .map_err(|_| late("no answer", LOOK))?
            .map_err(|error| explain(&error))
    }
}
