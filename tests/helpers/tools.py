"""A model with a tool, used by the tests of each protocol."""

from __future__ import annotations

from helpers.upstream import Body, Reply, chunk, event

CALL = {"id": "call_7", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}

PIXEL = "iVBORw0KGgo="
"""A placeholder for an image; no test decodes it."""


def calling(body: Body) -> Reply:
    """Call the weather tool while there are tools and no result yet."""
    if "tools" not in body or body["messages"][-1]["role"] == "tool":
        return Reply("It rains in Oslo.")
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    chunks = [chunk({"tool_calls": [{"index": 0, **CALL}]}), chunk({}, "tool_calls")]
    packets = [*map(event, chunks), b"data: [DONE]\n\n"]
    return Reply(message=message, stream=packets if body.get("stream") else None, finish_reason="tool_calls")
