//! The long-lived parts of the gateway, and the only place where they are put together.

use crate::config::Config;
use crate::confirm::Confirm;
use crate::credentials::Credentials;
use crate::directives::Directives;
use crate::metrics::Metrics;
use crate::routes::routes;
use crate::running::Running;
use crate::sts_client::StsClient;
use crate::upkeep::{GatewaySink, expire_anchors};
use crate::views::Views;
use crate::zone_keys::ZoneKeys;
use actix_web::web::Data;
use caracal_bus::{Bus, BusConfig, Recorder, Strangers, StrangersConfig};
use caracal_domain::id::ZoneId;
use caracal_domain::{Clock, EventType, Staleness};
use caracal_egress::{EgressPolicy, Own, Upstreams, places_of};
use caracal_lifecycle::{BoxError, Host};
use caracal_replica::{Replica, Settings};
use caracal_storage::{Database, DatabaseConfig};
use caracal_web::Shell;
use ipnet::IpNet;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

const DATABASE_CONNECTIONS: usize = 4;
/// Longer than any upstream may take: the patience for a first byte is counted here, from the end of the upload.
const UPSTREAM_PATIENCE: Duration = Duration::from_hours(24);

/// Everything a call needs.
pub struct Gateway {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sts: Arc<StsClient>,
    pub(crate) keys: Arc<ZoneKeys>,
    pub(crate) views: Arc<Views>,
    pub(crate) directives: Arc<Directives>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) confirm: Arc<Confirm>,
    pub(crate) running: Arc<Running>,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) recorder: Recorder,
    pub(crate) upstreams: Upstreams,
    pub(crate) egress: EgressPolicy,
    pub(crate) metrics: Metrics,
    pub(crate) first_byte: Duration,
    pub(crate) public_url: String,
    pub(crate) trusted_proxies: Vec<IpNet>,
    issuer_url: String,
}

impl Gateway {
    /// The issuer of a zone (contract §2).
    #[must_use]
    pub fn issuer(&self, zone: ZoneId) -> String {
        format!("{}/zones/{zone}", self.issuer_url)
    }
}

/// Puts the service together and runs it until it is told to stop.
///
/// # Errors
/// A part cannot be set up, or the server broke.
pub async fn serve(config: Config, host: Host) -> Result<(), BoxError> {
    let clock = host.clock();
    let own = own(&config, &host).await?;
    let database = Database::connect(&DatabaseConfig {
        url: config.database_url.expose_secret().to_owned(),
        max_connections: DATABASE_CONNECTIONS,
        application_name: "caracal-gateway",
    })?;
    let bus = Bus::connect(&BusConfig {
        url: config.nats_url,
        name: "caracal-gateway".to_owned(),
        hmac_keys: config.stream_keys,
    })
    .await?;
    let sts = Arc::new(StsClient::new(config.sts_url, &config.sts_key)?);
    let keys = Arc::new(ZoneKeys::new(Arc::clone(&sts)));
    let directives = Arc::new(Directives::new(Arc::clone(&sts)));
    let credentials = Arc::new(Credentials::new(Arc::clone(&sts)));
    let (views, running) = (Arc::new(Views::default()), Arc::new(Running::default()));
    let sink = Arc::new(GatewaySink {
        database: database.clone(),
        views: Arc::clone(&views),
        running: Arc::clone(&running),
        directives: Arc::clone(&directives),
        credentials: Arc::clone(&credentials),
        keys: Arc::clone(&keys),
    });
    let max_lag = config.max_lag;
    let settings = Settings {
        max_lag,
        strangers: StrangersConfig {
            service: "gateway",
            event_type: EventType::GatewayRequest,
            summary_every: config.strangers_summary,
        },
    };
    let replica = Replica::new(
        database,
        bus.clone(),
        Arc::<GatewaySink>::clone(&sink),
        Arc::clone(&clock),
        settings,
    );
    let (feed, recorder) = (replica.feed.clone(), replica.recorder.clone());
    let (strangers, postgres) = (Arc::clone(&replica.strangers), replica.database_answers.clone());
    let confirm = Arc::new(Confirm {
        feed: feed.clone(),
        views: Arc::clone(&views),
        sts: Arc::clone(&sts),
        max_lag,
    });

    replica.start(&host.tasks);
    host.tasks.spawn("own-addresses", own.clone().keep_up());
    host.tasks.spawn("slow-poll", sink.poll_slowly());
    host.tasks
        .spawn("anchors", expire_anchors(Arc::clone(&views), Arc::clone(&clock)));
    host.tasks.spawn(
        "running",
        Arc::clone(&confirm).watch(Arc::clone(&running), Arc::clone(&clock)),
    );
    let (nats, built) = (bus.clone(), Arc::clone(&views));
    host.probes.add("nats", move || nats.is_connected());
    host.probes.add("anchors", move || built.is_built());
    // Without either each call is confirmed by the STS: named, and the gateway stays ready.
    let fresh = feed.clone();
    host.probes
        .add_to_start("feed", move || fresh.staleness() == Staleness::Fresh);
    host.probes.add_to_start("postgres", move || postgres.get());

    let gateway = Data::new(Gateway {
        clock: Arc::clone(&clock),
        sts,
        keys,
        views,
        directives,
        credentials,
        confirm,
        running,
        strangers,
        recorder,
        upstreams: Upstreams::new(config.egress.clone(), own)?.with_answer_timeout(UPSTREAM_PATIENCE),
        egress: config.egress,
        metrics: Metrics::register(&host.probes),
        first_byte: config.first_byte,
        public_url: bare(&config.public_url),
        trusted_proxies: config.trusted_proxies,
        issuer_url: bare(&config.issuer_url),
    });
    Metrics::watch(&host.probes, gateway.clone(), feed, bus);
    let (http, probes) = (host.http(), host.probes.clone());
    let shell = Shell::new(clock, host.in_flight(), move |method, route, status, took| {
        http.answered(method, route, status, took);
    });
    let app = move || {
        let (gateway, probes) = (gateway.clone(), probes.clone());
        caracal_web::app(&shell, move |config| {
            config.app_data(gateway);
            routes(config, &probes);
        })
    };
    host.serve(app).await
}

/// A base URL without its trailing slash.
fn bare(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// What no resource may lead to: this listener, the STS, PostgreSQL, NATS, and what the operator names as internal besides.
async fn own(config: &Config, host: &Host) -> Result<Own, BoxError> {
    let mut places = config.internal_addresses.clone();
    places.extend(places_of(config.nats_url.expose_secret(), 4222));
    places.extend(places_of(config.sts_url.as_str(), 80));
    places.extend(caracal_storage::places(config.database_url.expose_secret())?);
    Ok(Own::find(vec![host.address()], places).await)
}
