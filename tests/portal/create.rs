//! Creating a server: the wizard, its rules, its review, and the list of servers.

use crate::helpers::{Browser, PASSWORD, TestApp, each_database};
use pgflex::domain::catalog::{Sku, StorageSize};
use pgflex::domain::host::EngineFacts;
use pgflex::domain::network::Access;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::server::Server;
use pgflex::domain::version::Major;
use pgflex::store::operations::OperationFilter;
use pgflex::store::servers::ServerFilter;

const ADMIN_PASSWORD: &str = "Tr1cky-pass";

/// A host for all regions: 8 CPUs, 24 GiB, the image of 17.
async fn with_host(app: &TestApp) {
    let now = app.state.now();
    let wanted = [("local".to_owned(), "unix:///x".to_owned(), vec![])];
    let hosts = app.state.store.register_hosts(now, &wanted).await.unwrap();
    let facts = EngineFacts {
        engine_id: "e".into(),
        engine_version: "20.10".into(),
        operating_system: "Debian".into(),
        kernel: "6".into(),
        cpus: 8,
        memory_bytes: 24 << 30,
        storage_total_bytes: Some(200 << 30),
        storage_free_bytes: Some(100 << 30),
        images: vec![Major::V17.image_tag()],
        ranges: vec![],
    };
    app.state.store.observe_host(&hosts[0].id, now, &facts, &[]).await.unwrap();
}

async fn with_silent_host(app: &TestApp) {
    with_host(app).await;
    let host = app.state.store.hosts().await.unwrap().remove(0);
    let now = app.state.now();
    app.state.store.observe_host_silent(&host.id, now, "connection refused").await.unwrap();
}

/// The form as a browser holds it.
#[derive(Clone)]
struct Form(Vec<(String, String)>);

impl Form {
    /// A good form with one rule and one tag, on the page's draft.
    async fn open(browser: &mut Browser) -> Self {
        let page = browser.get("/servers/create").await;
        assert_eq!(page.status, 200, "{}", page.body);
        let draft = between(&page.body, "name=\"draft\" value=\"", "\"");
        let token = page.token().unwrap();
        let fields = [
            ("csrf", token.as_str()),
            ("draft", draft),
            ("tab", "basics"),
            ("name", "Shop"),
            ("region", "westeurope"),
            ("zone", ""),
            ("version", "17"),
            ("tier", "Burstable"),
            ("sku", "Standard_B1ms"),
            ("storage", "32"),
            ("ha", "Disabled"),
            ("admin_login", "shopadmin"),
            ("admin_password", ADMIN_PASSWORD),
            ("admin_password_confirm", ADMIN_PASSWORD),
            ("access", "Public"),
            ("rule_name", "office"),
            ("rule_start", "203.0.113.1"),
            ("rule_end", "203.0.113.9"),
            ("tag_name", "env"),
            ("tag_value", "prod"),
        ];
        Self(fields.map(|(name, value)| (name.into(), value.into())).to_vec())
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        let field = self.0.iter_mut().find(|(key, _)| key == name).unwrap();
        field.1 = value.into();
        self
    }

    fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    fn without(mut self, prefix: &str) -> Self {
        self.0.retain(|(key, _)| !key.starts_with(prefix));
        self
    }

    fn get(&self, name: &str) -> &str {
        &self.0.iter().find(|(key, _)| key == name).unwrap().1
    }

    async fn press(&self, browser: &mut Browser, action: &str) -> crate::helpers::Answer {
        self.post(browser, "/servers/create", action).await
    }

    async fn post(
        &self,
        browser: &mut Browser,
        path: &str,
        action: &str,
    ) -> crate::helpers::Answer {
        let mut pairs: Vec<(&str, &str)> =
            self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.push(("action", action));
        browser.post(path, &pairs).await
    }

    fn review_path(&self) -> String {
        format!("/servers/create/review?draft={}", self.get("draft"))
    }

    /// Presses "Review + create", and gives what the Create button of that page would send.
    async fn review(&self, browser: &mut Browser) -> [(&'static str, String); 2] {
        let answer = self.press(browser, "review").await;
        assert_eq!(
            (answer.status, answer.location()),
            (303, self.review_path().as_str()),
            "{}",
            answer.body
        );
        let page = browser.get(answer.location()).await;
        assert_eq!(page.status, 200, "{}", page.body);
        [("csrf", page.token().unwrap()), ("draft", self.get("draft").to_owned())]
    }

    async fn create(&self, browser: &mut Browser) -> crate::helpers::Answer {
        let pairs = self.review(browser).await;
        create(browser, &pairs).await
    }
}

async fn create(
    browser: &mut Browser,
    pairs: &[(&'static str, String); 2],
) -> crate::helpers::Answer {
    let pairs = [(pairs[0].0, pairs[0].1.as_str()), (pairs[1].0, pairs[1].1.as_str())];
    browser.post("/servers/create/review", &pairs).await
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let start = text.find(before).unwrap_or_else(|| panic!("no {before} in {text}")) + before.len();
    &text[start..start + text[start..].find(after).unwrap()]
}

async fn servers(app: &TestApp) -> Vec<Server> {
    app.state.store.servers(&ServerFilter::default()).await.unwrap()
}

async fn operations(app: &TestApp) -> Vec<Operation> {
    app.state.store.operations(&OperationFilter::default()).await.unwrap()
}

#[actix_web::test]
async fn a_server_is_asked_for_with_everything_that_was_chosen() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await;
        let next = form.press(&mut olga, "next:basics").await;
        let tab = format!("/servers/create?draft={}&tab=networking", form.get("draft"));
        assert_eq!((next.status, next.location()), (303, tab.as_str()), "{}", next.body);
        let page = olga.get(&tab).await;
        assert!(page.body.contains("Password is kept; type a new one to replace it."));
        assert!(
            page.body.contains("value=\"203.0.113.9\"") && page.body.contains("value=\"prod\"")
        );

        // The password is not typed again: it was kept.
        let form = form.set("admin_password", "").set("admin_password_confirm", "");
        let review = form.review(&mut olga).await;
        let page = olga.get(&form.review_path()).await.body;
        for part in [
            "shop.pgflex.localhost",
            "West Europe",
            "PostgreSQL 17",
            "€ 14.47",
            "203.0.113.1 to 203.0.113.9",
            "not measured yet",
            "Reserve a place on a host",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains(ADMIN_PASSWORD));
        let answer = create(&mut olga, &review).await;
        let operation = operations(&app).await.remove(0);
        assert_eq!(
            (answer.status, answer.location()),
            (303, format!("/operations/{}", operation.id).as_str())
        );
        assert_eq!(
            (operation.kind, operation.status),
            (OperationKind::Create, OperationStatus::Queued)
        );
        assert_eq!(operation.requested_by, "olga");
        let steps = app.state.store.operation_steps(&operation.id).await.unwrap();
        assert!(steps.len() > 5 && steps[0].name == "reserve_placement");

        let server = servers(&app).await.remove(0);
        assert_eq!((server.spec.name.as_str(), server.spec.zone.as_str()), ("shop", "1"));
        assert_eq!((server.spec.sku.as_str(), server.spec.storage_gib), ("Standard_B1ms", 32));
        assert_eq!((server.spec.major, server.spec.access), (Major::V17, Access::Public));
        assert_eq!(server.spec.tags[0].value, "prod");
        let rules = app.state.store.firewall_rules(&server.id).await.unwrap();
        assert_eq!((rules.len(), rules[0].name.as_str()), (1, "office"));
        let line = app.activities().await.remove(0);
        assert_eq!((line.action.as_str(), line.subject.as_str()), ("server.create", "shop"));
        let after = olga.get(&form.review_path()).await;
        assert_eq!(
            (after.status, after.location()),
            (303, answer.location()),
            "a used draft leads on"
        );
    })
    .await;
}

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
            ("ha", "ZoneRedundant", "ha", "not built yet"),
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
async fn the_buttons_of_the_form_keep_everything() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await;
        for (action, tab, part) in [
            ("add_my_address", "networking", "value=\"client-192-0-2-7\""),
            ("add_everyone", "networking", "value=\"255.255.255.255\""),
            ("add_rule", "networking", "Name of rule 2"),
            ("add_tag", "tags", "Name of tag 2"),
            ("back:networking", "basics", "value=\"Shop\""),
            ("tab:tags", "tags", "value=\"prod\""),
            (
                "preset:production",
                "basics",
                "value=\"Standard_D2ds_v5\" data-presets=\"production\" checked",
            ),
            ("estimate", "basics", "€ 14.47"),
        ] {
            let answer = form.press(&mut olga, action).await;
            let expected = format!("/servers/create?draft={}&tab={tab}", form.get("draft"));
            assert!(
                answer.status == 303 && answer.location().starts_with(&expected),
                "{action}: {}",
                answer.location()
            );
            let page = olga.get(answer.location().split('#').next().unwrap()).await.body;
            assert!(page.contains(part), "{action}: {page}");
            assert!(
                page.contains("value=\"office\"") && page.contains("value=\"shopadmin\""),
                "{action}"
            );
        }
        let removed = form.press(&mut olga, "remove_rule:0").await;
        let page = olga.get(removed.location().split('#').next().unwrap()).await.body;
        assert!(!page.contains("value=\"office\"") && page.contains("nobody can connect yet"));
        // A typed password that cannot be kept stops any button: it could not be shown again.
        let half = form.set("admin_password_confirm", "").press(&mut olga, "add_rule").await;
        assert!(half.status == 422 && half.body.contains("The two passwords differ"));
        let everyone = Form::open(&mut olga).await;
        let answer = everyone.press(&mut olga, "add_everyone").await;
        let page = olga.get(answer.location().split('#').next().unwrap()).await.body;
        assert!(page.contains("every IPv4 address"));
    })
    .await;
}

#[actix_web::test]
async fn pressing_create_twice_makes_one_server() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await;
        let review = form.review(&mut olga).await;
        let mut other_tab = app.browser();
        other_tab.cookies = olga.cookies.clone();
        let (first, second) =
            futures_util::join!(create(&mut olga, &review), create(&mut other_tab, &review));
        assert_eq!((first.status, second.status), (303, 303), "{} {}", first.body, second.body);
        assert_eq!(first.location(), second.location());
        let third = create(&mut olga, &review).await;
        assert_eq!(third.location(), first.location());
        assert_eq!((servers(&app).await.len(), operations(&app).await.len()), (1, 1));

        // Going back and changing the name makes another one, with the password typed again.
        let again = form.set("name", "shop-2").press(&mut olga, "review").await;
        assert_eq!(again.status, 303, "{}", again.body);
        assert!(!again.location().contains(review[1].1.as_str()), "a draft of its own");
        let page = olga.get(again.location()).await;
        let draft = between(&page.body, "name=\"draft\" value=\"", "\"").to_owned();
        let pairs = [("csrf", page.token().unwrap()), ("draft", draft)];
        assert_eq!(create(&mut olga, &pairs).await.status, 303);
        assert_eq!(servers(&app).await.len(), 2);
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
async fn the_estimate_is_that_of_the_price_list() {
    each_database(async |app| {
        with_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let form = Form::open(&mut olga).await.without("admin_password");
        let prices = &app.state.config.prices;
        for (tier, sku, gib) in
            [("Burstable", "Standard_B2s", 64), ("GeneralPurpose", "Standard_D8ds_v5", 1024)]
        {
            let form =
                form.clone().set("tier", tier).set("sku", sku).set("storage", &gib.to_string());
            let answer = form.post(&mut olga, "/servers/create/estimate", "").await;
            let (sku, size) = (Sku::by_name(sku).unwrap(), StorageSize::by_gib(gib).unwrap());
            let estimate = prices.estimate(sku, size);
            for amount in [estimate.compute, estimate.storage, estimate.total()] {
                assert!(answer.body.contains(&prices.text(amount)), "{amount} in {}", answer.body);
            }
            assert!(
                answer.body.contains("example prices") && answer.body.contains("The name is free.")
            );
            assert!(!answer.body.contains("<html"), "parts, not a page");
        }
        // After a change of the tier alone: the smallest size of the new one.
        let moved = form
            .set("tier", "MemoryOptimized")
            .post(&mut olga, "/servers/create/estimate", "")
            .await;
        assert!(moved.body.contains("Compute, E2ds_v5"), "{}", moved.body);
    })
    .await;
}

#[actix_web::test]
async fn without_an_engine_the_form_shows_and_says_why_it_is_closed() {
    each_database(async |app| {
        with_silent_host(&app).await;
        let mut olga = app.set_up_owner().await;
        let page = olga.get("/servers/create").await;
        assert_eq!(page.status, 200);
        assert_eq!(page.body.matches("The host&#39;s Docker Engine does not answer.").count(), 25);
        assert!(page.body.contains("No Docker Engine can be reached."));
        let form = Form::open(&mut olga).await.without("sku");
        let answer = form.press(&mut olga, "review").await;
        assert!(answer.status == 422 && answer.body.contains("id=\"e-sku\""));
        assert!(
            answer.body.contains("value=\"Standard_B1ms\" data-presets=\"development\" checked")
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

/// Writes a server as the form describes it, past the hosts' limits.
async fn seed(app: &TestApp, form: &Form) {
    use pgflex::clock::new_id;
    use pgflex::domain::ids::ServerId;
    use pgflex::domain::names::{AdminLogin, ServerName, Tag};
    use pgflex::domain::server::ServerSpec;
    use pgflex::store::Record;
    let spec = ServerSpec {
        name: ServerName::parse(form.get("name")).unwrap(),
        region: form.get("region").into(),
        zone: "1".into(),
        major: Major::V17,
        sku: form.get("sku").into(),
        storage_gib: 32,
        admin_login: AdminLogin::parse("ann").unwrap(),
        access: Access::Public,
        tags: vec![Tag { name: "env".into(), value: form.get("tag_value").into() }],
    };
    let mut tx = app.state.store.begin_write(app.state.now()).await.unwrap();
    let port = tx.take_port((20000, 21000)).await.unwrap().unwrap();
    tx.insert_server(&new_id(ServerId::parse), &spec, port, None).await.unwrap();
    tx.commit(Record::Nothing("a test's server")).await.unwrap();
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
