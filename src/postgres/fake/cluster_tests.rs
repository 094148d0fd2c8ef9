use super::*;
use crate::postgres::conf::{Commits, Source};
use crate::postgres::replication::Replication;
use crate::secrets::Secret;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Hosts(Arc<Mutex<Vec<Running>>>);

impl Machines for Hosts {
    fn members(&self) -> Vec<Running> {
        self.0.lock().unwrap().clone()
    }

    fn reload(&self, container: &str) {
        let mut all = self.0.lock().unwrap();
        all.iter_mut().filter(|it| it.container == container).for_each(|it| it.loads += 1);
    }

    fn end_recovery(&self, container: &str) {
        let mut all = self.0.lock().unwrap();
        all.iter_mut().filter(|it| it.container == container).for_each(|it| it.is_standby = false);
    }
}

impl Hosts {
    fn change(&self, container: &str, change: impl Fn(&mut Running)) {
        let mut all = self.0.lock().unwrap();
        all.iter_mut().filter(|it| it.container == container).for_each(change);
    }
}

fn address(number: u8) -> SocketAddr {
    format!("10.0.0.{number}:5432").parse().unwrap()
}

fn running(name: &str, number: u8) -> Running {
    Running {
        container: name.into(),
        data: name.into(),
        addresses: vec![address(number)],
        start: 1,
        configuration: String::new(),
        rules: format!("hostssl replication {REPLICATION_ROLE} all cert"),
        loads: 1,
        is_standby: false,
        is_paused: false,
    }
}

fn target(number: u8) -> Target {
    Target {
        address: address(number),
        server_name: "x".into(),
        root_certificate: String::new(),
        client_certificate: String::new(),
        client_key: Secret::new(""),
    }
}

fn reads_from(number: u8, slot: &str) -> String {
    let source = Source { name: "x".into(), address: address(number) };
    let conninfo = source.conninfo(slot).replace('\'', "''");
    format!("primary_conninfo = '{conninfo}'\nprimary_slot_name = '{slot}'\n")
}

/// Member 1 with a standby 2.
async fn pair() -> (FakePostgres, Hosts) {
    let hosts = Hosts::default();
    hosts.0.lock().unwrap().push(running("one", 1));
    let postgres = FakePostgres::new(|_| Some("17.6".into())).with_machines(hosts.clone());
    let conninfo = Source { name: "x".into(), address: address(1) }.conninfo("s2");
    assert!(postgres.copy(&conninfo, "s2", "two").unwrap_err().contains("no entry"));
    postgres.ensure_replication_role(&target(1)).await.unwrap();
    assert!(postgres.copy(&conninfo, "s2", "two").unwrap_err().contains("does not exist"));
    postgres.ensure_slot(&target(1), "s2").await.unwrap();
    postgres.copy(&conninfo, "s2", "two").unwrap();
    let two = Running { is_standby: true, configuration: reads_from(1, "s2"), ..running("two", 2) };
    hosts.0.lock().unwrap().push(two);
    (postgres, hosts)
}

async fn look(postgres: &FakePostgres, number: u8) -> Standing {
    postgres.standing(&target(number)).await.unwrap()
}

#[tokio::test]
async fn a_standby_reads_what_is_written_and_counts_once_it_is_waited_for() {
    let (postgres, hosts) = pair().await;
    let place = postgres.mark(&target(1)).await.unwrap();
    let (one, two) = (look(&postgres, 1).await, look(&postgres, 2).await);
    assert_eq!(
        (one.written, two.written, one.senders[0].flushed),
        (Some(place), Some(place), Some(place))
    );
    assert_eq!(
        (one.in_recovery, two.in_recovery, one.senders[0].sync_state.as_str()),
        (false, true, "async")
    );
    assert_eq!(one.system_identifier, two.system_identifier);
    let waits =
        format!("synchronous_standby_names = '{}'\n", Commits::With("s2".into()).waits_for());
    hosts.change("one", |member| member.configuration = waits.clone());
    assert_eq!(look(&postgres, 1).await.senders[0].sync_state, "sync");
    assert!(postgres.drop_slot(&target(1), "s2").await.is_err(), "in use");
    assert!(postgres.mark(&target(2)).await.is_err(), "a standby writes nothing");
}

#[tokio::test]
async fn a_member_that_went_another_way_never_streams_again() {
    let (postgres, hosts) = pair().await;
    postgres.cut("one", "two");
    postgres.write("one");
    assert!(look(&postgres, 1).await.senders.is_empty());
    let promoted = postgres.promote(&target(2)).await.unwrap();
    assert_eq!((promoted.timeline, look(&postgres, 1).await.timeline), (2, 1));
    assert_eq!(postgres.promote(&target(2)).await.unwrap().timeline, 2);
    postgres.heal();
    postgres.ensure_slot(&target(2), "s1").await.unwrap();
    let rejoin = |hosts: &Hosts| {
        hosts.change("one", |member| {
            member.is_standby = true;
            member.start += 1;
            member.configuration = reads_from(2, "s1");
        });
    };
    rejoin(&hosts);
    assert_eq!(look(&postgres, 1).await.receiver, None, "it has what the other one has not");
    // Without the write that nobody else has it is a continuation.
    let (postgres, hosts) = pair().await;
    look(&postgres, 2).await;
    postgres.promote(&target(2)).await.unwrap();
    postgres.ensure_slot(&target(2), "s1").await.unwrap();
    rejoin(&hosts);
    let one = look(&postgres, 1).await;
    assert_eq!((one.receiver.as_deref(), one.timeline), (Some("streaming"), 2));
}

#[tokio::test]
async fn a_frozen_member_says_nothing_and_a_session_ends_with_its_start() {
    let (postgres, hosts) = pair().await;
    let mut watch = postgres.watch(&target(2)).await.unwrap();
    watch.look().await.unwrap();
    hosts.change("two", |member| member.is_paused = true);
    assert!(watch.look().await.is_err() && look(&postgres, 1).await.senders.is_empty());
    hosts.change("two", |member| member.is_paused = false);
    watch.look().await.unwrap();
    hosts.change("two", |member| member.start += 1);
    assert!(watch.look().await.is_err());
    postgres.silence("one");
    assert!(postgres.standing(&target(1)).await.is_err());
    postgres.heal();
    postgres.inject_at("one", "standing", 1, &PostgresError::Silent("x".into()));
    assert!(postgres.standing(&target(2)).await.is_ok());
    assert!(
        postgres.standing(&target(1)).await.is_err() && postgres.standing(&target(1)).await.is_ok()
    );
}
