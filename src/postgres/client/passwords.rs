//! The administrator's verifier: read, replaced, and its sessions ended, with nothing written down.

use super::admin::{HAND_OVER, QUIET, check_verifier};
use super::{TlsPostgres, with_session};
use crate::domain::names::AdminLogin;
use crate::postgres::passwords::Passwords;
use crate::postgres::{PostgresError, Target};
use crate::secrets::Secret;
use async_trait::async_trait;
use tokio_postgres::{Client, Error};

/// An empty verifier takes the password away. A role that was closed by hand is opened again: whoever resets a
/// password wants to log in.
const SCRIPT: &str = "\
DO $script$
DECLARE
    login    text := current_setting('pgflex.admin_login');
    verifier text := current_setting('pgflex.admin_verifier');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
        RAISE EXCEPTION 'the role % does not exist', login;
    ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = login AND rolsuper) THEN
        RAISE EXCEPTION 'the role % is a superuser and cannot be the administrator', login;
    ELSIF verifier = '' THEN
        EXECUTE format('ALTER ROLE %I PASSWORD NULL', login);
    ELSE
        EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L VALID UNTIL %L', login, verifier, 'infinity');
    END IF;
END
$script$";

const END_SESSIONS: &str = "\
SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
WHERE usename = $1::text::name AND pid <> pg_backend_pid()) AS told";

#[async_trait]
impl Passwords for TlsPostgres {
    async fn admin_verifier(
        &self,
        target: &Target,
        login: &AdminLogin,
    ) -> Result<Option<Secret>, PostgresError> {
        with_session(target, |client| read(client, login)).await
    }

    async fn set_admin_verifier(
        &self,
        target: &Target,
        login: &AdminLogin,
        verifier: Option<&Secret>,
    ) -> Result<(), PostgresError> {
        verifier.map_or(Ok(()), check_verifier)?;
        with_session(target, |client| set(client, login, verifier)).await
    }

    async fn end_admin_sessions(
        &self,
        target: &Target,
        login: &AdminLogin,
    ) -> Result<i64, PostgresError> {
        with_session(target, |client| end(client, login)).await
    }
}

async fn read(mut client: Client, login: &AdminLogin) -> Result<Option<Secret>, Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(QUIET).await?;
    let question = "SELECT rolpassword FROM pg_authid WHERE rolname = $1::text::name";
    let row = transaction.query_opt(question, &[&login.as_str()]).await?;
    let verifier: Option<String> = row.map_or(Ok(None), |row| row.try_get(0))?;
    transaction.commit().await?;
    Ok(verifier.map(Secret::new))
}

async fn set(
    mut client: Client,
    login: &AdminLogin,
    verifier: Option<&Secret>,
) -> Result<(), Error> {
    let text = verifier.map_or("", Secret::reveal);
    let transaction = client.transaction().await?;
    transaction.batch_execute(QUIET).await?;
    transaction.query_one(HAND_OVER, &[&login.as_str(), &text]).await?;
    transaction.batch_execute(SCRIPT).await?;
    transaction.commit().await
}

async fn end(client: Client, login: &AdminLogin) -> Result<i64, Error> {
    client.query_one(END_SESSIONS, &[&login.as_str()]).await?.try_get(0)
}
