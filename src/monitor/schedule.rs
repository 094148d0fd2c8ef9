//! What is due by the calendar: certificates near their end, forms that nobody finished, and
//! sessions and sign-in counters that are over.

use crate::certificates::RENEW_BEFORE;
use crate::domain::activity::Actor;
use crate::domain::operation::OperationKind;
use crate::operations::access::secret;
use crate::operations::context::Services;
use crate::operations::submit::{Door, SubmitError};
use crate::store::StoreError;
use std::sync::Arc;

/// Submits what is due and prunes what is over.
///
/// # Errors
/// When the store does not answer.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let now = services.clock.now();
    let due =
        services.store.expiring_secrets(secret::SERVER_CERTIFICATE, now + RENEW_BEFORE).await?;
    let door = Door { store: &services.store, clock: &*services.clock, poke: &services.poke };
    for server in due {
        match door.submit(OperationKind::RenewCertificate, &server, &Actor::system(), None).await {
            Ok(_) => {}
            // Something else is under way; the next tick asks again, thirty days are left.
            Err(SubmitError::Refused(why)) => {
                tracing::info!(server.id = %server, %why, "a certificate is renewed later")
            }
            Err(SubmitError::Store(error)) => return Err(error),
        }
    }
    services.store.prune_drafts(now).await?;
    services.store.purge_sessions(now).await?;
    services.store.purge_throttles(now).await?;
    Ok(())
}
