//! Measures a running stack as a stranger sees it: over its public interfaces, with a load that is light itself.
//!
//! Start with [`mint`] (the hot path), then [`load`] (how it is measured).

#![expect(clippy::print_stdout, reason = "figures are printed")]

mod activations;
mod cold;
mod control_plane;
mod http;
mod lists;
mod load;
mod mint;
mod report;
mod scene;
mod settings;

use clap::Parser;
use std::process::ExitCode;

/// What to measure, and for how long.
#[derive(Debug, Clone, Parser)]
#[command(about = "Measures a running stack (make up)")]
pub(crate) struct Options {
    /// Seconds for each figure.
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u32,
    /// Workers of the closed loop.
    #[arg(long, default_value_t = 16)]
    pub(crate) workers: u32,
    /// Mandates a second when they are asked for on time; 0 takes half of what the closed loop found.
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u32,
    /// Activations under load; 0 leaves them out.
    #[arg(long, default_value_t = 100)]
    pub(crate) activations: u32,
    /// Zones in all when the cold ones are measured; 0 leaves them out. Restarts the STS.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) zones: usize,
    /// How many of those are set up in full, and minted in for the first time; every fourth has a policy of its own.
    #[arg(long, default_value_t = 100)]
    pub(crate) cold_zones: usize,
    /// Leaves out the lists, each of which is walked, after all else, among 10,000 zones, 100,000 applications and
    /// 1,000,000 events, which are written for it.
    #[arg(long)]
    pub(crate) no_lists: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    match Box::pin(run(Options::parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nIt is not as it should be: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    let stack = settings::Settings::read()?;
    report::conditions(&stack, &options);
    let scene = scene::Scene::set(&stack).await?;
    mint::measure(&stack, &scene, &options).await?;
    control_plane::measure(&stack, &scene, &options).await?;
    if options.activations > 0 {
        activations::measure(&stack, &scene, &options).await?;
    }
    if options.zones > 0 {
        cold::measure(&stack, &options).await?;
    }
    if !options.no_lists {
        lists::measure(&stack).await?;
    }
    Ok(())
}
