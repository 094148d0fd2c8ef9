//! A whole control plane in memory: real store, real runner, fake engine and PostgreSQL, a clock wound by hand.

#[path = "changes.rs"]
pub mod changes;
#[path = "kit.rs"]
mod kit;

use pgflex::certificates::Authority;
use pgflex::clock::{Clock, ManualClock, new_uuid};
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{BackupType, RestoreTarget};
use pgflex::domain::catalog::Tier;
use pgflex::domain::ha::{Durability, HaMode, HighAvailability};
use pgflex::domain::host::Place;
use pgflex::domain::ids::{GroupId, NetworkId, OperationId, ServerId};
use pgflex::domain::names::ServerName;
use pgflex::domain::network::Access;
use pgflex::domain::operation::{Needs, Operation, OperationKind, OperationStatus};
use pgflex::domain::server::ServerSpec;
use pgflex::domain::virtual_network::{NetworkState, VirtualNetwork};
use pgflex::engine::Engine;
use pgflex::engine::fake::FakeEngine;
use pgflex::operations::ask_restore::NewRestore;
use pgflex::operations::context::Services;
use pgflex::operations::runner::{Hook, RunError, Runner};
use pgflex::operations::submit::{Change, Door, NewServer, SubmitError};
use pgflex::poke::Poke;
use pgflex::postgres::fake::FakePostgres;
use pgflex::secrets::{Sealer, Secret};
use pgflex::store::Record;
use pgflex::store::testing::TestStore;
use std::collections::HashMap;
use std::sync::Arc;

pub const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy";

pub struct World {
    /// Keeps the database until the test ends.
    _test: TestStore,
    pub engine: FakeEngine,
    /// The engine of another zone, where only standbys are placed.
    pub far: FakeEngine,
    pub postgres: FakePostgres,
    pub clock: ManualClock,
    pub services: Arc<Services>,
}

impl World {
    pub async fn new(test: TestStore) -> Self {
        let clock = ManualClock::at(chrono::DateTime::from_timestamp(1_795_000_000, 0).unwrap());
        let install_id = new_uuid();
        let (mut engines, postgres) = kit::several(&install_id, 2);
        let (far, engine) = (engines.remove(1), engines.remove(0));
        let place = |zone: &str| Place { region: "westeurope".into(), zone: zone.into() };
        let hosts = [
            ("local".to_owned(), "unix:///fake".to_owned(), vec![place("1")]),
            ("other".to_owned(), "unix:///far".to_owned(), vec![place("2")]),
        ];
        let hosts = test.store.register_hosts(clock.now(), &hosts).await.unwrap();
        let id = |name: &str| hosts.iter().find(|host| host.name == name).unwrap().id.clone();
        let engines = [(id("local"), engine.clone()), (id("other"), far.clone())];
        for (host, _) in &engines {
            test.store.observe_host(host, clock.now(), &kit::big_host(), &[]).await.unwrap();
        }
        let (authority, _) = Authority::generate(&install_id, clock.now()).unwrap();
        let services = Arc::new(Services {
            store: test.store.clone(),
            engines: engines
                .map(|(host, engine)| (host, Arc::new(engine) as Arc<dyn Engine>))
                .into_iter()
                .collect::<HashMap<_, _>>()
                .into(),
            postgres: Arc::new(postgres.clone()),
            clock: Arc::new(clock.clone()),
            sealer: Sealer::from_key([7; 32]),
            authority,
            poke: Poke::default(),
            settings: kit::settings(&install_id),
        });
        Self { _test: test, engine, far, postgres, clock, services }
    }

    pub fn engines(&self) -> [&FakeEngine; 2] {
        [&self.engine, &self.far]
    }

    pub fn door(&self) -> Door<'_> {
        Door {
            store: &self.services.store,
            clock: &*self.services.clock,
            poke: &self.services.poke,
        }
    }

    /// A runner of a process that has just started.
    pub fn runner(&self) -> Runner {
        Runner::new(self.services.clone(), format!("test/{}", new_uuid()))
    }

    pub async fn submit_create_in(&self, name: &str, tier: Tier) -> OperationId {
        let verifier = Secret::new(VERIFIER);
        let sku = tier.skus().next().unwrap().name.into();
        let spec = ServerSpec { sku, ..kit::spec(name) };
        let new = NewServer {
            spec: &spec,
            admin_verifier: &verifier,
            rules: &[],
            network: None,
            ha: None,
            backup: pgflex::domain::backup::BackupPolicy::default(),
            draft: None,
            ports: (20000, 20999),
            idempotency_key: None,
        };
        self.door().create(&self.services.sealer, &new, &Actor::system()).await.unwrap()
    }

    /// Submits an operation of a kind; what must exist before it is made first, without any fault.
    pub async fn submit(&self, kind: OperationKind) -> OperationId {
        let create = self.submit_create_in("shop", changes::tier(kind)).await;
        if kind == OperationKind::Create {
            return create;
        }
        let server = self.succeed(&create).await;
        if kind == OperationKind::ChangeNetworking {
            self.plant_network().await;
        }
        if kind.facts().needs == Needs::Stopped {
            self.succeed(&self.submit_on(OperationKind::Stop, &server).await).await;
        }
        if kind == OperationKind::ChangeExtension {
            self.succeed(&self.submit_on(OperationKind::AllowExtensions, &server).await).await;
        }
        if kind == OperationKind::SuspendRepository {
            self.succeed(&self.submit_on(OperationKind::Backup, &server).await).await;
        }
        if kind == OperationKind::RemoveRepository {
            self.succeed(&self.submit_on(OperationKind::Backup, &server).await).await;
            changes::plant_old_repository(self, &server).await;
        }
        if kind == OperationKind::DeleteBackup {
            self.succeed(&self.submit_on(OperationKind::Backup, &server).await).await;
            let (asked, actor) = ((BackupType::Full, "before"), Actor::system());
            let named = self.door().take_backup(&server, asked, &actor, None).await.unwrap();
            self.succeed(&named).await;
        }
        if matches!(kind, OperationKind::Restore | OperationKind::RestoreDrill) {
            self.succeed(&self.submit_on(OperationKind::Backup, &server).await).await;
        }
        if kind == OperationKind::Restore {
            return self.submit_restore(&server, &RestoreTarget::Latest).await.unwrap();
        }
        if changes::is_of_a_pair(kind) {
            self.plant_pair(&server).await;
        }
        if changes::needs_standby(kind) {
            self.succeed(&self.submit_on(OperationKind::BuildStandby, &server).await).await;
        }
        self.submit_on(kind, &server).await
    }

    /// Asks for a server "copy" from the backups of another one.
    pub async fn submit_restore(
        &self,
        source: &ServerId,
        target: &RestoreTarget,
    ) -> Result<OperationId, SubmitError> {
        let (verifier, name) = (Secret::new(VERIFIER), ServerName::parse("copy").unwrap());
        let new = NewRestore {
            source,
            repository: 1,
            target,
            set: None,
            name: &name,
            zone: "1",
            access: Access::Public,
            network: None,
            admin_verifier: &verifier,
            ports: (20000, 20999),
            idempotency_key: None,
        };
        let (group, sealer) = (GroupId::default_group(), &self.services.sealer);
        self.door().restore(&group, sealer, &new, &Actor::system()).await
    }

    /// High availability is asked for; nobody builds by itself here.
    pub async fn plant_pair(&self, server: &ServerId) {
        let now = self.clock.now();
        let (mode, durability) = (HaMode::ZoneRedundant, Durability::Preferred);
        let row = HighAvailability::asked(server.clone(), mode, durability, "2".into(), now);
        let mut tx = self.services.store.begin_write(now).await.unwrap();
        tx.insert_ha(&row).await.unwrap();
        tx.commit(Record::Nothing("as the page does")).await.unwrap();
    }

    /// The virtual network of the usual inputs.
    pub async fn plant_network(&self) -> NetworkId {
        let network = VirtualNetwork {
            id: NetworkId::parse(changes::NETWORK).unwrap(),
            name: "backend".into(),
            range: "10.20.0.0/24".parse().unwrap(),
            state: NetworkState::Active,
            note: String::new(),
            created_at: self.clock.now(),
        };
        let mut tx = self.services.store.begin_write(self.clock.now()).await.unwrap();
        tx.insert_network(&network).await.unwrap();
        tx.commit(Record::Nothing("a story begins")).await.unwrap();
        network.id
    }

    /// Submits a kind with its usual input.
    pub async fn submit_on(&self, kind: OperationKind, server: &ServerId) -> OperationId {
        changes::prepare(self, kind, server).await;
        let change = Change { kind, input: changes::input(kind) };
        self.door().submit_change(change, server, &Actor::system(), None).await.unwrap()
    }

    async fn succeed(&self, id: &OperationId) -> ServerId {
        let ended = self.run_to_rest(&self.runner(), id).await;
        assert_eq!(ended.status, OperationStatus::Succeeded, "{:?}", ended.error);
        ended.server_id
    }

    pub async fn operation(&self, id: &OperationId) -> Operation {
        self.services.store.operation(id).await.unwrap().unwrap()
    }

    /// Ticks, winding the clock to whatever is due next, until nothing more happens by itself.
    pub async fn run_to_rest(&self, runner: &Runner, id: &OperationId) -> Operation {
        self.try_run_to_rest(runner, id).await.expect("the runner is not killed")
    }

    /// The same; the error when the hook kills the runner.
    pub async fn try_run_to_rest(
        &self,
        runner: &Runner,
        id: &OperationId,
    ) -> Result<Operation, RunError> {
        for _ in 0..2_000 {
            if runner.tick().await? {
                continue;
            }
            match self.services.store.next_operation_due().await.unwrap() {
                None => return Ok(self.operation(id).await),
                Some(due) => {
                    let ahead = (due - self.clock.now()).max(chrono::Duration::milliseconds(1));
                    self.clock.wind(ahead);
                }
            }
        }
        panic!("the operation never comes to rest: {:?}", self.operation(id).await);
    }

    /// Runs with one interference after the other, a new runner after each kill, to the end.
    pub async fn run_through(&self, hook: Hook, id: &OperationId) -> Operation {
        for _ in 0..20 {
            match self.try_run_to_rest(&self.runner().with_hook(hook.clone()), id).await {
                Ok(operation) => return operation,
                Err(RunError::Killed) => {}
                Err(other) => panic!("{other}"),
            }
        }
        panic!("killed again and again");
    }
}
