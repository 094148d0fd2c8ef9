//! What fits where: facts of the hosts and what is promised of them, to a host or a reason.

use super::catalog::{Sku, StorageSize};
use super::host::{EngineFacts, Host, Overcommit};
use super::ids::HostId;
use super::sharing::SeenHost;

/// A host with its facts and the sum of what servers on it were promised.
#[derive(Debug, Clone)]
pub struct HostLoad {
    pub host: Host,
    /// `None` while the engine has never answered or does not answer now.
    pub facts: Option<EngineFacts>,
    pub promised: Promise,
}

impl HostLoad {
    /// Memory that no server was promised, in bytes; 0 while the engine is not known.
    pub fn memory_left(&self) -> u64 {
        let total = self.facts.as_ref().map_or(0, |facts| facts.memory_bytes);
        total.saturating_sub(self.promised.memory_bytes)
    }
}

impl From<&HostLoad> for SeenHost {
    fn from(load: &HostLoad) -> Self {
        let engine_id = load.facts.as_ref().map(|facts| facts.engine_id.clone());
        Self { host: load.host.clone(), engine_id }
    }
}

/// Resources that servers were told they have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Promise {
    pub servers: u32,
    pub vcores: u32,
    pub memory_bytes: u64,
    pub storage_bytes: u64,
}

impl Promise {
    pub fn plus(self, sku: &Sku, storage: &StorageSize) -> Promise {
        Promise {
            servers: self.servers + 1,
            vcores: self.vcores + sku.vcores,
            memory_bytes: self.memory_bytes + sku.memory_bytes(),
            storage_bytes: self.storage_bytes + storage.bytes(),
        }
    }

    /// What is left when the compute of one server is given back.
    pub fn without_compute(self, sku: &Sku) -> Promise {
        Promise {
            vcores: self.vcores.saturating_sub(sku.vcores),
            memory_bytes: self.memory_bytes.saturating_sub(sku.memory_bytes()),
            ..self
        }
    }
}

/// Why a host cannot take a size, in words that stand on the closed choice. `None` when it can.
pub fn reason_against(
    load: &HostLoad,
    sku: &Sku,
    storage: &StorageSize,
    policy: &Overcommit,
) -> Option<String> {
    let Some(facts) = &load.facts else {
        return Some("The host's Docker Engine does not answer.".into());
    };
    compute_reason(load, facts, sku, policy)
        .or_else(|| room_reason(load.promised.storage_bytes, facts, storage, policy))
}

/// Why the storage of a server on this host cannot grow from `from_gib` to a size. `None` when it can.
pub fn storage_reason(
    load: &HostLoad,
    from_gib: u32,
    to: &StorageSize,
    policy: &Overcommit,
) -> Option<String> {
    let Some(facts) = &load.facts else {
        return Some("The host's Docker Engine does not answer.".into());
    };
    let others = load.promised.storage_bytes.saturating_sub(u64::from(from_gib) << 30);
    room_reason(others, facts, to, policy)
}

/// Why a host cannot give a server that is on it another size, with what it has now given back first.
/// Less of everything always fits, also on a host that promised too much.
pub fn reason_against_scaling(
    load: &HostLoad,
    from: &Sku,
    to: &Sku,
    policy: &Overcommit,
) -> Option<String> {
    let Some(facts) = &load.facts else {
        return Some("The host's Docker Engine does not answer.".into());
    };
    if !grows(from, to) {
        return None;
    }
    let rest = HostLoad { promised: load.promised.without_compute(from), ..load.clone() };
    compute_reason(&rest, facts, to, policy)
}

/// The same for a host with several of the server's members, each of which gets the other size.
pub fn reason_against_scaling_members(
    load: &HostLoad,
    members: usize,
    from: &Sku,
    to: &Sku,
    policy: &Overcommit,
) -> Option<String> {
    let mut load = load.clone();
    (0..members).find_map(|_| {
        let why = reason_against_scaling(&load, from, to, policy);
        load.promised.vcores = load.promised.vcores.saturating_sub(from.vcores) + to.vcores;
        let rest = load.promised.memory_bytes.saturating_sub(from.memory_bytes());
        load.promised.memory_bytes = rest + to.memory_bytes();
        why
    })
}

/// [`storage_reason`] for a host with several of the server's members, each of which grows.
pub fn storage_reason_members(
    load: &HostLoad,
    members: usize,
    from_gib: u32,
    to: &StorageSize,
    policy: &Overcommit,
) -> Option<String> {
    let mut load = load.clone();
    (0..members).find_map(|_| {
        let why = storage_reason(&load, from_gib, to, policy);
        load.promised.storage_bytes += to.bytes().saturating_sub(u64::from(from_gib) << 30);
        why
    })
}

/// Whether a size needs more of the host than another.
pub fn grows(from: &Sku, to: &Sku) -> bool {
    to.vcores > from.vcores || to.memory_gib > from.memory_gib
}

fn compute_reason(
    load: &HostLoad,
    facts: &EngineFacts,
    sku: &Sku,
    policy: &Overcommit,
) -> Option<String> {
    if sku.vcores > facts.cpus {
        return Some(format!("Needs {} vCores; the host has {}.", sku.vcores, facts.cpus));
    }
    if f64::from(load.promised.vcores + sku.vcores) > f64::from(facts.cpus) * policy.vcores {
        return Some(format!(
            "{} of {:.0} vCores are promised already.",
            load.promised.vcores,
            f64::from(facts.cpus) * policy.vcores
        ));
    }
    let memory_limit = facts.memory_bytes as f64 * policy.memory;
    if (load.promised.memory_bytes + sku.memory_bytes()) as f64 > memory_limit {
        let left = (memory_limit - load.promised.memory_bytes as f64).max(0.0);
        return Some(format!(
            "Needs {} GiB memory; {:.1} GiB are left.",
            sku.memory_gib,
            left / GIB
        ));
    }
    None
}

/// `promised` is what others were told they have.
fn room_reason(
    promised: u64,
    facts: &EngineFacts,
    storage: &StorageSize,
    policy: &Overcommit,
) -> Option<String> {
    let total = facts.storage_total_bytes?;
    let limit = total as f64 * policy.storage;
    if (promised + storage.bytes()) as f64 > limit {
        let left = (limit - promised as f64).max(0.0);
        return Some(format!("Needs {}; {:.0} GiB are left.", storage.label(), left / GIB));
    }
    let free = facts.storage_free_bytes?;
    (free < FREE_BYTES_MIN)
        .then(|| format!("The host has only {:.1} GiB of free disk.", free as f64 / GIB))
}

const GIB: f64 = (1u64 << 30) as f64;
/// A host with less free disk takes no new server: its first WAL segments would be at risk.
const FREE_BYTES_MIN: u64 = 5 << 30;

/// The hosts of a place that can take a size, the one with the most memory left first; else the first reason.
///
/// # Errors
/// Why none can, which may be that none serves the place.
pub fn hosts_for<'a>(
    loads: impl IntoIterator<Item = &'a HostLoad>,
    region: &str,
    zone: &str,
    sku: &Sku,
    storage: &StorageSize,
    policy: &Overcommit,
) -> Result<Vec<&'a HostLoad>, String> {
    let (mut can, mut reason) = (vec![], None);
    for load in loads.into_iter().filter(|load| load.host.serves(region, zone)) {
        match reason_against(load, sku, storage, policy) {
            Some(text) => reason = reason.or(Some(text)),
            None => can.push(load),
        }
    }
    if can.is_empty() {
        return Err(reason.unwrap_or_else(|| "No host serves this region and zone.".into()));
    }
    can.sort_by_key(|load| std::cmp::Reverse(load.memory_left()));
    Ok(can)
}

/// Chooses the host for a place: of those that can, the one with the most memory left; else the first reason.
pub fn choose_host(
    loads: &[HostLoad],
    region: &str,
    zone: &str,
    sku: &Sku,
    storage: &StorageSize,
    policy: &Overcommit,
) -> Result<HostId, String> {
    let hosts = hosts_for(loads, region, zone, sku, storage, policy)?;
    let first = hosts.first().ok_or("No host serves this region and zone.")?;
    Ok(first.host.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(cpus: u32, memory_gib: u64, promised: Promise) -> HostLoad {
        let facts = EngineFacts {
            engine_id: "e".into(),
            engine_version: "20.10".into(),
            operating_system: "Debian".into(),
            kernel: "6".into(),
            cpus,
            memory_bytes: memory_gib << 30,
            storage_total_bytes: Some(200 << 30),
            storage_free_bytes: Some(100 << 30),
            images: vec![],
            ranges: vec![],
            clock_ahead_ms: None,
        };
        let id = HostId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        HostLoad { host: Host::new(id, "h", "unix:///x", vec![]), facts: Some(facts), promised }
    }

    fn reason(load: &HostLoad, sku: &str, gib: u32) -> Option<String> {
        reason_against(
            load,
            Sku::by_name(sku).unwrap(),
            StorageSize::by_gib(gib).unwrap(),
            &Overcommit::default(),
        )
    }

    #[test]
    fn a_size_that_does_not_fit_says_why() {
        let host = load(2, 24, Promise::default());
        assert_eq!(reason(&host, "Standard_B1ms", 32), None);
        assert!(reason(&host, "Standard_D4ds_v5", 32).unwrap().contains("4 vCores"));
        assert!(reason(&host, "Standard_B1ms", 512).unwrap().contains("512 GiB"));
        let full = load(2, 24, Promise { memory_bytes: 23 << 30, ..Promise::default() });
        assert!(reason(&full, "Standard_B1ms", 32).unwrap().contains("memory"));
        let oversold = load(2, 64, Promise { vcores: 8, ..Promise::default() });
        assert!(reason(&oversold, "Standard_B1ms", 32).unwrap().contains("vCores"));
    }

    #[test]
    fn scaling_gives_back_what_the_server_has_first() {
        let sku = |name| Sku::by_name(name).unwrap();
        let why = |load: &HostLoad, from, to| {
            reason_against_scaling(load, sku(from), sku(to), &Overcommit::default())
        };
        let full = load(8, 24, Promise { vcores: 4, memory_bytes: 24 << 30, ..Promise::default() });
        assert_eq!(why(&full, "Standard_B4ms", "Standard_D4ds_v5"), None);
        assert_eq!(why(&full, "Standard_B2ms", "Standard_B1ms"), None);
        assert!(why(&full, "Standard_B2ms", "Standard_B4ms").unwrap().contains("8.0 GiB are left"));
        let over = load(8, 8, Promise { vcores: 99, memory_bytes: 64 << 30, ..Promise::default() });
        assert_eq!(why(&over, "Standard_B4ms", "Standard_B2ms"), None, "less always fits");
        let silent = HostLoad { facts: None, ..full };
        assert!(why(&silent, "Standard_B4ms", "Standard_B2ms").is_some());
    }

    #[test]
    fn a_host_with_both_members_needs_room_for_both() {
        let sku = |name| Sku::by_name(name).unwrap();
        let (from, to) = (sku("Standard_D2ds_v5"), sku("Standard_D4ds_v5"));
        let promised =
            Promise { servers: 2, vcores: 4, memory_bytes: 16 << 30, storage_bytes: 64 << 30 };
        let host = load(8, 24, promised);
        let why = |members| {
            reason_against_scaling_members(&host, members, from, to, &Overcommit::default())
        };
        assert_eq!(why(1), None);
        assert!(why(2).unwrap().contains("memory"), "{:?}", why(2));
        let size = StorageSize::by_gib(256).unwrap();
        let why =
            |members| storage_reason_members(&host, members, 32, size, &Overcommit::default());
        assert_eq!(
            why(1).is_some(),
            storage_reason(&host, 32, size, &Overcommit::default()).is_some()
        );
        assert!(why(2).unwrap().contains("256 GiB"));
    }

    #[test]
    fn a_silent_engine_takes_nothing() {
        let silent = HostLoad { facts: None, ..load(2, 24, Promise::default()) };
        assert!(reason(&silent, "Standard_B1ms", 32).unwrap().contains("does not answer"));
        let sku = Sku::by_name("Standard_B1ms").unwrap();
        let size = StorageSize::by_gib(32).unwrap();
        assert!(
            choose_host(&[silent], "westeurope", "1", sku, size, &Overcommit::default()).is_err()
        );
        assert!(
            choose_host(
                &[load(2, 24, Promise::default())],
                "westeurope",
                "1",
                sku,
                size,
                &Overcommit::default()
            )
            .is_ok()
        );
    }
}
