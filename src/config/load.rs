//! From files to [`Settings`]: `aigw.toml`, what it includes or what is shipped inside the program, then every check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ::toml::Table;

use super::check::{Class, Notes, Problem, Problems, kinds, models, providers, retry, server};
use super::toml::Section;
use super::{Catalog, Environment, RetryPolicy, Settings};
use crate::terms::natural::natural_order;

/// What `aigw.toml` includes if it does not say.
const DEFAULT_INCLUDE: &str = "providers/*.toml";

/// The sections only the main file may have.
const MAIN_SECTIONS: [&str; 9] = ["include", "server", "database", "ledger", "admin", "sealing", "security", "upstream", "retry"];

/// A configuration file and what it says.
struct Source {
    file: PathBuf,
    table: Table,
}

/// Reads and checks everything.
///
/// # Errors
/// Every problem found, each with file, key and remedy; the first never hides the rest.
pub fn load(file: &Path, environment: &dyn Environment) -> Result<Settings, Problems> {
    let notes = Notes::default();
    let Some(main) = read(file, &notes) else { return Err(refused(notes)) };
    let parts = included(&main, &notes).iter().filter_map(|file| read(file, &notes)).collect();
    decide(main, parts, environment, notes)
}

/// The same of the files shipped inside the program, so that a trial needs nothing on disk.
///
/// # Errors
/// As [`load`]; only what the environment holds can be wrong.
pub fn load_shipped(environment: &dyn Environment) -> Result<Settings, Problems> {
    let notes = Notes::default();
    let mut sources = shipped().iter().filter_map(|(name, text)| parse(Path::new(name), text, &notes));
    let Some(main) = sources.next() else { return Err(refused(notes)) };
    let parts = sources.collect();
    decide(main, parts, environment, notes)
}

/// The shipped files, name and text, `aigw.toml` first.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    macro_rules! files {
        ($($name:literal),+ $(,)?) => {
            &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $name)))),+]
        };
    }
    files![
        "config/aigw.toml",
        "config/providers/anthropic.toml",
        "config/providers/azure.toml",
        "config/providers/deepseek.toml",
        "config/providers/fireworks.toml",
        "config/providers/gemini.toml",
        "config/providers/groq.toml",
        "config/providers/mistral.toml",
        "config/providers/ollama.toml",
        "config/providers/openai.toml",
        "config/providers/openrouter.toml",
        "config/providers/simulator.toml",
        "config/providers/together.toml",
        "config/providers/vllm.toml",
        "config/providers/xai.toml",
    ]
}

fn read(file: &Path, notes: &Notes) -> Option<Source> {
    match std::fs::read_to_string(file) {
        Ok(text) => parse(file, &text, notes),
        Err(error) => {
            let remedy = "name a readable file with --config or AIGW_CONFIG, or try aigw quickstart, which needs none";
            notes.problem(whole_file(file, format!("cannot be read ({error})"), remedy));
            None
        }
    }
}

fn parse(file: &Path, text: &str, notes: &Notes) -> Option<Source> {
    match text.parse::<Table>() {
        Ok(table) => Some(Source { file: file.to_owned(), table }),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            let message = error.message().replace('\n', ", ");
            notes.problem(whole_file(file, format!("line {line} is no TOML: {message}"), "correct it; https://toml.io has the rules"));
            None
        }
    }
}

fn whole_file(file: &Path, what: String, remedy: &str) -> Problem {
    Problem { file: file.to_owned(), key: String::new(), what, remedy: remedy.to_owned(), class: Class::Configuration }
}

fn refused(notes: Notes) -> Problems {
    notes.finish().err().unwrap_or(Problems(Vec::new()))
}

/// The files that `include` names, each once, in natural order; patterns are relative to the file that names them.
fn included(main: &Source, notes: &Notes) -> Vec<PathBuf> {
    let mut root = Section::root(&main.file, &main.table, notes);
    let patterns = if root.has("include") { root.texts("include").unwrap_or_default() } else { vec![DEFAULT_INCLUDE] };
    let folder = main.file.parent().unwrap_or(Path::new(""));
    let mut seen = BTreeSet::from([identity(&main.file)]);
    let mut files = Vec::new();
    for pattern in patterns {
        // The folder is taken literally, whatever characters it has; an absolute pattern stands for itself.
        let escaped = PathBuf::from(glob::Pattern::escape(&folder.to_string_lossy())).join(pattern);
        let Ok(matches) = glob::glob(&escaped.to_string_lossy()) else {
            root.problem("include", format!("{pattern:?} is no pattern"), "write one such as \"providers/*.toml\"");
            continue;
        };
        let mut found: Vec<PathBuf> = matches.filter_map(Result::ok).filter(|path| path.is_file()).collect();
        if found.is_empty() && !pattern.contains(['*', '?', '[']) {
            root.problem("include", format!("{pattern:?} does not exist"), "create it, correct the name or leave it out");
        } else if found.is_empty() && root.has("include") {
            notes.warning(format!("{}: include: {pattern:?} matches no file", main.file.display()));
        }
        found.sort_by(|a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()));
        files.extend(found.into_iter().filter(|path| seen.insert(identity(path))));
    }
    files
}

/// What two ways of naming a file have in common.
fn identity(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_owned())
}

/// Checks all sources together.
fn decide(main: Source, parts: Vec<Source>, environment: &dyn Environment, notes: Notes) -> Result<Settings, Problems> {
    let mut roots = vec![Section::root(&main.file, &main.table, &notes)];
    roots.extend(parts.iter().map(|part| Section::root(&part.file, &part.table, &notes)));
    let root = &mut roots[0];
    root.value("include");
    let server = server::server(root);
    let database = server::database(root, environment);
    let ledger = server::ledger(root, &database);
    let admin = server::admin(root, environment);
    let sealing = server::sealing(root, environment);
    let security = server::security(root);
    let upstream = server::upstream(root);
    let defaults = retry::read(root, &RetryPolicy::default());
    let catalog = catalog(&mut roots, &defaults, environment, &notes);
    finish(roots);
    let admin_listen = admin.listen.unwrap_or(server.listen);
    if admin.token.is_some() && !admin_listen.ip().is_loopback() {
        notes.warning(format!("the admin API listens on {admin_listen} without TLS; put a TLS proxy in front of it"));
    }
    let warnings = notes.finish()?;
    Ok(Settings { file: main.file, server, database, ledger, admin, sealing, security, upstream, catalog, warnings })
}

/// All kinds first, then all providers and models, so that the order of the files does not matter.
fn catalog(roots: &mut [Section<'_>], defaults: &RetryPolicy, environment: &dyn Environment, notes: &Notes) -> Catalog {
    let (mut kinds, mut providers, mut models) = (kinds::Kinds::new(), Vec::new(), models::Models::default());
    for root in roots.iter_mut() {
        kinds::read(root, defaults, &mut kinds);
    }
    for root in roots.iter_mut() {
        providers::read(root, &kinds, environment, &mut providers);
        models::read(root, &kinds, &mut models);
    }
    providers.sort_by(|a, b| natural_order(&a.name, &b.name));
    Catalog { kinds, providers, models: models.finish(notes) }
}

/// Notes unknown keys, and sections of the main file in others.
fn finish(roots: Vec<Section<'_>>) {
    for (nth, mut root) in roots.into_iter().enumerate() {
        for key in MAIN_SECTIONS {
            if nth > 0 && root.has(key) {
                root.value(key);
                root.problem(key, "only the main file may say this", "move it to aigw.toml");
            }
        }
        root.done();
    }
}
