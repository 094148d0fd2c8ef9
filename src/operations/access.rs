//! How the portal gets at a member: sealed secrets and the address of its container.

use super::context::{Services, StepContext};
use super::step::StepError;
use crate::domain::ids::ServerId;
use crate::domain::server::{Member, Server};
use crate::engine::{ContainerFacts, Engine, EngineError};
use crate::postgres::Target;
use crate::secrets::Secret;
use crate::store::WriteTx;
use chrono::{DateTime, Utc};
use std::borrow::Borrow;
use std::net::SocketAddr;
use std::sync::Arc;

pub use crate::domain::server::POSTGRES_PORT;

/// Names of a server's sealed secrets.
pub mod secret {
    pub const SERVER_CERTIFICATE: &str = "server_certificate";
    pub const SERVER_KEY: &str = "server_key";
    pub const CLIENT_AUTHORITY: &str = "client_authority";
    pub const CONTROL_CERTIFICATE: &str = "control_certificate";
    pub const CONTROL_KEY: &str = "control_key";
    pub const ADMIN_VERIFIER: &str = "admin_verifier";
    pub const POOLER_AUTHORITY: &str = "pooler_authority";
    pub const POOLER_CERTIFICATE: &str = "pooler_certificate";
    pub const POOLER_KEY: &str = "pooler_key";
    pub const REPLICATION_AUTHORITY: &str = "replication_authority";
    pub const REPLICATION_CERTIFICATE: &str = "replication_certificate";
    pub const REPLICATION_KEY: &str = "replication_key";

    /// What backups and log of the server are encrypted with. Its loss is the loss of every backup.
    pub const BACKUP_CIPHER: &str = "backup/cipher";
    /// By which the helper of a backup logs in to PostgreSQL.
    pub const BACKUP_AUTHORITY: &str = "backup/authority";
    pub const BACKUP_CERTIFICATE: &str = "backup/certificate";
    pub const BACKUP_KEY: &str = "backup/key";
    /// By which a member is let into a repository; the common name is the server's id.
    pub const REPOSITORY_CERTIFICATE: &str = "backup/repository_certificate";
    pub const REPOSITORY_KEY: &str = "backup/repository_key";

    /// The place that a secret of a server is sealed for.
    pub fn place(server: &crate::domain::ids::ServerId, name: &str) -> String {
        format!("server_secrets/{server}/{name}")
    }

    /// The verifier that a reset of the password will set.
    pub fn pending_verifier(reset: &str) -> String {
        format!("pending_verifier/{reset}")
    }

    /// The verifier that a reset found, to put it back.
    pub fn previous_verifier(reset: &str) -> String {
        format!("previous_verifier/{reset}")
    }
}

/// The place a secret is sealed for.
pub fn sealed_place(server: &ServerId, name: &str) -> String {
    secret::place(server, name)
}

/// Opens a secret of a server.
pub async fn open_secret(
    services: &Services,
    server: &ServerId,
    name: &str,
) -> Result<Option<Secret>, StepError> {
    let Some(sealed) = services.store.server_secret(server, name).await? else { return Ok(None) };
    let plain = services.sealer.open(&sealed_place(server, name), &sealed)?;
    let text =
        String::from_utf8(plain.to_vec()).map_err(|_| crate::secrets::SecretError::Sealed)?;
    Ok(Some(Secret::new(text)))
}

/// Opens a secret that an earlier step must have kept.
pub async fn need_secret(
    services: &Services,
    server: &ServerId,
    name: &str,
) -> Result<Secret, StepError> {
    let found = open_secret(services, server, name).await?;
    found.ok_or_else(|| {
        StepError::permanent(
            format!("The secret {name} of the server is missing."),
            "Nothing was removed. A newer backup of the portal’s own record may have it: see docs/recovery.md. Delete the server only if its data are worth nothing.",
        )
    })
}

/// Seals and keeps a secret.
pub async fn keep_secret(
    services: &Services,
    tx: &mut WriteTx,
    server: &ServerId,
    name: &str,
    value: &Secret,
    expires_at: Option<DateTime<Utc>>,
) -> Result<(), StepError> {
    let sealed = services.sealer.seal(&sealed_place(server, name), value.reveal().as_bytes())?;
    Ok(tx.put_server_secret(server, name, sealed, expires_at).await?)
}

/// Where portal, gateway and other members reach a running member; `None` while its container has no address.
pub async fn address_of(
    engine: impl Borrow<Arc<dyn Engine>> + Send,
    member: &Member,
) -> Result<Option<SocketAddr>, EngineError> {
    let facts = engine.borrow().container(&member.container()).await?;
    Ok(facts.and_then(|facts| address_in(&facts)))
}

/// The same from what its engine said of its container: where it is published on its host, else its own address.
pub fn address_in(facts: &ContainerFacts) -> Option<SocketAddr> {
    if facts.state != "running" {
        return None;
    }
    let own = || Some(SocketAddr::new(facts.address.as_deref()?.parse().ok()?, POSTGRES_PORT));
    facts.published.or_else(own)
}

/// Where a member is reached that its host publishes, running or not, without asking its engine; `None` for one
/// that is reached by its container's address.
pub fn published_address(services: &Services, member: &Member) -> Option<SocketAddr> {
    Some(SocketAddr::new(services.engines.member_address(&member.host_id)?, member.port?))
}

/// The name by which the portal knows a server's certificate, whatever its endpoint is called.
pub use crate::domain::server::internal_name;

/// A connection to the server's only member, which must be running.
pub async fn member_target(ctx: &StepContext) -> Result<Target, StepError> {
    let member = ctx.member()?;
    let Some(address) = address_of(ctx.engine(member)?, member).await? else {
        return Err(StepError::Transient("The container has no address.".into()));
    };
    target(&ctx.services, &ctx.server, address).await
}

/// What a connection of the portal to a member needs.
pub async fn target(
    services: &Services,
    server: &Server,
    address: SocketAddr,
) -> Result<Target, StepError> {
    let certificate = need_secret(services, &server.id, secret::CONTROL_CERTIFICATE).await?;
    Ok(Target {
        address,
        server_name: internal_name(&server.id),
        root_certificate: services.authority.certificate.clone(),
        client_certificate: certificate.reveal().to_owned(),
        client_key: need_secret(services, &server.id, secret::CONTROL_KEY).await?,
    })
}
