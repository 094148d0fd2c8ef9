//! Secrets: sealed under a master key that is never in the store, and passwords as slow hashes.

pub mod stream;
pub mod totp;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::clock::random_bytes;

/// Text that must not be seen: it has no `Display`, its `Debug` is blank, its memory is wiped.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself; every call is a place to review.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a secret could not be sealed, opened or checked.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the master key at {0} is not a file of 32 bytes that only its owner can read")]
    MasterKey(String),
    #[error("the master key could not be read or made")]
    Io(#[from] std::io::Error),
    #[error(
        "a sealed value does not open with this master key: the key or the value was exchanged"
    )]
    Sealed,
    #[error("the password could not be hashed")]
    Hash,
}

/// Seals and opens values under the master key: AES-256-GCM, a random nonce of 96 bits in front,
/// bound to the place where the value is kept, so that it cannot be moved to another row.
#[derive(Clone)]
pub struct Sealer(Arc<Aes256Gcm>, [u8; 4]);

impl Sealer {
    /// Reads the master key file, or makes it (mode 0400) where there is none.
    ///
    /// # Errors
    /// When the file is unreadable, has the wrong length, or others may read it.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        if !path.exists() {
            use std::io::Write;
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
            file.write_all(&random_bytes::<32>())?;
            file.sync_all()?;
        }
        let bad = || SecretError::MasterKey(path.display().to_string());
        if std::fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            return Err(bad());
        }
        let bytes = Zeroizing::new(std::fs::read(path)?);
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| bad())?;
        Ok(Self::from_key(key))
    }

    /// A sealer under a given key.
    pub fn from_key(key: [u8; 32]) -> Self {
        use sha2::{Digest, Sha256};
        let sum = Sha256::new().chain_update(b"pgflex master key 1\n").chain_update(key).finalize();
        let mark = [sum[0], sum[1], sum[2], sum[3]];
        Self(Arc::new(Aes256Gcm::new(&Key::<Aes256Gcm>::from(key))), mark)
    }

    /// Tells this key from others, and tells nothing of it: eight hexadecimal digits.
    pub fn mark(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.1))
    }

    /// Seals `plain` for the place `place`, such as `server_secrets/<id>/server_key`.
    ///
    /// # Errors
    /// Only for values of many gigabytes.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, SecretError> {
        let nonce = random_bytes::<12>();
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed =
            self.0.encrypt(&Nonce::from(nonce), payload).map_err(|_| SecretError::Sealed)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Sealer::seal`] gave for the same place.
    ///
    /// # Errors
    /// When key, place or value do not belong together.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let (nonce, body) = sealed.split_at_checked(12).ok_or(SecretError::Sealed)?;
        let nonce: [u8; 12] = nonce.try_into().map_err(|_| SecretError::Sealed)?;
        let payload = Payload { msg: body, aad: place.as_bytes() };
        self.0
            .decrypt(&Nonce::from(nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| SecretError::Sealed)
    }
}

/// How costly a portal password's hash is. Argon2id; the floor of the reference is 19 MiB and 2 passes.
#[derive(Debug, Clone, Copy)]
pub struct HashCost {
    pub memory_kib: u32,
    pub passes: u32,
}

impl HashCost {
    /// 64 MiB, 3 passes: what people's sign-in costs.
    pub const STRONG: HashCost = HashCost { memory_kib: 64 * 1024, passes: 3 };
    /// For tests only: their passwords protect nothing.
    pub const TEST: HashCost = HashCost { memory_kib: 64, passes: 1 };
}

fn hasher(cost: HashCost) -> Result<argon2::Argon2<'static>, SecretError> {
    let params = argon2::Params::new(cost.memory_kib, cost.passes, 1, Some(32))
        .map_err(|_| SecretError::Hash)?;
    Ok(argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params))
}

/// Hashes a portal password into PHC text. Slow on purpose: call it from a blocking thread.
///
/// # Errors
/// When there is not enough memory.
pub fn hash_password(password: &Secret, cost: HashCost) -> Result<String, SecretError> {
    use argon2::PasswordHasher;
    let hash =
        hasher(cost)?.hash_password(password.reveal().as_bytes()).map_err(|_| SecretError::Hash)?;
    Ok(hash.to_string())
}

/// Whether the password belongs to the PHC text. Slow on purpose: call it from a blocking thread.
pub fn verify_password(password: &Secret, phc: &str) -> bool {
    use argon2::PasswordVerifier;
    let Ok(hash) = argon2::PasswordHash::new(phc) else { return false };
    argon2::Argon2::default().verify_password(password.reveal().as_bytes(), &hash).is_ok()
}

/// What PostgreSQL stores of a role's password: the SCRAM-SHA-256 verifier with a fresh salt.
/// The password itself goes no further than this call.
pub fn scram_verifier(password: &Secret) -> Secret {
    Secret::new(postgres_protocol::password::scram_sha_256(password.reveal().as_bytes()))
}

/// SHA-256 as lower-case hexadecimal: how tokens and session keys are stored.
pub fn sha256_hex(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token of 256 random bits in URL-safe text.
pub fn random_token() -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_values_open_only_in_their_place() {
        let sealer = Sealer::from_key([7; 32]);
        let sealed = sealer.seal("a/1", b"secret").unwrap();
        assert_eq!(sealer.open("a/1", &sealed).unwrap().as_slice(), b"secret");
        assert!(sealer.open("a/2", &sealed).is_err());
        assert!(Sealer::from_key([8; 32]).open("a/1", &sealed).is_err());
        assert!(sealer.open("a/1", b"short").is_err());
    }

    #[test]
    fn passwords_verify_and_secrets_do_not_print() {
        let password = Secret::new("correct horse battery");
        let phc = hash_password(&password, HashCost::TEST).unwrap();
        assert!(phc.starts_with("$argon2id$"));
        assert!(verify_password(&password, &phc) && !verify_password(&Secret::new("x"), &phc));
        assert!(!format!("{password:?}").contains("horse"));
        assert!(scram_verifier(&password).reveal().starts_with("SCRAM-SHA-256$4096:"));
    }
}
