//! A portal of this run: its own data folder, its roles in a thread of this process or in a process of its own.

use crate::world::World;
use anyhow::{Context, bail};
use clap::Parser;
use pgflex::app::App;
use pgflex::clock::{Clock, new_id};
use pgflex::config::{Config, ServeArgs};
use pgflex::domain::activity::Actor;
use pgflex::domain::ids::{OperationId, RuleId, ServerId};
use pgflex::domain::names::{AdminLogin, ServerName};
use pgflex::domain::network::{Access, AddressRange, FirewallRule};
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::server::ServerSpec;
use pgflex::domain::version::Major;
use pgflex::operations::submit::{Door, NewServer};
use pgflex::poke::Poke;
use pgflex::secrets::{Sealer, Secret, scram_verifier};
use pgflex::store::Store;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// Login of every administrator.
pub const ADMIN: &str = "benchadmin";
/// Password of every administrator; its server lives for a minute and listens on this machine only.
pub const PASSWORD: &str = "Bench-mark-2026";
/// Ports of the gateway: apart from those of a portal that somebody uses.
pub const PORTS: (u16, u16) = (28_000, 28_999);
/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    args: ServeArgs,
}

/// An open portal.
pub struct Portal {
    pub folder: PathBuf,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub config: Arc<Config>,
    pub sealer: Sealer,
    pub poke: Poke,
    pub install_id: String,
    /// The root certificate, as people download it.
    pub ca_certificate: String,
    _running: Option<Running>,
}

/// Ends the thread of a portal when it is dropped.
struct Running(#[expect(dead_code, reason = "its end is the signal")] oneshot::Sender<()>);

fn arguments(folder: &Path, roles: &str, listen: u16) -> Vec<String> {
    let mut args: Vec<String> = vec![
        format!("--data={}", folder.display()),
        // Said here so that nothing of the caller's environment gets in.
        "--database-url=".into(),
        format!("--listen=127.0.0.1:{listen}"),
        "--public-url=".into(),
        format!("--gateway-ports={}-{}", PORTS.0, PORTS.1),
        "--gateway-shared-port=0".into(),
        "--gateway-listen=127.0.0.1".into(),
        "--endpoint-host=localhost".into(),
        "--test".into(),
        "--requests-per-minute=0".into(),
    ];
    args.extend((!roles.is_empty()).then(|| format!("--roles={roles}")));
    args
}

/// A port of this machine that is free now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Portal {
    /// Opens a data folder of this run, new or not, without starting anything.
    pub async fn open(world: &World, name: &str) -> anyhow::Result<(Self, App)> {
        let folder = world.folder.join(name);
        let mut args = arguments(&folder, "", free_port()?);
        args.insert(0, "pgflex".into());
        let app = App::open(Config::load(Serve::try_parse_from(args)?.args)?).await?;
        world.owns_install(&app.install_id);
        let portal = Self {
            folder,
            store: app.store.clone(),
            clock: app.clock.clone(),
            config: app.config.clone(),
            sealer: app.sealer.clone(),
            poke: app.poke.clone(),
            install_id: app.install_id.clone(),
            ca_certificate: app.authority.certificate.clone(),
            _running: None,
        };
        Ok((portal, app))
    }

    /// Opens it and runs roles in a thread with a runtime of its own, as the program does.
    pub async fn start(world: &World, name: &str, roles: &str) -> anyhow::Result<Self> {
        use clap::ValueEnum;
        use pgflex::config::Role;
        let (mut portal, mut app) = Self::open(world, name).await?;
        let roles = roles.split(',').map(|role| Role::from_str(role, true));
        let roles = roles.collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::msg)?;
        let mut config = (*app.config).clone();
        config.args.roles = roles;
        app.config = Arc::new(config);
        portal._running = Some(in_thread(move || async move {
            if let Err(error) = app.run().await {
                eprintln!("bench: the portal ended: {error:#}");
            }
        })?);
        portal.wait_for_host().await?;
        Ok(portal)
    }

    /// Starts the release program on this portal's data folder, as a process of its own.
    pub fn spawn(&self, roles: &str) -> anyhow::Result<Child> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgflex"));
        command.arg("serve").args(arguments(&self.folder, roles, self.config.args.listen.port()));
        command.env("RUST_LOG", "warn").env_remove("PGFLEX_CONFIG").kill_on_drop(true);
        command.stdout(std::process::Stdio::piped());
        command.spawn().context("the program cannot be started")
    }

    async fn wait_for_host(&self) -> anyhow::Result<()> {
        let seen = async {
            loop {
                let loads = self.store.host_loads().await?;
                if loads.iter().any(|load| load.facts.is_some()) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen)
            .await
            .context("the Docker Engine does not answer")?
    }

    pub fn door(&self) -> Door<'_> {
        Door { store: &self.store, clock: &*self.clock, poke: &self.poke }
    }

    /// Submits a new server that admits this machine.
    pub async fn create(&self, name: &str, sku: &str) -> anyhow::Result<OperationId> {
        let spec = spec(name, sku)?;
        let local = AddressRange::parse("127.0.0.1", "")
            .map_err(|refusal| anyhow::anyhow!(refusal.text))?;
        let rule = FirewallRule { id: new_id(RuleId::parse), name: "bench".into(), range: local };
        // The form's handler makes the verifier too, so it is part of the time.
        let new = NewServer {
            spec: &spec,
            admin_verifier: &scram_verifier(&Secret::new(PASSWORD)),
            rules: &[rule],
            network: None,
            ha: None,
            backup: pgflex::domain::backup::BackupPolicy::default(),
            draft: None,
            ports: PORTS,
            idempotency_key: None,
        };
        Ok(self.door().create(&self.sealer, &new, &Actor::system()).await?)
    }

    pub async fn submit(
        &self,
        kind: OperationKind,
        server: &ServerId,
    ) -> anyhow::Result<OperationId> {
        Ok(self.door().submit(kind, server, &Actor::system(), None).await?)
    }

    pub async fn operation(&self, id: &OperationId) -> anyhow::Result<Operation> {
        self.store.operation(id).await?.context("the operation is not on record")
    }

    /// Waits for the end of an operation. The runner is in this process and tells every change.
    pub async fn ended(&self, id: &OperationId) -> anyhow::Result<Operation> {
        let mut progress = self.poke.watch_progress();
        let end = async {
            loop {
                progress.borrow_and_update();
                let operation = self.operation(id).await?;
                if operation.status.is_settled() {
                    return anyhow::Ok(operation);
                }
                // The settling write is followed by its own poke; the time limit is for a lost one.
                let _ = tokio::time::timeout(Duration::from_secs(1), progress.changed()).await;
            }
        };
        let operation =
            tokio::time::timeout(PATIENCE, end).await.context("an operation does not end")??;
        if operation.status != OperationStatus::Succeeded {
            let why = operation.error.as_deref().unwrap_or("no reason on record");
            bail!(
                "{} of {} {}: {why}",
                operation.kind.label(),
                operation.server_name,
                operation.status.label()
            );
        }
        Ok(operation)
    }

    /// The root certificate as a file, for clients.
    pub fn ca_file(&self) -> anyhow::Result<PathBuf> {
        let path = self.folder.join("ca.pem");
        std::fs::write(&path, &self.ca_certificate)?;
        Ok(path)
    }
}

/// What is asked for.
pub fn spec(name: &str, sku: &str) -> anyhow::Result<ServerSpec> {
    let refused = |refusal: pgflex::domain::refusal::Refusal| anyhow::anyhow!(refusal.text);
    Ok(ServerSpec {
        name: ServerName::parse(name).map_err(refused)?,
        region: "westeurope".into(),
        zone: "1".into(),
        major: Major::DEFAULT,
        sku: sku.into(),
        storage_gib: 32,
        admin_login: AdminLogin::parse(ADMIN).map_err(refused)?,
        access: Access::Public,
        tags: vec![],
    })
}

/// Runs work in a thread with a runtime of its own until what is given back is dropped.
fn in_thread<W: Future<Output = ()>>(
    work: impl FnOnce() -> W + Send + 'static,
) -> anyhow::Result<Running> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (keep, dropped) = oneshot::channel();
    std::thread::Builder::new().name("portal".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = work() => {}
                _ = dropped => {}
            }
        });
        runtime.shutdown_background();
    })?;
    Ok(Running(keep))
}
