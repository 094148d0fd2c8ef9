use super::*;
use crate::domain::configuration::Configuration;
use crate::domain::ids::{GroupId, ServerId};
use crate::domain::names::{AdminLogin, ServerName};
use crate::domain::network::Access;
use crate::domain::server::{ServerSpec, SettledState};
use crate::domain::version::Major;

fn sku(name: &str) -> &'static Sku {
    Sku::by_name(&format!("Standard_{name}")).unwrap()
}

pub(in crate::operations) fn server(size: &str, set: &[(&str, &str)]) -> Server {
    let parameters = set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Server {
        id: crate::clock::new_id(ServerId::parse),
        spec: ServerSpec {
            name: ServerName::parse("shop").unwrap(),
            region: "westeurope".into(),
            zone: "1".into(),
            major: Major::V17,
            sku: sku(size).name.into(),
            storage_gib: 32,
            admin_login: AdminLogin::parse("shopadmin").unwrap(),
            access: Access::Public,
            tags: vec![],
        },
        settled: SettledState::Ready,
        active: None,
        port: 1,
        pooler_port: None,
        configuration: Configuration { parameters, ..Configuration::default() },
        group_id: GroupId::default_group(),
        network_id: None,
        stopped_at: None,
        created_at: chrono::DateTime::UNIX_EPOCH,
        created_by: None,
        version: 1,
    }
}

#[test]
fn another_memory_restarts_and_says_what_changes() {
    let plan = plan(&server("B1ms", &[]), sku("B2s"));
    assert!(plan.restarts && plan.kept.is_empty());
    let names: Vec<&str> = plan.changes.iter().map(|change| change.name.as_str()).collect();
    assert_eq!(
        names,
        ["effective_cache_size", "maintenance_work_mem", "max_connections", "shared_buffers"]
    );
    let buffers = plan.changes.iter().find(|change| change.name == "shared_buffers").unwrap();
    assert_eq!((&*buffers.from, &*buffers.to, buffers.needs_restart), ("256MB", "1GB", true));
    assert!(!plan.changes[0].needs_restart);
}

#[test]
fn the_same_memory_needs_no_restart() {
    for (from, to) in [("B2ms", "D2ds_v5"), ("D4ds_v5", "E2ds_v5"), ("E4ds_v5", "D8ds_v5")] {
        assert!(!plan(&server(from, &[]), sku(to)).restarts, "{from} to {to}");
    }
    assert!(plan(&server("B2ms", &[]), sku("D2ds_v5")).changes.is_empty());
    assert!(plan(&server("E8ds_v5", &[]), sku("D16ds_v5")).restarts, "more worker processes");
}

#[test]
fn what_a_person_set_stays() {
    let set = [("shared_buffers", "300MB"), ("max_connections", "80"), ("work_mem", "8MB")];
    let up = plan(&server("B1ms", &set), sku("B2s"));
    assert!(!up.restarts, "{:?}", up.changes);
    assert!(up.changes.iter().all(|change| !set.iter().any(|(name, _)| *name == change.name)));
    let kept: Vec<&str> = up.kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(kept, ["max_connections", "shared_buffers"], "work_mem never follows the size");
    assert!(plan(&server("B2s", &set), sku("B1ms")).restarts, "less memory always does");
}

#[test]
fn buffers_that_do_not_fit_are_refused() {
    let large = server("B2s", &[("shared_buffers", "1600MB")]);
    assert!(reason_against(&large, sku("B1ms")).unwrap().contains("1600MB"));
    assert_eq!(reason_against(&large, sku("B2ms")), None);
    assert_eq!(reason_against(&server("B2s", &[]), sku("B1ms")), None);
    assert_eq!(buffers_bytes("1024"), Some(8 << 20));
    assert_eq!(buffers_bytes("2GB"), Some(2 << 30));
    assert_eq!(buffers_bytes("many"), None);
}
