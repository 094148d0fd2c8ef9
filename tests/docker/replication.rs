//! Two members on the real engine: copied, armed, waited for, promoted. Every statement of ours, on every major.

use super::support::{Lab, endpoint, in_lab, majors, socket, timed};
use bollard::Docker;
use pgflex::certificates::ClientCertificates;
use pgflex::clock::{Clock, SystemClock, new_id};
use pgflex::domain::ha::{HighAvailability, Lsn, MemberRole};
use pgflex::domain::ids::MemberId;
use pgflex::domain::server::Member;
use pgflex::domain::version::Major;
use pgflex::engine::docker::DockerEngine;
use pgflex::engine::{Engine, FileSpec};
use pgflex::postgres::checkpoint::Checkpoint;
use pgflex::postgres::client::TlsPostgres;
use pgflex::postgres::conf::{
    Commits, ConfigFile, Replication as Part, ReplicationFiles, Settings, Source, TlsFiles,
    all_files, replication_files, standby_signal,
};
use pgflex::postgres::passwords::Passwords;
use pgflex::postgres::replication::{REPLICATION_ROLE, Replication, Standing};
use pgflex::postgres::{Postgres, PostgresError};
use pgflex::secrets::{Secret, scram_verifier};
use std::time::{Duration, Instant};

/// Two members of one server. Each is a laboratory whose member it is.
struct Pair {
    one: Lab,
    two: Lab,
    access: ClientCertificates,
}

fn specs(files: Vec<ConfigFile>) -> Vec<FileSpec> {
    let spec =
        |file: ConfigFile| FileSpec { path: file.path, mode: file.mode, content: file.content };
    files.into_iter().map(spec).collect()
}

fn clone_of(lab: &Lab, member: Member) -> Lab {
    Lab {
        engine: DockerEngine::connect(&socket(), &lab.install_id).unwrap(),
        install_id: lab.install_id.clone(),
        server: lab.server.clone(),
        member,
        operation: lab.operation.clone(),
        image: lab.image.clone(),
        authority: lab.authority.clone(),
        certificates: lab.certificates.clone(),
    }
}

fn name_of(lab: &Lab) -> String {
    HighAvailability::standby_name(&lab.member.id)
}

/// Looks until it is so, for half a minute.
async fn until(lab: &Lab, what: &str, is_so: impl Fn(&Standing) -> bool) -> Standing {
    let begin = Instant::now();
    loop {
        let seen = TlsPostgres.standing(&lab.target().await).await;
        match &seen {
            Ok(seen) if is_so(seen) => return seen.clone(),
            _ if begin.elapsed() > Duration::from_secs(30) => {
                panic!(
                    "not {what}: {seen:#?} {:#?}",
                    lab.engine.tail(&lab.member.container(), 30).await
                )
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

impl Pair {
    fn of(lab: &Lab) -> Self {
        let member =
            Member { id: new_id(MemberId::parse), role: MemberRole::Standby, ..lab.member.clone() };
        let access = ClientCertificates::issue(REPLICATION_ROLE, SystemClock.now()).unwrap();
        Self { one: clone_of(lab, lab.member.clone()), two: clone_of(lab, member), access }
    }

    fn files(&self, part: Part) -> Vec<FileSpec> {
        let lab = &self.one;
        let both = format!("{}{}", lab.certificates.client_authority, self.access.authority);
        let tls = TlsFiles {
            certificate: &lab.certificates.server.certificate,
            key: &lab.certificates.server.key,
            client_authority: &both,
        };
        let mut files = all_files(&Settings::of(&lab.server).replicating(part), &tls);
        files.extend(replication_files(&ReplicationFiles {
            root: &lab.authority.certificate,
            certificate: &self.access.pair.certificate,
            key: &self.access.pair.key,
        }));
        specs(files)
    }

    /// Where one member finds the other.
    async fn source(&self, lab: &Lab) -> Source {
        Source { name: endpoint(&lab.server), address: lab.target().await.address }
    }

    async fn standby_of(&self, source: &Lab, standby: &Lab) -> Part {
        let source = self.source(source).await;
        Part::Standby { source, slot: name_of(standby), promoted: Commits::Alone }
    }

    async fn start(&self, lab: &Lab, part: Part) {
        let spec = lab.blueprint().paired_container(&lab.image, None);
        lab.engine.ensure_container(&spec).await.unwrap();
        lab.engine.put_files(&spec.name, &self.files(part)).await.unwrap();
        timed("start", lab.engine.start_container(&spec.name)).await.unwrap();
        timed("first answer", lab.answers()).await;
    }

    async fn start_one(&self) {
        let (lab, blueprint) = (&self.one, self.one.blueprint());
        lab.engine.ensure_network(&blueprint.network()).await.unwrap();
        lab.engine.ensure_volume(&blueprint.volume()).await.unwrap();
        lab.initialise().await;
        self.start(lab, Part::Primary(Commits::Alone)).await;
        let target = lab.target().await;
        for _ in 0..2 {
            TlsPostgres.ensure_replication_role(&target).await.unwrap();
            TlsPostgres.ensure_slot(&target, &name_of(&self.two)).await.unwrap();
        }
        assert_eq!(TlsPostgres.slots(&target).await.unwrap(), [name_of(&self.two)]);
    }

    /// The helper that copies, made and not started.
    async fn prepare_copy(&self) -> String {
        let (lab, blueprint) = (&self.two, self.two.blueprint());
        lab.engine.ensure_volume(&blueprint.volume()).await.unwrap();
        let (source, slot) = (self.source(&self.one).await, name_of(lab));
        let spec = blueprint.copy_container(&lab.image, &source.conninfo(&slot), &slot);
        lab.engine.ensure_container(&spec).await.unwrap();
        let part = self.standby_of(&self.one, lab).await;
        lab.engine.put_files(&spec.name, &self.files(part)).await.unwrap();
        spec.name
    }

    async fn copy(&self) -> (Option<i64>, String) {
        let name = self.prepare_copy().await;
        let engine = &self.two.engine;
        engine.start_container(&name).await.unwrap();
        let code = timed("copy", engine.wait_exit(&name, Duration::from_secs(60))).await.unwrap();
        let lines = engine.tail(&name, 100).await.unwrap().join("\n");
        engine.remove_container(&name).await.unwrap();
        (code, lines)
    }

    async fn load(&self, lab: &Lab, part: Part) {
        lab.engine.put_files(&lab.member.container(), &self.files(part)).await.unwrap();
        TlsPostgres.reload(&lab.target().await).await.unwrap();
    }

    /// From nothing to a standby that commits wait for.
    async fn arm(&self) {
        self.start_one().await;
        let (code, lines) = self.copy().await;
        assert_eq!(code, Some(0), "{lines}");
        println!("{lines}");
        self.start(&self.two, self.standby_of(&self.one, &self.two).await).await;
        until(&self.one, "streaming", |seen| seen.senders.iter().any(|s| s.state == "streaming"))
            .await;
        let before = until(&self.one, "", |_| true).await;
        assert_eq!(before.senders[0].sync_state, "async");
        self.load(&self.one, Part::Primary(Commits::With(name_of(&self.two)))).await;
        let armed = until(&self.one, "armed", |seen| {
            seen.senders.iter().any(|sender| sender.sync_state == "sync")
        })
        .await;
        assert_eq!(armed.waits_for, Commits::With(name_of(&self.two)).waits_for());
        assert_eq!(armed.senders[0].application_name, name_of(&self.two));
        assert!(
            armed.loaded_at > before.loaded_at && armed.senders[0].pid == before.senders[0].pid
        );
        TlsPostgres.checkpoint(&self.one.target().await).await.unwrap();
    }

    async fn set_password(&self, lab: &Lab, text: &str) -> (Secret, Result<(), PostgresError>) {
        let verifier = scram_verifier(&Secret::new(text));
        let (target, login) = (lab.target().await, &lab.server.spec.admin_login);
        let done = TlsPostgres.set_admin_verifier(&target, login, Some(&verifier)).await;
        (verifier, done)
    }

    async fn password(&self, lab: &Lab) -> Option<String> {
        let (target, login) = (lab.target().await, &lab.server.spec.admin_login);
        let found = TlsPostgres.admin_verifier(&target, login).await.unwrap();
        found.map(|verifier| verifier.reveal().to_owned())
    }
}

fn docker() -> Docker {
    Docker::connect_with_unix(&socket(), 120, bollard::API_DEFAULT_VERSION).unwrap()
}

#[tokio::test]
async fn a_standby_is_armed_waited_for_and_promoted() {
    for major in majors() {
        println!("PostgreSQL {}", major.number());
        in_lab(major, |lab| async move {
            let pair = Pair::of(&lab);
            pair.arm().await;
            marks_arrive(&pair).await;
            only_what_must_wait_waits(&pair).await;
            promote(&pair).await;
        })
        .await;
    }
}

async fn marks_arrive(pair: &Pair) {
    let place = TlsPostgres.mark(&pair.one.target().await).await.unwrap();
    let has = move |at: Option<Lsn>| at.is_some_and(|at| at >= place);
    until(&pair.one, "flushed there", |seen| has(seen.senders[0].flushed)).await;
    let two = until(&pair.two, "replayed", |seen| has(seen.written) && has(seen.replayed)).await;
    let one = until(&pair.one, "", |_| true).await;
    assert_eq!((one.in_recovery, two.in_recovery), (false, true));
    assert_eq!((one.timeline, two.timeline), (1, 1));
    assert_eq!(one.system_identifier, two.system_identifier);
    assert_eq!((one.receiver, two.receiver.as_deref()), (None, Some("streaming")));
    assert!(TlsPostgres.mark(&pair.two.target().await).await.is_err(), "a standby writes nothing");
}

/// The standby is frozen: what people are promised waits, what we need to get out of this does not.
async fn only_what_must_wait_waits(pair: &Pair) {
    let (one, two) = (pair.one.target().await, pair.two.member.container());
    let login = &pair.one.server.spec.admin_login;
    let first = scram_verifier(&Secret::new("First-1234"));
    TlsPostgres.ensure_admin(&one, login, &first).await.unwrap();
    let mut looks = TlsPostgres.watch(&one).await.unwrap();
    docker().pause_container(&two).await.unwrap();
    assert_eq!(pair.two.container().await.state, "paused");
    let (_, silent) = pair.set_password(&pair.one, "Second-1234").await;
    assert!(matches!(silent, Err(PostgresError::Silent(_))), "{silent:?}");
    timed("look that writes", looks.look_writing()).await.unwrap();
    timed("look", looks.look()).await.unwrap();
    timed("mark", TlsPostgres.mark(&one)).await.unwrap();
    timed("role", TlsPostgres.ensure_replication_role(&one)).await.unwrap();
    timed("slot", TlsPostgres.ensure_slot(&one, "pgflex_other")).await.unwrap();
    timed("slot gone", TlsPostgres.drop_slot(&one, "pgflex_other")).await.unwrap();
    timed("file loaded", TlsPostgres.reload(&one)).await.unwrap();
    timed("checkpoint", TlsPostgres.checkpoint(&one)).await.unwrap();
    docker().unpause_container(&two).await.unwrap();
    let (third, done) = pair.set_password(&pair.one, "Third-1234").await;
    done.unwrap();
    assert!(matches!(
        TlsPostgres.drop_slot(&one, &name_of(&pair.two)).await,
        Err(PostgresError::Silent(_))
    ));
    looks.look_writing().await.unwrap();
    let place = TlsPostgres.mark(&one).await.unwrap();
    until(&pair.two, "replayed", |seen| seen.replayed >= Some(place)).await;
    assert_eq!(pair.password(&pair.two).await.as_deref(), Some(third.reveal()));
}

/// The old primary lives on and can acknowledge nothing.
async fn promote(pair: &Pair) {
    let (one, two) = (pair.one.target().await, pair.two.target().await);
    let kept = pair.password(&pair.two).await;
    let mut looks = TlsPostgres.watch(&two).await.unwrap();
    assert!(looks.look_writing().await.unwrap().in_recovery);
    let promoted = timed("promotion", TlsPostgres.promote(&two)).await.unwrap();
    assert_eq!(promoted.timeline, 2);
    assert_eq!(TlsPostgres.promote(&two).await.unwrap().timeline, 2, "it is one already");
    let seen = looks.look_writing().await.unwrap();
    assert_eq!((seen.in_recovery, seen.timeline, seen.waits_for.as_str()), (false, 2, ""));
    let (_, silent) = pair.set_password(&pair.one, "Lost-1234").await;
    assert!(matches!(silent, Err(PostgresError::Silent(_))), "{silent:?}");
    let old = TlsPostgres.standing(&one).await.unwrap();
    assert_eq!((old.senders.len(), old.timeline), (0, 1));
    assert_eq!(pair.password(&pair.two).await, kept);
    TlsPostgres.drop_slot(&one, &name_of(&pair.two)).await.unwrap();
    TlsPostgres.drop_slot(&one, &name_of(&pair.two)).await.unwrap();
    assert_eq!(TlsPostgres.slots(&one).await.unwrap(), Vec::<String>::new());
    let (_, done) = pair.set_password(&pair.two, "New-12345").await;
    done.unwrap();
}

#[tokio::test]
async fn a_primary_that_was_stopped_in_order_comes_back_as_a_standby() {
    in_lab(Major::V17, |lab| async move {
        let pair = Pair::of(&lab);
        pair.arm().await;
        let name = pair.one.member.container();
        timed("stop", pair.one.engine.stop_container(&name, Duration::from_secs(60)))
            .await
            .unwrap();
        let two = pair.two.target().await;
        timed("promotion", TlsPostgres.promote(&two)).await.unwrap();
        let slot = name_of(&pair.one);
        TlsPostgres.ensure_slot(&two, &slot).await.unwrap();
        let part = pair.standby_of(&pair.two, &pair.one).await;
        let mut files = pair.files(part);
        files.extend(specs(vec![standby_signal()]));
        pair.one.engine.put_files(&name, &files).await.unwrap();
        pair.one.engine.start_container(&name).await.unwrap();
        pair.one.answers().await;
        let back =
            until(&pair.one, "back", |seen| seen.receiver.as_deref() == Some("streaming")).await;
        assert!(back.in_recovery);
        let place = TlsPostgres.mark(&two).await.unwrap();
        let one = until(&pair.one, "replayed", |seen| seen.replayed >= Some(place)).await;
        assert_eq!(one.timeline, 2);
        let mode = pair
            .one
            .run(
                &[
                    "stat",
                    "-c",
                    "%a %u",
                    "/var/lib/pgflex/data/standby.signal",
                    "/var/lib/pgflex/data",
                ],
                &[],
            )
            .await;
        assert_eq!(mode.1.split_whitespace().collect::<Vec<_>>(), ["600", "5432", "700", "5432"]);
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_was_killed_is_made_again_and_one_that_is_done_stays() {
    in_lab(Major::V17, |lab| async move {
        let pair = Pair::of(&lab);
        pair.start_one().await;
        let name = pair.prepare_copy().await;
        let engine = &pair.two.engine;
        for delay in [150, 400] {
            engine.start_container(&name).await.unwrap();
            tokio::time::sleep(Duration::from_millis(delay)).await;
            // It may have been faster than that.
            let _ = engine.signal_container(&name, "SIGKILL").await;
            engine.wait_exit(&name, Duration::from_secs(10)).await.unwrap();
        }
        let (code, lines) = pair.copy().await;
        assert_eq!(code, Some(0), "{lines}");
        let (code, lines) = pair.copy().await;
        assert!(code == Some(0) && lines.contains("there already"), "{lines}");
        // A standby that is started without its source has what it has, and tells so.
        let part = pair.standby_of(&pair.one, &pair.two).await;
        engine_kill(&pair.one).await;
        pair.start(&pair.two, part).await;
        let alone = TlsPostgres.standing(&pair.two.target().await).await.unwrap();
        assert!(
            alone.in_recovery && alone.written.is_some() && alone.receiver.is_none(),
            "{alone:?}"
        );
        assert_eq!(alone.timeline, 1);
    })
    .await;
}

async fn engine_kill(lab: &Lab) {
    lab.engine.signal_container(&lab.member.container(), "SIGKILL").await.unwrap();
    lab.engine.wait_exit(&lab.member.container(), Duration::from_secs(10)).await.unwrap();
    // It does not come back by itself (N1).
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(lab.container().await.state, "exited");
}

#[tokio::test]
async fn only_its_own_certificate_reads_the_log_and_nothing_else() {
    in_lab(Major::V17, |lab| async move {
        let mut pair = Pair::of(&lab);
        pair.start_one().await;
        let source = pair.source(&pair.one).await.conninfo("x");
        let database = format!("{source} dbname=postgres");
        let (code, text) = pair.one.run(&["psql", "-Xc", "SELECT 1", &database], &[]).await;
        assert!(code != 0 && text.contains("pg_hba.conf rejects"), "{text}");
        // The same authority may have signed another name, and another authority the same name.
        let theirs = pair.access.pair.clone();
        pair.access.pair = lab.certificates.control.clone();
        let (code, text) = pair.copy().await;
        assert!(code == Some(1) && text.contains("certificate authentication failed"), "{text}");
        pair.access.pair =
            ClientCertificates::issue(REPLICATION_ROLE, SystemClock.now()).unwrap().pair;
        let (code, text) = pair.copy().await;
        assert!(code == Some(1) && text.contains("unknown ca"), "{text}");
        pair.access.pair = theirs;
        let (code, text) = pair.copy().await;
        assert_eq!(code, Some(0), "{text}");
    })
    .await;
}
