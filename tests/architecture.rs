//! The wall: rules of the house that a compiler does not check. Who may import whom, which way is
//! down, no circles of files, no long files, one name for one type.
//!
//! `tree` reads the crate, `imports` resolves paths to files, `rules` finds violations, and
//! `samples` proves with small sources that each rule can fail.

mod imports;
mod rules;
mod samples;
mod tree;

use std::fs;
use std::path::Path;

use rules::{House, Room, violations};
use tree::Sources;

const ACTORS_AND_SOCKETS: &[&str] =
    &["actix", "actix_http", "actix_rt", "actix_server", "actix_service", "actix_tls", "awc", "diesel", "tokio"];
const ACTORS_AND_NETWORK: &[&str] =
    &["actix", "actix_http", "actix_rt", "actix_server", "actix_service", "actix_tls", "actix_web", "awc", "diesel", "tokio"];

/// Floors from the lowest to the highest: a room imports only rooms in rows above it.
const HOUSE: House = House {
    rooms: &[
        Room { name: "terms", may_use: &[], never_names: ACTORS_AND_NETWORK },
        Room { name: "secret", may_use: &[], never_names: ACTORS_AND_NETWORK },
        Room { name: "clock", may_use: &[], never_names: ACTORS_AND_NETWORK },
        Room { name: "json", may_use: &[], never_names: ACTORS_AND_NETWORK },
        Room { name: "memory", may_use: &[], never_names: ACTORS_AND_NETWORK },
        Room { name: "deadline", may_use: &[], never_names: &["actix", "actix_web", "actix_rt", "actix_tls", "awc", "diesel"] },
        Room { name: "payload", may_use: &["json"], never_names: ACTORS_AND_NETWORK },
        Room { name: "credential", may_use: &["secret"], never_names: ACTORS_AND_NETWORK },
        Room { name: "guard", may_use: &[], never_names: ACTORS_AND_SOCKETS },
        Room { name: "seal", may_use: &["secret", "credential", "terms", "guard"], never_names: ACTORS_AND_SOCKETS },
        Room { name: "dialect", may_use: &["terms", "json", "payload"], never_names: ACTORS_AND_NETWORK },
        Room { name: "upstream", may_use: &["guard", "memory", "deadline"], never_names: &["diesel", "orion"] },
        Room { name: "surface", may_use: &["terms", "payload", "dialect"], never_names: ACTORS_AND_NETWORK },
        Room { name: "config", may_use: &["terms", "json", "secret", "dialect", "guard"], never_names: ACTORS_AND_SOCKETS },
        Room { name: "journal", may_use: &[], never_names: ACTORS_AND_NETWORK },
        Room { name: "ledger", may_use: &["terms", "journal"], never_names: &["awc", "diesel", "actix_web"] },
        Room { name: "catalog", may_use: &["terms", "config", "dialect", "guard", "seal"], never_names: &["awc", "diesel"] },
        Room { name: "metrics", may_use: &["terms", "ledger"], never_names: &["awc", "diesel"] },
        Room {
            name: "gateway",
            may_use: &[
                "terms",
                "secret",
                "memory",
                "deadline",
                "payload",
                "credential",
                "seal",
                "dialect",
                "upstream",
                "surface",
                "config",
                "ledger",
                "catalog",
            ],
            never_names: &["diesel", "orion"],
        },
        Room {
            name: "http",
            may_use: &[
                "clock",
                "terms",
                "memory",
                "deadline",
                "payload",
                "credential",
                "surface",
                "config",
                "catalog",
                "metrics",
                "gateway",
            ],
            never_names: &["awc", "diesel"],
        },
        Room {
            name: "control",
            may_use: &["clock", "terms", "secret", "credential", "guard", "seal", "config", "ledger", "catalog", "http"],
            never_names: &["awc"],
        },
        Room {
            name: "server",
            may_use: &[
                "clock", "terms", "secret", "memory", "guard", "seal", "upstream", "config", "journal", "ledger", "catalog", "metrics",
                "gateway", "http", "control",
            ],
            never_names: &["awc", "diesel"],
        },
        Room { name: "cli", may_use: &["terms", "config", "secret", "seal", "server"], never_names: &["diesel"] },
        Room { name: "main", may_use: &["cli"], never_names: ACTORS_AND_NETWORK },
    ],
    max_lines: 400,
    max_median_lines: 150,
};

/// Reads all source files below `src/`.
fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Sources::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                sources.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    sources
}

#[test]
fn the_crate_follows_the_rules_of_the_house() {
    let found = violations(&HOUSE, &sources());
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}
