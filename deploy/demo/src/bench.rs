//! A small honest load: what one machine does with everything on it, the callers included.

use crate::caracal::{self, Agent, Answer, send};
use crate::scene::Scene;
use crate::settings;
use crate::upstream::Running;
use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// How long, and how many at once.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Settings {
    /// Seconds for each figure.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Callers at once.
    #[arg(long, default_value_t = 16)]
    callers: usize,
}

/// Measures and prints.
pub(crate) async fn run(settings: Settings) -> Result<()> {
    let stack = settings::Settings::read()?;
    let http = caracal::client()?;
    let _upstream = Running::start(&stack, &http).await?;
    println!("A small load on the running stack.");
    let scene = Scene::set(&http, &stack, |_, _| ()).await?;
    lift_limit(&scene).await?;
    conditions(settings);

    let session = scene
        .agent
        .session()
        .await?
        .expect(200, "a session")?
        .member("access_token")
        .to_owned();
    let bench = Bench {
        settings,
        agent: scene.agent.clone(),
        session,
    };
    bench
        .report("sessions (a row in PostgreSQL each)", |bench| async move {
            bench.agent.session().await
        })
        .await?;
    bench
        .report("mandates (policy, record, signature)", |bench| async move {
            bench.agent.mandate(&bench.session, "orders:read", "").await
        })
        .await?;
    bench
        .report("calls by session token (exchanged each)", |bench| async move {
            send(
                bench
                    .agent
                    .request(Method::GET, "/orders", &bench.session, Some("orders:read")),
            )
            .await
        })
        .await?;
    bench.calls_by_mandate().await
}

/// The limit on mandates is there to protect a zone, and would be all that is measured.
async fn lift_limit(scene: &Scene) -> Result<()> {
    let path = format!("/v1/zones/{}", scene.zone_id);
    let lifted = scene
        .admin
        .call(
            Method::PATCH,
            &path,
            Some(&json!({"mint_rate_per_minute": 1_000_000})),
        )
        .await?;
    lifted.expect(200, "lifting the zone's rate limit")?;
    Ok(())
}

fn conditions(settings: Settings) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let build = if cfg!(debug_assertions) {
        "a development build"
    } else {
        "a release build"
    };
    println!(
        "\nConditions: {cores} cores ({}), {build};",
        model.trim_start_matches(['\t', ':', ' '])
    );
    println!(
        "services, PostgreSQL, NATS, upstream and {} callers share them; {} s each.\n",
        settings.callers, settings.seconds
    );
    println!(
        "{:<42} {:>9} {:>9} {:>9} {:>8}",
        "", "per s", "p50 ms", "p99 ms", "failed"
    );
}

#[derive(Debug, Clone)]
struct Bench {
    settings: Settings,
    agent: Agent,
    session: String,
}

impl Bench {
    async fn report<F, Fut>(&self, what: &str, work: F) -> Result<()>
    where
        F: Fn(Self) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer>> + Send,
    {
        let deadline = Instant::now() + Duration::from_secs(self.settings.seconds);
        let mut callers = JoinSet::new();
        for _ in 0..self.settings.callers {
            let (bench, work) = (self.clone(), work.clone());
            callers.spawn(async move {
                let mut answers = Vec::new();
                while Instant::now() < deadline {
                    let answer = work(bench.clone()).await;
                    answers.push(answer.map(|answer| (answer.status, answer.took)));
                }
                answers
            });
        }
        let started = Instant::now();
        let answers = callers.join_all().await.into_iter().flatten().collect();
        print(what, answers, started.elapsed())
    }

    /// The call alone: the mandates are minted before the clock starts, since each is good for one call.
    async fn calls_by_mandate(&self) -> Result<()> {
        let mandates = Arc::new(Mutex::new(Vec::new()));
        let minting = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..self.settings.callers {
            let (bench, mandates) = (self.clone(), Arc::clone(&mandates));
            callers.spawn(async move {
                while minting.elapsed().as_secs() < bench.settings.seconds {
                    if let Ok(minted) = bench.agent.mandate(&bench.session, "orders:read", "").await {
                        mandates
                            .lock()
                            .await
                            .push(minted.member("access_token").to_owned());
                    }
                }
            });
        }
        callers.join_all().await;
        let started = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..self.settings.callers {
            let (bench, mandates) = (self.clone(), Arc::clone(&mandates));
            callers.spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let Some(mandate) = mandates.lock().await.pop() else {
                        return answers;
                    };
                    let answer = send(bench.agent.request(Method::GET, "/orders", &mandate, None)).await;
                    answers.push(answer.map(|answer| (answer.status, answer.took)));
                }
            });
        }
        let answers = callers.join_all().await.into_iter().flatten().collect();
        print("calls by mandate (the call alone)", answers, started.elapsed())
    }
}

fn print(what: &str, answers: Vec<Result<(u16, Duration)>>, took: Duration) -> Result<()> {
    let total = answers.len();
    let fine = answers
        .into_iter()
        .flatten()
        .filter(|(status, _)| (200..300).contains(status));
    let mut times: Vec<Duration> = fine.map(|(_, time)| time).collect();
    times.sort_unstable();
    let at = |hundredth: usize| {
        times
            .get(times.len() * hundredth / 100)
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    let count = u32::try_from(times.len()).context("a count")?;
    let rate = f64::from(count) / took.as_secs_f64();
    let failed = total - times.len();
    println!(
        "{what:<42} {rate:>9.0} {:>9.2} {:>9.2} {failed:>8}",
        at(50),
        at(99)
    );
    if failed > 0 {
        bail!("{failed} of {total} failed");
    }
    Ok(())
}
