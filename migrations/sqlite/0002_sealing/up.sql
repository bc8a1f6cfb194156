-- What is sealed (spec/security.md section 1). Nothing here opens without a key that is elsewhere; times in Unix seconds.

-- ROOT blobs: a tenant's root, once under the master key (custody `operator`) or once under each tenant key (`tenant`).
CREATE TABLE tenant_roots (
    tenant TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    holder TEXT NOT NULL,                          -- `master:` and a kid, or `tk:` and the id of a tenant key
    blob   BLOB NOT NULL,
    PRIMARY KEY (tenant, holder)
);

CREATE TABLE tenant_keys (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant     TEXT   NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    lookup     BLOB   NOT NULL UNIQUE,             -- derived from the key; the key itself is nowhere
    last4      TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX tenant_keys_tenant ON tenant_keys (tenant, id);

-- EDGE blobs: what each gateway holds as its own half of every grant.
CREATE TABLE edges (
    id         TEXT   NOT NULL PRIMARY KEY,
    kid        TEXT   NOT NULL,                    -- the master key it is wrapped under
    blob       BLOB   NOT NULL,
    tenants    TEXT,                               -- array of those it serves; NULL: all
    created_at BIGINT NOT NULL
);

-- The current epoch of each ring, and how many secrets were ever sealed in it: versions are never used twice.
CREATE TABLE rings (
    tenant   TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    ring     TEXT    NOT NULL,
    epoch    INTEGER NOT NULL,
    versions INTEGER NOT NULL,
    PRIMARY KEY (tenant, ring)
);

-- ESCROW blobs: a virtual key's wrap key, for the grants of later epochs. A key without one is for brokered providers only.
CREATE TABLE escrow (
    key_id TEXT NOT NULL PRIMARY KEY REFERENCES virtual_keys (id) ON DELETE CASCADE,
    tenant TEXT NOT NULL,
    blob   BLOB NOT NULL
);
CREATE INDEX escrow_tenant ON escrow (tenant);

-- GRANT blobs: a spend key for one virtual key at one edge.
CREATE TABLE grants (
    key_id TEXT    NOT NULL REFERENCES virtual_keys (id) ON DELETE CASCADE,
    edge   TEXT    NOT NULL REFERENCES edges (id) ON DELETE CASCADE,
    ring   TEXT    NOT NULL,
    epoch  INTEGER NOT NULL,
    tenant TEXT    NOT NULL,
    blob   BLOB    NOT NULL,
    PRIMARY KEY (key_id, edge, ring)
);
CREATE INDEX grants_tenant ON grants (tenant, edge);
CREATE INDEX grants_edge ON grants (edge);

-- Tenants' own providers, with their SECRET blobs.
CREATE TABLE byo_providers (
    tenant     TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    base_url   TEXT,                               -- NULL: its kind's
    enabled    BOOLEAN NOT NULL,
    ring       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    secret     BLOB,                               -- NULL: a kind that takes no key
    last4      TEXT,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    PRIMARY KEY (tenant, name)
);
