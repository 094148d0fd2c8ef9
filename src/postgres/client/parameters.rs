//! Settings of a member, read from its own views.

use super::{PostgresError, Target, TlsPostgres, with_session};
use crate::domain::parameters::units::Unit;
use crate::domain::parameters::{Context, Kind, Parameter};
use crate::postgres::parameters::{ServerParameters, SettingsLook};
use async_trait::async_trait;
use tokio_postgres::{Client, Error, Row};

/// Characters that are kept of any text.
const TEXT_MAX: usize = 600;

const SETTINGS: &str = include_str!("settings.sql");
const LOADED: &str = "SELECT (extract(epoch FROM pg_conf_load_time()) * 1000000)::int8";
/// A static parameter with another value is told as an error too, and one that left the file without its name:
/// those only wait for the restart. The image has no translations.
const FAULTS: &str = "SELECT f.name, f.error FROM pg_file_settings f \
    LEFT JOIN pg_settings s ON lower(s.name) = lower(f.name) \
    WHERE f.error IS NOT NULL AND NOT coalesce(s.pending_restart, false) \
    AND NOT (f.name IS NULL AND f.error LIKE '%cannot be changed without restarting the server') LIMIT 100";
const TRY: &str = "SELECT set_config($1::text, $2::text, true)";

#[async_trait]
impl ServerParameters for TlsPostgres {
    async fn settings(&self, target: &Target) -> Result<SettingsLook, PostgresError> {
        with_session(target, settings).await
    }

    async fn try_settings(
        &self,
        target: &Target,
        values: &[(String, String)],
    ) -> Result<(), PostgresError> {
        with_session(target, |client| try_all(client, values)).await
    }
}

async fn settings(client: Client) -> Result<SettingsLook, Error> {
    let rows = client.query(SETTINGS, &[]).await?;
    let faults = client.query(FAULTS, &[]).await?;
    Ok(SettingsLook {
        parameters: rows.iter().map(parameter).collect::<Result<_, _>>()?,
        loaded_at: client.query_one(LOADED, &[]).await?.try_get(0)?,
        faults: faults
            .iter()
            .map(|row| Ok((text(row, 0)?, text(row, 1)?)))
            .collect::<Result<_, Error>>()?,
    })
}

fn parameter(row: &Row) -> Result<Parameter, Error> {
    let number = |at| -> Result<Option<f64>, Error> { Ok(text(row, at)?.parse().ok()) };
    let choices: Option<Vec<String>> = row.try_get(10)?;
    let mut parameter = Parameter {
        name: text(row, 0)?,
        value: String::new(),
        default: String::new(),
        unit: Unit::parse(&text(row, 3)?),
        kind: Kind::parse(&text(row, 4)?),
        context: Context::parse(&text(row, 5)?),
        category: text(row, 6)?,
        description: text(row, 7)?,
        min: number(8)?,
        max: number(9)?,
        choices: choices.unwrap_or_default().into_iter().take(100).map(clipped).collect(),
        is_pending: row.try_get(11)?,
    };
    for (at, into) in [(1, true), (2, false)] {
        let raw = text(row, at)?;
        let written = parameter.written(&raw).unwrap_or(raw);
        if into { parameter.value = written } else { parameter.default = written }
    }
    Ok(parameter)
}

fn text(row: &Row, at: usize) -> Result<String, Error> {
    Ok(clipped(row.try_get::<_, Option<String>>(at)?.unwrap_or_default()))
}

fn clipped(text: String) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

async fn try_all(mut client: Client, values: &[(String, String)]) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    for (name, value) in values {
        transaction.query_one(TRY, &[name, value]).await?;
    }
    transaction.rollback().await
}
