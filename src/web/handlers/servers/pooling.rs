//! Connection pooling: the switch and the settings of the built-in PgBouncer, and how it is.

use super::nav::{self, Frame, Tab};
use crate::clock::new_uuid;
use crate::domain::configuration::{POOLER_RANGES, PoolMode, Pooler, PoolerChange, PoolerFacts};
use crate::domain::operation::OperationKind;
use crate::domain::version::Major;
use crate::operations::submit::Change;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{Choice, FormState, Posted};
use crate::web::label::{Chip, Icon, Tone};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Reader, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/pooling.html")]
struct PoolingPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    key: String,
    modes: Vec<Choice>,
    look: Option<Look>,
}

/// How PgBouncer was at the last look.
struct Look {
    chip: Chip,
    error: String,
    at: Stamp,
}

impl PoolingPage {
    async fn new(visit: &Visit, frame: Frame, f: FormState) -> Result<Self, PageError> {
        let look = look(visit, &frame).await?;
        Ok(Self {
            layout: frame.layout(visit, "Connection pooling"),
            frame,
            f,
            key: new_uuid(),
            modes: PoolMode::ALL.map(mode_choice).to_vec(),
            look,
        })
    }

    fn is_on(&self) -> bool {
        self.pooler().enabled
    }

    fn pooler(&self) -> &Pooler {
        &self.frame.server.configuration.pooler
    }

    /// By size first: what is under way passes, the size stays.
    fn why_closed(&self) -> Option<String> {
        let spec = &self.frame.server.spec;
        Pooler::why_closed(spec.sku().tier, spec.access, self.frame.ha.is_some())
            .map(str::to_owned)
            .or_else(|| self.frame.why_closed(OperationKind::ChangePooler))
    }

    fn action(&self) -> String {
        paths::server_pooling(&self.frame.server.id)
    }

    /// `host:port` of the second port, while it leads to PgBouncer.
    fn endpoint(&self) -> Option<String> {
        self.frame.pooled_endpoint().map(|endpoint| endpoint.text())
    }

    fn connect(&self) -> String {
        format!("{}?endpoint=pooled", paths::server_connect(&self.frame.server.id))
    }

    fn version(&self) -> &'static str {
        version(self.frame.server.spec.major)
    }

    fn is_old(&self) -> bool {
        self.frame.server.spec.major == Major::V15
    }

    fn max_connections(&self) -> u32 {
        self.frame.server.spec.sku().max_connections
    }

    fn requires_tls(&self) -> bool {
        self.frame.server.configuration.require_secure_transport
    }
}

/// What the image of a major carries.
fn version(major: Major) -> &'static str {
    match major {
        Major::V15 => "1.18 from Debian 12 (bookworm)",
        Major::V17 => "1.24 from Debian 13 (trixie)",
        Major::V18 => "1.26 from Debian 14 (forky)",
    }
}

fn mode_choice(mode: PoolMode) -> Choice {
    let (label, detail) = match mode {
        PoolMode::Session => (
            "Session",
            "A client keeps its connection until it leaves. Everything works as without pooling; little is saved.",
        ),
        PoolMode::Transaction => (
            "Transaction",
            "A client has a connection during its transaction only. SET, LISTEN, temporary tables and session locks do not outlive it.",
        ),
        PoolMode::Statement => (
            "Statement",
            "A client has a connection during one statement only. Transactions of several statements are refused.",
        ),
    };
    Choice::new(mode.key(), label).detail(detail)
}

async fn look(visit: &Visit, frame: &Frame) -> Result<Option<Look>, PageError> {
    if !frame.server.configuration.pooler.enabled {
        return Ok(None);
    }
    let (store, kind) = (&visit.state.store, PoolerFacts::OBSERVATION);
    let seen = store.server_observation::<PoolerFacts>(&frame.server.id, kind).await?;
    Ok(seen.map(|seen| {
        let chip = match (seen.facts.answers, seen.facts.container_state.as_str()) {
            (Some(true), _) => Chip::new("Answers", Icon::Check, Tone::Ok),
            (_, "missing") => Chip::new("Missing", Icon::Cross, Tone::Danger),
            _ => Chip::new("Does not answer", Icon::Warning, Tone::Warn),
        };
        Look { chip, error: seen.facts.error.unwrap_or_default(), at: Stamp(seen.at) }
    }))
}

/// The settings as a form shows them.
fn filled(pooler: &Pooler) -> FormState {
    let f = FormState::new()
        .with("pool_mode", pooler.pool_mode.key())
        .with("default_pool_size", pooler.default_pool_size.to_string())
        .with("max_client_conn", pooler.max_client_conn.to_string())
        .with("min_pool_size", pooler.min_pool_size.to_string())
        .with("query_wait_timeout", pooler.query_wait_timeout.to_string())
        .with("server_idle_timeout", pooler.server_idle_timeout.to_string());
    if pooler.enabled { f.with("enabled", "1") } else { f }
}

/// Reads the form; every fault is noted.
fn read(posted: &Posted, f: &mut FormState) -> Option<Pooler> {
    let mode = f.check(PoolMode::parse(posted.text("pool_mode")));
    let numbers: Vec<Option<u32>> = POOLER_RANGES
        .iter()
        .map(|(field, _, _)| f.check(Pooler::parse_number(field, posted.text(field))))
        .collect();
    let numbers: Option<Vec<u32>> = numbers.into_iter().collect();
    let [
        default_pool_size,
        max_client_conn,
        min_pool_size,
        query_wait_timeout,
        server_idle_timeout,
    ] = numbers?.try_into().ok()?;
    let pooler = Pooler {
        enabled: posted.has("enabled"),
        pool_mode: mode?,
        default_pool_size,
        max_client_conn,
        min_pool_size,
        query_wait_timeout,
        server_idle_timeout,
    };
    f.check(pooler.check()).map(|()| pooler)
}

fn about(pooler: &Pooler) -> &'static str {
    if pooler.enabled { "(PgBouncer on)" } else { "(PgBouncer off)" }
}

/// `GET /servers/{id}/pooling`
pub async fn get(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Pooling).await? else {
        return nav::gone(&visit, &id).await;
    };
    let f = filled(&frame.server.configuration.pooler);
    page::ok(&PoolingPage::new(&visit, frame, f).await?)
}

/// `POST /servers/{id}/pooling`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Pooling).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let Some(pooler) = read(&posted, &mut f) else {
        return page::invalid(&PoolingPage::new(&visit, frame, f).await?);
    };
    let spec = &frame.server.spec;
    if let Some(why) = Pooler::why_closed(spec.sku().tier, spec.access, frame.ha.is_some())
        .filter(|_| pooler.enabled)
    {
        f.refuse(crate::domain::refusal::Refusal::at("enabled", why));
        let page = PoolingPage::new(&visit, frame, f).await?;
        return page::with_status(StatusCode::CONFLICT, &page);
    }
    let ports = visit.state.config.args.gateway_ports;
    let about = about(&pooler);
    let change = Change::new(OperationKind::ChangePooler, about, &PoolerChange { pooler, ports });
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            f.refuse(refusal);
            let page = PoolingPage::new(&visit, frame, f).await?;
            page::with_status(StatusCode::CONFLICT, &page)
        }
    }
}
