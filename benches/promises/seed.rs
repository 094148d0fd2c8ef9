//! A store with a past: servers, members, observations, operations with their steps, activity. Written by the
//! store's own functions only.

#[path = "seed_looks.rs"]
mod looks;

use crate::portal::{PORTS, Portal, spec};
use anyhow::Context;
use chrono::Duration;
use pgflex::clock::new_id;
use pgflex::domain::activity::{ActivityOutcome, Actor, NewActivity};
use pgflex::domain::ha::MemberRole;
use pgflex::domain::host::EngineFacts;
use pgflex::domain::ids::{HostId, MemberId, NetworkId, OperationId, RuleId, ServerId};
use pgflex::domain::names::Tag;
use pgflex::domain::network::{AddressRange, FirewallRule};
use pgflex::domain::operation::{OperationKind, OperationStatus, StepStatus};
use pgflex::domain::route::RouteState;
use pgflex::domain::server::{Member, MemberFacts, SettledState};
use pgflex::operations::runner::plan;
use pgflex::store::operations::NewOperation;
use pgflex::store::progress::{OperationChange, StepChange};
use pgflex::store::{Record, WriteTx};

/// Lines in the log of the operation whose page is measured.
const LOG_LINES: usize = 60;

/// What the pages' addresses are filled with.
pub struct Seeded {
    pub server: ServerId,
    pub rule: RuleId,
    pub operation: OperationId,
    pub network: NetworkId,
    pub servers: usize,
    pub operations: usize,
    pub activities: usize,
}

/// Fills an empty store. Ports beyond the range of the gateway are not opened by any.
pub async fn fill(portal: &Portal, servers: usize) -> anyhow::Result<Seeded> {
    let host = host(portal).await?;
    let mut names = vec![];
    let mut lines = vec![];
    let mut observed = vec![];
    let mut rule = None;
    let mut tx = portal.store.begin_write(portal.clock.now() - Duration::days(3)).await?;
    for at in 0..servers {
        let id: ServerId = new_id(ServerId::parse);
        let name = format!("team-{}-db-{at:04}", at % 37);
        let (member, last_rule) = server(&mut tx, &id, &name, at, &host).await?;
        rule = Some(last_rule);
        observed.push((member.id.clone(), facts(at)));
        for kind in [OperationKind::Create, OperationKind::Restart, OperationKind::RenewCertificate]
        {
            lines.push(ended(&mut tx, kind, (&id, &name), at).await?);
        }
        tx.set_settled(&id, settled(at)).await?;
        tx.follow_meters(&id, settled(at)).await?;
        names.push((id, name));
    }
    let (operations, activities) = (lines.len() + 1, lines.len() * 2 + 1);
    let more: Vec<NewActivity> = lines.iter().map(rule_change).collect();
    lines.extend(more);
    tx.commit(Record::Activities(lines)).await?;
    portal.store.observe_members(portal.clock.now(), &observed).await?;
    let (server, name) = names.swap_remove(servers / 2);
    let operation = with_log(portal, &server, &name).await?;
    let rule = rule.context("no server was made")?;
    let network = looks::fill(portal, &server).await?;
    Ok(Seeded { server, rule, operation, network, servers, operations, activities })
}

/// The host of the configuration, seen once.
async fn host(portal: &Portal) -> anyhow::Result<HostId> {
    let wanted: Vec<_> = portal
        .config
        .hosts
        .iter()
        .map(|host| (host.name.clone(), host.address.clone(), vec![]))
        .collect();
    let hosts = portal.store.register_hosts(portal.clock.now(), &wanted).await?;
    let id = hosts.first().context("no host")?.id.clone();
    let facts = EngineFacts {
        engine_id: "bench".into(),
        engine_version: "20.10.24".into(),
        operating_system: "Debian GNU/Linux 12".into(),
        kernel: "6.1".into(),
        cpus: 1024,
        memory_bytes: 4096 << 30,
        storage_total_bytes: Some(64 << 40),
        storage_free_bytes: Some(32 << 40),
        images: vec!["pgflex/postgres:17-r1".into()],
        ranges: vec![],
        clock_ahead_ms: None,
    };
    portal.store.observe_host(&id, portal.clock.now(), &facts, &[]).await?;
    Ok(id)
}

fn settled(at: usize) -> SettledState {
    if at % 50 == 7 { SettledState::Failed } else { SettledState::Ready }
}

async fn server(
    tx: &mut WriteTx,
    id: &ServerId,
    name: &str,
    at: usize,
    host: &HostId,
) -> anyhow::Result<(Member, RuleId)> {
    let mut spec =
        spec(name, if at.is_multiple_of(3) { "Standard_D2ds_v5" } else { "Standard_B1ms" })?;
    spec.region = if at.is_multiple_of(4) { "eastus" } else { "westeurope" }.into();
    let tag = |name: &str, value: String| Tag { name: name.into(), value };
    spec.tags = vec![
        tag("team", format!("t{}", at % 37)),
        tag("env", if at.is_multiple_of(5) { "prod" } else { "dev" }.into()),
    ];
    let port = PORTS.0 + u16::try_from(at).unwrap_or(0);
    tx.insert_server(id, &spec, port, None).await?;
    let member = Member {
        id: new_id(MemberId::parse),
        server_id: id.clone(),
        host_id: host.clone(),
        generation: 1,
        image: "pgflex/postgres:17-r1".into(),
        postgres_version: "17.12".into(),
        disk: None,
        zone: String::new(),
        port: None,
        role: MemberRole::Primary,
    };
    tx.insert_member(&member).await?;
    tx.set_member_image(&member.id, &member.image, &member.postgres_version).await?;
    let target = format!("172.30.{}.{}:5432", at / 250, at % 250 + 2).parse()?;
    tx.set_route(id, Some(target), RouteState::Open).await?;
    let mut last = new_id(RuleId::parse);
    for (name, first, end) in
        [("office", "203.0.113.0", "203.0.113.255"), ("vpn", "198.51.100.7", "")]
    {
        let range =
            AddressRange::parse(first, end).map_err(|refusal| anyhow::anyhow!(refusal.text))?;
        last = new_id(RuleId::parse);
        tx.save_firewall_rule(id, &FirewallRule { id: last.clone(), name: name.into(), range })
            .await?;
    }
    Ok((member, last))
}

fn facts(at: usize) -> MemberFacts {
    MemberFacts {
        container_state: "running".into(),
        container_id: format!("{at:064x}"),
        started_at: None,
        restarts: 0,
        exit_code: None,
        address: Some(format!("172.30.{}.{}", at / 250, at % 250 + 2)),
        memory_limit_bytes: 2 << 30,
        cpu_limit: 1.0,
        accepts_queries: Some(true),
        probe_error: None,
    }
}

/// An operation that has ended, with its steps; gives its line for the log.
async fn ended(
    tx: &mut WriteTx,
    kind: OperationKind,
    (server, name): (&ServerId, &str),
    at: usize,
) -> anyhow::Result<NewActivity> {
    let id: OperationId = new_id(OperationId::parse);
    let steps = insert(tx, kind, &id, (server, name)).await?;
    let failed = at % 50 == 7 && kind == OperationKind::Create;
    let status = if failed { OperationStatus::Failed } else { OperationStatus::Succeeded };
    finish(tx, &id, steps, status).await?;
    let outcome = if failed { ActivityOutcome::Failed } else { ActivityOutcome::Succeeded };
    Ok(NewActivity {
        actor: Actor {
            user_id: None,
            name: format!("user-{}", at % 20),
            address: "203.0.113.9".into(),
        },
        action: kind.action(),
        subject: name.to_owned(),
        server_id: Some(server.clone()),
        operation_id: Some(id),
        outcome,
        detail: String::new(),
    })
}

fn rule_change(line: &NewActivity) -> NewActivity {
    NewActivity {
        action: "firewall_rule.save",
        operation_id: None,
        outcome: ActivityOutcome::Succeeded,
        detail: "office 203.0.113.0 - 203.0.113.255".into(),
        ..line.clone()
    }
}

async fn insert(
    tx: &mut WriteTx,
    kind: OperationKind,
    id: &OperationId,
    (server_id, server_name): (&ServerId, &str),
) -> anyhow::Result<usize> {
    let plan = plan(kind, false);
    let steps = plan.len();
    let new = NewOperation {
        id: id.clone(),
        kind,
        server_id,
        server_name,
        input: serde_json::Value::Null,
        requested_by: "bench",
        requested_from: "203.0.113.9",
        idempotency_key: None,
        retry_of: None,
        plan,
    };
    tx.insert_operation(&new).await?;
    Ok(steps)
}

async fn finish(
    tx: &mut WriteTx,
    id: &OperationId,
    steps: usize,
    status: OperationStatus,
) -> anyhow::Result<()> {
    let done = StepChange {
        status: Some(StepStatus::Done),
        begins: true,
        ends: true,
        ..Default::default()
    };
    for ordinal in 0..i64::try_from(steps)? {
        tx.change_step(id, ordinal, &done).await?;
    }
    let error = (status == OperationStatus::Failed).then_some("No host can take this server.");
    tx.change_operation(id, &OperationChange { status: Some(status), error, ..Default::default() })
        .await?;
    Ok(())
}

/// One operation with a long log, which only the holder of its lease may write.
async fn with_log(portal: &Portal, server: &ServerId, name: &str) -> anyhow::Result<OperationId> {
    let (store, now) = (&portal.store, portal.clock.now());
    let id: OperationId = new_id(OperationId::parse);
    let mut tx = store.begin_write(now).await?;
    let steps = insert(&mut tx, OperationKind::Restart, &id, (server, name)).await?;
    tx.commit(Record::Nothing("seeded")).await?;
    let lease = store
        .claim_operation("bench", now, now + Duration::minutes(1))
        .await?
        .context("nothing to claim")?;
    let lines: Vec<String> = (0..LOG_LINES)
        .map(|at| format!("2026-01-01 LOG:  line {at} of the log, of usual length"))
        .collect();
    store.append_operation_log(&lease, now, "stop_member", &lines).await?;
    let mut tx = store.begin_write(now).await?;
    finish(&mut tx, &id, steps, OperationStatus::Succeeded).await?;
    tx.commit(Record::Nothing("seeded")).await?;
    Ok(id)
}
