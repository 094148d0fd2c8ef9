use super::*;
use crate::domain::ha::Lsn;
use crate::domain::ids::{MemberId, ServerId};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn row(state: ReplicationState, is_promotable: bool) -> HighAvailability {
    let id = ServerId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
    let asked = HighAvailability::asked(
        id,
        HaMode::ZoneRedundant,
        Durability::Preferred,
        "2".into(),
        now(),
    );
    HighAvailability { state, is_promotable, ..asked }
}

fn said(row: &HighAvailability, truth: Truth) -> Commits {
    let since = now() - Duration::minutes(182);
    commits(&Known { row, truth: Some(truth), look: None, since, now: now() })
}

#[test]
fn two_hosts_are_said_only_of_two_engines_and_a_standby_that_counts() {
    let sync = row(ReplicationState::Sync, true);
    let apart = said(&sync, Truth::Apart);
    assert_eq!(
        (apart.lead.as_str(), apart.length.as_str()),
        ("Commits are on 2 hosts now", "3 h 2 min")
    );
    assert_eq!(apart.class, "banner-ok");
    let one = said(&sync, Truth::OneEngine);
    assert!(one.lead.contains("2 containers on 1 host") && one.class == "banner-warn");
    let beside = said(&sync, Truth::OneMachine);
    assert!(beside.lead.contains("on 1 machine") && beside.class == "banner-warn");
    assert!(!said(&sync, Truth::Unknown).lead.contains("hosts"));
    for state in ReplicationState::ALL {
        let alone = said(&row(state, false), Truth::Apart);
        assert!(!alone.lead.contains("2 hosts"), "{state:?}: {alone:?}");
        assert!(!alone.because.is_empty(), "{state:?}");
    }
}

#[test]
fn required_without_a_standby_says_that_writes_wait() {
    let first = HighAvailability {
        durability: Durability::Required,
        ..row(ReplicationState::Building, false)
    };
    assert_eq!(said(&first, Truth::Apart).lead, "Commits are on 1 host");
    let later = HighAvailability { armed_lsn: Some(Lsn(1)), ..first };
    assert!(said(&later, Truth::Apart).lead.starts_with("Writes wait"));
}

#[test]
fn the_time_is_that_of_the_line_that_made_it_so() {
    let event = |kind: &str, minutes: i64| HaEvent {
        at: now() - Duration::minutes(minutes),
        epoch: 1,
        kind: kind.into(),
        detail: String::new(),
        operation_id: None,
    };
    let story = [event("restarted", 1), event("armed", 5), event("enabled", 9)];
    assert_eq!(since(&row(ReplicationState::Sync, true), &story), story[1].at);
    let story =
        [event("building", 1), event("disarmed", 2), event("disarming", 3), event("armed", 5)];
    assert_eq!(since(&row(ReplicationState::Building, false), &story), story[2].at);
    assert_eq!(since(&row(ReplicationState::Building, false), &[]), now());

    // Writes wait since that was chosen, not since the standby was lost; commits are on one host since then.
    let story = [event("durability", 1), event("disarming", 3), event("armed", 5)];
    let alone =
        HighAvailability { armed_lsn: Some(Lsn(1)), ..row(ReplicationState::Single, false) };
    let required = HighAvailability { durability: Durability::Required, ..alone.clone() };
    assert_eq!(since(&required, &story), story[0].at);
    assert_eq!(since(&alone, &story), story[1].at);
}

#[test]
fn lag_has_its_units_and_nothing_is_invented() {
    let standby = MemberId::parse("01890a5d-ac96-774b-bcce-b302099a8058").unwrap();
    let member = |id: &str| LookMember {
        member: id.into(),
        answers: None,
        answers_since_micros: None,
        container: String::new(),
    };
    let look = HaLook {
        epoch: 1,
        action: "Nothing".into(),
        reason: String::new(),
        since_micros: 0,
        primary: member("a"),
        standby: Some(member(standby.as_str())),
        lag_bytes: Some(1024),
        lag_seconds: Some(0.0),
        sync_state: "sync".into(),
    };
    let alone = row(ReplicationState::Sync, true);
    assert_eq!(link(&alone, Some((&look, now())), now()).chip.text, "No standby yet");
    let sync = HighAvailability { standby: Some(standby), ..alone };
    let shown = link(&sync, Some((&look, now())), now());
    assert_eq!(
        (shown.bytes.as_str(), shown.seconds.as_str()),
        ("1,024 bytes behind", "0 s behind")
    );
    assert!(shown.flows && shown.chip.text == "Synchronous");
    let old = link(&sync, Some((&look, now() - Duration::minutes(5))), now());
    assert!(!old.flows && old.bytes == "lag not measured");
    let other = HaLook { standby: Some(member("b")), ..look.clone() };
    assert_eq!(link(&sync, Some((&other, now())), now()).chip.text, "Not measured now");
    let gone = HaLook { sync_state: String::new(), lag_bytes: None, ..look };
    assert_eq!(link(&sync, Some((&gone, now())), now()).chip.text, "Does not stream");
    assert_eq!(bytes_text(5 << 20), "5.0 MiB");
}
