//! Sessions of the fake: none; what was asked for is kept.

use super::FakePostgres;
use crate::postgres::networking::{Networking, Unwanted};
use crate::postgres::{PostgresError, Target};
use async_trait::async_trait;

impl FakePostgres {
    /// Every `end_sessions` that was done, in order.
    pub fn ended_sessions(&self) -> Vec<Unwanted> {
        self.state().ended_sessions.clone()
    }
}

#[async_trait]
impl Networking for FakePostgres {
    async fn end_sessions(
        &self,
        target: &Target,
        unwanted: &Unwanted,
    ) -> Result<u64, PostgresError> {
        self.answer("end_sessions", target)?;
        self.state().ended_sessions.push(unwanted.clone());
        Ok(0)
    }
}
