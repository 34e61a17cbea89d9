//! Small real upstreams on loopback, as plain as TCP, so that a test sees every byte.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What an upstream does with a connection once it has read the head of a request.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// Answers with this text, head and all, and closes.
    Says(&'static str),
    /// Begins a chunked answer, and goes on with a chunk every 50 ms for ever.
    Streams,
    /// Begins a chunked answer and then says nothing for ever.
    Stalls,
    /// Never answers.
    Hangs,
    /// Reads a chunked body to its end, and answers only then; notes [`BROKEN_OFF`] when it has none.
    Swallows,
    /// Becomes a WebSocket that sends every byte back.
    Echoes,
}

/// What is noted of a body that did not come to its end.
pub(crate) const BROKEN_OFF: &str = "(broken off)";

/// A running upstream; what it heard is the heads of all requests.
pub(crate) struct Plain {
    pub(crate) url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Plain {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's run time")]
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, manner, Arc::clone(&log)));
            }
        });
        Self { url, heard }
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no holder panics").clone()
    }
}

async fn serve(mut connection: TcpStream, manner: Manner, log: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    log.lock()
        .expect("no holder panics")
        .push(String::from_utf8_lossy(&head).into_owned());
    // Whatever breaks here is the gateway closing the connection, which is what some tests want.
    let behaved = behave(&mut connection, manner).await;
    if behaved.is_err_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof) {
        log.lock().expect("no holder panics").push(BROKEN_OFF.to_owned());
    }
}

async fn behave(connection: &mut TcpStream, manner: Manner) -> std::io::Result<()> {
    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    match manner {
        Manner::Says(text) => connection.write_all(text.as_bytes()).await,
        Manner::Hangs => std::future::pending().await,
        Manner::Swallows => {
            let mut body = Vec::new();
            while !body.ends_with(b"\r\n0\r\n\r\n") {
                if connection.read_buf(&mut body).await.unwrap_or_default() == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await
        }
        Manner::Stalls => {
            connection.write_all(CHUNKED).await?;
            connection.write_all(b"9\r\ndata: 1\n\n\r\n").await?;
            std::future::pending().await
        }
        Manner::Streams => {
            connection.write_all(CHUNKED).await?;
            loop {
                connection.write_all(b"9\r\ndata: 1\n\n\r\n").await?;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        Manner::Echoes => {
            let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
            connection.write_all(switch).await?;
            let (mut read, mut write) = connection.split();
            tokio::io::copy(&mut read, &mut write).await.map(drop)
        }
    }
}
