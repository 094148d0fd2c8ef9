//! What the hosts can hold now, as the create form asks it.

use super::create_form::CreateForm;
use crate::config::Config;
use crate::domain::catalog::{STORAGE_SIZES, Sku, StorageSize};
use crate::domain::group::Group;
use crate::domain::names::ServerName;
use crate::domain::placement::{HostLoad, choose_host};
use crate::domain::region::Region;
use crate::domain::version::Major;
use crate::domain::virtual_network::VirtualNetwork;
use crate::web::error::PageError;
use crate::web::visit::Visit;
use std::collections::HashSet;
use std::sync::Arc;

/// Configuration and hosts, seen once for a request.
#[derive(Clone)]
pub struct World {
    pub config: Arc<Config>,
    pub loads: Vec<HostLoad>,
    /// The resource groups in which the person may create, the default one first.
    pub groups: Vec<Group>,
    /// Virtual networks that a private server may join.
    pub networks: Vec<VirtualNetwork>,
    /// Whether there is a server of the name in the form.
    pub is_name_taken: bool,
    /// Address of the person who asks.
    pub address: String,
}

/// Whether the hosts of a place have the image of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    Present,
    /// On no host, or not on every one that could be chosen.
    ToBuild,
    /// No host of the place has answered.
    Unknown,
}

impl World {
    /// Reads what the form needs. A taken name is known only for a name that is one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(visit: &Visit, form: &CreateForm) -> Result<Self, PageError> {
        let store = &visit.state.store;
        let is_name_taken = match ServerName::parse(&form.name) {
            Ok(name) => store.server_name_taken(&name).await?,
            Err(_) => false,
        };
        let groups = match &visit.person {
            Some(person) => store.groups_to_change(&person.user.id).await?,
            None => vec![],
        };
        Ok(Self {
            groups,
            config: visit.state.config.clone(),
            loads: store.host_loads().await?,
            networks: store.networks().await?,
            is_name_taken,
            address: visit.address.clone(),
        })
    }

    /// The region that a new form begins with: the first that a host serves.
    pub fn first_region(&self) -> String {
        let mut regions = self.config.regions.iter();
        let served = regions.clone().find(|region| self.is_served(region));
        served.or(regions.next()).map_or(String::new(), |region| region.key.clone())
    }

    pub fn is_served(&self, region: &Region) -> bool {
        region.zones.iter().any(|zone| self.hosts(&region.key, zone).next().is_some())
    }

    pub fn hosts(&self, region: &str, zone: &str) -> impl Iterator<Item = &HostLoad> {
        self.loads.iter().filter(move |load| load.host.serves(region, zone))
    }

    /// Names of the hosts behind a region's zones.
    pub fn hosts_of(&self, region: &Region) -> Vec<&str> {
        let serves =
            |load: &&HostLoad| region.zones.iter().any(|zone| load.host.serves(&region.key, zone));
        self.loads.iter().filter(serves).map(|load| load.host.name.as_str()).collect()
    }

    /// The zones that a choice allows: the chosen one, or all that a host serves.
    pub(super) fn zones<'a>(&'a self, region: &'a Region, zone: &'a str) -> Vec<&'a str> {
        let all = region.zones.iter().map(String::as_str);
        let allowed = all.filter(|each| zone.is_empty() || *each == zone);
        allowed.filter(|each| self.hosts(&region.key, each).next().is_some()).collect()
    }

    /// The zone that a server of these sizes gets: the chosen one, or the one whose host has most
    /// memory left.
    ///
    /// # Errors
    /// Why no host can take it.
    pub fn place(
        &self,
        region: &Region,
        zone: &str,
        sku: &Sku,
        storage: &StorageSize,
    ) -> Result<String, String> {
        let mut reason = None;
        let mut best: Option<(&str, u64)> = None;
        for zone in self.zones(region, zone) {
            let policy = &self.config.overcommit;
            match choose_host(&self.loads, &region.key, zone, sku, storage, policy) {
                Err(text) => reason = reason.or(Some(text)),
                Ok(host) => {
                    let left = self.memory_left(&host);
                    if best.is_none_or(|(_, most)| left > most) {
                        best = Some((zone, left));
                    }
                }
            }
        }
        match best {
            Some((zone, _)) => Ok(zone.to_owned()),
            None => Err(reason.unwrap_or_else(|| "No host serves this region and zone.".into())),
        }
    }

    pub(super) fn memory_left(&self, host: &crate::domain::ids::HostId) -> u64 {
        let load = self.loads.iter().find(|load| load.host.id == *host);
        load.map_or(0, HostLoad::memory_left)
    }

    /// Why no host of the place can take a size, whatever the storage.
    pub fn reason_against_sku(&self, region: &Region, zone: &str, sku: &Sku) -> Option<String> {
        self.place(region, zone, sku, &STORAGE_SIZES[0]).err()
    }

    /// Why no host of the place can take a storage size, whatever the compute.
    pub fn reason_against_storage(
        &self,
        region: &Region,
        zone: &str,
        storage: &StorageSize,
    ) -> Option<String> {
        let smallest = Sku::by_name("Standard_B1ms")?;
        // When not even the smallest size fits, the sizes say so; storage is not what is missing.
        self.reason_against_sku(region, zone, smallest).is_none().then_some(())?;
        self.place(region, zone, smallest, storage).err()
    }

    /// Whether the image of a version is where a server of this place would run.
    pub fn image(&self, region: &Region, zone: &str, major: Major) -> Image {
        let tag = major.image_tag();
        let zones = self.zones(region, zone);
        let hosts: HashSet<_> = zones
            .iter()
            .flat_map(|zone| self.hosts(&region.key, zone))
            .map(|load| load.host.id.as_str())
            .collect();
        let loads = self.loads.iter().filter(|load| hosts.contains(load.host.id.as_str()));
        let facts: Vec<_> = loads.filter_map(|load| load.facts.as_ref()).collect();
        match facts.as_slice() {
            [] => Image::Unknown,
            seen if seen.iter().all(|facts| facts.images.contains(&tag)) => Image::Present,
            _ => Image::ToBuild,
        }
    }

    /// The chosen group; the first that may be chosen where nothing is.
    pub fn group(&self, form: &CreateForm) -> Option<&Group> {
        match form.group.as_str() {
            "" => self.groups.first(),
            id => self.groups.iter().find(|group| group.id.as_str() == id),
        }
    }

    pub fn region(&self, form: &CreateForm) -> Option<&Region> {
        self.config.region(&form.region)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::config::{FileConfig, ServeArgs};
    use crate::domain::host::{EngineFacts, Host, Place};
    use crate::domain::ids::{GroupId, HostId};
    use crate::domain::placement::Promise;

    /// Settings as they are when nobody sets any.
    pub fn config() -> Config {
        use clap::{Args, FromArgMatches};
        let command = ServeArgs::augment_args(clap::Command::new("pgflex"));
        let matches = command.get_matches_from(["pgflex"]);
        Config::combine(ServeArgs::from_arg_matches(&matches).unwrap(), FileConfig::default())
    }

    /// A host with 8 CPUs and the image of 17, serving some zones of West Europe; none means all.
    pub fn host(end: &str, memory_gib: u64, zones: &[&str]) -> HostLoad {
        let place = |zone: &&str| Place { region: "westeurope".into(), zone: (*zone).into() };
        let facts = EngineFacts {
            engine_id: "e".into(),
            engine_version: "20.10".into(),
            operating_system: "Debian".into(),
            kernel: "6".into(),
            cpus: 8,
            memory_bytes: memory_gib << 30,
            storage_total_bytes: Some(200 << 30),
            storage_free_bytes: Some(100 << 30),
            images: vec![Major::V17.image_tag()],
            ranges: vec![],
            clock_ahead_ms: None,
        };
        HostLoad {
            host: Host::new(
                HostId::parse(&format!("01890a5d-ac96-774b-bcce-b302099a80{end}")).unwrap(),
                format!("host-{end}"),
                format!("tcp://10.0.0.{end}:2376"),
                zones.iter().map(place).collect(),
            ),
            facts: Some(facts),
            promised: Promise::default(),
        }
    }

    pub fn world(loads: Vec<HostLoad>) -> World {
        World {
            config: Arc::new(config()),
            groups: vec![Group {
                id: GroupId::default_group(),
                name: "default".into(),
                created_by: "pgflex".into(),
                created_at: Default::default(),
            }],
            loads,
            networks: vec![],
            is_name_taken: false,
            address: "203.0.113.7".into(),
        }
    }

    fn sizes(sku: &str, gib: u32) -> (&'static Sku, &'static StorageSize) {
        (Sku::by_name(sku).unwrap(), StorageSize::by_gib(gib).unwrap())
    }

    #[test]
    fn no_preference_takes_the_zone_with_most_memory_left() {
        let world = world(vec![host("01", 8, &["1"]), host("02", 32, &["2"])]);
        let region = world.config.region("westeurope").unwrap().clone();
        let (sku, storage) = sizes("Standard_B1ms", 32);
        assert_eq!(world.place(&region, "", sku, storage).as_deref(), Ok("2"));
        assert_eq!(world.place(&region, "1", sku, storage).as_deref(), Ok("1"));
        assert!(world.place(&region, "3", sku, storage).unwrap_err().contains("No host serves"));
        let (big, _) = sizes("Standard_E2ds_v5", 32);
        assert!(world.reason_against_sku(&region, "", big).is_none());
        assert!(world.reason_against_sku(&region, "1", big).unwrap().contains("memory"));
    }

    #[test]
    fn storage_is_blamed_only_when_compute_fits() {
        let region = config().region("westeurope").unwrap().clone();
        let fits = world(vec![host("01", 8, &[])]);
        assert!(fits.reason_against_storage(&region, "", sizes("Standard_B1ms", 512).1).is_some());
        let tiny = world(vec![host("01", 1, &[])]);
        assert!(tiny.reason_against_storage(&region, "", sizes("Standard_B1ms", 512).1).is_none());
    }

    #[test]
    fn regions_nobody_serves_and_silent_engines_are_told() {
        let world_one = world(vec![host("01", 8, &["1"])]);
        assert_eq!(world_one.first_region(), "westeurope");
        let tokyo = world_one.config.region("japaneast").unwrap().clone();
        assert!(!world_one.is_served(&tokyo));
        let region = world_one.config.region("westeurope").unwrap().clone();
        assert_eq!(world_one.image(&region, "", Major::V17), Image::Present);
        assert_eq!(world_one.image(&region, "", Major::V18), Image::ToBuild);
        let silent = world(vec![HostLoad { facts: None, ..host("01", 8, &[]) }]);
        assert_eq!(silent.image(&region, "", Major::V17), Image::Unknown);
        assert!(
            silent
                .reason_against_sku(&region, "", sizes("Standard_B1ms", 32).0)
                .unwrap()
                .contains("does not answer")
        );
    }
}
