//! What the monitor would have seen of the server whose pages are measured, and a virtual network.

use crate::portal::Portal;
use pgflex::clock::new_id;
use pgflex::domain::ids::{NetworkId, ServerId};
use pgflex::domain::parameters::units::Unit;
use pgflex::domain::parameters::{self, Catalogue, Context, Kind, Parameter};
use pgflex::domain::virtual_network::{NetworkState, VirtualNetwork};
use pgflex::store::Record;

/// As many as PostgreSQL 17 tells.
const PARAMETERS: usize = 390;

pub async fn fill(portal: &Portal, server: &ServerId) -> anyhow::Result<NetworkId> {
    let now = portal.clock.now();
    let seen = [(server.clone(), catalogue())];
    portal.store.observe_servers(now, parameters::OBSERVATION, &seen).await?;
    let network = VirtualNetwork {
        id: new_id(NetworkId::parse),
        name: "apps".into(),
        range: "10.20.0.0/24".parse()?,
        state: NetworkState::Active,
        note: String::new(),
        created_at: now,
    };
    let mut tx = portal.store.begin_write(now).await?;
    tx.insert_network(&network).await?;
    tx.commit(Record::Nothing("seeded")).await?;
    Ok(network.id)
}

fn catalogue() -> Catalogue {
    let one = |at: usize| Parameter {
        name: format!("parameter_number_{at:03}"),
        value: format!("{}", at * 8),
        default: "64".into(),
        unit: Unit::None,
        kind: Kind::Text,
        context: Context::Session,
        category: "Resource Usage / Memory".into(),
        description: "Sets what a description of PostgreSQL of usual length says that it sets."
            .into(),
        min: None,
        max: None,
        choices: vec![],
        is_pending: false,
    };
    Catalogue { parameters: (0..PARAMETERS).map(one).collect() }
}
