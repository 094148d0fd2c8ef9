//! Three engines by `scripts/zones`, with names and addresses of this run alone.

use pgflex::engine::EngineTls;
use pgflex::engine::docker::DockerEngine;
use pgflex::secrets::Secret;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The image that the stories use, which `make test` makes ready on the local engine.
pub const IMAGE: &str = "pgflex/postgres:17-r3";

/// The zones of this run; taken down when dropped.
pub struct Zones {
    /// Settings of the script.
    settings: Vec<(&'static str, String)>,
    folder: PathBuf,
    net: String,
    count: u8,
    /// Programs that take back what stories did to networks and disks.
    pub(super) undo: Mutex<Vec<Vec<String>>>,
}

impl Zones {
    /// Starts `count` engines, without any image but [`IMAGE`] in zone 1.
    pub fn up(count: u8) -> Self {
        let pid = std::process::id();
        let folder = std::env::temp_dir().join(format!("pgflex-zones-{pid}"));
        let net = format!("10.{}.{}", 100 + pid % 100, pid / 100 % 250);
        let settings = vec![
            ("ZONES_DIR", folder.display().to_string()),
            ("ZONES_RUN_DIR", format!("/run/pgflex-zones-{pid}")),
            ("ZONES_NAME", format!("zt{}", pid % 100_000)),
            ("ZONES_NET", net.clone()),
        ];
        let zones = Self { settings, folder, net, count, undo: Mutex::default() };
        zones.guard(pid);
        zones.run(&["up", &count.to_string()]);
        zones.run(&["load", "1", IMAGE]);
        zones
    }

    /// Takes them down even when this process is killed, in a session of its own that an interrupt does not reach.
    fn guard(&self, pid: u32) {
        let script = self.script(&["guard", &pid.to_string()]);
        let mut guard = Command::new("setsid");
        guard.arg("--fork").arg(script.get_program()).args(script.get_args());
        guard.envs(self.settings.iter().map(|(name, value)| (*name, value)));
        guard.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(guard.status().unwrap().success(), "no guard");
    }

    fn script(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/zones"));
        command.args(arguments).envs(self.settings.iter().map(|(name, value)| (*name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.script(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "zones {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Nothing reaches the zone any more; what is in it runs on.
    pub fn cut(&self, zone: u8) {
        self.run(&["cut", &zone.to_string()]);
    }

    /// Ends [`Zones::cut`].
    pub fn heal(&self, zone: u8) {
        self.run(&["heal", &zone.to_string()]);
    }

    /// A power cut: network gone, then every process killed.
    pub fn lose(&self, zone: u8) {
        self.run(&["lose", &zone.to_string()]);
    }

    /// Ends [`Zones::lose`]: the engine starts on the same disk.
    pub fn restore(&self, zone: u8) {
        self.run(&["restore", &zone.to_string()]);
    }

    /// Every zone as it should be, whatever a story did.
    pub fn mend(&self) {
        self.undo_all();
        (1..=self.count).for_each(|zone| self.restore(zone));
    }

    /// Nothing of a story that failed is left in the way of the next one.
    pub fn sweep(&self) {
        for zone in 1..=self.count {
            for (list, remove) in [
                (&["ps", "-aq"][..], &["rm", "--force"][..]),
                (&["volume", "ls", "-q"], &["volume", "rm"]),
                (&["network", "ls", "-q", "--filter", "type=custom"], &["network", "rm"]),
            ] {
                let found = self.try_docker(zone, list).unwrap_or_default();
                let found: Vec<&str> = found.split_whitespace().collect();
                if !found.is_empty() {
                    self.try_docker(zone, &[remove, &found].concat());
                }
            }
        }
    }

    /// Runs `docker` in a zone, also in one that is cut off; what it printed.
    pub fn docker(&self, zone: u8, arguments: &[&str]) -> String {
        let socket = format!("unix://{}", self.socket(zone));
        let output = Command::new("docker").args(["-H", &socket]).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        assert!(output.status.success(), "docker {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The same where it may fail.
    pub fn try_docker(&self, zone: u8, arguments: &[&str]) -> Option<String> {
        let socket = format!("unix://{}", self.socket(zone));
        let output = Command::new("docker").args(["-H", &socket]).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    }

    /// Number of the engine's process.
    pub fn engine_process(&self, zone: u8) -> u32 {
        let (_, folder) = &self.settings[1];
        let text = std::fs::read_to_string(format!("{folder}/{zone}/dockerd.pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// How a program is begun in the network of a zone.
    pub(super) fn inside(&self, zone: u8) -> Vec<String> {
        let (_, name) = &self.settings[2];
        vec!["nsenter".into(), format!("--net=/run/netns/{name}{zone}")]
    }

    /// The machine's end of a zone's cable.
    pub(super) fn link(&self, zone: u8) -> String {
        let (_, name) = &self.settings[2];
        format!("{name}v{zone}")
    }

    /// IP address of the machine that the portal is on.
    pub fn machine(&self) -> String {
        format!("{}.1", self.net)
    }

    /// SIGKILL to the first process of a container.
    pub fn kill_container(&self, zone: u8, container: &str) {
        self.docker(zone, &["kill", "--signal", "KILL", container]);
    }

    fn socket(&self, zone: u8) -> String {
        let (_, folder) = &self.settings[1];
        format!("{folder}/{zone}/docker.sock")
    }

    /// IP address of a zone.
    pub fn ip(&self, zone: u8) -> String {
        format!("{}.1{zone}", self.net)
    }

    /// Address of a zone's engine.
    pub fn address(&self, zone: u8) -> String {
        format!("tcp://{}:2376", self.ip(zone))
    }

    fn pem(&self, name: &str) -> PathBuf {
        self.folder.join("tls").join(name)
    }

    /// The certificates as text.
    pub fn tls(&self) -> EngineTls {
        let read = |name| std::fs::read_to_string(self.pem(name)).unwrap();
        EngineTls {
            ca: read("ca.pem"),
            certificate: read("cert.pem"),
            key: Secret::new(read("key.pem")),
        }
    }

    /// A zone's engine over TCP, for an installation.
    pub fn engine(&self, zone: u8, install_id: &str) -> DockerEngine {
        DockerEngine::connect_with(&self.address(zone), Some(&self.tls()), install_id).unwrap()
    }

    /// `pgflex.toml` with a host for each zone of West Europe.
    pub fn configuration(&self) -> String {
        let [ca, certificate, key] =
            ["ca.pem", "cert.pem", "key.pem"].map(|name| self.pem(name).display().to_string());
        let host = |zone| {
            let address = self.address(zone);
            format!(
                "[[hosts]]\nname = \"zone-{zone}\"\naddress = \"{address}\"\n\
                 places = [{{ region = \"westeurope\", zone = \"{zone}\" }}]\n\
                 tls = {{ ca = \"{ca}\", certificate = \"{certificate}\", key = \"{key}\" }}\n\n"
            )
        };
        // The zones are one machine: what is promised in each is promised of all of it.
        let overcommit = "[overcommit]\nvcores = 32.0\nmemory = 16.0\nstorage = 32.0\n";
        (1..=self.count).map(host).chain([overcommit.to_owned()]).collect()
    }
}

impl Drop for Zones {
    fn drop(&mut self) {
        let done = self.script(&["down"]).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("the zones could not be taken down: {:?} scripts/zones down", self.settings);
        }
    }
}
