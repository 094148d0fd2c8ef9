//! The second factor in a browser, with script and without: set up with the key from the page, asked for at
//! sign-in, a recovery code in its place.

use crate::browser::{Browser, has_browser, in_browser};
use crate::portal::Portal;
use crate::story::{OWNER, OWNER_PASSWORD, set_up_owner, sign_in};
use crate::support::has_engine;
use pgflex::clock::{Clock, SystemClock};
use pgflex::secrets::totp;
use thirtyfour::By;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_with_script() {
    tell("second-factor-with-script", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_without_script() {
    tell("second-factor-without-script", false).await;
}

async fn tell(name: &'static str, has_script: bool) {
    if !has_engine() || !has_browser() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    let line = portal.wait_line("Make the first owner here");
    let link = line.split_whitespace().last().unwrap().to_owned();
    let ended = in_browser(name, &portal.url(), has_script, |browser| async move {
        story(&browser, &link).await;
    })
    .await;
    let log = portal.log();
    portal.finish().await;
    if let Err(failure) = ended {
        println!("the log of the portal:\n{log}");
        std::panic::resume_unwind(failure);
    }
}

async fn story(it: &Browser, link: &str) {
    set_up_owner(it, link).await;
    it.see("There are no servers yet.").await;
    it.go("/account").await;
    it.press_at(By::LinkText("Set it up")).await;
    it.press("Begin").await;
    it.see("Type the code that it shows").await;
    let key = from_base32(&it.read(".factor-key .copy-text").await);
    it.fill("code", &code(&key)).await;
    it.press("Switch on").await;
    it.see("They are shown only now").await;
    let codes = it.read(".code-block .copy-text").await;
    let recovery = codes.lines().next().unwrap().to_owned();
    sign_out(it).await;

    it.go("/hosts").await;
    sign_in(it, OWNER, OWNER_PASSWORD).await;
    it.see("Enter the code").await;
    it.go("/servers").await;
    it.see("to your PostgreSQL servers").await;
    it.go("/hosts").await;
    sign_in(it, OWNER, OWNER_PASSWORD).await;
    it.fill("code", "000000").await;
    it.press("Sign in").await;
    it.see("This code does not count.").await;
    // The code of the set-up is used up: the next one comes within half a minute.
    it.fill("code", &next_code(&key).await).await;
    it.press("Sign in").await;
    it.see("Hosts").await;
    assert_eq!(it.path().await, "/hosts", "sign-in leads to where one wanted to go");
    sign_out(it).await;

    sign_in(it, OWNER, OWNER_PASSWORD).await;
    it.fill("code", &recovery.to_lowercase()).await;
    it.press("Sign in").await;
    it.see("There are no servers yet.").await;
    it.go("/account/second-factor").await;
    it.see("9 recovery codes left").await;
}

async fn sign_out(it: &Browser) {
    it.go("/account").await;
    it.press_at(By::Css("details.menu summary")).await;
    it.press("Sign out").await;
    it.see("You are signed out.").await;
}

fn code(key: &[u8]) -> String {
    totp::current_code(key, SystemClock.now())
}

async fn next_code(key: &[u8]) -> String {
    let used = code(key);
    loop {
        let now = code(key);
        if now != used {
            return now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

fn from_base32(text: &str) -> Vec<u8> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| format!("{:05b}", LETTERS.find(c).unwrap()))
        .collect();
    bits.as_bytes()
        .chunks_exact(8)
        .map(|eight| u8::from_str_radix(std::str::from_utf8(eight).unwrap(), 2).unwrap())
        .collect()
}
