use super::*;
use chrono::DateTime;
use sample::*;

/// What the tests are made of.
mod sample {
    use super::*;
    use crate::clock::new_id;
    use crate::domain::ids::OperationId;

    pub fn operation(kind: OperationKind, status: OperationStatus) -> Operation {
        let time = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        Operation {
            id: new_id(OperationId::parse),
            kind,
            server_id: new_id(ServerId::parse),
            server_name: "shop".into(),
            status,
            input: serde_json::Value::Null,
            cursor: 0,
            attempt: 0,
            run_at: time,
            error: Some("The host has no room.".into()),
            advice: Some("Free some, then retry.".into()),
            failed_step: None,
            cancel_requested: false,
            requested_by: "olga".into(),
            requested_from: "192.0.2.7".into(),
            created_at: time,
            started_at: None,
            ended_at: None,
            deadline_at: time,
            retry_of: None,
        }
    }

    pub fn step(ordinal: i64, status: StepStatus) -> StepRecord {
        StepRecord {
            ordinal,
            name: format!("step_{ordinal}"),
            title: format!("Step title {ordinal}"),
            status,
            output: serde_json::Value::Null,
            note: None,
            attempts: 0,
            started_at: None,
            ended_at: None,
        }
    }
}

#[test]
fn the_banner_names_the_first_step_that_is_not_done() {
    let steps =
        [step(0, StepStatus::Done), step(1, StepStatus::Waiting), step(2, StepStatus::Pending)];
    assert_eq!(step_text(&steps), "Step 2 of 3: Step title 1.");
    assert_eq!(step_text(&steps[..1]), "It is about to end.");
}

#[test]
fn every_status_has_its_banner() {
    let notice = |status| under_way(&operation(OperationKind::Create, status), &[]);
    assert_eq!(notice(OperationStatus::Queued).class, "banner-info");
    assert!(notice(OperationStatus::Queued).advice.is_empty());
    let undoing = notice(OperationStatus::Undoing);
    assert_eq!((undoing.class, &*undoing.text), ("banner-warn", "The host has no room."));
    let parked = notice(OperationStatus::NeedsAttention);
    assert_eq!((parked.class, &*parked.advice), ("banner-danger", "Free some, then retry."));
}

#[test]
fn only_who_may_change_is_offered_a_retry() {
    let operation = operation(OperationKind::Create, OperationStatus::Failed);
    let (owner, reader) = (failed(&operation, true), failed(&operation, false));
    assert!(owner.retry.is_some() && owner.delete.is_some());
    assert!(reader.retry.is_none() && reader.delete.is_none());
    assert_eq!(owner.text, "The host has no room.");
}

#[test]
fn hosts_and_ports() {
    assert_eq!(host_and_port("localhost", 20_000), "localhost:20000");
    assert_eq!(host_and_port("::1", 20_000), "[::1]:20000");
}
