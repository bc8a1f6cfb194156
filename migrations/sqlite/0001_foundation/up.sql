-- Tenants and their virtual keys; times in Unix seconds, JSON as text.
CREATE TABLE tenants (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    brokered        BOOLEAN NOT NULL,
    broker_fallback BOOLEAN NOT NULL,
    custody         TEXT    NOT NULL,
    enabled         BOOLEAN NOT NULL,
    created_at      BIGINT  NOT NULL
);

CREATE TABLE virtual_keys (
    id                   TEXT   NOT NULL PRIMARY KEY,
    lookup               BLOB   NOT NULL UNIQUE,   -- derived from the key (spec/security.md 1.2); the key itself is nowhere
    last4                TEXT   NOT NULL,
    tenant               TEXT   NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name                 TEXT   NOT NULL,
    subject              TEXT   NOT NULL,
    team                 TEXT,
    tags                 TEXT   NOT NULL,          -- object
    allowed_models       TEXT,                     -- array; NULL: all
    monthly_budget_cents BIGINT,
    rpm                  BIGINT,
    tpm                  BIGINT,
    max_concurrency      BIGINT,
    expires_at           BIGINT,
    created_at           BIGINT NOT NULL,
    revoked_at           BIGINT,
    rotated_from         TEXT UNIQUE               -- a key has one successor at most
);
CREATE INDEX virtual_keys_tenant ON virtual_keys (tenant, id);

-- The ledger: one row for each routed request; times in Unix milliseconds, money in nano-USD.
CREATE TABLE entries (
    id                    TEXT    NOT NULL PRIMARY KEY,
    request_id            TEXT    NOT NULL,
    created_at            BIGINT  NOT NULL,
    tenant                TEXT    NOT NULL,
    team                  TEXT,
    key_id                TEXT    NOT NULL,
    subject               TEXT    NOT NULL,
    end_user              TEXT,                    -- OpenAI's `user`, a reserved word in SQL
    tags                  TEXT    NOT NULL,        -- object; each pair is in entry_tags too
    operation             TEXT    NOT NULL,
    model                 TEXT    NOT NULL,
    upstream_model        TEXT    NOT NULL,
    provider              TEXT    NOT NULL,
    kind                  TEXT    NOT NULL,
    billing               TEXT    NOT NULL,
    stream                BOOLEAN NOT NULL,
    status                INTEGER NOT NULL,
    outcome               TEXT    NOT NULL,
    error_code            TEXT,
    finish_reason         TEXT,
    prompt_tokens         BIGINT  NOT NULL,
    cached_tokens         BIGINT  NOT NULL,
    cache_write_tokens    BIGINT  NOT NULL,
    cache_write_1h_tokens BIGINT  NOT NULL,
    completion_tokens     BIGINT  NOT NULL,
    reasoning_tokens      BIGINT  NOT NULL,
    usage_source          TEXT    NOT NULL,
    cost_nanousd          BIGINT  NOT NULL,
    list_cost_nanousd     BIGINT  NOT NULL,
    attempts              TEXT    NOT NULL,        -- array
    latency_ms            BIGINT  NOT NULL,
    ttfb_ms               BIGINT
);
CREATE INDEX entries_created_at ON entries (created_at, id);
CREATE INDEX entries_tenant ON entries (tenant, created_at);
CREATE INDEX entries_key ON entries (key_id, created_at);
CREATE INDEX entries_request ON entries (request_id);

-- An entry's tags, to filter and group by. Written with the entry in one transaction, so no foreign key has to be checked.
CREATE TABLE entry_tags (
    entry_id TEXT NOT NULL,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (entry_id, name)
);
CREATE INDEX entry_tags_name ON entry_tags (name, value);

-- How far each journal segment has been stored: written in the transaction of its entries, hence exactly once.
CREATE TABLE journal_positions (
    segment  TEXT   NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);

-- What changed, for every process that serves from this database. Each mutation first moves change_head and so holds its one
-- row to the end: mutations are serial, ids have no gaps and become visible in their order.
CREATE TABLE change_head (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    position BIGINT  NOT NULL
);
INSERT INTO change_head (id, position) VALUES (1, 0);

CREATE TABLE change_log (
    id        BIGINT NOT NULL PRIMARY KEY,
    kind      TEXT   NOT NULL,
    reference TEXT   NOT NULL,
    at        BIGINT NOT NULL
);

-- Who changed what, and when (Unix milliseconds). Never a secret.
CREATE TABLE admin_events (
    id         TEXT   NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL,
    actor      TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    target     TEXT   NOT NULL,
    request_id TEXT
);
CREATE INDEX admin_events_at ON admin_events (at);
