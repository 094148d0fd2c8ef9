//! Databases in memory, one set for all members.

use super::FakePostgres;
use crate::domain::database::{
    DatabaseFacts, DatabaseList, DatabaseName, Provider, SYSTEM_DATABASES,
};
use crate::domain::names::AdminLogin;
use crate::postgres::databases::FoundDatabase;
use crate::postgres::{PostgresError, Target};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// By number: name, and whether connections are allowed.
#[derive(Default)]
pub(super) struct Databases {
    all: BTreeMap<u32, (String, bool)>,
    made: u32,
}

impl Databases {
    fn find(&self, name: &str) -> Option<u32> {
        self.all.iter().find(|(_, (known, _))| known == name).map(|(oid, _)| *oid)
    }

    fn add(&mut self, name: &str, allowed: bool) -> u32 {
        self.made += 1;
        let oid = 16_384 + self.made;
        self.all.insert(oid, (name.to_owned(), allowed));
        oid
    }
}

impl FakePostgres {
    /// A database that somebody made by SQL.
    pub fn plant_database(&self, name: &str) {
        self.state().databases.add(name, true);
    }

    /// Databases beside those of PostgreSQL, as `name` or `name (closed)`, by name.
    pub fn databases(&self) -> Vec<String> {
        let state = self.state();
        let mut all: Vec<String> = state
            .databases
            .all
            .values()
            .map(|(name, open)| if *open { name.clone() } else { format!("{name} (closed)") })
            .collect();
        all.sort();
        all
    }
}

fn facts(name: &str, allowed: bool) -> DatabaseFacts {
    DatabaseFacts {
        name: name.to_owned(),
        owner: if SYSTEM_DATABASES.contains(&name) { "pgflex_control" } else { "shopadmin" }.into(),
        size_bytes: 7_654_321,
        encoding: "UTF8".into(),
        provider: "builtin".into(),
        locale: "C.UTF-8".into(),
        connections: 0,
        allows_connections: allowed,
        is_template: name.starts_with("template"),
    }
}

#[async_trait]
impl crate::postgres::databases::Databases for FakePostgres {
    async fn list_databases(&self, target: &Target) -> Result<DatabaseList, PostgresError> {
        self.answer("list_databases", target)?;
        let state = self.state();
        let mut databases: Vec<DatabaseFacts> =
            state.databases.all.values().map(|(name, open)| facts(name, *open)).collect();
        databases.extend(SYSTEM_DATABASES.map(|name| facts(name, name != "template0")));
        databases.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(DatabaseList { total: databases.len() as i64, databases })
    }

    async fn find_database(
        &self,
        target: &Target,
        name: &str,
    ) -> Result<Option<FoundDatabase>, PostgresError> {
        self.answer("find_database", target)?;
        let state = self.state();
        Ok(state.databases.find(name).map(|oid| FoundDatabase {
            oid,
            allows_connections: state.databases.all[&oid].1,
            is_template: false,
            blocked_by: None,
        }))
    }

    async fn stage_database(
        &self,
        target: &Target,
        staging: &str,
        _owner: &AdminLogin,
        _provider: Provider,
    ) -> Result<u32, PostgresError> {
        self.answer("stage_database", target)?;
        let databases = &mut self.state().databases;
        Ok(databases.find(staging).unwrap_or_else(|| databases.add(staging, false)))
    }

    async fn publish_database(
        &self,
        target: &Target,
        oid: u32,
        name: &DatabaseName,
    ) -> Result<(), PostgresError> {
        self.answer("publish_database", target)?;
        let databases = &mut self.state().databases;
        if databases.find(name.as_str()).is_some_and(|other| other != oid) {
            return Err(PostgresError::Refused(format!("database \"{name}\" already exists")));
        }
        let Some(database) = databases.all.get_mut(&oid) else {
            return Err(PostgresError::Refused("the database is gone".into()));
        };
        *database = (name.as_str().to_owned(), true);
        Ok(())
    }

    async fn withdraw_database(
        &self,
        target: &Target,
        oid: u32,
        staging: &str,
    ) -> Result<bool, PostgresError> {
        self.answer("withdraw_database", target)?;
        if let Some(database) = self.state().databases.all.get_mut(&oid) {
            *database = (staging.to_owned(), false);
        }
        Ok(true)
    }

    async fn close_database(&self, target: &Target, oid: u32) -> Result<i64, PostgresError> {
        self.answer("close_database", target)?;
        if let Some(database) = self.state().databases.all.get_mut(&oid) {
            database.1 = false;
        }
        Ok(0)
    }

    async fn reopen_database(&self, target: &Target, oid: u32) -> Result<(), PostgresError> {
        self.answer("reopen_database", target)?;
        if let Some(database) = self.state().databases.all.get_mut(&oid) {
            database.1 = true;
        }
        Ok(())
    }

    async fn drop_database(&self, target: &Target, oid: u32) -> Result<(), PostgresError> {
        self.answer("drop_database", target)?;
        self.state().databases.all.remove(&oid);
        Ok(())
    }
}
