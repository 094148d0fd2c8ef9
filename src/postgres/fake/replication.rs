//! Replication of members in memory.

use super::FakePostgres;
use crate::domain::ha::Lsn;
use crate::postgres::replication::{Promoted, Replication, Standing, Watch};
use crate::postgres::{PostgresError, Target};
use async_trait::async_trait;

#[async_trait]
impl Replication for FakePostgres {
    async fn standing(&self, target: &Target) -> Result<Standing, PostgresError> {
        self.answer("standing", target)?;
        Ok(Standing { timeline: 1, written: Some(Lsn(1)), ..Standing::default() })
    }

    async fn watch(&self, target: &Target) -> Result<Box<dyn Watch>, PostgresError> {
        self.answer("watch", target)?;
        Ok(Box::new(Session { postgres: self.clone(), target: target.clone() }))
    }

    async fn ensure_replication_role(&self, target: &Target) -> Result<(), PostgresError> {
        self.answer("ensure_replication_role", target).map(|_| ())
    }

    async fn ensure_slot(&self, target: &Target, _name: &str) -> Result<(), PostgresError> {
        self.answer("ensure_slot", target).map(|_| ())
    }

    async fn drop_slot(&self, target: &Target, _name: &str) -> Result<(), PostgresError> {
        self.answer("drop_slot", target).map(|_| ())
    }

    async fn slots(&self, target: &Target) -> Result<Vec<String>, PostgresError> {
        self.answer("slots", target).map(|_| vec![])
    }

    async fn reload(&self, target: &Target) -> Result<(), PostgresError> {
        self.answer("reload", target).map(|_| ())
    }

    async fn mark(&self, target: &Target) -> Result<Lsn, PostgresError> {
        self.answer("mark", target).map(|_| Lsn(1))
    }

    async fn promote(&self, target: &Target) -> Result<Promoted, PostgresError> {
        self.answer("promote", target).map(|_| Promoted { timeline: 2, fork: Some(Lsn(1)) })
    }

    async fn end_senders(&self, target: &Target, _name: &str) -> Result<(), PostgresError> {
        self.answer("end_senders", target).map(|_| ())
    }
}

/// A session of looks.
struct Session {
    postgres: FakePostgres,
    target: Target,
}

#[async_trait]
impl Watch for Session {
    async fn look(&mut self) -> Result<Standing, PostgresError> {
        self.postgres.standing(&self.target).await
    }

    async fn look_writing(&mut self) -> Result<Standing, PostgresError> {
        self.postgres.standing(&self.target).await
    }
}
