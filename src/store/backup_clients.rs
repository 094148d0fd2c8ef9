//! Who is let into the repository of a host beside the servers whose backups lie there.

use super::codec::parsed;
use super::{Store, StoreError};
use crate::domain::ids::{HostId, ServerId};
use crate::domain::version::Major;

impl Store {
    /// Servers that are being restored from a repository of this host, with the stanza they read and its major.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn restoring_from(
        &self,
        host: &HostId,
    ) -> Result<Vec<(ServerId, String, Major)>, StoreError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT r.server_id, b.stanza, b.major FROM restores r
             JOIN backup_repositories b ON b.server_id = r.source_id AND b.number = r.repository
             WHERE b.host_id = $1 AND r.ended_at IS NULL ORDER BY r.server_id",
        )
        .bind(host.as_str())
        .fetch_all(self.read())
        .await?;
        let read = |(server, stanza, major): (String, String, String)| {
            let server = parsed(&server, ServerId::parse, "server id")?;
            Ok((server, stanza, parsed(&major, Major::parse, "major")?))
        };
        rows.into_iter().map(read).collect()
    }
}
