use crate::bench::{Bench, PATIENCE};
use crate::process::start;
use caracal_testkit::{eventually, ports};

async fn anchors(bench: &Bench) -> i64 {
    bench.database.count("SELECT count(*) FROM anchors").await
}

async fn fill(bench: &Bench, expired: i32, live: i32) {
    let statements = format!(
        "INSERT INTO zones (id, org_id, name, slug, login_flow)
           VALUES (gen_random_uuid(), 'default', 'a', 'a', 'default');
         INSERT INTO anchors (zone_id, kind, value, epoch, expires_at)
           SELECT zones.id, 'jti', n::text, 1,
                  CASE WHEN n <= {expired} THEN now() - interval '1 hour' ELSE now() + interval '1 hour' END
           FROM zones, generate_series(1, {expired} + {live}) AS n"
    );
    let owner = bench.database.connect().await;
    owner.batch_execute(&statements).await.unwrap();
}

#[tokio::test]
async fn a_round_goes_on_until_nothing_is_left() {
    let bench = Bench::new().await;
    fill(&bench, 2500, 7).await;
    let relay = bench.relay().await;
    assert_eq!(relay.sweep().await.unwrap(), 2500);
    assert_eq!(anchors(&bench).await, 7);
    assert_eq!(relay.sweep().await.unwrap(), 0);
}

#[tokio::test]
async fn a_relay_sweeps_from_its_start() {
    let bench = Bench::new().await;
    fill(&bench, 3, 2).await;
    let (_process, _) = start(&bench, "relay", ports::free());
    let swept = async || (anchors(&bench).await == 2).then_some(());
    eventually("a table without expired anchors", PATIENCE, swept).await;
}
