# Target file of a side-by-side comparison of gateways. A runner sources it, calls `prepare` and `start`, and sends load to
# http://127.0.0.1:$PORT while a mock upstream listens on $MOCK. Uses the release build, or the binary in AIGW_BIN.
AIGW_TARGET=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
AIGW_BIN=${AIGW_BIN:-$AIGW_TARGET/../../target/release/aigw}
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
  sed "s,//MOCK/,//$MOCK/," "$AIGW_TARGET/mock.toml" > "$RUN/providers/mock.toml"
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
