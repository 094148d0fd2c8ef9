//! The base image: `debian:<suite>-slim`, found, pulled, or made on this machine and imported.

use super::{LOOK, Progress};
use crate::domain::version::Major;
use crate::engine::EngineError;
use crate::engine::docker::{errors, process};
use bollard::Docker;
use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// A pull that gives no sign for so long is given up: there may be no way to a registry at all.
const PULL_SILENCE: Duration = Duration::from_secs(20);
/// mmdebstrap is quiet while it unpacks.
const IMPORT_SILENCE: Duration = Duration::from_secs(10 * 60);
/// Words by which the program's failure is known again after it went through the connection to the engine.
const PROGRAM_FAILED: &str = "mmdebstrap failed";
const CHUNK: usize = 256 * 1024;

/// What nobody reads in a server's image. Licences stay.
const LEFT_OUT: [&str; 5] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];

pub(super) async fn ensure(
    docker: &Docker,
    major: Major,
    progress: &Progress,
) -> Result<(), EngineError> {
    let tag = format!("{}-slim", major.suite());
    let name = format!("debian:{tag}");
    match errors::within(LOOK, &name, docker.inspect_image(&name)).await {
        Ok(_) => return Ok(()),
        Err(EngineError::Missing(_)) => {}
        Err(error) => return Err(error),
    }
    progress.now(&format!("Pulling the base image {name}"));
    let Err(why) = pull(docker, &tag, progress).await else { return Ok(()) };
    progress.line(format!("cannot be pulled: {why}"));
    progress.now(&format!("Making the base image {name} from Debian packages"));
    import(docker, major.suite(), &tag, progress).await
}

async fn pull(docker: &Docker, tag: &str, progress: &Progress) -> Result<(), EngineError> {
    let options = CreateImageOptionsBuilder::new().from_image("debian").tag(tag).build();
    let told = docker.create_image(Some(options), None, None);
    follow(told, PULL_SILENCE, progress).await
}

async fn import(
    docker: &Docker,
    suite: &str,
    tag: &str,
    progress: &Progress,
) -> Result<(), EngineError> {
    let advice = format!(
        "Either let the host reach a registry that has debian:{tag}, or install mmdebstrap on the machine of the \
         portal, run the portal as root there, and see that it reaches Debian's package server."
    );
    let failed = |what: String| progress.failed(&what, &advice);
    let mut child = debootstrap(suite).spawn().map_err(|error| {
        failed(format!("The program mmdebstrap could not be started ({error})."))
    })?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed("The program mmdebstrap has no output.".into()));
    };
    let listener = progress.clone();
    let listening = tokio::spawn(async move {
        let mut lines = BufReader::new(err).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            process::to_lines(line.as_bytes()).into_iter().for_each(|line| listener.line(line));
        }
    });
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo("debian")
        .tag(tag)
        .changes(vec!["CMD [\"bash\"]".into(), "LABEL pgflex.base=mmdebstrap".into()])
        .build();
    let body = bollard::body_try_stream(archive(child, out));
    let end =
        follow(docker.create_image(Some(options), Some(body), None), IMPORT_SILENCE, progress);
    let end = end.await;
    // Its last lines hold the reason; they end with the program, which has ended or is being killed.
    let _ = tokio::time::timeout(Duration::from_secs(2), listening).await;
    match end {
        Err(EngineError::Silent(why)) if why.contains(PROGRAM_FAILED) => {
            Err(failed("The base image could not be made: mmdebstrap failed.".into()))
        }
        Err(EngineError::Refused(why)) => {
            Err(failed(format!("The base image could not be imported ({why}).")))
        }
        other => other,
    }
}

/// A testing release has lists that expire after days; a mirror that lags is still signed, so it is believed
/// for up to a year.
fn debootstrap(suite: &str) -> Command {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--format=tar"]);
    command
        .args(["--aptopt=Acquire::Min-ValidTime \"31536000\"", "--aptopt=Acquire::Retries \"3\""]);
    command.args(LEFT_OUT.map(|option| format!("--dpkgopt={option}")));
    command.args([suite, "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The program's output. It ends in an error where the program failed, so that half an archive is never
/// taken for an image.
fn archive(child: Child, out: ChildStdout) -> impl Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::try_unfold((child, out), |(mut child, mut out)| async move {
        let mut chunk = vec![0; CHUNK];
        let length = out.read(&mut chunk).await?;
        if length > 0 {
            chunk.truncate(length);
            return Ok(Some((Bytes::from(chunk), (child, out))));
        }
        let status = child.wait().await?;
        if status.success() {
            return Ok(None);
        }
        Err(std::io::Error::other(format!("{PROGRAM_FAILED} ({status})")))
    })
}

/// Reads a pull or an import to its end.
async fn follow(
    told: impl Stream<Item = Result<bollard::models::CreateImageInfo, bollard::errors::Error>>,
    silence: Duration,
    progress: &Progress,
) -> Result<(), EngineError> {
    let mut told = std::pin::pin!(told);
    loop {
        let next = tokio::time::timeout(silence, told.next()).await;
        match next.map_err(|_| errors::late("the base image", silence))? {
            None => return Ok(()),
            Some(Err(error)) => return Err(errors::explain("the base image", error)),
            // Progress bars come by the thousand; a line of theirs has no total and says nothing new.
            Some(Ok(info)) if info.progress_detail.as_ref().is_some_and(|d| d.total.is_some()) => {}
            Some(Ok(info)) => progress.line(info.status.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::query_parameters::RemoveImageOptions;

    /// Takes half a minute, root, mmdebstrap, an engine and a package server.
    #[tokio::test]
    #[ignore = "makes a whole base image; run by hand when this file changes"]
    async fn a_base_image_is_made_and_half_a_one_is_not() {
        let docker = Docker::connect_with_unix_defaults().unwrap();
        let progress = Progress::default();
        let made = import(&docker, Major::V17.suite(), "pgflex-import-test", &progress).await;
        made.unwrap();
        let name = "debian:pgflex-import-test";
        let image = docker.inspect_image(name).await.unwrap();
        docker.remove_image(name, None::<RemoveImageOptions>, None).await.unwrap();
        assert!(image.size.unwrap() > 50_000_000);
        let failed = import(&docker, "no-such-suite", "pgflex-import-test", &progress).await;
        let text = failed.unwrap_err().to_string();
        println!("{text}");
        assert!(
            text.contains("mmdebstrap failed") && text.contains("does not have a Release"),
            "{text}"
        );
        assert!(docker.inspect_image(name).await.is_err());
    }
}
