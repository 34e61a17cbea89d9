"""An MCP server made with the published Python SDK: how much of an item is in stock. It wants its API key.

    stock.py PORT        with the key in API_KEY
"""

import os
import sys

import uvicorn
from mcp.server import MCPServer

server = MCPServer("stock", log_level="WARNING")


@server.tool()
def in_stock(item: str) -> int:
    """How many of an item are in stock."""
    return {"lamp": 12, "chair": 4}.get(item, 0)


mcp = server.streamable_http_app()
key = os.environ["API_KEY"].encode()


async def app(scope, receive, send):
    """Lets nobody through without the key."""
    if scope["type"] == "http" and dict(scope["headers"]).get(b"x-api-key") != key:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"error": "show me your API key"}'})
    else:
        await mcp(scope, receive, send)


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
