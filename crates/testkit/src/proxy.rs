//! A TCP proxy that can be cut, so that one test can lose a server which others share, and that listens in on what
//! PostgreSQL is asked.

mod statements;

use statements::Ear;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// How often each statement was executed, by the `application_name` of the connection and the statement's text.
type Heard = Arc<Mutex<BTreeMap<(String, String), u64>>>;

/// A proxy on loopback. While it is cut, running connections are closed and new ones are closed at once.
///
/// It runs on a thread of its own, and all its connections end with it. On the test's run time they would outlive it
/// while the test's thread waits in a destructor: PostgreSQL drops no database, in the whole cluster, before a client
/// that broke off in the middle of its authentication is seen to be gone, which without its end of file takes a minute.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    open: Arc<watch::Sender<bool>>,
    heard: Heard,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy to `target`, open.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener can be made so");
        let port = listener
            .local_addr()
            .expect("a bound listener has an address")
            .port();
        let open = Arc::new(watch::Sender::new(true));
        let heard = Heard::default();
        let (end, ended) = oneshot::channel();
        let (state, tally) = (Arc::clone(&open), Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a run time");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, target, state, tally) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            port,
            open,
            heard,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// How often each statement was executed so far over the connections that call themselves `application`, when what
    /// is behind the proxy is a PostgreSQL.
    #[must_use]
    pub fn statements(&self, application: &str) -> BTreeMap<String, u64> {
        let heard = self.heard.lock().expect("no holder panics");
        let of_it = heard.iter().filter(|((name, _), _)| name == application);
        of_it.map(|((_, text), times)| (text.clone(), *times)).collect()
    }

    /// Closes every connection and refuses new ones.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It may have panicked, and then its connections are gone too.
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: std::net::TcpListener,
    target: SocketAddr,
    open: Arc<watch::Sender<bool>>,
    heard: Heard,
) {
    let listener = TcpListener::from_std(listener).expect("a listener that does not block");
    while let Ok((inbound, _)) = listener.accept().await {
        tokio::spawn(pass(inbound, target, open.subscribe(), Arc::clone(&heard)));
    }
}

async fn pass(mut inbound: TcpStream, target: SocketAddr, mut open: watch::Receiver<bool>, heard: Heard) {
    if !*open.borrow() {
        return;
    }
    let Ok(mut outbound) = TcpStream::connect(target).await else {
        return;
    };
    // A delayed packet would show up in what tests measure. Whether either side fails does not matter here.
    let _ = (inbound.set_nodelay(true), outbound.set_nodelay(true));
    tokio::select! {
        _ = both_ways(&mut inbound, &mut outbound, heard) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

async fn both_ways(client: &mut TcpStream, server: &mut TcpStream, heard: Heard) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let questions = async {
        let (mut ear, mut buffer) = (Ear::default(), vec![0; 16 * 1024]);
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                return to_server.shutdown().await;
            }
            let said = buffer.get(..read).expect("no more is read than there is room");
            for statement in ear.hear(said) {
                *heard
                    .lock()
                    .expect("no holder panics")
                    .entry(statement)
                    .or_default() += 1;
            }
            to_server.write_all(said).await?;
        }
    };
    let answers = async {
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(questions, answers).map(drop)
}
