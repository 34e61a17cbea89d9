//! Two kinds of load. Closed: each worker sends its next request when it has the answer, which finds the greatest rate.
//! Open: requests are due at fixed times whether or not earlier ones were answered, and each is timed from when it was
//! due, which finds what callers feel.

use crate::http::{Answer, Connection};
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections of the open loop: more than are ever busy at once.
const OPEN_CONNECTIONS: u32 = 64;

/// What a load found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How long each good answer took, shortest first.
    pub(crate) times: Vec<Duration>,
    /// How many were not as they should be.
    pub(crate) failed: usize,
    /// One of those.
    pub(crate) example: Option<String>,
    /// How long all of it took.
    pub(crate) took: Duration,
    /// CPU time that the watched process spent meanwhile.
    pub(crate) cpu: Duration,
}

impl Found {
    /// Good answers a second.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.times.len()).unwrap_or(u32::MAX)) / self.took.as_secs_f64()
    }

    /// A percentile in milliseconds.
    pub(crate) fn percentile(&self, hundredths: usize) -> f64 {
        let at = (self.times.len() * hundredths / 10_000).min(self.times.len().saturating_sub(1));
        self.times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }

    /// CPU time of the watched process for each good answer, in microseconds.
    pub(crate) fn cpu_each(&self) -> f64 {
        let count = u32::try_from(self.times.len()).unwrap_or(u32::MAX).max(1);
        self.cpu.as_secs_f64() * 1e6 / f64::from(count)
    }

    fn absorb(&mut self, other: Self) {
        self.times.extend(other.times);
        self.failed += other.failed;
        self.example = self.example.take().or(other.example);
    }

    fn note(&mut self, answer: &Result<Answer>, due: Instant, is_right: impl Fn(&Answer) -> bool) {
        match answer {
            Ok(answer) if is_right(answer) => self.times.push(due.elapsed()),
            Ok(answer) => {
                self.failed += 1;
                let body = String::from_utf8_lossy(&answer.body);
                self.example
                    .get_or_insert_with(|| format!("{} {body}", answer.status));
            }
            Err(error) => {
                self.failed += 1;
                self.example.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}

/// Where a load goes, and whose CPU time is watched.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) address: String,
    /// The process.
    pub(crate) pid: u32,
}

/// `workers` that each send `bytes` again and again, and are answered 200.
pub(crate) async fn closed(target: &Target, workers: u32, seconds: u32, bytes: Vec<u8>) -> Result<Found> {
    let bytes: Arc<[u8]> = bytes.into();
    closed_with(target, workers, seconds, 200, move || Arc::clone(&bytes)).await
}

/// `workers` that each send what `make` makes, and are answered `status`.
pub(crate) async fn closed_with<F>(
    target: &Target,
    workers: u32,
    seconds: u32,
    status: u16,
    make: F,
) -> Result<Found>
where
    F: Fn() -> Arc<[u8]> + Clone + Send + Sync + 'static,
{
    let mut all = JoinSet::new();
    let before = cpu_time(target.pid)?;
    let started = Instant::now();
    let end = started + Duration::from_secs(u64::from(seconds));
    for _ in 0..workers {
        let (address, make) = (target.address.clone(), make.clone());
        all.spawn(async move {
            let (mut connection, mut found) = (Connection::open(&address).await?, Found::default());
            while Instant::now() < end {
                let bytes = make();
                let due = Instant::now();
                let answer = connection.send(&bytes).await;
                found.note(&answer, due, |answer| answer.status == status);
                if answer.is_err() {
                    connection = Connection::open(&address).await?;
                }
            }
            Ok::<_, anyhow::Error>(found)
        });
    }
    collect(all, target, started, before).await
}

/// `rate` requests a second, due at fixed times. `is_right` looks at each answer, with the time its request was sent.
pub(crate) async fn open<F>(
    target: &Target,
    rate: u32,
    seconds: u32,
    bytes: Vec<u8>,
    is_right: F,
) -> Result<Found>
where
    F: Fn(&Answer, Instant) -> bool + Clone + Send + Sync + 'static,
{
    let (bytes, mut all) = (Arc::new(bytes), JoinSet::new());
    let (due_now, next) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
    let mut connections = Vec::new();
    for _ in 0..OPEN_CONNECTIONS {
        connections.push(Connection::open(&target.address).await?);
    }
    let before = cpu_time(target.pid)?;
    let started = Instant::now();
    for mut connection in connections {
        let (address, bytes, is_right) = (target.address.clone(), Arc::clone(&bytes), is_right.clone());
        let (due_now, next) = (Arc::clone(&due_now), Arc::clone(&next));
        all.spawn(async move {
            let mut found = Found::default();
            while let Ok(turn) = due_now.acquire().await {
                turn.forget();
                let due = started + Duration::from_secs(1) * next.fetch_add(1, Ordering::Relaxed) / rate;
                let sent = Instant::now();
                let answer = connection.send(&bytes).await;
                found.note(&answer, due, |answer| is_right(answer, sent));
                if answer.is_err() {
                    connection = Connection::open(&address).await?;
                }
            }
            Ok::<_, anyhow::Error>(found)
        });
    }
    // A thread of its own: tokio's timers know whole milliseconds only.
    let pace = move || {
        for number in 0..rate * seconds {
            let due = started + Duration::from_secs(1) * number / rate;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due_now.add_permits(1);
        }
        // The last ones are answered, or given up.
        for _ in 0..50 {
            if due_now.available_permits() == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        due_now.close();
    };
    let pacing = std::thread::spawn(pace);
    let found = collect(all, target, started, before).await;
    pacing.join().ok().context("the pacing thread panicked")?;
    found
}

async fn collect(
    mut all: JoinSet<Result<Found>>,
    target: &Target,
    started: Instant,
    before: Duration,
) -> Result<Found> {
    let mut found = Found::default();
    while let Some(worker) = all.join_next().await {
        found.absorb(worker.context("a worker panicked")??);
    }
    found.took = started.elapsed();
    found.cpu = cpu_time(target.pid)?.saturating_sub(before);
    found.times.sort_unstable();
    Ok(found)
}

/// Waits, a minute at most, until a process takes less than a twentieth of a processor.
pub(crate) async fn idle(pid: u32) -> Result<()> {
    for _ in 0..60 {
        let before = cpu_time(pid)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if cpu_time(pid)?.saturating_sub(before) < Duration::from_millis(50) {
            break;
        }
    }
    Ok(())
}

/// User and system time of a process so far; Linux counts it in hundredths of a second.
fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading the STS's CPU time")?;
    let (_, fields) = stat.rsplit_once(')').context("no process")?;
    let ticks: u64 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}
