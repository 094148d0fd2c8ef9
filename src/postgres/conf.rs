//! Temporary shape; the engine branch has the real one.
pub struct TlsFiles {
    pub certificate: crate::secrets::Secret,
    pub key: crate::secrets::Secret,
    pub client_authority: crate::secrets::Secret,
}
pub struct ConfigFile {
    pub path: String,
    pub mode: u32,
    pub content: Vec<u8>,
}
pub fn files(_spec: &crate::domain::server::ServerSpec, _tls: &TlsFiles) -> Vec<ConfigFile> {
    vec![]
}
