//! `pgflex`: reads its arguments and starts the part that is asked for.

use clap::{Parser, Subcommand};
use pgflex::cli;
use pgflex::config::ServeArgs;
use pgflex::recover::RecoverArgs;

/// Managed PostgreSQL servers on your own Docker hosts.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the portal: pages, operations, monitor and gateway, or the roles that are named.
    Serve(Box<ServeArgs>),
    /// Images of PostgreSQL on the Docker Engine.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Print a new one-time link for an owner, for when nobody can sign in any more.
    OwnerLink(Box<ServeArgs>),
    /// Recover the portal's own store into an empty database: from its newest backup on the engines or, failing any, from labels.
    Recover(Box<RecoverArgs>),
}

#[derive(Subcommand)]
enum ImageCommand {
    /// Make the image of a PostgreSQL major ready; quick when it is there.
    Ensure {
        /// 15, 17 or 18.
        major: String,
        /// Docker Engine to make it on.
        #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
        docker_host: String,
    },
}

fn main() -> anyhow::Result<()> {
    cli::start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match Cli::parse().command {
            Command::Serve(args) => cli::serve(*args).await,
            Command::OwnerLink(args) => cli::owner_link(*args).await,
            Command::Recover(args) => cli::recover(*args).await,
            Command::Image(ImageCommand::Ensure { major, docker_host }) => {
                cli::ensure_image(&major, &docker_host).await
            }
        }
    })
}
