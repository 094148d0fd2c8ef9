//! A dump, read without writing anything: whole or not.

use super::super::StoreError;
use super::{Column, Footer, Header, Kind, Sum, Table};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Why a dump is not taken. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("it does not begin as a dump of a store")]
    Header,
    #[error("its layout is number {0}, which this version of pgflex does not know")]
    Format(u32),
    #[error(
        "it was made by a newer pgflex (migration {made}, this one knows {known}): recover with that version"
    )]
    Newer { made: i64, known: i64 },
    #[error("it is not whole: {0}")]
    NotWhole(String),
    #[error("{0}")]
    Unreadable(String),
    #[error(
        "the database is not empty: {0}. A recovery writes into an empty one only; name a new one"
    )]
    NotEmpty(String),
    #[error("the metadata database")]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for DumpError {
    fn from(error: sqlx::Error) -> Self {
        DumpError::Store(error.into())
    }
}

/// A dump that was read to its end and is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub header: Header,
    pub rows: i64,
}

/// Reads every line: are all rows there, does each fit its table, is the sum right?
///
/// # Errors
/// The first thing that is wrong.
pub fn check<E: std::fmt::Display>(
    lines: impl Iterator<Item = Result<String, E>>,
) -> Result<Checked, DumpError> {
    let mut reader = Reader::begin(lines)?;
    while reader.row()?.is_some() {}
    Ok(Checked { rows: reader.rows, header: reader.header })
}

/// Goes through a dump row by row; the end is reached only when everything was right.
pub(super) struct Reader<I> {
    pub(super) header: Header,
    pub(super) rows: i64,
    lines: I,
    sum: Sum,
    /// Table of the next row, and how many of it were read.
    at: (usize, i64),
}

impl<E: std::fmt::Display, I: Iterator<Item = Result<String, E>>> Reader<I> {
    pub(super) fn begin(mut lines: I) -> Result<Self, DumpError> {
        let mut sum = Sum::default();
        let first = lines.next().ok_or(DumpError::Header)?.map_err(unreadable)?;
        let header = Header::parse(&first)?;
        sum.line(&first);
        Ok(Self { header, rows: 0, lines, sum, at: (0, 0) })
    }

    /// The number of the next row's table, and its values; `None` after the last.
    pub(super) fn row(&mut self) -> Result<Option<(usize, Vec<Value>)>, DumpError> {
        while self.header.tables.get(self.at.0).is_some_and(|table| self.at.1 >= table.rows) {
            self.at = (self.at.0 + 1, 0);
        }
        let Some(line) = self.lines.next() else { return Err(cut_off()) };
        let line = line.map_err(unreadable)?;
        let Some(table) = self.header.tables.get(self.at.0) else {
            return self.end(&line).map(|()| None);
        };
        self.sum.line(&line);
        let wrong = || DumpError::NotWhole(format!("a row of {} does not fit it", table.name));
        let values: Vec<Value> = serde_json::from_str(&line).map_err(|_| wrong())?;
        if !fits(table, &values) {
            return Err(wrong());
        }
        self.rows += 1;
        self.at.1 += 1;
        Ok(Some((self.at.0, values)))
    }

    fn end(&mut self, line: &str) -> Result<(), DumpError> {
        let footer: Footer = serde_json::from_str(line).map_err(|_| cut_off())?;
        let sum = std::mem::take(&mut self.sum).finish();
        if footer.rows != self.rows || footer.sha256 != sum {
            return Err(DumpError::NotWhole("its checksum is another one".into()));
        }
        match self.lines.next() {
            None => Ok(()),
            Some(Err(error)) => Err(unreadable(error)),
            Some(Ok(_)) => Err(DumpError::NotWhole("something follows its end".into())),
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> DumpError {
    DumpError::Unreadable(error.to_string())
}

fn cut_off() -> DumpError {
    DumpError::NotWhole("it ends too early".into())
}

fn fits(table: &Table, values: &[Value]) -> bool {
    values.len() == table.columns.len()
        && table.columns.iter().zip(values).all(|(column, value)| is_of(column, value))
}

fn is_of(column: &Column, value: &Value) -> bool {
    value.is_null()
        || match column.kind {
            Kind::Text => value.is_string(),
            Kind::Integer => value.is_i64(),
            Kind::Float => value.is_u64(),
            Kind::Bytes => bytes(value).is_some(),
        }
}

pub(super) fn bytes(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}
