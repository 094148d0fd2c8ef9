//! Virtual networks and the change of how a server is reached, through the pages.

use crate::helpers::{Plant, TestApp, each_database, facts};
use crate::server_seed::{ready, seed};
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::network::Access;
use pgflex::domain::operation::OperationStatus;
use pgflex::domain::server::SettledState;
use pgflex::domain::virtual_network::{NetworkState, TakenRange, VirtualNetwork};
use pgflex::engine::{Engine, NetworkJoin};
use pgflex::monitor::networks as monitor;

fn typed<'a>(name: &'a str, range: &'a str) -> [(&'a str, &'a str); 2] {
    [("network_name", name), ("range", range)]
}

async fn networks(app: &TestApp) -> Vec<VirtualNetwork> {
    app.state.store.networks().await.unwrap()
}

#[actix_web::test]
async fn a_network_is_made_and_faults_come_back_at_their_fields() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        assert!(rita.get("/networks").await.body.contains("No virtual network yet"));
        assert!(!rita.get("/networks").await.body.contains("Make a network"));
        for (fields, errors) in [
            (typed("", "10.20.0.1/24"), vec!["2 to 64 characters", "enter 10.20.0.0/24"]),
            (typed("a b", "8.8.8.0/24"), vec!["only letters", "Only private addresses"]),
            (typed("<script>", "<b>"), vec!["&#60;script&#62;", "with a slash"]),
        ] {
            let answer = olga.press("/networks", &fields).await;
            assert_eq!(answer.status, 422);
            for error in errors {
                assert!(answer.body.contains(error), "{error} in {}", answer.body);
            }
        }
        assert!(networks(&app).await.is_empty());
        let made = olga.press("/networks", &typed("backend", "10.20.0.0/24")).await;
        let network = networks(&app).await.remove(0);
        assert_eq!((made.status, made.location()), (303, &*format!("/networks/{}", network.id)));
        let page = olga.get(made.location()).await.body;
        for part in [
            "Network backend (10.20.0.0/24) is there.",
            "253 containers on each host",
            &format!("docker network connect {} my-application", network.docker_name()),
            "No server is in it",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        for (name, range, error) in [
            ("backend", "10.21.0.0/24", "There is a network named backend already."),
            (
                "other",
                "10.20.0.128/25",
                "overlaps with 10.20.0.0/24 of the virtual network backend",
            ),
            ("other", "10.20.0.0/16", "overlaps with 10.20.0.0/24"),
        ] {
            let answer = olga.press("/networks", &typed(name, range)).await;
            assert_eq!(answer.status, 422);
            assert!(answer.body.contains(error), "{error} in {}", answer.body);
        }
        let lines = app.activities().await;
        assert_eq!((&*lines[0].action, &*lines[0].subject), ("network.create", "backend"));
        assert_eq!(olga.get(&format!("/networks/{}", new_uuid())).await.status, 404);
        assert_eq!(rita.press("/networks", &typed("rita", "10.30.0.0/24")).await.status, 403);
    })
    .await;
}

#[actix_web::test]
async fn a_range_that_a_host_uses_is_refused() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let range = "172.17.0.0/16".parse().unwrap();
        let mut seen = facts();
        seen.ranges = vec![TakenRange { owner: "bridge".into(), range }];
        app.state.store.observe_host(&plant.host, app.clock.now(), &seen, &[]).await.unwrap();
        let answer = olga.press("/networks", &typed("backend", "172.17.5.0/24")).await;
        assert_eq!(answer.status, 422);
        let why = "172.17.0.0/16 of the Docker network bridge on host local";
        assert!(answer.body.contains(why), "{}", answer.body);
    })
    .await;
}

#[actix_web::test]
async fn a_server_goes_private_and_public_again_by_pages() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let create = plant.submit_create("shop").await;
        let server = plant.run(&create).await.server_id;
        olga.press("/networks", &typed("backend", "10.20.0.0/24")).await;
        let network = networks(&app).await.remove(0);
        let page = format!("/servers/{server}/networking/access");
        let form = olga.get(&page).await.body;
        assert!(form.contains("10.20.0.0/24") && form.contains("Review the change"), "{form}");
        let id = network.id.as_str();
        let wanted = [("access", "Private"), ("network", id), ("tls", "optional")];
        let review = olga.press(&page, &wanted).await;
        assert_eq!(review.status, 200);
        for part in [
            "Every connection through the gateway ends",
            "shop.pgflex.localhost, port 5432",
            "no longer be protected from being read",
        ] {
            assert!(review.body.contains(part), "{part} in {}", review.body);
        }
        let (key, second) = (new_uuid(), new_uuid());
        let confirmed =
            |key| [wanted[0], wanted[1], wanted[2], ("confirm", "yes"), ("idempotency_key", key)];
        let answer = olga.press(&page, &confirmed(&key)).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        assert_eq!(olga.press(&page, &confirmed(&second)).await.status, 409, "one at a time");
        let operation = app.state.store.active_operation(&server).await.unwrap().unwrap();
        assert_eq!(operation.about(), "to private access in backend, TLS not required");
        // A network that a change is on its way to is not deleted under it.
        olga.press(&format!("/networks/{id}/delete"), &[]).await;
        assert_eq!(networks(&app).await[0].state, NetworkState::Active);
        let ended = plant.run(&operation.id).await;
        assert_eq!(ended.status, OperationStatus::Succeeded, "{:?}", ended.error);
        let row = app.state.store.server(&server).await.unwrap().unwrap();
        assert_eq!(
            (row.spec.access, row.network_id.as_ref()),
            (Access::Private, Some(&network.id))
        );
        let member = app.state.store.members(&server).await.unwrap().remove(0);
        let rules = plant.engine.file(&member.volume(), "config/pg_hba.conf").unwrap();
        let rules = String::from_utf8(rules).unwrap();
        assert!(rules.contains("10.20.0.1/32") && rules.contains("host       all          all"));
        let shown = olga.get(&format!("/networks/{id}")).await.body;
        assert!(shown.contains("shop.pgflex.localhost:5432"), "{shown}");
        assert!(shown.contains("1 server is in it: change the networking"), "{shown}");
        for (path, part) in [
            ("", "in the virtual network backend"),
            ("/networking", "from containers in the virtual network backend"),
            ("/networking", "Connections without TLS are allowed."),
            ("/connect", &*format!("network connect {} my-application", network.docker_name())),
        ] {
            let body = olga.get(&format!("/servers/{server}{path}")).await.body;
            assert!(body.contains(part), "{part} in {body}");
        }
        let back = [("access", "Public"), ("network", id), ("tls", "required")];
        let review = olga.press(&page, &back).await.body;
        assert!(review.contains("leaves the network backend"), "{review}");
        assert!(review.contains("Connections without TLS end"), "{review}");
        let key = new_uuid();
        let back = [back[0], back[1], back[2], ("confirm", "yes"), ("idempotency_key", &key)];
        assert_eq!(olga.press(&page, &back).await.status, 303);
        let operation = app.state.store.active_operation(&server).await.unwrap().unwrap();
        assert_eq!(plant.run(&operation.id).await.status, OperationStatus::Succeeded);
        assert!(plant.engine.joined(&member.container()).is_empty());
        let row = app.state.store.server(&server).await.unwrap().unwrap();
        assert_eq!((row.spec.access, row.network_id), (Access::Public, None));
    })
    .await;
}

#[actix_web::test]
async fn faults_of_the_change_come_back_and_a_closed_one_says_why() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let page = shop.path("/networking/access");
        let answer = olga.press(&page, &[("access", "x"), ("network", "y"), ("tls", "z")]).await;
        assert_eq!(answer.status, 422);
        for error in ["public or private", "does not exist", "whether TLS is required"] {
            assert!(answer.body.contains(error), "{error} in {}", answer.body);
        }
        let same = [("access", "Public"), ("network", ""), ("tls", "required")];
        let review = olga.press(&page, &same).await.body;
        assert!(review.contains("The setting is applied once more"), "{review}");
        let idle = seed(&app, "idle", Access::Private, SettledState::Stopped, 20_002).await;
        let body = olga.get(&idle.path("/networking")).await.body;
        assert!(body.contains("The server is Stopped. Start it first"), "{body}");
        assert!(body.contains("the server&#39;s own Docker network."), "{body}");
    })
    .await;
}

#[actix_web::test]
async fn a_deleted_network_is_taken_off_the_hosts_first() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let create = plant.submit_create("shop").await;
        let server = plant.run(&create).await.server_id;
        olga.press("/networks", &typed("backend", "10.20.0.0/24")).await;
        let network = networks(&app).await.remove(0);
        let name = network.docker_name();
        let spec = pgflex::engine::NetworkSpec {
            name: name.clone(),
            labels: [("pgflex.install".to_owned(), app.state.install_id.clone())].into(),
            range: Some(network.range),
            is_open: false,
        };
        plant.engine.ensure_network(&spec).await.unwrap();
        let member = app.state.store.members(&server).await.unwrap().remove(0).container();
        let join = NetworkJoin { network: name.clone(), aliases: vec![] };
        plant.engine.connect_network(&member, &join).await.unwrap();
        let path = format!("/networks/{}", network.id);
        let gone = olga.press(&format!("{path}/delete"), &[]).await;
        assert_eq!(gone.location(), "/networks");
        assert!(olga.get("/networks").await.body.contains("Network backend is being deleted"));
        monitor::tick(&plant.services).await.unwrap();
        let page = olga.get(&path).await.body;
        assert!(page.contains(&format!("{member} still in it")), "{page}");
        assert!(!page.contains("Delete network backend"));
        let create = olga.get("/servers/create?tab=networking").await.body;
        assert!(!create.contains(network.id.as_str()), "nobody may join it any more");
        plant.engine.disconnect_network(&member, &name).await.unwrap();
        monitor::tick(&plant.services).await.unwrap();
        assert!(networks(&app).await.is_empty());
        assert!(!plant.engine.remaining().contains(&format!("network {name}")));
        assert_eq!(olga.get(&path).await.status, 404);
        let lines = app.activities().await;
        assert!(lines.iter().any(|line| line.action == "network.delete"));
    })
    .await;
}
