//! What a failover drill writes and reads again, in a schema of its own that only the portal's role owns.

use super::{PostgresError, Target};
use async_trait::async_trait;

/// Every schema of a drill begins so.
pub const DRILL_SCHEMA: &str = "pgflex_drill_";

/// The schema of one drill; `short` is of the drill's id, lower-case hexadecimal.
pub fn schema_of(short: &str) -> String {
    format!("{DRILL_SCHEMA}{short}")
}

/// A session that stays open and writes.
#[async_trait]
pub trait DrillWriter: Send {
    /// Writes one row in a transaction of its own that waits for the standby as a user's does.
    async fn write(&mut self, id: i64) -> Result<(), PostgresError>;
}

/// A drill's own data.
#[async_trait]
pub trait DrillProbe: Send + Sync {
    /// Makes the schema and its table; removes what drills of before left. A schema that is there
    /// already is a refusal: somebody else may have put a trigger on what is in it, and the portal's role may do everything.
    async fn make_drill(&self, target: &Target, schema: &str) -> Result<(), PostgresError>;
    /// Opens a session that writes.
    async fn drill_writer(
        &self,
        target: &Target,
        schema: &str,
    ) -> Result<Box<dyn DrillWriter>, PostgresError>;
    /// Ids of all rows that are there.
    async fn drill_rows(&self, target: &Target, schema: &str) -> Result<Vec<i64>, PostgresError>;
    /// Removes the schema of a drill; none is success.
    async fn remove_drill(&self, target: &Target, schema: &str) -> Result<(), PostgresError>;
}
