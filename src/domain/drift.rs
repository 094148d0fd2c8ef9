//! Drift: a member that is not on its host what the records say. Pure: what is wanted against what was seen.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

/// What a member shall be on its host.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub container: String,
    /// Identity of the image it was made from; empty before it is known.
    pub image: String,
    pub vcores: f64,
    pub memory_bytes: u64,
    pub network: String,
    /// What the container mounts.
    pub volume: String,
    /// What the data are on: the same, or the volume with the image file of a sized disk.
    pub data_volume: String,
    /// Tag of the image that a new container would be made from.
    pub image_tag: String,
    /// Whose word it is that the member runs.
    pub keeper: Keeper,
}

/// Who starts a member that does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Its engine after a crash, and the repair: the only member of a server without high availability.
    Engine,
    /// Nobody but the pair's own operations: only they know whether it may still be the primary.
    Pair,
    /// The same, for the standby of a pair.
    PairStandby,
}

/// What was seen of a member on its host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// `None` when there is no container.
    pub container: Option<SeenContainer>,
    /// Whether the volume with the data is there. `None` when nobody looked: what a container mounts is there, but
    /// the volume with an image file is mounted by none and can be removed under a running server.
    pub has_volume: Option<bool>,
    /// Tags on the host; `None` when nobody looked.
    pub images: Option<Vec<String>>,
}

/// The container as the engine described it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenContainer {
    pub state: String,
    pub exit_code: Option<i64>,
    pub image: String,
    pub vcores: f64,
    pub memory_bytes: u64,
    pub networks: Vec<String>,
    pub volume: String,
    /// Whether the engine starts it again after a crash.
    pub restarts_by_itself: bool,
}

/// What differs. Words in the store; never reused for another meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Container,
    State,
    Volume,
    OtherVolume,
    Network,
    Memory,
    Cpu,
    RestartPolicy,
    OtherImage,
    Image,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nobody notices yet.
    Note,
    /// The server works, otherwise than it says.
    Wrong,
    /// Nobody can use the database.
    Down,
}

/// Who puts it right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// The portal repairs it.
    ByItself,
    /// Nothing needs it now; the operation that needs it puts it right.
    WhenNeeded,
    /// Somebody did it on purpose, or only a person can decide.
    ByPerson,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    pub what: What,
    pub severity: Severity,
    pub remedy: Remedy,
    pub wanted: String,
    pub seen: String,
    /// What a person can do; empty where the portal does it.
    pub advice: String,
    /// Whether it is the standby that differs, while the database itself is as it should be.
    #[serde(default)]
    pub of_standby: bool,
}

impl Drift {
    /// Words for people, as the subject of a sentence.
    pub const fn subject(&self) -> &'static str {
        match self.what {
            What::Container => "The container",
            What::State => "The container’s state",
            What::Volume => "The data volume",
            What::OtherVolume => "The container’s volume",
            What::Network => "The container’s network",
            What::Memory => "The memory limit",
            What::Cpu => "The CPU limit",
            What::RestartPolicy => "The restart policy",
            What::OtherImage => "The container’s image",
            What::Image => "The image on the host",
        }
    }

    /// "The memory limit is 1024 MiB; 2048 MiB is right."
    pub fn sentence(&self) -> String {
        let (subject, seen, wanted) = (self.subject(), &self.seen, &self.wanted);
        match self.of_standby {
            false => format!("{subject} is {seen}; {wanted} is right."),
            true => format!("Of the standby: {subject} is {seen}; {wanted} is right."),
        }
    }

    /// Whether only a new container puts it right.
    pub fn needs_new_container(&self) -> bool {
        match self.what {
            What::Container | What::Network | What::OtherImage | What::OtherVolume => true,
            What::State
            | What::Volume
            | What::Memory
            | What::Cpu
            | What::RestartPolicy
            | What::Image => false,
        }
    }
}

/// Everything that differs, the worst first. Empty when all is right.
pub fn drifts(wanted: &Wanted, seen: &Seen) -> Vec<Drift> {
    let mut found: Vec<Drift> = match &seen.container {
        None => absent(wanted, seen.has_volume),
        Some(container) => different(wanted, container),
    };
    found.extend(lost_volume(wanted, seen));
    found.extend(image(wanted, seen.images.as_deref()));
    let mut found: Vec<Drift> =
        found.into_iter().map(|drift| kept_by(wanted.keeper, drift)).collect();
    found.sort_by_key(|drift| std::cmp::Reverse(drift.severity));
    found
}

/// Says who puts it right in a pair. What can be changed while the member works is put right by a repair; whatever
/// needs a start or a new container is the pair's own, because a start behind its back could make two primaries.
fn kept_by(keeper: Keeper, drift: Drift) -> Drift {
    let of_standby = keeper == Keeper::PairStandby;
    let is_live = matches!(drift.what, What::Memory | What::Cpu | What::RestartPolicy);
    if keeper == Keeper::Engine || is_live || drift.what == What::Image {
        return Drift { of_standby, ..drift };
    }
    let severity = match drift.severity {
        // The page of the pair says how it stands; commits go on.
        Severity::Down if of_standby => Severity::Note,
        other => other,
    };
    match drift.remedy {
        Remedy::ByPerson if !of_standby => drift,
        _ => Drift {
            remedy: Remedy::WhenNeeded,
            severity,
            of_standby,
            advice: BY_THE_PAIR.into(),
            ..drift
        },
    }
}

/// What becomes of a member of a pair that does not run as it should.
const BY_THE_PAIR: &str =
    "High availability deals with it by itself: its page says what it sees and does.";

fn drift(
    what: What,
    severity: Severity,
    wanted: impl Into<String>,
    seen: impl Into<String>,
) -> Drift {
    Drift {
        what,
        severity,
        remedy: Remedy::ByItself,
        wanted: wanted.into(),
        seen: seen.into(),
        advice: String::new(),
        of_standby: false,
    }
}

fn by_person(drift: Drift, advice: impl Into<String>) -> Drift {
    Drift { remedy: Remedy::ByPerson, advice: advice.into(), ..drift }
}

/// Without its volume a container would be of no use: what is missing then is the volume.
fn absent(wanted: &Wanted, has_volume: Option<bool>) -> Vec<Drift> {
    let missing = drift(What::Container, Severity::Down, wanted.container.clone(), "missing");
    if has_volume == Some(false) { vec![] } else { vec![missing] }
}

fn lost_volume(wanted: &Wanted, seen: &Seen) -> Option<Drift> {
    let is_lost = seen.has_volume == Some(false);
    let runs = seen.container.as_ref().is_some_and(|container| container.state == "running");
    let (severity, advice) = if runs {
        (Severity::Wrong, VOLUME_LOST_WHILE_RUNNING)
    } else {
        (Severity::Down, VOLUME_MISSING)
    };
    let volume = drift(What::Volume, severity, wanted.data_volume.clone(), "missing");
    is_lost.then(|| by_person(volume, advice))
}

/// What to do while the kernel still holds a file that was removed.
pub const VOLUME_LOST_WHILE_RUNNING: &str = "PostgreSQL goes on with it for as long as nothing stops it. Dump every database now, before anything is stopped or restarted: after that the data are gone.";

/// What to do where the data are gone. Nothing makes an empty volume in their place.
pub const VOLUME_MISSING: &str = "Nothing was made in its place. Bring the volume back under its name on the host (from a copy of the host’s disk), then repair. If the data are lost, delete the server.";

fn different(wanted: &Wanted, seen: &SeenContainer) -> Vec<Drift> {
    let mut found = vec![];
    found.extend(state(wanted, seen));
    if seen.volume != wanted.volume {
        let other = drift(What::OtherVolume, Severity::Wrong, &wanted.volume, named(&seen.volume));
        found.push(by_person(other, "Somebody made this container by hand. Look at what is on its volume before you repair: the repair puts a container on the server’s own volume in its place."));
    }
    if !wanted.image.is_empty() && seen.image != wanted.image {
        let other = drift(What::OtherImage, Severity::Wrong, &wanted.image, named(&seen.image));
        found.push(by_person(other, "Somebody made this container by hand. A repair makes it anew from the right image; open connections end."));
    }
    if !seen.networks.contains(&wanted.network) {
        let seen = seen.networks.join(", ");
        found.push(drift(What::Network, Severity::Down, &wanted.network, named(&seen)));
    }
    if seen.memory_bytes != wanted.memory_bytes {
        let (wanted, seen) = (mebibytes(wanted.memory_bytes), mebibytes(seen.memory_bytes));
        found.push(drift(What::Memory, Severity::Wrong, wanted, seen));
    }
    if (seen.vcores - wanted.vcores).abs() > SAME_VCORES {
        found.push(drift(What::Cpu, Severity::Wrong, vcores(wanted.vcores), vcores(seen.vcores)));
    }
    let restarts = wanted.keeper == Keeper::Engine;
    if seen.restarts_by_itself != restarts {
        let words = |restarts| if restarts { "“unless-stopped”" } else { "“no”" };
        let (wanted, seen) = (words(restarts), words(seen.restarts_by_itself));
        // An engine that starts a member of a pair by itself can bring back a primary of before.
        let severity = if restarts { Severity::Note } else { Severity::Wrong };
        found.push(drift(What::RestartPolicy, severity, wanted, seen));
    }
    found
}

/// Two CPU limits closer than this are one.
const SAME_VCORES: f64 = 0.005;

fn state(wanted: &Wanted, seen: &SeenContainer) -> Option<Drift> {
    let text = match seen.exit_code {
        Some(code) => format!("{} with exit code {code}", seen.state),
        None => seen.state.clone(),
    };
    let down = drift(What::State, Severity::Down, "running", text);
    match seen.state.as_str() {
        // An engine that starts it again is at work; how often it did is shown beside.
        "running" | "restarting" | "removing" => None,
        "paused" => Some(by_person(
            down,
            format!("Somebody paused it. On the host: docker unpause {}", wanted.container),
        )),
        _ => Some(down),
    }
}

fn image(wanted: &Wanted, images: Option<&[String]>) -> Option<Drift> {
    let is_there = images?.contains(&wanted.image_tag);
    let missing = drift(What::Image, Severity::Note, &wanted.image_tag, "missing");
    (!is_there).then(|| Drift {
        remedy: Remedy::WhenNeeded,
        advice: "What runs goes on. It is made again when a container needs it, which takes minutes; “pgflex image ensure” does it beforehand.".into(),
        ..missing
    })
}

fn named(text: &str) -> String {
    if text.is_empty() { "none".into() } else { text.to_owned() }
}

fn mebibytes(bytes: u64) -> String {
    if bytes == 0 { "none".into() } else { format!("{} MiB", bytes >> 20) }
}

fn vcores(count: f64) -> String {
    if count == 0.0 { "none".into() } else { format!("{count:.2} vCores") }
}

/// Repairs by itself within [`REPAIRS_WITHIN`]: after these it only tells.
pub const REPAIRS_MAX: usize = 3;
pub const REPAIRS_WITHIN: Duration = Duration::minutes(30);
/// Two looks that both found it, at least so far apart, make a drift: an engine that starts a container
/// again after a crash needs a moment.
pub const SURE_AFTER: Duration = Duration::seconds(3);

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Nothing: all is right, or it is only a note.
    Nothing,
    /// Seen for the first time; the next look decides.
    LookAgain,
    /// A repair is submitted.
    Repair,
    /// It was repaired too often: nothing more by itself.
    GaveUp,
    /// Only a person can.
    Person,
}

/// Under which a look is kept among the observations of a server.
pub const OBSERVATION: &str = "drift";

/// A look at a member, kept with its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftLook {
    pub drifts: Vec<Drift>,
    pub next: Next,
    /// Since when the same is wrong.
    pub since: DateTime<Utc>,
}

impl DriftLook {
    /// What a look means after the one before, with the repairs by itself of the last
    /// [`REPAIRS_WITHIN`].
    pub fn after(
        before: Option<&DriftLook>,
        drifts: Vec<Drift>,
        recent_repairs: usize,
        now: DateTime<Utc>,
    ) -> Self {
        let same = |look: &&DriftLook| kinds(&look.drifts) == kinds(&drifts);
        let since = before.filter(same).map_or(now, |look| look.since);
        let next = next(
            &drifts,
            before.is_some_and(|look| same(&look)) && now - since >= SURE_AFTER,
            recent_repairs,
        );
        Self { drifts, next, since }
    }

    /// Whether a person should be told.
    pub fn is_worth_telling(&self) -> bool {
        self.drifts.iter().any(|drift| drift.severity > Severity::Note)
    }
}

fn kinds(drifts: &[Drift]) -> Vec<What> {
    drifts.iter().map(|drift| drift.what).collect()
}

fn next(drifts: &[Drift], is_sure: bool, recent_repairs: usize) -> Next {
    let told = || drifts.iter().filter(|drift| drift.severity > Severity::Note);
    // A volume that is gone, or a container that somebody made by hand: a repair by itself would fail, or
    // take away what a person did.
    if told().any(|drift| drift.remedy == Remedy::ByPerson) {
        return Next::Person;
    }
    if !drifts.iter().any(|drift| drift.remedy == Remedy::ByItself) {
        return Next::Nothing;
    }
    match (recent_repairs >= REPAIRS_MAX, is_sure) {
        (true, _) => Next::GaveUp,
        (false, false) => Next::LookAgain,
        (false, true) => Next::Repair,
    }
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
