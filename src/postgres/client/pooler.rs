//! Role and function for the built-in PgBouncer, and a look at whether it answers.

use super::{CONNECT, QUERY, TlsPostgres, explain, late, tls, with_session, with_session_in};
use crate::postgres::pooler::PoolerAccess;
use crate::postgres::{PostgresError, Target};
use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error};

const SCRIPT: &str = include_str!("pooler.sql");
/// Databases that get the function of their own, at most.
const DATABASES_MAX: i64 = 1000;
/// A role that PostgreSQL does not have: names that begin with pg_ are reserved.
const NOBODY: &str = "pg_flex_nobody";

#[async_trait]
impl PoolerAccess for TlsPostgres {
    async fn ensure_pooler_access(
        &self,
        target: &Target,
        everywhere: bool,
    ) -> Result<(), PostgresError> {
        self.ensure_pooler_access_in(target, "postgres").await?;
        if !everywhere {
            return Ok(());
        }
        for database in with_session(target, others).await? {
            self.ensure_pooler_access_in(target, &database).await?;
        }
        Ok(())
    }

    async fn ensure_pooler_access_in(
        &self,
        target: &Target,
        database: &str,
    ) -> Result<(), PostgresError> {
        with_session_in(target, database, QUERY, |client| async move {
            // One transaction: several statements sent at once are one.
            client.batch_execute(SCRIPT).await
        })
        .await
    }

    async fn probe_pooler(&self, target: &Target) -> Result<(), PostgresError> {
        let asked = tokio::time::timeout(CONNECT + QUERY, ask(target)).await;
        asked.map_err(|_| late("no answer", CONNECT + QUERY))?
    }
}

/// `template1` is among them: what is made from it later has the function too.
async fn others(client: Client) -> Result<Vec<String>, Error> {
    let question = "SELECT datname::text FROM pg_database WHERE datallowconn AND datname <> 'postgres' LIMIT $1";
    let rows = client.query(question, &[&DATABASES_MAX]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn ask(target: &Target) -> Result<(), PostgresError> {
    let connector = tls::Connector::anonymous(target)?;
    let silent = |why: String| PostgresError::Silent(format!("PgBouncer: {why}"));
    let stream =
        TcpStream::connect(target.address).await.map_err(|error| silent(error.to_string()))?;
    let mut config = Config::new();
    config
        .user(NOBODY)
        .password("none")
        .dbname("postgres")
        .application_name("pgflex")
        .ssl_mode(tokio_postgres::config::SslMode::Require);
    match config.connect_raw(stream, connector).await {
        Ok(_) => Err(PostgresError::Refused("PgBouncer let in somebody who does not exist".into())),
        Err(error) => match error.as_db_error() {
            Some(answer) if is_wrong_password(answer) => Ok(()),
            Some(answer) => Err(silent(answer.message().to_owned())),
            None => Err(match explain(&error) {
                PostgresError::Silent(why) => silent(why),
                refused @ PostgresError::Refused(_) => refused,
            }),
        },
    }
}

/// PgBouncer before 1.19 calls it "no such user".
fn is_wrong_password(answer: &tokio_postgres::error::DbError) -> bool {
    *answer.code() == SqlState::INVALID_PASSWORD
        || ["password authentication failed", "SASL authentication failed", "no such user"]
            .iter()
            .any(|words| answer.message().contains(words))
}
