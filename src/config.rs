//! Every setting: from the command line, the environment (`PGFLEX_…`) and one file, `pgflex.toml`.
//! This is the only reader of the environment.

use crate::domain::backup::ObjectStorage;
use crate::domain::cost::PriceList;
use crate::domain::host::{Overcommit, Place};
use crate::domain::region::{Region, default_regions};
use crate::domain::storage::StoragePolicy;
use clap::Args;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Settings of `pgflex serve` that are given when it starts.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Address and port of the portal's pages.
    #[arg(long, env = "PGFLEX_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// URL under which people reach the portal; decides cookies, the Origin check and printed links.
    /// Empty means http:// and the listen address.
    #[arg(long, env = "PGFLEX_PUBLIC_URL", default_value = "")]
    pub public_url: String,
    /// Folder of the SQLite database, the master key and the configuration file.
    #[arg(long, env = "PGFLEX_DATA", default_value = "data")]
    pub data: PathBuf,
    /// Metadata database: sqlite://… or postgres://…; empty means SQLite in the data folder.
    #[arg(long, env = "DATABASE_URL", default_value = "", hide_env_values = true)]
    pub database_url: String,
    /// File with hosts, regions, prices and limits; by default pgflex.toml in the data folder, if it is there.
    #[arg(long, env = "PGFLEX_CONFIG")]
    pub config: Option<PathBuf>,
    /// What this process does, separated by commas: web, runner, monitor, gateway.
    #[arg(
        long,
        env = "PGFLEX_ROLES",
        value_delimiter = ',',
        default_value = "web,runner,monitor,gateway"
    )]
    pub roles: Vec<Role>,
    /// Docker Engine used when the configuration file names no hosts.
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    pub docker_host: String,
    /// Address on which the gateway accepts PostgreSQL clients.
    #[arg(long, env = "PGFLEX_GATEWAY_LISTEN", default_value = "127.0.0.1")]
    pub gateway_listen: IpAddr,
    /// Port shared by all servers, told apart by the name in TLS; 0 switches it off.
    #[arg(long, env = "PGFLEX_GATEWAY_SHARED_PORT", default_value_t = 5432)]
    pub gateway_shared_port: u16,
    /// First and last of the dedicated ports, one for each server.
    #[arg(long, env = "PGFLEX_GATEWAY_PORTS", default_value = "20000-21999", value_parser = parse_ports)]
    pub gateway_ports: (u16, u16),
    /// First and last of the ports on which hosts on other machines publish their members.
    #[arg(long, env = "PGFLEX_MEMBER_PORTS", default_value = "22000-23999", value_parser = parse_ports)]
    pub member_ports: (u16, u16),
    /// Host name that clients use to reach the gateway; it is in every server's certificate.
    #[arg(long, env = "PGFLEX_ENDPOINT_HOST", default_value = "localhost")]
    pub endpoint_host: String,
    /// Domain below which every server has a name of its own, used on the shared port.
    #[arg(long, env = "PGFLEX_ENDPOINT_DOMAIN", default_value = "pgflex.localhost")]
    pub endpoint_domain: String,
    /// Addresses of reverse proxies whose X-Forwarded-For is believed, separated by commas.
    #[arg(long, env = "PGFLEX_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpAddr>,
    /// Requests that one person, or one address without a session, may send in a minute; a tenth of them
    /// may change something and a sixtieth may submit operations. 0 counts nothing.
    #[arg(long, env = "PGFLEX_REQUESTS_PER_MINUTE", default_value_t = 600)]
    pub requests_per_minute: u32,
    /// Marks everything made on engines as made by a test, for the clean-up.
    #[arg(long, env = "PGFLEX_TEST", hide = true)]
    pub test: bool,
    /// Says so and stands still at a moment of a step, such as `create_volume:acted`, until it is killed.
    #[cfg(feature = "test-util")]
    #[arg(long, hide = true)]
    pub test_stop_at: Option<String>,
}

/// A part of the work that a process can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Web,
    Runner,
    Monitor,
    Gateway,
}

/// The configuration file. Every table is optional; an unknown word in it is an error, not a surprise.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    pub hosts: Vec<HostConfig>,
    pub regions: Vec<Region>,
    pub prices: Option<PriceList>,
    pub overcommit: Overcommit,
    /// How the storage of new servers is kept to its size.
    pub storage: StoragePolicy,
    /// Where backups can be kept outside of every host.
    pub object_storage: Option<ObjectStorageConfig>,
}

/// The `[object_storage]` table. The secret key is in a file of its own or in the environment, never in this one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectStorageConfig {
    /// `https://s3.example.org` or `https://10.0.0.7:9000`.
    pub endpoint: String,
    pub bucket: String,
    pub region: String,
    /// What the names of all objects begin with.
    #[serde(default = "usual_prefix")]
    pub prefix: String,
    /// Where the bucket stands in addresses: `path` or `host`.
    #[serde(default = "usual_style")]
    pub style: String,
    /// PEM file of the authority of its certificate; left out for those that every machine trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    pub key_id: String,
    /// File with the secret key; left out, it is read from the environment.
    #[serde(default)]
    pub secret_key_file: Option<PathBuf>,
}

impl ObjectStorageConfig {
    /// The place alone, which is no secret.
    ///
    /// # Errors
    /// The word that cannot be used, and how it is written.
    pub fn place(&self) -> Result<ObjectStorage, String> {
        let Self { endpoint, bucket, region, prefix, style, .. } = self;
        ObjectStorage::parse(endpoint, bucket, region, prefix, style)
    }
}

fn usual_prefix() -> String {
    "pgflex".into()
}

fn usual_style() -> String {
    "path".into()
}

/// Where the secret key of the object storage is looked for when no file is named.
pub const OBJECT_STORAGE_SECRET: &str = "PGFLEX_OBJECT_STORAGE_SECRET_KEY";

/// The secret key of the object storage from the environment; `None` when it is not there.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the reader; an argument would be seen by everybody"
)]
pub fn object_storage_secret() -> Option<String> {
    std::env::var(OBJECT_STORAGE_SECRET).ok()
}

/// A `[[hosts]]` table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    pub name: String,
    /// `unix:///var/run/docker.sock` or `tcp://10.0.0.5:2376`.
    pub address: String,
    /// Where other machines reach the ports of its members; with TLS it is the address of the engine by itself.
    #[serde(default)]
    pub member_address: Option<IpAddr>,
    /// Certificates for an engine on another machine.
    #[serde(default)]
    pub tls: Option<TlsPaths>,
    /// Which zones of which regions live on it; without any, all.
    #[serde(default)]
    pub places: Vec<Place>,
}

/// PEM files of the way to one engine, read at the start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsPaths {
    /// Authority that signed the engine's certificate.
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// All settings of one process.
#[derive(Debug, Clone)]
pub struct Config {
    pub args: ServeArgs,
    pub hosts: Vec<HostConfig>,
    pub regions: Vec<Region>,
    pub prices: PriceList,
    pub overcommit: Overcommit,
    pub storage: StoragePolicy,
    pub object_storage: Option<ObjectStorageConfig>,
}

impl Config {
    /// Puts the arguments and the configuration file together.
    ///
    /// # Errors
    /// When the file cannot be read or has a word in it that is not understood; the error names both.
    pub fn load(args: ServeArgs) -> anyhow::Result<Self> {
        use anyhow::Context;
        let named = args.config.clone();
        let path = named.clone().unwrap_or_else(|| args.data.join("pgflex.toml"));
        let file: FileConfig = if named.is_some() || path.exists() {
            let text = std::fs::read_to_string(&path).with_context(|| {
                format!("cannot read the configuration file {}", path.display())
            })?;
            toml::from_str(&text).with_context(|| {
                format!("the configuration file {} is not understood", path.display())
            })?
        } else {
            FileConfig::default()
        };
        if let Some(prices) = &file.prices {
            let place = || format!("the prices in {} cannot be used", path.display());
            prices.check().map_err(anyhow::Error::msg).with_context(place)?;
        }
        Ok(Self::combine(args, file))
    }

    /// The same from parts, for tests.
    pub fn combine(args: ServeArgs, file: FileConfig) -> Self {
        let local = || HostConfig {
            name: "local".into(),
            address: args.docker_host.clone(),
            member_address: None,
            tls: None,
            places: vec![],
        };
        Self {
            hosts: if file.hosts.is_empty() { vec![local()] } else { file.hosts },
            regions: if file.regions.is_empty() { default_regions() } else { file.regions },
            prices: file.prices.map_or_else(PriceList::default, PriceList::of_operator),
            overcommit: file.overcommit,
            storage: file.storage,
            object_storage: file.object_storage,
            args,
        }
    }

    /// URL of the metadata database.
    pub fn database_url(&self) -> String {
        if self.args.database_url.is_empty() {
            format!("sqlite://{}?mode=rwc", self.args.data.join("pgflex.db").display())
        } else {
            self.args.database_url.clone()
        }
    }

    /// URL under which people reach the portal, without a slash at the end.
    pub fn public_url(&self) -> String {
        let given = self.args.public_url.trim_end_matches('/');
        if given.is_empty() { format!("http://{}", self.args.listen) } else { given.to_owned() }
    }

    /// Whether people reach the portal over TLS: then cookies are `__Host-` and Secure.
    pub fn is_https(&self) -> bool {
        self.public_url().starts_with("https://")
    }

    pub fn has(&self, role: Role) -> bool {
        self.args.roles.contains(&role)
    }

    pub fn region(&self, key: &str) -> Option<&Region> {
        self.regions.iter().find(|region| region.key == key)
    }
}

fn parse_ports(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').ok_or("write it as FIRST-LAST")?;
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| format!("{text} is no port"));
    let (first, last) = (port(first)?, port(last)?);
    if first == 0 || last < first {
        Err("the first port is 1 or more and not above the last".into())
    } else {
        Ok((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges() {
        assert_eq!(parse_ports("20000-20001"), Ok((20000, 20001)));
        for bad in ["", "1", "2-1", "0-1", "x-y", "1-70000"] {
            assert!(parse_ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_with_an_unknown_word_is_refused() {
        assert!(toml::from_str::<FileConfig>("[overcommit]\nmemroy = 2.0").is_err());
        assert!(toml::from_str::<FileConfig>("storage = 'quota'").is_err());
        let measured: FileConfig = toml::from_str("storage = 'measured'").unwrap();
        assert_eq!(measured.storage, StoragePolicy::Measured);
        let file: FileConfig = toml::from_str("[overcommit]\nmemory = 2.0\n[[hosts]]\nname='a'\naddress='unix:///x'\nplaces=[{region='r',zone='1'}]").unwrap();
        assert!(
            (file.overcommit.memory - 2.0).abs() < f64::EPSILON
                && file.hosts[0].places[0].zone == "1"
        );
    }
}
