//! The administrator's verifier and PgBouncer's access, in memory.

use super::FakePostgres;
use crate::domain::names::AdminLogin;
use crate::postgres::pooler::PoolerAccess;
use crate::postgres::{PostgresError, Target};
use crate::secrets::Secret;
use async_trait::async_trait;

#[derive(Default)]
pub(super) struct Passwords {
    pub(super) verifier: Option<String>,
    /// How often the administrator's sessions were ended.
    ended: u32,
    has_pooler_access: bool,
}

impl FakePostgres {
    /// The administrator's verifier now.
    pub fn verifier(&self) -> Option<String> {
        self.state().passwords.verifier.clone()
    }

    /// How often the administrator's sessions were ended.
    pub fn sessions_ended(&self) -> u32 {
        self.state().passwords.ended
    }
}

#[async_trait]
impl crate::postgres::passwords::Passwords for FakePostgres {
    async fn admin_verifier(
        &self,
        target: &Target,
        _login: &AdminLogin,
    ) -> Result<Option<Secret>, PostgresError> {
        self.answer("admin_verifier", target)?;
        Ok(self.state().passwords.verifier.clone().map(Secret::new))
    }

    async fn set_admin_verifier(
        &self,
        target: &Target,
        _login: &AdminLogin,
        verifier: Option<&Secret>,
    ) -> Result<(), PostgresError> {
        self.answer("set_admin_verifier", target)?;
        self.state().passwords.verifier = verifier.map(|verifier| verifier.reveal().to_owned());
        Ok(())
    }

    async fn end_admin_sessions(
        &self,
        target: &Target,
        _login: &AdminLogin,
    ) -> Result<i64, PostgresError> {
        self.answer("end_admin_sessions", target)?;
        self.state().passwords.ended += 1;
        Ok(0)
    }
}

#[async_trait]
impl PoolerAccess for FakePostgres {
    async fn ensure_pooler_access(
        &self,
        target: &Target,
        _everywhere: bool,
    ) -> Result<(), PostgresError> {
        self.answer("ensure_pooler_access", target)?;
        self.state().passwords.has_pooler_access = true;
        Ok(())
    }

    async fn ensure_pooler_access_in(
        &self,
        target: &Target,
        _database: &str,
    ) -> Result<(), PostgresError> {
        self.answer("ensure_pooler_access_in", target)?;
        Ok(())
    }

    /// Answers where a container runs, once PostgreSQL was prepared.
    async fn probe_pooler(&self, target: &Target) -> Result<(), PostgresError> {
        self.answer("probe_pooler", target)?;
        match self.state().passwords.has_pooler_access {
            true => Ok(()),
            false => Err(PostgresError::Silent("PgBouncer may not ask for passwords".into())),
        }
    }
}
