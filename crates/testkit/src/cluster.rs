//! A PostgreSQL server of a test's own that keeps what it has committed (the others here do not, for speed), for tests
//! that stop it. It is made, and started again, by the scripts behind `make up`.

use crate::{binaries, eventually};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use url::Url;

/// How long it may take to start, on a busy machine and after a crash.
const PATIENCE: Duration = Duration::from_mins(1);

/// See the module. It ends with the test.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
}

impl Cluster {
    /// Starts one, on ports of its own.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let cluster = Self { folder };
        cluster.restart().await;
        cluster
    }

    /// Where its superuser connects.
    #[must_use]
    pub fn superuser_url(&self) -> Url {
        let text = self.read("test.env");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("CARACAL_SUPERUSER_URL="));
        line.and_then(|url| url.parse().ok()).expect("a URL")
    }

    /// Ends it at once (SIGKILL), as a crash would.
    pub fn kill9(&self) {
        self.signal("KILL");
    }

    /// Asks it to stop, without waiting for its clients to leave.
    pub fn stop(&self) {
        self.signal("INT");
    }

    /// Starts it again over what it stored. A server that was killed leaves processes that take a moment to notice.
    pub async fn restart(&self) {
        eventually("a PostgreSQL of the test's own", PATIENCE, || async {
            self.script(&["infra-up"]).then_some(())
        })
        .await;
    }

    /// Stops all of it where it is (SIGSTOP): its connections stay open, and nobody answers until what comes back is
    /// dropped.
    #[must_use]
    pub fn freeze(&self) -> Frozen<'_> {
        self.signal("STOP");
        self.signal_children("STOP");
        Frozen(self)
    }

    fn signal_children(&self, name: &str) {
        let pid = self.read("run/postgres.pid");
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", pid.trim()));
        let children = children.expect("the server's processes");
        assert!(!children.trim().is_empty(), "a server has processes");
        // One of them may just have ended.
        let _ = Command::new("sh")
            .args(["-c", &format!("kill -{name} {children}")])
            .status();
    }

    fn signal(&self, name: &str) {
        let pid = self.read("run/postgres.pid");
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", pid.trim())])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "SIG{name} did not reach PostgreSQL"
        );
    }

    fn script(&self, arguments: &[&str]) -> bool {
        let script = binaries::root().join("deploy/dev/stack.sh");
        let output = Command::new(script)
            .args(arguments)
            .env("CARACAL_DIR", self.path())
            .env("PORT_BASE", "auto")
            .env("CLEAN", "1")
            .output()
            .expect("the script starts");
        if !output.status.success() {
            println!("{}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect("the script has written it")
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }
}

/// A server that was frozen; it goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen<'a>(&'a Cluster);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.signal_children("CONT");
        self.0.signal("CONT");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script(&["down"]);
    }
}
