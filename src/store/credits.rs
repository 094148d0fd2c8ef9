//! CPU credits of burstable servers, and the samples of their metrics.

use super::codec::{flag, micros, time};
use super::{Store, StoreError, WriteTx};
use crate::domain::catalog::Tier;
use crate::domain::credits::{Balance, Reading};
use crate::domain::ids::ServerId;
use crate::store::Record;
use chrono::{DateTime, Duration, Utc};

/// How long samples are kept.
const KEEP_SAMPLES: Duration = Duration::days(93);

/// What a server had at its last reading.
#[derive(Debug, Clone, PartialEq)]
pub struct CreditRow {
    pub balance: Balance,
    pub reading: Reading,
}

/// One value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub at: DateTime<Utc>,
    pub value: f64,
}

impl Store {
    /// The credits of a server; `None` before the first look.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn credits(&self, server: &ServerId) -> Result<Option<CreditRow>, StoreError> {
        let row: Option<(f64, i64, String, i64, i64)> = sqlx::query_as(
            "SELECT credits, is_held, run, nanos, measured_at FROM cpu_credits WHERE server_id = $1",
        )
        .bind(server.as_str())
        .fetch_optional(self.read())
        .await?;
        Ok(row.map(|(credits, is_held, run, nanos, at)| CreditRow {
            balance: Balance { credits, is_held: is_held != 0 },
            reading: Reading { run, nanos: u64::try_from(nanos).unwrap_or(0), at: time(at) },
        }))
    }

    /// Whether a server is held to its baseline.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_held(&self, server: &ServerId) -> Result<bool, StoreError> {
        Ok(self.credits(server).await?.is_some_and(|row| row.balance.is_held))
    }

    /// Samples of a metric from a time on, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn samples(
        &self,
        server: &ServerId,
        metric: &'static str,
        from: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<Sample>, StoreError> {
        let rows: Vec<(i64, f64)> = sqlx::query_as(
            "SELECT at, value FROM metric_samples WHERE server_id = $1 AND metric = $2 AND at >= $3 ORDER BY at LIMIT $4",
        )
        .bind(server.as_str())
        .bind(metric)
        .bind(micros(from))
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        Ok(rows.into_iter().map(|(at, value)| Sample { at: time(at), value }).collect())
    }

    /// Forgets samples that are too old.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn prune_samples(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("DELETE FROM metric_samples WHERE at < $1")
            .bind(micros(now - KEEP_SAMPLES))
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(Record::Nothing("old samples are no change that anybody asked for")).await
    }
}

impl Store {
    /// Forgets the credits of servers that have none any more: a size without them ends the account, and a later one
    /// with them begins anew.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_stray_credits(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let (count,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM cpu_credits c JOIN servers s ON s.id = c.server_id WHERE s.tier <> $1",
        )
        .bind(Tier::Burstable.key())
        .fetch_one(self.read())
        .await?;
        if count == 0 {
            return Ok(());
        }
        let mut tx = self.begin_write(now).await?;
        sqlx::query(
            "DELETE FROM cpu_credits WHERE server_id IN (SELECT id FROM servers WHERE tier <> $1)",
        )
        .bind(Tier::Burstable.key())
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("credits follow from the size, whose change has a line")).await
    }
}

impl WriteTx {
    /// Keeps the credits of a server that is still on record.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_credits(
        &mut self,
        server: &ServerId,
        row: &CreditRow,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO cpu_credits (server_id, credits, is_held, run, nanos, measured_at) SELECT id, $2, $3, $4, $5, $6 FROM servers WHERE id = $1
             ON CONFLICT (server_id) DO UPDATE SET credits = excluded.credits, is_held = excluded.is_held, run = excluded.run,
               nanos = excluded.nanos, measured_at = excluded.measured_at",
        )
        .bind(server.as_str())
        .bind(row.balance.credits)
        .bind(flag(row.balance.is_held))
        .bind(row.reading.run.clone())
        .bind(i64::try_from(row.reading.nanos).unwrap_or(i64::MAX))
        .bind(micros(row.reading.at))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Keeps one value of a metric of a server that is still on record.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn insert_sample(
        &mut self,
        server: &ServerId,
        metric: &'static str,
        sample: Sample,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO metric_samples (server_id, metric, at, value) SELECT id, $2, $3, $4 FROM servers WHERE id = $1
             ON CONFLICT (server_id, metric, at) DO UPDATE SET value = excluded.value",
        )
        .bind(server.as_str())
        .bind(metric)
        .bind(micros(sample.at))
        .bind(sample.value)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use super::*;
    use crate::domain::credits::CREDITS_REMAINING;
    use crate::store::testing;

    #[tokio::test]
    async fn credits_and_samples_are_kept_pruned_and_go_with_the_server() {
        for test in testing::all().await {
            let (store, now) = (&test.store, DateTime::from_timestamp(1_795_000_000, 0).unwrap());
            let server = testing::server(store, now, "shop").await;
            assert_eq!(store.credits(&server).await.unwrap(), None, "{}", test.name);
            let row = CreditRow {
                balance: Balance { credits: 12.5, is_held: true },
                reading: Reading { run: "a 1".into(), nanos: 7, at: now },
            };
            let old = now - Duration::days(94);
            let mut tx = store.begin_write(now).await.unwrap();
            tx.set_credits(&server, &row).await.unwrap();
            tx.set_credits(&server, &row).await.unwrap();
            for at in [old, now, now] {
                let sample = Sample { at, value: 12.5 };
                tx.insert_sample(&server, CREDITS_REMAINING, sample).await.unwrap();
            }
            tx.commit(Record::Nothing("a test")).await.unwrap();
            assert_eq!(store.credits(&server).await.unwrap(), Some(row), "{}", test.name);
            assert!(store.is_held(&server).await.unwrap());
            let count = async || store.samples(&server, CREDITS_REMAINING, old, 10).await.unwrap();
            assert_eq!(count().await.len(), 2, "{}", test.name);
            store.prune_samples(now).await.unwrap();
            assert_eq!(count().await, [Sample { at: now, value: 12.5 }], "{}", test.name);
            let mut tx = store.begin_write(now).await.unwrap();
            tx.delete_server(&server).await.unwrap();
            tx.commit(Record::Nothing("a test")).await.unwrap();
            assert_eq!(store.credits(&server).await.unwrap(), None, "{}", test.name);
            assert_eq!(count().await, [], "{}", test.name);
        }
    }
}
