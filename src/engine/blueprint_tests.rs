use super::*;
use crate::domain::configuration::Configuration;
use crate::domain::ha::MemberRole;
use crate::domain::ids::{GroupId, HostId, MemberId, ServerId};
use crate::domain::names::{AdminLogin, ServerName};
use crate::domain::network::Access;
use crate::domain::server::{ServerSpec, SettledState};
use chrono::DateTime;

fn server(major: Major) -> Server {
    Server {
        id: ServerId::parse("01890a5d-ac96-774b-bcce-00000000000a").unwrap(),
        spec: ServerSpec {
            name: ServerName::parse("shop").unwrap(),
            region: "westeurope".into(),
            zone: "1".into(),
            major,
            sku: "Standard_B2s".into(),
            storage_gib: 32,
            admin_login: AdminLogin::parse("shopadmin").unwrap(),
            access: Access::Public,
            tags: vec![],
        },
        settled: SettledState::New,
        active: None,
        port: 25000,
        configuration: Configuration::default(),
        group_id: GroupId::default_group(),
        network_id: None,
        stopped_at: None,
        pooler_port: None,
        created_at: DateTime::UNIX_EPOCH,
        created_by: None,
        version: 1,
    }
}

fn member(server: &Server) -> Member {
    Member {
        id: MemberId::parse("01890a5d-ac96-774b-bcce-00000000000b").unwrap(),
        server_id: server.id.clone(),
        host_id: HostId::parse("01890a5d-ac96-774b-bcce-00000000000c").unwrap(),
        generation: 2,
        image: String::new(),
        postgres_version: String::new(),
        disk: None,
        zone: String::new(),
        port: None,
        role: MemberRole::Primary,
    }
}

fn with_blueprint<T>(major: Major, is_test: bool, look: impl FnOnce(Blueprint<'_>) -> T) -> T {
    let server = server(major);
    let member = member(&server);
    let operation = OperationId::parse("01890a5d-ac96-774b-bcce-00000000000d").unwrap();
    look(Blueprint {
        install_id: "install",
        server: &server,
        member: &member,
        operation: &operation,
        is_test,
    })
}

/// A change of this text is a change of what runs: look twice, and think of the containers that exist.
#[test]
fn a_member_as_it_has_always_been() {
    let spec =
        with_blueprint(Major::V17, false, |blueprint| blueprint.member_container("sha256:1"));
    let expected = ContainerSpec {
        name: "pgflex-00000000000b-g2".into(),
        image: "sha256:1".into(),
        command: "flock --no-fork --exclusive --nonblock --conflict-exit-code 75 /var/lib/pgflex/lock \
                  postgres -D /var/lib/pgflex/data -c config_file=/var/lib/pgflex/config/postgresql.conf"
            .split(' ')
            .map(str::to_owned)
            .collect(),
        labels: spec.labels.clone(),
        volume: "pgflex-00000000000b-data".into(),
        network: Some((
            "pgflex-00000000000a-net".into(),
            vec![
                "shop".into(),
                "01890a5d-ac96-774b-bcce-00000000000a.server.pgflex.internal".into(),
            ],
        )),
        joins: vec![],
        publish: None,
        repository: None,
        vcores: 2.0,
        memory_bytes: 4 << 30,
        shm_bytes: 1 << 30,
        pids_max: 629,
        restart: true,
        stop_seconds: 60,
    };
    assert_eq!(spec, expected);
}

#[test]
fn labels_say_whose_it_is_and_hold_the_spec_without_a_secret() {
    let (container, volume, network) = with_blueprint(Major::V17, true, |blueprint| {
        (blueprint.member_container("i"), blueprint.volume(), blueprint.network())
    });
    let get = |labels: &Labels, key: &str| labels.get(key).cloned().unwrap_or_default();
    for labels in [&container.labels, &volume.labels, &network.labels] {
        assert_eq!(get(labels, label::INSTALL), "install");
        assert_eq!(get(labels, label::SERVER), "01890a5d-ac96-774b-bcce-00000000000a");
        assert_eq!(get(labels, label::SERVER_NAME), "shop");
        assert_eq!(get(labels, label::OPERATION), "01890a5d-ac96-774b-bcce-00000000000d");
        assert_eq!(get(labels, label::TEST), "1");
        let spec: ServerSpec = serde_json::from_str(&get(labels, label::SPEC)).unwrap();
        assert_eq!(spec, server(Major::V17).spec);
    }
    assert_eq!(get(&container.labels, label::GENERATION), "2");
    assert!(!volume.labels.contains_key(label::GENERATION));
    assert!(!network.labels.contains_key(label::MEMBER));
    let real = with_blueprint(Major::V17, false, |blueprint| blueprint.volume());
    assert!(!real.labels.contains_key(label::TEST));
}

#[test]
fn the_helper_has_no_network_and_no_text_of_a_person() {
    for major in Major::ALL {
        let spec = with_blueprint(major, false, |blueprint| blueprint.init_container("i"));
        assert_eq!(spec.network, None);
        assert!(!spec.restart);
        let words = spec.command.join(" ");
        assert!(words.starts_with("flock --no-fork --exclusive --nonblock"));
        assert!(words.contains("--data-checksums") && words.contains("--auth-host=reject"));
        assert_eq!(words.contains("--locale-provider=builtin"), major >= Major::V17);
        assert!(!words.contains("shop"));
    }
}

#[test]
fn members_of_a_pair_never_start_by_themselves_and_one_has_the_names() {
    let (server, operation) =
        (server(Major::V17), OperationId::parse("01890a5d-ac96-774b-bcce-00000000000d").unwrap());
    for (role, names) in
        [(MemberRole::Primary, 2), (MemberRole::Standby, 0), (MemberRole::Former, 0)]
    {
        let member = Member { role, ..member(&server) };
        let blueprint = Blueprint {
            install_id: "i",
            server: &server,
            member: &member,
            operation: &operation,
            is_test: false,
        };
        let publish = Some("192.0.2.1:5440".parse().unwrap());
        let spec = blueprint.paired_container("x", publish);
        assert!(!spec.restart && spec.publish == publish);
        assert_eq!(spec.network.unwrap().1.len(), names, "{role:?}");
        assert_eq!(spec.command, blueprint.member_container("x").command);
    }
}

#[test]
fn a_copy_is_a_standby_before_it_is_a_data_directory() {
    with_blueprint(Major::V17, false, |blueprint| {
        let spec = blueprint.copy_container("x", "host='a'", "pgflex_0b");
        assert_eq!(spec.command[spec.command.len() - 2..], ["host='a'", "pgflex_0b"]);
        let script = spec.command.iter().find(|word| word.contains("pg_basebackup")).unwrap();
        let (signal, rename) = (script.find("standby.signal"), script.find("mv data.new data"));
        assert!(signal.unwrap() < rename.unwrap() && !spec.restart);
        assert_eq!(spec.network.unwrap().1.len(), 0);
    });
}
