//! The rules: each returns its violations, one line each, with place and remedy.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Foreign, Import, imports};
use super::tree::{Sources, Tree};

/// A room: a top-level module of the crate.
pub struct Room {
    /// Name of the module.
    pub name: &'static str,
    /// Rooms, modules or items of other rooms that it may import. All of them are in rows above.
    pub may_use: &'static [&'static str],
    /// Other crates that it may not name.
    pub never_names: &'static [&'static str],
}

/// Limits that the rules apply to the crate.
pub struct House {
    /// The rooms, lowest floor first: a room imports only rooms in rows above it.
    pub rooms: &'static [Room],
    /// Largest number of lines of a file without its tests.
    pub max_lines: usize,
    /// Largest median of these numbers.
    pub max_median_lines: usize,
}

/// Names of files that say nothing about their content.
const DRAWERS: [&str; 8] = ["utils", "util", "helpers", "common", "manager", "service", "misc", "mod"];

/// Files that may make HTTP clients.
const CLIENT_MAKERS: [&str; 2] = ["upstream/connector.rs", "cli/client.rs"];

/// Returns all violations of all rules.
pub fn violations(house: &House, sources: &Sources) -> Vec<String> {
    let tree = Tree::read(sources);
    let (imports, foreign) = imports(&tree);
    let mut found = tree.problems.clone();
    found.extend(unlisted_rooms(house, &tree));
    found.extend(forbidden_imports(house, &imports));
    found.extend(forbidden_crates(house, &foreign));
    found.extend(bad_permissions(house, &imports));
    found.extend(circles(&imports));
    found.extend(long_files(house, &tree));
    found.extend(repeated_type_names(&tree));
    found.extend(drawers(sources));
    found.extend(store_outside_control(&foreign));
    found.extend(master_key_outside_control(&tree, &imports));
    found.extend(clients(&foreign));
    found
}

impl House {
    fn room(&self, name: &str) -> Option<&Room> {
        self.rooms.iter().find(|room| room.name == name)
    }

    fn floor(&self, name: &str) -> Option<usize> {
        self.rooms.iter().position(|room| room.name == name)
    }
}

/// Room of a file: `room.rs` and everything below `room/`.
fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

fn covers(permission: &str, path: &[String]) -> bool {
    let mut path = path.iter();
    permission.split("::").all(|segment| path.next().is_some_and(|next| next == segment))
}

fn unlisted_rooms(house: &House, tree: &Tree) -> Vec<String> {
    let rooms: BTreeSet<&str> = tree.lines.keys().map(|file| room_of(file)).filter(|room| *room != "lib").collect();
    let unlisted = rooms.iter().filter(|room| house.room(room).is_none());
    let absent = house.rooms.iter().map(|room| room.name).filter(|room| !rooms.contains(room));
    unlisted
        .map(|room| format!("src/{room}.rs: has no row in the table of rooms; add one on the lowest floor that its imports allow"))
        .chain(absent.map(|room| format!("src/{room}.rs: does not exist; remove its row from the table of rooms")))
        .collect()
}

fn forbidden_imports(house: &House, imports: &[Import]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for import in imports {
        let (from, to) = (room_of(&import.from), room_of(&import.to));
        let place = format!("src/{}:{}: imports crate::{}", import.from, import.line, import.path.join("::"));
        if from == to {
            continue;
        }
        if from == "lib" || to == "lib" {
            found.insert(format!("{place}; lib.rs is the map and contains no code: move it to a room"));
            continue;
        }
        if let (Some(from), Some(to)) = (house.floor(from), house.floor(to))
            && to > from
        {
            found.insert(format!("{place}, a room on a higher floor; move what both need to the lower one"));
        } else if !house.room(from).is_some_and(|room| room.may_use.iter().any(|permission| covers(permission, &import.path))) {
            found.insert(format!("{place}, which `{from}` has no permission for; import something else or extend its row"));
        }
    }
    found.into_iter().collect()
}

fn forbidden_crates(house: &House, foreign: &[Foreign]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for Foreign { from, line, path } in foreign {
        let room = room_of(from);
        if let Some(krate) = house.room(room).and_then(|room| room.never_names.iter().find(|krate| path[0] == **krate)) {
            found.insert(format!("src/{from}:{line}: names {krate}, which `{room}` may never do; move the code to a room that may"));
        }
    }
    found.into_iter().collect()
}

fn bad_permissions(house: &House, imports: &[Import]) -> Vec<String> {
    let mut found = Vec::new();
    for (floor, room) in house.rooms.iter().enumerate() {
        for permission in room.may_use {
            let path: Vec<String> = permission.split("::").map(str::to_owned).collect();
            let name = room.name;
            match house.floor(&path[0]) {
                None => found.push(format!("`{name}` may use {permission}, a room without a row; remove the permission")),
                Some(other) if other >= floor => {
                    found.push(format!("`{name}` may use {permission}, a row below its own; remove the permission"));
                }
                Some(_) => {}
            }
            if let Some(wider) = room.may_use.iter().find(|wider| *wider != permission && covers(wider, &path)) {
                found.push(format!("`{name}` may use {permission}, which {wider} includes; remove one"));
            }
            let is_used = imports.iter().any(|import| room_of(&import.from) == name && covers(permission, &import.path));
            if !is_used {
                found.push(format!("`{name}` may use {permission} and does not; remove the permission"));
            }
        }
    }
    found
}

/// Groups of files that import each other, directly or by way of others of the group.
fn circles(imports: &[Import]) -> Vec<String> {
    let mut graph: BTreeMap<&str, BTreeMap<&str, &Import>> = BTreeMap::new();
    for import in imports {
        graph.entry(&import.from).or_default().entry(&import.to).or_insert(import);
    }
    let reachable: BTreeMap<&str, BTreeSet<&str>> = graph.keys().map(|file| (*file, reachable(&graph, file))).collect();
    let leads = |from: &str, to: &str| reachable.get(from).is_some_and(|files| files.contains(to));
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for file in graph.keys().copied().filter(|file| leads(file, file)) {
        if !seen.insert(file) {
            continue;
        }
        let members: BTreeSet<&str> = graph.keys().copied().filter(|other| leads(file, other) && leads(other, file)).collect();
        seen.extend(&members);
        let arrows = members.iter().flat_map(|member| graph[member].values().filter(|import| members.contains(import.to.as_str())));
        let arrows: Vec<String> = arrows
            .map(|import| format!("\n    src/{}:{}: imports {} ({})", import.from, import.line, import.path.join("::"), import.to))
            .collect();
        found.push(format!(
            "src/{file}: {} files import each other; move what both sides need to a file below both:{}",
            members.len(),
            arrows.concat()
        ));
    }
    found
}

/// All files that a file imports, directly or by way of others.
fn reachable<'a>(graph: &BTreeMap<&'a str, BTreeMap<&'a str, &'a Import>>, file: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for next in graph.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}

fn long_files(house: &House, tree: &Tree) -> Vec<String> {
    let mut found: Vec<String> = tree
        .lines
        .iter()
        .filter(|(_, lines)| **lines > house.max_lines)
        .map(|(file, lines)| format!("src/{file}: {lines} lines without tests, more than {}; split it by responsibility", house.max_lines))
        .collect();
    let mut lengths: Vec<usize> = tree.lines.values().copied().collect();
    lengths.sort_unstable();
    match lengths.get(lengths.len() / 2) {
        Some(median) if *median > house.max_median_lines => {
            found.push(format!("src: median file has {median} lines without tests, more than {}; split files", house.max_median_lines));
        }
        _ => {}
    }
    found
}

fn repeated_type_names(tree: &Tree) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for module in tree.modules.values() {
        for (name, line) in &module.types {
            places.entry(name).or_default().push(format!("src/{}:{line}", module.file));
        }
    }
    let repeated = places.iter().filter(|(_, places)| places.len() > 1);
    repeated
        .map(|(name, places)| format!("{}: type `{name}` is defined again; name each for what it alone is", places.join(", ")))
        .collect()
}

fn drawers(sources: &Sources) -> Vec<String> {
    let is_drawer = |file: &str| file.trim_end_matches(".rs").split('/').any(|part| DRAWERS.contains(&part));
    let drawers = sources.keys().filter(|file| is_drawer(file));
    drawers.map(|file| format!("src/{file}: its name says nothing; name it after its content")).collect()
}

fn store_outside_control(foreign: &[Foreign]) -> Vec<String> {
    let names_store = |path: &[String]| path[0] == "diesel" || path[0].starts_with("diesel_");
    let outside = foreign.iter().filter(|foreign| room_of(&foreign.from) != "control" && names_store(&foreign.path));
    outside.map(|Foreign { from, line, .. }| format!("src/{from}:{line}: names diesel; only `control` speaks to the store")).collect()
}

fn master_key_outside_control(tree: &Tree, imports: &[Import]) -> Vec<String> {
    let remedy = "only `control` can name the master key: ask it for what the key opens";
    let modules = tree.modules.values().filter(|module| room_of(&module.file) != "control");
    let words = modules.flat_map(|module| {
        let words = ["MasterKey", "Keyring"].into_iter().filter_map(|word| Some((word, module.words.get(word)?)));
        words.map(|(word, line)| format!("src/{}:{line}: names {word}; {remedy}", module.file))
    });
    let outside = imports.iter().filter(|import| room_of(&import.from) != "control");
    let imports = outside.filter(|import| import.to == "control/master.rs" || import.to.starts_with("control/master/"));
    words.chain(imports.map(|import| format!("src/{}:{}: imports {}; {remedy}", import.from, import.line, import.to))).collect()
}

fn clients(foreign: &[Foreign]) -> Vec<String> {
    let imports_all_of_awc: BTreeSet<&str> =
        foreign.iter().filter(|foreign| foreign.path == ["awc"]).map(|foreign| foreign.from.as_str()).collect();
    let makes_client = |foreign: &&Foreign| {
        let is_awc = foreign.path[0] == "awc" || imports_all_of_awc.contains(foreign.from.as_str());
        let end = foreign.path.rchunks(2).next().unwrap_or_default();
        is_awc
            && matches!(end, [kind, maker] if matches!(kind.as_str(), "Client" | "ClientBuilder" | "Connector")
                && matches!(maker.as_str(), "new" | "builder" | "default"))
    };
    foreign
        .iter()
        .filter(makes_client)
        .filter(|foreign| !CLIENT_MAKERS.contains(&foreign.from.as_str()))
        .map(|Foreign { from, line, .. }| {
            format!("src/{from}:{line}: makes an HTTP client; upstreams are reached through upstream/connector.rs, which checks addresses")
        })
        .collect()
}
