//! One command of pgBackRest in a helper container, which goes on when this process is killed: the next one finds it and
//! waits for the same run. A container that has the name but is of another run belongs to nobody any more (the lane of
//! backups is this operation's) and is removed first.

use super::door::Door;
use super::{keys, object_storage, repository};
use crate::domain::backup::{Repository, Retention};
use crate::domain::ids::HostId;
use crate::domain::server::{Member, internal_name, network_name};
use crate::engine::blueprint_repository::Tool;
use crate::engine::{ContainerSpec, FileSpec, ImageProgress, NetworkJoin, label};
use crate::operations::access::{open_secret, secret};
use crate::operations::context::{Services, StepContext};
use crate::operations::step::{Outcome, StepError};
use crate::operations::{image, member};
use crate::postgres::pgbackrest::{self, Reach};
use std::time::Duration;

/// How long one look waits for the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks at a run.
const SOON: Duration = Duration::from_secs(1);
/// Lines that are read of a run.
const LINES: usize = 400;

/// Where a run works.
#[derive(Debug, Clone)]
pub enum Place<'a> {
    /// On the volume of a member, in its server's network on its host.
    Member(&'a Member),
    /// On a small volume of its own on the repository's host, for what needs no data directory: container and volume
    /// have this name.
    Apart(String),
    /// On a small volume of its own on the repository's host, with the member's data behind a door.
    Far(&'a Member, Option<Door>),
    /// One of the others, of the primary, with the standby's data behind a door beside.
    Pair(Box<Place<'a>>, Door),
}

impl Place<'_> {
    /// Where it works as if there were no standby.
    fn base(&self) -> &Self {
        match self {
            Place::Pair(base, _) => base.base(),
            other => other,
        }
    }
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    pub place: Place<'a>,
    pub repository: &'a Repository,
    /// What it is for, in one word: together with who asks this is the one run it is, however often it is asked for.
    pub purpose: &'a str,
    /// Command and options of pgBackRest beside configuration and stanza.
    pub command: &'a [&'a str],
    pub retention: Retention,
    /// Whether it only reads the repository.
    pub only_reads: bool,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// It goes on; its last line.
    Running(String),
    /// It ended well; its whole standard output, which is hostile.
    Ended(String),
}

impl Ran {
    /// The output, or that the step waits.
    ///
    /// # Errors
    /// The outcome with which the step gives its turn back.
    pub fn or_wait(self) -> Result<String, Outcome> {
        match self {
            Ran::Ended(output) => Ok(output),
            Ran::Running(line) => Err(Outcome::Wait(SOON, line)),
        }
    }
}

/// A run as it was seen.
struct Seen {
    code: Option<i64>,
    lines: Vec<String>,
}

/// Begins the run or goes on waiting for it, and writes its lines into the step's log. A run that ended well stays
/// until [`remove`] or the next run, so that asking again gives the same answer.
///
/// # Errors
/// Permanent with its last error when it ended badly; it is removed then, so that another try is another run.
pub async fn run(ctx: &StepContext, run: &Run<'_>) -> Result<Ran, StepError> {
    let asker = ctx.operation.id.to_string();
    let Some(seen) = advance(&ctx.services, &asker, run).await? else { return Ok(no_image()) };
    if run.command.first() != Some(&"info") {
        ctx.log_new(&told(&seen.lines)).await;
    }
    finish(&ctx.services, run, seen).await
}

/// The same for somebody without an operation, who says what tells this run from every other.
///
/// # Errors
/// As [`run`].
pub async fn run_for(services: &Services, asker: &str, run: &Run<'_>) -> Result<Ran, StepError> {
    match advance(services, asker, run).await? {
        Some(seen) => finish(services, run, seen).await,
        None => Ok(no_image()),
    }
}

fn no_image() -> Ran {
    Ran::Running("the image is on its way".into())
}

/// Purpose of the run that is there under the name of this place, when it is of this asker.
///
/// # Errors
/// When the engine does not answer.
pub async fn under_way(
    services: &Services,
    asker: &str,
    place: &Place<'_>,
    host: &HostId,
) -> Result<Option<String>, StepError> {
    let engine = repository::engine(services, host)?;
    let facts = engine.container(&name_of(place)).await?;
    let run = facts.and_then(|facts| facts.labels.get(label::RUN).cloned());
    Ok(run.and_then(|run| run.strip_prefix(&format!("{asker}/")).map(str::to_owned)))
}

/// Ends and removes what runs under the name of this place, with its own volume.
///
/// # Errors
/// When the engine does not do it.
pub async fn remove(
    services: &Services,
    place: &Place<'_>,
    host: &HostId,
) -> Result<(), StepError> {
    let engine = repository::engine(services, host)?;
    let name = name_of(place);
    engine.remove_container(&name).await?;
    if let Some(volume) = own_volume(place) {
        // Files of the run alone: whatever is worth anything is in the repository.
        engine.remove_volume(&volume).await?;
    }
    Ok(())
}

fn name_of(place: &Place<'_>) -> String {
    match place {
        Place::Member(member) | Place::Far(member, _) => member.backup_container(),
        Place::Apart(name) => name.clone(),
        Place::Pair(base, _) => name_of(base),
    }
}

/// The volume that is there for the run alone.
fn own_volume(place: &Place<'_>) -> Option<String> {
    (!matches!(place.base(), Place::Member(_))).then(|| name_of(place))
}

fn host_of<'a>(run: &'a Run<'_>) -> &'a HostId {
    match run.place.base() {
        Place::Member(member) => &member.host_id,
        _ => &run.repository.host_id,
    }
}

/// `None` while the image is on its way.
async fn advance(
    services: &Services,
    asker: &str,
    run: &Run<'_>,
) -> Result<Option<Seen>, StepError> {
    let engine = repository::engine(services, host_of(run))?;
    let (name, id) = (name_of(&run.place), format!("{asker}/{}", run.purpose));
    let mut found = engine.container(&name).await?;
    if found.as_ref().is_some_and(|facts| facts.labels.get(label::RUN) != Some(&id)) {
        engine.remove_container(&name).await?;
        found = None;
    }
    if found.is_none() {
        let Some(spec) = describe(services, run, id).await? else { return Ok(None) };
        let plan = repository::blueprint(services, &run.repository.host_id);
        if run.repository.is_in_object_storage() {
            engine.ensure_network(&plan.way_out()).await?;
        }
        if let Some(volume) = own_volume(&run.place) {
            engine.ensure_volume(&plan.tool_volume(&volume)).await?;
        }
        engine.ensure_container(&spec).await?;
    }
    if found.is_none_or(|facts| facts.state == "created") {
        engine.put_files(&name, &files(services, run).await?).await?;
        engine.start_container(&name).await?;
    }
    let code = engine.wait_exit(&name, PATIENCE).await?;
    Ok(Some(Seen { code, lines: engine.tail(&name, LINES).await? }))
}

async fn finish(services: &Services, run: &Run<'_>, seen: Seen) -> Result<Ran, StepError> {
    let engine = repository::engine(services, host_of(run))?;
    let name = name_of(&run.place);
    match seen.code {
        None => Ok(Ran::Running(progress(run, &seen.lines))),
        Some(0) => Ok(Ran::Ended(engine.output(&name).await?)),
        Some(code) => {
            engine.remove_container(&name).await?;
            Err(failed(run, code, &seen.lines))
        }
    }
}

/// The helper; `None` while its image is on its way.
async fn describe(
    services: &Services,
    run: &Run<'_>,
    id: String,
) -> Result<Option<ContainerSpec>, StepError> {
    let (stanza, server) = (&run.repository.stanza, &run.repository.server_id);
    let (image, volume, network, member) = match run.place.base() {
        Place::Member(member) => (
            member.image.clone(),
            member.volume(),
            Some(network_name(&member.server_id)),
            Some(member.id.to_string()),
        ),
        place => match image::ensure_on(services, host_of(run), run.repository.major).await? {
            ImageProgress::Ready { id, .. } => {
                (id, name_of(place), network_of(services, run), None)
            }
            ImageProgress::Building { .. } => return Ok(None),
        },
    };
    let address = match run.place.base() {
        Place::Member(member) => {
            let engine = repository::engine(services, &member.host_id)?;
            engine.container(&member.container()).await?.and_then(|facts| facts.address)
        }
        _ => None,
    };
    let host = (internal_name(server), address);
    let tool = Tool {
        name: name_of(&run.place),
        image,
        command: pgbackrest::helper_command((&host.0, host.1.as_deref()), stanza, run.command),
        volume,
        network,
        run: id,
        member,
        repository: is_mounted(run).then_some(run.only_reads),
    };
    let plan = repository::blueprint(services, &run.repository.host_id);
    let way_out = NetworkJoin { network: plan.way_out().name, aliases: vec![] };
    let is_in = |spec: &ContainerSpec| {
        spec.network.as_ref().is_some_and(|(name, _)| *name == way_out.network)
    };
    let mut spec = plan.tool(tool);
    if run.repository.is_in_object_storage() && !is_in(&spec) {
        spec.joins.push(way_out);
    }
    Ok(Some(spec))
}

/// Object storage is reached from the network with the way out alone; a door is in the server's own network.
fn network_of(services: &Services, run: &Run<'_>) -> Option<String> {
    let plan = repository::blueprint(services, &run.repository.host_id);
    let way_out = || run.repository.is_in_object_storage().then(|| plan.way_out().name);
    network_of_doors(&run.place).or_else(way_out)
}

/// Where one member is on this engine, its server's network: what is published elsewhere is reached from there too.
fn network_of_doors(place: &Place<'_>) -> Option<String> {
    match place {
        Place::Far(_, door) => door.as_ref().map(|door| door.network.clone()),
        Place::Member(_) | Place::Apart(_) => None,
        Place::Pair(base, standby) => match &**base {
            Place::Far(member, _) if standby.network == network_name(&member.server_id) => {
                Some(standby.network.clone())
            }
            base => network_of_doors(base),
        },
    }
}

/// Whether the volume of the repository is where the run is.
fn is_mounted(run: &Run<'_>) -> bool {
    *host_of(run) == run.repository.host_id && !run.repository.is_in_object_storage()
}

async fn files(services: &Services, run: &Run<'_>) -> Result<Vec<FileSpec>, StepError> {
    let (reach, client) = match run.place.base() {
        _ if run.repository.is_in_object_storage() => {
            let storage = object_storage::need(services, run.repository)?;
            (Reach::Storage(storage), &run.repository.server_id)
        }
        _ if is_mounted(run) => (Reach::Mounted, &run.repository.server_id),
        Place::Member(member) => {
            let reach = repository::reach_of(services, run.repository, member).await;
            let advice = "Nothing was changed. Give both hosts a member address.";
            (reach.map_err(|why| StepError::permanent(why, advice))?, &member.server_id)
        }
        _ => (Reach::Mounted, &run.repository.server_id),
    };
    let opened = keys::open(services, run.repository, reach).await?;
    let access = opened.access();
    let file = pgbackrest::helper_file(&access, run.retention);
    let file = match run.place.base() {
        Place::Far(_, Some(door)) => pgbackrest::through(file, &door.reach),
        _ => file,
    };
    let file = match &run.place {
        Place::Pair(_, standby) => pgbackrest::beside(file, &standby.reach),
        _ => file,
    };
    let mut files = member::collect([vec![file], pgbackrest::helper_extras(&access)].concat());
    if open_secret(services, client, secret::REPOSITORY_KEY).await?.is_some() {
        files.extend(keys::tls_files(services, client).await?);
        files.extend(keys::role_files(services, client).await?);
    }
    Ok(files)
}

/// Lines for people.
fn told(lines: &[String]) -> Vec<String> {
    lines.iter().filter(|line| !line.trim().is_empty()).cloned().collect()
}

fn progress(run: &Run<'_>, lines: &[String]) -> String {
    let last = lines.iter().rev().find(|line| !line.trim().is_empty());
    let begun = || format!("pgBackRest is at “{}”", run.command.first().unwrap_or(&""));
    last.map_or_else(begun, |line| line.trim().to_owned())
}

fn failed(run: &Run<'_>, code: i64, lines: &[String]) -> StepError {
    let error = lines.iter().rev().find(|line| line.contains("ERROR:"));
    let last = error.or_else(|| lines.iter().rev().find(|line| !line.trim().is_empty()));
    let last = last.map_or("it wrote nothing", |line| {
        line.split_once("ERROR:").map_or(line.as_str(), |(_, rest)| rest).trim()
    });
    let command = run.command.first().unwrap_or(&"");
    let how = match code {
        137 | 143 => format!("was killed (code {code})"),
        _ => format!("ended with code {code}"),
    };
    StepError::permanent(
        format!("pgBackRest's “{command}” {how}: {last}"),
        "The log below has all it wrote. Mend what it names (often the host's disk, or the network), then try it again.",
    )
}
