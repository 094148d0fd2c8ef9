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

mod asking;
mod faults;
mod list;

pub const ADMIN_PASSWORD: &str = "Tr1cky-pass";

/// A host for all regions: 8 CPUs, 24 GiB, the image of 17.
pub async fn with_host(app: &TestApp) {
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
        clock_ahead_ms: None,
    };
    app.state.store.observe_host(&hosts[0].id, now, &facts, &[]).await.unwrap();
}

pub async fn with_silent_host(app: &TestApp) {
    with_host(app).await;
    let host = app.state.store.hosts().await.unwrap().remove(0);
    let now = app.state.now();
    app.state.store.observe_host_silent(&host.id, now, "connection refused").await.unwrap();
}

/// The form as a browser holds it.
#[derive(Clone)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// A good form with one rule and one tag, on the page's draft.
    pub async fn open(browser: &mut Browser) -> Self {
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
            ("standby_zone", ""),
            ("durability", "Preferred"),
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

    pub fn set(mut self, name: &str, value: &str) -> Self {
        let field = self.0.iter_mut().find(|(key, _)| key == name).unwrap();
        field.1 = value.into();
        self
    }

    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, prefix: &str) -> Self {
        self.0.retain(|(key, _)| !key.starts_with(prefix));
        self
    }

    pub fn get(&self, name: &str) -> &str {
        &self.0.iter().find(|(key, _)| key == name).unwrap().1
    }

    pub async fn press(&self, browser: &mut Browser, action: &str) -> crate::helpers::Answer {
        self.post(browser, "/servers/create", action).await
    }

    pub async fn post(
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

    pub fn review_path(&self) -> String {
        format!("/servers/create/review?draft={}", self.get("draft"))
    }

    /// Presses "Review + create", and gives what the Create button of that page would send.
    pub async fn review(&self, browser: &mut Browser) -> [(&'static str, String); 2] {
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

    pub async fn create(&self, browser: &mut Browser) -> crate::helpers::Answer {
        let pairs = self.review(browser).await;
        create(browser, &pairs).await
    }
}

pub async fn create(
    browser: &mut Browser,
    pairs: &[(&'static str, String); 2],
) -> crate::helpers::Answer {
    let pairs = [(pairs[0].0, pairs[0].1.as_str()), (pairs[1].0, pairs[1].1.as_str())];
    browser.post("/servers/create/review", &pairs).await
}

pub fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let start = text.find(before).unwrap_or_else(|| panic!("no {before} in {text}")) + before.len();
    &text[start..start + text[start..].find(after).unwrap()]
}

pub async fn servers(app: &TestApp) -> Vec<Server> {
    app.state.store.servers(&ServerFilter::default()).await.unwrap()
}

pub async fn operations(app: &TestApp) -> Vec<Operation> {
    app.state.store.operations(&OperationFilter::default()).await.unwrap()
}

/// Writes a server as the form describes it, past the hosts' limits.
pub async fn seed(app: &TestApp, form: &Form) {
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
