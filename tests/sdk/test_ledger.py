"""Checks after both SDKs have run that each of their calls is in the ledger once, with its exact cost.

Prices (USD per million tokens): sdk-chat 2.50 / cached 1.25 / output 10; sdk-complete 1.50 / 2; sdk-embed 0.1375;
sdk-claude 3 / cached 0.30 / cache write 3.75, for an hour 6 / output 15.
"""

import json
import os
import time
import unittest
import urllib.request
from urllib.parse import urlencode

# request id without its prefix: operation, stream, status, outcome, prompt, cached, completion, attempts, cost in nano-USD
CHAT = ("chat", False, 200, "ok", 1000, 200, 50, 1, 2_750_000)
STREAM = ("chat", True, *CHAT[2:])
COMPLETE = ("completions", False, 200, "ok", 5, 0, 7, 1, 21_500)
# 100 × 3 + 1000 × 0.30 + 150 × 3.75 + 50 × 6 + 20 × 15
CLAUDE = ("chat", False, 200, "ok", 1300, 1000, 20, 1, 1_762_500)
CLAUDE_STREAM = ("chat", True, *CLAUDE[2:])
EXPECTED = {
    "chat": CHAT,
    "alias": CHAT,
    "tools": CHAT,
    "stream": STREAM,
    "stream-usage": STREAM,
    "stream-tools": STREAM,
    **{f"many-{nth}": STREAM for nth in range(20)},
    "complete": COMPLETE,
    "complete-stream": ("completions", True, *COMPLETE[2:]),
    "embed": ("embeddings", False, 200, "ok", 9, 0, 0, 1, 1_238),  # 1,237.5, rounded half up once
    "picky": ("chat", False, 400, "client_error", 0, 0, 0, 1, 0),
    "busy": ("chat", False, 429, "upstream_error", 0, 0, 0, 1, 0),
    **{f"claude-{name}": CLAUDE for name in ["1", "2", "thinking-1", "thinking-2", "dropped"]},
    **{f"claude-{name}": CLAUDE_STREAM for name in ["stream-1", "stream-2", "thinking-stream-1", "thinking-stream-2"]},
    "claude-refused": ("chat", False, 400, "client_error", 0, 0, 0, 0, 0),
    "broken": ("chat", False, 502, "upstream_error", 0, 0, 0, 2, 0),
}
FIELDS = ["operation", "stream", "status", "outcome", "prompt_tokens", "cached_tokens", "completion_tokens"]
PREFIXES = os.environ.get("SDKS", "py js").split()


def admin(path, **query):
    url = f"{os.environ['AIGW_URL']}/admin/v1/{path}?{urlencode(query)}"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {os.environ['AIGW_ADMIN_TOKEN']}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def everything():
    entries, query = [], {"limit": "25"}
    while True:
        page = admin("ledger", **query)
        entries += page["data"]
        if not page["has_more"]:
            return entries
        query["cursor"] = page["next_cursor"]


class Ledger(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """Waits for the entries, which are stored shortly after the answers."""
        deadline = time.monotonic() + 30
        cls.entries = everything()
        while len(cls.entries) < len(EXPECTED) * len(PREFIXES) and time.monotonic() < deadline:
            time.sleep(0.1)
            cls.entries = everything()

    def test_every_call_has_exactly_one_entry(self):
        wanted = sorted(f"{prefix}-{name}" for prefix in PREFIXES for name in EXPECTED)
        self.assertEqual(sorted(entry["request_id"] for entry in self.entries), wanted)

    def test_each_with_its_exact_usage_and_cost(self):
        for entry in self.entries:
            with self.subTest(entry["request_id"]):
                expected = EXPECTED[entry["request_id"].split("-", 1)[1]]
                shown = (*(entry[field] for field in FIELDS), len(entry["attempts"]), entry["cost_nanousd"])
                self.assertEqual(shown, expected)
                self.assertEqual((entry["billing"], entry["list_cost_nanousd"]), ("brokered", entry["cost_nanousd"]))

    def test_each_is_attributed(self):
        for entry in self.entries:
            provider = "2-messages" if entry["model"] == "sdk-claude" else "1-upstream"
            self.assertEqual((entry["tenant"], entry["subject"], entry["provider"]), ("sdk", "tester", provider))

    def test_one_entry_by_its_request_id(self):
        self.assertEqual(admin("ledger/py-chat" if "py" in PREFIXES else "ledger/js-chat")["cost_nanousd"], 2_750_000)

    def test_usage_adds_up_to_the_ledger(self):
        owed = sum(entry["cost_nanousd"] for entry in self.entries)
        rows = admin("usage", group_by="model")["data"]
        self.assertEqual(sum(row["cost_nanousd"] for row in rows), owed)


if __name__ == "__main__":
    unittest.main()
