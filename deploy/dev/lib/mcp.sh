# shellcheck shell=bash
# The published MCP SDK for Python: the demo's MCP server and its client are made with it.

MCP_PIN=2.3.0
MCP=$TOOLS/mcp

# Fails, having said why, where Python or PyPI is out of reach: the demo leaves that step out then.
install_mcp() {
  install_from_pypi "$MCP" "mcp==$MCP_PIN" && export CARACAL_DEMO_MCP_PYTHON=$MCP/bin/python
}
