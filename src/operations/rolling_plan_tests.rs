use super::*;
use crate::domain::ha::{Durability, HaMode, Lsn};
use crate::domain::ids::ServerId;
use crate::domain::parameters::Parameter;
use crate::postgres::fake::parameters::sample;

fn server(sku: &str) -> Server {
    scale_plan::tests::server(sku.trim_start_matches("Standard_"), &[])
}

fn row(state: ReplicationState) -> HighAvailability {
    let id = ServerId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
    let now = chrono::DateTime::UNIX_EPOCH;
    HighAvailability {
        state,
        is_promotable: state == ReplicationState::Sync,
        armed_lsn: Some(Lsn(1)),
        ..HighAvailability::asked(id, HaMode::SameZone, Durability::Preferred, "1".into(), now)
    }
}

fn way(kind: OperationKind, input: &Value) -> Way {
    Way::of(kind, input, &server("Standard_D2ds_v5"), Some(&row(ReplicationState::Sync)), None)
}

#[test]
fn a_pair_in_sync_is_gone_through_member_by_member() {
    use OperationKind as K;
    assert_eq!(way(K::Restart, &Value::Null), Way::Rolling);
    assert_eq!(way(K::AllowExtensions, &json!({ "allowed": [], "restart": true })), Way::Rolling);
    assert_eq!(way(K::AllowExtensions, &json!({ "allowed": [], "restart": false })), Way::Alone);
    assert_eq!(way(K::CreateDatabase, &Value::Null), Way::Alone, "it restarts nothing");
    let server = server("Standard_D2ds_v5");
    assert_eq!(Way::of(K::Restart, &Value::Null, &server, None, None), Way::Alone);
    for state in ReplicationState::ALL {
        let way = Way::of(K::Restart, &Value::Null, &server, Some(&row(state)), None);
        let wanted = if state == ReplicationState::Sync { Way::Rolling } else { Way::NotInSync };
        assert_eq!(way, wanted, "{state:?}");
    }
}

#[test]
fn a_value_that_a_standby_must_have_as_well_becomes_smaller_on_the_primary_first() {
    let set = |name: &str, value: &str| {
        let input = json!({ "set": { name: value }, "reset": [], "restart": true });
        way(OperationKind::ChangeParameters, &input)
    };
    assert_eq!(set("max_connections", "100"), Way::Lowers);
    assert_eq!(set("max_worker_processes", "16"), Way::Rolling);
    assert_eq!(set("shared_buffers", "1GB"), Way::Rolling);
}

#[test]
fn what_is_in_force_counts_more_than_what_the_files_say() {
    let (server, row) = (server("Standard_D2ds_v5"), row(ReplicationState::Sync));
    let with = |value: &str| {
        let change = |one: Parameter| match one.name.as_str() {
            "max_connections" => Parameter { value: value.into(), ..one },
            _ => one,
        };
        let parameters = sample().into_iter().map(change).collect();
        let seen = Catalogue { parameters };
        Way::of(OperationKind::Restart, &Value::Null, &server, Some(&row), Some(&seen))
    };
    assert_eq!(with("859"), Way::Rolling);
    assert_eq!(with("5000"), Way::Lowers, "a smaller value waits for this restart");
    assert_eq!(with("100"), Way::Rolling, "a larger one does");
}

#[test]
fn a_larger_size_goes_through_the_pair_and_a_smaller_one_does_not() {
    let to = |name: &str| way(OperationKind::Scale, &json!({ "to": name }));
    assert_eq!(to("Standard_D4ds_v5"), Way::Rolling);
    let (large, row) = (server("Standard_D4ds_v5"), row(ReplicationState::Sync));
    let input = json!({ "to": "Standard_D2ds_v5" });
    assert_eq!(Way::of(OperationKind::Scale, &input, &large, Some(&row), None), Way::Lowers);
}

#[test]
fn the_mark_of_an_earlier_try_does_not_stay() {
    let input = json!({ "to": "x", "about": "to x" });
    let with = marked(&input, true);
    assert_eq!(with[ROLLING], true);
    assert_eq!(marked(&with, false), input);
    assert_eq!(marked(&Value::Null, true), json!({ ROLLING: true }));
    assert_eq!(marked(&Value::Null, false), Value::Null);
}
