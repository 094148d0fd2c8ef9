//! The verbs of the command line.

use crate::app::App;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ServeArgs};
use crate::domain::version::Major;
use crate::engine::docker::DockerEngine;
use crate::engine::image::ensure_image_now;
use crate::recover::RecoverArgs;
use anyhow::Context;

/// What strangers send that is no HTTP is answered, and no line of the log: they could fill it.
const LOG_DEFAULT: &str = "info,actix_http::h1::dispatcher=off";

/// Logs go to standard error: what a person must read (links) goes to standard output.
/// `RUST_LOG` chooses what is logged.
pub fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
    // One TLS provider for the whole process.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// `pgflex serve`.
///
/// # Errors
/// When a part cannot start; the error says which and what to do.
pub async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    App::open(Config::load(args)?).await?.run().await
}

/// `pgflex owner-link`: whoever may read the master key may make an owner.
///
/// # Errors
/// When the store or the master key cannot be used.
pub async fn owner_link(args: ServeArgs) -> anyhow::Result<()> {
    let app = App::open(Config::load(args)?).await?;
    println!("{}", app.owner_link().await?);
    Ok(())
}

/// `pgflex recover`.
///
/// # Errors
/// When nothing can be recovered; the error says what was left as it was.
pub async fn recover(args: RecoverArgs) -> anyhow::Result<()> {
    crate::recover::run(args).await
}

/// `pgflex image ensure`.
///
/// # Errors
/// When the engine does not answer or the image cannot be built.
pub async fn ensure_image(major: &str, docker_host: &str) -> anyhow::Result<()> {
    let major =
        Major::parse(major).with_context(|| format!("{major} is not offered: 15, 17 or 18"))?;
    let engine = DockerEngine::connect(docker_host, "image")?;
    let begun = SystemClock.now();
    let (id, version) = ensure_image_now(&engine, major, |line| println!("  {line}")).await?;
    let seconds = (SystemClock.now() - begun).num_milliseconds() as f64 / 1e3;
    println!("PostgreSQL {version} is ready as {} ({id}), {seconds:.1} s", major.image_tag());
    Ok(())
}
