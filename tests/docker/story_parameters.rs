//! A person looks for parameters, changes some, makes a mistake, restarts, and creates an extension: with script
//! and without it.

use crate::browser::{Browser, has_browser, in_browser};
use crate::portal::Portal;
use crate::story::set_up_owner;
use crate::support::has_engine;
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::OperationStatus;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_script_changes_parameters_and_extensions() {
    tell("parameters-with-script", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_script_changes_parameters_and_extensions() {
    tell("parameters-without-script", false).await;
}

async fn tell(name: &'static str, has_script: bool) {
    if !has_engine() || !has_browser() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    let line = portal.wait_line("Make the first owner here");
    let link = line.split_whitespace().last().unwrap().to_owned();
    let create = portal.submit_create("shop-db").await;
    let created = portal.wait_settled(&create).await;
    assert_eq!(created.status, OperationStatus::Succeeded);
    let ended = in_browser(name, &portal.url(), has_script, |it| async move {
        set_up_owner(&it, &link).await;
        parameters(&it, &created.server_id).await;
        extensions(&it, &created.server_id).await;
        assert!(it.complaints().await.is_empty());
    })
    .await;
    let log = portal.log();
    portal.finish().await;
    if let Err(failure) = ended {
        println!("the log of the portal:\n{log}");
        std::panic::resume_unwind(failure);
    }
}

/// Comes back until the monitor has looked.
async fn goes_where(it: &Arc<Browser>, path: &str, words: &str) {
    for _ in 0..200 {
        it.go(path).await;
        if it.text().await.contains(words) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("{path} never said {words:?}: {}", it.text().await);
}

async fn parameters(it: &Arc<Browser>, id: &ServerId) {
    let page = format!("/servers/{id}/parameters");
    goes_where(it, &page, "Read-only").await;
    it.fill("q", "work_mem").await;
    it.press("Search").await;
    it.see("autovacuum_work_mem").await;
    it.fill("work_mem", "lots").await;
    if it.has_script {
        it.see("1 unsaved change on this page").await;
    } else {
        it.does_not_see("unsaved change").await;
    }
    it.press("Review changes").await;
    it.see("One value cannot be saved.").await;
    it.fill("work_mem", "16384").await;
    it.press("Save only").await;
    it.see("The parameters are saved.").await;
    goes_where(it, &format!("{page}?tab=modified"), "Sets the maximum memory to be used for query")
        .await;
    it.go(&format!("{page}?q=max_locks")).await;
    it.fill("max_locks_per_transaction", "100").await;
    it.press("Review changes").await;
    it.see("at the next restart").await;
    it.press("Save only").await;
    it.see("The parameters are saved.").await;
    goes_where(it, &page, "A restart is needed.").await;
    it.press("Reset all to default …").await;
    it.see("Review 2 changes").await;
    it.press("Save and restart").await;
    it.see("The parameters are saved.").await;
    goes_where(it, &format!("{page}?tab=modified"), "Nothing is modified").await;
}

async fn extensions(it: &Arc<Browser>, id: &ServerId) {
    let page = format!("/servers/{id}/extensions");
    goes_where(it, &page, "No database has one yet.").await;
    // The driver does not scroll what is in the window and under the bar.
    it.resize(1280, 4000).await;
    it.press_at(thirtyfour::By::Id("x-hstore")).await;
    it.press("Save list").await;
    it.see("The list of allowed extensions is saved.").await;
    it.go(&page).await;
    it.press("Create").await;
    it.see("The extension was changed in its database.").await;
    goes_where(it, &page, "Drop …").await;
    it.press("Drop hstore from postgres").await;
    it.fill("name", "hstore").await;
    it.press("Drop hstore").await;
    it.see("The extension was changed in its database.").await;
    goes_where(it, &page, "No database has one yet.").await;
}
