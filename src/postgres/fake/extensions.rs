//! Extensions of the fake: what the image has, and what was created in which database.

use super::{FakePostgres, PostgresError, Target};
use crate::domain::extensions::{Available, Installed};
use crate::postgres::extensions::{ExtensionAction, ServerExtensions, ServerExtensionsLook};
use async_trait::async_trait;

const VERSION: &str = "1.1";

/// What the image has.
pub fn sample() -> Vec<Available> {
    let one = |name: &str, comment: &str, requires: &[&str]| Available {
        name: name.into(),
        version: VERSION.into(),
        comment: comment.into(),
        requires: requires.iter().map(|name| (*name).into()).collect(),
    };
    vec![
        one("citext", "data type for case-insensitive character strings", &[]),
        one("cube", "data type for multidimensional cubes", &[]),
        one("dblink", "connect to other PostgreSQL databases from within a database", &[]),
        one(
            "earthdistance",
            "calculate great-circle distances on the surface of the Earth",
            &["cube"],
        ),
        one("file_fdw", "foreign-data wrapper for flat file access", &[]),
        one("hstore", "data type for storing sets of (key, value) pairs", &[]),
        one("pg_cron", "Job scheduler for PostgreSQL", &[]),
        one("pgaudit", "provides auditing functionality", &[]),
    ]
}

#[async_trait]
impl ServerExtensions for FakePostgres {
    async fn extensions(&self, target: &Target) -> Result<ServerExtensionsLook, PostgresError> {
        self.answer("extensions", target)?;
        Ok(ServerExtensionsLook {
            available: sample(),
            databases: vec!["postgres".into(), "sales".into()],
            loaded: vec!["pg_stat_statements".into()],
        })
    }

    async fn installed(
        &self,
        target: &Target,
        database: &str,
    ) -> Result<Vec<Installed>, PostgresError> {
        self.answer("installed", target)?;
        let state = self.state();
        let here = state.extensions.iter().filter(|((place, _), _)| place == database);
        Ok(here
            .map(|((_, name), version)| Installed {
                name: name.clone(),
                version: version.clone(),
                schema: "public".into(),
            })
            .collect())
    }

    async fn change_extension(
        &self,
        target: &Target,
        database: &str,
        name: &str,
        action: ExtensionAction,
    ) -> Result<(), PostgresError> {
        self.answer("change_extension", target)?;
        let key = (database.to_owned(), name.to_owned());
        let mut state = self.state();
        match action {
            ExtensionAction::Create | ExtensionAction::Update => {
                state.extensions.insert(key, VERSION.into());
            }
            ExtensionAction::Drop => drop(state.extensions.remove(&key)),
        }
        Ok(())
    }
}

impl FakePostgres {
    /// What is created, as "database name".
    pub fn created_extensions(&self) -> Vec<String> {
        self.state()
            .extensions
            .keys()
            .map(|(database, name)| format!("{database} {name}"))
            .collect()
    }
}
