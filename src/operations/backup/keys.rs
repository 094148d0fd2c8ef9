//! The secrets of a server's backups: made once, sealed, and kept as long as there are backups.

use crate::certificates::{CertificateError, ClientCertificates};
use crate::clock::random_bytes;
use crate::domain::backup::{Repository, RepositoryState, stanza_of};
use crate::domain::ids::ServerId;
use crate::engine::FileSpec;
use crate::operations::access::{keep_secret, need_secret, open_secret, sealed_place, secret};
use crate::operations::context::{Services, StepContext};
use crate::operations::member;
use crate::operations::step::StepError;
use crate::postgres::pgbackrest::{self, ARCHIVE_FILE, Access, BACKUP_ROLE, Reach, RepositoryTls};
use crate::secrets::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the helper of a backup logs in to PostgreSQL by: of no use but together.
const ROLE: [&str; 3] = [secret::BACKUP_AUTHORITY, secret::BACKUP_CERTIFICATE, secret::BACKUP_KEY];
/// What a member is let into a repository by: of no use but together.
const CLIENT: [&str; 2] = [secret::REPOSITORY_CERTIFICATE, secret::REPOSITORY_KEY];

/// Key and certificates of the server's backups: the key that encrypts, what the helper of a backup logs in to
/// PostgreSQL by, and what a member is let into a repository by. What is missing is made; what is there stays. A portal that
/// was recovered from labels knows the key alone, and another in its place would end every backup there is.
///
/// # Errors
/// When they cannot be made or kept, or when there are backups and their key is not known.
pub async fn ensure(ctx: &StepContext) -> Result<(), StepError> {
    let (services, id) = (&ctx.services, &ctx.server.id);
    let mut parts = vec![];
    if lacks(services, id, &ROLE).await? {
        parts.extend(make_role(services).map_err(|error| unmade(&error))?);
    }
    if lacks(services, id, &CLIENT).await? {
        parts.extend(make_client(services, id).map_err(|error| unmade(&error))?);
    }
    let cipher = match lacks(services, id, &[secret::BACKUP_CIPHER]).await? {
        true => Some(known_cipher(ctx).await?.unwrap_or_else(new_cipher)),
        false => None,
    };
    if parts.is_empty() && cipher.is_none() {
        return Ok(());
    }
    let mut tx = ctx.begin_write().await?;
    for (name, value) in &parts {
        keep_secret(services, &mut tx, id, name, value, None).await?;
    }
    if let Some(cipher) = cipher {
        let name = secret::BACKUP_CIPHER;
        let place = sealed_place(id, name);
        let sealed = services.sealer.seal(&place, cipher.reveal().as_bytes())?;
        // Once: whoever was quicker has a key that may be in use.
        tx.put_server_secret_once(id, name, sealed, None).await?;
    }
    ctx.commit(tx).await
}

async fn lacks(services: &Services, id: &ServerId, names: &[&str]) -> Result<bool, StepError> {
    for name in names {
        if services.store.server_secret(id, name).await?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unmade(error: &CertificateError) -> StepError {
    StepError::permanent(error.to_string(), "Nothing was changed. Try it again.")
}

fn new_cipher() -> Secret {
    Secret::new(STANDARD.encode(random_bytes::<48>()))
}

/// The key that the server's log is encrypted with already, of which the portal does not know: from the volume of a member.
/// `None` only where nothing was ever handed over.
async fn known_cipher(ctx: &StepContext) -> Result<Option<Secret>, StepError> {
    let (services, id) = (&ctx.services, &ctx.server.id);
    for member in &ctx.members {
        let (engine, name) = (ctx.engine(member)?, member.container());
        if engine.container(&name).await?.is_none() {
            continue;
        }
        if let Some(file) = engine.get_file(&name, ARCHIVE_FILE).await? {
            let text = String::from_utf8_lossy(&file);
            return pgbackrest::key_in(&text, &stanza_of(id)).map(Some).ok_or_else(unknown);
        }
    }
    let protection = services.store.protection(id).await?;
    let is_used = protection.repositories.iter().any(|one| one.state == RepositoryState::Active);
    if is_used || !protection.backups.is_empty() { Err(unknown()) } else { Ok(None) }
}

fn unknown() -> StepError {
    StepError::permanent(
        "There are backups of this server, and the portal does not know their key. No backup was taken: a new key would make the old backups unreadable.",
        "Nothing was changed, and the old backups are where they were. Its escrow file has the key: with it they can be restored by hand. \
         For new backups dump its data into a new server.",
    )
}

type Parts = Vec<(&'static str, Secret)>;

fn make_role(services: &Services) -> Result<Parts, CertificateError> {
    let role = ClientCertificates::issue(BACKUP_ROLE, services.clock.now())?;
    let values = [Secret::new(role.authority), Secret::new(role.pair.certificate), role.pair.key];
    Ok(ROLE.into_iter().zip(values).collect())
}

fn make_client(services: &Services, id: &ServerId) -> Result<Parts, CertificateError> {
    let client = services.authority.issue_client(id.as_str(), services.clock.now())?;
    Ok(CLIENT.into_iter().zip([Secret::new(client.certificate), client.key]).collect())
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
