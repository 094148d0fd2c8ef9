//! What is due by the calendar: certificates near their end, servers that were stopped for long, forms that nobody finished, and
//! sessions and sign-in counters that are over.

use crate::certificates::RENEW_BEFORE;
use crate::domain::activity::Actor;
use crate::domain::operation::OperationKind;
use crate::operations::access::secret;
use crate::operations::context::Services;
use crate::operations::submit::{Door, SubmitError};
use crate::store::StoreError;
use std::sync::Arc;

/// Setting that keeps the endpoint names which certificates were issued for.
const ENDPOINT_NAMES: &str = "certificates/endpoint_names";

/// After a change of the endpoint host or domain every certificate lacks the new names: all are due at once.
async fn follow_endpoint_names(services: &Arc<Services>) -> Result<(), StoreError> {
    let now = services.clock.now();
    let names =
        format!("{} {}", services.settings.endpoint_host, services.settings.endpoint_domain);
    let kept = services.store.setting_or_insert(now, ENDPOINT_NAMES, &names).await?;
    if kept == names {
        return Ok(());
    }
    tracing::info!(%names, "the endpoint names changed: every certificate is issued anew");
    services.store.expire_secrets(now, secret::SERVER_CERTIFICATE, (ENDPOINT_NAMES, &names)).await
}

/// Submits what is due and prunes what is over.
///
/// # Errors
/// When the store does not answer.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let now = services.clock.now();
    follow_endpoint_names(services).await?;
    let due =
        services.store.expiring_secrets(secret::SERVER_CERTIFICATE, now + RENEW_BEFORE).await?;
    let door = Door { store: &services.store, clock: &*services.clock, poke: &services.poke };
    for server in due {
        match door.submit(OperationKind::RenewCertificate, &server, &Actor::system(), None).await {
            Ok(_) => {}
            // Something else is under way; the next tick asks again, thirty days are left.
            Err(SubmitError::Refused(why)) => {
                tracing::info!(server.id = %server, %why, "a certificate is renewed later");
            }
            Err(SubmitError::Store(error)) => return Err(error),
        }
    }
    super::power::tick(services).await?;
    services.store.prune_samples(now).await?;
    services.store.prune_drafts(now).await?;
    services.store.purge_verifiers(now).await?;
    services.store.purge_sessions(now).await?;
    services.store.purge_throttles(now).await?;
    Ok(())
}
