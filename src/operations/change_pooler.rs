//! Change pooler: settings of the built-in PgBouncer, and whether there is one.
//!
//! Switched on, it is made and must answer before the gateway leads to it; switched off, the gateway stops
//! leading to it before it goes. New settings are read by the one that runs, and its clients go on.

use super::access;
use super::configure;
use super::context::StepContext;
use super::placement::published_host;
use super::pooler;
use super::step::{Outcome, Step, StepError, Undo};
use crate::domain::configuration::{Configuration, Pooler, PoolerChange};
use crate::domain::server::Server;
use crate::postgres::pgbouncer::asks_everywhere;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: configure::REMEMBER,
        title: "Remember the settings of before",
        run: remember,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "take_port",
        title: "Have a port on the gateway and a certificate",
        run: take_port,
        undo: Undo::None("port and certificate stay the server's, for the next time"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "save_settings",
        title: "Write the new settings",
        run: save_settings,
        undo: Undo::Run(restore_settings),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "prepare_postgres",
        title: "Let PgBouncer ask PostgreSQL for verifiers",
        run: prepare_postgres,
        undo: Undo::None("pg_hba.conf lets nobody in as its role while it is off"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "run_pooler",
        title: "Start PgBouncer, or tell it its settings",
        run: run_pooler,
        undo: Undo::Run(put_back_pooler),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "wait_answering",
        title: "Wait until it reaches PostgreSQL",
        run: wait_answering,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "lead_clients",
        title: "Lead clients to it, or no longer",
        run: lead_clients,
        undo: Undo::Run(lead_as_before),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
    Step {
        name: "remove_pooler",
        title: "Remove a PgBouncer that is off",
        run: remove_pooler,
        undo: Undo::None("it is past the point of no return"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

fn wanted(ctx: &StepContext) -> Result<Pooler, StepError> {
    Ok(ctx.input::<PoolerChange>()?.pooler)
}

fn remember(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let pooler = wanted(ctx)?;
        let spec = &ctx.server.spec;
        if let Some(why) = Pooler::why_closed(spec.sku().tier, spec.access, ctx.ha.is_some())
            .filter(|_| pooler.enabled)
        {
            return Err(StepError::permanent(why, "Nothing was changed."));
        }
        // The gateway reaches the port of PostgreSQL there, and no other.
        if let Some(host) = published_host(ctx, ctx.member()?).await?.filter(|_| pooler.enabled) {
            return Err(StepError::permanent(
                format!(
                    "The built-in PgBouncer needs a host on the portal's own machine; the server is on {}, which is reached over the network. Nothing was changed.",
                    host.name
                ),
                "Use a pooler beside your application.",
            ));
        }
        configure::remember(ctx).await
    })
}

fn take_port(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let change: PoolerChange = ctx.input()?;
        if !change.pooler.enabled {
            return Ok(Outcome::done());
        }
        pooler::ensure_certificate(ctx).await?;
        if let Some(port) = ctx.server.pooler_port {
            return Ok(Outcome::Done(json!({ "port": port })));
        }
        let mut tx = ctx.begin_write().await?;
        let Some(port) = tx.take_port(change.ports).await? else {
            return Err(StepError::permanent(
                "Every port of the gateway is in use. Nothing was changed.",
                "Delete a server that is not needed, or give the gateway more ports (--gateway-ports).",
            ));
        };
        tx.set_pooler_port(&ctx.server.id, port).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::Done(json!({ "port": port })))
    })
}

fn save_settings(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let pooler = wanted(ctx)?;
        let configuration = Configuration { pooler, ..ctx.server.configuration.clone() };
        configure::install(ctx, &configuration).await?;
        Ok(Outcome::done())
    })
}

fn restore_settings(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(configure::restore(ctx))
}

fn prepare_postgres(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if wanted(ctx)?.enabled {
            let target = access::member_target(ctx).await?;
            let everywhere = asks_everywhere(ctx.server.spec.major);
            ctx.services.postgres.ensure_pooler_access(&target, everywhere).await?;
        }
        Ok(Outcome::done())
    })
}

fn run_pooler(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if wanted(ctx)?.enabled {
            pooler::ensure_container(ctx, &ctx.server).await?;
        }
        Ok(Outcome::done())
    })
}

/// The server as it was before, when it came to that.
fn before(ctx: &StepContext) -> Result<Server, StepError> {
    let configuration: Configuration = ctx.output(configure::REMEMBER)?;
    Ok(Server { configuration, ..ctx.server.clone() })
}

fn put_back_pooler(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let before = before(ctx)?;
        if before.configuration.pooler.enabled {
            pooler::ensure_container(ctx, &before).await?;
        } else {
            pooler::remove(ctx).await?;
        }
        Ok(Outcome::done())
    })
}

fn wait_answering(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        match wanted(ctx)?.enabled {
            true => pooler::wait_answering(ctx).await,
            false => Ok(Outcome::done()),
        }
    })
}

fn lead_clients(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        lead(ctx, &ctx.server).await?;
        Ok(Outcome::done())
    })
}

fn lead_as_before(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        lead(ctx, &before(ctx)?).await?;
        Ok(Outcome::done())
    })
}

async fn lead(ctx: &StepContext, server: &Server) -> Result<(), StepError> {
    match server.configuration.pooler.enabled {
        true => pooler::open_route(ctx, server).await,
        false => pooler::close_route(ctx).await,
    }
}

fn remove_pooler(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if !wanted(ctx)?.enabled {
            pooler::remove(ctx).await?;
        }
        Ok(Outcome::done())
    })
}
