-- What is left of entries that were older than they are kept: their sums by month. One row for each combination of what
-- entries have in common; its id is derived from that combination (src/control/store/retention.rs).
CREATE TABLE usage_months (
    id                    TEXT   NOT NULL PRIMARY KEY,
    month                 BIGINT NOT NULL,         -- when it began, Unix milliseconds, UTC
    tenant                TEXT   NOT NULL,
    team                  TEXT,
    key_id                TEXT   NOT NULL,
    subject               TEXT   NOT NULL,
    operation             TEXT   NOT NULL,
    model                 TEXT   NOT NULL,
    provider              TEXT   NOT NULL,
    kind                  TEXT   NOT NULL,
    billing               TEXT   NOT NULL,
    outcome               TEXT   NOT NULL,
    tags                  TEXT   NOT NULL,         -- object; each pair is in usage_month_tags too
    requests              BIGINT NOT NULL,
    prompt_tokens         BIGINT NOT NULL,
    cached_tokens         BIGINT NOT NULL,
    cache_write_tokens    BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    completion_tokens     BIGINT NOT NULL,
    reasoning_tokens      BIGINT NOT NULL,
    cost_nanousd          BIGINT NOT NULL,
    list_cost_nanousd     BIGINT NOT NULL
);
CREATE INDEX usage_months_month ON usage_months (month);

CREATE TABLE usage_month_tags (
    usage_month_id TEXT NOT NULL,
    name           TEXT NOT NULL,
    value          TEXT NOT NULL,
    PRIMARY KEY (usage_month_id, name)
);
CREATE INDEX usage_month_tags_name ON usage_month_tags (name, value);
