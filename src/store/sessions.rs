//! Signed-in browsers. The key that the browser holds is stored as its SHA-256 only.

use super::codec::{micros, parsed, time};
use super::{Record, Store, StoreError, WriteTx};
use crate::domain::account::{SESSION_IDLE, SessionInfo};
use crate::domain::ids::{SessionId, UserId};
use chrono::{DateTime, Utc};

/// A session about to be written.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub key_hash: String,
    pub id: SessionId,
    pub user_id: UserId,
    /// What the web layer keeps in it; opaque here.
    pub state: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub address: String,
    pub user_agent: String,
}

/// Why nothing is logged for these writes: sign-in and sign-out write lines of their own.
const QUIET: Record = Record::Nothing("the sign-in or sign-out that causes it has its own line");

impl Store {
    /// The state of a session that has neither ended nor idled too long, and when it was last seen.
    pub async fn session_state(
        &self,
        key_hash: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<(String, DateTime<Utc>)>, StoreError> {
        let row: Option<(String, i64)> = sqlx::query_as(
            "SELECT state, seen_at FROM sessions WHERE key_hash = $1 AND expires_at > $2 AND seen_at > $3",
        )
        .bind(key_hash)
        .bind(micros(now))
        .bind(micros(now - SESSION_IDLE))
        .fetch_optional(self.read())
        .await?;
        Ok(row.map(|(state, seen)| (state, time(seen))))
    }

    pub async fn insert_session(
        &self,
        now: DateTime<Utc>,
        session: &NewSession,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query(
            "INSERT INTO sessions (key_hash, id, user_id, state, created_at, seen_at, expires_at, address, user_agent)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(session.key_hash.clone())
        .bind(session.id.as_str())
        .bind(session.user_id.as_str())
        .bind(session.state.clone())
        .bind(micros(session.created_at))
        .bind(micros(now))
        .bind(micros(session.expires_at))
        .bind(session.address.clone())
        .bind(session.user_agent.clone())
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(QUIET).await
    }

    /// Replaces the state; a session that was ended meanwhile stays ended.
    pub async fn update_session(
        &self,
        now: DateTime<Utc>,
        key_hash: &str,
        state: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("UPDATE sessions SET state = $2, seen_at = $3 WHERE key_hash = $1")
            .bind(key_hash)
            .bind(state)
            .bind(micros(now))
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(QUIET).await
    }

    /// Notes that the session is in use.
    pub async fn touch_session(
        &self,
        now: DateTime<Utc>,
        key_hash: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("UPDATE sessions SET seen_at = $2 WHERE key_hash = $1 AND seen_at < $2")
            .bind(key_hash)
            .bind(micros(now))
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(QUIET).await
    }

    pub async fn delete_session(
        &self,
        now: DateTime<Utc>,
        key_hash: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("DELETE FROM sessions WHERE key_hash = $1")
            .bind(key_hash)
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(QUIET).await
    }

    /// Removes sessions that have ended by time. For a periodic task.
    pub async fn purge_sessions(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut tx = self.begin_write(now).await?;
        let done = sqlx::query("DELETE FROM sessions WHERE expires_at <= $1 OR seen_at <= $2")
            .bind(micros(now))
            .bind(micros(now - SESSION_IDLE))
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(Record::Nothing("housekeeping")).await?;
        Ok(done.rows_affected())
    }

    /// A user's live sessions, the one used last first.
    pub async fn sessions_of(
        &self,
        user: &UserId,
        now: DateTime<Utc>,
    ) -> Result<Vec<SessionInfo>, StoreError> {
        let rows: Vec<(String, i64, i64, String, String)> = sqlx::query_as(
            "SELECT id, created_at, seen_at, address, user_agent FROM sessions
             WHERE user_id = $1 AND expires_at > $2 AND seen_at > $3 ORDER BY seen_at DESC, id LIMIT 100",
        )
        .bind(user.as_str())
        .bind(micros(now))
        .bind(micros(now - SESSION_IDLE))
        .fetch_all(self.read())
        .await?;
        rows.into_iter()
            .map(|(id, created, seen, address, user_agent)| {
                Ok(SessionInfo {
                    id: parsed(&id, SessionId::parse, "session id")?,
                    user_id: user.clone(),
                    created_at: time(created),
                    seen_at: time(seen),
                    address,
                    user_agent,
                })
            })
            .collect()
    }
}

impl WriteTx {
    /// Ends one session of a user. Gives false when it is not theirs or has ended already.
    pub async fn end_session(
        &mut self,
        user: &UserId,
        session: &SessionId,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id = $2")
            .bind(user.as_str())
            .bind(session.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends all sessions of a user, except one where the person stays signed in.
    pub async fn end_sessions(
        &mut self,
        user: &UserId,
        except: Option<&SessionId>,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id <> $2")
            .bind(user.as_str())
            .bind(except.map_or("", |id| id.as_str()).to_owned())
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected())
    }
}
