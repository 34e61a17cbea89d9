# shellcheck shell=bash
# Python programs: pinned wheels from PyPI, each set in a virtual environment of its own below .caracal/.

# install_from_pypi FOLDER PACKAGE==VERSION...: once; fails, having said why, where Python or PyPI is out of reach. A
# failure is remembered for an hour (where CI=true it is not), so that nobody waits for it again and again.
install_from_pypi() {
  local folder=$1 failure=$1.failed
  shift
  [[ $(cat "$folder/installed" 2>/dev/null) == "$*" ]] && return
  if [[ ${CI:-} != true && $(cat "$failure" 2>/dev/null) == "$*" && -n $(find "$failure" -mmin -60) ]]; then
    say "$* could not be installed within the hour: not tried again. To try now: rm ${failure#"$ROOT"/}"
    return 1
  fi
  say "installing $* into ${folder#"$ROOT"/}"
  if python3 -m venv "$folder" &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --retries 1 --timeout 10 "$@"; then
    echo "$*" >"$folder/installed"
    rm -f "$failure"
  else
    mkdir -p "${failure%/*}"
    echo "$*" >"$failure"
    return 1
  fi
}
