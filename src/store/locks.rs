//! Locks on servers and groups, as rows.

use super::codec::{micros, parsed, time};
use super::{Store, StoreError, WriteTx};
use crate::domain::ids::{GroupId, LockId, ServerId};
use crate::domain::lock::{Lock, LockKind, LockScope};
use sqlx::FromRow;

#[derive(FromRow)]
struct Row {
    id: String,
    scope: String,
    holder: String,
    name: String,
    kind: String,
    note: String,
    created_by: String,
    created_at: i64,
}

impl Row {
    fn into_lock(self) -> Result<Lock, StoreError> {
        Ok(Lock {
            id: parsed(&self.id, LockId::parse, "lock id")?,
            scope: parsed(&self.scope, LockScope::parse, "scope of a lock")?,
            holder: self.holder,
            name: self.name,
            kind: parsed(&self.kind, LockKind::parse, "kind of lock")?,
            note: self.note,
            created_by: self.created_by,
            created_at: time(self.created_at),
        })
    }
}

/// Locks of a server `$1`: its own, then those of its group.
const ON_SERVER: &str = "SELECT l.id, l.scope, CASE WHEN l.scope = 'group' THEN g.name ELSE s.name END AS holder, l.name, l.kind, l.note, l.created_by, l.created_at
  FROM servers s JOIN locks l ON (l.scope = 'server' AND l.scope_id = s.id) OR (l.scope = 'group' AND l.scope_id = s.group_id)
  LEFT JOIN resource_groups g ON g.id = s.group_id WHERE s.id = $1 ORDER BY l.scope DESC, l.name";

const ON_GROUP: &str = "SELECT l.id, l.scope, g.name AS holder, l.name, l.kind, l.note, l.created_by, l.created_at
  FROM locks l JOIN resource_groups g ON g.id = l.scope_id WHERE l.scope = 'group' AND l.scope_id = $1 ORDER BY l.name";

/// Where a lock is put.
#[derive(Debug, Clone, Copy)]
pub enum Holder<'a> {
    Server(&'a ServerId),
    Group(&'a GroupId),
}

impl Holder<'_> {
    fn scope(self) -> LockScope {
        match self {
            Holder::Server(_) => LockScope::Server,
            Holder::Group(_) => LockScope::Group,
        }
    }

    fn id(&self) -> &str {
        match self {
            Holder::Server(id) => id.as_str(),
            Holder::Group(id) => id.as_str(),
        }
    }
}

impl Store {
    /// Every lock that holds for a server: its own first, then those of its group.
    pub async fn locks_on_server(&self, server: &ServerId) -> Result<Vec<Lock>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(ON_SERVER).bind(server.as_str()).fetch_all(self.read()).await?;
        rows.into_iter().map(Row::into_lock).collect()
    }

    /// The locks on a group itself.
    pub async fn locks_on_group(&self, group: &GroupId) -> Result<Vec<Lock>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(ON_GROUP).bind(group.as_str()).fetch_all(self.read()).await?;
        rows.into_iter().map(Row::into_lock).collect()
    }
}

impl WriteTx {
    /// Every lock that holds for a server, seen inside the transaction.
    pub async fn locks_on_server(&mut self, server: &ServerId) -> Result<Vec<Lock>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(ON_SERVER).bind(server.as_str()).fetch_all(&mut *self.tx).await?;
        rows.into_iter().map(Row::into_lock).collect()
    }

    /// The locks on a group itself, seen inside the transaction.
    pub async fn locks_on_group(&mut self, group: &GroupId) -> Result<Vec<Lock>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(ON_GROUP).bind(group.as_str()).fetch_all(&mut *self.tx).await?;
        rows.into_iter().map(Row::into_lock).collect()
    }

    /// Puts a lock on a server or group; `false` when that has `COUNT_MAX` already. A taken name is a
    /// unique violation.
    pub async fn insert_lock(
        &mut self,
        holder: Holder<'_>,
        lock: &Lock,
    ) -> Result<bool, StoreError> {
        let limit = i64::try_from(Lock::COUNT_MAX).unwrap_or(i64::MAX);
        let done = sqlx::query(
            "INSERT INTO locks (id, scope, scope_id, name, kind, note, created_by, created_at)
             SELECT $1, CAST($2 AS TEXT), CAST($3 AS TEXT), $4, $5, $6, $7, $8
             WHERE (SELECT COUNT(*) FROM locks WHERE scope = CAST($2 AS TEXT) AND scope_id = CAST($3 AS TEXT)) < $9",
        )
        .bind(lock.id.as_str())
        .bind(holder.scope().key())
        .bind(holder.id())
        .bind(lock.name.clone())
        .bind(lock.kind.key())
        .bind(lock.note.clone())
        .bind(lock.created_by.clone())
        .bind(micros(lock.created_at))
        .bind(limit)
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes a lock off the server or group that it is on; its name and kind, or `None` when it is not there.
    pub async fn delete_lock(
        &mut self,
        holder: Holder<'_>,
        lock: &LockId,
    ) -> Result<Option<(String, String)>, StoreError> {
        let row: Option<(String, String)> = sqlx::query_as(
            "DELETE FROM locks WHERE id = $1 AND scope = $2 AND scope_id = $3 RETURNING name, kind",
        )
        .bind(lock.as_str())
        .bind(holder.scope().key())
        .bind(holder.id())
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(row)
    }

    /// The name of a server of the group that has a lock of its own, if there is one.
    pub async fn locked_server_of(
        &mut self,
        group: &GroupId,
    ) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT s.name FROM servers s JOIN locks l ON l.scope = 'server' AND l.scope_id = s.id WHERE s.group_id = $1 ORDER BY s.name LIMIT 1",
        )
        .bind(group.as_str())
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(row.map(|(name,)| name))
    }
}
