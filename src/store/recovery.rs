//! Writes that only a recovery makes: rows put right by what was found on the hosts.

use super::codec::micros;
use super::{StoreError, WriteTx};
use crate::domain::ha::HighAvailability;
use crate::domain::ids::{HostId, MemberId, NetworkId, ServerId};
use crate::domain::server::ServerSpec;

/// No promotion that the lost store knew of has an epoch as high as this above the one on record.
const EPOCHS_AHEAD: i64 = 1_000;

impl WriteTx {
    /// A member is on another host than its row says: the host is known by another name now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn move_member(
        &mut self,
        member: &MemberId,
        host: &HostId,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE members SET host_id = $2 WHERE id = $1")
            .bind(member.as_str())
            .bind(host.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// What a newer container was made for: everything of the spec that a change can change.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn follow_spec(
        &mut self,
        server: &ServerId,
        spec: &ServerSpec,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE servers SET sku = $2, tier = $3, storage_gib = $4, version = version + 1 WHERE id = $1")
            .bind(server.as_str())
            .bind(spec.sku.clone())
            .bind(spec.sku().tier.key())
            .bind(i64::from(spec.storage_gib))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// The virtual network of a server whose row is made anew.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn follow_network(
        &mut self,
        server: &ServerId,
        network: &NetworkId,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE servers SET network_id = $2 WHERE id = $1")
            .bind(server.as_str())
            .bind(network.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// The creation of a server succeeded, though the backup was made when it had failed or had not ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn count_as_created(&mut self, server: &ServerId) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE operations SET status = 'succeeded' WHERE server_id = $1 AND is_active = 0 AND kind IN ('create', 'restore')",
        )
        .bind(server.as_str())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// The standby of a pair no longer counts: whether it has everything since the backup was made, nobody knows. What the primary
    /// waits for is put right by the watch, which then arms it again. Where there was never a second member, nothing waits: then a
    /// repair of the only one must stay possible.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn distrust_standby(&mut self, server: &ServerId) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE high_availability SET state = CASE WHEN state IN ('Stopped', 'Promoting') THEN state ELSE 'Disarming' END, is_promotable = 0,
               changed_at = $2, version = version + 1
             WHERE server_id = $1 AND NOT (state = 'Single' AND (SELECT COUNT(*) FROM members WHERE server_id = $1) < 2)",
        )
        .bind(server.as_str())
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// The primary of a pair is another one since the backup was made.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn follow_primary(
        &mut self,
        row: &HighAvailability,
        primary: &MemberId,
        standby_zone: &str,
        timeline: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE high_availability SET primary_member = $2, standby_member = NULL, standby_zone = $3, timeline = $4, epoch = epoch + $5,
               state = CASE WHEN state = 'Stopped' THEN state ELSE 'Disarming' END, is_promotable = 0, armed_lsn = NULL, changed_at = $6, version = version + 1
             WHERE server_id = $1",
        )
        .bind(row.server_id.as_str())
        .bind(primary.as_str())
        .bind(standby_zone.to_owned())
        .bind(timeline)
        .bind(EPOCHS_AHEAD)
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
