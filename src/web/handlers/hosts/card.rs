//! One host as a card.

use super::capacity::{self, Resource, gib_text};
use super::orphans::{self, OrphanRow};
use super::{Seen, is_stale};
use crate::config::Config;
use crate::domain::catalog::Sku;
use crate::domain::drift::Drift;
use crate::domain::host::{EngineFacts, Host, HostObservation, HostOrigin};
use crate::domain::placement::HostLoad;
use crate::domain::server::{MemberFacts, ServerState};
use crate::store::hosts_view::MemberOnHost;
use crate::web::handlers::servers::drift_notice;
use crate::web::label::{Chip, Icon, Tone};
use crate::web::paths;
use crate::web::time::{Stamp, ago_text};
use chrono::{DateTime, Utc};

/// A host with everything known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct HostCard {
    /// Part of element ids.
    pub id: String,
    pub name: String,
    pub address: String,
    pub chip: Chip,
    /// Which zones it serves.
    pub serves: Vec<String>,
    pub looked: Option<Look>,
    /// Why the last look got no answer.
    pub silent: Option<Silence>,
    /// What the engine said last; with the time when it did.
    pub facts: Option<FactsView>,
    pub resources: Vec<Resource>,
    pub servers: u32,
    pub members: Vec<MemberRow>,
    /// Members beyond those listed.
    pub more_members: usize,
    pub orphans: Vec<OrphanRow>,
    /// It is on record but no longer in the configuration.
    pub is_left: bool,
    /// Who says that it is there.
    pub origin: &'static str,
    /// The page where it is changed, when it is one of the Hosts page.
    pub edit: String,
    pub is_changed_here: bool,
    /// Where members are reached; empty for their containers' addresses.
    pub way: String,
}

/// When somebody looked.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub at: Stamp,
    pub ago: String,
    pub is_stale: bool,
}

/// An engine that does not answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Silence {
    pub error: String,
    /// The last answer, if there was one.
    pub last_answer: Option<Look>,
}

/// What an engine said of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct FactsView {
    pub looked: Look,
    pub engine: String,
    pub system: String,
    pub kernel: String,
    pub cpus: u32,
    pub memory: String,
    /// Total and free disk, or that it was not measured.
    pub disk: String,
    pub images: Vec<String>,
    pub clock: String,
    /// What a clock that differs much means; empty when it does not.
    pub clock_warning: String,
}

/// A member on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberRow {
    pub server: String,
    pub server_name: String,
    pub state: Chip,
    pub container: String,
    pub size: String,
    pub container_state: Chip,
    /// Whatever else was seen of it, such as why it does not answer.
    pub detail: String,
    /// What is otherwise than on record, in sentences; empty when nothing is.
    pub drift: String,
    pub looked: Option<Look>,
}

/// The card of a host, with those of its members that were read.
pub fn view(load: &HostLoad, seen: &Seen, config: &Config, now: DateTime<Utc>) -> HostCard {
    let host = &load.host;
    let observation = seen.observations.get(&host.id);
    let facts = observation.and_then(|seen| seen.facts.as_ref());
    let here = seen.members.iter().filter(|member| member.member.host_id == host.id);
    let members: Vec<_> =
        here.map(|member| member_row(member, drift_text(member, seen, now), now)).collect();
    let is_in_file = config.hosts.iter().any(|configured| configured.name == host.name);
    let is_left = host.origin == HostOrigin::File && !is_in_file;
    HostCard {
        id: host.id.to_string(),
        name: host.name.clone(),
        address: host.address.clone(),
        chip: chip(observation, is_left, now),
        serves: serves(host, config),
        looked: observation.map(|seen| look(seen.observed_at, now)),
        silent: observation.and_then(|seen| silence(seen, now)),
        facts: facts.map(|(at, facts)| facts_view(*at, facts, now)),
        resources: capacity::resources(
            &load.promised,
            facts.map(|(_, facts)| facts),
            &config.overcommit,
        ),
        servers: load.promised.servers,
        more_members: (load.promised.servers as usize).saturating_sub(members.len()),
        members,
        orphans: observation.map_or(vec![], |seen| {
            seen.orphans.iter().map(|orphan| orphans::row(orphan, &host.address)).collect()
        }),
        is_left,
        origin: origin(host),
        edit: paths::host_edit(&host.id),
        is_changed_here: host.origin == HostOrigin::Portal,
        way: host.member_address.map_or(String::new(), |ip| format!("{ip}, published ports")),
    }
}

fn origin(host: &Host) -> &'static str {
    match (host.origin, host.has_tls) {
        (HostOrigin::File, true) => "Named in the configuration, with certificates.",
        (HostOrigin::File, false) => "Named in the configuration.",
        (HostOrigin::Portal, true) => "Added on this page, with certificates.",
        (HostOrigin::Portal, false) => "Added on this page.",
    }
}

/// A difference between clocks above this is worth a warning: times of different hosts are then not comparable.
const CLOCK_MS_MAX: u64 = 1000;

/// The engine's clock against the portal's, in words.
fn clock(ahead_ms: Option<i64>) -> (String, String) {
    let Some(ahead) = ahead_ms else { return ("not measured yet".into(), String::new()) };
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let by = if ahead.unsigned_abs() < CLOCK_MS_MAX {
        format!("{} ms", ahead.unsigned_abs())
    } else {
        format!("{:.1} s", ahead.unsigned_abs() as f64 / 1000.0)
    };
    let text = format!("{by} {side} the portal's");
    if ahead.unsigned_abs() <= CLOCK_MS_MAX {
        return (text, String::new());
    }
    let warning = format!(
        "The clock of this host is {text}. Certificates, logs and points in time of its servers follow it: have it set by NTP."
    );
    (text, warning)
}

pub fn look(at: DateTime<Utc>, now: DateTime<Utc>) -> Look {
    Look { at: Stamp(at), ago: ago_text(at, now), is_stale: is_stale(at, now) }
}

fn chip(observation: Option<&HostObservation>, is_left: bool, now: DateTime<Utc>) -> Chip {
    match observation {
        _ if is_left => Chip::new("Not configured", Icon::Minus, Tone::Idle),
        None => Chip::new("Not looked at yet", Icon::Ring, Tone::Idle),
        Some(seen) if seen.error.is_some() => {
            Chip::new("Does not answer", Icon::Warning, Tone::Warn)
        }
        Some(seen) if is_stale(seen.observed_at, now) => {
            Chip::new("Not looked at lately", Icon::Ring, Tone::Warn)
        }
        Some(_) => Chip::new("Answers", Icon::Check, Tone::Ok),
    }
}

fn silence(seen: &HostObservation, now: DateTime<Utc>) -> Option<Silence> {
    let error = seen.error.clone()?;
    // The engine's own words, without the sentence that the page says already.
    let error = error.strip_prefix("the Docker Engine does not answer: ").unwrap_or(&error);
    let error = error.to_owned();
    Some(Silence { error, last_answer: seen.facts.as_ref().map(|(at, _)| look(*at, now)) })
}

/// Regions with their zones in words; a host without places serves them all.
fn serves(host: &Host, config: &Config) -> Vec<String> {
    if host.places.is_empty() {
        return vec!["Every zone of every region".into()];
    }
    let mut served: Vec<(String, Vec<&str>)> = vec![];
    for place in &host.places {
        let label = config.region(&place.region).map_or(&place.region, |region| &region.label);
        match served.iter_mut().find(|(known, _)| known == label) {
            Some((_, zones)) => zones.push(&place.zone),
            None => served.push((label.clone(), vec![&place.zone])),
        }
    }
    let words = |(label, zones): (String, Vec<&str>)| match zones.as_slice() {
        [zone] => format!("{label}, zone {zone}"),
        zones => format!("{label}, zones {}", zones.join(", ")),
    };
    served.into_iter().map(words).collect()
}

fn facts_view(at: DateTime<Utc>, facts: &EngineFacts, now: DateTime<Utc>) -> FactsView {
    let (clock, clock_warning) = clock(facts.clock_ahead_ms);
    let disk = match (facts.storage_total_bytes, facts.storage_free_bytes) {
        (Some(total), Some(free)) => {
            format!("{} free of {}", gib_text(free as f64), gib_text(total as f64))
        }
        (Some(total), None) => format!("{}; free space not measured yet", gib_text(total as f64)),
        (None, _) => {
            "not measured: the engine does not tell, and its disk is not this machine's".into()
        }
    };
    FactsView {
        looked: look(at, now),
        engine: facts.engine_version.clone(),
        system: facts.operating_system.clone(),
        kernel: facts.kernel.clone(),
        cpus: facts.cpus,
        memory: gib_text(facts.memory_bytes as f64),
        disk,
        images: exact_images(&facts.images),
        clock,
        clock_warning,
    }
}

/// Tags that name a whole version. The one of a major alone stands beside them for the same image.
fn exact_images(tags: &[String]) -> Vec<String> {
    let is_exact = |tag: &&String| tag.rsplit(':').next().is_some_and(|tag| tag.contains('.'));
    let exact: Vec<String> = tags.iter().filter(is_exact).cloned().collect();
    if exact.is_empty() { tags.to_vec() } else { exact }
}

fn member_row(member: &MemberOnHost, drift: String, now: DateTime<Utc>) -> MemberRow {
    let sku = Sku::by_name(&member.sku);
    let size = match sku {
        Some(sku) => format!(
            "{}: {} vCore{}, {} GiB memory, {} GiB storage",
            sku.short_name(),
            sku.vcores,
            if sku.vcores == 1 { "" } else { "s" },
            sku.memory_gib,
            member.storage_gib
        ),
        None => format!("{}, {} GiB storage", member.sku, member.storage_gib),
    };
    let facts = member.seen.as_ref().map(|(_, facts)| facts);
    let is_missing = facts.is_some_and(|facts| facts.container_state == "missing");
    let chip = match absence(member.state) {
        Some(chip) if is_missing && member.is_at_work => chip,
        _ => container_chip(facts),
    };
    let detail = member.seen.as_ref().map(|(_, facts)| detail(facts)).unwrap_or_default();
    let is_old = member.seen.as_ref().is_some_and(|(at, _)| is_stale(*at, now));
    MemberRow {
        server: paths::server(&member.member.server_id),
        server_name: member.server_name.clone(),
        state: Chip::from(member.state),
        container: member.member.container(),
        size,
        container_state: if is_old { UNKNOWN } else { chip },
        drift,
        detail: if is_old { format!("seen last: {}", chip.text) } else { detail },
        looked: member.seen.as_ref().map(|(at, _)| look(*at, now)),
    }
}

/// What differs of a server on which nothing is at work, and what happens next.
fn drift_text(member: &MemberOnHost, seen: &Seen, now: DateTime<Utc>) -> String {
    let look = seen.drifts.get(member.member.server_id.as_str());
    let Some(look) = look.filter(|look| {
        member.state == ServerState::Ready
            && !is_stale(look.at, now)
            && !look.facts.drifts.is_empty()
    }) else {
        return String::new();
    };
    let said: Vec<String> = look.facts.drifts.iter().map(Drift::sentence).collect();
    format!("{} {}", said.join(" "), drift_notice::next(look.facts.next)).trim_end().to_owned()
}

/// What is true of something that nobody has looked at lately.
const UNKNOWN: Chip = Chip::new("Unknown", Icon::Ring, Tone::Idle);

/// A container that is not there because an operation is about to make it, or has just removed it:
/// nothing is wrong.
fn absence(state: ServerState) -> Option<Chip> {
    match state {
        ServerState::Provisioning | ServerState::Restarting => {
            Some(Chip::new("Not there yet", Icon::Ring, Tone::Idle))
        }
        ServerState::Dropping => Some(Chip::new("Removed", Icon::Minus, Tone::Idle)),
        _ => None,
    }
}

/// What was seen of a container. No look is "Unknown", never "down".
fn container_chip(facts: Option<&MemberFacts>) -> Chip {
    let Some(facts) = facts else { return Chip::new("Not seen yet", Icon::Ring, Tone::Idle) };
    match (facts.container_state.as_str(), facts.accepts_queries) {
        ("running", Some(true)) => Chip::new("Answers queries", Icon::Check, Tone::Ok),
        ("running", Some(false)) => {
            Chip::new("Running, no answer to a query", Icon::Warning, Tone::Warn)
        }
        ("running", None) => Chip::new("Running", Icon::Dot, Tone::Ok),
        ("created", _) => Chip::new("Created, not started", Icon::Ring, Tone::Idle),
        ("restarting", _) => Chip::new("Restarting", Icon::Spinner, Tone::Warn),
        ("paused", _) => Chip::new("Paused on the host", Icon::Pause, Tone::Warn),
        ("exited", _) => Chip::new("Exited", Icon::Cross, Tone::Danger),
        ("dead", _) => Chip::new("Dead", Icon::Cross, Tone::Danger),
        ("missing", _) => Chip::new("No container", Icon::Cross, Tone::Danger),
        _ => UNKNOWN,
    }
}

fn detail(facts: &MemberFacts) -> String {
    let mut parts = vec![];
    if facts.container_state != "running" {
        parts.extend(facts.exit_code.map(|code| format!("exit code {code}")));
    }
    match facts.restarts {
        0 => {}
        1 => parts.push("restarted once by the engine".into()),
        times => parts.push(format!("restarted {times} times by the engine")),
    }
    parts.extend(facts.probe_error.clone());
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HostId;

    fn seen(error: Option<&str>) -> HostObservation {
        HostObservation {
            host_id: HostId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
            observed_at: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
            facts: None,
            error: error.map(String::from),
            orphans: vec![],
        }
    }

    #[test]
    fn a_host_is_called_what_was_seen_of_it() {
        let now = seen(None).observed_at;
        assert_eq!(chip(None, false, now).text, "Not looked at yet");
        assert_eq!(chip(Some(&seen(None)), false, now).text, "Answers");
        assert_eq!(chip(Some(&seen(Some("x"))), false, now).text, "Does not answer");
        let later = now + chrono::Duration::minutes(5);
        assert_eq!(chip(Some(&seen(None)), false, later).text, "Not looked at lately");
        assert_eq!(chip(Some(&seen(None)), true, now).text, "Not configured");
    }

    #[test]
    fn images_are_listed_once_by_their_whole_version() {
        let tags = ["pgflex/postgres:17-r1", "pgflex/postgres:17.12-r1"].map(String::from);
        assert_eq!(exact_images(&tags), ["pgflex/postgres:17.12-r1"]);
        assert_eq!(exact_images(&tags[..1]), ["pgflex/postgres:17-r1"]);
    }

    #[test]
    fn a_container_nobody_saw_is_not_called_down() {
        assert_eq!(container_chip(None).text, "Not seen yet");
    }

    #[test]
    fn a_container_that_an_operation_makes_or_removes_is_no_fault() {
        let text = |state| absence(state).map(|chip| chip.text);
        assert_eq!(text(ServerState::Provisioning), Some("Not there yet"));
        assert_eq!(text(ServerState::Dropping), Some("Removed"));
        assert_eq!(text(ServerState::Ready), None);
    }
}
