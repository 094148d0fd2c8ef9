//! What the overview says of a server: pure functions from what is stored and what was seen.

use super::storage_view::size_text;
use crate::domain::catalog::RESERVED_CONNECTIONS;
use crate::domain::cost::PriceList;
use crate::domain::operation::Operation;
use crate::domain::server::{
    Member, MemberFacts, MemberObservation, Server, ServerState, SettledState,
};
use crate::domain::storage::StorageLook;
use crate::web::label::{Chip, Icon, Tone};
use crate::web::paths;
use crate::web::time::{Stamp, ago_text, duration_text};
use chrono::{DateTime, Duration, Utc};

/// An observation older than this says nothing about now.
const STALE_AFTER: Duration = Duration::seconds(60);

/// When something was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub at: Stamp,
    /// "seen 8 s ago"
    pub text: String,
    pub stale: bool,
}

/// The same for what is measured once a minute.
const STALE_MINUTES_AFTER: Duration = Duration::seconds(180);

impl Seen {
    /// A value of the minute.
    pub fn measured(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let stale = now - at > STALE_MINUTES_AFTER;
        let text = format!("measured {}", ago_text(at, now));
        Self { at: Stamp(at), text: if stale { format!("{text}, stale") } else { text }, stale }
    }

    pub fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let stale = now - at > STALE_AFTER;
        let text = format!("seen {}", ago_text(at, now));
        Self { at: Stamp(at), text: if stale { format!("{text}, stale") } else { text }, stale }
    }
}

/// Whether PostgreSQL answers: the first thing a person wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub chip: Chip,
    /// A sentence.
    pub text: String,
    /// Why not, in the words of the probe; empty when there is nothing to say.
    pub why: String,
    pub seen: Option<Seen>,
}

const NOT_MEASURED: Chip = Chip::new("Not measured yet", Icon::Ring, Tone::Idle);
const ANSWERS: Chip = Chip::new("Answers queries", Icon::Check, Tone::Ok);
const SILENT: Chip = Chip::new("Does not answer", Icon::Cross, Tone::Danger);
const PAUSED: Chip = Chip::new("Interrupted", Icon::Pause, Tone::Busy);
const STALE: Chip = Chip::new("Not known now", Icon::Ring, Tone::Warn);

/// Puts the last observation into words. No observation and an old one are "not known", never "down".
pub fn answer(state: ServerState, seen: Option<&MemberObservation>, now: DateTime<Utc>) -> Answer {
    let plain = |chip, text: &str| Answer {
        chip,
        text: text.into(),
        why: String::new(),
        seen: seen.map(|look| Seen::new(look.observed_at, now)),
    };
    if let Some((chip, text)) = not_there(state) {
        return plain(chip, text);
    }
    let Some(look) = seen else {
        return plain(NOT_MEASURED, UNASKED);
    };
    if now - look.observed_at > STALE_AFTER {
        return plain(
            STALE,
            "Whether PostgreSQL answers now is not known: the last look is too old.",
        );
    }
    match (look.facts.accepts_queries, &*look.facts.container_state) {
        (Some(true), _) => plain(ANSWERS, "PostgreSQL answers queries."),
        (Some(false), _) => {
            let chip = if state == ServerState::Ready { SILENT } else { PAUSED };
            let why = look.facts.probe_error.clone().unwrap_or_default();
            Answer { why, ..plain(chip, "PostgreSQL does not answer queries.") }
        }
        (None, "running") => plain(NOT_MEASURED, UNASKED),
        (None, "missing") => plain(interrupted(state), "There is no container of this server."),
        (None, _) => Answer {
            why: exit_text(&look.facts),
            ..plain(
                interrupted(state),
                "The container is not running, so PostgreSQL does not answer.",
            )
        },
    }
}

fn interrupted(state: ServerState) -> Chip {
    if state == ServerState::Ready { SILENT } else { PAUSED }
}

/// States in which nobody can use the server, whatever was seen.
fn not_there(state: ServerState) -> Option<(Chip, &'static str)> {
    match state {
        ServerState::Provisioning => Some((
            Chip::new("Not yet", Icon::Ring, Tone::Busy),
            "The server is being created. It can be used when the last step is done.",
        )),
        ServerState::Failed => Some((
            Chip::new("No", Icon::Cross, Tone::Danger),
            "The server was not created, so there is nothing to connect to.",
        )),
        ServerState::Stopped => Some((
            Chip::new("Stopped", Icon::Pause, Tone::Idle),
            "The server is stopped: start it to connect. Nothing is lost.",
        )),
        ServerState::Dropping => {
            Some((Chip::new("No longer", Icon::Minus, Tone::Idle), "The server is being deleted."))
        }
        ServerState::Ready
        | ServerState::Starting
        | ServerState::Stopping
        | ServerState::Restarting
        | ServerState::Updating
        | ServerState::Disabled
        | ServerState::Inaccessible => None,
    }
}

const UNASKED: &str = "Nobody has asked PostgreSQL yet. The monitor looks every 15 s.";

fn exit_text(facts: &MemberFacts) -> String {
    match facts.exit_code {
        Some(code) => format!("It is {} with exit code {code}.", facts.container_state),
        None => format!("It is {}.", facts.container_state),
    }
}

/// One entry of the essentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub term: &'static str,
    pub value: String,
    /// A second line; empty for none.
    pub note: String,
    /// The value in full where it is shown in short; empty otherwise.
    pub title: String,
}

fn fact(term: &'static str, value: impl Into<String>) -> Fact {
    Fact { term, value: value.into(), note: String::new(), title: String::new() }
}

fn noted(term: &'static str, value: impl Into<String>, note: impl Into<String>) -> Fact {
    Fact { note: note.into(), ..fact(term, value) }
}

/// What the essentials are made of.
pub struct Known<'a> {
    pub server: &'a Server,
    pub member: Option<&'a Member>,
    pub region: String,
    pub host: Option<String>,
    /// Name of its virtual network.
    pub network: Option<String>,
    pub prices: &'a PriceList,
    /// The last look at how full its storage is.
    pub storage: Option<StorageLook>,
    /// What its page says of high availability; `None` without.
    pub ha: Option<HaNote>,
}

impl Known<'_> {
    /// Zone of the primary.
    fn zone(&self) -> &str {
        let placed = self.member.map_or("", |member| &member.zone);
        if placed.is_empty() { &self.server.spec.zone } else { placed }
    }
}

/// High availability in short.
pub struct HaNote {
    /// "Healthy"
    pub state: &'static str,
    pub mode: &'static str,
    /// "Commits are on 2 hosts now"
    pub commits: String,
    pub standby_zone: String,
    /// "Planned failover, 2026-11-23 09:14:03 UTC"; empty when there was none.
    pub last: String,
}

fn high_availability(ha: Option<&HaNote>) -> Fact {
    let Some(ha) = ha else {
        return noted("High availability", "Not enabled", "Commits are on 1 host.");
    };
    let last = match ha.last.as_str() {
        "" => "no failover yet".to_owned(),
        last => format!("last failover: {last}"),
    };
    noted(
        "High availability",
        format!("{}, {}", ha.state, ha.mode.to_lowercase()),
        format!("{}. Standby zone {}; {last}.", ha.commits, ha.standby_zone),
    )
}

/// The essentials, in the order of reading.
pub fn essentials(known: &Known<'_>) -> Vec<Fact> {
    let spec = &known.server.spec;
    let (sku, storage) = (spec.sku(), spec.storage());
    vec![
        version(known),
        noted(
            "Compute",
            format!("{}, {}", sku.tier.label(), sku.short_name()),
            format!("{} · {} GiB memory", plural(sku.vcores, "vCore"), sku.memory_gib),
        ),
        noted(
            "Storage",
            storage.label(),
            format!(
                "{} · up to {} IOPS",
                used(known.storage.as_ref()),
                grouped(sku.effective_iops(storage))
            ),
        ),
        noted(
            "Connections",
            format!("{} at most", grouped(sku.max_connections)),
            format!("{RESERVED_CONNECTIONS} of them are kept for the service"),
        ),
        noted("Region and zone", format!("{}, zone {}", known.region, known.zone()), host(known)),
        access(known),
        high_availability(known.ha.as_ref()),
        estimate(known),
    ]
}

fn used(look: Option<&StorageLook>) -> String {
    match look {
        Some(look) => {
            let usage = &look.usage;
            format!("{} used, {} % full", size_text(usage.used), usage.percent())
        }
        None => "used space not measured yet".into(),
    }
}

fn version(known: &Known<'_>) -> Fact {
    let major = known.server.spec.major;
    let told = known.member.map_or("", |member| member.postgres_version.as_str());
    let supported =
        format!("major {} is supported until {}", major.number(), major.supported_until());
    if told.is_empty() {
        noted("PostgreSQL", format!("{}, minor not measured yet", major.number()), supported)
    } else {
        noted("PostgreSQL", told, supported)
    }
}

fn host(known: &Known<'_>) -> String {
    match &known.host {
        Some(host) => format!("on host {host}"),
        None => "not placed on a host".into(),
    }
}

fn access(known: &Known<'_>) -> Fact {
    use crate::domain::network::Access;
    match (known.server.spec.access, &known.network) {
        (Access::Public, _) => noted("Access", "Public", "through the gateway, by firewall rules"),
        (Access::Private, Some(network)) => {
            noted("Access", "Private", format!("in the virtual network {network}"))
        }
        (Access::Private, None) => noted("Access", "Private", "from its own Docker network only"),
    }
}

fn estimate(known: &Known<'_>) -> Fact {
    let (prices, spec) = (known.prices, &known.server.spec);
    let estimate = prices.estimate(spec.sku(), spec.storage());
    let basis = if prices.is_example { "by the example price list" } else { "by your price list" };
    if known.server.settled == SettledState::Stopped {
        return noted(
            "Monthly estimate while stopped",
            prices.text(estimate.storage),
            format!("storage alone; with compute {}, {basis}", prices.text(estimate.total())),
        );
    }
    noted(
        "Monthly estimate",
        prices.text(estimate.total()),
        format!(
            "compute {}, storage {}, {basis}",
            prices.text(estimate.compute),
            prices.text(estimate.storage)
        ),
    )
}

/// What was last seen of the container.
pub struct ContainerView {
    pub chip: Chip,
    pub seen: Seen,
    pub rows: Vec<Fact>,
    pub started: Option<(Stamp, String)>,
}

/// The container as observed; `None` while nobody has looked.
pub fn container(
    member: Option<&Member>,
    seen: Option<&MemberObservation>,
    state: ServerState,
    now: DateTime<Utc>,
) -> Option<ContainerView> {
    let (member, look) = (member?, seen?);
    let facts = &look.facts;
    let mut rows = vec![fact("Container", member.container())];
    if !facts.container_id.is_empty() {
        let short: String = facts.container_id.chars().take(12).collect();
        rows.push(fact("Container id", short));
    }
    rows.extend(facts.exit_code.map(|code| fact("Exit code", code.to_string())));
    rows.push(fact("Restarts by the engine", facts.restarts.to_string()));
    rows.push(fact("Address", facts.address.clone().unwrap_or_else(|| "none".into())));
    rows.push(fact("Memory limit", limit(facts.memory_limit_bytes > 0, memory_text(facts))));
    rows.push(fact("CPU limit", limit(facts.cpu_limit > 0.0, cpu_text(facts.cpu_limit))));
    if !member.image.is_empty() {
        rows.push(image(member));
    }
    rows.push(fact("Volume", member.volume()));
    let ago = |at: DateTime<Utc>| format!("up {}", duration_text(whole_seconds(now - at)));
    Some(ContainerView {
        chip: container_chip(&facts.container_state, state),
        seen: Seen::new(look.observed_at, now),
        started: facts
            .started_at
            .filter(|_| facts.container_state == "running")
            .map(|at| (Stamp(at), ago(at))),
        rows,
    })
}

/// The version and the first digits of the image's digest; all of them in the title.
fn image(member: &Member) -> Fact {
    let digest = member.image.strip_prefix("sha256:");
    let short = digest.map_or(&*member.image, |digits| digits.get(..12).unwrap_or(digits));
    let value = match member.postgres_version.as_str() {
        "" => short.to_owned(),
        version => format!("{version} · {short}"),
    };
    Fact { title: member.image.clone(), ..fact("Image", value) }
}

fn whole_seconds(length: Duration) -> Duration {
    Duration::seconds(length.num_seconds().max(0))
}

fn limit(is_set: bool, text: String) -> String {
    if is_set { text } else { "none".into() }
}

fn memory_text(facts: &MemberFacts) -> String {
    const MIB: u64 = 1 << 20;
    let mib = facts.memory_limit_bytes / MIB;
    if mib >= 1024 && mib.is_multiple_of(1024) {
        format!("{} GiB", mib / 1024)
    } else {
        format!("{mib} MiB")
    }
}

fn cpu_text(cpus: f64) -> String {
    if (cpus - 1.0).abs() < 0.005 {
        return "1 vCore".into();
    }
    let text = format!("{cpus:.2}");
    format!("{} vCores", text.trim_end_matches('0').trim_end_matches('.'))
}

fn container_chip(state: &str, server: ServerState) -> Chip {
    match state {
        // What a person stopped is no fault.
        "exited" if server == ServerState::Stopped => Chip::new("Stopped", Icon::Pause, Tone::Idle),
        "running" => Chip::new("Running", Icon::Check, Tone::Ok),
        "created" => Chip::new("Created, not started", Icon::Ring, Tone::Idle),
        "restarting" => Chip::new("Restarting", Icon::Spinner, Tone::Busy),
        "paused" => Chip::new("Paused", Icon::Pause, Tone::Warn),
        "removing" => Chip::new("Being removed", Icon::Spinner, Tone::Busy),
        "exited" => Chip::new("Exited", Icon::Cross, Tone::Danger),
        "dead" => Chip::new("Dead", Icon::Cross, Tone::Danger),
        "missing" => Chip::new("No container", Icon::Minus, Tone::Warn),
        _ => Chip::new("Unknown state", Icon::Warning, Tone::Warn),
    }
}

/// A line of the recent operations.
pub struct RecentOperation {
    pub label: &'static str,
    pub path: String,
    pub chip: Chip,
    pub by: String,
    pub at: Stamp,
    /// How long it took or has taken.
    pub took: String,
}

pub fn recent(operation: &Operation, now: DateTime<Utc>) -> RecentOperation {
    let took = match (operation.started_at, operation.ended_at) {
        (Some(start), Some(end)) => duration_text(end - start),
        (Some(start), None) => format!("for {}", duration_text(whole_seconds(now - start))),
        (None, _) => "not begun".into(),
    };
    RecentOperation {
        label: operation.kind.label(),
        path: paths::operation(&operation.id),
        chip: operation.status.into(),
        by: operation.requested_by.clone(),
        at: Stamp(operation.created_at),
        took,
    }
}

pub fn plural(count: u32, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Digits in groups of three: `12,800`.
pub fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[path = "overview_view_tests.rs"]
mod tests;
