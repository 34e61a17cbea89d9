//! What each list costs in a large installation, and each question by key: PostgreSQL tells of every plan it runs
//! (`auto_explain`), and no plan may read much more than it answers with. Plans are made for any zone, as those that a
//! connection keeps are.

use crate::scratch::Scratch;
use caracal_chain::Place;
use caracal_domain::delegation::Lineage;
use caracal_domain::id::{ApplicationId, DelegationEdgeId, EventId, ProviderId, ResourceId, ZoneId};
use caracal_domain::{AuditDecision, RequestId};
use caracal_storage::audit::{self, AuditFilter};
use caracal_storage::connections::{self, ConnectionFilter, ConnectionStatus};
use caracal_storage::grants::{self, GrantFilter};
use caracal_storage::sessions::{self, SessionFilter, SessionStatus};
use caracal_storage::zones::Stamps;
use caracal_storage::{
    Conn, Page, admin_tokens, agents, applications, delegations, invitations, policies, policy_sets,
    providers, resources, step_up, subject_issuers, zones,
};
use chrono::{TimeDelta, Utc};
use diesel_async::SimpleAsyncConnection;
use futures::{StreamExt, stream};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Debug;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, NoTls};
use uuid::Uuid;

/// As large as needs be for a wrong plan to show.
const LARGE: &str = "SET large.zones = 2000; SET large.applications = 40000; SET large.events = 40000;";
const FILL: &str = include_str!("plans/large.sql");
const EXPLAIN: &str =
    "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on;
    SET auto_explain.log_format = json; SET auto_explain.log_level = notice; SET client_min_messages = notice;
    SET plan_cache_mode = force_generic_plan;";

const PAGE: i64 = 101;
/// Rows that one node of a plan may read for such a page.
const MOST: f64 = 1000.0;

/// The `n`th row of a kind, as `large.sql` names it.
async fn named<T: From<Uuid>>(conn: &tokio_postgres::Client, kind: &str, n: u32) -> T {
    let sql = format!("SELECT md5('caracal-large-{kind}{n}')::uuid::text");
    let id: String = conn.query_one(&sql, &[]).await.unwrap().get(0);
    id.parse::<Uuid>().unwrap().into()
}

/// A connection of the API's role, limited to a zone as its requests are, and the plans of what it runs.
struct Watched {
    conn: Conn,
    plans: UnboundedReceiver<Value>,
}

impl Watched {
    async fn open(url: &str, role: &str, zone: Option<ZoneId>) -> Self {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        let (sender, plans) = unbounded_channel();
        let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                let AsyncMessage::Notice(notice) = message else {
                    continue;
                };
                if let Some((_, plan)) = notice.message().split_once("plan:\n") {
                    let _ = sender.send(serde_json::from_str(plan).unwrap());
                }
            }
        });
        let mut conn = Conn::try_from(client).await.unwrap();
        conn.batch_execute(EXPLAIN).await.unwrap();
        let role = format!("SET SESSION AUTHORIZATION {role}");
        conn.batch_execute(&role).await.unwrap();
        if let Some(zone) = zone {
            let limit = format!("SET caracal.zone = '{zone}'");
            conn.batch_execute(&limit).await.unwrap();
        }
        let mut watched = Self { conn, plans };
        watched.plans();
        watched
    }

    fn plans(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.plans.try_recv().ok()).collect()
    }

    /// What is wrong with the plans of what was just run, `what`; it must have answered with `rows`.
    fn judge<R: Debug>(&mut self, what: &str, rows: &caracal_storage::Result<Vec<R>>) -> Vec<String> {
        let plans = self.plans();
        let mut wrong: Vec<String> = plans.iter().flat_map(|plan| faults(&plan["Plan"])).collect();
        match rows {
            Ok(rows) if rows.is_empty() => wrong.push("found nothing, so it shows nothing".to_owned()),
            Ok(_) => {}
            Err(error) => wrong.push(format!("{error:?}")),
        }
        if plans.is_empty() {
            wrong.push("ran without a plan".to_owned());
        }
        let told = |fault: String| format!("{what}: {fault}");
        wrong.into_iter().map(told).collect()
    }
}

/// Nodes that read a table from end to end, or much more than a page.
fn faults(node: &Value) -> Vec<String> {
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    let loops = number("Actual Loops").max(1.0);
    let read = loops
        * (number("Actual Rows")
            + number("Rows Removed by Filter")
            + number("Rows Removed by Index Recheck"));
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let place = node["Index Name"].as_str().or(node["Relation Name"].as_str());
    let mut found = Vec::new();
    if kind == "Seq Scan" && number("Plan Rows") > 100.0 {
        found.push(format!("reads all of {place:?}"));
    }
    if read > MOST {
        found.push(format!(
            "{kind} of {place:?} reads {read} rows: {}",
            node["Index Cond"]
        ));
    }
    let below = node["Plans"].as_array().into_iter().flatten();
    found.into_iter().chain(below.flat_map(faults)).collect()
}

macro_rules! judge {
    ($watched:ident, $wrong:ident, $($list:ident)::+ ( $($argument:expr),* )) => {{
        let what = concat!(stringify!($($list)::+), "(", stringify!($($argument),*), ")");
        let rows = $($list)::+(&mut $watched.conn, $($argument),*).await;
        $wrong.extend($watched.judge(what, &rows));
        rows.unwrap_or_default()
    }};
}

/// A list of a zone: its first page, and one from somewhere within.
macro_rules! judge_pages {
    ($watched:ident, $wrong:ident, $within:ident, $($list:ident)::+ ( $($argument:expr),* )) => {
        judge!($watched, $wrong, $($list)::+($($argument,)* &Page::first(PAGE)));
        judge!($watched, $wrong, $($list)::+($($argument,)* &$within));
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_reads_much_more_than_its_page() {
    let (scratch, client) = large().await;
    let zone: ZoneId = named(&client, "zone", 1).await;
    let mut wrong = lists_of_all(&mut Watched::open(&scratch.url, "caracal_api", None).await).await;
    let mut at = Watched::open(&scratch.url, "caracal_api", Some(zone)).await;
    wrong.extend(plain_lists(&mut at, zone).await);
    wrong.extend(lists_of_consent(&mut at, &client, zone).await);
    wrong.extend(lists_of_sessions(&mut at, zone).await);
    wrong.extend(lists_of_the_ledger(&mut at, &client, zone).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A zone with a fifth of everything, among zones of which PostgreSQL knows the average alone: it plans for any zone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_by_key_is_looked_up_one_by_one() {
    let (scratch, client) = large().await;
    let zone: ZoneId = named(&client, "zone", 1).await;
    let mut wrong = keys_of_the_ledger(&scratch.url, &client, zone).await;
    wrong.extend(keys_of_agents(&scratch.url, &client, zone).await);
    wrong.extend(keys_of_policies(&scratch.url, &client, zone).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn large() -> (Scratch, tokio_postgres::Client) {
    let scratch = Scratch::new().await;
    let (client, connection) = tokio_postgres::connect(&scratch.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(LARGE).await.unwrap();
    client.batch_execute(FILL).await.unwrap();
    (scratch, client)
}

/// Some that are in the first zone.
async fn some<T: From<Uuid>>(client: &tokio_postgres::Client, kind: &str) -> Vec<T> {
    let mut found = Vec::new();
    for n in (5..=50).step_by(5) {
        found.push(named(client, kind, n).await);
    }
    found
}

async fn keys_of_the_ledger(url: &str, client: &tokio_postgres::Client, zone: ZoneId) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut audit = Watched::open(url, "caracal_audit", None).await;
    let events = some(client, "event").await;
    assert_eq!(judge!(audit, wrong, known(zone, &events)).len(), events.len());
    let mut api = Watched::open(url, "caracal_api", Some(zone)).await;
    // Every fifth event is the zone's.
    let leaves = (1..9).map(|n| Place {
        level: 0,
        index: n * 5 - 1,
    });
    let places = leaves
        .chain((0..9).map(|index| Place { level: 1, index }))
        .collect();
    assert_eq!(judge!(api, wrong, nodes(zone, &places)).len(), places.len());
    wrong
}

async fn known(conn: &mut Conn, zone: ZoneId, ids: &[EventId]) -> caracal_storage::Result<Vec<EventId>> {
    Ok(audit::known(conn, zone, ids).await?.into_iter().collect())
}

async fn nodes(
    conn: &mut Conn,
    zone: ZoneId,
    places: &BTreeSet<Place>,
) -> caracal_storage::Result<Vec<Place>> {
    Ok(audit::nodes(conn, zone, places).await?.into_keys().collect())
}

async fn keys_of_agents(url: &str, client: &tokio_postgres::Client, zone: ZoneId) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut sts = Watched::open(url, "caracal_sts", None).await;
    let ids = some(client, "agent").await;
    assert_eq!(judge!(sts, wrong, agents::find_all(zone, &ids)).len(), ids.len());
    let edge = named(client, "edge", 5).await;
    judge!(sts, wrong, lineage(zone, edge));
    wrong
}

async fn lineage(
    conn: &mut Conn,
    zone: ZoneId,
    edge: DelegationEdgeId,
) -> caracal_storage::Result<Vec<Lineage>> {
    Ok(delegations::lineage(conn, zone, edge)
        .await?
        .into_iter()
        .collect())
}

async fn keys_of_policies(url: &str, client: &tokio_postgres::Client, zone: ZoneId) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut api = Watched::open(url, "caracal_api", Some(zone)).await;
    let ids = some(client, "policy version").await;
    judge!(api, wrong, policies::find_versions(zone, &ids));
    judge!(api, wrong, policies::version_names(zone, &ids));
    wrong
}

/// What only a global token lists.
async fn lists_of_all(at: &mut Watched) -> Vec<String> {
    let mut wrong = Vec::new();
    let within = somewhere_within();
    judge_pages!(at, wrong, within, zones::list(None));
    let late = Some("large-1500");
    judge!(at, wrong, zones::list(late, &Page::first(PAGE)));
    judge_pages!(at, wrong, within, stamps());
    judge_pages!(at, wrong, within, admin_tokens::list());
    wrong
}

/// One row is handed out before its plan is told; whatever is asked next comes after both.
async fn stamps(conn: &mut Conn, page: &Page) -> caracal_storage::Result<Vec<Stamps>> {
    let stamps = zones::stamps(conn, page).await?;
    conn.batch_execute("SELECT 1").await?;
    Ok(vec![stamps])
}

async fn plain_lists(at: &mut Watched, zone: ZoneId) -> Vec<String> {
    let mut wrong = Vec::new();
    let within = somewhere_within();
    judge_pages!(at, wrong, within, applications::list(zone, None));
    judge!(
        at,
        wrong,
        applications::list(zone, Some("application 3005"), &Page::first(PAGE))
    );
    judge_pages!(at, wrong, within, resources::list(zone, None));
    judge!(
        at,
        wrong,
        resources::list(zone, Some("resource://3005"), &Page::first(PAGE))
    );
    judge_pages!(at, wrong, within, providers::list(zone, None));
    judge!(
        at,
        wrong,
        providers::list(zone, Some("provider://3005"), &Page::first(PAGE))
    );
    judge_pages!(at, wrong, within, policies::list(zone, None));
    judge!(
        at,
        wrong,
        policies::list(zone, Some("policy 3005"), &Page::first(PAGE))
    );
    judge_pages!(at, wrong, within, policy_sets::list(zone, None));
    judge!(
        at,
        wrong,
        policy_sets::list(zone, Some("set 3005"), &Page::first(PAGE))
    );
    judge_pages!(at, wrong, within, step_up::list(zone));
    judge_pages!(at, wrong, within, invitations::list(zone));
    judge!(at, wrong, subject_issuers::list(zone, &Page::first(PAGE)));
    wrong
}

/// Somewhere among the rows of the zone.
fn somewhere_within() -> Page {
    Page {
        limit: PAGE,
        after: Some((
            Utc::now() - TimeDelta::days(400) + TimeDelta::hours(2),
            Uuid::nil(),
        )),
    }
}

async fn lists_of_consent(at: &mut Watched, client: &tokio_postgres::Client, zone: ZoneId) -> Vec<String> {
    let mut wrong = Vec::new();
    let within = somewhere_within();
    let application: ApplicationId = named(client, "application", 400).await;
    let resource: ResourceId = named(client, "resource", 5).await;
    let provider: ProviderId = named(client, "provider", 5).await;
    let (user, none) = (Some("user 5".to_owned()), GrantFilter::default());
    for filter in [
        GrantFilter {
            application_id: Some(application),
            ..none.clone()
        },
        GrantFilter {
            user_id: user.clone(),
            ..none.clone()
        },
        GrantFilter {
            resource_id: Some(resource),
            ..none.clone()
        },
        GrantFilter {
            active: Some(true),
            ..none.clone()
        },
        GrantFilter {
            active: Some(false),
            ..none.clone()
        },
        none,
    ] {
        judge_pages!(at, wrong, within, grants::list(zone, &filter));
    }
    let none = ConnectionFilter::default();
    for filter in [
        ConnectionFilter {
            user_id: user.clone(),
            ..none.clone()
        },
        ConnectionFilter {
            resource_id: Some(resource),
            ..none.clone()
        },
        ConnectionFilter {
            provider_id: Some(provider),
            ..none.clone()
        },
        ConnectionFilter {
            status: Some(ConnectionStatus::Active),
            ..none.clone()
        },
        ConnectionFilter {
            status: Some(ConnectionStatus::Lapsed),
            ..none.clone()
        },
        ConnectionFilter {
            status: Some(ConnectionStatus::Revoked),
            ..none.clone()
        },
        none,
    ] {
        judge!(at, wrong, connections::list(zone, &filter, &Page::first(PAGE)));
    }
    wrong
}

async fn lists_of_sessions(at: &mut Watched, zone: ZoneId) -> Vec<String> {
    let mut wrong = Vec::new();
    let user = Some("user 5".to_owned());
    let earlier = Page {
        after: Some((Utc::now() - TimeDelta::days(397), Uuid::nil())),
        limit: PAGE,
    };
    for (subject_id, status) in [
        (None, None),
        (user.clone(), None),
        (None, Some(SessionStatus::Revoked)),
        (None, Some(SessionStatus::Expired)),
        (user, Some(SessionStatus::Expired)),
    ] {
        let filter = SessionFilter { subject_id, status };
        judge_pages!(at, wrong, earlier, sessions::list(zone, &filter));
    }
    // None is active, which must not take a look at all that were.
    let active = SessionFilter {
        status: Some(SessionStatus::Active),
        subject_id: None,
    };
    let rows = sessions::list(&mut at.conn, zone, &active, &Page::first(PAGE)).await;
    assert_eq!(rows.unwrap(), []);
    wrong.extend(at.plans().iter().flat_map(|plan| faults(&plan["Plan"])));
    wrong
}

async fn lists_of_the_ledger(at: &mut Watched, client: &tokio_postgres::Client, zone: ZoneId) -> Vec<String> {
    let mut wrong = Vec::new();
    let (session, agent): (Uuid, Uuid) = (
        named(client, "session", 4000).await,
        named(client, "agent", 15).await,
    );
    let now = Utc::now();
    let earlier = Page {
        after: Some((now - TimeDelta::days(20) + TimeDelta::hours(8), Uuid::nil())),
        limit: PAGE,
    };
    let none = AuditFilter::default();
    for filter in [
        AuditFilter {
            since: Some(now - TimeDelta::days(20)),
            ..none.clone()
        },
        AuditFilter {
            until: Some(now - TimeDelta::days(20) + TimeDelta::hours(9)),
            ..none.clone()
        },
        AuditFilter {
            decision: Some(AuditDecision::Allow),
            ..none.clone()
        },
        AuditFilter {
            decision: Some(AuditDecision::Deny),
            ..none.clone()
        },
        AuditFilter {
            event_type: Some("admin.zone.update".to_owned()),
            ..none.clone()
        },
        AuditFilter {
            application_id: Some(named::<ApplicationId>(client, "application", 4000).await.into()),
            ..none.clone()
        },
        AuditFilter {
            session_id: Some(session),
            ..none.clone()
        },
        AuditFilter {
            agent_session_id: Some(agent),
            ..none.clone()
        },
        AuditFilter {
            resource: Some("resource://5".to_owned()),
            ..none.clone()
        },
        AuditFilter {
            resource: Some("resource://several".to_owned()),
            ..none.clone()
        },
        AuditFilter {
            label: Some("rare".to_owned()),
            ..none.clone()
        },
        none,
    ] {
        judge_pages!(at, wrong, earlier, audit::list(zone, &filter));
    }
    let request = AuditFilter {
        request_id: Some("request-500".to_owned()),
        ..AuditFilter::default()
    };
    judge!(at, wrong, audit::list(zone, &request, &Page::first(PAGE)));
    let request_id = RequestId::accept("request-500").unwrap();
    judge!(at, wrong, audit::by_request(zone, &request_id, (1000, 8 << 20)));
    wrong
}
