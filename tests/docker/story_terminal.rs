//! A person's terminal: runs what a page prints, as it stands there, in an empty folder.

use crate::portal::PASSWORD;
use std::path::PathBuf;
use std::process::Command;

/// A folder and a shell without anything that could help or hinder.
pub struct Terminal {
    pub folder: PathBuf,
}

impl Terminal {
    pub fn open() -> Self {
        let folder =
            std::env::temp_dir().join(format!("pgflex-terminal-{}", pgflex::clock::new_uuid()));
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    /// Runs a printed command; its output, or what it said on failure. The password comes from the
    /// environment, because nobody is there to be asked for it.
    pub async fn run(&self, command: &str) -> Result<String, String> {
        let (folder, command) = (self.folder.clone(), command.to_owned());
        tokio::task::spawn_blocking(move || {
            let output = Command::new("sh")
                .args(["-c", &command])
                .current_dir(&folder)
                .env_clear()
                .env("PATH", "/usr/local/bin:/usr/bin:/bin")
                .env("HOME", &folder)
                .env("PGPASSWORD", PASSWORD)
                .env("PGCONNECT_TIMEOUT", "60")
                .output()
                .unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            if output.status.success() {
                Ok(text(&output.stdout))
            } else {
                Err(text(&output.stderr))
            }
        })
        .await
        .unwrap()
    }

    /// A printed command that calls psql, with a question to ask.
    pub async fn ask(&self, printed: &str, sql: &str) -> Result<String, String> {
        self.run(&format!("{printed} -XAt -c '{sql}'")).await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
