//! Whether two zones are apart. A zone is a failure domain only as far as nothing of it is shared with another.

use super::host::Host;

/// A host with what its engine last told of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenHost {
    pub host: Host,
    /// Identity of the engine; `None` while it has never answered.
    pub engine_id: Option<String>,
}

/// What two zones have in common, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SharedBy {
    /// One host serves both.
    Host,
    /// Two hosts on record lead to one Docker Engine.
    Engine,
    /// Two engines are reached at one machine.
    Machine,
}

/// That two zones are not apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    pub by: SharedBy,
    /// Names of the hosts in which they meet; the same name twice for one host.
    pub hosts: (String, String),
}

impl Sharing {
    /// The truth about two zones in a sentence.
    pub fn sentence(&self, zone_a: &str, zone_b: &str) -> String {
        let (a, b) = &self.hosts;
        let both = if a == b { format!("host {a}") } else { format!("hosts {a} and {b}") };
        let thing = match self.by {
            SharedBy::Host | SharedBy::Engine => "the Docker Engine",
            SharedBy::Machine => "the machine",
        };
        format!(
            "Zones {zone_a} and {zone_b} share {thing} of {both}; when it is lost, they are lost together."
        )
    }
}

/// What a zone and another share by any of their hosts; `None` when nothing is known to be. That nothing is known does
/// not mean that the machines share no power or network. A pair of a zone with itself is not asked for here.
pub fn shared(zone_a: &[SeenHost], zone_b: &[SeenHost]) -> Option<Sharing> {
    let pairs = zone_a.iter().flat_map(|a| zone_b.iter().map(move |b| (a, b)));
    let found = pairs.filter_map(|(a, b)| {
        let by = how(a, b)?;
        Some(Sharing { by, hosts: (a.host.name.clone(), b.host.name.clone()) })
    });
    found.min_by_key(|sharing| sharing.by)
}

/// Whether two hosts on record lead to one Docker Engine, as far as it is known.
pub fn is_one_engine(a: &SeenHost, b: &SeenHost) -> bool {
    matches!(how(a, b), Some(SharedBy::Host | SharedBy::Engine))
}

fn how(a: &SeenHost, b: &SeenHost) -> Option<SharedBy> {
    if a.host.id == b.host.id {
        return Some(SharedBy::Host);
    }
    let id = |seen: &SeenHost| seen.engine_id.clone().filter(|id| !id.is_empty());
    if id(a).is_some_and(|known| Some(known) == id(b)) || a.host.address == b.host.address {
        return Some(SharedBy::Engine);
    }
    (machine(&a.host.address) == machine(&b.host.address)).then_some(SharedBy::Machine)
}

/// The machine by the address alone: sockets and loopback ports are this one. A tunnel that ends here looks so too,
/// which errs on the side of the warning.
fn machine(address: &str) -> &str {
    const HERE: &str = "here";
    let Some((scheme, rest)) = address.split_once("://") else { return address };
    if scheme == "unix" {
        return HERE;
    }
    let host = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or(rest),
        None => rest.split(['/', ':']).next().unwrap_or(rest),
    };
    if host == "localhost" || host == "::1" || host.starts_with("127.") { HERE } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HostId;

    fn seen(end: u8, address: &str, engine: Option<&str>) -> SeenHost {
        let id = HostId::parse(&format!("01890a5d-ac96-774b-bcce-b302099a80{end:02}")).unwrap();
        let host = Host::new(id, format!("h{end}"), address, vec![]);
        SeenHost { host, engine_id: engine.map(String::from) }
    }

    #[test]
    fn the_strongest_thing_that_zones_share_is_named() {
        let by = |a: &[SeenHost], b: &[SeenHost]| shared(a, b).map(|sharing| sharing.by);
        let one = seen(1, "tcp://10.0.0.1:2376", Some("A"));
        let twin = seen(2, "tcp://10.0.0.9:2376", Some("A"));
        let beside = seen(3, "tcp://10.0.0.1:2377", Some("B"));
        let apart = seen(4, "tcp://10.0.0.4:2376", Some("C"));
        assert_eq!(
            by(&[one.clone(), apart.clone()], std::slice::from_ref(&one)),
            Some(SharedBy::Host)
        );
        assert_eq!(by(&[beside.clone(), one.clone()], &[twin]), Some(SharedBy::Engine));
        assert_eq!(by(std::slice::from_ref(&one), &[beside]), Some(SharedBy::Machine));
        assert_eq!(by(&[one], &[apart]), None);
        let local = seen(5, "unix:///var/run/docker.sock", None);
        let tunnel = seen(6, "tcp://127.0.0.1:2375", None);
        assert_eq!(by(std::slice::from_ref(&local), &[tunnel]), Some(SharedBy::Machine));
        let silent = seen(7, "tcp://10.0.0.7:2376", Some(""));
        assert_eq!(by(&[silent], &[seen(8, "tcp://10.0.0.8:2376", Some(""))]), None);
        assert_eq!(by(&[], &[local]), None);
    }
}
