//! What every handler may use. `app.rs` makes it once; tests make it with a hand-wound clock.

use crate::clock::{Clock, random_bytes};
use crate::config::Config;
use crate::poke::Poke;
use crate::secrets::{HashCost, Sealer, Secret, SecretError, hash_password, verify_password};
use crate::store::Store;
use crate::web::error::PageError;
use crate::web::pace::Pace;
use actix_web::cookie::Key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// Password hashes that run at the same time: each takes 64 MiB.
const HASHES_AT_ONCE: usize = 2;

/// The portal's world. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub config: Arc<Config>,
    pub sealer: Sealer,
    pub poke: Poke,
    /// Id of this installation, in the labels of everything it makes.
    pub install_id: String,
    /// The root certificate, PEM, for download.
    pub ca_certificate: String,
    pub hash_cost: HashCost,
    /// Signs the session cookie; the same in every process of the installation.
    pub cookie_key: Key,
    /// Requests of each person and address in this process.
    pub pace: Arc<Pace>,
    hashing: Arc<Semaphore>,
    /// Hash of nobody's password: checked for unknown logins so that they take as long as known ones.
    dummy_hash: Arc<OnceLock<String>>,
}

/// What `app.rs` hands over.
pub struct Parts {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub config: Arc<Config>,
    pub sealer: Sealer,
    pub poke: Poke,
    pub install_id: String,
    pub ca_certificate: String,
    pub hash_cost: HashCost,
}

/// Cost figures of a PHC text of Argon2: memory in KiB and passes.
fn cost_of(phc: &str) -> Option<(u32, u32)> {
    let params = phc.split('$').find(|part| part.starts_with("m="))?;
    let figure =
        |name: &str| params.split(',').find_map(|part| part.strip_prefix(name)?.parse().ok());
    Some((figure("m=")?, figure("t=")?))
}

/// Where the sealed cookie key is kept.
const COOKIE_KEY: &str = "web/cookie_key";

impl AppState {
    /// Puts the parts together and reads the installation's cookie key, or makes it.
    ///
    /// # Errors
    /// When the store does not answer or the key does not open with this master key.
    pub async fn open(parts: Parts) -> Result<Self, PageError> {
        let cookie_key = cookie_key(&parts).await?;
        Ok(Self {
            cookie_key,
            pace: Arc::new(Pace::new(parts.config.args.requests_per_minute)),
            store: parts.store,
            clock: parts.clock,
            config: parts.config,
            sealer: parts.sealer,
            poke: parts.poke,
            install_id: parts.install_id,
            ca_certificate: parts.ca_certificate,
            hash_cost: parts.hash_cost,
            hashing: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            dummy_hash: Arc::default(),
        })
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Hashes a portal password, in a thread of its own and never more than two at a time.
    pub async fn hash(&self, password: Secret) -> Result<String, SecretError> {
        let cost = self.hash_cost;
        let _turn = self.hashing.acquire().await.map_err(|_| SecretError::Hash)?;
        tokio::task::spawn_blocking(move || hash_password(&password, cost))
            .await
            .map_err(|_| SecretError::Hash)?
    }

    /// Whether a hash was made at a lower cost than today's.
    pub fn is_weaker(&self, phc: &str) -> bool {
        let today = (self.hash_cost.memory_kib, self.hash_cost.passes);
        cost_of(phc).is_none_or(|(memory, passes)| memory < today.0 || passes < today.1)
    }

    /// Whether the password belongs to the hash; with no hash, the same work and the answer no.
    pub async fn verify(&self, password: Secret, phc: Option<String>) -> Result<bool, SecretError> {
        let (cost, dummy) = (self.hash_cost, self.dummy_hash.clone());
        let _turn = self.hashing.acquire().await.map_err(|_| SecretError::Hash)?;
        tokio::task::spawn_blocking(move || match phc {
            Some(phc) => verify_password(&password, &phc),
            None => {
                let nobody = || hash_password(&Secret::new("nobody's password"), cost);
                let dummy = dummy.get_or_init(|| nobody().unwrap_or_default());
                verify_password(&password, dummy);
                false
            }
        })
        .await
        .map_err(|_| SecretError::Hash)
    }
}

async fn cookie_key(parts: &Parts) -> Result<Key, PageError> {
    let fresh = parts.sealer.seal(COOKIE_KEY, &random_bytes::<64>())?;
    let now = parts.clock.now();
    let kept = parts.store.setting_or_insert(now, COOKIE_KEY, &STANDARD.encode(fresh)).await?;
    let sealed = STANDARD.decode(kept).map_err(PageError::internal)?;
    let opened = parts.sealer.open(COOKIE_KEY, &sealed)?;
    Key::try_from(opened.as_slice()).map_err(PageError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_hash_is_read() {
        let phc = hash_password(&Secret::new("x"), HashCost { memory_kib: 64, passes: 2 }).unwrap();
        assert_eq!(cost_of(&phc), Some((64, 2)));
        assert_eq!(cost_of("$2b$12$abc"), None);
    }
}
