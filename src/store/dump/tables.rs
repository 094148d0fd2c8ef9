//! Which tables and columns a database has, asked of itself.

use super::super::{Dialect, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::{Any, AssertSqlSafe, Transaction};

/// A table with its rows at the moment of the dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    pub rows: i64,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

/// The four types that columns have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Text,
    Integer,
    Float,
    Bytes,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "TEXT" => Some(Kind::Text),
            "BIGINT" => Some(Kind::Integer),
            "DOUBLE PRECISION" => Some(Kind::Float),
            "BYTEA" => Some(Kind::Bytes),
            _ => None,
        }
    }
}

impl Table {
    pub(super) fn select(&self) -> String {
        format!("SELECT {} FROM {}", self.columns(), quoted(&self.name))
    }

    pub(super) fn insert(&self) -> String {
        let places: Vec<String> = (1..=self.columns.len()).map(|nth| format!("${nth}")).collect();
        let (name, columns) = (quoted(&self.name), self.columns());
        format!("INSERT INTO {name} ({columns}) VALUES ({})", places.join(", "))
    }

    pub(super) fn empty(&self) -> String {
        format!("DELETE FROM {}", quoted(&self.name))
    }

    pub(super) fn count(&self) -> String {
        format!("SELECT COUNT(*) FROM {}", quoted(&self.name))
    }

    fn columns(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        names.join(", ")
    }
}

/// A name as SQL, whatever is in it: one from a file is somebody else's text.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Number of the last migration that was applied; `None` in a database without any.
pub(super) async fn migration(tx: &mut Transaction<'_, Any>) -> Result<Option<i64>, StoreError> {
    let (last,): (Option<i64>,) =
        sqlx::query_as("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(&mut **tx).await?;
    Ok(last)
}

/// Every table of ours but the bookkeeping of migrations, by name.
pub(super) async fn all(
    tx: &mut Transaction<'_, Any>,
    dialect: Dialect,
) -> Result<Vec<Table>, StoreError> {
    let sql = match dialect {
        Dialect::Sqlite => {
            "SELECT m.name, p.name, p.type FROM sqlite_master m JOIN pragma_table_info(m.name) p
             WHERE m.type = 'table' AND m.name NOT LIKE '!_sqlx%' ESCAPE '!' AND m.name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY m.name, p.cid"
        }
        Dialect::Postgres => {
            "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT), CAST(c.data_type AS TEXT) FROM information_schema.columns c
             JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE'
             WHERE c.table_schema = current_schema() AND c.table_name NOT LIKE '!_sqlx%' ESCAPE '!' ORDER BY c.table_name, c.ordinal_position"
        }
    };
    let columns: Vec<(String, String, String)> = sqlx::query_as(sql).fetch_all(&mut **tx).await?;
    let mut tables: Vec<Table> = vec![];
    for (table, name, kind) in columns {
        let unknown = || StoreError::Value(format!("column {table}.{name} of type {kind}"));
        let column = Column { kind: Kind::parse(&kind).ok_or_else(unknown)?, name };
        match tables.last_mut().filter(|last| last.name == table) {
            Some(last) => last.columns.push(column),
            None => tables.push(Table { name: table, columns: vec![column], rows: 0 }),
        }
    }
    for table in &mut tables {
        let count = AssertSqlSafe(table.count());
        (table.rows,) = sqlx::query_as(count).fetch_one(&mut **tx).await?;
    }
    Ok(tables)
}
