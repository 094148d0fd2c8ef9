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
        Ok(self.look(target))
    }

    async fn watch(&self, target: &Target) -> Result<Box<dyn Watch>, PostgresError> {
        self.answer("watch", target)?;
        let start = self.start_of(target);
        Ok(Box::new(Session { postgres: self.clone(), target: target.clone(), start }))
    }

    async fn ensure_replication_role(&self, target: &Target) -> Result<(), PostgresError> {
        self.answer("ensure_replication_role", target)?;
        self.change(target, (), |member| {
            member.give_role();
            Ok(())
        })
    }

    async fn ensure_slot(&self, target: &Target, name: &str) -> Result<(), PostgresError> {
        self.answer("ensure_slot", target)?;
        self.change(target, (), |member| {
            member.add_slot(name);
            Ok(())
        })
    }

    async fn drop_slot(&self, target: &Target, name: &str) -> Result<(), PostgresError> {
        self.answer("drop_slot", target)?;
        self.change(target, (), |member| member.drop_slot(name))
    }

    async fn slots(&self, target: &Target) -> Result<Vec<String>, PostgresError> {
        self.answer("slots", target)?;
        self.change(target, vec![], |member| Ok(member.slots()))
    }

    async fn reload(&self, target: &Target) -> Result<(), PostgresError> {
        self.answer("reload", target)?;
        if let (Some(machines), Some((member, _))) = (&self.machines, self.member(target)) {
            machines.reload(&member.container);
        }
        Ok(())
    }

    async fn mark(&self, target: &Target) -> Result<Lsn, PostgresError> {
        self.answer("mark", target)?;
        self.change(target, Lsn(1), |member| Ok(member.mark()))
    }

    async fn promote(&self, target: &Target) -> Result<Promoted, PostgresError> {
        self.answer("promote", target)?;
        let (timeline, fork) = self.change(target, (2, Lsn(1)), |member| Ok(member.promote()))?;
        if let (Some(machines), Some((member, _))) = (&self.machines, self.member(target)) {
            machines.end_recovery(&member.container);
        }
        Ok(Promoted { timeline, fork: Some(fork) })
    }

    async fn end_senders(&self, target: &Target, _name: &str) -> Result<(), PostgresError> {
        self.answer("end_senders", target).map(|_| ())
    }
}

/// A session of looks. It ends with the start it was opened in.
struct Session {
    postgres: FakePostgres,
    target: Target,
    start: Option<i64>,
}

#[async_trait]
impl Watch for Session {
    async fn look(&mut self) -> Result<Standing, PostgresError> {
        if self.postgres.start_of(&self.target) != self.start {
            return Err(PostgresError::Silent("the connection was closed".into()));
        }
        self.postgres.standing(&self.target).await
    }

    async fn look_writing(&mut self) -> Result<Standing, PostgresError> {
        self.look().await
    }
}
