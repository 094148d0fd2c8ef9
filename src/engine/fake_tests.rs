use super::*;
use crate::engine::{Labels, label};

fn labels(install: &str) -> Labels {
    Labels::from([
        (label::INSTALL.to_owned(), install.to_owned()),
        (label::SERVER.to_owned(), "s".to_owned()),
    ])
}

fn container(name: &str, command: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.into(),
        image: "sha256:17".into(),
        command: vec![command.into()],
        labels: labels("i"),
        volume: "v".into(),
        network: Some(("n".into(), vec![])),
        joins: vec![],
        repository: None,
        publish: None,
        vcores: 1.0,
        memory_bytes: 1,
        shm_bytes: 1,
        pids_max: 1,
        restart: false,
        stop_seconds: 1,
    }
}

async fn with_places() -> FakeEngine {
    on_places(FakeEngine::new("i")).await
}

async fn on_places(engine: FakeEngine) -> FakeEngine {
    engine
        .ensure_network(&NetworkSpec {
            name: "n".into(),
            labels: labels("i"),
            range: None,
            is_open: false,
        })
        .await
        .unwrap();
    engine.ensure_volume(&VolumeSpec { name: "v".into(), labels: labels("i") }).await.unwrap();
    engine
}

#[tokio::test]
async fn a_member_runs_only_on_an_initialised_volume_with_files_and_alone() {
    let engine = with_places().await;
    for spec in
        [container("init", "initdb"), container("a", "postgres"), container("b", "postgres")]
    {
        engine.ensure_container(&spec).await.unwrap();
    }
    let exit = async |name: &str| {
        engine.start_container(name).await.unwrap();
        engine.wait_exit(name, Duration::ZERO).await.unwrap()
    };
    assert_eq!(exit("a").await, Some(1));
    assert_eq!(exit("init").await, Some(0));
    assert_eq!(exit("a").await, Some(1));
    let file = FileSpec { path: "config/postgresql.conf".into(), mode: 0o600, content: vec![] };
    engine.put_files("a", &[file]).await.unwrap();
    assert_eq!(exit("a").await, None);
    assert_eq!(exit("b").await, Some(75));
    let address = engine.container("a").await.unwrap().unwrap().address.unwrap();
    assert_eq!(engine.member_at(&address).as_deref(), Some("sha256:17"));
    assert!(engine.remove_volume("v").await.is_err() && engine.remove_network("n").await.is_err());
    for name in ["init", "a", "b"] {
        engine.remove_container(name).await.unwrap();
    }
    engine.remove_volume("v").await.unwrap();
    engine.remove_network("n").await.unwrap();
    assert!(engine.remaining().is_empty());
}

#[tokio::test]
async fn faults_come_as_ordered_and_end() {
    let engine = with_places().await;
    engine.inject("remove_volume", 1, Fault::LoseReply);
    engine.inject("remove_network", 2, Fault::Fail(EngineError::Silent("x".into())));
    assert!(engine.remove_volume("v").await.is_err());
    assert_eq!(engine.remaining(), ["network n"]);
    assert!(engine.remove_network("n").await.is_err() && engine.remove_network("n").await.is_err());
    assert!(engine.remove_network("n").await.is_ok());
}

#[tokio::test]
async fn what_belongs_to_others_is_left_alone() {
    let engine = FakeEngine::new("i");
    engine.plant_foreign("volume", "v");
    let spec = VolumeSpec { name: "v".into(), labels: labels("i") };
    assert!(matches!(engine.ensure_volume(&spec).await, Err(EngineError::Foreign(_))));
    assert!(matches!(engine.remove_volume("v").await, Err(EngineError::Foreign(_))));
    assert!(engine.owned().await.unwrap().is_empty());
}

fn files(names: &[&str]) -> Vec<FileSpec> {
    let file = |name: &&str| FileSpec { path: (*name).into(), mode: 0o600, content: b"x".to_vec() };
    names.iter().map(file).collect()
}

#[tokio::test]
async fn a_copy_is_a_standby_of_other_data_and_needs_its_files() {
    let engine = with_places().await;
    let mut copy = container("copy", "pg_basebackup");
    copy.command.extend(["host='a'".into(), "slot".into()]);
    engine.ensure_container(&copy).await.unwrap();
    let signal = files(&["data/standby.signal"]);
    assert!(engine.put_files("copy", &signal).await.is_err(), "there is no data directory yet");
    let seen = Arc::new(Mutex::new(vec![]));
    let noted = seen.clone();
    engine.on_copy(move |order| {
        noted.lock().unwrap().push((order.slot.clone(), order.data.clone()));
        Ok(())
    });
    let run = async || {
        engine.start_container("copy").await.unwrap();
        engine.wait_exit("copy", Duration::ZERO).await.unwrap()
    };
    assert_eq!(run().await, Some(1), "without its key");
    let needed = ["config/root.crt", "config/replication.crt", "config/replication.key"];
    engine.put_files("copy", &files(&needed)).await.unwrap();
    assert_eq!((run().await, run().await), (Some(0), Some(0)));
    engine.ensure_container(&container("m", "postgres")).await.unwrap();
    engine.put_files("m", &files(&["config/postgresql.conf"])).await.unwrap();
    engine.start_container("m").await.unwrap();
    let member = engine.members().pop().unwrap();
    assert_eq!(*seen.lock().unwrap(), [("slot".to_owned(), member.data.clone())]);
    assert!(member.is_standby);
    engine.end_recovery("m");
    engine.signal_container("m", "SIGHUP").await.unwrap();
    let later = engine.members().pop().unwrap();
    assert!(later.is_standby && later.loads == member.loads + 1, "what it is shows at a start");
    engine.signal_container("m", "SIGKILL").await.unwrap();
    engine.start_container("m").await.unwrap();
    assert!(!engine.members().pop().unwrap().is_standby);
}

#[tokio::test]
async fn what_becomes_of_containers_is_told_until_the_engine_is_cut_off() {
    let engine = with_places().await;
    engine.ensure_container(&container("init", "initdb")).await.unwrap();
    engine.start_container("init").await.unwrap();
    engine.ensure_container(&container("m", "postgres")).await.unwrap();
    engine.put_files("m", &files(&["config/postgresql.conf"])).await.unwrap();
    let (to, mut events) = mpsc::channel(64);
    let follow = tokio::spawn({
        let engine = engine.clone();
        async move { engine.events(to).await }
    });
    while engine.calls().last().unwrap() != "events" {
        tokio::task::yield_now().await;
    }
    engine.start_container("m").await.unwrap();
    engine.pause("m");
    assert_eq!(engine.container("m").await.unwrap().unwrap().state, "paused");
    assert!(engine.start_container("m").await.is_err());
    engine.unpause("m");
    engine.crash("m", 137);
    engine.remove_container("m").await.unwrap();
    use EventKind::{Died, Paused, Removed, Started, Unpaused};
    for expected in [Started, Paused, Unpaused, Died, Removed] {
        let event = events.recv().await.unwrap();
        assert_eq!((event.what, event.container.as_str()), (expected, "m"));
        assert_eq!(event.labels, labels("i"));
    }
    engine.reboot();
    assert!(follow.await.unwrap().is_err());
}

#[tokio::test]
async fn engines_of_other_numbers_have_other_addresses_and_ports_belong_to_one() {
    let mut seen = vec![];
    for number in 0..2 {
        let engine = on_places(FakeEngine::numbered("i", number)).await;
        engine.ensure_container(&container("init", "initdb")).await.unwrap();
        engine.start_container("init").await.unwrap();
        let port = "192.0.2.1:5440".parse().unwrap();
        for name in ["m", "n"] {
            let spec = ContainerSpec { publish: Some(port), ..container(name, "postgres") };
            engine.ensure_container(&spec).await.unwrap();
        }
        engine.put_files("m", &files(&["config/postgresql.conf"])).await.unwrap();
        engine.start_container("m").await.unwrap();
        assert!(engine.start_container("n").await.is_err());
        let member = engine.members().pop().unwrap();
        assert_eq!(member.addresses[1], port);
        seen.extend([member.addresses[0].to_string(), member.data]);
    }
    assert!(seen[0] != seen[2] && seen[1] != seen[3], "{seen:?}");
}
