//! A child process: its log, its signals, its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How many lines of a failed test's logs are shown.
const TAIL: usize = 40;

/// A program that ends with the test.
#[derive(Debug)]
pub struct Process {
    name: String,
    command: Launch,
    log: PathBuf,
    child: Option<Child>,
}

#[derive(Debug)]
struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Process {
    /// Starts `program` with this environment and no other, writing to `<directory>/<name>.log`.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[&str],
        environment: Vec<(String, String)>,
        directory: &Path,
    ) -> Self {
        let command = Launch {
            program: program.to_owned(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment,
        };
        let log = directory.join(format!("{name}.log"));
        let mut process = Self {
            name: name.to_owned(),
            command,
            log,
            child: None,
        };
        process.restart();
        process
    }

    /// Gives it a setting, from its next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        // Of two of one name the later counts.
        self.command.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it again, after it was ended.
    pub fn restart(&mut self) {
        self.kill9();
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log can be opened");
        let child = Command::new(&self.command.program)
            .args(&self.command.arguments)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(self.command.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("the log can be shared"))
            .stdout(log)
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{} did not start: {error}", self.name)));
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child
            .as_ref()
            .map_or_else(|| panic!("{} is not running", self.name), Child::id)
    }

    /// Ends it at once (SIGKILL) and waits until it is gone.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, and then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal by its name, such as `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        // The shell's own, since not every machine has the program.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "SIG{name} did not reach {}",
            self.name
        );
    }

    /// Asks it to end (SIGTERM) and waits at most `patience`.
    pub fn terminate(&mut self, patience: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(patience)
    }

    /// Waits until it ends by itself, at most `patience`.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            let child = self
                .child
                .as_mut()
                .unwrap_or_else(|| panic!("{} is not running", self.name));
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                self.child = None;
                return status;
            }
            assert!(
                started.elapsed() < patience,
                "{} is still running after {patience:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Whether it ended by itself and nobody has waited for it yet: it is a zombie.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        status
            .lines()
            .any(|line| line.starts_with("State:") && line.contains('Z'))
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or_default();
        line.split_whitespace()
            .next()
            .and_then(|kib| kib.parse::<u64>().ok())
            .unwrap_or_default()
            * 1024
    }

    fn print_tail(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        println!("--- {} ({})", self.name, self.log.display());
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
            println!("{line}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_tail();
        }
        self.kill9();
    }
}
