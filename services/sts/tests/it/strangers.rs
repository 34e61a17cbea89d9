//! Who is refused before authentication cannot flood the ledger.

use caracal_testkit::Stack;
use caracal_testkit::stack::Service;

#[tokio::test]
async fn a_flood_of_strangers_is_written_in_part_and_counted_in_full() {
    let builder =
        Stack::builder()
            .replicas(Service::Gateway, 0)
            .env(Service::Sts, "STRANGERS_SUMMARY_MS", "200");
    let stack = builder.start().await;
    // The system zone is looked for twice a second; whoever comes before it is found is only counted.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    for _ in 0..40 {
        let refused = stack
            .sts(0)
            .form("/oauth/2/token", &[("grant_type", "nonsense")])
            .await;
        assert!((400..500).contains(&refused.status), "{}", refused.text);
    }
    let (written, counted) = stack.strangers("sts", 40).await;
    assert!(written >= 10 && counted > 0, "{written} and {counted}");
}
