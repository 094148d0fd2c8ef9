//! The main story in a browser without script: nothing in the portal needs it.

use crate::story::tell;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_script_creates_uses_and_deletes_a_server() {
    tell("story-without-script", false).await;
}
