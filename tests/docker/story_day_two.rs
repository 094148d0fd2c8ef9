//! Day two, as one person lives it on one server: another size, more storage, databases, parameters, extensions,
//! a new password, pooling, locks, tags, stop and start, the bill, and the end. With script and without.

use crate::browser::{Browser, has_browser, in_browser};
use crate::portal::{ADMIN, PASSWORD, Portal};
use crate::story::set_up_owner;
use crate::story_terminal::Terminal;
use crate::support::{has_engine, objects_of_servers};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thirtyfour::By;

const SERVER: &str = "shop-db";
const NEW_PASSWORD: &str = "Brand-new-4711";
const COUNT: &str = "select count(*) from orders";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_script_lives_through_day_two() {
    tell("day-two-with-script", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_script_lives_through_day_two() {
    tell("day-two-without-script", false).await;
}

async fn tell(name: &'static str, has_script: bool) {
    if !has_engine() || !has_browser() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    let line = portal.wait_line("Make the first owner here");
    let link = line.split_whitespace().last().unwrap().to_owned();
    let portal = Arc::new(portal);
    let ended = in_browser(name, &portal.url(), has_script, |it| {
        let day = Day { it, portal: Arc::clone(&portal), terminal: Terminal::open() };
        async move { day.tell(&link).await }
    })
    .await;
    let portal = Arc::into_inner(portal).unwrap();
    let log = portal.log();
    portal.finish().await;
    if let Err(failure) = ended {
        println!("the log of the portal:\n{log}");
        std::panic::resume_unwind(failure);
    }
}

struct Day {
    it: Arc<Browser>,
    portal: Arc<Portal>,
    terminal: Terminal,
}

impl Day {
    async fn tell(&self, link: &str) {
        let begin = Instant::now();
        set_up_owner(&self.it, link).await;
        // What stands at the foot of a long page must not lie over what is pressed.
        self.it.resize(1280, 2400).await;
        let is_roomy = self.creates().await;
        let psql = self.connects().await;
        self.scales(if is_roomy { "B2s" } else { "B1ms" }, &psql).await;
        self.grows_storage(&psql).await;
        self.creates_and_drops_a_database(&psql).await;
        self.changes_parameters(&psql).await;
        self.creates_an_extension(&psql).await;
        let psql = self.resets_the_password(&psql).await;
        self.pools_connections(is_roomy, &psql).await;
        self.locks_and_unlocks().await;
        self.tags_and_finds().await;
        self.stops_and_starts(&psql).await;
        self.reads_the_bill().await;
        self.deletes(&psql).await;
        println!("{:>6.1} s for all of day two", begin.elapsed().as_secs_f64());
    }

    /// General Purpose where the host has room for it; true when it has.
    async fn creates(&self) -> bool {
        let it = &self.it;
        it.press("Create a server").await;
        it.see("Start from a preset").await;
        it.fill("name", SERVER).await;
        self.chooses("General Purpose").await;
        let is_roomy = !it.read_all(&open_size("Standard_D2ds_v5")).await.is_empty();
        if !is_roomy {
            self.chooses("Burstable").await;
        }
        self.chooses(if is_roomy { "D2ds_v5" } else { "B2s" }).await;
        self.chooses("32 GiB").await;
        it.fill("admin_login", ADMIN).await;
        it.fill("admin_password", PASSWORD).await;
        it.fill("admin_password_confirm", PASSWORD).await;
        it.press("Next: Networking").await;
        it.press_at(By::XPath("//button[starts-with(normalize-space(.), 'Add my address')]")).await;
        it.press("Next: Tags").await;
        it.press("Next: Review + create").await;
        it.see("Review and create").await;
        it.see(if is_roomy { "D2ds_v5" } else { "B2s" }).await;
        it.see("32 GiB").await;
        it.press("Create").await;
        self.ends(&format!("Create server {SERVER}"), "The server accepts connections.").await;
        is_roomy
    }

    /// The printed psql, with rows to lose.
    async fn connects(&self) -> String {
        self.opens("Connect", "Get the CA certificate").await;
        let curl = self.printed("command that fetches the CA certificate").await;
        self.terminal.run(&curl).await.unwrap_or_else(|why| panic!("{curl}: {why}"));
        let psql = self.printed("psql").await;
        let rows = "create table orders as select generate_series(1, 1000) as id";
        self.asks(&psql, rows, "SELECT 1000").await;
        psql
    }

    /// The review says what becomes of connections and parameters before anything is done.
    async fn scales(&self, to: &str, psql: &str) {
        let it = &self.it;
        let begun = "select pg_postmaster_start_time()";
        let before = self.terminal.ask(psql, begun).await.unwrap();
        self.opens("Compute", "Size now").await;
        self.chooses(to).await;
        it.press("Review the change").await;
        it.see(&format!("Scale {SERVER} to {to}?")).await;
        it.see("Open connections end").await;
        it.see("shared_buffers").await;
        it.press("Scale now").await;
        self.ends("Scale compute", "The server has its new size.").await;
        assert_ne!(self.terminal.ask(psql, begun).await.unwrap(), before, "restarted");
        self.asks(psql, COUNT, "1000").await;
        self.opens("Compute", &format!(", {to}")).await;
    }

    async fn grows_storage(&self, psql: &str) {
        let it = &self.it;
        self.opens("Storage", "Size: 32 GiB").await;
        self.chooses("64 GiB").await;
        it.press("Grow storage").await;
        self.ends("Grow storage", "The storage has its new size.").await;
        self.opens("Storage", "Size: 64 GiB").await;
        self.asks(psql, COUNT, "1000").await;
    }

    async fn creates_and_drops_a_database(&self, psql: &str) {
        let (it, names) = (&self.it, "select count(*) from pg_database where datname = $$sales$$");
        self.opens("Databases", "Create a database").await;
        it.fill("name", "sales").await;
        it.press("Create").await;
        self.ends("Create database", "The database is there and takes connections.").await;
        self.asks(psql, names, "1").await;
        self.opens("Databases", "Create a database").await;
        self.until("sales").await;
        it.press("Drop sales").await;
        it.see("Drop the database sales for good?").await;
        self.confirms("confirm", "sale", "sales", "Drop the database").await;
        self.ends("Drop database", "The database and its data are gone.").await;
        self.asks(psql, names, "0").await;
    }

    /// One that counts at once and one that needs the restart, saved together.
    async fn changes_parameters(&self, psql: &str) {
        let it = &self.it;
        self.opens("Server parameters", "Values for the whole server.").await;
        self.until("Read-only").await;
        it.fill("q", "autovacuum_").await;
        it.press("Search").await;
        it.see("autovacuum_naptime").await;
        it.fill("autovacuum_naptime", "30").await;
        it.fill("autovacuum_max_workers", "4").await;
        it.press("Review changes").await;
        it.see("Review 2 changes").await;
        it.see("at once, without a restart").await;
        it.see("at the next restart").await;
        it.press("Save and restart").await;
        self.ends("Change server parameters", "The parameters are saved.").await;
        self.asks(psql, "show autovacuum_naptime", "30s").await;
        self.asks(psql, "show autovacuum_max_workers", "4").await;
    }

    async fn creates_an_extension(&self, psql: &str) {
        let it = &self.it;
        let refused = self.terminal.ask(psql, "create extension hstore").await.unwrap_err();
        assert!(!refused.is_empty(), "what is not allowed can be created by nobody");
        self.opens("Extensions", "First allow an extension").await;
        self.until("No database has one yet.").await;
        it.press_at(By::XPath("//label[starts-with(normalize-space(.), 'hstore')]")).await;
        it.press("Save list").await;
        self.ends("Change allowed extensions", "The list of allowed extensions is saved.").await;
        self.opens("Extensions", "Create in a database").await;
        it.press("Create").await;
        self.ends("Change extension", "The extension was changed in its database.").await;
        let found = "select count(*) from pg_extension where extname = $$hstore$$";
        self.asks(psql, found, "1").await;
    }

    /// The old one is refused from then on.
    async fn resets_the_password(&self, psql: &str) -> String {
        let it = &self.it;
        it.press("Go to the server").await;
        it.press("Reset password").await;
        it.see("Reset the password of").await;
        it.fill("admin_password", NEW_PASSWORD).await;
        it.fill("admin_password_confirm", NEW_PASSWORD).await;
        it.press_at(By::XPath("//main//form//button[normalize-space(.)='Reset password']")).await;
        self.ends("Reset the administrator's password", "has the new password").await;
        it.does_not_see(NEW_PASSWORD).await;
        let refused = self.terminal.ask(psql, "select 1").await.unwrap_err();
        assert!(refused.contains("password authentication failed"), "{refused}");
        let psql = with_new_password(psql);
        self.asks(&psql, COUNT, "1000").await;
        psql
    }

    /// A Burstable server may not; the page says why and what to do.
    async fn pools_connections(&self, is_roomy: bool, psql: &str) {
        let it = &self.it;
        self.opens("Connection pooling", "Built-in PgBouncer").await;
        it.see("Scale compute first.").await;
        assert!(it.is_closed("Save").await);
        if !is_roomy {
            return;
        }
        self.scales("D2ds_v5", psql).await;
        self.opens("Connection pooling", "Built-in PgBouncer").await;
        it.press_at(By::XPath("//label[.='Switch connection pooling on']")).await;
        it.press("Save").await;
        self.ends("Change connection pooling", "Connection pooling follows").await;
        self.opens("Connect", "Choose endpoint").await;
        it.press_at(By::XPath("//a[contains(., 'Pooled on port')]")).await;
        it.see("PgBouncer hands out connections by transaction.").await;
        let pooled = with_new_password(&self.printed("psql").await);
        assert_ne!(pooled, psql);
        self.asks(&pooled, COUNT, "1000").await;
    }

    async fn locks_and_unlocks(&self) {
        let it = &self.it;
        self.opens("Locks", "No lock holds").await;
        it.fill("lock_name", "keep-it").await;
        self.chooses("Delete").await;
        it.press("Add the lock").await;
        it.see("Delete is closed: The lock “keep-it” on this server protects it against deletion.")
            .await;
        assert!(it.is_closed("Delete").await);
        assert!(!it.is_closed("Restart").await, "it may be changed");
        it.press("Remove the lock keep-it").await;
        it.see("No lock holds").await;
        assert!(!it.is_closed("Delete").await);
    }

    async fn tags_and_finds(&self) {
        let it = &self.it;
        self.opens("Tags", "Names and values").await;
        it.press("Add a tag").await;
        it.fill("tag_name-0", "team").await;
        it.type_at(By::Css("input[name='tag_value']"), "sales").await;
        it.press("Save tags").await;
        it.see("Find servers").await;
        it.press("Servers").await;
        it.fill("tag", "team=other").await;
        it.press("Filter").await;
        it.see("No server matches").await;
        it.fill("tag", "team=sales").await;
        it.press("Filter").await;
        it.see("team: sales").await;
        it.press(SERVER).await;
        it.see("Can I use it?").await;
    }

    async fn stops_and_starts(&self, psql: &str) {
        let it = &self.it;
        it.press("Stop").await;
        it.see("It starts by itself seven days later").await;
        it.press("Stop now").await;
        self.ends("Stop server", "PostgreSQL is stopped").await;
        self.terminal.ask(psql, "select 1").await.unwrap_err();
        self.opens("Overview", "The server is stopped.").await;
        it.see("It starts by itself at").await;
        it.see("Start it first").await;
        for label in ["Restart", "Reset password"] {
            assert!(it.is_closed(label).await, "{label}");
        }
        for (entry, words, label) in [
            ("Compute", "Another size", "Review the change"),
            ("Storage", "Grow now", "Grow storage"),
            ("Databases", "Create a database", "Create"),
            ("Connection pooling", "Built-in PgBouncer", "Save"),
        ] {
            self.opens(entry, words).await;
            assert!(it.is_closed(label).await, "{entry}: {label}");
        }
        it.press("Start").await;
        it.press("Start now").await;
        self.ends("Start server", "PostgreSQL runs and connections are let in.").await;
        self.asks(psql, COUNT, "1000").await;
    }

    async fn reads_the_bill(&self) {
        let it = &self.it;
        self.opens("Cost", "so far").await;
        self.until("Counted now").await;
        let lines = it.read_all("table.cost-bill tbody th").await;
        for wanted in ["Compute", "Storage"] {
            assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted}: {lines:?}");
        }
        it.does_not_see("it was not stopped this month").await;
    }

    async fn deletes(&self, psql: &str) {
        let it = &self.it;
        it.press("Delete").await;
        it.see("What goes").await;
        self.confirms("name", "shop", SERVER, &format!("Delete {SERVER}")).await;
        self.ends("Delete server", "The server and its data are gone.").await;
        it.go("/servers").await;
        it.see("There are no servers yet.").await;
        assert_eq!(objects_of_servers(&self.portal.engine()).await, []);
        self.terminal.ask(psql, "select 1").await.unwrap_err();
        let faults: Vec<_> = it.complaints().await.into_iter().map(|entry| entry.message).collect();
        assert!(faults.iter().all(|it| it.contains("responded with a status of 4")), "{faults:#?}");
    }

    /// Waits on the page of an operation, which renews itself, with script and without.
    async fn ends(&self, headline: &str, outcome: &str) {
        let begin = Instant::now();
        self.it.see(headline).await;
        self.it.see("It succeeded.").await;
        self.it.see(outcome).await;
        println!("{:>6.1} s  {headline}", begin.elapsed().as_secs_f64());
    }

    /// A page of the server by its menu, from wherever the last operation left us.
    async fn opens(&self, entry: &str, words: &str) {
        if self.it.path().await.starts_with("/operations/") {
            self.it.press("Go to the server").await;
            self.it.see("Can I use it?").await;
        }
        let entry = format!("//nav[@aria-label='Pages of the server']//a[.='{entry}']");
        self.it.press_at(By::XPath(entry)).await;
        self.it.see(words).await;
    }

    /// Comes back until the monitor has looked.
    async fn until(&self, words: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while !self.it.text().await.contains(words) {
            assert!(Instant::now() < end, "never {words:?}: {}", self.it.text().await);
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.it.reload().await;
        }
    }

    /// The card with this title.
    async fn chooses(&self, title: &str) {
        let card = format!(
            "//label[contains(@class, 'card')][.//*[@class='card-title'][normalize-space(.)='{title}']]"
        );
        self.it.press_at(By::XPath(card)).await;
    }

    /// The wrong name closes the button, or is refused; the right one goes through.
    async fn confirms(&self, field: &str, wrong: &str, right: &str, button: &str) {
        let it = &self.it;
        it.fill(field, wrong).await;
        if it.has_script {
            assert!(!it.is_enabled("button[data-confirmed]").await, "{wrong}");
        } else {
            it.press(button).await;
            it.see("There is one problem.").await;
        }
        it.fill(field, right).await;
        it.press(button).await;
    }

    async fn printed(&self, name: &str) -> String {
        self.it.read(&format!("pre[aria-label='{name}'] code")).await
    }

    /// A real client; a gateway that has not read the news yet is asked again.
    async fn asks(&self, psql: &str, sql: &str, answer: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match self.terminal.ask(psql, sql).await {
                Ok(text) => return assert_eq!(text, answer, "{sql}"),
                Err(why) => assert!(Instant::now() < end, "{sql}: {why}\n{}", self.portal.tail()),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn open_size(sku: &str) -> String {
    format!("input[name='sku'][value='{sku}']:not([disabled])")
}

/// The same command in the hands of one who knows it.
fn with_new_password(psql: &str) -> String {
    format!("PGPASSWORD='{NEW_PASSWORD}' {psql}")
}
