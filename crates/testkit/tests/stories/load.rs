//! An agent that keeps calling, and remembers each call by its request id.

use caracal_testkit::stack::Service;
use caracal_testkit::world::claims;
use caracal_testkit::{Client, Stack, World};
use reqwest::Method;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// One call and what came back.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Its `X-Request-Id`.
    pub(crate) request_id: String,
    /// By mandate, rather than by session token.
    pub(crate) by_mandate: bool,
    /// The status; 0 when nobody answered.
    pub(crate) status: u16,
    /// What a refusal said.
    pub(crate) error: String,
    /// When it ended.
    pub(crate) ended: Instant,
    /// The record that the mandate it was given names.
    pub(crate) minted: Option<String>,
}

/// Callers that go on until they are stopped.
pub(crate) struct Load {
    callers: JoinSet<Vec<Call>>,
    stop: Arc<AtomicBool>,
}

/// What every caller shares.
#[derive(Clone)]
struct Route {
    sts: Client,
    gateway: Client,
    session: String,
    form: Vec<(String, String)>,
    resource: String,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
}

impl Load {
    /// Starts one caller by mandate and one by session token for each gateway there is.
    pub(crate) async fn start(stack: &Stack, world: &World, gateways: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let session = world.session(&stack.sts(0)).await;
        let mut callers = JoinSet::new();
        for index in 0..gateways {
            for by_mandate in [true, false] {
                let route = Route {
                    sts: stack.sts(0),
                    gateway: stack.anonymous(Service::Gateway, index),
                    session: session.clone(),
                    form: world
                        .form(&[])
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .collect(),
                    resource: world.resource.clone(),
                    stop: Arc::clone(&stop),
                    count: Arc::clone(&count),
                };
                callers.spawn(route.call_until_stopped(by_mandate));
            }
        }
        Self { callers, stop }
    }

    /// Lets them call for a while.
    pub(crate) async fn flow(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Stops them and answers every call.
    pub(crate) async fn stop(self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await.into_iter().flatten().collect()
    }
}

impl Route {
    async fn call_until_stopped(self, by_mandate: bool) -> Vec<Call> {
        let mut calls = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            let request_id = format!("load-{number}");
            let mut minted = None;
            let (status, error) = self.call(by_mandate, &request_id, &mut minted).await;
            calls.push(Call {
                minted,
                request_id,
                by_mandate,
                status,
                error,
                ended: Instant::now(),
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        calls
    }

    async fn call(&self, by_mandate: bool, request_id: &str, minted: &mut Option<String>) -> (u16, String) {
        let gateway = self
            .gateway
            .clone()
            .with("X-Caracal-Resource", &self.resource)
            .with("X-Request-Id", request_id);
        let gateway = if by_mandate {
            let Some(mandate) = self.mandate(request_id).await else {
                return (0, "no mandate".to_owned());
            };
            *minted = claims(&mandate)
                .get("event_id")
                .and_then(|id| id.as_str())
                .map(str::to_owned);
            gateway.bearer(&mandate)
        } else {
            gateway
                .bearer(&self.session)
                .with("X-Caracal-Scope", "orders:read")
        };
        match gateway.send(Method::GET, "/orders", |request| request).await {
            Ok(answer) => (answer.status, answer.member("error_description").to_owned()),
            Err(_) => (0, "no answer".to_owned()),
        }
    }

    async fn mandate(&self, request_id: &str) -> Option<String> {
        let subject = [
            ("subject_token", self.session.as_str()),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("resource", self.resource.as_str()),
            ("scope", "orders:read"),
        ];
        let own = self
            .form
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let form: Vec<_> = own.chain(subject).collect();
        let sts = self.sts.clone().with("X-Request-Id", request_id);
        let answer = sts.try_form("/oauth/2/token", &form).await?;
        (answer.status == 200).then(|| answer.member("access_token").to_owned())
    }
}

/// How many calls ended with each status.
pub(crate) fn tally(calls: &[Call]) -> BTreeMap<(bool, u16, &str), usize> {
    let mut tally = BTreeMap::new();
    for call in calls {
        *tally
            .entry((call.by_mandate, call.status, call.error.as_str()))
            .or_default() += 1;
    }
    tally
}

/// Nothing reached the upstream without a record, and nothing that was acknowledged is missing from the ledger.
pub(crate) async fn reconcile(stack: &Stack, world: &World, calls: &[Call]) {
    let admitted = "SELECT DISTINCT request_id FROM audit_events WHERE event_type = 'gateway_request' AND decision = 'allow'";
    let reached = world.upstream.request_ids();
    let database = stack.database().connect().await;
    let missing = caracal_testkit::eventually(
        "a ledger that knows every call",
        Duration::from_secs(20),
        || async {
            let rows = database
                .query(admitted, &[])
                .await
                .expect("the ledger can be read");
            let known: std::collections::HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
            let missing: Vec<_> = reached
                .iter()
                .filter(|id| id.starts_with("load-") && !known.contains(*id))
                .collect();
            missing.is_empty().then_some(missing.len())
        },
    )
    .await;
    assert_eq!(missing, 0);
    let minted: Vec<&String> = calls.iter().filter_map(|call| call.minted.as_ref()).collect();
    assert!(
        calls
            .iter()
            .filter(|call| call.by_mandate && call.status == 200)
            .all(|call| call.minted.is_some()),
        "a mandate names no record"
    );
    caracal_testkit::eventually("a ledger that knows every mandate", Duration::from_secs(20), || async {
        let ids = "SELECT id::text FROM audit_events WHERE event_type = 'token_exchange' AND decision = 'allow'";
        let rows = database.query(ids, &[]).await.expect("the ledger can be read");
        let known: std::collections::HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
        minted.iter().all(|id| known.contains(*id)).then_some(())
    })
    .await;
    let unique: std::collections::HashSet<&String> = reached.iter().collect();
    assert_eq!(unique.len(), reached.len(), "a call reached the upstream twice");
    for call in calls.iter().filter(|call| call.status == 200) {
        assert!(
            unique.contains(&call.request_id),
            "{} was answered 200 and never reached the upstream",
            call.request_id
        );
    }
    println!(
        "{} calls, {} mandates and {} that reached the upstream, all of them in the ledger: {:?}",
        calls.len(),
        minted.len(),
        reached.len(),
        tally(calls)
    );
}
