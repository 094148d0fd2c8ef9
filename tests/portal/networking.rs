//! Firewall rules: added, edited, deleted, refused, and seen to be in effect.

use crate::helpers::{TestApp, each_database};
use crate::server_seed::{Seeded, ready, seed};
use chrono::Duration;
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::network::{Access, FirewallRule};
use pgflex::domain::server::SettledState;

async fn rules(app: &TestApp, server: &Seeded) -> Vec<FirewallRule> {
    app.state.store.firewall_rules(&server.id).await.unwrap()
}

async fn ranges(app: &TestApp, server: &Seeded) -> Vec<String> {
    let rules = rules(app, server).await;
    rules.iter().map(|r| format!("{} {}-{}", r.name, r.range.start, r.range.end)).collect()
}

fn rule<'a>(name: &'a str, start: &'a str, end: &'a str) -> [(&'a str, &'a str); 3] {
    [("rule_name", name), ("start", start), ("end", end)]
}

#[actix_web::test]
async fn rules_are_added_and_the_same_name_gets_the_new_range() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let (page, generation) =
            (shop.path("/networking"), app.state.store.route_generation().await.unwrap());
        assert!(olga.get(&page).await.body.contains("No rules: nobody can connect"));
        let answer = olga.press(&page, &rule("office", "10.0.0.1", "10.0.0.9")).await;
        assert_eq!((answer.status, answer.location()), (303, &*page), "{}", answer.body);
        let shown = olga.get(&page).await.body;
        assert!(
            shown.contains("Rule office is added: 10.0.0.1 to 10.0.0.9 may connect."),
            "{shown}"
        );
        assert_eq!(olga.press(&page, &rule("office", "10.0.0.2", "")).await.status, 303);
        assert!(olga.get(&page).await.body.contains("Rule office now has the range 10.0.0.2."));
        // Overlaps are allowed.
        assert_eq!(
            olga.press(&page, &rule("wide", "10.0.0.0", "10.255.255.255")).await.status,
            303
        );
        assert_eq!(
            ranges(&app, &shop).await,
            ["office 10.0.0.2-10.0.0.2", "wide 10.0.0.0-10.255.255.255"]
        );
        assert!(app.state.store.route_generation().await.unwrap() >= generation + 3);
        let lines = app.activities().await;
        let actions: Vec<_> = lines.iter().take(3).map(|line| line.action.as_str()).collect();
        assert_eq!(
            actions,
            ["firewall_rule.create", "firewall_rule.update", "firewall_rule.create"]
        );
        assert_eq!(lines[0].detail, "wide: 10.0.0.0 to 10.255.255.255");
        assert_eq!(lines[0].server_id.as_ref(), Some(&shop.id));
    })
    .await;
}

#[actix_web::test]
async fn a_faulty_rule_comes_back_with_its_values_and_an_error_at_the_field() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let page = shop.path("/networking");
        for (fields, errors) in [
            (rule("a b", "10.0.0.9", "10.0.0.1"), vec!["only letters", "is below the start"]),
            (rule("", "::1", ""), vec!["1 to 80 characters", "This is an IPv6 address"]),
            (rule("ok", "10.0.0.0/8", ""), vec!["not with a slash"]),
            (rule("ok", "<script>", ""), vec!["Enter an IPv4 address", "&#60;script&#62;"]),
        ] {
            let answer = olga.press(&page, &fields).await;
            assert_eq!(answer.status, 422);
            for error in errors {
                assert!(answer.body.contains(error), "{error} in {}", answer.body);
            }
            if !fields[0].1.is_empty() {
                assert!(answer.body.contains(&format!("value=\"{}\"", fields[0].1)));
            }
        }
        assert!(rules(&app, &shop).await.is_empty());
    })
    .await;
}

#[actix_web::test]
async fn rules_are_edited_in_place_and_deleted() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let page = shop.path("/networking");
        olga.press(&page, &rule("office", "10.0.0.1", "")).await;
        olga.press(&page, &rule("home", "10.0.1.1", "")).await;
        let id = rules(&app, &shop).await[1].id.clone();
        let form = olga.get(&format!("{page}?edit={id}")).await.body;
        assert!(form.contains("Edit rule office") && form.contains("value=\"10.0.0.1\""), "{form}");
        let path = format!("{page}/{id}");
        let taken = olga.press(&path, &rule("home", "10.0.0.1", "")).await;
        assert_eq!(taken.status, 422);
        assert!(
            taken.body.contains("Another rule of this server is named home."),
            "{}",
            taken.body
        );
        let wide = olga.press(&path, &rule("office", "0.0.0.0", "255.255.255.255")).await;
        assert_eq!(wide.status, 422);
        assert!(wide.body.contains("opens the server to every address"));
        assert_eq!(olga.press(&path, &rule("site", "10.0.0.1", "10.0.0.4")).await.status, 303);
        assert_eq!(ranges(&app, &shop).await, ["home 10.0.1.1-10.0.1.1", "site 10.0.0.1-10.0.0.4"]);

        let delete = format!("{path}/delete");
        let gone = olga.press(&delete, &[]).await;
        assert_eq!(gone.location(), page);
        let shown = olga.get(&page).await.body;
        assert!(shown.contains("Rule site (10.0.0.1 to 10.0.0.4) is deleted."), "{shown}");
        assert_eq!(olga.press(&delete, &[]).await.status, 303);
        assert!(olga.get(&page).await.body.contains("was deleted already"));
        assert_eq!(ranges(&app, &shop).await, ["home 10.0.1.1-10.0.1.1"]);
        assert_eq!(olga.press(&path, &rule("x", "10.0.0.1", "")).await.status, 404);
        assert_eq!(olga.press(&format!("{page}/x/delete"), &[]).await.status, 404);
    })
    .await;
}

#[actix_web::test]
async fn a_rule_of_another_server_is_not_there() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let other = seed(&app, "other", Access::Public, SettledState::Ready, 20_002).await;
        olga.press(&other.path("/networking"), &rule("office", "10.0.0.1", "")).await;
        let id = rules(&app, &other).await[0].id.clone();
        let path = shop.path(&format!("/networking/{id}"));
        assert_eq!(olga.press(&path, &rule("office", "10.0.0.7", "")).await.status, 404);
        olga.press(&format!("{path}/delete"), &[]).await;
        assert_eq!(ranges(&app, &other).await, ["office 10.0.0.1-10.0.0.1"]);
    })
    .await;
}

#[actix_web::test]
async fn my_address_is_one_click_and_says_what_it_is() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let (page, mine) = (shop.path("/networking"), shop.path("/networking/mine"));
        assert!(olga.get(&page).await.body.contains("Add my address (192.0.2.7)"));
        assert_eq!(olga.press(&mine, &[]).await.status, 303);
        assert_eq!(olga.press(&mine, &[]).await.status, 303);
        assert_eq!(ranges(&app, &shop).await, ["client-192-0-2-7 192.0.2.7-192.0.2.7"]);
        let shown = olga.get(&page).await.body;
        assert!(shown.contains("includes you") && !shown.contains("Add my address"), "{shown}");

        olga.address = "127.0.0.1".into();
        let shown = olga.get(&page).await.body;
        assert!(shown.contains("lets in only clients that run there too"), "{shown}");
        olga.address = "[2001:db8::1]".into();
        let shown = olga.get(&page).await.body;
        assert!(shown.contains("you come from an IPv6 address"), "{shown}");
        assert_eq!(olga.press(&mine, &[]).await.status, 422);
    })
    .await;
}

#[actix_web::test]
async fn everyone_is_let_in_only_after_the_word_was_typed() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let (page, everyone) = (shop.path("/networking"), shop.path("/networking/everyone"));
        let asked = olga.press(&page, &rule("world", "0.0.0.0", "255.255.255.255")).await;
        let expected = format!("{everyone}?rule_name=world");
        assert_eq!((asked.status, asked.location()), (303, &*expected));
        assert!(olga.get(&expected).await.body.contains("value=\"world\""));
        let word = |word| [("rule_name", "world"), ("confirm", word)];
        let refused = olga.press(&everyone, &word("yes")).await;
        assert_eq!(refused.status, 422);
        assert!(refused.body.contains("Type the word everyone"), "{}", refused.body);
        assert!(rules(&app, &shop).await.is_empty());
        assert_eq!(olga.press(&everyone, &word("everyone")).await.status, 303);
        let shown = olga.get(&page).await.body;
        assert!(shown.contains("Every IPv4 address may connect."), "{shown}");
        assert!(rules(&app, &shop).await[0].range.is_everyone());
    })
    .await;
}

#[actix_web::test]
async fn a_server_has_at_most_128_rules() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let page = shop.path("/networking");
        for number in 0..128 {
            let name = format!("rule-{number}");
            let answer = olga.press(&page, &rule(&name, "10.0.0.1", "")).await;
            assert_eq!(answer.status, 303);
        }
        let full = olga.press(&page, &rule("more", "10.0.0.1", "")).await;
        assert_eq!(full.status, 422);
        assert!(full.body.contains("at most 128 firewall rules"), "{}", full.body);
        assert!(full.body.contains("value=\"more\""));
        assert_eq!(olga.press(&page, &rule("rule-5", "10.0.0.2", "")).await.status, 303);
        assert_eq!(rules(&app, &shop).await.len(), 128);
    })
    .await;
}

#[actix_web::test]
async fn rules_are_in_effect_when_every_gateway_has_applied_them() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let page = shop.path("/networking");
        let store = &app.state.store;
        assert!(olga.get(&page).await.body.contains("No gateway reports."));
        olga.press(&page, &rule("office", "10.0.0.1", "")).await;
        let generation = store.route_generation().await.unwrap();
        store.record_gateway(app.clock.now(), "gw-1", generation - 1, "").await.unwrap();
        let waiting = olga.get(&page).await.body;
        assert!(waiting.contains("Waiting for gateway gw-1."), "{waiting}");
        assert!(waiting.contains("data-live-poll"), "{waiting}");
        store.record_gateway(app.clock.now(), "gw-1", generation, "").await.unwrap();
        let part = olga.get(&format!("{page}/effect")).await.body;
        assert!(part.contains("In effect on the gateway."), "{part}");
        assert!(!part.contains("data-live-poll"), "{part}");
        app.wind(Duration::minutes(2));
        assert!(olga.get(&page).await.body.contains("No gateway reports."));
    })
    .await;
}

#[actix_web::test]
async fn a_private_server_takes_no_rules() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seed(&app, "shop", Access::Private, SettledState::Ready, 20_001).await;
        let answer = olga.press(&shop.path("/networking"), &rule("office", "10.0.0.1", "")).await;
        assert_eq!(answer.status, 422);
        assert!(rules(&app, &shop).await.is_empty());
        let nobody = format!("/servers/{}/networking", new_uuid());
        assert_eq!(olga.press(&nobody, &rule("office", "10.0.0.1", "")).await.status, 404);
    })
    .await;
}
