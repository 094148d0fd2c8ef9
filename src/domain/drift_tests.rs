use super::*;

fn wanted() -> Wanted {
    Wanted {
        container: "pgflex-1-g1".into(),
        image: "sha256:1".into(),
        vcores: 2.0,
        memory_bytes: 8 << 30,
        network: "pgflex-1-net".into(),
        volume: "pgflex-1-data".into(),
        data_volume: "pgflex-1-disk".into(),
        image_tag: "pgflex/postgres:17-r2".into(),
        keeper: Keeper::Engine,
    }
}

fn right() -> SeenContainer {
    SeenContainer {
        state: "running".into(),
        exit_code: None,
        image: "sha256:1".into(),
        vcores: 2.0,
        memory_bytes: 8 << 30,
        networks: vec!["another".into(), "pgflex-1-net".into()],
        volume: "pgflex-1-data".into(),
        restarts_by_itself: true,
    }
}

fn found(container: Option<SeenContainer>) -> Vec<Drift> {
    let images = Some(vec!["pgflex/postgres:17-r2".to_owned()]);
    drifts(&wanted(), &Seen { container, has_volume: Some(true), images })
}

fn whats(container: SeenContainer) -> Vec<What> {
    found(Some(container)).iter().map(|drift| drift.what).collect()
}

#[test]
fn nothing_differs_where_all_is_right() {
    assert_eq!(found(Some(right())), []);
}

#[test]
fn each_difference_is_told_alone() {
    assert_eq!(found(None)[0].what, What::Container);
    let cases = [
        (What::State, SeenContainer { state: "exited".into(), exit_code: Some(137), ..right() }),
        (What::OtherVolume, SeenContainer { volume: "x".into(), ..right() }),
        (What::Network, SeenContainer { networks: vec![], ..right() }),
        (What::Memory, SeenContainer { memory_bytes: 1 << 30, ..right() }),
        (What::Cpu, SeenContainer { vcores: 0.5, ..right() }),
        (What::RestartPolicy, SeenContainer { restarts_by_itself: false, ..right() }),
        (What::OtherImage, SeenContainer { image: "sha256:2".into(), ..right() }),
    ];
    for (what, seen) in cases {
        assert_eq!(whats(seen), [what]);
    }
    assert_eq!(whats(SeenContainer { state: "restarting".into(), ..right() }), []);
}

#[test]
fn a_missing_volume_is_a_persons_and_no_new_container_is_wanted() {
    let seen = Seen { container: None, has_volume: Some(false), images: None };
    let found = drifts(&wanted(), &seen);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].what, found[0].remedy), (What::Volume, Remedy::ByPerson));
    assert!(!found[0].needs_new_container());
}

/// No container mounts the volume with an image file, so nothing keeps it from being removed.
#[test]
fn a_volume_that_is_removed_under_a_running_server_is_told_at_once() {
    let seen = Seen { container: Some(right()), has_volume: Some(false), images: None };
    let found = drifts(&wanted(), &seen);
    assert_eq!((found[0].what, found[0].severity), (What::Volume, Severity::Wrong));
    assert!(found[0].advice.contains("Dump every database now"));
    assert_eq!(next(&found, true, 0), Next::Person);
}

#[test]
fn a_missing_image_is_a_note_until_something_needs_it() {
    let seen = Seen { container: Some(right()), has_volume: None, images: Some(vec![]) };
    let found = drifts(&wanted(), &seen);
    assert_eq!((found[0].severity, found[0].remedy), (Severity::Note, Remedy::WhenNeeded));
    assert_eq!(next(&found, true, 0), Next::Nothing);
}

#[test]
fn two_looks_that_are_apart_make_a_repair_and_three_repairs_are_enough() {
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let stopped = || found(Some(SeenContainer { state: "exited".into(), ..right() }));
    let first = DriftLook::after(None, stopped(), 0, now);
    assert_eq!(first.next, Next::LookAgain);
    let early = DriftLook::after(Some(&first), stopped(), 0, now + GONE_AFTER);
    assert_eq!(early.next, Next::LookAgain, "an engine may be starting it again");
    let later = now + SURE_AFTER;
    assert_eq!(DriftLook::after(Some(&early), stopped(), 0, later).next, Next::Repair);
    assert_eq!(DriftLook::after(Some(&early), stopped(), 3, later).next, Next::GaveUp);
    let gone = DriftLook::after(None, found(None), 0, now);
    assert_eq!(gone.next, Next::LookAgain);
    let again = DriftLook::after(Some(&gone), found(None), 0, now + GONE_AFTER);
    assert_eq!(again.next, Next::Repair, "no engine makes one that is gone");
    let other = found(Some(SeenContainer { vcores: 0.1, ..right() }));
    assert_eq!(DriftLook::after(Some(&early), other, 0, later).next, Next::LookAgain);
    assert_eq!(DriftLook::after(Some(&early), vec![], 3, later).next, Next::Nothing);
}

#[test]
fn what_a_person_did_on_purpose_is_left_to_a_person() {
    let paused = found(Some(SeenContainer { state: "paused".into(), vcores: 0.5, ..right() }));
    assert_eq!(next(&paused, true, 0), Next::Person);
}

#[test]
fn the_restart_policy_is_put_right() {
    let policy = found(Some(SeenContainer { restarts_by_itself: false, ..right() }));
    assert_eq!((policy[0].severity, policy[0].remedy), (Severity::Note, Remedy::ByItself));
    assert_eq!(next(&policy, true, 0), Next::Repair);
    let of_pair = Wanted { keeper: Keeper::Pair, ..wanted() };
    let seen = Seen { container: Some(right()), ..Seen::default() };
    let found = drifts(&of_pair, &seen);
    assert_eq!((found[0].what, found[0].severity), (What::RestartPolicy, Severity::Wrong));
    assert_eq!(found[0].sentence(), "The restart policy is “unless-stopped”; “no” is right.");
    assert_eq!(next(&found, true, 0), Next::Repair);
}

/// Only the row knows who may be started: a repair by itself could start a primary of before.
#[test]
fn a_member_of_a_pair_that_does_not_run_is_left_to_the_pair() {
    let down = SeenContainer { state: "exited".into(), restarts_by_itself: false, ..right() };
    for (keeper, severity) in
        [(Keeper::Pair, Severity::Down), (Keeper::PairStandby, Severity::Note)]
    {
        for container in [Some(down.clone()), None] {
            let seen = Seen { container, has_volume: Some(true), images: None };
            let found = drifts(&Wanted { keeper, ..wanted() }, &seen);
            assert_eq!((found.len(), found[0].severity), (1, severity), "{keeper:?}");
            assert_eq!(found[0].remedy, Remedy::WhenNeeded, "{keeper:?}");
            assert_eq!(next(&found, true, 0), Next::Nothing, "{keeper:?}");
        }
    }
}

#[test]
fn limits_of_a_standby_are_put_right_whatever_a_person_did_to_it() {
    let seen = SeenContainer {
        image: "sha256:2".into(),
        vcores: 0.5,
        restarts_by_itself: false,
        ..right()
    };
    let seen = Seen { container: Some(seen), ..Seen::default() };
    let found = drifts(&Wanted { keeper: Keeper::PairStandby, ..wanted() }, &seen);
    assert!(found.iter().all(|drift| drift.of_standby && drift.severity == Severity::Wrong));
    assert!(
        found.iter().any(|drift| drift.sentence().starts_with("Of the standby: The CPU limit"))
    );
    assert_eq!(next(&found, true, 0), Next::Repair);
}
