use super::*;

fn situation(total_gib: u64, free_gib: u64) -> Situation {
    let (total, free) = (total_gib * GIB, free_gib * GIB);
    Situation {
        usage: VolumeUsage { total, free, used: total - free, ..Default::default() },
        size_gib: u32::try_from(total_gib).unwrap(),
        is_protected: false,
        autogrow: false,
        may_grow: true,
        is_down: false,
        host_free: None,
    }
}

#[test]
fn read_only_from_95_percent_or_below_5_gib() {
    assert_eq!(decide(&situation(32, 5)), Decision::Nothing, "84 % of a small one is the limit");
    assert_eq!(decide(&situation(32, 4)), Decision::Protect);
    assert_eq!(decide(&situation(1024, 52)), Decision::Nothing);
    assert_eq!(decide(&situation(1024, 51)), Decision::Protect, "95 % of a large one");
}

#[test]
fn written_again_only_with_a_little_more_room() {
    let protected = |total, free| Situation { is_protected: true, ..situation(total, free) };
    assert_eq!(decide(&protected(32, 4)), Decision::Nothing);
    assert_eq!(decide(&protected(32, 5)), Decision::Nothing, "it would swing to and fro");
    assert_eq!(decide(&protected(32, 6)), Decision::Unprotect);
    assert_eq!(decide(&protected(1024, 60)), Decision::Nothing);
    assert_eq!(decide(&protected(1024, 62)), Decision::Unprotect);
}

#[test]
fn grows_by_itself_before_it_is_read_only() {
    let auto = |total, free| Situation { autogrow: true, ..situation(total, free) };
    assert_eq!(decide(&auto(32, 7)), Decision::Nothing, "more than a fifth is free");
    assert_eq!(decide(&auto(32, 6)), Decision::Grow(64));
    assert_eq!(decide(&auto(32, 0)), Decision::Grow(64), "growth rather than read-only");
    assert_eq!(decide(&auto(512, 65)), Decision::Nothing);
    assert_eq!(decide(&auto(512, 63)), Decision::Grow(1024), "64 GiB is enough to wait");
    assert_eq!(decide(&auto(2048, 65)), Decision::Protect, "one in twenty of 2 TiB is 102 GiB");
    assert_eq!(decide(&auto(2048, 63)), Decision::Grow(4096));
    assert_eq!(decide(&auto(32768, 1)), Decision::Protect, "there is no larger size");
}

#[test]
fn growth_that_cannot_be_had_leaves_the_protection() {
    let stuck = |free| Situation { autogrow: true, may_grow: false, ..situation(32, free) };
    assert_eq!(decide(&stuck(6)), Decision::Nothing);
    assert_eq!(decide(&stuck(4)), Decision::Protect);
    let protected = Situation { is_protected: true, ..stuck(8) };
    assert_eq!(decide(&protected), Decision::Unprotect);
}

#[test]
fn a_measured_volume_is_as_full_as_its_size_or_its_host() {
    let size = StorageSize::by_gib(32).unwrap();
    let used = VolumeUsage { used: 10 * GIB, ..Default::default() };
    assert_eq!(used.measured(size, 100 * GIB).free, 22 * GIB);
    assert_eq!(used.measured(size, 2 * GIB).free, 2 * GIB, "the host has no more");
    let over = VolumeUsage { used: 40 * GIB, ..Default::default() };
    assert_eq!((over.measured(size, 100 * GIB).free, over.measured(size, 0).percent()), (0, 100));
}

#[test]
fn a_look_that_found_nothing_decides_nothing() {
    let blind = Situation { usage: VolumeUsage::default(), ..situation(32, 1) };
    assert_eq!(decide(&blind), Decision::Nothing);
}

#[test]
fn the_disk_is_kept_in_words_that_stay() {
    let disk = Disk::Image { minor: 5000 };
    assert_eq!(serde_json::to_string(&disk).unwrap(), r#"{"image":{"minor":5000}}"#);
    let none: Option<Disk> = serde_json::from_str("null").unwrap();
    assert_eq!(none, None, "a server from before has no sized disk");
}

#[test]
fn every_member_of_a_host_has_a_loop_device_of_its_own() {
    let member = MemberId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
    let first = choose_minor(&member, &HashSet::new()).unwrap();
    assert!(LOOP_MINORS.contains(&first));
    assert_eq!(choose_minor(&member, &HashSet::new()), Some(first), "the same each time");
    let next = choose_minor(&member, &HashSet::from([first])).unwrap();
    assert!(next != first && LOOP_MINORS.contains(&next));
}

#[test]
fn a_server_that_a_full_disk_brought_down_is_helped_up_once() {
    let mut full = Situation { is_protected: true, is_down: true, ..situation(32, 0) };
    assert_eq!(decide(&full), Decision::Nothing, "nothing is set aside any more");
    full.usage.reserve = RESERVE_BYTES;
    assert_eq!(decide(&full), Decision::Protect);
    full.is_down = false;
    assert_eq!(decide(&full), Decision::Nothing, "it runs");
}

#[test]
fn a_host_whose_own_disk_is_full_protects_its_servers() {
    let on = |free_gib: u64| Situation { host_free: Some(free_gib * GIB), ..situation(32, 20) };
    assert_eq!(decide(&on(5)), Decision::Nothing);
    assert_eq!(decide(&on(4)), Decision::Protect);
    let protected = |free| Situation { is_protected: true, ..on(free) };
    assert_eq!(decide(&protected(5)), Decision::Nothing, "it would swing to and fro");
    assert_eq!(decide(&protected(6)), Decision::Unprotect);
}
