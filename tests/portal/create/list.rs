//! Drafts and the list of servers: who sees what, how it is found.

use super::*;

#[actix_web::test]
async fn a_draft_is_its_owners_alone() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let mut carl = app.person(&mut olga, "carl", "Contributor").await;
        let form = Form::open(&mut olga).await;
        form.press(&mut olga, "next:basics").await;
        let draft = form.get("draft").to_owned();
        let foreign = Form::open(&mut carl).await.set("draft", &draft);
        assert_eq!(carl.get(&format!("/servers/create?draft={draft}")).await.status, 404);
        assert_eq!(carl.get(&form.review_path()).await.status, 404);
        assert_eq!(foreign.press(&mut carl, "next:basics").await.status, 404);
        assert_eq!(foreign.post(&mut carl, "/servers/create/review", "").await.status, 404);
        let estimate =
            foreign.without("admin").post(&mut carl, "/servers/create/estimate", "").await;
        assert!(!estimate.body.contains("shopadmin"));
        for odd in ["x", "01890a5d-ac96-774b-bcce-b302099a8057", "../.."] {
            assert_eq!(
                olga.get(&format!("/servers/create?draft={odd}")).await.status,
                404,
                "{odd}"
            );
        }
        assert!(servers(&app).await.is_empty());
    })
    .await;
}

#[actix_web::test]
async fn readers_see_the_list_and_may_not_create() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let page = rita.get("/servers").await;
        assert!(page.status == 200 && page.body.contains("Your role is Reader"));
        assert!(!page.body.contains("/servers/create"));
        let refused = rita.get("/servers/create").await;
        assert!(refused.status == 403 && refused.body.contains("needs the role Contributor"));
        let form = Form::open(&mut olga).await;
        let token = rita.get("/account").await.token().unwrap();
        let answer = form.clone().set("csrf", &token).press(&mut rita, "review").await;
        assert_eq!(answer.status, 403);
        assert_eq!(form.set("csrf", "").press(&mut olga, "review").await.status, 403, "no token");
        let invitation = olga.get("/servers").await.body;
        assert!(
            invitation.contains("preset=development") && invitation.contains("€ 138.18 / month")
        );
    })
    .await;
}

#[actix_web::test]
async fn the_list_finds_and_pages() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        for n in 0..51 {
            let name = format!("{}-{n:02}", if n < 3 { "crm" } else { "shop" });
            let form = Form::open(&mut olga)
                .await
                .set("name", &name)
                .set("tag_value", if n == 0 { "test" } else { "prod" });
            // Every server is small enough for the host; memory would not do for so many.
            seed(&app, &form).await;
        }
        let first = olga.get("/servers").await.body;
        assert!(
            first.contains("51 servers") && first.contains("crm-00") && !first.contains("shop-50")
        );
        let next =
            between(&first, "<span></span><a class=\"button\" href=\"", "\"").replace("&#38;", "&");
        let second = olga.get(&next).await.body;
        assert!(
            second.contains("shop-50")
                && !second.contains("shop-49")
                && second.contains("First page")
        );
        for (query, result) in [
            ("name=CRM", "3 of 51 servers"),
            ("tag=env%3Dtest", "1 of 51 servers"),
            ("tag=env", "51 servers"),
            ("state=Provisioning&name=crm", "3 of 51 servers"),
            ("state=Ready", "0 of 51 servers"),
            ("region=northeurope", "0 of 51 servers"),
        ] {
            let page = olga.get(&format!("/servers?{query}")).await.body;
            assert!(page.contains(result), "{query}: {page}");
            assert_eq!(page.contains("No server matches"), result.starts_with('0'), "{query}");
        }
        let beyond = olga.get("/servers?after=zzz").await.body;
        assert!(beyond.contains("No server comes after this name"));
    })
    .await;
}
