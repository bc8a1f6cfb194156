"""Scripted OpenAI-compatible upstream with fixed answers and usage, so that every cost is known in advance.

It checks what a provider checks: its own key, its own model names, no headers of the caller. Prints its port and serves until it is
stopped. The model selects the behavior: `upstream-chat`, `-complete`, `-embed` answer; `-busy` is out of capacity, `-picky` rejects
the request, `-broken` fails. `/v1/messages` is Anthropic's API: see messages.py.
"""

import base64
import json
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import messages

KEY = "Bearer upstream-secret"
TEXT = ["Hello", " from", " the", " upstream", ": grüße, 東京"]
CHAT_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "total_tokens": 1050,
    "prompt_tokens_details": {"cached_tokens": 200, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 10, "audio_tokens": 0},
}
ERRORS = {
    "upstream-busy": (429, {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}),
    "upstream-picky": (400, {"message": "temperature is too high", "type": "invalid_request_error", "param": "temperature", "code": "invalid_value"}),
    "upstream-broken": (500, {"message": "something broke", "type": "server_error", "param": None, "code": None}),
}


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/messages":
            return self.messages(json.loads(body))
        if self.headers.get("authorization") != KEY:
            return self.fail(401, {"message": "wrong provider key", "type": "invalid_request_error", "code": "invalid_api_key"})
        if leaked := self.leaked("x-api-key"):
            return self.fail(400, {"message": f"headers of the caller came through: {leaked}", "type": "invalid_request_error"})
        request = json.loads(body)
        if request["model"] in ERRORS:
            return self.fail(*ERRORS[request["model"]])
        answer = {"/v1/chat/completions": self.chat, "/v1/completions": self.complete, "/v1/embeddings": self.embed}.get(self.path)
        if answer is None:
            return self.fail(404, {"message": f"no such path: {self.path}", "type": "invalid_request_error"})
        return answer(request)

    def leaked(self, *more):
        return [name for name in self.headers if name.lower().startswith(("x-aigw", "x-stainless", "cookie", *more))]

    def messages(self, request):
        try:
            messages.insist(not self.leaked("authorization"), f"headers of the caller came through: {self.leaked('authorization')}")
            messages.insist(self.headers.get("x-api-key") == messages.KEY, "wrong provider key")
            messages.check(self.headers, request)
        except messages.Wrong as wrong:
            return self.answer({"type": "error", "error": {"type": "invalid_request_error", "message": str(wrong)}}, 400)
        message = messages.answer(request)
        if not request.get("stream"):
            return self.answer(message)
        events = messages.events(message, lambda value: json.dumps(value, ensure_ascii=False))
        return self.stream(events, named=True)

    def chat(self, request):
        frame = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": request["model"]}
        if request.get("stream"):
            return self.stream(self.chat_chunks(request, frame))
        message, reason = {"role": "assistant", "content": "".join(TEXT)}, "stop"
        if request.get("tools"):
            message, reason = {"role": "assistant", "content": None, "tool_calls": [tool_call()]}, "tool_calls"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return self.answer(frame | {"object": "chat.completion", "choices": [choice], "usage": CHAT_USAGE})

    def chat_chunks(self, request, frame):
        frame = frame | {"object": "chat.completion.chunk"}
        deltas, reason = [{"role": "assistant", "content": ""}, *({"content": text} for text in TEXT)], "stop"
        if request.get("tools"):
            call = tool_call()
            arguments, call["function"]["arguments"] = call["function"]["arguments"], ""
            pieces = [arguments[:7], arguments[7:]]
            deltas = [{"role": "assistant", "tool_calls": [call | {"index": 0}]}]
            deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]
            reason = "tool_calls"
        for delta in deltas:
            yield frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
        if (request.get("stream_options") or {}).get("include_usage"):
            yield frame | {"choices": [], "usage": CHAT_USAGE}

    def complete(self, request):
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        frame = {"id": "cmpl-1", "object": "text_completion", "created": 1_700_000_000, "model": request["model"]}
        if request.get("stream"):
            chunks = [frame | {"choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in TEXT]
            chunks.append(frame | {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})
            if (request.get("stream_options") or {}).get("include_usage"):
                chunks.append(frame | {"choices": [], "usage": usage})
            return self.stream(chunks)
        return self.answer(frame | {"choices": [{"index": 0, "text": "".join(TEXT), "finish_reason": "stop"}], "usage": usage})

    def embed(self, request):
        inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
        vector = [0.25, -0.5, 1.0]
        if request.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<3f", *vector)).decode()
        data = [{"object": "embedding", "index": nth, "embedding": vector} for nth in range(len(inputs))]
        usage = {"prompt_tokens": 3 * len(inputs), "total_tokens": 3 * len(inputs)}
        return self.answer({"object": "list", "data": data, "model": request["model"], "usage": usage})

    def answer(self, body, status=200, headers=()):
        payload = json.dumps(body).encode()
        self.send_response(status)
        for name, value in [("content-type", "application/json"), ("content-length", str(len(payload))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def fail(self, status, error):
        self.answer({"error": error}, status, [("retry-after", "60")] if status == 429 else [])

    def stream(self, chunks, named=False):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            self.event(json.dumps(chunk, ensure_ascii=False), f"event: {chunk['type']}\n" if named else "")
            time.sleep(0.002)
        if not named:
            self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, data, name=""):
        payload = f"{name}data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(payload), payload))
        self.wfile.flush()

    def log_message(self, *_):
        pass


def tool_call():
    return {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Upstream)
    print(server.server_port, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)
