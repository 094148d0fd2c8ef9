//! A real browser, driven as a person would: headless Chromium over its own driver, with a profile that
//! nothing else has seen. What a person reads and presses is what these verbs name.
//!
//! Each browser has a driver of its own, in the process group of the tests: an interrupt ends all three.

use crate::support::variable;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::any::Any;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thirtyfour::prelude::*;
use thirtyfour::{BrowserLogEntry, ChromiumLikeCapabilities, LoggingPrefsLogLevel};

/// Nothing is waited for longer than this. It is no promise: a machine under load is slow.
const PATIENCE: Duration = Duration::from_secs(60);

const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// One browser with one window.
pub struct Browser {
    driver: WebDriver,
    /// Of the driver; its address is kept for the end.
    process: Child,
    port: u16,
    profile: PathBuf,
    /// Where the portal is; paths are relative to it.
    origin: String,
    pub has_script: bool,
    /// Of the test; names its screenshots.
    name: &'static str,
}

/// Whether the test command made a browser ready; says so when not.
pub fn has_browser() -> bool {
    let there = variable("PGFLEX_TEST_BROWSER").is_some();
    if !there {
        println!("SKIPPED: PGFLEX_TEST_BROWSER is not set");
    }
    there
}

/// Folder for what tests leave to look at.
pub fn screens() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("screens");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl Browser {
    pub async fn open(name: &'static str, origin: &str, has_script: bool) -> Self {
        let profile =
            std::env::temp_dir().join(format!("pgflex-browser-{}", pgflex::clock::new_uuid()));
        let (process, port) = start_driver();
        let address = format!("http://127.0.0.1:{port}");
        let wanted = capabilities(&profile, has_script);
        let driver = match WebDriver::new(address, wanted).await {
            Ok(driver) => driver,
            Err(error) => {
                end_driver(process);
                panic!("Chromium does not start: {error}")
            }
        };
        let origin = origin.to_owned();
        let browser = Self { driver, process, port, profile, origin, has_script, name };
        browser.resize(1280, 900).await;
        browser
    }

    /// The size of the page itself, also below what a window can be.
    pub async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    pub async fn dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        // Without motion, or colours on their way from one scheme to the other would be measured.
        let features = json!({"features": [
            {"name": "prefers-color-scheme", "value": value},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.cdp("Emulation.setEmulatedMedia", features).await;
    }

    pub async fn cdp(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.unwrap()
    }

    pub async fn go(&self, path: &str) {
        let url = if path.starts_with('/') { self.origin.clone() + path } else { path.to_owned() };
        self.driver.goto(&url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Path and query of the page that is shown.
    pub async fn path(&self) -> String {
        let url = self.driver.current_url().await.unwrap();
        url.as_str().strip_prefix(&self.origin).unwrap_or(url.as_str()).to_owned()
    }

    pub async fn reload(&self) {
        self.driver.refresh().await.unwrap();
    }

    /// The page as it is read.
    pub async fn text(&self) -> String {
        self.eventually("a page", async || {
            self.driver.find(By::Tag("body")).await.ok()?.text().await.ok()
        })
        .await
    }

    /// Waits until the page says so.
    pub async fn see(&self, words: &str) {
        self.eventually(words, async || {
            let body = self.driver.find(By::Tag("body")).await.ok()?;
            body.text().await.ok()?.contains(words).then_some(())
        })
        .await;
    }

    pub async fn does_not_see(&self, words: &str) {
        let text = self.text().await;
        assert!(!text.contains(words), "the page says {words:?}:\n{text}");
    }

    /// Presses a button or a link by what it says, or by what it is called for readers.
    pub async fn press(&self, label: &str) {
        assert!(!label.contains('"'), "{label}");
        let what = format!(
            "//*[self::a or self::button or self::summary][normalize-space(.)=\"{label}\" or @aria-label=\"{label}\"]"
        );
        self.press_at(By::XPath(what)).await;
    }

    /// Presses the first of these that can be pressed.
    pub async fn press_at(&self, by: By) {
        let what = format!("something to press at {by:?}");
        self.eventually(&what, async || {
            for element in self.driver.find_all(by.clone()).await.ok()? {
                if element.is_clickable().await.unwrap_or(false) && element.click().await.is_ok() {
                    return Some(());
                }
            }
            None
        })
        .await;
    }

    /// Types into the field of this name in the forms, in the place of what is there.
    pub async fn fill(&self, name: &str, value: &str) {
        self.type_at(By::Id(format!("f-{name}")), value).await;
    }

    /// The same for a field that is found in another way.
    pub async fn type_at(&self, by: By, value: &str) {
        self.eventually(&format!("a field at {by:?}"), async || {
            let field = self.driver.find(by.clone()).await.ok()?;
            field.clear().await.ok()?;
            field.send_keys(value).await.ok()
        })
        .await;
    }

    pub async fn value(&self, name: &str) -> String {
        let by = By::Id(format!("f-{name}"));
        self.eventually(&format!("the field {name}"), async || {
            self.driver.find(by.clone()).await.ok()?.value().await.ok().flatten()
        })
        .await
    }

    /// The text of one element.
    pub async fn read(&self, css: &str) -> String {
        self.eventually(css, async || self.driver.find(By::Css(css)).await.ok()?.text().await.ok())
            .await
    }

    /// The texts of all that fit, which may be none.
    pub async fn read_all(&self, css: &str) -> Vec<String> {
        self.eventually(css, async || {
            let mut texts = vec![];
            for element in self.driver.find_all(By::Css(css)).await.ok()? {
                texts.push(element.text().await.ok()?);
            }
            Some(texts)
        })
        .await
    }

    pub async fn is_enabled(&self, css: &str) -> bool {
        self.driver.find(By::Css(css)).await.unwrap().is_enabled().await.unwrap()
    }

    /// Whether the page shows the button of this label and nobody can press it.
    pub async fn is_closed(&self, label: &str) -> bool {
        let by = By::XPath(format!("//button[@disabled][normalize-space(.)='{label}']"));
        !self.driver.find_all(by).await.unwrap().is_empty()
    }

    /// Runs script in the page, which the page's own policy does not forbid to a driver.
    pub async fn script(&self, text: &str) -> Value {
        self.driver.execute(text, vec![]).await.unwrap().json().clone()
    }

    /// Script that calls the function that is its last argument.
    pub async fn script_with_end(&self, text: &str) -> Value {
        self.driver.execute_async(text, vec![]).await.unwrap().json().clone()
    }

    /// What the browser complained of since it was asked last: errors, and what the policy forbade.
    pub async fn complaints(&self) -> Vec<BrowserLogEntry> {
        self.driver.browser_log().await.unwrap()
    }

    /// The whole page, not only what fits into the window.
    pub async fn shoot(&self, file: &Path) {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.cdp("Page.captureScreenshot", whole).await;
        let data = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, data).unwrap();
    }

    /// Asks again and again; at the end of patience the picture is kept and the page's text told.
    async fn eventually<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            if Instant::now() > end {
                let path = self.path().await;
                let body = self.driver.find(By::Tag("body")).await;
                let text = match body {
                    Ok(body) => body.text().await.unwrap_or_default(),
                    Err(error) => error.to_string(),
                };
                panic!("{path} never showed {what}; it says:\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it after a test, with a picture of the last page when the test failed.
    pub async fn close(self, failed: bool) {
        if failed {
            let file = screens().join(format!("{}.png", self.name));
            if self.driver.screenshot(&file).await.is_ok() {
                println!("The last page is in {}", file.display());
            }
        }
    }
}

impl Drop for Browser {
    /// Without the async client, so that it also works while a test fails.
    fn drop(&mut self) {
        let session = self.driver.session_id().to_string();
        let _ = self.driver.clone().leak();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = write!(
                stream,
                "DELETE /session/{session} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
                self.port
            );
            let _ = stream.read_to_end(&mut vec![]);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// The driver chooses its port and says which.
fn start_driver() -> (Child, u16) {
    let mut process = Command::new("chromedriver")
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver starts");
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    // What it prints later must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    let Some(port) = port else {
        end_driver(process);
        panic!("chromedriver did not say its port")
    };
    (process, port)
}

fn end_driver(mut process: Child) {
    let _ = process.kill();
    let _ = process.wait();
}

fn capabilities(profile: &Path, has_script: bool) -> thirtyfour::ChromeCapabilities {
    let mut wanted = DesiredCapabilities::chrome();
    for flag in FLAGS {
        wanted.add_arg(flag).unwrap();
    }
    wanted.add_arg(&format!("--user-data-dir={}", profile.display())).unwrap();
    wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
    if !has_script {
        let off = json!({"profile.managed_default_content_settings.javascript": 2});
        wanted.add_experimental_option("prefs", off).unwrap();
    }
    wanted
}

/// Runs a test with a browser and closes it, whatever happened. The failure is for the caller, who has
/// things of his own to clean up.
pub async fn in_browser<W: Future<Output = ()>>(
    name: &'static str,
    origin: &str,
    has_script: bool,
    test: impl FnOnce(Arc<Browser>) -> W,
) -> Result<(), Box<dyn Any + Send>> {
    let browser = Arc::new(Browser::open(name, origin, has_script).await);
    let ended = AssertUnwindSafe(test(Arc::clone(&browser))).catch_unwind().await;
    if let Some(browser) = Arc::into_inner(browser) {
        browser.close(ended.is_err()).await;
    }
    ended
}
