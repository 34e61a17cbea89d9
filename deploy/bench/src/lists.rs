//! Every list of the control plane in a large installation, walked page by page as a client does.

use crate::http::{Answer, Connection, request};
use crate::load::Found;
use crate::report::line;
use crate::settings::Settings;
use anyhow::{Context, Result};
use std::time::Instant;
use tokio_postgres::NoTls;

/// What `make test` reads the plans of, in the size that the figures are wanted for.
const SIZE: &str = "SET large.zones = 10000; SET large.applications = 100000; SET large.events = 1000000;";
const FILL: &str = include_str!("../../../crates/storage/tests/it/plans/large.sql");
/// Names a row of a kind as that script does.
const NAMED: &str = "SELECT md5('caracal-large-' || $1)::uuid::text";
/// Pages asked for of each list; one that ends begins again.
const PAGES: usize = 300;

/// Each list with each of its filters. `{application}` and the like become the id of a row that has many.
const LISTS: &[&str] = &[
    "/v1/zones",
    "/v1/admin-tokens",
    "/v1/zones/{zone}/applications",
    "/v1/zones/{zone}/resources",
    "/v1/zones/{zone}/providers",
    "/v1/zones/{zone}/policies",
    "/v1/zones/{zone}/policy-sets",
    "/v1/zones/{zone}/subject-issuers",
    "/v1/zones/{zone}/invitations",
    "/v1/zones/{zone}/step-up-challenges",
    "/v1/zones/{zone}/grants",
    "/v1/zones/{zone}/grants?application_id={application}",
    "/v1/zones/{zone}/grants?user_id=user%205",
    "/v1/zones/{zone}/grants?resource_id={resource}",
    "/v1/zones/{zone}/grants?status=active",
    "/v1/zones/{zone}/grants?status=revoked",
    "/v1/zones/{zone}/provider-connections",
    "/v1/zones/{zone}/provider-connections?user_id=user%205",
    "/v1/zones/{zone}/provider-connections?resource_id={resource}",
    "/v1/zones/{zone}/provider-connections?provider_id={provider}",
    "/v1/zones/{zone}/provider-connections?status=active",
    "/v1/zones/{zone}/sessions",
    "/v1/zones/{zone}/sessions?subject_id=user%205",
    "/v1/zones/{zone}/sessions?status=active",
    "/v1/zones/{zone}/sessions?status=revoked",
    "/v1/zones/{zone}/sessions?status=expired",
    "/v1/zones/{zone}/audit",
    "/v1/zones/{zone}/audit?decision=allow",
    "/v1/zones/{zone}/audit?decision=deny",
    "/v1/zones/{zone}/audit?event_type=admin.zone.update",
    "/v1/zones/{zone}/audit?application_id={application}",
    "/v1/zones/{zone}/audit?session_id={session}",
    "/v1/zones/{zone}/audit?agent_session_id={agent}",
    "/v1/zones/{zone}/audit?resource=resource%3A%2F%2F5",
    "/v1/zones/{zone}/audit?label=rare",
    "/v1/zones/{zone}/audit?request_id=request-500",
    "/v1/zones/{zone}/audit/by-request/request-500",
];

/// Fills the database, measures and prints. What was filled in is good for reading only: `make down CLEAN=1` forgets it.
pub(crate) async fn measure(stack: &Settings) -> Result<()> {
    let (database, connection) = tokio_postgres::connect(&stack.superuser_url, NoTls)
        .await
        .context("connecting to PostgreSQL")?;
    #[expect(clippy::disallowed_methods, reason = "nothing here outlives the measurement")]
    tokio::spawn(connection);
    let started = Instant::now();
    database.batch_execute(SIZE).await?;
    database
        .batch_execute(FILL)
        .await
        .context("filling the database")?;
    println!(
        "    10,000 zones, 100,000 applications and 1,000,000 events written in {:.1?}",
        started.elapsed()
    );
    let mut api = Connection::open(&stack.api).await?;
    for list in LISTS {
        let path = filled_in(&database, list).await?;
        line(
            list.strip_prefix("/v1").unwrap_or(list),
            &walk(stack, &mut api, &path).await?,
        )?;
    }
    Ok(())
}

async fn filled_in(database: &tokio_postgres::Client, list: &str) -> Result<String> {
    let mut path = list.to_owned();
    for (placeholder, row) in [
        ("{zone}", "zone1"),
        ("{application}", "application4000"),
        ("{resource}", "resource5"),
        ("{provider}", "provider5"),
        ("{session}", "session4000"),
        ("{agent}", "agent15"),
    ] {
        let id: String = database.query_one(NAMED, &[&row]).await?.get(0);
        path = path.replace(placeholder, &id);
    }
    Ok(path)
}

/// Page after page, from the first to the last and again.
async fn walk(stack: &Settings, api: &mut Connection, path: &str) -> Result<Found> {
    let headers = format!("Authorization: Bearer {}\r\n", stack.admin_token);
    let (mut found, mut next) = (Found::default(), path.to_owned());
    let began = Instant::now();
    for _ in 0..PAGES {
        let page = request("GET", &next, "application/json", &headers, "");
        let due = Instant::now();
        let answer = api.send(&page).await?;
        found.times.push(due.elapsed());
        answer.expect(200, &next)?;
        next = following(&answer, path).unwrap_or_else(|| path.to_owned());
    }
    found.took = began.elapsed();
    found.times.sort_unstable();
    Ok(found)
}

/// Where the next page is: in a `Link` header, or under `next_cursor`.
fn following(answer: &Answer, path: &str) -> Option<String> {
    let link = answer.header("link");
    if let Some((url, _)) = link.strip_prefix('<').and_then(|link| link.split_once('>')) {
        return Some(url.to_owned());
    }
    let body = answer.json();
    let cursor = body.get("next_cursor")?.as_str()?;
    let joint = if path.contains('?') { '&' } else { '?' };
    Some(format!("{path}{joint}cursor={cursor}"))
}
