//! Ending sessions by the address they come from.

use super::{TlsPostgres, with_session};
use crate::postgres::networking::{Networking, Unwanted};
use crate::postgres::{CONTROL_ROLE, PostgresError, Target};
use async_trait::async_trait;
use tokio_postgres::{Client, Error};

/// Only what has a client's address: background processes have none.
const END: &str = "SELECT count(*) FROM (
    SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a LEFT JOIN pg_stat_ssl s ON s.pid = a.pid
    WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND a.usename IS DISTINCT FROM $1
      AND a.client_addr IS NOT NULL AND NOT a.client_addr <<= '127.0.0.0/8'
      AND (($2::text IS NOT NULL AND NOT a.client_addr <<= ($2::text)::inet)
        OR a.client_addr <<= ANY (($3::text[])::inet[])
        OR ($4::bool AND NOT coalesce(s.ssl, false)))) ended";

#[async_trait]
impl Networking for TlsPostgres {
    async fn end_sessions(
        &self,
        target: &Target,
        unwanted: &Unwanted,
    ) -> Result<u64, PostgresError> {
        with_session(target, |client| end(client, unwanted)).await
    }
}

async fn end(client: Client, unwanted: &Unwanted) -> Result<u64, Error> {
    let outside = unwanted.outside.map(|range| range.to_string());
    let inside: Vec<String> = unwanted.inside.iter().map(ToString::to_string).collect();
    let row = client.query_one(END, &[&CONTROL_ROLE, &outside, &inside, &unwanted.plain]).await?;
    let ended: i64 = row.try_get(0)?;
    Ok(u64::try_from(ended).unwrap_or(0))
}
