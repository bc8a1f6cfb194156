#!/usr/bin/env python3
"""Counts the gateway's instructions per request with valgrind's callgrind, independently of other load on the machine.

usage: benches/instructions/count.py [--save] [--stages] [--keep DIR] [BINARY]

Runs BINARY (target/release/aigw) with authentication, metrics and the SQLite ledger on, against its own mock upstream. Counts the
user-space instructions for each kind of request and compares them with baseline.json beside this file. Exits with 1 if a count is
more than 5 % higher. The ledger's thread is counted apart and not compared: it stores what 50 ms gather, so its share of a request
depends on the speed of the machine. --save stores the counts as the new baseline. --stages prints the instructions of each stage of
a chat. --keep leaves callgrind's files in DIR. BINARY needs its symbols. The baseline is from a CPU with AVX2; a CPU without it
scans a large prompt in more, narrower steps.
"""
import argparse, http.client, json, os, pathlib, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time

HERE = pathlib.Path(__file__).resolve().parent
BASELINE = HERE / "baseline.json"
WORSE = 1.05
WARM = 200
ADMIN_TOKEN = "instructions-0123456789-abcdefghijklmnop"
CHUNKS = 40

# --- the upstream ---------------------------------------------------------------------------------------------------


def sse(events):
    return "".join(events).encode()


def openai_stream():
    def chunk(delta, **more):
        return "data: " + json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini",
                                      "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}) + "\n\n"
    usage = {"prompt_tokens": 20, "completion_tokens": CHUNKS, "total_tokens": 20 + CHUNKS}
    last = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini", "choices": [], "usage": usage}
    return sse([chunk({"content": f" word{i}"}) for i in range(CHUNKS)] + ["data: " + json.dumps(last) + "\n\n", "data: [DONE]\n\n"])


def anthropic_stream():
    def event(kind, **more):
        return f"event: {kind}\ndata: " + json.dumps({"type": kind, **more}) + "\n\n"
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": [], "stop_reason": None,
               "stop_sequence": None, "usage": {"input_tokens": 20, "output_tokens": 1}}
    return sse([event("message_start", message=message),
                event("content_block_start", index=0, content_block={"type": "text", "text": ""})]
               + [event("content_block_delta", index=0, delta={"type": "text_delta", "text": f" word{i}"}) for i in range(CHUNKS)]
               + [event("content_block_stop", index=0),
                  event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": CHUNKS}),
                  event("message_stop")])


TEXT = "The quick brown fox jumps over the lazy dog. " * 12
OPENAI = json.dumps({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 120, "total_tokens": 140}}).encode()
ANTHROPIC = json.dumps({
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 20, "output_tokens": 120}}).encode()


def whole(body):
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def streamed(body):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def answer_for(path, body):
    streams = b'"stream": true' in body or b'"stream":true' in body
    if path.endswith("/messages"):
        return streamed(anthropic_stream()) if streams else whole(ANTHROPIC)
    return streamed(openai_stream()) if streams else whole(OPENAI)


def serve_upstream(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=converse, args=(connection,), daemon=True).start()


def converse(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as incoming:
        while line := incoming.readline():
            path, length = line.split()[1].decode(), 0
            while (header := incoming.readline()) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            # The whole answer in one piece, so that the number of reads does not depend on timing.
            connection.sendall(answer_for(path, incoming.read(length)))


# --- the gateway ----------------------------------------------------------------------------------------------------

CONFIG = """
[server]
listen = "127.0.0.1:{port}"
workers = 1
[database]
url = "sqlite://{run}/data/aigw.db"
[sealing]
master_key_file = "{run}/master"
"""
PROVIDERS = (HERE.parent / "compare" / "mock.toml").read_text()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


class Gateway:
    def __init__(self, binary, run, upstream):
        self.run, self.port, self.dumps = run, free_port(), 0
        (run / "providers").mkdir()
        (run / "aigw.toml").write_text(CONFIG.format(port=self.port, run=run))
        (run / "providers" / "mock.toml").write_text(PROVIDERS.replace("//MOCK/", f"//127.0.0.1:{upstream}/"))
        master = run / "master"
        master.touch(mode=0o600)
        master.write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
        environment = {**os.environ, "AIGW_ADMIN_TOKEN": ADMIN_TOKEN, "MOCK_API_KEY": "sk-mock", "AIGW_URL": f"http://127.0.0.1:{self.port}"}
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={run}/callgrind.out",
                   binary, "serve", "--config", str(run / "aigw.toml")]
        self.log = open(run / "log", "w")
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=subprocess.STDOUT)
        self.wait_until_ready()
        ask = lambda *words: subprocess.run([binary, *words], env=environment, check=True, capture_output=True, text=True).stdout
        ask("tenant", "create", "bench")
        self.key = json.loads(ask("key", "create", "bench", "--name", "bench", "--json"))["key"]

    def wait_until_ready(self):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                time.sleep(0.1)
        sys.exit("the gateway did not start:\n" + (self.run / "log").read_text())

    def control(self, *words):
        subprocess.run(["callgrind_control", *words, str(self.process.pid)], check=True, capture_output=True)

    def count(self, body, requests):
        """Returns the instructions per request, after a warm-up."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}

        def call(times):
            for _ in range(times):
                client.request("POST", "/v1/chat/completions", body, headers)
                answer = client.getresponse()
                content = answer.read()
                if answer.status != 200 or not content:
                    sys.exit(f"the gateway answered {answer.status}: {content[:300]!r}")

        call(WARM)
        self.control("-i", "on")
        call(requests)
        time.sleep(0.5)  # what the ledger gathers before it stores it
        self.control("-i", "off")
        self.dumps += 1
        self.control("-d")
        total, functions = annotate(self.run / f"callgrind.out.{self.dumps}")
        stored = inclusive(functions, STORE)
        if not stored:
            sys.exit(f"{STORE[0]} is not in the profile; does the binary have symbols?")
        return round((total - stored) / requests), round(stored / requests)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


# --- scenarios ------------------------------------------------------------------------------------------------------


def chat(model, size=400, **more):
    return json.dumps({"model": model, "messages": [{"role": "system", "content": "You are terse."},
                                                    {"role": "user", "content": ("lorem ipsum " * (size // 12 + 1))[:size]}], **more}).encode()


SCENARIOS = {
    "chat": (chat("gpt-4o-mini"), 600),
    "stream of 40 chunks": (chat("gpt-4o-mini", stream=True), 300),
    "prompt of 200 KB": (chat("gpt-4o-mini", 200_000), 100),
    "chat translated to Anthropic": (chat("claude-sonnet", max_tokens=500), 300),
    "stream translated from Anthropic": (chat("claude-sonnet", max_tokens=500, stream=True), 300),
}


# The work of the ledger's thread.
STORE = ["aigw::ledger::actor::Ledger::step"]
# Functions of each stage, by a part of their names. Their callees are included.
STAGES = {
    "parse the client's head": ["<actix_http::h1::codec::Codec as tokio_util::codec::decoder::Decoder>::decode"],
    "authentication": ["aigw::http::state::AppState::identify"],
    "parse the body": ["aigw::json::Document::parse"],
    "resolve": ["aigw::catalog::snapshot::Snapshot::find"],
    "splice": ["<aigw::dialect::openai::OpenAi as aigw::dialect::Dialect>::request"],
    "upstream write": ["AsyncWrite>::poll_write_vectored"],
    "parse the upstream's head": ["httparse::ParserConfig::parse_response_with_uninit_headers", "aigw::gateway::headers::response"],
    "relay: read, meter": ["<aigw::dialect::openai::reader::OpenAiReader as aigw::dialect::Reader>::whole"],
    "relay: the answer's head": ["aigw::http::response::route_headers", "actix_http::h1::codec::Codec as tokio_util::codec::encoder::Encoder"],
    "open the entry, write the journal": ["aigw::ledger::journal::Journal::open", "aigw::journal::writer::JournalWriter::write"],
}


def annotate(dump):
    """Returns a dump's total and its lines of functions with their inclusive counts."""
    command = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", dump]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    counted = [(int(found[1].replace(",", "")), line) for line in lines if (found := re.match(r" *([\d,]+) ", line))]
    return next(count for count, line in counted if "PROGRAM TOTALS" in line), counted


def inclusive(counted, functions):
    """Returns the instructions of functions and their callees."""
    return sum(max((count for count, line in counted if function in line), default=0) for function in functions)


def stages(dump, requests):
    """Prints the instructions of each stage. The rest is actors, tasks and the HTTP server."""
    total, counted = annotate(dump)
    total = left = total - inclusive(counted, STORE)
    for stage, functions in STAGES.items():
        taken = inclusive(counted, functions)
        left -= taken
        print(f"    {stage:34} {taken / requests:>9,.0f}  {taken / total:5.1%}")
    print(f"    {'other':34} {left / requests:>9,.0f}  {left / total:5.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="store the counts as the new baseline")
    parser.add_argument("--stages", action="store_true", help="print the instructions of each stage of a chat")
    parser.add_argument("--keep", metavar="DIR", help="leave callgrind's files in DIR")
    parser.add_argument("binary", nargs="?", default=str(HERE.parents[1] / "target/release/aigw"))
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed; apt-get install valgrind")
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve_upstream, args=(listener,), daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        run = pathlib.Path(options.keep or scratch).resolve()
        run.mkdir(parents=True, exist_ok=True)
        gateway = Gateway(options.binary, run, listener.getsockname()[1])
        try:
            counted = {name: gateway.count(*scenario) for name, scenario in SCENARIOS.items()}
            if options.stages:
                print("a chat by stage:")
                stages(run / "callgrind.out.1", SCENARIOS["chat"][1])
        finally:
            gateway.stop()
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    worse = []
    for name, (instructions, stored) in counted.items():
        before = baseline.get(name)
        ratio = f"{instructions / before:6.3f} of the baseline" if before else "       no baseline"
        print(f"{name:34} {instructions:>9,} instructions a request  {ratio}, and {stored:,} of the ledger's thread")
        if before and instructions > before * WORSE:
            worse.append(name)
    if options.save:
        BASELINE.write_text(json.dumps({name: instructions for name, (instructions, _) in counted.items()}, indent=2) + "\n")
    elif worse:
        sys.exit(f"more than {WORSE - 1:.0%} worse: {', '.join(worse)}; find out why, or say why it is worth it and save a new baseline")


if __name__ == "__main__":
    main()
