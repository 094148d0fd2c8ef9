//! What a step is. Rules for every step:
//!
//! - It does one thing, within seconds, and can run again at any time: it looks, then acts ("ensure").
//! - It ends in [`Outcome::Done`], in [`Outcome::Wait`] (look again later), or in a [`StepError`].
//! - What it gives is stored before the next step begins. Random values are made in a step of their
//!   own, so that a rerun uses the same.
//! - Its undo may not fail for good, and tolerates "never happened", "half happened" and "already undone".

use super::context::StepContext;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// A step's function.
pub type StepFn = for<'a> fn(&'a StepContext) -> BoxFuture<'a, Result<Outcome, StepError>>;

/// One line of an operation's table.
#[derive(Clone, Copy)]
pub struct Step {
    /// Stable, stored, never reused for another meaning.
    pub name: &'static str,
    /// Words for people, imperative.
    pub title: &'static str,
    pub run: StepFn,
    pub undo: Undo,
    /// Time after which the step counts as failed for good, waits included.
    pub deadline: Duration,
    /// From the end of this step on there is only forward.
    pub point_of_no_return: bool,
}

/// How a step is taken back.
#[derive(Clone, Copy)]
pub enum Undo {
    Run(StepFn),
    /// Nothing to take back, with the reason.
    None(&'static str),
}

/// How a step ended well.
#[derive(Debug)]
pub enum Outcome {
    /// Finished, with what later steps need.
    Done(serde_json::Value),
    /// Not yet: call again after this time. The text says what it waits for.
    Wait(Duration, String),
}

impl Outcome {
    /// Finished, with nothing to hand on.
    pub const fn done() -> Self {
        Outcome::Done(serde_json::Value::Null)
    }
}

/// How a step ended badly.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Trying again can help.
    #[error("{0}")]
    Transient(String),
    /// It would fail again: the operation unwinds. The second text says what a person can do.
    #[error("{what}")]
    Permanent { what: String, advice: String },
    /// The lease was lost: another runner has the operation. Nothing may be written.
    #[error("another runner took over")]
    LeaseLost,
}

impl StepError {
    pub fn permanent(what: impl Into<String>, advice: impl Into<String>) -> Self {
        StepError::Permanent { what: what.into(), advice: advice.into() }
    }
}

impl From<crate::store::StoreError> for StepError {
    fn from(error: crate::store::StoreError) -> Self {
        match error {
            crate::store::StoreError::Stale => StepError::LeaseLost,
            other => StepError::Transient(other.to_string()),
        }
    }
}

impl From<crate::engine::EngineError> for StepError {
    fn from(error: crate::engine::EngineError) -> Self {
        use crate::engine::EngineError;
        let advice = match &error {
            EngineError::Silent(_) => return StepError::Transient(error.to_string()),
            EngineError::Foreign(_) => {
                "Somebody else's object has the name. Rename or remove it on the host, then retry."
            }
            EngineError::Missing(_) => "It was removed on the host while the operation ran. Retry.",
            EngineError::Refused(_) => "Mend on the host what the engine names, then retry.",
            EngineError::NoSpace(_) => "Free disk space on the host, then retry.",
        };
        StepError::permanent(error.to_string(), advice)
    }
}

impl From<crate::postgres::PostgresError> for StepError {
    fn from(error: crate::postgres::PostgresError) -> Self {
        use crate::postgres::PostgresError;
        match &error {
            PostgresError::Silent(_) => StepError::Transient(error.to_string()),
            PostgresError::Refused(_) => StepError::permanent(
                error.to_string(),
                "Retry. If it fails again, the log below says more.",
            ),
        }
    }
}

impl From<crate::secrets::SecretError> for StepError {
    fn from(error: crate::secrets::SecretError) -> Self {
        StepError::permanent(
            error.to_string(),
            "Start the portal with the master key that this store was made with, then retry.",
        )
    }
}
