//! A browser's connection, as small as it gets: one HTTP/1.1 connection kept open, cookies, forms. It
//! measures the server, so it must cost little itself.

use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What came back.
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    cookies: BTreeMap<String, String>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { address, stream: open(address).await?, cookies: BTreeMap::new() })
    }

    /// Another connection of the same browser.
    pub async fn again(&self) -> anyhow::Result<Self> {
        Ok(Self {
            address: self.address,
            stream: open(self.address).await?,
            cookies: self.cookies.clone(),
        })
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.ask("GET", path, None).await
    }

    /// Sends a form of the page at `path`, with what the page hides in it.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let page = self.get(path).await?;
        let page = String::from_utf8_lossy(&page.body).into_owned();
        let hidden = ["csrf", "draft"].map(|name| Some((name, hidden(&page, name)?)));
        let fields = [fields, &hidden.into_iter().flatten().collect::<Vec<_>>()].concat();
        self.ask("POST", path, Some(serde_html_form::to_string(&fields)?)).await
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        form: Option<String>,
    ) -> anyhow::Result<Answer> {
        let address = self.address;
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nCookie: {}\r\n",
            cookies.join("; ")
        );
        let form = form.unwrap_or_default();
        if method == "POST" {
            request += &format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                form.len()
            );
        }
        request += "\r\n";
        request += &form;
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.with_context(|| format!("no HTTP answer: {first}"))?;
        let (mut length, mut is_chunked, mut location) = (0, false, None);
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse()?,
                "transfer-encoding" => is_chunked = value.eq_ignore_ascii_case("chunked"),
                "location" => location = Some(value.to_owned()),
                "set-cookie" => self.keep_cookie(value),
                _ => {}
            }
        }
        let body = if is_chunked { self.chunks().await? } else { self.bytes(length).await? };
        Ok(Answer { status, location, body })
    }

    fn keep_cookie(&mut self, header: &str) {
        let pair = header.split(';').next().unwrap_or_default();
        if let Some((name, value)) = pair.split_once('=') {
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }

    async fn bytes(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = vec![];
        loop {
            let length = usize::from_str_radix(&self.line().await?, 16)?;
            body.extend(self.bytes(length).await?);
            self.line().await?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

async fn open(address: SocketAddr) -> anyhow::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(BufReader::with_capacity(64 * 1024, stream))
}

/// The value of a hidden field.
fn hidden<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let field = page.find(&format!("name=\"{name}\""))?;
    let value = &page[field..];
    let value = &value[value.find("value=\"")? + 7..];
    value.split('"').next()
}

/// Makes the first owner by the set-up link; the client is signed in afterwards.
pub async fn sign_up(client: &mut Client, link: &str) -> anyhow::Result<()> {
    let path = link.find("/setup/").map(|at| &link[at..]).context("no set-up link")?;
    let password = "a sentence for the bench";
    let fields = [("login", "owner"), ("password", password), ("password_again", password)];
    let answer = client.post(path.trim(), &fields).await?;
    if answer.status != 303 {
        bail!("signing up was answered with {}", answer.status);
    }
    Ok(())
}
