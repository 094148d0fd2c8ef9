use super::*;
use crate::domain::ha::MemberRole;
use crate::domain::host::{EngineFacts, Host, Place};
use crate::domain::ids::{MemberId, ServerId};
use crate::domain::placement::Promise;

fn load(end: u8, zone: &str, engine: &str, address: Option<&str>) -> HostLoad {
    let id = HostId::parse(&format!("01890a5d-ac96-774b-bcce-b302099a80{end:02}")).unwrap();
    let place = Place { region: "westeurope".into(), zone: zone.into() };
    let mut host = Host::new(id, format!("h{end}"), format!("unix:///{end}"), vec![place]);
    host.member_address = address.map(|ip| ip.parse().unwrap());
    let facts = EngineFacts {
        engine_id: engine.into(),
        cpus: 8,
        memory_bytes: (20 + u64::from(end)) << 30,
        ..EngineFacts::default()
    };
    HostLoad { host, facts: Some(facts), promised: Promise::default() }
}

fn need() -> Need<'static> {
    static POLICY: Overcommit = Overcommit { vcores: 4.0, memory: 1.0, storage: 2.0 };
    Need {
        region: "westeurope",
        sku: Sku::by_name("Standard_D2ds_v5").unwrap(),
        storage: StorageSize::by_gib(32).unwrap(),
        policy: &POLICY,
    }
}

fn why(one: &HostLoad, other: &HostLoad) -> Option<String> {
    let found = reason_against_pair(&Site::of_host(one), &Site::of_host(other));
    let back = reason_against_pair(&Site::of_host(other), &Site::of_host(one));
    assert_eq!(found.is_some(), back.is_some(), "roles change");
    found
}

#[test]
fn members_of_a_pair_reach_each_other_or_are_none() {
    let local = load(1, "1", "a", None);
    let (far, farther) = (load(2, "2", "b", Some("10.0.0.2")), load(3, "3", "c", Some("10.0.0.3")));
    assert_eq!(why(&far, &farther), None);
    assert_eq!(why(&local, &local), None, "one host");
    let text = why(&local, &far).unwrap();
    assert!(text.contains("host h1") && text.contains("member_address"), "{text}");
    let twin = load(4, "2", "a", None);
    assert_eq!(why(&local, &twin), None, "two rows of one engine");
    let silent = HostLoad { facts: None, ..twin };
    assert!(why(&local, &silent).is_some(), "what is not known is not claimed");
}

#[test]
fn a_member_that_was_placed_before_its_host_had_an_address_is_not_reached() {
    let (near, far) = (load(1, "1", "a", Some("10.0.0.1")), load(2, "2", "b", Some("10.0.0.2")));
    let mut member = Member {
        id: MemberId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
        server_id: ServerId::parse("01890a5d-ac96-774b-bcce-b302099a8058").unwrap(),
        host_id: near.host.id.clone(),
        generation: 1,
        image: String::new(),
        postgres_version: String::new(),
        disk: None,
        zone: "1".into(),
        port: None,
        role: MemberRole::Primary,
    };
    let why = |member: &Member| {
        reason_against_pair(&Site::of_member(&near, member), &Site::of_host(&far))
    };
    assert!(why(&member).unwrap().contains("before the host had a member address"));
    member.port = Some(22000);
    assert_eq!(why(&member), None);
}

#[test]
fn a_standby_is_on_another_engine_than_the_primary_where_one_has_room() {
    let near = load(1, "1", "a", Some("10.0.0.1"));
    // Most memory, and the primary's own engine under another name.
    let twin = load(9, "2", "a", Some("10.0.0.1"));
    let far = load(2, "2", "b", Some("10.0.0.2"));
    let beside = Site::of_host(&near);
    let chosen = |loads: &[HostLoad]| choose_partner(loads, "2", &need(), &beside);
    assert_eq!(chosen(&[near.clone(), twin.clone(), far.clone()]), Ok(far.host.id.clone()));
    let full = Promise { memory_bytes: 20 << 30, ..Promise::default() };
    let full = HostLoad { promised: full, ..far };
    assert_eq!(chosen(&[near.clone(), twin.clone(), full.clone()]), Ok(twin.host.id));
    assert!(chosen(&[near.clone(), full]).unwrap_err().contains("GiB"));
    assert!(chosen(&[near]).unwrap_err().contains("No host serves"));
}

#[test]
fn a_primary_goes_where_a_partner_is_possible() {
    let far = load(2, "2", "b", Some("10.0.0.2"));
    // The local engine has most memory left and can have no partner in zone 2.
    let local = load(9, "1", "a", None);
    let near = load(1, "1", "c", Some("10.0.0.1"));
    let of = |loads: &[HostLoad], standby: &str| primaries(loads, "1", standby, &need());
    let both = [local.clone(), near.clone(), far.clone()];
    assert_eq!(of(&both, "2"), Ok(vec![near.host.id.clone()]));
    let same = of(&both, "1").unwrap();
    assert_eq!(same, [local.host.id.clone(), near.host.id.clone()], "each with itself");
    let refused = of(&[local, far.clone()], "2").unwrap_err();
    assert!(refused.contains("member_address"), "{refused}");
    let full = Promise { memory_bytes: 20 << 30, ..Promise::default() };
    let full = HostLoad { promised: full, ..far };
    assert_eq!(of(&[near.clone(), full], "2"), Ok(vec![near.host.id]), "room may come");
}
