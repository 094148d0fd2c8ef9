//! Harm to networks and disks of zones. Everything can be taken back: by [`Zones::undo_all`] at the latest, which runs
//! after every story, also after one that failed.

use super::engines::Zones;
use std::process::Command;

impl Zones {
    /// Nothing passes between a zone and an address any more; connections stay up and learn nothing.
    pub fn block(&self, zone: u8, address: &str) {
        // Before any translation of addresses on the way in, after it on the way out.
        self.drop_packets(zone, "raw", "PREROUTING", &["--source", address]);
        self.drop_packets(zone, "mangle", "OUTPUT", &["--destination", address]);
        self.drop_packets(zone, "mangle", "FORWARD", &["--destination", address]);
    }

    /// Nothing comes from an address into a zone any more; the other way is free.
    pub fn block_incoming(&self, zone: u8, address: &str) {
        self.drop_packets(zone, "raw", "PREROUTING", &["--source", address]);
    }

    /// An engine hears everything and its answers get lost.
    pub fn lose_answers(&self, zone: u8) {
        self.drop_packets(zone, "mangle", "OUTPUT", &["--protocol", "tcp", "--sport", "2376"]);
    }

    /// So many of a hundred packets get lost on their way into a zone.
    pub fn lose_packets(&self, zone: u8, percent: u8) {
        let share = format!("0.{percent:02}");
        let chance = ["-i", "eth0", "-m", "statistic", "--mode", "random", "--probability", &share];
        self.drop_packets(zone, "raw", "PREROUTING", &chance);
    }

    /// So many kilobits a second come into a zone, and so many go out.
    pub fn narrow(&self, zone: u8, kilobits: u32) {
        let rate = format!("{kilobits}kbit");
        let limit = ["root", "tbf", "rate", &rate, "burst", "32kbit", "latency", "400ms"];
        let inside = self.inside(zone);
        for (within, device) in [(inside.as_slice(), "eth0".to_owned()), (&[], self.link(zone))] {
            let tc = |what: &str, rest: &[&str]| -> Vec<String> {
                let tc = ["tc", "qdisc", what, "dev", &device];
                within
                    .iter()
                    .map(String::as_str)
                    .chain(tc)
                    .chain(rest.iter().copied())
                    .map(str::to_owned)
                    .collect()
            };
            self.harm(&tc("add", &limit), tc("del", &["root"]));
        }
    }

    /// Connections from a zone's containers to an address lead to another one on the machine of the portal.
    pub fn lead_astray(&self, zone: u8, from: (&str, u16), to: (&str, u16)) {
        let (port, to) = (from.1.to_string(), format!("{}:{}", to.0, to.1));
        let jump = ["--protocol", "tcp", "--destination", from.0, "--dport", &port];
        let jump = [&jump[..], &["--jump", "DNAT", "--to-destination", &to]].concat();
        self.rule(zone, "nat", "PREROUTING", &jump);
    }

    /// Writes to what is mounted at a folder of this machine hang.
    pub fn freeze(&self, folder: &str) {
        let fsfreeze = |what: &str| ["fsfreeze", what, folder].map(str::to_owned).to_vec();
        self.harm(&fsfreeze("--freeze"), fsfreeze("--unfreeze"));
    }

    /// Takes back everything that was done to networks and disks.
    pub fn undo_all(&self) {
        let undo: Vec<Vec<String>> = self.undo.lock().unwrap().drain(..).collect();
        for command in undo.iter().rev() {
            // What is gone with its zone needs no undo.
            if !run(command) {
                eprintln!("not undone: {command:?}");
            }
        }
    }

    fn drop_packets(&self, zone: u8, table: &str, chain: &str, which: &[&str]) {
        self.rule(zone, table, chain, &[which, &["--jump", "DROP"]].concat());
    }

    fn rule(&self, zone: u8, table: &str, chain: &str, rest: &[&str]) {
        let rule = |what: &str| -> Vec<String> {
            let iptables = ["iptables", "--wait", "--table", table, what, chain];
            let words = iptables.iter().chain(rest).map(|word| (*word).to_owned());
            self.inside(zone).into_iter().chain(words).collect()
        };
        self.harm(&rule("--insert"), rule("--delete"));
    }

    fn harm(&self, command: &[String], undo: Vec<String>) {
        assert!(run(command), "{command:?}");
        self.undo.lock().unwrap().push(undo);
    }
}

fn run(command: &[String]) -> bool {
    Command::new(&command[0]).args(&command[1..]).status().unwrap().success()
}
