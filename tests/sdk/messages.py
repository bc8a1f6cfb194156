"""Messages API of the scripted upstream: as strict about conversations as the real one, with fixed answers and usage.

A request with tools is answered with two parallel calls, and a request with both results with a text that quotes them. If `thinking`
is on, a thinking block precedes the calls and must come back unchanged.
"""

import re

KEY = "messages-secret"
CALLS = [
    {"type": "tool_use", "id": "toolu_01", "name": "get_weather", "input": {"city": "Paris"}},
    {"type": "tool_use", "id": "toolu_02", "name": "get_weather", "input": {"city": "東京"}},
]
THOUGHT = {"type": "thinking", "thinking": "Two cities, two calls.", "signature": "c2lnbmF0dXJl"}
USAGE = {
    "input_tokens": 100,
    "cache_creation_input_tokens": 200,
    "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50},
    "cache_read_input_tokens": 1000,
    "output_tokens": 20,
}
KNOWN = {"model", "messages", "system", "max_tokens", "tools", "tool_choice", "stream", "thinking", "output_config", "metadata"}


class Wrong(Exception):
    """Invalid request."""


def insist(condition, what):
    if not condition:
        raise Wrong(what)


def check(headers, request):
    """Raises what the real API refuses with 400."""
    insist(re.fullmatch(r"\d{4}-\d\d-\d\d", headers.get("anthropic-version", "")), "anthropic-version: header is required")
    extra = sorted(request.keys() - KNOWN)
    insist(not extra, f"{extra}: Extra inputs are not permitted")
    insist(isinstance(request.get("max_tokens"), int), "max_tokens: Field required")
    turns = request["messages"]
    insist([turn["role"] for turn in turns] == [["user", "assistant"][nth % 2] for nth in range(len(turns))], "roles must alternate")
    insist(all(isinstance(turn["content"], list) and turn["content"] for turn in turns), "content must be blocks")
    for tool in request.get("tools", []):
        insist(tool["input_schema"]["type"] == "object", "tools: input_schema.type must be object")
    for turn, following in zip(turns, turns[1:]):
        asked = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]
        given = [block["tool_use_id"] for block in following["content"][: len(asked)] if block["type"] == "tool_result"]
        insist(asked == given, f"`tool_use` ids {asked} were found without `tool_result` blocks immediately after")
        if asked and "thinking" in request:
            insist(turn["content"][0] == THOUGHT, "Expected `thinking`, but found `tool_use`: thinking blocks cannot be modified")


def answer(request):
    """Returns the message that answers a request."""
    results = [block for block in request["messages"][-1]["content"] if block["type"] == "tool_result"]
    if results:
        text = ", ".join(block["content"] for block in results)
        content, reason = [{"type": "text", "text": f"It is {text}."}], "end_turn"
    elif request.get("tools"):
        content, reason = [*([THOUGHT] if "thinking" in request else []), {"type": "text", "text": "Let me look."}, *CALLS], "tool_use"
    else:
        content, reason = [{"type": "text", "text": "Hello from the upstream: grüße, 東京"}], "end_turn"
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": USAGE,
    }


def events(message, dumps):
    """Yields the message as stream events, with texts and arguments in pieces."""
    yield {"type": "message_start", "message": message | {"content": [], "stop_reason": None, "usage": USAGE | {"output_tokens": 1}}}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        match block["type"]:
            case "thinking":
                start = {"thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": piece} for piece in halves(block["thinking"])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            case "tool_use":
                start = {"input": {}}
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *halves(dumps(block["input"]))]]
            case _:
                start = {"text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in halves(block["text"])]
        yield {"type": "content_block_start", "index": index, "content_block": block | start}
        yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": stop, "usage": {"output_tokens": USAGE["output_tokens"]}}
    yield {"type": "message_stop"}


def halves(text):
    return [text[: len(text) // 2], text[len(text) // 2 :]]
