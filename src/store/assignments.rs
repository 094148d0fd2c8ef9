//! Who may do what where: roles in groups, and the one question that every request of a thing asks.

use super::codec::{micros, parsed, time};
use super::{Store, StoreError, WriteTx};
use crate::domain::account::Role;
use crate::domain::group::Assignment;
use crate::domain::ids::{GroupId, InviteId, OperationId, ServerId, UserId};
use sqlx::FromRow;

/// Something that belongs to a group.
#[derive(Debug, Clone, Copy)]
pub enum Thing<'a> {
    /// A server; one that is gone is judged by the group of its operations.
    Server(&'a ServerId),
    Operation(&'a OperationId),
    Group(&'a GroupId),
}

/// The role of the person `$1` on the thing `$2`: no row when there is no such thing, or they may not know
/// that there is. Own role and assigned role come together; the higher one counts.
macro_rules! role_on {
    ($thing:literal) => {
        concat!(
            "SELECT u.role, COALESCE(a.role, '') FROM (",
            $thing,
            ") t JOIN users u ON u.id = $1 AND u.disabled = 0
             LEFT JOIN role_assignments a ON a.user_id = u.id AND a.group_id = t.group_id
             WHERE u.role <> 'Member' OR a.role IS NOT NULL LIMIT 1"
        )
    };
}

impl Thing<'_> {
    fn sql(self) -> &'static str {
        match self {
            Thing::Server(_) => role_on!(
                "SELECT group_id FROM servers WHERE id = $2 UNION ALL
                 SELECT group_id FROM operations WHERE server_id = $2 AND NOT EXISTS (SELECT 1 FROM servers WHERE id = $2)"
            ),
            Thing::Operation(_) => role_on!("SELECT group_id FROM operations WHERE id = $2"),
            Thing::Group(_) => {
                role_on!("SELECT id AS group_id FROM resource_groups WHERE id = $2")
            }
        }
    }

    fn id(&self) -> &str {
        match self {
            Thing::Server(id) => id.as_str(),
            Thing::Operation(id) => id.as_str(),
            Thing::Group(id) => id.as_str(),
        }
    }
}

fn higher((own, assigned): (String, String)) -> Result<Role, StoreError> {
    let own = parsed(&own, Role::parse, "role")?;
    Ok(Role::parse_in_group(&assigned).map_or(own, |role| role.max(own)))
}

#[derive(FromRow)]
struct Row {
    user_id: String,
    login: String,
    group_id: String,
    group_name: String,
    role: String,
    created_by: String,
    created_at: i64,
}

impl Row {
    fn into_assignment(self) -> Result<Assignment, StoreError> {
        Ok(Assignment {
            user_id: parsed(&self.user_id, UserId::parse, "user id")?,
            login: self.login,
            group_id: parsed(&self.group_id, GroupId::parse, "group id")?,
            group_name: self.group_name,
            role: parsed(&self.role, Role::parse_in_group, "role in a group")?,
            created_by: self.created_by,
            created_at: time(self.created_at),
        })
    }
}

macro_rules! assignments {
    ($tail:literal) => {
        concat!(
            "SELECT a.user_id, u.login, a.group_id, g.name AS group_name, a.role, a.created_by, a.created_at FROM role_assignments a
             JOIN users u ON u.id = a.user_id JOIN resource_groups g ON g.id = a.group_id ",
            $tail
        )
    };
}

impl Store {
    /// What a person may do with a thing; `None` when it is not there, or is not for them to know of.
    pub async fn role_on(
        &self,
        user: &UserId,
        thing: Thing<'_>,
    ) -> Result<Option<Role>, StoreError> {
        let row: Option<(String, String)> = sqlx::query_as(thing.sql())
            .bind(user.as_str())
            .bind(thing.id())
            .fetch_optional(self.read())
            .await?;
        row.map(higher).transpose()
    }

    /// The highest role that a person has in any group; `None` when no group assigns one.
    pub async fn highest_assigned_role(&self, user: &UserId) -> Result<Option<Role>, StoreError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT DISTINCT role FROM role_assignments WHERE user_id = $1")
                .bind(user.as_str())
                .fetch_all(self.read())
                .await?;
        Ok(rows.iter().filter_map(|(role,)| Role::parse_in_group(role)).max())
    }

    /// Roles in a group, by login.
    pub async fn group_assignments(&self, group: &GroupId) -> Result<Vec<Assignment>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(assignments!("WHERE a.group_id = $1 ORDER BY u.login LIMIT 1000"))
                .bind(group.as_str())
                .fetch_all(self.read())
                .await?;
        rows.into_iter().map(Row::into_assignment).collect()
    }

    /// Every role in every group, by group.
    pub async fn assignments(&self) -> Result<Vec<Assignment>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(assignments!("ORDER BY g.name, u.login LIMIT 10000"))
            .fetch_all(self.read())
            .await?;
        rows.into_iter().map(Row::into_assignment).collect()
    }
}

impl WriteTx {
    /// What a person may do with a thing, seen inside the transaction.
    pub async fn role_on(
        &mut self,
        user: &UserId,
        thing: Thing<'_>,
    ) -> Result<Option<Role>, StoreError> {
        let row: Option<(String, String)> = sqlx::query_as(thing.sql())
            .bind(user.as_str())
            .bind(thing.id())
            .fetch_optional(&mut *self.tx)
            .await?;
        row.map(higher).transpose()
    }

    /// Gives a person a role in a group, in the place of the one they had there.
    pub async fn assign_role(
        &mut self,
        group: &GroupId,
        user: &UserId,
        role: Role,
        by: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO role_assignments (user_id, group_id, role, created_by, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (user_id, group_id) DO UPDATE SET role = excluded.role, created_by = excluded.created_by, created_at = excluded.created_at",
        )
        .bind(user.as_str())
        .bind(group.as_str())
        .bind(role.key())
        .bind(by)
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Takes a person's role in a group. False when they have none there.
    pub async fn remove_assignment(
        &mut self,
        group: &GroupId,
        user: &UserId,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM role_assignments WHERE user_id = $1 AND group_id = $2")
            .bind(user.as_str())
            .bind(group.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends the sessions of a person to whom no role is left, neither of their own nor in a group.
    pub async fn end_sessions_without_role(&mut self, user: &UserId) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM sessions WHERE user_id = $1 AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = $1 AND
               (u.role <> 'Member' OR EXISTS (SELECT 1 FROM role_assignments a WHERE a.user_id = u.id)))",
        )
        .bind(user.as_str())
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
    }

    /// The role in a group that an invitation brings along.
    pub async fn put_invite_assignment(
        &mut self,
        invite: &InviteId,
        group: &GroupId,
        role: Role,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO invite_assignments (invite_id, group_id, role) VALUES ($1, $2, $3)",
        )
        .bind(invite.as_str())
        .bind(group.as_str())
        .bind(role.key())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Gives who used an invitation the role that it brings along, unless its group is gone. The name of
    /// the group and the role, when there is one.
    pub async fn assign_invited(
        &mut self,
        invite: &InviteId,
        user: &UserId,
        by: &str,
    ) -> Result<Option<(String, Role)>, StoreError> {
        let row: Option<(String, String, String)> = sqlx::query_as(
            "SELECT g.id, g.name, i.role FROM invite_assignments i JOIN resource_groups g ON g.id = i.group_id WHERE i.invite_id = $1",
        )
        .bind(invite.as_str())
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some((group, name, role)) = row else { return Ok(None) };
        let group = parsed(&group, GroupId::parse, "group id")?;
        let role = parsed(&role, Role::parse_in_group, "role in a group")?;
        self.assign_role(&group, user, role, by).await?;
        Ok(Some((name, role)))
    }
}

impl Store {
    /// The role in a group that each invitation brings along: invitation, group's name, role.
    pub async fn invite_assignments(&self) -> Result<Vec<(String, String, Role)>, StoreError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT i.invite_id, g.name, i.role FROM invite_assignments i JOIN resource_groups g ON g.id = i.group_id
             JOIN invites n ON n.id = i.invite_id WHERE n.used_at IS NULL LIMIT 1000",
        )
        .fetch_all(self.read())
        .await?;
        rows.into_iter()
            .map(|(invite, group, role)| {
                Ok((invite, group, parsed(&role, Role::parse_in_group, "role in a group")?))
            })
            .collect()
    }
}
