//! The composition root: builds every part once, hands each what it needs, and owns the order of
//! start and shutdown. Nothing else knows all layers.
//!
//! Start: store and its migrations, master key, root certificate, hosts; then the runner (it resumes
//! what a killed process left), the monitor, the gateway, and the pages last.

pub(crate) mod hosts;
mod object_storage;

use crate::certificates::Authority;
use crate::clock::{Clock, SystemClock, new_id, new_uuid};
use crate::config::{Config, Role};
use crate::domain::account::{Invite, Role as UserRole, SETUP_LINK_LIFE};
use crate::domain::ids::{InviteId, ServerId};
use crate::engine::registry::Engines;
use crate::gateway::{self, GatewaySettings, GatewayStats, Identities, Identity, Limits};
use crate::monitor;
use crate::operations::access::{sealed_place, secret};
use crate::operations::context::{OperationSettings, Services};
use crate::operations::runner::Runner;
use crate::operations::{engines, owner, store_backup};
use crate::poke::Poke;
use crate::postgres::client::TlsPostgres;
use crate::postgres::pgbackrest::Storage;
use crate::secrets::{HashCost, Sealer, Secret, random_token, sha256_hex};
use crate::store::{Record, Store};
use crate::web;
use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Where the root's sealed key is kept; also the value that tells whether a master key belongs to a store.
const ROOT_KEY: &str = "authority/key";
const ROOT_CERTIFICATE: &str = "authority/certificate";

/// Everything a process of pgflex stands on.
pub struct App {
    pub config: Arc<Config>,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub sealer: Sealer,
    pub authority: Authority,
    pub install_id: String,
    pub poke: Poke,
}

impl App {
    /// Opens store and keys. Engines are not asked: the portal starts without any.
    ///
    /// # Errors
    /// When the data folder, the store or the master key cannot be used; each error says which and why.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        make_private_folder(&config)?;
        let store = Store::open(&config.database_url())
            .await
            .context("the metadata database cannot be opened")?;
        if store.is_recovery_unfinished().await? {
            anyhow::bail!(
                "a recovery into this metadata database did not end, so it is not to be used. \
                 Empty the database, or name a new one, and run pgflex recover again."
            );
        }
        Self::assemble(config, store).await
    }

    /// The same around a store that is open, also one that a recovery is filling.
    pub(crate) async fn assemble(config: Config, store: Store) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let sealer = open_sealer(&config, &store).await?;
        let install_id = store.setting_or_insert(clock.now(), "install_id", &new_uuid()).await?;
        let authority = open_authority(&store, &sealer, &*clock, &install_id).await?;
        let poke = Poke::default();
        Ok(Self { config: Arc::new(config), store, clock, sealer, authority, install_id, poke })
    }

    /// Runs the roles of this process until it is told to stop.
    ///
    /// # Errors
    /// When the pages' address cannot be listened on.
    pub async fn run(self) -> anyhow::Result<()> {
        let (stop, stopped) = watch::channel(false);
        let services = self.services().await?;
        let mut tasks = tokio::task::JoinSet::new();
        if self.config.has(Role::Runner) {
            let runner = Runner::new(services.clone(), owner::this_process());
            #[cfg(feature = "test-util")]
            let runner = stop_where_told(runner, self.config.args.test_stop_at.clone());
            tasks.spawn(runner.run(stopped.clone()));
        }
        if self.config.has(Role::Monitor) {
            tasks.spawn(monitor::run(services.clone(), stopped.clone()));
            tasks.spawn(monitor::drills::run(services.clone(), stopped.clone()));
            let folder = self.config.args.data.join(store_backup::FOLDER);
            tasks.spawn(monitor::store_backups::run(services.clone(), folder, stopped.clone()));
        }
        if self.config.has(Role::Runner) || self.config.has(Role::Monitor) {
            tasks.spawn(engines::follow(services.clone(), stopped.clone()));
        }
        if self.config.has(Role::Gateway) {
            let gateway = self.gateway(stopped.clone());
            tasks.spawn(async move {
                if let Err(error) = gateway.await {
                    tracing::error!(%error, "the gateway cannot run in this process");
                }
            });
        }
        tokio::spawn(wait_for_signal(stop.clone()));
        let served = if self.config.has(Role::Web) {
            self.web(stopped.clone()).await
        } else {
            wait(stopped.clone()).await;
            Ok(())
        };
        stop.send_replace(true);
        while tasks.join_next().await.is_some() {}
        self.store.close().await;
        served
    }

    async fn web(&self, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
        let state = self.app_state().await?;
        println!("pgflex is at {}", self.config.public_url());
        if let Some(link) = self.setup_link(&state).await? {
            println!("Make the first owner here, within 30 minutes: {link}");
        }
        let listen = self.config.args.listen;
        web::serve(state, wait(stopped)).await.with_context(|| {
            format!("the pages cannot be served at {listen}: choose another address with --listen")
        })
    }

    /// A one-time link for one more owner, asked for at the machine itself.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn owner_link(&self) -> anyhow::Result<String> {
        let state = self.app_state().await?;
        if let Some(link) = self.setup_link(&state).await? {
            return Ok(link);
        }
        let (token, now) = (random_token(), self.clock.now());
        let invite = Invite {
            id: new_id(InviteId::parse),
            role: UserRole::Owner,
            note: "asked for at the machine".into(),
            is_setup: false,
            created_by: "pgflex".into(),
            created_at: now,
            expires_at: now + SETUP_LINK_LIFE,
        };
        let mut tx = self.store.begin_write(now).await?;
        tx.insert_invite(&invite, &sha256_hex(&token)).await?;
        tx.commit(Record::Nothing("the use of the link is what is logged")).await?;
        Ok(format!("{}{}", self.config.public_url(), web::paths::invite(&token)))
    }

    async fn setup_link(&self, state: &web::AppState) -> anyhow::Result<Option<String>> {
        web::handlers::account::join::setup_link(state)
            .await
            .map_err(|error| anyhow::anyhow!("the first owner's link cannot be made: {error}"))
    }

    async fn app_state(&self) -> anyhow::Result<web::AppState> {
        web::AppState::open(web::state::Parts {
            store: self.store.clone(),
            clock: self.clock.clone(),
            config: self.config.clone(),
            sealer: self.sealer.clone(),
            poke: self.poke.clone(),
            install_id: self.install_id.clone(),
            ca_certificate: self.authority.certificate.clone(),
            hash_cost: HashCost::STRONG,
        })
        .await
        .map_err(|error| anyhow::anyhow!("the pages cannot be served: {error}"))
    }

    fn gateway(
        &self,
        stopped: watch::Receiver<bool>,
    ) -> impl Future<Output = std::io::Result<()>> + use<> {
        let args = &self.config.args;
        let keys = StoredIdentities { store: self.store.clone(), sealer: self.sealer.clone() };
        let settings = GatewaySettings {
            id: format!("{} {}", args.gateway_listen, args.gateway_shared_port),
            listen: args.gateway_listen,
            shared_port: args.gateway_shared_port,
            endpoint_domain: args.endpoint_domain.clone(),
            threads: gateway::default_threads(),
            identities: Some(Arc::new(keys)),
            limits: Limits::default(),
            stats: Arc::new(GatewayStats::default()),
        };
        let (store, clock, poke) = (self.store.clone(), self.clock.clone(), self.poke.clone());
        async move { gateway::run(store, clock, poke, settings, wait(stopped)).await }
    }

    /// As for hosts: only a process that drives engines needs it, and has the files that it names.
    fn object_storage(&self) -> anyhow::Result<Option<Arc<Storage>>> {
        let drives = self.config.has(Role::Runner) || self.config.has(Role::Monitor);
        let configured = self.config.object_storage.as_ref().filter(|_| drives);
        Ok(configured.map(object_storage::read).transpose()?.map(Arc::new))
    }

    /// What operations and the monitor stand on, with an engine for each host of the configuration.
    ///
    /// # Errors
    /// When the store does not answer or a host's address is not understood.
    pub async fn services(&self) -> anyhow::Result<Arc<Services>> {
        // Only a process that drives engines says which there are: one that serves pages or clients may
        // run elsewhere, without the file that names them and without the files that it names.
        if self.config.has(Role::Runner) || self.config.has(Role::Monitor) {
            let entries = hosts::entries(&self.config.hosts, &self.sealer)?;
            self.store.register_host_entries(self.clock.now(), &entries).await?;
        }
        let engines = Engines::default();
        engines::refresh(&engines, &self.store, &self.sealer, &self.install_id).await?;
        let args = &self.config.args;
        Ok(Arc::new(Services {
            store: self.store.clone(),
            engines,
            postgres: Arc::new(TlsPostgres),
            clock: self.clock.clone(),
            sealer: self.sealer.clone(),
            authority: self.authority.clone(),
            poke: self.poke.clone(),
            settings: OperationSettings {
                install_id: self.install_id.clone(),
                endpoint_host: args.endpoint_host.clone(),
                endpoint_domain: args.endpoint_domain.clone(),
                overcommit: self.config.overcommit,
                storage: self.config.storage,
                object_storage: self.object_storage()?,
                member_ports: args.member_ports,
                is_test: args.test,
            },
        }))
    }
}

/// Opens servers' certificates for refusals inside TLS.
struct StoredIdentities {
    store: Store,
    sealer: Sealer,
}

impl StoredIdentities {
    async fn open(&self, server: &ServerId, name: &str) -> Option<Zeroizing<String>> {
        let sealed = self.store.server_secret(server, name).await.ok()??;
        let plain = self.sealer.open(&sealed_place(server, name), &sealed).ok()?;
        String::from_utf8(plain.to_vec()).ok().map(Zeroizing::new)
    }
}

#[async_trait::async_trait]
impl Identities for StoredIdentities {
    async fn identity(&self, server: &ServerId) -> Option<Identity> {
        let certificate = self.open(server, secret::SERVER_CERTIFICATE).await?.to_string();
        Some(Identity { certificate, key: self.open(server, secret::SERVER_KEY).await? })
    }
}

/// The data folder holds the master key: nobody else may look into it.
pub(crate) fn make_private_folder(config: &Config) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let folder = &config.args.data;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("the data folder {} cannot be made", folder.display()))
}

/// A missing master key is made only for a store that has nothing sealed yet: a new key beside an old
/// store would lock everything in it away.
async fn open_sealer(config: &Config, store: &Store) -> anyhow::Result<Sealer> {
    let path = config.args.data.join("master.key");
    if !path.exists() && store.setting(ROOT_KEY).await?.is_some() {
        anyhow::bail!(
            "the master key {} is missing, but the metadata database was made with one. \
             Nothing was changed. Bring the key back from your backup, or name the right data folder with --data.",
            path.display()
        );
    }
    Sealer::from_file(&path).context("the master key cannot be used")
}

async fn open_authority(
    store: &Store,
    sealer: &Sealer,
    clock: &dyn Clock,
    install_id: &str,
) -> anyhow::Result<Authority> {
    if store.setting(ROOT_CERTIFICATE).await?.is_none() {
        let (authority, key) = Authority::generate(install_id, clock.now())?;
        let sealed = STANDARD.encode(sealer.seal(ROOT_KEY, key.reveal().as_bytes())?);
        // One value holds both, so that two processes that start together cannot mix two roots.
        let both = format!("{}\n{sealed}", STANDARD.encode(&authority.certificate));
        store.setting_or_insert(clock.now(), ROOT_CERTIFICATE, &both).await?;
        store.setting_or_insert(clock.now(), ROOT_KEY, "sealed beside the certificate").await?;
    }
    let both = store.setting(ROOT_CERTIFICATE).await?.unwrap_or_default();
    let (certificate, sealed) = both.split_once('\n').context("the root certificate is damaged")?;
    let certificate = String::from_utf8(STANDARD.decode(certificate)?)?;
    let key = sealer
        .open(ROOT_KEY, &STANDARD.decode(sealed)?)
        .context("the master key does not belong to this metadata database")?;
    Ok(Authority::from_pem(certificate, Secret::new(String::from_utf8(key.to_vec())?)))
}

/// For tests with real kills: prints that the moment has come, then never goes on.
#[cfg(feature = "test-util")]
fn stop_where_told(runner: Runner, at: Option<String>) -> Runner {
    use crate::operations::runner::{Interference, Moment};
    let Some(at) = at else { return runner };
    runner.with_hook(Arc::new(move |moment: Moment<'_>| {
        let here = format!("{}:{:?}", moment.step, moment.point).to_lowercase();
        if here == at && !moment.undoing {
            println!("stopped at {at}");
            std::thread::sleep(std::time::Duration::from_secs(3600));
        }
        Interference::None
    }))
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn wait_for_signal(stop: watch::Sender<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return tracing::warn!("signals cannot be caught; stop the process with SIGKILL");
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    stop.send_replace(true);
}
