//! Volumes.

use super::errors::within;
use super::{CHANGE, DockerEngine, LOOK, is_same, labels_of, to_map};
use crate::engine::{EngineError, VolumeSpec};
use bollard::models::{Volume, VolumeCreateRequest};
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
        Ok(self.our_volume(name).await?.is_some())
    }

    /// An engine makes a missing volume together with the container that wants it: without labels and empty, in the
    /// place of one with data.
    pub(super) async fn must_have_volume(&self, name: &str) -> Result<(), EngineError> {
        match self.is_volume(name).await? {
            true => Ok(()),
            false => Err(EngineError::Missing(format!("the volume {name}"))),
        }
    }

    pub(super) async fn drop_volume(&self, name: &str) -> Result<(), EngineError> {
        let Some(volume) = self.our_volume(name).await? else { return Ok(()) };
        // The file would go on taking space, unseen, as long as a device has it.
        self.detach(&volume).await?;
        let removal = self.client().await?.remove_volume(name, None::<RemoveVolumeOptions>);
        match within(CHANGE, name, removal).await {
            Err(EngineError::Missing(_)) => Ok(()),
            other => other,
        }
    }

    async fn our_volume(&self, name: &str) -> Result<Option<Volume>, EngineError> {
        let client = self.client().await?;
        let volume = match within(LOOK, name, client.inspect_volume(name)).await {
            Err(EngineError::Missing(_)) => return Ok(None),
            other => other?,
        };
        if self.is_ours(&labels_of(Some(volume.labels.clone()))) {
            Ok(Some(volume))
        } else {
            Err(EngineError::Foreign(format!("a volume named {name}")))
        }
    }
}
