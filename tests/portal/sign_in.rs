//! Coming in: the set-up link, signing in and out, guessing, sessions that end.

use crate::helpers::{PASSWORD, each_database};
use chrono::Duration;
use pgflex::domain::activity::ActivityOutcome;

#[actix_web::test]
async fn the_setup_link_makes_one_owner_once() {
    each_database(async |app| {
        let path = app.setup_path().await.unwrap();
        let mut browser = app.browser();
        let weak = browser.join(&path, "olga", "short").await;
        assert_eq!(weak.status, 422);
        assert!(
            weak.body.contains("at least 12 characters") && weak.body.contains("value=\"olga\"")
        );
        assert_eq!(browser.join(&path, "Olga", PASSWORD).await.location(), "/servers");
        assert!(browser.is_signed_in().await);
        assert_eq!(app.browser().get(&path).await.status, 404);
        assert_eq!(app.setup_path().await, None);
    })
    .await;
}

#[actix_web::test]
async fn the_setup_link_grows_old_and_the_next_replaces_it() {
    each_database(async |app| {
        let first = app.setup_path().await.unwrap();
        let second = app.setup_path().await.unwrap();
        let mut browser = app.browser();
        assert_eq!(browser.get(&first).await.status, 404);
        assert_eq!(browser.get(&second).await.status, 200);
        app.wind(Duration::minutes(31));
        let gone = browser.get(&second).await;
        assert!(gone.status == 404 && gone.body.contains("prints a new set-up link"));
    })
    .await;
}

#[actix_web::test]
async fn signing_in_leads_back_and_signing_out_ends_it() {
    each_database(async |app| {
        app.set_up_owner().await;
        let mut browser = app.browser();
        let sent_away = browser.get("/users?x=1").await;
        assert_eq!(sent_away.location(), "/sign-in?return_to=/users%3Fx%3D1");
        let page = browser.get(sent_away.location()).await;
        assert!(page.body.contains("value=\"/users?x=1\""));
        let pairs = [("login", "OLGA"), ("password", PASSWORD), ("return_to", "/users?x=1")];
        let answer = browser.post_form("/sign-in", "/sign-in", &pairs).await;
        assert_eq!((answer.status, answer.location()), (303, "/users?x=1"));
        let old_cookies = browser.cookies.clone();
        assert_eq!(browser.press("/sign-out", &[]).await.location(), "/sign-in");
        assert!(browser.get("/sign-in").await.body.contains("You are signed out."));
        browser.cookies = old_cookies;
        assert!(!browser.is_signed_in().await, "the old cookie must be worthless");
    })
    .await;
}

#[actix_web::test]
async fn a_return_address_elsewhere_is_not_followed() {
    each_database(async |app| {
        app.set_up_owner().await;
        for evil in ["//evil.example", "https://evil.example/", "/\\evil.example"] {
            let pairs = [("login", "olga"), ("password", PASSWORD), ("return_to", evil)];
            let answer = app.browser().post_form("/sign-in", "/sign-in", &pairs).await;
            assert_eq!(answer.location(), "/servers", "{evil}");
        }
    })
    .await;
}

#[actix_web::test]
async fn unknown_logins_and_wrong_passwords_are_told_the_same() {
    each_database(async |app| {
        app.set_up_owner().await;
        let wrong = app.browser().sign_in("olga", "not this one at all").await;
        let unknown = app.browser().sign_in("nobody", "not this one at all").await;
        for answer in [&wrong, &unknown] {
            assert_eq!(answer.status, 422);
            assert!(answer.body.contains("Login or password is wrong."));
            assert!(!answer.body.contains("not this one"), "a password is never shown again");
        }
        let log = app.activities().await;
        assert!(log[..2].iter().all(|line| line.outcome == ActivityOutcome::Refused));
        assert!(log.iter().all(|line| line.subject != "nobody"), "it may be a password");
    })
    .await;
}

#[actix_web::test]
async fn guessing_is_slowed_down_but_a_known_browser_gets_in() {
    each_database(async |app| {
        let mut known = app.set_up_owner().await;
        known.press("/sign-out", &[]).await;
        for _ in 0..5 {
            app.browser().sign_in("olga", "wrong password no").await;
        }
        let blocked = app.browser().sign_in("olga", PASSWORD).await;
        assert!(blocked.status == 422 && blocked.body.contains("Too many wrong passwords."));
        assert_eq!(known.sign_in("olga", PASSWORD).await.status, 303);
        app.wind(Duration::seconds(2));
        assert_eq!(app.browser().sign_in("olga", PASSWORD).await.status, 303);
        assert_eq!(app.browser().sign_in("olga", "wrong password no").await.status, 422);
        assert_eq!(
            app.browser().sign_in("olga", PASSWORD).await.status,
            303,
            "the count began anew"
        );
    })
    .await;
}

#[actix_web::test]
async fn one_address_gets_twenty_tries_a_minute() {
    each_database(async |app| {
        app.set_up_owner().await;
        for n in 0..20 {
            let login = format!("user{n}");
            assert_eq!(app.browser().sign_in(&login, "wrong password no").await.status, 422);
        }
        let refused = app.browser().sign_in("olga", PASSWORD).await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, "60"));
        let mut elsewhere = app.browser();
        elsewhere.address = "198.51.100.4".into();
        assert_eq!(elsewhere.sign_in("olga", PASSWORD).await.status, 303);
        app.wind(Duration::seconds(61));
        assert_eq!(app.browser().sign_in("olga", PASSWORD).await.status, 303);
    })
    .await;
}

/// A loop at one address uses up its own share, not the portal's; and strangers never that of known browsers.
#[actix_web::test]
async fn one_address_cannot_keep_everybody_out() {
    each_database(async |app| {
        let mut known = app.set_up_owner().await;
        known.press("/sign-out", &[]).await;
        known.address = "198.51.100.4".into();
        let mut elsewhere = app.browser();
        elsewhere.address = "198.51.100.5".into();
        let mut loops = app.browser();
        loops.address = "203.0.113.1".into();
        for n in 0..50 {
            loops.sign_in(&format!("user{n}"), "wrong password no").await;
        }
        loops.address = "203.0.113.2".into();
        for n in 0..50 {
            loops.sign_in(&format!("other{n}"), "wrong password no").await;
        }
        assert_eq!(elsewhere.sign_in("olga", PASSWORD).await.status, 303);
        for address in 3..8 {
            loops.address = format!("203.0.113.{address}");
            for n in 0..20 {
                loops.sign_in(&format!("more{address}{n}"), "wrong password no").await;
            }
        }
        let mut third = app.browser();
        third.address = "198.51.100.6".into();
        assert_eq!(third.sign_in("olga", PASSWORD).await.status, 429, "the portal has its limit");
        assert_eq!(known.sign_in("olga", PASSWORD).await.status, 303);
    })
    .await;
}

#[actix_web::test]
async fn a_session_ends_when_idle_and_after_twelve_hours() {
    each_database(async |app| {
        let mut browser = app.set_up_owner().await;
        for _ in 0..3 {
            app.wind(Duration::minutes(29));
            assert!(browser.is_signed_in().await);
        }
        app.wind(Duration::minutes(31));
        assert!(!browser.is_signed_in().await);

        assert_eq!(browser.sign_in("olga", PASSWORD).await.status, 303);
        for _ in 0..25 {
            app.wind(Duration::minutes(28));
            assert!(browser.is_signed_in().await);
        }
        app.wind(Duration::minutes(21));
        assert!(!browser.is_signed_in().await, "twelve hours are over");
        assert!(app.state.store.purge_sessions(app.state.now()).await.unwrap() >= 1);
    })
    .await;
}

#[actix_web::test]
async fn the_password_is_asked_again_before_delicate_actions() {
    each_database(async |app| {
        let mut browser = app.set_up_owner().await;
        let before = browser.cookies["sid"].clone();
        let path = "/confirm-password?return_to=/account";
        assert!(browser.get(path).await.body.contains("value=\"/account\""));
        let wrong = browser.post_form(path, "/confirm-password", &[("password", "no")]).await;
        assert!(wrong.status == 422 && wrong.body.contains("This is not your password."));
        let pairs = [("password", PASSWORD), ("return_to", "/account")];
        let right = browser.post_form(path, "/confirm-password", &pairs).await;
        assert_eq!(right.location(), "/account");
        assert_ne!(browser.cookies["sid"], before, "a new id");
        assert!(browser.is_signed_in().await);
    })
    .await;
}
