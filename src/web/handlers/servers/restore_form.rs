//! The restore form as it was typed, and checked as a whole: every fault at its field, with the nearest moment that
//! can be restored.

use super::create_password::{self as password, PasswordState};
use super::create_world::World;
use super::networking_access::chosen_network;
use super::restore_moment as moment;
use crate::domain::backup::{self, Protection, RestoreTarget};
use crate::domain::group::Group;
use crate::domain::ids::NetworkId;
use crate::domain::names::ServerName;
use crate::domain::network::Access;
use crate::domain::refusal::Refusal;
use crate::domain::server::ServerSpec;
use crate::web::form::{FormState, Posted};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The whole form as typed, without the password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestoreForm {
    /// Id of the server that is restored from: a draft of another one is not taken for it.
    pub source: String,
    /// Word of the way: see [`Way`].
    pub to: String,
    pub date: String,
    pub time: String,
    pub offset: String,
    pub backup: String,
    /// Number of the one that is restored from; empty is the one that the portal chooses.
    pub repository: String,
    pub lsn: String,
    pub point: String,
    pub name: String,
    /// Id of the resource group of the new server.
    pub group: String,
    /// Empty means no preference.
    pub zone: String,
    pub access: String,
    pub network: String,
    /// Login that the kept password was checked against.
    pub password_login: String,
}

/// How the target is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Latest,
    Moment,
    Backup,
    Place,
    Point,
}

impl Way {
    const ALL: [Way; 5] = [Way::Latest, Way::Moment, Way::Backup, Way::Place, Way::Point];

    pub fn key(self) -> &'static str {
        match self {
            Way::Latest => "latest",
            Way::Moment => "moment",
            Way::Backup => "backup",
            Way::Place => "place",
            Way::Point => "point",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.key() == text)
    }

    /// The field in which it is typed.
    fn field(self) -> &'static str {
        match self {
            Way::Latest => "to",
            Way::Moment => "date",
            Way::Backup => "backup",
            Way::Place => "lsn",
            Way::Point => "point",
        }
    }
}

impl RestoreForm {
    /// What was posted, over what was kept.
    pub fn read(posted: &Posted, kept: Self) -> Self {
        let text = |name: &str, kept: String| {
            if posted.has(name) { posted.text(name).to_owned() } else { kept }
        };
        Self {
            source: kept.source,
            to: text("to", kept.to),
            date: text("date", kept.date),
            time: text("time", kept.time),
            offset: text("offset", kept.offset),
            backup: text("backup", kept.backup),
            repository: text("repository", kept.repository),
            lsn: text("lsn", kept.lsn),
            point: text("point", kept.point),
            name: text("name", kept.name),
            group: text("group", kept.group),
            zone: text("zone", kept.zone),
            access: text("access", kept.access),
            network: text("network", kept.network),
            password_login: kept.password_login,
        }
    }

    /// Fills a moment in.
    pub fn set_moment(&mut self, at: DateTime<Utc>) {
        self.to = Way::Moment.key().into();
        (self.date, self.time) = moment::fields(at, &self.offset);
    }

    pub fn state(&self) -> FormState {
        FormState::new()
            .with("to", &self.to)
            .with("date", &self.date)
            .with("time", &self.time)
            .with("offset", &self.offset)
            .with("backup", &self.backup)
            .with("repository", &self.repository)
            .with("lsn", &self.lsn)
            .with("point", &self.point)
            .with("name", &self.name)
            .with("group", &self.group)
            .with("zone", &self.zone)
            .with("access", &self.access)
            .with("network", &self.network)
    }

    fn target(&self) -> Result<RestoreTarget, Refusal> {
        let Some(way) = Way::parse(&self.to) else {
            return Err(Refusal::at("to", "Choose to where the server is restored."));
        };
        let told = |error: backup::TargetError| Refusal::at(way.field(), error.to_string());
        match way {
            Way::Latest => Ok(RestoreTarget::Latest),
            Way::Moment => moment::parse(&self.date, &self.time, &self.offset)
                .map(|at| RestoreTarget::Moment { at }),
            Way::Backup => RestoreTarget::backup(&self.backup).map_err(told),
            Way::Place => RestoreTarget::place(&self.lsn).map_err(told),
            Way::Point => RestoreTarget::point(&self.point).map_err(told),
        }
    }
}

/// What a form is checked against.
pub struct Ground<'a> {
    pub spec: &'a ServerSpec,
    pub group: Option<&'a Group>,
    pub protection: &'a Protection,
    /// Number of the one that is restored from.
    pub repository: i64,
    pub world: &'a World,
    pub password: &'a PasswordState,
}

/// A form without a fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub target: RestoreTarget,
    pub group: Group,
    pub spec: ServerSpec,
    pub network: Option<NetworkId>,
}

/// What stands against a form.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub refusals: Vec<Refusal>,
    /// The nearest moment that can be restored, where the one that was asked for cannot.
    pub nearest: Option<DateTime<Utc>>,
}

impl Faults {
    fn take<T>(&mut self, checked: Result<T, Refusal>) -> Option<T> {
        checked.map_err(|refusal| self.refusals.push(refusal)).ok()
    }
}

/// Checks everything. A form with any fault stands for nothing.
///
/// # Errors
/// Every fault.
pub fn check(form: &RestoreForm, ground: &Ground<'_>) -> Result<Wanted, Faults> {
    let mut faults = Faults::default();
    let target = faults.take(form.target());
    let target = target.filter(|target| is_reached(&mut faults, form, ground, target));
    let name = faults.take(check_name(form, ground.world));
    let group = faults.take(
        ground
            .group
            .cloned()
            .ok_or_else(|| Refusal::at("group", "Choose one of the resource groups in the list.")),
    );
    let zone = faults.take(check_zone(form, ground));
    let access = faults.take(
        Access::parse(&form.access)
            .ok_or_else(|| Refusal::at("access", "Choose public or private access.")),
    );
    let network = match access {
        Some(Access::Private) => {
            faults.take(chosen_network(&form.network, &ground.world.networks)).flatten()
        }
        Some(Access::Public) | None => None,
    };
    faults.refusals.extend(ground.password.refusal());
    match (target, group, name, zone, access) {
        (Some(target), Some(group), Some(name), Some(zone), Some(access))
            if faults.refusals.is_empty() =>
        {
            let spec = ServerSpec { name, zone, access, ..ground.spec.clone() };
            Ok(Wanted { target, group, spec, network })
        }
        _ => Err(faults),
    }
}

fn is_reached(
    faults: &mut Faults,
    form: &RestoreForm,
    ground: &Ground<'_>,
    target: &RestoreTarget,
) -> bool {
    let reach =
        |target: &RestoreTarget| backup::choose(ground.protection, ground.repository, target, None);
    let Err(refused) = reach(target) else { return true };
    let field = Way::parse(&form.to).map_or("to", Way::field);
    faults.refusals.push(Refusal::at(field, refused.reason));
    let can_be = |at| reach(&RestoreTarget::Moment { at }).is_ok();
    faults.nearest = refused.nearest.map(|at| moment::readable(at, can_be));
    false
}

fn check_name(form: &RestoreForm, world: &World) -> Result<ServerName, Refusal> {
    let name = ServerName::parse(&form.name)?;
    if world.is_name_taken {
        let text = format!(
            "There is a server named {name} already. A restore makes a new server and never writes over one: choose another name."
        );
        return Err(Refusal::at("name", text));
    }
    Ok(name)
}

/// The zone, when a host there can take a server of the source's size.
fn check_zone(form: &RestoreForm, ground: &Ground<'_>) -> Result<String, Refusal> {
    let spec = ground.spec;
    let refuse = |text: String| Err(Refusal::at("zone", text));
    let Some(region) = ground.world.config.region(&spec.region) else {
        return refuse(format!("The region {} is not configured any more.", spec.region));
    };
    if !form.zone.is_empty() && !region.zones.contains(&form.zone) {
        let zones = region.zones.join(", ");
        return refuse(format!(
            "{} has the zones {zones}. Choose one, or no preference.",
            region.label
        ));
    }
    ground.world.place(region, &form.zone, spec.sku(), spec.storage()).or_else(|reason| {
        let size = spec.sku().short_name();
        refuse(format!("{size} with {} does not fit there now. {reason}", spec.storage().label()))
    })
}

/// How the password stands after a request, and its text when a new one was typed.
pub fn typed_password(
    posted: &Posted,
    login: &str,
    kept: PasswordState,
) -> (Option<crate::secrets::Secret>, PasswordState) {
    match password::typed(posted, login) {
        Ok(None) => (None, kept),
        Ok(Some(typed)) => (Some(typed), PasswordState::Kept),
        Err(refusal) => (None, PasswordState::Refused(refusal)),
    }
}
