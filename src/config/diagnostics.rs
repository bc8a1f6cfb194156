//! Collects configuration problems and warnings: every problem is reported, with file, key and remedy.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

/// One problem of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File that contains the problem.
    pub file: PathBuf,
    /// Dotted key such as `server.listen`; empty for the whole file.
    pub key: String,
    /// Description of the problem.
    pub what: String,
    /// Remedy.
    pub remedy: String,
    /// Class of the problem.
    pub class: ProblemClass,
}

/// Class of a problem. Both classes refuse the start with exit code 78.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemClass {
    /// A wrong key, value, name or file.
    Configuration,
    /// A weak, malformed or misplaced credential.
    KeyMaterial,
}

/// All problems, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// Collector of problems and warnings.
#[derive(Debug, Default)]
pub struct Diagnostics {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl Diagnostics {
    /// Records a problem.
    pub fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Records something legal that deserves a log line at start.
    pub fn warning(&self, warning: String) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Returns the warnings if there is no problem.
    ///
    /// # Errors
    /// Every recorded problem, sorted by file.
    pub fn finish(self) -> Result<Vec<String>, Problems> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        problems.sort_by(|a, b| a.file.cmp(&b.file));
        Err(Problems(problems))
    }
}

/// Returns the known name most similar to `name`.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |candidate: &str| strsim::normalized_damerau_levenshtein(name, candidate);
    known.into_iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
}

/// Remedy for an unknown name: the nearest known one.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(nearest) => format!("the nearest known name is {nearest:?}"),
        None => "no name is known here; remove it".to_owned(),
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
