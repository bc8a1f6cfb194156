#!/usr/bin/env python3
"""Effect on other clients of a thousand clients that hardly read, then of a hundred concurrent decompression bombs.

Usage: tests/soak/hardening.py [AIGW]   (the binary; default target/release/aigw). Needs nothing but Python; Linux only.

Checks spec/security.md 7.8: the gateway's memory stays under 1.5 GiB, and the 99th percentile of healthy requests under twice its
value before. The environment variable SECONDS sets the duration of each phase (20).
"""

import asyncio
import gzip
import http.client
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from gateway import ROOT, Gateway, free_port, post

AIGW = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/aigw").resolve()
PHASE = float(os.environ.get("SECONDS", "20"))
READERS, BOMBS, HEALTHY = 1000, 100, 4
MOST_MEMORY, MOST_SLOWDOWN = 1.5 * 2**30, 2.0
PROVIDERS = """
[kind.simulator]
dialect = "simulator"
auth = "none"
[provider.simulator]
kind = "simulator"
[model.sim-echo]
served_by.simulator = {{ price = "free" }}
[kind.endless]
base_url = "http://127.0.0.1:{source}/v1"
allow_private = true
auth = "none"
[provider.endless]
kind = "endless"
[model.endless]
served_by.endless = {{ price = "free" }}
"""


def upstream(port):
    """Streams text until the client disconnects."""
    choice = {"index": 0, "delta": {"content": "x" * 4000}, "finish_reason": None}
    event = b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    chunk = b"%x\r\n%s\r\n" % (len(event), event)

    async def serve(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                writer.write(chunk)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=READERS)
        await server.serve_forever()

    asyncio.run(run())


def slow_readers(port, key, ready, stop):
    """Reads a little of each stream twice a second, just often enough to avoid the write timeout."""
    request = post(port, key, json.dumps({"model": "endless", "stream": True, "messages": []}).encode())
    readers = []
    for _ in range(READERS):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        reader.connect(("127.0.0.1", port))
        reader.sendall(request)
        reader.setblocking(False)
        readers.append(reader)
    ready.set()
    lost = 0
    while not stop.is_set():
        for turn, reader in enumerate(readers[:]):
            # Spread evenly, like independent clients.
            if turn % 20 == 0 and stop.wait(0.01):
                break
            try:
                if not reader.recv(4096):
                    raise ConnectionError
            except BlockingIOError:
                pass
            except OSError:
                readers.remove(reader)
                lost += 1
    print(f"slow readers: {len(readers)} still there, {lost} lost", flush=True)


def bombs(port, key, refused):
    """Sends that many bombs at once, each of 256 MiB in 256 KiB."""
    bomb = post(port, key, gzip.compress(b"\0" * (256 << 20), 9), ["content-encoding: gzip", "connection: close"])

    def throw():
        with socket.create_connection(("127.0.0.1", port)) as thrower:
            thrower.sendall(bomb)
            answer = thrower.recv(4096)
            assert answer[9:12] == b"413", answer
            with refused.get_lock():
                refused.value += 1

    throwers = [threading.Thread(target=throw) for _ in range(BOMBS)]
    for thrower in throwers:
        thrower.start()
    for thrower in throwers:
        thrower.join()


def healthy(port, key, seconds, times):
    body = json.dumps({"model": "sim-echo", "messages": [{"role": "user", "content": "hello " * 100}]})
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    measured, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
        measured.append(time.monotonic() - begun)
        time.sleep(0.005)
    times.put(measured)


def measure(port, key):
    """Returns the 50th and 99th percentile of healthy requests in milliseconds."""
    times = multiprocessing.Queue()
    clients = [multiprocessing.Process(target=healthy, args=(port, key, PHASE, times)) for _ in range(HEALTHY)]
    for client in clients:
        client.start()
    measured = sorted(time for _ in clients for time in times.get())
    for client in clients:
        client.join()
    return [measured[int(len(measured) * share)] * 1000 for share in (0.5, 0.99)]


def main():
    with tempfile.TemporaryDirectory() as state:
        source = free_port()
        gateway = Gateway(AIGW, state, PROVIDERS.format(source=source))
        port, key = gateway.port, gateway.key
        stop, ready, refused = multiprocessing.Event(), multiprocessing.Event(), multiprocessing.Value("q", 0)
        others = [multiprocessing.Process(target=upstream, args=(source,), daemon=True)]
        others[0].start()
        try:
            measure(port, key)
            before = measure(port, key)
            others.append(multiprocessing.Process(target=slow_readers, args=(port, key, ready, stop)))
            others[-1].start()
            ready.wait()
            gateway.settle()
            filled = gateway.memory()
            reading = measure(port, key)
            others.append(multiprocessing.Process(target=bombs, args=(port, key, refused)))
            others[-1].start()
            under = measure(port, key)
            peak, now = gateway.memory("VmHWM"), gateway.memory()
            stop.set()
            for other in others[1:]:
                other.join()
        finally:
            for other in others:
                other.terminate()
            gateway.stop()
    slowdown = under[1] / before[1]
    for name, (median, late) in {"alone": before, "with slow readers": reading, "with bombs too": under}.items():
        print(f"healthy requests {name}: p50 {median:.2f} ms, p99 {late:.2f} ms")
    print(f"memory: {filled / 2**20:.0f} MiB with slow readers, {now / 2**20:.0f} MiB with bombs too, at most {peak / 2**20:.0f} MiB; bombs refused: {refused.value}")
    print(f"p99 with both is {slowdown:.2f} times what it was")
    if peak >= MOST_MEMORY or slowdown >= MOST_SLOWDOWN:
        sys.exit("too much: memory has to stay under 1.5 GiB and p99 under twice what it was")


if __name__ == "__main__":
    main()
