//! Lines of a month put together by server and by group.

use super::month::Asked;
use crate::domain::bill::{Line, Sums};
use crate::domain::cost::PriceList;
use crate::domain::ids::{GroupId, ServerId};
use crate::domain::meter::Meter;
use crate::store::costs::ServerUsage;
use crate::web::error::PageError;
use crate::web::form::Choice;
use crate::web::paths;
use crate::web::time::duration_text;
use crate::web::visit::{Reader, Signed};
use chrono::Duration;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Everything that the page is made of.
pub struct World<'a> {
    prices: &'a PriceList,
    asked: &'a Asked,
    usages: Vec<ServerUsage>,
    group_names: HashMap<String, String>,
    /// Servers that are still there.
    present: HashSet<String>,
}

/// One server's month in one group.
pub struct ServerCost {
    id: ServerId,
    name: String,
    group: GroupId,
    lines: Vec<Line>,
    pub sums: Sums,
}

/// One line of the table of servers.
pub struct ServerRow {
    pub name: String,
    /// Its cost page; `None` when the server is gone.
    pub path: Option<String>,
    pub group: String,
    pub compute: String,
    pub ran: String,
    pub storage: String,
    pub gib: String,
    pub backup: String,
    pub saved: String,
    pub stopped: String,
    pub total: String,
    pub cents: i64,
}

/// One line of the table of groups.
pub struct GroupRow {
    pub name: String,
    pub path: String,
    pub servers: usize,
    pub compute: String,
    pub storage: String,
    pub saved: String,
    pub total: String,
}

/// The sums over everything.
pub struct Totals {
    pub sums: Sums,
    pub total: String,
    pub compute: String,
    pub storage: String,
    pub backup: String,
    pub has_backups: bool,
    pub saved: String,
    pub stopped: String,
    /// What runs now costs in an hour.
    pub hourly: String,
    /// The whole month if what runs now goes on; `None` for a month that is over.
    pub forecast: Option<String>,
    /// Lines without a price.
    pub unpriced: usize,
}

impl<'a> World<'a> {
    /// Reads the month.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(visit: &'a Signed<Reader>, asked: &'a Asked) -> Result<Self, PageError> {
        let store = &visit.state.store;
        Ok(Self {
            prices: &visit.state.config.prices,
            asked,
            usages: store.usage(&asked.filter).await?,
            group_names: store.group_names(&asked.filter.viewer).await?,
            present: store.server_ids().await?,
        })
    }

    pub fn group_name(&self, id: &GroupId) -> String {
        self.group_names.get(id.as_str()).cloned().unwrap_or_else(|| "deleted group".into())
    }

    /// All groups, and the one that is asked for even if it is gone.
    pub fn group_choices(&self) -> Vec<Choice> {
        let mut groups: Vec<(&str, &str)> =
            self.group_names.iter().map(|(id, name)| (name.as_str(), id.as_str())).collect();
        if let Some(id) = self.asked.filter.group.as_ref()
            && !self.group_names.contains_key(id.as_str())
        {
            groups.push(("deleted group", id.as_str()));
        }
        groups.sort_unstable();
        let choices = groups.into_iter().map(|(name, id)| Choice::new(id, name));
        [Choice::new("", "All groups")].into_iter().chain(choices).collect()
    }

    /// The servers, the dearest first.
    pub fn servers(&self) -> Vec<ServerCost> {
        let same = |a: &ServerUsage, b: &ServerUsage| {
            a.server_id == b.server_id && a.group_id == b.group_id
        };
        let mut servers: Vec<ServerCost> = self
            .usages
            .chunk_by(same)
            .map(|usages| {
                let lines: Vec<Line> =
                    usages.iter().map(|row| self.prices.line(row.usage.clone())).collect();
                ServerCost {
                    id: usages[0].server_id.clone(),
                    name: usages[0].server_name.clone(),
                    group: usages[0].group_id.clone(),
                    sums: Sums::of(&lines),
                    lines,
                }
            })
            .collect();
        servers.sort_by(|a, b| {
            let by_sum = b.sums.total().cmp(&a.sums.total());
            by_sum.then_with(|| b.sums.saved.cmp(&a.sums.saved)).then_with(|| a.name.cmp(&b.name))
        });
        servers
    }

    pub fn row(&self, server: &ServerCost) -> ServerRow {
        let sums = &server.sums;
        let money = |cents| self.prices.money(cents);
        let gib: Vec<String> = of_meter(&server.lines, Meter::Storage)
            .map(|line| line.usage.quantity.replacen("x ", " × ", 1))
            .collect();
        let is_present = self.present.contains(server.id.as_str());
        ServerRow {
            name: server.name.clone(),
            path: is_present.then(|| paths::server_cost(&server.id)),
            group: self.group_name(&server.group),
            compute: money(sums.compute),
            ran: seconds_text(&server.lines, Meter::Compute),
            storage: money(sums.storage),
            gib: if gib.is_empty() { String::new() } else { format!("{} GiB", gib.join(", ")) },
            backup: money(sums.backup),
            saved: money(sums.saved),
            stopped: seconds_text(&server.lines, Meter::Stopped),
            total: money(sums.total()),
            cents: sums.total().0,
        }
    }

    /// Groups by name.
    pub fn by_group(&self, servers: &[ServerCost]) -> Vec<GroupRow> {
        let mut groups: BTreeMap<(String, &str), (HashSet<&str>, Sums)> = BTreeMap::new();
        for server in servers {
            let key = (self.group_name(&server.group), server.group.as_str());
            let group = groups.entry(key).or_default();
            group.0.insert(server.id.as_str());
            server.lines.iter().for_each(|line| group.1.add(line));
        }
        let month = self.asked.month.key();
        let row =
            |((name, id), (servers, sums)): ((String, &str), (HashSet<&str>, Sums))| GroupRow {
                path: crate::web::query::url(&paths::costs(), &[("month", &month), ("group", id)]),
                name,
                servers: servers.len(),
                compute: self.prices.money(sums.compute),
                storage: self.prices.money(sums.storage),
                saved: self.prices.money(sums.saved),
                total: self.prices.money(sums.total()),
            };
        groups.into_iter().map(row).collect()
    }

    /// Sums of the lines of all servers.
    pub fn totals(&self) -> Totals {
        let lines: Vec<Line> =
            self.usages.iter().map(|row| self.prices.line(row.usage.clone())).collect();
        let sums = Sums::of(&lines);
        Totals {
            total: self.prices.money(sums.total()),
            compute: self.prices.money(sums.compute),
            storage: self.prices.money(sums.storage),
            backup: self.prices.money(sums.backup),
            has_backups: of_meter(&lines, Meter::Backup).next().is_some(),
            saved: self.prices.money(sums.saved),
            stopped: seconds_text(&lines, Meter::Stopped),
            hourly: String::new(),
            forecast: None,
            unpriced: lines.iter().filter(|line| line.price.is_none()).count(),
            sums,
        }
    }
}

fn of_meter(lines: &[Line], meter: Meter) -> impl Iterator<Item = &Line> {
    lines.iter().filter(move |line| line.usage.meter == meter)
}

/// How long a meter ran, with all quantities; empty when it did not.
pub fn seconds_text(lines: &[Line], meter: Meter) -> String {
    match of_meter(lines, meter).map(|line| line.usage.seconds).sum() {
        0 => String::new(),
        seconds => duration_text(Duration::seconds(seconds)),
    }
}
