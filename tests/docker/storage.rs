//! Storage on the real engine: the size is enforced, a full disk loses no acknowledged row, protection comes and
//! goes by itself, growth happens under a client that writes, and a disk is never mistaken for another.

use crate::portal::{ADMIN, PASSWORD, Portal};
use crate::support::{has_engine, objects_of_servers, socket};
use bollard::Docker;
use bollard::query_parameters::RemoveVolumeOptions;
use pgflex::clock::new_id;
use pgflex::domain::activity::Actor;
use pgflex::domain::ids::{OperationId, ServerId};
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::server::{Member, Server};
use pgflex::domain::storage::{Disk, OBSERVATION, StorageLook};
use pgflex::engine::blueprint::Blueprint;
use pgflex::engine::{DiskAnswer, Engine, Reserve};
use pgflex::operations::submit::Change;
use serde_json::json;
use std::collections::BTreeSet;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A portal with one Ready server.
struct Plant {
    portal: Portal,
    id: ServerId,
}

impl Plant {
    /// With `is_watched` the monitor goes on looking after it.
    async fn start(is_watched: bool) -> Self {
        let mut portal = Portal::new().await;
        portal.start(&[]);
        portal.wait_line("pgflex is at");
        let create = portal.submit_create("shop").await;
        let made = portal.wait_settled(&create).await;
        assert_eq!(made.status, OperationStatus::Succeeded, "{:?}\n{}", made.error, portal.tail());
        let took = made.ended_at.unwrap() - made.created_at;
        println!("created in {} ms", took.num_milliseconds());
        if !is_watched {
            portal.kill();
            portal.start(&["--roles=web,runner,gateway"]);
            portal.psql_when_open(&made.server_id, "SELECT 1").await;
        }
        Self { portal, id: made.server_id }
    }

    async fn server(&self) -> Server {
        self.portal.app.store.server(&self.id).await.unwrap().unwrap()
    }

    async fn member(&self) -> Member {
        self.portal.app.store.members(&self.id).await.unwrap().remove(0)
    }

    /// Runs a shell line in the server's container.
    async fn exec(&self, line: &str) -> (bool, String) {
        let container = self.member().await.container();
        docker(&["exec", &container, "sh", "-c", line])
    }

    async fn must_exec(&self, line: &str) -> String {
        let (is_ok, text) = self.exec(line).await;
        assert!(is_ok, "{line}: {text}");
        text
    }

    async fn submit(&self, kind: OperationKind, input: serde_json::Value) -> Operation {
        let change = Change { kind, input };
        let door = self.portal.door();
        let id = door.submit_change(change, &self.id, &Actor::system(), None).await.unwrap();
        self.portal.wait_settled(&id).await
    }

    async fn psql(&self, sql: &str) -> Result<String, String> {
        self.portal.psql(&self.id, sql).await
    }

    async fn free_bytes(&self) -> u64 {
        let text = self.must_exec("stat -f -c '%S %a' /var/lib/pgflex").await;
        let (size, blocks) = text.trim().split_once(' ').unwrap();
        size.parse::<u64>().unwrap() * blocks.parse::<u64>().unwrap()
    }

    /// Takes everything but `left` bytes at once: nothing is written for it.
    async fn fill(&self, left: u64) {
        let bytes = self.free_bytes().await - left;
        self.must_exec(&format!("fallocate -l {bytes} /var/lib/pgflex/fill")).await;
    }

    async fn until_protected(&self, wanted: bool) {
        let what = format!("write protection becomes {wanted}");
        until(&what, async || {
            let server = self.server().await;
            server.configuration.write_protected == wanted && server.active.is_none()
        })
        .await;
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < Duration::from_secs(150), "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{:>7.1} ms until {what}", begin.elapsed().as_secs_f64() * 1e3);
}

fn docker(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("docker").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// A client that writes one row after the other and remembers which were acknowledged.
struct Writer {
    child: Child,
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
    errors: Arc<Mutex<Vec<String>>>,
    next: Arc<Mutex<u64>>,
}

impl Writer {
    async fn start(plant: &Plant) -> Self {
        let server = plant.server().await;
        let target = format!(
            "host=localhost port={} dbname=postgres user={ADMIN} sslmode=require",
            server.port
        );
        let mut child = Command::new("psql")
            .args(["-X", "-A", "-t", "-q", &target])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let errors = Arc::new(Mutex::new(vec![]));
        let next = Arc::new(Mutex::new(0));
        let (output, error) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (rows, lines) = (acknowledged.clone(), errors.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                rows.lock().unwrap().extend(line.parse::<u64>().ok());
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(error).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let (mut input, count) = (child.stdin.take().unwrap(), next.clone());
        std::thread::spawn(move || {
            for row in 0_u64.. {
                // Text that does not compress: each row takes the space it says.
                let statement = format!(
                    "INSERT INTO t SELECT {row}, string_agg(md5(random()::text), '') FROM generate_series(1, 200) RETURNING id;\n"
                );
                if input.write_all(statement.as_bytes()).is_err() {
                    return;
                }
                *count.lock().unwrap() = row;
            }
        });
        Self { child, acknowledged, errors, next }
    }

    fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Ends the client; the rows that it was told are safe.
    fn stop(mut self) -> BTreeSet<u64> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        println!("{} rows sent at least", self.next.lock().unwrap());
        self.acknowledged.lock().unwrap().clone()
    }
}

async fn assert_all_there(plant: &Plant, acknowledged: &BTreeSet<u64>) {
    let text = plant.psql("SELECT id FROM t").await.unwrap();
    let there: BTreeSet<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "{} acknowledged, lost {lost:?}", acknowledged.len());
    println!("{} acknowledged rows, all there", acknowledged.len());
}

const TABLE: &str = "CREATE TABLE t (id bigint, body text)";

#[tokio::test(flavor = "multi_thread")]
async fn protection_comes_and_goes_by_itself_and_storage_grows_under_a_writer() {
    if !has_engine() {
        return;
    }
    let plant = Plant::start(true).await;
    assert!(matches!(plant.member().await.disk, Some(Disk::Image { .. })), "this host can");
    plant.psql(TABLE).await.unwrap();
    plant.psql("INSERT INTO t VALUES (-1, 'first')").await.unwrap();

    plant.fill(4 << 30).await;
    plant.until_protected(true).await;
    let refused = plant.psql("INSERT INTO t VALUES (-2, 'x')").await.unwrap_err();
    assert!(refused.contains("read-only transaction"), "{refused}");
    plant.psql("BEGIN READ WRITE; DELETE FROM t WHERE id = -1; COMMIT").await.unwrap();

    plant.must_exec("rm /var/lib/pgflex/fill").await;
    plant.until_protected(false).await;
    plant.psql("INSERT INTO t VALUES (-3, 'x')").await.unwrap();

    let writer = Writer::start(&plant).await;
    until("a thousand rows", async || writer.count() > 1000).await;
    let grown = plant.submit(OperationKind::GrowStorage, json!({ "to_gib": 64 })).await;
    assert_eq!(grown.status, OperationStatus::Succeeded, "{:?}", grown.error);
    println!("grown in {} ms", (grown.ended_at.unwrap() - grown.created_at).num_milliseconds());
    let before = writer.count();
    until("a thousand more", async || writer.count() > before + 1000).await;
    assert_eq!(writer.errors(), Vec::<String>::new(), "the client noticed nothing");
    assert!(plant.free_bytes().await > 60 << 30);
    assert_eq!(plant.psql("SHOW max_wal_size").await.unwrap(), "2GB", "what follows the size");
    assert_all_there(&plant, &writer.stop()).await;
    let look = plant.portal.app.store.server_observation::<StorageLook>(&plant.id, OBSERVATION);
    let usage = look.await.unwrap().unwrap().facts.usage;
    assert!(usage.wal > 0 && usage.reserve > 0 && usage.used > usage.wal, "{usage:?}");

    let deleted = plant.submit(OperationKind::Delete, json!(null)).await;
    assert_eq!(deleted.status, OperationStatus::Succeeded, "{:?}", deleted.error);
    assert_eq!(objects_of_servers(&plant.portal.engine()).await, vec![], "nothing is left");
    plant.portal.finish().await;
}

/// Nobody looks after it: the disk runs full while a client writes, and PostgreSQL crashes.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_runs_full_under_a_writer_loses_no_acknowledged_row() {
    if !has_engine() {
        return;
    }
    let mut plant = Plant::start(false).await;
    plant.psql(TABLE).await.unwrap();
    let writer = Writer::start(&plant).await;
    until("a thousand rows", async || writer.count() > 1000).await;
    plant.fill(40 << 20).await;
    let is_full = async || {
        writer.errors().iter().any(|line| line.contains("No space left")) || has_ended(&writer)
    };
    until("the disk is full", is_full).await;
    // Whatever PostgreSQL did by itself: now it is killed as well, and must start on a full disk.
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("{:?}", writer.errors().iter().take(3).collect::<Vec<_>>());
    println!(
        "free {:?}",
        plant.exec("df -B1 /var/lib/pgflex | tail -1; du -sh /var/lib/pgflex/data/pg_wal").await
    );
    let container = plant.member().await.container();
    let left = docker(&[
        "exec",
        &container,
        "sh",
        "-c",
        "dd if=/dev/zero of=/var/lib/pgflex/rest bs=4k 2>&1 | tail -1",
    ]);
    println!("the rest: {left:?}");
    docker(&["kill", "-s", "KILL", &container]);
    docker(&["start", &container]);
    let acknowledged = writer.stop();
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("{:?}", docker(&["inspect", "-f", "{{.State.Status}} {{.RestartCount}}", &container]));
    println!("{}", docker(&["logs", "--tail", "12", &container]).1);

    // The monitor comes back: protection, with the space that was set aside.
    plant.portal.kill();
    plant.portal.start(&[]);
    plant.until_protected(true).await;
    plant.portal.psql_when_open(&plant.id, "SELECT 1").await;
    assert_all_there(&plant, &acknowledged).await;
    let refused = plant.psql("INSERT INTO t VALUES (-2, 'x')").await.unwrap_err();
    assert!(refused.contains("read-only transaction"), "{refused}");
    let delete = "BEGIN READ WRITE; DELETE FROM t WHERE id < 0; COMMIT";
    plant.psql(delete).await.unwrap();
    plant.must_exec("rm -f /var/lib/pgflex/fill /var/lib/pgflex/rest").await;
    plant.until_protected(false).await;
    plant.psql("INSERT INTO t VALUES (-3, 'x')").await.unwrap();
    plant.must_exec("test -e /var/lib/pgflex/reserve").await;
    plant.portal.finish().await;
}

fn has_ended(writer: &Writer) -> bool {
    writer.errors().iter().any(|line| line.contains("connection") || line.contains("server closed"))
}

/// After a restart of the host nothing is attached, and another program may have taken the loop device.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_finds_its_own_disk_or_fails_loudly() {
    if !has_engine() {
        return;
    }
    let plant = Plant::start(false).await;
    plant
        .psql("CREATE TABLE t (id bigint, body text); INSERT INTO t VALUES (7, 'kept')")
        .await
        .unwrap();
    let member = plant.member().await;
    let (container, minor) = (member.container(), member.loop_minor().unwrap());
    assert!(docker(&["stop", &container]).0);
    let device = format!("/dev/loop{minor}");
    losetup(&["--detach", &device]);
    let (is_ok, why) = docker(&["start", &container]);
    assert!(!is_ok && why.contains("mount"), "it must not start without its disk: {why}");

    // Somebody else's image behind the same device: refused, and nothing of either is touched.
    let other = std::env::temp_dir().join(format!("pgflex-{}.img", pgflex::clock::new_uuid()));
    std::fs::File::create(&other).unwrap().set_len(64 << 20).unwrap();
    losetup(&[&device, other.to_str().unwrap()]);
    let refused = plant.submit(OperationKind::Restart, json!(null)).await;
    assert_eq!(refused.status, OperationStatus::Failed);
    assert!(refused.error.as_ref().unwrap().contains("in use for another file"), "{refused:?}");
    losetup(&["--detach", &device]);
    std::fs::remove_file(other).unwrap();

    let restarted = plant.submit(OperationKind::Restart, json!(null)).await;
    assert_eq!(restarted.status, OperationStatus::Succeeded, "{:?}", restarted.error);
    assert_eq!(plant.psql("SELECT body FROM t WHERE id = 7").await.unwrap(), "kept");
    plant.portal.finish().await;
    let (_, volumes) = docker(&["volume", "ls", "-q"]);
    assert!(!volumes.contains(&member.disk_volume()), "{volumes}");
    assert!(!losetup(&["--list", "--noheadings", "-O", "NAME"]).contains(&device), "detached");
}

/// A look mounts the disk. Where somebody removes what is mounted between two calls of it, Docker makes the volume anew:
/// it must come back as the view of the disk, not as an empty volume that stands in its way for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_removed_in_the_middle_of_a_look_comes_back_as_the_view() {
    if !has_engine() {
        return;
    }
    let plant = Plant::start(false).await;
    plant.psql("CREATE TABLE t AS SELECT 1 AS n").await.unwrap();
    let (server, member) = (plant.server().await, plant.member().await);
    let operation = new_id(OperationId::parse);
    let blueprint = Blueprint {
        install_id: &plant.portal.app.install_id,
        server: &server,
        member: &member,
        operation: &operation,
        is_test: true,
    };
    let spec = blueprint.disk(&member.image).unwrap();
    assert!(docker(&["rm", "--force", &member.container()]).0);
    let by_hand = Docker::connect_with_unix(&socket(), 120, bollard::API_DEFAULT_VERSION).unwrap();
    let engine = plant.portal.engine();
    for at in 0..60 {
        assert_eq!(engine.ensure_disk(&spec).await, Ok(DiskAnswer::Ready));
        let removal = async {
            tokio::time::sleep(Duration::from_micros(at * 250)).await;
            by_hand.remove_volume(&member.volume(), None::<RemoveVolumeOptions>).await
        };
        // Gone before the look it is a refusal of the look; gone in its middle it is nobody's business.
        let _ = tokio::join!(engine.tend_disk(&spec, Reserve::Leave), removal);
    }
    let repaired = plant.submit(OperationKind::Repair, json!(null)).await;
    assert_eq!(repaired.status, OperationStatus::Succeeded, "{:?}", repaired.error);
    assert_eq!(plant.psql("SELECT n FROM t").await.unwrap(), "1");
    plant.portal.finish().await;
}

fn losetup(arguments: &[&str]) -> String {
    let output = Command::new("losetup").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?} {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
