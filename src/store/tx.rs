//! The one way to write: a transaction that takes the write lock at once and whose commit says
//! what the activity log gets.

use super::{Dialect, Store, StoreError};
use crate::domain::activity::NewActivity;
use crate::domain::ids::GroupId;
use chrono::{DateTime, Utc};
use sqlx::{Any, Transaction};
use tokio::sync::OwnedMutexGuard;

/// A write transaction. Dropping it without commit undoes everything.
pub struct WriteTx {
    pub(super) tx: Transaction<'static, Any>,
    pub(super) now: DateTime<Utc>,
    _writer: Option<OwnedMutexGuard<()>>,
}

/// What a commit leaves in the activity log.
pub enum Record {
    /// One line for each.
    Activities(Vec<NewActivity>),
    /// One line for each, of things that belong to this group and are no servers.
    OfGroup(GroupId, Vec<NewActivity>),
    /// None, with the reason for the reader of the code.
    Nothing(&'static str),
}

impl Record {
    pub fn activity(activity: NewActivity) -> Self {
        Record::Activities(vec![activity])
    }

    /// A line about a resource group itself, for those who may see the group.
    pub fn of_group(group: &GroupId, activity: NewActivity) -> Self {
        Record::OfGroup(group.clone(), vec![activity])
    }
}

impl Store {
    /// Begins a write transaction at the time `now`.
    ///
    /// # Errors
    /// When no connection is to be had or SQLite stays locked for five seconds.
    pub async fn begin_write(&self, now: DateTime<Utc>) -> Result<WriteTx, StoreError> {
        let (guard, begin) = match self.dialect {
            Dialect::Sqlite => (Some(self.writer.clone().lock_owned().await), "BEGIN IMMEDIATE"),
            Dialect::Postgres => (None, "BEGIN"),
        };
        let tx = self.pool.begin_with(begin).await?;
        Ok(WriteTx { tx, now, _writer: guard })
    }
}

impl WriteTx {
    /// Makes everything written permanent, with its line in the activity log.
    ///
    /// # Errors
    /// When the database refuses; then nothing was written.
    pub async fn commit(mut self, record: Record) -> Result<(), StoreError> {
        let (group, lines) = match record {
            Record::Activities(lines) => (None, lines),
            Record::OfGroup(group, lines) => (Some(group), lines),
            Record::Nothing(_) => (None, vec![]),
        };
        for line in lines {
            self.insert_activity(&line, group.as_ref()).await?;
        }
        self.tx.commit().await?;
        Ok(())
    }
}
