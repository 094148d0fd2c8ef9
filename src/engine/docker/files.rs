//! Files put into a volume and read from it.

use super::errors::{explain, late, within};
use super::{CHANGE, DockerEngine};
use crate::engine::blueprint::VOLUME_PATH;
use crate::engine::{EngineError, FILE_BYTES_MAX, FileSpec};
use bollard::errors::Error;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures_util::TryStreamExt;
use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

/// The image's postgres user and group.
const OWNER: u64 = 5432;

impl DockerEngine {
    pub(super) async fn upload(
        &self,
        container: &str,
        files: &[FileSpec],
    ) -> Result<(), EngineError> {
        let archive = pack(files).map_err(|error| EngineError::Refused(error.to_string()))?;
        self.must_be_ours(container).await?;
        let options = UploadToContainerOptionsBuilder::new()
            .path(VOLUME_PATH)
            .no_overwrite_dir_non_dir("true")
            .build();
        let body = bollard::body_full(archive.into());
        let put = self.client().await?.upload_to_container(container, Some(options), body);
        within(CHANGE, container, put).await
    }
}

/// Time that reading a file may take.
const DOWNLOAD: Duration = Duration::from_secs(120);

impl DockerEngine {
    pub(super) async fn download(
        &self,
        container: &str,
        path: &str,
    ) -> Result<Option<Vec<u8>>, EngineError> {
        self.must_be_ours(container).await?;
        let path = format!("{VOLUME_PATH}/{path}");
        let options = DownloadFromContainerOptionsBuilder::new().path(&path).build();
        let client = self.client().await?;
        let read = async {
            let mut stream = client.download_from_container(container, Some(options));
            let mut archive = Vec::new();
            while let Some(part) = stream.try_next().await? {
                archive.extend_from_slice(&part);
                if archive.len() > FILE_BYTES_MAX {
                    break;
                }
            }
            Ok(archive)
        };
        match tokio::time::timeout(DOWNLOAD, read).await {
            Err(_) => Err(late(&path, DOWNLOAD)),
            // The container is there: it is the file that is not.
            Ok(Err(Error::DockerResponseServerError { status_code: 404, .. })) => Ok(None),
            Ok(Err(error)) => Err(explain(container, error)),
            Ok(Ok(archive)) => unpack(&archive, &path),
        }
    }
}

/// The one file of an archive.
fn unpack(archive: &[u8], path: &str) -> Result<Option<Vec<u8>>, EngineError> {
    let refused = |why: String| EngineError::Refused(format!("{path}: {why}"));
    let read = || -> std::io::Result<Option<Vec<u8>>> {
        for entry in tar::Archive::new(archive).entries()? {
            let mut entry = entry?;
            if entry.header().entry_type().is_file() {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                // The end of the archive inside of a file is no error to its reader.
                if content.len() as u64 != entry.header().size()? {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                return Ok(Some(content));
            }
        }
        Ok(None)
    };
    if archive.len() > FILE_BYTES_MAX {
        return Err(refused("it is too large to be read".into()));
    }
    match read().map_err(|error| refused(error.to_string()))? {
        Some(content) => Ok(Some(content)),
        None => Err(refused("it is no file".into())),
    }
}

/// An archive of the files and the directories above them, which belong to PostgreSQL alone.
fn pack(files: &[FileSpec]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for directory in directories(files)? {
        let mut header = header(tar::EntryType::Directory, 0o700, 0);
        archive.append_data(&mut header, format!("{directory}/"), std::io::empty())?;
    }
    for file in files {
        let mut header = header(tar::EntryType::Regular, file.mode, file.content.len() as u64);
        archive.append_data(&mut header, &file.path, file.content.as_slice())?;
    }
    archive.into_inner()
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(OWNER);
    header.set_gid(OWNER);
    header.set_size(size);
    header
}

/// Every directory above a file, outermost first. Paths are ours; one that leaves the volume is a mistake.
fn directories(files: &[FileSpec]) -> std::io::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for file in files {
        let parts: Vec<&str> = file.path.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || *part == "." || *part == "..") {
            let text = format!("“{}” is no path below a volume", file.path);
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
        }
        for depth in 1..parts.len() {
            all.insert(parts[..depth].join("/"));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> FileSpec {
        FileSpec { path: path.into(), mode: 0o600, content: b"x".to_vec() }
    }

    #[test]
    fn what_was_packed_is_unpacked_and_half_of_it_is_an_error() {
        let packed = pack(&[file("a.key")]).unwrap();
        assert_eq!(unpack(&packed, "a.key").unwrap(), Some(b"x".to_vec()));
        let large = FileSpec { content: vec![7; 4096], ..file("a.key") };
        let packed = pack(&[large]).unwrap();
        assert!(unpack(&packed[..2000], "a.key").is_err());
        assert!(unpack(&[0; 1024], "a").is_err(), "an empty archive has no file");
    }

    #[test]
    fn an_archive_holds_private_directories_then_files() {
        let packed = pack(&[file("config/tls/key.pem"), file("config/a.conf")]).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (OWNER, OWNER));
                (entry.path().unwrap().display().to_string(), header.mode().unwrap())
            })
            .collect();
        let expected = [
            ("config/", 0o700),
            ("config/tls/", 0o700),
            ("config/tls/key.pem", 0o600),
            ("config/a.conf", 0o600),
        ];
        assert_eq!(entries, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }

    #[test]
    fn a_path_out_of_the_volume_is_refused() {
        for bad in ["../x", "/etc/passwd", "a//b", "", "a/./b", "a/.."] {
            assert!(pack(&[file(bad)]).is_err(), "{bad}");
        }
    }
}
