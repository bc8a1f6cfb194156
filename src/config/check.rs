//! Every problem at once: file, key, remedy, nearest known name.
//!
//! One file below for each part of the configuration; each reads its sections and notes what is wrong with them, none
//! stops at the first problem. What comes out is decided, but worth nothing if a problem was noted.

pub mod kinds;
pub mod models;
pub mod names;
pub mod prices;
pub mod providers;
pub mod retry;
pub mod secrets;
pub mod server;
#[cfg(test)]
mod tests;
pub mod wire;

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file it is in.
    pub file: PathBuf,
    /// The dotted key, such as `server.listen`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// What sort of problem it is.
    pub class: Class,
}

/// What sort of problem it is. A start is refused for either with exit code 78.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A key, a value, a name, a file.
    Configuration,
    /// A credential that is too weak, malformed or in the wrong place.
    KeyMaterial,
}

/// All that is wrong, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// Collects what the checks find.
#[derive(Debug, Default)]
pub struct Notes {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl Notes {
    /// Notes a problem.
    pub fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Notes what is legal but deserves a line at start.
    pub fn warning(&self, warning: String) {
        self.warnings.borrow_mut().push(warning);
    }

    /// The warnings, if there is no problem.
    ///
    /// # Errors
    /// Every problem noted, file by file.
    pub fn finish(self) -> Result<Vec<String>, Problems> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        problems.sort_by(|a, b| a.file.cmp(&b.file));
        Err(Problems(problems))
    }
}

/// The known name most like `name`.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &str| strsim::normalized_damerau_levenshtein(name, candidate);
    known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// The remedy for an unknown name: the nearest known one.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(nearest) => format!("the nearest known one is {nearest:?}"),
        None => "none is known here; leave it out".to_owned(),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { file, key, what, remedy, .. } = self;
        let file = file.display();
        if key.is_empty() { write!(f, "{file}: {what}; {remedy}") } else { write!(f, "{file}: {key}: {what}; {remedy}") }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.0.iter().enumerate() {
            let separator = if nth == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
