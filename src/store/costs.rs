//! What meters counted in a stretch of time, summed by the database: a month of a thousand servers is a few
//! thousand rows, however often they were stopped and started.

use super::codec::{micros, parsed, time};
use super::scope::{Viewer, seen_by};
use super::{Store, StoreError};
use crate::domain::bill::{Period, Usage};
use crate::domain::ids::{GroupId, ServerId};
use crate::domain::meter::Meter;
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use std::collections::HashMap;

/// Whose seconds are summed, and when. The one place for what a viewer may see.
#[derive(Debug, Clone)]
pub struct CostFilter {
    pub from: DateTime<Utc>,
    /// Not after now: what runs counts up to here.
    pub to: DateTime<Utc>,
    pub group: Option<GroupId>,
    pub server: Option<ServerId>,
    /// Through whose eyes.
    pub viewer: Viewer,
}

impl CostFilter {
    /// Everything in a period.
    pub fn all(period: Period) -> Self {
        Self { from: period.from, to: period.to, group: None, server: None, viewer: Viewer::Portal }
    }

    fn group(&self) -> String {
        self.group.as_ref().map_or(String::new(), |id| id.as_str().to_owned())
    }

    fn server(&self) -> String {
        self.server.as_ref().map_or(String::new(), |id| id.as_str().to_owned())
    }
}

/// Seconds of one meter of one server with one quantity, while it was in one group.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerUsage {
    pub server_id: ServerId,
    pub server_name: String,
    pub group_id: GroupId,
    pub usage: Usage,
}

#[derive(FromRow)]
struct Row {
    server_id: String,
    server_name: String,
    group_id: String,
    meter: String,
    quantity: String,
    micros: i64,
}

impl Row {
    fn into_usage(self) -> Result<ServerUsage, StoreError> {
        Ok(ServerUsage {
            server_id: parsed(&self.server_id, ServerId::parse, "server id")?,
            server_name: self.server_name,
            group_id: parsed(&self.group_id, GroupId::parse, "group id")?,
            usage: Usage {
                meter: parsed(&self.meter, Meter::parse, "meter")?,
                quantity: self.quantity,
                seconds: self.micros / 1_000_000,
            },
        })
    }
}

impl Store {
    /// The usage in a stretch of time: one row for each server, group, meter and quantity, each server's
    /// rows together.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn usage(&self, filter: &CostFilter) -> Result<Vec<ServerUsage>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            concat!(
            "SELECT server_id, MAX(server_name) AS server_name, group_id, meter, quantity, CAST(SUM(
               CASE WHEN ended_at IS NULL OR ended_at > $2 THEN $2 ELSE ended_at END
               - CASE WHEN started_at > $1 THEN started_at ELSE $1 END) AS BIGINT) AS micros
             FROM meters WHERE started_at < $2 AND (ended_at IS NULL OR ended_at > $1)
               AND ($3 = '' OR group_id = $3) AND ($4 = '' OR server_id = $4) AND ",
            seen_by!("$5", "meters.group_id"),
            "
             GROUP BY server_id, group_id, meter, quantity ORDER BY server_id, group_id, meter, quantity")
        )
        .bind(micros(filter.from))
        .bind(micros(filter.to))
        .bind(filter.group())
        .bind(filter.server())
        .bind(filter.viewer.bind())
        .fetch_all(self.read())
        .await?;
        let usages = rows.into_iter().map(Row::into_usage);
        // Less than a second is nothing that a person would look for.
        usages.filter(|row| row.as_ref().map_or(true, |row| row.usage.seconds > 0)).collect()
    }

    /// What runs at this moment: for each meter and quantity, how many servers. The times of the filter do
    /// not count.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn running_meters(
        &self,
        filter: &CostFilter,
    ) -> Result<Vec<(Meter, String, i64)>, StoreError> {
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            concat!(
            "SELECT meter, quantity, COUNT(*) FROM meters
             WHERE ended_at IS NULL AND ($1 = '' OR group_id = $1) AND ($2 = '' OR server_id = $2) AND ",
            seen_by!("$3", "meters.group_id"),
            "
             GROUP BY meter, quantity ORDER BY meter, quantity")
        )
        .bind(filter.group())
        .bind(filter.server())
        .bind(filter.viewer.bind())
        .fetch_all(self.read())
        .await?;
        let known = |(meter, quantity, count): (String, String, i64)| {
            Ok((parsed(&meter, Meter::parse, "meter")?, quantity, count))
        };
        rows.into_iter().map(known).collect()
    }

    /// When the first meter began; `None` before that.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn counted_since(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (first,): (Option<i64>,) =
            sqlx::query_as("SELECT MIN(started_at) FROM meters").fetch_one(self.read()).await?;
        Ok(first.map(time))
    }

    /// Names of the groups that the viewer may see, by id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn group_names(
        &self,
        viewer: &Viewer,
    ) -> Result<HashMap<String, String>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(concat!(
            "SELECT g.id, g.name FROM resource_groups g WHERE ",
            seen_by!("$1", "g.id"),
            " ORDER BY g.name LIMIT 1000"
        ))
        .bind(viewer.bind())
        .fetch_all(self.read())
        .await?;
        Ok(rows.into_iter().collect())
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use super::*;
    use crate::domain::bill::{self, Month};
    use crate::store::{Record, testing};
    use chrono::Duration;

    /// The database and the pure rule must count the same seconds, wherever the month is cut.
    #[tokio::test]
    async fn the_database_sums_as_the_domain_does() {
        for test in testing::all().await {
            let store = &test.store;
            let month = Month::parse("2026-11").unwrap();
            let begun = month.start() - Duration::hours(30);
            let server = testing::server(store, begun, "shop").await;
            for (hours, quantity) in [
                (0, Some("a")),
                (20, None),
                (25, Some("a")),
                (40, Some("b")),
                (41, None),
                (80, Some("a")),
            ] {
                let mut tx = store.begin_write(begun + Duration::hours(hours)).await.unwrap();
                tx.set_meter(&server, Meter::Storage, Some("64")).await.unwrap();
                tx.set_meter(&server, Meter::Compute, quantity).await.unwrap();
                tx.commit(Record::Nothing("a test")).await.unwrap();
            }
            let now = begun + Duration::hours(100) + Duration::milliseconds(1500);
            let intervals = store.server_meters(&server).await.unwrap();
            for month in [month.previous(), month, month.next()] {
                let period = month.until(now);
                let by_key =
                    |usage: &Usage| (usage.meter.key(), usage.quantity.clone(), usage.seconds);
                let mut pure: Vec<_> = bill::usage(&intervals, period).iter().map(by_key).collect();
                pure.sort();
                let rows = store.usage(&CostFilter::all(period)).await.unwrap();
                let summed: Vec<_> = rows.iter().map(|row| by_key(&row.usage)).collect();
                assert_eq!(summed, pure, "{} {}", test.name, month.key());
                assert_eq!(summed.is_empty(), period.from == period.to);
            }
            let mut filter = CostFilter::all(month.until(now));
            assert_eq!(store.running_meters(&filter).await.unwrap().len(), 2);
            filter.group = GroupId::parse("01890a5d-ac96-774b-bcce-b302099a8057");
            assert!(store.usage(&filter).await.unwrap().is_empty(), "{}", test.name);
            assert_eq!(store.counted_since().await.unwrap(), Some(begun));
        }
    }
}
