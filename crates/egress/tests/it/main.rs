//! The client against real sockets on this machine.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod metadata;

use caracal_egress::body::empty;
use caracal_egress::{EgressError, EgressPolicy, Forbidden, Internal, Upstreams};
use http::Request;
use http_body_util::BodyExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with `answer` and counts the connections.
async fn server(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::task::spawn_local(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, connections)
}

fn get(url: &str) -> Request<caracal_egress::Body> {
    Request::get(url).body(empty()).expect("a request")
}

fn policy(allow_private: bool) -> EgressPolicy {
    EgressPolicy {
        allow_private,
        host_allowlist: Vec::new(),
    }
}

async fn refused(client: &Upstreams, url: &str) -> Forbidden {
    match client.send(get(url)).await {
        Err(EgressError::Forbidden(why)) => why,
        other => panic!("{url} was not refused: {other:?}"),
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

async fn local<F: Future>(work: F) -> F::Output {
    tokio::task::LocalSet::new().run_until(work).await
}

#[tokio::test]
async fn loopback_is_refused_where_the_connection_is_made() {
    local(async {
        let (address, connections) = server(OK).await;
        let client = Upstreams::new(policy(false), Vec::new()).expect("a client");
        for host in [
            "127.0.0.1",
            "localhost",
            "[::ffff:127.0.0.1]",
            "127.1",
            "2130706433",
        ] {
            let url = format!("http://{host}:{}/", address.port());
            assert_eq!(refused(&client, &url).await, Forbidden::PrivateAddress, "{host}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 0);
    })
    .await;
}

#[tokio::test]
async fn metadata_is_refused_even_where_private_addresses_are_allowed() {
    local(async {
        let client = Upstreams::new(policy(true), Vec::new()).expect("a client");
        for host in [
            "169.254.169.254",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "0.0.0.0",
            "224.0.0.1",
        ] {
            assert_eq!(
                refused(&client, &format!("http://{host}/")).await,
                Forbidden::NeverAllowed,
                "{host}"
            );
            assert_eq!(
                refused(&client, &format!("https://{host}/")).await,
                Forbidden::NeverAllowed,
                "{host}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn our_own_listeners_are_refused() {
    local(async {
        let (address, connections) = server(OK).await;
        let client = Upstreams::new(policy(true), vec![address]).expect("a client");
        for host in ["127.0.0.1", "127.0.0.2", "localhost"] {
            let url = format!("http://{host}:{}/", address.port());
            assert_eq!(refused(&client, &url).await, Forbidden::OwnListener, "{host}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 0);
    })
    .await;
}

#[tokio::test]
async fn a_connection_goes_to_what_was_judged_and_nothing_is_looked_up_again() {
    local(async {
        let (address, _) = server(OK).await;
        let client = Upstreams::new(policy(true), Vec::new()).expect("a client");
        let judged = client
            .judge(&format!("http://{address}/"))
            .await
            .expect("allowed");
        // Such a name leads nowhere, by RFC 6761.
        let answer = client.send_to(&judged, get("http://moved.invalid/")).await;
        assert_eq!(answer.expect("it went to what was judged").status(), 200);
        assert!(client.send(get("http://moved-too.invalid/")).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_destination_is_judged_before_anything_is_sent() {
    local(async {
        let (address, connections) = server(OK).await;
        let named = format!("http://localhost:{}/", address.port());
        let strict = Upstreams::new(policy(false), Vec::new()).expect("a client");
        let own = Upstreams::new(policy(true), vec![address]).expect("a client");
        for (client, url, why) in [
            (&strict, named.as_str(), Forbidden::PrivateAddress),
            (&own, named.as_str(), Forbidden::OwnListener),
            (&own, "http://169.254.169.254/", Forbidden::NeverAllowed),
        ] {
            match client.judge(url).await {
                Err(EgressError::Forbidden(found)) => assert_eq!(found, why, "{url}"),
                other => panic!("{url} was not refused: {other:?}"),
            }
        }
        let lost = own.judge("http://no-such.invalid/").await;
        assert!(matches!(lost, Err(EgressError::Unreachable(_))), "{lost:?}");
        assert_eq!(connections.load(Ordering::SeqCst), 0);
    })
    .await;
}

#[tokio::test]
async fn an_allowed_call_streams_back_and_redirects_are_answers() {
    local(async {
        let client = Upstreams::new(policy(true), Vec::new()).expect("a client");
        let (address, _) = server(OK).await;
        let answer = client
            .send(get(&format!("http://{address}/x?y=1")))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.into_body().collect().await.expect("a body").to_bytes(),
            "hi"
        );

        let (target, connections) = server(OK).await;
        let location =
            format!("HTTP/1.1 302 Found\r\nlocation: http://{target}/\r\ncontent-length: 0\r\n\r\n");
        let (address, _) = server(Box::leak(location.into_boxed_str())).await;
        assert_eq!(
            client
                .send(get(&format!("http://{address}/")))
                .await
                .expect("an answer")
                .status(),
            302
        );
        assert_eq!(connections.load(Ordering::SeqCst), 0, "nobody followed it");
    })
    .await;
}

#[tokio::test]
async fn the_allow_list_names_the_only_hosts() {
    local(async {
        let (address, _) = server(OK).await;
        let policy = EgressPolicy {
            allow_private: true,
            host_allowlist: vec!["localhost".to_owned()],
        };
        let client = Upstreams::new(policy, Vec::new()).expect("a client");
        assert_eq!(
            refused(&client, &format!("http://{address}/")).await,
            Forbidden::HostNotListed
        );
        assert!(
            client
                .send(get(&format!("http://localhost:{}/", address.port())))
                .await
                .is_ok()
        );
    })
    .await;
}

#[tokio::test]
async fn a_silent_destination_is_a_timeout_and_a_closed_one_is_unreachable() {
    local(async {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = silent.local_addr().expect("bound");
        let client = Upstreams::new(policy(true), Vec::new())
            .expect("a client")
            .with_answer_timeout(Duration::from_millis(100));
        let started = Instant::now();
        assert!(matches!(
            client.send(get(&format!("http://{address}/"))).await,
            Err(EgressError::Timeout)
        ));
        assert!(started.elapsed() < Duration::from_secs(2));
        drop(silent);
        assert!(matches!(
            client.send(get(&format!("http://{address}/"))).await,
            Err(EgressError::Unreachable(_))
        ));
    })
    .await;
}

#[tokio::test]
async fn the_internal_client_knows_one_base_only() {
    local(async {
        let (address, connections) = server(OK).await;
        let base = format!("http://{address}/base/").parse().expect("a URL");
        let client = Internal::new(base, Duration::from_secs(2)).expect("a client");
        let answer = client
            .send(get("http://elsewhere.example/token?x=1"))
            .await
            .expect("an answer");
        assert_eq!(answer.into_body(), "hi");
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    })
    .await;
}
