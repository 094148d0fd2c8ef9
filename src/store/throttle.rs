//! Counters that slow down guessing. They are rows and not memory, so that all processes of an
//! installation count together and a restart forgives nothing.

use super::codec::{micros, time};
use super::{Record, Store, StoreError, WriteTx};
use crate::domain::account::sign_in_delay;
use chrono::{DateTime, Duration, Utc};

/// Whether a guess may be checked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    Admitted,
    /// Not before this time.
    Wait(DateTime<Utc>),
}

/// Failures are forgotten after this long without another.
const MEMORY: Duration = Duration::hours(24);

impl WriteTx {
    /// Counts an attempt under `key` and gives how many there were in the current window.
    pub async fn count_attempt(&mut self, key: &str, window: Duration) -> Result<i64, StoreError> {
        let (count,): (i64,) = sqlx::query_as(
            "INSERT INTO sign_in_failures (key, failures, window_start, blocked_until) VALUES ($1, 1, $2, 0)
             ON CONFLICT (key) DO UPDATE SET
               failures = CASE WHEN sign_in_failures.window_start <= $3 THEN 1 ELSE sign_in_failures.failures + 1 END,
               window_start = CASE WHEN sign_in_failures.window_start <= $3 THEN $2 ELSE sign_in_failures.window_start END
             RETURNING failures",
        )
        .bind(key)
        .bind(micros(self.now))
        .bind(micros(self.now - window))
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(count)
    }

    /// Admits one guess and books it as failed before it is checked, so that many at once get no
    /// more than one after the other would. [`WriteTx::forgive_guesses`] takes it back.
    pub async fn admit_guess(&mut self, key: &str) -> Result<Guess, StoreError> {
        sqlx::query(
            "INSERT INTO sign_in_failures (key, failures, window_start, blocked_until) VALUES ($1, 0, $2, 0) ON CONFLICT (key) DO NOTHING",
        )
        .bind(key)
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        let booked: Option<(i64,)> = sqlx::query_as(
            "UPDATE sign_in_failures SET
               failures = CASE WHEN window_start <= $3 THEN 1 ELSE failures + 1 END, window_start = $2
             WHERE key = $1 AND blocked_until <= $2 RETURNING failures",
        )
        .bind(key)
        .bind(micros(self.now))
        .bind(micros(self.now - MEMORY))
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some((failures,)) = booked else { return self.blocked(key).await };
        let until = self.now + sign_in_delay(u32::try_from(failures).unwrap_or(u32::MAX));
        sqlx::query("UPDATE sign_in_failures SET blocked_until = $2 WHERE key = $1")
            .bind(key)
            .bind(micros(until))
            .execute(&mut *self.tx)
            .await?;
        Ok(Guess::Admitted)
    }

    async fn blocked(&mut self, key: &str) -> Result<Guess, StoreError> {
        let (until,): (i64,) =
            sqlx::query_as("SELECT blocked_until FROM sign_in_failures WHERE key = $1")
                .bind(key)
                .fetch_one(&mut *self.tx)
                .await?;
        Ok(Guess::Wait(time(until)))
    }

    /// The guess was right: nothing is held against the key any more.
    pub async fn forgive_guesses(&mut self, key: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sign_in_failures WHERE key = $1")
            .bind(key)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}

impl Store {
    /// Forgets counters that no longer matter. For a periodic task.
    pub async fn purge_throttles(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut tx = self.begin_write(now).await?;
        let done = sqlx::query(
            "DELETE FROM sign_in_failures WHERE window_start <= $1 AND blocked_until <= $2",
        )
        .bind(micros(now - MEMORY))
        .bind(micros(now))
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("housekeeping")).await?;
        Ok(done.rows_affected())
    }
}
