# aigw as a target of a side-by-side comparison of gateways: a runner sources this, calls `prepare` and `start`, and drives
# http://127.0.0.1:$PORT while a mock upstream listens on $MOCK. Needs the release build; AIGW_BIN names another one.
AIGW_BIN=${AIGW_BIN:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/release/aigw}
NOTE="2 workers; authentication, metrics and the ledger (SQLite) on"
VERSION=$("$AIGW_BIN" --version)
MODEL=gpt-4o-mini
ANTHROPIC_MODEL=claude-sonnet
HEADERS="Authorization: Bearer $(cat "$RUN/key" 2>/dev/null)"

prepare() {
  rm -rf "$RUN/data" "$RUN/key" "$RUN/providers" && mkdir -p "$RUN/providers"
  cat > "$RUN/aigw.toml" <<C
[server]
listen = "127.0.0.1:$PORT"
workers = 2
[database]
url = "sqlite://$RUN/data/aigw.db"
[sealing]
master_key_file = "$RUN/master"
C
  (umask 077 && head -c 32 /dev/urandom | base64 > "$RUN/master")
  cat > "$RUN/providers/mock.toml" <<C
[kind.mock]
base_url = "http://$MOCK/v1"
allow_private = true
[provider."1-mock"]
kind = "mock"
api_key_env = "MOCK_API_KEY"
[model."gpt-4o-mini".served_by.mock]
price = { input = 0.15, cached_input = 0.075, output = 0.6 }

[kind.mock-anthropic]
dialect = "anthropic"
base_url = "http://$MOCK/v1"
allow_private = true
auth = { header = "x-api-key" }
[provider."1-mock-anthropic"]
kind = "mock-anthropic"
api_key_env = "MOCK_API_KEY"
[model."claude-sonnet".served_by.mock-anthropic]
model = "claude-sonnet-4-6"
price = { input = 3.0, output = 15.0 }
C
}

start() {
  export AIGW_ADMIN_TOKEN=bench-$(head -c 24 /dev/urandom | base64 | tr -d '+/=') MOCK_API_KEY=sk-mock-upstream
  export AIGW_URL="http://127.0.0.1:$PORT"
  (
    until curl -fs "$AIGW_URL/readyz" >/dev/null; do sleep 0.01; done
    "$AIGW_BIN" tenant create bench >/dev/null
    "$AIGW_BIN" key create bench --name bench --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["key"])' > "$RUN/key.new"
    mv "$RUN/key.new" "$RUN/key"
  ) &
  exec "$AIGW_BIN" serve --config "$RUN/aigw.toml"
}
