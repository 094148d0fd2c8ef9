//! What changes of routes and rules do to clients.

use crate::lab::*;
use pgflex::domain::route::RouteState;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

async fn refusal_alert(port: u16) -> u8 {
    let mut stream = tls_asked(port).await;
    stream.write_all(&client_hello("x.test")).await.unwrap();
    *read_to_end(&mut stream).await.last().unwrap()
}

#[tokio::test]
async fn a_removed_rule_cuts_at_once_and_others_stay() {
    let lab = Lab::start().await;
    let (one, port_one) = lab.server("one", Some(echo_server(b'1').await)).await;
    let (two, port_two) = lab.server("two", Some(echo_server(b'2').await)).await;
    let mut cut = tls_asked(port_one).await;
    let mut kept = tls_asked(port_two).await;
    assert_eq!((read(&mut cut, 1).await, read(&mut kept, 1).await), (b"1".into(), b"2".into()));
    lab.forbid(&one).await;
    // The gateway has said that it has applied the rules: nothing is open any more.
    assert_eq!((lab.stats.open(&one), lab.stats.open(&two)), (0, 1));
    assert_eq!(read_to_end(&mut cut).await, b"");
    assert_eq!(refusal_alert(port_one).await, 49);
    kept.write_all(b"still here").await.unwrap();
    assert_eq!(read(&mut kept, 10).await, b"still here");
    assert_eq!(lab.stats.cut(), 1);
    let mut tx = lab.write().await;
    tx.save_firewall_rule(&one, &rule("again", "127.0.0.1", "")).await.unwrap();
    lab.apply(tx).await;
    tls_asked(port_one).await;
}

#[tokio::test]
async fn a_new_target_cuts_the_connections_of_the_old() {
    let lab = Lab::start().await;
    let (id, port) = lab.server("demo", Some(echo_server(b'1').await)).await;
    let mut old = tls_asked(port).await;
    assert_eq!(read(&mut old, 1).await, b"1");
    lab.set_route(&id, Some(echo_server(b'2').await), RouteState::Open).await;
    assert_eq!(read_to_end(&mut old).await, b"");
    assert_eq!(read(&mut tls_asked(port).await, 1).await, b"2");
}

#[tokio::test]
async fn held_clients_go_on_when_the_route_opens() {
    let lab = Lab::start().await;
    let (id, port) = lab.server("demo", Some(echo_server(b'1').await)).await;
    let target = Some(echo_server(b'2').await);
    lab.set_route(&id, None, RouteState::Held).await;
    let mut held = connect(port).await;
    held.write_all(&SSL_REQUEST).await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(300), held.peek(&mut byte)).await.is_err());
    lab.set_route(&id, target, RouteState::Open).await;
    assert_eq!(read(&mut held, 2).await, b"S2");
}

#[tokio::test]
async fn held_clients_are_told_to_try_again() {
    let lab = Lab::start().await;
    let (id, port) = lab.server("demo", None).await;
    lab.set_route(&id, None, RouteState::Held).await;
    let begun = Instant::now();
    assert_eq!(refusal_alert(port).await, 80);
    assert!(begun.elapsed() >= Duration::from_millis(800));
    assert_eq!(lab.refused("held"), 1);
    // Whoever hangs up meanwhile does not stay counted.
    let mut impatient = connect(port).await;
    impatient.write_all(&SSL_REQUEST).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    drop(impatient);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lab.refused("held"), 1);
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_waited_for() {
    let lab = Lab::start().await;
    let away = format!("127.0.0.1:{}", free_port().await).parse().unwrap();
    let (id, port) = lab.server("demo", Some(away)).await;
    let mut client = connect(port).await;
    client.write_all(&SSL_REQUEST).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    // It came back elsewhere.
    lab.set_route(&id, Some(echo_server(b'2').await), RouteState::Open).await;
    assert_eq!(read(&mut client, 1).await, b"S");
    client.write_all(b"x").await.unwrap();
    assert_eq!(read(&mut client, 1).await, b"2");
    assert_eq!(lab.refused("unreachable"), 0);
}

#[tokio::test]
async fn closed_deleted_and_dead_servers_refuse() {
    let lab = Lab::start().await;
    let (id, port) = lab.server("demo", Some(echo_server(b'1').await)).await;
    lab.set_route(&id, None, RouteState::Closed).await;
    assert_eq!(refusal_alert(port).await, 49);
    let nobody = format!("127.0.0.1:{}", free_port().await).parse().unwrap();
    lab.set_route(&id, Some(nobody), RouteState::Open).await;
    assert_eq!(refusal_alert(port).await, 80);
    assert_eq!((lab.refused("closed"), lab.refused("unreachable")), (1, 1));
    // A server that takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    lab.set_route(&id, Some(silent.local_addr().unwrap()), RouteState::Open).await;
    assert_eq!(refusal_alert(port).await, 80);
    let mut tx = lab.write().await;
    tx.delete_route(&id).await.unwrap();
    lab.apply(tx).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_server_has_as_many_connections_as_its_size_allows() {
    let lab = Lab::start().await;
    let (id, port) = lab.server("demo", Some(echo_server(b'1').await)).await;
    let mut open = vec![];
    for _ in 0..50 {
        open.push(tls_asked(port).await);
    }
    assert_eq!(refusal_alert(port).await, 80);
    assert_eq!((lab.refused("server_full"), lab.stats.open(&id)), (1, 50));
    open.pop();
    sleep(Duration::from_millis(200)).await;
    tls_asked(port).await;
}

#[tokio::test]
async fn one_side_may_end_and_the_other_go_on() {
    let lab = Lab::start().await;
    let (id, port) = lab.server("demo", Some(echo_server(b'1').await)).await;
    let mut stream = tls_asked(port).await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    let (mut from, mut to) = stream.split();
    let sending = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut got = vec![];
    let reading = async {
        // Slowly at first, so that the gateway has to keep what does not fit.
        sleep(Duration::from_millis(200)).await;
        tokio::io::AsyncReadExt::read_to_end(&mut from, &mut got).await.unwrap();
    };
    tokio::join!(sending, reading);
    assert_eq!(got[0], b'1');
    assert_eq!(&got[1..=sent.len()], &sent[..]);
    assert_eq!(&got[sent.len() + 1..], b"goodbye");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(lab.stats.open(&id), 0);
}

#[tokio::test]
async fn a_taken_port_is_told_and_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shared_port = taken.local_addr().unwrap().port();
    let lab = Lab::with(short_limits(), shared_port).await;
    let (_, port) = lab.server("demo", Some(echo_server(b'1').await)).await;
    tls_asked(port).await;
    let notes = lab.store.gateways().await.unwrap()[0].notes.clone();
    assert!(notes.contains(&format!("shared port {shared_port} could not be opened")), "{notes}");
    drop(taken);
    sleep(Duration::from_millis(700)).await;
    tls_asked(shared_port).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(lab.store.gateways().await.unwrap()[0].notes, "");
}

#[tokio::test]
async fn without_the_store_the_last_routes_hold() {
    let lab = Lab::start().await;
    let (_, port) = lab.server("demo", Some(echo_server(b'1').await)).await;
    let mut stream = tls_asked(port).await;
    assert_eq!(read(&mut stream, 1).await, b"1");
    lab.store.close().await;
    sleep(Duration::from_millis(300)).await;
    stream.write_all(b"still here").await.unwrap();
    assert_eq!(read(&mut stream, 10).await, b"still here");
    assert_eq!(read(&mut tls_asked(port).await, 1).await, b"1");
}

#[tokio::test]
async fn a_gateway_that_ends_leaves_nothing_open() {
    let mut lab = Lab::start().await;
    let (id, port) = lab.server("demo", Some(echo_server(b'1').await)).await;
    let mut stream = tls_asked(port).await;
    assert_eq!(lab.store.gateways().await.unwrap().len(), 1);
    lab.stop().await;
    assert_eq!((lab.store.gateways().await.unwrap().len(), lab.stats.open(&id)), (0, 0));
    assert_eq!(read_to_end(&mut stream).await.len(), 1);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "the port is closed");
}
