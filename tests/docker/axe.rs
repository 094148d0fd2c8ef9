//! Every page of the portal, and its forms with errors: no serious finding of axe-core in light and in
//! dark, nothing that scrolls sideways on a phone or on a desk, nothing in the browser's log.
//! `PGFLEX_TEST_SCREENS=folder` keeps a picture of each.

use crate::axe_pages::{Page, World, anonymous, assert_no_faults, owners, page};
use crate::axe_world::{LONG_NAME, prepare};
use crate::browser::{Browser, has_browser, in_browser};
use crate::portal::Portal;
use crate::story::{OWNER, OWNER_PASSWORD, set_up_owner, sign_in};
use crate::support::{has_engine, variable};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use thirtyfour::By;

/// Runs axe-core and gives back what it found, in short.
const RUN: &str = r#"
const done = arguments[arguments.length - 1];
axe.run({ resultTypes: ["violations"] }).then(
  (found) => done(found.violations.map((one) => ({
    impact: one.impact, id: one.id, help: one.help,
    where: one.nodes.slice(0, 4).map((node) => `${node.target} ${node.failureSummary.replace(/\s+/g, " ")}`),
  }))),
  (error) => done([{ impact: "critical", id: "axe", help: String(error), where: [] }]));
"#;

/// What makes the page wider than the window, if anything does.
const TOO_WIDE: &str = r#"
const root = document.documentElement;
if (root.scrollWidth <= innerWidth) return null;
const scrolls = (element) => element && (getComputedStyle(element).overflowX !== "visible" || scrolls(element.parentElement));
const wide = [...document.body.querySelectorAll("*")].filter((element) =>
  (element.getBoundingClientRect().right > innerWidth + 1 || element.scrollWidth > innerWidth) && !scrolls(element));
return `${root.scrollWidth} of ${innerWidth}: ` + wide.slice(-3).map((element) =>
  `<${element.tagName.toLowerCase()} class="${element.className}"> ${element.textContent.trim().slice(0, 40)}`).join("; ");
"#;

const WIDE: (u32, u32) = (1280, 900);
const TABLET: (u32, u32) = (1024, 768);
const PHONE: (u32, u32) = (390, 844);

#[tokio::test(flavor = "multi_thread")]
async fn every_page_can_be_read_by_everybody_everywhere() {
    let Some(axe) = variable("PGFLEX_TEST_AXE") else {
        println!("SKIPPED: PGFLEX_TEST_AXE is not set");
        return;
    };
    if !has_engine() || !has_browser() {
        return;
    }
    let source = std::fs::read_to_string(axe).unwrap();
    let mut portal = Portal::new().await;
    portal.start(&[]);
    let line = portal.wait_line("Make the first owner here");
    let link = line.split_whitespace().last().unwrap().to_owned();
    let shared = Arc::new(tokio::sync::Mutex::new(portal));
    let url = shared.lock().await.url();
    let ended = in_browser("axe", &url, true, |browser| {
        let walk = Walk { browser, findings: RefCell::default(), pictures: pictures() };
        let shared = Arc::clone(&shared);
        async move { walk.everything(&source, &link, &mut *shared.lock().await).await }
    })
    .await;
    let portal = Arc::into_inner(shared).unwrap().into_inner();
    let log = portal.log();
    portal.finish().await;
    if let Err(failure) = ended {
        println!("the log of the portal:\n{log}");
        std::panic::resume_unwind(failure);
    }
}

fn pictures() -> Option<PathBuf> {
    let folder = PathBuf::from(variable("PGFLEX_TEST_SCREENS")?);
    std::fs::create_dir_all(&folder).unwrap();
    Some(folder)
}

struct Walk {
    browser: Arc<Browser>,
    /// Gathered, so that one run tells all.
    findings: RefCell<Vec<String>>,
    pictures: Option<PathBuf>,
}

impl Walk {
    async fn everything(&self, source: &str, link: &str, portal: &mut Portal) {
        let it = &self.browser;
        it.cdp("Page.enable", json!({})).await;
        it.cdp("Page.addScriptToEvaluateOnNewDocument", json!({"source": source})).await;
        self.visits(&page("setup", link)).await;
        self.visits(&page("sign-in-before-setup", "/sign-in")).await;
        it.go(link).await;
        it.press("Create the owner account").await;
        it.see("problem").await;
        self.looks("setup-errors").await;
        set_up_owner(it, link).await;
        it.see("There are no servers yet.").await;
        for (name, path) in [
            ("empty-servers", "/servers"),
            ("empty-operations", "/operations"),
            ("empty-activity", "/activity"),
        ] {
            self.visits(&page(name, path)).await;
        }
        let mut world = prepare(portal).await;
        world.draft = self.drafts().await;
        self.forms(&world, portal).await;
        for page in owners(&world) {
            self.visits(&page).await;
        }
        it.press_at(By::Css("details.menu summary")).await;
        self.looks("menu").await;
        it.press("Sign out").await;
        for page in anonymous(&world) {
            self.visits(&page).await;
        }
        sign_in_wrongly(it).await;
        self.looks("sign-in-errors").await;
        let findings = self.findings.borrow();
        assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
        assert_no_faults(portal);
    }

    /// A creation that is complete but for the last button.
    async fn drafts(&self) -> String {
        let it = &self.browser;
        it.go("/servers/create").await;
        it.press("Next: Networking").await;
        it.see("problems.").await;
        self.looks("create-errors").await;
        it.fill("name", &LONG_NAME.replace('w', "v")).await;
        it.fill("admin_login", crate::portal::ADMIN).await;
        it.fill("admin_password", crate::portal::PASSWORD).await;
        it.fill("admin_password_confirm", crate::portal::PASSWORD).await;
        it.press("Next: Networking").await;
        it.press_at(By::XPath("//button[starts-with(normalize-space(.), 'Add my address')]")).await;
        it.press("Add 0.0.0.0 - 255.255.255.255").await;
        it.press("Next: Tags").await;
        it.fill("tag_name-0", "environment").await;
        it.press("Next: Review + create").await;
        it.see("Review and create").await;
        let path = it.path().await;
        path.split("draft=").nth(1).unwrap().split('&').next().unwrap().to_owned()
    }

    /// Forms that come back with errors.
    async fn forms(&self, world: &World, portal: &Portal) {
        let it = &self.browser;
        let server = format!("/servers/{}", world.server);
        it.go(&format!("{server}/networking")).await;
        it.fill("rule_name", "office").await;
        it.fill("start", "10.0.0.300").await;
        it.press("Add rule").await;
        it.see("problem").await;
        self.looks("networking-errors").await;
        it.go(&format!("{server}/networking/everyone")).await;
        it.press("Allow every address").await;
        it.see("problem").await;
        self.looks("everyone-errors").await;
        it.go("/users").await;
        it.press("Make the link").await;
        it.see("problem").await;
        self.looks("users-errors").await;
        it.fill("note", "Grace").await;
        it.press("Make the link").await;
        it.see("/invite/").await;
        self.looks("users-invited").await;
        it.go("/account").await;
        it.press("Change password").await;
        it.see("problem").await;
        self.looks("account-errors").await;
        portal.age_passwords().await;
        it.go(&format!("{server}/delete")).await;
        it.fill("password", "wrong").await;
        it.press("Go on").await;
        it.see("problem").await;
        self.looks("confirm-errors").await;
        it.fill("password", OWNER_PASSWORD).await;
        it.press("Go on").await;
        it.see("What goes").await;
        it.fill("name", "wrong").await;
        it.script("document.querySelector('[data-confirmed]').disabled = false").await;
        it.press(&format!("Delete {LONG_NAME}")).await;
        it.see("is not the name of this server").await;
        self.looks("delete-errors").await;
        it.go("/account/second-factor").await;
        it.press("Begin").await;
        it.see("Type the code that it shows").await;
        self.looks("second-factor-key").await;
        it.fill("code", "000000").await;
        it.press("Switch on").await;
        it.see("problem").await;
        self.looks("second-factor-errors").await;
        self.forms_of_the_server(&server).await;
        self.locks(&format!("/servers/{}", world.stopped)).await;
    }

    async fn forms_of_the_server(&self, server: &str) {
        let it = &self.browser;
        for (page, button) in [
            ("databases", "Create"),
            ("databases/drop?name=sales%2F2027%20%3Cwest%3E", "Drop the database"),
            ("compute", "Review the change"),
            ("storage", "Grow storage"),
            ("locks", "Add the lock"),
        ] {
            it.go(&format!("{server}/{page}")).await;
            it.script("document.querySelectorAll('[data-confirmed]').forEach((it) => it.disabled = false)")
                .await;
            it.press(button).await;
            it.see("problem").await;
            let name = page.split('?').next().unwrap().replace('/', "-");
            self.looks(&format!("{name}-errors")).await;
        }
        it.go(&format!("{server}/reset-password")).await;
        it.fill("admin_password", "short").await;
        it.press_at(By::XPath("//main//form//button[normalize-space(.)='Reset password']")).await;
        it.see("problem").await;
        self.looks("reset-password-errors").await;
        it.go(&format!("{server}/tags")).await;
        it.type_at(By::Css("input[name='tag_value']"), "a value without a name").await;
        it.press("Add a tag").await;
        it.see("Not saved yet.").await;
        self.looks("tags-unsaved").await;
        it.press_at(By::XPath("//main//button[.='Save tags'][not(@aria-hidden)]")).await;
        it.see("problem").await;
        self.looks("tags-errors").await;
        it.go(&format!("{server}/parameters?q=autovacuum_")).await;
        it.fill("autovacuum_naptime", "never").await;
        it.fill("autovacuum_max_workers", "4").await;
        self.looks("parameters-edited").await;
        it.press("Review changes").await;
        it.see("One value cannot be saved.").await;
        self.looks("parameters-review-errors").await;
    }

    /// Pages of a server that nobody may change.
    async fn locks(&self, server: &str) {
        let it = &self.browser;
        it.go(&format!("{server}/locks")).await;
        it.fill("lock_name", &"w".repeat(64)).await;
        it.fill("note", &"w".repeat(200)).await;
        it.press_at(By::Css("input[value='ReadOnly']")).await;
        it.press("Add the lock").await;
        it.see("Read-only.").await;
        self.looks("locks-held").await;
        for tab in ["tags", "compute", "start"] {
            self.visits(&page(&format!("locked-{tab}"), format!("{server}/{tab}"))).await;
        }
        it.go(&format!("{server}/locks")).await;
        it.press(&format!("Remove the lock {}", "w".repeat(64))).await;
        it.see("is removed.").await;
    }

    async fn visits(&self, page: &Page) {
        self.browser.go(&page.path).await;
        self.looks(&page.name).await;
    }

    /// Looks at the page that is shown, in each of its forms.
    async fn looks(&self, name: &str) {
        let it = &self.browser;
        it.see("pgflex").await;
        it.dark(false).await;
        self.runs_axe(&format!("{name}, light")).await;
        self.measures(&format!("{name}, wide")).await;
        self.shoots(name, "wide").await;
        it.dark(true).await;
        self.runs_axe(&format!("{name}, dark")).await;
        self.shoots(name, "dark").await;
        it.dark(false).await;
        it.resize(TABLET.0, TABLET.1).await;
        self.measures(&format!("{name}, tablet")).await;
        it.resize(PHONE.0, PHONE.1).await;
        self.measures(&format!("{name}, phone")).await;
        self.shoots(name, "phone").await;
        it.resize(WIDE.0, WIDE.1).await;
        self.reads_the_log(name).await;
    }

    async fn runs_axe(&self, name: &str) {
        let found = self.browser.script_with_end(RUN).await;
        for one in found.as_array().unwrap() {
            let text = format!(
                "{name}: {} {} ({}) {}",
                one["impact"], one["id"], one["help"], one["where"]
            );
            match one["impact"].as_str() {
                Some("serious" | "critical") => self.finds(text),
                _ => println!("moderate: {text}"),
            }
        }
    }

    async fn measures(&self, name: &str) {
        if let Value::String(what) = self.browser.script(TOO_WIDE).await {
            self.finds(format!("{name}: scrolls sideways, {what}"));
        }
    }

    async fn shoots(&self, name: &str, form: &str) {
        if let Some(folder) = &self.pictures {
            self.browser.shoot(&folder.join(format!("{name}-{form}.png"))).await;
        }
    }

    /// Anything there is a finding, but the status of the page itself, which may be a refusal.
    async fn reads_the_log(&self, name: &str) {
        let path = self.browser.path().await;
        for entry in self.browser.complaints().await {
            let is_status = entry.message.contains("the server responded with a status of 4")
                && entry.message.contains(path.split('?').next().unwrap());
            if !is_status {
                self.finds(format!(
                    "{name}: the browser's log says {}: {}",
                    entry.level, entry.message
                ));
            }
        }
    }

    fn finds(&self, text: String) {
        println!("found: {text}");
        self.findings.borrow_mut().push(text);
    }
}

async fn sign_in_wrongly(browser: &Browser) {
    browser.go("/sign-in").await;
    sign_in(browser, OWNER, "not the password").await;
    browser.see("problem").await;
}
