//! The activity log: filters, pages, the file, and the log of one server.

use crate::helpers::{Browser, Plant, each_database};
use pgflex::domain::activity::{ActivityOutcome, Actor, NewActivity};
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::store::Record;

fn assert_says(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(body.contains(part), "{part:?} is not on the page:\n{body}");
    }
}

async fn log(browser: &mut Browser, query: &str) -> String {
    let answer = browser.get(&format!("/activity{query}")).await;
    assert_eq!(answer.status, 200, "{query}");
    answer.body
}

fn line(who: &str, action: &'static str, subject: &str, outcome: ActivityOutcome) -> NewActivity {
    NewActivity {
        actor: Actor { user_id: None, name: who.into(), address: "203.0.113.4".into() },
        action,
        subject: subject.into(),
        server_id: None,
        operation_id: None,
        outcome,
        detail: "=cmd|' /C calc'!A1".into(),
    }
}

#[actix_web::test]
async fn each_line_says_who_what_when_from_where_and_how_it_ended() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        let body = log(&mut olga, "?action=server.").await;
        assert_says(
            &body,
            &["Under way", "Create server", "198.51.100.9", &format!("/operations/{id}\"")],
        );
        let made = plant.run(&id).await;
        assert_eq!(made.status, OperationStatus::Succeeded);
        let body = log(&mut olga, "?action=server.create").await;
        assert_says(
            &body,
            &["Succeeded", &format!("href=\"/servers/{}\">shop</a>", made.server_id)],
        );
        let (door, actor) = (plant.door(), crate::helpers::actor());
        let gone = door.submit(OperationKind::Delete, &made.server_id, &actor, None).await;
        plant.run(&gone.unwrap()).await;
        let body = log(&mut olga, "?action=server.create").await;
        assert!(
            body.contains("shop") && !body.contains("href=\"/servers/0"),
            "no link to what is gone"
        );
    })
    .await;
}

#[actix_web::test]
async fn filters_narrow_and_nonsense_does_not() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let lines = vec![
            line("ada", "user.sign_in", "a_b", ActivityOutcome::Refused),
            line("bob", "firewall_rule.create", "axb <i>x", ActivityOutcome::Succeeded),
            line("bob", "future.thing", "q", ActivityOutcome::Failed),
        ];
        let tx = app.state.store.begin_write(app.state.now()).await.unwrap();
        tx.commit(Record::Activities(lines)).await.unwrap();
        let all = log(&mut olga, "").await;
        assert_says(
            &all,
            &[
                "Join by link",
                "Add firewall rule",
                "future.thing",
                "axb &#60;i&#62;x",
                "203.0.113.4",
            ],
        );
        let bob = log(&mut olga, "?who=BOB").await;
        assert!(bob.contains("future.thing") && !bob.contains(">a_b<"));
        let underscore = log(&mut olga, "?subject=A_B").await;
        assert!(underscore.contains(">a_b<") && !underscore.contains("axb"), "_ is no wildcard");
        let refused = log(&mut olga, "?outcome=Refused&action=user.").await;
        assert!(refused.contains(">a_b<") && !refused.contains("axb"));
        assert_says(&log(&mut olga, "?who=nobody").await, &["No line matches", "Show all"]);
        let nonsense = log(&mut olga, "?action=%25&outcome=%3Cb%3E&before=x&server=y").await;
        assert_says(&nonsense, &["future.thing", "Join by link"]);
    })
    .await;
}

#[actix_web::test]
async fn pages_lead_there_and_back() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        for number in 0..120 {
            let tx = app.state.store.begin_write(app.state.now()).await.unwrap();
            let line =
                line("ada", "user.sign_in", &format!("n{number}-"), ActivityOutcome::Succeeded);
            tx.commit(Record::activity(line)).await.unwrap();
        }
        let link = |body: &str, label: &str| {
            let before = body.split(&format!("\">{label}<")).next().unwrap();
            let url = before.rsplit("href=\"").next().unwrap().replace("&#38;", "&");
            url.strip_prefix("/activity").unwrap().to_owned()
        };
        let first = log(&mut olga, "?who=ada").await;
        assert!(
            first.contains(">n119-<") && !first.contains(">n69-<") && !first.contains(">Newer<")
        );
        let second = log(&mut olga, &link(&first, "Older")).await;
        assert!(second.contains(">n69-<") && second.contains(">n20-<"));
        let third = log(&mut olga, &link(&second, "Older")).await;
        assert!(third.contains(">n0-<") && !third.contains(">Older<"));
        let back = log(&mut olga, &link(&third, "Newer")).await;
        assert!(back.contains(">n69-<") && back.contains(">n20-<") && !back.contains(">n70-<"));
        let start = log(&mut olga, &link(&back, "Newer")).await;
        assert!(start.contains(">n119-<"));
    })
    .await;
}

#[actix_web::test]
async fn the_file_has_the_same_lines_and_no_formulas() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let lines = vec![
            line("ada", "user.sign_in", "=1+1", ActivityOutcome::Refused),
            line("bob", "user.sign_in", "x,\"y\"", ActivityOutcome::Succeeded),
        ];
        let tx = app.state.store.begin_write(app.state.now()).await.unwrap();
        tx.commit(Record::Activities(lines)).await.unwrap();
        let file = olga.get("/activity.csv?who=ada").await;
        assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
        assert!(file.header("content-disposition").starts_with("attachment"));
        assert!(file.header("content-security-policy").starts_with("sandbox"));
        assert_eq!(file.body.lines().count(), 2, "{}", file.body);
        assert_says(&file.body, &["time_utc,who,", ",\"'=1+1\",", "\"'=cmd|' /C calc'!A1\""]);
        let all = olga.get("/activity.csv").await.body;
        assert_says(&all, &["\"x,\"\"y\"\"\"", "user.join,Join by link,olga"]);
    })
    .await;
}

#[actix_web::test]
async fn a_server_has_its_own_log() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        plant.submit_create("other").await;
        let server = plant.operation(&id).await.server_id;
        let body = olga.get(&format!("/servers/{server}/activity")).await.body;
        assert_says(
            &body,
            &[
                &format!("/operations/{id}\""),
                "Create server",
                &format!("/activity.csv?server={server}"),
            ],
        );
        assert_eq!(body.matches(">Operation</a>").count(), 1);
        let file = olga.get(&format!("/activity.csv?server={server}")).await.body;
        assert!(file.contains("shop") && !file.contains("other"));
        for id in ["x", "01890a5d-ac96-774b-bcce-b302099a8057"] {
            assert_eq!(olga.get(&format!("/servers/{id}/activity")).await.status, 404);
        }
    })
    .await;
}
