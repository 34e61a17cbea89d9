use crate::fixture;
use crate::scratch::Scratch;
use caracal_storage::sessions::{self, SessionFilter};
use caracal_storage::{Page, applications, zones};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let scratch = Scratch::new().await;
    let mut tx = scratch.database.begin().await.unwrap();
    let zone = fixture::zone(&mut tx, "a").await;
    let other = fixture::zone(&mut tx, "b").await;
    fixture::application(&mut tx, other, "theirs").await;
    // In one transaction they all have the same time: the id must decide.
    let mut made = Vec::new();
    for n in 0..7 {
        made.push(fixture::application(&mut tx, zone, &format!("app-{n}")).await);
    }
    tx.commit().await.unwrap();
    made.sort();

    let conn = &mut *scratch.database.acquire().await.unwrap();
    let (mut page, mut seen) = (Page::first(3), Vec::new());
    loop {
        let rows = applications::list(conn, zone, None, &page).await.unwrap();
        let Some(last) = rows.last() else { break };
        page.after = Some((last.created_at, Uuid::from(last.id)));
        seen.extend(rows.iter().map(|row| row.id));
    }
    assert_eq!(seen, made);
    assert_eq!(zones::list(conn, None, &Page::first(10)).await.unwrap().len(), 2);

    let application = made.first().copied().unwrap();
    for _ in 0..5 {
        fixture::session(conn, zone, application).await;
    }
    let (mut page, mut times) = (Page::first(2), Vec::new());
    loop {
        let rows = sessions::list(conn, zone, &SessionFilter::default(), &page)
            .await
            .unwrap();
        let Some(last) = rows.last() else { break };
        page.after = Some((last.created_at, Uuid::from(last.id)));
        times.extend(rows.iter().map(|row| (row.created_at, row.id)));
    }
    assert_eq!(times.len(), 5);
    assert!(times.is_sorted_by(|newer, older| newer > older));
}
