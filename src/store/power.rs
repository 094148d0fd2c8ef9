//! Size and power of a server: its SKU, who is stopped since when, and what its meters follow.

use super::codec::{micros, parsed, time};
use super::{Store, StoreError, WriteTx};
use crate::domain::ids::{MemberId, ServerId};
use crate::domain::meter::Meter;
use crate::domain::server::SettledState;
use chrono::{DateTime, Utc};

/// A server that is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedServer {
    pub id: ServerId,
    pub name: String,
    pub stopped_at: DateTime<Utc>,
}

impl Store {
    /// Servers on which nothing is under way and that were stopped at `before` or earlier.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn stopped_before(
        &self,
        before: DateTime<Utc>,
    ) -> Result<Vec<StoppedServer>, StoreError> {
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT s.id, s.name, s.stopped_at FROM servers s WHERE s.settled = 'Stopped' AND s.stopped_at <= $1 AND NOT EXISTS
               (SELECT 1 FROM operations o WHERE o.server_id = s.id AND o.lane = 'change' AND o.is_active = 1) ORDER BY s.stopped_at, s.id",
        )
        .bind(micros(before))
        .fetch_all(self.read())
        .await?;
        let stopped = |(id, name, at): (String, String, i64)| {
            let id = parsed(&id, ServerId::parse, "server id")?;
            Ok(StoppedServer { id, name, stopped_at: time(at) })
        };
        rows.into_iter().map(stopped).collect()
    }
}

impl Store {
    /// Seconds during which clients had to wait in each of the last scalings that restarted PostgreSQL,
    /// from the hold of new connections to their release.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn scale_interruptions(&self) -> Result<Vec<f64>, StoreError> {
        let rows: Vec<(i64,)> = sqlx::query_as(
            "SELECT b.ended_at - a.started_at FROM operation_steps a JOIN operation_steps b ON b.operation_id = a.operation_id
             WHERE a.name = 'hold_route' AND a.output <> 'null' AND b.name = 'open_route' AND b.ended_at IS NOT NULL AND a.started_at IS NOT NULL
               AND a.operation_id IN (SELECT id FROM operations WHERE kind = 'scale' AND status = 'succeeded' ORDER BY id DESC LIMIT 40)",
        )
        .fetch_all(self.read())
        .await?;
        Ok(rows.into_iter().map(|(micros,)| micros as f64 / 1e6).collect())
    }
}

impl WriteTx {
    /// Gives the server another size, and lets its compute meter count that from now on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_sku(
        &mut self,
        server: &ServerId,
        sku: &'static crate::domain::catalog::Sku,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE servers SET sku = $2, tier = $3, version = version + 1 WHERE id = $1 AND sku <> $2",
        )
        .bind(server.as_str())
        .bind(sku.name)
        .bind(sku.tier.key())
        .execute(&mut *self.tx)
        .await?;
        self.set_member_meter(server, Meter::Compute, sku.name).await
    }

    /// Lets the meters follow where an operation left the server: Ready counts compute and storage,
    /// Stopped no compute. Any other state leaves them as they are.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn follow_meters(
        &mut self,
        server: &ServerId,
        settled: SettledState,
    ) -> Result<(), StoreError> {
        match settled {
            SettledState::New | SettledState::Failed => Ok(()),
            SettledState::Stopped => self.set_meter(server, Meter::Compute, None).await,
            SettledState::Ready => {
                let row: Option<(String, i64)> =
                    sqlx::query_as("SELECT sku, storage_gib FROM servers WHERE id = $1")
                        .bind(server.as_str())
                        .fetch_optional(&mut *self.tx)
                        .await?;
                let Some((sku, gib)) = row else { return Ok(()) };
                self.set_member_meter(server, Meter::Compute, &sku).await?;
                self.set_member_meter(server, Meter::Storage, &gib.to_string()).await
            }
        }
    }

    /// Locks a server's row without changing it; false when it was touched since `version`, is not Ready, or
    /// something is under way.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn lock_if_quiet(
        &mut self,
        server: &ServerId,
        version: i64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE servers SET version = version WHERE id = $1 AND version = $2 AND settled = 'Ready' AND NOT EXISTS
               (SELECT 1 FROM operations o WHERE o.server_id = servers.id AND o.lane = 'change' AND o.is_active = 1)",
        )
        .bind(server.as_str())
        .bind(version)
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Says which container of the member counts from now on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_member_generation(
        &mut self,
        member: &MemberId,
        generation: i64,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE members SET generation = $2 WHERE id = $1")
            .bind(member.as_str())
            .bind(generation)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Notes that people were told of the start to come; false when they were told of this one before.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn claim_start_notice(
        &mut self,
        stopped: &StoppedServer,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO start_notices (server_id, stopped_at) SELECT id, $2 FROM servers WHERE id = $1
             ON CONFLICT (server_id) DO UPDATE SET stopped_at = excluded.stopped_at WHERE start_notices.stopped_at <> excluded.stopped_at",
        )
        .bind(stopped.id.as_str())
        .bind(micros(stopped.stopped_at))
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use super::*;
    use crate::domain::catalog::Sku;
    use crate::store::{Record, testing};
    use chrono::Duration;

    #[tokio::test]
    async fn meters_follow_the_state_and_the_size() {
        for test in testing::all().await {
            let store = &test.store;
            let begun = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
            let server = testing::server(store, begun, "shop").await;
            let at = |seconds| begun + Duration::seconds(seconds);
            for (seconds, settled) in
                [(0, SettledState::Ready), (20, SettledState::Stopped), (50, SettledState::Ready)]
            {
                let mut tx = store.begin_write(at(seconds)).await.unwrap();
                tx.set_settled(&server, settled).await.unwrap();
                tx.follow_meters(&server, settled).await.unwrap();
                tx.commit(Record::Nothing("a test")).await.unwrap();
            }
            let mut tx = store.begin_write(at(60)).await.unwrap();
            tx.set_sku(&server, Sku::by_name("Standard_D2ds_v5").unwrap()).await.unwrap();
            tx.commit(Record::Nothing("a test")).await.unwrap();
            let seen = store.meter_intervals(begun, at(70)).await.unwrap();
            let lines: Vec<_> = seen
                .iter()
                .map(|line| {
                    let end = line.ended_at.map(|end| (end - begun).num_seconds());
                    (line.quantity.as_str(), (line.started_at - begun).num_seconds(), end)
                })
                .collect();
            let wanted = [
                ("Standard_B2s", 0, Some(20)),
                ("32", 0, None),
                ("Standard_B2s", 50, Some(60)),
                ("Standard_D2ds_v5", 60, None),
            ];
            assert_eq!(lines, wanted, "{}", test.name);
        }
    }

    #[tokio::test]
    async fn a_notice_is_given_once_for_each_stop() {
        for test in testing::all().await {
            let (store, now) = (&test.store, DateTime::from_timestamp(1_795_000_000, 0).unwrap());
            let server = testing::server(store, now, "shop").await;
            let mut given = vec![];
            for after in [0, 0, 100] {
                let stop = now + Duration::seconds(after);
                let mut tx = store.begin_write(stop).await.unwrap();
                tx.set_settled(&server, SettledState::Stopped).await.unwrap();
                tx.commit(Record::Nothing("a test")).await.unwrap();
                let stopped = store.stopped_before(stop).await.unwrap().remove(0);
                let mut tx = store.begin_write(stop).await.unwrap();
                given.push(tx.claim_start_notice(&stopped).await.unwrap());
                tx.commit(Record::Nothing("a test")).await.unwrap();
            }
            assert_eq!(given, [true, false, true], "{}", test.name);
            assert_eq!(store.stopped_before(now).await.unwrap(), [], "{}", test.name);
        }
    }
}
