use super::given::ABSENT;
use super::{Zone, alone};
use caracal_api::routes::{Route, TABLE};
use caracal_testkit::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_between_tenants_rows_carries_the_zone() {
    let stack = alone().start().await;
    let has = |column: &str, table: &str| {
        format!(
            "EXISTS (SELECT FROM pg_attribute WHERE attrelid = {table} AND attname = '{column}' AND NOT attisdropped)"
        )
    };
    let paired = "EXISTS (
        SELECT FROM unnest(conkey, confkey) AS pair (here, there)
        JOIN pg_attribute h ON h.attrelid = conrelid AND h.attnum = pair.here AND h.attname = 'zone_id'
        JOIN pg_attribute t ON t.attrelid = confrelid AND t.attnum = pair.there AND t.attname = 'zone_id')";
    let of_zones = format!(
        "FROM pg_constraint WHERE contype = 'f' AND confrelid <> 'zones'::regclass AND {} AND {}",
        has("zone_id", "conrelid"),
        has("zone_id", "confrelid")
    );
    let client = stack.database().connect().await;
    let loose = client
        .query(&format!("SELECT conname::text {of_zones} AND NOT {paired}"), &[])
        .await
        .expect("constraints");
    let loose: Vec<String> = loose.iter().map(|row| row.get(0)).collect();
    assert_eq!(loose, Vec::<String>::new());
    assert!(
        stack
            .database()
            .count(&format!("SELECT count(*) {of_zones}"))
            .await
            > 15
    );
}

/// How often the API has begun what is limited to the zone: to read, and to write.
pub(super) fn limited(stack: &Stack, zone: &str) -> [u64; 2] {
    let asked = stack.postgres().statements("caracal-api");
    ["BEGIN READ ONLY", "BEGIN"].map(|begin| {
        let limit = format!("{begin}; SET LOCAL caracal.zone = '{zone}'");
        asked.get(&limit).copied().unwrap_or_default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_a_zone_asks_the_database_under_its_zone() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Limited").await;
    assert_eq!(limited(&stack, &zone.id), [0, 0], "making it is no zone's");
    let below = |route: &&Route| route.path.starts_with("/v1/zones/{zone_id}/");
    // A tail has no end to wait for; it reads as the lists do.
    let ends = |route: &&Route| !route.path.ends_with("/tail");
    let mut routes = 0;
    for route in TABLE.iter().filter(below).filter(ends) {
        let path = route.path.replace("{zone_id}", &zone.id);
        let path = ["{id}", "{version_id}", "{request_id}"]
            .iter()
            .fold(path, |path, name| path.replace(name, ABSENT[0]));
        // What these ask for, they must be told.
        let path = match path.rsplit('/').next() {
            Some("inclusion") => format!("{path}?id={}", ABSENT[0]),
            Some("consistency") => format!("{path}?from=0"),
            _ => path,
        };
        let before = limited(&stack, &zone.id);
        let at = match route.method {
            "get" => {
                zone.admin.get(&path).await;
                0
            }
            "delete" => {
                assert_eq!(zone.admin.delete(&path).await.status, 404, "{path}");
                1
            }
            _ => continue,
        };
        assert!(
            limited(&stack, &zone.id)[at] > before[at],
            "{} {path}",
            route.method
        );
        routes += 1;
    }
    assert!(routes > 30, "{routes}");

    let [_, before] = limited(&stack, &zone.id);
    let [_, _, set, version] = zone.drafted().await;
    assert_eq!(zone.activate(&set, &version).await.status, 202);
    let [_, after] = limited(&stack, &zone.id);
    assert_eq!(
        after - before,
        4,
        "a policy, a set, its version, their activation"
    );
}
