//! Looks into a running PostgreSQL for what its pages show: settings and extensions. Used by steps that
//! check, and by the monitor that writes down what was seen.

use super::access;
use super::context::{Services, StepContext};
use super::step::StepError;
use crate::domain::extensions::{DatabaseLook, ExtensionLook};
use crate::domain::parameters::{Catalogue, Parameter};
use crate::domain::server::Server;
use crate::postgres::conf::{self, Settings};
use crate::postgres::{PostgresError, Target};
use crate::secrets::sha256_hex;
use std::collections::BTreeMap;

/// Databases that are looked into, at most: each costs a connection.
const DATABASES_MAX: usize = 50;

/// How a step reaches the server's PostgreSQL.
///
/// # Errors
/// Passing, while the container has no address.
pub async fn target(ctx: &StepContext) -> Result<Target, StepError> {
    let member = ctx.member()?;
    let Some(address) = access::address_of(ctx.engine(member)?, member).await? else {
        return Err(StepError::Transient("The container has no address.".into()));
    };
    access::target(&ctx.services, &ctx.server, address).await
}

/// Stands for what a server was asked to be; another one makes an earlier look old.
pub fn fingerprint(server: &Server) -> String {
    let asked = serde_json::json!([server.configuration, server.spec]);
    sha256_hex(&asked.to_string())
}

/// The parameters with the defaults that count for this server: what is rendered for its size and version goes
/// before what PostgreSQL brings.
pub fn catalogue(server: &Server, parameters: Vec<Parameter>) -> Catalogue {
    let rendered = conf::defaults(&Settings::of(server));
    let parameters = parameters.into_iter().map(|one| with_default(one, &rendered)).collect();
    Catalogue { parameters }
}

fn with_default(mut one: Parameter, rendered: &BTreeMap<String, String>) -> Parameter {
    if let Some(text) = rendered.get(&one.name.to_ascii_lowercase()) {
        // PostgreSQL writes some words in capitals that are read in any case.
        let is_same = text.eq_ignore_ascii_case(&one.value);
        let written = || one.written(text).unwrap_or_else(|_| text.clone());
        one.default = if is_same { one.value.clone() } else { written() };
    }
    one
}

/// What the image has and what is installed where. A database that does not answer is left open, not left out.
///
/// # Errors
/// When PostgreSQL does not answer at all.
pub async fn extensions(
    services: &Services,
    target: &Target,
) -> Result<ExtensionLook, PostgresError> {
    let seen = services.postgres.extensions(target).await?;
    let mut databases = vec![];
    for name in seen.databases.iter().take(DATABASES_MAX) {
        let installed = services.postgres.installed(target, name).await.ok();
        databases.push(DatabaseLook { name: name.clone(), installed });
    }
    let left_out = seen.databases.len().saturating_sub(DATABASES_MAX);
    Ok(ExtensionLook {
        available: seen.available,
        databases,
        left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
        loaded: seen.loaded,
    })
}
