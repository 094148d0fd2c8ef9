//! Portable columns to domain values and back.

use super::StoreError;
use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};

/// A time as stored: microseconds UTC.
pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// A stored time.
pub(super) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
}

pub(super) fn time_option(micros: Option<i64>) -> Option<DateTime<Utc>> {
    micros.map(time)
}

/// A flag as stored.
pub(super) fn flag(value: bool) -> i64 {
    i64::from(value)
}

/// A value as JSON text. Our own types always serialise; a failure is stored as null and found when read.
pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}

pub(super) fn from_json<T: DeserializeOwned>(
    text: &str,
    what: &'static str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Value(format!("{what}: {error}")))
}

/// A stored word or id through its own parser.
pub(super) fn parsed<T>(
    text: &str,
    parse: impl Fn(&str) -> Option<T>,
    what: &'static str,
) -> Result<T, StoreError> {
    parse(text).ok_or_else(|| StoreError::Value(format!("{what} {text:?}")))
}
