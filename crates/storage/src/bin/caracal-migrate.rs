//! `caracal-migrate`: brings the schema up to date and gives the services' roles their passwords. Safe to run at every
//! start and by several at once. Exits 0 when done, 64 on a bad configuration, 1 when the database refuses.

use caracal_storage::Error;
use caracal_storage::migrations::{self, RolePassword};
use clap::Parser;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Brings Caracal's schema up to date.
#[derive(Parser)]
struct Arguments {
    /// The owner's connection.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// A file that holds it.
    #[arg(long, env = "DATABASE_URL_FILE")]
    database_url_file: Option<PathBuf>,
    /// `caracal_api=…,caracal_sts=…`: passwords to set.
    #[arg(long, env = "CARACAL_ROLE_PASSWORDS", hide_env_values = true)]
    role_passwords: Option<String>,
    /// A file that holds them.
    #[arg(long, env = "CARACAL_ROLE_PASSWORDS_FILE")]
    role_passwords_file: Option<PathBuf>,
}

struct Job {
    url: String,
    passwords: Vec<RolePassword>,
}

// The harness blocks a worker while it migrates, so there must be another.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(help) if !help.use_stderr() => help.exit(),
        Err(mistake) => return misconfigured(&mistake.to_string()),
    };
    let job = match job(arguments) {
        Ok(job) => job,
        Err(mistake) => return misconfigured(&mistake),
    };
    match migrate(&job).await {
        Ok(applied) => {
            say(&json!({ "level": "info", "message": "schema is up to date", "applied": applied }));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let causes: Vec<String> = causes(&error);
            say(&json!({ "level": "error", "message": error.to_string(), "causes": causes }));
            ExitCode::FAILURE
        }
    }
}

fn job(arguments: Arguments) -> Result<Job, String> {
    let url = value(
        "DATABASE_URL",
        arguments.database_url,
        arguments.database_url_file,
    )?;
    let url = url.ok_or("DATABASE_URL is required")?;
    let passwords = value(
        "CARACAL_ROLE_PASSWORDS",
        arguments.role_passwords,
        arguments.role_passwords_file,
    )?;
    let passwords = RolePassword::parse_list(&passwords.unwrap_or_default());
    let passwords = passwords
        .map_err(|_| "CARACAL_ROLE_PASSWORDS is role=password,… with the services' roles".to_owned())?;
    Ok(Job { url, passwords })
}

fn value(name: &str, direct: Option<String>, file: Option<PathBuf>) -> Result<Option<String>, String> {
    match (direct, file) {
        (Some(_), Some(_)) => Err(format!("{name} and {name}_FILE are both set")),
        (Some(value), None) => Ok(Some(value)),
        (None, Some(file)) => match std::fs::read_to_string(&file) {
            Ok(text) => Ok(Some(text.trim_end().to_owned())),
            Err(error) => Err(format!("{name}_FILE: {}: {error}", file.display())),
        },
        (None, None) => Ok(None),
    }
}

async fn migrate(job: &Job) -> Result<Vec<String>, Error> {
    let applied = migrations::run(&job.url).await?;
    migrations::set_role_passwords(&job.url, &job.passwords).await?;
    Ok(applied)
}

fn misconfigured(mistake: &str) -> ExitCode {
    say(&json!({ "level": "error", "message": "bad configuration", "mistakes": [mistake.trim_end()] }));
    ExitCode::from(64)
}

fn causes(error: &Error) -> Vec<String> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
        .map(ToString::to_string)
        .collect()
}

/// One JSON line; whoever reads nothing of it must not stop the migration.
fn say(line: &serde_json::Value) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
