//! Reads TOML tables key by key: checks types and ranges, and records each problem under file and dotted key.
//!
//! Reading a key declares it as known; [`Section::done`] reports all other keys as unknown. The meaning of values
//! is checked by the file of each section.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use ::toml::{Table, Value};

use super::diagnostics::{Diagnostics, Problem, ProblemClass, did_you_mean};
use super::{duration, size};

/// A TOML table while it is read.
pub struct Section<'a> {
    file: &'a Path,
    /// Dotted key of the table; empty for the root of a file.
    at: String,
    table: &'a Table,
    diagnostics: &'a Diagnostics,
    known: BTreeSet<&'static str>,
}

/// Upper limit of every duration: a month, which clocks can add without overflow.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl<'a> Section<'a> {
    /// Returns the root table of a file.
    pub fn root(file: &'a Path, table: &'a Table, diagnostics: &'a Diagnostics) -> Self {
        Self { file, at: String::new(), table, diagnostics, known: BTreeSet::new() }
    }

    /// Returns the file that contains the table.
    pub fn file(&self) -> &'a Path {
        self.file
    }

    /// Returns the collector of problems and warnings.
    pub fn diagnostics(&self) -> &'a Diagnostics {
        self.diagnostics
    }

    /// Returns the dotted key of `key` in this table.
    pub fn path(&self, key: &str) -> String {
        match (self.at.is_empty(), key.is_empty()) {
            (_, true) => self.at.clone(),
            (true, false) => quoted(key),
            (false, false) => format!("{}.{}", self.at, quoted(key)),
        }
    }

    /// Records a problem with `key`, or with the table itself if `key` is empty.
    pub fn problem(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.record(key, what.into(), remedy.into(), ProblemClass::Configuration);
    }

    /// Records a problem with a credential. The message must not quote it.
    pub fn key_problem(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.record(key, what.into(), remedy.into(), ProblemClass::KeyMaterial);
    }

    fn record(&self, key: &str, what: String, remedy: String, class: ProblemClass) {
        self.diagnostics.problem(Problem { file: self.file.to_owned(), key: self.path(key), what, remedy, class });
    }

    /// Returns whether `key` is present.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Returns the entries of a table whose keys are free names.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.table.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Returns the value of `key`, of any type.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.insert(key);
        self.table.get(key)
    }

    fn typed<T>(&mut self, key: &'static str, wanted: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.value(key)?;
        let read = read(value);
        if read.is_none() {
            self.problem(key, format!("is {}", article(value)), format!("write {wanted}"));
        }
        read
    }

    /// Reads a string that is not empty.
    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        let text = self.typed(key, "text in quotes", Value::as_str)?;
        if text.trim().is_empty() {
            self.problem(key, "is empty", "give it a value or remove it");
            return None;
        }
        Some(text)
    }

    /// Reads a string that `read` accepts.
    pub fn parsed<T>(&mut self, key: &'static str, remedy: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key)?;
        let read = read(text);
        if read.is_none() {
            self.problem(key, format!("{text:?} makes no sense here"), remedy);
        }
        read
    }

    /// Reads a boolean.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// Reads an integer within `range`.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let (low, high) = (*range.start(), *range.end());
        let wanted = if high == u64::MAX { format!("at least {low}") } else { format!("between {low} and {high}") };
        let number = self.typed(key, &format!("a whole number {wanted}"), Value::as_integer)?;
        let fits = u64::try_from(number).ok().filter(|number| range.contains(number));
        if fits.is_none() {
            self.problem(key, format!("{number} is out of range"), format!("write a whole number {wanted}"));
        }
        fits
    }

    /// Reads a duration between `least` and a month.
    pub fn duration(&mut self, key: &'static str, least: Duration) -> Option<Duration> {
        let wanted = "a duration such as \"250ms\", \"30s\" or \"5m\"";
        let spelled = self.typed(key, wanted, Value::as_str)?;
        let Some(read) = duration::parse(spelled) else {
            self.problem(key, format!("{spelled:?} is not a duration"), format!("write {wanted}"));
            return None;
        };
        if !(least..=LONGEST).contains(&read) {
            let between = format!("write one between {} and {}", duration::text(least), duration::text(LONGEST));
            self.problem(key, format!("{spelled:?} is out of range"), between);
            return None;
        }
        Some(read)
    }

    /// Reads an integer within `range` as `usize`.
    pub fn count(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<usize> {
        self.number(key, range).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// Reads a duration between zero and `longest`.
    pub fn duration_up_to(&mut self, key: &'static str, longest: Duration) -> Option<Duration> {
        let read = self.duration(key, Duration::ZERO)?;
        if read > longest {
            let limit = duration::text(longest);
            self.problem(key, format!("is more than {limit}"), format!("write a duration of at most {limit}"));
            return None;
        }
        Some(read)
    }

    /// Reads a size within `range`, in bytes.
    pub fn size(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let spelled = self.typed(key, "a size such as \"20MiB\"", Value::as_str)?;
        let read = size::parse(spelled);
        match read {
            None => self.problem(key, format!("{spelled:?} is not a size"), "write a size such as \"20MiB\""),
            Some(bytes) if !range.contains(&bytes) => {
                let between = format!("write one between {} and {}", size::text(*range.start()), size::text(*range.end()));
                self.problem(key, format!("{spelled:?} is out of range"), between);
            }
            Some(_) => {}
        }
        read.filter(|bytes| range.contains(bytes))
    }

    /// Reads a size within `range` as `usize`, in bytes.
    pub fn bytes(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<usize> {
        self.size(key, range).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Reads a list of strings.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<&'a str>> {
        self.typed(key, "a list of texts such as [\"a\", \"b\"]", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// Reads a list of integers.
    pub fn numbers(&mut self, key: &'static str) -> Option<Vec<i64>> {
        self.typed(key, "a list of whole numbers such as [1, 2]", |value| value.as_array()?.iter().map(Value::as_integer).collect())
    }

    /// Reads a table of strings, in the order of the file.
    pub fn pairs(&mut self, key: &'static str) -> Option<Vec<(&'a str, &'a str)>> {
        let wanted = "a table of texts such as { name = \"value\" }";
        self.typed(key, wanted, |value| value.as_table()?.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect())
    }

    /// Reads a table below this one.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let table = self.typed(key, "a table such as { name = \"value\" }", Value::as_table)?;
        Some(Section { file: self.file, at: self.path(key), table, diagnostics: self.diagnostics, known: BTreeSet::new() })
    }

    /// Reads a table below this one; an empty one if it is missing.
    pub fn section_or_empty(&mut self, key: &'static str) -> Section<'a> {
        static EMPTY: LazyLock<Table> = LazyLock::new(Table::new);
        let empty = Section { file: self.file, at: self.path(key), table: &EMPTY, diagnostics: self.diagnostics, known: BTreeSet::new() };
        self.section(key).unwrap_or(empty)
    }

    /// Reads named tables such as `[kind.groq]` and `[kind.openai]`.
    pub fn sections(&mut self, key: &'static str) -> Vec<(&'a str, Section<'a>)> {
        self.section_or_empty(key).children()
    }

    fn children(&self) -> Vec<(&'a str, Section<'a>)> {
        let named = |(name, value): (&'a str, &'a Value)| match value.as_table() {
            Some(table) => {
                Some((name, Section { file: self.file, at: self.path(name), table, diagnostics: self.diagnostics, known: BTreeSet::new() }))
            }
            None => {
                self.problem(name, format!("is {}", article(value)), format!("make it a table: [{}]", self.path(name)));
                None
            }
        };
        self.entries().filter_map(named).collect()
    }

    /// Records a problem for every key that was not read.
    pub fn done(self) {
        for key in self.table.keys().filter(|key| !self.known.contains(key.as_str())) {
            self.problem(key, "unknown key", did_you_mean(key, self.known.iter().copied()));
        }
    }
}

/// Returns a key as it must be written in a dotted key.
pub fn quoted(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_bare { key.to_owned() } else { format!("{key:?}") }
}

/// Describes the type of a value.
fn article(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a point",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list, or one with something else in it",
        Value::Table(_) => "a table, or one with something else in it",
    }
}
