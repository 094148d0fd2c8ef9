//! People with a login, and the links by which they come.

use super::codec::{flag, micros, parsed, time};
use super::{Store, StoreError, WriteTx};
use crate::domain::account::{Invite, Role, User};
use crate::domain::ids::{InviteId, UserId};
use chrono::{DateTime, Utc};
use sqlx::FromRow;

#[derive(FromRow)]
struct UserRow {
    id: String,
    login: String,
    password_hash: String,
    role: String,
    disabled: i64,
    created_at: i64,
    password_changed_at: i64,
    has_second_factor: i64,
}

impl UserRow {
    fn into_user(self) -> Result<(User, String), StoreError> {
        let user = User {
            id: parsed(&self.id, UserId::parse, "user id")?,
            login: self.login,
            role: parsed(&self.role, Role::parse, "role")?,
            disabled: self.disabled != 0,
            created_at: time(self.created_at),
            password_changed_at: time(self.password_changed_at),
            has_second_factor: self.has_second_factor != 0,
        };
        Ok((user, self.password_hash))
    }
}

#[derive(FromRow)]
struct InviteRow {
    id: String,
    role: String,
    note: String,
    is_setup: i64,
    created_by: String,
    created_at: i64,
    expires_at: i64,
}

impl InviteRow {
    fn into_invite(self) -> Result<Invite, StoreError> {
        Ok(Invite {
            id: parsed(&self.id, InviteId::parse, "invite id")?,
            role: parsed(&self.role, Role::parse, "role")?,
            note: self.note,
            is_setup: self.is_setup != 0,
            created_by: self.created_by,
            created_at: time(self.created_at),
            expires_at: time(self.expires_at),
        })
    }
}

/// A row of a person with its condition.
macro_rules! users {
    ($rest:literal) => {
        concat!(
            "SELECT id, login, password_hash, role, disabled, created_at, password_changed_at, (SELECT COUNT(*) FROM second_factors f
               WHERE f.user_id = users.id AND f.confirmed_at IS NOT NULL) AS has_second_factor FROM users ",
            $rest
        )
    };
}

impl Store {
    /// Whether anybody can sign in at all.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        let (count,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM users").fetch_one(self.read()).await?;
        Ok(count > 0)
    }

    pub async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let row: Option<UserRow> = sqlx::query_as(users!("WHERE id = $1"))
            .bind(id.as_str())
            .fetch_optional(self.read())
            .await?;
        row.map(|row| row.into_user().map(|(user, _)| user)).transpose()
    }

    /// A user with the password's hash, by folded login.
    pub async fn user_by_login(&self, login: &str) -> Result<Option<(User, String)>, StoreError> {
        let row: Option<UserRow> = sqlx::query_as(users!("WHERE login = $1"))
            .bind(login)
            .fetch_optional(self.read())
            .await?;
        row.map(UserRow::into_user).transpose()
    }

    /// Everybody, by login.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        let rows: Vec<UserRow> =
            sqlx::query_as(users!("ORDER BY login LIMIT 1000")).fetch_all(self.read()).await?;
        rows.into_iter().map(|row| row.into_user().map(|(user, _)| user)).collect()
    }

    /// The link with this token, if it still works: unused, not expired, and for the first owner only
    /// while there is no user.
    pub async fn open_invite(
        &self,
        token_hash: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Invite>, StoreError> {
        let row: Option<InviteRow> = sqlx::query_as(
            "SELECT id, role, note, is_setup, created_by, created_at, expires_at FROM invites
             WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2
               AND (is_setup = 0 OR (SELECT COUNT(*) FROM users) = 0)",
        )
        .bind(token_hash)
        .bind(micros(now))
        .fetch_optional(self.read())
        .await?;
        row.map(InviteRow::into_invite).transpose()
    }

    /// Invitations that still work, newest first.
    pub async fn open_invites(&self, now: DateTime<Utc>) -> Result<Vec<Invite>, StoreError> {
        let rows: Vec<InviteRow> = sqlx::query_as(
            "SELECT id, role, note, is_setup, created_by, created_at, expires_at FROM invites
             WHERE used_at IS NULL AND expires_at > $1 AND is_setup = 0 ORDER BY created_at DESC, id LIMIT 200",
        )
        .bind(micros(now))
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(InviteRow::into_invite).collect()
    }
}

/// An account about to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub id: UserId,
    pub login: String,
    pub password_hash: String,
    pub role: Role,
}

impl WriteTx {
    /// Makes an account. A taken login is a unique violation.
    pub async fn insert_user(&mut self, user: &NewUser) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO users (id, login, password_hash, role, created_at, password_changed_at) VALUES ($1, $2, $3, $4, $5, $5)",
        )
        .bind(user.id.as_str())
        .bind(user.login.clone())
        .bind(user.password_hash.clone())
        .bind(user.role.key())
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// A new password that the person chose.
    pub async fn set_password(&mut self, user: &UserId, phc: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE users SET password_hash = $2, password_changed_at = $3, version = version + 1 WHERE id = $1",
        )
        .bind(user.as_str())
        .bind(phc)
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// The same password under a costlier hash, unless it was changed meanwhile.
    pub async fn rehash_password(
        &mut self,
        user: &UserId,
        old: &str,
        new: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2")
            .bind(user.as_str())
            .bind(old)
            .bind(new)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Sets role or disabled, `None` leaves one as it is, unless no owner would be left who can sign in:
    /// then false.
    pub async fn set_user_access(
        &mut self,
        user: &UserId,
        role: Option<Role>,
        disabled: Option<bool>,
    ) -> Result<bool, StoreError> {
        self.lock_owners().await?;
        let done = sqlx::query(
            "UPDATE users SET role = COALESCE($2, role), disabled = COALESCE($3, disabled), version = version + 1
             WHERE id = $1 AND ((COALESCE($2, role) = 'Owner' AND COALESCE($3, disabled) = 0)
               OR (SELECT COUNT(*) FROM users AS other WHERE other.role = 'Owner' AND other.disabled = 0 AND other.id <> $1) > 0)",
        )
        .bind(user.as_str())
        .bind(role.map(Role::key))
        .bind(disabled.map(flag))
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Two owners who demote each other at once must meet: this row is where they do.
    async fn lock_owners(&mut self) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES ('lock/owners', '')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    pub async fn insert_invite(
        &mut self,
        invite: &Invite,
        token_hash: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO invites (id, token_hash, role, note, is_setup, created_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(invite.id.as_str())
        .bind(token_hash)
        .bind(invite.role.key())
        .bind(invite.note.clone())
        .bind(flag(invite.is_setup))
        .bind(invite.created_by.clone())
        .bind(micros(invite.created_at))
        .bind(micros(invite.expires_at))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Puts a set-up link in the place of earlier ones, while there is no user; else false.
    pub async fn replace_setup_invite(
        &mut self,
        invite: &Invite,
        token_hash: &str,
    ) -> Result<bool, StoreError> {
        self.lock_owners().await?;
        let (users,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM users").fetch_one(&mut *self.tx).await?;
        if users > 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM invites WHERE is_setup = 1").execute(&mut *self.tx).await?;
        self.insert_invite(invite, token_hash).await?;
        Ok(true)
    }

    /// Uses a link up. False when it was used, revoked or expired meanwhile.
    pub async fn use_invite(&mut self, invite: &InviteId) -> Result<bool, StoreError> {
        self.lock_owners().await?;
        let done = sqlx::query(
            "UPDATE invites SET used_at = $2 WHERE id = $1 AND used_at IS NULL AND expires_at > $2
               AND (is_setup = 0 OR (SELECT COUNT(*) FROM users) = 0)",
        )
        .bind(invite.as_str())
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes back every unused invitation that a person made.
    pub async fn delete_invites_by(&mut self, login: &str) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM invites WHERE created_by = $1 AND used_at IS NULL AND is_setup = 0",
        )
        .bind(login)
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
    }

    /// Takes an unused invitation back. False when there is none.
    pub async fn delete_invite(&mut self, invite: &InviteId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM invites WHERE id = $1 AND used_at IS NULL")
            .bind(invite.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}
