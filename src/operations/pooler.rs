//! The built-in PgBouncer of a server: a container of its own beside the member, with a small volume for its
//! configuration and nothing to lose. Whether it shall run is the configuration's word; each function
//! here is safe to repeat and does nothing where it is switched off.

use super::access::{keep_secret, need_secret, open_secret, secret};
use super::context::StepContext;
use super::member;
use super::step::{Outcome, StepError};
use crate::certificates::ClientCertificates;
use crate::domain::server::{Server, internal_name};
use crate::engine::FileSpec;
use crate::postgres::pgbouncer::{self, PoolerSettings, PoolerTls};
use crate::postgres::{POOLER_ROLE, PostgresError, Target};
use crate::secrets::Secret;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// PgBouncer loses nothing when it is killed: it gets little time.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Brings PgBouncer up as the server's configuration says, and points its route at it. Nothing where it is off.
///
/// # Errors
/// When an engine or the store does not do its part.
pub async fn ensure_running(ctx: &StepContext) -> Result<(), StepError> {
    if !ctx.server.configuration.pooler.enabled {
        return Ok(());
    }
    ensure_container(ctx, &ctx.server).await?;
    open_route(ctx, &ctx.server).await
}

/// Stops PgBouncer where there is one; its configuration and port stay.
///
/// # Errors
/// When the engine does not do it.
pub async fn stop(ctx: &StepContext) -> Result<(), StepError> {
    for member in &ctx.members {
        let engine = ctx.engine(member)?;
        if engine.container(&member.pooler()).await?.is_some() {
            engine.stop_container(&member.pooler(), STOP_GRACE).await?;
        }
    }
    Ok(())
}

/// Removes a PgBouncer that does not run, so that it is made anew in the networks that are there.
///
/// # Errors
/// When the engine does not do it.
pub(super) async fn discard_stopped(ctx: &StepContext) -> Result<(), StepError> {
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    match engine.container(&member.pooler()).await? {
        Some(facts) if facts.state != "running" => {
            Ok(engine.remove_container(&member.pooler()).await?)
        }
        _ => Ok(()),
    }
}

/// Ends every pooled session.
///
/// # Errors
/// When the engine does not do it.
pub async fn restart(ctx: &StepContext) -> Result<(), StepError> {
    stop(ctx).await?;
    ensure_running(ctx).await
}

/// Removes container and volume; absent ones are success.
///
/// # Errors
/// When the engine does not do it.
pub async fn remove(ctx: &StepContext) -> Result<(), StepError> {
    for member in &ctx.members {
        let engine = ctx.engine(member)?;
        engine.remove_container(&member.pooler()).await?;
        engine.remove_volume(&member.pooler()).await?;
    }
    Ok(())
}

/// Gives a PgBouncer that is there the files of a server as it shall become, and lets it read them: its
/// clients go on.
///
/// # Errors
/// When the engine does not do it.
pub async fn follow(ctx: &StepContext, server: &Server) -> Result<(), StepError> {
    if !server.configuration.pooler.enabled {
        return Ok(());
    }
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    let Some(facts) = engine.container(&member.pooler()).await? else { return Ok(()) };
    engine.put_files(&member.pooler(), &files(ctx, server).await?).await?;
    if facts.state == "running" {
        engine.signal_container(&member.pooler(), "SIGHUP").await?;
    }
    Ok(())
}

/// Volume, container and files, running.
///
/// # Errors
/// When the engine does not do it.
pub(super) async fn ensure_container(ctx: &StepContext, server: &Server) -> Result<(), StepError> {
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    engine.ensure_volume(&member::pooler_volume(ctx, member)).await?;
    engine.ensure_container(&member::pooler_container(ctx, member)).await?;
    engine.put_files(&member.pooler(), &files(ctx, server).await?).await?;
    let state = engine.container(&member.pooler()).await?.map(|facts| facts.state);
    if state.as_deref() == Some("running") {
        engine.signal_container(&member.pooler(), "SIGHUP").await?;
    } else {
        engine.start_container(&member.pooler()).await?;
    }
    Ok(())
}

/// Where a running PgBouncer listens.
///
/// # Errors
/// When the engine does not answer.
pub(super) async fn address(ctx: &StepContext) -> Result<Option<SocketAddr>, StepError> {
    let member = ctx.member()?;
    let facts = ctx.engine(member)?.container(&member.pooler()).await?;
    let address = facts.filter(|facts| facts.state == "running").and_then(|facts| facts.address);
    Ok(address
        .and_then(|text| text.parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, pgbouncer::PORT)))
}

/// Done when PgBouncer takes clients and reaches PostgreSQL.
///
/// # Errors
/// When it ends again and again.
pub(super) async fn wait_answering(ctx: &StepContext) -> Result<Outcome, StepError> {
    const LOOK_EVERY: Duration = Duration::from_millis(250);
    let Some(address) = address(ctx).await? else { return ended(ctx).await };
    let target = Target { address, ..super::access::member_target(ctx).await? };
    match ctx.services.postgres.probe_pooler(&target).await {
        Ok(()) => Ok(Outcome::done()),
        Err(PostgresError::Silent(why)) => Ok(Outcome::Wait(LOOK_EVERY, why)),
        Err(refused) => Err(refused.into()),
    }
}

async fn ended(ctx: &StepContext) -> Result<Outcome, StepError> {
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    let lines = engine.tail(&member.pooler(), 20).await?;
    ctx.log_new(&lines).await;
    let last = lines.last().map_or("it wrote nothing", String::as_str);
    Err(StepError::permanent(
        format!("PgBouncer ends right after its start: {last}"),
        "The log below has its last lines. Save other settings, or the same again.",
    ))
}

/// Points the gateway's second port at PgBouncer. Who may pass is the server's own route's word.
///
/// # Errors
/// When the container has no address, or the store does not answer.
pub(super) async fn open_route(ctx: &StepContext, server: &Server) -> Result<(), StepError> {
    let Some(address) = address(ctx).await? else {
        return Err(StepError::Transient("PgBouncer's container has no address.".into()));
    };
    let mut tx = ctx.begin_write().await?;
    let most = server.configuration.pooler.max_client_conn;
    tx.set_pooler_route(&ctx.server.id, address, most).await?;
    ctx.commit(tx).await?;
    ctx.services.poke.routes();
    Ok(())
}

/// Closes the gateway's second port.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn close_route(ctx: &StepContext) -> Result<(), StepError> {
    let mut tx = ctx.begin_write().await?;
    tx.delete_pooler_route(&ctx.server.id).await?;
    ctx.commit(tx).await?;
    ctx.services.poke.routes();
    Ok(())
}

/// PgBouncer's own certificate for PostgreSQL, made once and kept.
///
/// # Errors
/// When it cannot be made or kept.
pub(super) async fn ensure_certificate(ctx: &StepContext) -> Result<(), StepError> {
    let (services, id) = (&ctx.services, &ctx.server.id);
    // Written in one transaction: when the key is there, all are.
    if open_secret(services, id, secret::POOLER_KEY).await?.is_some() {
        return Ok(());
    }
    let issued = ClientCertificates::issue(POOLER_ROLE, services.clock.now())
        .map_err(|error| StepError::permanent(error.to_string(), "Retry."))?;
    let parts = [
        (secret::POOLER_AUTHORITY, Secret::new(issued.authority)),
        (secret::POOLER_CERTIFICATE, Secret::new(issued.pair.certificate)),
        (secret::POOLER_KEY, issued.pair.key),
    ];
    let mut tx = ctx.begin_write().await?;
    for (name, value) in &parts {
        keep_secret(services, &mut tx, id, name, value, None).await?;
    }
    ctx.commit(tx).await
}

async fn files(ctx: &StepContext, server: &Server) -> Result<Vec<FileSpec>, StepError> {
    let (services, id) = (&ctx.services, &ctx.server.id);
    let certificate = need_secret(services, id, secret::SERVER_CERTIFICATE).await?;
    let key = need_secret(services, id, secret::SERVER_KEY).await?;
    let client_certificate = need_secret(services, id, secret::POOLER_CERTIFICATE).await?;
    let client_key = need_secret(services, id, secret::POOLER_KEY).await?;
    let tls = PoolerTls {
        certificate: certificate.reveal(),
        key: &key,
        root_certificate: &services.authority.certificate,
        client_certificate: client_certificate.reveal(),
        client_key: &client_key,
    };
    let settings = PoolerSettings {
        server_name: &internal_name(id),
        major: server.spec.major,
        configuration: &server.configuration,
    };
    Ok(member::collect(pgbouncer::all_files(&settings, &tls)))
}
