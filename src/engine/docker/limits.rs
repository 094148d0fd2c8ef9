//! Limits of a container that is there, and how much CPU it has used.

use super::errors::within;
use super::{CHANGE, DockerEngine, LOOK};
use crate::engine::{EngineError, Limits};
use bollard::models::{ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::TryStreamExt;

impl DockerEngine {
    pub(super) async fn set_limits(&self, name: &str, limits: &Limits) -> Result<(), EngineError> {
        self.must_be_ours(name).await?;
        let memory = limits.memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let body = ContainerUpdateBody {
            nano_cpus: Some((limits.vcores * 1e9).round() as i64),
            memory,
            // As at creation: no swap. The engine refuses memory above a swap limit that it is not told of.
            memory_swap: memory,
            pids_limit: limits.pids_max,
            ..Default::default()
        };
        within(CHANGE, name, self.client().await?.update_container(name, body)).await
    }

    pub(super) async fn change_restart(
        &self,
        name: &str,
        restarts: bool,
    ) -> Result<(), EngineError> {
        self.must_be_ours(name).await?;
        let policy = if restarts {
            RestartPolicyNameEnum::UNLESS_STOPPED
        } else {
            RestartPolicyNameEnum::NO
        };
        let body = ContainerUpdateBody {
            restart_policy: Some(RestartPolicy { name: Some(policy), maximum_retry_count: None }),
            ..Default::default()
        };
        within(CHANGE, name, self.client().await?.update_container(name, body)).await
    }

    pub(super) async fn read_cpu(&self, name: &str) -> Result<Option<u64>, EngineError> {
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let mut stats = Box::pin(self.client().await?.stats(name, Some(options)));
        let answer = match within(LOOK, name, stats.try_next()).await {
            Err(EngineError::Missing(_)) => return Ok(None),
            other => other?,
        };
        let used = answer.and_then(|stats| stats.cpu_stats?.cpu_usage?.total_usage);
        // Of a container that does not run the engine says zero.
        Ok(used.filter(|nanos| *nanos > 0))
    }
}
