//! A small object storage for tests: as much of S3's protocol over TLS as pgBackRest speaks, in memory, that fails on
//! command. It checks who asks by the name of the key alone.

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub const KEY_ID: &str = "TESTKEYID";
pub const SECRET: &str = "walnut/marmalade+secret0815";
pub const BUCKET: &str = "backups";

/// How it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Well,
    /// 500 to everything.
    Errors,
    /// 503 SlowDown to everything.
    SlowDown,
    /// The connection ends in the middle of an answer.
    Cuts,
    /// 403: the key has expired.
    Denies,
}

type Objects = BTreeMap<String, Vec<u8>>;

struct State {
    objects: Mutex<Objects>,
    uploads: Mutex<BTreeMap<usize, BTreeMap<usize, Vec<u8>>>>,
    mood: Mutex<Mood>,
    refused: AtomicUsize,
    numbers: AtomicUsize,
}

/// It listens on all addresses until the test ends.
pub struct ObjectServer {
    state: Arc<State>,
    pub port: u16,
    /// PEM.
    pub authority: String,
}

struct Request {
    method: String,
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    code: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(code: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { code, headers: vec![], body: body.into() }
    }
}

impl ObjectServer {
    /// Known by this address, at which containers reach this machine.
    pub fn start(address: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        // As with its own servers, pgBackRest looks for the host among the DNS names alone.
        params.subject_alt_names.push(SanType::DnsName(address.try_into().unwrap()));
        let certificate = params.self_signed(&key).unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let secret = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            objects: Mutex::default(),
            uploads: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            refused: AtomicUsize::new(0),
            numbers: AtomicUsize::new(0),
        });
        let (tls, shared) = (Arc::new(tls), state.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, state) = (tls.clone(), shared.clone());
                std::thread::spawn(move || {
                    let _ = serve(&tls, &state, stream);
                });
            }
        });
        Self { state, port, authority: certificate.pem() }
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    /// Requests that it answered otherwise than well.
    pub fn refused(&self) -> usize {
        self.state.refused.load(Ordering::SeqCst)
    }

    /// Every object by its name.
    pub fn objects(&self) -> Objects {
        self.state.objects.lock().unwrap().clone()
    }
}

fn serve(tls: &Arc<ServerConfig>, state: &State, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let connection = ServerConnection::new(tls.clone()).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(request) = read(&mut stream)? {
        let mood = *state.mood.lock().unwrap();
        if mood != Mood::Well {
            state.refused.fetch_add(1, Ordering::SeqCst);
        }
        let answer = match mood {
            Mood::Well => answer(state, &request),
            Mood::Errors => error(500, "InternalError"),
            Mood::SlowDown => error(503, "SlowDown"),
            Mood::Denies => error(403, "ExpiredToken"),
            Mood::Cuts => {
                return stream
                    .get_mut()
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n<");
            }
        };
        let mut head = format!("HTTP/1.1 {} X\r\n", answer.code);
        for (name, value) in &answer.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "content-length: {}\r\n\r\n", answer.body.len());
        let mut bytes = head.into_bytes();
        if request.method != "HEAD" {
            bytes.extend(answer.body);
        }
        stream.get_mut().write_all(&bytes)?;
        stream.get_mut().flush()?;
    }
    Ok(())
}

/// `None` at the end of the connection.
fn read(stream: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (method, path) = (method.to_owned(), decode(path));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    };
    let query = query.split('&').filter(|one| !one.is_empty()).map(pair).collect();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let key = path.strip_prefix(&format!("/{BUCKET}/")).unwrap_or_default().to_owned();
    Ok(Some(Request { method, key, query, headers, body }))
}

fn decode(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(&String::from_utf8_lossy(&hex), 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn answer(state: &State, request: &Request) -> Answer {
    let authorization = request.headers.get("authorization").map_or("", String::as_str);
    if !authorization.contains(&format!("Credential={KEY_ID}/")) {
        return error(403, "InvalidAccessKeyId");
    }
    let asks = |name: &str| request.query.get(name).map(String::as_str);
    let upload = asks("uploadId").and_then(|id| id.parse::<usize>().ok());
    let part = asks("partNumber").and_then(|number| number.parse::<usize>().ok());
    let mut objects = state.objects.lock().unwrap();
    let mut uploads = state.uploads.lock().unwrap();
    match (request.method.as_str(), upload, part) {
        ("GET", ..) if asks("list-type") == Some("2") => list(&objects, &request.query),
        ("POST", ..) if asks("delete").is_some() => {
            let text = String::from_utf8_lossy(&request.body).into_owned();
            for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>")) {
                objects.remove(key.0);
            }
            Answer::new(200, "<?xml version=\"1.0\"?><DeleteResult></DeleteResult>")
        }
        ("POST", ..) if asks("uploads").is_some() => {
            let id = state.numbers.fetch_add(1, Ordering::SeqCst);
            uploads.insert(id, BTreeMap::new());
            Answer::new(
                200,
                format!(
                    "<?xml version=\"1.0\"?><InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ),
            )
        }
        ("PUT", Some(id), Some(number)) => {
            uploads.entry(id).or_default().insert(number, request.body.clone());
            Answer { headers: vec![("etag", format!("\"{number}\""))], ..Answer::new(200, "") }
        }
        ("POST", Some(id), _) => {
            let parts = uploads.remove(&id).unwrap_or_default();
            objects.insert(request.key.clone(), parts.into_values().flatten().collect());
            Answer::new(
                200,
                "<?xml version=\"1.0\"?><CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>",
            )
        }
        ("PUT", ..) => {
            objects.insert(request.key.clone(), request.body.clone());
            Answer { headers: vec![("etag", "\"x\"".into())], ..Answer::new(200, "") }
        }
        ("DELETE", ..) => {
            objects.remove(&request.key);
            Answer::new(204, "")
        }
        _ => match objects.get(&request.key) {
            None => error(404, "NoSuchKey"),
            Some(object) => get(object, request.headers.get("range")),
        },
    }
}

fn get(object: &[u8], range: Option<&String>) -> Answer {
    let modified = ("last-modified", "Mon, 23 Nov 2026 10:00:00 GMT".to_owned());
    let wanted = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = wanted else {
        return Answer { headers: vec![modified], ..Answer::new(200, object) };
    };
    let first: usize = first.parse().unwrap_or(0).min(object.len());
    let end = last.parse::<usize>().map_or(object.len(), |last| (last + 1).min(object.len()));
    Answer { headers: vec![modified], ..Answer::new(206, &object[first..end.max(first)]) }
}

/// Pages of few entries, so that continuation is used.
fn list(objects: &Objects, query: &BTreeMap<String, String>) -> Answer {
    const PAGE: usize = 20;
    let asks = |name: &str| query.get(name).map_or("", String::as_str);
    let (prefix, delimiter, after) =
        (asks("prefix"), asks("delimiter"), asks("continuation-token"));
    let mut entries: BTreeMap<String, Option<usize>> = BTreeMap::new();
    for (key, object) in objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        match rest.split_once(delimiter).filter(|_| !delimiter.is_empty()) {
            Some((folder, _)) => entries.insert(format!("{prefix}{folder}{delimiter}"), None),
            None => entries.insert(key.clone(), Some(object.len())),
        };
    }
    let all: Vec<_> = entries.into_iter().filter(|(key, _)| key.as_str() > after).collect();
    let mut text = String::from("<?xml version=\"1.0\"?><ListBucketResult>");
    let has_more = all.len() > PAGE;
    let _ = write!(text, "<IsTruncated>{has_more}</IsTruncated>");
    for (key, size) in all.iter().take(PAGE) {
        let _ = match size {
            None => write!(text, "<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>"),
            Some(size) => write!(
                text,
                "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2026-11-23T10:00:00.000Z</LastModified></Contents>"
            ),
        };
    }
    if has_more {
        let _ = write!(text, "<NextContinuationToken>{}</NextContinuationToken>", all[PAGE - 1].0);
    }
    text.push_str("</ListBucketResult>");
    Answer::new(200, text)
}

fn error(code: u16, name: &str) -> Answer {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{name}</Code></Error>");
    Answer::new(code, body)
}
