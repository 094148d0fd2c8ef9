//! What protects every page: tokens, origins, headers, limits, and the route table.

use crate::access_world::{Things, fill};
use crate::helpers::{PASSWORD, each_database};
use actix_web::http::Method;
use actix_web::test::TestRequest;
use pgflex::web::{Access, ROUTES};

/// A path that fits a pattern, with an id that nothing has.
fn sample(pattern: &str) -> String {
    let parts = pattern.split('/').map(|part| match part {
        "{token}" | "{file}" => "x",
        part if part.starts_with('{') => "01890a5d-ac96-774b-bcce-b302099a8057",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[actix_web::test]
async fn a_form_without_its_token_is_refused() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut stranger = app.browser();
        let sign_in = [("login", "olga"), ("password", PASSWORD)];
        assert_eq!(stranger.post("/sign-in", &sign_in).await.status, 403);
        let token = app.browser().get("/sign-in").await.token().unwrap();
        let stolen = [("csrf", token.as_str()), sign_in[0], sign_in[1]];
        assert_eq!(stranger.post("/sign-in", &stolen).await.status, 403, "bound to its cookie");
        assert_eq!(olga.post("/sign-out", &[("csrf", "")]).await.status, 403);
        assert_eq!(olga.post("/sign-out", &[("csrf", token.as_str())]).await.status, 403);
        assert!(olga.is_signed_in().await);
    })
    .await;
}

#[actix_web::test]
async fn a_form_from_elsewhere_is_refused() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        for origin in [Some("https://evil.example"), Some("null"), None] {
            olga.origin = origin.map(Into::into);
            assert_eq!(olga.press("/sign-out", &[]).await.status, 403, "{origin:?}");
        }
        assert!(olga.is_signed_in().await);
    })
    .await;
}

#[actix_web::test]
async fn every_route_asks_for_its_access() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let things = Things::new(&app, "shop", 20_001).await;
        for route in ROUTES.iter().filter(|route| route.access != Access::Anonymous) {
            let path = fill(route.pattern, &things);
            let name = format!("{} {path}", route.method);
            let is_get = route.method == Method::GET;
            let mut nobody = app.browser();
            let answer =
                if is_get { nobody.get(&path).await } else { nobody.post(&path, &[]).await };
            assert_eq!(answer.status, 303, "{name}");
            assert!(answer.location().starts_with("/sign-in"), "{name}");
            if !is_get {
                assert_eq!(olga.post(&path, &[]).await.status, 403, "without a token: {name}");
            }
            if route.access > Access::Reader {
                let answer =
                    if is_get { rita.get(&path).await } else { rita.press(&path, &[]).await };
                assert_eq!(answer.status, 403, "{name}");
            }
        }
        assert!(olga.is_signed_in().await && rita.is_signed_in().await);
    })
    .await;
}

#[actix_web::test]
async fn every_answer_has_the_headers() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let css = pgflex::web::assets::css();
        let mut paths: Vec<String> = ROUTES.iter().map(|route| sample(route.pattern)).collect();
        paths.extend([css, "/nowhere".into(), "/users/../x".into(), "/%ff".into()]);
        for path in &paths {
            for answer in [olga.get(path).await, app.browser().get(path).await] {
                assert!(
                    answer.header("content-security-policy").contains("default-src 'none'"),
                    "{path}"
                );
                assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
                assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
                assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{path}");
                assert!(!answer.header("cache-control").is_empty(), "{path}");
                assert!(answer.header("strict-transport-security").is_empty(), "{path}");
                assert!(answer.header("server").is_empty(), "{path}");
                assert!(answer.status < 500, "{path}");
                let is_page = answer.header("content-type").starts_with("text/html");
                assert!(!is_page || answer.header("cache-control") == "no-store", "{path}");
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn with_tls_cookies_and_headers_are_strict() {
    let story = async |app: crate::helpers::TestApp| {
        let mut olga = app.set_up_owner().await;
        assert!(olga.cookies.contains_key("__Host-sid"));
        let page = olga.get("/account").await;
        assert!(page.header("strict-transport-security").contains("max-age=31536000"));
        assert!(page.header("content-security-policy").contains("upgrade-insecure-requests"));
        let answer = app.browser().get("/sign-in").await;
        let cookie = answer.header("set-cookie");
        for part in ["__Host-form=", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
    };
    crate::helpers::each_database_with(&["--public-url", "https://db.example"], story).await;
}

#[actix_web::test]
async fn too_large_is_told_so() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let ten_mib = "x".repeat(10 * 1024 * 1024);
        for path in ["/sign-in", "/account/password", "/nowhere"] {
            let answer = olga.post_body(path, format!("csrf=x&a={ten_mib}")).await;
            assert_eq!(answer.status, 413, "{path}");
            assert!(answer.body.contains("at most 1 MiB"));
        }
        let unannounced = TestRequest::post()
            .uri("/account/password")
            .insert_header(("origin", app.state.config.public_url()))
            .set_payload(format!("csrf=x&a={ten_mib}"));
        assert_eq!(olga.send(unannounced).await.status, 413);
    })
    .await;
}

#[actix_web::test]
async fn nobody_gets_a_session_and_errors_are_pages() {
    each_database(async |app| {
        let mut nobody = app.browser();
        for path in ["/", "/healthz", "/readyz", "/ca.pem", "/nowhere", "/servers/x"] {
            nobody.get(path).await;
        }
        assert!(nobody.cookies.is_empty(), "{:?}", nobody.cookies);
        let missing = nobody.get("/nowhere").await;
        assert!(missing.status == 404 && missing.body.contains("Reference"));
        let mut olga = app.set_up_owner().await;
        let wrong = olga.post("/nowhere", &[]).await;
        assert_eq!(wrong.status, 404);
        let wrong = olga
            .send(
                TestRequest::delete()
                    .uri("/account")
                    .insert_header(("origin", app.state.config.public_url())),
            )
            .await;
        assert!(wrong.status == 405 && wrong.body.contains("olga"), "{}", wrong.status);
        let head = olga.send(TestRequest::default().method(Method::HEAD).uri("/account")).await;
        assert_eq!(head.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn a_forged_session_cookie_is_nobody() {
    each_database(async |app| {
        let olga = app.set_up_owner().await;
        let mut forger = app.browser();
        forger.cookies.insert("sid".into(), format!("{}x", olga.cookies["sid"]));
        assert!(!forger.is_signed_in().await);
    })
    .await;
}

/// SQLite keeps it, PostgreSQL refuses it: both must say the same, and never 500.
#[actix_web::test]
async fn a_zero_byte_is_no_text() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        for path in ["/activity?subject=a%00b", "/activity?who=%00", "/activity.csv?who=%00"] {
            assert_eq!(olga.get(path).await.status, 200, "{path}");
        }
        assert_eq!(app.browser().sign_in("ol\0ga", PASSWORD).await.status, 400);
        let note = [("note", "a\0b"), ("role", "Reader")];
        assert_eq!(olga.press("/users/invites", &note).await.status, 400);
    })
    .await;
}

#[actix_web::test]
async fn requests_are_counted_by_person_and_by_address() {
    let story = async |app: crate::helpers::TestApp| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        app.wind(chrono::Duration::minutes(1));
        for _ in 0..60 {
            assert_eq!(olga.get("/account").await.status, 200);
        }
        let refused = olga.get("/account").await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
        assert!(refused.body.contains("60 requests a minute") && refused.body.contains("olga"));
        assert_eq!(rita.get("/account").await.status, 200, "somebody else at the same address");
        assert_eq!(olga.get("/healthz").await.status, 200);
        assert_eq!(olga.get(&pgflex::web::assets::css()).await.status, 200);
        app.wind(chrono::Duration::seconds(2));
        assert_eq!(olga.get("/account").await.status, 200);
        // A tenth of them may change something, whatever comes of it.
        let id = sample("/operations/{id}/retry");
        let statuses: Vec<u16> = {
            let mut all = vec![];
            for _ in 0..7 {
                all.push(olga.post("/users/invites", &[]).await.status);
            }
            all
        };
        assert_eq!(statuses, [403, 403, 403, 403, 403, 403, 429]);
        assert_eq!(
            [olga.post(&id, &[]).await.status, olga.post(&id, &[]).await.status],
            [404, 429]
        );
        let mut nobody = app.browser();
        for _ in 0..60 {
            nobody.get("/nowhere").await;
        }
        assert_eq!(app.browser().get("/sign-in").await.status, 429, "the same address");
        let mut elsewhere = app.browser();
        elsewhere.address = "198.51.100.4".into();
        assert_eq!(elsewhere.get("/sign-in").await.status, 200);
    };
    crate::helpers::each_database_with(&["--requests-per-minute", "60"], story).await;
}
