//! Databases of a member: found by number, named in quotes.

use super::{TlsPostgres, with_session, with_session_in};
use crate::domain::database::{
    DatabaseFacts, DatabaseList, DatabaseName, Provider, SYSTEM_DATABASES,
};
use crate::domain::names::AdminLogin;
use crate::postgres::databases::{Databases, FoundDatabase};
use crate::postgres::{CONTROL_ROLE, PostgresError, Target};
use async_trait::async_trait;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

/// Making and dropping move files, on a busy disk for a while.
const LONG: Duration = Duration::from_secs(50);
const LONGER_STATEMENTS: &str = "SET statement_timeout = '45s'; SET lock_timeout = '20s'";

/// The columns for locales have other names in each major: the row as JSON has what there is.
const LIST: &str = "\
SELECT d.datname::text, pg_get_userbyid(d.datdba)::text, pg_database_size(d.oid), \
       pg_encoding_to_char(d.encoding)::text, \
       CASE d.datlocprovider WHEN 'b' THEN 'builtin' WHEN 'i' THEN 'icu' ELSE 'libc' END, \
       COALESCE(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale', d.datcollate::text), \
       (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid AND a.backend_type = 'client backend' \
            AND a.usename IS DISTINCT FROM $2::text::name), \
       d.datallowconn, d.datistemplate, count(*) OVER () \
FROM pg_database d ORDER BY d.datname LIMIT $1";

const FIND: &str = "\
SELECT d.oid, d.datallowconn, d.datistemplate, \
       (SELECT count(*) FROM pg_subscription s WHERE s.subdbid = d.oid), \
       (SELECT count(*) FROM pg_prepared_xacts p WHERE p.database = d.datname), \
       (SELECT count(*) FROM pg_replication_slots r WHERE r.datoid = d.oid AND r.active) \
FROM pg_database d WHERE d.datname = $1::text::name AND octet_length($1::text) <= 63";

const NAME_OF: &str = "SELECT datname::text, datistemplate FROM pg_database WHERE oid = $1";

const END_SESSIONS: &str = "\
SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
WHERE datid = $1 AND pid <> pg_backend_pid()) AS told";

#[async_trait]
impl Databases for TlsPostgres {
    async fn list_databases(&self, target: &Target) -> Result<DatabaseList, PostgresError> {
        with_session_in(target, "postgres", LONG, list).await
    }

    async fn find_database(
        &self,
        target: &Target,
        name: &str,
    ) -> Result<Option<FoundDatabase>, PostgresError> {
        with_session(target, |client| find(client, name)).await
    }

    async fn stage_database(
        &self,
        target: &Target,
        staging: &str,
        owner: &AdminLogin,
        provider: Provider,
    ) -> Result<u32, PostgresError> {
        let statement = create_statement(staging, owner, provider);
        with_session_in(target, "postgres", LONG, |client| stage(client, staging, statement)).await
    }

    async fn publish_database(
        &self,
        target: &Target,
        oid: u32,
        name: &DatabaseName,
    ) -> Result<(), PostgresError> {
        with_session(target, |client| publish(client, oid, name)).await?.ok_or_else(gone)
    }

    async fn withdraw_database(
        &self,
        target: &Target,
        oid: u32,
        staging: &str,
    ) -> Result<bool, PostgresError> {
        with_session(target, |client| withdraw(client, oid, staging)).await
    }

    async fn close_database(&self, target: &Target, oid: u32) -> Result<i64, PostgresError> {
        with_session(target, |client| close(client, oid)).await
    }

    async fn reopen_database(&self, target: &Target, oid: u32) -> Result<(), PostgresError> {
        with_session(target, |client| async move { allow(&client, oid, true).await }).await?;
        Ok(())
    }

    async fn drop_database(&self, target: &Target, oid: u32) -> Result<(), PostgresError> {
        let dropped =
            with_session_in(target, "postgres", LONG, |client| drop_it(client, oid)).await?;
        if dropped { Ok(()) } else { Err(protected()) }
    }
}

fn gone() -> PostgresError {
    PostgresError::Refused("the database that was being made is gone".into())
}

fn protected() -> PostgresError {
    PostgresError::Refused("it is a system database or a template, which are never dropped".into())
}

/// A name in quotes. PostgreSQL holds no zero byte in a name, and neither does what comes in here.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "").replace('"', "\"\""))
}

fn create_statement(staging: &str, owner: &AdminLogin, provider: Provider) -> String {
    let locale = match provider {
        Provider::Builtin => {
            "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C.UTF-8'".to_owned()
        }
        Provider::Libc => "LOCALE_PROVIDER libc LOCALE 'C.UTF-8'".to_owned(),
        Provider::Icu(locale) => {
            format!("LOCALE_PROVIDER icu ICU_LOCALE '{locale}' LOCALE 'C.UTF-8'")
        }
    };
    format!(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' {locale} ALLOW_CONNECTIONS false",
        quoted(staging),
        quoted(owner.as_str()),
    )
}

async fn list(client: Client) -> Result<DatabaseList, Error> {
    client.batch_execute(LONGER_STATEMENTS).await?;
    let rows = client.query(LIST, &[&DatabaseList::SHOWN_MAX, &CONTROL_ROLE]).await?;
    let total = rows.first().map_or(Ok(0), |row| row.try_get(9))?;
    Ok(DatabaseList { databases: rows.iter().map(facts).collect::<Result<_, _>>()?, total })
}

fn facts(row: &Row) -> Result<DatabaseFacts, Error> {
    Ok(DatabaseFacts {
        name: row.try_get(0)?,
        owner: row.try_get(1)?,
        size_bytes: row.try_get(2)?,
        encoding: row.try_get(3)?,
        provider: row.try_get(4)?,
        locale: row.try_get(5)?,
        connections: row.try_get(6)?,
        allows_connections: row.try_get(7)?,
        is_template: row.try_get(8)?,
    })
}

async fn find(client: Client, name: &str) -> Result<Option<FoundDatabase>, Error> {
    let Some(row) = client.query_opt(FIND, &[&name]).await? else { return Ok(None) };
    let reasons = [
        (row.try_get::<_, i64>(3)?, "subscriptions"),
        (row.try_get::<_, i64>(4)?, "prepared transactions"),
        (row.try_get::<_, i64>(5)?, "replication slots in use"),
    ];
    let there: Vec<String> = reasons
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    Ok(Some(FoundDatabase {
        oid: row.try_get(0)?,
        allows_connections: row.try_get(1)?,
        is_template: row.try_get(2)?,
        blocked_by: (!there.is_empty()).then(|| there.join(", ")),
    }))
}

async fn stage(client: Client, staging: &str, statement: String) -> Result<u32, Error> {
    client.batch_execute(LONGER_STATEMENTS).await?;
    match client.batch_execute(&statement).await {
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => {}
        other => other?,
    }
    let number = "SELECT oid FROM pg_database WHERE datname = $1::text::name";
    client.query_one(number, &[&staging]).await?.try_get(0)
}

async fn name_of(client: &Client, oid: u32) -> Result<Option<(String, bool)>, Error> {
    let row = client.query_opt(NAME_OF, &[&oid]).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// `None` when the staged database is gone.
async fn publish(client: Client, oid: u32, name: &DatabaseName) -> Result<Option<()>, Error> {
    let Some((now, _)) = name_of(&client, oid).await? else { return Ok(None) };
    let mut statements = String::from("BEGIN; ");
    if now != name.as_str() {
        statements.push_str(&format!(
            "ALTER DATABASE {} RENAME TO {}; ",
            quoted(&now),
            quoted(name.as_str())
        ));
    }
    statements.push_str(&format!(
        "ALTER DATABASE {} ALLOW_CONNECTIONS true; COMMIT",
        quoted(name.as_str())
    ));
    client.batch_execute(&statements).await.map(Some)
}

async fn withdraw(client: Client, oid: u32, staging: &str) -> Result<bool, Error> {
    let Some((now, _)) = name_of(&client, oid).await? else { return Ok(true) };
    if now == staging {
        return Ok(true);
    }
    // Closed first: whoever comes from now on is turned away, whoever came before is counted.
    allow(&client, oid, false).await?;
    let used = "SELECT COALESCE((SELECT sessions FROM pg_stat_database WHERE datid = $1), 0) \
                + (SELECT count(*) FROM pg_stat_activity WHERE datid = $1)";
    let used: i64 = client.query_one(used, &[&oid]).await?.try_get(0)?;
    if used > 0 {
        allow(&client, oid, true).await?;
        return Ok(false);
    }
    let rename = format!("ALTER DATABASE {} RENAME TO {}", quoted(&now), quoted(staging));
    client.batch_execute(&rename).await.map(|()| true)
}

async fn close(client: Client, oid: u32) -> Result<i64, Error> {
    if !allow(&client, oid, false).await? {
        return Ok(0);
    }
    client.query_one(END_SESSIONS, &[&oid]).await?.try_get(0)
}

/// False when there is no such database.
async fn allow(client: &Client, oid: u32, allowed: bool) -> Result<bool, Error> {
    let Some((name, _)) = name_of(client, oid).await? else { return Ok(false) };
    let statement = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}", quoted(&name));
    client.batch_execute(&statement).await.map(|()| true)
}

/// False when it is one that is never dropped.
async fn drop_it(client: Client, oid: u32) -> Result<bool, Error> {
    let Some((name, is_template)) = name_of(&client, oid).await? else { return Ok(true) };
    if is_template || SYSTEM_DATABASES.contains(&name.as_str()) {
        return Ok(false);
    }
    client.batch_execute(LONGER_STATEMENTS).await?;
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(&name));
    client.batch_execute(&statement).await.map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_quotes() {
        assert_eq!(quoted("a\"; DROP DATABASE x; --"), "\"a\"\"; DROP DATABASE x; --\"");
        let owner = AdminLogin::parse("shopadmin").unwrap();
        let text = create_statement("pgflex_new_1", &owner, Provider::Icu("de-DE"));
        assert!(text.contains("ICU_LOCALE 'de-DE'") && text.contains("OWNER \"shopadmin\""));
    }
}
