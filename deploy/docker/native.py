"""Runs what docker-compose.yml and the Dockerfile say, without containers, where no engine is at hand.

Each service gets exactly the environment and entrypoint its image and its compose entry give it, with the names of
other containers replaced by loopback ports and the paths inside images by paths here. PostgreSQL and NATS are
stack.sh's. Checked, in development's mode and in production's: the migrations exit 0 and set the roles' passwords (or no
service could log in), every health check passes, and every service leaves with 0 on SIGTERM. And that every variable
of docker-compose.yml is described in .env.example. Run by native.sh.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

from ruamel.yaml import YAML

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(os.environ["BINARIES"])
SCRATCH = pathlib.Path(os.environ["CARACAL_DIR"])
PORT_BASE = int(os.environ["PORT_BASE"])
OFFSETS = {"api": 0, "sts": 1, "gateway": 2, "audit": 4, "relay": 5, "postgres": 6, "nats": 7}
PATIENCE = 20

# What an operator would add for production. STS_URL stays: here it leads to loopback, in containers it must be https.
PRODUCTION = {
    "CARACAL_MODE": "production",
    "ISSUER_URL": "https://sts.caracal.test",
    "GATEWAY_PUBLIC_URL": "https://gateway.caracal.test",
    "API_PUBLIC_URL": "https://api.caracal.test",
    "TRUSTED_PROXIES": "10.0.0.0/8, 172.16.0.0/12",
    "ALLOW_PRIVATE_UPSTREAMS": "true",
    "UPSTREAM_HOST_ALLOWLIST": "*.svc.caracal.test",
    "FEED_MAX_LAG_MS": "5000",
}
EXIT_CONFIG = 64


def main() -> None:
    described()
    run_all("dev")
    os.environ |= PRODUCTION
    run_all("production")
    refused({"UPSTREAM_HOST_ALLOWLIST": ""}, "private upstreams without an allow-list")
    refused({"GATEWAY_PUBLIC_URL": "http://gateway.caracal.test"}, "plain HTTP off this machine")


def services() -> dict:
    compose = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
    images = stages((ROOT / "deploy/docker/Dockerfile").read_text())
    return {
        name: Service(name, entry, images[entry["build"]["target"]])
        for name, entry in compose.items()
        if "build" in entry
    }


def run_all(mode: str) -> None:
    ours = services()
    ours.pop("migrate").run()
    print(f"{mode}: migrate exited 0")
    try:
        for service in ours.values():
            service.start()
        for service in ours.values():
            service.await_health()
        for service in ours.values():
            service.stop()
        print(f"{mode}: {len(ours)} services answered their health checks and stopped cleanly")
    finally:
        for service in ours.values():
            service.kill()


def refused(settings: dict, what: str) -> None:
    """The gateway must not start with these."""
    kept = {name: os.environ[name] for name in settings}
    os.environ |= settings
    gateway = services()["gateway"]
    gateway.start()
    code = gateway.process.wait(PATIENCE)
    if code != EXIT_CONFIG:
        gateway.fail(f"exited {code}, not {EXIT_CONFIG}, with {what}")
    os.environ |= kept
    print(f"production: refused {what}")


def described() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    known = set(re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / "deploy/docker/.env.example").read_text(), re.M))
    if used != known:
        sys.exit(f"docker-compose.yml and .env.example do not name the same variables: {sorted(used ^ known)}")


def stages(dockerfile: str) -> dict:
    """The environment and entrypoint of each build stage, inherited from the stage it is built on."""
    found, current = {}, None
    for line in dockerfile.splitlines():
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            base = found.get(match[1], {"env": {}, "entrypoint": None})
            current = found[match[2]] = {"env": dict(base["env"]), "entrypoint": base["entrypoint"]}
        elif line.startswith("ENV "):
            current["env"].update(pair.split("=", 1) for pair in line[4:].split())
        elif line.startswith("ENTRYPOINT "):
            current["entrypoint"] = json.loads(line[11:])
    return found


def interpolate(value: str) -> str:
    """Compose's ${NAME:?message} and ${NAME:-default}."""

    def one(match: re.Match) -> str:
        name, kind, rest = match.groups()
        if os.environ.get(name):
            return os.environ[name]
        if kind == "?":
            sys.exit(f"{name} is required: {rest}")
        return rest

    return re.sub(r"\$\{(\w+):([?-])([^}]*)\}", one, value)


def here(value: str) -> str:
    """A value as it is inside a container, as it has to be on this machine."""
    host = r"(?<=[/@])(api|sts|gateway|audit|relay|postgres|nats):\d+(?=/|$)"
    value = re.sub(host, lambda m: f"127.0.0.1:{PORT_BASE + OFFSETS[m[1]]}", value)
    value = re.sub(r"^/usr/local/bin/(caracal-.*)", lambda m: str(BINARIES / m[1]), value)
    value = value.replace("/usr/local/bin/opa", os.environ["OPA_BIN"])
    return value.replace("/var/cache/caracal", str(SCRATCH / "cache"))


class Service:
    def __init__(self, name: str, entry: dict, image: dict) -> None:
        given = {key: interpolate(str(value)) for key, value in entry["environment"].items() if value is not None}
        self.name = name
        self.env = {key: here(value) for key, value in {**image["env"], **given}.items()}
        self.command = [here(word) for word in image["entrypoint"]]
        self.health = [here(word) for word in entry.get("healthcheck", {}).get("test", [])[1:]]
        self.log = SCRATCH / "log" / f"compose-{name}.log"
        self.process = None
        if port := image["env"].get("PORT"):
            assert entry["ports"] == [f"127.0.0.1:{port}:{port}"], f"{name} publishes another port than it listens on"
            self.env |= {"HOST": "127.0.0.1", "PORT": str(PORT_BASE + OFFSETS[name])}

    def run(self) -> None:
        subprocess.run(self.command, env=self.env, check=True, timeout=60)

    def start(self) -> None:
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def await_health(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(self.health, env=self.env, capture_output=True).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.fail("did not become healthy")
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.fail("did not stop on SIGTERM")
        if code != 0:
            self.fail(f"exited {code} on SIGTERM")

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()

    def fail(self, what: str) -> None:
        print(self.log.read_text()[-3000:], file=sys.stderr)
        sys.exit(f"{self.name} {what}")


main()
