//! Backups as people see them: am I protected, until when, where it lies; taken, deleted and kept by hand.

use crate::backup_seed::{Plan, backup, drill, label, now};
use crate::helpers::{Browser, TestApp, each_database};
use crate::server_seed::{Seeded, forget, operation, ready, seed};
use chrono::Duration;
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::backup::{Archive, ArchiveCheck, Gap};
use pgflex::domain::network::Access;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::SettledState;
use pgflex::store::operations::OperationFilter;

pub fn has(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(body.contains(part), "{part:?} in {body}");
    }
}

pub fn lacks(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(!body.contains(part), "{part:?} in {body}");
    }
}

/// A moment as pages write it.
pub fn text(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

async fn press(browser: &mut Browser, path: &str, more: &[(&str, &str)]) -> (u16, String) {
    let key = new_uuid();
    let mut pairs = vec![("idempotency_key", key.as_str())];
    pairs.extend_from_slice(more);
    let answer = browser.press(path, &pairs).await;
    (answer.status, answer.body)
}

async fn asked(app: &TestApp, server: &Seeded, kind: OperationKind) -> Vec<serde_json::Value> {
    let filter = OperationFilter { server_id: Some(server.id.clone()), ..Default::default() };
    let all = app.state.store.operations(&filter).await.unwrap();
    all.into_iter().filter(|one| one.kind == kind).map(|one| one.input).collect()
}

#[actix_web::test]
async fn a_new_server_is_not_called_protected() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        let path = server.path("/backups");
        let page = olga.get(&path).await.body;
        has(&page, &["Not yet protected", "There is no backup yet", "None yet.", "banner-danger"]);
        has(&page, &["There is no backup yet that could be restored.", "No repository is prepared"]);
        lacks(&page, &["chip-ok\"><svg class=\"icon\" viewBox=\"0 0 16 16\" aria-hidden=\"true\" focusable=\"false\"><path d=\"M3.5 8.5l3 3 6-7\"/></svg>Protected"]);
        has(&olga.get(&server.path("")).await.body, &["Not yet protected"]);
        let failed =
            operation(&app, &server, OperationKind::Backup, OperationStatus::Failed).await;
        let page = olga.get(&path).await.body;
        has(&page, &["The host has no room.", "Free some, then retry.", failed.as_str()]);
        let ha = olga.get(&server.path("/high-availability")).await.body;
        lacks(&ha, &["The host has no room."]);
        operation(&app, &server, OperationKind::Backup, OperationStatus::Running).await;
        let page = olga.get(&path).await.body;
        has(&page, &["The first backup is under way.", "banner-info"]);
        lacks(&page, &["The host has no room."]);
        has(&page, &["“Back up server” is under way."]);
    })
    .await;
}

#[actix_web::test]
async fn the_window_is_told_as_measured_and_drawn_with_its_gap() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        let plan = Plan::usual(&app);
        plan.write(&app, &server).await;
        let path = server.path("/backups");
        let page = olga.get(&path).await.body;
        let first = text(plan.backups[0].ended_at);
        let until = text(plan.archive.until.unwrap());
        has(&page, &["Every moment from", &first, &until, "looked at 2 s ago", "Protected</span>"]);
        has(&page, &["backup-span", "On the same host as the server: lost with it", "9 GiB"]);
        has(&page, &["9 in all, 0 of 7 on demand", "0000000100000001000000A3", "Whole"]);
        lacks(&page, &["backup-gap\"", "banner-danger", "banner-warn"]);
        let overview = olga.get(&server.path("")).await.body;
        has(&overview, &["Restorable until", &until, "(10 s ago)"]);

        let plan = Plan::with_gap(&app);
        plan.write(&app, &server).await;
        let page = olga.get(&path).await.body;
        has(&page, &["but for 1 gap", "Protected, with gaps", "class=\"backup-gap\"", "open>"]);
        has(&page, &["Cannot be restored</strong>, gap 1: the repository could not be reached"]);
        has(&page, &[&text(plan.gaps[0].began_at)]);
    })
    .await;
}

#[actix_web::test]
async fn what_is_wrong_takes_the_green_mark_away() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        let path = server.path("/backups");
        let now = now(&app);
        let told =
            async |olga: &mut Browser, change: fn(&mut Archive, chrono::DateTime<chrono::Utc>)| {
                let mut plan = Plan::usual(&app);
                change(&mut plan.archive, now);
                plan.write(&app, &server).await;
                let page = olga.get(&path).await.body;
                lacks(&page, &["banner-ok backup-answer", "</svg>Protected</span>"]);
                page
            };
        // First: what was archived once is never taken back.
        let page =
            told(&mut olga, |archive, now| archive.until = Some(now - Duration::minutes(11))).await;
        has(&page, &["Archiving is 11 min behind."]);
        let page = told(&mut olga, |archive, now| {
            archive.failing_since = Some(now - Duration::minutes(1));
            archive.failure = "<b>no route</b>".into();
        })
        .await;
        has(&page, &["Archiving has failed since", "&#60;b&#62;no route", "own disk only"]);
        let page =
            told(&mut olga, |archive, now| archive.looked_at = Some(now - Duration::minutes(4)))
                .await;
        has(&page, &["The archive was last looked at 4 min ago"]);
        let page = told(&mut olga, |archive, _| archive.since = None).await;
        has(&page, &["The log is not archived.", "one restart"]);
        let mut old = Plan::usual(&app);
        old.backups.retain(|one| one.ended_at < now - Duration::hours(27));
        old.write(&app, &server).await;
        has(&olga.get(&path).await.body, &["No good backup for 1 d 23 h."]);
        let mut bad = Plan::usual(&app);
        bad.backups[0].failure = "base/5/1234 is damaged".into();
        bad.write(&app, &server).await;
        let page = olga.get(&path).await.body;
        has(&page, &["1 backup cannot be used.", "base/5/1234 is damaged", "Cannot be used"]);

        // A stopped server writes nothing that could be late.
        let calm = seed(&app, "calm", Access::Public, SettledState::Stopped, 20_003).await;
        let mut plan = Plan::usual(&app);
        plan.archive.until = Some(now - Duration::hours(30));
        plan.backups.retain(|one| one.ended_at < now - Duration::hours(30));
        plan.write(&app, &calm).await;
        lacks(&olga.get(&calm.path("/backups")).await.body, &["behind.", "No good backup"]);
    })
    .await;
}

#[actix_web::test]
async fn two_hundred_backups_come_in_pages() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, &"n".repeat(63)).await;
        let now = now(&app);
        let mut plan = Plan::usual(&app);
        plan.days = 35;
        let each = |at: i64| backup(now - Duration::hours(4 * at), None);
        plan.backups = (1..=200).map(each).collect();
        plan.write(&app, &server).await;
        let path = server.path("/backups");
        let page = olga.get(&path).await.body;
        assert!(page.len() < 200_000, "{}", page.len());
        has(&page, &["200 in all", &plan.backups[0].label, "Older"]);
        lacks(&page, &["Newer"]);
        let last = format!("id=\"l-restore-{}\"", plan.backups[199].label);
        lacks(&page, &[&last]);
        let page = olga.get(&format!("{path}?page=4")).await.body;
        has(&page, &[&last, "Newer"]);
        lacks(&page, &["Older"]);
        has(&olga.get(&format!("{path}?page=x")).await.body, &["Older"]);
        has(&olga.get(&format!("{path}?page=99999")).await.body, &[&last]);
    })
    .await;
}

#[actix_web::test]
async fn a_backup_is_asked_for_by_name_at_most_seven_times() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let server = ready(&app, "shop").await;
        let mut plan = Plan::usual(&app);
        plan.backups[0].name = "before-move".into();
        plan.write(&app, &server).await;
        let path = server.path("/backups/new");
        has(
            &olga.get(&path).await.body,
            &["value=\"on-demand-", "1 of 7", "The last full backup took"],
        );
        for (name, why) in [
            ("", "Give the backup a name."),
            ("a;b", "A name begins with a letter or digit"),
            ("before-move", "There is a backup of the name before-move already"),
        ] {
            let (status, body) = press(&mut olga, &path, &[("backup_name", name)]).await;
            assert_eq!(status, 422, "{name}");
            has(&body, &[why, &format!("value=\"{name}\"")]);
        }
        assert_eq!(press(&mut rita, &path, &[("backup_name", "mine")]).await.0, 403);
        assert_eq!(press(&mut olga, &path, &[("backup_name", "mine")]).await.0, 303);
        let inputs = asked(&app, &server, OperationKind::Backup).await;
        assert_eq!(
            (inputs[0]["type"].as_str(), inputs[0]["name"].as_str()),
            (Some("full"), Some("mine"))
        );
        let page = olga.get(&server.path("/backups")).await.body;
        has(&page, &["“Back up server” is under way. Wait until it has ended."]);

        let full = ready_more(&app, "full").await;
        let mut plan = Plan::usual(&app);
        for (at, one) in plan.backups.iter_mut().take(7).enumerate() {
            one.name = format!("mine-{at}");
        }
        plan.write(&app, &full).await;
        let path = full.path("/backups/new");
        let why = "There are 7 backups on demand, which is the most. Delete one first.";
        has(&olga.get(&full.path("/backups")).await.body, &[why]);
        has(&olga.get(&path).await.body, &[why, "disabled"]);
        let (status, body) = press(&mut olga, &path, &[("backup_name", "one-more")]).await;
        assert_eq!(status, 409);
        has(&body, &[why]);
        assert!(asked(&app, &full, OperationKind::Backup).await.is_empty());
    })
    .await;
}

async fn ready_more(app: &TestApp, name: &str) -> Seeded {
    seed(app, name, Access::Public, SettledState::Ready, 20_009).await
}

#[actix_web::test]
async fn deleting_a_backup_says_what_goes_with_it() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        let mut plan = Plan::usual(&app);
        plan.backups[0].name = "first".into();
        plan.write(&app, &server).await;
        let of = |label: &str| server.path(&format!("/backups/delete?backup={label}"));
        let first = plan.backups[0].label.clone();
        let page = olga.get(&of(&first)).await.body;
        has(&page, &["Full backup “first”", "rests on it and would be worth nothing", "disabled"]);
        let (status, body) = press(&mut olga, &of(&first), &[]).await;
        assert_eq!(status, 409);
        has(&body, &["and 5 more rests on it"]);
        plan.backups.retain(|one| one.based_on.as_ref() != Some(&first));
        plan.write(&app, &server).await;
        let page = olga.get(&of(&first)).await.body;
        // The other full one becomes the earliest moment.
        has(
            &page,
            &["The earliest moment that can be restored becomes", &text(plan.backups[1].ended_at)],
        );
        let scheduled = plan.backups[1].label.clone();
        for label in [scheduled.as_str(), "20200101-000000F", ""] {
            let answer = olga.get(&of(label)).await;
            assert_eq!(answer.status, 303, "{label}");
            assert_eq!(press(&mut olga, &of(label), &[]).await.0, 303);
        }
        assert!(asked(&app, &server, OperationKind::DeleteBackup).await.is_empty());
        assert_eq!(press(&mut olga, &of(&first), &[]).await.0, 303);
        let inputs = asked(&app, &server, OperationKind::DeleteBackup).await;
        assert_eq!(inputs[0]["label"].as_str(), Some(first.as_str()));
    })
    .await;
}

#[actix_web::test]
async fn retention_is_changed_with_what_it_costs_said_before() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let server = ready(&app, "shop").await;
        let mut plan = Plan::usual(&app);
        let old = now(&app) - Duration::days(20);
        plan.backups.push(backup(old, None));
        plan.days = 35;
        plan.write(&app, &server).await;
        let path = server.path("/backups/retention");
        has(
            &olga.get(&path).await.body,
            &[
                "Now: 35 days, locally redundant.",
                "value=\"35\"",
                &text(old + Duration::minutes(2)),
            ],
        );
        let store = &app.state.store;
        let days = async || store.protection(&server.id).await.unwrap().policy.retention.as_days();
        let version = async || store.protection(&server.id).await.unwrap().version.to_string();
        for wrong in ["6", "36", "x", "", "7.5", "-7"] {
            let (status, body) =
                press(&mut olga, &path, &[("days", wrong), ("version", &version().await)]).await;
            assert_eq!(status, 422, "{wrong}");
            has(&body, &["7 to 35 days"]);
        }
        assert_eq!(press(&mut rita, &path, &[("days", "20"), ("version", "1")]).await.0, 403);
        // Lower: asked about first, with the moment that becomes the earliest.
        let seen = version().await;
        let (status, body) = press(&mut olga, &path, &[("days", "7"), ("version", &seen)]).await;
        assert_eq!((status, days().await), (200, 35));
        has(
            &body,
            &["The earliest moment that can be restored becomes", &text(plan.backups[0].ended_at)],
        );
        has(&body, &["1 backup goes", "name=\"confirm\" value=\"reviewed\""]);
        let sure = [("days", "7"), ("version", seen.as_str()), ("confirm", "reviewed")];
        assert_eq!(press(&mut olga, &path, &sure).await.0, 303);
        assert_eq!(days().await, 7);
        // Made of what it was before: refused, and the form shows what it is.
        let (status, body) = press(&mut olga, &path, &[("days", "9"), ("version", &seen)]).await;
        assert_eq!((status, days().await), (409, 7));
        has(&body, &["Somebody changed how backups are kept", "value=\"7\""]);
        assert_eq!(
            press(&mut olga, &path, &[("days", "9"), ("version", &version().await)]).await.0,
            303
        );
        let lines = app.activities().await;
        let lines: Vec<_> =
            lines.iter().filter(|line| line.action == "server.change_retention").collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].detail, "from 7 to 9 days");
        has(&olga.get("/activity").await.body, &["Change how backups are kept"]);
    })
    .await;
}

#[actix_web::test]
async fn drills_say_what_was_proven_and_what_was_not() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        let path = server.path("/backups");
        has(&olga.get(&path).await.body, &["No restore of this server was proven yet."]);
        Plan::usual(&app).write(&app, &server).await;
        drill(&app, &server, "The copy of the index pg_class_oid_index is damaged.").await;
        let page = olga.get(&path).await.body;
        has(
            &page,
            &[
                "Not proven",
                "pg_class_oid_index is damaged.",
                "not measured",
                "No restore of this server was proven yet.",
            ],
        );
        drill(&app, &server, "passed").await;
        let page = olga.get(&path).await.body;
        has(
            &page,
            &[
                "Restore proven on",
                "It took 48 s",
                "was 34 s old",
                "1,204 rows in 12 tables of 2 databases",
            ],
        );
        assert_eq!(press(&mut olga, &server.path("/backups/drill"), &[]).await.0, 303);
        assert_eq!(asked(&app, &server, OperationKind::RestoreDrill).await.len(), 1);
    })
    .await;
}

#[actix_web::test]
async fn a_deleted_server_is_listed_with_its_time_and_its_way_back() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let server = ready(&app, "shop").await;
        has(&olga.get("/servers/deleted").await.body, &["No deleted server is kept"]);
        has(&olga.get(&server.path("/delete")).await.body, &["There is no backup of this server"]);
        let plan = Plan::usual(&app);
        plan.write(&app, &server).await;
        has(
            &olga.get(&server.path("/delete")).await.body,
            &["Its backups are kept for 7 days", "/servers/deleted"],
        );
        operation(&app, &server, OperationKind::Delete, OperationStatus::Succeeded).await;
        let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
        tx.note_deleted(&server.id, "olga").await.unwrap();
        tx.commit(pgflex::store::Record::Nothing("a story goes on")).await.unwrap();
        forget(&app, &server).await;
        let until = text(plan.archive.until.unwrap());
        let page = olga.get("/servers/deleted").await.body;
        let path = format!("/servers/deleted/{}/restore", server.id);
        has(&page, &["shop", "by olga", "7 d left", &until, &path]);
        let page = rita.get("/servers/deleted").await.body;
        has(&page, &["shop"]);
        lacks(&page, &[&path]);
        assert_eq!(rita.get(&path).await.status, 403);
        let mut mia = app.person(&mut olga, "mia", "Member").await;
        lacks(&mia.get("/servers/deleted").await.body, &["shop"]);
        assert_eq!(mia.get(&path).await.status, 404);
        has(&olga.get(&server.path("")).await.body, &["Its backups are kept until", &path]);
        let page = olga.get(&path).await.body;
        has(&page, &["This server was deleted.", "value=\"shop\"", &until]);
        app.wind(Duration::days(8));
        olga.sign_in("olga", crate::helpers::PASSWORD).await;
        lacks(&olga.get("/servers/deleted").await.body, &[&path]);
        assert_eq!(olga.get(&path).await.status, 404);
    })
    .await;
}

#[actix_web::test]
async fn texts_of_a_hostile_server_stay_text() {
    const HOSTILE: &str = "<script>alert(1)</script>\u{202e}\"'&{{7*7}}";
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, &"n".repeat(63)).await;
        let mut plan = Plan::with_gap(&app);
        plan.gaps[0].reason = HOSTILE.repeat(20);
        plan.archive.failing_since = Some(now(&app));
        plan.archive.failure = HOSTILE.repeat(20);
        plan.backups[3].failure = HOSTILE.repeat(20);
        plan.backups[1].name = HOSTILE.into();
        plan.backups[1].wal = (HOSTILE.repeat(4), HOSTILE.repeat(4));
        plan.write(&app, &server).await;
        drill(&app, &server, &HOSTILE.repeat(20)).await;
        let delete = format!("/backups/delete?backup={}", plan.backups[1].label);
        for rest in
            ["", "/backups", "/backups/new", "/backups/retention", &delete, "/restore", "/delete"]
        {
            let answer = olga.get(&server.path(rest)).await;
            assert!(answer.status == 200 || answer.status == 303, "{rest}: {}", answer.status);
            lacks(&answer.body, &["<script>alert", "49\"'"]);
        }
    })
    .await;
}

#[test]
fn labels_are_those_of_the_tool() {
    let at = chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    assert_eq!(label(at, None), "20260921-141320F");
    let later = at + Duration::days(1);
    assert_eq!(label(later, Some(at)), "20260921-141320F_20260922-141320D");
}

/// What looks at the archive found: pieces that are missing are counted and drawn, and a repository that somebody emptied
/// is no server without backups.
#[actix_web::test]
async fn a_hole_in_the_archive_and_an_emptied_repository_are_shown() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        let plan = Plan::usual(&app);
        plan.write(&app, &server).await;
        let at = now(&app) - Duration::minutes(12);
        let looked = async |missing: u64, gaps: &[Gap], condemned: &[&str]| {
            let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
            let check =
                ArchiveCheck { repository: 1, at, needed: 2160, missing, log_bytes: 3 << 30 };
            tx.put_archive_check(&server.id, &check).await.unwrap();
            tx.replace_backup_gaps(&server.id, 1, gaps).await.unwrap();
            for label in condemned {
                let why = "It is not in the repository any more.";
                tx.condemn_backup(&server.id, 1, (label, why)).await.unwrap();
            }
            tx.commit(pgflex::store::Record::Nothing("as the monitor does")).await.unwrap();
        };
        let path = server.path("/backups");
        looked(0, &[], &[]).await;
        let page = olga.get(&path).await.body;
        has(&page, &["2160 WAL files needed, none missing, compared 12 min ago"]);
        has(&page, &["Its log takes 3 GiB:", "12 GiB<span", "128 GiB are included"]);
        lacks(&page, &["not measured yet", "more than that"]);
        lacks(&page, &["Protected, with gaps"]);

        let began_at = now(&app) - Duration::hours(108);
        let gap = Gap {
            repository: 1,
            began_at,
            ended_at: Some(began_at + Duration::hours(5)),
            reason: "3 WAL files from 0000000100000001000000B1 on are not in the repository."
                .into(),
        };
        looked(3, &[gap], &[]).await;
        let page = olga.get(&path).await.body;
        has(
            &page,
            &["3 WAL files missing, compared", "Protected, with gaps", "0000000100000001000000B1"],
        );

        let all: Vec<&str> = plan.backups.iter().map(|one| one.label.as_str()).collect();
        looked(0, &[], &all).await;
        let page = olga.get(&path).await.body;
        has(&page, &["None of the backups on record can be used", "9 backups cannot be used."]);
        has(&page, &["It is not in the repository any more.", "Not yet protected"]);
        lacks(&page, &["There is no backup yet."]);
    })
    .await;
}
