//! Pure: whether a change that restarts PostgreSQL goes through a pair member by member, the standby first.
//!
//! That interrupts for no longer than a planned failover. It is not possible while the pair is not in sync, and not
//! where a value becomes smaller that a standby must have at least as large as its primary ([`FLOORS`]): then the
//! primary is restarted in place, and its standby keeps the larger value until then.

use super::pair::FLOORS;
use super::scale::ScaleInput;
use super::scale_plan;
use crate::domain::catalog::Sku;
use crate::domain::ha::{HighAvailability, ReplicationState};
use crate::domain::operation::{OperationKind, ROLLING};
use crate::domain::parameters::{Catalogue, ParameterChange};
use crate::domain::placement::grows;
use crate::domain::server::Server;
use crate::postgres::conf::{self, Settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How PostgreSQL is restarted for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// There is one member, or the change restarts nothing.
    Alone,
    /// The standby first, then it takes over.
    Rolling,
    /// The pair is not in sync: the primary in place.
    NotInSync,
    /// A value becomes smaller: the primary in place, its standby counts all the while.
    Lowers,
}

impl Way {
    /// The way of a change of a server. `in_force` are its settings as they were last seen.
    pub fn of(
        kind: OperationKind,
        input: &Value,
        server: &Server,
        row: Option<&HighAvailability>,
        in_force: Option<&Catalogue>,
    ) -> Self {
        let (Some(row), Some(after)) = (row, restarted(kind, input, server)) else {
            return Way::Alone;
        };
        if row.state != ReplicationState::Sync || !row.is_promotable {
            return Way::NotInSync;
        }
        let shrinks = match kind {
            OperationKind::Scale => !grows(server.spec.sku(), after.spec.sku()),
            _ => false,
        };
        if shrinks || lowers(server, &after, in_force) { Way::Lowers } else { Way::Rolling }
    }
}

/// Whether the steps of an operation are those that go through a pair.
pub fn is_rolling(
    kind: OperationKind,
    input: &Value,
    server: &Server,
    row: Option<&HighAvailability>,
    in_force: Option<&Catalogue>,
) -> bool {
    Way::of(kind, input, server, row, in_force) == Way::Rolling
}

/// The input of an operation with the mark by which its steps are found; that of an earlier try is gone.
pub fn marked(input: &Value, is_rolling: bool) -> Value {
    let mut input = input.clone();
    if let Some(fields) = input.as_object_mut() {
        fields.remove(ROLLING);
    }
    match (&mut input, is_rolling) {
        (Value::Object(fields), true) => {
            fields.insert(ROLLING.into(), Value::Bool(true));
        }
        (input, true) => *input = json!({ ROLLING: true }),
        (_, false) => {}
    }
    input
}

/// The server as it shall be after a change that restarts it; `None` for one that does not.
fn restarted(kind: OperationKind, input: &Value, server: &Server) -> Option<Server> {
    let asks = input.get("restart").and_then(Value::as_bool).unwrap_or(false);
    let mut server = server.clone();
    match kind {
        OperationKind::Restart => Some(server),
        OperationKind::AllowExtensions => asks.then_some(server),
        OperationKind::ChangeParameters => {
            let change: ParameterChange = serde_json::from_value(input.clone()).ok()?;
            let before = &server.configuration.parameters;
            server.configuration.parameters = change.applied_to(before);
            asks.then_some(server)
        }
        OperationKind::Scale => {
            let input: ScaleInput = serde_json::from_value(input.clone()).ok()?;
            let to = Sku::by_name(&input.to)?;
            let restarts = scale_plan::plan(&server, to).restarts;
            to.name.clone_into(&mut server.spec.sku);
            restarts.then_some(server)
        }
        _ => None,
    }
}

/// Whether one of [`FLOORS`] becomes smaller than it is in force, or than the files of now say where that is not known.
fn lowers(before: &Server, after: &Server, in_force: Option<&Catalogue>) -> bool {
    let values = |server| conf::values(&Settings::of(server));
    let (before, after) = (values(before), values(after));
    let of = |values: &BTreeMap<String, String>, name: &str| number(values.get(name)?);
    FLOORS.iter().any(|name| {
        let seen = in_force.and_then(|seen| seen.find(name));
        let default = seen.and_then(|seen| number(&seen.default));
        let is = seen.and_then(|seen| number(&seen.value)).or_else(|| of(&before, name));
        let becomes = of(&after, name).or(default);
        matches!((is, becomes), (Some(is), Some(becomes)) if becomes < is)
            // One that was set and goes back to a default that nobody knows.
            || (is.is_some() && becomes.is_none())
    })
}

fn number(text: &(impl AsRef<str> + ?Sized)) -> Option<i64> {
    text.as_ref().trim_matches('\'').parse().ok()
}

#[cfg(test)]
#[path = "rolling_plan_tests.rs"]
mod tests;
