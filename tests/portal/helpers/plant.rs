//! What works behind the portal: the real runner on an engine in memory, with the portal's own store,
//! clock and pokes.

use super::{TestApp, kit};
use chrono::Duration;
use pgflex::certificates::Authority;
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::activity::Actor;
use pgflex::domain::ids::{HostId, OperationId};
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::engine::Engine;
use pgflex::engine::fake::FakeEngine;
use pgflex::operations::context::Services;
use pgflex::operations::runner::{Hook, Runner};
use pgflex::operations::submit::{Door, NewServer};
use pgflex::secrets::Secret;
use std::collections::HashMap;
use std::sync::Arc;

/// One host and a runner.
pub struct Plant {
    pub app: TestApp,
    pub engine: FakeEngine,
    pub services: Arc<Services>,
    pub host: HostId,
}

impl Plant {
    /// A host named "local" on which everything fits.
    pub async fn of(app: &TestApp) -> Self {
        let (state, now) = (&app.state, app.state.now());
        let (mut engines, postgres) = kit::several(&state.install_id, 1);
        let engine = engines.remove(0);
        let host = ("local".into(), "unix:///var/run/docker.sock".into(), vec![]);
        let host = state.store.register_hosts(now, &[host]).await.unwrap()[0].id.clone();
        state.store.observe_host(&host, now, &kit::big_host(), &[]).await.unwrap();
        let services = Arc::new(Services {
            store: state.store.clone(),
            engines: HashMap::from([(host.clone(), Arc::new(engine.clone()) as Arc<dyn Engine>)])
                .into(),
            postgres: Arc::new(postgres),
            clock: state.clock.clone(),
            sealer: state.sealer.clone(),
            authority: Authority::generate(&state.install_id, now).unwrap().0,
            poke: state.poke.clone(),
            settings: kit::settings(&state.install_id),
        });
        Self { app: app.clone(), engine, services, host }
    }

    pub fn door(&self) -> Door<'_> {
        let services = &self.services;
        Door { store: &services.store, clock: &*services.clock, poke: &services.poke }
    }

    /// Asks for a server; nothing of it has begun.
    pub async fn submit_create(&self, name: &str) -> OperationId {
        let (spec, verifier) =
            (kit::spec(name), Secret::new("SCRAM-SHA-256$4096:c2FsdA==$c3Q=:c2U="));
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
        self.door().create(&self.services.sealer, &new, &actor()).await.unwrap()
    }

    /// Asks for an operation on a server that was made before, without any fault.
    pub async fn submit(&self, kind: OperationKind, name: &str) -> OperationId {
        let create = self.submit_create(name).await;
        let made = self.run(&create).await;
        assert_eq!(made.status, OperationStatus::Succeeded, "{:?}", made.error);
        self.door().submit(kind, &made.server_id, &actor(), None).await.unwrap()
    }

    pub async fn operation(&self, id: &OperationId) -> Operation {
        self.services.store.operation(id).await.unwrap().unwrap()
    }

    /// Lets the runner work until the operation has settled.
    pub async fn run(&self, id: &OperationId) -> Operation {
        self.work(self.runner(), id).await
    }

    /// The same with a hook that interferes.
    pub async fn run_with(&self, hook: Hook, id: &OperationId) -> Operation {
        self.work(self.runner().with_hook(hook), id).await
    }

    fn runner(&self) -> Runner {
        Runner::new(self.services.clone(), format!("test/{}", new_uuid()))
    }

    async fn work(&self, runner: Runner, id: &OperationId) -> Operation {
        for _ in 0..500 {
            if runner.tick().await.unwrap() {
                continue;
            }
            let Some(due) = self.services.store.next_operation_due().await.unwrap() else { break };
            let ahead = due - self.app.clock.now();
            self.app.wind(ahead.max(Duration::milliseconds(1)));
        }
        let operation = self.operation(id).await;
        assert!(operation.status.is_settled(), "it never settles: {operation:?}");
        operation
    }
}

/// Who asks for everything here.
pub fn actor() -> Actor {
    Actor { user_id: None, name: "ada".into(), address: "198.51.100.9".into() }
}
