"""An MCP client made with the published Python SDK. It knows nothing of Caracal: an address and a bearer token.

    client.py URL ITEM   with the token in TOKEN; prints the server's tools and one answer as JSON
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main():
    bearer = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
    async with (
        httpx2.AsyncClient(headers=bearer, trust_env=False) as http,
        Client(streamable_http_client(sys.argv[1], http_client=http)) as client,
    ):
        tools = (await client.list_tools()).tools
        answer = await client.call_tool("in_stock", {"item": sys.argv[2]})
        print(json.dumps({"tools": [tool.name for tool in tools], "answer": answer.structured_content}))


asyncio.run(main())
