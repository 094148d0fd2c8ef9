//! What the labels on the objects of one engine say of members.

use crate::domain::catalog::{Sku, StorageSize};
use crate::domain::ids::{HostId, MemberId, NetworkId, ServerId};
use crate::domain::names::{AdminLogin, ServerName};
use crate::domain::server::ServerSpec;
use crate::engine::{Engine, EngineError, Labels, label};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A member as the labels of its objects tell of it.
pub(super) struct Labelled {
    pub member: MemberId,
    pub server: ServerId,
    pub host: HostId,
    pub engine: Arc<dyn Engine>,
    /// Of its newest container; `None` where only volumes are left.
    pub generation: Option<i64>,
    /// Of its newest container, else of its volume; `None` where it is not understood.
    pub spec: Option<ServerSpec>,
    pub server_name: String,
    pub has_volume: bool,
    /// Whether its volume is a disk of a fixed size.
    pub is_sized: bool,
}

impl Labelled {
    /// Whether it has a container or data of its own: a helper alone carries the same labels.
    pub(super) fn is_a_member(&self) -> bool {
        self.generation.is_some() || self.has_volume || self.is_sized
    }

    /// Name of its newest container.
    pub(super) fn container(&self) -> Option<String> {
        Some(container_name(&self.member, self.generation?))
    }
}

/// What is found on one engine.
#[derive(Default)]
pub(super) struct OnHost {
    pub members: Vec<Labelled>,
    /// Virtual networks: identity, name, name on the engine.
    pub networks: Vec<(NetworkId, String, String)>,
}

fn container_name(member: &MemberId, generation: i64) -> String {
    format!("pgflex-{}-g{generation}", member.short())
}

/// Reads the labels of everything of ours on an engine.
pub(super) async fn read(host: &HostId, engine: &Arc<dyn Engine>) -> Result<OnHost, EngineError> {
    let mut members: BTreeMap<String, Labelled> = BTreeMap::new();
    let mut networks = vec![];
    for object in engine.owned().await? {
        let labels = &object.labels;
        let text = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
        if let (Some(id), "network") = (NetworkId::parse(text(label::NETWORK)), object.kind) {
            networks.push((id, text(label::NETWORK_NAME).to_owned(), object.name.clone()));
        }
        let (Some(server), Some(member)) =
            (ServerId::parse(text(label::SERVER)), MemberId::parse(text(label::MEMBER)))
        else {
            continue;
        };
        let found = members.entry(member.to_string()).or_insert_with(|| Labelled {
            member: member.clone(),
            server,
            host: host.clone(),
            engine: engine.clone(),
            generation: None,
            spec: None,
            server_name: text(label::SERVER_NAME).to_owned(),
            has_volume: false,
            is_sized: false,
        });
        match object.kind {
            "volume" => {
                found.has_volume |= object.name == format!("pgflex-{}-data", member.short());
                found.is_sized |= object.name == format!("pgflex-{}-disk", member.short());
                found.spec = found.spec.take().or_else(|| spec(labels));
            }
            "container" => found.meet(&object.name, labels),
            _ => {}
        }
    }
    Ok(OnHost { members: members.into_values().collect(), networks })
}

impl Labelled {
    /// Helpers and the pooler carry the member's labels too; only the member itself has this name.
    fn meet(&mut self, name: &str, labels: &Labels) {
        let generation = labels.get(label::GENERATION).and_then(|text| text.parse::<i64>().ok());
        let Some(generation) = generation else { return };
        let is_newer = self.generation.is_none_or(|known| generation > known);
        if is_newer && name == container_name(&self.member, generation) {
            self.generation = Some(generation);
            self.spec = spec(labels).or_else(|| self.spec.take());
        }
    }
}

/// The spec in a label. It was text on somebody's host: every part goes through its own parser.
fn spec(labels: &Labels) -> Option<ServerSpec> {
    let spec: ServerSpec = serde_json::from_str(labels.get(label::SPEC)?).ok()?;
    ServerName::parse(spec.name.as_str()).ok()?;
    AdminLogin::parse(spec.admin_login.as_str()).ok()?;
    Sku::by_name(&spec.sku)?;
    StorageSize::by_gib(spec.storage_gib)?;
    Some(spec)
}
