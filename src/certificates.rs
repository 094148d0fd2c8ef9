//! Certificates: the installation's root, a certificate for each server, and a pair for the portal's
//! own connections to it.
//!
//! The root is made once, at the first start, and its key is sealed in the store. A server's
//! certificate carries its endpoint names and `localhost`, so that `verify-full` works as printed.
//! Each server trusts clients of a small CA of its own: the portal's key for one server opens no other.

use crate::secrets::Secret;
use chrono::{DateTime, Duration, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use std::net::IpAddr;

/// Life of the root certificate.
pub const ROOT_LIFE: Duration = Duration::days(3650);
/// Life of a server's certificate.
pub const SERVER_LIFE: Duration = Duration::days(90);
/// Life of the certificate of a repository's server, which is made anew with every backup on its host.
pub const REPOSITORY_LIFE: Duration = Duration::days(365);
/// A server's certificate is renewed when this much of its life is left.
pub const RENEW_BEFORE: Duration = Duration::days(30);

/// A certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("a certificate could not be made: {0}")]
pub struct CertificateError(#[from] rcgen::Error);

/// A certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct CertifiedPair {
    pub certificate: String,
    pub key: Secret,
    pub expires_at: DateTime<Utc>,
}

/// What one server needs: its own pair, the CA for its clients, and the portal's pair as a client.
#[derive(Debug, Clone)]
pub struct ServerCertificates {
    pub server: CertifiedPair,
    pub client_authority: String,
    pub control: CertifiedPair,
}

/// The installation's root.
#[derive(Debug, Clone)]
pub struct Authority {
    /// PEM; what people download as the CA file.
    pub certificate: String,
    key: Secret,
}

impl Authority {
    /// Makes a new root named after the installation.
    ///
    /// # Errors
    /// When key or certificate cannot be made.
    pub fn generate(
        install_id: &str,
        now: DateTime<Utc>,
    ) -> Result<(Self, Secret), CertificateError> {
        let key = KeyPair::generate()?;
        let mut params =
            authority_params(&format!("pgflex root {}", install_id.get(..8).unwrap_or(install_id)));
        set_life(&mut params, now, ROOT_LIFE);
        let certificate = params.self_signed(&key)?.pem();
        let key = Secret::new(key.serialize_pem());
        Ok((Self { certificate, key: key.clone() }, key))
    }

    /// A root kept in the store.
    pub fn from_pem(certificate: String, key: Secret) -> Self {
        Self { certificate, key }
    }

    /// Makes everything one server needs. `names` are host names or addresses of its endpoint.
    ///
    /// # Errors
    /// When the root does not parse or a certificate cannot be made.
    pub fn issue(
        &self,
        names: &[String],
        control_role: &str,
        now: DateTime<Utc>,
    ) -> Result<ServerCertificates, CertificateError> {
        let issuer = self.issuer()?;
        let mut params = leaf_params(
            names.first().map_or("server", String::as_str),
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        params.subject_alt_names =
            names.iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
        let server = signed(params, now, SERVER_LIFE, &issuer)?;

        let mut client_params = authority_params("pgflex clients of one server");
        set_life(&mut client_params, now, ROOT_LIFE);
        let clients = CertifiedIssuer::self_signed(client_params, KeyPair::generate()?)?;
        let control = signed(
            leaf_params(control_role, ExtendedKeyUsagePurpose::ClientAuth),
            now,
            ROOT_LIFE,
            &clients,
        )?;
        Ok(ServerCertificates { server, client_authority: clients.pem(), control })
    }

    /// A certificate by which a server's members prove themselves to repositories: `name` is its common name. No
    /// PostgreSQL takes it, because none trusts clients of the root.
    ///
    /// # Errors
    /// When the root does not parse or a certificate cannot be made.
    pub fn issue_client(
        &self,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<CertifiedPair, CertificateError> {
        let params = leaf_params(name, ExtendedKeyUsagePurpose::ClientAuth);
        signed(params, now, ROOT_LIFE, &self.issuer()?)
    }

    /// A certificate of a repository's server. Its clients look at DNS names alone, so an address stands in it as one.
    ///
    /// # Errors
    /// When the root does not parse or a certificate cannot be made.
    pub fn issue_repository(
        &self,
        names: &[String],
        now: DateTime<Utc>,
    ) -> Result<CertifiedPair, CertificateError> {
        let common = names.first().map_or("repository", String::as_str);
        let mut params = leaf_params(common, ExtendedKeyUsagePurpose::ServerAuth);
        let name = |name: &String| Ok(SanType::DnsName(name.as_str().try_into()?));
        params.subject_alt_names =
            names.iter().map(name).collect::<Result<_, CertificateError>>()?;
        signed(params, now, REPOSITORY_LIFE, &self.issuer()?)
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, CertificateError> {
        let key = KeyPair::from_pem(self.key.reveal())?;
        Ok(Issuer::from_ca_cert_pem(&self.certificate, key)?)
    }
}

/// A client certificate and the authority that signed it, whose key nobody keeps: it signs nothing else.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// PEM.
    pub authority: String,
    pub pair: CertifiedPair,
}

impl ClientCertificates {
    /// A certificate for one role of one server.
    ///
    /// # Errors
    /// When key or certificate cannot be made.
    pub fn issue(role: &str, now: DateTime<Utc>) -> Result<Self, CertificateError> {
        // Authorities of one server stand in one file: a name for each, so that the right one is found.
        let mut params = authority_params(&format!("{} of one server", role.replace('_', " ")));
        set_life(&mut params, now, ROOT_LIFE);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let leaf = leaf_params(role, ExtendedKeyUsagePurpose::ClientAuth);
        let pair = signed(leaf, now, ROOT_LIFE, &authority)?;
        Ok(Self { authority: authority.pem(), pair })
    }
}

fn signed(
    mut params: CertificateParams,
    now: DateTime<Utc>,
    life: Duration,
    issuer: &Issuer<'_, impl rcgen::SigningKey>,
) -> Result<CertifiedPair, CertificateError> {
    set_life(&mut params, now, life);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?.pem();
    Ok(CertifiedPair { certificate, key: Secret::new(key.serialize_pem()), expires_at: now + life })
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    // A common name has at most 64 characters; the names that are checked are the alternative names.
    params.distinguished_name = common_name(name.get(..64).unwrap_or(name));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn alternative_name(name: &str) -> Result<SanType, CertificateError> {
    Ok(match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into()?),
    })
}

/// An hour back, so that a client whose clock is a little behind still accepts it.
fn set_life(params: &mut CertificateParams, now: DateTime<Utc>, life: Duration) {
    let at = |time: DateTime<Utc>| {
        let date = chrono::Datelike::year(&time);
        rcgen::date_time_ymd(
            date,
            chrono::Datelike::month(&time) as u8,
            chrono::Datelike::day(&time) as u8,
        )
    };
    params.not_before = at(now - Duration::hours(25));
    params.not_after = at(now + life);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_kept_as_text_still_issues() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let (root, key) = Authority::generate("0123456789", now).unwrap();
        let again = Authority::from_pem(root.certificate.clone(), key);
        let issued = again
            .issue(
                &["shop.pgflex.localhost".into(), "localhost".into(), "127.0.0.1".into()],
                "pgflex_control",
                now,
            )
            .unwrap();
        assert!(issued.server.certificate.contains("BEGIN CERTIFICATE"));
        assert_eq!(issued.server.expires_at, now + SERVER_LIFE);
        assert_ne!(issued.client_authority, root.certificate);
    }
}
