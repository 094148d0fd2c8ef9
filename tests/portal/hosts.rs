//! The Hosts page: what was seen, what was not, and what is left over.

use crate::ha_seed::asked;
use crate::helpers::{Plant, TestApp, each_database, facts};
use crate::server_seed::ready;
use chrono::Duration;
use pgflex::clock::new_id;
use pgflex::domain::ha::{Durability, MemberRole, Move};
use pgflex::domain::host::{Host, HostOrigin, Orphan};
use pgflex::domain::ids::MemberId;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::Member;
use pgflex::monitor::observe;
use pgflex::store::{Record, Store};

fn assert_says(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(body.contains(part), "{part:?} is not on the page:\n{body}");
    }
}

#[actix_web::test]
async fn without_a_host_the_page_says_how_to_get_one() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        assert_says(
            &olga.get("/hosts").await.body,
            &["No host yet", "[[hosts]]", "No gateway has reported"],
        );
    })
    .await;
}

#[actix_web::test]
async fn a_host_shows_what_it_has_promises_and_runs() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        assert_eq!(plant.run(&id).await.status, OperationStatus::Succeeded);
        observe::tick(&plant.services).await.unwrap();
        app.state
            .store
            .record_gateway(app.state.now(), "gw-1", 1, "port 5432 is taken")
            .await
            .unwrap();
        let body = olga.get("/hosts").await.body;
        assert_says(
            &body,
            &[
                "All zones are on one Docker Engine: local.",
                "Answers",
                "Promised: 1 server<",
                "Every zone of every region",
                ">shop</a>",
                "B1ms: 1 vCore, 2 GiB memory, 32 GiB storage",
                "Answers queries",
                "just now",
                "gw-1",
                "port 5432 is taken",
            ],
        );
        assert!(!body.contains("Orphans"));
        app.wind(Duration::minutes(2));
        let later = olga.get("/hosts").await.body;
        assert_says(
            &later,
            &[
                "Not looked at lately",
                "seen last: Answers queries",
                "class=\"stale\"",
                "Silent",
                "2 min ago",
            ],
        );
    })
    .await;
}

#[actix_web::test]
async fn a_silent_engine_keeps_what_was_seen_with_its_time() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        app.wind(Duration::seconds(90));
        let store = &app.state.store;
        store
            .observe_host_silent(&plant.host, app.state.now(), "no route <b>to host")
            .await
            .unwrap();
        let body = olga.get("/hosts").await.body;
        assert_says(
            &body,
            &[
                "Does not answer",
                "no route &#60;b&#62;to host",
                "It answered last at",
                "1 min 30 s ago",
                "Nothing on it was changed",
                "What to do",
                "20.10.24",
            ],
        );
    })
    .await;
}

#[actix_web::test]
async fn orphans_are_listed_with_the_command_and_never_removed() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let orphan = |kind: &str, name: &str| Orphan {
            kind: kind.into(),
            name: name.into(),
            server: "old-<i>shop".into(),
        };
        let orphans = [orphan("volume", "pgflex-1-data"), orphan("container", "x'y")];
        app.state
            .store
            .observe_host(&plant.host, app.state.now(), &facts(), &orphans)
            .await
            .unwrap();
        let body = olga.get("/hosts").await.body;
        assert_says(
            &body,
            &[
                "Orphans: 2",
                "Nothing here is removed by itself",
                "docker volume rm pgflex-1-data",
                "Removing it cannot be undone",
                "old-&#60;i&#62;shop",
                "docker container inspect &#39;x",
            ],
        );
        assert!(!body.contains("<i>shop"));
    })
    .await;
}

#[actix_web::test]
async fn a_host_that_left_the_configuration_is_called_so() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let host = ("gone".into(), "tcp://10.0.0.9:2376".into(), vec![]);
        app.state.store.register_hosts(app.state.now(), &[host]).await.unwrap();
        let body = olga.get("/hosts").await.body;
        assert_says(
            &body,
            &["Not configured", "no longer in the configuration", "not measured yet"],
        );
    })
    .await;
}

#[actix_web::test]
async fn a_member_under_an_operation_shows_both_states() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        plant.submit(OperationKind::Restart, "shop").await;
        assert_says(&olga.get("/hosts").await.body, &["Restarting", "Not seen yet"]);
    })
    .await;
}

/// A certificate and key that can be read; whether an engine takes them is not asked here.
fn pem() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["portal".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

async fn named(store: &Store, name: &str) -> Option<Host> {
    store.hosts().await.unwrap().into_iter().find(|host| host.name == name)
}

#[actix_web::test]
async fn an_owner_adds_changes_and_removes_a_host() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let store = &app.state.store;
        let (certificate, key) = pem();
        let form = [
            ("host_name", "rack-2"),
            ("address", "tcp://10.0.0.5:2376"),
            ("places", "westeurope 1\r\nwesteurope 2"),
            ("tls_ca", &*certificate),
            ("tls_certificate", &*certificate),
            ("tls_key", &*key),
        ];
        let added = olga.press("/hosts/new", &form).await;
        let host = named(store, "rack-2").await.unwrap();
        assert_eq!((added.status, added.location()), (303, &*format!("/hosts#host-{}", host.id)));
        assert_eq!((host.origin, host.has_tls, host.places.len()), (HostOrigin::Portal, true, 2));
        assert_eq!(host.member_address, Some("10.0.0.5".parse().unwrap()));
        assert_says(
            &olga.get("/hosts").await.body,
            &[
                "rack-2",
                "Not looked at yet",
                "Added on this page, with certificates",
                "10.0.0.5, published ports",
            ],
        );
        // What is sealed is nowhere in sight, neither in the store's text nor on the form.
        let sealed = store.sealed_tls(&host.id).await.unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("PRIVATE KEY"));
        let edit = format!("/hosts/{}/edit", host.id);
        let shown = olga.get(&edit).await.body;
        assert!(!shown.contains("BEGIN") && shown.contains("leave the three fields empty"));

        let version = host.version.to_string();
        let change = [("address", "tcp://10.0.0.6:2376"), ("places", ""), ("version", &*version)];
        assert_eq!(olga.press(&edit, &change).await.status, 303);
        let changed = named(store, "rack-2").await.unwrap();
        assert_eq!((&*changed.address, changed.has_tls), ("tcp://10.0.0.6:2376", true));
        let late = olga.press(&edit, &change).await;
        assert!(late.status == 422 && late.body.contains("meanwhile"), "{}", late.body);

        assert_eq!(olga.press(&format!("/hosts/{}/remove", host.id), &[]).await.status, 303);
        assert!(named(store, "rack-2").await.is_none());
        let lines = app.activities().await;
        let actions: Vec<&str> = lines.iter().map(|line| &*line.action).collect();
        for action in ["host.add", "host.change", "host.remove"] {
            assert!(actions.contains(&action), "{actions:?}");
        }
        assert!(lines.iter().all(|line| !line.detail.contains("BEGIN")));
    })
    .await;
}

#[actix_web::test]
async fn a_host_that_cannot_be_is_refused_at_its_field_and_keeps_no_key() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let (certificate, key) = pem();
        let plain = [("host_name", "x"), ("address", "tcp://10.0.0.5:2376")];
        let refused = olga.press("/hosts/new", &plain).await;
        assert!(refused.status == 422 && refused.body.contains("e-address"), "{}", refused.body);
        let half = [plain[0], plain[1], ("tls_key", &*key)];
        let refused = olga.press("/hosts/new", &half).await;
        assert!(refused.status == 422 && refused.body.contains("e-tls_ca"));
        assert!(!refused.body.contains("PRIVATE KEY"));
        let unknown = [
            plain[0],
            plain[1],
            ("places", "nowhere 1"),
            ("tls_ca", &*certificate),
            ("tls_certificate", &*certificate),
            ("tls_key", &*key),
        ];
        let refused = olga.press("/hosts/new", &unknown).await;
        assert!(refused.status == 422 && refused.body.contains("e-places"));
        assert!(!refused.body.contains("PRIVATE KEY"));
        assert!(app.state.store.hosts().await.unwrap().is_empty());
    })
    .await;
}

/// Answers as a Docker Engine of this identity does, as far as facts are asked; gives its address.
fn engine_of(identity: &str) -> String {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let identity = identity.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(first)) = lines.next() else { continue };
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let body = match first.split(['?', ' ']).nth(1).unwrap_or_default() {
                path if path.ends_with("/version") => {
                    r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12","Version":"20.10.24"}"#.into()
                }
                path if path.ends_with("/info") => format!(r#"{{"ID":"{identity}","NCPU":8}}"#),
                _ => "[]".to_owned(),
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

/// A standby on a host of the Hosts page.
async fn standby_on(app: &TestApp, host: &Host) {
    let server = ready(app, "shop").await;
    let now = app.state.now();
    let standby = Member {
        id: new_id(MemberId::parse),
        server_id: server.id.clone(),
        host_id: host.id.clone(),
        generation: 1,
        image: "pgflex/postgres:17-r3".into(),
        postgres_version: String::new(),
        disk: None,
        zone: "2".into(),
        port: Some(22_000),
        role: MemberRole::Standby,
    };
    let row = asked(&server, Durability::Preferred, now);
    let row = row.after(&Move::BuildBegins { standby: standby.id.clone() }, now).unwrap();
    let mut tx = app.state.store.begin_write(now).await.unwrap();
    tx.insert_member(&standby).await.unwrap();
    tx.insert_ha(&row).await.unwrap();
    tx.commit(Record::Nothing("a story begins")).await.unwrap();
}

#[actix_web::test]
async fn a_host_with_members_is_not_led_to_another_engine() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let store = &app.state.store;
        let form =
            [("host_name", "rack-2"), ("address", "unix:///x"), ("member_address", "10.0.0.5")];
        assert_eq!(olga.press("/hosts/new", &form).await.status, 303);
        let host = named(store, "rack-2").await.unwrap();
        let known = pgflex::domain::host::EngineFacts { engine_id: "mine".into(), ..facts() };
        store.observe_host(&host.id, app.state.now(), &known, &[]).await.unwrap();
        standby_on(&app, &host).await;
        let edit = format!("/hosts/{}/edit", host.id);
        let shown = olga.get(&edit).await.body;
        assert_says(&shown, &["One server has its standby on it. Disable high availability"]);
        let mut lead = async |address: &str| {
            let version = named(store, "rack-2").await.unwrap().version.to_string();
            let change = [("address", address), form[2], ("places", ""), ("version", &*version)];
            olga.press(&edit, &change).await
        };
        let refused = lead(&engine_of("another")).await;
        assert!(refused.status == 422, "{}", refused.body);
        assert_says(
            &refused.body,
            &["Another Docker Engine answers at this address", "add a host"],
        );
        let refused = lead("tcp://127.0.0.1:9").await;
        assert!(refused.status == 422, "{}", refused.body);
        assert_says(&refused.body, &["cannot be asked now", "Save again when it answers"]);
        assert_eq!(named(store, "rack-2").await.unwrap().address, "unix:///x");
        let same = engine_of("mine");
        let led = lead(&same).await;
        assert_eq!(led.status, 303, "{}", led.body);
        assert_eq!(named(store, "rack-2").await.unwrap().address, same);
    })
    .await;
}

#[actix_web::test]
async fn hosts_with_members_and_hosts_of_the_file_stay_and_only_owners_may_try() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        plant.run(&id).await;
        let edit = format!("/hosts/{}/edit", plant.host);
        let shown = olga.get(&edit).await;
        assert_says(
            &shown.body,
            &["named in the configuration file", "cannot be changed or removed here"],
        );
        let remove = format!("/hosts/{}/remove", plant.host);
        olga.press(&remove, &[]).await;
        assert!(olga.get("/hosts").await.body.contains("servers are on this host"));
        assert_eq!(app.state.store.hosts().await.unwrap().len(), 1);
        let mut carl = app.person(&mut olga, "carl", "Contributor").await;
        assert!(!carl.get("/hosts").await.body.contains("/hosts/new"));
        assert_eq!(carl.get("/hosts/new").await.status, 403);
        assert_eq!(carl.press(&remove, &[]).await.status, 403);
    })
    .await;
}

#[actix_web::test]
async fn a_clock_that_differs_is_a_warning() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let see = async |ahead| {
            let facts = pgflex::domain::host::EngineFacts { clock_ahead_ms: ahead, ..facts() };
            app.state.store.observe_host(&plant.host, app.state.now(), &facts, &[]).await.unwrap();
        };
        see(Some(-40)).await;
        let body = olga.get("/hosts").await.body;
        assert!(body.contains("40 ms behind the portal") && !body.contains("The clocks differ"));
        see(Some(2500)).await;
        assert_says(
            &olga.get("/hosts").await.body,
            &["The clocks differ", "2.5 s ahead of the portal"],
        );
    })
    .await;
}

#[actix_web::test]
async fn zones_that_share_something_are_told_apart_from_those_that_do_not() {
    each_database(async |app| {
        let (store, now) = (&app.state.store, app.state.now());
        let place = |zone: &str| pgflex::domain::host::Place {
            region: "westeurope".into(),
            zone: zone.into(),
        };
        let host = |name: &str, address: &str, zone: &str| {
            (name.into(), address.into(), vec![place(zone)])
        };
        let hosts = [
            host("a", "tcp://10.0.0.1:2376", "1"),
            host("b", "tcp://10.0.0.2:2376", "2"),
            host("c", "tcp://10.0.0.2:2377", "3"),
        ];
        let hosts = store.register_hosts(now, &hosts).await.unwrap();
        let see = async |at: usize, id: &str| {
            let facts = pgflex::domain::host::EngineFacts { engine_id: id.into(), ..facts() };
            store.observe_host(&hosts[at].id, now, &facts, &[]).await.unwrap();
        };
        see(0, "A").await;
        see(1, "B").await;
        see(2, "A").await;
        let sentence = async |a: &str, b: &str| {
            let truth = store.zone_truth("westeurope", a, b).await.unwrap();
            truth.map(|sharing| sharing.sentence(a, b)).unwrap_or_default()
        };
        assert_eq!(sentence("1", "2").await, "");
        assert!(sentence("1", "3").await.contains("share the Docker Engine of hosts a and c"));
        assert!(sentence("2", "3").await.contains("share the machine of hosts b and c"));
    })
    .await;
}
