//! Enable high availability on a server that runs: mode, zone, durability, what it costs. It writes the row;
//! the standby is made by the same loop that makes one after a failover.

use super::create_form::CreateForm;
use super::create_ha::{self, place_standby};
use super::create_world::World;
use super::ha_facts::{HaFacts, zone_of};
use super::ha_zones;
use super::nav::{self, Frame, Tab};
use crate::domain::ha::{AskedHa, Durability, HaMode, MemberRole};
use crate::domain::operation::OperationKind;
use crate::domain::partner::Site;
use crate::domain::refusal::Refusal;
use crate::operations::submit::SubmitError;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{Choice, FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/ha_enable.html")]
struct EnablePage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    modes: Vec<Choice>,
    zones: Vec<Choice>,
    durabilities: Vec<Choice>,
    primary_zone: String,
    /// Zones that share an engine with the primary's host, in words; empty when none does.
    warning: String,
    cost: Cost,
    why_closed: Option<String>,
}

/// What the server costs now and with a standby, a month.
struct Cost {
    now: String,
    then: String,
    more: String,
    is_example: bool,
}

/// What the choices are made of.
struct Offer {
    facts: HaFacts,
    world: World,
}

impl Offer {
    async fn load(visit: &Visit, frame: &Frame) -> Result<Self, PageError> {
        Ok(Self {
            facts: HaFacts::load(visit, &frame.server).await?,
            world: World::load(visit, &CreateForm::default()).await?,
        })
    }

    /// The zone that a standby would get.
    fn place(&self, frame: &Frame, mode: HaMode, wanted: &str) -> Result<String, Refusal> {
        let spec = &frame.server.spec;
        let refuse = |text: &str| Refusal::at("ha", text);
        let primary = self.facts.in_role(MemberRole::Primary);
        let primary = primary.ok_or_else(|| refuse("The server is not on a host."))?;
        let zone = zone_of(primary, &frame.server);
        let region = self.world.config.region(&spec.region);
        let region =
            region.ok_or_else(|| refuse("The server's region is not configured any more."))?;
        if mode == HaMode::ZoneRedundant && !wanted.is_empty() {
            if wanted == zone {
                let text =
                    format!("The primary is in zone {zone}. Choose another for the standby.");
                return Err(Refusal::at("standby_zone", text));
            }
            if !region.zones.iter().any(|each| each == wanted) {
                let text = format!("{} has the zones {}.", region.label, region.zones.join(", "));
                return Err(Refusal::at("standby_zone", text));
            }
        }
        let field = if wanted.is_empty() { "ha" } else { "standby_zone" };
        let sizes = (spec.sku(), spec.storage());
        let host = self.world.loads.iter().find(|load| load.host.id == primary.host_id);
        let host = host.ok_or_else(|| refuse("The server's host is not configured any more."))?;
        let site = Site::of_member(host, primary);
        match place_standby(&self.world, region, mode, (zone, &site), wanted, sizes) {
            Ok(placed) => Ok(placed.zone),
            Err(text) => {
                let text = format!("There is no place for a standby now. {text}");
                Err(Refusal::at(field, text))
            }
        }
    }

    fn modes(&self, frame: &Frame) -> Vec<Choice> {
        let card = |mode: HaMode| {
            let detail = match mode {
                HaMode::SameZone => "The standby is in the primary's zone.",
                HaMode::ZoneRedundant => "The standby is in another zone.",
            };
            let choice = Choice::new(mode.key(), mode.label());
            match self.place(frame, mode, "") {
                Ok(zone) => {
                    choice.detail(format!("{detail} {}", self.survives(frame, mode, &zone)))
                }
                Err(refusal) => choice.detail(detail).closed(refusal.text),
            }
        };
        HaMode::ALL.map(card).into()
    }

    fn survives(&self, frame: &Frame, mode: HaMode, zone: &str) -> &'static str {
        use ha_zones::Truth;
        let of = |truth| match (truth, mode) {
            (Truth::OneEngine, _) => "It survives the loss of a container, not of the host.",
            (Truth::OneMachine, _) => {
                "It survives the loss of a container or of an engine, not of the machine."
            }
            (Truth::MayShare, _) => {
                "It survives the loss of a container, and of a host only if the members come to be on two."
            }
            (_, HaMode::SameZone) => "It survives the loss of its host, not of the zone.",
            (_, HaMode::ZoneRedundant) => "It survives the loss of a host and of a zone.",
        };
        of(self.truth(frame, zone))
    }

    fn truth(&self, frame: &Frame, zone: &str) -> ha_zones::Truth {
        let primary = self.facts.in_role(MemberRole::Primary);
        let own = primary
            .map_or(frame.server.spec.zone.as_str(), |member| zone_of(member, &frame.server));
        ha_zones::of_zones(&self.facts.loads, &frame.server.spec.region, own, zone)
    }

    fn zones(&self, frame: &Frame) -> Vec<Choice> {
        let region = self.world.config.region(&frame.server.spec.region);
        let zone = |zone: &String| {
            let choice = Choice::new(zone, format!("Zone {zone}"));
            match self.place(frame, HaMode::ZoneRedundant, zone) {
                Ok(_) => match self.truth(frame, zone) {
                    ha_zones::Truth::Apart => choice,
                    ha_zones::Truth::OneEngine => choice.detail("on the primary's Docker Engine"),
                    ha_zones::Truth::OneMachine => choice.detail("on the primary's machine"),
                    ha_zones::Truth::MayShare => {
                        choice.detail("shares a Docker Engine or a machine with the primary's zone")
                    }
                    ha_zones::Truth::Unknown => choice.detail("its Docker Engine is not known"),
                },
                Err(refusal) => choice.closed(refusal.text),
            }
        };
        let zones = region.map_or(&[][..], |region| region.zones.as_slice());
        let any = Choice::new("", "Chosen for you");
        std::iter::once(any).chain(zones.iter().map(zone)).collect()
    }

    fn warning(&self, frame: &Frame) -> String {
        let found = HaMode::ALL.into_iter().rev().find_map(|mode| self.place(frame, mode, "").ok());
        found.map_or(String::new(), |zone| self.truth(frame, &zone).warning().to_owned())
    }

    /// The first mode that is open: zone redundant before the other.
    fn first_mode(&self, frame: &Frame) -> Option<HaMode> {
        let is_open = |mode: &HaMode| self.place(frame, *mode, "").is_ok();
        [HaMode::ZoneRedundant, HaMode::SameZone].into_iter().find(is_open)
    }
}

impl EnablePage {
    async fn new(visit: &Visit, frame: Frame, f: FormState) -> Result<Self, PageError> {
        let offer = Offer::load(visit, &frame).await?;
        let (prices, spec) = (&visit.state.config.prices, &frame.server.spec);
        let one = prices.estimate(spec.sku(), spec.storage()).total();
        let first = offer.first_mode(&frame);
        let closed = "There is no place for a standby now. The choices say why.";
        let why_closed = offer
            .facts
            .why_closed(&frame, OperationKind::BuildStandby)
            .or_else(|| first.is_none().then(|| closed.to_owned()));
        let primary = offer.facts.in_role(MemberRole::Primary);
        Ok(Self {
            layout: frame.layout(visit, "Enable high availability"),
            modes: offer.modes(&frame),
            zones: offer.zones(&frame),
            durabilities: create_ha::durabilities(),
            primary_zone: primary
                .map_or(&*spec.zone, |member| zone_of(member, &frame.server))
                .to_owned(),
            warning: offer.warning(&frame),
            cost: Cost {
                now: prices.text(one),
                then: prices.text(2.0 * one),
                more: prices.text(one),
                is_example: prices.is_example,
            },
            why_closed,
            f: f.with("ha", first.map_or("", HaMode::key))
                .with("standby_zone", "")
                .with("durability", Durability::Preferred.key()),
            frame,
        })
    }

    fn action(&self) -> String {
        paths::server_ha_part(&self.frame.server.id, "enable")
    }

    fn back(&self) -> String {
        paths::server_ha(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/high-availability/enable`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::HighAvailability).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&EnablePage::new(&visit, frame, FormState::new()).await?)
}

/// `POST /servers/{id}/high-availability/enable`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::HighAvailability).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let Some(asked) = read(&visit, &frame, &mut f, &posted).await? else {
        return page::invalid(&EnablePage::new(&visit, frame, f).await?);
    };
    let door = nav::door(&visit.state);
    match door.enable_ha(&frame.server.id, &asked, &visit.actor()).await {
        Ok(()) => {
            let text = "High availability is enabled. A standby is being made; the server goes on meanwhile.";
            page::see_with(&visit, &paths::server_ha(&frame.server.id), &Flash::done(text))
        }
        Err(SubmitError::Refused(refusal)) => {
            f.refuse(refusal);
            let frame = frame.renewed(&visit).await?;
            page::with_status(StatusCode::CONFLICT, &EnablePage::new(&visit, frame, f).await?)
        }
        Err(SubmitError::Store(error)) => Err(error.into()),
    }
}

/// What was chosen; all faults are noted at once.
async fn read(
    visit: &Visit,
    frame: &Frame,
    f: &mut FormState,
    posted: &Posted,
) -> Result<Option<AskedHa>, PageError> {
    let mode = f.check(
        HaMode::parse(posted.text("ha")).ok_or(Refusal::at("ha", "Choose one of the modes.")),
    );
    let durability = f.check(
        Durability::parse(posted.text("durability"))
            .ok_or(Refusal::at("durability", "Choose what becomes of writes without a standby.")),
    );
    let (Some(mode), Some(durability)) = (mode, durability) else { return Ok(None) };
    let offer = Offer::load(visit, frame).await?;
    if let Some(row) = &offer.facts.row {
        // The same form come twice: the door compares, and a room that is taken now is its own.
        let standby_zone = row.standby_zone.clone();
        return Ok(Some(AskedHa { mode, durability, standby_zone }));
    }
    let wanted = if mode == HaMode::ZoneRedundant { posted.text("standby_zone") } else { "" };
    let placed = f.check(offer.place(frame, mode, wanted));
    Ok(placed.map(|standby_zone| AskedHa { mode, durability, standby_zone }))
}
