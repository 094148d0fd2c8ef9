//! Settings of the fake: a handful, with the values of the file that the member has.

use super::{FakePostgres, PostgresError, Target};
use crate::domain::parameters::units::Unit;
use crate::domain::parameters::{Context, Kind, Parameter};
use crate::postgres::parameters::{ServerParameters, SettingsLook};
use async_trait::async_trait;
use std::collections::BTreeMap;

fn one(
    name: &str,
    kind: Kind,
    unit: Unit,
    context: Context,
    value: &str,
    category: &str,
) -> Parameter {
    let is_number = matches!(kind, Kind::Integer | Kind::Real);
    let choices: &[&str] = if kind == Kind::Enum { &["none", "ddl", "all"] } else { &[] };
    Parameter {
        name: name.into(),
        value: value.into(),
        default: value.into(),
        unit,
        kind,
        context,
        category: category.into(),
        description: format!("What {name} does, in a sentence of PostgreSQL's own."),
        min: is_number.then_some(0.0),
        max: is_number.then_some(2_147_483_647.0),
        choices: choices.iter().map(|choice| (*choice).into()).collect(),
        is_pending: false,
    }
}

/// A few of each sort, as PostgreSQL 17 tells them.
pub fn sample() -> Vec<Parameter> {
    use Kind::{Bool, Enum, Integer, Real, Text};
    use Unit::{Blocks, Kilobytes, None};
    let (memory, wal) = ("Resource Usage / Memory", "Write-Ahead Log / Settings");
    let (reload, start, session) = (Context::Reload, Context::Postmaster, Context::Session);
    let (log, clients) =
        ("Reporting and Logging / What to Log", "Client Connection Defaults / Other");
    vec![
        one("archive_command", Text, None, reload, "", "Write-Ahead Log / Archiving"),
        one("autovacuum", Bool, None, reload, "on", "Autovacuum"),
        one("fsync", Bool, None, reload, "on", wal),
        one("log_statement", Enum, None, session, "none", log),
        one("max_connections", Integer, None, start, "859", "Connections and Authentication"),
        one("max_locks_per_transaction", Integer, None, start, "64", "Lock Management"),
        one("random_page_cost", Real, None, session, "4", "Query Tuning / Planner Cost Constants"),
        one("search_path", Text, None, session, "\"$user\", public", clients),
        one("server_version", Text, None, Context::Internal, "17.6", "Preset Options"),
        one("shared_buffers", Integer, Blocks, start, "2GB", memory),
        one("work_mem", Integer, Kilobytes, session, "4MB", memory),
    ]
}

/// A value that this PostgreSQL never takes.
pub const REFUSED: &str = "refused";

#[async_trait]
impl ServerParameters for FakePostgres {
    async fn settings(&self, target: &Target) -> Result<SettingsLook, PostgresError> {
        self.answer("settings", target)?;
        let file = (self.files)(target.address.ip()).unwrap_or_default();
        let written = read(&file);
        let mut parameters = sample();
        for parameter in &mut parameters {
            if let Some(value) = written.get(&parameter.name) {
                parameter.value = parameter.written(value).unwrap_or_else(|_| value.clone());
            }
        }
        let faults = written.iter().filter(|(_, value)| *value == REFUSED);
        let faults =
            faults.map(|(name, _)| (name.clone(), "setting could not be applied".into())).collect();
        let mut state = self.state();
        state.looks += 1;
        Ok(SettingsLook { parameters, loaded_at: state.looks, faults })
    }

    async fn try_settings(
        &self,
        target: &Target,
        _values: &[(String, String)],
    ) -> Result<(), PostgresError> {
        self.answer("try_settings", target).map(drop)
    }
}

/// The last value of each name.
fn read(file: &str) -> BTreeMap<String, String> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').replace("''", "'")))
        .collect()
}
