//! Backups on the create form: whether a second repository can be beside the host that the server would be on.

use super::backups_redundancy as redundancy;
use super::create_form::CreateForm;
use super::create_ha::{self, place_pair};
use super::create_world::World;
use crate::domain::backup::{NO_OBJECT_STORAGE, Redundancy, choose_second};
use crate::domain::catalog::{Sku, StorageSize};
use crate::domain::ha::HaMode;
use crate::domain::ids::HostId;
use crate::domain::partner::Site;
use crate::domain::placement::choose_host;
use crate::domain::refusal::Refusal;
use crate::domain::region::Region;
use crate::web::form::Choice;

type Sizes = (&'static Sku, &'static StorageSize);

/// The host of the server and that of its second repository.
///
/// # Errors
/// Why no host can have the second repository.
fn hosts(
    world: &World,
    region: &Region,
    zone: &str,
    (sku, storage): Sizes,
) -> Result<(HostId, HostId), String> {
    let policy = &world.config.overcommit;
    let near = choose_host(&world.loads, &region.key, zone, sku, storage, policy)?;
    let load = world.loads.iter().find(|load| load.host.id == near);
    let load = load.ok_or("No host serves this region and zone.")?;
    let second = choose_second(&world.loads, (&region.key, zone), &Site::of_host(load))?;
    Ok((near, second))
}

/// The same for a form as it is typed now; `None` while it says too little or the server fits nowhere, which is said elsewhere.
fn hosts_of_form(world: &World, form: &CreateForm) -> Option<Result<(HostId, HostId), String>> {
    let region = world.region(form)?;
    let sizes = create_ha::sizes(form)?;
    let zone = match HaMode::parse(&form.ha) {
        None => world.place(region, &form.zone, sizes.0, sizes.1).ok()?,
        Some(mode) => {
            let standby = if mode == HaMode::ZoneRedundant { &*form.standby_zone } else { "" };
            place_pair(world, region, mode, (&form.zone, standby), sizes).ok()?.0
        }
    };
    Some(hosts(world, region, &zone, sizes))
}

/// The redundancies as cards.
pub fn redundancies(world: &World, form: &CreateForm) -> Vec<Choice> {
    let hosts = hosts_of_form(world, form);
    let found = hosts.as_ref().and_then(|hosts| hosts.as_ref().ok());
    let (near, second) = (found.map(|(near, _)| near), found.map(|(_, second)| second));
    let detail = redundancy::zone_detail(&world.loads, near, second);
    let why = hosts.as_ref().and_then(|hosts| hosts.as_ref().err());
    let storage = redundancy::storage(&world.config);
    redundancy::cards(&detail, storage.as_ref(), |one| {
        why.filter(|_| one == Redundancy::Zone).cloned()
    })
}

/// The redundancy of a form for a server in a zone; without a zone it is only read.
///
/// # Errors
/// A refusal at the field.
pub fn check(
    form: &CreateForm,
    world: &World,
    place: Option<(&Region, Sizes, &str)>,
) -> Result<Redundancy, Refusal> {
    let wanted = redundancy::read(&form.redundancy)?;
    if let (Redundancy::Zone, Some((region, sizes, zone))) = (wanted, place) {
        hosts(world, region, zone, sizes).map_err(|why| Refusal::at("redundancy", why))?;
    }
    if wanted == Redundancy::ObjectStorage && world.config.object_storage.is_none() {
        return Err(Refusal::at("redundancy", NO_OBJECT_STORAGE));
    }
    Ok(wanted)
}

/// Where its backups will lie, for the review.
pub fn places(world: &World, region: &str, zone: &str, sizes: Sizes, wanted: Redundancy) -> String {
    let name = |id: &HostId| {
        let load = world.loads.iter().find(|load| load.host.id == *id);
        load.map_or(String::new(), |load| load.host.name.clone())
    };
    let found =
        world.config.region(region).and_then(|region| hosts(world, region, zone, sizes).ok());
    match (wanted, found) {
        (Redundancy::Zone, Some((near, second))) => format!(
            "On the server's own host and on a host of another zone: now {} and {}",
            name(&near),
            name(&second)
        ),
        (Redundancy::Zone, None) => "On the server's own host and on a host of another zone".into(),
        (Redundancy::ObjectStorage, _) => match redundancy::storage(&world.config) {
            Some(storage) => {
                format!("On the server's own host and in the object storage {}", storage.location())
            }
            None => NO_OBJECT_STORAGE.into(),
        },
        (Redundancy::Local, _) => "On the server's own host: lost with it".into(),
    }
}
