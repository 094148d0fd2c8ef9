//! Everything that an operation's page shows, read from the store at one moment.

use crate::domain::ids::OperationId;
use crate::domain::operation::{LogLine, Operation, StepRecord};
use crate::domain::server::Server;
use crate::store::Store;
use crate::store::scope::Viewer;
use crate::web::error::PageError;
use std::collections::HashMap;

/// Lines of the log that the page shows.
pub const LOG_TAIL: i64 = 200;

/// Median seconds of each step in earlier operations of the kind, by step name.
pub type Usual = HashMap<String, f64>;

/// An operation with what stands around it.
#[derive(Debug, Clone)]
pub struct Facts {
    pub operation: Operation,
    pub steps: Vec<StepRecord>,
    pub log: Vec<LogLine>,
    pub usual: Usual,
    /// The server, while it is on record.
    pub server: Option<Server>,
    /// The operation that tried this one again.
    pub successor: Option<OperationId>,
}

/// The operation of an id out of a URL.
///
/// # Errors
/// [`PageError::NotFound`] for anything that is no operation, or none for the viewer.
pub async fn find(store: &Store, id: &str, viewer: &Viewer) -> Result<Operation, PageError> {
    let id = OperationId::parse(id).ok_or(PageError::NotFound)?;
    store.operation_seen_by(&id, viewer).await?.ok_or(PageError::NotFound)
}

/// How long the steps of the operation's kind usually take.
///
/// # Errors
/// When the store does not answer.
pub async fn usual(store: &Store, operation: &Operation) -> Result<Usual, PageError> {
    Ok(store.step_seconds(operation.kind).await?)
}

/// Reads the rest of the page.
///
/// # Errors
/// When the store does not answer.
pub async fn load(store: &Store, operation: Operation, usual: Usual) -> Result<Facts, PageError> {
    let steps = store.operation_steps(&operation.id).await?;
    let log = store.operation_log(&operation.id, LOG_TAIL).await?;
    let server = store.server(&operation.server_id).await?;
    let successor = store.operation_successor(&operation.server_id, &operation.id).await?;
    Ok(Facts { operation, steps, log, usual, server, successor })
}
