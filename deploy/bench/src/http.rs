//! HTTP/1.1 over one kept connection, and no more of it than our own services speak: what measures must cost little.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const HEAD_END: &[u8] = b"\r\n\r\n";

/// A kept connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The head, as it came.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header by its lower-case name; empty when it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let of = |line: &'_ str| {
            let (key, _) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(key.len())
        };
        self.head
            .lines()
            .find_map(|line| line.get(of(line)? + 1..))
            .unwrap_or_default()
            .trim()
    }

    /// The body as JSON; null when it is not.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The JSON body, if the status is the one expected.
    pub(crate) fn expect(&self, status: u16, what: &str) -> Result<Value> {
        if self.status != status {
            bail!(
                "{what}: {} instead of {status}: {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            );
        }
        Ok(self.json())
    }
}

impl Connection {
    /// Connects to `host:port`.
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 << 10),
        })
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (head_end, length) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed");
            }
            if let Some(end) = self.buffer.windows(HEAD_END.len()).position(|w| w == HEAD_END) {
                let head = self.buffer.get(..end).unwrap_or_default();
                break (end, content_length(head));
            }
        };
        let body_at = head_end + HEAD_END.len();
        while self.buffer.len() < body_at + length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed");
            }
        }
        let head = String::from_utf8_lossy(self.buffer.get(..head_end).unwrap_or_default()).into_owned();
        let status = head
            .get(9..12)
            .and_then(|code| code.parse().ok())
            .context("no status")?;
        let body = self.buffer.get(body_at..).unwrap_or_default().to_vec();
        Ok(Answer { status, head, body })
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head);
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// A request as it goes over the wire. `headers` are whole lines, each with its end.
pub(crate) fn request(method: &str, path: &str, media_type: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: caracal\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}
