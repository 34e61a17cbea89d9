//! The demonstration: an order book that wants its API key, an agent that never holds it, and Caracal between them.
//!
//! Everything here is done as a stranger would, over the public interfaces of a running stack.

#![expect(clippy::print_stdout, reason = "a story is told on standard output")]

mod caracal;
mod ledger;
mod load;
mod mcp;
mod scene;
mod settings;
mod story;
mod tale;
mod upstream;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about = "The demonstration of Caracal, against a running stack (make up)")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the order book that the story's agent wants to use.
    Upstream(upstream::Settings),
    /// Tells the whole story, and exits 0 only if every step was as it should be.
    Story,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Upstream(settings) => upstream::serve(settings).await,
        Command::Story => Box::pin(story::tell()).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nIt is not as it should be: {error:#}");
            ExitCode::FAILURE
        }
    }
}
