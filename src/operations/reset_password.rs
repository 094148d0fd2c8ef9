//! Reset password: the verifier that was sealed when the form came in takes the place of the one the
//! administrator has, and every session of the administrator ends.
//!
//! The operation knows both verifiers by name only. They are sealed in the store, for a day: a retry needs
//! them, and nothing else ever does.

use super::access::{self, keep_secret, open_secret, sealed_place, secret};
use super::context::StepContext;
use super::pooler;
use super::step::{Outcome, Step, StepError, Undo};
use super::submit::{Door, SubmitError};
use crate::domain::ids::ServerId;
use crate::domain::names::PasswordReset;
use crate::domain::refusal::Refusal;
use crate::secrets::{Sealer, Secret};
use crate::store::Record;
use chrono::Duration as Days;
use futures_util::future::BoxFuture;
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: "remember",
        title: "Keep the present password's verifier",
        run: remember,
        undo: Undo::None("what was kept is forgotten after a day"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "set_password",
        title: "Set the new password",
        run: set_password,
        undo: Undo::Run(put_back),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "end_sessions",
        title: "End the administrator's sessions",
        run: end_sessions,
        undo: Undo::None("clients connect again"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "keep_verifier",
        title: "Keep the new password's verifier",
        run: keep_verifier,
        undo: Undo::Run(keep_previous),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// How long the verifiers of a reset are kept.
pub const KEPT_FOR: Days = Days::days(1);

impl Door<'_> {
    /// Seals the verifier of a new password for the reset that is submitted next. False when the same form
    /// came before: then the verifier of that time counts.
    ///
    /// # Errors
    /// When it cannot be sealed or kept.
    pub async fn keep_new_password(
        &self,
        sealer: &Sealer,
        server: &ServerId,
        reset: &PasswordReset,
        verifier: &Secret,
    ) -> Result<bool, SubmitError> {
        let name = secret::pending_verifier(&reset.reset);
        let place = sealed_place(server, &name);
        let sealed = sealer
            .seal(&place, verifier.reveal().as_bytes())
            .map_err(|error| Refusal::whole(error.to_string()))?;
        let now = self.clock.now();
        let mut tx = self.store.begin_write(now).await?;
        let kept = tx.put_server_secret_once(server, &name, sealed, Some(now + KEPT_FOR)).await?;
        tx.commit(Record::Nothing("the reset that follows has a line of its own")).await?;
        Ok(kept)
    }
}

async fn pending(ctx: &StepContext) -> Result<Secret, StepError> {
    let name = secret::pending_verifier(&ctx.input::<PasswordReset>()?.reset);
    open_secret(&ctx.services, &ctx.server.id, &name).await?.ok_or_else(|| {
        StepError::permanent(
            "The new password is no longer kept: that is done for a day only. Nothing was changed.",
            "Reset the password again from its page.",
        )
    })
}

/// Kept before anything is changed; `None` where it never came to that. No password is an empty text.
async fn previous(ctx: &StepContext) -> Result<Option<Secret>, StepError> {
    let name = secret::previous_verifier(&ctx.input::<PasswordReset>()?.reset);
    open_secret(&ctx.services, &ctx.server.id, &name).await
}

fn remember(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        pending(ctx).await?;
        let services = &ctx.services;
        let target = access::member_target(ctx).await?;
        let login = &ctx.server.spec.admin_login;
        let found = services.postgres.admin_verifier(&target, login).await?;
        let name = secret::previous_verifier(&ctx.input::<PasswordReset>()?.reset);
        let text = found.unwrap_or_default();
        let place = sealed_place(&ctx.server.id, &name);
        let sealed = services.sealer.seal(&place, text.reveal().as_bytes())?;
        let mut tx = ctx.begin_write().await?;
        // Once: a retry of a reset that failed half way must not take the new one for the old one.
        tx.put_server_secret_once(
            &ctx.server.id,
            &name,
            sealed,
            Some(services.clock.now() + KEPT_FOR),
        )
        .await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

fn set_password(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let verifier = pending(ctx).await?;
        let target = access::member_target(ctx).await?;
        let login = &ctx.server.spec.admin_login;
        ctx.services.postgres.set_admin_verifier(&target, login, Some(&verifier)).await?;
        Ok(Outcome::done())
    })
}

fn put_back(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(verifier) = previous(ctx).await? else { return Ok(Outcome::done()) };
        let target = access::member_target(ctx).await?;
        let login = &ctx.server.spec.admin_login;
        let verifier = Some(&verifier).filter(|verifier| !verifier.reveal().is_empty());
        ctx.services.postgres.set_admin_verifier(&target, login, verifier).await?;
        Ok(Outcome::done())
    })
}

/// PgBouncer's clients hold no session of their own: it is started again, or they would go on.
fn end_sessions(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let target = access::member_target(ctx).await?;
        let login = &ctx.server.spec.admin_login;
        if ctx.server.configuration.pooler.enabled {
            pooler::restart(ctx).await?;
        }
        let ended = ctx.services.postgres.end_admin_sessions(&target, login).await?;
        ctx.log(format!("Sessions of {} ended: {ended}", login.as_str())).await;
        Ok(Outcome::done())
    })
}

fn keep_verifier(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let verifier = pending(ctx).await?;
        keep(ctx, &verifier).await
    })
}

fn keep_previous(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        match previous(ctx).await? {
            Some(verifier) if !verifier.reveal().is_empty() => keep(ctx, &verifier).await,
            _ => Ok(Outcome::done()),
        }
    })
}

async fn keep(ctx: &StepContext, verifier: &Secret) -> Result<Outcome, StepError> {
    let mut tx = ctx.begin_write().await?;
    let (services, id) = (&ctx.services, &ctx.server.id);
    keep_secret(services, &mut tx, id, secret::ADMIN_VERIFIER, verifier, None).await?;
    ctx.commit(tx).await?;
    Ok(Outcome::done())
}
