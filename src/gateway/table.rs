//! The routes as the data path looks them up. A table never changes: a new one takes its place.

use crate::domain::ids::ServerId;
use crate::domain::route::{Route, RouteSnapshot, Service};
use std::collections::HashMap;
use std::sync::Arc;

/// How a client named the server it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By connecting to the server's own port.
    Port(u16),
    /// By the name in TLS on the shared port.
    Name(String),
}

/// All routes of one generation.
#[derive(Debug, Default)]
pub struct Table {
    pub generation: i64,
    by_port: HashMap<u16, Arc<Route>>,
    by_name: HashMap<String, Arc<Route>>,
    by_server: HashMap<(ServerId, Service), Arc<Route>>,
}

impl Table {
    pub fn new(snapshot: RouteSnapshot) -> Self {
        let mut table = Self { generation: snapshot.generation, ..Self::default() };
        for route in snapshot.routes.into_iter().map(Arc::new) {
            table.by_port.insert(route.port, route.clone());
            if let Some(endpoint) = &route.endpoint {
                table.by_name.insert(endpoint.clone(), route.clone());
            }
            table.by_server.insert((route.server_id.clone(), route.service), route);
        }
        table
    }

    pub fn find(&self, way: &Way) -> Option<&Arc<Route>> {
        match way {
            Way::Port(port) => self.by_port.get(port),
            Way::Name(name) => self.by_name.get(name),
        }
    }

    /// The route to one of a server's programs.
    pub fn service(&self, key: &(ServerId, Service)) -> Option<&Arc<Route>> {
        self.by_server.get(key)
    }

    /// Every dedicated port with its server's name.
    pub fn ports(&self) -> impl Iterator<Item = (u16, &str)> {
        self.by_port.iter().map(|(port, route)| (*port, route.server_name.as_str()))
    }
}
