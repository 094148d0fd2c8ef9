//! Volumes.

use super::errors::within;
use super::{CHANGE, DockerEngine, LOOK, is_same, labels_of, to_map};
use crate::engine::{EngineError, VolumeSpec};
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::RemoveVolumeOptions;

impl DockerEngine {
    /// The engine answers a second creation with the volume that is there, whoever made it: its labels tell.
    pub(super) async fn make_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError> {
        let request = VolumeCreateRequest {
            name: Some(spec.name.clone()),
            driver: Some("local".into()),
            labels: Some(to_map(&spec.labels)),
            ..Default::default()
        };
        let client = self.client().await?;
        let volume = within(CHANGE, &spec.name, client.create_volume(request)).await?;
        if is_same(&labels_of(Some(volume.labels)), &spec.labels) {
            Ok(())
        } else {
            Err(EngineError::Foreign(format!("a volume named {}", spec.name)))
        }
    }

    pub(super) async fn is_volume(&self, name: &str) -> Result<bool, EngineError> {
        let client = self.client().await?;
        let volume = match within(LOOK, name, client.inspect_volume(name)).await {
            Err(EngineError::Missing(_)) => return Ok(false),
            other => other?,
        };
        if self.is_ours(&labels_of(Some(volume.labels))) {
            Ok(true)
        } else {
            Err(EngineError::Foreign(format!("a volume named {name}")))
        }
    }

    pub(super) async fn drop_volume(&self, name: &str) -> Result<(), EngineError> {
        if !self.is_volume(name).await? {
            return Ok(());
        }
        let removal = self.client().await?.remove_volume(name, None::<RemoveVolumeOptions>);
        match within(CHANGE, name, removal).await {
            Err(EngineError::Missing(_)) => Ok(()),
            other => other,
        }
    }
}
