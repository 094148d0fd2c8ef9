//! Certificates to show when a refusal is told inside TLS.
//!
//! No current libpq prints an error that comes before TLS: psql 15.18, 17.12 and 18.6 all say
//! "server sent an error response during SSL exchange" (since CVE-2024-10977). So the gateway ends TLS
//! for those it refuses, and only for those, with the server's own certificate: then psql prints
//! the refusal in full with any `sslmode`. No bytes of a refused client reach the server. Where
//! the process has no keys (the gateway on its own), or too many are refused at once, the client gets a TLS alert;
//! psql prints "SSL error: tlsv1 alert access denied", and with `sslmode=prefer` it comes back in
//! plain text and prints the refusal too.

use crate::domain::ids::ServerId;
use async_trait::async_trait;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a certificate is used before it is asked for again: renewals show within this time.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Name of the PostgreSQL protocol in ALPN.
const ALPN: &[u8] = b"postgresql";

/// A server's certificate chain and key, both PEM.
pub struct Identity {
    pub certificate: String,
    pub key: Zeroizing<String>,
}

/// Whoever can open the sealed key of a server's certificate.
#[async_trait]
pub trait Identities: Send + Sync {
    /// `None` when the server has none yet or it cannot be opened.
    async fn identity(&self, server: &ServerId) -> Option<Identity>;
}

type Kept = (Instant, Option<Arc<ServerConfig>>);

/// Identities made ready for handshakes and kept for a while.
pub struct IdentityCache {
    source: Option<Arc<dyn Identities>>,
    kept: Mutex<HashMap<ServerId, Kept>>,
}

impl fmt::Debug for IdentityCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityCache")
    }
}

impl IdentityCache {
    pub fn new(source: Option<Arc<dyn Identities>>) -> Self {
        Self { source, kept: Mutex::default() }
    }

    /// The set-up of TLS with the certificate of `server`.
    pub async fn config(&self, server: &ServerId) -> Option<Arc<ServerConfig>> {
        let source = self.source.as_ref()?;
        if let Some((since, config)) = self.lock().get(server)
            && since.elapsed() < KEPT_FOR
        {
            return config.clone();
        }
        let identity = source.identity(server).await;
        let config = identity.and_then(|identity| server_config(&identity)).map(Arc::new);
        let mut kept = self.lock();
        kept.retain(|_, (since, _)| since.elapsed() < KEPT_FOR);
        kept.insert(server.clone(), (Instant::now(), config.clone()));
        config
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ServerId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn server_config(identity: &Identity) -> Option<ServerConfig> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .ok()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .ok()?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Some(config)
}
