//! Pure: the objects of a host's repository, and of the helpers that work on it.
//!
//! The volume of a repository is the last copy of many servers' data: there is a way to make it and none to remove it.

use super::{ContainerSpec, Labels, NetworkSpec, RepositoryMount, VolumeSpec, label};
use crate::domain::ids::HostId;
use crate::domain::version::Major;
use std::net::SocketAddr;

const MIB: u64 = 1 << 20;
/// Memory of the server of a repository: a process for each member that hands its log over.
const SERVER_MEMORY: u64 = 512 * MIB;
/// Memory of a helper: two processes that compress and encrypt, and the list of all files.
const TOOL_MEMORY: u64 = 1024 * MIB;
/// How many majors may have a server of the repository on one host: so many ports are held back for them.
pub const SERVERS_MAX: u16 = 4;

/// What the description of a repository's objects is made from.
#[derive(Debug, Clone, Copy)]
pub struct RepositoryBlueprint<'a> {
    pub install_id: &'a str,
    pub host: &'a HostId,
    /// Marks everything for the clean-up after tests.
    pub is_test: bool,
}

/// One run of pgBackRest in a helper.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Of the container.
    pub name: String,
    pub image: String,
    pub command: Vec<String>,
    /// Volume that it works on: a member's, or one of its own.
    pub volume: String,
    /// Network in which it reaches PostgreSQL.
    pub network: Option<String>,
    /// Says which run of which operation this is.
    pub run: String,
    /// Id of the member whose volume it is.
    pub member: Option<String>,
    /// Whether the volume of the repository is mounted, and if so whether only to read.
    pub repository: Option<bool>,
}

impl RepositoryBlueprint<'_> {
    /// Name of the volume with the backups and the log of every server of the host.
    pub fn volume_name(&self) -> String {
        format!("pgflex-{}-repository", self.host.short())
    }

    /// Name of the server of the repository for one major, and of its small volume.
    pub fn server_name(&self, major: Major) -> String {
        format!("{}-{}", self.volume_name(), major.number())
    }

    /// Where backups and log lie.
    pub fn volume(&self) -> VolumeSpec {
        VolumeSpec { name: self.volume_name(), labels: self.labels() }
    }

    /// The files of the server: nothing that must be kept.
    pub fn server_volume(&self, major: Major) -> VolumeSpec {
        VolumeSpec { name: self.server_name(major), labels: self.labels() }
    }

    /// Network that the servers are made in; those of members come to it. With a way out where they are published.
    pub fn network(&self, is_published: bool) -> NetworkSpec {
        let (name, labels) = (self.volume_name(), self.labels());
        NetworkSpec { name, labels, range: None, is_open: is_published }
    }

    /// Network of the host's helpers and servers of repositories that reach object storage: the one with a way out.
    pub fn way_out(&self) -> NetworkSpec {
        let name = format!("{}-out", self.volume_name());
        NetworkSpec { name, labels: self.labels(), range: None, is_open: true }
    }

    /// Network in which a restore drill reaches the server of a repository, and nothing else.
    pub fn drills(&self) -> NetworkSpec {
        let name = format!("{}-drills", self.volume_name());
        NetworkSpec { name, labels: self.labels(), range: None, is_open: false }
    }

    /// The server of the repository for one major.
    pub fn server(
        &self,
        major: Major,
        image: &str,
        command: Vec<String>,
        publish: Option<SocketAddr>,
    ) -> ContainerSpec {
        ContainerSpec {
            name: self.server_name(major),
            image: image.to_owned(),
            command,
            labels: self.labels(),
            volume: self.server_name(major),
            repository: Some(RepositoryMount { volume: self.volume_name(), read_only: false }),
            network: Some((self.volume_name(), vec![])),
            joins: vec![],
            publish,
            vcores: 1.0,
            memory_bytes: SERVER_MEMORY,
            shm_bytes: 16 * MIB,
            pids_max: 512,
            restart: true,
            stop_seconds: 5,
        }
    }

    /// A volume for a helper that works on no member's.
    pub fn tool_volume(&self, name: &str) -> VolumeSpec {
        VolumeSpec { name: name.to_owned(), labels: self.labels() }
    }

    /// A helper: ends by itself, is never started again.
    pub fn tool(&self, tool: Tool) -> ContainerSpec {
        let mut labels = self.labels();
        labels.insert(label::RUN.into(), tool.run);
        if let Some(member) = tool.member {
            labels.insert(label::MEMBER.into(), member);
        }
        let mount = |read_only| RepositoryMount { volume: self.volume_name(), read_only };
        ContainerSpec {
            name: tool.name,
            image: tool.image,
            command: tool.command,
            labels,
            volume: tool.volume,
            repository: tool.repository.map(mount),
            network: tool.network.map(|network| (network, vec![])),
            joins: vec![],
            publish: None,
            // A backup may not take the database's own time.
            vcores: 1.0,
            memory_bytes: TOOL_MEMORY,
            shm_bytes: 64 * MIB,
            pids_max: 64,
            restart: false,
            stop_seconds: 10,
        }
    }

    fn labels(&self) -> Labels {
        let mut labels = Labels::from([
            (label::INSTALL.into(), self.install_id.to_owned()),
            (label::REPOSITORY.into(), self.host.to_string()),
        ]);
        if self.is_test {
            labels.insert(label::TEST.into(), "1".into());
        }
        labels
    }
}

/// The port at which the server of a repository is published: one of the last of the range, the same for good.
/// `None` when the range has too few.
pub fn published_port((first, last): (u16, u16), major: Major) -> Option<u16> {
    let place = match major {
        Major::V15 => 0,
        Major::V17 => 1,
        Major::V18 => 2,
    };
    last.checked_sub(place).filter(|port| *port >= first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_says_whose_it_is_and_ports_are_of_the_end_of_the_range() {
        let host = HostId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        let all = RepositoryBlueprint { install_id: "i", host: &host, is_test: true };
        let server = all.server(Major::V17, "image", vec![], None);
        assert_eq!(server.name, "pgflex-b302099a8057-repository-17");
        assert_eq!(server.repository.unwrap().volume, "pgflex-b302099a8057-repository");
        for labels in [server.labels, all.volume().labels, all.network(false).labels] {
            assert_eq!(labels[label::REPOSITORY], host.to_string());
            assert!(labels.contains_key(label::INSTALL) && labels.contains_key(label::TEST));
        }
        let ports = Major::ALL.map(|major| published_port((22000, 22999), major));
        assert_eq!(ports, [22997, 22998, 22999].map(Some));
        assert!(usize::from(SERVERS_MAX) >= Major::ALL.len());
    }
}
