//! What one run of the benchmarks makes and removes again.

use crate::docker;
use pgflex::clock::new_uuid;
use std::path::PathBuf;
use std::sync::Mutex;

/// Label of everything that a run makes beside the portal's own objects; its value is the run's id.
pub const BENCH_LABEL: &str = "pgflex.bench";

/// One run.
pub struct World {
    pub id: String,
    /// Folder for databases, keys and configuration files.
    pub folder: PathBuf,
    installs: Mutex<Vec<String>>,
}

impl World {
    pub fn open() -> anyhow::Result<Self> {
        let id = new_uuid();
        let folder = std::env::temp_dir().join(format!("pgflex-bench-{id}"));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { id, folder, installs: Mutex::default() })
    }

    /// A part of the run's id that is short and differs from other runs'.
    pub fn short(&self) -> &str {
        &self.id[self.id.len() - 8..]
    }

    /// Everything of this installation is to be removed at the end.
    pub fn owns_install(&self, install_id: &str) {
        if let Ok(mut installs) = self.installs.lock() {
            installs.push(install_id.to_owned());
        }
    }

    /// Removes what is left: only what carries this run's label or one of its installations' ids.
    pub async fn clean(&self) {
        let installs = self.installs.lock().map(|ids| ids.clone()).unwrap_or_default();
        let mut labels = vec![format!("{BENCH_LABEL}={}", self.id)];
        labels.extend(installs.iter().map(|id| format!("pgflex.install={id}")));
        for label in labels {
            docker::remove_labelled(&label).await;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("bench: {} could not be removed: {error}", self.folder.display());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
