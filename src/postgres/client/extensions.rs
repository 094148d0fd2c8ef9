//! Extensions of a member.
//!
//! An extension's script runs with the portal's rights and finds what it calls by name along a search path that
//! begins with the schema it is created in. In a schema where others may create, they could put functions in
//! its way. So nothing is created or updated in such a schema: the script runs in a schema that this very
//! transaction made, which nobody else can see, and a relocatable extension is then moved to `public`. Others get a
//! schema of their own, which must not be there before.

use super::{PostgresError, QUERY, Target, TlsPostgres, with_session, with_session_in};
use crate::domain::extensions::{Available, Installed};
use crate::postgres::ADMIN_GROUP;
use crate::postgres::extensions::{ExtensionAction, ServerExtensions, ServerExtensionsLook};
use async_trait::async_trait;
use std::time::Duration;
use tokio_postgres::{Client, Error, Row, Transaction};

const AVAILABLE: &str = "SELECT e.name::text, e.default_version, e.comment, coalesce(v.requires::text[], '{}') \
    FROM pg_available_extensions e \
    JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version \
    WHERE e.name <> 'plpgsql' ORDER BY 1 LIMIT 500";
const DATABASES: &str = "SELECT datname::text FROM pg_database \
    WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY datname LIMIT 500";
const LOADED: &str = "SELECT current_setting('shared_preload_libraries')";
const INSTALLED: &str = "SELECT e.extname::text, e.extversion, n.nspname::text FROM pg_extension e \
    JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql' ORDER BY 1 LIMIT 500";
const ONE: &str = "SELECT v.relocatable, v.schema::text, coalesce(v.requires::text[], '{}'), e.default_version, e.installed_version \
    FROM pg_available_extensions e \
    JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version \
    WHERE e.name = $1";
/// Nobody without superuser rights may be able to create in it.
const IS_SAFE_SCHEMA: &str = "SELECT r.rolsuper AND NOT EXISTS ( \
        SELECT FROM aclexplode(n.nspacl) a LEFT JOIN pg_roles g ON g.oid = a.grantee \
        WHERE a.privilege_type = 'CREATE' AND NOT coalesce(g.rolsuper, false)) \
    FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = $1";
const MISSING: &str = "SELECT r::text FROM unnest($1::text[]) r WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = r)";
const SCHEMA_OF: &str = "SELECT n.nspname::text, e.extrelocatable FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1";
/// Where a script runs before its objects are moved. Made and dropped within one transaction.
const WORKSHOP: &str = "pgflex_workshop";
/// Scripts of large extensions take longer than a look.
const SCRIPT: Duration = Duration::from_secs(60);

#[async_trait]
impl ServerExtensions for TlsPostgres {
    async fn extensions(&self, target: &Target) -> Result<ServerExtensionsLook, PostgresError> {
        with_session(target, look).await
    }

    async fn installed(
        &self,
        target: &Target,
        database: &str,
    ) -> Result<Vec<Installed>, PostgresError> {
        with_session_in(target, database, QUERY, installed).await
    }

    async fn change_extension(
        &self,
        target: &Target,
        database: &str,
        name: &str,
        action: ExtensionAction,
    ) -> Result<(), PostgresError> {
        let work = async |mut client: Client| {
            let transaction = client.transaction().await?;
            transaction.batch_execute("SET LOCAL statement_timeout = '60s'").await?;
            let refusal = match action {
                ExtensionAction::Create => create(&transaction, name).await?,
                ExtensionAction::Update => update(&transaction, name).await?,
                ExtensionAction::Drop => drop_it(&transaction, name).await?,
            };
            if refusal.is_none() {
                transaction.commit().await?;
            }
            Ok(refusal)
        };
        match with_session_in(target, database, SCRIPT, work).await? {
            None => Ok(()),
            Some(why) => Err(PostgresError::Refused(why)),
        }
    }
}

async fn look(client: Client) -> Result<ServerExtensionsLook, Error> {
    let available = client.query(AVAILABLE, &[]).await?;
    let databases = client.query(DATABASES, &[]).await?;
    let loaded: String = client.query_one(LOADED, &[]).await?.try_get(0)?;
    Ok(ServerExtensionsLook {
        available: available.iter().map(one_available).collect::<Result<_, _>>()?,
        databases: databases.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?,
        loaded: loaded
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
    })
}

fn one_available(row: &Row) -> Result<Available, Error> {
    let comment: Option<String> = row.try_get(2)?;
    Ok(Available {
        name: row.try_get(0)?,
        version: row.try_get::<_, Option<String>>(1)?.unwrap_or_default(),
        comment: comment.unwrap_or_default().chars().take(300).collect(),
        requires: row.try_get(3)?,
    })
}

async fn installed(client: Client) -> Result<Vec<Installed>, Error> {
    let rows = client.query(INSTALLED, &[]).await?;
    let one = |row: &Row| {
        Ok(Installed { name: row.try_get(0)?, version: row.try_get(1)?, schema: row.try_get(2)? })
    };
    rows.iter().map(one).collect()
}

/// Why not; `None` when it is done.
type Refusal = Option<String>;

async fn create(tx: &Transaction<'_>, name: &str) -> Result<Refusal, Error> {
    let Some(row) = tx.query_opt(ONE, &[&name]).await? else {
        return Ok(Some(format!("the image has no extension {name}")));
    };
    if row.try_get::<_, Option<String>>(4)?.is_some() {
        return Ok(None);
    }
    let requires: Vec<String> = row.try_get(2)?;
    let missing = tx.query(MISSING, &[&requires]).await?;
    if let Some(first) = missing.first() {
        let first: String = first.try_get(0)?;
        return Ok(Some(format!(
            "{name} needs {first} in the same database. Create {first} first"
        )));
    }
    match (row.try_get::<_, Option<String>>(1)?, row.try_get::<_, bool>(0)?) {
        (Some(schema), _) => create_in(tx, name, &schema).await,
        (None, true) => create_and_move(tx, name).await,
        (None, false) => create_in(tx, name, name).await,
    }
}

/// Into a schema that its author or its own name decides.
async fn create_in(tx: &Transaction<'_>, name: &str, schema: &str) -> Result<Refusal, Error> {
    let is_safe = tx.query_opt(IS_SAFE_SCHEMA, &[&schema]).await?;
    match is_safe.map(|row| row.try_get::<_, bool>(0)).transpose()? {
        Some(true) => {}
        Some(false) => {
            return Ok(Some(format!(
                "the schema {schema} is there already and others may create in it. Rename it, then try again"
            )));
        }
        None => tx.batch_execute(&format!("CREATE SCHEMA {}", quoted(schema))).await?,
    }
    let (extension, schema_name) = (quoted(name), quoted(schema));
    tx.batch_execute(&format!("CREATE EXTENSION {extension} SCHEMA {schema_name}")).await?;
    if schema != "pg_catalog" {
        let grant =
            format!("GRANT USAGE ON SCHEMA {schema_name} TO {ADMIN_GROUP} WITH GRANT OPTION");
        tx.batch_execute(&grant).await?;
    }
    Ok(None)
}

async fn create_and_move(tx: &Transaction<'_>, name: &str) -> Result<Refusal, Error> {
    let extension = quoted(name);
    tx.batch_execute(&format!(
        "CREATE SCHEMA {WORKSHOP}; CREATE EXTENSION {extension} SCHEMA {WORKSHOP}; \
         ALTER EXTENSION {extension} SET SCHEMA public; DROP SCHEMA {WORKSHOP}"
    ))
    .await?;
    Ok(None)
}

async fn update(tx: &Transaction<'_>, name: &str) -> Result<Refusal, Error> {
    let Some(row) = tx.query_opt(SCHEMA_OF, &[&name]).await? else {
        return Ok(Some(format!("the extension {name} is not in this database")));
    };
    let (schema, relocatable): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
    let is_safe = tx.query_one(IS_SAFE_SCHEMA, &[&schema]).await?.try_get::<_, bool>(0)?;
    let (extension, home) = (quoted(name), quoted(&schema));
    let script = match (is_safe, relocatable) {
        (true, _) => format!("ALTER EXTENSION {extension} UPDATE"),
        (false, true) => format!(
            "CREATE SCHEMA {WORKSHOP}; ALTER EXTENSION {extension} SET SCHEMA {WORKSHOP}; \
             ALTER EXTENSION {extension} UPDATE; ALTER EXTENSION {extension} SET SCHEMA {home}; DROP SCHEMA {WORKSHOP}"
        ),
        (false, false) => {
            return Ok(Some(format!(
                "others may create in the schema {schema}, so its update is not run with the portal's rights. Update it by SQL: ALTER EXTENSION {extension} UPDATE"
            )));
        }
    };
    tx.batch_execute(&script).await?;
    Ok(None)
}

async fn drop_it(tx: &Transaction<'_>, name: &str) -> Result<Refusal, Error> {
    let Some(row) = tx.query_opt(SCHEMA_OF, &[&name]).await? else { return Ok(None) };
    let schema: String = row.try_get(0)?;
    tx.batch_execute(&format!("DROP EXTENSION {} RESTRICT", quoted(name))).await?;
    // The schema that was made for it alone, when nothing else is in it.
    let is_own =
        schema == name && tx.query_one(IS_SAFE_SCHEMA, &[&schema]).await?.try_get::<_, bool>(0)?;
    if is_own {
        let home = quoted(&schema);
        tx.batch_execute(&format!(
            "DO $drop$ BEGIN EXECUTE 'DROP SCHEMA {}'; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END $drop$",
            home.replace('\'', "''")
        ))
        .await?;
    }
    Ok(None)
}

/// A name as PostgreSQL quotes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quoted("uuid-ossp"), "\"uuid-ossp\"");
        assert_eq!(quoted("a\"; DROP SCHEMA public"), "\"a\"\"; DROP SCHEMA public\"");
    }
}
