//! What the monitor last saw of a pair, as it is kept for pages: facts with their time, never a guess.

use serde::{Deserialize, Serialize};

/// Kind of the observation under which the monitor keeps its look at a pair (`store.observe_servers`).
pub const OBSERVATION: &str = "ha";

/// One look at a pair, and what was decided from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HaLook {
    /// Epoch of the row that was looked at; a look of another epoch says nothing about now.
    pub epoch: i64,
    /// What follows from the look, as [`super::Action`] is named, such as `BuildStandby`.
    pub action: String,
    /// The sentence of [`super::Decision`].
    pub reason: String,
    /// Microseconds UTC since which the decision is the same.
    pub since_micros: i64,
    pub primary: LookMember,
    /// `None` when the row names no standby.
    pub standby: Option<LookMember>,
    /// What the standby has not flushed of what the primary has written; `None` when not measured.
    pub lag_bytes: Option<u64>,
    /// How old the newest commit is that the standby has replayed, while it is behind; 0 when it has everything.
    pub lag_seconds: Option<f64>,
    /// As the primary's `pg_stat_replication` says of the standby: "sync", "async"; empty when it is not there.
    pub sync_state: String,
}

/// One member in a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookMember {
    /// Its member id.
    pub member: String,
    /// Whether PostgreSQL answered a query; `None` when nobody knows.
    pub answers: Option<bool>,
    /// Microseconds UTC since which that is so; `None` when nobody knows.
    pub answers_since_micros: Option<i64>,
    /// "running", "exited", "missing", …; empty while its engine does not answer.
    pub container: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_read_as_it_was_written() {
        let member = |id: &str| LookMember {
            member: id.into(),
            answers: Some(true),
            answers_since_micros: Some(1),
            container: "running".into(),
        };
        let look = HaLook {
            epoch: 2,
            action: "Nothing".into(),
            reason: "Both are well.".into(),
            since_micros: 5,
            primary: member("a"),
            standby: Some(member("b")),
            lag_bytes: Some(0),
            lag_seconds: None,
            sync_state: "sync".into(),
        };
        let text = serde_json::to_string(&look).unwrap();
        assert_eq!(serde_json::from_str::<HaLook>(&text).unwrap(), look);
    }
}
