//! What becomes of containers, as the engine tells it while it happens.

use super::errors::explain;
use super::{DockerEngine, label};
use crate::engine::{EngineError, EngineEvent, EventKind, Labels};
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use std::collections::HashMap;
use tokio::sync::mpsc;

impl DockerEngine {
    pub(super) async fn follow_events(
        &self,
        to: &mpsc::Sender<EngineEvent>,
    ) -> Result<(), EngineError> {
        let ours = format!("{}={}", label::INSTALL, self.install_id);
        let filters = HashMap::from([("type", vec!["container"]), ("label", vec![ours.as_str()])]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let mut events = self.client().await?.events(Some(options));
        loop {
            let message = tokio::select! {
                () = to.closed() => return Ok(()),
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
    let mut labels: Labels = message.actor?.attributes?.into_iter().collect();
    let container = labels.remove("name")?;
    Some(EngineEvent { what, container, labels })
}
