//! The second factor: set up, asked for, used up, lost and reset.

use crate::helpers::{Browser, PASSWORD, TestApp, each_database};
use chrono::Duration;
use pgflex::domain::account::User;
use pgflex::domain::activity::ActivityOutcome;
use pgflex::secrets::totp;
use pgflex::web::{Access, ROUTES};

const PAGE: &str = "/account/second-factor";

async fn user(app: &TestApp, login: &str) -> User {
    app.state.store.user_by_login(login).await.unwrap().unwrap().0
}

/// What the telephone shows.
async fn code(app: &TestApp, login: &str) -> String {
    let user = user(app, login).await;
    let factor = app.state.store.second_factor(&user.id).await.unwrap().unwrap();
    let place = format!("second_factors/{}", user.id);
    let key = app.state.sealer.open(&place, &factor.sealed).unwrap();
    totp::current_code(&key, app.state.now())
}

/// Switches it on and gives the recovery codes.
async fn switch_on(app: &TestApp, browser: &mut Browser, login: &str) -> Vec<String> {
    assert_eq!(browser.post_form(PAGE, PAGE, &[]).await.location(), PAGE);
    let code = code(app, login).await;
    let answer = browser.press("/account/second-factor/confirm", &[("code", &code)]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let text = answer.body.split("copy-text\">").nth(1).unwrap().split("</code>").next().unwrap();
    let codes: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(codes.len(), 10, "{text}");
    app.wind(Duration::seconds(30));
    codes
}

async fn type_code(browser: &mut Browser, code: &str) -> crate::helpers::Answer {
    browser
        .post_form("/sign-in/code", "/sign-in/code", &[("code", code), ("return_to", "/hosts")])
        .await
}

#[actix_web::test]
async fn the_key_is_shown_until_its_first_code_and_never_again() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut other = app.browser();
        other.sign_in("olga", PASSWORD).await;
        assert!(olga.get(PAGE).await.body.contains("Begin"));
        olga.post_form(PAGE, PAGE, &[]).await;
        let page = olga.get(PAGE).await.body;
        assert!(
            page.contains("otpauth://totp/pgflex") && page.contains("<path d=\"M4 4h7"),
            "{page}"
        );
        let wrong = olga.press("/account/second-factor/confirm", &[("code", "000000")]).await;
        assert!(wrong.status == 422 && wrong.body.contains("not the code of this key"));
        assert!(
            app.browser().sign_in("olga", PASSWORD).await.location() == "/servers",
            "not on yet"
        );
        let before = olga.cookies["sid"].clone();
        let codes = switch_on(&app, &mut olga, "olga").await;
        assert_ne!(olga.cookies["sid"], before, "a new session id");
        assert!(!other.is_signed_in().await && olga.is_signed_in().await, "the others end");
        let page = olga.get(PAGE).await.body;
        assert!(page.contains("10 recovery codes left") && !page.contains("otpauth"), "{page}");
        assert!(!page.contains(&codes[0]));
        // Nothing of it lies in the store in the open.
        let factor = app.state.store.second_factor(&user(&app, "olga").await.id).await.unwrap();
        assert!(factor.unwrap().sealed.len() > 40);
    })
    .await;
}

#[actix_web::test]
async fn the_password_alone_opens_nothing_but_the_page_for_the_code() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        switch_on(&app, &mut olga, "olga").await;
        let mut half = app.browser();
        let answer = half.sign_in("olga", PASSWORD).await;
        assert_eq!(answer.location(), "/sign-in/code?return_to=/servers");
        assert!(half.cookies.contains_key("half") && !half.cookies.contains_key("sid"));
        for route in ROUTES.iter().filter(|route| route.access != Access::Anonymous) {
            let parts = route.pattern.split('/').map(|part| {
                if part.starts_with('{') { "01890a5d-ac96-774b-bcce-b302099a8057" } else { part }
            });
            let path = parts.collect::<Vec<_>>().join("/");
            let is_get = route.method == actix_web::http::Method::GET;
            let answer = if is_get { half.get(&path).await } else { half.post(&path, &[]).await };
            assert_eq!(answer.status, 303, "{} {path}", route.method);
            assert!(answer.location().starts_with("/sign-in"), "{} {path}", route.method);
        }
        let page = half.get("/sign-in/code").await.body;
        assert!(
            page.contains("autocomplete=\"one-time-code\"")
                && !page.contains("aria-label=\"Main\"")
        );
        let code = code(&app, "olga").await;
        assert_eq!(type_code(&mut half, &code).await.location(), "/hosts");
        assert!(half.is_signed_in().await && !half.cookies.contains_key("half"));
    })
    .await;
}

#[actix_web::test]
async fn a_code_counts_once_and_not_for_long() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        switch_on(&app, &mut olga, "olga").await;
        let (mut one, mut two) = (app.browser(), app.browser());
        one.sign_in("olga", PASSWORD).await;
        two.sign_in("olga", PASSWORD).await;
        let seen = code(&app, "olga").await;
        assert_eq!(type_code(&mut one, &seen).await.status, 303);
        let replayed = type_code(&mut two, &seen).await;
        assert!(
            replayed.status == 422 && replayed.body.contains("used already"),
            "{}",
            replayed.body
        );
        assert!(!replayed.body.contains(&format!("value=\"{seen}\"")));
        let old = code(&app, "olga").await;
        app.wind(Duration::seconds(61));
        assert_eq!(type_code(&mut two, &old).await.status, 422, "two steps late");
        let log = app.activities().await;
        assert!(
            log[0].action == "user.second_factor" && log[0].outcome == ActivityOutcome::Refused
        );
        app.wind(Duration::minutes(5));
        assert!(two.get("/sign-in/code").await.location().starts_with("/sign-in?"), "too late");
    })
    .await;
}

#[actix_web::test]
async fn guessing_codes_is_slowed_down() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        switch_on(&app, &mut olga, "olga").await;
        let mut half = app.browser();
        half.sign_in("olga", PASSWORD).await;
        for _ in 0..5 {
            assert_eq!(type_code(&mut half, "1234567").await.status, 422);
        }
        let right = code(&app, "olga").await;
        let blocked = type_code(&mut half, &right).await;
        assert!(
            blocked.status == 422 && blocked.body.contains("Too many wrong codes."),
            "{}",
            blocked.body
        );
        app.wind(Duration::seconds(2));
        assert_eq!(type_code(&mut half, &right).await.status, 303);
    })
    .await;
}

#[actix_web::test]
async fn a_recovery_code_lets_in_once_and_new_ones_replace_the_old() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let codes = switch_on(&app, &mut olga, "olga").await;
        for (code, status) in [(&codes[0], 303), (&codes[0], 422), (&codes[1].to_lowercase(), 303)]
        {
            let mut browser = app.browser();
            browser.sign_in("olga", PASSWORD).await;
            assert_eq!(type_code(&mut browser, code).await.status, status, "{code}");
        }
        assert!(app.activities().await.iter().any(|line| line.action == "user.recovery_code"));
        assert!(olga.get(PAGE).await.body.contains("8 recovery codes left"));
        let now = code(&app, "olga").await;
        let answer = olga.press("/account/second-factor/recovery-codes", &[("code", &now)]).await;
        assert!(
            answer.status == 200 && answer.body.contains("new recovery codes"),
            "{}",
            answer.body
        );
        let mut browser = app.browser();
        browser.sign_in("olga", PASSWORD).await;
        assert_eq!(type_code(&mut browser, &codes[2]).await.status, 422, "an old one");
    })
    .await;
}

#[actix_web::test]
async fn delicate_actions_and_switching_off_ask_for_the_code_too() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        switch_on(&app, &mut olga, "olga").await;
        app.wind(Duration::minutes(6));
        assert!(olga.get(PAGE).await.location().starts_with("/confirm-password"));
        let confirm = "/confirm-password";
        let without = olga.post_form(confirm, confirm, &[("password", PASSWORD)]).await;
        assert_eq!(without.status, 422);
        let now = code(&app, "olga").await;
        let wrong = [("password", "not this one at all"), ("code", now.as_str())];
        assert_eq!(olga.post_form(confirm, confirm, &wrong).await.status, 422);
        let both = [("password", PASSWORD), ("code", now.as_str())];
        assert_eq!(
            olga.post_form(confirm, confirm, &both).await.status,
            303,
            "a wrong password used no code up"
        );
        let off = "/account/second-factor/off";
        assert_eq!(olga.press(off, &both).await.status, 422, "used");
        app.wind(Duration::seconds(30));
        let now = code(&app, "olga").await;
        assert_eq!(olga.press(off, &[("password", PASSWORD), ("code", &now)]).await.status, 303);
        assert!(!user(&app, "olga").await.has_second_factor);
        assert_eq!(app.browser().sign_in("olga", PASSWORD).await.location(), "/servers");
    })
    .await;
}

#[actix_web::test]
async fn an_owner_resets_the_factor_of_others_but_not_the_own() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        switch_on(&app, &mut olga, "olga").await;
        switch_on(&app, &mut rita, "rita").await;
        let mut half = app.browser();
        half.sign_in("rita", PASSWORD).await;
        let (own, hers) = (user(&app, "olga").await.id, user(&app, "rita").await.id);
        olga.press(&format!("/users/{own}/second-factor/reset"), &[]).await;
        assert!(user(&app, "olga").await.has_second_factor);
        olga.press(&format!("/users/{hers}/second-factor/reset"), &[]).await;
        assert!(!user(&app, "rita").await.has_second_factor && !rita.is_signed_in().await);
        assert!(
            half.get("/sign-in/code").await.location().starts_with("/sign-in?"),
            "the half-open one is over"
        );
        assert_eq!(rita.sign_in("rita", PASSWORD).await.location(), "/servers");
        let log = app.activities().await;
        assert!(
            log.iter()
                .any(|line| line.action == "user.second_factor_reset" && line.subject == "rita")
        );
    })
    .await;
}

#[actix_web::test]
async fn where_everybody_needs_one_nothing_else_is_open_without() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let ask = [("required", "yes")];
        olga.press("/users/second-factor", &ask).await;
        assert!(!app.state.store.second_factor_required().await.unwrap(), "not before the own");
        switch_on(&app, &mut olga, "olga").await;
        olga.press("/users/second-factor", &ask).await;
        assert_eq!(olga.get("/servers").await.status, 200);
        for path in ["/servers", "/account", "/costs", "/activity.csv"] {
            assert_eq!(rita.get(path).await.location(), PAGE, "{path}");
        }
        assert!(rita.get(PAGE).await.body.contains("Everybody needs a second factor here."));
        rita.post_form(PAGE, PAGE, &[]).await;
        let now = code(&app, "rita").await;
        let answer =
            rita.post_form(PAGE, "/account/second-factor/confirm", &[("code", &now)]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(rita.get("/servers").await.status, 200);
        olga.press("/users/second-factor", &[("required", "no")]).await;
        assert!(!app.state.store.second_factor_required().await.unwrap());
    })
    .await;
}
