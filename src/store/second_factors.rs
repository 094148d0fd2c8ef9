//! Second factors of people: the sealed key, which step was used last, and hashes of recovery codes.

use super::codec::{micros, time};
use super::{Store, StoreError, WriteTx};
use crate::domain::ids::UserId;
use chrono::{DateTime, Utc};

/// Setting: whether everybody needs a second factor.
const REQUIRED: &str = "account/second_factor_required";

/// A second factor as kept.
#[derive(Debug, Clone)]
pub struct SecondFactor {
    /// The authenticator's key under the master key.
    pub sealed: Vec<u8>,
    pub created_at: DateTime<Utc>,
    /// Whether the person has shown a code of it: before, it protects nothing.
    pub is_confirmed: bool,
    /// The step of the code that was used last.
    pub last_step: i64,
}

impl Store {
    /// The second factor of a person, confirmed or about to be.
    pub async fn second_factor(&self, user: &UserId) -> Result<Option<SecondFactor>, StoreError> {
        let row: Option<(Vec<u8>, i64, Option<i64>, i64)> = sqlx::query_as(
            "SELECT sealed, created_at, confirmed_at, last_step FROM second_factors WHERE user_id = $1",
        )
        .bind(user.as_str())
        .fetch_optional(self.read())
        .await?;
        Ok(row.map(|(sealed, created, confirmed, last_step)| SecondFactor {
            sealed,
            created_at: time(created),
            is_confirmed: confirmed.is_some(),
            last_step,
        }))
    }

    /// Whether everybody needs a second factor.
    pub async fn second_factor_required(&self) -> Result<bool, StoreError> {
        Ok(self.setting(REQUIRED).await?.is_some_and(|value| value == "yes"))
    }

    /// Recovery codes of a person that were not used.
    pub async fn recovery_codes_left(&self, user: &UserId) -> Result<i64, StoreError> {
        let (count,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM recovery_codes WHERE user_id = $1 AND used_at IS NULL",
        )
        .bind(user.as_str())
        .fetch_one(self.read())
        .await?;
        Ok(count)
    }
}

impl WriteTx {
    /// Keeps a new key that is not confirmed, in place of another such. False when a confirmed one is there.
    pub async fn propose_factor(
        &mut self,
        user: &UserId,
        sealed: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO second_factors (user_id, sealed, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (user_id) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at
             WHERE second_factors.confirmed_at IS NULL",
        )
        .bind(user.as_str())
        .bind(sealed)
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// From now on the factor of that time counts. False when it was replaced or confirmed meanwhile.
    pub async fn confirm_factor(
        &mut self,
        user: &UserId,
        factor: &SecondFactor,
        step: i64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE second_factors SET confirmed_at = $2, last_step = $3
             WHERE user_id = $1 AND confirmed_at IS NULL AND created_at = $4",
        )
        .bind(user.as_str())
        .bind(micros(self.now))
        .bind(step)
        .bind(micros(factor.created_at))
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Uses the code of a step up. False when it or a later one was used already.
    pub async fn use_step(&mut self, user: &UserId, step: i64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE second_factors SET last_step = $2 WHERE user_id = $1 AND confirmed_at IS NOT NULL AND last_step < $2",
        )
        .bind(user.as_str())
        .bind(step)
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Uses a recovery code up. False when there is none such, or it was used.
    pub async fn use_recovery_code(
        &mut self,
        user: &UserId,
        hash: &str,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL",
        )
        .bind(user.as_str())
        .bind(hash)
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Puts recovery codes in the place of all earlier ones.
    pub async fn replace_recovery_codes(
        &mut self,
        user: &UserId,
        hashes: &[String],
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1")
            .bind(user.as_str())
            .execute(&mut *self.tx)
            .await?;
        for hash in hashes {
            sqlx::query("INSERT INTO recovery_codes (user_id, code_hash) VALUES ($1, $2)")
                .bind(user.as_str())
                .bind(hash.clone())
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(())
    }

    /// Takes a person's second factor and recovery codes away. False when there was none.
    pub async fn delete_factor(&mut self, user: &UserId) -> Result<bool, StoreError> {
        self.replace_recovery_codes(user, &[]).await?;
        let done = sqlx::query("DELETE FROM second_factors WHERE user_id = $1")
            .bind(user.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Whether everybody needs a second factor from now on.
    pub async fn set_second_factor_required(&mut self, required: bool) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(REQUIRED)
        .bind(if required { "yes" } else { "no" })
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use super::*;
    use crate::clock::new_id;
    use crate::store::{Record, testing};

    /// Two requests that checked the same code at the same moment: the store lets one of them in.
    #[tokio::test]
    async fn a_step_and_a_recovery_code_are_used_up_by_one_of_two() {
        for test in testing::all().await {
            let (store, user) = (&test.store, new_id(UserId::parse));
            let now = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
            let mut tx = store.begin_write(now).await.unwrap();
            assert!(tx.propose_factor(&user, vec![1]).await.unwrap());
            assert!(!tx.use_step(&user, 5).await.unwrap(), "not before it is confirmed");
            assert!(tx.propose_factor(&user, vec![2]).await.unwrap());
            tx.replace_recovery_codes(&user, &["a".into(), "b".into()]).await.unwrap();
            tx.commit(Record::Nothing("a test")).await.unwrap();
            let factor = store.second_factor(&user).await.unwrap().unwrap();
            assert!(factor.sealed == [2] && !factor.is_confirmed);
            let mut tx = store.begin_write(now).await.unwrap();
            assert!(tx.confirm_factor(&user, &factor, 7).await.unwrap());
            assert!(!tx.confirm_factor(&user, &factor, 8).await.unwrap());
            assert!(!tx.propose_factor(&user, vec![3]).await.unwrap(), "a confirmed key stays");
            let mut used = vec![];
            for step in [6, 7, 8, 8] {
                used.push(tx.use_step(&user, step).await.unwrap());
            }
            assert_eq!(used, [false, false, true, false], "{}", test.name);
            for expected in [true, false] {
                assert_eq!(tx.use_recovery_code(&user, "a").await.unwrap(), expected);
            }
            tx.commit(Record::Nothing("a test")).await.unwrap();
            assert_eq!(store.recovery_codes_left(&user).await.unwrap(), 1, "{}", test.name);
        }
    }
}
