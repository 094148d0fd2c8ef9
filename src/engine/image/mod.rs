//! PostgreSQL images: found on the engine, or carried from another, or built there in the background.
//!
//! An image gets its tag last: after its base was found, pulled or made, it was built, PostgreSQL in it told
//! its version, and the version is not below the oldest that may run. So a tag is always a usable image.

mod base;
mod build;
mod carry;

use super::docker::{DockerEngine, errors};
use super::{Engine, EngineError, ImageProgress, ImageSource};
use crate::domain::version::Major;
use bollard::Docker;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Label with the version that PostgreSQL in the image told, such as `17.11`.
const VERSION_LABEL: &str = "pgflex.postgres.version";
/// Lines of a build that are kept; more than one build writes.
const LINES_MAX: usize = 10_000;
/// Lines shown with an error.
const ERROR_LINES: usize = 12;
/// A build that took longer is stuck.
const BUILD: Duration = Duration::from_secs(45 * 60);
const LOOK: Duration = Duration::from_secs(10);

/// The builds of one engine, by major.
pub(super) struct ImageMaker {
    install_id: String,
    jobs: Arc<Mutex<HashMap<Major, Job>>>,
}

enum Job {
    Running(Progress),
    Failed(EngineError),
}

/// What a running build tells.
#[derive(Clone, Default)]
struct Progress(Arc<Mutex<Told>>);

#[derive(Default, Clone)]
struct Told {
    now: String,
    lines: Vec<String>,
}

impl Progress {
    /// Begins a part of the work.
    fn now(&self, title: &str) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        title.clone_into(&mut told.now);
        told.lines.push(format!("== {title}"));
    }

    fn line(&self, line: String) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.lines.len() < LINES_MAX && !line.trim().is_empty() {
            told.lines.push(line);
        }
    }

    fn told(&self) -> Told {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The error with what came last, which usually holds the reason, and what a person can do.
    fn failed(&self, what: &str, advice: &str) -> EngineError {
        let lines = self.told().lines;
        let last = lines[lines.len().saturating_sub(ERROR_LINES)..].join("\n");
        if errors::is_full(&last) {
            return EngineError::NoSpace(format!(
                "{what} No image was made. Make room on the host's disk and try again.\n{last}"
            ));
        }
        EngineError::Refused(format!("{what} No image was made. {advice}\n{last}"))
    }
}

impl ImageMaker {
    pub(super) fn new(install_id: &str) -> Self {
        Self { install_id: install_id.to_owned(), jobs: Arc::default() }
    }

    pub(super) async fn ensure(
        &self,
        docker: &Docker,
        major: Major,
        sources: Vec<ImageSource>,
    ) -> Result<ImageProgress, EngineError> {
        if let Some(told) = self.take_running(major)? {
            return Ok(ImageProgress::Building { now: told.now, lines: told.lines });
        }
        if let Some((id, version)) = find(docker, &major.image_tag()).await? {
            check_minor(major, &version)?;
            return Ok(ImageProgress::Ready { id, version });
        }
        let told = self.begin(docker.clone(), major, sources).told();
        Ok(ImageProgress::Building { now: told.now, lines: told.lines })
    }

    /// What a running build tells; the error of one that failed, once.
    fn take_running(&self, major: Major) -> Result<Option<Told>, EngineError> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.get(&major) {
            None => Ok(None),
            Some(Job::Running(progress)) => Ok(Some(progress.told())),
            Some(Job::Failed(error)) => {
                let error = error.clone();
                jobs.remove(&major);
                Err(error)
            }
        }
    }

    /// Starts the build unless another call just did.
    fn begin(&self, docker: Docker, major: Major, sources: Vec<ImageSource>) -> Progress {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Job::Running(progress)) = jobs.get(&major) {
            return progress.clone();
        }
        let progress = Progress::default();
        progress.now(&format!("Preparing the image of PostgreSQL {}", major.number()));
        jobs.insert(major, Job::Running(progress.clone()));
        let (all, install_id, told) =
            (Arc::clone(&self.jobs), self.install_id.clone(), progress.clone());
        tokio::spawn(async move {
            let work = have(&docker, &install_id, major, &sources, &told);
            let end = tokio::time::timeout(BUILD, work).await.unwrap_or_else(|_| {
                Err(told.failed("The build of the image did not end in its time.", "Try it again."))
            });
            let mut jobs = all.lock().unwrap_or_else(PoisonError::into_inner);
            match end {
                Ok(()) => jobs.remove(&major),
                Err(error) => jobs.insert(major, Job::Failed(error)),
            };
        });
        progress
    }
}

/// Identity and version of a finished image; `None` where there is none, or one that was not finished by us.
async fn find(docker: &Docker, tag: &str) -> Result<Option<(String, String)>, EngineError> {
    let found = match errors::within(LOOK, tag, docker.inspect_image(tag)).await {
        Err(EngineError::Missing(_)) => return Ok(None),
        other => other?,
    };
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    Ok(found.id.zip(labels.get(VERSION_LABEL).cloned()))
}

/// From the first source that gives it, else built. What cannot be carried is no failure: building needs no other host.
async fn have(
    docker: &Docker,
    install_id: &str,
    major: Major,
    sources: &[ImageSource],
    progress: &Progress,
) -> Result<(), EngineError> {
    for source in sources {
        match carry::from(docker, major, source, progress).await {
            Ok(()) => return Ok(()),
            Err(full @ EngineError::NoSpace(_)) => return Err(full),
            Err(error) => {
                progress.line(format!("It was not carried from {}: {error}", source.host));
            }
        }
    }
    make(docker, install_id, major, progress).await
}

async fn make(
    docker: &Docker,
    install_id: &str,
    major: Major,
    progress: &Progress,
) -> Result<(), EngineError> {
    base::ensure(docker, major, progress).await?;
    let built = build::from_dockerfile(docker, major, progress).await?;
    progress.now("Asking PostgreSQL in the image for its version");
    let version = build::version_in(docker, install_id, &built, major).await?;
    progress.line(format!("PostgreSQL {version}"));
    check_minor(major, &version)?;
    build::finish(docker, major, &built, &version, progress).await
}

/// Older minors have known faults that lose data; running them is never right.
fn check_minor(major: Major, version: &str) -> Result<(), EngineError> {
    let minor = version.split_once('.').and_then(|(number, minor)| {
        let is_major = number == major.number().to_string();
        minor.parse::<u32>().ok().filter(|_| is_major)
    });
    match minor {
        Some(minor) if minor >= major.minor_min() => Ok(()),
        _ => Err(EngineError::Refused(format!(
            "The image {} holds PostgreSQL {version}; {}.{} is the oldest that may run. Nothing uses the image. \
             Update the package source of the host's network, remove the image, and try again.",
            major.image_tag(),
            major.number(),
            major.minor_min(),
        ))),
    }
}

/// Makes an image ready and waits for it, telling each line: `pgflex image ensure`.
/// Gives the image's identity and the PostgreSQL version in it.
///
/// # Errors
/// When the engine does not answer or the image cannot be made; the text says what to do.
pub async fn ensure_image_now(
    engine: &DockerEngine,
    major: Major,
    mut on_line: impl FnMut(&str),
) -> Result<(String, String), EngineError> {
    let mut told = 0;
    loop {
        match engine.ensure_image(major).await? {
            ImageProgress::Ready { id, version } => return Ok((id, version)),
            ImageProgress::Building { lines, .. } => {
                lines.iter().skip(told).for_each(|line| on_line(line));
                told = lines.len();
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minors_below_the_oldest_are_refused() {
        assert!(check_minor(Major::V17, "17.5").is_ok());
        assert!(check_minor(Major::V17, "17.11").is_ok());
        for bad in ["17.4", "15.20", "17", "17.x", "", "18beta1"] {
            assert!(check_minor(Major::V17, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_carries_the_last_lines_and_knows_a_full_disk() {
        let progress = Progress::default();
        (0..100).for_each(|n| progress.line(format!("line {n}")));
        let EngineError::Refused(text) = progress.failed("Broken.", "Mend it.") else { panic!() };
        assert!(text.contains("line 99") && !text.contains("line 50") && text.contains("Mend it."));
        progress.line("write: No space left on device".into());
        assert!(matches!(progress.failed("Broken.", ""), EngineError::NoSpace(_)));
    }
}
