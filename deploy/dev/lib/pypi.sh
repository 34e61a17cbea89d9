# shellcheck shell=bash
# Python programs: pinned wheels from PyPI, each set in a virtual environment of its own below .caracal/.

# install_from_pypi FOLDER PACKAGE==VERSION...: once; fails, having said why, where Python or PyPI is out of reach.
install_from_pypi() {
  local folder=$1
  shift
  [[ $(cat "$folder/installed" 2>/dev/null) == "$*" ]] && return
  say "installing $* into ${folder#"$ROOT"/}"
  python3 -m venv "$folder" &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --retries 1 --timeout 10 "$@" &&
    echo "$*" >"$folder/installed"
}
