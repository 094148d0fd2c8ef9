//! Meter intervals: opened and closed in the same transaction as the change that they count.

use super::codec::{micros, parsed, time, time_option};
use super::{Store, StoreError, WriteTx};
use crate::clock::new_uuid;
use crate::domain::ids::{GroupId, ServerId};
use crate::domain::meter::{Meter, MeterInterval};
use chrono::{DateTime, Utc};
use sqlx::FromRow;

#[derive(FromRow)]
struct Row {
    server_id: String,
    server_name: String,
    group_id: String,
    meter: String,
    quantity: String,
    started_at: i64,
    ended_at: Option<i64>,
}

impl Row {
    fn into_interval(self) -> Result<MeterInterval, StoreError> {
        Ok(MeterInterval {
            server_id: parsed(&self.server_id, ServerId::parse, "server id")?,
            server_name: self.server_name,
            group_id: parsed(&self.group_id, GroupId::parse, "group id")?,
            meter: parsed(&self.meter, Meter::parse, "meter")?,
            quantity: self.quantity,
            started_at: time(self.started_at),
            ended_at: time_option(self.ended_at),
        })
    }
}

impl Store {
    /// Every interval that touches the time between `from` and `to`, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn meter_intervals(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<MeterInterval>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT server_id, server_name, group_id, meter, quantity, started_at, ended_at FROM meters
             WHERE started_at < $2 AND (ended_at IS NULL OR ended_at > $1) ORDER BY started_at, id",
        )
        .bind(micros(from))
        .bind(micros(to))
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(Row::into_interval).collect()
    }
}

impl WriteTx {
    /// Lets a meter run with a quantity from now on, or stop with `None`. What runs with the same
    /// quantity goes on, so a step that runs twice counts once.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_meter(
        &mut self,
        server: &ServerId,
        meter: Meter,
        quantity: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE meters SET ended_at = $3 WHERE server_id = $1 AND meter = $2 AND ended_at IS NULL AND quantity <> $4",
        )
        .bind(server.as_str())
        .bind(meter.key())
        .bind(micros(self.now))
        .bind(quantity.unwrap_or_default())
        .execute(&mut *self.tx)
        .await?;
        let Some(quantity) = quantity else { return Ok(()) };
        sqlx::query(
            "INSERT INTO meters (id, server_id, server_name, group_id, meter, quantity, started_at)
             SELECT $2, s.id, s.name, s.group_id, $3, $4, $5 FROM servers s WHERE s.id = $1 AND NOT EXISTS
               (SELECT 1 FROM meters m WHERE m.server_id = s.id AND m.meter = $3 AND m.ended_at IS NULL)",
        )
        .bind(server.as_str())
        .bind(new_uuid())
        .bind(meter.key())
        .bind(quantity)
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use super::*;
    use crate::store::{Record, testing};
    use chrono::Duration;

    #[tokio::test]
    async fn a_meter_runs_once_changes_its_quantity_and_stops() {
        for test in testing::all().await {
            let store = &test.store;
            let begun = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
            let server = testing::server(store, begun, "shop").await;
            for (after, quantity) in
                [(0, Some("B2s")), (10, Some("B2s")), (20, Some("D4")), (30, None), (40, None)]
            {
                let mut tx = store.begin_write(begun + Duration::seconds(after)).await.unwrap();
                tx.set_meter(&server, Meter::Compute, quantity).await.unwrap();
                tx.commit(Record::Nothing("a test")).await.unwrap();
            }
            let seen = store.meter_intervals(begun, begun + Duration::days(1)).await.unwrap();
            let lengths: Vec<_> = seen
                .iter()
                .map(|i| (i.quantity.as_str(), (i.ended_at.unwrap() - i.started_at).num_seconds()))
                .collect();
            assert_eq!(lengths, [("B2s", 20), ("D4", 10)], "{}", test.name);
        }
    }
}
