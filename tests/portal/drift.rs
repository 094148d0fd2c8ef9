//! What somebody did by hand on a host, as people see it: the banner, the Hosts page, the repair.

use crate::helpers::{Browser, Plant, TestApp, each_database};
use chrono::Duration;
use pgflex::clock::new_uuid;
use pgflex::domain::ids::{OperationId, ServerId};
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::Member;
use pgflex::monitor::observe;
use pgflex::operations::runner::{Hook, Interference, Moment, Point};
use std::sync::Arc;

fn assert_says(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(body.contains(part), "{part:?} is not on the page:\n{body}");
    }
}

struct Shop {
    plant: Plant,
    id: ServerId,
    olga: Browser,
}

impl Shop {
    async fn open(app: &TestApp) -> Self {
        let olga = app.set_up_owner().await;
        let plant = Plant::of(app).await;
        let create = plant.submit_create("shop").await;
        let made = plant.run(&create).await;
        assert_eq!(made.status, OperationStatus::Succeeded);
        Self { plant, id: made.server_id, olga }
    }

    async fn member(&self) -> Member {
        self.plant.services.store.members(&self.id).await.unwrap().remove(0)
    }

    /// The monitor looks, then some time passes.
    async fn look(&self, app: &TestApp) {
        observe::tick(&self.plant.services).await.unwrap();
        app.wind(Duration::seconds(15));
    }

    async fn page(&mut self, rest: &str) -> String {
        self.olga.get(&format!("/servers/{}{rest}", self.id)).await.body
    }

    /// Ends what is under way.
    async fn work(&self) {
        let store = &self.plant.services.store;
        if let Some(operation) = store.active_operation(&self.id).await.unwrap() {
            self.plant.run(&operation.id).await;
        }
    }
}

#[actix_web::test]
async fn a_container_removed_by_hand_is_told_then_repaired_by_itself() {
    each_database(async |app| {
        let mut shop = Shop::open(&app).await;
        shop.look(&app).await;
        let calm = shop.page("").await;
        assert!(!calm.contains("not as it should be"), "{calm}");
        assert_says(&calm, &["Check and repair"]);

        shop.plant.engine.remove_by_hand("container", &shop.member().await.container());
        shop.look(&app).await;
        let told = shop.page("").await;
        assert_says(
            &told,
            &["The database is down", "The container is missing", "the next look", "/repair\""],
        );
        assert_says(&shop.page("/networking").await, &["The database is down"]);
        assert_says(&shop.olga.get("/hosts").await.body, &["The container is missing"]);

        shop.look(&app).await;
        assert_says(&shop.page("").await, &["“Repair server” is"]);
        shop.work().await;
        shop.look(&app).await;
        let whole = shop.page("").await;
        assert!(!whole.contains("The database is down"), "{whole}");
        assert_says(&whole, &["Repair server", "pgflex", "Answers queries"]);
        let hosts = shop.olga.get("/hosts").await.body;
        assert!(!hosts.contains("The container is missing"), "{hosts}");
    })
    .await;
}

#[actix_web::test]
async fn a_missing_volume_is_for_a_person_and_a_repair_says_so() {
    each_database(async |app| {
        let mut shop = Shop::open(&app).await;
        let member = shop.member().await;
        shop.plant.engine.remove_by_hand("container", &member.container());
        shop.plant.engine.remove_by_hand("volume", &member.data_volume());
        shop.look(&app).await;
        shop.look(&app).await;
        assert_says(
            &shop.page("").await,
            &[
                "The data volume is missing",
                "only a person can decide",
                "Nothing was made in its place",
            ],
        );
        let (page, key) = (format!("/servers/{}/repair", shop.id), new_uuid());
        assert_says(&shop.page("/repair").await, &["The data volume is not touched", "Repair now"]);
        let answer = shop.olga.post_form(&page, &page, &[("idempotency_key", key.as_str())]).await;
        assert_eq!(answer.status, 303);
        let operation = answer.location().to_owned();
        shop.work().await;
        assert_says(
            &shop.olga.get(&operation).await.body,
            &[
                "It failed at “Look at what is wrong”",
                "is not on its host",
                "What was left",
                "What to do",
            ],
        );
    })
    .await;
}

#[actix_web::test]
async fn a_missing_image_is_a_note_and_what_happens_too_often_is_left_to_people() {
    each_database(async |app| {
        let mut shop = Shop::open(&app).await;
        let facts = pgflex::domain::host::EngineFacts { images: vec![], ..crate::helpers::facts() };
        shop.plant.engine.set_facts(facts);
        shop.look(&app).await;
        let noted = shop.page("").await;
        assert_says(&noted, &["The image on the host is missing", "banner-info"]);
        assert!(!noted.contains("id=\"l-repair\""), "nothing needs a repair: {noted}");
        for _ in 0..3 {
            shop.plant.engine.remove_by_hand("container", &shop.member().await.container());
            shop.look(&app).await;
            shop.look(&app).await;
            shop.work().await;
        }
        shop.plant.engine.remove_by_hand("container", &shop.member().await.container());
        shop.look(&app).await;
        shop.look(&app).await;
        assert_says(&shop.page("").await, &["repaired 3 times within 30 minutes", "Find out who"]);
    })
    .await;
}

#[actix_web::test]
async fn a_server_given_up_half_way_is_offered_a_repair_and_comes_back() {
    each_database(async |app| {
        let mut shop = Shop::open(&app).await;
        let hook: Hook = Arc::new(|moment: Moment<'_>| {
            let here = moment.step == "remove_volume" && moment.point == Point::Begun;
            if here { Interference::Fail } else { Interference::None }
        });
        let actor = crate::helpers::actor();
        let delete = shop.plant.door().submit(OperationKind::Delete, &shop.id, &actor, None).await;
        let parked = shop.plant.run_with(hook, &delete.unwrap()).await;
        shop.plant.door().abandon(&parked, &actor).await.unwrap();
        assert_says(&shop.page("").await, &["was in service before", "/repair\""]);
        let (page, key) = (format!("/servers/{}/repair", shop.id), new_uuid());
        let answer = shop.olga.post_form(&page, &page, &[("idempotency_key", key.as_str())]).await;
        let id =
            OperationId::parse(answer.location().strip_prefix("/operations/").unwrap()).unwrap();
        assert_eq!(shop.plant.run(&id).await.status, OperationStatus::Succeeded);
        assert_says(&shop.page("").await, &["Ready"]);
    })
    .await;
}

#[actix_web::test]
async fn a_reader_sees_drift_and_cannot_repair() {
    each_database(async |app| {
        let mut shop = Shop::open(&app).await;
        let mut rita = app.person(&mut shop.olga, "rita", "Reader").await;
        shop.plant.engine.crash(&shop.member().await.container(), 137);
        shop.look(&app).await;
        let body = rita.get(&format!("/servers/{}", shop.id)).await.body;
        assert_says(&body, &["exited with exit code 137"]);
        assert!(!body.contains("/repair\""), "{body}");
        assert_eq!(rita.get(&format!("/servers/{}/repair", shop.id)).await.status, 403);
    })
    .await;
}
