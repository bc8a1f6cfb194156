//! The crate as the rules see it: modules, what they import and define, and the size of files.
//!
//! Files are found as the compiler finds them, by following `mod` declarations from `lib.rs` and
//! `main.rs`, and parsed whole. Items that no build without `cfg(test)` contains are left out.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ImplItem, Item, ItemMod, Meta, Pat, Token, TraitItem, Type, UseTree};

/// Texts of source files by path below `src/`.
pub type Sources = BTreeMap<String, String>;

/// Names of a module and its ancestors, outermost first. Empty for the root of the library.
pub type ModulePath = Vec<String>;

/// All modules of the crate without its tests.
#[derive(Default)]
pub struct Tree {
    /// Modules by path. `main.rs` is the module `main`.
    pub modules: BTreeMap<ModulePath, Module>,
    /// Number of lines without tests, by file. Files that contain only tests are left out.
    pub lines: BTreeMap<String, usize>,
    /// Violations found while reading: files that cannot be parsed or are not part of the crate.
    pub problems: Vec<String>,
}

/// A module, without its child modules.
#[derive(Default)]
pub struct Module {
    /// The file that contains the module.
    pub file: String,
    /// Names of child modules.
    pub children: BTreeSet<String>,
    /// Names that `use` declarations bring into scope, and the paths they stand for.
    pub imports: Vec<(String, Path)>,
    /// Paths imported with `*`.
    pub globs: Vec<Path>,
    /// All paths of more than one segment, and all imported paths.
    pub paths: Vec<Path>,
    /// Types defined here, with the line of each.
    pub types: Vec<(String, usize)>,
    /// All names in paths and macros, with the line of the first use.
    pub words: BTreeMap<String, usize>,
}

/// A path as written.
#[derive(Clone, Debug)]
pub struct Path {
    /// The segments, without generic arguments.
    pub segments: Vec<String>,
    /// Line of the first segment.
    pub line: usize,
}

impl Tree {
    /// Reads the crate whose roots are `lib.rs` and `main.rs`.
    pub fn read(sources: &Sources) -> Self {
        let mut tree = Self::default();
        let mut reached = BTreeSet::new();
        for (root, path) in [("lib.rs", vec![]), ("main.rs", vec!["main".to_owned()])] {
            if sources.contains_key(root) {
                tree.read_file(sources, &mut reached, root.to_owned(), path);
            }
        }
        for file in sources.keys().filter(|file| !reached.contains(*file)) {
            tree.problems.push(format!("src/{file}: no `mod` declaration leads here; declare it or delete it"));
        }
        tree
    }

    fn read_file(&mut self, sources: &Sources, reached: &mut BTreeSet<String>, file: String, path: ModulePath) {
        let Some(parsed) = self.parse(sources, reached, &file) else { return };
        if is_test_only(&parsed.attrs) {
            return self.skip_tests(sources, reached, &parsed.items, &path);
        }
        let mut test_lines = BTreeSet::new();
        self.read_module(sources, reached, &file, path, &parsed.attrs, &parsed.items, &mut test_lines);
        let lines = sources[&file].lines().count();
        self.lines.insert(file, lines - test_lines.len());
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one recursion")]
    fn read_module(
        &mut self,
        sources: &Sources,
        reached: &mut BTreeSet<String>,
        file: &str,
        path: ModulePath,
        attributes: &[Attribute],
        items: &[Item],
        test_lines: &mut BTreeSet<usize>,
    ) {
        let mut reader = Reader { module: Module { file: file.to_owned(), ..Module::default() }, ..Reader::default() };
        attributes.iter().for_each(|attribute| reader.visit_attribute(attribute));
        items.iter().for_each(|item| reader.visit_item(item));
        let Reader { mut module, children, tests, .. } = reader;
        for item in tests {
            let span = item.span();
            test_lines.extend(span.start().line..=span.end().line);
            self.skip_tests(sources, reached, std::slice::from_ref(item), &path);
        }
        for child in children {
            let name = child.ident.to_string();
            let child_path: ModulePath = path.iter().cloned().chain([name.clone()]).collect();
            module.children.insert(name);
            if child.attrs.iter().any(|attribute| attribute.path().is_ident("path")) {
                self.problems.push(format!("src/{file}: `#[path]` hides where a module lives; move the file instead"));
            }
            match &child.content {
                Some((_, items)) => {
                    self.read_module(sources, reached, file, child_path, &child.attrs, items, test_lines);
                }
                None => self.read_file(sources, reached, file_of(&child_path), child_path),
            }
        }
        self.modules.insert(path, module);
    }

    /// Marks the files of modules that exist only in tests as reached.
    fn skip_tests(&mut self, sources: &Sources, reached: &mut BTreeSet<String>, items: &[Item], path: &ModulePath) {
        let modules = items.iter().filter_map(|item| if let Item::Mod(module) = item { Some(module) } else { None });
        for module in modules.filter(|module| !module.attrs.iter().any(|attribute| attribute.path().is_ident("path"))) {
            let path: ModulePath = path.iter().cloned().chain([module.ident.to_string()]).collect();
            match &module.content {
                Some((_, items)) => self.skip_tests(sources, reached, items, &path),
                None => {
                    if let Some(parsed) = self.parse(sources, reached, &file_of(&path)) {
                        self.skip_tests(sources, reached, &parsed.items, &path);
                    }
                }
            }
        }
    }

    fn parse(&mut self, sources: &Sources, reached: &mut BTreeSet<String>, file: &str) -> Option<syn::File> {
        let Some(text) = sources.get(file) else {
            self.problems.push(format!("src/{file}: declared but missing here; name the file after its module"));
            return None;
        };
        reached.insert(file.to_owned());
        syn::parse_file(text).map_err(|error| self.problems.push(format!("src/{file}: cannot be parsed: {error}"))).ok()
    }
}

fn file_of(path: &ModulePath) -> String {
    format!("{}.rs", path.join("/"))
}

/// Returns true if no build without `cfg(test)` contains what the attributes stand on. Other
/// conditions may hold or not: `any(test, debug_assertions)` is production code.
pub fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list.parse_args::<Meta>().is_ok_and(|condition| truth(&condition) == Some(false)),
        // `#[test]`, `#[actix_web::test]`.
        Meta::Path(path) => path.segments.last().is_some_and(|last| last.ident == "test"),
        _ => false,
    })
}

/// Value of a condition in a build without tests, if it is known.
fn truth(condition: &Meta) -> Option<bool> {
    let Meta::List(list) = condition else {
        return condition.path().is_ident("test").then_some(false);
    };
    let parts = list.parse_args_with(syn::punctuated::Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let mut values = parts.iter().map(truth);
    if list.path.is_ident("not") {
        values.next()?.map(|value| !value)
    } else if list.path.is_ident("all") {
        values.any(|value| value == Some(false)).then_some(false)
    } else if list.path.is_ident("any") {
        values.all(|value| value == Some(false)).then_some(false)
    } else {
        None
    }
}

/// Collects what one module contains.
#[derive(Default)]
struct Reader<'ast> {
    module: Module,
    children: Vec<&'ast ItemMod>,
    tests: Vec<&'ast Item>,
}

impl Reader<'_> {
    fn word(&mut self, name: String, line: usize) {
        self.module.words.entry(name).or_insert(line);
    }

    fn path(&mut self, segments: Vec<String>, line: usize) {
        for segment in &segments {
            self.word(segment.clone(), line);
        }
        if segments.len() > 1 {
            self.module.paths.push(Path { segments, line });
        }
    }

    fn import(&mut self, tree: &UseTree, mut prefix: Vec<String>) {
        let line = tree.span().start().line;
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, prefix.clone())),
            UseTree::Glob(_) => {
                self.imported(None, Path { segments: prefix, line });
            }
            UseTree::Name(name) => {
                push_name(&mut prefix, name.ident.to_string());
                self.imported(prefix.last().cloned(), Path { segments: prefix, line });
            }
            UseTree::Rename(rename) => {
                push_name(&mut prefix, rename.ident.to_string());
                self.imported(Some(rename.rename.to_string()), Path { segments: prefix, line });
            }
        }
    }

    fn imported(&mut self, name: Option<String>, path: Path) {
        for segment in &path.segments {
            self.word(segment.clone(), path.line);
        }
        self.module.paths.push(path.clone());
        match name {
            Some(name) => self.module.imports.push((name, path)),
            None => self.module.globs.push(path),
        }
    }

    /// Finds paths and definitions in the tokens of a macro or an attribute. Texts are paths only in
    /// attributes.
    fn scan(&mut self, tokens: TokenStream, are_texts_paths: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => {
                    self.scan(group.stream(), are_texts_paths);
                    at += 1;
                }
                TokenTree::Literal(literal) => {
                    if are_texts_paths
                        && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                        && let Ok(path) = text.parse::<syn::Path>()
                    {
                        self.path(path.segments.iter().map(|part| part.ident.to_string()).collect(), literal.span().start().line);
                    }
                    at += 1;
                }
                TokenTree::Ident(first) => {
                    if matches!(first.to_string().as_str(), "struct" | "enum" | "trait" | "union")
                        && let Some(TokenTree::Ident(name)) = tokens.get(at + 1)
                    {
                        self.module.types.push((name.to_string(), first.span().start().line));
                    }
                    at = self.scan_path(&tokens, at, vec![]);
                }
                TokenTree::Punct(_) => at += 1,
            }
        }
    }

    /// Reads the path that starts with the name at `at`. Returns the position behind it.
    fn scan_path(&mut self, tokens: &[TokenTree], mut at: usize, mut segments: Vec<String>) -> usize {
        let line = tokens[at].span().start().line;
        while let Some(TokenTree::Ident(name)) = tokens.get(at) {
            segments.push(name.to_string());
            at += 1;
            if !is_path_separator(&tokens[at..]) {
                break;
            }
            at += 2;
            if let Some(TokenTree::Group(group)) = tokens.get(at)
                && group.delimiter() == Delimiter::Brace
            {
                self.scan_list(group.stream(), &segments);
                at += 1;
                break;
            }
        }
        self.path(segments, line);
        at
    }

    /// Reads the paths of a braced list behind `prefix`.
    fn scan_list(&mut self, list: TokenStream, prefix: &[String]) {
        let tokens: Vec<TokenTree> = list.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(_) => at = self.scan_path(&tokens, at, prefix.to_vec()),
                _ => at += 1,
            }
        }
    }

    fn define(&mut self, name: &syn::Ident) {
        self.module.types.push((name.to_string(), name.span().start().line));
    }
}

/// `self` in a list is the path before the list.
fn push_name(prefix: &mut Vec<String>, name: String) {
    if name != "self" || prefix.is_empty() {
        prefix.push(name);
    }
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    let is_colon = |token: &TokenTree, spacing: Option<Spacing>| matches!(token, TokenTree::Punct(colon) if colon.as_char() == ':' && spacing.is_none_or(|spacing| colon.spacing() == spacing));
    matches!(tokens, [first, second, ..] if is_colon(first, Some(Spacing::Joint)) && is_colon(second, None))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Reader<'ast> {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_test_only(attributes(item)) {
            self.tests.push(item);
            return;
        }
        match item {
            Item::Mod(module) => return self.children.push(module),
            Item::Use(import) => {
                self.import(&import.tree, vec![]);
                return import.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
            }
            Item::ExternCrate(import) => self.imported(
                Some(import.ident.to_string()),
                Path { segments: vec![import.ident.to_string()], line: import.span().start().line },
            ),
            Item::Struct(item) => self.define(&item.ident),
            Item::Enum(item) => self.define(&item.ident),
            Item::Union(item) => self.define(&item.ident),
            Item::Trait(item) => self.define(&item.ident),
            Item::TraitAlias(item) => self.define(&item.ident),
            Item::Type(item) => self.define(&item.ident),
            Item::Verbatim(tokens) => self.scan(tokens.clone(), false),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            ImplItem::Verbatim(tokens) => return self.scan(tokens.clone(), false),
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_test_only(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        match item {
            TraitItem::Fn(function) if is_test_only(&function.attrs) => {}
            TraitItem::Verbatim(tokens) => self.scan(tokens.clone(), false),
            _ => visit::visit_trait_item(self, item),
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test_only(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !is_test_only(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_field_value(&mut self, value: &'ast syn::FieldValue) {
        if !is_test_only(&value.attrs) {
            visit::visit_field_value(self, value);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if !is_test_only(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !is_test_only(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        match expression {
            Expr::Verbatim(tokens) => self.scan(tokens.clone(), false),
            _ => visit::visit_expr(self, expression),
        }
    }

    fn visit_type(&mut self, kind: &'ast Type) {
        match kind {
            Type::Verbatim(tokens) => self.scan(tokens.clone(), false),
            _ => visit::visit_type(self, kind),
        }
    }

    fn visit_pat(&mut self, pattern: &'ast Pat) {
        match pattern {
            Pat::Verbatim(tokens) => self.scan(tokens.clone(), false),
            _ => visit::visit_pat(self, pattern),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(path.segments.iter().map(|segment| segment.ident.to_string()).collect(), path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.scan(call.tokens.clone(), false);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("doc") || attribute.path().is_ident("cfg") {
            return;
        }
        self.visit_path(attribute.path());
        match &attribute.meta {
            Meta::Path(_) => {}
            Meta::List(list) => self.scan(list.tokens.clone(), true),
            Meta::NameValue(pair) => self.visit_expr(&pair.value),
        }
    }

    /// `pub(in path)` names an ancestor and imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}
