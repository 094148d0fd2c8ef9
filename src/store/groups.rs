//! Resource groups, and the servers' way from one to another.

use super::codec::{micros, parsed, time};
use super::scope::{Viewer, seen_by};
use super::{Store, StoreError, WriteTx};
use crate::domain::group::Group;
use crate::domain::ids::{GroupId, ServerId};
use crate::domain::meter::Meter;
use sqlx::FromRow;

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    created_by: String,
    created_at: i64,
}

impl Row {
    fn into_group(self) -> Result<Group, StoreError> {
        Ok(Group {
            id: parsed(&self.id, GroupId::parse, "group id")?,
            name: self.name,
            created_by: self.created_by,
            created_at: time(self.created_at),
        })
    }
}

#[derive(FromRow)]
struct CountedRow {
    id: String,
    name: String,
    created_by: String,
    created_at: i64,
    servers: i64,
    people: i64,
    locks: i64,
}

/// A group with what belongs to it, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedGroup {
    pub group: Group,
    pub servers: i64,
    /// People with a role in it.
    pub people: i64,
    /// Locks on the group itself.
    pub locks: i64,
}

/// A server in the list of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupedServer {
    pub id: ServerId,
    pub name: String,
}

/// Groups of one installation on a page, at most.
const GROUPS_MAX: i64 = 1_000;

impl Store {
    /// The groups that a viewer may see, by name; the one that always exists comes first.
    pub async fn groups(&self, viewer: &Viewer) -> Result<Vec<CountedGroup>, StoreError> {
        let rows: Vec<CountedRow> = sqlx::query_as(concat!(
            "SELECT g.id, g.name, g.created_by, g.created_at,
               (SELECT COUNT(*) FROM servers s WHERE s.group_id = g.id) AS servers,
               (SELECT COUNT(*) FROM role_assignments a WHERE a.group_id = g.id) AS people,
               (SELECT COUNT(*) FROM locks l WHERE l.scope = 'group' AND l.scope_id = g.id) AS locks
             FROM resource_groups g WHERE ",
            seen_by!("$1", "g.id"),
            " ORDER BY CASE WHEN g.id = $2 THEN 0 ELSE 1 END, g.name LIMIT $3"
        ))
        .bind(viewer.bind())
        .bind(GroupId::default_group().as_str().to_owned())
        .bind(GROUPS_MAX)
        .fetch_all(self.read())
        .await?;
        rows.into_iter()
            .map(|row| {
                let CountedRow { id, name, created_by, created_at, servers, people, locks } = row;
                let group = Row { id, name, created_by, created_at }.into_group()?;
                Ok(CountedGroup { group, servers, people, locks })
            })
            .collect()
    }

    /// A group, if the viewer may see it.
    pub async fn group(&self, id: &GroupId, viewer: &Viewer) -> Result<Option<Group>, StoreError> {
        let row: Option<Row> = sqlx::query_as(concat!(
            "SELECT g.id, g.name, g.created_by, g.created_at FROM resource_groups g WHERE g.id = $2 AND ",
            seen_by!("$1", "g.id")
        ))
        .bind(viewer.bind())
        .bind(id.as_str())
        .fetch_optional(self.read())
        .await?;
        row.map(Row::into_group).transpose()
    }

    /// The groups in which a person may create and change servers, the one that always exists first.
    pub async fn groups_to_change(
        &self,
        user: &crate::domain::ids::UserId,
    ) -> Result<Vec<Group>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT g.id, g.name, g.created_by, g.created_at FROM resource_groups g JOIN users u ON u.id = $1 AND u.disabled = 0
             WHERE u.role IN ('Contributor', 'Owner') OR EXISTS (SELECT 1 FROM role_assignments a
               WHERE a.user_id = u.id AND a.group_id = g.id AND a.role IN ('Contributor', 'Owner'))
             ORDER BY CASE WHEN g.id = $2 THEN 0 ELSE 1 END, g.name LIMIT $3",
        )
        .bind(user.as_str())
        .bind(GroupId::default_group().as_str().to_owned())
        .bind(GROUPS_MAX)
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(Row::into_group).collect()
    }
}

impl WriteTx {
    /// Makes a group. A taken name is a unique violation.
    pub async fn insert_group(&mut self, group: &Group) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO resource_groups (id, name, created_by, created_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(group.id.as_str())
        .bind(group.name.clone())
        .bind(group.created_by.clone())
        .bind(micros(group.created_at))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Gives a group another name. A taken name is a unique violation; false when there is no such group.
    pub async fn rename_group(&mut self, group: &GroupId, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE resource_groups SET name = $2, version = version + 1 WHERE id = $1",
        )
        .bind(group.as_str())
        .bind(name)
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Holds a group's row, so that no server comes in while it goes. False when there is no such group.
    pub async fn lock_group(&mut self, group: &GroupId) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE resource_groups SET version = version + 1 WHERE id = $1")
            .bind(group.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// A group, seen inside the transaction.
    pub async fn group(&mut self, id: &GroupId) -> Result<Option<Group>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, name, created_by, created_at FROM resource_groups WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(&mut *self.tx)
        .await?;
        row.map(Row::into_group).transpose()
    }

    /// The servers of a group, by name, at most `limit`; call [`WriteTx::lock_group`] first.
    pub async fn servers_of_group(
        &mut self,
        group: &GroupId,
        limit: i64,
    ) -> Result<Vec<GroupedServer>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, name FROM servers WHERE group_id = $1 ORDER BY name LIMIT $2",
        )
        .bind(group.as_str())
        .bind(limit)
        .fetch_all(&mut *self.tx)
        .await?;
        rows.into_iter()
            .map(|(id, name)| {
                Ok(GroupedServer { id: parsed(&id, ServerId::parse, "server id")?, name })
            })
            .collect()
    }

    /// Forgets an empty group with its roles, and what invitations would have given in it. What was written
    /// of servers that are gone stays for people with a role of their own. False when it is not empty.
    pub async fn delete_group(&mut self, group: &GroupId) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM resource_groups WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM servers s WHERE s.group_id = $1)",
        )
        .bind(group.as_str())
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for statement in [
            "DELETE FROM role_assignments WHERE group_id = $1",
            "DELETE FROM invite_assignments WHERE group_id = $1",
            "DELETE FROM locks WHERE scope = 'group' AND scope_id = $1",
            "UPDATE operations SET group_id = NULL WHERE group_id = $1",
            "UPDATE activity SET group_id = NULL WHERE group_id = $1",
        ] {
            sqlx::query(statement).bind(group.as_str()).execute(&mut *self.tx).await?;
        }
        Ok(true)
    }

    /// Puts a server into a group with everything that was written of it: who sees the server sees its past,
    /// and nobody else does. Its meters begin anew, so that each group pays for its own time.
    /// Call [`WriteTx::lock_server`] and [`WriteTx::lock_group`] first.
    pub async fn move_server(
        &mut self,
        server: &ServerId,
        group: &GroupId,
    ) -> Result<(), StoreError> {
        for statement in [
            "UPDATE servers SET group_id = $2, version = version + 1 WHERE id = $1",
            "UPDATE operations SET group_id = $2 WHERE server_id = $1",
            "UPDATE activity SET group_id = $2 WHERE server_id = $1",
        ] {
            sqlx::query(statement)
                .bind(server.as_str())
                .bind(group.as_str())
                .execute(&mut *self.tx)
                .await?;
        }
        let running: Vec<(String, String)> = sqlx::query_as(
            // The end of the storage ends stopped time: that begins again last.
            "SELECT meter, quantity FROM meters WHERE server_id = $1 AND ended_at IS NULL ORDER BY CASE meter WHEN 'stopped' THEN 1 ELSE 0 END",
        )
        .bind(server.as_str())
        .fetch_all(&mut *self.tx)
        .await?;
        for (meter, quantity) in running {
            let meter = parsed(&meter, Meter::parse, "meter")?;
            self.set_meter(server, meter, None).await?;
            self.set_meter(server, meter, Some(&quantity)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use super::*;
    use crate::domain::server::SettledState;
    use crate::store::{Record, testing};
    use chrono::{DateTime, Duration};

    #[tokio::test]
    async fn stopped_time_goes_on_in_another_group() {
        for test in testing::all().await {
            let (store, begun) = (&test.store, DateTime::from_timestamp(1_795_000_000, 0).unwrap());
            let server = testing::server(store, begun, "shop").await;
            for (after, settled) in [(0, SettledState::Ready), (10, SettledState::Stopped)] {
                let mut tx = store.begin_write(begun + Duration::seconds(after)).await.unwrap();
                tx.follow_meters(&server, settled).await.unwrap();
                tx.commit(Record::Nothing("a test")).await.unwrap();
            }
            let mut tx = store.begin_write(begun + Duration::seconds(20)).await.unwrap();
            tx.move_server(&server, &GroupId::default_group()).await.unwrap();
            tx.commit(Record::Nothing("a test")).await.unwrap();
            let open = store.server_meters(&server).await.unwrap().into_iter();
            let open = open.filter(|line| line.ended_at.is_none()).map(|line| line.meter.key());
            let mut open: Vec<_> = open.collect();
            open.sort_unstable();
            assert_eq!(open, ["stopped", "storage"], "{}", test.name);
        }
    }
}
