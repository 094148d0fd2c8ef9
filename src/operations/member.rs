//! What several operations do to a member: descriptions of its objects, its files, waiting for it, its route.

use super::access::{self, need_secret, secret};
use super::context::{OperationSettings, StepContext};
use super::step::{Outcome, StepError};
use super::{backup, ha, networks, pair, pooler};
use crate::domain::credits::effective_vcores;
use crate::domain::drift::{Keeper, SeenContainer, Wanted};
use crate::domain::ha::{HighAvailability, MemberRole, ReplicationState};
use crate::domain::network::Access;
use crate::domain::route::RouteState;
use crate::domain::server::{Member, Server, network_name};
use crate::engine::blueprint::Blueprint;
use crate::engine::{
    ContainerFacts, ContainerSpec, DiskSpec, Engine, FileSpec, NetworkSpec, VolumeSpec,
};
use crate::postgres::PostgresError;
use crate::postgres::conf::{self, ConfigFile, Replication, Settings, TlsFiles};
use crate::secrets::Secret;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Names and addresses that a server's certificate carries: its endpoint, its name alone as containers in
/// its networks know it, what every endpoint is reached by here, and a name of the portal's own that no change of the configuration touches.
pub fn certificate_names(settings: &OperationSettings, server: &Server) -> Vec<String> {
    let endpoint = settings.endpoint_of(server.spec.name.as_str());
    let mut names =
        vec![endpoint, settings.endpoint_host.clone(), access::internal_name(&server.id)];
    for local in [server.spec.name.as_str(), "localhost", "127.0.0.1", "::1"] {
        if !names.iter().any(|name| name == local) {
            names.push(local.into());
        }
    }
    names
}

fn blueprint<'a>(ctx: &'a StepContext, member: &'a Member) -> Blueprint<'a> {
    blueprint_of(ctx, &ctx.server, member)
}

/// What the objects of a member are described from, for a server as given.
pub fn blueprint_of<'a>(
    ctx: &'a StepContext,
    server: &'a Server,
    member: &'a Member,
) -> Blueprint<'a> {
    let settings = &ctx.services.settings;
    Blueprint {
        install_id: &settings.install_id,
        server,
        member,
        operation: &ctx.operation.id,
        is_test: settings.is_test,
    }
}

/// The server's own network; [`networks::ensure`] makes it together with its virtual network.
pub fn network(ctx: &StepContext, member: &Member) -> NetworkSpec {
    blueprint(ctx, member).network()
}

pub fn volume(ctx: &StepContext, member: &Member) -> VolumeSpec {
    blueprint(ctx, member).volume()
}

/// The sized disk of a member; `None` for a plain volume.
pub fn disk(ctx: &StepContext, member: &Member) -> Option<DiskSpec> {
    blueprint(ctx, member).disk(&member.image)
}

/// What a member shall be on its host, to be compared with what is seen of it. `is_held`: without CPU credits;
/// `has_ha`: its server has high availability.
pub fn wanted(server: &Server, member: &Member, is_held: bool, has_ha: bool) -> Wanted {
    let sku = server.spec.sku();
    Wanted {
        container: member.container(),
        image: member.image.clone(),
        vcores: effective_vcores(sku, is_held),
        memory_bytes: sku.memory_bytes(),
        network: network_name(&server.id),
        volume: member.volume(),
        data_volume: member.data_volume(),
        image_tag: server.spec.major.image_tag(),
        keeper: match member.role {
            _ if !has_ha => Keeper::Engine,
            MemberRole::Primary => Keeper::Pair,
            MemberRole::Standby | MemberRole::Former => Keeper::PairStandby,
        },
    }
}

/// What an engine said of a container, as the comparison takes it.
pub fn seen(facts: &ContainerFacts) -> SeenContainer {
    SeenContainer {
        state: facts.state.clone(),
        exit_code: facts.exit_code,
        image: facts.image.clone(),
        vcores: facts.cpu_limit,
        memory_bytes: facts.memory_limit_bytes,
        networks: facts.networks.clone(),
        volume: facts.volume.clone(),
        restarts_by_itself: facts.restarts_by_itself,
    }
}

pub fn init_container(ctx: &StepContext, member: &Member) -> ContainerSpec {
    blueprint(ctx, member).init_container(&member.image)
}

pub fn container(ctx: &StepContext, member: &Member) -> ContainerSpec {
    let joins = networks::join(&ctx.services.settings, &ctx.server).into_iter().collect();
    let publish = access::published_address(&ctx.services, member);
    // A member of a pair is started by the pair alone (N1).
    let restart = ctx.ha.is_none();
    let container = blueprint(ctx, member).member_container(&member.image);
    ContainerSpec { joins, publish, restart, ..container }
}

pub fn pooler_volume(ctx: &StepContext, member: &Member) -> VolumeSpec {
    blueprint(ctx, member).pooler_volume()
}

pub fn pooler_container(ctx: &StepContext, member: &Member) -> ContainerSpec {
    blueprint(ctx, member).pooler_container(&member.image)
}

/// Configuration and certificates, as files below the volume.
pub async fn files(ctx: &StepContext) -> Result<Vec<FileSpec>, StepError> {
    files_of(ctx, &ctx.server).await
}

/// The same for a server as it shall become.
pub async fn files_of(ctx: &StepContext, server: &Server) -> Result<Vec<FileSpec>, StepError> {
    files_by(ctx, server, ctx.ha.as_ref()).await
}

/// The same by a row of its pair that is newer than the step's context.
pub async fn files_by(
    ctx: &StepContext,
    server: &Server,
    row: Option<&HighAvailability>,
) -> Result<Vec<FileSpec>, StepError> {
    let replication = ha::files::replication(ctx, row, ctx.member()?).await?;
    let server = match replication {
        Replication::Standby { .. } => pair::not_below_primary(ctx, server).await?,
        _ => server.clone(),
    };
    let settings = Settings::of(&server).admitting(networks::admission(ctx, &server).await?);
    let (archiving, archive_files) = backup::files::archive(ctx).await?;
    let settings = settings.replicating(replication).archiving(archiving);
    let mut files = collect(conf::all_files(&settings, &tls(ctx).await?.borrow()));
    files.extend(archive_files);
    if row.is_some() {
        files.extend(ha::files::certificates(ctx).await?);
    }
    Ok(files)
}

/// The certificates alone.
pub async fn certificate_files(ctx: &StepContext) -> Result<Vec<FileSpec>, StepError> {
    Ok(collect(conf::tls_files(&tls(ctx).await?.borrow())))
}

/// The opened secrets, kept while files are rendered from them.
struct Tls {
    certificate: Secret,
    key: Secret,
    client_authority: Secret,
}

impl Tls {
    fn borrow(&self) -> TlsFiles<'_> {
        TlsFiles {
            certificate: self.certificate.reveal(),
            key: &self.key,
            client_authority: self.client_authority.reveal(),
        }
    }
}

async fn tls(ctx: &StepContext) -> Result<Tls, StepError> {
    let (services, id) = (&ctx.services, &ctx.server.id);
    // PgBouncer's certificate and those of standbys and backups have authorities of their own: PostgreSQL reads all from one file.
    let portal = need_secret(services, id, secret::CLIENT_AUTHORITY).await?;
    let pooler = access::open_secret(services, id, secret::POOLER_AUTHORITY).await?;
    let standbys = access::open_secret(services, id, secret::REPLICATION_AUTHORITY).await?;
    let backups = access::open_secret(services, id, secret::BACKUP_AUTHORITY).await?;
    let others = [pooler, standbys, backups].map(Option::unwrap_or_default);
    let all = std::iter::once(&portal).chain(&others).map(Secret::reveal).collect::<String>();
    Ok(Tls {
        certificate: need_secret(services, id, secret::SERVER_CERTIFICATE).await?,
        key: need_secret(services, id, secret::SERVER_KEY).await?,
        client_authority: Secret::new(all),
    })
}

/// Rendered files as an engine puts them.
pub fn collect(files: Vec<ConfigFile>) -> Vec<FileSpec> {
    files
        .into_iter()
        .map(|file| FileSpec { path: file.path, mode: file.mode, content: file.content })
        .collect()
}

/// What `initdb` wrote, without empty lines and without its advice on how to start the server by hand.
pub fn without_chatter(lines: &[String]) -> Vec<String> {
    let useful = lines.iter().take_while(|line| !line.starts_with("Success."));
    useful.filter(|line| !line.trim().is_empty()).cloned().collect()
}

/// The refusal of a step whose `initdb` ended badly, with its last line.
pub fn init_failed(code: i64, lines: &[String]) -> StepError {
    let last = lines
        .iter()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map_or("it wrote nothing", String::as_str);
    StepError::permanent(
        format!("initdb ended with code {code}: {last}"),
        "The log below has all it wrote. Mend what it names (often the host's disk), then retry.",
    )
}

/// How long one call of a waiting step looks again and again before it gives its turn back.
const LOOK_FOR: Duration = Duration::from_secs(3);
/// Time between two looks: what a person waits longer than needed, at most.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Done when PostgreSQL answers a query; says meanwhile what it waits for.
pub async fn wait_accepting(ctx: &StepContext) -> Result<Outcome, StepError> {
    let begun = tokio::time::Instant::now();
    loop {
        match look_accepting(ctx).await? {
            Outcome::Wait(_, why) if begun.elapsed() >= LOOK_FOR => {
                return Ok(Outcome::Wait(Duration::from_millis(200), why));
            }
            Outcome::Wait(..) => tokio::time::sleep(LOOK_EVERY).await,
            done @ Outcome::Done(_) => return Ok(done),
        }
    }
}

async fn look_accepting(ctx: &StepContext) -> Result<Outcome, StepError> {
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    let Some(facts) = engine.container(&member.container()).await? else {
        let advice = "Somebody removed it on the host. Retry.";
        return Err(StepError::permanent("The container is gone.", advice));
    };
    if facts.state == "exited" || facts.restarts > RESTARTS_MAX {
        return Err(ended_at_once(ctx, engine, member).await);
    }
    let Some(address) = access::address_of(engine, member).await? else {
        return Ok(Outcome::Wait(LOOK_EVERY, "the container is starting".into()));
    };
    let target = access::target(&ctx.services, &ctx.server, address).await?;
    match ctx.services.postgres.probe(&target).await {
        Ok(probe) => {
            let mut tx = ctx.begin_write().await?;
            tx.set_member_image(&member.id, &member.image, &probe.version).await?;
            ctx.commit(tx).await?;
            Ok(Outcome::Done(json!({ "version": probe.version })))
        }
        Err(PostgresError::Silent(why)) => Ok(Outcome::Wait(LOOK_EVERY, why)),
        Err(refused) => Err(refused.into()),
    }
}

/// Starts again by the engine before we say that it will not run.
const RESTARTS_MAX: i64 = 3;

async fn ended_at_once(ctx: &StepContext, engine: &Arc<dyn Engine>, member: &Member) -> StepError {
    let lines = engine.tail(&member.container(), 40).await.unwrap_or_default();
    ctx.log_new(&lines).await;
    // The line that says why comes before the one that says good-bye.
    let why = lines.iter().rev().find(|line| line.contains("FATAL:") || line.contains("PANIC:"));
    let last = why.or(lines.last()).cloned().unwrap_or_default();
    let what = format!("PostgreSQL ends right after its start: {last}");
    StepError::permanent(
        what,
        "The log below has its last lines. Mend what they name (often the host's memory or disk), then retry.",
    )
}

/// Points the gateway at the member, open or closed as the server's access says.
pub async fn open_route(ctx: &StepContext) -> Result<Outcome, StepError> {
    let member = ctx.member()?;
    let Some(address) = access::address_of(ctx.engine(member)?, member).await? else {
        return Err(StepError::Transient("The container has no address.".into()));
    };
    let state = match ctx.server.spec.access {
        Access::Public => RouteState::Open,
        Access::Private => RouteState::Closed,
    };
    let mut tx = ctx.begin_write().await?;
    if tx.ha(&ctx.server.id).await?.is_some_and(|row| !lets_in(&row, member)) {
        drop(tx);
        ctx.log(
            "The pair lets connections in itself, when its primary shows nothing that may be lost",
        )
        .await;
        return Ok(Outcome::done());
    }
    tx.set_route(&ctx.server.id, Some(address), state).await?;
    ctx.commit(tx).await?;
    ctx.services.poke.routes();
    bring_pooler(ctx).await?;
    Ok(Outcome::Done(json!({ "address": address.to_string() })))
}

/// Whether a pair has its way open to this member (C3, F4). In the other states whoever began them opens it, and the
/// watch over pairs sees to that: a rescue runs beside other changes, and none of those may open what it holds.
fn lets_in(row: &HighAvailability, member: &Member) -> bool {
    use ReplicationState as S;
    row.primary.as_ref().is_none_or(|primary| *primary == member.id)
        && !matches!(row.state, S::Restarting | S::Switching | S::Promoting)
}

/// PgBouncer comes up with its server. One that cannot is no reason to keep people from PostgreSQL, and the
/// page of pooling shows it.
async fn bring_pooler(ctx: &StepContext) -> Result<(), StepError> {
    match pooler::ensure_running(ctx).await {
        Err(StepError::Permanent { what, .. }) => {
            ctx.log(format!("PgBouncer did not come up: {what}")).await;
            Ok(())
        }
        other => other,
    }
}

/// Writes the route and wakes the gateway of this process.
pub async fn set_route(
    ctx: &StepContext,
    target: Option<std::net::SocketAddr>,
    state: RouteState,
) -> Result<(), StepError> {
    let mut tx = ctx.begin_write().await?;
    tx.set_route(&ctx.server.id, target, state).await?;
    ctx.commit(tx).await?;
    ctx.services.poke.routes();
    Ok(())
}
