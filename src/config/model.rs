//! `[model.ID]`: models, merged from all files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::diagnostics::{Diagnostics, Problem, ProblemClass, did_you_mean};
use super::kind::Kinds;
use super::names;
use super::price::{self, Price};
use super::section::{Section, quoted};
use crate::terms::{KindName, ModelId};

/// A model of the catalog.
#[derive(Debug, Clone)]
pub struct ModelSettings {
    /// Public id.
    pub id: ModelId,
    /// Other names of the model.
    pub aliases: Vec<String>,
    /// Maximum of prompt and answer together, in tokens.
    pub context_window: Option<u64>,
    /// Maximum length of an answer, in tokens.
    pub max_output_tokens: Option<u64>,
    /// Offerings by kind.
    pub served_by: BTreeMap<KindName, Offering>,
}

/// How one kind serves a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offering {
    /// Upstream name of the model.
    pub upstream_model: String,
    /// Price.
    pub price: Arc<Price>,
}

/// Models of all files while they are merged.
#[derive(Debug, Default)]
pub struct Models(BTreeMap<String, Draft>);

/// One model while it is merged, with the origin of its parts for problems found after all files are read.
#[derive(Debug)]
struct Draft {
    model: ModelSettings,
    /// File that named it first.
    file: PathBuf,
    /// Kinds that serve it, those with a problem included.
    kinds: BTreeMap<KindName, PathBuf>,
    /// Aliases and their files.
    aliases: Vec<(String, PathBuf)>,
}

/// Reads the models of one file and merges them with those read before.
pub(super) fn read(root: &mut Section<'_>, kinds: &Kinds, models: &mut Models) {
    for (id, mut section) in root.sections("model") {
        if !names::is_model(id) {
            section.problem("", format!("{id:?} is not a model id"), names::MODEL_RULE);
        }
        let draft = models.0.entry(id.to_owned()).or_insert_with(|| Draft::new(id, section.file().to_owned()));
        draft.read_aliases(&mut section);
        merge_number(&mut section, "context_window", &mut draft.model.context_window);
        merge_number(&mut section, "max_output_tokens", &mut draft.model.max_output_tokens);
        for (kind, mut served_by) in section.sections("served_by") {
            draft.read_offering(kind, &mut served_by, kinds);
            served_by.done();
        }
        section.done();
    }
}

fn merge_number(section: &mut Section<'_>, key: &'static str, known: &mut Option<u64>) {
    let Some(number) = section.number(key, 1..=1_000_000_000) else { return };
    match *known {
        Some(other) if other != number => {
            section.problem(key, format!("another file says {other}"), "keep one of the two, or write the same value in both");
        }
        _ => *known = Some(number),
    }
}

impl Draft {
    fn new(id: &str, file: PathBuf) -> Self {
        let model =
            ModelSettings { id: id.into(), aliases: vec![], context_window: None, max_output_tokens: None, served_by: BTreeMap::new() };
        Self { model, file, kinds: BTreeMap::new(), aliases: vec![] }
    }

    fn read_aliases(&mut self, section: &mut Section<'_>) {
        for alias in section.texts("aliases").unwrap_or_default() {
            if !names::is_model(alias) {
                section.problem("aliases", format!("{alias:?} is not a model id"), names::MODEL_RULE);
            } else if *alias != *self.model.id && !self.aliases.iter().any(|(known, _)| known == alias) {
                self.aliases.push((alias.to_owned(), section.file().to_owned()));
            }
        }
    }

    fn read_offering(&mut self, kind: &str, section: &mut Section<'_>, kinds: &Kinds) {
        if !kinds.contains_key(kind) {
            section.problem("", format!("{kind:?} is not a kind"), did_you_mean(kind, kinds.keys().map(|kind| kind.as_str())));
        }
        if let Some(file) = self.kinds.insert(kind.into(), section.file().to_owned()) {
            let what = format!("{} already defines this kind for the model", file.display());
            section.problem("", what, "keep one of the two");
        }
        let upstream_model = section.text("model").unwrap_or(self.model.id.as_str()).to_owned();
        if !names::is_upstream_model(&upstream_model) {
            section.problem("model", "is not a model name", "use 1 to 256 visible ASCII characters without \" and \\");
        }
        if let Some(price) = price::read(section, self.model.max_output_tokens.is_some()) {
            self.model.served_by.insert(kind.into(), Offering { upstream_model, price });
        }
    }
}

impl Models {
    /// Returns the models in the order of their ids and checks what needs all files.
    pub(super) fn finish(self, diagnostics: &Diagnostics) -> Vec<ModelSettings> {
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for (id, draft) in &self.0 {
            if draft.kinds.is_empty() {
                let remedy = format!("add [model.{}.served_by.KIND] with a price", quoted(id));
                diagnostics.problem(problem(draft.file.clone(), id, "", "no kind serves this model".to_owned(), remedy));
            }
            for (alias, file) in &draft.aliases {
                let other = if self.0.contains_key(alias) { Some(alias.as_str()) } else { taken.insert(alias, id) };
                if let Some(other) = other {
                    let what = match other == alias {
                        true => format!("{alias:?} is the id of another model"),
                        false => format!("{alias:?} is already an alias of {other:?}"),
                    };
                    diagnostics.problem(problem(file.clone(), id, ".aliases", what, "keep the name for one of the two".to_owned()));
                }
            }
        }
        let finish = |draft: Draft| ModelSettings { aliases: draft.aliases.into_iter().map(|(alias, _)| alias).collect(), ..draft.model };
        self.0.into_values().map(finish).collect()
    }
}

fn problem(file: PathBuf, id: &str, key: &str, what: String, remedy: String) -> Problem {
    Problem { file, key: format!("model.{}{key}", quoted(id)), what, remedy, class: ProblemClass::Configuration }
}
