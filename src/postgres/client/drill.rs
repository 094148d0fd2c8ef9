//! A drill's data by SQL.

use super::{CONNECT, QUERY, TlsPostgres, connect, explain, late, with_session};
use crate::postgres::drill::{DRILL_SCHEMA, DrillProbe, DrillWriter};
use crate::postgres::{CONTROL_ROLE, PostgresError, Target};
use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// Names come from ids of ours; what would need quoting is refused all the same.
fn checked(schema: &str) -> Result<&str, PostgresError> {
    let rest = schema.strip_prefix(DRILL_SCHEMA).unwrap_or_default();
    let is_ours = !rest.is_empty()
        && rest.len() <= 32
        && rest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if is_ours {
        Ok(schema)
    } else {
        Err(PostgresError::Refused("the name of a drill's schema is not one of ours".into()))
    }
}

/// Removes schemas of drills that belong to the portal's role; `which` compares the name. Nothing of others hangs on
/// them: nobody else has a right on what is in there.
fn removal(which: &str) -> String {
    format!(
        "DO $$ DECLARE s name; BEGIN
           FOR s IN SELECT n.nspname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
             WHERE r.rolname = '{CONTROL_ROLE}' AND starts_with(n.nspname::text, '{DRILL_SCHEMA}') AND {which}
           LOOP EXECUTE format('DROP TABLE IF EXISTS %I.writes', s); EXECUTE format('DROP SCHEMA %I', s); END LOOP; END $$;"
    )
}

#[async_trait]
impl DrillProbe for TlsPostgres {
    async fn make_drill(&self, target: &Target, schema: &str) -> Result<(), PostgresError> {
        let name = checked(schema)?;
        let (older, table) = (removal("true"), format!("{name}.writes"));
        let text = format!("{older} CREATE SCHEMA {name}; CREATE TABLE {table} (id bigint);");
        with_session(target, |client| async move { client.batch_execute(&text).await }).await
    }

    async fn drill_writer(
        &self,
        target: &Target,
        schema: &str,
    ) -> Result<Box<dyn DrillWriter>, PostgresError> {
        let insert = format!("INSERT INTO {}.writes (id) VALUES (", checked(schema)?);
        let opened = tokio::time::timeout(CONNECT, connect(target, "postgres")).await;
        let (client, connection) = opened.map_err(|_| late("no connection", CONNECT))??;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a session of a drill ended");
            }
        });
        let writer = Writer { client, connection, insert };
        // Whatever the owner of the database set: the drill measures commits that wait for the standby.
        writer.run("SET synchronous_commit = on").await?;
        Ok(Box::new(writer))
    }

    async fn drill_rows(&self, target: &Target, schema: &str) -> Result<Vec<i64>, PostgresError> {
        let text = format!("SELECT id FROM {}.writes LIMIT 20000", checked(schema)?);
        with_session(target, |client| async move {
            client.query(&text, &[]).await?.iter().map(|row| row.try_get(0)).collect()
        })
        .await
    }

    async fn remove_drill(&self, target: &Target, schema: &str) -> Result<(), PostgresError> {
        let text = removal(&format!("n.nspname = '{}'", checked(schema)?));
        with_session(target, |client| async move { client.batch_execute(&text).await }).await
    }
}

/// Its task ends with it, also in the middle of a write.
struct Writer {
    client: Client,
    connection: JoinHandle<()>,
    /// The statement without the value and what follows it.
    insert: String,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Writer {
    async fn run(&self, text: &str) -> Result<(), PostgresError> {
        tokio::time::timeout(QUERY, self.client.batch_execute(text))
            .await
            .map_err(|_| late("no answer", QUERY))?
            .map_err(|error| explain(&error))
    }
}

#[async_trait]
impl DrillWriter for Writer {
    async fn write(&mut self, id: i64) -> Result<(), PostgresError> {
        self.run(&format!("{}{id})", self.insert)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::drill::schema_of;

    #[test]
    fn only_names_of_ours_reach_a_statement() {
        assert!(checked(&schema_of("0123456789ab")).is_ok());
        for bad in
            ["", "pgflex_drill_", "public", "pgflex_drill_a;b", "pgflex_drill_\"", "pgflex_drill_G"]
        {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
