//! `[model.ID]`: what is on offer, merged from all files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::kinds::Kinds;
use super::{Class, Notes, Problem, did_you_mean, names, prices};
use crate::config::toml::{Section, quoted};
use crate::config::{Model, Served};
use crate::terms::KindName;

/// The models of all files on their way to being merged.
#[derive(Debug, Default)]
pub struct Models(BTreeMap<String, Draft>);

/// One model on its way, with where its parts come from for problems that show once all files are read.
#[derive(Debug)]
struct Draft {
    model: Model,
    /// The file that named it first.
    file: PathBuf,
    /// The kinds that serve it, those with a problem too.
    kinds: BTreeMap<KindName, PathBuf>,
    /// The file of each alias.
    aliases: Vec<(String, PathBuf)>,
}

/// Reads the models of one file, and merges them with those read before.
pub fn read(root: &mut Section<'_>, kinds: &Kinds, models: &mut Models) {
    for (id, mut section) in root.sections("model") {
        if !names::is_model(id) {
            section.problem("", format!("{id:?} cannot name a model"), names::MODEL_RULE);
        }
        let draft = models.0.entry(id.to_owned()).or_insert_with(|| Draft::new(id, section.file().to_owned()));
        draft.read_aliases(&mut section);
        merge_number(&mut section, "context_window", &mut draft.model.context_window);
        merge_number(&mut section, "max_output_tokens", &mut draft.model.max_output_tokens);
        for (kind, mut served_by) in section.sections("served_by") {
            draft.read_served(kind, &mut served_by, kinds);
            served_by.done();
        }
        section.done();
    }
}

fn merge_number(section: &mut Section<'_>, key: &'static str, known: &mut Option<u64>) {
    let Some(number) = section.number(key, 1..=1_000_000_000) else { return };
    match *known {
        Some(other) if other != number => {
            section.problem(key, format!("another file says {other}"), "say it in one file, or the same in both");
        }
        _ => *known = Some(number),
    }
}

impl Draft {
    fn new(id: &str, file: PathBuf) -> Self {
        let model = Model { id: id.into(), aliases: vec![], context_window: None, max_output_tokens: None, served_by: BTreeMap::new() };
        Self { model, file, kinds: BTreeMap::new(), aliases: vec![] }
    }

    fn read_aliases(&mut self, section: &mut Section<'_>) {
        for alias in section.texts("aliases").unwrap_or_default() {
            if !names::is_model(alias) {
                section.problem("aliases", format!("{alias:?} cannot name a model"), names::MODEL_RULE);
            } else if *alias != *self.model.id && !self.aliases.iter().any(|(known, _)| known == alias) {
                self.aliases.push((alias.to_owned(), section.file().to_owned()));
            }
        }
    }

    fn read_served(&mut self, kind: &str, section: &mut Section<'_>, kinds: &Kinds) {
        if !kinds.contains_key(kind) {
            section.problem("", format!("{kind:?} is no kind"), did_you_mean(kind, kinds.keys().map(|kind| kind.as_str())));
        }
        if let Some(file) = self.kinds.insert(kind.into(), section.file().to_owned()) {
            let what = format!("{} says already how this kind serves the model", file.display());
            section.problem("", what, "keep one of the two");
        }
        let upstream_model = section.text("model").unwrap_or(self.model.id.as_str()).to_owned();
        if !names::is_upstream_model(&upstream_model) {
            section.problem("model", "cannot be sent as a model's name", "use 1 to 256 visible ASCII characters without \" and \\");
        }
        if let Some(price) = prices::read(section, self.model.max_output_tokens.is_some()) {
            self.model.served_by.insert(kind.into(), Served { upstream_model, price });
        }
    }
}

impl Models {
    /// The models in the order of their ids, once all files are read.
    pub fn finish(self, notes: &Notes) -> Vec<Model> {
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for (id, draft) in &self.0 {
            if draft.kinds.is_empty() {
                let remedy = format!("add [model.{}.served_by.KIND] with a price", quoted(id));
                notes.problem(problem(draft.file.clone(), id, "", "no kind serves this model".to_owned(), remedy));
            }
            for (alias, file) in &draft.aliases {
                let other = if self.0.contains_key(alias) { Some(alias.as_str()) } else { taken.insert(alias, id) };
                if let Some(other) = other {
                    let what = match other == alias {
                        true => format!("{alias:?} is the id of another model"),
                        false => format!("{alias:?} is an alias of {other:?} already"),
                    };
                    notes.problem(problem(file.clone(), id, ".aliases", what, "keep the name with one of the two".to_owned()));
                }
            }
        }
        let finish = |draft: Draft| Model { aliases: draft.aliases.into_iter().map(|(alias, _)| alias).collect(), ..draft.model };
        self.0.into_values().map(finish).collect()
    }
}

fn problem(file: PathBuf, id: &str, key: &str, what: String, remedy: String) -> Problem {
    Problem { file, key: format!("model.{}{key}", quoted(id)), what, remedy, class: Class::Configuration }
}
