//! Settings of the fake: a handful, with the values of the file that the member has.

use super::{FakePostgres, PostgresError, Target};
use crate::domain::parameters::units::Unit;
use crate::domain::parameters::{Context, Kind, Parameter};
use crate::postgres::parameters::{ServerParameters, SettingsLook};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// A few of each sort, as PostgreSQL 17 tells them.
pub fn sample() -> Vec<Parameter> {
    let one = |name: &str, kind, unit, context, value: &str, category: &str| Parameter {
        name: name.into(),
        value: value.into(),
        default: value.into(),
        unit,
        kind,
        context,
        category: category.into(),
        description: format!("What {name} does, in a sentence of PostgreSQL's own."),
        min: matches!(kind, Kind::Integer | Kind::Real).then_some(0.0),
        max: matches!(kind, Kind::Integer | Kind::Real).then_some(2_147_483_647.0),
        choices: if kind == Kind::Enum {
            vec!["none".into(), "ddl".into(), "all".into()]
        } else {
            vec![]
        },
        is_pending: false,
    };
    let (memory, wal) = ("Resource Usage / Memory", "Write-Ahead Log / Settings");
    vec![
        one(
            "archive_command",
            Kind::Text,
            Unit::None,
            Context::Reload,
            "",
            "Write-Ahead Log / Archiving",
        ),
        one("autovacuum", Kind::Bool, Unit::None, Context::Reload, "on", "Autovacuum"),
        one("fsync", Kind::Bool, Unit::None, Context::Reload, "on", wal),
        one(
            "log_statement",
            Kind::Enum,
            Unit::None,
            Context::Session,
            "none",
            "Reporting and Logging / What to Log",
        ),
        one(
            "max_connections",
            Kind::Integer,
            Unit::None,
            Context::Postmaster,
            "859",
            "Connections and Authentication / Connection Settings",
        ),
        one(
            "max_locks_per_transaction",
            Kind::Integer,
            Unit::None,
            Context::Postmaster,
            "64",
            "Lock Management",
        ),
        one(
            "random_page_cost",
            Kind::Real,
            Unit::None,
            Context::Session,
            "4",
            "Query Tuning / Planner Cost Constants",
        ),
        one(
            "search_path",
            Kind::Text,
            Unit::None,
            Context::Session,
            "\"$user\", public",
            "Client Connection Defaults / Statement Behavior",
        ),
        one("server_version", Kind::Text, Unit::None, Context::Internal, "17.6", "Preset Options"),
        one("shared_buffers", Kind::Integer, Unit::Blocks, Context::Postmaster, "2GB", memory),
        one("work_mem", Kind::Integer, Unit::Kilobytes, Context::Session, "4MB", memory),
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
