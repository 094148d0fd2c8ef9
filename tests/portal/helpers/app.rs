//! One portal in process, with its own database.

use super::{Browser, PASSWORD};
use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::test::{self, TestRequest};
use actix_web::web;
use chrono::{DateTime, Duration};
use clap::Parser;
use futures_util::future::LocalBoxFuture;
use pgflex::clock::{ManualClock, new_uuid};
use pgflex::config::{Config, FileConfig, ServeArgs};
use pgflex::domain::activity::Activity;
use pgflex::poke::Poke;
use pgflex::secrets::{HashCost, Sealer};
use pgflex::store::Store;
use pgflex::store::activity::ActivityFilter;
use pgflex::web::AppState;
use pgflex::web::handlers::account::setup_link;
use pgflex::web::state::Parts;
use sqlx::{AssertSqlSafe, Connection};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

type Call =
    Rc<dyn Fn(TestRequest) -> LocalBoxFuture<'static, Result<ServiceResponse<BoxBody>, Error>>>;

/// A running portal. Clones share it.
#[derive(Clone)]
pub struct TestApp {
    pub state: AppState,
    pub clock: ManualClock,
    pub call: Call,
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: ServeArgs,
}

/// Tells a story on every database there is, each time from nothing.
pub async fn each_database<F: Future<Output = ()>>(story: impl Fn(TestApp) -> F) {
    on(&[], &story).await;
}

/// The same with arguments of `pgflex serve`.
pub async fn each_database_with<F: Future<Output = ()>>(
    args: &[&str],
    story: impl Fn(TestApp) -> F,
) {
    on(args, &story).await;
}

async fn on<F: Future<Output = ()>>(args: &[&str], story: &impl Fn(TestApp) -> F) {
    let folder = std::env::temp_dir().join(format!("pgflex-portal-{}", new_uuid()));
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.join("test.db").display());
    let app = TestApp::start(&url, args).await;
    story(app.clone()).await;
    app.state.store.close().await;
    std::fs::remove_dir_all(&folder).unwrap();

    #[expect(
        clippy::disallowed_methods,
        reason = "tests are told their database by the environment"
    )]
    let Ok(server) = std::env::var("PGFLEX_TEST_DATABASE_URL") else { return };
    let name = format!("pgflex_portal_{}", new_uuid().replace('-', ""));
    run(&server, format!("CREATE DATABASE {name}")).await;
    let app = TestApp::start(&with_database(&server, &name), args).await;
    story(app.clone()).await;
    app.state.store.close().await;
    run(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// The same server's URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (base, query) =
        url.split_once('?').map_or((url, String::new()), |(b, q)| (b, format!("?{q}")));
    let after_host = base.find("://").unwrap() + 3;
    let host = base[after_host..].find('/').map_or(base, |slash| &base[..after_host + slash]);
    format!("{host}/{name}{query}")
}

async fn run(url: &str, sql: String) {
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}

impl TestApp {
    async fn start(url: &str, args: &[&str]) -> Self {
        let clock = ManualClock::at(DateTime::from_timestamp(1_795_000_000, 0).unwrap());
        // Stories stand still in time: nobody's requests are counted unless a story is about that.
        let pace = "--requests-per-minute";
        let uncounted: &[&str] = if args.contains(&pace) { &[] } else { &[pace, "0"] };
        let command = Command::parse_from(["pgflex"].iter().chain(uncounted).chain(args));
        let config = match command.args.config {
            Some(_) => Config::load(command.args).unwrap(),
            None => Config::combine(command.args, FileConfig::default()),
        };
        let parts = Parts {
            store: Store::open(url).await.unwrap(),
            clock: Arc::new(clock.clone()),
            config: Arc::new(config),
            sealer: Sealer::from_key([9; 32]),
            poke: Poke::default(),
            install_id: new_uuid(),
            ca_certificate: "-----BEGIN CERTIFICATE-----\n".into(),
            hash_cost: HashCost::TEST,
        };
        let state = AppState::open(parts).await.unwrap();
        let service =
            Rc::new(test::init_service(pgflex::web::app(&web::Data::new(state.clone()))).await);
        let call: Call = Rc::new(move |request| Box::pin(service.call(request.to_request())));
        Self { state, clock, call }
    }

    /// A browser that nobody has used yet.
    pub fn browser(&self) -> Browser {
        Browser::new(self.clone())
    }

    /// The link that the start prints.
    pub async fn setup_path(&self) -> Option<String> {
        let link = setup_link(&self.state).await.unwrap()?;
        Some(self.path_of(&link))
    }

    /// The path of a whole link.
    pub fn path_of(&self, link: &str) -> String {
        link.strip_prefix(&self.state.config.public_url()).unwrap().to_owned()
    }

    /// Makes the first owner, "olga", and gives her browser.
    pub async fn set_up_owner(&self) -> Browser {
        let mut browser = self.browser();
        let path = self.setup_path().await.unwrap();
        let answer = browser.join(&path, "olga", PASSWORD).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        browser
    }

    /// A signed-in person of a role, who came by an owner's invitation.
    pub async fn person(&self, owner: &mut Browser, login: &str, role: &str) -> Browser {
        let path = owner.invite(login, role).await;
        let mut browser = self.browser();
        assert_eq!(browser.join(&path, login, PASSWORD).await.status, 303);
        browser
    }

    pub fn wind(&self, by: Duration) {
        self.clock.wind(by);
    }

    /// The activity log, newest first.
    pub async fn activities(&self) -> Vec<Activity> {
        self.state.store.activities(&ActivityFilter::default()).await.unwrap()
    }
}
