use super::alone;

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
