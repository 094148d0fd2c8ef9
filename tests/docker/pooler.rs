//! The built-in PgBouncer on the real engine, through the gateway as clients reach it.

use crate::data::{Login, changed, created, succeeded};
use crate::portal::{ADMIN, PASSWORD, Portal};
use crate::support::{has_engine, majors};
use pgflex::domain::configuration::{Pooler, PoolerChange, PoolerFacts};
use pgflex::domain::ids::ServerId;
use pgflex::domain::names::PasswordReset;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::version::Major;
use pgflex::engine::Engine;
use pgflex::operations::submit::Change;
use pgflex::secrets::{Secret, scram_verifier};
use std::process::Command;
use std::time::{Duration, Instant};

fn change(portal: &Portal, pooler: Pooler) -> Change {
    let input = PoolerChange { pooler, ports: portal.ports };
    Change::new(OperationKind::ChangePooler, "", &input)
}

async fn pooler_port(portal: &Portal, server: &ServerId) -> u16 {
    portal.app.store.server(server).await.unwrap().unwrap().pooler_port.unwrap()
}

/// The gateway follows the store within a quarter of a second.
fn when_open(portal: &Portal, login: &Login<'_>, sql: &str) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match login.psql(portal, sql) {
            Ok(text) => return text,
            Err(why) => assert!(Instant::now() < end, "{why}\n{}", portal.tail()),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_share_connections_through_pgbouncer_and_nobody_gets_past_the_walls() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    for major in majors() {
        let name = format!("pool-{}", major.number());
        let server = created(&portal, &name, major, "Standard_D2ds_v5").await;
        let direct = Login::admin(crate::data::port_of(&portal, &server).await);
        let sql = "CREATE ROLE app LOGIN PASSWORD 'App-pass-4711'; CREATE DATABASE sales OWNER app";
        for statement in sql.split("; ") {
            // Before 16 one may give away only to roles that one is a member of.
            if major == Major::V15 && statement.starts_with("CREATE DATABASE") {
                direct.psql(&portal, &format!("GRANT app TO {ADMIN}")).unwrap();
            }
            direct.psql(&portal, statement).unwrap();
        }
        let on = Pooler { enabled: true, default_pool_size: 2, ..Pooler::default() };
        succeeded(&portal, &server, change(&portal, on.clone())).await;
        let port = pooler_port(&portal, &server).await;
        roles_and_passwords(&portal, port, &direct);
        sharing(&portal, port);
        walls(&portal, &server, port, &direct, major).await;
        settings_and_sessions(&portal, &server, port, &on).await;
        a_reset_ends_pooled_sessions(&portal, &server, port).await;
        off(&portal, &server, port, on).await;
    }
    portal.finish().await;
}

fn roles_and_passwords(portal: &Portal, port: u16, direct: &Login<'_>) {
    let admin = Login::admin(port);
    assert_eq!(when_open(portal, &admin, "SELECT current_user"), ADMIN);
    let app = Login { user: "app", password: "App-pass-4711", database: "sales", ..admin };
    assert_eq!(app.psql(portal, "SELECT current_user || current_database()").unwrap(), "appsales");
    let tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(app.psql(portal, tls).unwrap(), "t", "TLS from PgBouncer to PostgreSQL");
    for wrong in [
        Login { password: "wrong", ..Login::admin(port) },
        Login { user: "nobody", ..Login::admin(port) },
        Login { user: "pgflex_control", ..Login::admin(port) },
        Login { user: "pgflex_pooler", ..Login::admin(port) },
        Login { user: "pgflex_pooler", password: "", ..Login::admin(port) },
        Login { database: "pgbouncer", ..Login::admin(port) },
        Login { sslmode: "disable", ..Login::admin(port) },
    ] {
        let refused = wrong.psql(portal, "SELECT 1");
        assert!(refused.is_err(), "{} {} {refused:?}", wrong.user, wrong.sslmode);
    }
    direct.psql(portal, "ALTER ROLE app PASSWORD 'App-pass-4712'").unwrap();
    assert!(app.psql(portal, "SELECT 1").is_err(), "the old password counts no more");
    let app = Login { password: "App-pass-4712", ..app };
    assert_eq!(app.psql(portal, "SELECT 1").unwrap(), "1");
}

/// Twenty clients at the same time, never more than two connections.
fn sharing(portal: &Portal, port: u16) {
    let app = || Login {
        user: "app",
        password: "App-pass-4712",
        database: "sales",
        ..Login::admin(port)
    };
    let mut clients: Vec<_> = (0..20).map(|_| app().open(portal)).collect();
    let backends: std::collections::BTreeSet<String> =
        clients.iter_mut().map(|client| client.ask("SELECT pg_backend_pid()")).collect();
    assert!(!backends.contains("") && backends.len() <= 2, "{backends:?}");
    let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
    assert!(clients[0].ask(count).parse::<u32>().unwrap() <= 2);
}

async fn walls(portal: &Portal, server: &ServerId, port: u16, direct: &Login<'_>, major: Major) {
    // Nobody is told a verifier: neither the administrator nor whoever became PgBouncer's role.
    let lookup = "SELECT passwd FROM pgflex_service.pooler_lookup('app')";
    let refused = direct.psql(portal, lookup).unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
    if major == Major::V15 {
        direct.psql(portal, &format!("GRANT pgflex_pooler TO {ADMIN}")).unwrap();
        let became = format!("SET ROLE pgflex_pooler; {lookup}");
        assert_eq!(direct.psql(portal, &became).unwrap(), "", "no row");
        let taken = "ALTER ROLE pgflex_pooler PASSWORD 'Taken-over-1'";
        direct.psql(portal, taken).unwrap();
        let inside =
            Login { user: "pgflex_pooler", password: "Taken-over-1", ..Login::admin(direct.port) };
        assert!(inside.psql(portal, "SELECT 1").is_err(), "only by certificate");
    }
    let pooler = portal.app.store.members(server).await.unwrap()[0].pooler();
    let inspect = docker(&["inspect", &pooler]);
    assert!(!inspect.contains("PRIVATE KEY") && !inspect.contains("SCRAM"), "{inspect}");
    assert!(inspect.contains("\"ReadonlyRootfs\": true") && inspect.contains("no-new-privileges"));
    let log = docker(&["logs", &pooler]);
    assert!(!log.contains("SCRAM-SHA-256$") && !log.contains("App-pass"), "{log}");
    let id = portal.app.store.firewall_rules(server).await.unwrap()[0].id.clone();
    let now = portal.app.clock.now();
    let mut tx = portal.app.store.begin_write(now).await.unwrap();
    let rule = tx.delete_firewall_rule(server, &id).await.unwrap().unwrap();
    tx.commit(pgflex::store::Record::Nothing("test")).await.unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match Login::admin(port).psql(portal, "SELECT 1") {
            Err(why) if why.contains("no firewall rule") => break,
            // One that was let in before is cut, and says only that.
            other => assert!(Instant::now() < end, "the rule is still in force: {other:?}"),
        }
    }
    let mut tx = portal.app.store.begin_write(now).await.unwrap();
    tx.save_firewall_rule(server, &rule).await.unwrap();
    tx.commit(pgflex::store::Record::Nothing("test")).await.unwrap();
    when_open(portal, &Login::admin(port), "SELECT 1");
}

/// New settings reach the clients that are there, and the monitor sees that it answers.
async fn settings_and_sessions(portal: &Portal, server: &ServerId, port: u16, on: &Pooler) {
    let mut client = Login::admin(port).open(portal);
    assert_eq!(client.ask("SELECT 1"), "1");
    let session = Pooler {
        pool_mode: pgflex::domain::configuration::PoolMode::Session,
        default_pool_size: 5,
        ..on.clone()
    };
    succeeded(portal, server, change(portal, session)).await;
    assert_eq!(client.ask("SELECT 1"), "1", "clients go on");
    let login = Login::admin(port);
    let kept = "SET work_mem = '5MB'; SELECT 1; SHOW work_mem";
    assert!(login.psql(portal, kept).unwrap().contains("5MB"));
    let (store, kind) = (&portal.app.store, PoolerFacts::OBSERVATION);
    let end = Instant::now() + Duration::from_secs(40);
    loop {
        let look = store.server_observation::<PoolerFacts>(server, kind).await.unwrap();
        if look.as_ref().is_some_and(|look| look.facts.answers == Some(true)) {
            break;
        }
        assert!(Instant::now() < end, "{look:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn a_reset_ends_pooled_sessions(portal: &Portal, server: &ServerId, port: u16) {
    let mut client = Login::admin(port).open(portal);
    assert_eq!(client.ask("SELECT 1"), "1");
    let verifier = scram_verifier(&Secret::new("Brand-new-4711"));
    let reset = PasswordReset { reset: pgflex::clock::new_uuid() };
    let door = portal.door();
    assert!(door.keep_new_password(&portal.app.sealer, server, &reset, &verifier).await.unwrap());
    succeeded(portal, server, Change::new(OperationKind::ResetPassword, "", &reset)).await;
    assert_eq!(client.ask("SELECT 1"), "");
    let new = Login { password: "Brand-new-4711", ..Login::admin(port) };
    assert_eq!(when_open(portal, &new, "SELECT 1"), "1");
    let old = Login { password: PASSWORD, ..Login::admin(port) };
    assert!(old.psql(portal, "SELECT 1").is_err());
}

async fn off(portal: &Portal, server: &ServerId, port: u16, on: Pooler) {
    let operation = changed(portal, server, change(portal, Pooler { enabled: false, ..on })).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    let owned = portal.engine().owned().await.unwrap();
    let pooler = portal.app.store.members(server).await.unwrap()[0].pooler();
    assert!(owned.iter().all(|object| object.name != pooler), "container and volume are gone");
    let end = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(Instant::now() < end, "the port is closed");
    }
    assert_eq!(pooler_port(portal, server).await, port, "the port is kept");
}
