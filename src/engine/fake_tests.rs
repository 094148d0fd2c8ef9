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
    let engine = FakeEngine::new("i");
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
