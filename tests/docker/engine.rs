//! The engine's contract, on the real one.

use super::support::{Lab, in_lab, majors, socket, timed};
use pgflex::domain::version::Major;
use pgflex::engine::blueprint::VOLUME_IN_USE;
use pgflex::engine::docker::DockerEngine;
use pgflex::engine::{Engine, EngineError, NetworkSpec, label};
use pgflex::postgres::client::TlsPostgres;
use pgflex::postgres::{Postgres, PostgresError};
use std::time::Duration;

const V17: Major = Major::V17;

#[tokio::test]
async fn a_server_is_made_restarted_and_removed() {
    for major in majors() {
        println!("PostgreSQL {}", major.number());
        in_lab(major, |lab| async move {
            timed("ALL OF THE CREATION", lab.create()).await;
            let probe = lab.probe().await.unwrap();
            assert!(
                probe.version.starts_with(&format!("{}.", major.number())) && !probe.in_recovery
            );
            restart_and_crash(&lab).await;
            remove_twice(&lab).await;
        })
        .await;
    }
}

async fn restart_and_crash(lab: &Lab) {
    let name = lab.member.container();
    let before = lab.container().await;
    assert_eq!((before.memory_limit_bytes, before.cpu_limit), (2 << 30, 1.0));
    timed("stop", lab.engine.stop_container(&name, Duration::from_secs(60))).await.unwrap();
    lab.engine.stop_container(&name, Duration::from_secs(60)).await.unwrap();
    let stopped = lab.container().await;
    assert_eq!((stopped.exit_code, stopped.address), (Some(0), None));
    timed("start", lab.engine.start_container(&name)).await.unwrap();
    lab.engine.start_container(&name).await.unwrap();
    timed("answer after start", lab.answers()).await;
    assert!(lab.container().await.started_at > before.started_at);
    lab.engine.signal_container(&name, "SIGHUP").await.unwrap();
    // What the engine's own kill would not do: a process that dies by itself is started again.
    let (_, _) = lab.run(&["sh", "-c", "kill -QUIT 1"], &[]).await;
    timed("answer after a crash", lab.answers()).await;
}

async fn remove_twice(lab: &Lab) {
    for _ in 0..2 {
        timed("container removed", lab.engine.remove_container(&lab.member.container()))
            .await
            .unwrap();
        timed("volume removed", lab.engine.remove_volume(&lab.member.volume())).await.unwrap();
        let network = lab.blueprint().network().name;
        timed("network removed", lab.engine.remove_network(&network)).await.unwrap();
    }
    assert_eq!(lab.engine.owned().await.unwrap(), []);
}

#[tokio::test]
async fn every_ensure_can_be_repeated_and_owned_lists_it() {
    in_lab(V17, |lab| async move {
        let (blueprint, engine) = (lab.blueprint(), &lab.engine);
        let (network, volume) = (blueprint.network(), blueprint.volume());
        let both = tokio::join!(engine.ensure_network(&network), engine.ensure_network(&network));
        assert_eq!(both, (Ok(()), Ok(())));
        for _ in 0..2 {
            engine.ensure_network(&network).await.unwrap();
            engine.ensure_volume(&volume).await.unwrap();
            engine.ensure_container(&blueprint.member_container(&lab.image)).await.unwrap();
        }
        let owned = engine.owned().await.unwrap();
        let kinds: Vec<_> = owned.iter().map(|object| object.kind).collect();
        assert_eq!(kinds, ["container", "network", "volume"]);
        assert!(owned.iter().all(|object| object.labels.contains_key(label::SPEC)));
        let name = lab.member.container();
        assert_eq!(lab.container().await.state, "created");
        assert_eq!(engine.wait_exit(&name, Duration::from_secs(1)).await.unwrap(), None);
        assert_eq!(engine.container("pgflex-nothing").await.unwrap(), None);
        let missing = engine.start_container("pgflex-nothing").await;
        assert!(matches!(missing, Err(EngineError::Missing(_))), "{missing:?}");
    })
    .await;
}

#[tokio::test]
async fn initialisation_that_was_killed_half_way_is_done_again() {
    in_lab(V17, |lab| async move {
        let (blueprint, engine) = (lab.blueprint(), &lab.engine);
        engine.ensure_volume(&blueprint.volume()).await.unwrap();
        let spec = blueprint.init_container(&lab.image);
        for delay in [100, 250, 400] {
            engine.ensure_container(&spec).await.unwrap();
            engine.start_container(&spec.name).await.unwrap();
            tokio::time::sleep(Duration::from_millis(delay)).await;
            engine.signal_container(&spec.name, "SIGKILL").await.unwrap();
            let code = engine.wait_exit(&spec.name, Duration::from_secs(10)).await.unwrap();
            assert_eq!(code, Some(137));
        }
        lab.initialise().await;
        lab.initialise().await;
        lab.create().await;
    })
    .await;
}

#[tokio::test]
async fn two_containers_never_open_one_volume() {
    in_lab(V17, |lab| async move {
        lab.create().await;
        let mut second = lab.blueprint().member_container(&lab.image);
        second.name = format!("{}-second", second.name);
        second.restart = false;
        let helper = lab.blueprint().init_container(&lab.image);
        for spec in [second, helper] {
            lab.engine.ensure_container(&spec).await.unwrap();
            lab.engine.start_container(&spec.name).await.unwrap();
            let code = lab.engine.wait_exit(&spec.name, Duration::from_secs(10)).await.unwrap();
            assert_eq!(code, Some(VOLUME_IN_USE), "{}", spec.name);
        }
        lab.probe().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_belongs_to_another_installation_is_refused_and_kept() {
    in_lab(V17, |lab| async move {
        lab.create().await;
        let other = DockerEngine::connect(&socket(), "another-installation").unwrap();
        let mut spec = lab.blueprint().member_container(&lab.image);
        let (mut volume, mut network) = (lab.blueprint().volume(), lab.blueprint().network());
        for labels in [&mut spec.labels, &mut volume.labels, &mut network.labels] {
            labels.insert(label::INSTALL.into(), "another-installation".into());
        }
        let refused = [
            other.ensure_container(&spec).await,
            other.ensure_volume(&volume).await,
            other.ensure_network(&network).await,
            other.remove_container(&spec.name).await,
            other.remove_volume(&volume.name).await,
            other.remove_network(&network.name).await,
        ];
        for result in refused {
            assert!(matches!(result, Err(EngineError::Foreign(_))), "{result:?}");
        }
        assert_eq!(other.owned().await.unwrap(), []);
        lab.probe().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_member_sees_neither_its_neighbours_nor_the_world_and_cannot_write_outside() {
    in_lab(V17, |lab| async move {
        lab.create().await;
        let neighbour = lab.neighbour();
        neighbour.create().await;
        let address = neighbour.target().await.address;
        let dial = format!("exec 3<>/dev/tcp/{}/{}", address.ip(), address.port());
        let own = lab.run(&["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/5432"], &[]).await;
        assert_eq!(own.0, 0, "{}", own.1);
        assert_ne!(lab.run(&["timeout", "2", "bash", "-c", &dial], &[]).await.0, 0);
        for command in [
            "touch /etc/x",
            "touch /usr/share/x",
            "touch /x",
            "cp /bin/true /tmp/x && /tmp/x",
            "chown 0 /var/lib/pgflex/lock",
        ] {
            assert_ne!(lab.run(&["sh", "-c", command], &[]).await.0, 0, "{command}");
        }
        let keys =
            lab.run(&["stat", "-c", "%a %u", "/var/lib/pgflex/config/server.key"], &[]).await;
        assert_eq!(keys.1.trim(), "600 5432");
        // The portal's certificate for one server opens no other, and a name that is not the server's is refused.
        let mut target = neighbour.target().await;
        target.client_certificate = lab.certificates.control.certificate.clone();
        target.client_key = lab.certificates.control.key.clone();
        assert!(TlsPostgres.probe(&target).await.is_err());
        let mut target = neighbour.target().await;
        target.server_name = "elsewhere.pgflex.localhost".into();
        let wrong = TlsPostgres.probe(&target).await;
        assert!(matches!(wrong, Err(PostgresError::Silent(_))), "{wrong:?}");
    })
    .await;
}

#[tokio::test]
async fn an_engine_says_what_it_is_and_what_it_cannot() {
    in_lab(V17, |lab| async move {
        let facts = timed("facts", lab.engine.facts()).await.unwrap();
        assert!(facts.cpus > 0 && facts.memory_bytes > 1 << 30 && !facts.engine_id.is_empty());
        assert!(facts.storage_total_bytes > facts.storage_free_bytes);
        assert!(facts.images.contains(&V17.image_tag()), "{:?}", facts.images);
        lab.engine.ensure_volume(&lab.blueprint().volume()).await.unwrap();
        let mut spec = lab.blueprint().init_container("pgflex/postgres:none");
        let missing = lab.engine.ensure_container(&spec).await;
        assert!(matches!(missing, Err(EngineError::Missing(_))), "{missing:?}");
        spec.image.clone_from(&lab.image);
        spec.vcores = 4096.0;
        let refused = lab.engine.ensure_container(&spec).await;
        assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn there_are_more_networks_than_the_engines_own_pools_hold() {
    in_lab(V17, |lab| async move {
        let spec = lab.blueprint().network();
        for number in 0..36 {
            let spec = NetworkSpec { name: format!("{}-{number}", spec.name), ..spec.clone() };
            lab.engine.ensure_network(&spec).await.unwrap();
        }
        assert_eq!(lab.engine.owned().await.unwrap().len(), 36);
        // A server made after them lives in the spare pool and works like any other.
        lab.create().await;
    })
    .await;
}

#[tokio::test]
async fn what_becomes_of_a_container_is_told_at_once_and_to_no_one_else() {
    in_lab(V17, |lab| async move {
        lab.create().await;
        let (to, mut events) = tokio::sync::mpsc::channel(64);
        let (engine, install) =
            (DockerEngine::connect(&socket(), &lab.install_id).unwrap(), &lab.install_id);
        let follow = tokio::spawn(async move { engine.events(to).await });
        let (stranger, mut nothing) = tokio::sync::mpsc::channel(64);
        let other = DockerEngine::connect(&socket(), "another-installation").unwrap();
        tokio::spawn(async move { other.events(stranger).await });
        // Following begins some time after it was asked for.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let docker =
            bollard::Docker::connect_with_unix(&socket(), 120, bollard::API_DEFAULT_VERSION)
                .unwrap();
        let name = lab.member.container();
        lab.engine.set_restart(&name, false).await.unwrap();
        docker.pause_container(&name).await.unwrap();
        assert_eq!(lab.container().await.state, "paused");
        docker.unpause_container(&name).await.unwrap();
        lab.run(&["sh", "-c", "kill -QUIT 1"], &[]).await;
        lab.engine.wait_exit(&name, Duration::from_secs(10)).await.unwrap();
        lab.engine.start_container(&name).await.unwrap();
        lab.engine.remove_container(&name).await.unwrap();
        use pgflex::engine::EventKind::{Died, Paused, Removed, Started, Unpaused};
        for expected in [Paused, Unpaused, Died, Started, Died, Removed] {
            let event = tokio::time::timeout(Duration::from_secs(10), events.recv());
            let event = event.await.unwrap().unwrap();
            assert_eq!((event.what, &event.container), (expected, &name));
            assert_eq!(event.labels.get(label::INSTALL), Some(install));
            assert_eq!(event.labels.get(label::MEMBER), Some(&lab.member.id.to_string()));
        }
        assert!(nothing.try_recv().is_err());
        drop(events);
        let ended = tokio::time::timeout(Duration::from_secs(10), follow).await.unwrap().unwrap();
        assert_eq!(ended, Ok(()), "nobody listens any more");
    })
    .await;
}

#[tokio::test]
async fn whether_it_starts_by_itself_can_be_changed_and_changes_nothing_else() {
    in_lab(V17, |lab| async move {
        lab.create().await;
        let name = lab.member.container();
        let before = lab.container().await;
        assert!(before.restarts_by_itself);
        for _ in 0..2 {
            lab.engine.set_restart(&name, false).await.unwrap();
        }
        let off = lab.container().await;
        assert_eq!(
            (off.restarts_by_itself, off.memory_limit_bytes, off.cpu_limit),
            (false, before.memory_limit_bytes, before.cpu_limit)
        );
        assert_eq!(off.started_at, before.started_at);
        lab.run(&["sh", "-c", "kill -QUIT 1"], &[]).await;
        lab.engine.wait_exit(&name, Duration::from_secs(10)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(lab.container().await.state, "exited");
        // Of one that does not run it can be changed as well.
        lab.engine.set_restart(&name, true).await.unwrap();
        assert_eq!(lab.container().await.state, "exited");
        lab.engine.start_container(&name).await.unwrap();
        lab.answers().await;
        lab.run(&["sh", "-c", "kill -QUIT 1"], &[]).await;
        lab.answers().await;
        let missing = lab.engine.set_restart("pgflex-nothing", true).await;
        assert!(matches!(missing, Err(EngineError::Missing(_))), "{missing:?}");
    })
    .await;
}

/// A way to the engine that falls silent without closing anything, as a host does that loses its power.
async fn way_that_falls_silent() -> (String, tokio::sync::watch::Sender<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let (silent, seen) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut seen = seen.clone();
            tokio::spawn(async move {
                let path = socket().replace("unix://", "");
                let mut engine = tokio::net::UnixStream::connect(path).await.unwrap();
                tokio::select! {
                    _ = seen.wait_for(|silent| *silent) => {}
                    _ = tokio::io::copy_bidirectional(&mut client, &mut engine) => return,
                }
                std::future::pending::<()>().await;
            });
        }
    });
    (address, silent)
}

#[tokio::test]
async fn an_engine_that_falls_silent_ends_its_list_of_events() {
    if !super::support::has_engine() {
        return;
    }
    let (address, silent) = way_that_falls_silent().await;
    let engine = DockerEngine::connect(&address, "no-installation").unwrap();
    let (to, _events) = tokio::sync::mpsc::channel(64);
    let mut follow = tokio::spawn(async move { engine.events(to).await });
    // Longer than one question and its answer: nothing happens, and that is no silence.
    let quiet = tokio::time::timeout(Duration::from_secs(12), &mut follow).await;
    assert!(quiet.is_err(), "{quiet:?}");
    silent.send(true).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), follow).await.unwrap().unwrap();
    assert!(matches!(ended, Err(EngineError::Silent(_))), "{ended:?}");
}
