use crate::scratch::Scratch;
use caracal_storage::migrations;
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

const SHAPE: &str = "
    SELECT format('%s.%s %s', table_name, column_name, data_type) AS line FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> '__diesel_schema_migrations'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> '__diesel_schema_migrations'
    UNION ALL SELECT format('%s to %s on %s', privilege_type, grantee, table_name) FROM information_schema.table_privileges
    WHERE table_schema = 'public' AND grantee LIKE 'caracal%'
    ORDER BY 1";

async fn shape(scratch: &Scratch) -> Vec<String> {
    let lines: Vec<Line> = sql_query(SHAPE).load(&mut scratch.owner().await).await.unwrap();
    lines.into_iter().map(|line| line.line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_goes_down_and_up_again() {
    let scratch = Scratch::empty().await;
    let applied = migrations::run(&scratch.url).await.unwrap();
    assert!(applied.len() > 20);
    let before = shape(&scratch).await;
    let mut reverted = migrations::revert_all(&scratch.url).await.unwrap();
    reverted.reverse();
    assert_eq!(applied, reverted);
    assert_eq!(
        shape(&scratch).await,
        Vec::<String>::new(),
        "nothing is left behind"
    );
    migrations::run(&scratch.url).await.unwrap();
    assert_eq!(shape(&scratch).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_at_once_apply_each_migration_once() {
    let scratch = Scratch::empty().await;
    let (a, b) = tokio::join!(
        tokio::spawn({
            let url = scratch.url.clone();
            async move { migrations::run(&url).await }
        }),
        tokio::spawn({
            let url = scratch.url.clone();
            async move { migrations::run(&url).await }
        }),
    );
    let (a, b) = (a.unwrap().unwrap(), b.unwrap().unwrap());
    assert!(
        a.is_empty() != b.is_empty(),
        "one did all, the other found nothing to do"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_id_leads_every_primary_key_of_a_zone_s_table() {
    const LEADS: &str = "
        SELECT format('%s: %s', conrelid::regclass, attname) AS line FROM pg_constraint
        JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
        WHERE contype = 'p' AND connamespace = 'public'::regnamespace AND attname <> 'zone_id'
        AND conparentid = 0 ORDER BY 1";
    let scratch = Scratch::new().await;
    let lines: Vec<Line> = sql_query(LEADS).load(&mut scratch.owner().await).await.unwrap();
    let others: Vec<String> = lines.into_iter().map(|line| line.line).collect();
    // Those that belong to no zone: modules are shared, administrators may be global, a dead letter is nobody's,
    // and a replica serves all, as does the key that signs ledgers.
    let zoneless = [
        "__diesel_schema_migrations: version",
        "admin_tokens: id",
        "audit_dead_letters: id",
        "idempotency_keys: actor",
        "ledger_keys: id",
        "policy_module_successors: module",
        "policy_modules: name",
        "sts_replicas: instance",
        "zones: id",
    ];
    assert_eq!(others, zoneless);
}
