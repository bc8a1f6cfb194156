"""Gateway process for the scripts of this folder, with its resource usage as reported by Linux."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "token-0123456789-of-the-soak-test"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def post(port, key, body, headers=()):
    """Returns head and body of a chat request."""
    head = ["POST /v1/chat/completions HTTP/1.1", f"host: 127.0.0.1:{port}", f"authorization: Bearer {key}"]
    head += ["content-type: application/json", f"content-length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Gateway:
    """Runs `aigw serve` in the folder `state` with these providers, a tenant and a key."""

    def __init__(self, binary, state, providers, server=""):
        self.port, self.log, self.binary = free_port(), Path(state, "log"), binary
        Path(state, "aigw.toml").write_text(f"""
include = ["soak.toml"]
[server]
listen = "127.0.0.1:{self.port}"
{server}
[database]
url = "sqlite://{state}/aigw.db"
""")
        Path(state, "soak.toml").write_text(providers)
        self.environment = os.environ | {"AIGW_ADMIN_TOKEN": TOKEN, "AIGW_URL": f"http://127.0.0.1:{self.port}"}
        with open(self.log, "wb") as log:
            command = [binary, "serve", "--config", "aigw.toml"]
            self.process = subprocess.Popen(command, cwd=state, env=self.environment, stdout=log, stderr=log)
        until = time.monotonic() + 10
        while subprocess.run([binary, "tenant", "list"], env=self.environment, capture_output=True).returncode:
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.1)
        self.cli("tenant", "create", "soak", "--name", "Soak")
        self.key = json.loads(self.cli("key", "create", "soak", "--name", "soak", "--subject", "soak", "--json"))["key"]

    @property
    def pid(self):
        return self.process.pid

    def cli(self, *arguments):
        return subprocess.run([self.binary, *arguments], env=self.environment, check=True, capture_output=True).stdout

    def memory(self, field="VmRSS"):
        """Returns the resident memory in bytes."""
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu(self):
        """Returns user and system time in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self):
        """Waits until it is idle, for at most a minute."""
        used, until = None, time.monotonic() + 60
        while time.monotonic() < until:
            now = self.cpu()
            if used is not None and now - used < 0.2:
                return
            used = now
            time.sleep(1)
        print("the gateway is not quiet after a minute")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
