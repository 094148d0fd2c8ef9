//! What runs in a container: started, stopped, signalled, waited for, listened to.

use super::errors::within;
use super::{CHANGE, DockerEngine, LOOK, START, STOP_MARGIN};
use crate::engine::EngineError;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::{
    KillContainerOptionsBuilder, LogsOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::{StreamExt, TryStreamExt};
use std::time::Duration;

/// A line is cut here: what a container writes can be of any length.
const LINE_CHARS_MAX: usize = 1000;
/// Bytes of output read at most.
const TAIL_BYTES_MAX: usize = 1 << 20;
/// The same of all that a helper wrote.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// Time that reading all of it may take.
const OUTPUT: Duration = Duration::from_secs(30);

impl DockerEngine {
    /// Refuses a container of somebody else that happens to have the name: it is not touched.
    pub(super) async fn must_be_ours(&self, name: &str) -> Result<(), EngineError> {
        match self.look_at(name).await? {
            Some(found) if self.is_ours(&found.labels) => Ok(()),
            Some(_) => Err(EngineError::Foreign(name.to_owned())),
            None => Err(EngineError::Missing(name.to_owned())),
        }
    }

    pub(super) async fn start(&self, name: &str) -> Result<(), EngineError> {
        self.must_be_ours(name).await?;
        let start = self.client().await?.start_container(name, None::<StartContainerOptions>);
        within(START, name, start).await
    }

    pub(super) async fn stop(&self, name: &str, grace: Duration) -> Result<(), EngineError> {
        self.must_be_ours(name).await?;
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let stop = self.client().await?.stop_container(name, Some(options));
        within(grace + STOP_MARGIN, name, stop).await
    }

    /// The engine takes every signal it sends for a wish to stop, and then its restart policy no longer starts
    /// the container after a crash. So all but the kill is sent from inside.
    pub(super) async fn signal(&self, name: &str, signal: &str) -> Result<(), EngineError> {
        if !signal.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(EngineError::Refused(format!("“{signal}” is no signal")));
        }
        self.must_be_ours(name).await?;
        if signal == "SIGKILL" {
            let options = KillContainerOptionsBuilder::new().signal(signal).build();
            let kill = self.client().await?.kill_container(name, Some(options));
            return within(CHANGE, name, kill).await;
        }
        let word = signal.strip_prefix("SIG").unwrap_or(signal);
        match self.execute(name, &["sh", "-c", "kill -s \"$0\" 1", word]).await? {
            0 => Ok(()),
            code => {
                Err(EngineError::Refused(format!("{name} did not take {signal} (code {code})")))
            }
        }
    }

    /// Runs a short program in a running container and gives its exit code.
    async fn execute(&self, name: &str, command: &[&str]) -> Result<i64, EngineError> {
        let client = self.client().await?;
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let run = async {
            let exec = client.create_exec(name, options).await?.id;
            if let StartExecResults::Attached { mut output, .. } =
                client.start_exec(&exec, None).await?
            {
                while output.try_next().await?.is_some() {}
            }
            client.inspect_exec(&exec).await
        };
        Ok(within(CHANGE, name, run).await?.exit_code.unwrap_or(-1))
    }

    /// A container that was made and never started has not ended, though the engine would say so.
    pub(super) async fn wait(
        &self,
        name: &str,
        patience: Duration,
    ) -> Result<Option<i64>, EngineError> {
        let found = self.look_at(name).await?;
        let found = found.ok_or_else(|| EngineError::Missing(name.to_owned()))?;
        if found.exit_code.is_some() || found.state == "created" {
            return Ok(found.exit_code);
        }
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut wait = Box::pin(self.client().await?.wait_container(name, Some(options)));
        match tokio::time::timeout(patience, wait.next()).await {
            Err(_) => Ok(None),
            Ok(Some(Ok(answer))) => Ok(Some(answer.status_code)),
            Ok(Some(Err(Error::DockerContainerWaitError { code, .. }))) => Ok(Some(code)),
            Ok(Some(Err(error))) => Err(super::errors::explain(name, error)),
            Ok(None) => Err(EngineError::Silent(format!("the wait for {name} broke off"))),
        }
    }

    pub(super) async fn read_output(&self, name: &str) -> Result<String, EngineError> {
        let options = LogsOptionsBuilder::new().stdout(true).build();
        let logs = self.client().await?.logs(name, Some(options));
        let text = within(OUTPUT, name, read_all(logs, OUTPUT_BYTES_MAX)).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub(super) async fn last_lines(
        &self,
        name: &str,
        lines: usize,
    ) -> Result<Vec<String>, EngineError> {
        let options =
            LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let logs = self.client().await?.logs(name, Some(options));
        let text = within(LOOK, name, read_all(logs, TAIL_BYTES_MAX)).await?;
        let mut all = to_lines(&text);
        Ok(all.split_off(all.len().saturating_sub(lines)))
    }
}

async fn read_all(
    logs: impl futures_util::Stream<Item = Result<LogOutput, Error>>,
    most: usize,
) -> Result<Vec<u8>, Error> {
    let mut logs = std::pin::pin!(logs);
    let mut text = Vec::new();
    while let Some(part) = logs.try_next().await? {
        text.extend_from_slice(&part.into_bytes());
        if text.len() > most {
            break;
        }
    }
    Ok(text)
}

/// Text for people: no control characters, which could rewrite a terminal or a page's meaning.
pub(in crate::engine) fn to_lines(text: &[u8]) -> Vec<String> {
    let clean = |line: &str| -> String {
        let visible = line.chars().map(|c| if c.is_control() { ' ' } else { c });
        visible.take(LINE_CHARS_MAX).collect::<String>().trim_end().to_owned()
    };
    String::from_utf8_lossy(text).lines().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_clean_and_bounded() {
        let long = "x".repeat(5000);
        let text = format!("a\x1b[31mb\r\n{long}\nc");
        let lines = to_lines(text.as_bytes());
        assert_eq!(lines[0], "a [31mb");
        assert_eq!((lines[1].len(), lines[2].as_str()), (LINE_CHARS_MAX, "c"));
    }
}
