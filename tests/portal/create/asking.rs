//! Asking for a server: everything that was chosen, the buttons of the form, the estimate.

use super::*;

#[actix_web::test]
async fn a_server_is_asked_for_with_everything_that_was_chosen() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await;
        let next = form.press(&mut olga, "next:basics").await;
        let tab = format!("/servers/create?draft={}&tab=networking", form.get("draft"));
        assert_eq!((next.status, next.location()), (303, tab.as_str()), "{}", next.body);
        let page = olga.get(&tab).await;
        assert!(page.body.contains("Password is kept; type a new one to replace it."));
        assert!(
            page.body.contains("value=\"203.0.113.9\"") && page.body.contains("value=\"prod\"")
        );

        // The password is not typed again: it was kept.
        let form = form.set("admin_password", "").set("admin_password_confirm", "");
        let review = form.review(&mut olga).await;
        let page = olga.get(&form.review_path()).await.body;
        for part in [
            "shop.pgflex.localhost",
            "West Europe",
            "PostgreSQL 17",
            "€ 14.47",
            "203.0.113.1 to 203.0.113.9",
            "not measured yet",
            "Reserve a place on a host",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains(ADMIN_PASSWORD));
        let answer = create(&mut olga, &review).await;
        let operation = operations(&app).await.remove(0);
        assert_eq!(
            (answer.status, answer.location()),
            (303, format!("/operations/{}", operation.id).as_str())
        );
        assert_eq!(
            (operation.kind, operation.status),
            (OperationKind::Create, OperationStatus::Queued)
        );
        assert_eq!(operation.requested_by, "olga");
        let steps = app.state.store.operation_steps(&operation.id).await.unwrap();
        assert!(steps.len() > 5 && steps[0].name == "reserve_placement");

        let server = servers(&app).await.remove(0);
        assert_eq!((server.spec.name.as_str(), server.spec.zone.as_str()), ("shop", "1"));
        assert_eq!((server.spec.sku.as_str(), server.spec.storage_gib), ("Standard_B1ms", 32));
        assert_eq!((server.spec.major, server.spec.access), (Major::V17, Access::Public));
        assert_eq!(server.spec.tags[0].value, "prod");
        let rules = app.state.store.firewall_rules(&server.id).await.unwrap();
        assert_eq!((rules.len(), rules[0].name.as_str()), (1, "office"));
        let line = app.activities().await.remove(0);
        assert_eq!((line.action.as_str(), line.subject.as_str()), ("server.create", "shop"));
        let after = olga.get(&form.review_path()).await;
        assert_eq!(
            (after.status, after.location()),
            (303, answer.location()),
            "a used draft leads on"
        );
    })
    .await;
}

#[actix_web::test]
async fn the_buttons_of_the_form_keep_everything() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await;
        for (action, tab, part) in [
            ("add_my_address", "networking", "value=\"client-192-0-2-7\""),
            ("add_everyone", "networking", "value=\"255.255.255.255\""),
            ("add_rule", "networking", "Name of rule 2"),
            ("add_tag", "tags", "Name of tag 2"),
            ("back:networking", "basics", "value=\"Shop\""),
            ("tab:tags", "tags", "value=\"prod\""),
            (
                "preset:production",
                "basics",
                "value=\"Standard_D2ds_v5\" data-presets=\"production\" checked",
            ),
            ("estimate", "basics", "€ 14.47"),
        ] {
            let answer = form.press(&mut olga, action).await;
            let expected = format!("/servers/create?draft={}&tab={tab}", form.get("draft"));
            assert!(
                answer.status == 303 && answer.location().starts_with(&expected),
                "{action}: {}",
                answer.location()
            );
            let page = olga.get(answer.location().split('#').next().unwrap()).await.body;
            assert!(page.contains(part), "{action}: {page}");
            assert!(
                page.contains("value=\"office\"") && page.contains("value=\"shopadmin\""),
                "{action}"
            );
        }
        let removed = form.press(&mut olga, "remove_rule:0").await;
        let page = olga.get(removed.location().split('#').next().unwrap()).await.body;
        assert!(!page.contains("value=\"office\"") && page.contains("nobody can connect yet"));
        // A typed password that cannot be kept stops any button: it could not be shown again.
        let half = form.set("admin_password_confirm", "").press(&mut olga, "add_rule").await;
        assert!(half.status == 422 && half.body.contains("The two passwords differ"));
        let everyone = Form::open(&mut olga).await;
        let answer = everyone.press(&mut olga, "add_everyone").await;
        let page = olga.get(answer.location().split('#').next().unwrap()).await.body;
        assert!(page.contains("every IPv4 address"));
    })
    .await;
}

#[actix_web::test]
async fn pressing_create_twice_makes_one_server() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await;
        let review = form.review(&mut olga).await;
        let mut other_tab = app.browser();
        other_tab.cookies = olga.cookies.clone();
        let (first, second) =
            futures_util::join!(create(&mut olga, &review), create(&mut other_tab, &review));
        assert_eq!((first.status, second.status), (303, 303), "{} {}", first.body, second.body);
        assert_eq!(first.location(), second.location());
        let third = create(&mut olga, &review).await;
        assert_eq!(third.location(), first.location());
        assert_eq!((servers(&app).await.len(), operations(&app).await.len()), (1, 1));

        // Going back and changing the name makes another one, with the password typed again.
        let again = form.set("name", "shop-2").press(&mut olga, "review").await;
        assert_eq!(again.status, 303, "{}", again.body);
        assert!(!again.location().contains(review[1].1.as_str()), "a draft of its own");
        let page = olga.get(again.location()).await;
        let draft = between(&page.body, "name=\"draft\" value=\"", "\"").to_owned();
        let pairs = [("csrf", page.token().unwrap()), ("draft", draft)];
        assert_eq!(create(&mut olga, &pairs).await.status, 303);
        assert_eq!(servers(&app).await.len(), 2);
    })
    .await;
}

#[actix_web::test]
async fn the_estimate_is_that_of_the_price_list() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await.without("admin_password");
        let prices = &app.state.config.prices;
        for (tier, sku, gib) in
            [("Burstable", "Standard_B2s", 64), ("GeneralPurpose", "Standard_D8ds_v5", 1024)]
        {
            let form =
                form.clone().set("tier", tier).set("sku", sku).set("storage", &gib.to_string());
            let answer = form.post(&mut olga, "/servers/create/estimate", "").await;
            let (sku, size) = (Sku::by_name(sku).unwrap(), StorageSize::by_gib(gib).unwrap());
            let estimate = prices.estimate(sku, size);
            for amount in [estimate.compute, estimate.storage, estimate.total()] {
                assert!(answer.body.contains(&prices.text(amount)), "{amount} in {}", answer.body);
            }
            assert!(
                answer.body.contains("example prices") && answer.body.contains("The name is free.")
            );
            assert!(!answer.body.contains("<html"), "parts, not a page");
        }
        // After a change of the tier alone: the smallest size of the new one.
        let moved = form
            .set("tier", "MemoryOptimized")
            .post(&mut olga, "/servers/create/estimate", "")
            .await;
        assert!(moved.body.contains("Compute, E2ds_v5"), "{}", moved.body);
    })
    .await;
}

#[actix_web::test]
async fn without_an_engine_the_form_shows_and_says_why_it_is_closed() {
    each_database(async |app| {
        with_silent_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let page = olga.get("/servers/create").await;
        assert_eq!(page.status, 200);
        assert_eq!(page.body.matches("The host&#39;s Docker Engine does not answer.").count(), 25);
        assert!(page.body.contains("No Docker Engine can be reached."));
        let form = Form::open(&mut olga).await.without("sku");
        let answer = form.press(&mut olga, "review").await;
        assert!(answer.status == 422 && answer.body.contains("id=\"e-sku\""));
        assert!(
            answer.body.contains("value=\"Standard_B1ms\" data-presets=\"development\" checked")
        );
    })
    .await;
}

#[actix_web::test]
async fn a_server_is_asked_for_with_a_standby() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await;
        let form = form
            .set("tier", "GeneralPurpose")
            .set("sku", "Standard_D2ds_v5")
            .set("ha", "ZoneRedundant")
            .set("standby_zone", "3")
            .set("durability", "Required");
        form.press(&mut olga, "next:basics").await;
        let tab = format!("/servers/create?draft={}&tab=basics", form.get("draft"));
        let page = olga.get(&tab).await.body;
        assert!(page.contains("value=\"ZoneRedundant\" checked"), "the draft keeps it");
        assert!(page.contains("<option value=\"3\" selected>"), "{page}");
        assert!(page.contains("loss of a container, not of the host"), "one engine is told");
        let review = form.review(&mut olga).await;
        let page = olga.get(&form.review_path()).await.body;
        for part in ["Zone redundant", "standby in 3", "Required: ", "2 x D2ds_v5", "€ 255.24"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        create(&mut olga, &review).await;
        let server = servers(&app).await.remove(0);
        let row = app.state.store.ha(&server.id).await.unwrap().unwrap();
        assert_eq!((row.standby_zone.as_str(), row.mode.key()), ("3", "ZoneRedundant"));
        assert_eq!((row.durability.key(), row.primary), ("Required", None));
        assert_ne!(server.spec.zone, "3");
    })
    .await;
}

#[actix_web::test]
async fn the_production_preset_takes_a_standby_where_there_is_room() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let chosen = |page: &str, mode: &str| {
            page.contains(&format!("name=\"ha\" value=\"{mode}\" checked"))
        };
        let page = olga.get("/servers/create?preset=production").await.body;
        assert!(chosen(&page, "ZoneRedundant"), "{page}");
        let page = olga.get("/servers/create?preset=development").await.body;
        assert!(chosen(&page, "Disabled") && page.contains("Not on the tier Burstable"));
    })
    .await;
}
