//! Operations and steps for the tests of this page.

use super::facts::{Facts, Usual};
use crate::clock::new_id;
use crate::domain::configuration::Configuration;
use crate::domain::ids::{GroupId, OperationId, ServerId};
use crate::domain::names::{AdminLogin, ServerName};
use crate::domain::network::Access;
use crate::domain::operation::{Operation, OperationKind, OperationStatus, StepRecord, StepStatus};
use crate::domain::server::{Server, ServerSpec, SettledState};
use crate::domain::version::Major;
use crate::operations::kinds;
use chrono::{DateTime, Duration, Utc};

/// The moment at which tests look.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

/// A creation of "shop", asked for ten seconds ago.
pub fn operation(status: OperationStatus) -> Operation {
    let begun = now() - Duration::seconds(10);
    Operation {
        id: new_id(OperationId::parse),
        kind: OperationKind::Create,
        server_id: new_id(ServerId::parse),
        server_name: "shop".into(),
        status,
        input: serde_json::Value::Null,
        cursor: 0,
        attempt: 0,
        run_at: now(),
        error: None,
        advice: None,
        failed_step: None,
        cancel_requested: false,
        requested_by: "ada".into(),
        requested_from: "10.0.0.5".into(),
        created_at: begun,
        started_at: Some(begun),
        ended_at: (!status.is_active()).then_some(now()),
        deadline_at: begun + OperationKind::Create.deadline(),
        retry_of: None,
    }
}

/// A step that began three seconds ago and, if it ended, took two.
pub fn step(ordinal: i64, status: StepStatus) -> StepRecord {
    let begun = (!matches!(status, StepStatus::Pending | StepStatus::Skipped))
        .then(|| now() - Duration::seconds(3));
    let has_ended = matches!(status, StepStatus::Done | StepStatus::Failed | StepStatus::Undone);
    StepRecord {
        ordinal,
        name: format!("step_{ordinal}"),
        title: format!("Step {ordinal}"),
        status,
        output: serde_json::Value::Null,
        note: None,
        attempts: 1,
        started_at: begun,
        ended_at: begun.filter(|_| has_ended).map(|begun| begun + Duration::seconds(2)),
    }
}

/// An operation of a kind with its real plan, nothing of it begun.
pub fn facts(kind: OperationKind, status: OperationStatus) -> Facts {
    let operation = Operation { kind, ..operation(status) };
    let plan = (0i64..).zip(kinds::steps(kind));
    Facts {
        steps: plan
            .map(|(ordinal, planned)| StepRecord {
                name: planned.name.into(),
                title: planned.title.into(),
                ..step(ordinal, StepStatus::Pending)
            })
            .collect(),
        log: vec![],
        usual: Usual::new(),
        server: Some(server(&operation.server_id)),
        successor: None,
        operation,
    }
}

/// The server "shop".
pub fn server(id: &ServerId) -> Server {
    let spec = ServerSpec {
        name: ServerName::parse("shop").unwrap(),
        region: "westeurope".into(),
        zone: "1".into(),
        major: Major::ALL[0],
        sku: "Standard_B1ms".into(),
        storage_gib: 32,
        admin_login: AdminLogin::parse("ada").unwrap(),
        access: Access::Public,
        tags: vec![],
    };
    Server {
        id: id.clone(),
        spec,
        settled: SettledState::Failed,
        active: None,
        port: 20_000,
        configuration: Configuration::default(),
        group_id: GroupId::default_group(),
        network_id: None,
        stopped_at: None,
        pooler_port: None,
        created_at: now(),
        created_by: None,
        version: 1,
    }
}
