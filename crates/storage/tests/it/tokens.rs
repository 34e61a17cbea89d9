use crate::fixture;
use crate::scratch::Scratch;
use caracal_domain::id::AdminTokenId;
use caracal_storage::admin_tokens::{self, NewAdminToken};
use caracal_storage::dead_letters::{self, DeadLetter};
use caracal_storage::{Page, zones};
use chrono::Duration;

fn id() -> AdminTokenId {
    AdminTokenId::mint(&fixture::clock())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_until_it_is_revoked_expires_or_its_zone_is_archived() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let token = |hash: u8| NewAdminToken {
        id: id(),
        zone_id: Some(zone),
        name: None,
        token_sha256: [hash; 32],
        read_only: true,
        created_by: "tests".into(),
        expires_at: None,
    };
    let row = admin_tokens::insert(conn, &token(1)).await.unwrap();
    assert_eq!(
        admin_tokens::find_by_hash(conn, &[1; 32]).await.unwrap(),
        Some(row.clone())
    );
    assert_eq!(admin_tokens::find_by_hash(conn, &[9; 32]).await.unwrap(), None);

    let expired = NewAdminToken {
        expires_at: Some(fixture::now() - Duration::seconds(1)),
        ..token(2)
    };
    admin_tokens::insert(conn, &expired).await.unwrap();
    assert_eq!(admin_tokens::find_by_hash(conn, &[2; 32]).await.unwrap(), None);

    let revoked = admin_tokens::insert(conn, &token(3)).await.unwrap();
    assert!(admin_tokens::revoke(conn, revoked.id).await.unwrap());
    assert!(!admin_tokens::revoke(conn, revoked.id).await.unwrap());
    assert_eq!(admin_tokens::find_by_hash(conn, &[3; 32]).await.unwrap(), None);

    zones::archive(conn, zone).await.unwrap();
    assert_eq!(admin_tokens::find_by_hash(conn, &[1; 32]).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_seed_one_global_token_and_a_new_secret_ends_the_old() {
    let scratch = Scratch::new().await;
    let replicas: Vec<_> = (0..4)
        .map(|_| {
            let database = scratch.database.clone();
            tokio::spawn(async move {
                let mut tx = database.begin().await.unwrap();
                admin_tokens::seed_global(&mut tx, &[1; 32], id()).await.unwrap();
                tx.commit().await.unwrap();
            })
        })
        .collect();
    for replica in replicas {
        replica.await.unwrap();
    }
    let conn = &mut *scratch.database.acquire().await.unwrap();
    assert_eq!(admin_tokens::list(conn, &Page::first(10)).await.unwrap().len(), 1);
    admin_tokens::seed_global(conn, &[2; 32], id()).await.unwrap();
    assert_eq!(admin_tokens::find_by_hash(conn, &[1; 32]).await.unwrap(), None);
    let seeded = admin_tokens::find_by_hash(conn, &[2; 32]).await.unwrap().unwrap();
    assert_eq!(
        (seeded.zone_id, seeded.read_only, seeded.seeded),
        (None, false, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_dead_letter_is_kept_once() {
    let scratch = Scratch::new().await;
    let conn = &mut scratch.as_role("caracal_audit").await;
    let made_at = fixture::now();
    for _ in 0..2 {
        let letter = DeadLetter {
            id: fixture::event_id(),
            subject: "caracal.audit.events".into(),
            message_id: None,
            stream: "CARACAL_AUDIT".into(),
            stream_created_at: made_at,
            stream_sequence: 7,
            reason: "bad signature".into(),
            payload: b"?".to_vec(),
        };
        dead_letters::insert(conn, &letter).await.unwrap();
    }
    assert_eq!(dead_letters::count(conn).await.unwrap(), 1);
}
