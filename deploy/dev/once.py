#!/usr/bin/env python3
"""Fails when `make demo` and then `make test` would compile an outside crate twice.

Cargo compiles a crate once for each set of features that it is asked for, and a test's own dependencies can ask for
more than the binaries do: then everything above that crate is built anew. This compares what cargo plans to build for
the binaries alone with what it plans for binaries and tests, without building anything.
"""

import json
import os
import subprocess
import sys

PLAN = ["cargo", "build", "--workspace", "--bins", "-Z", "unstable-options", "--unit-graph"]


def plan(*more):
    """Every outside unit of a build, by all that decides whether its artifact can be used again."""
    # The plan is an unstable output: this lets a stable cargo print it, and no setting of the caller change it.
    environment = {name: value for name, value in os.environ.items() if "FEATURE_UNIFICATION" not in name}
    environment["RUSTC_BOOTSTRAP"] = "1"
    printed = subprocess.run([*PLAN, *more], env=environment, stdout=subprocess.PIPE, check=True).stdout
    units = json.loads(printed)["units"]
    known = {}

    def identity(index):
        if index not in known:
            unit = units[index]
            own = (unit["pkg_id"], unit["target"]["name"], unit["mode"], unit["platform"])
            how = (json.dumps(unit["profile"], sort_keys=True), tuple(unit["features"]))
            below = frozenset(identity(dependency["index"]) for dependency in unit["dependencies"])
            known[index] = hash((own, how, below)), unit
        return known[index][0]

    for index in range(len(units)):
        identity(index)
    return {key: unit for key, unit in known.values() if not unit["pkg_id"].startswith("path+")}


def main():
    profile = ("--profile", os.environ.get("PROFILE") or "dev")
    binaries, all_of_it = plan(*profile), plan(*profile, "--tests")
    if len(binaries) < 100:
        sys.exit(f"cargo's plan has {len(binaries)} outside units only: is it read rightly?")
    twice = [unit for key, unit in binaries.items() if key not in all_of_it]
    for unit in twice:
        print(f"built twice: {unit['pkg_id'].split('#')[-1]} ({unit['mode']}, features {unit['features']})")
    if twice:
        sys.exit("Name what turns the other features on among testkit's dependencies: see its Cargo.toml.")
    print(f"{len(binaries)} outside units serve binaries and tests alike")


main()
