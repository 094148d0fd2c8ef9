//! What becomes of containers, as the engine tells it while it happens.

use super::errors::{explain, within};
use super::{DockerEngine, label};
use crate::engine::{EngineError, EngineEvent, EventKind, Labels};
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two questions whether the engine is still there. A host that lost its power ends no connection, and an
/// hour without an event looks just the same.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// For its answer.
const ANSWER: Duration = Duration::from_secs(3);

impl DockerEngine {
    pub(super) async fn follow_events(
        &self,
        to: &mpsc::Sender<EngineEvent>,
    ) -> Result<(), EngineError> {
        let ours = format!("{}={}", label::INSTALL, self.install_id);
        let filters = HashMap::from([("type", vec!["container"]), ("label", vec![ours.as_str()])]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let client = self.client().await?;
        let mut events = client.events(Some(options));
        let is_there = async {
            loop {
                tokio::time::sleep(ASK_EVERY).await;
                if let Err(error) = within(ANSWER, "the engine", client.ping()).await {
                    return error;
                }
            }
        };
        let mut is_there = std::pin::pin!(is_there);
        loop {
            let message = tokio::select! {
                () = to.closed() => return Ok(()),
                error = &mut is_there => return Err(error),
                message = events.next() => message,
            };
            let Some(message) = message else {
                return Err(EngineError::Silent("its list of events ended".into()));
            };
            let message = message.map_err(|error| explain("the engine's events", error))?;
            if let Some(event) = read(message)
                && to.send(event).await.is_err()
            {
                return Ok(());
            }
        }
    }
}

fn read(message: EventMessage) -> Option<EngineEvent> {
    let what = match message.action.as_deref()? {
        "start" => EventKind::Started,
        "die" => EventKind::Died,
        "destroy" => EventKind::Removed,
        "pause" => EventKind::Paused,
        "unpause" => EventKind::Unpaused,
        _ => return None,
    };
    let actor = message.actor?;
    let mut labels: Labels = actor.attributes?.into_iter().collect();
    let container = labels.remove("name")?;
    Some(EngineEvent { what, id: actor.id?, container, labels })
}
