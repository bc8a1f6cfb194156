//! Reads `aigw.toml` and the files it includes, or the files compiled into the program, and resolves them into
//! [`Settings`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ::toml::Table;

use super::catalog;
use super::diagnostics::{Diagnostics, Problem, ProblemClass, Problems};
use super::environment::Environment;
use super::retry::{self, RetryPolicy};
use super::section::Section;
use super::settings::Settings;
use super::shipped::shipped;
use super::{admin, sealing, security, server, storage, upstream};
use crate::terms::natural::natural_order;

/// Default of `include`.
const DEFAULT_INCLUDE: &str = "providers/*.toml";

/// Keys that only the main file may have.
const MAIN_SECTIONS: [&str; 9] = ["include", "server", "database", "ledger", "admin", "sealing", "security", "upstream", "retry"];

/// A parsed configuration file.
struct ParsedFile {
    file: PathBuf,
    table: Table,
}

/// Reads and checks the configuration.
///
/// # Errors
/// Every problem found, each with file, key and remedy.
pub fn load(file: &Path, environment: &dyn Environment) -> Result<Settings, Problems> {
    let diagnostics = Diagnostics::default();
    let Some(main) = read(file, &diagnostics) else { return Err(refused(diagnostics)) };
    let parts = included(&main, &diagnostics).iter().filter_map(|file| read(file, &diagnostics)).collect();
    resolve(main, parts, environment, diagnostics)
}

/// Like [`load`], from the files compiled into the program, so that a trial needs nothing on disk.
///
/// # Errors
/// As [`load`]; only values from the environment can be wrong.
pub fn load_shipped(environment: &dyn Environment) -> Result<Settings, Problems> {
    let diagnostics = Diagnostics::default();
    let mut sources = shipped().iter().filter_map(|(name, text)| parse(Path::new(name), text, &diagnostics));
    let Some(main) = sources.next() else { return Err(refused(diagnostics)) };
    let parts = sources.collect();
    resolve(main, parts, environment, diagnostics)
}

fn read(file: &Path, diagnostics: &Diagnostics) -> Option<ParsedFile> {
    match std::fs::read_to_string(file) {
        Ok(text) => parse(file, &text, diagnostics),
        Err(error) => {
            let remedy = "name a readable file with --config or AIGW_CONFIG, or try aigw quickstart, which needs none";
            diagnostics.problem(whole_file(file, format!("cannot be read ({error})"), remedy));
            None
        }
    }
}

fn parse(file: &Path, text: &str, diagnostics: &Diagnostics) -> Option<ParsedFile> {
    match text.parse::<Table>() {
        Ok(table) => Some(ParsedFile { file: file.to_owned(), table }),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            let message = error.message().replace('\n', ", ");
            diagnostics.problem(whole_file(
                file,
                format!("line {line} is not valid TOML: {message}"),
                "correct it; https://toml.io has the rules",
            ));
            None
        }
    }
}

fn whole_file(file: &Path, what: String, remedy: &str) -> Problem {
    Problem { file: file.to_owned(), key: String::new(), what, remedy: remedy.to_owned(), class: ProblemClass::Configuration }
}

fn refused(diagnostics: Diagnostics) -> Problems {
    diagnostics.finish().err().unwrap_or(Problems(Vec::new()))
}

/// Returns the files that `include` names, each once, in natural order. Patterns are relative to the main file.
fn included(main: &ParsedFile, diagnostics: &Diagnostics) -> Vec<PathBuf> {
    let mut root = Section::root(&main.file, &main.table, diagnostics);
    let patterns = if root.has("include") { root.texts("include").unwrap_or_default() } else { vec![DEFAULT_INCLUDE] };
    let folder = main.file.parent().unwrap_or(Path::new(""));
    let mut seen = BTreeSet::from([identity(&main.file)]);
    let mut files = Vec::new();
    for pattern in patterns {
        // The folder is escaped, since it may contain pattern characters. `join` keeps an absolute pattern.
        let escaped = PathBuf::from(glob::Pattern::escape(&folder.to_string_lossy())).join(pattern);
        let Ok(matches) = glob::glob(&escaped.to_string_lossy()) else {
            root.problem("include", format!("{pattern:?} is not a pattern"), "write one such as \"providers/*.toml\"");
            continue;
        };
        let mut found: Vec<PathBuf> = matches.filter_map(Result::ok).filter(|path| path.is_file()).collect();
        if found.is_empty() && !pattern.contains(['*', '?', '[']) {
            root.problem("include", format!("{pattern:?} does not exist"), "create it, correct the name or remove it");
        } else if found.is_empty() && root.has("include") {
            diagnostics.warning(format!("{}: include: {pattern:?} matches no file", main.file.display()));
        }
        found.sort_by(|a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()));
        files.extend(found.into_iter().filter(|path| seen.insert(identity(path))));
    }
    files
}

/// Returns a canonical path, so that a file named twice is read once.
fn identity(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_owned())
}

/// Reads all sections of all files and checks them together.
fn resolve(
    main: ParsedFile,
    parts: Vec<ParsedFile>,
    environment: &dyn Environment,
    diagnostics: Diagnostics,
) -> Result<Settings, Problems> {
    let mut roots = vec![Section::root(&main.file, &main.table, &diagnostics)];
    roots.extend(parts.iter().map(|part| Section::root(&part.file, &part.table, &diagnostics)));
    let root = &mut roots[0];
    root.value("include");
    let server = server::read(root);
    let database = storage::read_database(root, environment);
    let ledger = storage::read_ledger(root, &database);
    let admin = admin::read(root, environment);
    let sealing = sealing::read(root, environment);
    let security = security::read(root);
    let upstream = upstream::read(root);
    let defaults = retry::read(root, &RetryPolicy::default());
    let catalog = catalog::read(&mut roots, &defaults, environment, &diagnostics);
    finish(roots);
    let admin_listen = admin.listen.unwrap_or(server.listen);
    if admin.token.is_some() && !admin_listen.ip().is_loopback() {
        diagnostics.warning(format!("the admin API listens on {admin_listen} without TLS; put a TLS proxy in front of it"));
    }
    let warnings = diagnostics.finish()?;
    Ok(Settings { file: main.file, server, database, ledger, admin, sealing, security, upstream, catalog, warnings })
}

/// Reports unknown keys, and sections of the main file in other files.
fn finish(roots: Vec<Section<'_>>) {
    for (nth, mut root) in roots.into_iter().enumerate() {
        for key in MAIN_SECTIONS {
            if nth > 0 && root.has(key) {
                root.value(key);
                root.problem(key, "this key belongs in the main file", "move it to aigw.toml");
            }
        }
        root.done();
    }
}
