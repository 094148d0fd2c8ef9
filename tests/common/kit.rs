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

/// An engine of an installation, and PostgreSQL where it runs a member.
pub fn fakes(install_id: &str) -> (FakeEngine, FakePostgres) {
    let engine = FakeEngine::new(install_id);
    let (seen, files) = (engine.clone(), engine.clone());
    let postgres = FakePostgres::new(move |address| {
        seen.member_at(&address.to_string()).map(|_| "17.6".into())
    });
    let postgres = postgres.with_files(move |address| files.configuration_at(&address.to_string()));
    (engine, postgres)
}

pub fn settings(install_id: &str) -> OperationSettings {
    OperationSettings {
        install_id: install_id.to_owned(),
        endpoint_host: "localhost".into(),
        endpoint_domain: "pgflex.localhost".into(),
        overcommit: Overcommit::default(),
        storage: Default::default(),
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
