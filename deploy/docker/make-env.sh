#!/usr/bin/env bash
# Fills deploy/docker/.env.example with random secrets, once, as .caracal/compose.env; with --print, to standard output.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../../.caracal/compose.env

random_hex() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

filled() {
  local line
  while IFS= read -r line; do
    case $line in
      CARACAL_ADMIN_TOKEN=) line+=cadm_$(random_hex) ;;
      NATS_PASSWORD=) line+=nats_$(random_hex) ;;
      [A-Z]*=) line+=$(random_hex) ;;
    esac
    printf '%s\n' "$line"
  done <"$here/.env.example"
}

if [[ ${1:-} == --print ]]; then
  filled
elif [[ -e $target ]]; then
  echo "kept: .caracal/compose.env"
else
  umask 077
  mkdir -p "${target%/*}"
  filled >"$target"
  echo "made: .caracal/compose.env. Now: docker compose --env-file .caracal/compose.env up --build --wait"
fi
