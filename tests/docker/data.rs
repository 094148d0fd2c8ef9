//! Databases and the administrator's password on the real PostgreSQL.

use crate::portal::{ADMIN, PASSWORD, Portal};
use crate::support::{has_engine, in_lab, majors, timed};
use pgflex::domain::activity::Actor;
use pgflex::domain::database::{
    COLLATIONS, DatabaseFacts, DatabaseList, DatabaseName, NewDatabase, OldDatabase,
};
use pgflex::domain::ids::ServerId;
use pgflex::domain::names::PasswordReset;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::server::ServerSpec;
use pgflex::domain::version::Major;
use pgflex::operations::submit::{Change, NewServer};
use pgflex::postgres::client::TlsPostgres;
use pgflex::postgres::databases::Databases;
use pgflex::secrets::{Secret, scram_verifier};
use pgflex::store::activity::ActivityFilter;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Where and as whom psql connects.
pub struct Login<'a> {
    pub port: u16,
    pub user: &'a str,
    pub password: &'a str,
    pub database: &'a str,
    pub sslmode: &'a str,
}

impl<'a> Login<'a> {
    pub fn admin(port: u16) -> Login<'a> {
        let sslmode = "verify-full";
        Login { port, user: ADMIN, password: PASSWORD, database: "postgres", sslmode }
    }

    fn command(&self, portal: &Portal) -> Command {
        let ca = portal.folder.join("ca.pem");
        // Once: another psql may be reading it.
        if !ca.exists() {
            std::fs::write(&ca, &portal.app.authority.certificate).unwrap();
        }
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
        let target = format!(
            "host=localhost port={} dbname='{}' user='{}' sslmode={} sslrootcert={} connect_timeout=10",
            self.port,
            quoted(self.database),
            quoted(self.user),
            self.sslmode,
            ca.display()
        );
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", &target]);
        command.env("PGPASSWORD", self.password);
        command
    }

    /// Output, or what it said on failure.
    pub fn psql(&self, portal: &Portal, sql: &str) -> Result<String, String> {
        let output = self.command(portal).args(["-c", sql]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// A psql that stays connected.
    pub fn open(&self, portal: &Portal) -> Session {
        let mut child = self
            .command(portal)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Session { child, output }
    }
}

pub struct Session {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Session {
    /// The one line that a statement gives; empty when the connection is gone.
    pub fn ask(&mut self, sql: &str) -> String {
        let input = self.child.stdin.as_mut().unwrap();
        if writeln!(input, "{sql};").and_then(|()| input.flush()).is_err() {
            return String::new();
        }
        let mut line = String::new();
        let _ = self.output.read_line(&mut line);
        line.trim().to_owned()
    }

    /// What it wrote when its connection ended.
    pub fn last_words(mut self) -> String {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// A server of a major and size, ready.
pub async fn created(portal: &Portal, name: &str, major: Major, sku: &str) -> ServerId {
    let spec = ServerSpec { major, sku: sku.into(), ..crate::portal::spec(name) };
    let verifier = scram_verifier(&Secret::new(PASSWORD));
    let rules = [crate::portal::here()];
    let new = NewServer {
        spec: &spec,
        admin_verifier: &verifier,
        rules: &rules,
        ha: None,
        backup: pgflex::domain::backup::BackupPolicy::default(),
        draft: None,
        network: None,
        ports: portal.ports,
        idempotency_key: None,
    };
    let id = portal.door().create(&portal.app.sealer, &new, &Actor::system()).await.unwrap();
    let operation = portal.wait_settled(&id).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    operation.server_id
}

/// Submits a change and waits for its end.
pub async fn changed(portal: &Portal, server: &ServerId, change: Change) -> Operation {
    let kind = change.kind;
    let door = portal.door();
    let begin = Instant::now();
    let id = door.submit_change(change, server, &Actor::system(), None).await.unwrap();
    let operation = portal.wait_settled(&id).await;
    println!("{:>7.1} ms  {kind:?}", begin.elapsed().as_secs_f64() * 1e3);
    operation
}

pub async fn succeeded(portal: &Portal, server: &ServerId, change: Change) {
    let operation = changed(portal, server, change).await;
    assert_eq!(
        operation.status,
        OperationStatus::Succeeded,
        "{:?} {:?}\n{}",
        operation.failed_step,
        operation.error,
        portal.tail()
    );
}

pub fn create(name: &str, collation: &str) -> Change {
    let input =
        NewDatabase { name: DatabaseName::parse(name).unwrap(), collation: collation.into() };
    Change::new(OperationKind::CreateDatabase, name, &input)
}

pub async fn port_of(portal: &Portal, server: &ServerId) -> u16 {
    portal.app.store.server(server).await.unwrap().unwrap().port
}

#[tokio::test]
async fn every_collation_on_offer_makes_a_database() {
    for major in majors() {
        in_lab(major, |lab| async move {
            lab.create().await;
            let target = lab.target().await;
            let owner = &lab.server.spec.admin_login;
            let verifier = scram_verifier(&Secret::new(PASSWORD));
            let postgres = TlsPostgres;
            pgflex::postgres::Postgres::ensure_admin(&postgres, &target, owner, &verifier)
                .await
                .unwrap();
            for collation in COLLATIONS {
                let provider = collation.provider(major);
                let oid = timed(
                    collation.key,
                    postgres.stage_database(&target, "pgflex_new_1", owner, provider),
                )
                .await
                .unwrap();
                postgres.drop_database(&target, oid).await.unwrap();
                postgres.drop_database(&target, oid).await.expect("gone is success");
            }
            let template = postgres.find_database(&target, "template1").await.unwrap().unwrap();
            assert!(postgres.drop_database(&target, template.oid).await.is_err());
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_of_any_name_are_made_used_seen_and_dropped() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    for major in majors() {
        let server =
            created(&portal, &format!("data-{}", major.number()), major, "Standard_B1ms").await;
        let port = port_of(&portal, &server).await;
        let name = "a/b%41\"' größe";
        succeeded(&portal, &server, create(name, "de-DE")).await;
        let again = changed(&portal, &server, create(name, "de-DE")).await;
        assert_eq!(again.status, OperationStatus::Failed);
        assert!(again.error.unwrap().contains("exists already"));
        let inside = Login { database: name, ..Login::admin(port) };
        let sorted = "CREATE TABLE t (w text); INSERT INTO t VALUES ('z'), ('ä'), ('b'); \
                      SELECT string_agg(w, '' ORDER BY w) FROM t";
        assert_eq!(inside.psql(&portal, sorted).unwrap(), "äbz", "German order");
        let facts = seen(&portal, &server, name).await;
        assert_eq!((facts.owner.as_str(), facts.provider.as_str()), (ADMIN, "icu"));
        assert!(facts.size_bytes > 1_000_000 && facts.locale == "de-DE");
        let mut session = inside.open(&portal);
        assert_eq!(session.ask("SELECT 1"), "1");
        let input = OldDatabase { name: name.into() };
        succeeded(&portal, &server, Change::new(OperationKind::DropDatabase, name, &input)).await;
        assert_eq!(session.ask("SELECT 1"), "");
        let words = session.last_words();
        assert!(words.contains("terminating connection"), "{words}");
        assert!(inside.psql(&portal, "SELECT 1").unwrap_err().contains("does not exist"));
        let input = OldDatabase { name: "postgres".into() };
        let never = Change::new(OperationKind::DropDatabase, "postgres", &input);
        let refused = changed(&portal, &server, never).await;
        assert_eq!(refused.status, OperationStatus::Failed);
        let left = "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database";
        let left = Login::admin(port).psql(&portal, left).unwrap();
        assert_eq!(left, "postgres,template0,template1");
    }
    portal.finish().await;
}

async fn seen(portal: &Portal, server: &ServerId, name: &str) -> DatabaseFacts {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let kind = DatabaseList::OBSERVATION;
        let store = &portal.app.store;
        let look = store.server_observation::<DatabaseList>(server, kind).await.unwrap();
        if let Some(facts) = look.and_then(|look| look.facts.find(name).cloned()) {
            return facts;
        }
        assert!(Instant::now() < end, "the monitor never saw it: {}", portal.tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const NEW: &str = "Brand-new-4711";

/// A server whose customer has it log everything.
async fn talkative(portal: &Portal, server: &ServerId) -> String {
    let member = portal.app.store.members(server).await.unwrap()[0].container();
    let lines = "log_statement = 'all'\\nlog_min_duration_statement = 0\\nlog_min_error_statement = debug5\\n\
                 log_duration = on\\nlog_parameter_max_length_on_error = -1\\n";
    let script = format!("printf \"{lines}\" >> /var/lib/pgflex/config/postgresql.conf");
    let status =
        Command::new("docker").args(["exec", &member, "sh", "-c", &script]).status().unwrap();
    assert!(status.success());
    let status = Command::new("docker").args(["kill", "-s", "HUP", &member]).status().unwrap();
    assert!(status.success());
    tokio::time::sleep(Duration::from_millis(500)).await;
    member
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_counts_the_old_one_does_not_and_neither_is_written_down() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    for major in majors() {
        let name = format!("discreet-{}", major.number());
        let server = created(&portal, &name, major, "Standard_B1ms").await;
        let member = talkative(&portal, &server).await;
        let port = port_of(&portal, &server).await;
        let (old, new) = (Login::admin(port), Login { password: NEW, ..Login::admin(port) });
        old.psql(&portal, "CREATE ROLE other LOGIN PASSWORD 'Other-pass-1'").unwrap();
        let mut session = old.open(&portal);
        assert_eq!(session.ask("SELECT 1"), "1");
        let other = Login { user: "other", password: "Other-pass-1", ..Login::admin(port) };
        let mut bystander = other.open(&portal);
        assert_eq!(bystander.ask("SELECT 1"), "1");
        let before = portal.kept_verifier(&server).await;

        let verifier = scram_verifier(&Secret::new(NEW));
        let reset = PasswordReset { reset: pgflex::clock::new_uuid() };
        let door = portal.door();
        assert!(
            door.keep_new_password(&portal.app.sealer, &server, &reset, &verifier).await.unwrap()
        );
        assert!(
            !door.keep_new_password(&portal.app.sealer, &server, &reset, &verifier).await.unwrap()
        );
        succeeded(&portal, &server, Change::new(OperationKind::ResetPassword, "", &reset)).await;

        assert!(
            old.psql(&portal, "SELECT 1").unwrap_err().contains("password authentication failed")
        );
        assert_eq!(session.ask("SELECT 1"), "");
        let words = session.last_words();
        assert!(words.contains("terminating connection due to administrator command"), "{words}");
        assert_eq!(bystander.ask("SELECT 1"), "1", "others go on");
        let seen = "SELECT query FROM pg_stat_activity";
        let statistics = new.psql(&portal, seen).unwrap();
        assert_eq!(portal.kept_verifier(&server).await, verifier.reveal());
        let places = places(&portal, &server, &member, statistics).await;
        let secrets =
            [PASSWORD, NEW, &before, verifier.reveal(), &before[..30], &verifier.reveal()[..50]];
        for (place, text) in &places {
            for secret in secrets {
                assert!(!text.contains(secret), "{secret} is in {place}");
            }
            // Of other roles the customer's own statements are logged, as the customer wants it.
            assert!(!text.contains("SCRAM-SHA-256$"), "a verifier is in {place}");
        }
        assert!(places[1].1.contains("SELECT 1"), "it does log statements: {}", places[1].1);
    }
    portal.finish().await;
}

async fn places(
    portal: &Portal,
    server: &ServerId,
    member: &str,
    statistics: String,
) -> Vec<(&'static str, String)> {
    let docker = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).arg(member).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let activity = portal.app.store.activities(&ActivityFilter::default()).await.unwrap();
    let filter = pgflex::store::operations::OperationFilter {
        server_id: Some(server.clone()),
        ..Default::default()
    };
    let operations = portal.app.store.operations(&filter).await.unwrap();
    let mut logs = String::new();
    for operation in &operations {
        logs.push_str(&format!(
            "{:?}",
            portal.app.store.operation_log(&operation.id, 1000).await.unwrap()
        ));
    }
    vec![
        ("inspect", docker(&["inspect"])),
        ("the server's log", docker(&["logs"])),
        ("processes", docker(&["top"])),
        ("every command line", command_lines()),
        ("statistics", statistics),
        ("the portal's log", portal.log()),
        ("the store", portal.dump_store()),
        ("activity", format!("{activity:?}")),
        ("operations", format!("{operations:?}{logs}")),
    ]
}

/// Arguments of every process that this one sees, psql's of this test without a password in them.
fn command_lines() -> String {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}
