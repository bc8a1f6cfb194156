#!/usr/bin/env python3
"""Endurance test: half an hour of mixed load, with the upstream killed and restarted every minute.

Usage: tests/soak/endurance.py [AIGW]   (the binary; default target/release/aigw). Needs nothing but Python; Linux only.

Chats, streams, prompts of 200 KB, a translated provider, clients that disconnect midway. Prints a line per minute. Fails if memory,
file descriptors or the 99th percentile of a chat grow from the first third to the last, or if the ledger and the clients disagree
about the number of requests. The environment variable MINUTES sets the duration (30).
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from gateway import ROOT, Gateway, free_port, post

AIGW = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/aigw").resolve()
MINUTES = int(os.environ.get("MINUTES", "30"))
MINUTE, DOWN, THINK = 60.0, 2.0, 0.02
CHUNKS = 40
# Allowed growth from the first third to the last.
MOST_MEMORY, MOST_DESCRIPTORS, MOST_P99 = 1.15, 1.10, 1.5
PROVIDERS = """
[kind.mock]
base_url = "http://127.0.0.1:{source}/v1"
allow_private = true
auth = "none"
[provider.mock]
kind = "mock"
[model.chat]
served_by.mock = {{ price = {{ input = 1.0, output = 2.0 }} }}
[kind.translated]
dialect = "anthropic"
base_url = "http://127.0.0.1:{source}/v1"
allow_private = true
auth = "none"
[provider.translated]
kind = "translated"
[model.claude]
served_by.translated = {{ price = {{ input = 3.0, output = 15.0 }} }}
"""


# --- the upstream ---------------------------------------------------------------------------------------------------


def whole(kind):
    if kind == "claude":
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": kind, "content": [{"type": "text", "text": "word " * 50}],
                "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 20, "output_tokens": 50}}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": kind, "usage": {"prompt_tokens": 20, "completion_tokens": 50, "total_tokens": 70},
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 50}, "finish_reason": "stop"}]}


def chunk(text, reason=None, **more):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}], **more}


def upstream(port):
    """Answers after 5 ms, streams forty chunks 10 ms apart."""

    async def stream(writer):
        def event(data):
            text = b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"
            writer.write(b"%x\r\n%s\r\n" % (len(text), text))

        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(CHUNKS):
            event(chunk("word "))
            await writer.drain()
            await asyncio.sleep(0.01)
        event(chunk("", "stop", usage={"prompt_tokens": 20, "completion_tokens": CHUNKS, "total_tokens": 20 + CHUNKS}))
        event(b"[DONE]")
        writer.write(b"0\r\n\r\n")

    async def serve(reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                await asyncio.sleep(0.005)
                if body.get("stream"):
                    await stream(writer)
                else:
                    answer = json.dumps(whole(body["model"])).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 20)
        await server.serve_forever()

    asyncio.run(run())


# --- the clients ----------------------------------------------------------------------------------------------------


class Tally:
    """Results of the clients since the last report."""

    def __init__(self):
        self.sent = 0
        self.start()

    def start(self):
        self.chats, self.good, self.failed, self.broken, self.left = [], 0, 0, 0, 0


def request(port, key, model, size=200, **more):
    messages = [{"role": "user", "content": "lorem ipsum " * (size // 12)}]
    return post(port, key, json.dumps({"model": model, "messages": messages, "max_tokens": 100, **more}).encode())


async def answer(reader, leaves):
    """Reads an answer to its end and returns its status; `None` if the client disconnected before."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    if b"content-length:" in head:
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        return status
    chunks, last = 0, b""
    while size := int(await reader.readline(), 16):
        last = (await reader.readexactly(size + 2)).rstrip()
        chunks += 1
        if leaves and chunks == 3:
            return None
    await reader.readline()
    # A broken stream ends with an error instead of [DONE].
    return status if last.endswith(b"data: [DONE]") else 502


async def client(port, ask, tally, until, is_chat=False, leaves=False):
    reader = writer = None
    while time.monotonic() < until:
        if writer is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        tally.sent += 1
        begun = time.monotonic()
        writer.write(ask)
        try:
            status = await answer(reader, leaves)
        except (ConnectionError, asyncio.IncompleteReadError):
            tally.broken += 1
            writer.close()
            writer = None
            continue
        if status is None:
            tally.left += 1
            writer.close()
            writer = None
        elif status == 200:
            tally.good += 1
            if is_chat:
                tally.chats.append(time.monotonic() - begun)
        else:
            tally.failed += 1
        await asyncio.sleep(THINK)
    if writer is not None:
        writer.close()


async def load(gateway, tally, ends_of_minutes, on_minute):
    until = ends_of_minutes[-1]
    ask = lambda *args, **more: request(gateway.port, gateway.key, *args, **more)
    clients = [client(gateway.port, ask("chat"), tally, until, is_chat=True) for _ in range(8)]
    clients += [client(gateway.port, ask("chat", stream=True), tally, until) for _ in range(8)]
    clients += [client(gateway.port, ask("chat", stream=True), tally, until, leaves=True) for _ in range(2)]
    clients += [client(gateway.port, ask("chat", 200_000), tally, until) for _ in range(2)]
    clients += [client(gateway.port, ask("claude"), tally, until) for _ in range(2)]
    running = asyncio.gather(*clients)
    for end in ends_of_minutes:
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        on_minute()
    await running


def restarts(port, until):
    """Kills the upstream once a minute and restarts it after two seconds."""
    while True:
        serving = multiprocessing.Process(target=upstream, args=(port,))
        serving.start()
        time.sleep(max(0.0, min(MINUTE - DOWN, until - time.monotonic())))
        serving.kill()
        serving.join()
        if time.monotonic() >= until:
            return
        time.sleep(DOWN)


# --- the verdict ----------------------------------------------------------------------------------------------------


def main():
    minutes, tally = [], Tally()
    with tempfile.TemporaryDirectory() as state:
        source = free_port()
        gateway = Gateway(AIGW, state, PROVIDERS.format(source=source))
        begun = time.monotonic()
        ends = [begun + MINUTE * nth for nth in range(1, MINUTES + 1)]
        serving = multiprocessing.Process(target=restarts, args=(source, ends[-1] + 5))
        serving.start()

        def on_minute():
            chats = sorted(tally.chats)
            p50, p99 = (chats[int(len(chats) * share)] * 1000 for share in (0.5, 0.99))
            minutes.append((gateway.memory(), gateway.descriptors(), p99))
            print(f"minute {len(minutes):2}: {tally.good:6} good, {tally.failed:4} failed, {tally.broken:3} broken, {tally.left:4} left; chat p50 {p50:5.1f} ms, "
                  f"p99 {p99:6.1f} ms; {minutes[-1][0] / 2**20:5.1f} MiB, {minutes[-1][1]:3} descriptors", flush=True)
            tally.start()

        try:
            asyncio.run(load(gateway, tally, ends, on_minute))
            gateway.settle()
            time.sleep(1)
            listed = json.loads(gateway.cli("usage", "--since", "2d", "--json"))
            after = (gateway.memory(), gateway.descriptors())
        finally:
            gateway.stop()
            serving.join()
    entries = sum(row["requests"] for row in listed["data"])
    third = max(1, MINUTES // 3)
    first, last = (list(map(statistics.median, zip(*part))) for part in (minutes[:third], minutes[-third:]))
    growth = [late / early for early, late in zip(first, last)]
    print(f"from the first third to the last: memory {first[0] / 2**20:.1f} to {last[0] / 2**20:.1f} MiB ({growth[0]:.2f}), descriptors {first[1]:.0f} to {last[1]:.0f} "
          f"({growth[1]:.2f}), chat p99 {first[2]:.1f} to {last[2]:.1f} ms ({growth[2]:.2f})")
    print(f"afterwards, idle: {after[0] / 2**20:.1f} MiB, {after[1]} descriptors; {tally.sent} requests sent, {entries} in the ledger")
    if growth[0] > MOST_MEMORY or growth[1] > MOST_DESCRIPTORS or growth[2] > MOST_P99:
        sys.exit(f"not flat: memory may grow {MOST_MEMORY} times, descriptors {MOST_DESCRIPTORS}, p99 {MOST_P99}")
    if entries != tally.sent:
        sys.exit("the ledger and the clients disagree")


if __name__ == "__main__":
    main()
