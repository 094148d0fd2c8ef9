//! The secrets of a server's backups: made once, sealed, and kept as long as there are backups.

use crate::certificates::{CertificateError, ClientCertificates};
use crate::clock::random_bytes;
use crate::domain::backup::Repository;
use crate::domain::ids::ServerId;
use crate::engine::FileSpec;
use crate::operations::access::{keep_secret, need_secret, open_secret, secret};
use crate::operations::context::{Services, StepContext};
use crate::operations::member;
use crate::operations::step::StepError;
use crate::postgres::pgbackrest::{self, Access, BACKUP_ROLE, Reach, RepositoryTls};
use crate::secrets::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Key and certificates of the server's backups, made once: the key that encrypts, what the helper of a backup logs in
/// to PostgreSQL by, and what a member is let into a repository by.
///
/// # Errors
/// When they cannot be made or kept.
pub async fn ensure(ctx: &StepContext) -> Result<(), StepError> {
    let (services, id) = (&ctx.services, &ctx.server.id);
    // Written in one transaction: when the last is there, all are.
    if open_secret(services, id, secret::REPOSITORY_KEY).await?.is_some() {
        return Ok(());
    }
    let parts = make(services, id).map_err(|error| {
        StepError::permanent(error.to_string(), "Nothing was changed. Try it again.")
    })?;
    let mut tx = ctx.begin_write().await?;
    for (name, value) in &parts {
        keep_secret(services, &mut tx, id, name, value, None).await?;
    }
    ctx.commit(tx).await
}

fn make(
    services: &Services,
    id: &ServerId,
) -> Result<[(&'static str, Secret); 6], CertificateError> {
    let now = services.clock.now();
    let role = ClientCertificates::issue(BACKUP_ROLE, now)?;
    let client = services.authority.issue_client(id.as_str(), now)?;
    Ok([
        (secret::BACKUP_CIPHER, Secret::new(STANDARD.encode(random_bytes::<48>()))),
        (secret::BACKUP_AUTHORITY, Secret::new(role.authority)),
        (secret::BACKUP_CERTIFICATE, Secret::new(role.pair.certificate)),
        (secret::BACKUP_KEY, role.pair.key),
        (secret::REPOSITORY_CERTIFICATE, Secret::new(client.certificate)),
        (secret::REPOSITORY_KEY, client.key),
    ])
}

/// A server's part of a repository with its key, opened.
#[derive(Debug)]
pub struct Opened {
    repository: Repository,
    reach: Reach,
    key: Secret,
}

impl Opened {
    pub fn access(&self) -> Access<'_> {
        Access {
            stanza: &self.repository.stanza,
            number: self.repository.number,
            major: self.repository.major,
            reach: self.reach.clone(),
            key: &self.key,
        }
    }
}

/// Opens the key of a server's part of a repository, reached in this way.
///
/// # Errors
/// When the key is not kept or cannot be opened.
pub async fn open(
    services: &Services,
    repository: &Repository,
    reach: Reach,
) -> Result<Opened, StepError> {
    let key = open_secret(services, &repository.server_id, secret::BACKUP_CIPHER).await?;
    let key = key.ok_or_else(|| {
        StepError::permanent(
            "The key of the backups is missing: nothing in the repository can be read without it.",
            "Nothing was changed. Put a copy of the portal's own store back that has it.",
        )
    })?;
    Ok(Opened { repository: repository.clone(), reach, key })
}

/// The certificates by which a member of the server and its repositories know each other.
///
/// # Errors
/// When they are not kept or cannot be opened.
pub async fn tls_files(services: &Services, id: &ServerId) -> Result<Vec<FileSpec>, StepError> {
    let certificate = need_secret(services, id, secret::REPOSITORY_CERTIFICATE).await?;
    let tls = RepositoryTls {
        root_certificate: &services.authority.certificate,
        certificate: certificate.reveal(),
        key: &need_secret(services, id, secret::REPOSITORY_KEY).await?,
    };
    Ok(member::collect(pgbackrest::tls_files(&tls)))
}

/// What a helper logs in to the server's PostgreSQL by.
///
/// # Errors
/// When it is not kept or cannot be opened.
pub async fn role_files(services: &Services, id: &ServerId) -> Result<Vec<FileSpec>, StepError> {
    let mut files = vec![];
    for (name, path) in [
        (secret::BACKUP_CERTIFICATE, "config/backup.crt"),
        (secret::BACKUP_KEY, "config/backup.key"),
    ] {
        let content = need_secret(services, id, name).await?.reveal().as_bytes().to_vec();
        files.push(FileSpec { path: path.into(), mode: 0o600, content });
    }
    Ok(files)
}
