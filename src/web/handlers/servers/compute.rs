//! The compute page: the size of now, its CPU credits, and every size it could have.

use super::compute_credits::CreditsView;
use super::create_cards::{
    BY_ITS_HOST, SizeGroup, per_month, size_choice, size_groups, thousands, vcores,
};
use super::nav::{self, Frame, Tab};
use crate::domain::catalog::Sku;
use crate::domain::cost::PriceList;
use crate::domain::operation::OperationKind;
use crate::domain::placement::{HostLoad, reason_against_scaling_members};
use crate::domain::server::{Member, Server};
use crate::operations::scale_plan;
use crate::web::error::{PageError, PageResult};
use crate::web::form::FormState;
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Reader, Signed, Visit};
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/compute.html")]
pub struct ComputePage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    price: String,
    is_example: bool,
    credits: Option<CreditsView>,
    groups: Vec<SizeGroup>,
}

impl ComputePage {
    /// The page, with `f` holding what is wrong with the last choice.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn new(visit: &Visit, frame: Frame, f: FormState) -> Result<Self, PageError> {
        let prices = &frame.prices(&visit.state.config);
        let host = Host::of(visit, &frame).await?;
        let from = frame.server.spec.sku();
        let groups = size_groups(from.name, BY_ITS_HOST, |sku| {
            let reason = match sku.name == from.name {
                true => Some("The size it has now.".into()),
                false => host.reason_against(&frame.server, sku),
            };
            size_choice(sku).price(price_text(prices, from, sku)).closed(reason.unwrap_or_default())
        });
        Ok(Self {
            layout: frame.layout(visit, "Compute"),
            price: per_month(&prices.text(prices.compute_month(from))),
            is_example: prices.is_example,
            credits: CreditsView::load(visit, &frame.server).await?,
            groups,
            frame,
            f,
        })
    }

    fn sku(&self) -> &'static Sku {
        self.frame.server.spec.sku()
    }

    fn vcores(&self) -> String {
        vcores(self.sku().vcores)
    }

    fn iops(&self) -> String {
        thousands(self.sku().effective_iops(self.frame.server.spec.storage()))
    }

    fn connections(&self) -> String {
        match self.frame.server.configuration.parameters.get("max_connections") {
            Some(set) => format!("{set}, as set under Server parameters"),
            None => thousands(self.sku().max_connections),
        }
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::Scale)
    }

    fn review(&self) -> String {
        paths::server_compute_review(&self.frame.server.id, "")
    }
}

/// The hosts that a server's members are on, with what they promised; none when it is on none.
pub struct Host<'a> {
    /// Each with how many of the members it has.
    loads: Vec<(HostLoad, usize)>,
    has_ha: bool,
    policy: &'a crate::domain::host::Overcommit,
}

impl<'a> Host<'a> {
    /// # Errors
    /// When the store does not answer.
    pub async fn of(visit: &'a Visit, frame: &Frame) -> Result<Self, PageError> {
        let store = &visit.state.store;
        let members = store.members(&frame.server.id).await?;
        let loads = with_members(store.host_loads().await?, &members);
        let has_ha = frame.ha.is_some();
        Ok(Self { loads, has_ha, policy: &visit.state.config.overcommit })
    }

    /// Why a server cannot have a size now: a host of its members, or a parameter that somebody set.
    pub fn reason_against(&self, server: &Server, to: &Sku) -> Option<String> {
        if self.loads.is_empty() {
            return Some("The server is on no host of the configuration.".into());
        }
        let from = server.spec.sku();
        let hosts = || {
            self.loads.iter().find_map(|(load, members)| {
                reason_against_scaling_members(load, *members, from, to, self.policy)
            })
        };
        scale_plan::reason_against_pair(self.has_ha, to)
            .or_else(hosts)
            .or_else(|| scale_plan::reason_against(server, to))
    }
}

/// The hosts that have some of the members, with how many.
pub fn with_members(loads: Vec<HostLoad>, members: &[Member]) -> Vec<(HostLoad, usize)> {
    let on = |load: &HostLoad| members.iter().filter(|one| one.host_id == load.host.id).count();
    let counted = loads.into_iter().map(|load| (on(&load), load));
    counted.filter(|(count, _)| *count > 0).map(|(count, load)| (load, count)).collect()
}

/// "€ 124.10 / month, € 113.15 more"
fn price_text(prices: &PriceList, from: &Sku, to: &Sku) -> String {
    let price = per_month(&prices.text(prices.compute_month(to)));
    match difference(prices, from, to) {
        text if text.is_empty() => price,
        // On a narrow card a currency and its figure stay on one line.
        text => format!("{price}, {}", text.replacen(' ', "\u{a0}", 1)),
    }
}

/// What a size costs more or less in a month; empty when it costs the same.
pub fn difference(prices: &PriceList, from: &Sku, to: &Sku) -> String {
    let more = prices.compute_month(to) - prices.compute_month(from);
    match more {
        _ if more.abs() < 0.005 => String::new(),
        _ if more > 0.0 => format!("{} more", prices.text(more)),
        _ => format!("{} less", prices.text(-more)),
    }
}

/// `GET /servers/{id}/compute`
pub async fn get(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Compute).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&ComputePage::new(&visit, frame, FormState::new()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_says_what_changes() {
        let prices = PriceList::default();
        let sku = |name| Sku::by_name(name).unwrap();
        let (small, large) = (sku("Standard_B1ms"), sku("Standard_D2ds_v5"));
        assert_eq!(price_text(&prices, small, large), "€ 124.10 / month, €\u{a0}113.15 more");
        assert_eq!(difference(&prices, large, small), "€ 113.15 less");
        assert_eq!(price_text(&prices, small, small), "€ 10.95 / month");
    }
}
