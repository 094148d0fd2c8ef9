//! Carrying an image from one engine to another: what one saves the other loads, without a file in between.

use super::{Progress, build, check_minor, find};
use crate::domain::version::Major;
use crate::engine::docker::errors;
use crate::engine::{EngineError, ImageSource, ImageStream};
use bollard::Docker;
use bollard::query_parameters::ImportImageOptionsBuilder;
use bytes::Bytes;
use futures_util::stream::try_unfold;
use futures_util::{Stream, StreamExt};
use std::time::Duration;

/// A source that sends nothing for so long is given up; how long the whole takes is the network's business.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes between two lines of progress.
const LINE_EVERY: u64 = 64 << 20;

/// Carries the image and looks at what has arrived: it must be one that may run.
///
/// # Errors
/// When either engine goes silent or refuses, or the image is not a finished one of ours.
pub(super) async fn from(
    docker: &Docker,
    major: Major,
    source: &ImageSource,
    progress: &Progress,
) -> Result<(), EngineError> {
    let tag = major.image_tag();
    progress.now(&format!("Carrying the image {tag} from host {}", source.host));
    let saved = source.engine.export_image(&tag).await?;
    let options = ImportImageOptionsBuilder::new().quiet(true).build();
    let told = docker.import_image_stream(options, counted(saved, progress.clone()), None);
    build::follow(told, progress).await?;
    let arrived = find(docker, &tag).await?;
    let (_, version) = arrived.ok_or_else(|| EngineError::Missing(format!("the image {tag}")))?;
    check_minor(major, &version)?;
    build::name_exactly(docker, &tag, &version).await
}

/// The stream with a limit on silence, telling how far it is.
fn counted(
    stream: ImageStream,
    progress: Progress,
) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + 'static {
    try_unfold((stream, 0, progress), |(mut stream, carried, progress)| async move {
        let next = tokio::time::timeout(SILENCE, stream.next()).await;
        let late = || errors::late("the image on its way", SILENCE);
        let Some(part) = next.map_err(|_| late())?.transpose()? else {
            progress.line(format!("{} MiB carried", carried >> 20));
            return Ok(None);
        };
        let now: u64 = carried + part.len() as u64;
        if now / LINE_EVERY > carried / LINE_EVERY {
            progress.line(format!("{} MiB carried so far", now >> 20));
        }
        Ok(Some((part, (stream, now, progress))))
    })
}
