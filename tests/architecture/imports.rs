//! Resolution of paths to the files they name.
//!
//! A path belongs to the file of its longest prefix that is a module: `crate::room::Thing` names
//! `room.rs`, wherever `Thing` is defined. If `room.rs` re-exports it, `room.rs` itself imports the
//! file behind it. `mod child;` is no import.

use super::tree::{ModulePath, Tree};

/// Number of aliases followed for one path.
const MAX_ALIASES: usize = 16;

/// An import of one file by another.
#[derive(Clone, Debug)]
pub struct Import {
    /// The importing file.
    pub from: String,
    /// Line of the path.
    pub line: usize,
    /// The imported file.
    pub to: String,
    /// Full path behind `crate::`: modules, then items.
    pub path: Vec<String>,
}

/// A path into another crate.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// The file with the path.
    pub from: String,
    /// Line of the path.
    pub line: usize,
    /// Full path, starting with the name of the crate.
    pub path: Vec<String>,
}

/// The target of a path.
enum Target {
    /// A module of this crate, the items behind it, and the modules whose aliases led there.
    Here { module: ModulePath, items: Vec<String>, through: Vec<ModulePath> },
    /// A path into another crate, or a name that modules cannot explain: a type parameter, say.
    Elsewhere(Vec<String>),
}

/// Returns all imports between files of the crate, and all paths that leave it.
pub fn imports(tree: &Tree) -> (Vec<Import>, Vec<Foreign>) {
    let mut imports = Vec::new();
    let mut foreign = Vec::new();
    for (at, module) in &tree.modules {
        for path in &module.paths {
            match resolve(tree, at, &path.segments, MAX_ALIASES) {
                Target::Elsewhere(full) => foreign.push(Foreign { from: module.file.clone(), line: path.line, path: full }),
                Target::Here { module: target, items, through } => {
                    let mut add = |target: &ModulePath, items: &[String]| {
                        let Some(to) = tree.modules.get(target).map(|target| target.file.clone()) else { return };
                        if to != module.file {
                            let path_in_crate = target.iter().chain(items).cloned().collect();
                            imports.push(Import { from: module.file.clone(), line: path.line, to, path: path_in_crate });
                        }
                    };
                    through.iter().for_each(|alias| add(alias, &[]));
                    add(&target, &items);
                }
            }
        }
    }
    (imports, foreign)
}

fn resolve(tree: &Tree, from: &ModulePath, path: &[String], aliases: usize) -> Target {
    let Some((first, rest)) = path.split_first() else { return Target::Elsewhere(vec![]) };
    match first.as_str() {
        "crate" | "aigw" => descend(tree, vec![], rest, aliases),
        "self" if rest.first().is_some_and(|next| next == "super") => resolve(tree, from, rest, aliases),
        "self" => descend(tree, from.clone(), rest, aliases),
        "super" => {
            let mut module = from.clone();
            module.pop();
            let mut rest = rest;
            while let Some((next, behind)) = rest.split_first()
                && next == "super"
            {
                module.pop();
                rest = behind;
            }
            descend(tree, module, rest, aliases)
        }
        _ => match scope(tree, from, first, aliases) {
            Some(found) => continue_at(tree, found, rest, aliases),
            None => Target::Elsewhere(path.to_vec()),
        },
    }
}

/// Looks a name up among the children, imports and glob imports of a module. `None` for items of
/// the module itself and names of other crates.
fn scope(tree: &Tree, at: &ModulePath, name: &str, aliases: usize) -> Option<Target> {
    let module = tree.modules.get(at)?;
    if module.children.contains(name) {
        let child = at.iter().cloned().chain([name.to_owned()]).collect();
        return Some(Target::Here { module: child, items: vec![], through: vec![] });
    }
    if aliases == 0 {
        return None;
    }
    if let Some((_, path)) = module.imports.iter().find(|(alias, _)| alias == name) {
        return Some(match path.segments.as_slice() {
            // `use krate;` must not look itself up.
            [first, ..] if first == name => Target::Elsewhere(path.segments.clone()),
            segments => resolve(tree, at, segments, aliases - 1),
        });
    }
    module.globs.iter().find_map(|glob| match resolve(tree, at, &glob.segments, aliases - 1) {
        Target::Here { module, items, .. } if items.is_empty() && module != *at => scope(tree, &module, name, aliases - 1),
        _ => None,
    })
}

fn continue_at(tree: &Tree, found: Target, rest: &[String], aliases: usize) -> Target {
    match found {
        Target::Elsewhere(mut path) => {
            path.extend_from_slice(rest);
            Target::Elsewhere(path)
        }
        Target::Here { module, items, through } if items.is_empty() => match descend(tree, module, rest, aliases) {
            Target::Here { module, items, through: more } => {
                Target::Here { module, items, through: through.into_iter().chain(more).collect() }
            }
            elsewhere => elsewhere,
        },
        Target::Here { module, mut items, through } => {
            items.extend_from_slice(rest);
            Target::Here { module, items, through }
        }
    }
}

/// Follows `rest` down from a module, as far as its segments are modules or aliases of modules.
fn descend(tree: &Tree, mut module: ModulePath, mut rest: &[String], aliases: usize) -> Target {
    while let Some((next, behind)) = rest.split_first() {
        let Some(here) = tree.modules.get(&module) else { break };
        if here.children.contains(next) {
            module.push(next.clone());
            rest = behind;
            continue;
        }
        // An alias of a module leads on; an alias of an item stays with the module that is named.
        let alias = if aliases == 0 { None } else { scope(tree, &module, next, aliases - 1) };
        return match alias {
            Some(Target::Here { module: target, items, mut through }) if items.is_empty() => {
                through.insert(0, module);
                continue_at(tree, Target::Here { module: target, items, through }, behind, aliases - 1)
            }
            _ => Target::Here { module, items: rest.to_vec(), through: vec![] },
        };
    }
    Target::Here { module, items: rest.to_vec(), through: vec![] }
}
