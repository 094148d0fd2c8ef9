//! The cost pages: what was counted, by server, group and month.

use crate::helpers::{TestApp, each_database};
use crate::server_seed::{Seeded, forget, ready, seed};
use chrono::Duration;
use pgflex::clock::Clock;
use pgflex::domain::ids::ServerId;
use pgflex::domain::meter::Meter;
use pgflex::domain::network::Access;
use pgflex::domain::server::SettledState;
use pgflex::store::Record;
use std::time::Instant;

const SKU: &str = "Standard_D2ds_v5";

async fn meter(app: &TestApp, server: &ServerId, meter: Meter, quantity: Option<&str>) {
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    tx.set_meter(server, meter, quantity).await.unwrap();
    tx.commit(Record::Nothing("a story goes on")).await.unwrap();
}

async fn start(app: &TestApp, server: &Seeded) {
    meter(app, &server.id, Meter::Storage, Some("128")).await;
    meter(app, &server.id, Meter::Compute, Some(SKU)).await;
}

/// The stories' clock stands at 2026-11-18 11:06:40.
#[actix_web::test]
async fn a_server_costs_by_the_second_and_a_stop_saves() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        let page = olga.get(&server.path("/cost")).await;
        assert!(
            page.status == 200 && page.body.contains("Nothing was counted yet."),
            "{}",
            page.body
        );
        start(&app, &server).await;
        app.wind(Duration::hours(2));
        meter(&app, &server.id, Meter::Compute, None).await;
        app.wind(Duration::hours(10));
        olga.sign_in("olga", crate::helpers::PASSWORD).await;
        let page = olga.get(&server.path("/cost")).await.body;
        // 2 h × 0.17; 12 h × 128 GiB × 0.11 / 730; 10 h × 0.17.
        for text in [
            "€ 0.34",
            "€ 0.23",
            "€ 0.57",
            "€ 1.70",
            "7,200 s",
            "has been stopped since",
            "none beyond the allowance",
            "example prices",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        let page = olga.get("/costs").await.body;
        for text in [
            "€ 0.57",
            "€ 1.70",
            "10 h of compute",
            "Estimate for the whole month",
            "1 server, the dearest first",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        let csv = olga.get("/costs.csv?month=2026-11").await;
        assert!(csv.header("content-disposition").contains("pgflex-cost-2026-11.csv"));
        let id = &server.id;
        assert!(
            csv.body
                .contains(&format!("default,shop,{id},compute,{SKU},7200,0.17,hour,€,0.34,0.00")),
            "{}",
            csv.body
        );
        assert!(
            csv.body.contains(&format!("stopped,{SKU},36000,0.17,hour,€,0.00,1.70")),
            "{}",
            csv.body
        );
    })
    .await;
}

#[actix_web::test]
async fn months_end_by_the_calendar_and_deleted_servers_stay_in_them() {
    each_database(async |app| {
        app.set_up_owner().await;
        let (shop, gone) = (
            ready(&app, "shop").await,
            seed(&app, "gone", Access::Public, SettledState::Ready, 20_002).await,
        );
        start(&app, &shop).await;
        start(&app, &gone).await;
        app.wind(Duration::hours(1));
        meter(&app, &gone.id, Meter::Compute, None).await;
        meter(&app, &gone.id, Meter::Storage, None).await;
        forget(&app, &gone).await;
        app.wind(Duration::days(20));
        let mut olga = app.browser();
        olga.sign_in("olga", crate::helpers::PASSWORD).await;
        let now = olga.get("/costs").await.body;
        assert!(
            now.contains("December 2026") && now.contains("shop") && !now.contains("gone"),
            "{now}"
        );
        let before = olga.get("/costs?month=2026-11").await.body;
        assert!(before.contains("gone <span class=\"tag\">deleted</span>"), "{before}");
        assert!(!before.contains("Estimate for the whole month"), "November is over");
        // From the 18th at 11:06:40 to the end of November: 300.8889 h × 0.17.
        assert!(before.contains("€ 51.15"), "{before}");
        let page = olga.get(&shop.path("/cost")).await.body;
        for text in ["November 2026", "€ 51.15"] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert_eq!(olga.get(&gone.path("/cost")).await.status, 404);
        let none = olga.get("/costs?group=01890a5d-ac96-774b-bcce-b302099a8057").await.body;
        assert!(none.contains("Nothing was counted") && none.contains("deleted group"));
    })
    .await;
}

/// Sorting, pages and the time that a month of a thousand servers takes.
#[actix_web::test]
async fn a_thousand_servers_are_one_quick_page() {
    each_database(async |app| {
        app.set_up_owner().await;
        for at in 0..1000u16 {
            let name = format!("server-{at:04}");
            seed(&app, &name, Access::Public, SettledState::Ready, 20_000 + at).await;
        }
        app.state.store.reconcile_meters(app.clock.now()).await.unwrap();
        app.wind(Duration::days(1));
        let mut olga = app.browser();
        olga.sign_in("olga", crate::helpers::PASSWORD).await;
        let begun = Instant::now();
        let first = olga.get("/costs").await;
        println!("cost page of 1,000 servers: {:?}", begun.elapsed());
        assert!(first.body.contains("1 to 50 of 1000 servers"), "{}", first.body);
        assert!(first.body.contains("server-0049") && !first.body.contains("server-0050"));
        let last = olga.get("/costs?page=99").await.body;
        assert!(
            last.contains("951 to 1000")
                && last.contains("page=19")
                && last.contains("server-0999")
        );
        assert_eq!(olga.get("/costs.csv").await.body.lines().count(), 2001);
    })
    .await;
}
