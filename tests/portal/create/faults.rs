//! What is refused is told at its place, and nothing typed is lost.

use super::*;

#[actix_web::test]
async fn each_rule_is_told_at_its_field_and_nothing_typed_is_lost() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let long = "a".repeat(64);
        let cases: &[(&str, &str, &str, &str)] = &[
            ("name", "", "name", "Enter a name"),
            ("name", "ab", "name", "3 to 63"),
            ("name", &long, "name", "3 to 63"),
            ("name", "-shop", "name", "begins and ends"),
            ("name", "shop--1", "name", "two hyphens"),
            ("name", "shop_1", "name", "hyphens"),
            ("region", "mars", "region", "regions in the list"),
            ("zone", "4", "zone", "zones 1, 2, 3"),
            ("version", "16", "version", "18, 17, 15"),
            ("tier", "Free", "tier", "compute tiers"),
            ("tier", "GeneralPurpose", "sku", "Standard_D2ds_v5, Standard_D4ds_v5"),
            ("sku", "Standard_B20ms", "sku", "Needs 20 vCores"),
            ("sku", "Standard_Z1", "sku", "Choose a size"),
            ("storage", "100", "storage", "32 GiB, 64 GiB"),
            ("storage", "4096", "storage", "does not fit"),
            ("ha", "ZoneRedundant", "ha", "Not on the tier Burstable"),
            ("admin_login", "pg_ann", "admin_login", "pg_"),
            ("admin_login", "azure_superuser", "admin_login", "reserved"),
            ("admin_login", &long, "admin_login", "1 to 63"),
            ("admin_password", "", "admin_password", "8 to 128"),
            ("admin_password", "alllowercase", "admin_password", "three kinds"),
            ("admin_password", "Xshopadmin1", "admin_password", "contain the administrator login"),
            ("admin_password_confirm", "Other-pass1", "admin_password_confirm", "differ"),
            ("access", "Closed", "access", "public or private"),
            ("access", "Private", "access", "takes no firewall rules"),
            ("rule_name", "-x", "rule_name-0", "begins with a letter"),
            ("rule_start", "203.0.113.0/24", "rule_start-0", "slash"),
            ("rule_start", "2001:db8::1", "rule_start-0", "IPv6"),
            ("rule_end", "203.0.113.0", "rule_end-0", "below the start"),
            ("tag_name", "a<b", "tag_name-0", "may not contain"),
            ("tag_name", "", "tag_name-0", "needs a name"),
        ];
        for (field, value, anchor, words) in cases {
            let form = Form::open(&mut olga).await.set(field, value);
            let answer = form.press(&mut olga, "review").await;
            assert_eq!(answer.status, 422, "{field}={value}");
            let error = between(&answer.body, &format!("id=\"e-{anchor}\""), "</p>");
            assert!(error.contains(words), "{field}={value}: {error}");
            assert!(
                answer.body.contains(&format!("href=\"#f-{anchor}\"")),
                "{field}={value}: summary"
            );
            assert!(!answer.body.contains(ADMIN_PASSWORD) && !answer.body.contains("Other-pass1"));
            for (kept, typed) in [
                ("name", "Shop"),
                ("admin_login", "shopadmin"),
                ("rule_name", "office"),
                ("tag_value", "prod"),
            ] {
                let is_kept = kept == *field || answer.body.contains(&format!("value=\"{typed}\""));
                assert!(is_kept, "{kept} after {field}={value}");
            }
            // The draft has it too, and the review page sends back to the form.
            let review = olga.get(&form.review_path()).await;
            assert!(review.status == 303 && review.location().contains("check=1"), "{field}");
            assert_eq!(olga.get(review.location()).await.status, 200);
        }
        assert!(servers(&app).await.is_empty());
    })
    .await;
}

#[actix_web::test]
async fn faults_on_another_tab_are_marked_and_linked() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await.set("name", "x").set("rule_end", "1");
        let answer = form.press(&mut olga, "review").await;
        assert_eq!(answer.body.matches("tab-bad").count(), 2);
        let link = format!(
            "href=\"/servers/create?draft={}&#38;tab=networking&#38;check=1#f-rule_end-0\"",
            form.get("draft")
        );
        assert!(answer.body.contains(&link), "{}", answer.body);
        // Next asks only for its own tab.
        let next = form.clone().set("name", "shop").press(&mut olga, "next:basics").await;
        assert_eq!(next.status, 303, "{}", next.body);
        let next = form.press(&mut olga, "next:networking").await;
        assert!(next.status == 422 && next.body.contains("There is one problem."), "{}", next.body);
    })
    .await;
}

#[actix_web::test]
async fn a_name_taken_meanwhile_is_told_at_the_name() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let mut carl = app.person(&mut olga, "carl", "Contributor").await;
        let form = Form::open(&mut olga).await;
        let review = form.review(&mut olga).await;
        assert_eq!(Form::open(&mut carl).await.create(&mut carl).await.status, 303);
        let answer = create(&mut olga, &review).await;
        assert_eq!(answer.status, 422);
        assert!(
            between(&answer.body, "id=\"e-name\"", "</p>").contains("a server named shop already")
        );
        assert!(answer.body.contains("Password is kept"), "it need not be typed again");
        let form =
            form.set("name", "shop-2").set("admin_password", "").set("admin_password_confirm", "");
        assert_eq!(form.create(&mut olga).await.status, 303);
        assert_eq!(servers(&app).await.len(), 2);
    })
    .await;
}

#[actix_web::test]
async fn hostile_text_is_kept_as_text() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let huge = "x".repeat(200_000);
        for name in [
            "<script>alert(1)</script>",
            "\" onfocus=\"x",
            "a\u{1}b\u{202e}",
            "'; DROP TABLE servers; --",
            &huge,
        ] {
            let form = Form::open(&mut olga)
                .await
                .set("name", name)
                .set("tag_value", name)
                .set("rule_name", name);
            let answer = form.press(&mut olga, "review").await;
            assert_eq!(answer.status, 422, "{}", &answer.body[..200]);
            assert!(
                !answer.body.contains("<script>alert") && !answer.body.contains("\" onfocus=\"x")
            );
            let page = olga.get(&format!("/servers/create?draft={}", form.get("draft"))).await;
            assert_eq!(page.status, 200);
            let list = olga.get(&format!("/servers?name={}", "%00%27%25_")).await;
            assert_eq!(list.status, 200);
        }
        let many = Form::open(&mut olga).await.without("rule_").without("tag_");
        let many = (0..128).fold(many, |form, n| {
            form.and("rule_name", &format!("r{n}"))
                .and("rule_start", "10.0.0.1")
                .and("rule_end", "")
        });
        let many = (0..50)
            .fold(many, |form, n| form.and("tag_name", &format!("t{n}")).and("tag_value", "x"));
        let answer = many.create(&mut olga).await;
        assert_eq!(answer.status, 303, "as many rules and tags as a server may have");
    })
    .await;
}

#[actix_web::test]
async fn a_changed_login_asks_for_the_password_again() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await;
        form.press(&mut olga, "next:basics").await;
        let form = form
            .set("admin_login", "tr1cky")
            .set("admin_password", "")
            .set("admin_password_confirm", "");
        let answer = form.press(&mut olga, "review").await;
        assert!(answer.status == 422 && answer.body.contains("Type the password again"));
        assert_ne!(PASSWORD, ADMIN_PASSWORD);
    })
    .await;
}
