use super::*;
use crate::clock::new_id;
use crate::domain::ha::MemberRole;
use crate::domain::ids::{HostId, MemberId, ServerId};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn look(state: &str, accepts: Option<bool>, seconds_ago: i64) -> MemberObservation {
    MemberObservation {
        member_id: new_id(MemberId::parse),
        observed_at: now() - Duration::seconds(seconds_ago),
        facts: MemberFacts {
            container_state: state.into(),
            container_id: String::new(),
            started_at: None,
            restarts: 0,
            exit_code: (state == "exited").then_some(137),
            address: None,
            memory_limit_bytes: 0,
            cpu_limit: 0.0,
            accepts_queries: accepts,
            probe_error: (accepts == Some(false)).then(|| "refused".into()),
        },
    }
}

fn said(state: ServerState, look: Option<&MemberObservation>) -> (Chip, String) {
    let answer = answer(state, look, now());
    (answer.chip, answer.why)
}

#[test]
fn no_look_and_an_old_look_are_never_down() {
    let ready = ServerState::Ready;
    assert_eq!(said(ready, None).0, NOT_MEASURED);
    assert_eq!(said(ready, Some(&look("running", Some(true), 8))).0, ANSWERS);
    assert_eq!(said(ready, Some(&look("running", Some(true), 61))).0, STALE);
    assert_eq!(said(ready, Some(&look("running", Some(false), 61))).0, STALE);
    assert_eq!(said(ready, Some(&look("running", None, 1))).0, NOT_MEASURED);
}

#[test]
fn silence_is_a_fault_only_of_a_ready_server() {
    let (chip, why) = said(ServerState::Ready, Some(&look("running", Some(false), 1)));
    assert_eq!((chip, &*why), (SILENT, "refused"));
    assert_eq!(said(ServerState::Restarting, Some(&look("running", Some(false), 1))).0, PAUSED);
    let (chip, why) = said(ServerState::Ready, Some(&look("exited", None, 1)));
    assert_eq!((chip, &*why), (SILENT, "It is exited with exit code 137."));
    assert_eq!(said(ServerState::Restarting, Some(&look("exited", None, 1))).0, PAUSED);
}

#[test]
fn an_observation_carries_its_time_and_grows_stale() {
    let fresh = Seen::new(now() - Duration::seconds(12), now());
    assert_eq!((&*fresh.text, fresh.stale), ("seen 12 s ago", false));
    let old = Seen::new(now() - Duration::seconds(185), now());
    assert_eq!((&*old.text, old.stale), ("seen 3 min 5 s ago, stale", true));
}

#[test]
fn figures_have_units_and_groups() {
    assert_eq!(
        (&*grouped(5), &*grouped(12_800), &*grouped(1_000_000)),
        ("5", "12,800", "1,000,000")
    );
    assert_eq!((&*plural(1, "vCore"), &*plural(2, "vCore")), ("1 vCore", "2 vCores"));
    assert_eq!(
        (&*cpu_text(1.0), &*cpu_text(2.0), &*cpu_text(0.5)),
        ("1 vCore", "2 vCores", "0.5 vCores")
    );
    let mut facts = look("running", None, 1).facts;
    facts.memory_limit_bytes = 2 << 30;
    assert_eq!(memory_text(&facts), "2 GiB");
    facts.memory_limit_bytes = 1536 << 20;
    assert_eq!(memory_text(&facts), "1536 MiB");
}

#[test]
fn what_is_not_there_is_said_whatever_was_seen() {
    let answers = look("running", Some(true), 1);
    for (state, word) in [
        (ServerState::Provisioning, "Not yet"),
        (ServerState::Failed, "No"),
        (ServerState::Dropping, "No longer"),
    ] {
        assert_eq!(said(state, Some(&answers)).0.text, word);
        assert_eq!(said(state, None).0.text, word);
    }
}

#[test]
fn an_image_is_its_version_and_a_few_digits() {
    let mut member = Member {
        id: new_id(MemberId::parse),
        server_id: new_id(ServerId::parse),
        host_id: new_id(HostId::parse),
        generation: 1,
        image: format!("sha256:6c0332c8992c{}", "0".repeat(52)),
        postgres_version: "17.12".into(),
        disk: None,
        zone: String::new(),
        port: None,
        role: MemberRole::Primary,
    };
    let shown = image(&member);
    assert_eq!((&*shown.value, &shown.title), ("17.12 · 6c0332c8992c", &member.image));
    member.postgres_version.clear();
    assert_eq!(image(&member).value, "6c0332c8992c");
    member.image = "sha256:1".into();
    assert_eq!(image(&member).value, "1");
}
