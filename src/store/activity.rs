//! The activity log: append only; an operation's line learns its end.

use super::codec::{flag, micros, parsed, time, time_option};
use super::scope::{Viewer, seen_by};
use super::{Store, StoreError, WriteTx};
use crate::clock::new_uuid;
use crate::domain::activity::{Activity, ActivityOutcome, NewActivity};
use crate::domain::ids::{ActivityId, GroupId, OperationId, ServerId};
use crate::domain::operation::OperationStatus;
use sqlx::FromRow;

#[derive(FromRow)]
struct Row {
    id: String,
    at: i64,
    actor_name: String,
    address: String,
    action: String,
    subject: String,
    server_id: Option<String>,
    operation_id: Option<String>,
    outcome: String,
    operation_status: String,
    detail: String,
    ended_at: Option<i64>,
}

impl Row {
    fn into_activity(self) -> Result<Activity, StoreError> {
        let outcome = parsed(&self.outcome, ActivityOutcome::parse, "activity outcome")?;
        let is_parked = self.operation_status == OperationStatus::NeedsAttention.key();
        Ok(Activity {
            id: parsed(&self.id, ActivityId::parse, "activity id")?,
            at: time(self.at),
            actor_name: self.actor_name,
            address: self.address,
            action: self.action,
            subject: self.subject,
            server_id: self.server_id.as_deref().and_then(ServerId::parse),
            operation_id: self.operation_id.as_deref().and_then(OperationId::parse),
            outcome,
            needs_attention: is_parked && outcome == ActivityOutcome::Started,
            detail: self.detail,
            ended_at: time_option(self.ended_at),
        })
    }
}

/// What to show of the log; empty texts and `None` do not filter.
#[derive(Debug, Clone, Default)]
pub struct ActivityFilter {
    pub server_id: Option<ServerId>,
    pub actor: String,
    /// Beginning of the action, such as `server.`.
    pub action: String,
    /// Part of the subject.
    pub subject: String,
    pub outcome: Option<ActivityOutcome>,
    pub viewer: Viewer,
    /// Only lines older than this one: the last id of the page before.
    pub before: Option<ActivityId>,
}

/// A condition: the viewer bound at `$user` may see the line: it is of their groups, or of nothing and they wrote
/// it themselves, such as a sign-in.
macro_rules! seen_line {
    ($user:literal) => {
        concat!(
            "((activity.group_id IS NULL AND user_id = ",
            $user,
            ") OR ",
            seen_by!($user, "activity.group_id"),
            ")"
        )
    };
}

pub(super) use seen_line;

/// Lines on one page of the log.
pub const ACTIVITY_PAGE: i64 = 50;

impl WriteTx {
    /// Writes a line in a group: the given one, or that of the server that the line is about.
    pub(super) async fn insert_activity(
        &mut self,
        line: &NewActivity,
        group: Option<&GroupId>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO activity (id, at, user_id, actor_name, address, action, subject, server_id, operation_id, outcome, detail, group_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, COALESCE($12, (SELECT s.group_id FROM servers s WHERE s.id = $8),
               (SELECT o.group_id FROM operations o WHERE o.id = $9)))",
        )
        .bind(new_uuid())
        .bind(micros(self.now))
        .bind(line.actor.user_id.as_ref().map(|id| id.as_str().to_owned()))
        .bind(line.actor.name.clone())
        .bind(line.actor.address.clone())
        .bind(line.action)
        .bind(line.subject.clone())
        .bind(line.server_id.as_ref().map(|id| id.as_str().to_owned()))
        .bind(line.operation_id.as_ref().map(|id| id.as_str().to_owned()))
        .bind(line.outcome.key())
        .bind(line.detail.clone())
        .bind(group.map(|id| id.as_str().to_owned()))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Writes on an operation's line how it ended.
    pub async fn end_activity(
        &mut self,
        operation: &OperationId,
        outcome: ActivityOutcome,
        detail: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE activity SET outcome = $2, ended_at = $3, detail = CASE WHEN $4 = '' THEN detail ELSE $4 END WHERE operation_id = $1 AND outcome = 'Started'")
            .bind(operation.as_str())
            .bind(outcome.key())
            .bind(micros(self.now))
            .bind(detail)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}

impl ActivityFilter {
    pub(super) fn action_pattern(&self) -> String {
        if self.action.is_empty() {
            String::new()
        } else {
            format!("{}%", escape_like(&self.action))
        }
    }

    pub(super) fn subject_pattern(&self) -> String {
        if self.subject.is_empty() {
            String::new()
        } else {
            format!("%{}%", escape_like(&self.subject.to_lowercase()))
        }
    }
}

fn escape_like(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

macro_rules! lines {
    ($server:literal) => {
        concat!(
            "SELECT id, at, actor_name, address, action, subject, server_id, operation_id, outcome, detail, ended_at,
               COALESCE((SELECT o.status FROM operations o WHERE o.id = activity.operation_id), '') AS operation_status
             FROM activity
             WHERE ",
            $server,
            " AND ($2 = '' OR actor_name = $2) AND ($3 = '' OR action LIKE $3 ESCAPE '!')
               AND ($4 = '' OR lower(subject) LIKE $4 ESCAPE '!') AND ($5 = '' OR outcome = $5) AND ($6 = 0 OR id < $7) AND ",
            seen_line!("$9"),
            " ORDER BY id DESC LIMIT $8"
        )
    };
}

impl Store {
    /// One page of the log, newest first.
    pub async fn activities(&self, filter: &ActivityFilter) -> Result<Vec<Activity>, StoreError> {
        self.activities_up_to(filter, ACTIVITY_PAGE).await
    }

    /// The newest `limit` lines that the filter finds, newest first.
    pub async fn activities_up_to(
        &self,
        filter: &ActivityFilter,
        limit: i64,
    ) -> Result<Vec<Activity>, StoreError> {
        // Two texts, so that the lines of one server are found by its index.
        let sql = match filter.server_id {
            Some(_) => lines!("server_id = $1"),
            None => lines!("$1 = ''"),
        };
        let rows: Vec<Row> = sqlx::query_as(sql)
            .bind(filter.server_id.as_ref().map_or("", |id| id.as_str()).to_owned())
            .bind(filter.actor.clone())
            .bind(filter.action_pattern())
            .bind(filter.subject_pattern())
            .bind(filter.outcome.map_or("", ActivityOutcome::key))
            .bind(flag(filter.before.is_some()))
            .bind(filter.before.as_ref().map_or("", |id| id.as_str()).to_owned())
            .bind(limit)
            .bind(filter.viewer.bind())
            .fetch_all(self.read())
            .await?;
        rows.into_iter().map(Row::into_activity).collect()
    }
}
