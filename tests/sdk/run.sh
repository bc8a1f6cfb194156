#!/usr/bin/env bash
# Runs the official OpenAI SDKs, unmodified, through aigw against a scripted upstream, then checks the ledger.
# Usage: tests/sdk/run.sh [AIGW]   (the binary; default target/debug/aigw). Needs python3 with venv, node and npm.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
aigw=$(realpath "${1:-$root/target/debug/aigw}")
installed="$root/target/sdk"
state=$(mktemp -d)
started=()
stop() {
  status=$?
  for process in "${started[@]}"; do kill "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
  [ "$status" -eq 0 ] || { echo "--- the gateway's log"; cat "$state/aigw.log" 2>/dev/null || true; }
  rm -rf "$state"
}
trap stop EXIT
eventually() { for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "gave up on: $*" >&2; return 1; }

# The SDKs, each at its pinned version.
mkdir -p "$installed/node"
[ -x "$installed/python/bin/python" ] || python3 -m venv "$installed/python"
"$installed/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/python/requirements.txt"
cp "$here"/node/* "$installed/node/"
(cd "$installed/node" && npm ci --no-fund --no-audit --loglevel=error)

# Upstream and gateway.
python3 "$here/upstream.py" >"$state/upstream.port" & started+=($!)
eventually grep -q . "$state/upstream.port"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$state/aigw.toml" <<TOML
include = ["upstream.toml"]
[server]
listen = "127.0.0.1:$port"
[database]
url = "sqlite://$state/aigw.db"
TOML
cat >"$state/upstream.toml" <<TOML
[kind.upstream]
base_url = "http://127.0.0.1:$(cat "$state/upstream.port")/v1"
allow_private = true
retry = { backoff = "10ms" }
[provider.1-upstream]
kind = "upstream"
api_key_env = "UPSTREAM_KEY"
[kind.messages]
dialect = "anthropic"
base_url = "http://127.0.0.1:$(cat "$state/upstream.port")/v1"
auth = { header = "x-api-key" }
allow_private = true
retry = { backoff = "10ms" }
[provider.2-messages]
kind = "messages"
api_key_env = "MESSAGES_KEY"
[model.sdk-claude.served_by.messages]
model = "claude-sonnet-4-6"
price = { input = 3, output = 15, cached_input = 0.3, cache_write = 3.75, cache_write_1h = 6 }
[model.sdk-chat]
aliases = ["sdk"]
served_by.upstream = { model = "upstream-chat", price = { input = 2.50, cached_input = 1.25, output = 10 } }
[model.sdk-complete]
served_by.upstream = { model = "upstream-complete", price = { input = 1.50, output = 2 } }
[model.sdk-embed]
served_by.upstream = { model = "upstream-embed", price = { input = 0.1375, output = 0 } }
TOML
for model in busy picky broken; do
  printf '[model.sdk-%s]\nserved_by.upstream = { model = "upstream-%s", price = { input = 1, output = 1 } }\n' $model $model
done >>"$state/upstream.toml"
export AIGW_URL="http://127.0.0.1:$port" AIGW_ADMIN_TOKEN="token-0123456789-of-the-sdk-tests"
export UPSTREAM_KEY=upstream-secret MESSAGES_KEY=messages-secret
"$aigw" check --config "$state/aigw.toml"
(cd "$state" && exec "$aigw" serve --config "$state/aigw.toml" >"$state/aigw.log" 2>&1) & started+=($!)
eventually "$aigw" tenant list

# Tenant and key, created like an operator does.
"$aigw" tenant create sdk --name "SDK tests"
key=$("$aigw" key create sdk --name sdk --subject tester --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["key"])')

export OPENAI_BASE_URL="$AIGW_URL/v1" OPENAI_API_KEY="$key"
echo "--- OpenAI SDK for Python"; "$installed/python/bin/python" "$here/python/test_openai.py"
echo "--- OpenAI SDK for Python, on Claude"; "$installed/python/bin/python" "$here/python/test_anthropic.py"
echo "--- OpenAI SDK for Node"; (cd "$installed/node" && node --test --test-reporter=spec)
echo "--- the ledger"; python3 "$here/test_ledger.py"
echo "--- the OpenAI SDK for Python, as an administrator"; "$installed/python/bin/python" "$here/python/test_admin.py"
"$aigw" usage --by model --since 1h
