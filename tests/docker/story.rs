//! The main story, as a new person lives it: the printed link, the first owner, a server, psql with the
//! strings of the page, the firewall, a restart, a deletion with nothing left. With script here;
//! without it in `story_plain`.

use crate::browser::{Browser, has_browser, in_browser};
use crate::portal::{ADMIN, PASSWORD, Portal};
use crate::story_terminal::Terminal;
use crate::support::{has_engine, objects_of_servers};
use pgflex::domain::operation::OperationKind;
use pgflex::operations::kinds::steps;
use std::sync::Arc;
use thirtyfour::By;

pub const OWNER: &str = "ada@example.org";
pub const OWNER_PASSWORD: &str = "a sentence that is long enough";
const SERVER: &str = "shop-db";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_script_creates_uses_and_deletes_a_server() {
    tell("story-with-script", true).await;
}

/// The whole story on a portal of its own.
pub async fn tell(name: &'static str, has_script: bool) {
    if !has_engine() || !has_browser() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    let line = portal.wait_line("Make the first owner here");
    let link = line.split_whitespace().last().unwrap().to_owned();
    let portal = Arc::new(portal);
    let ended = in_browser(name, &portal.url(), has_script, |browser| {
        let story = Story { browser, portal: Arc::clone(&portal), terminal: Terminal::open() };
        async move { story.tell(&link).await }
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

struct Story {
    browser: Arc<Browser>,
    portal: Arc<Portal>,
    terminal: Terminal,
}

/// What the connect page printed.
struct Printed {
    psql: String,
    uri: String,
    environment: String,
}

impl Story {
    async fn tell(&self, link: &str) {
        self.becomes_owner(link).await;
        self.makes_mistakes_and_creates().await;
        let mut was_live = self.watches(OperationKind::Create, SERVER).await;
        self.looks_around().await;
        let printed = self.connects().await;
        self.closes_and_opens_the_firewall(&printed).await;
        was_live |= self.restarts(&printed).await;
        self.reads_the_activity().await;
        was_live |= self.deletes().await;
        assert!(was_live, "no operation was ever seen at work: the pages were not live");
        self.finds_nothing_left(&printed).await;
    }

    async fn becomes_owner(&self, link: &str) {
        let it = &self.browser;
        set_up_owner(it, link).await;
        it.see("There are no servers yet.").await;
        it.press_at(By::Css("details.menu summary")).await;
        it.press("Sign out").await;
        it.see("Sign in").await;
        it.go("/servers").await;
        sign_in(it, OWNER, "not the password at all").await;
        it.see("There is one problem.").await;
        sign_in(it, OWNER, OWNER_PASSWORD).await;
        it.see("There are no servers yet.").await;
        assert_eq!(it.path().await, "/servers", "sign-in leads to where one wanted to go");
    }

    async fn makes_mistakes_and_creates(&self) {
        let it = &self.browser;
        it.press("Create a server").await;
        it.see("Start from a preset").await;
        it.fill("name", "Shop DB").await;
        it.fill("admin_login", ADMIN).await;
        it.fill("admin_password", PASSWORD).await;
        it.fill("admin_password_confirm", PASSWORD).await;
        it.press("Next: Networking").await;
        it.see("There is one problem.").await;
        let error = it.read("#e-name").await;
        assert!(error.contains("a-z"), "{error}");
        assert_eq!(it.value("name").await, "Shop DB");
        assert_eq!(it.value("admin_login").await, ADMIN);
        it.fill("name", SERVER).await;
        // The password was good and is kept; it need not be typed again.
        it.press("Next: Networking").await;
        it.see("Firewall rules").await;
        it.press_at(By::XPath("//button[starts-with(normalize-space(.), 'Add my address')]")).await;
        self.sees_value("rule_start-0", "127.0.0.1").await;
        it.press("Next: Tags").await;
        it.fill("tag_name-0", "env").await;
        it.press_at(By::Css("input[name='tag_value']")).await;
        it.press("Next: Review + create").await;
        it.see("Review and create").await;
        for words in [SERVER, ADMIN, "127.0.0.1", "What happens next"] {
            it.see(words).await;
        }
        it.does_not_see(PASSWORD).await;
        it.press("Create").await;
    }

    async fn sees_value(&self, name: &str, wanted: &str) {
        assert_eq!(self.browser.value(name).await, wanted, "{name}");
    }

    /// Looks at an operation until it has succeeded, without touching the page. True when it was
    /// seen before its end.
    async fn watches(&self, kind: OperationKind, server: &str) -> bool {
        let it = &self.browser;
        it.see(&format!("{} {server}", kind.label())).await;
        if it.has_script {
            it.script("window.pgflexStory = 'the same page'").await;
        }
        let page = it.text().await;
        for step in steps(kind) {
            assert!(page.contains(step.title), "the plan lacks {:?}:\n{page}", step.title);
        }
        let was_live = !page.contains("Succeeded");
        it.see("Succeeded").await;
        if it.has_script {
            let mark = it.script("return window.pgflexStory").await;
            assert_eq!(mark, "the same page", "the page was loaded again");
        }
        let words = it.read_all("li.step .step-word").await;
        assert_eq!(words, vec!["Done"; steps(kind).len()]);
        was_live
    }

    async fn looks_around(&self) {
        let it = &self.browser;
        it.press_at(By::XPath(format!("//aside//a[normalize-space(.)='{SERVER}']"))).await;
        it.see("Can I use it?").await;
        if it.has_script {
            it.see("PostgreSQL answers queries.").await;
        } else {
            self.reloads_until("PostgreSQL answers queries.").await;
        }
        it.see("Ready").await;
        it.see("B1ms").await;
    }

    /// A page that does not renew itself without script.
    async fn reloads_until(&self, words: &str) {
        for _ in 0..60 {
            if self.browser.text().await.contains(words) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            self.browser.reload().await;
        }
        panic!("never saw {words:?}:\n{}", self.browser.text().await);
    }

    /// Takes the strings from the page and uses them as they stand.
    async fn connects(&self) -> Printed {
        let (it, terminal) = (&self.browser, &self.terminal);
        it.press("Connection strings").await;
        it.see("Get the CA certificate").await;
        let block = async |name: &str| it.read(&format!("pre[aria-label='{name}'] code")).await;
        let curl = block("command that fetches the CA certificate").await;
        terminal.run(&curl).await.unwrap_or_else(|why| panic!("{curl}: {why}"));
        let printed = Printed {
            psql: block("psql").await,
            uri: block("URI").await,
            environment: block("environment variables").await,
        };
        for command in [&printed.psql, &format!("psql \"{}\"", printed.uri), &printed.environment] {
            let answer = terminal.ask(command, "select current_user").await;
            assert_eq!(answer.as_deref(), Ok(ADMIN), "{command}");
        }
        it.press_at(By::XPath("//a[contains(., 'By name on port')]")).await;
        it.see("must resolve").await;
        let by_name = block("psql").await;
        assert_ne!(by_name, printed.psql);
        let answer =
            terminal.ask(&by_name, "select ssl from pg_stat_ssl where pid = pg_backend_pid()");
        assert_eq!(answer.await.as_deref(), Ok("t"), "{by_name}");
        printed
    }

    async fn closes_and_opens_the_firewall(&self, printed: &Printed) {
        let it = &self.browser;
        it.press("Networking").await;
        it.see("1 of at most").await;
        it.press_at(By::Css("button[aria-label^='Delete rule ']")).await;
        it.see("No rules: nobody can connect").await;
        self.sees_the_rules_in_effect().await;
        let refused = self.terminal.ask(&printed.psql, "select 1").await.unwrap_err();
        assert!(refused.contains("no firewall rule"), "{refused}");
        assert!(refused.contains("127.0.0.1"), "the client learns its address: {refused}");
        it.press("Add my address (127.0.0.1)").await;
        it.see("a rule lets it in").await;
        self.sees_the_rules_in_effect().await;
        assert_eq!(self.terminal.ask(&printed.psql, "select 1").await.as_deref(), Ok("1"));
    }

    async fn sees_the_rules_in_effect(&self) {
        match self.browser.has_script {
            true => self.browser.see("In effect on the gateway.").await,
            false => self.reloads_until("In effect on the gateway.").await,
        }
    }

    /// Clients that come during the restart wait and are let in.
    async fn restarts(&self, printed: &Printed) -> bool {
        let it = &self.browser;
        let start = "select pg_postmaster_start_time()";
        let before = self.terminal.ask(&printed.psql, start).await.unwrap();
        it.press("Restart").await;
        it.press("Restart now").await;
        let (was_live, during) = tokio::join!(
            self.watches(OperationKind::Restart, SERVER),
            self.terminal.ask(&printed.psql, "select 1")
        );
        assert_eq!(during.as_deref(), Ok("1"));
        let after = self.terminal.ask(&printed.psql, start).await.unwrap();
        assert_ne!(after, before, "PostgreSQL was started anew");
        was_live
    }

    async fn reads_the_activity(&self) {
        let it = &self.browser;
        it.press("Activity log").await;
        it.see("Who asked for what, when").await;
        let rows = it.read_all("table.activity tbody tr").await;
        let has =
            |words: &[&str]| rows.iter().any(|row| words.iter().all(|word| row.contains(word)));
        for wanted in [
            &["Create server", SERVER, OWNER][..],
            &["Restart server", SERVER, OWNER],
            &["rule", SERVER, OWNER],
            &["ign", OWNER],
        ] {
            assert!(has(wanted), "{wanted:?} is not in {rows:#?}");
        }
    }

    /// The wrong name deletes nothing; after a while the password is asked for again.
    async fn deletes(&self) -> bool {
        let it = &self.browser;
        it.press("Servers").await;
        it.press(SERVER).await;
        it.see("Can I use it?").await;
        self.portal.age_passwords().await;
        it.press("Delete").await;
        it.see("Confirm your password").await;
        it.fill("password", OWNER_PASSWORD).await;
        it.press("Go on").await;
        it.see("What goes").await;
        it.fill("name", "shop").await;
        if it.has_script {
            assert!(!it.is_enabled("button[data-confirmed]").await, "the wrong name");
        } else {
            it.press(&format!("Delete {SERVER}")).await;
            it.see("is not the name of this server").await;
        }
        it.fill("name", SERVER).await;
        it.press(&format!("Delete {SERVER}")).await;
        self.watches(OperationKind::Delete, SERVER).await
    }

    async fn finds_nothing_left(&self, printed: &Printed) {
        let it = &self.browser;
        it.go("/servers").await;
        it.see("There are no servers yet.").await;
        assert_eq!(objects_of_servers(&self.portal.engine()).await.len(), 0);
        let refused = self.terminal.ask(&printed.psql, "select 1").await.unwrap_err();
        assert!(!refused.is_empty());
        let complaints = it.complaints().await;
        let severe: Vec<_> = complaints.iter().filter(|entry| is_fault(&entry.message)).collect();
        assert!(severe.is_empty(), "{severe:#?}");
    }
}

/// A refused form is an answer with 4xx, which the browser's log calls an error; it is none.
fn is_fault(message: &str) -> bool {
    message.contains("/static/") || !message.contains("the server responded with a status of 4")
}

/// Makes the first owner with the printed link.
pub async fn set_up_owner(browser: &Browser, link: &str) {
    browser.go(link).await;
    browser.see("Make the first account.").await;
    browser.fill("login", OWNER).await;
    browser.fill("password", OWNER_PASSWORD).await;
    browser.fill("password_again", OWNER_PASSWORD).await;
    browser.press("Create the owner account").await;
}

pub async fn sign_in(browser: &Browser, login: &str, password: &str) {
    browser.fill("login", login).await;
    browser.fill("password", password).await;
    browser.press("Sign in").await;
}
