//! Change networking: public or private access, the virtual network, and whether TLS is required.
//!
//! The row comes first, from which on the gateway refuses whom the new setting does not allow; then the
//! container enters the new network, PostgreSQL reads its new rules, sessions that are not allowed any more
//! end, while their clients can still be told, and the old network is left. The way in opens last. Until then all of it can be taken back.

use super::access;
use super::context::StepContext;
use super::placement::published_host;
use super::step::{Outcome, Step, StepError, Undo};
use super::{configure, member, networks};
use crate::domain::ids::NetworkId;
use crate::domain::network::Access;
use crate::domain::networking::Networking;
use crate::domain::route::RouteState;
use crate::postgres::conf::Admission;
use crate::postgres::networking::Unwanted;
use futures_util::future::BoxFuture;
use ipnet::Ipv4Net;
use serde_json::json;
use std::time::Duration;

const REMEMBER: &str = "remember";

pub const STEPS: &[Step] = &[
    Step {
        name: REMEMBER,
        title: "Remember how it is reached now",
        run: remember,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "record",
        title: "Record the new setting",
        run: record,
        undo: Undo::Run(record_old),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "enter_network",
        title: "Enter the new network",
        run: enter_network,
        undo: Undo::Run(leave_new),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "write_rules",
        title: "Give PostgreSQL its new rules",
        run: write_rules,
        undo: Undo::Run(write_old_rules),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "end_sessions",
        title: "End connections that are not allowed any more",
        run: end_sessions,
        undo: Undo::None("clients connect again by themselves"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "leave_network",
        title: "Leave the old network",
        run: leave_network,
        undo: Undo::Run(enter_old),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "set_route",
        title: "Open or close the way through the gateway",
        run: set_route,
        undo: Undo::Run(set_old_route),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

fn wanted(ctx: &StepContext) -> Result<Networking, StepError> {
    serde_json::from_value(ctx.operation.input.clone()).map_err(|_| {
        StepError::permanent(
            "The operation does not say how the server shall be reached.",
            "Ask for the change again on the server's Networking page.",
        )
    })
}

/// How it was before; `None` where it never came to that.
fn before(ctx: &StepContext) -> Result<Option<Networking>, StepError> {
    ctx.outputs.contains_key(REMEMBER).then(|| ctx.output(REMEMBER)).transpose()
}

fn remember(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let wanted = wanted(ctx)?;
        let has_pooler = ctx.server.configuration.pooler.enabled;
        if let Some(why) = wanted.reason_against(has_pooler, ctx.ha.is_some()) {
            return Err(StepError::permanent(why, "Nothing was changed."));
        }
        if let Some(host) = published_host(ctx, ctx.member()?).await?
            && wanted.access == Access::Private
        {
            return Err(StepError::permanent(
                format!(
                    "Private access needs a host on the portal's own machine; the server is on {}, which is reached over the network. Nothing was changed.",
                    host.name
                ),
                "Keep public access and let in only the addresses that need it.",
            ));
        }
        if let Some(id) = &wanted.network_id {
            networks::find(ctx, id).await?;
        }
        Ok(Outcome::Done(json!(Networking::of(&ctx.server))))
    })
}

fn record(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move { write_row(ctx, &wanted(ctx)?).await })
}

fn record_old(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        match before(ctx)? {
            Some(old) => write_row(ctx, &old).await,
            None => Ok(Outcome::done()),
        }
    })
}

async fn write_row(ctx: &StepContext, networking: &Networking) -> Result<Outcome, StepError> {
    let server = networking.applied(&ctx.server);
    let mut tx = ctx.begin_write().await?;
    let network = server.network_id.as_ref();
    if !tx.set_networking(&server.id, server.spec.access, network).await? {
        return Err(StepError::permanent(
            "The virtual network is being deleted.",
            "Choose another network for the server.",
        ));
    }
    tx.set_configuration(&server.id, &server.configuration).await?;
    ctx.commit(tx).await?;
    ctx.services.poke.routes();
    Ok(Outcome::done())
}

fn enter_network(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(network) = networks::virtual_of(&ctx.server) {
            networks::ensure_virtual(ctx, network).await?;
            networks::enter(ctx, &ctx.server).await?;
        }
        Ok(Outcome::done())
    })
}

/// The virtual network stays on the host: others may be entering it in this moment. It goes with its deletion.
fn leave_new(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let new = wanted(ctx)?.network_id;
        let old = before(ctx)?.and_then(|old| old.network_id);
        if let Some(new) = new.filter(|new| Some(new) != old.as_ref()) {
            networks::leave(ctx, &new).await?;
        }
        Ok(Outcome::done())
    })
}

fn write_rules(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        configure::put_files(ctx, &ctx.server).await?;
        Ok(Outcome::done())
    })
}

fn write_old_rules(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(old) = before(ctx)? {
            configure::put_files(ctx, &old.applied(&ctx.server)).await?;
        }
        Ok(Outcome::done())
    })
}

/// The network that is left, when it is another one than that which was entered.
fn left(ctx: &StepContext) -> Result<Option<NetworkId>, StepError> {
    let old = before(ctx)?.and_then(|old| old.network_id);
    let new = wanted(ctx)?.network_id;
    Ok(old.filter(|old| Some(old) != new.as_ref()))
}

fn leave_network(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(old) = left(ctx)? {
            networks::leave(ctx, &old).await?;
        }
        Ok(Outcome::done())
    })
}

fn enter_old(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if left(ctx)?.is_some()
            && let Some(old) = before(ctx)?
        {
            networks::enter(ctx, &old.applied(&ctx.server)).await?;
        }
        Ok(Outcome::done())
    })
}

/// Looks until a look finds none: a session may have been admitted by the old rules while PostgreSQL read
/// the new ones.
fn end_sessions(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let Some(address) = access::address_of(ctx.engine(member)?, member).await? else {
            return Err(StepError::Transient("The container has no address.".into()));
        };
        let target = access::target(&ctx.services, &ctx.server, address).await?;
        let ended = ctx.services.postgres.end_sessions(&target, &unwanted(ctx).await?).await?;
        if ended == 0 {
            return Ok(Outcome::done());
        }
        ctx.log(format!("Connections ended: {ended}")).await;
        Ok(Outcome::Wait(Duration::from_millis(200), "connections are ending".into()))
    })
}

async fn unwanted(ctx: &StepContext) -> Result<Unwanted, StepError> {
    let plain = ctx.server.configuration.require_secure_transport;
    let mut unwanted = Unwanted { plain, ..Unwanted::default() };
    if let Admission::Network { range, host } = networks::admission(ctx, &ctx.server).await? {
        unwanted.outside = Some(range);
        unwanted.inside.extend(host.map(Ipv4Net::from));
    }
    // Their network goes next: without this they would hang until their keep-alives fail.
    if let Some(old) = left(ctx)? {
        unwanted.inside.push(networks::find(ctx, &old).await?.range);
    }
    Ok(unwanted)
}

fn set_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(member::open_route(ctx))
}

/// The row still has the new setting while this runs; [`record_old`] then lets the gateway go by the old one.
fn set_old_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let Some(old) = before(ctx)? else { return Ok(Outcome::done()) };
        let Some(address) = access::address_of(ctx.engine(member)?, member).await? else {
            return Err(StepError::Transient("The container has no address.".into()));
        };
        let state = match old.access {
            Access::Public => RouteState::Open,
            Access::Private => RouteState::Closed,
        };
        member::set_route(ctx, Some(address), state).await?;
        Ok(Outcome::done())
    })
}
