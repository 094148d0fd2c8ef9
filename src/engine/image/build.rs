//! The build proper: from the Dockerfile to an image with its tag.

use super::{Progress, VERSION_LABEL};
use crate::domain::version::{IMAGE_REVISION, Major};
use crate::engine::docker::{errors, process};
use crate::engine::{EngineError, label};
use bollard::Docker;
use bollard::models::{BuildInfo, ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateContainerOptions, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, TagImageOptionsBuilder,
    WaitContainerOptions,
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::time::Duration;

const DOCKERFILE: &str = include_str!("../../../images/postgres/Dockerfile");
/// Packages are unpacked without a word for a while.
const SILENCE: Duration = Duration::from_secs(10 * 60);
/// A container that prints one line.
const HELPER: Duration = Duration::from_secs(60);
const REPOSITORY: &str = "pgflex/postgres";

/// Builds without a tag; gives the identity.
pub(super) async fn from_dockerfile(
    docker: &Docker,
    major: Major,
    progress: &Progress,
) -> Result<String, EngineError> {
    progress.now(&format!("Building the image of PostgreSQL {}", major.number()));
    let arguments = HashMap::from([
        ("SUITE", major.suite().to_owned()),
        ("MAJOR", major.number().to_string()),
        ("REVISION", IMAGE_REVISION.to_string()),
    ]);
    let arguments: HashMap<String, String> =
        arguments.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let options = BuildImageOptionsBuilder::new().buildargs(&arguments).rm(true).forcerm(true);
    run(docker, options, DOCKERFILE, progress).await
}

/// Names the image: under the tag that is looked for, with its version as a label, and under its exact version.
pub(super) async fn finish(
    docker: &Docker,
    major: Major,
    built: &str,
    version: &str,
    progress: &Progress,
) -> Result<(), EngineError> {
    let tag = major.image_tag();
    progress.now(&format!("Naming the image {tag}"));
    let labels = HashMap::from([(VERSION_LABEL.to_owned(), version.to_owned())]);
    let options = BuildImageOptionsBuilder::new().labels(&labels).t(&tag).rm(true);
    run(docker, options, &format!("FROM {built}\n"), progress).await?;
    name_exactly(docker, &tag, version).await
}

/// Gives a finished image a second tag with its exact version.
pub(super) async fn name_exactly(
    docker: &Docker,
    tag: &str,
    version: &str,
) -> Result<(), EngineError> {
    let exact = TagImageOptionsBuilder::new()
        .repo(REPOSITORY)
        .tag(&format!("{version}-r{IMAGE_REVISION}"))
        .build();
    errors::within(HELPER, tag, docker.tag_image(tag, Some(exact))).await
}

async fn run(
    docker: &Docker,
    options: BuildImageOptionsBuilder,
    dockerfile: &str,
    progress: &Progress,
) -> Result<String, EngineError> {
    let context = context(dockerfile).map_err(|error| EngineError::Refused(error.to_string()))?;
    let body = bollard::body_full(context.into());
    let told = docker.build_image(options.dockerfile("Dockerfile").build(), None, Some(body));
    match follow(told, progress).await {
        Ok(Some(identity)) => Ok(identity),
        Ok(None) => Err(failed(progress, "the engine gave no image")),
        Err(error @ (EngineError::NoSpace(_) | EngineError::Silent(_))) => Err(error),
        Err(error) => Err(failed(progress, &error.to_string())),
    }
}

fn failed(progress: &Progress, why: &str) -> EngineError {
    let advice = "See that the host reaches Debian's package server (its proxy settings count), and try again.";
    progress.failed(&format!("The image could not be built ({why})."), advice)
}

pub(super) async fn follow(
    told: impl Stream<Item = Result<BuildInfo, bollard::errors::Error>>,
    progress: &Progress,
) -> Result<Option<String>, EngineError> {
    let mut told = std::pin::pin!(told);
    let mut identity = None;
    loop {
        let next = tokio::time::timeout(SILENCE, told.next()).await;
        let info = match next.map_err(|_| errors::late("the build", SILENCE))? {
            None => return Ok(identity),
            Some(info) => info.map_err(|error| errors::explain("the build", error))?,
        };
        if let Some(text) = info.stream {
            process::to_lines(text.as_bytes()).into_iter().for_each(|line| progress.line(line));
        }
        if let Some(error) = info.error_detail.and_then(|detail| detail.message) {
            return Err(errors::explain(
                "the build",
                bollard::errors::Error::DockerStreamError { error },
            ));
        }
        identity = info.aux.and_then(|image| image.id).or(identity);
    }
}

fn context(dockerfile: &str) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(dockerfile.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "Dockerfile", dockerfile.as_bytes())?;
    archive.into_inner()
}

/// What `postgres --version` says in the image, such as `17.11`.
pub(super) async fn version_in(
    docker: &Docker,
    install_id: &str,
    image: &str,
    major: Major,
) -> Result<String, EngineError> {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["postgres".into(), "--version".into()]),
        network_disabled: Some(true),
        // Whose it is, should this process end before it is removed.
        labels: Some(HashMap::from([(label::INSTALL.to_owned(), install_id.to_owned())])),
        host_config: Some(HostConfig {
            network_mode: Some("none".into()),
            cap_drop: Some(vec!["ALL".into()]),
            ..Default::default()
        }),
        ..Default::default()
    };
    let what = format!("the image of PostgreSQL {}", major.number());
    let create = docker.create_container(None::<CreateContainerOptions>, body);
    let id = errors::within(HELPER, &what, create).await?.id;
    let said = errors::within(HELPER, &what, output_of(docker, &id)).await;
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    errors::within(HELPER, &what, docker.remove_container(&id, Some(options))).await?;
    let said = said?;
    let version =
        said.strip_prefix("postgres (PostgreSQL) ").and_then(|rest| rest.split(' ').next());
    version.map(|version| version.trim().to_owned()).ok_or_else(|| {
        EngineError::Refused(format!(
            "{what} has no PostgreSQL that tells its version, but says: {said}"
        ))
    })
}

async fn output_of(docker: &Docker, id: &str) -> Result<String, bollard::errors::Error> {
    docker.start_container(id, None::<StartContainerOptions>).await?;
    // A failure shows in what it wrote.
    let _ = docker.wait_container(id, None::<WaitContainerOptions>).next().await;
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
    let parts: Vec<_> = docker.logs(id, Some(options)).try_collect().await?;
    let text: Vec<u8> = parts.into_iter().flat_map(|part| part.into_bytes()).collect();
    Ok(process::to_lines(&text).join(" "))
}
