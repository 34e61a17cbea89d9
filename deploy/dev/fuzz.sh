#!/usr/bin/env bash
# Runs the fuzz targets (crates/fuzz) for a while, each with coverage counters, on the stable toolchain.
#   deploy/dev/fuzz.sh [SECONDS] [TARGET…]      20 seconds each, all targets
# A crash is kept in .caracal/fuzz/<target>/ and fails the run; what was learned stays in its corpus there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/base.sh
source "$here/lib/base.sh"
seconds=${1:-20}
shift || true
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}/fuzz
# What cargo-fuzz passes, but for the sanitizer, which only nightly has.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1"
cargo build --release --manifest-path "$ROOT/crates/fuzz/Cargo.toml" --target "$host"
(($#)) || set -- form token foreign_token key_set policy_result checkpoint
for target in "$@"; do
  kept=$ROOT/.caracal/fuzz/$target
  mkdir -p "$kept/corpus"
  seeds=$ROOT/crates/fuzz/seeds/$target
  say "fuzzing $target for ${seconds}s"
  "$CARGO_TARGET_DIR/$host/release/$target" "$kept/corpus" "$seeds" -max_total_time="$seconds" -timeout=5 \
    -rss_limit_mb=1024 -artifact_prefix="$kept/" -print_final_stats=1 -verbosity=0
done
