#!/usr/bin/env python3
"""Memory per idle stream: opens ten thousand streams that send one event and then nothing.

Usage: tests/soak/idle_streams.py [AIGW]   (the binary; default target/release/aigw). Needs nothing but Python; Linux only.

A relayed stream takes two descriptors. The script raises its limit as far as it may. If that is not enough, the simulator serves the
rest, which takes one descriptor each. The environment variable STREAMS sets the number. Fails if a stream is lost or takes more than
64 KiB.
"""

import asyncio
import json
import multiprocessing
import os
import resource
import socket
import sys
import tempfile
import time
from pathlib import Path

from gateway import ROOT, Gateway, free_port, post

AIGW = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/aigw").resolve()
WANTED = int(os.environ.get("STREAMS", "10000"))
MOST_BYTES = 64 << 10
# Descriptors for databases, journals and warm-up streams.
OTHERS = 200
PROVIDERS = """
[kind.patient]
base_url = "http://127.0.0.1:{source}/v1"
allow_private = true
auth = "none"
[provider.patient]
kind = "patient"
retry.idle_timeout = "1h"
[model.patient]
served_by.patient = {{ price = "free" }}

[kind.dreamer]
dialect = "simulator"
auth = "none"
simulate = {{ chunk_delay = "50m" }}
[provider.dreamer]
kind = "dreamer"
retry.idle_timeout = "1h"
[model.dreamer]
served_by.dreamer = {{ model = "sim-lorem", price = "free" }}
"""


def upstream(port):
    choice = {"index": 0, "delta": {"content": "word"}, "finish_reason": None}
    event = b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(event), event))
        await reader.read()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1000)
        await server.serve_forever()

    asyncio.run(run())


def shares():
    """Returns the number of relayed and of simulated streams."""
    need = 2 * WANTED + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ((need, max(need, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            break
        except (ValueError, OSError):
            pass
    relayed = min(WANTED, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHERS - WANTED)
    if relayed < WANTED / 2:
        sys.exit(f"{WANTED} streams need at least {WANTED * 3 // 2 + OTHERS} descriptors: raise `ulimit -Hn`, or set STREAMS to fewer")
    return relayed, WANTED - relayed


def open_stream(port, request):
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(request)
    seen = b""
    while b"data: " not in seen:
        piece = client.recv(4096)
        assert piece, seen
        seen += piece
    client.setblocking(False)
    return client


def is_open(client):
    try:
        return client.recv(4096) != b""
    except BlockingIOError:
        return True


def main():
    relayed, simulated = shares()
    with tempfile.TemporaryDirectory() as state:
        source = free_port()
        serving = multiprocessing.Process(target=upstream, args=(source,), daemon=True)
        serving.start()
        gateway = Gateway(AIGW, state, PROVIDERS.format(source=source), f"max_in_flight = {WANTED + 100}\nmax_connections = {WANTED + 100}")
        said = {"stream": True, "messages": [{"role": "user", "content": "say a few words"}]}
        patient, dreamer = (post(gateway.port, gateway.key, json.dumps(said | {"model": model}).encode()) for model in ("patient", "dreamer"))
        try:
            warm = [open_stream(gateway.port, patient) for _ in range(20)]
            before = gateway.memory()
            begun = time.monotonic()
            clients = [open_stream(gateway.port, request) for request in [patient] * relayed + [dreamer] * simulated]
            took = time.monotonic() - begun
            gateway.settle()
            used, cpu = gateway.memory() - before, gateway.cpu()
            time.sleep(5)
            idle = (gateway.cpu() - cpu) / 5
            lost = sum(not is_open(client) for client in warm + clients)
        finally:
            serving.terminate()
            gateway.stop()
    each = used / WANTED
    print(f"{WANTED} idle streams at once ({relayed} relayed, {simulated} simulated), opened in {took:.1f} s one after the other; {lost} lost")
    print(f"memory: {before / 2**20:.1f} MiB before, {used / 2**20:.1f} MiB more with them: {each / 1024:.1f} KiB a stream; {idle:.1%} of a core while idle")
    if lost or each > MOST_BYTES:
        sys.exit(f"too much: no stream may be lost, and each may cost {MOST_BYTES >> 10} KiB")


if __name__ == "__main__":
    main()
