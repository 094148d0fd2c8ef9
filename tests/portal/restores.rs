//! Restore as people ask for it: without script, with what was typed kept, and with a way out of every refusal.

use crate::backup_seed::{Plan, now};
use crate::backups::{has, lacks, text};
use crate::helpers::{Browser, TestApp, each_database};
use crate::server_seed::{Seeded, ready};
use chrono::{DateTime, Duration, FixedOffset, Utc};
use pgflex::domain::backup::RestoreTarget;
use pgflex::domain::operation::OperationKind;
use pgflex::store::operations::OperationFilter;

const PASSWORD: (&str, &str) = ("admin_password", "New-Secret-17");
const AGAIN: (&str, &str) = ("admin_password_confirm", "New-Secret-17");

/// The value of a hidden or shown field.
fn value(body: &str, name: &str) -> String {
    let start = body
        .split(&format!("name=\"{name}\""))
        .nth(1)
        .unwrap_or_else(|| panic!("{name} in {body}"));
    let start = start.split("value=\"").nth(1).unwrap();
    start.split('"').next().unwrap().to_owned()
}

/// Every field of the page, with those of `change` in their place.
async fn send(
    browser: &mut Browser,
    path: &str,
    body: &str,
    change: &[(&str, &str)],
) -> (u16, String, String) {
    let draft = value(body, "draft");
    let name = value(body, "name");
    let mut pairs = vec![("draft", draft.as_str()), ("name", name.as_str()), ("offset", "+00:00")];
    pairs.retain(|(key, _)| !change.iter().any(|(other, _)| other == key));
    pairs.extend_from_slice(change);
    let answer = browser.press(path, &pairs).await;
    (answer.status, answer.body.clone(), answer.location().to_owned())
}

async fn restores(app: &TestApp) -> Vec<serde_json::Value> {
    let all = app.state.store.operations(&OperationFilter::default()).await.unwrap();
    let restores = all.into_iter().filter(|one| one.kind == OperationKind::Restore);
    restores.map(|one| one.input).collect()
}

async fn shop(app: &TestApp, plan: &Plan) -> Seeded {
    let server = ready(app, "shop").await;
    crate::ha_seed::second_host(app, &crate::ha_seed::Engines::Two).await;
    plan.write(app, &server).await;
    server
}

fn typed(at: DateTime<Utc>, hours: i32) -> (String, String) {
    let local = at.with_timezone(&FixedOffset::east_opt(hours * 3600).unwrap());
    (local.format("%Y-%m-%d").to_string(), local.format("%H:%M:%S").to_string())
}

#[actix_web::test]
async fn a_moment_goes_through_form_and_review_to_one_operation() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plan = Plan::usual(&app);
        let server = shop(&app, &plan).await;
        let path = server.path("/restore");
        let page = olga.get(&path).await.body;
        has(
            &page,
            &["Restore shop into a new server", "value=\"shop-restored\"", "goes on as it is"],
        );
        has(&page, &[&text(plan.archive.until.unwrap()), "Standard_D2ds_v5, 128 GiB", "shopadmin"]);
        let at = now(&app) - Duration::hours(30);
        let (date, time) = typed(at, 2);
        let moment = [
            ("to", "moment"),
            ("date", &*date),
            ("time", &*time),
            ("offset", "+02:00"),
            PASSWORD,
            AGAIN,
        ];
        let (status, body, way) = send(&mut olga, &path, &page, &moment).await;
        assert_eq!(status, 303, "{body}");
        let review = olga.get(&way).await.body;
        has(&review, &["Restore shop into the new server shop-restored?", &text(at), "UTC+02:00"]);
        has(&review, &["the full backup of", "firewall rules, high availability", "closed"]);
        lacks(&review, &["New-Secret"]);
        assert!(restores(&app).await.is_empty(), "nothing was made yet");
        let draft = value(&review, "draft");
        for _ in 0..2 {
            let answer = olga.press(&server.path("/restore/review"), &[("draft", &draft)]).await;
            assert_eq!(answer.status, 303, "{}", answer.body);
            assert!(answer.location().starts_with("/operations/"), "{}", answer.location());
        }
        let asked = restores(&app).await;
        assert_eq!(asked.len(), 1);
        let target: RestoreTarget = serde_json::from_value(asked[0]["target"].clone()).unwrap();
        assert_eq!(target, RestoreTarget::Moment { at });
        let made = app.state.store.servers(&Default::default()).await.unwrap();
        let made = made.iter().find(|one| one.spec.name.as_str() == "shop-restored").unwrap();
        let page = olga.get(&format!("/servers/{}/backups", made.id)).await.body;
        has(&page, &["It was restored from", ">shop</a>", "What was reached is not known yet."]);
    })
    .await;
}

#[actix_web::test]
async fn a_moment_that_cannot_be_reached_is_refused_with_the_nearest_one() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plan = Plan::with_gap(&app);
        let server = shop(&app, &plan).await;
        let path = server.path("/restore");
        let page = olga.get(&path).await.body;
        let gap = plan.gaps[0].began_at;
        for (at, reason, nearest) in [
            (gap + Duration::minutes(5), "lies in a gap of the log", gap),
            (
                now(&app) + Duration::hours(1),
                "until when the log is in the repository",
                plan.archive.until.unwrap(),
            ),
            (
                now(&app) - Duration::days(30),
                "the earliest moment that can be restored",
                plan.backups[0].ended_at,
            ),
        ] {
            let (date, time) = typed(at, 0);
            let asked = [
                ("to", "moment"),
                ("date", &*date),
                ("time", &*time),
                ("name", "brought-back"),
                ("access", "Private"),
                PASSWORD,
                AGAIN,
            ];
            let (status, body, _) = send(&mut olga, &path, &page, &asked).await;
            assert_eq!(status, 422, "{reason}");
            let use_it = format!("Use {}", text(nearest));
            has(&body, &[reason, &use_it, "value=\"brought-back\"", &format!("value=\"{time}\"")]);
            has(&body, &["Password is kept"]);
            lacks(&body, &["New-Secret"]);
            // The button: what was typed besides stays, the password too.
            let action = format!("use:{}", nearest.timestamp_micros());
            has(&body, &[&format!("value=\"{action}\"")]);
            let used = [
                ("to", "moment"),
                ("date", &*date),
                ("time", &*time),
                ("action", &*action),
                ("name", "brought-back"),
                ("access", "Private"),
            ];
            let (status, _, way) = send(&mut olga, &path, &body, &used).await;
            assert_eq!(status, 303);
            let filled = olga.get(&way).await.body;
            let (date, time) = typed(nearest, 0);
            has(
                &filled,
                &[
                    &format!("value=\"{date}\""),
                    &format!("value=\"{time}\""),
                    "value=\"brought-back\"",
                ],
            );
            let again =
                [("to", "moment"), ("date", &*date), ("time", &*time), ("access", "Private")];
            let (status, body, way) = send(&mut olga, &path, &filled, &again).await;
            assert_eq!(status, 303, "{body}");
            has(&olga.get(&way).await.body, &[&text(nearest), "brought-back"]);
        }
        assert!(restores(&app).await.is_empty());
    })
    .await;
}

#[actix_web::test]
async fn every_fault_is_at_its_field_and_nothing_typed_is_lost() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plan = Plan::usual(&app);
        let server = shop(&app, &plan).await;
        let path = server.path("/restore");
        let page = olga.get(&path).await.body;
        let label = plan.backups[1].label.as_str();
        for (change, why) in [
            (vec![("to", "moment"), ("date", "2026-13-01"), ("time", "25:00")], "year-month-day"),
            (
                vec![("to", "moment"), ("date", "2026-11-01"), ("time", "25:00")],
                "hours:minutes:seconds",
            ),
            (vec![("to", "place"), ("lsn", "<b>")], "such as 0/5000128"),
            (vec![("to", "place"), ("lsn", "0/1")], "where the oldest backup ends"),
            (vec![("to", "point"), ("point", "")], "1 to 63 characters"),
            (vec![("to", "backup"), ("backup", "../x")], "No backup has this label"),
            (vec![("to", "never")], "Choose to where"),
            (vec![("to", "latest"), ("name", "shop")], "never writes over one"),
            (vec![("to", "latest"), ("zone", "9")], "has the zones"),
            (vec![("to", "latest"), ("access", "?")], "Choose public or private"),
            (vec![("to", "latest"), ("admin_password", "short")], "password"),
            (vec![("to", "latest"), ("group", "x")], "Choose one of the resource groups"),
        ] {
            let mut pairs = vec![PASSWORD, AGAIN];
            pairs.retain(|(key, _)| !change.iter().any(|(other, _)| other == key));
            pairs.extend(change.iter().copied());
            let (status, body, _) = send(&mut olga, &path, &page, &pairs).await;
            assert_eq!(status, 422, "{change:?}");
            has(&body, &[why, "error-summary"]);
            lacks(&body, &["<b>", "New-Secret"]);
        }
        // One that the list names, and one that is no more.
        let from_list = olga.get(&format!("{path}?backup={label}")).await.body;
        has(&from_list, &["value=\"backup\" checked", &format!("value=\"{label}\" selected")]);
        let asked = [("to", "backup"), ("backup", label), PASSWORD, AGAIN];
        assert_eq!(send(&mut olga, &path, &from_list, &asked).await.0, 303);
    })
    .await;
}

#[actix_web::test]
async fn a_draft_belongs_to_its_person_and_its_server() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut carl = app.person(&mut olga, "carl", "Contributor").await;
        let plan = Plan::usual(&app);
        let server = shop(&app, &plan).await;
        let path = server.path("/restore");
        let page = olga.get(&path).await.body;
        let (status, _, way) =
            send(&mut olga, &path, &page, &[("to", "latest"), PASSWORD, AGAIN]).await;
        assert_eq!(status, 303);
        assert_eq!(olga.get(&way).await.status, 200);
        let foreign = carl.get(&way).await;
        assert_eq!((foreign.status, foreign.location()), (303, path.as_str()));
        let other = crate::server_seed::seed(
            &app,
            "bank",
            pgflex::domain::network::Access::Public,
            pgflex::domain::server::SettledState::Ready,
            20_009,
        )
        .await;
        let draft = way.split("draft=").nth(1).unwrap();
        let wrong = olga.get(&other.path(&format!("/restore/review?draft={draft}"))).await;
        assert_eq!(wrong.status, 303);
        // What can be restored changed meanwhile: the review leads back to the form with the reason.
        let mut tx = app.state.store.begin_write(app.state.now()).await.unwrap();
        tx.replace_backups(&server.id, 1, &[]).await.unwrap();
        tx.commit(pgflex::store::Record::Nothing("a story goes on")).await.unwrap();
        let answer = olga.press(&server.path("/restore/review"), &[("draft", draft)]).await;
        assert_eq!(answer.status, 303);
        let form = olga.get(answer.location()).await;
        assert_eq!(form.status, 422);
        has(&form.body, &["There is no backup yet that could be restored."]);
        assert!(restores(&app).await.is_empty());
    })
    .await;
}
