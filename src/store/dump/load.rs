//! A dump into an empty database, in one transaction: all of it or nothing.

use super::super::{MIGRATIONS, Record, Store, StoreError, WriteTx};
use super::check::{Checked, DumpError, Reader, bytes};
use super::settle::unfinished;
use super::tables::{self, Kind, Table};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use std::collections::HashMap;

/// Rows that migrations write: they are no sign that anybody used the database.
const SEEDED: [(&str, i64); 2] = [("resource_groups", 1), ("route_generation", 1)];

impl Store {
    /// Opens an empty database and brings its schema to where a dump was made, not further: what later migrations do
    /// to rows they do to those of the dump as well.
    ///
    /// # Errors
    /// When the database holds anything, or the dump was made by a newer version.
    pub async fn open_empty(url: &str, migration: i64) -> Result<Self, DumpError> {
        let known = latest_migration();
        if migration > known {
            return Err(DumpError::Newer { made: migration, known });
        }
        let store = Self::connect(url).await?;
        store.refuse_used(migration).await?;
        MIGRATIONS.run_to(migration, &store.pool).await.map_err(StoreError::from)?;
        Ok(store)
    }

    /// What a recovery that was killed before its first row leaves is as good as new.
    async fn refuse_used(&self, migration: i64) -> Result<(), DumpError> {
        let mut tx = self.pool.begin_with("BEGIN").await?;
        let tables = tables::all(&mut tx, self.dialect).await?;
        let is_seed = |table: &&Table| SEEDED.contains(&(table.name.as_str(), table.rows));
        if let Some(used) = tables.iter().find(|table| table.rows > 0 && !is_seed(table)) {
            return Err(DumpError::NotEmpty(format!("table {} has {} rows", used.name, used.rows)));
        }
        if tables.is_empty() {
            return Ok(());
        }
        match tables::migration(&mut tx).await {
            Ok(Some(found)) if found <= migration => Ok(()),
            _ => Err(DumpError::NotEmpty("it has tables of another version".into())),
        }
    }

    /// Writes every row of a dump that [`super::check`] found whole, and marks the store as not yet usable.
    ///
    /// # Errors
    /// When the lines are others than those that were checked, or the database refuses; then nothing was written.
    pub async fn load<E: std::fmt::Display>(
        &self,
        now: DateTime<Utc>,
        checked: &Checked,
        lines: impl Iterator<Item = Result<String, E>>,
    ) -> Result<(), DumpError> {
        let mut tx = self.begin_write(now).await?;
        let mut reader = Reader::begin(lines)?;
        let here = tables::all(&mut tx.tx, self.dialect).await?;
        refuse_strangers(&here, &reader.header.tables)?;
        for table in &here {
            sqlx::query(AssertSqlSafe(table.empty())).execute(&mut *tx.tx).await?;
        }
        while let Some((table, values)) = reader.row()? {
            insert(&mut tx, &reader.header.tables[table], &values).await?;
        }
        if reader.header != checked.header || reader.rows != checked.rows {
            return Err(DumpError::NotWhole("it changed while it was read".into()));
        }
        for table in &reader.header.tables {
            let (rows,): (i64,) =
                sqlx::query_as(AssertSqlSafe(table.count())).fetch_one(&mut *tx.tx).await?;
            if rows != table.rows {
                let what = format!("table {} has {rows} rows of {}", table.name, table.rows);
                return Err(DumpError::NotWhole(what));
            }
        }
        unfinished(&mut tx).await?;
        Ok(tx.commit(Record::Nothing("the log that comes back tells what happened")).await?)
    }

    /// Applies the migrations that came after a dump was made.
    ///
    /// # Errors
    /// When one fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        Ok(MIGRATIONS.run(&self.pool).await?)
    }
}

/// Number of the newest migration that this program has.
pub fn latest_migration() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// A dump is of the same schema by its migration; one that is not was tampered with or made by a fork.
fn refuse_strangers(here: &[Table], dumped: &[Table]) -> Result<(), DumpError> {
    let known: HashMap<&str, &Table> =
        here.iter().map(|table| (table.name.as_str(), table)).collect();
    for table in dumped {
        if known.get(table.name.as_str()).is_none_or(|found| found.columns != table.columns) {
            let what = format!("table {} is otherwise in this version", table.name);
            return Err(DumpError::NotWhole(what));
        }
    }
    Ok(())
}

async fn insert(tx: &mut WriteTx, table: &Table, values: &[Value]) -> Result<(), StoreError> {
    let mut statement = sqlx::query(AssertSqlSafe(table.insert()));
    for (column, value) in table.columns.iter().zip(values) {
        statement = match column.kind {
            Kind::Text => statement.bind(value.as_str().map(str::to_owned)),
            Kind::Integer => statement.bind(value.as_i64()),
            Kind::Float => statement.bind(value.as_u64().map(f64::from_bits)),
            Kind::Bytes => statement.bind(bytes(value)),
        };
    }
    statement.execute(&mut *tx.tx).await?;
    Ok(())
}
