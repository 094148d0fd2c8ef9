//! Members reached by TLS with a certificate on both sides.

mod admin;
mod archive;
mod checkpoint;
mod databases;
mod drill;
mod extensions;
mod networking;
mod parameters;
mod passwords;
mod pooler;
mod replication;
mod tls;

use super::{CONTROL_ROLE, Postgres, PostgresError, Probe, Target};
use crate::domain::names::AdminLogin;
use crate::secrets::Secret;
use async_trait::async_trait;
use std::future::Future;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error};

/// Address reached, TLS agreed, logged in.
const CONNECT: Duration = Duration::from_secs(3);
/// Everything asked in one connection.
const QUERY: Duration = Duration::from_secs(5);
/// The end of a session.
const GOODBYE: Duration = Duration::from_millis(500);
/// Sent with the start of every session. Users own objects in the databases we connect to; none of theirs is
/// found by a name of ours. Our few writes pass on a storage that is nearly full. Limits of the server end a query also when we are gone.
/// The owner of a database gives its sessions their settings (`ALTER DATABASE … SET`), ours among them: those that
/// would have us work as another role, run what a module finds in a table of theirs, cut us off, or lose what we wrote
/// in a failover, are ours to say.
const SESSION: &str = "-c search_path=pg_catalog -c statement_timeout=5s -c lock_timeout=3s \
     -c idle_in_transaction_session_timeout=10s -c client_min_messages=error \
     -c default_transaction_read_only=off -c role=none -c standard_conforming_strings=on \
     -c idle_session_timeout=0 -c tcp_user_timeout=0 -c pg_hint_plan.enable_hint_table=off \
     -c synchronous_commit=on";

/// The members of all servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsPostgres;

#[async_trait]
impl Postgres for TlsPostgres {
    async fn probe(&self, target: &Target) -> Result<Probe, PostgresError> {
        with_session(target, probe).await
    }

    async fn ensure_admin(
        &self,
        target: &Target,
        login: &AdminLogin,
        verifier: &Secret,
    ) -> Result<(), PostgresError> {
        admin::check_verifier(verifier)?;
        with_session(target, |client| admin::ensure(client, login, verifier)).await
    }
}

async fn probe(client: Client) -> Result<Probe, Error> {
    let question = "SELECT current_setting('server_version_num')::int4, pg_is_in_recovery()";
    let row = client.query_one(question, &[]).await?;
    let number: i32 = row.try_get(0)?;
    let version = format!("{}.{}", number / 10_000, number % 10_000);
    Ok(Probe { version, in_recovery: row.try_get(1)? })
}

/// Opens a session, does the work in it, and closes it, each within its deadline.
async fn with_session<T, W>(
    target: &Target,
    work: impl FnOnce(Client) -> W,
) -> Result<T, PostgresError>
where
    W: Future<Output = Result<T, Error>>,
{
    with_session_in(target, "postgres", QUERY, work).await
}

/// The same in a database of choice and with another limit for all that is asked.
async fn with_session_in<T, W>(
    target: &Target,
    database: &str,
    limit: Duration,
    work: impl FnOnce(Client) -> W,
) -> Result<T, PostgresError>
where
    W: Future<Output = Result<T, Error>>,
{
    let (client, connection) = tokio::time::timeout(CONNECT, connect(target, database))
        .await
        .map_err(|_| late("no connection", CONNECT))??;
    // The connection moves the bytes. When the work is done the client is gone, and it says goodbye: a session
    // that just breaks off is a line in the server's log each time.
    let session = async {
        let (mut work, mut connection) = (std::pin::pin!(work(client)), std::pin::pin!(connection));
        tokio::select! {
            result = &mut work => {
                let _ = tokio::time::timeout(GOODBYE, connection).await;
                result.map_err(|error| explain(&error))
            }
            end = &mut connection => Err(match end {
                Err(error) => explain(&error),
                Ok(()) => PostgresError::Silent("the connection was closed".into()),
            }),
        }
    };
    tokio::time::timeout(limit, session).await.map_err(|_| late("no answer", limit))?
}

type Connection = tokio_postgres::Connection<TcpStream, tls::Stream>;

async fn connect(target: &Target, database: &str) -> Result<(Client, Connection), PostgresError> {
    let connector = tls::Connector::new(target)?;
    let stream = TcpStream::connect(target.address)
        .await
        .map_err(|error| PostgresError::Silent(format!("{}: {error}", target.address)))?;
    let mut config = Config::new();
    config
        .user(CONTROL_ROLE)
        .dbname(database)
        .application_name("pgflex")
        .options(SESSION)
        .ssl_mode(tokio_postgres::config::SslMode::Require);
    config.connect_raw(stream, connector).await.map_err(|error| explain(&error))
}

fn late(what: &str, limit: Duration) -> PostgresError {
    PostgresError::Silent(format!("{what} within {} s", limit.as_secs()))
}

/// Only PostgreSQL's own "no" is a refusal. Its message may quote what a user named: detail, hint and
/// context stay out.
fn explain(error: &Error) -> PostgresError {
    let passing = [
        &SqlState::CANNOT_CONNECT_NOW,
        &SqlState::ADMIN_SHUTDOWN,
        &SqlState::CRASH_SHUTDOWN,
        &SqlState::TOO_MANY_CONNECTIONS,
        &SqlState::QUERY_CANCELED,
        &SqlState::LOCK_NOT_AVAILABLE,
    ];
    match error.as_db_error() {
        Some(answer) if passing.contains(&answer.code()) => {
            PostgresError::Silent(answer.message().to_owned())
        }
        Some(answer) => PostgresError::Refused(answer.message().to_owned()),
        None => PostgresError::Silent(match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        }),
    }
}
