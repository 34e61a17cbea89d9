//! Documents: 256 KiB and 5 s, whatever the other side does.

use crate::{OK, local, policy, server};
use caracal_egress::{EgressError, FetchError, Forbidden, Metadata};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn fetcher() -> Metadata {
    Metadata::new(policy(true), Vec::new()).expect("a fetcher")
}

/// A server that answers with a head and then `piece` again and again, pausing in between.
async fn pours(piece: Vec<u8>, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let piece = piece.clone();
            tokio::task::spawn_local(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                while stream.write_all(&piece).await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
            });
        }
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn a_document_comes_back_and_anything_but_200_does_not() {
    local(async {
        let (address, _) = server(OK).await;
        let document = fetcher()
            .fetch(&format!("http://{address}/x"))
            .await
            .expect("a document");
        assert_eq!(document, "hi");
        let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let (address, _) = server(redirect).await;
        let answer = fetcher().fetch(&format!("http://{address}/")).await;
        assert!(
            matches!(answer, Err(FetchError::Status(status)) if status == 302),
            "{answer:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_gigabyte_is_cut_at_a_quarter_of_a_megabyte() {
    local(async {
        let url = pours(vec![b' '; 1 << 16], Duration::ZERO).await;
        let answer = fetcher().fetch(&url).await;
        assert!(matches!(answer, Err(FetchError::TooLarge)), "{answer:?}");
    })
    .await;
}

#[tokio::test]
async fn a_drip_ends_after_five_seconds() {
    local(async {
        let url = pours(vec![b' '], Duration::from_millis(100)).await;
        let started = Instant::now();
        let answer = fetcher().fetch(&url).await;
        assert!(
            matches!(answer, Err(FetchError::Egress(EgressError::Timeout))),
            "{answer:?}"
        );
        let took = started.elapsed();
        assert!((4..7).contains(&took.as_secs()), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn the_rules_of_the_house_hold_for_documents_too() {
    local(async {
        for url in [
            "http://169.254.169.254/",
            "http://[::ffff:169.254.169.254]/",
            "http://0.0.0.0/",
        ] {
            let answer = fetcher().fetch(url).await;
            let why = matches!(
                answer,
                Err(FetchError::Egress(EgressError::Forbidden(
                    Forbidden::NeverAllowed
                )))
            );
            assert!(why, "{url}: {answer:?}");
        }
        let (address, _) = server(OK).await;
        let strict = Metadata::new(policy(false), Vec::new()).expect("a fetcher");
        let answer = strict.fetch(&format!("http://{address}/")).await;
        assert!(
            matches!(answer, Err(FetchError::Egress(EgressError::Forbidden(_)))),
            "{answer:?}"
        );
        let guarded = Metadata::new(policy(true), vec![address]).expect("a fetcher");
        let answer = guarded.fetch(&format!("http://{address}/")).await;
        let own = matches!(
            answer,
            Err(FetchError::Egress(EgressError::Forbidden(Forbidden::OwnListener)))
        );
        assert!(own, "{answer:?}");
    })
    .await;
}
