//! Renew the certificate: a new one under the same names, put beside the data, read by PostgreSQL on
//! a signal. Connections go on; new ones see the new certificate. Submitted by the monitor 30 days before the end.

use super::access::{self, keep_secret, secret};
use super::context::StepContext;
use super::step::{Outcome, Step, StepError, Undo};
use super::{configure, member, pair, pooler};
use crate::domain::ha::MemberRole;
use crate::postgres::CONTROL_ROLE;
use crate::secrets::Secret;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: "issue_new_certificate",
        title: "Issue a new server certificate",
        run: issue_new_certificate,
        undo: Undo::None("a newer certificate that is not installed yet harms nothing"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "install_certificate",
        title: "Install it and tell PostgreSQL",
        run: install_certificate,
        undo: Undo::None("both certificates are valid"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "verify_certificate",
        title: "Connect with verification",
        run: verify_certificate,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// A rerun issues once more; nobody has seen the one before.
fn issue_new_certificate(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let services = &ctx.services;
        let names = member::certificate_names(&services.settings, &ctx.server);
        let issued = services.authority.issue(&names, CONTROL_ROLE, services.clock.now()).map_err(
            |error| {
                StepError::permanent(
                    error.to_string(),
                    "Check the endpoint host and domain in the configuration, then retry.",
                )
            },
        )?;
        let expires = Some(issued.server.expires_at);
        let mut tx = ctx.begin_write().await?;
        let certificate = Secret::new(issued.server.certificate);
        keep_secret(
            services,
            &mut tx,
            &ctx.server.id,
            secret::SERVER_CERTIFICATE,
            &certificate,
            expires,
        )
        .await?;
        keep_secret(
            services,
            &mut tx,
            &ctx.server.id,
            secret::SERVER_KEY,
            &issued.server.key,
            expires,
        )
        .await?;
        ctx.commit(tx).await?;
        Ok(Outcome::Done(json!({ "expires_at": issued.server.expires_at })))
    })
}

/// On both members of a pair: whoever becomes the primary must show the new one.
fn install_certificate(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        for member in pair::standby_first(ctx) {
            let put = install_on(&ctx.on(member)).await;
            match member.role {
                MemberRole::Standby => configure::standby_left(ctx, put).await?,
                MemberRole::Primary | MemberRole::Former => put?,
            }
        }
        pooler::follow(ctx, &ctx.server).await?;
        Ok(Outcome::done())
    })
}

async fn install_on(ctx: &StepContext) -> Result<(), StepError> {
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    engine.put_files(&member.container(), &member::certificate_files(ctx).await?).await?;
    engine.signal_container(&member.container(), "SIGHUP").await?;
    Ok(())
}

fn verify_certificate(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let Some(address) = access::address_of(ctx.engine(member)?, member).await? else {
            return Err(StepError::Transient("The container has no address.".into()));
        };
        let target = access::target(&ctx.services, &ctx.server, address).await?;
        ctx.services.postgres.probe(&target).await?;
        Ok(Outcome::done())
    })
}
