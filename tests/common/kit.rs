//! What every control plane in memory is made of: the fakes, settings, a server, a host.

use pgflex::domain::catalog::Tier;
use pgflex::domain::host::{EngineFacts, Overcommit};
use pgflex::domain::names::{AdminLogin, ServerName};
use pgflex::domain::network::Access;
use pgflex::domain::server::ServerSpec;
use pgflex::domain::version::Major;
use pgflex::engine::fake::FakeEngine;
use pgflex::operations::context::OperationSettings;
use pgflex::postgres::fake::FakePostgres;
use pgflex::postgres::fake::cluster::{Machines, Running};

/// Several engines of an installation, and one world of members that replicate from each other on them.
pub fn several(install_id: &str, engines: u8) -> (Vec<FakeEngine>, FakePostgres) {
    let engines: Vec<_> =
        (0..engines).map(|number| FakeEngine::numbered(install_id, number)).collect();
    let postgres = postgres_on(&engines);
    (engines, postgres)
}

/// PostgreSQL where these engines run a member.
pub fn postgres_on(engines: &[FakeEngine]) -> FakePostgres {
    let (seen, files) = (engines.to_vec(), engines.to_vec());
    let postgres = FakePostgres::new(move |address| {
        let address = address.to_string();
        seen.iter().find_map(|engine| engine.member_at(&address)).map(|_| "17.6".into())
    });
    let postgres = postgres.with_files(move |address| {
        let address = address.to_string();
        files.iter().find_map(|engine| engine.configuration_at(&address))
    });
    let postgres = postgres.with_machines(Engines(engines.to_vec()));
    for engine in engines {
        let copied = postgres.clone();
        engine.on_copy(move |order| copied.copy(&order.source, &order.slot, &order.data));
    }
    postgres
}

/// Fake engines as the machines of fake members.
struct Engines(Vec<FakeEngine>);

impl Machines for Engines {
    fn members(&self) -> Vec<Running> {
        let members = self.0.iter().flat_map(FakeEngine::members);
        let running = members.map(|member| Running {
            container: member.container,
            data: member.data,
            addresses: member.addresses,
            start: member.start,
            configuration: member.configuration,
            rules: member.rules,
            loads: member.loads,
            is_standby: member.is_standby,
            is_paused: member.is_paused,
        });
        running.collect()
    }

    fn reload(&self, container: &str) {
        self.0.iter().for_each(|engine| engine.reload(container));
    }

    fn end_recovery(&self, container: &str) {
        self.0.iter().for_each(|engine| engine.end_recovery(container));
    }
}

pub fn settings(install_id: &str) -> OperationSettings {
    OperationSettings {
        install_id: install_id.to_owned(),
        endpoint_host: "localhost".into(),
        endpoint_domain: "pgflex.localhost".into(),
        overcommit: Overcommit::default(),
        storage: Default::default(),
        object_storage: None,
        member_ports: (22000, 22999),
        is_test: true,
    }
}

/// The smallest server.
pub fn spec(name: &str) -> ServerSpec {
    ServerSpec {
        name: ServerName::parse(name).unwrap(),
        region: "westeurope".into(),
        zone: "1".into(),
        major: Major::V17,
        sku: Tier::Burstable.skus().next().unwrap().name.into(),
        storage_gib: 32,
        admin_login: AdminLogin::parse("shopadmin").unwrap(),
        access: Access::Public,
        tags: vec![],
    }
}

/// A machine on which everything fits.
pub fn big_host() -> EngineFacts {
    EngineFacts {
        engine_id: "fake".into(),
        engine_version: "20.10.24".into(),
        operating_system: "Debian GNU/Linux 12".into(),
        kernel: "6.1.0".into(),
        cpus: 16,
        memory_bytes: 64 << 30,
        storage_total_bytes: Some(2 << 40),
        storage_free_bytes: Some(1 << 40),
        images: vec!["pgflex/postgres:17".into()],
        ranges: vec![],
        clock_ahead_ms: None,
    }
}
