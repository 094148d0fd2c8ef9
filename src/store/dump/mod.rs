//! The whole store as lines of text, the same from both databases and into both.
//!
//! First a [`Header`] (JSON), then one line for each row (a JSON array in the order of the header's columns), then a [`Footer`].
//! Which tables and columns there are is asked of the database itself: a table that somebody adds is in the next dump
//! without anybody thinking of it. What is left out stands in [`LEFT_OUT`], with the reason.

mod check;
mod load;
mod settle;
mod tables;

pub use check::{Checked, DumpError, check};
pub use load::latest_migration;
pub use settle::Settled;
pub use tables::{Column, Kind, Table};

use super::codec::micros;
use super::{Dialect, Store, StoreError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{Any, AssertSqlSafe, Row, Transaction, any::AnyRow};
use std::fmt::Write as _;

/// Tables that are empty after a recovery, and why. Everything else is kept: a row too many harms nobody, one too few is
/// missed on the worst day.
pub const LEFT_OUT: &[(&str, &str)] = &[
    (
        "sessions",
        "who was signed in signs in again: a session that was ended after the dump must not come back to life",
    ),
    ("sign_in_failures", "throttles of minutes: over before anybody recovers"),
    (
        "gateways",
        "each process writes its row anew within a second; the old ones say what is no longer so",
    ),
];

/// Number of the layout below.
pub const FORMAT: u32 = 1;

/// What a dump holds. Its first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub format: u32,
    /// Number of the last migration of the store it was made from.
    pub migration: i64,
    /// Identity of the installation.
    pub install_id: String,
    /// The moment it shows, in microseconds UTC.
    pub made_at: i64,
    /// Version of the program that made it.
    pub program: String,
    /// In the order in which their rows follow.
    pub tables: Vec<Table>,
}

impl Header {
    /// The moment it shows.
    pub fn made_at(&self) -> DateTime<Utc> {
        super::codec::time(self.made_at)
    }

    /// Rows of a table; 0 where it has none of that name.
    pub fn rows_of(&self, table: &str) -> i64 {
        self.tables.iter().find(|found| found.name == table).map_or(0, |found| found.rows)
    }

    /// The first line of a dump.
    ///
    /// # Errors
    /// When it is none, or of a layout that this program does not know.
    pub fn parse(line: &str) -> Result<Self, DumpError> {
        let header: Self = serde_json::from_str(line).map_err(|_| DumpError::Header)?;
        if header.format == FORMAT { Ok(header) } else { Err(DumpError::Format(header.format)) }
    }
}

/// What must come out. The last line of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footer {
    pub rows: i64,
    /// Of all lines before it, each with its line feed, in hexadecimal.
    pub sha256: String,
}

/// Where the lines go. Each has its line feed.
pub trait Sink: Send {
    fn header(&mut self, line: &str);
    fn row(&mut self, line: &str);
    fn footer(&mut self, line: &str);
}

impl Store {
    /// Writes everything there is to `sink`, as of one moment.
    ///
    /// # Errors
    /// When the database does not answer: what was written is then no dump, because its footer is missing.
    pub async fn dump(
        &self,
        now: DateTime<Utc>,
        install_id: &str,
        sink: &mut dyn Sink,
    ) -> Result<Header, StoreError> {
        let begin = match self.dialect {
            // In its log file a reader of SQLite sees the moment of its first read until it ends.
            Dialect::Sqlite => "BEGIN",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        let mut tx = self.pool.begin_with(begin).await?;
        let header = Header {
            format: FORMAT,
            migration: tables::migration(&mut tx).await?.unwrap_or(0),
            install_id: install_id.to_owned(),
            made_at: micros(now),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            tables: kept(tables::all(&mut tx, self.dialect).await?),
        };
        let mut sum = Sum::default();
        let line = sum.line(&serde_json::to_string(&header).map_err(unwritable)?);
        sink.header(&line);
        let mut rows = 0;
        for table in &header.tables {
            rows += write_rows(&mut tx, table, &mut sum, sink).await?;
        }
        let footer = Footer { rows, sha256: sum.finish() };
        sink.footer(&format!("{}\n", serde_json::to_string(&footer).map_err(unwritable)?));
        tx.rollback().await?;
        Ok(header)
    }
}

fn kept(mut tables: Vec<Table>) -> Vec<Table> {
    tables.retain(|table| LEFT_OUT.iter().all(|(name, _)| *name != table.name));
    tables
}

fn unwritable(_: impl std::error::Error) -> StoreError {
    StoreError::Value("a row that is no JSON".into())
}

async fn write_rows(
    tx: &mut Transaction<'_, Any>,
    table: &Table,
    sum: &mut Sum,
    sink: &mut dyn Sink,
) -> Result<i64, StoreError> {
    let mut count = 0;
    let select = AssertSqlSafe(table.select());
    let mut rows = sqlx::query(select).fetch(&mut **tx);
    while let Some(row) = rows.try_next().await? {
        let line = sum.line(&serde_json::to_string(&values(table, &row)?).map_err(unwritable)?);
        sink.row(&line);
        count += 1;
    }
    Ok(count)
}

fn values(table: &Table, row: &AnyRow) -> Result<Vec<Value>, StoreError> {
    let value = |(at, column): (usize, &Column)| {
        Ok(match column.kind {
            Kind::Text => row.try_get::<Option<String>, _>(at)?.into(),
            Kind::Integer => row.try_get::<Option<i64>, _>(at)?.into(),
            // By its bits: text of a number is read back as its neighbour by some.
            Kind::Float => row.try_get::<Option<f64>, _>(at)?.map(f64::to_bits).into(),
            Kind::Bytes => {
                row.try_get::<Option<Vec<u8>>, _>(at)?.map(|bytes| STANDARD.encode(bytes)).into()
            }
        })
    };
    table.columns.iter().enumerate().map(value).collect()
}

/// The checksum of lines as they pass.
#[derive(Default)]
struct Sum(Sha256);

impl Sum {
    fn line(&mut self, text: &str) -> String {
        let line = format!("{text}\n");
        self.0.update(line.as_bytes());
        line
    }

    fn finish(self) -> String {
        self.0.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}
