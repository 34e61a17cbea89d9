//! Zones are apart in the database itself (decision 0018): in every table there is, for every service, whatever the query.

use crate::fixture;
use crate::scratch::Scratch;
use std::collections::HashMap;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

const ROLES: [&str; 5] = [
    "caracal_api",
    "caracal_sts",
    "caracal_gateway",
    "caracal_audit",
    "caracal_relay",
];

/// A table whose rows belong to zones, by the column that says to which.
#[derive(Debug)]
struct Table {
    name: String,
    key: String,
}

/// Every one; `zones` itself by its id. Of partitioned tables the parent.
const TABLES: &str = "
    SELECT relname::text, attname::text FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND NOT attisdropped
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND attname = CASE relname WHEN 'zones' THEN 'id' ELSE 'zone_id' END ORDER BY 1";

async fn connect(scratch: &Scratch) -> Client {
    let (client, connection) = tokio_postgres::connect(&scratch.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn tables(client: &Client) -> Vec<Table> {
    let rows = client.query(TABLES, &[]).await.unwrap();
    let tables: Vec<_> = rows
        .iter()
        .map(|row| Table {
            name: row.get(0),
            key: row.get(1),
        })
        .collect();
    assert!(tables.len() > 30, "{tables:?}");
    tables
}

async fn lines(client: &Client, query: &str) -> Vec<String> {
    let rows = client.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_zones_keeps_them_apart() {
    let scratch = Scratch::new().await;
    let client = connect(&scratch).await;
    for Table { name, key } in tables(&client).await {
        let policies = "SELECT count(*) FROM pg_class JOIN pg_policies ON tablename = relname AND schemaname = 'public'
            WHERE pg_class.oid = $1::text::regclass AND relrowsecurity AND cmd = 'ALL' AND permissive = 'PERMISSIVE'
            AND roles = '{public}' AND with_check IS NULL AND policyname = 'one_zone' AND qual LIKE $2";
        let own = format!("%({key} = ( SELECT caracal_zone()%");
        let count: i64 = client.query_one(policies, &[&name, &own]).await.unwrap().get(0);
        assert_eq!(
            count, 1,
            "{name}: a migration makes it and does not keep its zones apart"
        );
    }
    // Policies that permit add up, so a second one would be a way around the first.
    let more = "SELECT policyname || ' on ' || tablename FROM pg_policies WHERE policyname <> 'one_zone'";
    assert_eq!(lines(&client, more).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_service_reaches_a_partition_or_past_its_policies() {
    let scratch = Scratch::new().await;
    let client = connect(&scratch).await;
    let open = "SELECT format('%s: %s', role, relname) FROM pg_class, unnest($1::text[]) AS role WHERE relispartition
        AND relkind = 'r' AND has_any_column_privilege(role, pg_class.oid, 'SELECT, INSERT, UPDATE')";
    let roles: Vec<String> = ROLES.iter().map(ToString::to_string).collect();
    assert!(client.query(open, &[&roles]).await.unwrap().is_empty());
    let partitions = "SELECT count(*)::text FROM pg_class WHERE relispartition AND relkind = 'r'";
    assert!(lines(&client, partitions).await[0].parse::<u32>().unwrap() > 5);
    let exempt =
        "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'caracal\\_%' AND (rolbypassrls OR rolsuper)";
    assert_eq!(lines(&client, exempt).await, Vec::<String>::new());
}

/// Makes the tables take any row, so that one statement made of the catalogue can fill each.
const UNFETTERED: &str = "DO $$
    DECLARE found record;
    BEGIN
      FOR found IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE connamespace = 'public'::regnamespace AND contype = 'f' AND conparentid = 0
      LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.owner, found.conname); END LOOP;
      FOR found IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE connamespace = 'public'::regnamespace AND contype = 'c' AND NOT relispartition
      LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.owner, found.conname); END LOOP;
      FOR found IN SELECT tgrelid::regclass AS owner, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE NOT tgisinternal AND tgparentid = 0 AND relnamespace = 'public'::regnamespace
      LOOP EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.owner); END LOOP;
    END $$";

/// A row of the zone with something in every column that must have something.
async fn row_of(client: &Client, table: &Table, zone: Uuid) -> String {
    let required = "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
        WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull AND attname <> $2";
    let required = client.query(required, &[&table.name, &table.key]).await.unwrap();
    let made: HashMap<&str, &str> = [
        ("uuid", "gen_random_uuid()"),
        ("text", "md5(random()::text)"),
        ("bytea", "sha256(random()::text::bytea)"),
        ("smallint", "1"),
        ("integer", "(random() * 1000000000)::integer"),
        ("bigint", "(random() * 1000000000)::bigint"),
        ("timestamp with time zone", "now()"),
        ("boolean", "false"),
        ("xid8", "pg_current_xact_id()"),
        ("jsonb", "'{}'"),
        ("text[]", "'{}'"),
        ("uuid[]", "'{}'"),
        ("timestamp with time zone[]", "'{}'"),
    ]
    .into();
    let (mut columns, mut values) = (vec![table.key.clone()], vec![format!("'{zone}'")]);
    for row in &required {
        columns.push(row.get(0));
        let kind: &str = row.get(1);
        values.push((*made.get(kind).expect(kind)).to_owned());
    }
    let (columns, values) = (columns.join(", "), values.join(", "));
    format!("INSERT INTO {} ({columns}) VALUES ({values})", table.name)
}

/// A column that the role may do this with, by its grants; the one that names the zone if it can be that.
async fn column(client: &Client, role: &str, table: &Table, what: &str) -> Option<String> {
    let columns = "SELECT attname::text FROM pg_attribute
        WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
        AND has_column_privilege($2::text, attrelid, attnum, $3::text) ORDER BY attname <> $4 LIMIT 1";
    let named: [&(dyn ToSql + Sync); 4] = [&table.name, &role, &what, &table.key];
    let found = client.query_opt(columns, &named).await.unwrap();
    found.map(|row| row.get(0))
}

/// How many rows of a zone there are for whoever `client` is.
async fn count(client: &Client, table: &Table, zone: Uuid) -> i64 {
    let query = format!(
        "SELECT count(*) FROM {} WHERE {} = '{zone}'",
        table.name, table.key
    );
    client.query_one(&query, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_zone_no_service_reads_changes_removes_or_adds_a_row_of_another() {
    let scratch = Scratch::new().await;
    let owner = connect(&scratch).await;
    owner.batch_execute(UNFETTERED).await.unwrap();
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let tables = tables(&owner).await;
    for table in &tables {
        for zone in [ours, theirs] {
            let row = row_of(&owner, table, zone).await;
            owner.batch_execute(&row).await.expect(&row);
        }
    }
    let mut tried = 0;
    for role in ROLES {
        let client = connect(&scratch).await;
        client
            .batch_execute(&format!("SET SESSION AUTHORIZATION {role}"))
            .await
            .unwrap();
        for table in &tables {
            tried += apart(&owner, &client, role, table, (ours, theirs)).await;
        }
    }
    assert!(tried > 120, "{tried}");
}

/// Tries what the role may do; answers how many ways it tried.
async fn apart(
    owner: &Client,
    client: &Client,
    role: &str,
    table: &Table,
    (ours, theirs): (Uuid, Uuid),
) -> u32 {
    let mut tried = 0;
    let Table { name, key } = table;
    let within = format!("SET caracal.zone = '{ours}'");
    if column(owner, role, table, "SELECT").await.as_ref() == Some(key) {
        client.batch_execute("RESET caracal.zone").await.unwrap();
        assert_eq!(count(client, table, theirs).await, 1, "{role} sees all of {name}");
        client.batch_execute(&within).await.unwrap();
        assert_eq!(count(client, table, theirs).await, 0, "{role} reads {name}");
        assert_eq!(count(client, table, ours).await, 1, "{role} reads its own {name}");
        tried += 1;
    }
    client.batch_execute(&within).await.unwrap();
    if let Some(column) = column(owner, role, table, "UPDATE").await {
        let touched = format!("UPDATE {name} SET {column} = {column} WHERE {key} = '{theirs}'");
        assert_eq!(
            client.execute(&touched, &[]).await.unwrap(),
            0,
            "{role}: {touched}"
        );
        tried += 1;
        if column == *key {
            let moved = format!("UPDATE {name} SET {key} = '{theirs}' WHERE {key} = '{ours}'");
            refused(client, role, &moved).await;
        }
    }
    let removes = format!("SELECT has_table_privilege('{role}', '{name}', 'DELETE')");
    if owner.query_one(&removes, &[]).await.unwrap().get(0) {
        let removed = format!("DELETE FROM {name} WHERE {key} = '{theirs}'");
        assert_eq!(
            client.execute(&removed, &[]).await.unwrap(),
            0,
            "{role}: {removed}"
        );
        tried += 1;
    }
    if column(owner, role, table, "INSERT").await.is_some() {
        refused(client, role, &row_of(owner, table, theirs).await).await;
        tried += 1;
    }
    tried
}

async fn refused(client: &Client, role: &str, statement: &str) {
    let error = client.batch_execute(statement).await.expect_err(statement);
    let message = error.as_db_error().unwrap().message();
    assert!(
        message.starts_with("new row violates row-level security policy"),
        "{role}: {statement}: {message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_s_view_hides_what_its_table_does() {
    let scratch = Scratch::new().await;
    let owner = connect(&scratch).await;
    owner.batch_execute(UNFETTERED).await.unwrap();
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let [events, view] = ["audit_events", "audit_ledger"].map(|name| Table {
        name: name.to_owned(),
        key: "zone_id".to_owned(),
    });
    for zone in [ours, theirs] {
        owner
            .batch_execute(&row_of(&owner, &events, zone).await)
            .await
            .unwrap();
    }
    let api = connect(&scratch).await;
    api.batch_execute("SET SESSION AUTHORIZATION caracal_api")
        .await
        .unwrap();
    assert_eq!(count(&api, &view, theirs).await, 1);
    api.batch_execute(&format!("SET caracal.zone = '{ours}'"))
        .await
        .unwrap();
    assert_eq!(count(&api, &view, theirs).await, 0);
    assert_eq!(count(&api, &view, ours).await, 1);
    let added = row_of(&owner, &events, ours).await;
    let added = added.replace(&events.name, &view.name);
    assert!(api.batch_execute(&added).await.is_err(), "nobody writes by it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_no_zone_shows_nothing() {
    let scratch = Scratch::new().await;
    fixture::zone(&mut scratch.owner().await, "a").await;
    let api = connect(&scratch).await;
    let mistaken = "SET SESSION AUTHORIZATION caracal_api; SET caracal.zone = 'all'";
    api.batch_execute(mistaken).await.unwrap();
    let error = api.query("SELECT id FROM zones", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INVALID_TEXT_REPRESENTATION));
}
