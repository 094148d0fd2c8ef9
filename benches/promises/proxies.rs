//! What the gateway is compared with: HAProxy in TCP mode, and the engine's own port proxy.

use crate::portal::free_port;
use crate::world::World;
use anyhow::Context;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// A way to the server.
pub struct Way {
    pub name: &'static str,
    pub host: String,
    pub port: u16,
    /// The process in between.
    pub process: Option<Child>,
}

impl Way {
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }
}

/// Starts HAProxy in front of `target`: as it comes, without logs and checks.
pub async fn haproxy(world: &World, target: SocketAddr) -> anyhow::Result<Way> {
    let port = free_port()?;
    let file = world.folder.join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen postgres\n  bind 127.0.0.1:{port}\n  server one {target}\n"
    );
    std::fs::write(&file, text)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-q").arg("-f").arg(&file);
    started("HAProxy", command, port).await
}

/// Starts the engine's proxy as the engine does for a published port. It tells its start on descriptor 3.
pub async fn docker_proxy(target: SocketAddr) -> anyhow::Result<Way> {
    let port = free_port()?;
    let mut command = Command::new("sh");
    let script = format!(
        "exec docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port {port} -container-ip {} -container-port {} 3>/dev/null",
        target.ip(),
        target.port()
    );
    command.arg("-c").arg(script);
    started("docker-proxy", command, port).await
}

async fn started(name: &'static str, mut command: Command, port: u16) -> anyhow::Result<Way> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let process = command.spawn().with_context(|| format!("{name} cannot be started"))?;
    listens(port).await.with_context(|| format!("{name} does not listen"))?;
    Ok(Way { name, host: "127.0.0.1".into(), port, process: Some(process) })
}

/// Waits until somebody listens on a port of this machine.
pub async fn listens(port: u16) -> anyhow::Result<()> {
    for _ in 0..500 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("nobody listens on port {port}")
}
