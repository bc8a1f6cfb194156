//! Tables: one schema for both databases (migrations/sqlite and migrations/postgresql).
#![allow(missing_docs, reason = "the macro generates public items")]

use diesel::{allow_tables_to_appear_in_same_query, table};

table! {
    /// Tenants.
    tenants (id) {
        id -> Text,
        name -> Text,
        brokered -> Bool,
        broker_fallback -> Bool,
        custody -> Text,
        enabled -> Bool,
        created_at -> BigInt,
    }
}

table! {
    /// Virtual keys, including revoked ones.
    virtual_keys (id) {
        id -> Text,
        lookup -> Binary,
        last4 -> Text,
        tenant -> Text,
        name -> Text,
        subject -> Text,
        team -> Nullable<Text>,
        tags -> Text,
        allowed_models -> Nullable<Text>,
        monthly_budget_cents -> Nullable<BigInt>,
        rpm -> Nullable<BigInt>,
        tpm -> Nullable<BigInt>,
        max_concurrency -> Nullable<BigInt>,
        expires_at -> Nullable<BigInt>,
        created_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
        rotated_from -> Nullable<Text>,
    }
}

table! {
    /// The ledger.
    entries (id) {
        id -> Text,
        request_id -> Text,
        created_at -> BigInt,
        tenant -> Text,
        team -> Nullable<Text>,
        key_id -> Text,
        subject -> Text,
        end_user -> Nullable<Text>,
        tags -> Text,
        operation -> Text,
        model -> Text,
        upstream_model -> Text,
        provider -> Text,
        kind -> Text,
        billing -> Text,
        stream -> Bool,
        status -> Integer,
        outcome -> Text,
        error_code -> Nullable<Text>,
        finish_reason -> Nullable<Text>,
        prompt_tokens -> BigInt,
        cached_tokens -> BigInt,
        cache_write_tokens -> BigInt,
        cache_write_1h_tokens -> BigInt,
        completion_tokens -> BigInt,
        reasoning_tokens -> BigInt,
        usage_source -> Text,
        cost_nanousd -> BigInt,
        list_cost_nanousd -> BigInt,
        attempts -> Text,
        latency_ms -> BigInt,
        ttfb_ms -> Nullable<BigInt>,
    }
}

table! {
    /// Tags of entries, one row per pair.
    entry_tags (entry_id, name) {
        entry_id -> Text,
        name -> Text,
        value -> Text,
    }
}

table! {
    /// Position up to which each journal segment is stored.
    journal_positions (segment) {
        segment -> Text,
        position -> BigInt,
    }
}

table! {
    /// One row: id of the newest change.
    change_head (id) {
        id -> Integer,
        position -> BigInt,
    }
}

table! {
    /// Changes, for other processes.
    change_log (id) {
        id -> BigInt,
        kind -> Text,
        reference -> Text,
        at -> BigInt,
    }
}

table! {
    /// Administrative events, for operators.
    admin_events (id) {
        id -> Text,
        at -> BigInt,
        actor -> Text,
        action -> Text,
        target -> Text,
        request_id -> Nullable<Text>,
    }
}

table! {
    /// ROOT blobs.
    tenant_roots (tenant, holder) {
        tenant -> Text,
        holder -> Text,
        blob -> Binary,
    }
}

table! {
    /// Tenant keys.
    tenant_keys (id) {
        id -> Text,
        tenant -> Text,
        lookup -> Binary,
        last4 -> Text,
        created_at -> BigInt,
    }
}

table! {
    /// EDGE blobs.
    edges (id) {
        id -> Text,
        kid -> Text,
        blob -> Binary,
        tenants -> Nullable<Text>,
        created_at -> BigInt,
    }
}

table! {
    /// Rings with their current epoch.
    rings (tenant, ring) {
        tenant -> Text,
        ring -> Text,
        epoch -> Integer,
        versions -> Integer,
    }
}

table! {
    /// ESCROW blobs.
    escrow (key_id) {
        key_id -> Text,
        tenant -> Text,
        blob -> Binary,
    }
}

table! {
    /// GRANT blobs.
    grants (key_id, edge, ring) {
        key_id -> Text,
        edge -> Text,
        ring -> Text,
        epoch -> Integer,
        tenant -> Text,
        blob -> Binary,
    }
}

table! {
    /// Tenants' own providers.
    byo_providers (tenant, name) {
        tenant -> Text,
        name -> Text,
        kind -> Text,
        base_url -> Nullable<Text>,
        enabled -> Bool,
        ring -> Text,
        version -> Integer,
        epoch -> Integer,
        secret -> Nullable<Binary>,
        last4 -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

allow_tables_to_appear_in_same_query!(entries, entry_tags);
