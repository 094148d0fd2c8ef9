//! Pure: a member's spec to the description of its container, volume and network.

use super::{ContainerSpec, DiskSpec, Labels, NetworkSpec, RepositoryMount, VolumeSpec, label};
use crate::domain::ha::MemberRole;
use crate::domain::ids::OperationId;
use crate::domain::server::{Member, Server, internal_name, network_name};
use crate::domain::version::Major;
use std::net::SocketAddr;

/// Where a member's volume is mounted; everything that must survive is below it.
pub const VOLUME_PATH: &str = "/var/lib/pgflex";
/// Where the volume of a host's repository is mounted.
pub const REPOSITORY_PATH: &str = "/var/lib/pgbackrest";
/// Exit code of a container that finds its volume in use by another one.
pub use crate::domain::drift::VOLUME_IN_USE;

/// Taken by the first process of every container that opens the data, so that no two ever do.
const LOCK: &str = "/var/lib/pgflex/lock";
const MIB: u64 = 1 << 20;
/// Processes of a member besides one for each connection: background, parallel and replication workers.
const SPARE_PIDS: i64 = 200;
/// Memory of the built-in PgBouncer at most: room for ten thousand clients inside TLS.
const POOLER_MEMORY: u64 = 1024 * MIB;
/// Time PostgreSQL gets to end a fast shutdown before it is killed.
const STOP_SECONDS: i64 = 60;

/// Makes the data directory, or leaves the one that is there. A helper that was killed half way leaves only
/// `data.new`, which the next one clears; the rename is the one moment from which the data exist.
/// `$0` and the arguments are ours: no text of a person gets in here.
const INIT_SCRIPT: &str = "\
umask 077
cd /var/lib/pgflex
if [ -d data ]; then echo 'the data directory is there already'; exit 0; fi
rm -rf data.new
initdb --pgdata=data.new \"$@\"
mv data.new data
sync .";

/// Copies a running member into the volume, or leaves the copy that is there. What makes it a standby is in the copy
/// before the rename: no copied directory can ever start as a primary. What a killed try left is cleared. The
/// standby's own settings are no part of the copy; they are below `config`. `$1` is how the source is reached, `$2`
/// the slot that keeps the log from the copy's begin on.
const COPY_SCRIPT: &str = "\
umask 077
cd /var/lib/pgflex
if [ -d data ]; then echo 'the data directory is there already'; exit 0; fi
rm -rf data.new
pg_basebackup --pgdata=data.new --dbname=\"$1\" --slot=\"$2\" --wal-method=stream --checkpoint=fast --no-manifest --no-password --progress --verbose
: > data.new/standby.signal
sync data.new/standby.signal data.new
mv data.new data
sync .";

/// Restores a backup into the volume, or leaves the one that is there; the rename is the moment from which the data exist.
/// What makes PostgreSQL recover from the archive is in the copy before that: no restored directory can ever start with
/// what its backup alone holds. Settings that came along do not act: those that count are below `config`.
const RESTORE_SCRIPT: &str = "\
umask 077
cd /var/lib/pgflex
if [ -d data ]; then echo 'the data directory is there already'; exit 0; fi
rm -rf data.new
mkdir data.new
pgbackrest --config=/var/lib/pgflex/config/backup.conf --pg1-path=/var/lib/pgflex/data.new --type=none --log-level-console=detail \"$@\"
rm -f data.new/standby.signal
: > data.new/recovery.signal
: > data.new/postgresql.auto.conf
sync data.new/recovery.signal data.new/postgresql.auto.conf data.new
mv data.new data
sync .";

/// Sets space aside on a disk of a fixed size. It takes none of the host's, because nothing is written to it.
const RESERVE_SCRIPT: &str = "\
[ -e /var/lib/pgflex/reserve ] || fallocate -l 268435456 /var/lib/pgflex/reserve
";

/// What the description of a member's objects is made from.
#[derive(Debug, Clone, Copy)]
pub struct Blueprint<'a> {
    pub install_id: &'a str,
    pub server: &'a Server,
    pub member: &'a Member,
    pub operation: &'a OperationId,
    /// Marks everything for the clean-up after tests.
    pub is_test: bool,
}

impl Blueprint<'_> {
    /// The server's own network: two servers share none.
    pub fn network(&self) -> NetworkSpec {
        NetworkSpec {
            name: network_name(&self.server.id),
            labels: self.server_labels(),
            range: None,
            // A network without a way out publishes nothing, so a member that is published can reach what its host
            // reaches; docs/hosts.md says so.
            is_open: self.member.port.is_some(),
        }
    }

    /// The member's volume; the same for every generation, so it carries none.
    pub fn volume(&self) -> VolumeSpec {
        let mut labels = self.server_labels();
        labels.insert(label::MEMBER.into(), self.member.id.to_string());
        VolumeSpec { name: self.member.volume(), labels }
    }

    /// The member's sized disk; `None` for a plain volume.
    pub fn disk(&self, image: &str) -> Option<DiskSpec> {
        let minor = self.member.loop_minor()?;
        let mounted = self.volume();
        let mut labels = mounted.labels.clone();
        labels.insert(label::DISK.into(), image.to_owned());
        Some(DiskSpec {
            holder: VolumeSpec { name: self.member.disk_volume(), labels },
            mounted,
            image: image.to_owned(),
            minor,
            bytes: self.server.spec.storage().bytes(),
            identity: self.member.id.to_string(),
            is_new: false,
        })
    }

    /// The member itself. `image` is a tag or, better, the identity that `ensure_image` gave.
    pub fn member_container(&self, image: &str) -> ContainerSpec {
        let sku = self.server.spec.sku();
        ContainerSpec {
            name: self.member.container(),
            image: image.to_owned(),
            command: [&locked()[..], &words(MEMBER_COMMAND)[..]].concat(),
            labels: self.member_labels(),
            volume: self.member.volume(),
            // The second name is in the certificate: PgBouncer checks it.
            network: Some((
                network_name(&self.server.id),
                vec![self.server.spec.name.to_string(), internal_name(&self.server.id)],
            )),
            joins: vec![],
            publish: None,
            repository: None,
            vcores: f64::from(sku.vcores),
            memory_bytes: sku.memory_bytes(),
            // Parallel queries keep their shared hash tables here; PostgreSQL's own buffers are not in it.
            shm_bytes: sku.memory_bytes() / 4,
            pids_max: i64::from(sku.max_connections) + SPARE_PIDS,
            restart: true,
            stop_seconds: STOP_SECONDS,
        }
    }

    /// A member of a pair. It never starts by itself: it could be one that is no primary any more (N1). Only the
    /// primary has the server's names in its network. `publish`: address of its host at which the other host's
    /// members reach it; the network must have a way out then.
    pub fn paired_container(&self, image: &str, publish: Option<SocketAddr>) -> ContainerSpec {
        let mut spec = self.member_container(image);
        if self.member.role != MemberRole::Primary {
            spec.network = Some((network_name(&self.server.id), vec![]));
        }
        ContainerSpec { restart: false, publish, ..spec }
    }

    /// The helper that copies a running member into the volume of this one: ends by itself, may be run again at any
    /// time. `source` is a connection string without secrets and `slot` one that exists there; the files that the
    /// string names are put into the volume before the start.
    pub fn copy_container(&self, image: &str, source: &str, slot: &str) -> ContainerSpec {
        let text = self.with_reserve(COPY_SCRIPT);
        let script = words(&["sh", "-euc", &text, "copy", source, slot]);
        let init = self.init_container(image);
        ContainerSpec {
            name: self.member.copy_container(),
            command: [locked(), script].concat(),
            network: Some((network_name(&self.server.id), vec![])),
            ..init
        }
    }

    /// The helper that restores a backup of `stanza` into the volume: ends by itself, may be run again at any time. It
    /// reaches the repository by its mount, or through the server's network. The files that it works by are put into
    /// the volume before the start.
    pub fn restore_container(
        &self,
        image: &str,
        (stanza, label): (&str, &str),
        repository: Option<RepositoryMount>,
    ) -> ContainerSpec {
        let text = self.with_reserve(RESTORE_SCRIPT);
        let (stanza, set) = (format!("--stanza={stanza}"), format!("--set={label}"));
        let script = words(&["sh", "-euc", &text, "from", &stanza, &set, "restore"]);
        ContainerSpec {
            name: self.member.restore_container(),
            command: [locked(), script].concat(),
            network: Some((network_name(&self.server.id), vec![])),
            repository,
            ..self.init_container(image)
        }
    }

    fn with_reserve(&self, script: &str) -> String {
        match self.member.loop_minor() {
            Some(_) => format!("{RESERVE_SCRIPT}{script}"),
            None => script.to_owned(),
        }
    }

    /// The volume with the configuration of the built-in PgBouncer: nothing that must be kept.
    pub fn pooler_volume(&self) -> VolumeSpec {
        VolumeSpec { name: self.member.pooler(), ..self.volume() }
    }

    /// The built-in PgBouncer, beside the member and in its network. What it needs stands in its files: neither
    /// arguments nor environment nor labels hold anything of them.
    pub fn pooler_container(&self, image: &str) -> ContainerSpec {
        let member = self.member_container(image);
        let name = format!("{}-pooler", self.server.spec.name);
        ContainerSpec {
            name: self.member.pooler(),
            image: image.to_owned(),
            command: words(&["pgbouncer", "/var/lib/pgflex/config/pgbouncer.ini"]),
            labels: member.labels,
            volume: self.member.pooler(),
            network: member.network.map(|(network, _)| (network, vec![name])),
            joins: vec![],
            publish: None,
            repository: None,
            // It has one thread.
            vcores: 1.0,
            memory_bytes: POOLER_MEMORY,
            shm_bytes: 16 * MIB,
            pids_max: 32,
            restart: true,
            stop_seconds: 5,
        }
    }

    /// The helper that initialises the volume: no network, ends by itself, may be run again at any time.
    pub fn init_container(&self, image: &str) -> ContainerSpec {
        let text = self.with_reserve(INIT_SCRIPT);
        let script = words(&["sh", "-euc", &text, "initdb"]);
        ContainerSpec {
            name: self.member.init_container(),
            image: image.to_owned(),
            command: [locked(), script, initdb_options(self.server.spec.major)].concat(),
            labels: self.member_labels(),
            volume: self.member.volume(),
            network: None,
            joins: vec![],
            publish: None,
            repository: None,
            vcores: f64::from(self.server.spec.sku().vcores),
            memory_bytes: 1024 * MIB,
            shm_bytes: 64 * MIB,
            pids_max: 64,
            restart: false,
            stop_seconds: 5,
        }
    }

    fn member_labels(&self) -> Labels {
        let mut labels = self.server_labels();
        labels.insert(label::MEMBER.into(), self.member.id.to_string());
        labels.insert(label::GENERATION.into(), self.member.generation.to_string());
        labels
    }

    /// Enough to write the store's row again. A spec holds no secret; one that did not render would only be missing here.
    fn server_labels(&self) -> Labels {
        let spec = serde_json::to_string(&self.server.spec).unwrap_or_default();
        let mut labels = Labels::from([
            (label::INSTALL.into(), self.install_id.to_owned()),
            (label::SERVER.into(), self.server.id.to_string()),
            (label::SERVER_NAME.into(), self.server.spec.name.to_string()),
            (label::OPERATION.into(), self.operation.to_string()),
            (label::SPEC.into(), spec),
        ]);
        if self.is_test {
            labels.insert(label::TEST.into(), "1".into());
        }
        labels
    }
}

const MEMBER_COMMAND: &[&str] = &[
    "postgres",
    "-D",
    "/var/lib/pgflex/data",
    "-c",
    "config_file=/var/lib/pgflex/config/postgresql.conf",
];

/// `flock` becomes the program it starts, which is then the container's first process and holds the lock
/// until its last child is gone.
fn locked() -> Vec<String> {
    let code = VOLUME_IN_USE.to_string();
    words(&["flock", "--no-fork", "--exclusive", "--nonblock", "--conflict-exit-code", &code, LOCK])
}

/// Nobody may log in by the files that `initdb` writes; those that count are rendered by `postgres::conf`.
/// From 17 on PostgreSQL sorts by itself, so that an update of the system's libraries changes no index;
/// before that the C library's C.UTF-8 sorts by code point, which does not change either.
fn initdb_options(major: Major) -> Vec<String> {
    let mut options = words(&[
        "--username=pgflex_control",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--text-search-config=pg_catalog.english",
        "--auth-local=reject",
        "--auth-host=reject",
    ]);
    if major >= Major::V17 {
        options.extend(words(&["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]));
    }
    options
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
#[path = "blueprint_tests.rs"]
mod tests;
