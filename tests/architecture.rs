//! The house rules that a compiler does not check: who may know whom.

use std::fs;
use std::path::{Path, PathBuf};

/// A room, the rooms it may enter, and words it may not use.
struct Room {
    path: &'static str,
    may_use: &'static [&'static str],
    never_names: &'static [&'static str],
}

const ACTORS_AND_NETWORK: &[&str] = &["actix", "actix_web", "actix_rt", "actix_tls", "awc", "diesel", "tokio"];
/// For rooms that speak of URIs and header names, and of nothing else of actix-web.
const ACTORS_AND_SOCKETS: &[&str] = &["actix", "actix_rt", "actix_tls", "awc", "diesel", "tokio"];

const ROOMS: [Room; 21] = [
    Room { path: "clock", may_use: &[], never_names: ACTORS_AND_NETWORK },
    Room { path: "terms", may_use: &[], never_names: ACTORS_AND_NETWORK },
    Room { path: "json", may_use: &[], never_names: ACTORS_AND_NETWORK },
    Room { path: "payload", may_use: &["json"], never_names: ACTORS_AND_NETWORK },
    Room { path: "secret", may_use: &[], never_names: ACTORS_AND_NETWORK },
    Room { path: "memory", may_use: &[], never_names: ACTORS_AND_NETWORK },
    Room { path: "deadline", may_use: &[], never_names: &["actix", "actix_web", "actix_rt", "actix_tls", "awc", "diesel"] },
    Room { path: "credential", may_use: &["secret"], never_names: ACTORS_AND_NETWORK },
    Room { path: "seal", may_use: &["secret", "credential", "terms", "guard"], never_names: ACTORS_AND_SOCKETS },
    Room { path: "dialect", may_use: &["terms", "json", "payload"], never_names: ACTORS_AND_NETWORK },
    Room { path: "surface", may_use: &["terms", "payload", "dialect"], never_names: ACTORS_AND_NETWORK },
    Room { path: "guard", may_use: &[], never_names: ACTORS_AND_SOCKETS },
    Room { path: "config", may_use: &["terms", "json", "secret", "dialect", "guard"], never_names: ACTORS_AND_SOCKETS },
    Room { path: "journal", may_use: &[], never_names: ACTORS_AND_NETWORK },
    Room { path: "ledger", may_use: &["terms", "journal"], never_names: &["awc", "diesel", "actix_web"] },
    Room { path: "catalog", may_use: &["terms", "config", "dialect", "ledger::entry", "guard", "seal"], never_names: &["awc", "diesel"] },
    Room { path: "upstream", may_use: &["guard", "memory", "deadline"], never_names: &["diesel", "orion"] },
    Room {
        path: "gateway",
        may_use: &[
            "terms",
            "json",
            "config",
            "dialect",
            "payload",
            "surface",
            "guard",
            "catalog",
            "ledger::entry",
            "ledger::settlement",
            "ledger::journal",
            "memory",
            "deadline",
            "upstream",
            "ledger::handle::LedgerHandle",
            "metrics",
            "credential",
            "secret",
            "seal",
        ],
        never_names: &["diesel", "orion"],
    },
    Room {
        path: "http",
        may_use: &[
            "clock",
            "terms",
            "json",
            "config",
            "credential",
            "secret",
            "catalog",
            "payload",
            "surface",
            "gateway",
            "ledger",
            "metrics",
            "control",
            "memory",
            "deadline",
            "upstream",
        ],
        never_names: &["awc", "diesel"],
    },
    Room {
        path: "control",
        may_use: &[
            "clock",
            "terms",
            "json",
            "config",
            "secret",
            "credential",
            "seal",
            "dialect",
            "guard",
            "catalog",
            "ledger",
            "metrics",
            "http",
        ],
        never_names: &["awc"],
    },
    Room {
        path: "cli",
        may_use: &["terms", "config", "secret", "credential", "seal", "dialect", "server", "guard"],
        never_names: &["diesel"],
    },
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files of a room: `room.rs` and everything under `room/`.
fn files(room: &str) -> Vec<PathBuf> {
    let mut files = vec![source().join(format!("{room}.rs"))];
    let mut folders = vec![source().join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The code of a file without comments and without its test module.
fn code(file: &Path) -> String {
    let is_test = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs" || part == "testing.rs";
    if file.strip_prefix(source()).is_ok_and(|file| file.iter().any(is_test)) {
        return String::new();
    }
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What stands behind each `crate::` in a code, a braced list taken apart.
fn uses(code: &str) -> Vec<String> {
    code.match_indices("crate::")
        .flat_map(|(at, word)| {
            let rest = &code[at + word.len()..];
            match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap_or_default().split(',').map(|item| item.trim().to_owned()).collect(),
                None => vec![rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect::<String>()],
            }
        })
        .filter(|path| !path.is_empty())
        .collect()
}

fn names(code: &str, krate: &str) -> bool {
    code.match_indices(krate).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + krate.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '"' | '.' | ':')) && after == Some(':')
    })
}

fn shown(file: &Path) -> String {
    file.strip_prefix(source()).unwrap_or(file).display().to_string()
}

#[test]
fn every_room_enters_only_the_rooms_it_may() {
    let mut wrong = Vec::new();
    for room in &ROOMS {
        for file in files(room.path) {
            let code = code(&file);
            for used in uses(&code) {
                let is_allowed = |allowed: &&str| used == **allowed || used.starts_with(&format!("{allowed}::"));
                if !is_allowed(&room.path) && !room.may_use.iter().any(is_allowed) {
                    wrong.push(format!("{} uses crate::{used}", shown(&file)));
                }
            }
            for krate in room.never_names {
                if names(&code, krate) {
                    wrong.push(format!("{} names {krate}", shown(&file)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    let map = fs::read_to_string(source().join("lib.rs")).unwrap();
    let rooms: Vec<&str> = map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    for room in rooms {
        let listed = ROOMS.iter().any(|listed| listed.path == room) || matches!(room, "metrics" | "server");
        assert!(listed, "src/{room}.rs has no row in the table");
    }
}

#[test]
fn only_the_connector_and_the_command_line_make_clients() {
    let makers: Vec<String> = ROOMS
        .iter()
        .map(|room| room.path)
        .chain(["server", "metrics"])
        .flat_map(files)
        .filter(|file| {
            let code = code(file);
            ["Client::builder", "Client::new", "ClientBuilder::new", "Connector::new", "Client::default"]
                .iter()
                .any(|maker| code.contains(maker))
                && code.contains("awc")
        })
        .map(|file| shown(&file))
        .filter(|file| !matches!(file.as_str(), "upstream/connector.rs" | "cli/client.rs"))
        .collect();
    assert!(makers.is_empty(), "these make HTTP clients of their own: {makers:?}");
}

#[test]
fn nobody_but_control_names_the_store() {
    for room in ROOMS.iter().map(|room| room.path).chain(["metrics", "main"]).filter(|room| *room != "control") {
        for file in files(room) {
            if file.exists() {
                assert!(!names(&code(&file), "diesel"), "{} names diesel", shown(&file));
            }
        }
    }
}

#[test]
fn no_file_is_a_drawer() {
    let drawers = ["utils", "util", "helpers", "common", "manager", "service", "misc"];
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            assert!(!drawers.contains(&stem.as_str()) && stem != "mod", "{}", path.display());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}

#[test]
fn only_the_control_half_can_name_the_master_key() {
    let outside = ROOMS.iter().map(|room| room.path).filter(|room| *room != "control").chain(["metrics", "main", "server"]);
    for file in outside.flat_map(files).filter(|file| file.exists()) {
        let code = code(&file);
        for word in ["MasterKey::", "Keyring", "control::master", "master::"] {
            assert!(!code.contains(word), "{} names {word}", shown(&file));
        }
    }
}
