//! Reads TOML tables key by key: types, ranges and unknown keys, with every problem noted under its file and dotted key.
//!
//! What is asked of a section is what it may hold; [`Section::done`] notes the rest as unknown. What values mean and
//! whether they fit together is `check`'s business.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use ::toml::{Table, Value};

use super::check::{Class, Notes, Problem, did_you_mean};
use super::{duration, size};

/// A TOML table on its way to being read.
pub struct Section<'a> {
    file: &'a Path,
    /// The dotted key of the table itself; empty for a file's root.
    at: String,
    table: &'a Table,
    notes: &'a Notes,
    known: BTreeSet<&'static str>,
}

/// A month: nothing that is waited for takes longer, and clocks can add it without overflow.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl<'a> Section<'a> {
    /// The root table of a file.
    pub fn root(file: &'a Path, table: &'a Table, notes: &'a Notes) -> Self {
        Self { file, at: String::new(), table, notes, known: BTreeSet::new() }
    }

    /// The file it stands in.
    pub fn file(&self) -> &'a Path {
        self.file
    }

    /// Where warnings go.
    pub fn notes(&self) -> &'a Notes {
        self.notes
    }

    /// The dotted key of `key` in this table.
    pub fn path(&self, key: &str) -> String {
        match (self.at.is_empty(), key.is_empty()) {
            (_, true) => self.at.clone(),
            (true, false) => quoted(key),
            (false, false) => format!("{}.{}", self.at, quoted(key)),
        }
    }

    /// Notes a problem with `key`; with the table itself if it is empty.
    pub fn problem(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.note(key, what.into(), remedy.into(), Class::Configuration);
    }

    /// Notes a problem with a credential. Never quote it.
    pub fn key_problem(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.note(key, what.into(), remedy.into(), Class::KeyMaterial);
    }

    fn note(&self, key: &str, what: String, remedy: String, class: Class) {
        self.notes.problem(Problem { file: self.file.to_owned(), key: self.path(key), what, remedy, class });
    }

    /// Whether `key` is there at all.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The keys of a table of free names.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.table.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of `key`, whatever it is.
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

    /// A text that is not empty.
    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        let text = self.typed(key, "text in quotes", Value::as_str)?;
        if text.trim().is_empty() {
            self.problem(key, "is empty", "give it a value or leave it out");
            return None;
        }
        Some(text)
    }

    /// A text that `read` understands.
    pub fn parsed<T>(&mut self, key: &'static str, remedy: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key)?;
        let read = read(text);
        if read.is_none() {
            self.problem(key, format!("{text:?} makes no sense here"), remedy);
        }
        read
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A whole number within `range`.
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

    /// A duration between `least` and a month.
    pub fn duration(&mut self, key: &'static str, least: Duration) -> Option<Duration> {
        let wanted = "a duration such as \"250ms\", \"30s\" or \"5m\"";
        let spelled = self.typed(key, wanted, Value::as_str)?;
        let Some(read) = duration::parse(spelled) else {
            self.problem(key, format!("{spelled:?} is no duration"), format!("write {wanted}"));
            return None;
        };
        if !(least..=LONGEST).contains(&read) {
            let between = format!("write one between {} and {}", duration::text(least), duration::text(LONGEST));
            self.problem(key, format!("{spelled:?} is out of range"), between);
            return None;
        }
        Some(read)
    }

    /// A size in bytes within `range`.
    pub fn size(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let spelled = self.typed(key, "a size such as \"20MiB\"", Value::as_str)?;
        let read = size::parse(spelled);
        match read {
            None => self.problem(key, format!("{spelled:?} is no size"), "write a size such as \"20MiB\""),
            Some(bytes) if !range.contains(&bytes) => {
                let between = format!("write one between {} and {}", size::text(*range.start()), size::text(*range.end()));
                self.problem(key, format!("{spelled:?} is out of range"), between);
            }
            Some(_) => {}
        }
        read.filter(|bytes| range.contains(bytes))
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<&'a str>> {
        self.typed(key, "a list of texts such as [\"a\", \"b\"]", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// A list of whole numbers.
    pub fn numbers(&mut self, key: &'static str) -> Option<Vec<i64>> {
        self.typed(key, "a list of whole numbers such as [1, 2]", |value| value.as_array()?.iter().map(Value::as_integer).collect())
    }

    /// A table of texts, in its order.
    pub fn pairs(&mut self, key: &'static str) -> Option<Vec<(&'a str, &'a str)>> {
        let wanted = "a table of texts such as { name = \"value\" }";
        self.typed(key, wanted, |value| value.as_table()?.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect())
    }

    /// A table below this one.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let table = self.typed(key, "a table such as { name = \"value\" }", Value::as_table)?;
        Some(Section { file: self.file, at: self.path(key), table, notes: self.notes, known: BTreeSet::new() })
    }

    /// A table below this one, an empty one if it is not there.
    pub fn section_or_empty(&mut self, key: &'static str) -> Section<'a> {
        static EMPTY: LazyLock<Table> = LazyLock::new(Table::new);
        let empty = Section { file: self.file, at: self.path(key), table: &EMPTY, notes: self.notes, known: BTreeSet::new() };
        self.section(key).unwrap_or(empty)
    }

    /// The tables of a table of named tables, such as `[kind.groq]` and `[kind.openai]`.
    pub fn sections(&mut self, key: &'static str) -> Vec<(&'a str, Section<'a>)> {
        self.section_or_empty(key).children()
    }

    fn children(&self) -> Vec<(&'a str, Section<'a>)> {
        let named = |(name, value): (&'a str, &'a Value)| match value.as_table() {
            Some(table) => Some((name, Section { file: self.file, at: self.path(name), table, notes: self.notes, known: BTreeSet::new() })),
            None => {
                self.problem(name, format!("is {}", article(value)), format!("make it a table: [{}]", self.path(name)));
                None
            }
        };
        self.entries().filter_map(named).collect()
    }

    /// Notes every key nobody asked for.
    pub fn done(self) {
        for key in self.table.keys().filter(|key| !self.known.contains(key.as_str())) {
            self.problem(key, "unknown key", did_you_mean(key, self.known.iter().copied()));
        }
    }
}

/// A key as it must be written in a dotted key.
pub fn quoted(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_bare { key.to_owned() } else { format!("{key:?}") }
}

/// What a value is, in words.
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
